import type { ApprovalId, ClientId, OperationId, PersonId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Instant } from './time.ts'

/**
 * `forming`: nobody who may decide has seen it, more may join. `waiting`: frozen, for a decision.
 * `closed`: nothing of it is left to decide.
 */
export type ApprovalStatus = 'forming' | 'waiting' | 'closed'
export const approvalStatuses: readonly ApprovalStatus[] = ['forming', 'waiting', 'closed']

/** People per batch: what one approval starts stays a matter of seconds. */
export const approvalItemsMax = 500

/** A batch that waits for somebody's word. */
export interface Approval {
  readonly tenant: TenantId
  readonly id: ApprovalId
  /** People of a directory who are held by the mass-leave brake. */
  readonly kind: 'leavers'
  /** The directory. */
  readonly subject: string
  readonly status: ApprovalStatus
  /** Who was ever put into it, one who came back and left again twice. */
  readonly joined: number
  /** SHA-256, as hex, over tenant, batch, plan and policy; null until it was shown first. */
  readonly hash: string | null
  readonly policyVersion: string | null
  /** What the hash covers, by subject; empty until then. */
  readonly plan: readonly PlannedAct[]
  /** Why it was held: the counts and the limits. */
  readonly facts: JsonObject
  readonly createdAt: Instant
  readonly frozenAt: Instant | null
  readonly closedAt: Instant | null
}

export interface PlannedAct {
  readonly subject: PersonId
  readonly action: 'leave'
  /** Of the person's row: whoever changed since is not what was approved. */
  readonly version: number
}

/**
 * `approved` and `denied` by an approver; `returned`: the directory said active again; `declared`:
 * an operator declared the leaving without waiting.
 */
export type ApprovalOutcome = 'approved' | 'denied' | 'returned' | 'declared'

/** One person in a batch. */
export interface ApprovalItem {
  readonly tenant: TenantId
  readonly approval: ApprovalId
  readonly subject: PersonId
  /** When the directory said so. */
  readonly since: Instant
  /** The client that said so, and the person it is linked to: neither may decide. */
  readonly client: ClientId
  readonly clientPerson: PersonId | null
  /** null = undecided. */
  readonly outcome: ApprovalOutcome | null
  readonly reason: string | null
  /** The name of the client that decided. */
  readonly decidedBy: string | null
  readonly decidedAt: Instant | null
  readonly operation: OperationId | null
}

/** How many others of a directory left, and how many active people it has. */
export interface LeaveCounts {
  readonly hour: number
  readonly day: number
  readonly active: number
  /** The person asked about is among those let go within the hour: it is not counted twice. */
  readonly letGo: boolean
}
