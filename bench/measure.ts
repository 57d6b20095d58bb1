import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { cpuSeconds, rssAnon } from './process.ts'
import type { Server } from './process.ts'

/** What one connection asks for, over and over. */
export type Ask =
  | { readonly method: 'GET'; readonly path: string }
  | { readonly method: 'POST' | 'PATCH'; readonly path: string; readonly body: () => string }

export interface Load {
  readonly connections: number
  /** The requests of one connection, in turn. */
  readonly asks: (connection: number) => readonly Ask[]
  readonly token: string
  /** Of whom answers so slowly that a short time might see none. */
  readonly leastSeconds?: number
}

export interface Sample {
  readonly perSecond: number
  /** Processor time per request, all threads, in µs. */
  readonly cpu: number
  /** How much of its core the server used: well below 1, something else was the bottleneck. */
  readonly busy: number
  readonly p50: number
  readonly p99: number
  readonly rssAnon: number
}

/** `Accept` as identity providers send it: a PATCH without one is answered with 204. */
const headersOf = (token: string) => ({
  authorization: `Bearer ${token}`,
  accept: 'application/scim+json',
})

/** One request, to see that it does what is going to be timed. @throws Error when it does not */
export async function probe(
  server: Server,
  ask: Ask,
  token: string,
  check: (body: string, status: number) => void,
): Promise<void> {
  const answer = await fetch(`${server.url}${ask.path}`, {
    method: ask.method,
    headers: {
      ...headersOf(token),
      ...(ask.method === 'GET' ? {} : { 'content-type': 'application/scim+json' }),
    },
    ...(ask.method === 'GET' ? {} : { body: ask.body() }),
  })
  const body = await answer.text()
  if (!answer.ok) throw new Error(`${ask.method} ${ask.path}: ${answer.status} ${body}`)
  check(body, answer.status)
}

/**
 * Loads a server for some seconds.
 * @throws Error when any answer was not 2xx, or did not come
 */
export async function measure(server: Server, load: Load, seconds: number): Promise<Sample> {
  const cpuBefore = cpuSeconds(server.pid)
  const since = performance.now()
  const result = await run(server, load, Math.max(seconds, load.leastSeconds ?? 0))
  const elapsed = (performance.now() - since) / 1_000
  const cpu = cpuSeconds(server.pid) - cpuBefore
  const answered = result['2xx']
  if (result.non2xx + result.errors + result.timeouts > 0 || answered === 0) {
    throw new Error(
      `${load.asks(0)[0]!.method} ${load.asks(0)[0]!.path}: ${answered} answers 2xx, ${result.non2xx} others, ${result.errors} errors, ${result.timeouts} timeouts`,
    )
  }
  return {
    perSecond: answered / result.duration,
    cpu: (cpu / answered) * 1e6,
    busy: cpu / elapsed,
    p50: result.latency.p50,
    p99: result.latency.p99,
    rssAnon: rssAnon(server.pid),
  }
}

function run(server: Server, load: Load, seconds: number): Promise<autocannon.Result> {
  let connection = 0
  return autocannon({
    url: server.url,
    connections: load.connections,
    duration: seconds,
    headers: headersOf(load.token),
    setupClient: (client) => {
      client.setRequests(load.asks(connection++).map(requestOf))
    },
  })
}

function requestOf(ask: Ask): autocannon.Request {
  if (ask.method === 'GET') return { method: 'GET', path: ask.path }
  return {
    method: ask.method,
    path: ask.path,
    headers: { 'content-type': 'application/scim+json' },
    // Built anew for each request.
    setupRequest: (request) => ({ ...request, body: ask.body() }),
  }
}

/** Waits until a server has nothing left to do, so that the next case does not pay for this one. */
export async function drain(server: Server): Promise<void> {
  const idleFor = 150
  for (let waited = 0; waited < 10_000; waited += idleFor) {
    const before = cpuSeconds(server.pid)
    await sleep(idleFor)
    if (cpuSeconds(server.pid) - before <= 0.01) return
  }
}

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  /** What it is made of, in the order of the rounds. */
  readonly values: readonly number[]
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median =
    sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)!, values }
}
