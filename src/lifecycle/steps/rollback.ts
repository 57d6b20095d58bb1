import type { Credential, IssuedKey } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds } from '../../domain/time.ts'
import type { Change } from '../../store/store.ts'
import { tellConsumers } from '../hooks.ts'
import { expiryOf } from '../credentials.ts'
import { withdrawDecision } from '../tasks.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, memoOf, putCredential } from './step.ts'
import { isOver } from './held.ts'
import { isAccepted } from './verify.ts'

/** So many refusals in a row, so far apart, before a key that did work is given up: lists lag by 90 s. */
const refusalsLeast = 3
const refusalsSpacedSeconds = 30

/** An end date that has come is acted on by a sweep, or moved by a person: neither is a matter of seconds. */
const expiredLookSeconds = 3_600

/** After a rollback the next attempt waits: whatever broke the new key may break the next one. */
const nextAttemptSeconds = 86_400

interface Rollback {
  readonly [key: string]: number
  readonly to: number
}

/**
 * Looks, while the old key can still be had back, whether the one that replaced it works. When it
 * is refused again and again and the provider does not list it as active either, consumers get the
 * old key back (facts: the secret itself was tried, and a complete listing agrees).
 * @returns null when the new key works
 */
export async function checkCurrent(ctx: StepContext, subject: Subject): Promise<StepResult | null> {
  const rollback = memoOf<Rollback>(ctx, 'rollback')
  const current = subject.keys.find((k) => k.keyId === subject.credential.keyId)
  if (rollback !== null) return rollBack(ctx, subject, rollback.to)
  if (!current || current.sinkVersion === null) return null
  const now = ctx.life.clock.now()
  const { lease } = subject.capabilities
  // Refused because it is over: what took so long ends now, and the next lease is due.
  if (isOver(ctx, subject.capabilities, current.issuedAt)) return null
  if (await isAccepted(ctx, subject, current)) {
    if (memoOf<number>(ctx, 'newKeyRefusals') !== null) {
      await ctx.checkpoint({ newKeyRefusals: null }, [])
    }
    return null
  }
  const endedAt = expiryOf(subject.credential, subject.account)
  if (endedAt <= now) return expired(now, endedAt)
  const refusals = (memoOf<number>(ctx, 'newKeyRefusals') ?? 0) + 1
  if (refusals < Math.max(refusalsLeast, subject.capabilities.probe.count)) {
    return {
      go: 'wait',
      until: addSeconds(now, Math.max(refusalsSpacedSeconds, subject.capabilities.probe.every)),
      memo: { newKeyRefusals: refusals },
      failure: {
        code: 'newKeyRefused',
        message: `the new key ${current.keyId} is refused; the old one stays until that is clear`,
      },
    }
  }
  // An earlier lease is over in minutes: no way back that would be worth going.
  if (lease !== null) return beginAnew(ctx, subject, current)
  const listing = await subject.provider.list(externalOf(subject.principal), ctx.call())
  const isListed = listing.items.some((item) => item.keyId === current.keyId && item.active)
  if (!listing.complete || isListed) {
    return {
      go: 'ask',
      failure: {
        code: 'newKeyRefused',
        message: `${subject.provider.name} lists the new key ${current.keyId} as active, but what consumers read at ${subject.target.path} is refused; compare the two, then retry, or revoke the credential`,
      },
    }
  }
  const back = previousOf(subject, current)
  return back === null || memoOf<Instant>(ctx, 'oldKeysUntil') !== null
    ? beginAnew(ctx, subject, current)
    : rollBack(ctx, subject, back.generation)
}

/** No key of the credential works any more, and none of them is at fault. */
function expired(now: Instant, endedAt: Instant): StepResult {
  const message = `the credential has ended at ${endedAt}, so its keys are refused; the expiry sweep revokes it, unless its end date is moved`
  return {
    go: 'wait',
    until: addSeconds(now, expiredLookSeconds),
    memo: { newKeyRefusals: null },
    failure: { code: 'credentialExpired', message },
  }
}

/** The youngest key before the current one that still exists and can be switched on. */
function previousOf(subject: Subject, current: IssuedKey): IssuedKey | null {
  const alive = subject.keys.filter(
    (k) =>
      k.generation < current.generation &&
      k.deletedAt === null &&
      k.sinkVersion !== null &&
      (k.status === 'superseded' || (k.status === 'disabled' && subject.capabilities.canDisable)),
  )
  return alive.toSorted((a, b) => b.generation - a.generation)[0] ?? null
}

/**
 * Switches the old key on, proves that it works, makes it current by compare-and-set, and switches
 * the new one off. Each call may be repeated, so that a crash in between is finished by the next run.
 * The journal calls the old key alive before it is: a revocation that comes in between ends it, too.
 */
async function rollBack(
  ctx: StepContext,
  subject: Subject,
  generation: number,
): Promise<StepResult> {
  const { provider, sink, target, credential, keys } = subject
  const old = keys.find((k) => k.generation === generation)!
  const broken = keys.find((k) => k.generation === credential.generation)!
  const external = externalOf(subject.principal)
  const isStart = memoOf<Rollback>(ctx, 'rollback') === null
  if (isStart || old.status === 'disabled') {
    await ctx.checkpoint({ rollback: { to: generation } satisfies Rollback }, [
      { type: 'key', key: { ...old, ...alive, status: 'superseded' } },
      ...(isStart ? [started(ctx, broken, old)] : []),
    ])
  }
  if (subject.capabilities.canDisable) await provider.enable(external, old.keyId, ctx.call())
  if (!(await isAccepted(ctx, subject, old))) {
    const message = `neither the new key ${broken.keyId} nor the old one ${old.keyId} works; the old one is tried again`
    return { go: 'retry', failure: { code: 'rollbackBlocked', message }, after: null }
  }
  const secretRef = await sink.promote(
    { ...target, generation: old.generation },
    old.sinkVersion!,
    broken.sinkVersion,
    ctx.call(),
  )
  if (subject.capabilities.canDisable) await provider.disable(external, broken.keyId, ctx.call())
  else await provider.revoke(external, broken.keyId, ctx.call())

  await withdrawDecision(ctx.life, old)
  const now = ctx.life.clock.now()
  const message = `the new key ${broken.keyId} stopped working; consumers have the old key ${old.keyId} back, and the rotation is tried again in a day`
  const restored: Credential = {
    ...credential,
    generation: old.generation,
    keyId: old.keyId,
    previousKeyId: null,
    fingerprint: old.fingerprint,
    secretRef,
    issuedAt: old.issuedAt,
    rotateAfter: addSeconds(now, nextAttemptSeconds),
    grantedScopes: grantedAgain(ctx, subject),
    lastError: message,
  }
  const working: IssuedKey = {
    ...old,
    ...alive,
    status: 'active',
    activatedAt: now,
    supersededAt: null,
  }
  return {
    go: 'fail',
    failure: { code: 'rolledBack', message },
    changes: [
      putCredential(restored, now),
      { type: 'key', key: working },
      {
        type: 'key',
        key: {
          ...broken,
          status: 'disabled',
          disabledAt: now,
          deletedAt: subject.capabilities.canDisable ? broken.deletedAt : now,
        },
      },
      audit(
        ctx,
        'key.rolledBack',
        { type: 'credential', id: credential.id },
        { from: broken.keyId, to: old.keyId, secretRef },
      ),
      ...tellConsumers(ctx.life, subject.account, restored, ctx.operation),
    ],
  }
}

/**
 * What a key that is given back may do, where rights hang on the key: it never had what came with the
 * newer one.
 */
export function grantedAgain(ctx: StepContext, subject: Subject): Credential['grantedScopes'] {
  const { grantedScopes } = subject.credential
  if (subject.capabilities.canRescope === 'inPlace') return grantedScopes
  return memoOf<readonly string[]>(ctx, 'grantedBefore') ?? grantedScopes
}

const alive = { disabledAt: null, refusedAt: null, settledAt: null, outcome: null }

function started(ctx: StepContext, from: IssuedKey, to: IssuedKey): Change {
  const target = { type: 'credential', id: to.credential }
  return audit(ctx, 'key.rollbackStarted', target, { from: from.keyId, to: to.keyId })
}

/** There is no way back to a key that is deleted, or that a leaver knows: the next sweep makes a new one. */
function beginAnew(ctx: StepContext, subject: Subject, broken: IssuedKey): StepResult {
  const now = ctx.life.clock.now()
  const message = `the key ${broken.keyId} stopped working and no earlier one can take its place; a new one is made with the next rotation sweep`
  const changes: readonly Change[] = [
    putCredential({ ...subject.credential, rotateAfter: now, lastError: message }, now),
    // So that the sweep sees that nothing serves consumers, however young the key is.
    { type: 'key', key: { ...broken, status: 'superseded', supersededAt: now } },
    audit(
      ctx,
      'key.lost',
      { type: 'credential', id: subject.credential.id },
      { keyId: broken.keyId, generation: broken.generation },
    ),
  ]
  return { go: 'fail', failure: { code: 'keyLost', message }, changes }
}
