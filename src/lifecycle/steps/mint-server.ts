import type { Issued } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import { NotNow } from '../bulkhead.ts'
import {
  ask,
  delivered,
  foreignSentence,
  incomplete,
  isKnown,
  recordMinted,
  sameKey,
  startOver,
  wanted,
} from './mint-record.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { externalOf } from './step.ts'
import type { Mint } from './strays.ts'
import { removeHalfMade } from './verify.ts'
import { isOurStray, newcomers, noteExposed, settledAfter, unknownFingerprint } from './strays.ts'

// The provider makes the secret: mint, then store; an answer that is lost is compensated.

/** Of a key whose answer was lost nobody has the secret. */
const unseen = { secret: null, expiresAt: null }

export async function mintServerMade(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  let issued: Issued
  try {
    issued = await subject.provider.issue(
      externalOf(subject.principal),
      wanted(ctx, subject, mint),
      ctx.call(mint.key),
    )
  } catch (error) {
    return afterFailedIssue(ctx, mint, error)
  }
  if (issued.secret === null) throw new Error(`provider ${subject.provider.name} issued no secret`)
  using secret = issued.secret
  const minted: Mint = { ...mint, keyId: issued.keyId, fingerprint: issued.fingerprint }
  if (isKnown(subject, minted)) return await sameKey(ctx, subject, minted)
  await recordMinted(ctx, subject, minted, issued)
  const version = await subject.sink.deliver(subject.target, secret, ctx.call(mint.key))
  return await delivered(ctx, subject, { ...minted, version })
}

/**
 * After a crash or a lost answer. `keyId` known: only the delivery is in doubt, and the sink can
 * tell. `keyId` unknown: list, subtract what was there before and what is journalled; exactly one
 * newcomer on a principal that is ours alone is the stray. Absence counts only once it is older
 * than the provider's settle time, for a list right after a write proves nothing.
 */
export async function resumeServerMade(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  const { life, operation } = ctx
  const { provider, principal, sink, target } = subject
  if (mint.keyId !== null) {
    const version = await sink.find(target, mint.key, ctx.call())
    if (version !== null) return delivered(ctx, subject, { ...mint, version })
    const key = subject.keys.find((k) => k.generation === mint.generation)
    if (key?.status === 'issuing') {
      const changes = await removeHalfMade(ctx, subject, key)
      return {
        go: 'wait',
        until: life.clock.now(),
        memo: { mint: null },
        changes,
        sameAttempt: true,
      }
    }
    return startOver(ctx, subject, mint, null, mint.keyId)
  }
  if (!subject.capabilities.canList) {
    const { capabilities, credential } = subject
    await noteExposed(ctx, { capabilities, credential, mint, operation: operation.id })
    return startOver(ctx, subject, mint, null, null)
  }
  const listing = await provider.list(externalOf(principal), ctx.call())
  if (!listing.complete) return incomplete(provider.name)
  const journal = await life.store.read.keysOfAccount(operation.tenant, subject.account.id)
  const candidates = newcomers(mint, listing.items, journal, subject.credential)
  if (candidates.length === 0) {
    const settled = settledAfter(mint, subject.capabilities.settleMax)
    if (life.clock.now() < settled) return { go: 'wait', until: settled }
    return startOver(ctx, subject, mint, null, null)
  }
  const [stray] = candidates
  if (candidates.length > 1 || !isOurStray(stray!, mint, principal)) {
    return ask('foreignKey', foreignSentence(subject, candidates))
  }
  // In the journal before it is removed: the answer to that may be lost as well, and then nothing
  // would tell any more that the key ever was.
  const found: Mint = { ...mint, keyId: stray!.keyId, fingerprint: unknownFingerprint }
  await recordMinted(ctx, subject, found, unseen)
  // Off first, then gone: should we be wrong after all, the audit names a key that failed softly.
  if (subject.capabilities.canDisable) {
    await provider.disable(externalOf(principal), stray!.keyId, ctx.call())
  }
  await provider.revoke(externalOf(principal), stray!.keyId, ctx.call())
  const keys = await life.store.read.keysOf(operation.tenant, subject.credential.id)
  return startOver(ctx, { ...subject, keys }, found, 'key.strayRemoved', stray!.keyId)
}

/** A refusal that surely had no effect clears the intent; anything else keeps it for list-and-diff. */
async function afterFailedIssue(ctx: StepContext, mint: Mint, error: unknown): Promise<StepResult> {
  // What was turned away here was never sent: there is nothing to look for, or to wait for.
  const hadNoEffect =
    error instanceof NotNow || (error instanceof ProviderError && error.outcome === 'notApplied')
  await ctx.checkpoint({ mint: hadNoEffect ? null : { ...mint, lostAt: ctx.life.clock.now() } }, [])
  throw error
}
