import type { Transport, WireAnswer, WireRequest } from '../../src/provider/contract.ts'
import { AwsError } from '../../src/sandbox/aws/error.ts'
import { answerError, openEnvelope, respond } from '../../src/sandbox/aws/respond.ts'
import type { AwsWorld } from '../../src/sandbox/aws.ts'
import { proxyPage } from '../../src/sandbox/aws.ts'
import { answer, operationOf } from '../../src/sandbox/github-routes.ts'
import type { GithubWorld } from '../../src/sandbox/github.ts'
import type { Process } from './process.ts'
import type { Scheduler } from './scheduler.ts'

export const awsUrl = 'https://aws.invalid'
export const githubUrl = 'https://github.invalid'

/** What goes wrong with a call (trust.md R6). `after` = the effect has happened by then. */
export const troubles = [
  'throttle',
  'error before',
  'error after',
  'reset before',
  'reset after',
  'silence before',
  'silence after',
  'slow',
  'denied',
  'garbage after',
] as const
export type Trouble = (typeof troubles)[number]

/** Which troubles are about, and how often each strikes; empty = a good day. */
export type Weather = ReadonlyMap<Trouble, number>

export interface Worlds {
  readonly aws: AwsWorld
  readonly github: GithubWorld
}

/** The providers as a process reaches them: no sockets, and the weather in between. */
export function transportOf(
  process: Process,
  scheduler: Scheduler,
  worlds: Worlds,
  weather: () => Weather,
): Transport {
  const { chance } = scheduler
  return async (request, signal) => {
    const service = request.url.origin === githubUrl ? github(worlds.github) : aws(worlds.aws)
    const trouble = draw(scheduler, weather())
    await process.step(5 + chance.below(60))
    if (signal?.aborted) throw new Error('given up before it was sent')
    if (trouble === 'slow') await silence(process, signal, 1_000 + chance.below(12_000))
    if (trouble === 'silence before') await silence(process, signal, 120_000)
    if (trouble === 'reset before') throw new Error('ECONNRESET')
    if (trouble === 'throttle') return service.throttled(request)
    if (trouble === 'error before') return service.failed(request)
    if (trouble === 'denied') return service.denied(request)
    const answered = service.act(request)
    await process.step(5 + chance.below(60))
    if (trouble === 'silence after') await silence(process, signal, 120_000)
    if (trouble === 'reset after') throw new Error('ECONNRESET')
    if (trouble === 'error after') return service.failed(request)
    if (trouble === 'garbage after') return proxyPage(answered)
    return answered
  }
}

function draw({ chance }: Scheduler, weather: Weather): Trouble | null {
  for (const [trouble, rate] of weather) {
    if (chance.happens(rate)) return trouble
  }
  return null
}

/** Waits, unless whoever waits gives up. */
async function silence(
  process: Process,
  signal: AbortSignal | null,
  milliseconds: number,
): Promise<void> {
  const aborted = new Promise<never>((_resolve, reject) => {
    signal?.addEventListener('abort', () => {
      const error = new Error('timeout')
      error.name = 'TimeoutError'
      reject(error)
    })
  })
  await Promise.race([process.step(milliseconds), aborted])
}

interface Service {
  act(request: WireRequest): WireAnswer
  throttled(request: WireRequest): WireAnswer
  failed(request: WireRequest): WireAnswer
  denied(request: WireRequest): WireAnswer
}

function aws(world: AwsWorld): Service {
  const envelope = ({ method, url, headers, body }: WireRequest) =>
    openEnvelope({
      method,
      url: `${url.pathname}${url.search}`,
      headers,
      body: Buffer.from(body),
    })
  const refuse =
    (code: string, message: string) =>
    (request: WireRequest): WireAnswer =>
      answerError(envelope(request).service, new AwsError(code, message))
  return {
    act: (request) => respond(world, envelope(request)),
    throttled: refuse('Throttling', 'Rate exceeded'),
    failed: (request) =>
      answerError(
        envelope(request).service,
        new AwsError(
          envelope(request).service === 'iam' ? 'ServiceFailure' : 'InternalFailure',
          'Try again.',
        ),
      ),
    denied: refuse('AccessDenied', 'not authorized to perform this'),
  }
}

function github(world: GithubWorld): Service {
  const date = () => new Date(world.clock.now()).toUTCString()
  const reply = (
    status: number,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ) => ({
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', date: date(), ...headers },
    body: body === undefined ? '' : JSON.stringify(body),
  })
  return {
    act({ method, url, headers, body }) {
      const target = `${url.pathname}${url.search}`
      if (operationOf(world, method, target) === null) throw new Error(`${method} ${target}`)
      const authorization = headers['authorization']
      const parsed: unknown = body === '' ? undefined : JSON.parse(body)
      const r = answer(world, { method, target, authorization, body: parsed }, githubUrl)
      return reply(r.status, r.body, r.headers)
    },
    throttled: () =>
      reply(403, { message: 'You have exceeded a secondary rate limit.' }, { 'retry-after': '1' }),
    failed: () => reply(502, { message: 'Server Error' }),
    denied: () => reply(403, { message: 'Resource not accessible by integration' }),
  }
}
