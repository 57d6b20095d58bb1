import { lookup } from 'node:dns/promises'
import http from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { HookAnswer, HookCall, HookCaller } from '../domain/hook.ts'
import { createHookKeys, signedHeaders } from '../domain/hook.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock } from '../domain/time.ts'
import { timeoutOf } from '../domain/time.ts'
import { allowances, isPublic } from './addresses.ts'

/** All of it: the name, the connection and the answer. A hung receiver holds a worker no longer. */
const timeoutMs = 5_000

/** What the lifecycle calls hooks with, and the keys their receivers know it by. */
export function createHooks({ root, ...options }: HookOptions & { readonly root: Secret }) {
  return { ...createHookCaller(options), keys: createHookKeys(root) }
}

export interface HookOptions {
  readonly clock: Clock
  /** Hosts, addresses and ranges that may be called although they are not on the internet. */
  readonly allow: readonly string[]
  /** Every address of a name; the machine's own way unless told otherwise. */
  readonly resolve?: (host: string) => Promise<readonly string[]>
}

/**
 * Calls reload hooks, which anybody who may write an account chooses: so a call must not reach what
 * only this machine can reach. The name is resolved once and the connection goes to the address
 * that was checked; redirects are not followed, and of the answer only its status is read.
 */
export function createHookCaller({ clock, allow, resolve = resolveAll }: HookOptions): HookCaller {
  const allowed = allowances(allow)

  async function target(url: URL): Promise<{ readonly address: string } | HookAnswer> {
    const host = url.hostname.replace(/^\[|\]$/g, '')
    const addresses = isIP(host) === 0 ? await resolve(host) : [host]
    const [first] = addresses
    if (first === undefined) return { outcome: 'failed', reason: 'its host has no address' }
    const isAllowed = (address: string) => allowed.host(host) || allowed.address(address)
    // One name with an address inside and one outside would be a game of chance.
    if (!addresses.every((address) => isPublic(address) || isAllowed(address))) {
      const reason =
        'its host is inside the network; the server’s configuration would have to allow it (hooks.allow)'
      return { outcome: 'refused', reason }
    }
    if (url.protocol === 'https:') return { address: first }
    return url.protocol === 'http:' && addresses.every(isAllowed)
      ? { address: first }
      : { outcome: 'refused', reason: 'it is not https' }
  }

  async function call(wanted: HookCall, signal: AbortSignal): Promise<HookAnswer> {
    const url = new URL(wanted.url)
    const to = await withSignal(target(url), signal)
    return 'address' in to ? send(wanted, url, to.address, signal) : to
  }

  async function send(wanted: HookCall, url: URL, address: string, signal: AbortSignal) {
    const status = await new Promise<number>((done, reject) => {
      const family = isIP(address)
      const request = (url.protocol === 'https:' ? https : http).request(
        url,
        {
          method: 'POST',
          signal,
          agent: false,
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(wanted.body),
            'user-agent': 'custody',
            ...signedHeaders(wanted, clock.now()),
          },
          lookup: (_host, options, answer) =>
            options.all ? answer(null, [{ address, family }]) : answer(null, address, family),
        },
        (response) => {
          done(response.statusCode ?? 0)
          response.destroy()
        },
      )
      request.on('error', reject)
      request.end(wanted.body)
    })
    if (status >= 200 && status < 300) return { outcome: 'delivered', status } as const
    const hint = status >= 300 && status < 400 ? '; redirects are not followed' : ''
    return { outcome: 'failed', reason: `it answered ${status}${hint}` } as const
  }

  return {
    async call(wanted) {
      const signal = timeoutOf(clock, timeoutMs)
      try {
        return await call(wanted, signal)
      } catch (error) {
        const reason = signal.aborted
          ? `it did not answer within ${timeoutMs / 1_000} s`
          : `it could not be reached (${codeOf(error)})`
        return { outcome: 'failed', reason }
      }
    },
  }
}

async function resolveAll(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}

/** What the operating system calls it; the text of an error may quote anything. */
function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? code : 'unknown'
}

/** A name server may take longer than we have. */
async function withSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  return Promise.race([work, promise])
}
