import type { ServiceAccount } from '../../domain/account.ts'
import type { Credential, IssuedKey } from '../../domain/credential.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, secondsBetween } from '../../domain/time.ts'
import type { ProbeAnswer } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { periodOf, rotateAfterOf } from '../credential-terms.ts'
import { catchUp } from './rescope.ts'
import { tellConsumers } from '../hooks.ts'
import { noteProbe } from '../uses.ts'
import { forget, heldSecret, leftToLease, listKeys, revokeKey } from './held.ts'
import type { Step, StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, loadSubject, memoOf, provisioned, putCredential } from './step.ts'

/** A fresh key that is still refused after this long is given up and removed (R01). */
const verifyWithinSeconds = 120

interface Verify extends JsonObject {
  readonly since: Instant
  readonly accepted: number
}

/**
 * Proves that the staged secret works by using it, then makes it current by compare-and-set. What
 * is tried is read back from the sink: that the consumer will get exactly this is part of the proof (R09).
 */
export const verify: Step = async (ctx) => {
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const mint = memoOf<{ generation: number; version: string }>(ctx, 'mint')
  const key = subject.keys.find((k) => k.generation === mint?.generation)
  if (!key || (key.sinkVersion === null && subject.capabilities.mint !== 'none')) {
    throw new Error('verify ran before issue-and-deliver')
  }
  const { life } = ctx
  const now = life.clock.now()
  const state = memoOf<Verify>(ctx, 'verify') ?? { since: now, accepted: 0 }

  const accepted = await isAccepted(ctx, subject, key)
  if (accepted) {
    const count = state.accepted + 1
    if (count >= subject.capabilities.probe.count) return promote(ctx, subject, key, accepted)
    return {
      go: 'wait',
      until: addSeconds(now, subject.capabilities.probe.every),
      memo: { verify: { since: state.since, accepted: count } },
    }
  }
  if (secondsBetween(state.since, now) > verifyWithinSeconds) return giveUp(ctx, subject, key)
  return {
    go: 'wait',
    until: addSeconds(now, Math.max(1, subject.capabilities.probe.every)),
    // One refusal starts the count again: consecutive answers are the evidence.
    memo: { verify: { since: state.since, accepted: 0 } },
  }
}

/** How we know that a key works: its secret was used, or the provider lists it as it should be. */
export type Acceptance = 'used' | 'listed'

/**
 * Uses the secret as the sink serves it; where that cannot be tried, the provider's listing has to do.
 * @returns null when it does not work
 */
export async function isAccepted(
  ctx: StepContext,
  subject: Subject,
  key: IssuedKey,
): Promise<Acceptance | null> {
  const { provider, capabilities, credential, sink, target } = subject
  const external = externalOf(subject.principal)
  if (capabilities.canProbe) {
    await noteProbe(ctx.life, key)
    const answer = await tryOut()
    if (answer !== 'untestable') return answer === 'accepted' ? 'used' : null
  }
  async function tryOut(): Promise<ProbeAnswer> {
    if (capabilities.mint === 'none') {
      return (await provider.probeKey?.(external, key.keyId, ctx.call())) ?? 'untestable'
    }
    const secret = sink.canRead
      ? await sink.read(target, key.sinkVersion!, ctx.call())
      : await heldSecret(ctx, capabilities, key)
    if (!secret && sink.canRead)
      throw new Error(`sink ${sink.name} lost version ${key.sinkVersion}`)
    if (!secret) return 'untestable'
    using tried = secret
    return await provider.probe(tried, credential.kind, ctx.call())
  }
  // Cannot be tried from here: that the provider lists it, with the right fingerprint, is what we have.
  const listing = await listKeys(ctx, { provider, capabilities, external })
  // What nobody can list or try is believed: the provider has answered with it.
  if (!capabilities.canList) return 'listed'
  const isListed = listing.items.some(
    (item) =>
      item.keyId === key.keyId &&
      item.active &&
      (item.fingerprint === null || item.fingerprint === key.fingerprint),
  )
  return isListed ? 'listed' : null
}

async function promote(
  ctx: StepContext,
  subject: Subject,
  key: IssuedKey,
  proof: Acceptance,
): Promise<StepResult> {
  const { life } = ctx
  const { credential, keys } = subject
  const previous =
    keys.find((k) => k.status === 'active' && k.generation !== key.generation) ?? null
  const secretRef = key.sinkVersion === null ? null : await moveConsumers(ctx, subject, key)

  const granted = memoOf<{ scopes?: readonly string[] }>(ctx, 'mint')?.scopes ?? credential.scopes
  const now = life.clock.now()
  const every = periodOf(life, subject.account, credential)
  const active: Credential = {
    ...credential,
    status: 'active',
    generation: key.generation,
    keyId: key.keyId,
    previousKeyId: previous?.keyId ?? null,
    fingerprint: key.fingerprint,
    secretRef,
    issuedAt: key.issuedAt,
    rotateAfter: rotateAfterOf(key.issuedAt, every),
    grantedScopes: granted,
    lastRotatedAt: previous ? now : credential.lastRotatedAt,
    refusedAt: null,
    settledAt: null,
    lastError: null,
  }
  const changes: Change[] = [
    putCredential(active, now),
    { type: 'key', key: { ...key, status: 'active', activatedAt: now } },
    audit(
      ctx,
      'key.activated',
      { type: 'credential', id: credential.id },
      {
        provider: credential.provider,
        keyId: key.keyId,
        generation: key.generation,
        secretRef,
        proof,
      },
    ),
  ]
  if (previous)
    changes.push({ type: 'key', key: { ...previous, status: 'superseded', supersededAt: now } })
  changes.push(...(await accountAfter(ctx, subject.account, active)))
  // Somebody left a group, or asked for less, after the key was made.
  changes.push(...(await catchUp(ctx, subject.account, active)))
  changes.push(...tellConsumers(life, subject.account, active, ctx.operation))
  return {
    go: 'next',
    memo: {
      verify: null,
      previousGeneration: previous?.generation ?? null,
      grantedBefore: credential.grantedScopes,
      activatedAt: now,
    },
    changes,
  }
}

/**
 * Makes the key the one that consumers read. What they read until now may be a key that was never
 * activated: one whose operation was pre-empted between moving them and noting it.
 */
export async function moveConsumers(
  ctx: StepContext,
  { keys, sink, target }: Pick<Subject, 'keys' | 'sink' | 'target'>,
  key: IssuedKey,
): Promise<string> {
  const unnoted = keys.flatMap((k) =>
    k.activatedAt === null && k.generation !== key.generation && k.sinkVersion !== null
      ? [k.sinkVersion]
      : [],
  )
  let conflict: ProviderError | null = null
  for (const from of [servedVersion(keys), ...unnoted.toReversed()]) {
    try {
      const place = { ...target, generation: key.generation }
      return await sink.promote(place, key.sinkVersion!, from, ctx.call())
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind !== 'conflict') throw error
      conflict ??= error
    }
  }
  throw conflict!
}

/** What consumers read until now: the key activated last, even when it was switched off since. */
function servedVersion(keys: readonly IssuedKey[]): string | null {
  return servedKey(keys)?.sinkVersion ?? null
}

function servedKey(keys: readonly IssuedKey[]): IssuedKey | null {
  let served: IssuedKey | null = null
  for (const key of keys) {
    if (
      key.activatedAt !== null &&
      (served?.activatedAt == null || key.activatedAt >= served.activatedAt)
    )
      served = key
  }
  return served
}

/** @param changed the credential as this step is about to write it */
export async function accountAfter(
  ctx: StepContext,
  account: ServiceAccount,
  changed: Credential,
): Promise<readonly Change[]> {
  const all = await ctx.life.store.read.credentialsOf(account.tenant, account.id)
  return provisioned(account, all, changed, ctx.life.clock.now())
}

/** The new key never worked: remove it and leave everything older as it was. */
async function giveUp(ctx: StepContext, subject: Subject, key: IssuedKey): Promise<StepResult> {
  const message = `the new key was still refused after ${verifyWithinSeconds} s and was removed; check the provider, then rotate again`
  const removed = await removeHalfMade(ctx, subject, key)
  return {
    go: 'fail',
    failure: { code: 'notAccepted', message },
    changes: [...(await failureChanges(ctx, subject, message)), ...removed],
  }
}

/**
 * Consumers may read the key already: the answer to moving them can be lost, and then the operation
 * given up. They go back to the key that served them before this one ends.
 */
async function leaveConsumers(
  ctx: StepContext,
  { keys, sink, target }: Subject,
  key: IssuedKey,
): Promise<void> {
  const served = servedKey(keys)
  const works = served?.status === 'active' || served?.status === 'superseded'
  if (key.sinkVersion === null || !works || served.sinkVersion === null) return
  try {
    const place = { ...target, generation: served.generation }
    await sink.promote(place, served.sinkVersion, key.sinkVersion, ctx.call())
  } catch (error) {
    // Neither of the two is what they read.
    if (!(error instanceof ProviderError) || error.kind !== 'conflict') throw error
  }
}

/** Deletes a key that never became active, and what was staged of it. */
export async function removeHalfMade(
  ctx: StepContext,
  subject: Subject,
  key: IssuedKey,
): Promise<readonly Change[]> {
  const { provider, capabilities, principal, sink, target, credential } = subject
  await leaveConsumers(ctx, subject, key)
  const place = { provider, capabilities, external: externalOf(principal) }
  const isEnded = await revokeKey(ctx, place, key)
  if (key.sinkVersion !== null) await sink.discard(target, key.sinkVersion, ctx.call())
  return [
    { type: 'key', key: { ...key, status: 'failed', deletedAt: ctx.life.clock.now() } },
    ...forget(capabilities, key),
    isEnded
      ? audit(
          ctx,
          'key.strayRemoved',
          { type: 'credential', id: credential.id },
          { provider: provider.name, keyId: key.keyId, generation: key.generation },
        )
      : leftToLease(ctx, capabilities, key),
  ]
}

/** What a failed issue leaves: the credential failed, unless an older key still serves it. */
export async function failureChanges(
  ctx: StepContext,
  subject: Subject,
  message: string,
): Promise<readonly Change[]> {
  const { credential } = subject
  const serves = subject.keys.some((k) => k.status === 'active')
  const failed: Credential = {
    ...credential,
    status: serves ? 'active' : 'failed',
    lastError: message,
  }
  return [
    putCredential(failed, ctx.life.clock.now()),
    ...(serves ? [] : await accountAfter(ctx, subject.account, failed)),
  ]
}
