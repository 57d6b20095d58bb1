import type { BackupOwner, ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { IssuedKey } from '../domain/credential.ts'
import { assertNever } from '../domain/json.ts'
import type { LeaveClass, OwnerRef, OwnerState } from '../domain/owner.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { addSeconds, earlier, later, seconds, secondsBetween } from '../domain/time.ts'
import type { LifecycleTerms } from '../policy/lifecycle.ts'

/** Names the clause of the policy that decided; shown in impact previews and kept in the audit. */
export type LeaverRule =
  | 'ownerActive'
  | 'accountClosed'
  | 'groupGrace'
  | 'grace'
  | 'activeBackup'
  | 'usedInProduction'
  | 'noHeir'
  | 'protected'
  | 'observed'
  | 'held'

export type LeaverDecision =
  | { readonly action: 'none'; readonly rule: 'ownerActive' | 'accountClosed' }
  /** Left, but the policy lets such a word rest: nothing is done to what works, nothing new is made. */
  | {
      readonly action: 'none'
      readonly rule: 'groupGrace' | 'grace'
      /** When it goes on by itself. */
      readonly until: Instant | null
    }
  /** The mass-leave brake holds the leaving: what works goes on, nothing new is made. */
  | { readonly action: 'none'; readonly rule: 'held' }
  /** The policy only watches (`enforcement: observe`): nothing is done, `would` is what enforcing does. */
  | { readonly action: 'none'; readonly rule: 'observed'; readonly would: EnforcedDecision }
  | EnforcedDecision

export type EnforcedDecision =
  /** Stays up without the leaver's keys: rotate at once, offer to an heir, disable at `disableAt`. */
  | {
      readonly action: 'offer'
      readonly rule: 'activeBackup' | 'usedInProduction' | 'protected'
      readonly to: OwnerRef | null
      readonly disableAt: Instant | null
      /** The keys the leaver may know stop working then, at the latest. */
      readonly oldKeysUntil: Instant
    }
  | { readonly action: 'disable'; readonly rule: 'noHeir' }

export interface LeaverInput {
  /** null = no such person or group exists any more. */
  readonly owner: OwnerState | null
  readonly account: ServiceAccount
  /** States of the account's backups, by id; a missing one counts as gone. */
  readonly backups: readonly OwnerState[]
  readonly lastUsedAt: Instant | null
  readonly terms: LifecycleTerms
  readonly now: Instant
}

/**
 * What becomes of one account when its owner has left (contract §8). Pure: the fan-out, the impact
 * preview, the orphan sweep and introspection all ask this function, so they cannot disagree.
 */
export function decideLeaver(input: LeaverInput): LeaverDecision {
  const { owner, account, terms } = input
  if (owner?.active) return { action: 'none', rule: 'ownerActive' }
  if (owner?.held) return { action: 'none', rule: 'held' }
  if (!isOpen(account.status)) return { action: 'none', rule: 'accountClosed' }
  const leftAt = leftAtOf(input)
  if (owner?.ref.type === 'Group' && (leftAt === null || input.now < leftAt)) {
    return { action: 'none', rule: 'groupGrace', until: leftAt }
  }
  if (isInGrace(input)) return { action: 'none', rule: 'grace', until: leftAt }
  const decision = enforced(input)
  return terms.enforcement === 'observe'
    ? { action: 'none', rule: 'observed', would: decision }
    : decision
}

/**
 * When the owner was gone to this account. A group is, once its grace is over: who left it last knows
 * the keys no better than who left it a year ago, and a directory empties groups while it moves them.
 */
export function leftAtOf({ owner, terms }: Pick<LeaverInput, 'owner' | 'terms'>): Instant | null {
  const leftAt = owner?.leftAt ?? null
  if (leftAt === null || !owner) return null
  if (owner.ref.type === 'Group') {
    const { groupGrace, moverDebounce } = terms.leaver
    const grace = owner.moved ? Math.max(groupGrace, moverDebounce) : groupGrace
    return addSeconds(leftAt, grace)
  }
  const ends = endsOf(owner, terms)
  // Grace runs while a leaving is held: letting it through is a word by itself.
  return ends.length === 0 ? leftAt : later(ends.reduce(earlier), leftAt)
}

/** How long a word of that class rests before anything follows from it. */
export function graceOf({ leaver }: LifecycleTerms, of: LeaveClass): Seconds {
  switch (of) {
    case 'deleted':
      return leaver.deletedGrace
    case 'deactivated':
      return leaver.deactivatedGrace
    case 'leaveDate':
      return leaver.leaveDateGrace
    case 'groupEmptied':
      return leaver.groupGrace
    case 'declared':
    case 'security':
      return seconds(0)
    default:
      return assertNever(of)
  }
}

/** When each word's grace is over: the first to end counts, so a stronger word can only shorten it. */
function endsOf({ notices = [] }: OwnerState, terms: LifecycleTerms): readonly Instant[] {
  return notices.map((notice) => addSeconds(notice.at, graceOf(terms, notice.class)))
}

/** Whether every word about a person's leaving still rests. */
export function isInGrace({
  owner,
  terms,
  now,
}: Pick<LeaverInput, 'owner' | 'terms' | 'now'>): boolean {
  if (!owner || owner.ref.type === 'Group') return false
  const { notices = [] } = owner
  // Never by the clock alone: another replica's may be a second behind the one that wrote the word.
  if (notices.some((notice) => graceOf(terms, notice.class) === 0)) return false
  return notices.length > 0 && endsOf(owner, terms).every((end) => now < end)
}

function enforced(input: LeaverInput): EnforcedDecision {
  const { owner, account, terms, now } = input
  // Deadlines count from the leaving, not from when a sweep happens to look.
  const leftAt = leftAtOf(input) ?? account.orphanedAt ?? now
  const oldKeysUntil = addSeconds(leftAt, terms.leaver.overlap)

  if (account.protected) {
    return {
      action: 'offer',
      rule: 'protected',
      to: owner ? managerOf(owner) : null,
      disableAt: null,
      oldKeysUntil,
    }
  }
  const heir = account.backups.find((b) => countsAsHeir(b, input, leftAt))
  if (heir) {
    return {
      action: 'offer',
      rule: 'activeBackup',
      to: { type: heir.type, id: heir.id },
      disableAt: addSeconds(leftAt, terms.leaver.acceptWithin),
      oldKeysUntil,
    }
  }
  if (
    terms.leaver.contain &&
    usedWithin(input.lastUsedAt, leftAt, terms.leaver.containWhenUsedWithin)
  ) {
    return {
      action: 'offer',
      rule: 'usedInProduction',
      to: owner ? managerOf(owner) : null,
      disableAt: addSeconds(leftAt, terms.leaver.containFor),
      oldKeysUntil,
    }
  }
  return { action: 'disable', rule: 'noHeir' }
}

function managerOf(owner: OwnerState): OwnerRef | null {
  return owner.manager === null ? null : { type: 'User', id: owner.manager }
}

/** A backup named shortly before the leaving may be the leaver's own doing: it must have accepted. */
function countsAsHeir(backup: BackupOwner, input: LeaverInput, leftAt: Instant): boolean {
  const state = input.backups.find((s) => s.ref.id === backup.id && s.ref.type === backup.type)
  // Nothing is derived from a leaving that is held, not even that an heir is gone.
  if (!state || !(state.active || state.held)) return false
  if (backup.acceptedAt !== null) return true
  return secondsBetween(backup.nominatedAt, leftAt) >= input.terms.leaver.backupMinAge
}

function usedWithin(lastUsedAt: Instant | null, leftAt: Instant, window: Seconds): boolean {
  return lastUsedAt !== null && secondsBetween(lastUsedAt, leftAt) <= window
}

/** Why a key is not accepted; null = it works. Words for the operator's log, never for the caller. */
export type Rejection = 'tokenInactive' | 'keyClosed' | 'expired' | 'accountClosed' | 'ownerLeft'

/**
 * Whether a key of an account works at this moment, from rows alone. The owner's row is the
 * switch: the instant it says "left", all keys the decision does not spare are refused, before any
 * fan-out has run.
 */
export function rejectionOf(
  input: LeaverInput & {
    readonly key: IssuedKey | null
    readonly keyActive: boolean
    readonly keyExpiresAt: Instant
    readonly issuedAt: Instant
  },
): Rejection | null {
  const { account, key, now } = input
  if (!input.keyActive) return 'tokenInactive'
  if (key && (key.status === 'disabled' || key.status === 'revoked' || key.status === 'failed'))
    return 'keyClosed'
  if (now >= earlier(input.keyExpiresAt, account.expiresAt)) return 'expired'
  if (account.deletedAt !== null || !(isOpen(account.status) || account.status === 'requested'))
    return 'accountClosed'

  const decision = decideLeaver(input)
  if (decision.action === 'none') return null
  if (decision.action === 'disable') return 'ownerLeft'
  const leftAt = leftAtOf(input) ?? account.orphanedAt
  const known = leftAt === null || servedBefore(leftAt, key, input.issuedAt)
  if (known && now >= decision.oldKeysUntil) return 'ownerLeft'
  if (decision.disableAt !== null && now >= decision.disableAt) return 'ownerLeft'
  return null
}

/**
 * Whether somebody who left then may know the key. What counts is when it was first served: a key
 * that was still staged is kept by the leaver decision, so it must not be refused as an old one.
 */
export function servedBefore(leftAt: Instant, key: IssuedKey | null, issuedAt: Instant): boolean {
  return key === null ? issuedAt < leftAt : key.activatedAt !== null && key.activatedAt < leftAt
}
