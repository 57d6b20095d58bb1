import type { IssuedKey, Principal } from '../domain/credential.ts'
import type { Finding, FindingKind, FindingStatus } from '../domain/finding.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'
import type { IssuedToken } from '../provider/contract.ts'

/** The changes of `store.ts` that are about findings and what inventories showed. */
export type FindingChange =
  /** Conflict `busy` when another finding of the same provider, kind and subject is unresolved. */
  | { readonly type: 'finding'; readonly finding: Finding; readonly expectedVersion: number | null }
  /** Notes which journalled keys an inventory showed, and forgets that they were missed. */
  | {
      readonly type: 'keysSeen'
      readonly provider: string
      readonly run: string
      readonly keys: readonly { readonly keyId: string; readonly active: boolean }[]
      readonly at: Instant
    }
  /** Notes since when a complete inventory does not show a key; what was noted first stays. */
  | {
      readonly type: 'keyMissed'
      readonly provider: string
      readonly run: string
      readonly keyId: string
      readonly at: Instant
    }

export interface FindingQuery {
  readonly tenant: TenantId
  readonly kind?: FindingKind
  readonly provider?: string
  readonly status?: FindingStatus
  /** Keyset cursor: the id of the last row seen (newest first). */
  readonly after: string | null
  readonly limit: number
}

/** A key that should work, with what inventories showed of it. */
export interface LiveKey {
  readonly key: IssuedKey
  /** Null: none has shown it yet, nor missed it. */
  readonly sighting: {
    /** The inventory that showed it last; empty when none did. */
    readonly run: string
    readonly active: boolean
    readonly missedRun: string | null
    readonly missedAt: Instant | null
  } | null
}

/** The reads of `store.ts` that are about findings, and what compares an inventory with the journal. */
export interface FindingReads {
  finding(tenant: TenantId, id: string): Promise<Finding | null>
  /** Newest first. */
  findings(query: FindingQuery): Promise<readonly Finding[]>
  /** Open and accepted ones about any of `subjects`, of all tenants, as all of these. */
  unresolvedFindings(provider: string, subjects: readonly string[]): Promise<readonly Finding[]>
  /** Open and accepted ones that `run` did not see, by id, strictly after `after`. */
  findingsNotSeen(
    provider: string,
    run: string,
    after: string | null,
    limit: number,
  ): Promise<readonly Finding[]>
  keysById(provider: string, keyIds: readonly string[]): Promise<readonly IssuedKey[]>
  /** By what was noted of the secret when it was made; walks the keys of the provider. */
  keysByFingerprint(
    provider: string,
    fingerprints: readonly string[],
  ): Promise<readonly IssuedKey[]>
  principalsByExternal(
    provider: string,
    externals: readonly string[],
  ): Promise<readonly Principal[]>
  /** Active and superseded keys by key id, strictly after `after`. */
  liveKeysAt(provider: string, after: string | null, limit: number): Promise<readonly LiveKey[]>
  /** How `run` saw the keys that should work since before `before`. */
  liveKeysTally(
    provider: string,
    run: string,
    before: Instant,
  ): Promise<{ readonly live: number; readonly missing: number; readonly inactive: number }>
  keysDeletedSince(provider: string, since: Instant): Promise<number>
  /** By id, strictly after `after`. */
  issuedTokensAfter(
    provider: string,
    after: string | null,
    limit: number,
  ): Promise<readonly IssuedToken[]>
}
