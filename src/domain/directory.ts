import type { Instant, Seconds } from './time.ts'

/**
 * What the directory says of somebody. `unsettled` is neither: not begun yet, suspended, or a word
 * that this version cannot read; nothing is ever derived from it.
 */
export type DirectoryState = 'active' | 'left' | 'unsettled'

/** A person as the directory itself shows them, whatever it has sent over SCIM. */
export interface DirectoryPerson {
  /** The directory's own id: what Okta and Entra ID commonly send as `externalId`. */
  readonly id: string
  readonly userName: string
  readonly email: string | null
  /** Another id that Custody may know the person by; null when there is none. */
  readonly externalId: string | null
  readonly employeeNumber: string | null
  readonly state: DirectoryState
  /** Not only switched off: gone, or in the recycle bin. */
  readonly deleted: boolean
  /** The manager's id, userName or address; null = has none, undefined = the source does not say. */
  readonly manager?: string | null
  readonly leavesAt: Instant | null
  /** When `state` became what it is; null when the source does not say. */
  readonly changedAt: Instant | null
}

/** One reading of a whole directory. Never throws: what could not be read makes it incomplete. */
export interface DirectoryListing {
  readonly people: readonly DirectoryPerson[]
  /** False when anything may be missing: then nothing may be derived from absence, or done at all. */
  readonly complete: boolean
  /** Why it is incomplete, in one sentence without a secret; null when it is complete. */
  readonly trouble: string | null
}

/** Somewhere people can be looked up as they really are. Knows nothing of what Custody believes. */
export interface DirectorySource {
  /** As `Person.directory`. */
  readonly name: string
  readonly type: string
  /** How often the directory speaks over SCIM when all is well; silent for two of these is an alarm. */
  readonly cycle: Seconds
  /** `assigned`: only some people are sent to Custody, so who is unknown here is not a difference. */
  readonly scope: 'everyone' | 'assigned'
  read(): Promise<DirectoryListing>
}
