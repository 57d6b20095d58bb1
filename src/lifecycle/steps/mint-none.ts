import { waitForBrake } from './braked.ts'
import { isKnown, recordMinted, sameKey, wanted } from './mint-record.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { externalOf } from './step.ts'
import type { Mint } from './strays.ts'

/**
 * There is no secret: what the provider makes works without one, so nothing is delivered. Repeating
 * is harmless, for the provider finds what it made by its marks.
 */
export async function makeWithoutSecret(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  const braked = await waitForBrake(ctx, 'mint')
  if (braked) return braked
  const issued = await subject.provider.issue(
    externalOf(subject.principal),
    wanted(ctx, subject, mint),
    ctx.call(mint.key),
  )
  if (issued.secret !== null) {
    issued.secret.dispose()
    throw new Error(`provider ${subject.provider.name} issued a secret that nobody was to see`)
  }
  const made: Mint = { ...mint, keyId: issued.keyId, fingerprint: issued.fingerprint }
  if (isKnown(subject, made)) return sameKey(ctx, subject, made)
  await recordMinted(ctx, subject, made, issued)
  return { go: 'next', memo: { mint: made } }
}
