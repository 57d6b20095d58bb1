import type { IssuedKey } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, formatDuration, later, seconds } from '../../domain/time.ts'
import { termsOf } from '../credential-terms.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, memoOf } from './step.ts'

/** A day for the default overlap of a week: consumers that cache for a day are seen once more. */
const quietShare = 7
const lookAgainSeconds = { least: 60, most: 3_600 }

/**
 * Whether consumers still use a key that a planned rotation replaced. It is retired when its last
 * use lies a seventh of the overlap back, and the provider's delay in telling more; at its maximum
 * age it is retired all the same. An overlap of nothing asks for no such proof.
 * @returns null when nothing speaks against retiring the old keys now
 */
export async function stillUsed(
  ctx: StepContext,
  subject: Subject,
  old: readonly IssuedKey[],
): Promise<StepResult | null> {
  const { life, operation } = ctx
  const { capabilities, provider } = subject
  const overlapSeconds = memoOf<number>(ctx, 'overlapSeconds') ?? 0
  if (!capabilities.canLastUsed || overlapSeconds === 0) return null
  const listing = await provider.list(externalOf(subject.principal), ctx.call())
  const listed = (key: IssuedKey) => listing.items.find((item) => item.keyId === key.keyId)
  if (!listing.complete || old.some((key) => listed(key)?.lastUsedUnknown)) {
    const message = `${provider.name} did not say when the old key was last used; it stays until that is known`
    return { go: 'retry', failure: { code: 'usageUnknown', message }, after: null }
  }
  const now = life.clock.now()
  const quiet = seconds(overlapSeconds / quietShare + capabilities.lastUsedLag)
  const used = old.flatMap((key) => {
    const at = listed(key)?.lastUsedAt ?? null
    // What was tried before the key was activated were our own probes.
    const byConsumers = at !== null && (key.activatedAt === null || at > key.activatedAt)
    return byConsumers && addSeconds(at, quiet) > now ? [{ key, at }] : []
  })
  const [first] = used
  if (!first) return null

  const noted = memoOf<string>(ctx, 'stillUsedSince')
  const ends = used.map(({ key }) => addSeconds(key.issuedAt, maxAgeOf(ctx, subject)))
  const latest = ends.reduce((a, b) => earlier(a, b))
  const facts = { keyId: first.key.keyId, lastUsedAt: first.at, endsAt: latest }
  const target = { type: 'credential', id: subject.credential.id }
  if (now >= latest) {
    await ctx.checkpoint({ stillUsedSince: null }, [
      audit(ctx, 'key.retiredInUse', target, { ...facts, operation: operation.id }),
    ])
    return null
  }
  const soon = addSeconds(now, Math.max(1, Math.min(lookAgainSeconds.most, quiet)))
  return {
    go: 'wait',
    until: earlier(latest, soon),
    memo: { stillUsedSince: noted ?? now },
    failure: {
      code: 'oldKeyInUse',
      message: `the old key ${first.key.keyId} was last used at ${first.at}; move its consumers: it is retired once it was quiet for ${formatDuration(quiet)}, at the latest at ${latest}`,
    },
    ...(noted === null ? { changes: [audit(ctx, 'key.stillUsed', target, facts)] } : {}),
  }
}

/** Frozen when the rotation was planned; operations planned by earlier versions ask the policy. */
function maxAgeOf(ctx: StepContext, { account, credential }: Subject): number {
  return (
    memoOf<number>(ctx, 'maxAgeSeconds') ?? termsOf(ctx.life, account, credential).rotation.maxAge
  )
}

/** Our own probes ran before activation, so any later use is a consumer's. */
export async function newKeyInUse(
  ctx: StepContext,
  subject: Subject,
  since: Instant,
): Promise<boolean> {
  if (!subject.capabilities.canLastUsed) return false
  const listing = await subject.provider.list(externalOf(subject.principal), ctx.call())
  const current = listing.items.find((item) => item.keyId === subject.credential.keyId)
  return current?.lastUsedAt != null && current.lastUsedAt > since
}

/** When to look again at something that began at `since`: soon at first, then rarer, daily at last. */
export function nextLook(since: Instant, now: Instant, end: Instant): Instant {
  const passed = (Date.parse(now) - Date.parse(since)) / 1_000
  const wait = Math.min(86_400, Math.max(lookAgainSeconds.least, passed))
  return later(now, earlier(end, addSeconds(now, wait)))
}
