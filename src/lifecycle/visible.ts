import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { AppError, errors } from '../domain/errors.ts'
import type { OwnerRef, Person } from '../domain/owner.ts'
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

/**
 * A person as the owner of accounts: one whose leaving is held is there, though SCIM deleted it.
 * @throws notFound
 */
export async function visibleOwner(life: Lifecycle, caller: Caller, id: string): Promise<Person> {
  const person = await life.store.read.person(caller.tenant, id)
  if (person === null || person.heldBy === null || visibilityOf(caller).people !== 'all') {
    return visiblePerson(life, caller, id)
  }
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
  const visible =
    account !== null &&
    (options.retiredToo === true || account.deletedAt === null) &&
    seesAccount(caller, account)
  if (!visible) throw errors.notFound({ what: 'Account', id })
  return account
}

/** Whether an account that is there is there for this caller (contract §6). */
export function seesAccount(caller: Caller, account: ServiceAccount): boolean {
  const { accounts } = visibilityOf(caller)
  if (accounts === 'all') return true
  if (accounts === 'none') return false
  const isTheirs = (owner: OwnerRef | null) => owner !== null && accounts.owners.includes(owner.id)
  return (
    account.client === accounts.client ||
    isTheirs(account.owner) ||
    isTheirs(account.pendingOwner) ||
    // Whoever is nominated has to see what for.
    (caller.client.role === 'owner' && account.backups.some(isTheirs))
  )
}

/**
 * What hangs on something that the caller may not see is not there for them. A database that is away
 * is another matter: "not there" would be a lie that a client acts upon.
 */
export function hiddenAs(hidden: Error, cause: unknown): unknown {
  return cause instanceof AppError && cause.status < 500 ? hidden : cause
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
    throw hiddenAs(errors.notFound({ what: 'Credential', id }, { cause }), cause)
  }
}
