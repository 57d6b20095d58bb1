import type { TenantId } from './ids.ts'
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

export interface KnownPerson {
  readonly id: string
  readonly userName: string
}

/** Gone there, active here. */
export interface MissedLeaver extends KnownPerson {
  /** As it was when compared: who was written since is not acted on. */
  readonly version: number
  /** By which key the two were found to be one. */
  readonly by: 'externalId' | 'userName' | 'email'
  /** Since when the directory says so; null when it does not say. */
  readonly since: Instant | null
  readonly deleted: boolean
}

export interface DirectoryDifference extends KnownPerson {
  readonly attribute: 'userName' | 'email' | 'manager'
  readonly here: string | null
  readonly there: string | null
}

/** What a comparison found, person by person. */
export interface CheckLists {
  readonly missed: readonly MissedLeaver[]
  /** Active here, unknown there: nothing follows from it by itself. */
  readonly ghosts: readonly KnownPerson[]
  /** Active there, unknown here. `id` is the directory's. */
  readonly missing: readonly (KnownPerson & { readonly email: string | null })[]
  /** Active there, left here. */
  readonly returned: readonly (KnownPerson & {
    readonly leftAt: Instant | null
    readonly since: Instant | null
  })[]
  readonly differences: readonly DirectoryDifference[]
  /** One key, several people: nobody is taken for anybody. */
  readonly ambiguous: readonly {
    readonly by: 'externalId' | 'userName' | 'email'
    readonly here: readonly KnownPerson[]
    readonly there: readonly KnownPerson[]
  }[]
}

export const checkListNames = [
  'missed',
  'ghosts',
  'missing',
  'returned',
  'differences',
  'ambiguous',
] as const satisfies readonly (keyof CheckLists)[]

/** When a client of the directory was last heard over SCIM. */
export interface HeardClient {
  readonly client: string
  readonly name: string
  readonly lastHeardAt: Instant | null
  readonly ageSeconds: number | null
  /** Not heard for two cycles: a silent feed looks like a quiet one (R73). */
  readonly silent: boolean
}

/** The last check of a directory, as it is kept and shown. */
export interface DirectoryCheck {
  readonly tenant: TenantId
  readonly directory: string
  readonly id: string
  readonly at: Instant
  readonly complete: boolean
  /** Records on which both sides agree, of all; of an incomplete listing neither means anything. */
  readonly agreeing: number
  readonly all: number
  readonly report: CheckReport
}

export interface CheckReport extends CheckLists {
  readonly type: string
  readonly trouble: string | null
  /** People the directory listed. */
  readonly listed: number
  /** People of the directory here, without those deleted. */
  readonly known: number
  readonly unsettled: number
  /** How many there are of each, also where a list was cut to `listMax`. */
  readonly counts: Readonly<Record<(typeof checkListNames)[number], number>>
  /** Seconds between the directory's word of a leaving and its arrival here. */
  readonly lag: { readonly people: number; readonly median: number; readonly worst: number } | null
  readonly heard: readonly HeardClient[]
}

/** No list is kept longer: a first check of a large company finds everybody missing. */
export const listMax = 10_000
