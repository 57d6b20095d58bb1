import type { IssuedKey } from '../../domain/credential.ts'
import type { Operation } from '../../domain/operation.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, secondsBetween } from '../../domain/time.ts'
import type { Change } from '../../store/store.ts'
import { lookAtUse, newKeyInUse, nextLook, stillUsed } from './adoption.ts'
import { waitForBrake } from './braked.ts'
import { waitForWindow } from '../windows.ts'
import { forget, revokeKey } from './held.ts'
import type { KeyPlace } from './proof.ts'
import { switchOff, tryKey } from './proof.ts'
import { isRehearsal, rehearse } from './rehearse.ts'
import { checkCurrent } from './rollback.ts'
import type { Step, StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, loadSubject, memoOf, putCredential } from './step.ts'

/** How often an overlap that may end early looks whether the new key is in use. */
const pollSeconds = { least: 1, most: 60 }

/**
 * Both keys work while consumers move. The end was fixed when the rotation was planned, and waits
 * for consumers that have not moved. When somebody who left may know the old key, it ends as soon
 * as the new one is seen in use, and at `oldKeysUntil` at the latest.
 */
export const overlap: Step = async (ctx) => {
  const { life } = ctx
  const since = memoOf<Instant>(ctx, 'activatedAt')!
  const urgentEnd = memoOf<Instant>(ctx, 'oldKeysUntil')
  const planned = addSeconds(since, memoOf<number>(ctx, 'overlapSeconds') ?? 0)
  const now = life.clock.now()
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const isOver = oldKeys(subject).length === 0 && memoOf(ctx, 'returnedAt') === null
  if (isOver) return { go: 'done' }
  if (urgentEnd === null) return plannedEnd(ctx, subject, planned)

  const end = earlier(urgentEnd, planned)
  if (now >= end || (await newKeyInUse(ctx, subject, since))) return { go: 'next' }
  // Soon at first, then rarer: the old key outlives the consumer's move by half of what it took.
  const poll = Math.min(
    pollSeconds.most,
    Math.max(pollSeconds.least, secondsBetween(since, now) / 2),
  )
  return { go: 'wait', until: earlier(end, addSeconds(now, poll)) }
}

/** A planned rotation ends the old key only while the new one works and nobody uses the old one. */
async function plannedEnd(
  ctx: StepContext,
  subject: Subject,
  planned: Instant,
): Promise<StepResult> {
  // Under a clock that is wrong even a good key may look expired, and would be rolled back.
  const braked = await waitForBrake(ctx, 'retireKey')
  if (braked) return braked
  if (isRehearsal(ctx)) return rehearse(ctx, subject)
  const listing = await lookAtUse(ctx, subject)
  const sick = await checkCurrent(ctx, subject)
  if (sick) return sick
  const since = memoOf<Instant>(ctx, 'activatedAt')!
  const now = ctx.life.clock.now()
  if (now < planned) return { go: 'wait', until: nextLook(since, now, planned) }
  const frozen = waitForWindow(ctx, subject)
  if (frozen) return frozen
  return (await stillUsed(ctx, subject, oldKeys(subject), listing)) ?? { go: 'next' }
}

/** Switches the old keys off, one after the other, and proves each by trying it. */
export const disableOld: Step = async (ctx) => {
  const isUrgent = memoOf<Instant>(ctx, 'oldKeysUntil') !== null
  const braked = isUrgent ? null : await waitForBrake(ctx, 'retireKey')
  if (braked) return braked
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const [old, ...more] = oldKeys(subject).filter((k) => k.outcome === null)
  if (!old) return { go: 'next' }
  const place = placeOf(subject)
  let key = old
  if (key.disabledAt === null) {
    const frozen = isUrgent ? null : waitForWindow(ctx, subject)
    if (frozen) return frozen
    const off = await switchOff(ctx, place, key)
    await ctx.checkpoint({}, off.changes)
    key = off.key
  }
  const proof = await proveOld(ctx, place, key)
  return proof.go === 'next' && more.length > 0
    ? { ...proof, go: 'wait', until: ctx.life.clock.now() }
    : proof
}

async function proveOld(ctx: StepContext, place: KeyPlace, key: IssuedKey): Promise<StepResult> {
  const answer = await tryKey(ctx, place, key)
  const { life } = ctx
  if (answer !== 'listingIncomplete' && !answer.dead && answer.endsAt) {
    return { go: 'wait', until: answer.endsAt }
  }
  if (answer === 'listingIncomplete' || !answer.dead) {
    return {
      go: 'retry',
      failure: {
        code: 'stillAlive',
        message: `the old key ${key.keyId} still answers; it is tried again until it is refused`,
      },
      after: null,
    }
  }
  const refusals = (memoOf<number>(ctx, 'refusals') ?? 0) + 1
  const enough = answer.outcome !== 'refused' || refusals >= place.capabilities.probe.count
  const proven: IssuedKey = {
    ...key,
    refusedAt: answer.outcome === 'refused' ? (key.refusedAt ?? answer.at) : key.refusedAt,
    settledAt: answer.outcome === 'absent' ? answer.at : key.settledAt,
    outcome: enough ? answer.outcome : null,
  }
  const changes: readonly Change[] = [
    { type: 'key', key: proven },
    ...(enough
      ? [
          audit(
            ctx,
            `key.${answer.outcome}`,
            { type: 'credential', id: key.credential },
            { keyId: key.keyId, generation: key.generation, tries: refusals },
          ),
        ]
      : []),
  ]
  return enough
    ? { go: 'next', memo: { refusals: null }, changes }
    : {
        go: 'wait',
        until: addSeconds(life.clock.now(), place.capabilities.probe.every),
        memo: { refusals },
        changes,
      }
}

/** The old keys stay restorable by one call each until the soak is over; a new key that breaks is rolled back. */
export const soak: Step = async (ctx) => {
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const soakSeconds = memoOf<number>(ctx, 'soakSeconds') ?? 0
  const now = ctx.life.clock.now()
  const ends = oldKeys(subject).flatMap((k) => (k.disabledAt === null ? [] : [k.disabledAt]))
  const since = ends.toSorted().at(-1) ?? null
  // A key that is being given back counts as alive already.
  if (since === null && memoOf(ctx, 'rollback') === null) return { go: 'next' }
  const braked = await waitForBrake(ctx, 'retireKey')
  if (braked) return braked
  // A leaver's key is not given back, whatever becomes of the new one.
  const sick =
    memoOf<Instant>(ctx, 'oldKeysUntil') === null ? await checkCurrent(ctx, subject) : null
  if (sick || since === null) return sick ?? { go: 'next' }
  const until = addSeconds(since, soakSeconds)
  return now >= until ? { go: 'next' } : { go: 'wait', until: nextLook(since, now, until) }
}

export const revokeOld: Step = async (ctx) => {
  const braked = await waitForBrake(ctx, 'retireKey')
  if (braked) return braked
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const isUrgent = memoOf<Instant>(ctx, 'oldKeysUntil') !== null
  const frozen = isUrgent || oldKeys(subject).length === 0 ? null : waitForWindow(ctx, subject)
  if (frozen) return frozen
  const changes: Change[] = []
  for (const old of oldKeys(subject)) changes.push(...(await deleteKey(ctx, subject, old)))
  if (changes.length === 0) return { go: 'next' }
  const now = ctx.life.clock.now()
  return {
    go: 'next',
    changes: [...changes, putCredential({ ...subject.credential, previousKeyId: null }, now)],
  }
}

async function deleteKey(
  ctx: StepContext,
  subject: Subject,
  key: IssuedKey,
): Promise<readonly Change[]> {
  await revokeKey(ctx, placeOf(subject), key)
  if (key.sinkVersion !== null) {
    await subject.sink.discard(subject.target, key.sinkVersion, ctx.call())
  }
  const now = ctx.life.clock.now()
  return [
    {
      type: 'key',
      key: { ...key, status: 'revoked', deletedAt: key.deletedAt ?? now, settledAt: now },
    },
    ...forget(subject.capabilities, key),
    // What cannot be switched off was deleted, and told, when it was to stop.
    ...(key.deletedAt === null
      ? [
          audit(
            ctx,
            'key.deleted',
            { type: 'credential', id: key.credential },
            { keyId: key.keyId, generation: key.generation },
          ),
        ]
      : []),
  ]
}

/**
 * Frees a slot that an earlier, interrupted rotation left occupied: our own superseded keys, and
 * only once their overlap and their soak are over, unless a leaver may know them.
 * @returns null when there is nothing of ours to free
 */
export async function retireSuperseded(
  ctx: StepContext,
  subject: Subject,
): Promise<StepResult | null> {
  const leftovers = subject.keys.filter(
    (k) => (k.status === 'superseded' || k.status === 'disabled') && k.deletedAt === null,
  )
  const [oldest] = leftovers
  if (!oldest) return null
  const now = ctx.life.clock.now()
  const urgent = memoOf<Instant>(ctx, 'oldKeysUntil') !== null
  const span = (name: string): number => (urgent ? 0 : (memoOf<number>(ctx, name) ?? 0))
  const inTheWay = (until: Instant): StepResult => ({
    go: 'wait',
    until,
    failure: {
      code: 'slotsFull',
      message: `the old key ${oldest.keyId} holds the slot of the new one and is deleted at ${until}`,
    },
  })
  const overlapEnd = addSeconds(oldest.supersededAt ?? now, span('overlapSeconds'))
  if (oldest.status === 'superseded' && now < overlapEnd) return inTheWay(overlapEnd)
  const braked = urgent ? null : await waitForBrake(ctx, 'retireKey')
  if (braked) return braked
  // Where nothing works any more, a new key is worth more than an old one that may be in use.
  const isServed = subject.keys.some(
    (k) => k.status === 'active' && k.generation === subject.credential.generation,
  )
  if (oldest.status === 'superseded' && isServed && !urgent) {
    const inUse = await stillUsed(ctx, subject, [oldest], await lookAtUse(ctx, subject))
    if (inUse) return inUse
  }

  let key = oldest
  if (oldest.status === 'superseded') {
    const off = await switchOff(ctx, placeOf(subject), oldest)
    await ctx.checkpoint({}, off.changes)
    key = off.key
  }
  // Off first, and gone only once nobody can have missed it (R05). A key that was rolled back has
  // not been superseded: it worked for nobody.
  const soakEnd = addSeconds(key.disabledAt ?? now, span('soakSeconds'))
  if (key.supersededAt !== null && now < soakEnd) return inTheWay(soakEnd)
  return { go: 'wait', until: now, changes: await deleteKey(ctx, subject, key) }
}

/**
 * Ends the keys a leaver may know although no new one could be made in time: the promise to the
 * company that they stop within the hour weighs more than the consumers' next call.
 */
export async function endKnownKeys(ctx: StepContext): Promise<void> {
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const minted = memoOf<{ readonly generation: number }>(ctx, 'mint')?.generation
  for (const key of subject.keys) {
    const alive = key.status === 'active' || key.status === 'superseded'
    if (!alive || key.generation === minted) continue
    const off = await switchOff(ctx, placeOf(subject), key)
    await ctx.checkpoint({}, off.changes)
  }
  await ctx.checkpoint({ knownKeysEnded: true }, [])
}

/** When the leaver's keys have to end although nothing replaces them yet; null = nothing is owed. */
export function knownKeysUntil(operation: Operation): Instant | null {
  const { memo } = operation
  if (memo['activatedAt'] !== undefined || memo['knownKeysEnded'] === true) return null
  return (memo['oldKeysUntil'] ?? null) as Instant | null
}

/**
 * Every key the current one replaced, not only the last: a rotation that was pre-empted during its
 * overlap leaves one behind that no other operation would ever end.
 */
function oldKeys(subject: Subject): readonly IssuedKey[] {
  return subject.keys.filter(
    (k) =>
      k.generation < subject.credential.generation &&
      (k.status === 'superseded' || k.status === 'disabled'),
  )
}

function placeOf(subject: Subject): KeyPlace {
  return {
    credential: subject.credential,
    provider: subject.provider,
    capabilities: subject.capabilities,
    sink: subject.sink,
    external: externalOf(subject.principal),
  }
}
