import { isOpen } from '../../domain/account.ts'
import type { IssuedKey } from '../../domain/credential.ts'
import { addSeconds } from '../../domain/time.ts'
import type { ExternalCredential, Issued, WantedCredential } from '../../provider/contract.ts'
import { ProviderError, shownVersion } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { NotNow } from '../bulkhead.ts'
import { expiryOf } from '../credentials.ts'
import { verdictOn } from '../offboard.ts'
import { waitForBrake, waitIfRestored } from './braked.ts'
import type { Step, StepContext, StepResult, Subject } from './step.ts'
import { Preempted, audit, externalOf, loadSubject, memoOf, putCredential } from './step.ts'
import type { Mint } from './strays.ts'
import {
  isJournalled,
  isOurStray,
  newcomers,
  removeInterrupted,
  settledAfter,
  strayKey,
  takeBack,
  unknownFingerprint,
} from './strays.ts'
import { retireSuperseded } from './supersede.ts'

/** Makes sure the account exists at the provider. The first effect of every minting operation. */
export const ensureAccount: Step = async (ctx) => {
  const { life, operation } = ctx
  const subject = await loadSubject(ctx, operation.subject)
  const { account, principal, provider } = subject
  const withheld = await withholds(ctx, subject)
  if (withheld) return withheld
  const ensured = await provider.ensurePrincipal(
    {
      tenant: account.tenant,
      account: account.id,
      userName: account.userName,
      operation: operation.id,
      kind: subject.credential.kind,
      external: principal?.external ?? null,
    },
    ctx.call(operation.id),
  )
  const restored = await waitIfRestored(ctx, provider.name, [ensured])
  if (restored) return restored
  if (principal?.state === 'off') await provider.turnOn(ensured.external, ctx.call())
  if (principal?.external === ensured.external && principal.state === 'live') return { go: 'next' }
  return {
    go: 'next',
    changes: [
      {
        type: 'principal',
        principal: {
          tenant: account.tenant,
          account: account.id,
          provider: provider.name,
          external: ensured.external,
          state: 'live',
          // Once made by us, always made by us: a second look finds it there already.
          created: ensured.created || principal?.created === true,
          updatedAt: life.clock.now(),
        },
      },
      audit(
        ctx,
        'principal.ensured',
        { type: 'account', id: account.id },
        {
          provider: provider.name,
          created: ensured.created,
        },
      ),
    ],
  }
}

/** How soon to look again whether a closing that is on its way has come, or the owner has. */
const withheldSeconds = 30

/**
 * Granting fails closed: the owner's row decides at this moment, before any fan-out has come here
 * (R60). The fan-out or the orphan sweep pre-empts what waits.
 */
async function withholds(ctx: StepContext, { account }: Subject): Promise<StepResult | null> {
  const isScheduled = memoOf<string>(ctx, 'reason') === 'scheduled'
  const braked = await waitForBrake(ctx, 'mint', ...(isScheduled ? (['rotate'] as const) : []))
  if (braked) return braked
  if (!isOpen(account.status) && account.status !== 'requested') {
    return ask('accountClosed', `the account is ${account.status}; enable it, then retry`)
  }
  const { decision } = await verdictOn(ctx.life, account)
  // Within its grace an empty group keeps what works and gets nothing new; so do those who are held.
  const { rule } = decision
  return decision.action === 'disable' || rule === 'groupGrace' || rule === 'held'
    ? { go: 'wait', until: addSeconds(ctx.life.clock.now(), withheldSeconds) }
    : null
}

/**
 * Mints one key and delivers it staged. One step with checkpoints, since the secret lives only in
 * memory: whatever a crash leaves behind is found again from the intent and removed, so no secret
 * has to be stored to survive one.
 */
export const issueAndDeliver: Step = async (ctx) => {
  const subject = await loadSubject(ctx, ctx.operation.subject)
  const mint = memoOf<Mint>(ctx, 'mint')
  if (mint === null) return begin(ctx, subject)
  if (mint.version !== null && mint.keyId !== null) return { go: 'next' }
  return subject.capabilities.mint === 'client'
    ? resumeClientMade(ctx, subject, mint)
    : resumeServerMade(ctx, subject, mint)
}

async function begin(ctx: StepContext, subject: Subject): Promise<StepResult> {
  const { life, operation } = ctx
  const { provider, capabilities, principal, credential } = subject
  const withheld = await withholds(ctx, subject)
  if (withheld) return withheld
  const listing = await provider.list(externalOf(principal), ctx.call())
  if (!listing.complete) return incomplete(provider.name)
  const restored = await waitIfRestored(ctx, provider.name, listing.items)
  if (restored) return restored

  const interrupted = await removeInterrupted(ctx, subject, listing.items)
  if (interrupted) return interrupted
  const journal = await life.store.read.keysOfAccount(operation.tenant, subject.account.id)
  const foreign = listing.items.filter((item) => !isJournalled(item, journal, provider.name))
  if (foreign.length > 0 && principal?.created === true && capabilities.mint === 'server') {
    return ask('foreignKey', foreignSentence(subject, foreign))
  }
  const deleted = new Set(journal.flatMap((k) => (k.deletedAt === null ? [] : [k.keyId])))
  // A list that lags still shows what was deleted a moment ago; that takes no slot.
  const slots = listing.items.filter((i) => i.kind === credential.kind && !deleted.has(i.keyId))
  if (capabilities.maxLive !== null && slots.length >= capabilities.maxLive) {
    const freed = await retireSuperseded(ctx, subject)
    if (freed) return freed
    return ask(
      'slotsFull',
      `${provider.name} allows ${capabilities.maxLive} keys and holds ${slots.map((s) => s.keyId).join(', ')}; delete one that is not needed, then retry`,
    )
  }
  // A full disk or a locked vault must show before a key exists, not after (R33).
  await subject.sink.check(subject.target, ctx.call())

  const mint: Mint = {
    generation: Math.max(credential.generation, ...subject.keys.map((k) => k.generation)) + 1,
    key: life.ids.next(),
    startedAt: life.clock.now(),
    lostAt: null,
    before: listing.items.map((item) => item.keyId),
    publicPart: null,
    fingerprint: null,
    keyId: null,
    version: null,
  }
  const changes: Change[] =
    credential.status === 'pending' || credential.status === 'failed'
      ? [putCredential({ ...credential, status: 'issuing', lastError: null }, life.clock.now())]
      : []
  await ctx.checkpoint({ mint }, changes)
  return capabilities.mint === 'client'
    ? mintClientMade(ctx, subject, mint)
    : mintServerMade(ctx, subject, mint)
}

// --- the provider makes the secret: mint, then store; an answer that is lost is compensated -----

async function mintServerMade(ctx: StepContext, subject: Subject, mint: Mint): Promise<StepResult> {
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
  if (isKnown(subject, minted)) return sameKey(ctx, subject, minted)
  await recordMinted(ctx, subject, minted)
  const version = await subject.sink.deliver(subject.target, secret, ctx.call(mint.key))
  return delivered(ctx, subject, { ...minted, version })
}

/**
 * After a crash or a lost answer. `keyId` known: only the delivery is in doubt, and the sink can
 * tell. `keyId` unknown: list, subtract what was there before and what is journalled; exactly one
 * newcomer on a principal that is ours alone is the stray. Absence counts only once it is older
 * than the provider's settle time, for a list right after a write proves nothing.
 */
async function resumeServerMade(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  const { life, operation } = ctx
  const { provider, principal, sink, target } = subject
  if (mint.keyId !== null) {
    const version = await sink.find(target, mint.key, ctx.call())
    if (version !== null) return delivered(ctx, subject, { ...mint, version })
    await provider.revoke(externalOf(principal), mint.keyId, ctx.call())
    return startOver(ctx, subject, mint, 'key.strayRemoved', mint.keyId)
  }
  const listing = await provider.list(externalOf(principal), ctx.call())
  if (!listing.complete) return incomplete(provider.name)
  const journal = await life.store.read.keysOfAccount(operation.tenant, subject.account.id)
  const candidates = newcomers(mint, listing.items, journal, provider.name)
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
  await recordMinted(ctx, subject, found)
  // Off first, then gone: should we be wrong after all, the audit names a key that failed softly.
  if (subject.capabilities.canDisable) {
    await provider.disable(externalOf(principal), stray!.keyId, ctx.call())
  }
  await provider.revoke(externalOf(principal), stray!.keyId, ctx.call())
  const keys = await life.store.read.keysOf(operation.tenant, subject.credential.id)
  return startOver(ctx, { ...subject, keys }, found, 'key.strayRemoved', stray!.keyId)
}

// --- we make the secret: store it first, then register the public part; repeating is harmless ----

async function mintClientMade(ctx: StepContext, subject: Subject, mint: Mint): Promise<StepResult> {
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
  return register(ctx, subject, staged)
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
  await recordMinted(ctx, subject, minted)
  return delivered(ctx, subject, minted)
}

async function resumeClientMade(
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

// --- shared ------------------------------------------------------------------------------------

function wanted(ctx: StepContext, subject: Subject, mint: Mint): WantedCredential {
  const { credential, account } = subject
  return {
    tenant: credential.tenant,
    account: account.id,
    credential: credential.id,
    kind: credential.kind,
    generation: mint.generation,
    scopes: credential.scopes,
    expiresAt: expiryOf(credential, account),
    operation: ctx.operation.id,
    publicPart: mint.publicPart,
  }
}

function isKnown({ keys }: Subject, mint: Mint): boolean {
  return keys.some((k) => k.keyId === mint.keyId && k.generation !== mint.generation)
}

/**
 * What the provider calls new is a key that we had. Going on would end the old key at last, and
 * with it the new one; giving up would delete it now. So the attempt is forgotten (R41).
 */
async function sameKey(ctx: StepContext, subject: Subject, mint: Mint): Promise<StepResult> {
  if (mint.version !== null) {
    await subject.sink.discard(subject.target, mint.version, ctx.call())
  }
  const message = `${subject.provider.name} answered with key ${mint.keyId}, which this credential had before: nothing was rotated; check the provider, then retry or cancel`
  return { ...ask('sameKey', message), memo: { mint: null } }
}

/**
 * Commits that a key exists. When a revocation took over while the call was in flight, the key row
 * is still written, without the fence, unless it was found by then: the revocation's later listing
 * then knows it as ours.
 */
async function recordMinted(ctx: StepContext, subject: Subject, mint: Mint): Promise<void> {
  const { life } = ctx
  const key: IssuedKey = {
    tenant: subject.credential.tenant,
    credential: subject.credential.id,
    account: subject.account.id,
    provider: subject.provider.name,
    generation: mint.generation,
    keyId: mint.keyId!,
    fingerprint: mint.fingerprint!,
    sinkVersion: mint.version,
    status: 'issuing',
    issuedAt: life.clock.now(),
    activatedAt: null,
    supersededAt: null,
    disabledAt: null,
    refusedAt: null,
    settledAt: null,
    outcome: null,
    deletedAt: null,
  }
  const changes: readonly Change[] = [
    { type: 'key', key },
    audit(
      ctx,
      'key.issued',
      { type: 'credential', id: key.credential },
      {
        provider: key.provider,
        keyId: key.keyId,
        generation: key.generation,
        fingerprint: key.fingerprint,
      },
    ),
  ]
  try {
    await ctx.checkpoint({ mint }, changes)
  } catch (error) {
    if (error instanceof Preempted) {
      if (await isUnheardOf(ctx, key)) await life.store.commit(changes)
      else await takeBack(ctx, subject, key.keyId)
    }
    throw error
  }
}

/**
 * Whether nobody else will find the key: its operation was cancelled, and its row is free. One that
 * another worker took over (this process stood still for longer than its lease) is resolved there;
 * written over what that one wrote, a key in use would look half made, and be removed.
 */
async function isUnheardOf(ctx: StepContext, key: IssuedKey): Promise<boolean> {
  const { read } = ctx.life.store
  const operation = await read.operation(ctx.operation.tenant, ctx.operation.id)
  if (operation?.status !== 'cancelled') return false
  const known = await read.keysOf(key.tenant, key.credential)
  return !known.some((k) => k.keyId === key.keyId || k.generation === key.generation)
}

async function delivered(ctx: StepContext, subject: Subject, mint: Mint): Promise<StepResult> {
  const keys = await ctx.life.store.read.keysOf(ctx.operation.tenant, subject.credential.id)
  const key = keys.find((k) => k.generation === mint.generation)
  return {
    go: 'next',
    memo: { mint },
    changes: [
      ...(key ? [{ type: 'key', key: { ...key, sinkVersion: mint.version } } as const] : []),
      audit(
        ctx,
        'key.delivered',
        { type: 'credential', id: subject.credential.id },
        {
          sink: subject.sink.name,
          path: subject.target.path,
          version: mint.version === null ? null : shownVersion(mint.version),
          generation: mint.generation,
        },
      ),
    ],
  }
}

/**
 * Forgets the attempt; the next run of the step begins afresh, with a new generation. Failures go
 * on counting: a sink that refuses every delivery must not mint and delete keys for ever.
 */
async function startOver(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
  action: string | null,
  keyId: string | null,
): Promise<StepResult> {
  const now = ctx.life.clock.now()
  const key = subject.keys.find((k) => k.generation === mint.generation)
  const changes: Change[] = []
  if (key)
    changes.push({
      type: 'key',
      key: { ...key, status: 'failed', disabledAt: now, deletedAt: now },
    })
  else if (keyId !== null) {
    const of = { credential: subject.credential.id, principal: subject.principal! }
    changes.push({ type: 'key', key: strayKey(of, mint, keyId, now) })
  }
  if (action) {
    changes.push(
      audit(
        ctx,
        action,
        { type: 'credential', id: subject.credential.id },
        {
          provider: subject.provider.name,
          keyId,
          generation: mint.generation,
        },
      ),
    )
  }
  return { go: 'wait', until: now, memo: { mint: null }, changes, sameAttempt: true }
}

/** A refusal that surely had no effect clears the intent; anything else keeps it for list-and-diff. */
async function afterFailedIssue(ctx: StepContext, mint: Mint, error: unknown): Promise<StepResult> {
  // What was turned away here was never sent: there is nothing to look for, or to wait for.
  const hadNoEffect =
    error instanceof NotNow || (error instanceof ProviderError && error.outcome === 'notApplied')
  await ctx.checkpoint({ mint: hadNoEffect ? null : { ...mint, lostAt: ctx.life.clock.now() } }, [])
  throw error
}

function incomplete(provider: string): StepResult {
  return {
    go: 'retry',
    failure: {
      code: 'listingIncomplete',
      message: `the listing of ${provider} was incomplete; nothing is decided from it`,
    },
    after: null,
  }
}

function ask(code: string, message: string): StepResult {
  return { go: 'ask', failure: { code, message } }
}

function foreignSentence(subject: Subject, keys: readonly ExternalCredential[]): string {
  const ids = keys.map((k) => k.keyId).join(', ')
  return `${subject.provider.name} holds key(s) on this account that Custody cannot prove to be its own: ${ids}; decide whether to delete them there, then retry`
}
