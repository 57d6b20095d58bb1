import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { OwnerRef, OwnerState } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import { planClose } from './switching.ts'
import { brakedNow } from './brakes.ts'
import type { Lifecycle } from './context.ts'
import { auditRow } from './context.ts'
import { capabilitiesOf, termsOf } from './credential-terms.ts'
import { lastUseOf, rotation } from './credentials.ts'
import type { LeaverDecision } from './leaver.ts'
import { decideLeaver, leftAtOf } from './leaver.ts'
import { ownerState, ownerStates } from './people.ts'
import type { Twin } from './shadow.ts'
import { twinOf, unlessWatched } from './shadow.ts'

/** What would be decided for one account now, with what the decision looked at. */
export interface Verdict {
  readonly account: ServiceAccount
  readonly credentials: readonly Credential[]
  readonly owner: OwnerState | null
  /** When the owner was gone to this account: a group is when its grace is over. */
  readonly leftAt: Instant | null
  readonly decision: LeaverDecision
}

/**
 * Asks the leaver decision with the rows as they are now.
 * @param assumeLeft previews the leaving of an owner who is still active
 * @param assumeReleased previews what follows when a leaving that is held is let through
 */
export async function verdictOn(
  life: Lifecycle,
  account: ServiceAccount,
  options: { readonly assumeLeft?: boolean; readonly assumeReleased?: boolean } = {},
): Promise<Verdict> {
  const now = life.clock.now()
  const [current, backups, credentials] = await Promise.all([
    ownerState(life, account.tenant, account.owner),
    ownerStates(life, account.tenant, account.backups),
    life.store.read.credentialsOf(account.tenant, account.id),
  ])
  const owner =
    current && options.assumeLeft
      ? { ...current, active: false, leftAt: current.leftAt ?? now }
      : current && !current.active && options.assumeReleased
        ? { ...current, held: false, notices: [], leftAt: now }
        : current
  const terms = termsOf(life, account)
  const decision = decideLeaver({
    owner,
    account,
    backups,
    lastUsedAt: lastUseOf(credentials),
    terms,
    now,
  })
  return { account, credentials, owner, leftAt: leftAtOf({ owner, terms }), decision }
}

/**
 * Does to one account what the decision says: at most one commit, guarded by the account's
 * version. Repeating it is harmless: what was done shows in the account's status.
 * @returns the operations started; empty when there was nothing (more) to do
 */
export async function actOnLeaver(
  life: Lifecycle,
  account: ServiceAccount,
  why: { readonly actor: Actor; readonly cause: string },
): Promise<readonly Operation[]> {
  const twin = await twinOf(life, account)
  // What a person closed is marked as known to the leaver, watched or not.
  const watched = twin.watched && isOpen(account.status)
  const verdict = await (watched ? verdictOnTwin(life, twin) : verdictOn(life, account))
  const decided = planFor(life, verdict, why)
  if (!decided) return []
  if (isByTimeAlone(verdict, life.clock.now())) {
    if (await brakedNow(life, 'deadline', account.tenant)) return []
  }
  const plan = watched
    ? unlessWatched(life, account, twin, decided, {
        ...why,
        rule: ruleOf(verdict, life.clock.now()),
      })
    : decided
  const result = await life.store.commit(plan.changes)
  if (result !== 'saved') {
    // Somebody wrote the account, or something runs on it, between our read and now: look again.
    const fresh = await life.store.read.account(account.tenant, account.id)
    return fresh && fresh.version !== account.version ? actOnLeaver(life, fresh, why) : []
  }
  life.wake()
  return plan.operations
}

/** What enforcing decides on the account as it would be by now. */
export async function verdictOnTwin(life: Lifecycle, twin: Twin): Promise<Verdict> {
  const verdict = await verdictOn(life, twin.account)
  const { decision } = verdict
  return {
    ...verdict,
    credentials: verdict.credentials.map((c) => twin.credential(c)),
    decision: decision.rule === 'observed' ? decision.would : decision,
  }
}

function planFor(
  life: Lifecycle,
  verdict: Verdict,
  why: { readonly actor: Actor; readonly cause: string },
): { readonly changes: readonly Change[]; readonly operations: readonly Operation[] } | null {
  const { account, credentials, leftAt, decision } = verdict
  const now = life.clock.now()
  const isGroup = account.owner.type === 'Group'
  const facts: JsonObject = {
    decision: decision.action,
    rule: decision.rule,
    owner: account.owner.id,
    ownerLeftAt: leftAt,
    leftClass: verdict.owner?.notices?.at(-1)?.class ?? (isGroup ? 'groupEmptied' : null),
    ...(verdict.owner?.moved ? { moved: true } : {}),
    lastUsedAt: lastUseOf(credentials),
    backups: account.backups.map(({ id, acceptedAt }) => ({ id, acceptedAt })),
    policy: life.policy().version,
  }
  switch (decision.action) {
    case 'none':
      // Of an earlier leaving: a return revives the person only, and one that is held came after it.
      if (decision.rule !== 'observed' && isOverdue(account, now)) {
        return closing(life, account, why, { ...facts, rule: 'notAccepted' })
      }
      return decision.rule === 'held' || decision.rule === 'observed'
        ? null
        : markPaused(life, verdict, why, facts)
    case 'disable':
      return closing(life, account, why, facts)
    case 'offer': {
      if (account.status === 'orphaned') {
        if (isOverdue(account, now))
          return closing(life, account, why, { ...facts, rule: 'notAccepted' })
        return offeredAnew(life, account, decision.to, why, facts)
      }
      // Credentials still being made carry a key the leaver never saw: only finished ones rotate.
      const operations = rotationsOf(life, verdict, why, decision.oldKeysUntil)
      const orphaned: ServiceAccount = {
        ...account,
        status: 'orphaned',
        statusReason: decision.rule === 'usedInProduction' ? 'contained' : 'offerPending',
        orphanedAt: leftAt ?? now,
        pendingOwner: decision.to,
        disableAt: decision.disableAt,
        updatedAt: now,
      }
      return {
        operations,
        changes: [
          { type: 'account', account: orphaned, expectedVersion: account.version },
          ...operations.map((operation): Change => ({ type: 'enqueue', operation, preempt: true })),
          decided(life, account, why, {
            ...facts,
            offeredTo: decision.to?.id ?? null,
            disableAt: decision.disableAt,
          }),
        ],
      }
    }
  }
}

function rotationsOf(
  life: Lifecycle,
  { account, credentials }: Pick<Verdict, 'account' | 'credentials'>,
  why: { readonly actor: Actor; readonly cause: string },
  oldKeysUntil: Instant,
): readonly Operation[] {
  return credentials
    .filter((c) => c.status === 'active' && capabilitiesOf(life, c)?.mint !== 'none')
    .map((c) =>
      rotation(life, account, c, why.actor, {
        reason: 'ownerLeft',
        cause: why.cause,
        oldKeysUntil,
      }),
    )
}

/**
 * An account changes hands in the grace of an owner who has left: once it is over, nobody would find it
 * any more, and what they know would go on working. Its keys end as if the leaving counted now.
 * @returns null outside of a grace
 */
export async function planHandover(
  life: Lifecycle,
  account: ServiceAccount,
  why: { readonly actor: Actor; readonly cause: string },
): Promise<readonly Change[] | null> {
  const verdict = await verdictOn(life, account)
  if (verdict.decision.rule !== 'grace') return null
  const until = addSeconds(life.clock.now(), termsOf(life, account).leaver.overlap)
  return rotationsOf(life, verdict, why, until).map((operation): Change => ({
    type: 'enqueue',
    operation,
    preempt: true,
  }))
}

/** As the audit of an account that is enforced names it. */
function ruleOf({ account, decision }: Verdict, now: Instant): string {
  return isOverdue(account, now) ? 'notAccepted' : decision.rule
}

/** A protected one is never: not even when it became so after it was offered. */
export function isOverdue(account: ServiceAccount, now: Instant): boolean {
  if (account.protected) return false
  return account.status === 'orphaned' && account.disableAt !== null && account.disableAt <= now
}

/** Nobody left just now: the time to accept, or the grace of a leaving or an empty group, is over. */
function isByTimeAlone({ account, owner, leftAt }: Verdict, now: Instant): boolean {
  const hadGrace = leftAt !== null && owner !== null && leftAt !== owner.leftAt
  return owner?.ref.type === 'Group' || hadGrace || isOverdue(account, now)
}

/** The heir it was offered to has left as well: the next one has what is left of the time. */
function offeredAnew(
  life: Lifecycle,
  account: ServiceAccount,
  to: OwnerRef | null,
  why: { readonly actor: Actor; readonly cause: string },
  facts: JsonObject,
): { readonly changes: readonly Change[]; readonly operations: readonly Operation[] } | null {
  if (to === null || account.pendingOwner === null || to.id === account.pendingOwner.id) return null
  const next: ServiceAccount = { ...account, pendingOwner: to, updatedAt: life.clock.now() }
  return {
    operations: [],
    changes: [
      { type: 'account', account: next, expectedVersion: account.version },
      decided(life, account, why, { ...facts, offeredTo: to.id, disableAt: account.disableAt }),
    ],
  }
}

/**
 * An account that an operator had paused stays as it is, except for its reason: whoever enables it
 * later must not get back the keys of somebody who left.
 */
function markPaused(
  life: Lifecycle,
  { account, owner, leftAt }: Verdict,
  why: { readonly actor: Actor; readonly cause: string },
  facts: JsonObject,
): { readonly changes: readonly Change[]; readonly operations: readonly Operation[] } | null {
  const paused = account.status === 'disabled' || account.status === 'disabling'
  if (owner?.active || !paused || account.statusReason !== 'operator') return null
  const now = life.clock.now()
  if (leftAt !== null && now < leftAt) return null
  const marked: ServiceAccount = {
    ...account,
    statusReason: 'ownerLeft',
    orphanedAt: leftAt ?? now,
    // While still `disabling`, the operation that ends it starts the clock.
    deleteAt:
      account.status === 'disabled'
        ? addSeconds(now, termsOf(life, account).hold)
        : account.deleteAt,
    updatedAt: now,
  }
  return {
    operations: [],
    changes: [
      { type: 'account', account: marked, expectedVersion: account.version },
      decided(life, account, why, facts),
    ],
  }
}

function closing(
  life: Lifecycle,
  account: ServiceAccount,
  why: { readonly actor: Actor; readonly cause: string },
  facts: JsonObject,
): { readonly changes: readonly Change[]; readonly operations: readonly Operation[] } {
  const planned = planClose(life, account, {
    kind: 'disable',
    reason: 'ownerLeft',
    actor: why.actor,
    cause: why.cause,
  })
  return {
    operations: [planned.operation],
    changes: [
      { type: 'account', account: planned.account, expectedVersion: account.version },
      ...planned.changes,
      decided(life, account, why, facts),
    ],
  }
}

function decided(
  life: Lifecycle,
  account: ServiceAccount,
  why: { readonly actor: Actor; readonly cause: string },
  facts: JsonObject,
): Change {
  return auditRow(life, {
    tenant: account.tenant,
    actor: why.actor,
    action: 'account.leaverDecided',
    target: { type: 'account', id: account.id },
    facts: { ...facts, cause: why.cause },
  })
}
