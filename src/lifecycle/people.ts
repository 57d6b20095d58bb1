import { errors } from '../domain/errors.ts'
import type { PersonId } from '../domain/ids.ts'
import { sameJson } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { OwnerRef, OwnerState, Person } from '../domain/owner.ts'
import { ownerStateOf, ownerStateOfGroup } from '../domain/owner.ts'
import type { PersonWrite } from '../domain/want.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, save } from './context.ts'
import { visiblePerson } from './visible.ts'

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
 * audit row go in one commit, so the 2xx is the promise that it will be acted on. Turning active
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
  const next: Person = {
    ...current,
    userName: want.userName,
    externalId: want.externalId,
    attributes: want.attributes,
    active,
    leftAt: left ? now : active ? null : current.leftAt,
    updatedAt: now,
  }
  const action = left
    ? 'person.left'
    : !current.active && active
      ? 'person.returned'
      : 'person.updated'
  return savePerson(life, caller, { current, next, action, decision, left, facts: {} })
}

/** DELETE: leaving, and gone from SCIM. Answers success whatever the person owns (R69). */
export async function deletePerson(
  life: Lifecycle,
  caller: Caller,
  current: Person,
): Promise<PersonResult> {
  const decision = authorise(life, caller, 'person.delete', personResource(current))
  const now = life.clock.now()
  const next: Person = {
    ...current,
    active: false,
    leftAt: current.leftAt ?? now,
    deletedAt: now,
    updatedAt: now,
  }
  return savePerson(life, caller, {
    current,
    next,
    action: 'person.deleted',
    decision,
    left: current.active,
    facts: {},
  })
}

/**
 * An operator declares that a person has left, ahead of the directory. Never braked.
 * @throws wrongState when the person has left already
 */
export async function declareLeave(
  life: Lifecycle,
  caller: Caller,
  id: string,
  reason: string | null,
): Promise<PersonResult> {
  const current = await visiblePerson(life, caller, id)
  const decision = authorise(life, caller, 'owner.leave', personResource(current))
  if (!current.active) {
    throw errors.wrongState({ what: 'Person', id, status: 'gone already', action: 'declared gone' })
  }
  const now = life.clock.now()
  const next: Person = { ...current, active: false, leftAt: now, updatedAt: now }
  return savePerson(life, caller, {
    current,
    next,
    action: 'person.left',
    decision,
    left: true,
    facts: { reason, declaredByOperator: true },
  })
}

async function savePerson(
  life: Lifecycle,
  caller: Caller,
  write: {
    readonly current: Person
    readonly next: Person
    readonly action: string
    readonly decision: ReturnType<typeof authorise>
    readonly left: boolean
    readonly facts: Readonly<Record<string, string | boolean | null>>
  },
): Promise<PersonResult> {
  const { current, left } = write
  const operation = left
    ? planOperation(life, {
        tenant: caller.tenant,
        kind: 'leave',
        subjectType: 'person',
        subject: current.id,
        account: null,
        provider: null,
        actor: caller.actor,
      })
    : null
  const person = operation ? { ...write.next, leftCause: operation.id } : write.next
  const changes: Change[] = [{ type: 'person', person, expectedVersion: current.version }]
  const gone = person.deletedAt !== null
  // An owning group may have lost its last active member, or have one again.
  if (gone || current.active !== person.active) {
    const { tenant, id } = person
    changes.push({ type: 'memberSwitched', tenant, member: id, gone, at: person.updatedAt })
  }
  // Someone who returned and leaves again has the fan-out of the first leave pre-empted by this one.
  if (operation) changes.push({ type: 'enqueue', operation, preempt: true })
  changes.push(
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
  await save(life, changes, { what: 'User', id: current.id })
  return { person: { ...person, version: current.version + 1 }, operation }
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
