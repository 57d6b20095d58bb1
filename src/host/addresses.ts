import { BlockList, isIP } from 'node:net'

/** Not on the internet, or a cloud's own service there (IANA special-purpose registries; Azure's 168.63.129.16). */
const inside4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]
/** Of IPv6 only global unicast leads outside; in it, what embeds or documents other addresses does not. */
const outside6 = ['2000::/3']
const inside6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address, prefix] = range.split('/') as [string, string]
    list.addSubnet(address, Number(prefix), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

const inside = blockList([...inside4, ...inside6])
const outside = blockList(outside6)

/** Whether an address is one of the internet, as opposed to this machine, this network or this cloud. */
export function isPublic(address: string): boolean {
  const family = isIP(address)
  if (family === 4) return !inside.check(address, 'ipv4')
  return family === 6 && outside.check(address, 'ipv6') && !inside.check(address, 'ipv6')
}

const hostName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/

/** A host, an address, or a range such as `10.1.0.0/16`; null when it is none of them. */
export function allowedProblem(text: string): string | null {
  const [address = '', prefix, ...more] = text.split('/')
  const family = isIP(address)
  if (more.length > 0) return 'must be a host name, an address or a range such as 10.1.0.0/16.'
  if (prefix !== undefined) {
    const most = family === 6 ? 128 : 32
    const fits = family !== 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= most
    return fits ? null : 'must be a range such as 10.1.0.0/16.'
  }
  return family !== 0 || hostName.test(text) ? null : 'must be a host name in lower case.'
}

/** What the configuration allows besides the internet. */
export function allowances(allow: readonly string[]) {
  const ranges = allow.filter((a) => isIP(a.split('/')[0]!) !== 0)
  const list = blockList(
    ranges.map((a) => (a.includes('/') ? a : `${a}/${isIP(a) === 6 ? 128 : 32}`)),
  )
  const hosts = new Set(allow.filter((a) => !ranges.includes(a)))
  return {
    host: (host: string): boolean => hosts.has(host),
    address: (address: string): boolean =>
      list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'),
  }
}
