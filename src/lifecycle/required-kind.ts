import type { ServiceAccount } from '../domain/account.ts'
import { consumersOf } from '../domain/consumer.ts'
import type { CredentialKind } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { LifecycleTerms } from '../policy/lifecycle.ts'
import type { Provider } from '../provider/contract.ts'

/** Where an account's credentials are used: `github-actions`, `kubernetes`, `oidc` …, as it says. */
export function consumerKindsOf(account: Pick<ServiceAccount, 'attributes'>): readonly string[] {
  return consumersOf(account).flatMap(({ kind }) => kind ?? [])
}

/**
 * Policy may insist on kinds, such as one without a secret for consumers that have an identity. It
 * binds where one of them can be had: a provider that issues none leaves nothing else to ask for.
 * @throws kindRequired naming what to ask for
 */
export function checkRequired(
  { require }: Pick<LifecycleTerms, 'require'>,
  provider: Pick<Provider, 'name' | 'capabilities'>,
  want: { readonly kind: CredentialKind },
): void {
  const offered = require.filter((kind) => Object.hasOwn(provider.capabilities, kind))
  if (offered.length === 0 || offered.includes(want.kind)) return
  const required = offered.map((kind) => `"${kind}"`).join(' or ')
  throw errors.kindRequired({ provider: provider.name, kind: want.kind, required })
}
