import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { AppError } from '../domain/errors.ts'
import { errors } from '../domain/errors.ts'
import type { ClientId } from '../domain/ids.ts'
import type { AttributeSighting, ScimRequest } from '../domain/ledger.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Authenticate } from './auth.ts'
import { acceptedClientOf, refusedClientOf } from './auth.ts'
import { toAppError } from './errors.ts'
import { pageOf } from './fields.ts'
import type { WriteOf } from './failure-log.ts'
import { keepFailures, writesOf } from './failure-log.ts'
import { maskBody, maskQuery, maskStart } from './mask.ts'
import { Sightings } from './sightings.ts'
import type { HttpHost } from './server.ts'

const keepSeconds = 30 * day
const bodyMax = 4_096
const textMax = 1_024
/** One commit for many requests: a durable row per read would cost more than the read. */
const flushMilliseconds = 1_000
const flushRows = 200
/**
 * Lists that succeeded, of one client in one second. A sync that looks people up is kept whole; what
 * asks thousands of times a second would make a row of each, which cost as much as the answer (123
 * against 56 µs, 2026-11), and push the rest out of sight. Each is in `custody_http_request_seconds`.
 */
const listsMax = 20

/**
 * What clients sent to SCIM and got (issue: "why does the sync fail?"): every write, everything refused
 * and a client's lists, up to `listsMax` a second; single reads that succeeded say nothing. Masked
 * before it is kept, for 30 days.
 */
export class RequestLog {
  readonly #host: HttpHost
  readonly #sightings = new Sightings()
  #rows: ScimRequest[] = []
  #writes: WriteOf[] = []
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> = Promise.resolve()
  #second = -1
  readonly #lists = new Map<ClientId, number>()

  constructor(host: HttpHost) {
    this.#host = host
  }

  /** Watches the routes registered below `app`. */
  watch(app: FastifyInstance, authenticate: Authenticate): void {
    const failures = new WeakMap<FastifyRequest, AppError>()
    app.addHook('onError', async (request, _reply, error) => {
      failures.set(request, toAppError(error, request))
    })
    const note = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
      const caller = await authenticate(request).catch(() => null)
      const client = caller?.client ?? refusedClientOf(request)
      if (client === null) return
      this.#sightings.add(client, request, this.#host.clock.now())
      const shape = this.#shapeOf(request, reply, failures.get(request) ?? null)
      const of = { tenant: client.tenant, client: client.id }
      // The second of a bulk request needs an id of its own.
      const writes = writesOf(request, shape).map((write, i) => ({
        ...write,
        ...of,
        id: i === 0 ? shape.id : this.#host.ids.next(),
      }))
      this.#add({ ...of, ...shape }, writes)
    }
    app.addHook('onResponse', (request, reply, done) => {
      const isRead =
        (request.method === 'GET' || request.method === 'HEAD') && reply.statusCode < 400
      const isOne = isRead && (request.params as { id?: string }).id !== undefined
      // Only a session comes without: what the console looks up would drown what connections send.
      const isConsole = isRead && request.headers.authorization === undefined
      if (isOne || isConsole || request.routeOptions.config.open) return done()
      const searches = request.routeOptions.config.reads === true && reply.statusCode < 400
      // Without a promise: of a client that asks all the time, most end here.
      const asks = isRead || searches ? acceptedClientOf(request) : null
      if (asks !== null && !this.#countsIn(asks.id)) return done()
      note(request, reply).then(() => done(), done)
    })
    app.addHook('onClose', () => this.flush())
  }

  async flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    const rows = this.#rows.splice(0)
    const writes = this.#writes.splice(0)
    const sightings = this.#sightings.take()
    if (rows.length > 0) {
      this.#writing = this.#writing.then(() => this.#write(rows, sightings, writes))
    }
    await this.#writing
  }

  async #write(
    requests: readonly ScimRequest[],
    sightings: readonly AttributeSighting[],
    writes: readonly WriteOf[],
  ): Promise<void> {
    const before = addSeconds(this.#host.clock.now(), -keepSeconds)
    try {
      await this.#host.store.commit([
        { type: 'scimRequests', requests, before },
        ...(sightings.length > 0 ? [{ type: 'sightings', sightings, before } as const] : []),
      ])
      await keepFailures(this.#host, writes)
    } catch (error) {
      this.#host.log({
        level: 'warn',
        request: '',
        method: '',
        route: 'request log',
        status: 0,
        code: 'requestLogNotKept',
        milliseconds: 0,
        error,
      })
    }
  }

  #add(row: ScimRequest, writes: readonly WriteOf[]): void {
    this.#rows.push(row)
    this.#writes.push(...writes)
    if (this.#rows.length >= flushRows) void this.flush()
    else this.#timer ??= setTimeout(() => void this.flush(), flushMilliseconds).unref()
  }

  /** Whether one more list of this client is kept. */
  #countsIn(client: ClientId): boolean {
    const second = Math.floor(this.#host.clock.monotonic() / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#lists.clear()
    }
    const count = (this.#lists.get(client) ?? 0) + 1
    this.#lists.set(client, count)
    return count <= listsMax
  }

  #shapeOf(
    request: FastifyRequest,
    reply: FastifyReply,
    failure: AppError | null,
  ): Omit<ScimRequest, 'tenant' | 'client'> {
    // PostgreSQL keeps no NUL: one `%00` would cost all rows of its commit, other clients' as well.
    const storable = (value: string): string => value.slice(0, textMax).replaceAll('\0', '\uFFFD')
    const text = (value: string | null | undefined): string | null =>
      value ? storable(maskStart(value, textMax)) : null
    const { id } = (request.params ?? {}) as { id?: string }
    const query = request.url.split('?').slice(1).join('?')
    return {
      id: request.id,
      at: this.#host.clock.now(),
      method: request.method,
      route: (request.routeOptions.url ?? request.url.split('?')[0]!)
        .replace(/^\/scim(?:\/v2)?/, '')
        .slice(0, 200),
      target: text(id),
      query: query ? storable(maskQuery(query.slice(0, 4 * textMax))) : null,
      agent: text(request.headers['user-agent']),
      status: reply.statusCode,
      error: text(failure?.message),
      scimType: failure?.scimType ?? null,
      body: maskBody(request.body, bodyMax),
      milliseconds: Math.round(reply.elapsedTime * 10) / 10,
    }
  }
}

/** `GET /api/v1/scim-requests?client=&status=`: newest first, for those who may read the audit log. */
export function requestLogRoutes(
  app: FastifyInstance,
  host: HttpHost,
  authenticate: Authenticate,
  log: RequestLog,
): void {
  app.get('/scim-requests', async (request) => {
    const caller = await authenticate(request)
    host.engine.authorise(caller, 'audit.read', { type: 'audit', id: 'any' })
    const { client, status } = request.query as Readonly<Record<string, string | undefined>>
    const { after, limit } = pageOf(request.query)
    await log.flush()
    const rows = await host.store.read.scimRequests({
      tenant: caller.tenant,
      ...(client === undefined ? {} : { client }),
      ...statusOf(status),
      after,
      limit,
    })
    const items = rows.map(({ tenant: _tenant, ...row }) => row)
    return { items, cursor: items.length === limit ? (items.at(-1)?.id ?? null) : null }
  })
}

function statusOf(status: string | undefined): { status?: number; failed?: boolean } {
  if (status === undefined) return {}
  if (status === 'failed') return { failed: true }
  if (/^[1-5]\d\d$/.test(status)) return { status: Number(status) }
  throw errors.invalidValue({ path: 'status', reason: 'must be an HTTP status, or "failed".' })
}
