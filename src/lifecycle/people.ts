import { errors } from '../domain/errors.ts'
import type { PersonId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import { sameJson } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { OwnerRef, OwnerState, Person } from '../domain/owner.ts'
import { ownerStateOf, ownerStateOfGroup } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import type { PersonWrite } from '../domain/want.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, conflictError, planOperation, save } from './context.ts'
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
  const active = want.active ?? current.active
  const unchanged =
    active === current.active &&
    want.userName === current.userName &&
    want.externalId === current.externalId &&
    sameJson(want.attributes, current.attributes)
  if (unchanged) return { person: current, operation: null }

  const left = current.active && !active
  const written: Person = {
    ...current,
    userName: want.userName,
    externalId: want.externalId,
    attributes: want.attributes,
    active,
    updatedAt: now,
  }
  if (left) {
    const next = { ...written, leftAt: now, releasedAt: null }
    return leave(life, caller, { current, next, action: 'person.left', decision })
  }
  if (!active || current.active) {
    const plain = { current, next: written, action: 'person.updated', decision }
    return savePerson(life, caller, { ...plain, operation: null, facts: {}, more: [] })
  }
  const reason = 'the directory said active again'
  return savePerson(life, caller, {
    current,
    next: { ...written, leftAt: null, heldBy: null, releasedAt: null },
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
    active: false,
    leftAt: leaves ? now : (current.leftAt ?? now),
    deletedAt: now,
    updatedAt: now,
  }
  const write = { current, next, action: 'person.deleted', decision }
  if (leaves) return leave(life, caller, write)
  return savePerson(life, caller, { ...write, operation: null, facts: {}, more: [] })
}

/** What an operator says about a leaving. */
export interface LeaveWord {
  readonly reason: string | null
  /** When it was true upstream: evidence of how old the word was. Deadlines count from its arrival. */
  readonly since: Instant | null
  /** Refuses who was written since; absent = whatever the version. */
  readonly version?: number
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
  { reason, since, version }: LeaveWord,
): Promise<PersonResult> {
  const current = await visibleOwner(life, caller, id)
  const decision = authorise(life, caller, 'owner.leave', personResource(current))
  if (version !== undefined && version !== current.version) {
    throw errors.changedMeanwhile({ what: 'User', id })
  }
  const isHeld = current.heldBy !== null
  if (!current.active && !isHeld) {
    throw errors.wrongState({ what: 'Person', id, status: 'gone already', action: 'declared gone' })
  }
  const now = life.clock.now()
  if (since !== null && since > now) {
    throw errors.invalidValue({ path: 'since', reason: `lies ahead; it is ${now} here.` })
  }
  const operation = leaveOperation(life, caller, current, since === null ? {} : { since })
  return savePerson(life, caller, {
    current,
    next: released(current, now),
    action: 'person.left',
    decision,
    operation,
    facts: { reason, since, declaredByOperator: true, held: isHeld },
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
      facts: heldBy === null ? {} : { heldBy },
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
  const person = operation ? { ...write.next, leftCause: operation.id } : write.next
  const changes: Change[] = [{ type: 'person', person, expectedVersion: current.version }]
  // Who is held still counts for the groups around: they may not empty before it is decided.
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
    const state = await life.store.read.groupState(tenant, id)
    return state && ownerStateOfGroup(state)
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
