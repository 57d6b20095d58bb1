import type {
  Approval,
  ApprovalItem,
  ApprovalStatus,
  LeaveCounts,
  PlannedAct,
} from '../domain/approval.ts'
import type { Brake } from '../domain/brake.ts'
import type { ApprovalId, PersonId, TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'

/** What is written about brakes, leavings and the batches of those that are held. */
export type HoldChange =
  /** One that is on keeps its `since` and gets the new facts. */
  | { readonly type: 'brakeEngaged'; readonly brake: Brake }
  /**
   * What takes access away and would wait beyond `beyond` is due at `at`, and leases that would last
   * longer end at `until`: after a clock was set back, what is in the journal must not wait for the old
   * time to come again. Who lives renews its lease; who died holds up its account no longer.
   */
  | {
      readonly type: 'urgentDue'
      readonly at: Instant
      readonly until: Instant
      readonly beyond: Instant
    }
  /** Silent about one that is not on. */
  | ({ readonly type: 'brakeReleased' } & Pick<Brake, 'tenant' | 'name' | 'subject'>)
  /**
   * Notes that a directory let somebody go. With `limits`, conflict `braked` when so many others
   * left it within the hour or the day: the count and the note are one step, so that writers side by
   * side cannot both be the last one. Forgets what is older than a day.
   */
  | {
      readonly type: 'leaving'
      readonly tenant: TenantId
      readonly person: PersonId
      readonly directory: string
      readonly at: Instant
      readonly hourAgo: Instant
      readonly dayAgo: Instant
      readonly held: boolean
      readonly limits: { readonly hourly: number; readonly daily: number } | null
    }
  /** Puts somebody into a batch; conflict `busy` when it takes nobody, or another is forming. */
  | {
      readonly type: 'held'
      readonly approval: Approval
      readonly isNew: boolean
      readonly item: ApprovalItem
    }
  /** Conflict `version` when somebody joined since `joined`, or when it is closed. */
  | {
      readonly type: 'approvalFrozen'
      readonly tenant: TenantId
      readonly id: ApprovalId
      readonly directory: string
      readonly joined: number
      readonly hash: string
      readonly policyVersion: string
      readonly plan: readonly PlannedAct[]
      readonly at: Instant
    }
  /**
   * Writes the outcome of one item that has none; of the last one it closes the batch, and of the
   * directory's last batch it releases the brake. With `isFinal`, conflict `version` when the item
   * had an outcome before; silent otherwise.
   */
  | {
      readonly type: 'approvalDecided'
      readonly directory: string
      readonly item: ApprovalItem
      readonly isFinal: boolean
    }

/** What is read about them. */
export interface HoldReads {
  /** The brakes that are on, of all tenants; cheap enough to ask before every act. */
  brakes(): Promise<readonly Brake[]>
  /** Of a directory, without the person asked about. */
  leaveCounts(
    tenant: TenantId,
    directory: string,
    who: { readonly person: string; readonly hourAgo: Instant; readonly dayAgo: Instant },
  ): Promise<LeaveCounts>
  approval(tenant: TenantId, id: string): Promise<Approval | null>
  /** The one batch that still takes people. */
  formingApproval(
    tenant: TenantId,
    kind: Approval['kind'],
    subject: string,
  ): Promise<Approval | null>
  /** Oldest first, strictly after `after`. */
  approvals(
    tenant: TenantId,
    want: {
      readonly status: ApprovalStatus | null
      readonly after: string | null
      readonly limit: number
    },
  ): Promise<readonly Approval[]>
  /** Ordered by subject, strictly after `after`. */
  approvalItems(
    tenant: TenantId,
    approval: string,
    after: string | null,
    limit: number,
  ): Promise<readonly ApprovalItem[]>
  approvalItem(tenant: TenantId, approval: string, subject: string): Promise<ApprovalItem | null>
}
