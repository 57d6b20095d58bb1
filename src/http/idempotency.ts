import { createHmac } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { Replay } from '../domain/ledger.ts'
import { addSeconds, hour, minute } from '../domain/time.ts'
import type { Authenticate } from './auth.ts'
import { isOutcomeUnknown } from './errors.ts'
import type { HttpHost } from './server.ts'

const keepSeconds = 24 * hour
/** No request runs longer; a claim this old without an answer belongs to a process that died. */
const staleSeconds = 5 * minute
const replayedHeaders = [
  'content-type',
  'location',
  'content-location',
  'etag',
  'custody-operation',
] as const

/**
 * `Idempotency-Key` on every effecting POST below `app` (contract §5): a repeated request gets the
 * first one's answer. A refused request changed nothing, so its key is free for the request that
 * mends it; where nobody knows whether anything was changed, that answer is repeated, too.
 */
export function acceptIdempotencyKeys(
  app: FastifyInstance,
  host: HttpHost,
  authenticate: Authenticate,
): void {
  const { store, clock } = host
  const claims = new WeakMap<FastifyRequest, Replay>()

  const claimKey = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const key = request.headers['idempotency-key']
    if (key === undefined) return
    const { client, tenant } = await authenticate(request)
    const now = clock.now()
    const claim: Replay = {
      tenant,
      client: client.id,
      scope: scopeOf(request, checked(key)),
      fingerprint: fingerprintOf(host, request),
      request: request.id,
      status: null,
      headers: null,
      body: null,
      staleAt: addSeconds(now, staleSeconds),
      expiresAt: addSeconds(now, keepSeconds),
    }
    for (;;) {
      const result = await store.commit([{ type: 'replayClaim', replay: claim, now }])
      if (result === 'saved') {
        claims.set(request, claim)
        return
      }
      const known = await store.read.replay(tenant, client.id, claim.scope)
      // Released between the two: the next claim will do.
      if (known !== null) return answerAgain(reply, known, claim)
    }
  }

  const keepAnswer = async (
    request: FastifyRequest,
    reply: FastifyReply,
    payload: unknown,
  ): Promise<unknown> => {
    const claim = claims.get(request)
    if (claim === undefined) return payload
    claims.delete(request)
    const isKept = reply.statusCode < 300 || isOutcomeUnknown(request)
    const { secretAnswer } = request.routeOptions.config
    const answer: Replay = {
      ...claim,
      status: reply.statusCode,
      headers: Object.fromEntries(
        replayedHeaders.flatMap((name) => {
          const value = reply.getHeader(name)
          return value === undefined ? [] : [[name, String(value)]]
        }),
      ),
      body: secretAnswer || typeof payload !== 'string' ? null : payload,
    }
    try {
      await store.commit([
        isKept
          ? { type: 'replayAnswer', replay: answer }
          : { type: 'replayRelease', replay: claim },
      ])
    } catch (error) {
      // What was asked for is done and committed; a failure here must not take that answer away.
      host.log({
        level: 'error',
        request: request.id,
        method: request.method,
        route: request.routeOptions.url ?? 'unknown',
        status: reply.statusCode,
        code: 'replayNotKept',
        milliseconds: 0,
        error,
      })
    }
    return payload
  }

  // On the routes that need them only: two asynchronous hooks cost a read 2 µs.
  app.addHook('onRoute', (route) => {
    const { reads, open } = route.config ?? {}
    if (![route.method].flat().includes('POST') || reads || open) return
    route.preHandler = [route.preHandler ?? [], claimKey].flat()
    route.onSend = [route.onSend ?? [], keepAnswer].flat()
  })
}

/** @throws idempotencyMismatch, idempotencyInFlight, alreadyIssued */
function answerAgain(reply: FastifyReply, known: Replay, claim: Replay): FastifyReply {
  const key = (JSON.parse(claim.scope) as string[]).at(-1)!
  if (known.fingerprint !== claim.fingerprint) throw errors.idempotencyMismatch({ key })
  if (known.status === null) throw errors.idempotencyInFlight({ key })
  if (reply.request.routeOptions.config.secretAnswer) {
    throw errors.alreadyIssued({ what: 'The answer to this request' })
  }
  return reply
    .status(known.status)
    .headers({ ...known.headers, 'idempotency-replayed': 'true' })
    .send(known.body ?? undefined)
}

function checked(key: string | string[]): string {
  const text = String(key)
  if (/^[\x21-\x7e]{1,255}$/.test(text)) return text
  throw errors.invalidValue({
    path: 'Idempotency-Key',
    reason: 'must be 1 to 255 visible ASCII characters.',
  })
}

/** `/scim` and `/scim/v2` are one service: a client that changes its base URL repeats all the same. */
function scopeOf(request: FastifyRequest, key: string): string {
  const route = (request.routeOptions.url ?? '').replace(/^\/scim\/v2(?=\/|$)/, '/scim')
  const { id = null, name = null } = (request.params ?? {}) as { id?: string; name?: string }
  return JSON.stringify([request.method, route, id ?? name, key])
}

function fingerprintOf(host: HttpHost, request: FastifyRequest): string {
  const text = JSON.stringify([request.query ?? null, request.body ?? null])
  return host.pepper.use((pepper) =>
    createHmac('sha256', pepper).update(`request\0${text}`).digest('hex'),
  )
}
