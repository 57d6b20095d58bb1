import type { FailedRequest, FailedRequestState } from '../domain/failed-request.ts'
import type { ClientId, TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'

/** The changes of `store.ts` that are about requests which failed. */
export type FailedRequestChange =
  /**
   * Counts one more of an open failure of the same fingerprint, else inserts it, and forgets those
   * that nobody saw after `before`.
   */
  | {
      readonly type: 'requestFailed'
      readonly failure: FailedRequest
      readonly before: Instant
    }
  /** The same request was accepted; silent when no failure of it is open. */
  | {
      readonly type: 'requestSettled'
      readonly tenant: TenantId
      readonly client: ClientId
      readonly fingerprint: string
      readonly at: Instant
    }
  /** Conflict `version` unless it is open. */
  | {
      readonly type: 'failureDecided'
      readonly tenant: TenantId
      readonly id: string
      readonly state: 'replayed' | 'signedOff'
      readonly at: Instant
      readonly by: string
      readonly note: string | null
    }

export interface FailedRequestQuery {
  readonly tenant: TenantId
  readonly state: FailedRequestState
  readonly client?: string
  /** Keyset cursor: the id of the last row seen (oldest first, the order in which they failed). */
  readonly after: string | null
  readonly limit: number
}

export interface FailedRequestReads {
  failedRequest(tenant: TenantId, id: string): Promise<FailedRequest | null>
  /** Oldest first. */
  failedRequests(query: FailedRequestQuery): Promise<readonly FailedRequest[]>
  /** How many are open, one more than 1 000 at most. */
  openFailures(tenant: TenantId, client: ClientId): Promise<number>
  openFailure(
    tenant: TenantId,
    client: ClientId,
    fingerprint: string,
  ): Promise<FailedRequest | null>
}
