import type { IssuedKey } from '../../domain/credential.ts'
import type { Secret } from '../../domain/secret.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds } from '../../domain/time.ts'
import type { KindCapabilities, Listing, Provider } from '../../provider/contract.ts'
import type { ExternalCredential } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import type { StepContext } from './step.ts'
import { audit } from './step.ts'

interface Place {
  readonly provider: Provider
  readonly capabilities: KindCapabilities
  readonly external: string
}

type KeyOf = Pick<IssuedKey, 'tenant' | 'credential' | 'keyId'>

/** The secret of a key whose kind needs it for its end; null when it is not kept (any more). */
export async function heldSecret(
  ctx: StepContext,
  { keepsSecret }: KindCapabilities,
  key: KeyOf,
): Promise<Secret | null> {
  if (!keepsSecret) return null
  const { sealer } = ctx.life
  if (!sealer) throw new Error('this process keeps no sealed secrets')
  return sealer.held(key)
}

/**
 * Ends a key for good at its provider, with its secret where that is asked for.
 * @returns false when nobody can end it, for its secret is not kept any more: its lease will
 */
export async function revokeKey(
  ctx: StepContext,
  place: Place,
  key: KeyOf & Pick<IssuedKey, 'issuedAt'>,
): Promise<boolean> {
  const { provider, capabilities, external } = place
  using held = await heldSecret(ctx, capabilities, key)
  if (capabilities.keepsSecret && held === null) return isOver(ctx, capabilities, key.issuedAt)
  await provider.revoke(external, key.keyId, ctx.call(), held)
  return true
}

/** Whether the provider has ended the key by itself by now. */
export function isOver(ctx: StepContext, of: KindCapabilities, issuedAt: Instant): boolean {
  const end = leaseEnd(of, issuedAt)
  return end !== null && end <= ctx.life.clock.now()
}

/** The change that tells of a key which works although it should not, and nobody can end. */
export function leftToLease(
  ctx: StepContext,
  of: KindCapabilities,
  key: Pick<IssuedKey, 'credential' | 'provider' | 'keyId' | 'generation' | 'issuedAt'>,
): Change {
  const { credential: id, provider, keyId, generation, issuedAt } = key
  const facts = { provider, keyId, generation, until: leaseEnd(of, issuedAt) }
  return audit(ctx, 'key.leftToLease', { type: 'credential', id }, facts)
}

/** The change that forgets the secret of a key that has ended; nothing for kinds that keep none. */
export function forget({ keepsSecret }: KindCapabilities, key: KeyOf): readonly Change[] {
  const { tenant, credential, keyId } = key
  return keepsSecret ? [{ type: 'unsealed', tenant, credential, keyId }] : []
}

/** When the provider itself ends the key; null = never. */
export function leaseEnd({ lease }: KindCapabilities, issuedAt: Instant): Instant | null {
  return lease === null ? null : addSeconds(issuedAt, lease.lifetime)
}

const nothing: Listing<ExternalCredential> = { items: [], complete: true }

/** What the provider lists for the principal; nothing, for kinds that no listing shows. */
export async function listKeys(
  ctx: StepContext,
  { provider, capabilities, external }: Place,
): Promise<Listing<ExternalCredential>> {
  return capabilities.canList ? provider.list(external, ctx.call()) : nothing
}
