import type { GroupState } from './group.ts'
import type { ApprovalId, ClientId, PersonId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Instant } from './time.ts'
import { later } from './time.ts'

/** What was said about somebody's leaving; the policy gives each its grace, but for the last two none. */
export type LeaveClass =
  | 'deactivated'
  | 'deleted'
  /** The date their directory or a list named has passed. */
  | 'leaveDate'
  | 'groupEmptied'
  /** An operator's word, ahead of the directory. */
  | 'declared'
  | 'security'

/** One word about a leaving, and when it came. */
export interface LeaveNotice {
  readonly class: LeaveClass
  readonly at: Instant
}

export interface OwnerRef {
  readonly type: 'User' | 'Group'
  readonly id: string
}

/** A person from a directory. Active or left; leaving is a fact with a time and a cause. */
export interface Person {
  readonly tenant: TenantId
  readonly id: PersonId
  readonly directory: string
  /** The SCIM client that created it; `externalId` is scoped to it (RFC 7643 §3.1). */
  readonly client: ClientId
  readonly userName: string
  readonly externalId: string | null
  readonly active: boolean
  readonly leftAt: Instant | null
  /** The operation that handles the leaving; one leave is one cause. */
  readonly leftCause: string | null
  /** What the latest word about the leaving was; null while active. */
  readonly leftClass?: LeaveClass | null
  /** Every word since they were last active: a later one may end the grace of an earlier one. */
  readonly notices?: readonly LeaveNotice[]
  /** The day after which they are gone, whatever the directory says; null = none is known. */
  readonly leavesAt?: Instant | null
  /** The batch in which the leaving waits for a word: until then nothing is derived from it. */
  readonly heldBy: ApprovalId | null
  /** When a held leaving was let through; deadlines count from then, not from `leftAt`. */
  readonly releasedAt: Instant | null
  /** Set by DELETE: gone from SCIM, kept as the answer to "who owned this". */
  readonly deletedAt: Instant | null
  /** The SCIM attributes of the person, `schemas` included, without `id`, `meta` and `active`. */
  readonly attributes: JsonObject
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly version: number
}

/** What a decision needs to know of an owner; a missing row counts as gone. */
export interface OwnerState {
  readonly ref: OwnerRef
  readonly active: boolean
  /** Left, says the directory, with too many others at once: neither gone nor trusted until decided. */
  readonly held: boolean
  /** Of a group: when it was left without an active member; the grace it then has is not in it. */
  readonly leftAt: Instant | null
  /** Of a person who left: what was said, each with its grace. None = gone since `leftAt`. */
  readonly notices?: readonly LeaveNotice[]
  /** Of a group: whoever left it last is still in the company, and in another group. */
  readonly moved?: boolean
  readonly displayName: string | null
  readonly manager: string | null
}

export function ownerStateOf(person: Person): OwnerState {
  const enterprise = person.attributes[
    'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
  ] as { manager?: { value?: string } } | undefined
  const displayName = person.attributes['displayName']
  return {
    ref: { type: 'User', id: person.id },
    active: person.active && person.deletedAt === null,
    held: person.heldBy !== null,
    leftAt:
      person.leftAt !== null && person.releasedAt !== null
        ? later(person.leftAt, person.releasedAt)
        : person.leftAt,
    notices: person.notices ?? [],
    displayName: typeof displayName === 'string' ? displayName : person.userName,
    manager: enterprise?.manager?.value ?? null,
  }
}

/** A group owns as long as somebody active is in it (contract §3). */
export function ownerStateOfGroup({ group, active }: GroupState): OwnerState {
  return {
    ref: { type: 'Group', id: group.id },
    active,
    held: false,
    leftAt: active ? null : (group.emptiedAt ?? group.deletedAt),
    displayName: group.displayName,
    manager: null,
  }
}

/** Adds a word about a leaving; the first of a class counts, or a directory could put off its end. */
export function noticed(
  person: Person,
  notice: LeaveNotice,
): Required<Pick<Person, 'leftClass' | 'notices'>> {
  const known = person.active ? [] : (person.notices ?? [])
  const isKnown = known.some((n) => n.class === notice.class)
  return { leftClass: notice.class, notices: isKnown ? known : [...known, notice] }
}

/** What remains of a leaving once the person is back. */
export const noNotices = { leftClass: null, notices: [] } as const
