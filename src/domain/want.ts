import type { AccountKind } from './account.ts'
import type { CredentialKind, ScopeGrant } from './credential.ts'
import type { Member } from './group.ts'
import type { JsonObject } from './json.ts'
import type { OwnerRef } from './owner.ts'
import type { Instant, Seconds } from './time.ts'

/** What a client asks for, checked against the schemas and free of wire spelling. `undefined` = not said. */
export interface PersonWrite {
  readonly type: 'person'
  readonly userName: string
  readonly externalId: string | null
  readonly active: boolean | undefined
  readonly attributes: JsonObject
}

export interface CredentialEntry {
  /** The credential's id when it names an existing one. */
  readonly value?: string | undefined
  readonly display?: string | undefined
  readonly provider: string
  readonly kind: CredentialKind
  readonly scopes: readonly string[]
  /** An existing one whose scopes were not mentioned. */
  readonly keepsScopes?: true
  readonly deliverTo?: DeliverToWish | undefined
  readonly expiresAt?: Instant | undefined
  readonly entitlement?: string | null | undefined
  readonly scopesFrom?: readonly ScopeGrant[] | undefined
}

export interface DeliverToWish {
  readonly sink?: string | undefined
  readonly path?: string | undefined
}

export interface AccountWrite {
  readonly type: 'account'
  readonly userName: string
  readonly externalId: string | null
  readonly active: boolean | undefined
  readonly kind: AccountKind
  readonly owner: OwnerRef | undefined
  readonly backupOwners: readonly OwnerRef[] | undefined
  readonly purpose: string
  readonly environment: string | null | undefined
  readonly labels: readonly string[] | undefined
  readonly expiresAt: Instant | undefined
  readonly protected: boolean | undefined
  /** Omitted or null on the wire is undefined here: all stay as they are. */
  readonly credentials: readonly CredentialEntry[] | undefined
  readonly attributes: JsonObject
}

export interface CredentialWrite {
  /** The id of the account it is for. */
  readonly serviceAccount: string
  readonly displayName: string | null
  readonly provider: string
  readonly kind: CredentialKind
  readonly scopes: readonly string[]
  readonly scopesFrom?: readonly ScopeGrant[] | undefined
  readonly entitlement?: string | null | undefined
  readonly readers: readonly string[]
  readonly deliverTo: DeliverToWish | undefined
  readonly expiresAt: Instant | undefined
  readonly rotateEvery: Seconds | undefined
  readonly overlap: Seconds | undefined
}

/** A member as a client names it; the type is undefined when it left it to us to find out. */
export type MemberWish = Omit<Member, 'type'> & { readonly type: Member['type'] | undefined }

export interface GroupWrite {
  readonly displayName: string
  readonly externalId: string | null
  readonly attributes: JsonObject
}

/**
 * What becomes of a group's members, in the order: all out when `replace`, then `remove`, then
 * `add`. An id is in at most one of the two lists.
 */
export interface MembersWrite {
  readonly replace: boolean
  readonly add: readonly MemberWish[]
  readonly remove: readonly string[]
}
