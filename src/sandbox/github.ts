import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../domain/time.ts'
import { Faults } from './faults.ts'
import { answer, operationOf, type GithubResponse } from './github-routes.ts'
import type { GithubLimitSettings } from './github-limits.ts'
import { GithubLimits } from './github-limits.ts'
import type { Caller } from './github-world.ts'
import { GithubWorld } from './github-world.ts'

export { generateAppKey, GithubWorld, keyFingerprint } from './github-world.ts'
export type {
  DeployKey,
  GithubWorldOptions,
  Installation,
  InstallationToken,
  Repository,
} from './github-world.ts'

export interface GithubSandboxOptions {
  readonly clock: Clock
  /** 0, the default, takes a free port on 127.0.0.1. */
  readonly port?: number
  readonly world?: GithubWorld
  readonly faults?: Faults
  /** GitHub answers an exceeded secondary limit with either. */
  readonly throttleStatus?: 403 | 429
  /** Secondary limits; default none. The primary one is the world's `rateLimit`. */
  readonly limits?: GithubLimitSettings
}

export interface GithubSandbox {
  readonly url: string
  readonly world: GithubWorld
  readonly faults: Faults
  readonly limits: GithubLimits
  /** The latest requests in order, as `METHOD /path/template status`; 0 = no answer was sent. */
  readonly requests: readonly string[]
  close(): Promise<void>
}

const bodyBytesMax = 1_048_576
/** The oldest go first: a sandbox that runs for days must not grow with every request. */
const requestsMax = 10_000

/** GitHub on a loopback port: a stateful world behind GitHub's own description, with fault switches. */
export async function startGithubSandbox(options: GithubSandboxOptions): Promise<GithubSandbox> {
  const world = options.world ?? new GithubWorld({ clock: options.clock })
  const faults = options.faults ?? new Faults()
  const limits = new GithubLimits(world.clock, options.limits ?? {})
  const requests: string[] = []
  let url = ''

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const method = request.method ?? 'GET'
    const target = request.url ?? '/'
    const operation = operationOf(world, method, target) ?? `${method} ${target}`
    const who = callerName(world.authenticate(request.headers.authorization))
    const refusal = limits.enter(who, method, operation)
    response.once('close', () => limits.leave(who))
    const text = await readText(request)
    const fault = refusal ? null : faults.take(operation)
    const act = () => {
      const body = parse(text)
      return body === malformed
        ? problem(400, 'Problems parsing JSON')
        : answer(world, { method, target, authorization: request.headers.authorization, body }, url)
    }
    const record = (status: number) => {
      if (requests.push(`${operation} ${status}`) > requestsMax) requests.shift()
    }
    const reply = (r: GithubResponse) => {
      record(r.status)
      const date = new Date(world.clock.now()).toUTCString()
      response.writeHead(r.status, {
        ...(r.body === undefined ? {} : jsonType),
        ...r.headers,
        date,
      })
      response.end(r.body === undefined ? undefined : JSON.stringify(r.body))
    }
    const cut = () => {
      record(0)
      request.socket.destroy()
    }

    if (refusal) return reply(refusal)
    switch (fault?.kind) {
      case undefined:
        return reply(act())
      case 'reset':
        return cut()
      case 'lostResponse':
        act()
        return cut()
      case 'throttle': {
        const words = 'You have exceeded a secondary rate limit. Please wait a few minutes.'
        const headers = { 'retry-after': String(fault.retryAfterSeconds) }
        return reply(problem(options.throttleStatus ?? 403, words, headers))
      }
      case 'serverError':
        if (fault.effect) act()
        return reply(problem(502, 'Server Error'))
      case 'garbage': {
        const { status } = act()
        record(status)
        response.writeHead(status, { 'content-type': 'text/html' }).end('<html>Bad gateway</html>')
        return
      }
      case 'delay':
        await delay(fault.milliseconds)
        return reply(act())
      case 'hold': {
        const r = act()
        await faults.hold()
        return reply(r)
      }
    }
  }

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      // A bug of the sandbox must be loud, and must not look like an answer of GitHub's.
      response.writeHead(500, jsonType)
      response.end(JSON.stringify({ message: `sandbox failed: ${String(error)}` }))
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    world,
    faults,
    limits,
    requests,
    close: () => {
      faults.release()
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** Limits are counted by installation, by App, or for all who are nobody together. */
function callerName(caller: Caller): string {
  return caller.type === 'installation'
    ? `installation ${caller.token.installationId}`
    : caller.type
}

const jsonType = { 'content-type': 'application/json; charset=utf-8' }
const malformed = Symbol('malformed')

function parse(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return malformed
  }
}

function problem(
  status: number,
  message: string,
  headers: Record<string, string> = {},
): GithubResponse {
  const body = { message, documentation_url: 'https://docs.github.com/rest', status: `${status}` }
  return { status, headers, body }
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > bodyBytesMax) throw new Error('the body is larger than the sandbox reads')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
