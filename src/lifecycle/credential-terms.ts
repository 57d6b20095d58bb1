import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { isDelivered } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { formatDuration, seconds } from '../domain/time.ts'
import type { CredentialWrite } from '../domain/want.ts'
import type { LifecycleTerms } from '../policy/lifecycle.ts'
import type { KindCapabilities } from '../provider/contract.ts'
import type { Lifecycle } from './context.ts'
import { consumerKindsOf } from './required-kind.ts'
import { checkOverlap, checkRotation, soakOf } from './rotation-terms.ts'

export function termsOf(
  life: Pick<Lifecycle, 'policy'>,
  account: Pick<ServiceAccount, 'environment' | 'labels' | 'imported' | 'attributes'>,
  at?: { readonly provider: string; readonly kind: string },
): LifecycleTerms {
  return life.policy().termsFor({
    provider: at?.provider ?? null,
    kind: at?.kind ?? null,
    environment: account.environment,
    labels: account.labels,
    consumers: consumerKindsOf(account),
    imported: account.imported,
  })
}

/**
 * How long after its issue a credential is due for a new key; null = never. A lease is renewed in
 * good time before the provider ends it, whatever the policy says.
 */
export function periodOf(
  life: Pick<Lifecycle, 'policy' | 'providers'>,
  account: Pick<ServiceAccount, 'environment' | 'labels' | 'imported' | 'attributes'>,
  credential: Pick<Credential, 'provider' | 'kind' | 'rotateEvery' | 'deliverTo'>,
): Seconds | null {
  if (!isDelivered(credential)) return null
  const capabilities = capabilitiesOf(life, credential)
  if (capabilities?.mint === 'none') return null
  if (capabilities?.lease)
    return seconds(capabilities.lease.lifetime - capabilities.lease.renewBefore)
  return credential.rotateEvery ?? termsOf(life, account, credential).rotation.every
}

export function capabilitiesOf(
  life: Pick<Lifecycle, 'providers'>,
  { provider, kind }: Pick<Credential, 'provider' | 'kind'>,
): KindCapabilities | null {
  return life.providers.get(provider)?.capabilities[kind] ?? null
}

export function rotateAfterOf(issuedAt: Instant | null, every: Seconds | null): Instant | null {
  return issuedAt === null || every === null
    ? null
    : (new Date(Date.parse(issuedAt) + every * 1_000).toISOString() as Instant)
}

/** An old lease is left to its end: who still holds it may use it, and nobody has to end it (R48). */
export function spansOf(
  life: Lifecycle,
  account: ServiceAccount,
  credential: Credential,
  known: boolean,
): JsonObject {
  const terms = termsOf(life, account, credential)
  const lease = capabilitiesOf(life, credential)?.lease
  if (lease) {
    const { lifetime, renewBefore } = lease
    return { overlapSeconds: renewBefore, soakSeconds: 0, maxAgeSeconds: lifetime, isLease: true }
  }
  return {
    overlapSeconds: credential.overlap ?? terms.rotation.overlap,
    soakSeconds: known ? 0 : soakOf(terms, credential.overlap),
    maxAgeSeconds: terms.rotation.maxAge,
  }
}

/**
 * Whether keys follow each other as consumers need it; a lease by its provider's rules alone.
 * @throws invalidValue
 */
export function checkPeriods(
  capabilities: KindCapabilities | null,
  terms: LifecycleTerms,
  account: Pick<ServiceAccount, 'attributes'>,
  want: Partial<Pick<CredentialWrite, 'rotateEvery' | 'overlap'>>,
): void {
  refusePeriods(capabilities, want)
  if (capabilities?.mint === 'none') return
  if (capabilities?.lease) {
    checkOverlap(account, capabilities.lease.renewBefore, 'consumers.cacheTtl')
  } else checkRotation(terms, account, want)
}

/** For how long the old key and the new one work both. */
export function overlapOf(
  life: Pick<Lifecycle, 'policy' | 'providers'>,
  account: Pick<ServiceAccount, 'environment' | 'labels' | 'imported' | 'attributes'>,
  credential: Pick<Credential, 'provider' | 'kind' | 'overlap'>,
): Seconds {
  const lease = capabilitiesOf(life, credential)?.lease
  return (
    lease?.renewBefore ?? credential.overlap ?? termsOf(life, account, credential).rotation.overlap
  )
}

/** @throws invalidValue for a period of what is renewed by its own rules, or never */
function refusePeriods(
  capabilities: KindCapabilities | null,
  want: Partial<Pick<CredentialWrite, 'rotateEvery' | 'overlap'>>,
): void {
  const path = want.rotateEvery === undefined ? 'overlap' : 'rotateEvery'
  if (want[path] === undefined || !capabilities) return
  if (capabilities.lease) {
    const { lifetime, renewBefore } = capabilities.lease
    const reason = `its provider ends this kind after ${formatDuration(lifetime)}, and it is renewed ${formatDuration(renewBefore)} before; leave it out.`
    throw errors.invalidValue({ path, reason })
  }
  if (capabilities.mint !== 'none') return
  throw errors.invalidValue({ path, reason: 'this kind has no secret to rotate; leave it out.' })
}
