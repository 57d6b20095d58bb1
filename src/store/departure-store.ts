import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import type { DuePage } from './store.ts'

/**
 * Somebody is no longer among those who may read what a group owns or reads; `group` is their own id
 * where they read by themselves, and the account's where they handed one over ahead of their leaving.
 * Kept until what follows from it has been done.
 */
export interface Departure {
  readonly tenant: TenantId
  readonly member: string
  readonly group: string
  readonly at: Instant
  readonly dueAt: Instant
}

/** The changes of `store.ts` that are about who can read no longer. */
export type DepartureChange =
  /**
   * People lost the membership of `from` (null: all they are in, and what they read by themselves):
   * one row for each group around that owns or reads anything. What waits for them already is due
   * with the new ones where they leave altogether. Comes before the rows of the membership go.
   */
  | {
      readonly type: 'departed'
      readonly tenant: TenantId
      readonly members: readonly string[]
      readonly from: string | null
      readonly at: Instant
      readonly dueAt: Instant
    }
  /** Handed over because its owner is about to leave: they know its keys until those are others. */
  | { readonly type: 'handedOver'; readonly departure: Departure }
  /** Looked at: `dueAt` is when to look again, null forgets it. Conflict `version` when it is another by now. */
  | {
      readonly type: 'departureSeen'
      readonly departure: Departure
      readonly dueAt: Instant | null
    }

export interface DepartureReads {
  departure(tenant: TenantId, member: string, group: string): Promise<Departure | null>
  departuresOf(tenant: TenantId, member: string): Promise<readonly Departure[]>
  /** An active person lost a membership of the group at that instant or later, and has another: a mover. */
  movedFrom(tenant: TenantId, group: string, since: Instant): Promise<boolean>
  /** Ids are `member group`. */
  departuresDue(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Credentials with `reader` among their readers, by id. */
  readBy(tenant: TenantId, reader: string, after: string, limit: number): Promise<readonly string[]>
}
