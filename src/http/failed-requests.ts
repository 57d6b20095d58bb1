import type { FastifyPluginAsync } from 'fastify'
import { AppError, errors } from '../domain/errors.ts'
import type { FailedRequest, FailedRequestState } from '../domain/failed-request.ts'
import { failedRequestStates } from '../domain/failed-request.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { auditRow } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import { keptBody, placeOf } from './failure-log.ts'
import { flag, onOff, optional, pageOf, required, text } from './fields.ts'
import { maskBody } from './mask.ts'
import type { Rerun, RerunWish } from './replay.ts'
import { rerun } from './replay.ts'
import type { RequestLog } from './request-log.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

const shownMax = 4_096
/** What one request runs again: each is a commit of its own. */
const rerunMax = 200

/** What failed at a connection, until it was run again, sent again, or signed off. */
export function failedRequestRoutes(
  host: HttpHost,
  authenticate: Authenticate,
  log: RequestLog,
): FastifyPluginAsync {
  const { engine, store, clock } = host
  const resource = { type: 'audit', id: 'any' } as const
  const found = async (caller: Caller, id: string): Promise<FailedRequest> => {
    const failure = await store.read.failedRequest(caller.tenant, id)
    if (!failure) throw errors.notFound({ what: 'Failed request', id })
    return failure
  }

  return async (app) => {
    app.get('/scim-requests/failed', async (request) => {
      const caller = await authenticate(request)
      engine.authorise(caller, 'audit.read', resource)
      const { client, state } = request.query as Readonly<Record<string, string | undefined>>
      const { after, limit } = pageOf(request.query)
      await log.flush()
      const rows = await store.read.failedRequests({
        tenant: caller.tenant,
        state: stateOf(state),
        ...(client === undefined ? {} : { client }),
        after,
        limit,
      })
      const cursor = rows.length === limit ? (rows.at(-1)?.id ?? null) : null
      return { items: rows.map(viewOf), cursor }
    })

    app.get<ById>('/scim-requests/failed/:id', async (request) => {
      const caller = await authenticate(request)
      engine.authorise(caller, 'audit.read', resource)
      await log.flush()
      const failure = await found(caller, request.params.id)
      const body = failure.obstacle === null ? await keptBody(host, failure) : undefined
      return { ...viewOf(failure), body: maskBody(body, shownMax) }
    })

    app.post<ById>('/scim-requests/failed/:id/replay', async (request) => {
      const caller = await authenticate(request)
      engine.authorise(caller, 'scimRequest.replay', { type: 'tenant', id: caller.tenant })
      await log.flush()
      const failure = await found(caller, request.params.id)
      return rerun(host, caller, failure, wishOf(request.query, request.body))
    })

    app.post('/scim-requests/failed/replay', async (request) => {
      const caller = await authenticate(request)
      engine.authorise(caller, 'scimRequest.replay', { type: 'tenant', id: caller.tenant })
      await log.flush()
      const client = required(request.body, 'client', text)
      const after = optional(request.body, 'after', text)
      const query = { tenant: caller.tenant, state: 'open', client, after } as const
      const rows = await store.read.failedRequests({ ...query, limit: rerunMax })
      const items: Rerun[] = []
      // In the order in which they failed: a person is created before a group names them.
      for (const failure of rows) {
        items.push(await rerunOne(host, caller, failure, wishOf(request.query, request.body)))
      }
      const accepted = items.filter((item) => item.detail === null).length
      const cursor = rows.length === rerunMax ? (rows.at(-1)?.id ?? null) : null
      return { accepted, refused: items.length - accepted, items, cursor }
    })

    app.post<ById>('/scim-requests/failed/:id/sign-off', async (request) => {
      const caller = await authenticate(request)
      const target = { type: 'tenant', id: caller.tenant } as const
      const decision = engine.authorise(caller, 'scimRequest.signOff', target)
      const note = required(request.body, 'reason', text)
      await log.flush()
      const failure = await found(caller, request.params.id)
      const { tenant, id } = failure
      const by = caller.actor.name
      const result = await store.commit([
        { type: 'failureDecided', tenant, id, state: 'signedOff', at: clock.now(), by, note },
        { type: 'unsealed', ...placeOf(failure) },
        auditRow(engine.life, {
          tenant,
          actor: caller.actor,
          action: 'scimRequest.signedOff',
          target: { type: 'scimRequest', id },
          decision,
          facts: { client: failure.client, times: failure.times, reason: note },
        }),
      ])
      const now = await found(caller, id)
      if (result === 'saved') return viewOf(now)
      const what = 'Failed request'
      throw errors.wrongState({ what, id, status: now.state, action: 'signed off' })
    })
  }
}

function wishOf(query: unknown, body: unknown): RerunWish {
  return {
    dryRun: onOff(query, 'dryRun') ?? false,
    force: optional(body, 'force', flag) ?? false,
  }
}

/** One of many: what cannot be run again is an answer like any other. */
async function rerunOne(
  host: HttpHost,
  caller: Caller,
  failure: FailedRequest,
  wish: RerunWish,
): Promise<Rerun> {
  try {
    return await rerun(host, caller, failure, wish)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const { status, scimType, message, code } = error
    const overtaken = code === 'overtaken'
    return { id: failure.id, status, scimType, detail: message, operations: [], overtaken }
  }
}

function viewOf({ tenant: _tenant, fingerprint: _fingerprint, ...rest }: FailedRequest) {
  return { ...rest, replayable: rest.state === 'open' && rest.obstacle === null }
}

function stateOf(value: string | undefined): FailedRequestState {
  if (value === undefined) return 'open'
  const known = failedRequestStates.find((s) => s === value)
  if (known) return known
  const reason = `"${value}" is not one of ${failedRequestStates.join(', ')}.`
  throw errors.invalidValue({ path: 'state', reason })
}
