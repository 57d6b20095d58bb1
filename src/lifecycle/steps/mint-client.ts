import type { Issued } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import { waitForBrake } from './braked.ts'
import { ask, delivered, isKnown, recordMinted, sameKey, startOver, wanted } from './mint-record.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { externalOf } from './step.ts'
import type { Mint } from './strays.ts'

// We make the secret: store it first, then register the public part; repeating is harmless.

export async function mintClientMade(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  const { provider, sink, target } = subject
  if (!provider.prepare) throw new Error(`provider ${provider.name} cannot prepare a secret`)
  const prepared = provider.prepare(wanted(ctx, subject, mint))
  using secret = prepared.secret
  const version = await sink.deliver(target, secret, ctx.call(mint.key))
  const staged: Mint = {
    ...mint,
    version,
    publicPart: prepared.publicPart,
    fingerprint: prepared.fingerprint,
  }
  await ctx.checkpoint({ mint: staged }, [])
  return await register(ctx, subject, staged)
}

async function register(ctx: StepContext, subject: Subject, mint: Mint): Promise<StepResult> {
  let issued: Issued
  try {
    issued = await subject.provider.issue(
      externalOf(subject.principal),
      wanted(ctx, subject, mint),
      ctx.call(mint.key),
    )
  } catch (error) {
    // Registering is idempotent by its public part, so even an unknown outcome is simply repeated.
    if (error instanceof ProviderError && error.kind === 'conflict') {
      return ask(
        'foreignKey',
        `${subject.provider.name} says this key exists elsewhere: ${error.message}; retry to make a fresh one`,
      )
    }
    throw error
  }
  const minted: Mint = { ...mint, keyId: issued.keyId }
  if (isKnown(subject, minted)) return sameKey(ctx, subject, minted)
  await recordMinted(ctx, subject, minted, issued)
  return delivered(ctx, subject, minted)
}

export async function resumeClientMade(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  if (mint.publicPart !== null) {
    return (await waitForBrake(ctx, 'mint')) ?? register(ctx, subject, mint)
  }
  // Staged, perhaps, but never registered: nothing at the provider knows this secret.
  const version = await subject.sink.find(subject.target, mint.key, ctx.call())
  if (version !== null) await subject.sink.discard(subject.target, version, ctx.call())
  return startOver(ctx, subject, mint, null, null)
}
