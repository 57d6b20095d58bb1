import type { ClientId, TenantId } from '../domain/ids.ts'
import type { AttributeSighting, Replay, ScimRequest } from '../domain/ledger.ts'
import type { Instant } from '../domain/time.ts'
import { json, mapping } from './mapping.ts'
import {
  arg,
  first,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Sql,
  type Steps,
} from './sql.ts'
import type { ScimRequestQuery } from './store.ts'

type Work = () => Steps<Refusal | null>

const replays = mapping<Replay>({
  tenant: 'tenant',
  client: 'client',
  scope: 'scope',
  fingerprint: 'fingerprint',
  request: 'request',
  status: 'status',
  headers: json('headers'),
  body: 'body',
  staleAt: 'stale_at',
  expiresAt: 'expires_at',
})

const requests = mapping<ScimRequest>({
  tenant: 'tenant',
  id: 'id',
  client: 'client',
  at: 'at',
  method: 'method',
  route: 'route',
  target: 'target',
  query: 'query',
  agent: 'agent',
  status: 'status',
  error: 'error',
  scimType: 'scim_type',
  body: 'body',
  milliseconds: 'milliseconds',
})

const sightings = mapping<AttributeSighting>({
  tenant: 'tenant',
  client: 'client',
  resource: 'resource',
  path: 'path',
  form: 'form',
  count: 'seen',
  firstAt: 'first_at',
  lastAt: 'last_at',
  operation: 'operation',
})
const sightingKey = ['tenant', 'client', 'resource', 'path', 'form'] as const

/** Replays of answers by `Idempotency-Key`, and the log of SCIM requests. */
export function ledgerRoom({ db }: Sql) {
  const replay = db
    .selectFrom('idempotency')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('client', '=', arg('client'))
    .where('scope', '=', arg('scope'))
  const s = {
    replay: statement(replay),
    insertReplay: statement(db.insertInto('idempotency').values(gaps(replays.columns))),
    answered: statement(
      db
        .updateTable('idempotency')
        .set({ status: arg<number>('status'), headers: arg('headers'), body: arg('body') })
        .where('tenant', '=', arg('tenant'))
        .where('client', '=', arg('client'))
        .where('scope', '=', arg('scope'))
        .where('request', '=', arg('request')),
    ),
    releaseReplay: statement(
      db
        .deleteFrom('idempotency')
        .where('tenant', '=', arg('tenant'))
        .where('client', '=', arg('client'))
        .where('scope', '=', arg('scope'))
        .where('request', '=', arg('request')),
    ),
    forgetReplays: statement(
      db
        .deleteFrom('idempotency')
        .where((eb) =>
          eb.or([
            eb('expires_at', '<=', arg('now')),
            eb.and([
              eb('tenant', '=', arg('tenant')),
              eb('client', '=', arg('client')),
              eb('scope', '=', arg('scope')),
              eb('status', 'is', null),
              eb('stale_at', '<=', arg('now')),
            ]),
          ]),
        ),
    ),
    insertRequest: statement(db.insertInto('scim_request').values(gaps(requests.columns))),
    forgetRequests: statement(db.deleteFrom('scim_request').where('at', '<', arg('before'))),
    count: statement(
      db
        .insertInto('attribute_sighting')
        .values(gaps(sightings.columns))
        .onConflict((conflict) =>
          conflict.columns(sightingKey).doUpdateSet((eb) => ({
            seen: eb('attribute_sighting.seen', '+', eb.ref('excluded.seen')),
            last_at: eb.ref('excluded.last_at'),
            operation: eb.ref('excluded.operation'),
          })),
        ),
    ),
    forgetSightings: statement(
      db.deleteFrom('attribute_sighting').where('last_at', '<', arg('before')),
    ),
    sightings: statement(
      db
        .selectFrom('attribute_sighting')
        .selectAll()
        .where('tenant', '=', arg('tenant'))
        .where('client', '=', arg('client'))
        .orderBy('resource')
        .orderBy('path')
        .orderBy('form'),
    ),
  }

  return {
    /** Conflict `slot` while another request holds or has answered the same scope. */
    claimReplay(entry: Replay, now: Instant): Work {
      const row = replays.toRow(entry)
      return function* claimReplay() {
        yield* run(s.forgetReplays, { ...row, now })
        // Asked before inserting: in PostgreSQL a refused insert ends the whole transaction.
        const taken = yield* first(s.replay, row)
        if (taken !== null) return { reason: 'slot', with: taken['request'] as string }
        yield* run(s.insertReplay, row)
        return null
      }
    },
    /** Silent when the claim was abandoned in the meantime and taken over. */
    answerReplay(entry: Replay): Work {
      const row = replays.toRow(entry)
      return function* answerReplay() {
        yield* run(s.answered, row)
        return null
      }
    },
    releaseReplay(entry: Replay): Work {
      const row = replays.toRow(entry)
      return function* releaseReplay() {
        yield* run(s.releaseReplay, row)
        return null
      }
    },
    async replay(query: Query, tenant: TenantId, client: ClientId, scope: string) {
      const [row] = await query(s.replay, { tenant, client, scope })
      return row === undefined ? null : replays.fromRow(row)
    },

    /** Appends to the log and forgets what is older than `before`. */
    logRequests(entries: readonly ScimRequest[], before: Instant): Work {
      const rows = entries.map((entry) => requests.toRow(entry))
      return function* logRequests() {
        for (const row of rows) yield* run(s.insertRequest, row)
        yield* run(s.forgetRequests, { before })
        return null
      }
    },
    count(entries: readonly AttributeSighting[], before: Instant): Work {
      // One order for all: two replicas that count the same attributes never wait for each other.
      const keyed = entries.map((entry) => ({ entry, key: keyOf(entry) }))
      const rows = keyed
        .toSorted((a, b) => (a.key < b.key ? -1 : 1))
        .map(({ entry }) => sightings.toRow(entry))
      return function* count() {
        for (const row of rows) yield* run(s.count, row)
        yield* run(s.forgetSightings, { before })
        return null
      }
    },
    async sightings(query: Query, tenant: TenantId, client: ClientId) {
      const found = await query(s.sightings, { tenant, client })
      return found.map((row) => sightings.fromRow(row))
    },

    /** Newest first. */
    async scimRequests(query: Query, want: ScimRequestQuery): Promise<readonly ScimRequest[]> {
      let select = db.selectFrom('scim_request').selectAll().where('tenant', '=', arg('tenant'))
      if (want.client !== undefined) select = select.where('client', '=', arg('client'))
      if (want.status !== undefined) select = select.where('status', '=', arg<number>('status'))
      if (want.failed === true) select = select.where('status', '>=', 400)
      if (want.after !== null) select = select.where('id', '<', arg('after'))
      const newest = select.orderBy('id', 'desc').limit(arg<number>('limit'))
      const found = await query(statement(newest), {
        tenant: want.tenant,
        client: want.client ?? null,
        status: want.status ?? null,
        after: want.after,
        limit: want.limit,
      })
      return found.map((row) => requests.fromRow(row))
    },
  }
}

function keyOf({ tenant, client, resource, path, form }: AttributeSighting): string {
  return JSON.stringify([tenant, client, resource, path, form])
}
