import { anyone, consumersOf, movedAfter, mustReport } from '../../domain/consumer.ts'
import type { IssuedKey } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, formatDuration, later, seconds } from '../../domain/time.ts'
import type { ExternalCredential, Listing } from '../../provider/contract.ts'
import { termsOf } from '../credential-terms.ts'
import type { Promotion } from '../moved.ts'
import { behindOf } from '../moved.ts'
import { oursUntil } from '../uses.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, memoOf } from './step.ts'
import { goOn, keepWaiting } from './waiting.ts'

/** A day for the default overlap of a week: consumers that cache for a day are seen once more. */
export const quietShare = 7
const lookAgainSeconds = { least: 60 }

/** Asked for once a look, before we try the new key ourselves: that would hide an earlier use. */
export async function lookAtUse(
  ctx: StepContext,
  subject: Subject,
): Promise<Listing<ExternalCredential> | null> {
  const { provider, capabilities, principal, credential } = subject
  if (!capabilities.canLastUsed || memoOf<number>(ctx, 'overlapSeconds') === 0) return null
  const listing = await provider.list(externalOf(principal), ctx.call())
  const current = currentOf(subject)
  const used = listing.items.find((i) => i.keyId === credential.keyId)?.lastUsedAt ?? null
  if (!current || used === null || isNoted(ctx, current)) return listing
  if (used > (await oursUntil(ctx.life, current))) {
    await ctx.checkpoint({ newKeyUsed: current.generation }, [])
  }
  return listing
}

/**
 * Whether a planned rotation may retire the old keys: every declared consumer is known to have the
 * new one, and the old ones were quiet for a seventh of the overlap, for as long as a consumer may
 * go on with what it read, and the provider's delay in telling more. Docs: decisions/0018.
 * @returns null when nothing speaks against retiring the old keys now
 */
export async function stillUsed(
  ctx: StepContext,
  subject: Subject,
  old: readonly IssuedKey[],
  listing: Listing<ExternalCredential> | null,
): Promise<StepResult | null> {
  const { life } = ctx
  const { provider, account, credential } = subject
  const overlapSeconds = memoOf<number>(ctx, 'overlapSeconds') ?? 0
  const current = currentOf(subject)
  if (overlapSeconds === 0 || memoOf(ctx, 'isLease') === true || !current) return null
  const listed = (key: IssuedKey) => listing?.items.find((item) => item.keyId === key.keyId)
  if (listing && (!listing.complete || old.some((key) => listed(key)?.lastUsedUnknown))) {
    const message = `${provider.name} did not say when the old key was last used; it stays until that is known`
    return { go: 'retry', failure: { code: 'usageUnknown', message }, after: null }
  }
  // One that is off, or gone, serves nobody that a wait would help.
  const alive = old.filter((key) => key.status === 'superseded' && listed(key)?.active !== false)
  const standing = listing ? alive.filter((key) => listed(key)) : alive
  if (standing.length === 0) return goOn(ctx, old)

  const now = life.clock.now()
  const consumers = consumersOf(account)
  const promotion = await promotionOf(ctx, subject)
  const isWaived = promotion.reports.some(
    (r) => r.kind === 'waived' && r.consumer === anyone && r.generation >= current.generation,
  )
  if (isWaived) return goOn(ctx, old)

  const caches = consumers.map((c) => movedAfter(c) ?? 0)
  const quiet = seconds(Math.max(overlapSeconds / quietShare, ...caches) + promotion.lag)
  const used = standing.flatMap((key) => {
    const at = listed(key)?.lastUsedAt ?? null
    // What was tried before the key was activated were our own probes.
    const byConsumers = at !== null && (key.activatedAt === null || at > key.activatedAt)
    return byConsumers && addSeconds(at, quiet) > now ? [{ key, at }] : []
  })
  const behind = behindOf(consumers, promotion)
  if (used.length === 0 && behind.length === 0) return goOn(ctx, old)

  const { maxAge, atMaxAge } = termsOf(life, account, credential).rotation
  // Frozen when the rotation was planned; operations planned by earlier versions ask the policy.
  const longest = memoOf<number>(ctx, 'maxAgeSeconds') ?? maxAge
  const endsAt = standing.map((k) => addSeconds(k.issuedAt, longest)).reduce(earlier)
  const isOverage = now >= endsAt
  if (isOverage) {
    const lastUses = standing.map((k) => listed(k)?.lastUsedAt ?? k.activatedAt ?? k.issuedAt)
    const unusedSince = addSeconds(lastUses.reduce(later), longest)
    // Who holds the key in memory may need it once a year: then nobody was seen because nobody called.
    const isHeld = consumers.some((c) => mustReport(c) && behind.includes(c.name))
    const nobody = listing !== null && !promotion.newKeyUsed && unusedSince <= now && !isHeld
    if (atMaxAge === 'end' || nobody) {
      const facts = { keyId: standing[0]!.keyId, endsAt, behind, operation: ctx.operation.id }
      const target = { type: 'credential', id: credential.id }
      const action = used.length > 0 ? 'key.retiredInUse' : 'key.retiredUnseen'
      await ctx.checkpoint({ stillUsedSince: null }, [audit(ctx, action, target, facts)])
      return goOn(ctx, old)
    }
  }
  const [first] = used
  // Before the last use we know of is old enough nothing can come of a look.
  const lastUse = used.map(({ at }) => at).reduce(later, promotion.activatedAt)
  const quietAt = later(addSeconds(lastUse, quiet), addSeconds(now, lookAgainSeconds.least))
  return keepWaiting(ctx, subject, {
    key: first?.key ?? standing[0]!,
    lastUsedAt: first?.at ?? null,
    quietFor: formatDuration(quiet),
    behind,
    endsAt,
    isOverage,
    atMaxAge,
    lookAt: first && !isOverage ? quietAt : nextLook(promotion.activatedAt, now, null),
  })
}

/** By generation: an operation that frees a slot first looks at the key before its own. */
function isNoted(ctx: StepContext, { generation }: IssuedKey): boolean {
  return memoOf<number>(ctx, 'newKeyUsed') === generation
}

/** The promotion that consumers are to follow: that of the key which is served. */
export async function promotionOf(ctx: StepContext, subject: Subject): Promise<Promotion> {
  const { account, credential, capabilities } = subject
  const now = ctx.life.clock.now()
  const current = currentOf(subject)
  const reports = await ctx.life.store.read.consumerReports(account.tenant, account.id)
  return {
    generation: credential.generation,
    activatedAt: current?.activatedAt ?? now,
    now,
    lag: capabilities.canLastUsed ? capabilities.lastUsedLag : seconds(0),
    newKeyUsed: current !== null && isNoted(ctx, current),
    reports: reports.filter((r) => r.credential === credential.id),
  }
}

function currentOf({ keys, credential }: Subject): IssuedKey | null {
  return keys.find((k) => k.keyId === credential.keyId) ?? null
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
export function nextLook(since: Instant, now: Instant, end: Instant | null): Instant {
  const passed = (Date.parse(now) - Date.parse(since)) / 1_000
  const wait = Math.min(86_400, Math.max(lookAgainSeconds.least, passed))
  const next = addSeconds(now, wait)
  return later(now, end === null ? next : earlier(end, next))
}
