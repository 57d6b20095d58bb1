import { sql } from 'kysely'
import type { Client, ClientToken } from '../domain/client.ts'
import type { AccountId, ClientId, TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import type { IssuedToken } from '../provider/contract.ts'
import { flag, json, mapping } from './mapping.ts'
import {
  accountColumns,
  accountFromRow,
  credentialEntityColumns,
  credentialFromRow,
  keyColumns,
  keyFromRow,
} from './entity-rows.ts'
import {
  arg,
  ConstraintFailed,
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
import type { Change, DocumentCodec, TokenState } from './store.ts'

type Work = () => Steps<Refusal | null>

/** A slot that was missed this long ago is nobody's any more. */
const slotsKeptSeconds = 7 * 86_400

const clients = mapping<Client>({
  tenant: 'tenant',
  id: 'id',
  name: 'name',
  role: 'role',
  dialect: 'dialect',
  directory: 'directory',
  person: 'person',
  createdAt: 'created_at',
  revokedAt: 'revoked_at',
})

const clientTokens = mapping<ClientToken>({
  id: 'id',
  client: 'client',
  hash: 'hash',
  createdAt: 'created_at',
  expiresAt: 'expires_at',
  lastUsedAt: 'last_used_at',
  revokedAt: 'revoked_at',
})

const issuedTokens = mapping<IssuedToken>({
  tenant: 'tenant',
  id: 'id',
  provider: 'provider',
  account: 'account',
  credential: 'credential',
  generation: 'generation',
  hash: 'hash',
  scopes: json('scopes'),
  active: flag('active'),
  createdAt: 'created_at',
  expiresAt: 'expires_at',
  lastUsedAt: 'last_used_at',
})

const aliased = (table: string, columns: readonly string[]) =>
  columns.map((column) =>
    sql<string | number | null>`${sql.ref(`${table}.${column}`)}`.as(`${table}_${column}`),
  )

function statements({ db }: Sql) {
  const used = { last_used_at: arg('at') }
  const unusedSince = sql<boolean>`(last_used_at is null or last_used_at < ${arg('at')})`
  return {
    putClient: statement(
      db
        .insertInto('client')
        .values(gaps(clients.columns))
        .onConflict((c) => c.column('id').doUpdateSet(gaps(clients.columns))),
    ),
    putClientToken: statement(
      db
        .insertInto('client_token')
        .values(gaps([...clientTokens.columns, 'tenant']))
        .onConflict((c) => c.column('id').doUpdateSet(gaps(clientTokens.columns))),
    ),
    clientTokenUsed: statement(
      db.updateTable('client_token').set(used).where('id', '=', arg('id')).where(unusedSince),
    ),
    putIssuedToken: statement(
      db
        .insertInto('issued_token')
        .values(gaps(issuedTokens.columns))
        .onConflict((c) => c.column('id').doUpdateSet(gaps(issuedTokens.columns))),
    ),
    issuedTokenActive: statement(
      db
        .updateTable('issued_token')
        .set({ active: arg<number>('active') })
        .where('id', '=', arg('id')),
    ),
    issuedTokenScopes: statement(
      db
        .updateTable('issued_token')
        .set({ scopes: arg('scopes') })
        .where('id', '=', arg('id')),
    ),
    issuedTokenRemoved: statement(db.deleteFrom('issued_token').where('id', '=', arg('id'))),
    issuedTokenUsed: statement(
      db.updateTable('issued_token').set(used).where('id', '=', arg('id')).where(unusedSince),
    ),
    takeSlot: statement(db.insertInto('slot').values(gaps(['job', 'slot', 'worker', 'at']))),
    forgetSlots: statement(
      db.deleteFrom('slot').where('job', '=', arg('job')).where('slot', '<', arg('before')),
    ),
    slot: statement(
      db
        .selectFrom('slot')
        .select('worker')
        .where('job', '=', arg('job'))
        .where('slot', '=', arg('slot')),
    ),
    putMeta: statement(
      db
        .insertInto('meta')
        .values(gaps(['key', 'value']))
        .onConflict((c) => c.column('key').doUpdateSet({ value: arg('value') })),
    ),
    meta: statement(db.selectFrom('meta').select('value').where('key', '=', arg('key'))),

    client: statement(db.selectFrom('client').selectAll().where('id', '=', arg('id'))),
    clients: statement(
      db.selectFrom('client').selectAll().where('tenant', '=', arg('tenant')).orderBy('id'),
    ),
    clientToken: statement(
      db
        .selectFrom('client_token as t')
        .innerJoin('client as c', 'c.id', 't.client')
        .select(aliased('t', clientTokens.columns))
        .select(aliased('c', clients.columns))
        .where('t.id', '=', arg('id')),
    ),
    clientTokensOf: statement(
      db
        .selectFrom('client_token')
        .selectAll()
        .where('client', '=', arg('client'))
        .orderBy('created_at')
        .orderBy('id'),
    ),
    issuedToken: statement(db.selectFrom('issued_token').selectAll().where('id', '=', arg('id'))),
    issuedTokensOf: statement(
      db
        .selectFrom('issued_token')
        .selectAll()
        .where('account', '=', arg('account'))
        .where('provider', '=', arg('provider'))
        .orderBy('created_at')
        .orderBy('id'),
    ),
    issuedTokensAfter: statement(
      db
        .selectFrom('issued_token')
        .selectAll()
        .where('provider', '=', arg('provider'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    tokenState: statement(
      db
        .selectFrom('issued_token as t')
        .innerJoin('resource as a', (join) =>
          join.onRef('a.tenant', '=', 't.tenant').onRef('a.id', '=', 't.account'),
        )
        .innerJoin('credential as c', (join) =>
          join.onRef('c.tenant', '=', 't.tenant').onRef('c.id', '=', 't.credential'),
        )
        .leftJoin('issued_key as k', (join) =>
          join
            .onRef('k.tenant', '=', 't.tenant')
            .onRef('k.credential', '=', 't.credential')
            .onRef('k.generation', '=', 't.generation'),
        )
        .select(aliased('t', issuedTokens.columns))
        .select(aliased('a', accountColumns))
        .select(aliased('c', credentialEntityColumns))
        .select(aliased('k', keyColumns))
        .where('t.id', '=', arg('id')),
    ),
  }
}

/** Who may call us, the tokens we issue ourselves, and the small global facts: slots and meta. */
export function clientRoom(context: Sql, codec: DocumentCodec) {
  const s = statements(context)
  /** What the rows of a steady query say, as long as they are kept. */
  const known = new WeakMap<Row, { readonly token: ClientToken; readonly client: Client }>()

  const always = (statement: (typeof s)[keyof typeof s], args: Row): Work =>
    function* always() {
      yield* run(statement, args)
      return null
    }

  return {
    putClient: (client: Client): Work => always(s.putClient, clients.toRow(client)),

    putClientToken(token: ClientToken): Work {
      const row = clientTokens.toRow(token)
      return function* putClientToken() {
        const client = yield* first(s.client, { id: token.client })
        if (client === null) return { reason: 'missing', with: token.client }
        yield* run(s.putClientToken, { ...row, tenant: client['tenant']! })
        return null
      }
    },

    // Last use is a convenience: a token that is gone by now is no reason to refuse a group.
    clientTokenUsed: (id: string, at: Instant): Work => always(s.clientTokenUsed, { id, at }),
    issuedTokenUsed: (id: string, at: Instant): Work => always(s.issuedTokenUsed, { id, at }),
    issuedTokenRemoved: (id: string): Work => always(s.issuedTokenRemoved, { id }),

    putIssuedToken(token: IssuedToken): Work {
      const row = issuedTokens.toRow(token)
      return function* putIssuedToken() {
        try {
          yield* run(s.putIssuedToken, row)
          return null
        } catch (error) {
          if (!(error instanceof ConstraintFailed)) throw error
          return { reason: 'missing', with: token.credential }
        }
      }
    },

    issuedTokenScopes(id: string, scopes: readonly string[]): Work {
      return function* issuedTokenScopes() {
        const { changes } = yield* run(s.issuedTokenScopes, { id, scopes: JSON.stringify(scopes) })
        return changes === 0 ? { reason: 'missing', with: id } : null
      }
    },
    issuedTokenActive(id: string, active: boolean): Work {
      return function* issuedTokenActive() {
        const { changes } = yield* run(s.issuedTokenActive, { id, active: Number(active) })
        return changes === 1 ? null : { reason: 'missing', with: id }
      }
    },

    takeSlot({ job, slot, worker, at }: Extract<Change, { type: 'slot' }>): Work {
      return function* takeSlot() {
        try {
          yield* run(s.takeSlot, { job, slot, worker, at })
          yield* run(s.forgetSlots, { job, before: addSeconds(slot, 0 - slotsKeptSeconds) })
          return null
        } catch (error) {
          if (!(error instanceof ConstraintFailed)) throw error
          const taken = yield* first(s.slot, { job, slot })
          return { reason: 'slot', with: (taken?.['worker'] as string | undefined) ?? null }
        }
      }
    },

    putMeta: (key: string, value: string): Work => always(s.putMeta, { key, value }),

    async meta(query: Query, key: string): Promise<string | null> {
      const [row] = await query(s.meta, { key })
      return row === undefined ? null : (row['value'] as string)
    },

    async client(query: Query, id: string): Promise<Client | null> {
      const [row] = await query(s.client, { id })
      return row === undefined ? null : clients.fromRow(row)
    },
    async clients(query: Query, tenant: TenantId): Promise<readonly Client[]> {
      return (await query(s.clients, { tenant })).map((row) => clients.fromRow(row))
    },
    async clientToken(query: Query, id: string) {
      const [row] = await query(s.clientToken, { id }, 'steady')
      if (row === undefined) return null
      let found = known.get(row)
      if (found === undefined) {
        found = { token: clientTokens.fromRow(row, 't_'), client: clients.fromRow(row, 'c_') }
        known.set(row, found)
      }
      return found
    },
    async clientTokensOf(query: Query, client: ClientId): Promise<readonly ClientToken[]> {
      return (await query(s.clientTokensOf, { client })).map((row) => clientTokens.fromRow(row))
    },
    async issuedToken(query: Query, id: string): Promise<IssuedToken | null> {
      const [row] = await query(s.issuedToken, { id })
      return row === undefined ? null : issuedTokens.fromRow(row)
    },
    async issuedTokensOf(query: Query, account: AccountId, provider: string) {
      const rows = await query(s.issuedTokensOf, { account, provider })
      return rows.map((row) => issuedTokens.fromRow(row))
    },
    async issuedTokensAfter(query: Query, provider: string, after: string | null, limit: number) {
      const rows = await query(s.issuedTokensAfter, { provider, after: after ?? '', limit })
      return rows.map((row) => issuedTokens.fromRow(row))
    },
    async tokenState(query: Query, id: string): Promise<TokenState | null> {
      const [row] = await query(s.tokenState, { id })
      if (row === undefined) return null
      return {
        token: issuedTokens.fromRow(row, 't_'),
        account: accountFromRow(row, codec, 'a_'),
        credential: credentialFromRow(row, 'c_'),
        key: row['k_credential'] === null ? null : keyFromRow(row, 'k_'),
      }
    },
  }
}
