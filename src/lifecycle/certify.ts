import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import { errors } from '../domain/errors.ts'
import { later } from '../domain/time.ts'
import { expiryCap, followExpiry } from './accounts.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'
import { requireLivingOwner } from './credentials.ts'
import { accountResource } from './switching.ts'
import { visibleAccount } from './visible.ts'

/**
 * An owner confirms that the account is still needed. With `extend` its end moves to the cap, which
 * counts from this moment (contract §8); credentials that end with the account move along.
 * @throws notFound, forbidden, wrongState unless it is up, noActiveOwner
 */
export async function certifyAccount(
  life: Lifecycle,
  caller: Caller,
  id: string,
  want: { readonly extend: boolean; readonly reason: string | null },
): Promise<ServiceAccount> {
  const account = await visibleAccount(life, caller, id)
  const decision = authorise(life, caller, 'account.certify', accountResource(account))
  if (!isOpen(account.status) || account.status === 'orphaned') {
    throw errors.wrongState({ what: 'Account', id, status: account.status, action: 'certified' })
  }
  await requireLivingOwner(life, account)
  const now = life.clock.now()
  const certified: ServiceAccount = { ...account, certifiedAt: now, updatedAt: now }
  const next = want.extend
    ? { ...certified, expiresAt: later(account.expiresAt, expiryCap(life, certified, certified)) }
    : certified
  const live = await life.store.read.credentialsOf(account.tenant, account.id)
  await save(
    life,
    [
      { type: 'account', account: next, expectedVersion: account.version },
      ...followExpiry(live, [], { from: account, to: next, now }),
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'account.certified',
        target: { type: 'account', id },
        decision,
        facts: { expiresAt: next.expiresAt, before: account.expiresAt, reason: want.reason },
      }),
    ],
    { what: 'Account', id },
  )
  return { ...next, version: account.version + 1 }
}
