import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import type { Secret } from '../domain/secret.ts'
import type { IdSource } from '../domain/ids.ts'
import type { Clock } from '../domain/time.ts'
import type { Tracer } from '../domain/trace.ts'
import { errors } from '../domain/errors.ts'
import type { Engine, Tokens } from '../lifecycle/engine.ts'
import type { Store } from '../store/store.ts'
import type { CheckpointSigner } from '../domain/checkpoint.ts'
import { apiRoutes } from './api.ts'
import { auditRoutes } from './audit.ts'
import { approvalRoutes } from './approvals.ts'
import { replicaRoutes } from './replicas.ts'
import { sealRoutes } from './seal.ts'
import type { Authenticate } from './auth.ts'
import { createAuthenticate } from './auth.ts'
import { acceptJson, bodyBytesMax } from './body.ts'
import { refuseUnknown } from './accepts.ts'
import { clientRoutes } from './clients.ts'
import { consoleRoutes, frontDoor } from './console/console.ts'
import { sessionRoutes } from './console/session.ts'
import { streamRoutes } from './console/stream.ts'
import { drainConnections } from './drain.ts'
import { directoryMoveRoutes } from './directory-moves.ts'
import { failedRequestRoutes } from './failed-requests.ts'
import { exceptionRoutes } from './exceptions.ts'
import { directoryRoutes } from './directories.ts'
import { findingRoutes } from './findings.ts'
import { importRoutes } from './imports.ts'
import { consumerRoutes } from './consumers.ts'
import { listingRoutes } from './listings.ts'
import { reportRoutes } from './reports.ts'
import { shadowRoutes } from './shadow.ts'
import { taskRoutes } from './tasks.ts'
import { scimErrorUrn, sendError, toAppError } from './errors.ts'
import { acceptIdempotencyKeys } from './idempotency.ts'
import type { Metrics } from './metrics.ts'
import { leaveDateRoutes } from './leave-dates.ts'
import { leakRoutes } from './leaks.ts'
import { metricsRoute } from './metrics.ts'
import { traceRequests } from './traces.ts'
import type { Traffic } from './traffic.ts'
import { oauthRoutes } from './oauth.ts'
import { openApiRoutes } from './openapi/routes.ts'
import { opsRoutes } from './ops.ts'
import { providerSwitchRoutes } from './provider-switch.ts'
import { providerRoutes } from './providers.ts'
import type { RateLimit } from './rate-limit.ts'
import { createRateLimit, standardRate } from './rate-limit.ts'
import { RequestLog, requestLogRoutes } from './request-log.ts'
import { scimRoutes } from './scim.ts'
import { ejectRoutes } from './eject.ts'
import { undoRoutes } from './undo.ts'
import { sightingRoutes } from './sightings.ts'

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
  /** It is asked to end: kept connections are to be closed with their next answer. */
  readonly stopping?: () => boolean
  /** Somebody asks `/readyz`, and so perhaps sends requests by what it says. */
  readonly onReadyAsked?: () => void
  /** Whose public key checkpoints are checked with. */
  readonly signer: Pick<CheckpointSigner, 'verifierKeyOf'>
  readonly metrics: Metrics
  /** Counts what is served. */
  readonly traffic?: Traffic
  readonly tracer?: Tracer | null
  /** SCIM requests per client; absent = the standard, null = unlimited. */
  readonly rateLimit?: RateLimit | null
  readonly version?: string
  /** Shows made-up data to somebody who looks around: the console offers a tour. */
  readonly isDemo?: boolean
  /** One event per failed request; the cause is for the operator only. */
  readonly log: (event: HttpEvent) => void
  /** Whether an event of the level would be written at all. */
  readonly logs: (level: HttpEvent['level']) => boolean
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Public: nobody is authenticated, counted or logged. */
    open?: boolean
    /** A POST that changes nothing. */
    reads?: boolean
    /** Answers with a secret, which is not kept for a replay. */
    secretAnswer?: boolean
  }
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
    // What a kept connection still brings is answered, and the connection closed with the answer.
    return503OnClosing: false,
    clientErrorHandler: refuseUnread,
    // What fails before a route is found: a path that is no valid encoding, a parameter too long.
    frameworkErrors: (error, request, reply) => {
      void sendError(reply, request, toAppError(error, request))
    },
  })
  const methods = collectMethods(app)
  traceRequests(app, host.tracer ?? null)
  host.traffic?.watch(app)
  acceptJson(app)
  drainConnections(app)
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
    if (host.logs('debug')) {
      host.log(eventOf('debug', request, reply, reply.statusCode, null, null))
    }
    done()
  })
  app.addHook('onRequest', (request, _reply, done) => {
    const query = (request.query ?? {}) as Readonly<Record<string, unknown>>
    const twice = Object.keys(query).find((name) => Array.isArray(query[name]))
    if (twice === undefined) return done()
    const reason = 'is given more than once; give it once.'
    done(errors.invalidValue({ path: twice, reason }))
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    void reply.headers({
      'x-request-id': request.id,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    })
    // Whoever keeps the connection reads so before the next request; one that is cut while it is idle
    // may have a request on its way, and nobody could tell whether that was begun.
    if (host.stopping?.()) void reply.header('connection', 'close')
    done(null, payload)
  })

  const authenticate = createAuthenticate(host)
  const log = new RequestLog(host)
  const take = createRateLimit(
    host.rateLimit === undefined ? standardRate : host.rateLimit,
    host.clock,
  )
  for (const prefix of ['/scim/v2', '/scim']) {
    await app.register(
      async (scim) => {
        // Forms are for OAuth; in SCIM they are a type of body like any other we do not read.
        scim.removeContentTypeParser('application/x-www-form-urlencoded')
        log.watch(scim, authenticate)
        admit(scim, authenticate, take)
        acceptIdempotencyKeys(scim, host, authenticate)
        await scim.register(scimRoutes(host, authenticate))
      },
      { prefix },
    )
  }
  await app.register(
    async (api) => {
      refuseUnknown(api, '/api/v1')
      acceptIdempotencyKeys(api, host, authenticate)
      await api.register(sessionRoutes(host, authenticate))
      await api.register(streamRoutes(host, authenticate))
      await api.register(apiRoutes(host, authenticate))
      await api.register(listingRoutes(host, authenticate))
      await api.register(approvalRoutes(host, authenticate))
      await api.register(clientRoutes(host, authenticate))
      auditRoutes(api, host, authenticate)
      await api.register(directoryRoutes(host, authenticate))
      await api.register(findingRoutes(host, authenticate))
      await api.register(exceptionRoutes(host, authenticate))
      await api.register(importRoutes(host, authenticate))
      await api.register(taskRoutes(host, authenticate))
      await api.register(consumerRoutes(host, authenticate))
      await api.register(shadowRoutes(host, authenticate))
      await api.register(reportRoutes(host, authenticate))
      await api.register(leakRoutes(host, authenticate))
      await api.register(leaveDateRoutes(host, authenticate))
      await api.register(replicaRoutes(host, authenticate))
      await api.register(sealRoutes(host, authenticate))
      await api.register(providerRoutes(host, authenticate))
      await api.register(providerSwitchRoutes(host, authenticate))
      await api.register(ejectRoutes(host, authenticate))
      await api.register(undoRoutes(host, authenticate))
      await api.register(directoryMoveRoutes(host, authenticate))
      await api.register(failedRequestRoutes(host, authenticate, log))
      requestLogRoutes(api, host, authenticate, log)
      sightingRoutes(api, host, authenticate, log)
    },
    { prefix: '/api/v1' },
  )
  await app.register(opsRoutes(host, authenticate))
  metricsRoute(app, host.metrics, authenticate)
  await app.register(oauthRoutes(host, authenticate))
  await app.register(openApiRoutes(host.version ?? '0.0.0'))
  await app.register(await consoleRoutes(host), { prefix: '/console' })
  frontDoor(app)
  refuseOtherMethods(app, methods)
  return app
}

/** Who calls, and how often, is known before a body is read. */
function admit(
  app: FastifyInstance,
  authenticate: Authenticate,
  take: (client: string) => void,
): void {
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.config.open) return
    const { client } = await authenticate(request)
    take(client.id)
  })
}

const httpMethods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** Which methods each path has, filled while routes are registered. */
function collectMethods(app: FastifyInstance): ReadonlyMap<string, ReadonlySet<string>> {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set()
    for (const name of [method].flat()) known.add(name)
    methods.set(url, known)
  })
  return methods
}

/** A path that exists answers 405 with `Allow` to every other method (RFC 9110 §15.5.6), never 404. */
function refuseOtherMethods(
  app: FastifyInstance,
  methods: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  // A copy: registering a route adds to the map that is walked here.
  for (const [url, known] of Array.from(methods)) {
    const allow = [...known].sort().join(', ')
    const others = httpMethods.filter((method) => !known.has(method))
    if (others.length === 0) continue
    app.route({
      method: others,
      url,
      handler: (request) => {
        throw errors.methodNotAllowed({ method: request.method, allow })
      },
    })
  }
}

/**
 * What is no HTTP request that can be read has no route either: it is answered in SCIM, whose filters
 * are what makes a URL too long.
 */
function refuseUnread(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const [status, detail] = unread[error.code ?? ''] ?? [
    '400 Bad Request',
    'The request is not HTTP that can be read.',
  ]
  const body = JSON.stringify({ schemas: [scimErrorUrn], status: status.slice(0, 3), detail })
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/scim+json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    // Else whoever never closes their side would keep the connection.
    () => socket.destroy(),
  )
}

const unread: Readonly<Record<string, readonly [status: string, detail: string]>> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'URL and headers are longer than 16 KiB; send long filters to POST /.search.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request came too slowly; send it again.'],
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
