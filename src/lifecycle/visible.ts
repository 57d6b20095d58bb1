import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Person } from '../domain/owner.ts'
import type { Caller, Lifecycle } from './context.ts'
import { visibilityOf } from './context.ts'

/** @throws notFound also when the caller may not see the person (contract §6) */
export async function visiblePerson(life: Lifecycle, caller: Caller, id: string): Promise<Person> {
  const person = await life.store.read.person(caller.tenant, id)
  const { people } = visibilityOf(caller)
  const visible =
    person !== null &&
    person.deletedAt === null &&
    (people === 'all' || (people !== 'none' && people.directory === person.directory))
  if (!visible) throw errors.notFound({ what: 'User', id })
  return person
}

/** @throws notFound also when the caller may not see the account, or SCIM does not show it any more */
export async function visibleAccount(
  life: Lifecycle,
  caller: Caller,
  id: string,
  options: { readonly retiredToo?: boolean } = {},
): Promise<ServiceAccount> {
  const account = await life.store.read.account(caller.tenant, id)
  const { accounts } = visibilityOf(caller)
  const visible =
    account !== null &&
    (options.retiredToo === true || account.deletedAt === null) &&
    (accounts === 'all' ||
      (accounts !== 'none' &&
        (account.client === accounts.client ||
          accounts.owners.includes(account.owner.id) ||
          (account.pendingOwner !== null && accounts.owners.includes(account.pendingOwner.id)) ||
          // Whoever is nominated has to see what for.
          (caller.client.role === 'owner' &&
            account.backups.some((b) => accounts.owners.includes(b.id))))))
  if (!visible) throw errors.notFound({ what: 'Account', id })
  return account
}

/** @throws notFound when the credential, or its account, is not the caller's to see */
export async function visibleCredential(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<{ readonly credential: Credential; readonly account: ServiceAccount }> {
  const credential = await life.store.read.credential(caller.tenant, id)
  if (!credential) throw errors.notFound({ what: 'Credential', id })
  try {
    return { credential, account: await visibleAccount(life, caller, credential.account) }
  } catch (cause) {
    throw errors.notFound({ what: 'Credential', id }, { cause })
  }
}
