import { errors } from '../domain/errors.ts'
import type { PersonId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import { leavesAtAfter } from '../domain/leave-date.ts'
import { sameJson } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { OwnerRef, OwnerState, Person } from '../domain/owner.ts'
import { noNotices, noticed, ownerStateOf, ownerStateOfGroup } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import type { PersonWrite } from '../domain/want.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, conflictError, planOperation, save } from './context.ts'
import { confirmedBy, recognised } from './directory-move.ts'
import { endOfHolding, holdOrLetGo } from './holding.ts'
import { visibleOwner } from './visible.ts'

export interface PersonResult {
  readonly person: Person
  /** The leave operation this write started, if any. */
  readonly operation: Operation | null
}

/** @throws forbidden, userNameTaken, externalIdTaken */
export async function createPerson(
  life: Lifecycle,
  caller: Caller,
  want: PersonWrite,
): Promise<PersonResult> {
  const id = life.ids.next() as PersonId
  const directory = caller.client.directory ?? 'default'
  const decision = authorise(life, caller, 'person.create', { type: 'person', id, directory })
  const known = await recognised(life, caller.tenant, directory, want)
  if (known) return arrive(life, caller, known, want)
  const now = life.clock.now()
  const active = want.active ?? true
  const person: Person = {
    tenant: caller.tenant,
    id,
    directory,
    client: caller.client.id,
    userName: want.userName,
    externalId: want.externalId,
    active,
    leftAt: active ? null : now,
    leftCause: null,
    leftClass: active ? null : 'deactivated',
    leavesAt: leavesAtAfter({ attributes: {} }, want.attributes),
    notices: active ? [] : [{ class: 'deactivated', at: now }],
    heldBy: null,
    releasedAt: null,
    deletedAt: null,
    attributes: want.attributes,
    createdAt: now,
    updatedAt: now,
    version: 1,
  }
  await save(
    life,
    [
      { type: 'person', person, expectedVersion: null },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'person.created',
        target: { type: 'person', id },
        decision,
        facts: { userName: person.userName, active },
      }),
    ],
    { what: 'User', id },
  )
  return { person, operation: null }
}

/** Somebody whom a move between directories brought: the same person, spoken of by another client. */
async function arrive(
  life: Lifecycle,
  caller: Caller,
  { person, move }: NonNullable<Awaited<ReturnType<typeof recognised>>>,
  want: PersonWrite,
): Promise<PersonResult> {
  const { tenant, id } = person
  const { userName, externalId, attributes } = want
  const next: Person = {
    ...person,
    client: caller.client.id,
    userName,
    externalId,
    attributes,
    updatedAt: life.clock.now(),
  }
  const facts = { move, from: person.client, to: caller.client.id, userName }
  const target = { type: 'person', id }
  await save(
    life,
    [
      { type: 'person', person: next, expectedVersion: person.version },
      { type: 'movedConfirmed', tenant, move, subject: id },
      auditRow(life, { tenant, actor: caller.actor, action: 'person.moved', target, facts }),
    ],
    { what: 'User', id },
  )
  const now = { ...next, version: person.version + 1 }
  return updatePerson(life, caller, now, { ...want, active: want.active ?? true })
}

/**
 * Writes a person's new state. Turning inactive is leaving: the row, the leave operation and the
 * audit row go in one commit, so the 2xx is the promise that it will be acted on. When too many of
 * the directory leave at once, the row is written all the same and the leaving held. Turning active
 * revives the person only, never the accounts (R71). A write that changes nothing writes nothing.
 */
export async function updatePerson(
  life: Lifecycle,
  caller: Caller,
  current: Person,
  want: PersonWrite,
): Promise<PersonResult> {
  const decision = authorise(life, caller, 'person.update', personResource(current))
  const now = life.clock.now()
  // A date that has passed stands until it is moved: a directory that lags says `active` every night.
  const leavesAt = leavesAtAfter(current, want.attributes)
  const isPast = leavesAt !== null && leavesAt <= now
  const active = (want.active ?? current.active) && !isPast
  const unchanged =
    active === current.active &&
    want.userName === current.userName &&
    want.externalId === current.externalId &&
    sameJson(want.attributes, current.attributes)
  const confirmed = await confirmedBy(life, caller, current)
  if (confirmed?.waits) {
    const { tenant, id: subject } = current
    await life.store.commit([{ type: 'movedConfirmed', tenant, move: confirmed.move, subject }])
  }
  if (unchanged) return { person: current, operation: null }

  const left = current.active && !active
  const written: Person = {
    ...current,
    userName: want.userName,
    externalId: want.externalId,
    attributes: want.attributes,
    leavesAt,
    active,
    updatedAt: now,
  }
  if (left) {
    const said = (want.active ?? current.active) ? 'leaveDate' : 'deactivated'
    const word = noticed(current, { class: said, at: now })
    const next = { ...written, ...word, leftAt: now, releasedAt: null }
    return leave(life, caller, { current, next, action: 'person.left', decision })
  }
  if (!active || current.active) {
    const plain = { current, next: written, action: 'person.updated', decision }
    const known = current.leavesAt ?? null
    const facts = leavesAt === known ? {} : { leavesAt, before: known }
    return savePerson(life, caller, { ...plain, operation: null, facts, more: [] })
  }
  const reason = 'the directory said active again'
  return savePerson(life, caller, {
    current,
    next: { ...written, ...noNotices, leftAt: null, heldBy: null, releasedAt: null },
    action: 'person.returned',
    decision,
    operation: null,
    facts: {},
    more: endOfHolding(caller, current, 'returned', { at: now, reason, operation: null }),
  })
}

/**
 * DELETE: leaving, and gone from SCIM. Answers success whatever the person owns (R69). Who is held
 * stays held; of somebody whose leaving was denied it is a new word, since no other will come.
 */
export async function deletePerson(
  life: Lifecycle,
  caller: Caller,
  current: Person,
): Promise<PersonResult> {
  const decision = authorise(life, caller, 'person.delete', personResource(current))
  const now = life.clock.now()
  const leaves = current.active || (await wasDenied(life, current))
  const next: Person = {
    ...current,
    ...noticed(current, { class: 'deleted', at: now }),
    active: false,
    leftAt: leaves ? now : (current.leftAt ?? now),
    deletedAt: now,
    updatedAt: now,
  }
  const write = { current, next, action: 'person.deleted', decision }
  if (leaves) return leave(life, caller, write)
  const { leftClass, notices } = next
  const facts = { leftClass, notices } as unknown as JsonObject
  // Whoever waits out the grace of an earlier word looks again: this one may end sooner.
  const operation = await anew(life, caller, current)
  return savePerson(life, caller, { ...write, operation, facts, more: [] })
}

/**
 * The date on which somebody leaves has passed, and the directory has said nothing. Held, like what a
 * directory sends, when too many others leave: a list may be as wrong as a feed.
 */
export async function leaveByDate(
  life: Lifecycle,
  caller: Caller,
  current: Person,
): Promise<PersonResult> {
  const now = life.clock.now()
  const decision = authorise(life, caller, 'person.update', personResource(current))
  const next: Person = {
    ...current,
    ...noticed(current, { class: 'leaveDate', at: now }),
    active: false,
    leftAt: now,
    releasedAt: null,
    updatedAt: now,
  }
  return leave(life, caller, { current, next, action: 'person.left', decision })
}

/** What an operator says about a leaving. */
export interface LeaveWord {
  readonly reason: string | null
  /** When it was true upstream: evidence of how old the word was. Deadlines count from its arrival. */
  readonly since: Instant | null
  /** Refuses who was written since; absent = whatever the version. */
  readonly version?: number
  /** `security`: what they know has to end now, and the audit says why. Omitted: `declared`. */
  readonly class?: 'declared' | 'security'
}

/**
 * In the place of a leave operation that waits for a grace to end, one that looks at once; of the same
 * cause, for it is the same leaving. Null when none waits.
 */
async function anew(
  life: Lifecycle,
  caller: Caller,
  person: Person,
  memo: JsonObject = {},
): Promise<Operation | null> {
  const { tenant, leftCause: cause } = person
  if (person.active || cause === null || person.heldBy !== null) return null
  const query = { tenant, cause, kind: 'leave', after: null, limit: 1 } as const
  const [waiting] = await life.store.read.operations(query)
  if (waiting?.status !== 'waiting' || waiting.memo['graceUntil'] == null) return null
  return { ...leaveOperation(life, caller, person, memo), cause: waiting.cause }
}

async function wasDenied(
  { store }: Lifecycle,
  { tenant, id, heldBy, deletedAt }: Person,
): Promise<boolean> {
  if (heldBy === null || deletedAt !== null) return false
  return (await store.read.approvalItem(tenant, heldBy, id))?.outcome === 'denied'
}

/**
 * An operator declares that a person has left, ahead of the directory, or lets a held leaving
 * through. Never braked.
 * @throws wrongState when the person has left already, invalidValue for a `since` ahead,
 *   changedMeanwhile when `version` is another
 */
export async function declareLeave(
  life: Lifecycle,
  caller: Caller,
  id: string,
  { reason, since, version, class: leftClass = 'declared' }: LeaveWord,
): Promise<PersonResult> {
  const current = await visibleOwner(life, caller, id)
  const decision = authorise(life, caller, 'owner.leave', personResource(current))
  if (version !== undefined && version !== current.version) {
    throw errors.changedMeanwhile({ what: 'User', id })
  }
  const isHeld = current.heldBy !== null
  // In the grace of a weaker word this one still says something new.
  const memo = since === null ? {} : { since }
  const again = await anew(life, caller, current, memo)
  if (!current.active && !isHeld && !again) {
    throw errors.wrongState({ what: 'Person', id, status: 'gone already', action: 'declared gone' })
  }
  const now = life.clock.now()
  if (since !== null && since > now) {
    throw errors.invalidValue({ path: 'since', reason: `lies ahead; it is ${now} here.` })
  }
  const operation = again ?? leaveOperation(life, caller, current, memo)
  return savePerson(life, caller, {
    current,
    next: { ...released(current, now), ...noticed(current, { class: leftClass, at: now }) },
    action: 'person.left',
    decision,
    operation,
    facts: { reason, since, declaredByOperator: true, held: isHeld, leftClass },
    more: endOfHolding(caller, current, 'declared', { at: now, reason, operation: operation.id }),
  })
}

/** The row of a person who is gone from now on. Who was held knew the keys until now. */
export function released(person: Person, now: Instant): Person {
  return {
    ...person,
    active: false,
    leftAt: person.leftAt ?? now,
    heldBy: null,
    releasedAt: person.heldBy === null ? null : now,
    updatedAt: now,
  }
}

export function leaveOperation(
  life: Lifecycle,
  caller: Caller,
  person: Person,
  memo: JsonObject = {},
): Operation {
  return planOperation(life, {
    memo,
    tenant: caller.tenant,
    kind: 'leave',
    subjectType: 'person',
    subject: person.id,
    account: null,
    provider: null,
    actor: caller.actor,
  })
}

interface PersonChange {
  readonly current: Person
  readonly next: Person
  readonly action: string
  readonly decision: ReturnType<typeof authorise>
}

/** Each round is lost to somebody who got further: to one of a storm of writers for one directory. */
const leaveAttemptsMax = 50

/** A leaving that the directory sent: let go, or held when too many others have left. */
async function leave(life: Lifecycle, caller: Caller, write: PersonChange): Promise<PersonResult> {
  const { current, next } = write
  for (let attempt = 1; ; attempt++) {
    const { heldBy, changes } = await holdOrLetGo(life, caller, current, next.leftAt!)
    const operation = heldBy === null ? leaveOperation(life, caller, current) : null
    const planned = planSave(life, caller, {
      ...write,
      next: { ...next, heldBy },
      operation,
      facts: { leftClass: next.leftClass ?? null, ...(heldBy === null ? {} : { heldBy }) },
      more: changes,
    })
    const result = await life.store.commit(planned.changes)
    if (result === 'saved') {
      if (operation) life.wake()
      return planned
    }
    const lost = planned.changes[result.change]?.type
    if ((lost !== 'leaving' && lost !== 'held') || attempt >= leaveAttemptsMax) {
      throw await conflictError(life, result, planned.changes, { what: 'User', id: current.id })
    }
  }
}

interface PersonSave extends PersonChange {
  readonly operation: Operation | null
  readonly facts: JsonObject
  readonly more: readonly Change[]
}

async function savePerson(
  life: Lifecycle,
  caller: Caller,
  write: PersonSave,
): Promise<PersonResult> {
  const { changes, ...result } = planSave(life, caller, write)
  await save(life, changes, { what: 'User', id: write.current.id })
  return result
}

/** The changes of one write of a person, and what it answers once they are committed. */
export function planSave(
  life: Lifecycle,
  caller: Caller,
  write: PersonSave,
): PersonResult & { readonly changes: readonly Change[] } {
  const { current, operation } = write
  const person = operation ? { ...write.next, leftCause: operation.cause } : write.next
  const changes: Change[] = [{ type: 'person', person, expectedVersion: current.version }]
  // Who is held still counts for the groups around: they may not empty before it is decided.
  // Before the memberships go: who has left can no longer read what others can.
  if (operation) {
    const { tenant, id, updatedAt: at } = person
    changes.push({ type: 'departed', tenant, members: [id], from: null, at, dueAt: at })
  }
  const gone = person.deletedAt !== null && person.heldBy === null
  // An owning group may have lost its last active member, or have one again.
  if (gone || current.active !== person.active || current.heldBy !== person.heldBy) {
    const { tenant, id } = person
    changes.push({ type: 'memberSwitched', tenant, member: id, gone, at: person.updatedAt })
  }
  // Someone who returned and leaves again has the fan-out of the first leave pre-empted by this one.
  if (operation) changes.push({ type: 'enqueue', operation, preempt: true })
  changes.push(
    ...write.more,
    auditRow(life, {
      tenant: caller.tenant,
      actor: caller.actor,
      action: write.action,
      target: { type: 'person', id: current.id },
      decision: write.decision,
      operation: operation?.id ?? null,
      facts: write.facts,
    }),
  )
  return { changes, person: { ...person, version: current.version + 1 }, operation }
}

function personResource(person: Person) {
  return { type: 'person', id: person.id, directory: person.directory } as const
}

/** null when nobody and no group of that id was ever here: to a decision the same as gone. */
export async function ownerState(
  life: Pick<Lifecycle, 'store'>,
  tenant: Person['tenant'],
  { type, id }: OwnerRef,
): Promise<OwnerState | null> {
  if (type === 'Group') {
    const read = await life.store.read.groupState(tenant, id)
    const state = read && ownerStateOfGroup(read)
    if (!state || state.leftAt === null) return state
    return { ...state, moved: await life.store.read.movedFrom(tenant, id, state.leftAt) }
  }
  const person = await life.store.read.person(tenant, id)
  return person ? ownerStateOf(person) : null
}

export async function ownerStates(
  life: Pick<Lifecycle, 'store'>,
  tenant: Person['tenant'],
  owners: readonly OwnerRef[],
): Promise<readonly OwnerState[]> {
  const states = await Promise.all(owners.map((owner) => ownerState(life, tenant, owner)))
  return states.filter((state) => state !== null)
}
