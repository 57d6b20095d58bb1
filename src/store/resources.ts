import { sql } from 'kysely'
import type { ServiceAccount } from '../domain/account.ts'
import type { Credential, IssuedKey, Principal } from '../domain/credential.ts'
import type { AccountId, CredentialId, TenantId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import { dependents } from './entitlements.ts'
import {
  accountFromRow,
  accountRow,
  credentialColumns,
  credentialFromRow,
  credentialRow,
  keys,
  personFromRow,
  personRow,
  principals,
  resourceColumns,
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
  type Statement,
  type Steps,
} from './sql.ts'
import type { DocumentCodec } from './store.ts'
import { unwarned } from './sweeps.ts'
import { putVersioned } from './versioned.ts'

type Work = () => Steps<Refusal | null>

function statements({ db, dialect }: Sql) {
  const writable = resourceColumns.filter(
    (c) => !['tenant', 'id', 'type', 'version', 'modified_at', 'credentials'].includes(c),
  )
  const resource = db.selectFrom('resource').selectAll().where('tenant', '=', arg('tenant'))
  const accountRows = resource.where('type', '=', sql.lit('account'))
  const credential = db.selectFrom('credential').selectAll().where('tenant', '=', arg('tenant'))
  const key = db.selectFrom('issued_key').selectAll().where('tenant', '=', arg('tenant'))
  const principal = db.selectFrom('principal').selectAll().where('tenant', '=', arg('tenant'))
  const after = arg('after')
  const limit = arg<number>('limit')
  // Another end is warned of from the beginning.
  const warnedAnew = sql<number>`case when expires_at = ${arg('expires_at')} then warned else ${sql.lit(unwarned)} end`

  // What indexes and totals are made of, and seldom changes.
  const named = [
    'client',
    'directory',
    'user_name',
    'user_name_norm',
    'external_id',
    'owner_type',
    'owner_id',
    'expires_at',
    'deleted_at',
    'created_at',
    'email_norm',
    'vendor',
    'display_norm',
    'imported',
  ] as const
  const isUnmoved = sql.join(
    named.map((c) => sql`${sql.ref(c)} is not distinct from ${arg(c)}`),
    sql` and `,
  )

  const ofOwner = (is: '=' | '<>') =>
    statement(
      accountRows
        .where('owner_id', '=', arg('owner'))
        .where('status', is, sql.lit('retired'))
        .where('id', '>', after)
        .orderBy('id')
        .limit(limit),
    )

  return {
    // SQLite writes anew each index of which a column is set, also to what it was: leaving them out
    // halves what most writes cost, which move a state and no name.
    updateUnmoved: statement(
      db
        .updateTable('resource')
        .set(gaps(writable.filter((c) => !named.some((n) => n === c))))
        .set({
          version: sql<number>`version + 1`,
          modified_at: dialect.greater(sql.ref('modified_at'), sql`${arg('updated_at')}`),
        })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('type', '=', arg('type'))
        .where('version', '=', arg<number>('expected'))
        .where(sql<boolean>`${isUnmoved}`),
    ),
    insertResource: statement(db.insertInto('resource').values(gaps(resourceColumns))),
    updateResource: statement(
      db
        .updateTable('resource')
        .set(gaps(writable))
        .set({
          version: sql<number>`version + 1`,
          modified_at: dialect.greater(sql.ref('modified_at'), sql`${arg('updated_at')}`),
          warned: warnedAnew,
        })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('type', '=', arg('type'))
        .where('version', '=', arg<number>('expected')),
    ),
    resourceExists: statement(
      db
        .selectFrom('resource')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    userNameTaken: statement(
      db
        .selectFrom('resource')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('user_name_norm', '=', arg('user_name_norm'))
        .where('type', '=', arg('type'))
        .where('deleted_at', 'is', null)
        .where('id', '<>', arg('id')),
    ),
    externalIdTaken: statement(
      db
        .selectFrom('resource')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('external_id', '=', arg('external_id'))
        .where('client', '=', arg('client'))
        .where('type', '=', arg('type'))
        .where('deleted_at', 'is', null)
        .where('id', '<>', arg('id')),
    ),
    insertCredential: statement(db.insertInto('credential').values(gaps(credentialColumns))),
    updateCredential: statement(
      db
        .updateTable('credential')
        .set(gaps(credentialColumns.filter((c) => !['tenant', 'id', 'version'].includes(c))))
        .set({ version: sql<number>`version + 1`, warned: warnedAnew })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id'))
        .where('version', '=', arg<number>('expected')),
    ),
    credentialExists: statement(
      db
        .selectFrom('credential')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    pathTaken: statement(
      db
        .selectFrom('credential')
        .select('id')
        .where('tenant', '=', arg('tenant'))
        .where('sink', '=', arg('sink'))
        .where('path', '=', arg('path'))
        .where(sql<boolean>`status not in ('revoked', 'failed', 'released')`)
        .where('id', '<>', arg('id')),
    ),
    // One statement over ready-made summaries, and none when the text stays the same: an account's
    // ETag then moves only when a reader could see a difference.
    refreshSummaries: statement(
      db
        .updateTable('resource')
        .from((eb) =>
          eb
            .selectFrom('credential')
            .select(dialect.jsonArray(sql.ref('summary'), sql.ref('id')).as('text'))
            .where('tenant', '=', arg('tenant'))
            .where('account', '=', arg('account'))
            .where(sql<boolean>`status not in ('revoked', 'released')`)
            .as('fresh'),
        )
        .set({
          credentials: sql.ref<string>('fresh.text'),
          credentials_rev: sql<number>`credentials_rev + 1`,
          modified_at: dialect.greater(sql.ref('modified_at'), sql`${arg('updated_at')}`),
        })
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('account'))
        .whereRef('credentials', '<>', 'fresh.text'),
    ),
    putKey: statement(
      db
        .insertInto('issued_key')
        .values(gaps(keys.columns))
        .onConflict((c) =>
          c.columns(['tenant', 'credential', 'generation']).doUpdateSet(gaps(keys.columns)),
        ),
    ),
    putPrincipal: statement(
      db
        .insertInto('principal')
        .values(gaps(principals.columns))
        .onConflict((c) =>
          c.columns(['tenant', 'account', 'provider']).doUpdateSet(gaps(principals.columns)),
        ),
    ),

    resource: statement(resource.where('id', '=', arg('id')).where('type', '=', arg('type'))),
    credential: statement(credential.where('id', '=', arg('id'))),
    credentialsOf: statement(credential.where('account', '=', arg('account')).orderBy('id')),
    credentialsAfter: statement(credential.where('id', '>', after).orderBy('id').limit(limit)),
    keysOf: statement(key.where('credential', '=', arg('credential')).orderBy('generation')),
    keysOfAccount: statement(
      key.where('account', '=', arg('account')).orderBy('credential').orderBy('generation'),
    ),
    principal: statement(
      principal.where('account', '=', arg('account')).where('provider', '=', arg('provider')),
    ),
    principalsOf: statement(principal.where('account', '=', arg('account')).orderBy('provider')),
    ownedBy: ofOwner('<>'),
    retiredOf: ofOwner('='),
    resourcesAfter: statement(
      resource.where('type', '=', arg('type')).where('id', '>', after).orderBy('id').limit(limit),
    ),
  }
}

/** People, accounts and what hangs below an account: credentials, their keys, its principals. */
export function resourceRoom(context: Sql, codec: DocumentCodec) {
  const s = statements(context)

  function* resourceClash(row: Row): Steps<Refusal | null> {
    const named = yield* first(s.userNameTaken, row)
    if (named !== null) return { reason: 'userName', with: named['id'] as string }
    if (row['external_id'] === null) return null
    const external = yield* first(s.externalIdTaken, row)
    return external === null ? null : { reason: 'externalId', with: external['id'] as string }
  }

  function* credentialClash(row: Row): Steps<Refusal | null> {
    const other = yield* first(s.pathTaken, row)
    return other === null ? null : { reason: 'path', with: other['id'] as string }
  }

  /** Inserts, or updates under a version; names what stands in the way when it cannot. */
  const resourceSteps = {
    insert: s.insertResource,
    unmoved: s.updateUnmoved,
    update: s.updateResource,
    exists: s.resourceExists,
    clash: resourceClash,
  }
  const credentialSteps = {
    insert: s.insertCredential,
    update: s.updateCredential,
    exists: s.credentialExists,
    clash: credentialClash,
  }

  function* orMissing(steps: Steps<unknown>, other: string): Steps<Refusal | null> {
    try {
      yield* steps
      return null
    } catch (error) {
      if (error instanceof ConstraintFailed && error.constraint === 'foreignKey') {
        return { reason: 'missing', with: other }
      }
      throw error
    }
  }

  const dependsOn = dependents(context)

  const list = async <T>(
    query: Query,
    statement: Statement,
    args: Row,
    map: (row: Row) => T,
  ): Promise<readonly T[]> => (await query(statement, args)).map(map)
  const one = async <T>(query: Query, statement: Statement, args: Row, map: (row: Row) => T) => {
    const [row] = await query(statement, args)
    return row === undefined ? null : map(row)
  }
  const toPerson = (row: Row) => personFromRow(row, codec)
  const toAccount = (row: Row) => accountFromRow(row, codec)
  const toCredential = (row: Row) => credentialFromRow(row)
  const toKey = (row: Row) => keys.fromRow(row)
  const toPrincipal = (row: Row) => principals.fromRow(row)

  return {
    // The documents are rendered here, when the commit is called and not while it holds the lock.
    putPerson(person: Person, expected: number | null): Work {
      const row = { ...personRow(person, codec), version: 1 }
      return () => putVersioned(resourceSteps, row, expected)
    },
    putAccount(account: ServiceAccount, expected: number | null): Work {
      const row = { ...accountRow(account, codec), version: 1 }
      return () => putVersioned(resourceSteps, row, expected)
    },
    putCredential(credential: Credential, expected: number | null): Work {
      const row = { ...credentialRow(credential, codec), version: 1 }
      return function* putCredential() {
        const refusal = yield* putVersioned(credentialSteps, row, expected)
        if (refusal !== null) return refusal
        yield* run(s.refreshSummaries, row)
        yield* dependsOn(row, credential.scopesFrom)
        return null
      }
    },
    putKey(key: IssuedKey): Work {
      const row = keys.toRow(key)
      return () => orMissing(run(s.putKey, row), key.credential)
    },
    putPrincipal(principal: Principal): Work {
      const row = principals.toRow(principal)
      return () => orMissing(run(s.putPrincipal, row), principal.account)
    },

    person: (query: Query, tenant: TenantId, id: string) =>
      one(query, s.resource, { tenant, id, type: 'person' }, toPerson),
    account: (query: Query, tenant: TenantId, id: string) =>
      one(query, s.resource, { tenant, id, type: 'account' }, toAccount),
    credential: (query: Query, tenant: TenantId, id: string) =>
      one(query, s.credential, { tenant, id }, toCredential),
    credentialsOf: (query: Query, tenant: TenantId, account: AccountId) =>
      list(query, s.credentialsOf, { tenant, account }, toCredential),
    keysOf: (query: Query, tenant: TenantId, credential: CredentialId) =>
      list(query, s.keysOf, { tenant, credential }, toKey),
    keysOfAccount: (query: Query, tenant: TenantId, account: AccountId) =>
      list(query, s.keysOfAccount, { tenant, account }, toKey),
    principal: (query: Query, tenant: TenantId, account: AccountId, provider: string) =>
      one(query, s.principal, { tenant, account, provider }, toPrincipal),
    principalsOf: (query: Query, tenant: TenantId, account: AccountId) =>
      list(query, s.principalsOf, { tenant, account }, toPrincipal),
    retiredAccountsOf: (
      query: Query,
      tenant: TenantId,
      owner: string,
      after: string | null,
      limit: number,
    ) => list(query, s.retiredOf, { tenant, owner, after: after ?? '', limit }, toAccount),
    accountsOwnedBy: (
      query: Query,
      tenant: TenantId,
      owner: string,
      after: string | null,
      limit: number,
    ) => list(query, s.ownedBy, { tenant, owner, after: after ?? '', limit }, toAccount),
    accountsAfter: (query: Query, tenant: TenantId, after: string | null, limit: number) =>
      list(
        query,
        s.resourcesAfter,
        { tenant, type: 'account', after: after ?? '', limit },
        toAccount,
      ),
    credentialsAfter: (query: Query, tenant: TenantId, after: string | null, limit: number) =>
      list(query, s.credentialsAfter, { tenant, after: after ?? '', limit }, toCredential),
    peopleAfter: (query: Query, tenant: TenantId, after: string | null, limit: number) =>
      list(
        query,
        s.resourcesAfter,
        { tenant, type: 'person', after: after ?? '', limit },
        toPerson,
      ),
  }
}
