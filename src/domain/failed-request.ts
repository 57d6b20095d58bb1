import type { ClientId, TenantId } from './ids.ts'
import type { Instant } from './time.ts'

/**
 * `open`: nobody has dealt with it. `settled`: the client sent it again and it was accepted.
 * `replayed`: it was run again from here and accepted. `signedOff`: a person said why it may rest.
 */
export type FailedRequestState = 'open' | 'settled' | 'replayed' | 'signedOff'
export const failedRequestStates: readonly FailedRequestState[] = [
  'open',
  'settled',
  'replayed',
  'signedOff',
]

/** A write to SCIM that was refused or failed; the same one sent again is counted, not listed twice. */
export interface FailedRequest {
  readonly tenant: TenantId
  /** The id of the request that failed first. */
  readonly id: string
  readonly client: ClientId
  /** SHA-256, as hex, of method, route, target and body: what makes two requests the same. */
  readonly fingerprint: string
  readonly method: string
  /** The route's pattern, without the prefix. */
  readonly route: string
  readonly target: string | null
  readonly firstAt: Instant
  readonly lastAt: Instant
  readonly times: number
  readonly status: number
  readonly error: string | null
  readonly scimType: string | null
  /** Why it cannot be run again from here; null = it can. */
  readonly obstacle: string | null
  readonly state: FailedRequestState
  readonly decidedAt: Instant | null
  /** The name of the client that replayed it or signed it off. */
  readonly decidedBy: string | null
  readonly note: string | null
}
