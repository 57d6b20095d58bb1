import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import { errors } from '../domain/errors.ts'
import type { OwnerRef } from '../domain/owner.ts'
import { accountResource } from './switching.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'
import { actOnLeaver, planHandover, verdictOn } from './offboard.ts'
import type { Change } from '../store/store.ts'
import { ownerState } from './people.ts'
import { reowned } from './scopes.ts'
import { visibleAccount } from './visible.ts'

/**
 * Offers an account to somebody; ownership moves only when it is accepted (R74). Security and
 * admin may pass it at once, with a reason that stays in the audit.
 * @throws ownerUnknown, ownerGone, reasonRequired, notFound, forbidden
 */
export async function transferAccount(
  life: Lifecycle,
  caller: Caller,
  id: string,
  want: { readonly owner: OwnerRef; readonly atOnce: boolean; readonly reason: string | null },
): Promise<ServiceAccount> {
  const seen = await visibleAccount(life, caller, id)
  const action = want.atOnce ? 'account.passAtOnce' : 'account.transfer'
  const decision = authorise(life, caller, action, accountResource(seen))
  if (want.atOnce && !want.reason)
    throw errors.reasonRequired({ action: 'pass an account at once' })
  const state = await ownerState(life, caller.tenant, want.owner)
  if (!state) throw errors.ownerUnknown({ owner: want.owner.id, path: 'owner' })
  if (!state.active) throw errors.ownerGone({ owner: want.owner.id })
  const account = want.atOnce ? await leaverDealtWith(life, caller, seen) : seen
  const next = want.atOnce
    ? await owned(life, account, want.owner)
    : { ...account, pendingOwner: want.owner }
  return write(life, caller, account, next, {
    action: want.atOnce ? 'account.transferred' : 'account.transferOpened',
    decision,
    facts: { from: account.owner.id, to: want.owner.id, reason: want.reason },
  })
}

/** The heir takes the account over: it is active again, with an owner who is. */
export async function acceptTransfer(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<ServiceAccount> {
  const seen = await visibleAccount(life, caller, id)
  const decision = authorise(life, caller, 'transfer.accept', accountResource(seen))
  // As offered to the caller: what is done about a leaver may offer it to a backup instead.
  const heir = seen.pendingOwner
  if (!heir)
    throw errors.wrongState({ what: 'Account', id, status: 'not on offer', action: 'accepted' })
  const state = await ownerState(life, caller.tenant, heir)
  if (!state?.active) throw errors.ownerGone({ owner: heir.id })
  const account = await leaverDealtWith(life, caller, seen)
  return write(life, caller, account, await owned(life, account, heir), {
    action: 'account.transferred',
    decision,
    facts: { from: account.owner.id, to: heir.id },
  })
}

/**
 * The nominated heir agrees: from now on the nomination counts however young it is (contract §3).
 * Repeating it changes nothing.
 * @param backup who agrees; null = the only one the caller can speak for
 * @throws notFound, forbidden, invalidValue when nobody or several come into question, ownerGone
 */
export async function acceptBackup(
  life: Lifecycle,
  caller: Caller,
  id: string,
  backup: string | null,
): Promise<ServiceAccount> {
  const account = await visibleAccount(life, caller, id)
  const { role, person } = caller.client
  const mine = role === 'owner' ? [person, ...caller.groups] : null
  const asked = account.backups.filter(
    (b) => (backup === null || b.id === backup) && (mine === null || mine.includes(b.id)),
  )
  const [named, ...more] = asked
  const resource = { ...accountResource(account), pendingOwner: named?.id ?? null }
  const decision = authorise(life, caller, 'transfer.accept', resource)
  if (!named || more.length > 0) {
    const known = account.backups.map((b) => b.id).join(', ') || 'nobody'
    const reason = `must name one of the backup owners (${known}).`
    throw errors.invalidValue({ path: 'backup', reason })
  }
  if (named.acceptedAt !== null) return account
  const state = await ownerState(life, caller.tenant, named)
  if (!state?.active) throw errors.ownerGone({ owner: named.id })
  const acceptedAt = life.clock.now()
  const backups = account.backups.map((b) => (b === named ? { ...b, acceptedAt } : b))
  return write(
    life,
    caller,
    account,
    { ...account, backups },
    {
      action: 'account.backupAccepted',
      decision,
      facts: { backup: named.id, nominatedAt: named.nominatedAt },
    },
  )
}

/** Declined: the account keeps its owner; an orphaned one is offered to the next heir or switched off. */
export async function declineTransfer(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<ServiceAccount> {
  const account = await visibleAccount(life, caller, id)
  const decision = authorise(life, caller, 'transfer.decline', accountResource(account))
  const heir = account.pendingOwner
  if (!heir)
    throw errors.wrongState({ what: 'Account', id, status: 'not on offer', action: 'declined' })
  const declined = {
    ...account,
    pendingOwner: null,
    backups: account.backups.filter((b) => b.id !== heir.id),
  }
  const verdict = account.status === 'orphaned' ? (await verdictOn(life, declined)).decision : null
  // The backups have their time together: the offer goes on to the next one (contract §8).
  const nextHeir = verdict?.action === 'offer' && verdict.to?.id !== heir.id ? verdict.to : null
  const after = await write(
    life,
    caller,
    account,
    { ...declined, pendingOwner: nextHeir },
    {
      action: 'account.transferDeclined',
      decision,
      facts: { by: heir.id, offeredTo: nextHeir?.id ?? null },
    },
  )
  if (verdict?.action !== 'disable') return after
  await actOnLeaver(life, after, { actor: caller.actor, cause: life.ids.next() })
  return (await life.store.read.account(account.tenant, account.id)) ?? after
}

/**
 * Acts on an owner who has left before the account changes hands: afterwards the fan-out would not
 * find it any more, and the keys the leaver knows would go on working.
 */
async function leaverDealtWith(
  life: Lifecycle,
  caller: Caller,
  account: ServiceAccount,
): Promise<ServiceAccount> {
  const owner = await ownerState(life, account.tenant, account.owner)
  if (owner?.active || account.status === 'orphaned' || !isOpen(account.status)) return account
  const why = { actor: caller.actor, cause: life.ids.next() }
  const handover = await planHandover(life, account, why)
  if (handover === null) await actOnLeaver(life, account, why)
  else await save(life, handover, { what: 'Account', id: account.id })
  return (await life.store.read.account(account.tenant, account.id)) ?? account
}

async function owned(
  life: Lifecycle,
  account: ServiceAccount,
  owner: OwnerRef,
): Promise<ServiceAccount> {
  const orphaned = account.status === 'orphaned'
  const before = await ownerState(life, account.tenant, account.owner)
  // A paused account whose owner is gone: its keys are known to somebody who left.
  const tainted = account.statusReason === 'operator' && !before?.active
  return {
    ...account,
    owner,
    pendingOwner: null,
    plannedFor: null,
    backups: account.backups.filter((b) => b.id !== owner.id),
    status: orphaned ? 'active' : account.status,
    statusReason: orphaned ? null : tainted ? 'ownerLeft' : account.statusReason,
    orphanedAt: orphaned ? null : account.orphanedAt,
    disableAt: orphaned ? null : account.disableAt,
    updatedAt: life.clock.now(),
  }
}

/**
 * Whoever hands an account over because they will be gone knows its keys still on the day they go:
 * then they are rotated. Looked at once right away, in case they left between our read and the commit.
 */
async function handedOver(
  life: Lifecycle,
  before: ServiceAccount,
  { tenant, id, owner, updatedAt: at }: ServiceAccount,
): Promise<readonly Change[]> {
  const { type, id: member } = before.owner
  if (owner.id === member || type !== 'User' || before.status === 'orphaned') return []
  const person = await life.store.read.person(tenant, member)
  const isPlanned = (before.plannedFor ?? null) !== null || (person?.leavesAt ?? null) !== null
  if (!person?.active || !isPlanned) return []
  return [{ type: 'handedOver', departure: { tenant, member, group: id, at, dueAt: at } }]
}

async function write(
  life: Lifecycle,
  caller: Caller,
  before: ServiceAccount,
  after: ServiceAccount,
  audit: Pick<Parameters<typeof auditRow>[1], 'action' | 'decision' | 'facts'>,
): Promise<ServiceAccount> {
  const written: ServiceAccount = { ...after, updatedAt: life.clock.now() }
  await save(
    life,
    [
      { type: 'account', account: written, expectedVersion: before.version },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        target: { type: 'account', id: before.id },
        ...audit,
      }),
      ...(await reowned(life, before, written, caller.actor)),
      ...(await handedOver(life, before, written)),
    ],
    { what: 'Account', id: before.id },
  )
  return { ...written, version: before.version + 1 }
}
