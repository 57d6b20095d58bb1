import type { OperationId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
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
