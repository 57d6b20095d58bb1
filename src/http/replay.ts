import type { FailedRequest } from '../domain/failed-request.ts'
import { AppError, errors } from '../domain/errors.ts'
import type { OperationId } from '../domain/ids.ts'
import type { Json } from '../domain/json.ts'
import type { Instant } from '../domain/time.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { auditRow, callerOf, createEngine } from '../lifecycle/engine.ts'
import type { Change, Store } from '../store/store.ts'
import { keptBody, placeOf } from './failure-log.ts'
import { endpointsOf } from './scim.ts'
import type { ScimEndpoint, ScimMethod } from './scim-endpoint.ts'
import type { HttpHost } from './server.ts'

/** What running a request again answered, or would. */
export interface Rerun {
  readonly id: string
  readonly status: number
  readonly scimType: string | null
  /** Why it is refused again; null when it was, or would be, accepted. */
  readonly detail: string | null
  /** What it queued, or would: ids only of a real run. */
  readonly operations: readonly { readonly id: string | null; readonly kind: string }[]
  /** Somebody wrote the resource after the request had failed. */
  readonly overtaken: boolean
}

export interface RerunWish {
  readonly dryRun: boolean
  /** Runs it although its resource was written since. */
  readonly force: boolean
}

/** Thrown inside of a commit of which everything would have been written. */
class WouldSave extends Error {
  override readonly name = 'WouldSave'
  readonly changes: readonly Change[]
  constructor(changes: readonly Change[]) {
    super('a dry run ends here')
    this.changes = changes
  }
}

/**
 * Runs a write again that was refused, as the client that sent it, through the same door: the same
 * checks, the same brakes. A dry run does all of it and takes the commit back.
 * @throws notReplayable, overtaken
 */
export async function rerun(
  host: HttpHost,
  caller: Caller,
  failure: FailedRequest,
  { dryRun, force }: RerunWish,
): Promise<Rerun> {
  if (failure.state !== 'open') {
    const reason = `it is ${failure.state}; nothing of it is left to do.`
    throw errors.notReplayable({ id: failure.id, reason })
  }
  if (failure.obstacle !== null) {
    throw errors.notReplayable({ id: failure.id, reason: failure.obstacle })
  }
  const body = await keptBody(host, failure)
  if (body === undefined) {
    throw errors.notReplayable({ id: failure.id, reason: 'its body is not kept any more.' })
  }
  const sender = await senderOf(host, caller, failure)
  const real = { host, sender, failure, body }
  const writtenAt = await writtenSince(real)
  if (writtenAt !== null && !dryRun && !force) {
    throw errors.overtaken({ id: failure.id, target: failure.target ?? '', at: writtenAt })
  }
  const overtaken = writtenAt !== null
  const run = dryRun ? { ...real, host: withoutEffect(host) } : real
  const answer = await attempt(run)
  if (!dryRun) await note(host, caller, failure, answer)
  return { id: failure.id, ...answer, overtaken }
}

interface Run {
  readonly host: HttpHost
  readonly sender: Caller
  readonly failure: FailedRequest
  readonly body: Json
}

/** The client that sent it, with the rights it has today; what it writes says who ran it again. */
async function senderOf(
  { store }: HttpHost,
  caller: Caller,
  failure: FailedRequest,
): Promise<Caller> {
  const client = await store.read.client(failure.client)
  if (!client || client.tenant !== caller.tenant || client.revokedAt !== null) {
    const reason = 'the client that sent it is revoked.'
    throw errors.notReplayable({ id: failure.id, reason })
  }
  const groups =
    client.person === null ? [] : await store.read.groupsAround(client.tenant, client.person)
  const sender = callerOf(client, groups)
  const name = `${client.name}, run again by ${caller.actor.name}`
  return { ...sender, actor: { ...sender.actor, name }, isRerun: true }
}

function endpointOf({ host, failure }: Run): { endpoint: ScimEndpoint; isMe: boolean } {
  const { users, endpoints } = endpointsOf(host, () => `${host.baseUrl()}/scim/v2`)
  const name = `/${failure.route.split('/')[1] ?? ''}`
  const isMe = name.toLowerCase() === '/me'
  const endpoint = isMe
    ? users
    : endpoints.find((e) => e.schema.endpoint.toLowerCase() === name.toLowerCase())
  if (endpoint) return { endpoint, isMe }
  const reason = `it was for ${failure.route}, where nothing is written one by one.`
  throw errors.notReplayable({ id: failure.id, reason })
}

/** When its resource was last written, if that was after the request failed last. */
async function writtenSince(run: Run): Promise<Instant | null> {
  const { endpoint, isMe } = endpointOf(run)
  const id = isMe ? run.sender.client.person : run.failure.target
  if (id === null) return null
  try {
    const { document } = await endpoint.perform({
      caller: run.sender,
      method: 'GET',
      id,
      data: undefined,
      version: null,
      shows: () => false,
      bodyWanted: false,
    })
    return document !== null && document.updatedAt > run.failure.lastAt ? document.updatedAt : null
  } catch (error) {
    // Not there, or not for this client: the run itself will say so.
    if (error instanceof AppError) return null
    throw error
  }
}

async function attempt(run: Run): Promise<Omit<Rerun, 'id' | 'overtaken'>> {
  const { sender, failure, body } = run
  const { endpoint, isMe } = endpointOf(run)
  try {
    const { status, operations } = await endpoint.perform({
      caller: sender,
      method: failure.method as ScimMethod,
      id: isMe ? sender.client.person : failure.target,
      data: body ?? undefined,
      version: null,
      shows: () => false,
      bodyWanted: true,
    })
    const queued = operations.map(({ id, kind }) => ({ id, kind }))
    return { status, scimType: null, detail: null, operations: queued }
  } catch (error) {
    if (error instanceof WouldSave) return wouldSave(failure, error)
    if (!(error instanceof AppError)) throw error
    const { status, scimType, message } = error
    return { status, scimType, detail: message, operations: [] }
  }
}

function wouldSave(failure: FailedRequest, { changes }: WouldSave) {
  const operations = changes.flatMap((change) =>
    change.type === 'enqueue' ? [{ id: null, kind: change.operation.kind }] : [],
  )
  const status = failure.method === 'POST' ? 201 : failure.method === 'DELETE' ? 204 : 200
  return { status, scimType: null, detail: null, operations }
}

/** Everything is tried against the database and nothing kept: behind the write stands one that cannot. */
function withoutEffect(host: HttpHost): HttpHost {
  const { life } = host.engine
  const store: Store = {
    ...host.store,
    async commit(changes) {
      const never: Change = {
        type: 'advance',
        id: life.ids.next() as OperationId,
        fence: 0,
        set: {},
        release: false,
        at: life.clock.now(),
      }
      const result = await host.store.commit([...changes, never])
      if (result !== 'saved' && result.change === changes.length) throw new WouldSave(changes)
      return result
    },
  }
  return { ...host, store, engine: createEngine({ ...life, store, wake: () => undefined }) }
}

async function note(
  { store, clock, engine }: HttpHost,
  caller: Caller,
  failure: FailedRequest,
  answer: Omit<Rerun, 'id' | 'overtaken'>,
): Promise<void> {
  const { tenant, id } = failure
  const { status, detail } = answer
  const row = auditRow(engine.life, {
    tenant,
    actor: caller.actor,
    action: 'scimRequest.replayed',
    target: { type: 'scimRequest', id },
    facts: { client: failure.client, method: failure.method, route: failure.route, status },
  })
  const at = clock.now()
  const by = caller.actor.name
  const accepted: readonly Change[] =
    detail === null
      ? [
          { type: 'failureDecided', tenant, id, state: 'replayed', at, by, note: null },
          { type: 'unsealed', ...placeOf(failure) },
        ]
      : []
  // Two at once: the second finds it decided, and what it wrote was the same again.
  const result = await store.commit([...accepted, row])
  if (result !== 'saved') await store.commit([row])
}
