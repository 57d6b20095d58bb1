import type { AuditEntry, AuditRow } from '../domain/audit.ts'
import type { SignedCheckpoint } from '../domain/checkpoint.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Frontier, Hash, TreeNode } from '../domain/merkle.ts'
import type { OperationKind, OperationStatus } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'

/** What is written of the audit log: rows by everybody, places and signatures by the sequencer. */
export type AuditChange =
  | { readonly type: 'audit'; readonly row: AuditRow }
  /**
   * Gives rows their places, in the order of `ids`, from `after.size` on, and moves the head. Conflict
   * `version` when the tree is not of that size any more, or one of the rows has its place.
   */
  | {
      readonly type: 'auditSequenced'
      readonly tenant: TenantId
      readonly after: Frontier
      readonly ids: readonly string[]
      readonly frontier: Frontier
      readonly nodes: readonly TreeNode[]
    }
  /** Keeps a signed tree head, and forgets older ones signed before `before`. */
  | {
      readonly type: 'auditSigned'
      readonly tenant: TenantId
      readonly checkpoint: SignedCheckpoint
      readonly before: Instant
    }

export interface AuditQuery {
  readonly target?: string
  readonly operation?: string
  readonly action?: string
  /** Instead of the oldest first. */
  readonly newestFirst?: boolean
  /** Keyset cursor: the id of the last row seen. */
  readonly after: string | null
  readonly limit: number
}

export interface AuditHead {
  readonly tenant: TenantId
  readonly frontier: Frontier
  /** The newest checkpoint's; 0 when there is none. */
  readonly signedSize: number
}

/** How the whole installation does, for /metrics; no count looks at more than `vitalsMax` rows. */
export interface Vitals {
  /** By kind and status, of open operations only. */
  readonly operations: readonly {
    readonly kind: OperationKind
    readonly status: OperationStatus
    readonly count: number
  }[]
  /** When the oldest operation that may be claimed was due. */
  readonly oldestDueAt: Instant | null
  /** Since when the oldest revocation waits to be done. */
  readonly oldestRevocationAt: Instant | null
  readonly needsOperator: number
  /** Open for more than an hour, and the last try failed. */
  readonly failing: number
  /** Running past their lease: whoever ran them has not been replaced yet. */
  readonly lapsed: number
  /** Accounts without an owner. */
  readonly orphaned: number
  /** Credentials whose rotation was due more than an hour ago. */
  readonly overdueRotations: number
  readonly oldestOverdueAt: Instant | null
  /** Questions that wait for a person. */
  readonly approvalsWaiting: number
  /** Of each provider asked about that has an active key: when the oldest was issued. */
  readonly oldestKeys: readonly { readonly provider: string; readonly issuedAt: Instant }[]
  readonly auditUnsequenced: number
  readonly oldestUnsequencedAt: Instant | null
}

/** The part of the store's reads that is about the audit log, and what /metrics asks. */
export interface AuditReads {
  /** By id, strictly behind `after` (an audit row id). */
  audit(tenant: TenantId, query: AuditQuery): Promise<readonly AuditRow[]>
  /** As `audit`, with place and leaf. */
  auditEntries(tenant: TenantId, query: AuditQuery): Promise<readonly AuditEntry[]>
  /** Rows that have a place, from place `from` on, in their order. */
  auditFrom(tenant: TenantId, from: number, limit: number): Promise<readonly AuditEntry[]>
  auditEntry(tenant: TenantId, id: string): Promise<AuditEntry | null>
  /** The next tenant by name, after `after`, that has rows without a place. */
  auditPending(after: string | null): Promise<TenantId | null>
  /** Rows without a place, by id. */
  auditUnsequenced(
    tenant: TenantId,
    limit: number,
  ): Promise<readonly { readonly id: string; readonly leaf: Hash }[]>
  auditHead(tenant: TenantId): Promise<AuditHead | null>
  auditHeads(): Promise<readonly AuditHead[]>
  /** The hashes of one stored level (0 = leaves) from `place` on. */
  auditNodes(
    tenant: TenantId,
    level: number,
    place: number,
    limit: number,
  ): Promise<readonly Hash[]>
  /** The newest one; with `size`, the first kept one of at least so many rows. */
  checkpoint(tenant: TenantId, size: number | null): Promise<SignedCheckpoint | null>
  /** @param providers whose oldest key is looked for */
  vitals(now: Instant, providers?: readonly string[]): Promise<Vitals>
}
