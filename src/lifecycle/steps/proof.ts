import type { Credential, IssuedKey, ProbeOutcome } from '../../domain/credential.ts'
import type { Operation } from '../../domain/operation.ts'
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
import { withdrawDecision } from '../tasks.ts'
import { heldSecret, leaseEnd, leftToLease, listKeys, revokeKey } from './held.ts'
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
  let isEnded = true
  if (onlyByHand(capabilities)) await askToEnd(ctx, place, key)
  else if (capabilities.canDisable) await provider.disable(external, key.keyId, ctx.call())
  else isEnded = await revokeKey(ctx, place, key)
  // Only one that waits for consumers is asked about; whatever ends it answers that.
  if (key.status === 'superseded') await withdrawDecision(ctx.life, key)
  const now = ctx.life.clock.now()
  // Asked for is not done yet: the audit must not say so.
  const isAsked = isByHand(capabilities)
  const off: IssuedKey = {
    ...key,
    status: 'disabled',
    disabledAt: key.disabledAt ?? now,
    deletedAt:
      capabilities.canDisable || isAsked || !isEnded ? key.deletedAt : (key.deletedAt ?? now),
  }
  if (!isEnded) {
    return { key: off, changes: [{ type: 'key', key: off }, leftToLease(ctx, capabilities, key)] }
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

/** Written before keys that should be dead are tried (contract §9: what is told was done). */
export function negativeProbes(
  ctx: StepContext,
  keys: readonly IssuedKey[],
  { id, subjectType, subject }: Operation,
): Change {
  const tried = keys.map(({ provider, keyId }) => ({ provider, keyId }))
  const facts = { keys: tried, userAgent: `custody-probe/${id}` }
  return audit(ctx, 'probe.negative', { type: subjectType, id: subject }, facts)
}

export type DeathAnswer =
  /** `endsAt`: nobody can end it any more, so its lease does. */
  | { readonly dead: false; readonly endsAt?: Instant }
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
  const { capabilities } = place
  if (capabilities.canProbe) {
    const answer = await tryOut(ctx, place, key)
    if (answer === 'accepted') return stillWorks(ctx, capabilities, key)
    if (answer === 'refused') return { dead: true, outcome: 'refused', at: ctx.life.clock.now() }
  }
  if (!capabilities.canList) return atLeaseEnd(ctx, capabilities, key)
  const listing = await listKeys(ctx, place)
  if (!listing.complete) return 'listingIncomplete'
  const listed = listing.items.find((item) => item.keyId === key.keyId)
  if (listed?.active) return { dead: false }
  const isTold = listed !== undefined || capabilities.attested === true
  return { dead: true, outcome: isTold ? 'untestable' : 'absent', at: ctx.life.clock.now() }
}

/** Tried with what the sink has; without the secret that was kept, trying to end it again is idle. */
async function stillWorks(
  ctx: StepContext,
  capabilities: KindCapabilities,
  key: IssuedKey,
): Promise<DeathAnswer> {
  const endsAt = leaseEnd(capabilities, key.issuedAt)
  if (!capabilities.keepsSecret || endsAt === null || endsAt <= ctx.life.clock.now()) {
    return { dead: false }
  }
  using held = await heldSecret(ctx, capabilities, key)
  return held === null ? { dead: false, endsAt } : { dead: false }
}

/** What can be neither tried nor listed is dead when its lease is over. */
function atLeaseEnd(
  ctx: StepContext,
  capabilities: KindCapabilities,
  { issuedAt }: IssuedKey,
): DeathAnswer {
  const now = ctx.life.clock.now()
  const endsAt = leaseEnd(capabilities, issuedAt)
  if (endsAt !== null && endsAt > now) return { dead: false, endsAt }
  return { dead: true, outcome: 'untestable', at: now }
}

/** Uses the secret wherever there is one: what was kept for this, or what the sink has still. */
async function tryOut(ctx: StepContext, place: KeyPlace, key: IssuedKey): Promise<ProbeAnswer> {
  const { provider, capabilities, external, credential, sink } = place
  if (capabilities.mint === 'none') {
    return (await provider.probeKey?.(external, key.keyId, ctx.call())) ?? 'untestable'
  }
  using held = await heldSecret(ctx, capabilities, key)
  if (held) return await provider.probe(held, credential.kind, ctx.call())
  if (!sink?.canRead || key.sinkVersion === null) return 'untestable'
  return await trySecret(ctx, { place, sink, version: key.sinkVersion })
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
