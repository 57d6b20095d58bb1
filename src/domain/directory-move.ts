import type { GroupId, PersonId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Person } from './owner.ts'
import { normalise } from './text.ts'
import type { Instant } from './time.ts'

/** By what people are the same in both directories. */
export type MatchKey = 'employeeNumber' | 'email'
export const matchKeys: readonly MatchKey[] = ['employeeNumber', 'email']

/** What is done page by page once the people have changed over, in this order. */
export type MoveStage = 'groups' | 'accounts' | 'credentials' | 'doubles' | 'done'

/** People and groups of one directory become those of another, with their ids and all they own. */
export interface DirectoryMove {
  readonly tenant: TenantId
  readonly id: string
  readonly from: string
  readonly to: string
  readonly match: MatchKey
  /** While it is open, who arrives from the new directory is recognised. */
  readonly status: 'open' | 'finished'
  readonly stage: MoveStage
  /** The last one that the stage has dealt with. */
  readonly after: string | null
  /** Counts, for whoever looks at it later. */
  readonly facts: JsonObject
  readonly openedAt: Instant
  readonly openedBy: string
  readonly finishedAt: Instant | null
}

/**
 * `waiting`: the new directory has not spoken of them yet. `confirmed`: it has. `merged`: they were
 * there twice, and everything hangs on the new one now.
 */
export type MovedState = 'waiting' | 'confirmed' | 'merged'

export interface Moved {
  readonly tenant: TenantId
  readonly move: string
  readonly type: 'User' | 'Group'
  readonly subject: PersonId | GroupId
  /** null when they have none, or share it: then nobody is recognised by it. */
  readonly key: string | null
  readonly state: MovedState
  /** The same one in the new directory, when it was there before. */
  readonly twin: string | null
  /** When the old directory last tried to write them, after it had lost them. */
  readonly oldWordAt: Instant | null
}

const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

/** What a person is recognised by; null when they do not have it. */
export function matchKeyOf(
  { userName, attributes }: Pick<Person, 'userName' | 'attributes'>,
  by: MatchKey,
): string | null {
  const found = by === 'employeeNumber' ? employeeNumberOf(attributes) : emailOf(attributes)
  const value = found ?? (by === 'email' && userName.includes('@') ? userName : null)
  const key = value === null ? '' : normalise(value).trim()
  return key === '' ? null : key
}

function employeeNumberOf(attributes: JsonObject): string | null {
  const enterprise = attributes[enterpriseUrn] as { readonly employeeNumber?: unknown } | undefined
  const number = enterprise?.employeeNumber
  return typeof number === 'string' ? number : null
}

function emailOf(attributes: JsonObject): string | null {
  const emails = attributes['emails']
  if (!Array.isArray(emails)) return null
  const known = emails as readonly { readonly value?: unknown; readonly primary?: unknown }[]
  const email = (known.find((e) => e.primary === true) ?? known[0])?.value
  return typeof email === 'string' ? email : null
}
