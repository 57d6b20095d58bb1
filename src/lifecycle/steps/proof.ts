import type { Credential, IssuedKey, ProbeOutcome } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import type {
  KindCapabilities,
  ProbeAnswer,
  Provider,
  ProviderErrorKind,
  SecretSink,
} from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { askToEnd, isByHand, onlyByHand } from './by-hand.ts'
import type { StepContext } from './step.ts'
import { audit, targetOf } from './step.ts'

export interface KeyPlace {
  readonly credential: Credential
  readonly provider: Provider
  readonly capabilities: KindCapabilities
  readonly sink: SecretSink | null
  readonly external: string
}

/**
 * Switches one key off where that is reversible, else deletes it. Idempotent, and only ever called
 * with a key from our journal.
 */
export async function switchOff(
  ctx: StepContext,
  place: KeyPlace,
  key: IssuedKey,
): Promise<{ readonly key: IssuedKey; readonly changes: readonly Change[] }> {
  const { provider, capabilities, external } = place
  if (onlyByHand(capabilities)) await askToEnd(ctx, place, key)
  else if (capabilities.canDisable) await provider.disable(external, key.keyId, ctx.call())
  else await provider.revoke(external, key.keyId, ctx.call())
  const now = ctx.life.clock.now()
  // Asked for is not done yet: the audit must not say so.
  const isAsked = isByHand(capabilities)
  const off: IssuedKey = {
    ...key,
    status: 'disabled',
    disabledAt: key.disabledAt ?? now,
    deletedAt: capabilities.canDisable || isAsked ? key.deletedAt : (key.deletedAt ?? now),
  }
  return {
    key: off,
    changes: [
      { type: 'key', key: off },
      audit(
        ctx,
        isAsked ? 'key.endAsked' : capabilities.canDisable ? 'key.disabled' : 'key.deleted',
        { type: 'credential', id: key.credential },
        {
          provider: key.provider,
          keyId: key.keyId,
          generation: key.generation,
        },
      ),
    ],
  }
}

export type DeathAnswer =
  | { readonly dead: false }
  | { readonly dead: true; readonly outcome: ProbeOutcome; readonly at: Instant }

/**
 * Tries a key that was switched off. `refused` only when the secret itself was tried and rejected;
 * `absent` when a complete listing no longer has it; `untestable` when neither could be shown,
 * e.g. because somebody emptied the sink. The three are never mixed (contract §4).
 */
export async function tryKey(
  ctx: StepContext,
  place: KeyPlace,
  key: IssuedKey,
): Promise<DeathAnswer | 'listingIncomplete'> {
  const { provider, capabilities, sink } = place
  if (capabilities.canProbe && sink?.canRead && key.sinkVersion !== null) {
    const answer = await trySecret(ctx, { place, sink, version: key.sinkVersion })
    if (answer === 'accepted') return { dead: false }
    if (answer === 'refused') return { dead: true, outcome: 'refused', at: ctx.life.clock.now() }
  }
  const listing = await provider.list(place.external, ctx.call())
  if (!listing.complete) return 'listingIncomplete'
  const listed = listing.items.find((item) => item.keyId === key.keyId)
  if (listed?.active) return { dead: false }
  const isTold = listed !== undefined || capabilities.attested === true
  return { dead: true, outcome: isTold ? 'untestable' : 'absent', at: ctx.life.clock.now() }
}

/**
 * Reads the secret back and uses it. What is refused for good (a sink that may not be read any more,
 * bytes that are not this key's) is `untestable`, or the proof would be repeated for ever; what may
 * pass is thrown and tried again.
 */
async function trySecret(
  ctx: StepContext,
  at: { readonly place: KeyPlace; readonly sink: SecretSink; readonly version: string },
): Promise<ProbeAnswer> {
  const { provider, credential } = at.place
  try {
    const secret = await at.sink.read(targetOf(credential), at.version, ctx.call())
    if (!secret) return 'untestable'
    using tried = secret
    return await provider.probe(tried, credential.kind, ctx.call())
  } catch (error) {
    if (error instanceof ProviderError && isFinal.has(error.kind)) return 'untestable'
    throw error
  }
}

const isFinal: ReadonlySet<ProviderErrorKind> = new Set([
  'denied',
  'conflict',
  'invalid',
  'notFound',
])
