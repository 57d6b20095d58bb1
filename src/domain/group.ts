import type { ClientId, GroupId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Instant } from './time.ts'

export type MemberType = 'User' | 'Group'

/** A group of people from a directory; its members are rows of their own, for there may be 50 000. */
export interface Group {
  readonly tenant: TenantId
  readonly id: GroupId
  readonly directory: string
  /** The SCIM client that created it; `externalId` is scoped to it (RFC 7643 §3.1). */
  readonly client: ClientId
  readonly displayName: string
  readonly externalId: string | null
  /** Since when it has no active member; null while it has one. Kept by the store with every change. */
  readonly emptiedAt: Instant | null
  readonly deletedAt: Instant | null
  /** The other SCIM attributes, `schemas` included, without `id`, `meta` and `members`. */
  readonly attributes: JsonObject
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly version: number
}

/** One membership. The id may lead nowhere: lenient clients name members before they create them. */
export interface Member {
  readonly id: string
  readonly type: MemberType
  readonly display: string | null
}

/** What a group is to an owner decision. */
export interface GroupState {
  readonly group: Group
  /** At least one active person of its directory is a member, directly or through groups in it. */
  readonly active: boolean
}
