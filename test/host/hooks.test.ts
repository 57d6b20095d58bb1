import { createHmac } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { HookCall } from '../../src/domain/hook.ts'
import { createHookKeys, shownSecret } from '../../src/domain/hook.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { allowedProblem, isPublic } from '../../src/host/addresses.ts'
import { createHookCaller } from '../../src/host/hooks.ts'
import { ManualClock } from '../support/manual-clock.ts'

const keys = createHookKeys(Secret.ofText('root'))
const callOf = (url: string): HookCall => ({
  tenant: defaultTenant,
  id: 'op-1',
  url,
  body: '{"type":"credential.rotated"}',
  secrets: [keys.secret(defaultTenant, 2), keys.secret(defaultTenant, 1)],
})

let close: (() => Promise<void>) | null = null
afterEach(async () => {
  await close?.()
  close = null
})

interface Got {
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

async function receiver(answer: (response: ServerResponse) => void) {
  const got: Got[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      got.push({ headers: request.headers, body })
      answer(response)
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  close = () =>
    new Promise((done) => {
      server.closeAllConnections()
      server.close(() => done())
    })
  const { port } = server.address() as AddressInfo
  return { got, port, url: `http://127.0.0.1:${port}/reload` }
}

describe('a reload hook', () => {
  it('is signed so that a receiver can tell it from any other, with each key it may know', async () => {
    const clock = new ManualClock()
    const { got, url } = await receiver((response) => response.writeHead(204).end())

    const answer = await createHookCaller({ clock, allow: ['127.0.0.0/8'] }).call(callOf(url))

    expect(answer).toEqual({ outcome: 'delivered', status: 204 })
    const [{ headers, body }] = got as [Got]
    const timestamp = String(Math.floor(Date.parse(clock.now()) / 1_000))
    expect(headers).toMatchObject({ 'webhook-id': 'op-1', 'webhook-timestamp': timestamp })
    // As the library of a receiver does it, from the secret as it is shown.
    const expected = [2, 1].map((version) => {
      const shown = shownSecret(keys.secret(defaultTenant, version))
      const key = Buffer.from(shown.replace(/^whsec_/, ''), 'base64')
      const mac = createHmac('sha256', key).update(`op-1.${timestamp}.${body}`)
      return `v1,${mac.digest('base64')}`
    })
    expect(headers['webhook-signature']).toBe(expected.join(' '))
    expect(new Set(expected).size).toBe(2)
  })

  it('that hangs is given up after five seconds', async () => {
    const clock = new ManualClock()
    const { got, url } = await receiver(() => undefined)

    const answer = createHookCaller({ clock, allow: ['127.0.0.1'] }).call(callOf(url))
    while (got.length === 0) await new Promise((go) => setTimeout(go, 2))
    clock.advance(5)

    expect(await answer).toEqual({ outcome: 'failed', reason: 'it did not answer within 5 s' })
  })

  it('is not led elsewhere, and what its receiver sends is not read', async () => {
    const clock = new ManualClock()
    let to = ''
    const { got, url } = await receiver((response) => {
      response.writeHead(307, { location: to })
      // Without end: whoever read it would never be done.
      response.write('x'.repeat(70_000))
    })
    to = url
    const answer = await createHookCaller({ clock, allow: ['127.0.0.1'] }).call(callOf(url))

    expect(answer).toEqual({
      outcome: 'failed',
      reason: 'it answered 307; redirects are not followed',
    })
    expect(got).toHaveLength(1)
  })

  it.each([
    ['http://127.0.0.1:PORT/', []],
    ['https://127.0.0.1:PORT/', []],
    ['https://[::1]:PORT/', []],
    ['https://[::ffff:127.0.0.1]:PORT/', []],
    ['https://2130706433:PORT/', []],
    ['https://169.254.169.254/latest/meta-data/', []],
    ['https://inside.example:PORT/', ['10.0.0.7']],
    // One name, two answers: whichever comes first.
    ['https://both.example:PORT/', ['93.184.216.34', '127.0.0.1']],
    ['https://[fd00:ec2::254]/', []],
  ])('to %s never leaves for the inside of the network', async (text, addresses) => {
    const { got, port } = await receiver((response) => response.end())
    const caller = createHookCaller({
      clock: new ManualClock(),
      allow: [],
      resolve: () => Promise.resolve(addresses),
    })

    const answer = await caller.call(callOf(text.replace('PORT', String(port))))

    expect(answer).toMatchObject({ outcome: 'refused' })
    expect(JSON.stringify(answer)).toContain('hooks.allow')
    expect(got).toEqual([])
  })

  it('goes to the address that was checked, whatever its name means a moment later', async () => {
    const { got, port } = await receiver((response) => response.end())
    const answers = [['127.0.0.1'], ['10.0.0.7']]
    let asked = 0
    const caller = createHookCaller({
      clock: new ManualClock(),
      allow: ['127.0.0.1'],
      resolve: () => Promise.resolve(answers[asked++] ?? []),
    })

    const answer = await caller.call(callOf(`http://rebound.example:${port}/`))

    expect(answer).toMatchObject({ outcome: 'delivered' })
    expect(asked).toBe(1)
    expect(got[0]!.headers.host).toBe(`rebound.example:${port}`)
  })

  it('says what went wrong where nobody listens, or no name is known', async () => {
    const clock = new ManualClock()
    const { url } = await receiver((response) => response.end())
    await close!()
    close = null
    const caller = createHookCaller({
      clock,
      allow: ['127.0.0.1'],
      resolve: () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' })),
    })

    expect(await caller.call(callOf(url))).toEqual({
      outcome: 'failed',
      reason: 'it could not be reached (ECONNREFUSED)',
    })
    expect(await caller.call(callOf('https://nobody.example/'))).toEqual({
      outcome: 'failed',
      reason: 'it could not be reached (ENOTFOUND)',
    })
  })
})

describe('an address', () => {
  it.each([
    ['93.184.216.34', true],
    ['8.8.8.8', true],
    ['2606:2800:220:1::1', true],
    ['0.0.0.0', false],
    ['10.255.255.255', false],
    ['100.64.0.1', false],
    ['100.100.100.200', false],
    ['127.8.8.8', false],
    ['168.63.129.16', false],
    ['169.254.169.254', false],
    ['172.16.0.1', false],
    ['172.32.0.1', true],
    ['192.168.1.1', false],
    ['224.0.0.1', false],
    ['255.255.255.255', false],
    ['::', false],
    ['::1', false],
    ['::ffff:8.8.8.8', false],
    ['::ffff:10.0.0.1', false],
    ['64:ff9b::a00:1', false],
    ['2002:a00:1::', false],
    ['2001::1', false],
    ['fc00::1', false],
    ['fe80::1', false],
    ['ff02::1', false],
    ['not an address', false],
  ])('%s is of the internet: %s', (address, expected) => {
    expect(isPublic(address)).toBe(expected)
  })

  it.each([
    ['10.20.0.0/16', true],
    ['fd00::/8', true],
    ['127.0.0.1', true],
    ['deploy.internal.example', true],
    ['10.20.0.0/33', false],
    ['deploy.example/16', false],
    ['https://deploy.example', false],
    ['', false],
    ['Deploy.Example', false],
  ])('"%s" may stand in hooks.allow: %s', (entry, expected) => {
    expect(allowedProblem(entry) === null).toBe(expected)
  })
})
