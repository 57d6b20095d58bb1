import type { OperationId, TenantId } from './ids.ts'
import { canonicalJson, type JsonObject } from './json.ts'
import { hashLeaf, type Hash } from './merkle.ts'
import type { Actor } from './operation.ts'
import type { Instant } from './time.ts'

export interface Decision {
  readonly effect: 'permit' | 'forbid'
  /** File stems of the policies that decided. */
  readonly reasons: readonly string[]
}

/** One fact for an auditor, committed together with what it describes. `seq` is given later, by the sequencer alone. */
export interface AuditRow {
  readonly tenant: TenantId
  readonly id: string
  readonly at: Instant
  readonly actor: Actor
  /** `<noun>.<verb>`, e.g. `account.requested`, `key.refused`. */
  readonly action: string
  readonly targetType: string
  readonly target: string
  readonly decision: Decision | null
  readonly operation: OperationId | null
  readonly facts: JsonObject
}

/** A row with its place in the tree, null until the sequencer gave it, and the leaf it went in with. */
export interface AuditEntry {
  readonly seq: number | null
  readonly leaf: Hash
  readonly row: AuditRow
}

/** The Merkle leaf of one row: over its canonical JSON, which the place is no part of. */
export function leafHash(row: AuditRow): Hash {
  return hashLeaf(canonicalJson(row as unknown as JsonObject))
}
