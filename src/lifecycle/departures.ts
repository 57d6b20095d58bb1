import { setImmediate } from 'node:timers/promises'
import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { isDelivered } from '../domain/credential.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Person } from '../domain/owner.ts'
import { ownerStateOf } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, earlier } from '../domain/time.ts'
import type { LifecycleTerms } from '../policy/lifecycle.ts'
import type { Change, Departure } from '../store/store.ts'
import type { Lifecycle } from './context.ts'
import { auditRow } from './context.ts'
import { capabilitiesOf, termsOf } from './credential-terms.ts'
import { rotation } from './credentials.ts'
import { leftAtOf, servedBefore } from './leaver.ts'
import type { Twin } from './shadow.ts'
import { twinOf, unlessWatched } from './shadow.ts'

const pageSize = 100
/** Something runs on the credential: its key may be older than the departure, so it is looked at again. */
const busySeconds = 60
/** Switched off, and with the same keys when somebody switches it on: then they are looked at again. */
const pausedSeconds = 3_600

/**
 * When somebody who was among the readers counts as gone: a mover once the debounce is over, a leaver
 * with the leaving. Null = never, they are there. Pure.
 */
export function departedAt(
  person: Person | null,
  { at }: Pick<Departure, 'at'>,
  terms: LifecycleTerms,
): Instant | null {
  if (person === null) return at
  const owner = ownerStateOf(person)
  if (owner.held) return null
  if (owner.active) return addSeconds(at, terms.leaver.moverDebounce)
  const left = leftAtOf({ owner, terms }) ?? at
  const moved = addSeconds(at, terms.leaver.moverDebounce)
  // Who moved and then left is a leaver: the debounce is for those who are still in the company.
  return earlier(left, moved)
}

interface Round {
  readonly operations: Operation[]
  /** When to look again; null = all that follows has been done. */
  next: Instant | null
}

/**
 * Rotates what somebody who is no longer among the readers could read: what the group owns where the
 * policy says so, and what names the group or the person as a reader. One rotation serves everybody
 * who left before its key was served, so a team that dissolves costs one and not twenty.
 */
export async function actOnDeparture(
  life: Lifecycle,
  departure: Departure,
  actor: Actor,
): Promise<readonly Operation[]> {
  const { tenant, member, group } = departure
  const { read } = life.store
  const person = await read.person(tenant, member)
  const handed = group === member ? null : await read.account(tenant, group)
  const of: Case = { departure, person, actor, handed: handed !== null }
  const round: Round = { operations: [], next: null }
  const back = handed ? handed.owner.id === member : await isBack(life, person, departure)
  if (!back) {
    if (person?.heldBy) later(round, addSeconds(life.clock.now(), busySeconds))
    else if (handed) {
      for (const credential of await read.credentialsOf(tenant, handed.id)) {
        await rotateOne(life, of, { account: handed, credential }, round)
      }
    } else {
      await rotateOwned(life, of, round)
      await rotateRead(life, of, round)
    }
  }
  await life.store.commit([{ type: 'departureSeen', departure, dueAt: round.next }])
  if (round.operations.length > 0) life.wake()
  return round.operations
}

async function isBack(
  { store }: Lifecycle,
  person: Person | null,
  { tenant, member, group }: Departure,
): Promise<boolean> {
  if (!person?.active || person.deletedAt !== null) return false
  return group === member || (await store.read.groupsAround(tenant, member)).includes(group)
}

interface Case {
  readonly departure: Departure
  readonly person: Person | null
  readonly actor: Actor
  /** An account they handed over because they were to leave: until they do, nothing follows. */
  readonly handed: boolean
}

async function rotateOwned(life: Lifecycle, of: Case, round: Round): Promise<void> {
  const { tenant, member, group } = of.departure
  if (group === member) return
  let after: string | null = null
  for (;;) {
    const owned: readonly ServiceAccount[] = await life.store.read.accountsOwnedBy(
      tenant,
      group,
      after,
      pageSize,
    )
    for (const account of owned) {
      if (termsOf(life, account).leaver.onMemberLeft !== 'rotate') continue
      for (const credential of await life.store.read.credentialsOf(tenant, account.id)) {
        await rotateOne(life, of, { account, credential }, round)
      }
    }
    const last = owned.at(-1)
    if (!last || owned.length < pageSize) return
    after = last.id
    await setImmediate()
  }
}

async function rotateRead(life: Lifecycle, of: Case, round: Round): Promise<void> {
  const { tenant, group } = of.departure
  let after = ''
  for (;;) {
    const ids = await life.store.read.readBy(tenant, group, after, pageSize)
    for (const id of ids) {
      const credential = await life.store.read.credential(tenant, id)
      const account = credential && (await life.store.read.account(tenant, credential.account))
      if (account) await rotateOne(life, of, { account, credential }, round)
    }
    const last = ids.at(-1)
    if (last === undefined || ids.length < pageSize) return
    after = last
    await setImmediate()
  }
}

async function rotateOne(
  life: Lifecycle,
  of: Case,
  { account, credential }: { readonly account: ServiceAccount; readonly credential: Credential },
  round: Round,
): Promise<void> {
  const { departure, person, actor, handed } = of
  const rotates = isDelivered(credential) && capabilitiesOf(life, credential)?.mint !== 'none'
  const isUp = isOpen(account.status) && credential.status === 'active'
  if (!rotates || !(isUp || isPaused(account))) return
  const now = life.clock.now()
  const terms = termsOf(life, account)
  const counts = countsFrom(life, of, terms)
  if (counts.at > now && !handed) return later(round, counts.at)
  const { tenant } = credential
  const keys = await life.store.read.keysOf(tenant, credential.id)
  // An old key that waits for its consumers works as well as the current one.
  const knows = keys.some(
    (key) =>
      key.deletedAt === null &&
      (key.status === 'active' ||
        key.status === 'superseded' ||
        (!isUp && key.status === 'disabled')) &&
      servedBefore(counts.since, key, key.issuedAt),
  )
  if (!knows) return
  if (counts.at > now) return later(round, counts.at)
  if (!isUp) return later(round, addSeconds(now, pausedSeconds))
  const facts = {
    member: departure.member,
    group: handed || departure.group === departure.member ? null : departure.group,
    at: departure.at,
    moved: person?.active === true,
    ...(handed ? { handedOver: true } : {}),
  }
  const twin = await twinOf(life, account)
  if (twin.watched && !wouldRotate(twin, credential, counts.since)) return
  const oldKeysUntil = addSeconds(now, terms.leaver.overlap)
  const operation = rotation(life, account, credential, actor, {
    reason: 'memberLeft',
    oldKeysUntil,
  })
  // A planned one may wait for its consumers for months; one that ends known keys serves this, too.
  const open = await life.store.read.openOperations(tenant, account.id)
  const running = open.find((o) => o.kind === 'rotate' && o.subject === credential.id)
  const preempt = running !== undefined && (running.memo['oldKeysUntil'] ?? null) === null
  const changes: readonly Change[] = [
    { type: 'enqueue', operation, preempt },
    auditRow(life, {
      tenant,
      actor,
      target: { type: 'credential', id: credential.id },
      facts,
      operation: operation.id,
      action: 'credential.memberLeft',
    }),
  ]
  const decided = { operations: [operation], changes }
  const why = { actor, rule: 'memberLeft', cause: operation.cause, facts }
  const plan = unlessWatched(life, account, twin, decided, why)
  if ((await life.store.commit(plan.changes)) !== 'saved') {
    return later(round, addSeconds(now, busySeconds))
  }
  if (plan.operations.length === 0) return
  round.operations.push(...plan.operations)
  // It may be cancelled, or pre-empted by one that is taken back: over is what they know, not this.
  later(round, addSeconds(oldKeysUntil, busySeconds))
}

/** Of what is only watched: enforced, it would be up, and its key one that they know. */
function wouldRotate(twin: Twin, credential: Credential, since: Instant): boolean {
  const rotatedAt = twin.rotatedAt(credential)
  const isUp = isOpen(twin.account.status) && twin.credential(credential).status === 'active'
  return isUp && (rotatedAt === null || rotatedAt < since)
}

function isPaused({ status }: ServiceAccount): boolean {
  return status === 'disabling' || status === 'disabled' || status === 'expired'
}

/** From when a departure counts, and until when what was served is known to whoever departed. */
function countsFrom(
  life: Lifecycle,
  { departure, person, handed }: Case,
  terms: LifecycleTerms,
): { readonly at: Instant; readonly since: Instant } {
  const now = life.clock.now()
  if (handed) {
    // What came after the hand-over they never had.
    const since = departure.at
    if (person === null) return { at: since, since }
    if (!person.active)
      return { at: leftAtOf({ owner: ownerStateOf(person), terms }) ?? since, since }
    const { leavesAt = null } = person
    const again = addSeconds(now, Math.max(terms.leaver.moverDebounce, busySeconds))
    return { at: leavesAt !== null && leavesAt > now ? leavesAt : again, since }
  }
  const counts = departedAt(person, departure, terms)
  // What a mover was last served is what worked when they moved; a leaver reads until the leaving counts.
  return {
    at: counts ?? now,
    since: person?.active === true ? departure.at : (counts ?? departure.at),
  }
}

function later(round: Round, at: Instant): void {
  round.next = round.next === null ? at : earlier(round.next, at)
}
