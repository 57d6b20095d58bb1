import type { Credential, IssuedKey, Principal } from '../../domain/credential.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { Secret } from '../../domain/secret.ts'
import type { Operation } from '../../domain/operation.ts'
import type { Instant, Seconds } from '../../domain/time.ts'
import { addSeconds, later, seconds, secondsBetween, timeoutOf } from '../../domain/time.ts'
import type { Call, ExternalCredential, KindCapabilities } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { leaseEnd } from './held.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, memoOf } from './step.ts'
import { removeHalfMade } from './verify.ts'

/** Provider clocks may differ from ours by this much when we ask "was this key made after our intent?" */
const clockSkewSeconds = 30

/**
 * What is known of one minting attempt; committed before the call (intent) and after it (result).
 * `keyId` null after a crash means: the key may or may not exist.
 */
export interface Mint extends JsonObject {
  readonly generation: number
  /** Idempotency token of this attempt, for provider and sink alike. */
  readonly key: string
  readonly startedAt: Instant
  /** When the call ended without an answer: up to then it may have had its effect. */
  readonly lostAt: Instant | null
  /** Keys on the principal before the call: what is new afterwards may be ours. */
  readonly before: readonly string[]
  /** What the key is to reach; absent in attempts of earlier versions. */
  readonly scopes?: readonly string[]
  readonly publicPart: string | null
  readonly fingerprint: string | null
  readonly keyId: string | null
  readonly version: string | null
}

export function isJournalled(
  item: ExternalCredential,
  journal: readonly IssuedKey[],
  provider: string,
): boolean {
  return journal.some((k) => k.provider === provider && k.keyId === item.keyId)
}

/** What appeared on the principal since the intent and stands in no journal. */
export function newcomers(
  mint: Mint,
  listed: readonly ExternalCredential[],
  journal: readonly IssuedKey[],
  { provider, kind }: Pick<Credential, 'provider' | 'kind'>,
): readonly ExternalCredential[] {
  return listed.filter(
    (item) =>
      item.kind === kind &&
      !mint.before.includes(item.keyId) &&
      !isJournalled(item, journal, provider),
  )
}

/** No call of ours is on its way longer than a lease, so no later key can be what it made. */
const effectSeconds = seconds(60)

/**
 * Ours only on a principal that Custody made, and only when it was made while the call of the intent
 * may have been on its way: what somebody made by hand later is not.
 * @param landed as of `settledAfter`
 */
export function isOurStray(
  item: ExternalCredential,
  mint: Mint,
  principal: Principal | null,
  landed: Instant | null = null,
): boolean {
  if (principal?.created !== true) return false
  if (item.createdAt === null) return true
  const last = later(
    addSeconds(mint.startedAt, effectSeconds),
    settledAfter(mint, seconds(0), landed),
  )
  return (
    secondsBetween(mint.startedAt, item.createdAt) >= -clockSkewSeconds &&
    secondsBetween(last, item.createdAt) <= clockSkewSeconds
  )
}

/**
 * From when on a list that shows nothing new proves that nothing was made. A lag counts from the
 * effect: a call that hung may have had it at its very end, and one whose end nobody saw, for its
 * process died, as late as any call may. A list that never lags needs no such patience.
 * @param landed of a pre-empted attempt: when its call was known to be over, or its lease was
 */
export function settledAfter(mint: Mint, settle: Seconds, landed: Instant | null = null): Instant {
  const { startedAt, lostAt } = mint
  const latest = settle > 0 ? addSeconds(startedAt, effectSeconds) : startedAt
  const over =
    lostAt === null && landed === null ? latest : later(lostAt ?? startedAt, landed ?? startedAt)
  return addSeconds(over, settle)
}

/** Minting attempts that a pre-emption cut off before their outcome was known. */
export async function openIntents(
  ctx: StepContext,
  of: { readonly subject?: string; readonly account: Operation['account'] },
): Promise<readonly { readonly operation: Operation; readonly mint: Mint }[]> {
  const cancelled = await ctx.life.store.read.operations({
    tenant: ctx.operation.tenant,
    ...(of.subject === undefined ? { account: of.account! } : { subject: of.subject }),
    status: 'cancelled',
    after: null,
    limit: 200,
  })
  return cancelled.flatMap((operation) => {
    const mint = operation.memo['mint'] as Mint | null | undefined
    return mint && mint.keyId === null ? [{ operation, mint }] : []
  })
}

/**
 * Before a new attempt, removes what an earlier, pre-empted one left: a key that was journalled but
 * never became active, and a key whose answer nobody waited for. Waits while that call may still land.
 * @returns null when nothing is left over
 */
export async function removeInterrupted(
  ctx: StepContext,
  subject: Subject,
  listed: readonly ExternalCredential[],
): Promise<StepResult | null> {
  const { life, operation } = ctx
  const { provider, principal, credential } = subject
  const now = life.clock.now()
  const halfMade = subject.keys.find((k) => k.status === 'issuing')
  if (halfMade) {
    return { go: 'wait', until: now, changes: await removeHalfMade(ctx, subject, halfMade) }
  }
  const { capabilities } = subject
  const open = await openIntents(ctx, { subject: credential.id, account: null })
  // Of a secret that we made ourselves, nothing was sent before its public part was written down.
  const intents = open.filter(
    ({ mint }) => capabilities.mint === 'server' || mint.publicPart !== null,
  )
  if (!capabilities.canList) {
    for (const { operation: cut, mint } of intents) {
      await noteExposed(ctx, { capabilities, credential, mint, operation: cut.id })
    }
    return null
  }
  const journal = await life.store.read.keysOfAccount(operation.tenant, subject.account.id)
  for (const { operation: cut, mint } of intents) {
    const candidates = newcomers(mint, listed, journal, credential).filter(
      (item) => capabilities.mint === 'server' || item.fingerprint === mint.fingerprint,
    )
    const settled = settledAfter(mint, subject.capabilities.settleMax, cut.leaseUntil)
    if (candidates.length === 0 && now < settled) return { go: 'wait', until: settled }
    const [stray] = candidates
    const isOurs = (item: ExternalCredential): boolean =>
      capabilities.mint === 'client' || isOurStray(item, mint, principal, cut.leaseUntil)
    if (candidates.length === 1 && stray && isOurs(stray)) {
      await provider.revoke(externalOf(principal), stray.keyId, ctx.call())
      if (capabilities.mint === 'client') await discardStaged(ctx, subject, mint)
      // The cut-off attempt may share its number with a later key, so this one takes a fresh one.
      const generation = Math.max(mint.generation, ...subject.keys.map((k) => k.generation + 1))
      return {
        go: 'wait',
        until: now,
        changes: [
          {
            type: 'key',
            key: strayKey(
              { credential: credential.id, principal: principal! },
              { ...mint, generation },
              stray.keyId,
              now,
            ),
          },
          removed(ctx, subject, stray.keyId),
        ],
      }
    }
  }
  return null
}

/**
 * Before an operation ends in failure: an attempt whose answer never came may have made a key, and
 * nobody would look for it later. It is looked for here, and removed.
 * @returns what has to happen first; null when no attempt is open, or nothing came of it
 */
export async function removeUnanswered(
  ctx: StepContext,
  subject: Subject,
): Promise<StepResult | null> {
  const { life, operation } = ctx
  const { provider, principal, credential, capabilities } = subject
  const mint = memoOf<Mint>(ctx, 'mint')
  const wasSent = mint !== null && (capabilities.mint === 'server' || mint.publicPart !== null)
  if (!wasSent || mint.keyId !== null) return null
  if (!capabilities.canList) {
    await noteExposed(ctx, { capabilities, credential, mint, operation: operation.id })
    return null
  }
  const notYet = (message: string, after: Seconds | null): StepResult => ({
    go: 'retry',
    failure: { code: 'outcomeUnknown', message },
    after,
  })
  const listing = await provider.list(externalOf(principal), ctx.call())
  if (!listing.complete) {
    return notYet(`the listing of ${provider.name} was incomplete: a key may have been made`, null)
  }
  const journal = await life.store.read.keysOfAccount(operation.tenant, subject.account.id)
  const candidates = newcomers(mint, listing.items, journal, credential)
  const ours =
    capabilities.mint === 'client'
      ? candidates.filter((item) => item.fingerprint === mint.fingerprint)
      : candidates.filter((item) => isOurStray(item, mint, principal))
  const [stray] = ours
  if (stray === undefined) {
    const settled = settledAfter(mint, capabilities.settleMax)
    const wait = secondsBetween(life.clock.now(), settled)
    if (wait > 0) return notYet(`${provider.name} may still show a new key`, seconds(wait))
    await discardStaged(ctx, subject, mint)
    return null
  }
  if (ours.length > 1) {
    const ids = ours.map((item) => item.keyId).join(', ')
    return {
      go: 'ask',
      failure: {
        code: 'foreignKey',
        message: `${provider.name} holds ${ids}, and one of them at most is Custody's; decide which to delete there, then retry`,
      },
    }
  }
  await provider.revoke(externalOf(principal), stray.keyId, ctx.call())
  await discardStaged(ctx, subject, mint)
  const of = { credential: credential.id, principal: principal! }
  return {
    go: 'wait',
    until: life.clock.now(),
    memo: { mint: null },
    changes: [
      { type: 'key', key: strayKey(of, mint, stray.keyId, life.clock.now()) },
      removed(ctx, subject, stray.keyId),
    ],
    sameAttempt: true,
  }
}

/**
 * A key may have been made whose answer was lost, and no listing would show it: nobody can find it,
 * or end it, before its lease does. Told once, with its last moment.
 */
export async function noteExposed(
  ctx: StepContext,
  of: {
    readonly capabilities: KindCapabilities
    readonly credential: Credential
    readonly mint: Mint
    readonly operation: string
  },
): Promise<void> {
  const { capabilities, credential, mint, operation } = of
  const { tenant } = ctx.operation
  const told = { target: credential.id, action: 'key.exposed', after: null, limit: 200 }
  const rows = await ctx.life.store.read.audit(tenant, told)
  // Whoever comes by this attempt later (a second switch-off, a deletion) finds it told already.
  if (rows.some(({ facts }) => facts['attempt'] === mint.key)) return
  const latest = mint.lostAt ?? addSeconds(mint.startedAt, effectSeconds)
  const until = leaseEnd(capabilities, latest)
  const target = { type: 'credential', id: credential.id }
  const { provider } = credential
  const facts = { provider, generation: mint.generation, operation, attempt: mint.key, until }
  await ctx.checkpoint({}, [audit(ctx, 'key.exposed', target, facts)])
}

/** A process that stood still is given this long to remove what it made meanwhile. */
const takeBackSeconds = 20

/**
 * Removes a key that a process made although its claim had passed on: it stood still between its
 * last look at the fence and the send, for longer than the new owner waits for late effects. Nobody
 * else knows the key, nobody has its secret, and the answer in our hands says that it is ours. A key
 * made of a secret of our own is the one that the new owner makes, too.
 */
export async function takeBack(
  ctx: StepContext,
  subject: Subject,
  keyId: string,
  secret: Secret | null,
): Promise<void> {
  const { life, operation } = ctx
  const { capabilities, provider, principal, account } = subject
  if (capabilities.mint !== 'server') return
  const journal = await life.store.read.keysOfAccount(operation.tenant, account.id)
  if (journal.some((key) => key.provider === provider.name && key.keyId === keyId)) return
  const call: Call = {
    key: life.ids.next(),
    operation: operation.id,
    // The lease is over, and with it the time of every call of this claim.
    signal: timeoutOf(life.clock, takeBackSeconds * 1_000),
    fence: () => Promise.resolve(true),
  }
  await provider.revoke(
    externalOf(principal),
    keyId,
    call,
    capabilities.keepsSecret ? secret : null,
  )
  await life.store.commit([removed(ctx, subject, keyId)])
}

/** Of a secret that we made ourselves the sink has a version before the provider has a key. */
async function discardStaged(ctx: StepContext, subject: Subject, mint: Mint): Promise<void> {
  if (mint.version !== null) await subject.sink.discard(subject.target, mint.version, ctx.call())
}

/** Of a key whose secret nobody of us has seen. */
export const unknownFingerprint = 'unknown'

/**
 * The journal's line for a key whose answer we never heard and that we have deleted. Without it a
 * list that still shows the key would make it look like somebody else's.
 */
export function strayKey(
  of: { readonly credential: IssuedKey['credential']; readonly principal: Principal },
  mint: Mint,
  keyId: string,
  now: Instant,
): IssuedKey {
  return {
    tenant: of.principal.tenant,
    credential: of.credential,
    account: of.principal.account,
    provider: of.principal.provider,
    generation: mint.generation,
    keyId,
    fingerprint: unknownFingerprint,
    sinkVersion: null,
    status: 'failed',
    issuedAt: mint.startedAt,
    activatedAt: null,
    supersededAt: null,
    disabledAt: now,
    refusedAt: null,
    settledAt: null,
    outcome: null,
    deletedAt: now,
  }
}

function removed(ctx: StepContext, subject: Subject, keyId: string): Change {
  return audit(
    ctx,
    'key.strayRemoved',
    { type: 'credential', id: subject.credential.id },
    {
      provider: subject.provider.name,
      keyId,
    },
  )
}
