import { sql } from 'kysely'
import type { AccountId, TenantId } from '../domain/ids.ts'
import type { Consent, Shadow, ShadowAct, ShadowActKind, ShadowCount } from '../domain/shadow.ts'
import type { Instant } from '../domain/time.ts'
import { json, mapping } from './mapping.ts'
import type { ShadowChange, ShadowQuery } from './shadow-store.ts'
import { arg, first, gaps, run, statement, type Query, type Refusal } from './sql.ts'
import type { Row, Sql, Steps } from './sql.ts'
import type { DuePage } from './store.ts'

type Work = () => Steps<Refusal | null>
type Of<T extends ShadowChange['type']> = Extract<ShadowChange, { readonly type: T }>

const acts = mapping<ShadowAct>({
  tenant: 'tenant',
  id: 'id',
  at: 'at',
  act: 'act',
  rule: 'rule',
  account: 'account',
  userName: 'user_name',
  owner: 'owner',
  credential: 'credential',
  cause: 'cause',
  facts: json('facts'),
})
const consents = mapping<Consent>({
  tenant: 'tenant',
  account: 'account',
  act: 'act',
  client: 'client',
  clientName: 'client_name',
  person: 'person',
  reason: 'reason',
  at: 'at',
  expiresAt: 'expires_at',
})

function statements({ db }: Sql) {
  const shadow = db
    .selectFrom('shadow')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('account', '=', arg('account'))
  const window = db
    .selectFrom('shadow_act')
    .where('tenant', '=', arg('tenant'))
    .where('at', '>=', arg('from'))
  const consent = db
    .selectFrom('consent')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('account', '=', arg('account'))
    .where('act', '=', arg('act'))
  return {
    one: statement(shadow),
    insert: statement(
      db
        .insertInto('shadow')
        .values(gaps(['tenant', 'account', 'due_at', 'doc', 'version']))
        .onConflict((c) => c.columns(['tenant', 'account']).doNothing()),
    ),
    update: statement(
      db
        .updateTable('shadow')
        .set(gaps(['due_at', 'doc']))
        .set({ version: sql<number>`version + 1` })
        .where('tenant', '=', arg('tenant'))
        .where('account', '=', arg('account'))
        .where('version', '=', arg<number>('expected')),
    ),
    end: statement(
      db
        .deleteFrom('shadow')
        .where('tenant', '=', arg('tenant'))
        .where('account', '=', arg('account')),
    ),
    due: statement(
      db
        .selectFrom('shadow')
        .select(['tenant', 'account', 'due_at'])
        .where('due_at', '<=', arg('now'))
        .where(sql<boolean>`(due_at, account) > (${arg('at')}, ${arg('id')})`)
        .orderBy('due_at')
        .orderBy('account')
        .limit(arg<number>('limit')),
    ),
    addAct: statement(
      db
        .insertInto('shadow_act')
        .values(gaps([...acts.columns, 'subject']))
        .onConflict((c) => c.columns(['tenant', 'subject', 'act', 'cause']).doNothing()),
    ),
    acts: statement(
      window
        .selectAll()
        .where(sql<boolean>`(at, id) < (${arg('at')}, ${arg('id')})`)
        .orderBy('at', 'desc')
        .orderBy('id', 'desc')
        .limit(arg<number>('limit')),
    ),
    counts: statement(
      window
        .where('at', '<=', arg('until'))
        .select(['act'])
        .select(sql<number>`count(*)`.as('acts'))
        .select(sql<number>`count(distinct account)`.as('accounts'))
        .groupBy('act'),
    ),
    place: statement(
      db
        .selectFrom('shadow_act')
        .select(['at', 'id'])
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    consent: statement(consent),
    putConsent: statement(
      db
        .insertInto('consent')
        .values(gaps(consents.columns))
        .onConflict((c) =>
          c.columns(['tenant', 'account', 'act']).doUpdateSet(gaps(consents.columns)),
        ),
    ),
    useConsent: statement(
      db
        .deleteFrom('consent')
        .where('tenant', '=', arg('tenant'))
        .where('account', '=', arg('account'))
        .where('act', '=', arg('act'))
        .where('client', '=', arg('client')),
    ),
  }
}

/** What was not done because the policy only watches, and words that wait for a second one. */
export function shadowRoom(context: Sql) {
  const s = statements(context)
  const fromRow = (row: Row): Shadow => ({
    ...(JSON.parse(row['doc'] as string) as Shadow),
    version: row['version'] as number,
  })

  return {
    put({ shadow, expectedVersion }: Of<'shadow'>): Work {
      const { tenant, account, dueAt } = shadow
      const row = { tenant, account, due_at: dueAt, doc: JSON.stringify(shadow) }
      return function* put() {
        const { changes } = yield* expectedVersion === null
          ? run(s.insert, { ...row, version: 1 })
          : run(s.update, { ...row, expected: expectedVersion })
        return changes === 1 ? null : { reason: 'version', with: account }
      }
    },
    end({ tenant, account }: Of<'shadowEnded'>): Work {
      return function* end() {
        yield* run(s.end, { tenant, account })
        return null
      }
    },
    addAct({ act }: Of<'shadowAct'>): Work {
      const row = { ...acts.toRow(act), subject: act.credential ?? act.account }
      return function* addAct() {
        yield* run(s.addAct, row)
        return null
      }
    },
    consent({ consent }: Of<'consent'>): Work {
      const row = consents.toRow(consent)
      return function* putConsent() {
        const before = yield* first(s.consent, row)
        const counts = before !== null && (before['expires_at'] as string) > consent.at
        if (counts) return { reason: 'slot', with: before['client'] as string }
        yield* run(s.putConsent, row)
        return null
      }
    },
    consentUsed({ consent }: Of<'consentUsed'>): Work {
      const row = consents.toRow(consent)
      return function* useConsent() {
        const { changes } = yield* run(s.useConsent, row)
        return changes === 1 ? null : { reason: 'missing', with: consent.client }
      }
    },

    async one(query: Query, tenant: TenantId, account: AccountId): Promise<Shadow | null> {
      const [row] = await query(s.one, { tenant, account })
      return row === undefined ? null : fromRow(row)
    },
    async due(query: Query, now: Instant, after: string | null, limit: number): Promise<DuePage> {
      const [at = '', id = ''] = after?.split(' ') ?? []
      const rows = await query(s.due, { now, at, id, limit })
      const last = rows.at(-1)
      return {
        rows: rows.map((row) => ({
          tenant: row['tenant'] as TenantId,
          id: row['account'] as string,
        })),
        next:
          last && rows.length === limit
            ? `${String(last['due_at'])} ${String(last['account'])}`
            : null,
      }
    },
    async acts(query: Query, want: ShadowQuery): Promise<readonly ShadowAct[]> {
      const { tenant, from, until, after, limit } = want
      const place =
        after === null ? { at: until, id: '~' } : (await query(s.place, { tenant, id: after }))[0]
      if (place === undefined) return []
      const rows = await query(s.acts, { tenant, from, ...place, limit })
      return rows.map((row) => acts.fromRow(row))
    },
    async counts(
      query: Query,
      tenant: TenantId,
      from: Instant,
      until: Instant,
    ): Promise<readonly ShadowCount[]> {
      const rows = await query(s.counts, { tenant, from, until })
      return rows.map((row) => ({
        act: row['act'] as ShadowActKind,
        acts: Number(row['acts']),
        accounts: Number(row['accounts']),
      }))
    },
    async waiting(query: Query, tenant: TenantId, account: AccountId, act: Consent['act']) {
      const [row] = await query(s.consent, { tenant, account, act })
      return row === undefined ? null : consents.fromRow(row)
    },
  }
}
