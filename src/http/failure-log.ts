import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { FailedRequest } from '../domain/failed-request.ts'
import type { ClientId, CredentialId, TenantId } from '../domain/ids.ts'
import type { Json } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'
import type { ScimRequest } from '../domain/ledger.ts'
import { Secret } from '../domain/secret.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Sealer } from '../lifecycle/engine.ts'
import { auditRow, systemActor } from '../lifecycle/engine.ts'
import type { Change } from '../store/store.ts'
import { isSensitiveName } from './mask.ts'
import type { HttpHost } from './server.ts'

/** How long a failure nobody dealt with stays on the list, counted from when it was seen last. */
export const keepFailuresSeconds = 30 * day
/** What one request may send to be kept; the body of a person or a group's page of members fits. */
const keptBytesMax = 128 * 1_024
/** Open failures of one client: a client that has lost its mind may fill no disk. */
export const openFailuresMax = 500
/** The same request refused for the so manieth time is an alarm (R87). */
const alarmingTimes: ReadonlySet<number> = new Set([10, 100, 1_000, 10_000])

/** One write to SCIM as it was answered: a request of its own, or one of a bulk request. */
export interface WriteSeen {
  readonly method: string
  readonly route: string
  readonly target: string | null
  readonly status: number
  readonly error: string | null
  readonly scimType: string | null
  readonly body: unknown
  /** Why it cannot be run again, known from where it failed. */
  readonly obstacle: string | null
}

const bulkWrites = new WeakMap<FastifyRequest, readonly WriteSeen[]>()

/** Tells the log what became of each operation of a bulk request. */
export function noteBulkWrites(request: FastifyRequest, writes: readonly WriteSeen[]): void {
  bulkWrites.set(request, writes)
}

/** The writes that a request was: itself, or those of a bulk request that was read. */
export function writesOf(
  request: FastifyRequest,
  row: Omit<ScimRequest, 'tenant' | 'client'>,
): readonly WriteSeen[] {
  if (request.method === 'GET' || request.method === 'HEAD') return []
  if (request.routeOptions.config.reads) return []
  const several = bulkWrites.get(request)
  if (several) return several
  if (row.status === 412) return []
  const { method, route, target, status, error, scimType } = row
  const unread = request.body === undefined && method !== 'DELETE'
  const obstacle = unread ? 'It was refused before its body was read; the client has it.' : null
  return [{ method, route, target, status, error, scimType, body: request.body ?? null, obstacle }]
}

export type WriteOf = WriteSeen & {
  readonly tenant: TenantId
  readonly client: ClientId
  readonly id: string
}

/**
 * Keeps what failed, sealed and without the values of attributes that name a secret, so that it can be
 * run again; the same request sent again is counted, and closes the failure once it is accepted.
 */
export async function keepFailures(host: HttpHost, writes: readonly WriteOf[]): Promise<void> {
  const failing = new Map<string, boolean>()
  for (const write of writes) {
    if (write.status >= 400) {
      failing.set(write.client, true)
      await keepFailure(host, write)
      continue
    }
    if (!failing.has(write.client)) failing.set(write.client, await hasOpen(host, write))
    if (!failing.get(write.client)) continue
    const { tenant, client } = write
    const { fingerprint } = kept(write)
    const at = host.clock.now()
    await host.store.commit([{ type: 'requestSettled', tenant, client, fingerprint, at }])
  }
}

async function hasOpen({ store }: HttpHost, { tenant, client }: WriteOf): Promise<boolean> {
  const query = { tenant, client, state: 'open', after: null, limit: 1 } as const
  return (await store.read.failedRequests(query)).length > 0
}

async function keepFailure(host: HttpHost, write: WriteOf): Promise<void> {
  const { tenant, client, id, method, route, target, status, error, scimType } = write
  const now = host.clock.now()
  const { body, fingerprint } = kept(write)
  const { sealer } = host.engine.life
  const tooLong = body.length > keptBytesMax
  const obstacle =
    write.obstacle ??
    (tooLong ? `Its body is longer than ${keptBytesMax} bytes, which are not kept.` : null) ??
    (sealer ? null : 'Nothing is kept here: there is no key to seal it with.')
  const failure: FailedRequest = {
    tenant,
    id,
    client,
    fingerprint,
    method,
    route,
    target,
    firstAt: now,
    lastAt: now,
    times: 1,
    status,
    error,
    scimType,
    obstacle,
    state: 'open',
    decidedAt: null,
    decidedBy: null,
    note: null,
  }
  // One that is counted again keeps the body under the id it failed with first.
  const known = await host.store.read.openFailure(tenant, client, fingerprint)
  const open = known === null ? await host.store.read.openFailures(tenant, client) : 0
  if (open > openFailuresMax) return
  const isFull = open === openFailuresMax
  if (isFull)
    return void (await host.store.commit([alarm(host, failure, 'scimRequest.tooManyFailing')]))
  const needsBody = obstacle === null && known === null && sealer !== undefined
  const sealed = needsBody ? [await sealedBody(sealer, failure, body)] : []
  await host.store.commit([
    { type: 'requestFailed', failure, before: addSeconds(now, -keepFailuresSeconds) },
    ...sealed,
    ...(alarmingTimes.has((known?.times ?? 0) + 1)
      ? [
          alarm(
            host,
            { ...failure, id: known!.id, times: known!.times + 1 },
            'scimRequest.keepsFailing',
          ),
        ]
      : []),
  ])
}

/** For whoever watches the feed: a client that is refused for ever tells nobody by itself. */
function alarm(host: HttpHost, failure: FailedRequest, action: string): Change {
  const { tenant, id, client, method, route, status, times } = failure
  return auditRow(host.engine.life, {
    tenant,
    actor: systemActor,
    action,
    target: { type: 'scimRequest', id },
    facts: { client, method, route, status, times },
  })
}

async function sealedBody(sealer: Sealer, failure: FailedRequest, body: string): Promise<Change> {
  const secret = Secret.ofText(body)
  try {
    const until = addSeconds(failure.lastAt, 2 * keepFailuresSeconds)
    return await sealer.seal(secret, placeOf(failure), until)
  } finally {
    secret.dispose()
  }
}

/** What was sealed of a failure. @returns undefined when it is not there any more */
export async function keptBody(host: HttpHost, failure: FailedRequest): Promise<Json | undefined> {
  const held = await host.engine.life.sealer?.held(placeOf(failure))
  if (!held) return undefined
  try {
    return held.use((bytes) => JSON.parse(Buffer.from(bytes).toString('utf8')) as Json)
  } finally {
    held.dispose()
  }
}

/** Kept beside the secrets of credentials, under a name that no credential has. */
export function placeOf({ tenant, id }: Pick<FailedRequest, 'tenant' | 'id'>) {
  return { tenant, credential: 'scim-request' as CredentialId, keyId: id }
}

function kept({ method, route, target, body }: WriteSeen): {
  readonly body: string
  readonly fingerprint: string
} {
  const text = JSON.stringify(withoutSecrets(body as Json))
  const hash = createHash('sha256').update(JSON.stringify([method, route, target]))
  return { body: text, fingerprint: hash.update(text).digest('hex') }
}

/** Custody has no use for passwords: what is kept is what it would read of the request. */
function withoutSecrets(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutSecrets)
  if (!isJsonObject(value)) return value
  const names = Object.entries(value)
  const isCall = names.some(
    ([name, path]) =>
      name.toLowerCase() === 'path' && typeof path === 'string' && isSensitiveName(path),
  )
  return Object.fromEntries(
    names.flatMap(([name, member]) =>
      isSensitiveName(name) || (isCall && name.toLowerCase() === 'value')
        ? []
        : [[name, withoutSecrets(member)]],
    ),
  )
}
