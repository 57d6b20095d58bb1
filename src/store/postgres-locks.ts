import { createHash } from 'node:crypto'

/** The number under which PostgreSQL knows a lock of that name. */
export function lockKey(name: string): string {
  return createHash('sha256').update(name).digest().readBigInt64BE(0).toString()
}

/**
 * The beginning of a transaction that holds locks, as one message.
 * @param planned statements are planned once and for all: one for a set is dear to plan
 */
export function beginWith(locks: readonly string[], planned: boolean): string {
  // In one order everywhere, so that nobody waits in a circle.
  const keys = [...new Set(locks)].sort().map((name) => `pg_advisory_xact_lock(${lockKey(name)})`)
  return [
    'begin',
    ...(planned ? ['set local plan_cache_mode = force_generic_plan'] : []),
    ...(keys.length === 0 ? [] : [`select ${keys.join(', ')}`]),
  ].join('; ')
}
