import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import type { Secret } from '../domain/secret.ts'
import type { IdSource } from '../domain/ids.ts'
import type { Clock } from '../domain/time.ts'
import { errors } from '../domain/errors.ts'
import type { Engine, Tokens } from '../lifecycle/engine.ts'
import type { Store } from '../store/store.ts'
import { apiRoutes } from './api.ts'
import { createAuthenticate } from './auth.ts'
import { acceptJson, bodyBytesMax } from './body.ts'
import { clientRoutes } from './clients.ts'
import { sendError, toAppError } from './errors.ts'
import { opsRoutes } from './ops.ts'
import { scimRoutes } from './scim.ts'

export interface HttpHost {
  readonly engine: Engine
  readonly tokens: Tokens
  readonly store: Store
  readonly clock: Clock
  readonly ids: IdSource
  readonly pepper: Secret
  /** The public base without a trailing slash; asked per request, since the bound port may decide it. */
  readonly baseUrl: () => string
  /** null = ready; otherwise the reason in words. */
  readonly notReady: () => string | null
  /** One event per failed request; the cause is for the operator only. */
  readonly log: (event: HttpEvent) => void
}

export interface HttpEvent {
  readonly level: 'debug' | 'warn' | 'error'
  readonly request: string
  readonly method: string
  /** The route's pattern, never the URL: a filter may hold a name or worse. */
  readonly route: string
  readonly status: number
  readonly code: string | null
  readonly milliseconds: number
  readonly error: unknown
}

/** Everything that is served over HTTP, not yet listening. */
export async function createServer(host: HttpHost): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    // Slow bodies end here: Node's default is to wait for ever.
    requestTimeout: 30_000,
    genReqId: () => host.ids.next(),
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true, maxParamLength: 512 },
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
  })
  acceptJson(app)
  app.setErrorHandler((error, request, reply) => {
    const known = toAppError(error, request)
    if (known.status >= 500 && known.code === 'internal') {
      host.log(eventOf('error', request, reply, known.status, known.code, error))
    }
    return sendError(reply, request, known)
  })
  app.setNotFoundHandler((request, reply) =>
    sendError(
      reply,
      request,
      errors.noSuchRoute({ method: request.method, path: pathOf(request.url) }),
    ),
  )
  app.addHook('onResponse', (request, reply, done) => {
    host.log(eventOf('debug', request, reply, reply.statusCode, null, null))
    done()
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    void reply.headers({
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    done(null, payload)
  })

  app.addHook('onRequest', (request, _reply, done) => done(repeatedParameter(request.query)))

  const authenticate = createAuthenticate(host)
  await app.register(scimRoutes(host, authenticate), { prefix: '/scim/v2' })
  await app.register(scimRoutes(host, authenticate), { prefix: '/scim' })
  await app.register(apiRoutes(host, authenticate), { prefix: '/api/v1' })
  await app.register(clientRoutes(host, authenticate), { prefix: '/api/v1' })
  await app.register(opsRoutes(host, authenticate))
  return app
}

/** Every parameter has one value: which of two is meant nobody can tell (RFC 6749 §3.1 says the same). */
function repeatedParameter(query: unknown): Error | undefined {
  const found = Object.entries(query ?? {}).find(([, value]) => Array.isArray(value))
  return found === undefined
    ? undefined
    : errors.invalidSyntax({
        reason: `The parameter "${found[0].slice(0, 100)}" is sent more than once; send it once.`,
      })
}

function pathOf(url: string): string {
  return url.split('?')[0]!.slice(0, 200)
}

function eventOf(
  level: HttpEvent['level'],
  request: { id: string; method: string; routeOptions: { url?: string | undefined } },
  reply: { elapsedTime: number },
  status: number,
  code: string | null,
  error: unknown,
): HttpEvent {
  return {
    level,
    request: request.id,
    method: request.method,
    route: request.routeOptions.url ?? 'unknown',
    status,
    code,
    milliseconds: Math.round(reply.elapsedTime * 10) / 10,
    error,
  }
}
