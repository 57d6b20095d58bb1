import { anyone, consumersOf } from '../../domain/consumer.ts'
import type { Credential, IssuedKey } from '../../domain/credential.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, seconds, secondsBetween } from '../../domain/time.ts'
import type { ExternalCredential, Listing } from '../../provider/contract.ts'
import { periodOf, rotateAfterOf } from '../credential-terms.ts'
import { tellConsumers } from '../hooks.ts'
import { moveOf, moveOfAnyone } from '../moved.ts'
import { oursUntil } from '../uses.ts'
import { lookAtUse, nextLook, promotionOf, quietShare } from './adoption.ts'
import { revokeKey, forget } from './held.ts'
import { catchUp } from './rescope.ts'
import { checkCurrent, grantedAgain } from './rollback.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, memoOf, putCredential } from './step.ts'
import { isAccepted } from './verify.ts'

/** Which consumer moved, how that is known, and after how many seconds; null = it did not. */
interface Moves extends JsonObject {
  readonly [name: string]: { readonly state: string; readonly after: number } | null
}

/** A rehearsal ends as it began: with the old key. */
export function isRehearsal(ctx: StepContext): boolean {
  return memoOf<string>(ctx, 'reason') === 'rehearsal'
}

/**
 * The overlap of a rehearsal: until the consumers have moved, or the overlap is over, whichever is
 * first; then they get the old key back, and the new one is deleted once it is quiet again. The old
 * key works all the time.
 */
export async function rehearse(ctx: StepContext, subject: Subject): Promise<StepResult> {
  const returnedAt = memoOf<Instant>(ctx, 'returnedAt')
  const listing = await lookAtUse(ctx, subject)
  if (returnedAt !== null) return putAway(ctx, subject, returnedAt, listing)
  const sick = await checkCurrent(ctx, subject)
  if (sick) return sick
  const since = memoOf<Instant>(ctx, 'activatedAt')!
  const now = ctx.life.clock.now()
  const end = addSeconds(since, memoOf<number>(ctx, 'overlapSeconds') ?? 0)
  const moves = await movesOf(ctx, subject, since)
  if (now < end && Object.values(moves).includes(null)) {
    return { go: 'wait', until: nextLook(since, now, end), memo: { moves } }
  }
  return giveBack(ctx, subject, moves)
}

async function movesOf(ctx: StepContext, subject: Subject, since: Instant): Promise<Moves> {
  const before = memoOf<Moves>(ctx, 'moves') ?? {}
  const promotion = await promotionOf(ctx, subject)
  const after = Math.round(secondsBetween(since, promotion.now))
  const consumers = consumersOf(subject.account)
  const states =
    consumers.length === 0
      ? [[anyone, moveOfAnyone(promotion)] as const]
      : consumers.map((c) => [c.name, moveOf(c, promotion)] as const)
  return Object.fromEntries(
    states.map(([name, state]) => [
      name,
      before[name] ?? (state === 'behind' ? null : { state, after }),
    ]),
  )
}

/** As a rollback, but nothing is broken: the new key goes on working for whoever has read it. */
async function giveBack(ctx: StepContext, subject: Subject, moves: Moves): Promise<StepResult> {
  const { sink, target, credential, keys, account } = subject
  const fresh = keys.find((k) => k.generation === credential.generation)!
  const old = keys.find((k) => k.generation === memoOf<number>(ctx, 'previousGeneration'))
  if (old?.sinkVersion == null || !(await isAccepted(ctx, subject, old))) {
    const message = `the old key ${old?.keyId ?? ''} cannot be given back; the new one ${fresh.keyId} stays until it can`
    return { go: 'retry', failure: { code: 'rollbackBlocked', message }, after: null }
  }
  const place = { ...target, generation: old.generation }
  const secretRef = await sink.promote(place, old.sinkVersion, fresh.sinkVersion, ctx.call())
  const now = ctx.life.clock.now()
  const restored: Credential = {
    ...credential,
    generation: old.generation,
    keyId: old.keyId,
    previousKeyId: null,
    fingerprint: old.fingerprint,
    secretRef,
    issuedAt: old.issuedAt,
    rotateAfter: rotateAfterOf(old.issuedAt, periodOf(ctx.life, account, credential)),
    grantedScopes: grantedAgain(ctx, subject),
  }
  return {
    go: 'wait',
    until: now,
    // Told now, not after the overlap that the rehearsed key still has.
    memo: {
      returnedAt: now,
      moves,
      rehearsed: fresh.generation,
      result: { moves, returnedAt: now },
    },
    changes: [
      putCredential(restored, now),
      { type: 'key', key: { ...old, status: 'active', activatedAt: now, supersededAt: null } },
      { type: 'key', key: { ...fresh, status: 'superseded', supersededAt: now } },
      audit(
        ctx,
        'key.givenBack',
        { type: 'credential', id: credential.id },
        { from: fresh.keyId, to: old.keyId, secretRef },
      ),
      ...tellConsumers(ctx.life, account, restored, ctx.operation),
    ],
  }
}

/** The rehearsed key ends as any old key does: after an overlap, and once nobody uses it. */
async function putAway(
  ctx: StepContext,
  subject: Subject,
  returnedAt: Instant,
  listing: Listing<ExternalCredential> | null,
): Promise<StepResult> {
  const { capabilities, provider, principal, sink, target, credential } = subject
  const key = subject.keys.find((k) => k.generation === memoOf<number>(ctx, 'rehearsed'))
  const now = ctx.life.clock.now()
  const overlapSeconds = memoOf<number>(ctx, 'overlapSeconds') ?? 0
  const end = addSeconds(returnedAt, overlapSeconds)
  if (key && key.deletedAt === null) {
    if (now < end) return { go: 'wait', until: nextLook(returnedAt, now, end) }
    const inUse = await usedUntil(ctx, key, listing, {
      quiet: overlapSeconds / quietShare,
      lag: capabilities.lastUsedLag,
    })
    if (inUse !== null && inUse > now) {
      const message = `the rehearsed key ${key.keyId} is still used; consumers have the old key back since ${returnedAt}, and it is deleted once it is quiet`
      const soon = earlier(addSeconds(inUse, 1), addSeconds(now, 3_600))
      return { go: 'wait', until: soon, failure: { code: 'oldKeyInUse', message } }
    }
    await revokeKey(ctx, { provider, capabilities, external: externalOf(principal) }, key)
    if (key.sinkVersion !== null) await sink.discard(target, key.sinkVersion, ctx.call())
  }
  const isNews = key !== undefined && key.deletedAt === null
  const about = { type: 'credential', id: credential.id }
  const result = { moves: memoOf<Moves>(ctx, 'moves') ?? {}, returnedAt }
  return {
    go: 'done',
    memo: { result },
    changes: [
      ...(key
        ? ([
            { type: 'key', key: { ...key, status: 'revoked', deletedAt: now, settledAt: now } },
            ...forget(capabilities, key),
          ] as const)
        : []),
      ...(isNews
        ? [audit(ctx, 'key.deleted', about, { keyId: key.keyId, generation: key.generation })]
        : []),
      audit(ctx, 'credential.rehearsed', about, result),
      // More was asked for meanwhile, which the rehearsed key had and the old one never did.
      ...(await catchUp(ctx, subject.account, credential)),
    ],
  }
}

/** Until when a key counts as in use; null when nobody was seen, or nobody can tell. */
async function usedUntil(
  ctx: StepContext,
  key: IssuedKey,
  listing: Listing<ExternalCredential> | null,
  { quiet, lag }: { readonly quiet: number; readonly lag: number },
): Promise<Instant | null> {
  const item = listing?.items.find((i) => i.keyId === key.keyId)
  const used = item?.lastUsedAt ?? null
  if (used === null || used <= (await oursUntil(ctx.life, key))) return null
  return addSeconds(used, seconds(quiet + lag))
}
