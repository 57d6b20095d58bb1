import type { AccountId, OperationId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Instant } from './time.ts'

export type OperationKind =
  | 'issue'
  | 'rotate'
  | 'revoke'
  | 'disable'
  | 'enable'
  | 'retire'
  | 'leave'
  | 'delete'
  | 'reconcile'
  | 'undo'
  | 'rescope'
  | 'revertDrift'
  | 'reload'
  | 'eject'

export type OperationStatus =
  | 'queued'
  | 'running'
  | 'waiting'
  | 'succeeded'
  | 'failed'
  | 'needsOperator'
  | 'cancelled'

/** Which status may follow which; a lapsed lease makes a running one claimable without changing it. */
export const operationTransitions: Readonly<Record<OperationStatus, readonly OperationStatus[]>> = {
  queued: ['running', 'cancelled'],
  running: ['waiting', 'succeeded', 'failed', 'needsOperator', 'cancelled'],
  waiting: ['running', 'queued', 'cancelled'],
  succeeded: [],
  failed: [],
  needsOperator: ['queued', 'cancelled'],
  cancelled: [],
}

export const openStatuses: readonly OperationStatus[] = [
  'queued',
  'running',
  'waiting',
  'needsOperator',
]

export type StepName =
  | 'ensure-account'
  | 'issue-and-deliver'
  | 'verify'
  | 'overlap'
  | 'disable-old'
  | 'soak'
  | 'revoke-old'
  | 'shut-off'
  | 'disable-keys'
  | 'prove-dead'
  | 'settle'
  | 'delete-keys'
  | 'delete-principals'
  | 'turn-on'
  | 'fan-out'
  | 'remove-person'
  | 'take-inventory'
  | 'compare'
  | 'take-back'
  | 'confirm-back'
  | 'prove-alive'
  | 'find-dependents'
  | 'change-scopes'
  | 'prove-scopes'
  | 'compare-rights'
  | 'revert-drift'
  | 'call-hook'
  | 'release'
  | 'hand-over'

/**
 * `scopes`: what one credential may do, which changes while its key is being rotated; the subject is
 * `scopesSubject` of it. `group`: all that hangs on a group's members. `event`: what one of them did.
 */
export type SubjectType =
  | 'person'
  | 'account'
  | 'credential'
  | 'provider'
  | 'group'
  | 'scopes'
  | 'event'
  | 'finding'
  | 'consumer'

export interface Failure {
  /** A stable word, e.g. `preempted`, `foreignKey`, `revokeBlocked`, `throttled`. */
  readonly code: string
  /** What happened and what to decide, in one sentence for an operator. Never a secret. */
  readonly message: string
}

export type ActorType = 'client' | 'system' | 'sweep' | 'cli'

export interface Actor {
  readonly type: ActorType
  readonly id: string
  readonly name: string
}

/** One durable piece of work: a frozen list of steps and a cursor. Waits are `runAt`, never timers. */
export interface Operation {
  readonly tenant: TenantId
  readonly id: OperationId
  readonly kind: OperationKind
  readonly subjectType: SubjectType
  readonly subject: string
  /** The account it concerns, so that disabling one pre-empts all that runs below it; null for people. */
  readonly account: AccountId | null
  readonly provider: string | null
  readonly steps: readonly StepName[]
  readonly cursor: number
  readonly attempt: number
  readonly status: OperationStatus
  readonly runAt: Instant
  readonly leaseWorker: string | null
  readonly leaseUntil: Instant | null
  /** +1 per claim and per pre-emption; every later write must match it. */
  readonly fence: number
  /** What steps leave for later steps and for recovery. Never a secret. */
  readonly memo: JsonObject
  readonly actor: Actor
  /** The id of the event that caused it: one leave, one cause, many operations. */
  readonly cause: string
  readonly failure: Failure | null
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly finishedAt: Instant | null
}

/** What takes access away: it is claimed before anything else that is due. */
export const urgentKinds: readonly OperationKind[] = [
  'leave',
  'revoke',
  'disable',
  'retire',
  // It decides when it runs, so that the last change wins: it may always be one that takes away.
  'rescope',
]

/** Higher pre-empts lower on the same account; a revoking kind always wins over a minting kind. */
export const operationRank: Readonly<Record<OperationKind, number>> = {
  issue: 1,
  rotate: 1,
  enable: 2,
  eject: 2,
  revoke: 3,
  disable: 4,
  delete: 5,
  retire: 6,
  leave: 0,
  reconcile: 0,
  undo: 0,
  // Closing an account does not make its keys narrower: opened again they must be, so nothing cancels it.
  rescope: 9,
  revertDrift: 1,
  reload: 0,
}
