import { createHash } from 'node:crypto'
import type { PoolClient, QueryResult } from 'pg'
import { CommitUnheard, isLost } from './postgres-failures.ts'

/** The number under which PostgreSQL knows a lock of that name. */
export function lockKey(name: string): string {
  return createHash('sha256').update(name).digest().readBigInt64BE(0).toString()
}

/** A SELECT has room for 1 664 columns; a group of large commits locks more than that. */
const columnsMax = 1_000

function chunks(all: readonly string[]): readonly (readonly string[])[] {
  const count = Math.ceil(all.length / columnsMax)
  return Array.from({ length: count }, (_, i) => all.slice(i * columnsMax, (i + 1) * columnsMax))
}

export interface Beginning {
  /** Names of what no other write may touch meanwhile. */
  readonly locks: readonly string[]
  /** Statements are planned once and for all: one for a set is dear to plan. */
  readonly planned: boolean
  /** Its outcome can be asked for even if its answer is lost. */
  readonly tracked: boolean
}

/**
 * The beginning of a transaction that holds locks, as one message.
 * @param said what tells the connection its scope, behind a semicolon; empty when it knows
 */
export function beginWith(said: string, { locks, planned, tracked }: Beginning): string {
  // In one order everywhere, so that nobody waits in a circle.
  const keys = [...new Set(locks)].sort().map((name) => `pg_advisory_xact_lock(${lockKey(name)})`)
  return [
    `begin${said}`,
    ...(planned ? ['set local plan_cache_mode = force_generic_plan'] : []),
    ...chunks(keys).map((some) => `select ${some.join(', ')}`),
    ...(tracked ? ['select pg_current_xact_id()::text as xid'] : []),
  ].join('; ')
}

/**
 * BEGIN has happened even where a lock behind it was not to be had: such a transaction is ended here,
 * or whoever is lent the connection next would find it aborted.
 * @returns the number of the transaction, where it is tracked
 */
export async function begun(client: PoolClient, text: string): Promise<string | null> {
  try {
    const answers = (await client.query(text)) as unknown as
      | QueryResult<{ xid?: string }>
      | readonly QueryResult<{ xid?: string }>[]
    return [answers].flat().at(-1)?.rows[0]?.xid ?? null
  } catch (error) {
    await rollback(client, error)
    throw error
  }
}

/** @throws CommitUnheard when its outcome is not known, and can be asked for */
export async function commit(
  client: PoolClient,
  xid: string | null,
  result: unknown,
): Promise<void> {
  await client.query('commit').catch((error: unknown) => {
    if (xid === null || !isLost(error)) throw error
    const { processID = null } = client as unknown as { readonly processID?: number }
    throw new CommitUnheard({ xid, backend: processID, result }, error)
  })
}

/**
 * It can only fail with its connection, which is noticed when that is given back; what failed before
 * matters. On one that is lost nothing more is said: its silence would be waited for once more.
 */
export async function rollback(client: PoolClient, after?: unknown): Promise<void> {
  if (after === undefined || !isLost(after)) await client.query('rollback').catch(() => undefined)
}
