import type { AccountStatus, ServiceAccount } from '../domain/account.ts'
import type { Credential, CredentialStatus, IssuedKey } from '../domain/credential.ts'
import type { AccountId, TenantId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'

/** How many end on one day (UTC), of those that are up. */
export interface EndsOfDay {
  readonly day: string
  readonly accounts: number
  readonly credentials: number
}

/** How many there are in each state, as counters say it. */
export interface StateCounts {
  /** Every account, retired ones included. */
  readonly accounts: readonly { readonly status: AccountStatus; readonly count: number }[]
  readonly credentials: readonly {
    readonly provider: string
    readonly status: CredentialStatus
    readonly count: number
  }[]
}

/** What is counted row by row, each up to `reportCountMax`. */
export interface ReportCounts {
  /** Accounts that are up and whose owner is not: who left, or a group that nobody is in. */
  readonly withoutOwner: number
  /** Of those that are up, past their end. */
  readonly expiredAccounts: number
  readonly expiredCredentials: number
  /** Past `rotateAfter` since before the instant that was asked for. */
  readonly rotationsOverdue: number
  readonly operations: Readonly<Record<'queued' | 'running' | 'waiting' | 'needsOperator', number>>
  readonly oldestWaitingAt: Instant | null
  readonly approvalsWaiting: number
}

/** A key that was ended on purpose, and how long that took from what caused it. */
export interface RevokedKey {
  readonly refusedAt: Instant
  readonly causedAt: Instant
}

export interface SeenBy {
  readonly client: string
  readonly owners: readonly string[]
  /** And what these are nominated for as backups. */
  readonly nominated: boolean
}

export interface AccountQuery {
  readonly tenant: TenantId
  /** Absent: every account; else what a client made, what these own, or are offered. */
  readonly seenBy?: SeenBy
  readonly owner?: string
  readonly status?: AccountStatus
  /** The beginning of the userName, whatever the case. */
  readonly prefix?: string
  /** Of those that are up, or in `status`: the end is at or after, and before. */
  readonly expiresFrom?: Instant
  readonly expiresBefore?: Instant
  /** Only those with a pending owner. */
  readonly transfers?: boolean
  /** The last row seen. */
  readonly after: string | null
  readonly limit: number
}

export interface CredentialQuery {
  readonly tenant: TenantId
  /** Absent: every one; else those of accounts that are there (not deleted) and seen. */
  readonly seenBy?: SeenBy
  readonly account?: AccountId | string
  readonly status?: CredentialStatus
  readonly after: string | null
  readonly limit: number
}

export interface PersonQuery {
  readonly tenant: TenantId
  readonly directory?: string
  /** The beginning of the userName or the displayName, whatever the case. */
  readonly prefix?: string
  readonly after: string | null
  readonly limit: number
}

/** The reads of `store.ts` that reports and the console's lists ask. */
export interface ReportReads {
  stateCounts(tenant: TenantId): Promise<StateCounts>
  /** By day, those days on which anything ends; days are `YYYY-MM-DD`, `until` is not among them. */
  endsByDay(tenant: TenantId, from: string, until: string): Promise<readonly EndsOfDay[]>
  reportCounts(tenant: TenantId, now: Instant, late: Instant): Promise<ReportCounts>
  /** Keys in use, the oldest first; of each of the providers so many. */
  oldestKeysOf(
    tenant: TenantId,
    providers: readonly string[],
    limit: number,
  ): Promise<readonly IssuedKey[]>
  /** Active credentials whose rotation was due before that instant, the most overdue first. */
  overdueRotations(tenant: TenantId, late: Instant, limit: number): Promise<readonly Credential[]>
  /** Keys that an operation other than a rotation ended and that were refused since, newest first. */
  revokedSince(tenant: TenantId, since: Instant, limit: number): Promise<readonly RevokedKey[]>
  /** Leavings since then: under way, or with nothing left to do. */
  leavingsSince(
    tenant: TenantId,
    since: Instant,
  ): Promise<{ readonly open: number; readonly complete: number }>
  /** Accounts that are up and were there before Custody, or all that are up; by id. */
  openAccounts(
    tenant: TenantId,
    of: 'imported' | 'all',
    after: string | null,
    limit: number,
  ): Promise<readonly ServiceAccount[]>

  /** By id; with a prefix by userName, with an end by that. All at one page cost, whatever there is. */
  accountsWhere(query: AccountQuery): Promise<readonly ServiceAccount[]>
  credentialsWhere(query: CredentialQuery): Promise<readonly Credential[]>
  /** Who is there, or held. By id; with a prefix those whose userName begins so, then those whose displayName does. */
  peopleWhere(query: PersonQuery): Promise<readonly Person[]>
}

/** No count reads on beyond this many rows: the figure is then "at least". */
export const reportCountMax = 100_000
