import type { Credential, Principal } from '../domain/credential.ts'
import type { Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import type { Provider, WantedScopes } from '../provider/contract.ts'
import type { Lifecycle } from './context.ts'
import { isAbout } from './steps/inventory-page.ts'
import { settleOf } from './steps/inventory.ts'

/** What a credential's key was given: drift is measured against this, and against nothing else. */
export function grantedScopesOf(credential: Credential): readonly string[] {
  return credential.grantedScopes ?? credential.scopes
}

/**
 * What a principal was granted, by the credentials of its account that work.
 * @param readAt what changed so shortly before that a listing may not show it is not judged
 * @param except an operation that is about these very rights
 * @returns null while it cannot be judged: work is under way on it, or nothing of it should work
 */
export async function grantedTo(
  life: Pick<Lifecycle, 'store'>,
  provider: Provider,
  principal: Principal,
  readAt: Instant,
  except: Operation | null = null,
): Promise<readonly WantedScopes[] | null> {
  if (principal.state !== 'live' || principal.external === null) return null
  const { tenant, account } = principal
  const credentials = (await life.store.read.credentialsOf(tenant, account)).filter(
    (one) => one.provider === provider.name && one.status === 'active' && one.keyId !== null,
  )
  if (credentials.length === 0) return null
  const settle = settleOf(provider)
  if (credentials.some((one) => addSeconds(one.updatedAt, settle) > readAt)) return null
  const work = (await life.store.read.openOperations(tenant, account)).filter(
    (operation) => operation.id !== except?.id && operation.kind !== 'revertDrift',
  )
  const isBusy = credentials.some((one) =>
    work.some(
      (operation) =>
        operation.subjectType !== 'credential' || isAbout(operation, { credential: one.id }),
    ),
  )
  if (isBusy) return null
  return credentials.map((one) => ({
    tenant,
    account,
    credential: one.id,
    kind: one.kind,
    keyId: one.keyId!,
    scopes: grantedScopesOf(one),
  }))
}
