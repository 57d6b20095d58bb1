import type { PoolClient, QueryConfig } from 'pg'
import { errors } from '../domain/errors.ts'
import { postgresDialect, postgresFunctions } from './dialect-postgres.ts'
import type { AppliedMigration, Migration } from './migrations/migrations.ts'
import { ledgerTable, missingMigration, pendingMigrations } from './migrations/migrations.ts'
import { lockKey } from './postgres-transaction.ts'

/** A migration may build an index of a million rows. */
const migrationTimeoutMs = 3_600_000
/**
 * It waits for a table no longer than this at a time, for everybody who comes after it waits, too; in
 * between, whoever waited is served. In all it tries for a minute.
 */
const migrationLockMs = 500
/** Under this key replicas that start together migrate one after the other. */
const migrationLock = lockKey('custody migration')

/**
 * Applies what is pending, inside a transaction of the caller's.
 * @throws configInvalid, databaseNewer, migrationChanged
 */
export async function migrate(client: PoolClient, known: readonly Migration[]): Promise<void> {
  await client.query('set local statement_timeout = 0; set local lock_timeout = 0')
  await client.query({
    text: `select pg_advisory_xact_lock(${migrationLock})`,
    query_timeout: migrationTimeoutMs,
  } as QueryConfig)
  await client.query(
    `set local lock_timeout = ${migrationLockMs}; set local client_min_messages = warning`,
  )
  const { rows } = await client.query<{ version: number; encoding: string }>(
    `select current_setting('server_version_num')::integer as version,
      current_setting('server_encoding') as encoding`,
  )
  const { version, encoding } = rows[0]!
  if (encoding !== 'UTF8') {
    const problems = `store.url: the database stores text in ${encoding}; create one with encoding UTF8.`
    throw errors.configInvalid({ problems })
  }
  await client.query(ledgerTable(postgresDialect))
  const pending = pendingMigrations(known, await applied(client), postgresDialect)
  if (pending.length === 0) return
  for (const text of postgresFunctions(version)) await client.query(text)
  for (const { statements, record } of pending) {
    for (const text of statements) {
      await client.query({ text, query_timeout: migrationTimeoutMs } as QueryConfig)
    }
    const gaps = record.values.map((_, i) => `$${i + 1}`).join(', ')
    await client.query(`insert into migration (${record.columns}) values (${gaps})`, [
      ...record.values,
    ])
  }
}

/** @throws notReady when the server was not started since the last upgrade */
export async function checkMigrated(
  client: PoolClient,
  known: readonly Migration[],
): Promise<void> {
  const ledger = await client.query<{ there: boolean }>(
    `select to_regclass('migration') is not null as there`,
  )
  const done = ledger.rows[0]!.there ? await applied(client) : []
  const [pending] = pendingMigrations(known, done, postgresDialect, true)
  if (pending !== undefined) throw missingMigration(pending.name)
}

async function applied(client: PoolClient): Promise<readonly AppliedMigration[]> {
  return (await client.query<AppliedMigration>('select * from migration')).rows
}
