import { AppError, errors } from '../domain/errors.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'
import { ownerState } from './people.ts'
import { accountResource } from './switching.ts'
import { transferAccount } from './transfers.ts'
import { seesAccount, visibleOwner } from './visible.ts'

/** Accounts that one request hands over: each is a commit of its own. */
const pageSize = 200

export interface OwnedMoved {
  readonly account: string
  readonly userName: string
  /** `offered` waits for a word of the new owner; `there` had been offered before. */
  readonly outcome: 'passed' | 'offered' | 'there' | 'refused'
  readonly reason: string | null
}

export interface OwnerMove {
  readonly dryRun: boolean
  readonly items: readonly OwnedMoved[]
  /** Where to go on; null when everything was looked at. */
  readonly cursor: string | null
}

/**
 * Offers all that a person owns to somebody else, or passes it at once: like a transfer of each
 * account. What goes through a group stays with the group. May be repeated.
 * @throws notFound, forbidden, ownerUnknown, ownerGone, reasonRequired
 */
export async function moveOwned(
  life: Lifecycle,
  caller: Caller,
  from: string,
  wish: {
    readonly to: OwnerRef
    readonly atOnce: boolean
    readonly reason: string | null
    readonly dryRun: boolean
    readonly after: string | null
  },
): Promise<OwnerMove> {
  const { to, atOnce, reason, dryRun, after } = wish
  const person = await visibleOwner(life, caller, from)
  if (to.id === person.id) {
    throw errors.invalidValue({ path: 'to', reason: 'is the owner already.' })
  }
  if (atOnce && !reason) throw errors.reasonRequired({ action: 'pass accounts at once' })
  const state = await ownerState(life, caller.tenant, to)
  if (!state) throw errors.ownerUnknown({ owner: to.id, path: 'to' })
  if (!state.active) throw errors.ownerGone({ owner: to.id })
  const page = await life.store.read.accountsOwnedBy(caller.tenant, person.id, after, pageSize)
  const items: OwnedMoved[] = []
  for (const account of page) {
    // What may not be seen is not named, refused or not.
    if (!seesAccount(caller, account)) continue
    const about = { account: account.id, userName: account.userName }
    if (!atOnce && account.pendingOwner?.id === to.id) {
      items.push({ ...about, outcome: 'there', reason: null })
      continue
    }
    const outcome = atOnce ? 'passed' : 'offered'
    try {
      const action = atOnce ? 'account.passAtOnce' : 'account.transfer'
      if (dryRun) authorise(life, caller, action, accountResource(account))
      else await transferAccount(life, caller, account.id, { owner: to, atOnce, reason })
      items.push({ ...about, outcome, reason: null })
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      items.push({ ...about, outcome: 'refused', reason: error.message })
    }
  }
  return { dryRun, items, cursor: page.length < pageSize ? null : page.at(-1)!.id }
}
