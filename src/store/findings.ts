import { sql } from 'kysely'
import type { IssuedKey, Principal } from '../domain/credential.ts'
import type { Finding } from '../domain/finding.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import { json, mapping } from './mapping.ts'
import { keyColumns, keyFromRow, principalFromRow } from './entity-rows.ts'
import {
  arg,
  first,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Row,
  type Sql,
  type Steps,
} from './sql.ts'
import type { FindingReads, FindingChange, FindingQuery, LiveKey } from './finding-store.ts'
import { putVersioned } from './versioned.ts'

type Work = () => Steps<Refusal | null>

const findings = mapping<Finding>({
  tenant: 'tenant',
  id: 'id',
  kind: 'kind',
  provider: 'provider',
  subject: 'subject',
  account: 'account',
  credential: 'credential',
  keyId: 'key_id',
  facts: json('facts'),
  status: 'status',
  firstSeenAt: 'first_seen_at',
  lastSeenAt: 'last_seen_at',
  resolvedAt: 'resolved_at',
  acceptance: json('acceptance'),
  run: 'run',
  version: 'version',
})
const writable = findings.columns.filter((c) => !['tenant', 'id', 'version'].includes(c))

/** Spelt as in the partial indexes: with parameters in its place none would be considered. */
const isUnresolved = sql<boolean>`status in ('open', 'accepted')`
const isLive = sql<boolean>`k.status in ('active', 'superseded')`

const sightingColumns = ['provider', 'key_id', 'run', 'active', 'at', 'missed_run', 'missed_at']

function statements({ db }: Sql) {
  const unresolved = db
    .selectFrom('finding')
    .selectAll()
    .where('provider', '=', arg('provider'))
    .where(isUnresolved)
  const live = db
    .selectFrom('issued_key as k')
    .leftJoin('key_sighting as s', (join) =>
      join.onRef('s.provider', '=', 'k.provider').onRef('s.key_id', '=', 'k.key_id'),
    )
    .where('k.provider', '=', arg('provider'))
    .where(isLive)
  const tally = live
    .where('k.issued_at', '<', arg('before'))
    .select([
      sql<number>`count(*)`.as('live'),
      sql<number>`coalesce(sum(case when s.run = ${arg('run')} then 0 else 1 end), 0)`.as(
        'missing',
      ),
      sql<number>`coalesce(sum(case when s.run = ${arg('run')} and s.active = 0 then 1 else 0 end), 0)`.as(
        'inactive',
      ),
    ])
  return {
    insert: statement(db.insertInto('finding').values(gaps(findings.columns))),
    update: statement(
      db
        .updateTable('finding')
        .set(gaps(writable))
        .set({ version: sql<number>`version + 1` })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('version', '=', arg<number>('expected')),
    ),
    one: statement(
      db
        .selectFrom('finding')
        .selectAll()
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    same: statement(
      unresolved.where('kind', '=', arg('kind')).where('subject', '=', arg('subject')),
    ),
    notSeen: statement(
      unresolved
        .where('run', '<>', arg('run'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    seen: statement(
      db
        .insertInto('key_sighting')
        .values(gaps(sightingColumns))
        .onConflict((conflict) =>
          conflict.columns(['provider', 'key_id']).doUpdateSet((eb) => ({
            run: eb.ref('excluded.run'),
            active: eb.ref('excluded.active'),
            at: eb.ref('excluded.at'),
            missed_run: null,
            missed_at: null,
          })),
        ),
    ),
    missed: statement(
      db
        .insertInto('key_sighting')
        .values(gaps(sightingColumns))
        .onConflict((conflict) =>
          conflict.columns(['provider', 'key_id']).doUpdateSet((eb) => ({
            missed_run: sql<string>`coalesce(key_sighting.missed_run, ${eb.ref('excluded.missed_run')})`,
            missed_at: sql<string>`coalesce(key_sighting.missed_at, ${eb.ref('excluded.missed_at')})`,
          })),
        ),
    ),
    live: statement(
      live
        .select(
          keyColumns.map((column) =>
            sql<string | number | null>`${sql.ref(`k.${column}`)}`.as(`k_${column}`),
          ),
        )
        .select(['s.run', 's.active', 's.missed_run', 's.missed_at'])
        .where('k.key_id', '>', arg('after'))
        .orderBy('k.key_id')
        .limit(arg<number>('limit')),
    ),
    tally: statement(tally),
    tallyOfListed: statement(
      tally
        .innerJoin('credential as c', (join) =>
          join.onRef('c.tenant', '=', 'k.tenant').onRef('c.id', '=', 'k.credential'),
        )
        .where(sql<boolean>`${arg('unlisted')} not like '%,' || c.kind || ',%'`),
    ),
    deleted: statement(
      db
        .selectFrom('issued_key')
        .select(sql<number>`count(*)`.as('deleted'))
        .where('provider', '=', arg('provider'))
        .where('deleted_at', 'is not', null)
        .where('deleted_at', '>=', arg('since')),
    ),
  }
}

/** SQLite takes 32 766 values, PostgreSQL 65 535; a page of an inventory holds a few hundred. */
const listMax = 500

/** Findings, and what their comparisons of an inventory with the journal ask. */
export function findingRoom(context: Sql) {
  const { db } = context
  const s = statements(context)

  const versioned = {
    insert: s.insert,
    update: s.update,
    exists: s.one,
    *clash(row: Row): Steps<Refusal | null> {
      const other = yield* first(s.same, row)
      return other === null ? null : { reason: 'busy', with: other['id'] as string }
    },
  }

  /** One statement per so many values; how many there are differs from page to page. */
  const inChunks = async (
    query: Query,
    values: readonly string[],
    read: (chunk: readonly string[]) => ReturnType<typeof statement>,
  ): Promise<readonly Row[]> => {
    const distinct = [...new Set(values)]
    const rows: Row[] = []
    for (let at = 0; at < distinct.length; at += listMax) {
      rows.push(...(await query(read(distinct.slice(at, at + listMax)))))
    }
    return rows
  }

  return {
    put(finding: Finding, expected: number | null): Work {
      const row = { ...findings.toRow(finding), version: 1 }
      return () => putVersioned(versioned, row, expected)
    },
    seen({ provider, run: of, keys, at }: Extract<FindingChange, { type: 'keysSeen' }>): Work {
      return function* seen() {
        for (const { keyId, active } of keys) {
          const seen = { provider, key_id: keyId, run: of, active: Number(active), at }
          yield* run(s.seen, { ...seen, missed_run: null, missed_at: null })
        }
        return null
      }
    },
    missed({ provider, run: of, keyId, at }: Extract<FindingChange, { type: 'keyMissed' }>): Work {
      return function* missed() {
        const never = { provider, key_id: keyId, run: '', active: 0, at }
        yield* run(s.missed, { ...never, missed_run: of, missed_at: at })
        return null
      }
    },

    async one(query: Query, tenant: TenantId, id: string): Promise<Finding | null> {
      const [row] = await query(s.one, { tenant, id })
      return row === undefined ? null : findings.fromRow(row)
    },
    async list(query: Query, want: FindingQuery): Promise<readonly Finding[]> {
      let select = db.selectFrom('finding').selectAll().where('tenant', '=', arg('tenant'))
      for (const key of ['kind', 'provider', 'status'] as const) {
        if (want[key] !== undefined) select = select.where(key, '=', arg(key))
      }
      if (want.after !== null) select = select.where('id', '<', arg('after'))
      const newest = select.orderBy('id', 'desc').limit(arg<number>('limit'))
      const rows = await query(statement(newest), {
        tenant: want.tenant,
        kind: want.kind ?? null,
        provider: want.provider ?? null,
        status: want.status ?? null,
        after: want.after,
        limit: want.limit,
      })
      return rows.map((row) => findings.fromRow(row))
    },
    async unresolved(query: Query, provider: string, subjects: readonly string[]) {
      const rows = await inChunks(query, subjects, (chunk) =>
        statement(
          db
            .selectFrom('finding')
            .selectAll()
            .where('provider', '=', provider)
            .where(isUnresolved)
            .where('subject', 'in', chunk),
        ),
      )
      return rows.map((row) => findings.fromRow(row))
    },
    async notSeen(query: Query, provider: string, of: string, after: string | null, limit: number) {
      const rows = await query(s.notSeen, { provider, run: of, after: after ?? '', limit })
      return rows.map((row) => findings.fromRow(row))
    },

    async keysById(query: Query, provider: string, ids: readonly string[]) {
      const rows = await inChunks(query, ids, (chunk) =>
        statement(
          db
            .selectFrom('issued_key')
            .selectAll()
            .where('provider', '=', provider)
            .where('key_id', 'in', chunk),
        ),
      )
      return rows.map((row): IssuedKey => keyFromRow(row))
    },
    async keysByFingerprint(query: Query, provider: string, fingerprints: readonly string[]) {
      const rows = await inChunks(query, fingerprints, (chunk) =>
        statement(
          db
            .selectFrom('issued_key')
            .selectAll()
            .where('provider', '=', provider)
            .where('fingerprint', 'in', chunk),
        ),
      )
      return rows.map((row): IssuedKey => keyFromRow(row))
    },
    async principalsByExternal(query: Query, provider: string, externals: readonly string[]) {
      const rows = await inChunks(query, externals, (chunk) =>
        statement(
          db
            .selectFrom('principal')
            .selectAll()
            .where('provider', '=', provider)
            .where('external', 'in', chunk),
        ),
      )
      return rows.map((row): Principal => principalFromRow(row))
    },
    async liveKeys(
      query: Query,
      provider: string,
      after: string | null,
      limit: number,
    ): Promise<readonly LiveKey[]> {
      const rows = await query(s.live, { provider, after: after ?? '', limit })
      return rows.map((row) => ({
        key: keyFromRow(row, 'k_'),
        sighting:
          row['run'] === null
            ? null
            : {
                run: row['run'] as string,
                active: row['active'] === 1,
                missedRun: row['missed_run'] as string | null,
                missedAt: row['missed_at'] as Instant | null,
              },
      }))
    },
    async tally(
      query: Query,
      ...[provider, of, before, unlisted]: Parameters<FindingReads['liveKeysTally']>
    ) {
      const args = { provider, run: of, before }
      const [row] =
        unlisted.length === 0
          ? await query(s.tally, args)
          : await query(s.tallyOfListed, { ...args, unlisted: `,${unlisted.join(',')},` })
      const count = (name: string) => Number(row?.[name] ?? 0)
      return { live: count('live'), missing: count('missing'), inactive: count('inactive') }
    },
    async deletedSince(query: Query, provider: string, since: Instant): Promise<number> {
      const [row] = await query(s.deleted, { provider, since })
      return Number(row?.['deleted'] ?? 0)
    },
  }
}
