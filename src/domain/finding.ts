import type { AccountId, CredentialId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Instant } from './time.ts'

/** What a provider's inventory and our journal disagree about; docs/reference/findings.md explains each. */
export type FindingKind =
  /** A principal where only Custody makes them, that nobody's account stands for. */
  | 'unmanaged'
  /** A principal of ours whose account is gone, or was never written. */
  | 'orphaned-principal'
  /** A key on a principal of ours that no journal knows. */
  | 'foreign'
  /** A key that we switched off, or deleted, works again. */
  | 'reactivated'
  /** A key that should work is listed as switched off, and not by us. */
  | 'deactivated'
  /** A key that should work is in two complete inventories no more. */
  | 'vanished'
  /** More keys than the provider allows, or a deleted one that is still listed. */
  | 'extra'
  /** What consumers read is not the newest active key. */
  | 'stale-store'
  /** A key in use is older than the policy's maximum age, whatever was rotated since. */
  | 'overage'
  /** What a key may do at the provider is not what was granted. */
  | 'entitlement-drift'

export const findingKinds: readonly FindingKind[] = [
  'unmanaged',
  'orphaned-principal',
  'foreign',
  'reactivated',
  'deactivated',
  'vanished',
  'extra',
  'stale-store',
  'overage',
  'entitlement-drift',
]

export type FindingStatus = 'open' | 'accepted' | 'resolved'
export const findingStatuses: readonly FindingStatus[] = ['open', 'accepted', 'resolved']

/** Somebody said that this may stay as it is, until a date. */
export interface Acceptance extends JsonObject {
  readonly by: string
  readonly at: Instant
  readonly reason: string
  readonly until: Instant
}

/** What was seen, by what it is about: one finding per (provider, kind, subject) until it is resolved. */
export interface Sight {
  readonly tenant: TenantId
  readonly kind: FindingKind
  readonly provider: string
  /** A key's id, a principal's handle, or a credential's id for what is about its store. */
  readonly subject: string
  readonly account: AccountId | null
  readonly credential: CredentialId | null
  readonly keyId: string | null
  /** For the person who has to decide. Never a secret. */
  readonly facts: JsonObject
}

export interface Finding extends Sight {
  readonly id: string
  readonly status: FindingStatus
  readonly firstSeenAt: Instant
  readonly lastSeenAt: Instant
  readonly resolvedAt: Instant | null
  readonly acceptance: Acceptance | null
  /** The reconciliation that saw it last: what a complete one did not see is resolved. */
  readonly run: string
  readonly version: number
}

/** How one and the same finding is told in a set. */
export function findingKey({ kind, subject }: Pick<Sight, 'kind' | 'subject'>): string {
  return `${kind} ${subject}`
}

/**
 * A finding that is seen again.
 * @returns `reopened` when its acceptance has ended meanwhile
 */
export function seenAgain(
  finding: Finding,
  sight: Sight,
  at: { readonly run: string; readonly now: Instant },
): { readonly finding: Finding; readonly reopened: boolean } {
  const reopened = finding.acceptance !== null && finding.acceptance.until <= at.now
  return {
    reopened,
    finding: {
      ...finding,
      account: sight.account,
      credential: sight.credential,
      keyId: sight.keyId,
      facts: sight.facts,
      lastSeenAt: at.now,
      run: at.run,
      ...(reopened ? { status: 'open', acceptance: null } : {}),
    },
  }
}

/** What was believed of a provider's inventory when it was last believed. */
export interface InventoryLevel extends JsonObject {
  /** Keys listed. */
  readonly keys: number
  /** Keys that should work, by our journal. */
  readonly live: number
  /** Those of them that were not listed. */
  readonly missing: number
  /** Those of them that were listed as switched off. */
  readonly inactive: number
  /** When the listing began. */
  readonly at: Instant
}

export type InventoryDoubt = 'shrunk' | 'massDisabled'

const dropMax = 0.1

/**
 * Whether a complete inventory can be believed (R17, R44, R58): not when more than 10 % less is
 * listed than before, or more than 10 % of the keys that should work went missing or were switched
 * off since. One key alone is never a drop, or with fewer than ten keys each would be.
 * @param base the last level believed; null for the first inventory of a provider
 * @param deleted keys that we ourselves have deleted since `base`
 */
export function doubtOf(
  level: InventoryLevel,
  base: InventoryLevel | null,
  deleted: number,
): InventoryDoubt | null {
  const tooMuch = (lost: number, of: number): boolean => lost > 1 && lost > of * dropMax
  if (tooMuch(level.inactive - (base?.inactive ?? 0), level.live)) return 'massDisabled'
  if (tooMuch(level.missing - (base?.missing ?? 0), level.live)) return 'shrunk'
  if (base !== null && tooMuch(base.keys - deleted - level.keys, base.keys)) return 'shrunk'
  return null
}
