import type { ServiceAccount } from '../domain/account.ts'
import type { Client } from '../domain/client.ts'
import type { TenantId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { OwnerRef, Person } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow } from './context.ts'
import { termsOf } from './credential-terms.ts'
import { verdictOn } from './offboard.ts'
import { leaveByDate, ownerState } from './people.ts'
import type { Twin } from './shadow.ts'
import { actOf, blankShadow, journalled, twinOf } from './shadow.ts'

const pageSize = 100
/** Days before the date on which a reminder says what is not handed over yet; the last one first. */
export const leaveReminderDays: readonly number[] = [1, 7]
/** Accounts named in one reminder; the number is always given. */
const namedMax = 50

/**
 * Does what is due for somebody whose leave date is near: offers to the heirs, reminders, and on the
 * day the leaving itself. Status, owner and credentials stay as they are until somebody accepts.
 * @returns the operations started
 */
export async function actOnLeaveDate(
  life: Lifecycle,
  person: Person,
  actor: Actor,
): Promise<readonly Operation[]> {
  const { leavesAt = null } = person
  if (!person.active || leavesAt === null) return []
  const now = life.clock.now()
  if (leavesAt <= now) {
    const { operation } = await leaveByDate(life, callerFor(person.tenant, actor, now), person)
    return operation === null ? [] : [operation]
  }
  const left: ServiceAccount[] = []
  for await (const account of accountsOf(life, person)) {
    if (account.status !== 'active') continue
    const starts = addSeconds(leavesAt, 0 - termsOf(life, account).leaver.planAhead)
    if (starts <= now) await offer(life, account, { person, leavesAt, actor })
    left.push(account)
  }
  await remind(life, person, { leavesAt, left, actor })
  return []
}

/**
 * Takes back what was offered because of a date that is not true any more; what was accepted meanwhile
 * stays with the heir.
 */
export async function withdrawOffers(
  life: Lifecycle,
  person: Person,
  actor: Actor,
): Promise<number> {
  let withdrawn = 0
  for await (const account of accountsOf(life, person)) {
    if ((account.plannedFor ?? null) === null || account.status === 'orphaned') continue
    const next = { ...account, pendingOwner: null, plannedFor: null, updatedAt: life.clock.now() }
    const result = await life.store.commit([
      { type: 'account', account: next, expectedVersion: account.version },
      auditRow(life, {
        tenant: account.tenant,
        actor,
        action: 'account.transferWithdrawn',
        target: { type: 'account', id: account.id },
        facts: { reason: 'plannedLeave', owner: person.id, to: account.pendingOwner?.id ?? null },
      }),
    ])
    if (result === 'saved') withdrawn++
  }
  return withdrawn
}

async function* accountsOf(life: Lifecycle, person: Person): AsyncGenerator<ServiceAccount> {
  let after: string | null = null
  for (;;) {
    const page: readonly ServiceAccount[] = await life.store.read.accountsOwnedBy(
      person.tenant,
      person.id,
      after,
      pageSize,
    )
    yield* page
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.id
  }
}

interface Planned {
  readonly person: Person
  readonly leavesAt: Instant
  readonly actor: Actor
}

async function offer(life: Lifecycle, account: ServiceAccount, of: Planned): Promise<void> {
  if (account.pendingOwner !== null) return
  const to = await heirOf(life, account, of)
  if (to === null) return
  const twin = await twinOf(life, account)
  if (twin.watched) return wouldOffer(life, account, { twin, to, of })
  const next: ServiceAccount = {
    ...account,
    pendingOwner: to,
    plannedFor: of.leavesAt,
    updatedAt: life.clock.now(),
  }
  // Lost to another writer: the next sweep looks again.
  await life.store.commit([
    { type: 'account', account: next, expectedVersion: account.version },
    auditRow(life, {
      tenant: account.tenant,
      actor: of.actor,
      action: 'account.transferOpened',
      target: { type: 'account', id: account.id },
      facts: {
        from: account.owner.id,
        to: to.id,
        reason: 'plannedLeave',
        leavesAt: of.leavesAt,
      },
    }),
  ])
}

/** Told once for each date: the sweep comes every minute. */
async function wouldOffer(
  life: Lifecycle,
  account: ServiceAccount,
  { twin, to, of }: { readonly twin: Twin; readonly to: OwnerRef; readonly of: Planned },
): Promise<void> {
  const { shadow, account: would } = twin
  const { leavesAt, actor } = of
  if (would.status !== account.status || shadow?.told?.['plannedLeave'] === leavesAt) return
  const base = shadow ?? blankShadow(account, life.clock.now())
  const next = { ...base, told: { ...base.told, plannedLeave: leavesAt } }
  const facts = { offeredTo: to.id, leavesAt }
  // Of its own: an act of one cause is counted once, and another date is another offer.
  const why = { rule: 'plannedLeave', cause: life.ids.next(), facts }
  await life.store.commit([
    { type: 'shadow', shadow: next, expectedVersion: shadow?.version ?? null },
    ...journalled(life, actOf(life, account, why, 'offer', null), actor),
  ])
}

/** The heir that the leaving itself would offer it to, else the manager; nobody who is gone. */
async function heirOf(
  life: Lifecycle,
  account: ServiceAccount,
  { person, leavesAt }: Planned,
): Promise<OwnerRef | null> {
  const { decision, owner } = await verdictOn(life, account, { assumeLeft: true })
  const enforced = decision.rule === 'observed' ? decision.would : decision
  const heir = enforced.action === 'offer' ? enforced.to : null
  const manager = owner?.manager ?? null
  // Declined already: the backups that are left are asked, the manager not every minute again.
  const declined = account.plannedFor === leavesAt
  const to = heir ?? (manager === null ? null : ({ type: 'User', id: manager } as const))
  if (to === null || to.id === person.id || (declined && enforced.rule !== 'activeBackup')) {
    return null
  }
  return (await ownerState(life, account.tenant, to))?.active ? to : null
}

/** Once for each number of days and each date, whoever sweeps; of several that were missed the nearest. */
async function remind(
  life: Lifecycle,
  person: Person,
  of: {
    readonly leavesAt: Instant
    readonly left: readonly ServiceAccount[]
    readonly actor: Actor
  },
): Promise<void> {
  const { leavesAt, left, actor } = of
  const now = life.clock.now()
  const days = leaveReminderDays.find((d) => leavesAt <= addSeconds(now, d * day))
  if (days === undefined || left.length === 0) return
  const job = `leavesSoon ${days} ${person.id}`
  if ((await life.store.read.lastSlot(job)) === leavesAt) return
  const facts: JsonObject = {
    days,
    leavesAt,
    notHandedOver: left.length,
    accounts: left.slice(0, namedMax).map(({ id, userName, pendingOwner }) => ({
      id,
      userName,
      offeredTo: pendingOwner?.id ?? null,
    })),
  }
  const changes: readonly Change[] = [
    { type: 'slot', job, slot: leavesAt, worker: actor.id, at: now },
    auditRow(life, {
      tenant: person.tenant,
      actor,
      action: 'person.leavesSoon',
      target: { type: 'person', id: person.id },
      facts,
    }),
  ]
  await life.store.commit(changes)
}

/** The sweep in the place of a client: nobody's word, so nobody whose approval would not count. */
function callerFor(tenant: TenantId, actor: Actor, at: Instant): Caller {
  const client: Client = {
    tenant,
    id: actor.id as Client['id'],
    name: actor.name,
    role: 'admin',
    dialect: 'rfc',
    directory: null,
    person: null,
    createdAt: at,
    revokedAt: null,
  }
  return { client, actor, tenant, groups: [] }
}
