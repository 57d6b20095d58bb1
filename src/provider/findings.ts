import type { CredentialKind } from '../domain/credential.ts'
import type { Instant } from '../domain/time.ts'
import type { ListedKey } from './contract.ts'

/** Something at the provider that Custody does not manage, or does already (`account`). */
export interface Discovered {
  /** Immutable at the provider; what `adopt` takes, perhaps days later. */
  readonly external: string
  /** What people call it there. */
  readonly name: string
  readonly kind: CredentialKind
  readonly createdAt: Instant | null
  readonly keys: readonly ListedKey[]
  /** Who might own it, best guess first; `hint` is an address, a login or a name. */
  readonly owners: readonly {
    readonly hint: string
    readonly from: 'tag' | 'creator' | 'committer' | 'holder'
  }[]
  /** The company behind it, where it is somebody else's: an app's publisher. */
  readonly vendor: string | null
  /** The account whose marks it bears; null = nobody manages it. */
  readonly account: string | null
  /** Why it cannot be adopted, as a sentence; null = it can. */
  readonly obstacle: string | null
  /** What a reviewer should know of it, a sentence each: that it never expires, what it reaches. */
  readonly notes?: readonly string[]
}

export interface DiscoveryPage {
  readonly items: readonly Discovered[]
  readonly next: string | null
  readonly complete: boolean
  /** How many there are in all, where the provider says so: for a progress line. */
  readonly total: number | null
}

/** One thing that `check` looked at. */
export interface CheckFinding {
  /** A stable word: `credentials`, `iam:CreateUser`, `administration`, `clock`. */
  readonly name: string
  readonly state: 'ok' | 'failed' | 'unknown'
  /** What was seen, in one sentence. Never a secret. */
  readonly message: string
  /** What to do about it; null when there is nothing to do. */
  readonly remedy: string | null
}

export interface CheckReport {
  readonly findings: readonly CheckFinding[]
  /** The least that has to be granted there, ready to paste; null where there is no such document. */
  readonly leastPolicy: string | null
}
