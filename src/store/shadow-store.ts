import type { AccountId, TenantId } from '../domain/ids.ts'
import type { Consent, Shadow, ShadowAct, ShadowCount } from '../domain/shadow.ts'
import type { Instant } from '../domain/time.ts'
import type { DuePage } from './store.ts'

/** The changes of `store.ts` that are about what was not done. */
export type ShadowChange =
  | { readonly type: 'shadow'; readonly shadow: Shadow; readonly expectedVersion: number | null }
  /** Silent when there is none. */
  | { readonly type: 'shadowEnded'; readonly tenant: TenantId; readonly account: AccountId }
  /** Silent when the same act, on the same subject, by the same cause, is there already. */
  | { readonly type: 'shadowAct'; readonly act: ShadowAct }
  /** By account and act; replaces one that is over. Conflict `slot` while one counts. */
  | { readonly type: 'consent'; readonly consent: Consent }
  /** Uses up what that client said; conflict `missing` when it is not there any more. */
  | { readonly type: 'consentUsed'; readonly consent: Consent }

export interface ShadowQuery {
  readonly tenant: TenantId
  readonly from: Instant
  readonly until: Instant
  /** Keyset cursor: the id of the last row seen (newest first). */
  readonly after: string | null
  readonly limit: number
}

export interface ShadowReads {
  shadow(tenant: TenantId, account: AccountId): Promise<Shadow | null>
  /** Ids of accounts, of all tenants, that are due to be looked at. */
  shadowsDue(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Newest first. */
  shadowActs(query: ShadowQuery): Promise<readonly ShadowAct[]>
  shadowCounts(tenant: TenantId, from: Instant, until: Instant): Promise<readonly ShadowCount[]>
  consent(tenant: TenantId, account: AccountId, act: Consent['act']): Promise<Consent | null>
}
