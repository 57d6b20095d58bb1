import type { StatusReason } from '../domain/account.ts'
import type { Failure, Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Lifecycle } from './context.ts'
import { putAccount, putCredential } from './steps/step.ts'

/** What stands in the way of a provisioning, as the account shows it; the sentence is the credential's. */
const reasons: Readonly<Record<string, StatusReason>> = {
  denied: 'providerDenied',
  notFound: 'providerDenied',
  unavailable: 'providerUnavailable',
  throttled: 'providerThrottled',
}

/** From the second failure in a row on: one lost packet is no state of an account. */
const attemptsLeast = 1

/** What keeps a key from being made stands on the credential while that lasts, not only at the end. */
export async function credentialTold(
  life: Lifecycle,
  { tenant, subject }: Operation,
  { message }: Failure,
  now: Instant,
): Promise<readonly Change[]> {
  const credential = await life.store.read.credential(tenant, subject)
  if (!credential || credential.lastError === message) return []
  return [putCredential({ ...credential, lastError: message }, now)]
}

/**
 * The account that is being provisioned says in a word what it waits for. In a commit of its own that
 * may fail: whoever else writes the account meanwhile knows better.
 */
export async function tellAccount(
  life: Lifecycle,
  { tenant, account: id, attempt }: Operation,
  { failure, isFinal }: { readonly failure: Failure; readonly isFinal: boolean },
): Promise<void> {
  if (id === null || (attempt < attemptsLeast && !isFinal)) return
  const account = await life.store.read.account(tenant, id)
  const statusReason = reasons[failure.code] ?? 'providerRefused'
  if (account?.status !== 'provisioning' || account.statusReason === statusReason) return
  await life.store.commit([putAccount({ ...account, statusReason }, life.clock.now())])
}
