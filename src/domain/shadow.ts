import type { AccountStatus, StatusReason } from './account.ts'
import type { AccountId, CredentialId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { OwnerRef } from './owner.ts'
import type { Instant } from './time.ts'

/** What enforcing does to an account or a credential that is only watched. */
export type ShadowActKind = 'offer' | 'disable' | 'rotate' | 'revoke' | 'delete' | 'rearm'
export const shadowActKinds: readonly ShadowActKind[] = [
  'offer',
  'disable',
  'rotate',
  'revoke',
  'delete',
  'rearm',
]

/**
 * What a watched account would be by now, had the policy enforced. Without it every later act would
 * be judged on a world that could not be any more: a disabled account is rotated no further.
 */
export interface Shadow {
  readonly tenant: TenantId
  readonly account: AccountId
  /** null: as the account itself says; only its credentials differ. */
  readonly status: Extract<AccountStatus, 'orphaned' | 'disabled' | 'expired' | 'retired'> | null
  readonly statusReason: StatusReason | null
  /** Who owned it then: an offer is over once the account has changed hands. */
  readonly owner: string
  readonly pendingOwner: OwnerRef | null
  readonly orphanedAt: Instant | null
  readonly disableAt: Instant | null
  readonly deleteAt: Instant | null
  readonly credentials: Readonly<Record<CredentialId, ShadowCredential>>
  /**
   * When it was last said of what is protected, by id, that its time is over; under `plannedLeave`
   * the leave date for which it was said that the account would have been offered.
   */
  readonly told?: Readonly<Record<string, Instant>>
  /** When something would be due that no row of the account shows, or it is to be looked at again. */
  readonly dueAt: Instant
  readonly version: number
}

export interface ShadowCredential {
  /** When its last key would have been made. */
  readonly rotatedAt?: Instant
  readonly revokedAt?: Instant
}

/** One act that was not done, because the policy only watches. */
export interface ShadowAct {
  readonly tenant: TenantId
  readonly id: string
  readonly at: Instant
  readonly act: ShadowActKind
  readonly rule: string
  readonly account: AccountId
  readonly userName: string
  readonly owner: string
  readonly credential: CredentialId | null
  /** The event it follows from. */
  readonly cause: string
  readonly facts: JsonObject
}

/** How often an act would have been done, and to how many accounts. */
export interface ShadowCount {
  readonly act: ShadowActKind
  readonly acts: number
  readonly accounts: number
}

/** A person's word that a protected account may be closed; it needs a second person's. */
export interface Consent {
  readonly tenant: TenantId
  readonly account: AccountId
  readonly act: 'disable' | 'retire' | 'unprotect'
  /** The client that asked, and the person it is linked to: neither can be the second. */
  readonly client: string
  readonly clientName: string
  readonly person: string | null
  readonly reason: string | null
  readonly at: Instant
  readonly expiresAt: Instant
}
