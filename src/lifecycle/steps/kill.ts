import type { StatusReason } from '../../domain/account.ts'
import type { Credential, IssuedKey } from '../../domain/credential.ts'
import type { Operation } from '../../domain/operation.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, later, seconds } from '../../domain/time.ts'
import type { KindCapabilities } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { planOperation } from '../context.ts'
import { termsOf } from '../credential-terms.ts'
import type { Doomed } from './doomed.ts'
import {
  alive,
  closed,
  doomedKeys,
  forEachIsolated,
  notConfigured,
  subjectCredentials,
  unproven,
} from './doomed.ts'
import type { KeyPlace } from './proof.ts'
import { isByHand, onlyByHand, stillThere, withdrawAsked } from './by-hand.ts'
import { negativeProbes, switchOff, tryKey } from './proof.ts'
import type { Step, StepContext, StepResult } from './step.ts'
import {
  NotConfigured,
  Preempted,
  audit,
  externalOf,
  loadAccount,
  putAccount,
  putCredential,
} from './step.ts'
import {
  isOurStray,
  newcomers,
  noteExposed,
  openIntents,
  settledAfter,
  strayKey,
} from './strays.ts'

/** First the whole principal: whatever key exists, also one we do not know of yet, is denied (R83). */
export const shutOff: Step = async (ctx) => {
  try {
    await shutOffPrincipals(ctx)
  } catch (error) {
    // A provider that refuses this must not keep the keys alive, at others least of all: the keys
    // come first now, and `settle` does not end before the principal is off too (R30).
    if (error instanceof Preempted) throw error
  }
  return { go: 'next' }
}

async function shutOffPrincipals(ctx: StepContext): Promise<void> {
  const { life, operation } = ctx
  const principals = await life.store.read.principalsOf(operation.tenant, operation.account!)
  await forEachIsolated(principals, async (principal) => {
    // Also where the row says "off" (a switching on that was cut off may have taken effect), but
    // once per operation: `settle` comes by again and again.
    const done = (ctx.operation.memo['shutOff'] as readonly string[] | undefined) ?? []
    if (principal.state === 'absent' || principal.external === null) return
    if (done.includes(principal.provider)) return
    const provider = life.providers.get(principal.provider)
    if (!provider) throw new NotConfigured(notConfigured(principal.provider))
    await provider.shutOff(externalOf(principal), ctx.call())
    await ctx.checkpoint({ shutOff: [...done, principal.provider] }, [
      { type: 'principal', principal: { ...principal, state: 'off', updatedAt: life.clock.now() } },
      audit(
        ctx,
        'principal.shutOff',
        { type: 'account', id: principal.account },
        { provider: principal.provider },
      ),
    ])
  })
}

/** Then each key; all are tried before the first failure is reported. */
export const disableKeys: Step = async (ctx) => {
  try {
    await forEachIsolated(await doomedKeys(ctx), async (doomed) => {
      if (!alive(doomed.key)) return
      const off = await switchOff(ctx, doomed.place(), doomed.key)
      await ctx.checkpoint({}, off.changes)
    })
  } catch (error) {
    if (error instanceof Preempted) throw error
    // The proof of the keys that are off does not wait for the one that is not.
    await proveDead(ctx).catch((cause: unknown) => {
      if (cause instanceof Preempted) throw cause
    })
    throw error
  }
  return { go: 'next', changes: announce(ctx, await doomedKeys(ctx)) }
}

/** Each switched-off key is tried until it is refused; there is no end to this but an answer. */
export const proveDead: Step = async (ctx) => {
  const stillAlive: IssuedKey[] = []
  let asked: StepResult | null = null
  let waitSeconds: number | null = null
  const leaseEnds: Instant[] = []
  const doomed = await doomedKeys(ctx)
  await forEachIsolated(doomed, async ({ key, place }) => {
    if (!unproven(key)) return
    const at = place()
    const answer = await tryKey(ctx, at, key)
    if (answer !== 'listingIncomplete' && !answer.dead && answer.endsAt) {
      leaseEnds.push(answer.endsAt)
      return
    }
    if (answer === 'listingIncomplete' || !answer.dead) {
      // Half a listing shows nothing of it, so it tells nothing of what somebody did.
      const wait = answer === 'listingIncomplete' ? null : await stillThere(ctx, at, key)
      if (wait === null) stillAlive.push(key)
      // Whatever comes first: each is looked at again then.
      else if (asked === null || untilOf(wait) < untilOf(asked)) asked = wait
      return
    }
    if (onlyByHand(at.capabilities)) await withdrawAsked(ctx, key)
    const counter = `refusals-${key.keyId}`
    const refusals = ((ctx.operation.memo[counter] as number | undefined) ?? 0) + 1
    const enough = answer.outcome !== 'refused' || refusals >= at.capabilities.probe.count
    const refusedAt = answer.outcome === 'refused' ? (key.refusedAt ?? answer.at) : key.refusedAt
    const proven: IssuedKey = {
      ...key,
      // By hand it ended when somebody did it, not when they were asked.
      disabledAt: isByHand(at.capabilities) ? answer.at : key.disabledAt,
      refusedAt,
      settledAt: answer.outcome === 'absent' ? answer.at : key.settledAt,
      outcome: enough ? answer.outcome : null,
    }
    await ctx.checkpoint({ [counter]: enough ? null : refusals }, [
      { type: 'key', key: proven },
      ...(enough ? [proofAudit(ctx, proven, refusals)] : []),
    ])
    if (!enough) waitSeconds = Math.max(waitSeconds ?? 0, at.capabilities.probe.every)
  })
  const [first] = stillAlive
  if (first) {
    const message = `key ${first.keyId} at ${first.provider} was switched off but is not refused yet; it is tried until it is`
    const changes = announce(ctx, await doomedKeys(ctx))
    return { go: 'retry', failure: { code: 'revokeBlocked', message }, after: null, changes }
  }
  if (waitSeconds !== null) {
    const changes = announce(ctx, await doomedKeys(ctx))
    return { go: 'wait', until: addSeconds(ctx.life.clock.now(), waitSeconds), changes }
  }
  if (asked !== null) return asked
  return leaseEnds.length === 0 ? { go: 'next' } : waitForLease(leaseEnds.reduce(earlier))
}

/**
 * Tells which keys the next step is going to try although they should be dead, so that whoever
 * watches for stolen keys can tell these tries from theft. In the commit that the step before ends
 * with: written before the tries, and costs none.
 */
function announce(ctx: StepContext, doomed: readonly Doomed[]): readonly Change[] {
  const { operation } = ctx
  const keys = doomed.flatMap(({ key, place }) =>
    unproven(key) && place().capabilities.canProbe ? [key] : [],
  )
  return keys.length === 0 ? [] : [negativeProbes(ctx, keys, operation)]
}

/** Nothing can be done but wait: what nobody can end any more ends with its lease. */
function waitForLease(until: Instant): StepResult {
  const message = `a key whose secret is lost works until its lease ends at ${until}; nobody can end it sooner, short of suspending the provider`
  return { go: 'wait', until, failure: { code: 'leaseRunning', message } }
}

function untilOf(wait: StepResult): string {
  return wait.go === 'wait' ? wait.until : ''
}

function proofAudit(ctx: StepContext, key: IssuedKey, tries: number): Change {
  return audit(
    ctx,
    `key.${key.outcome}`,
    { type: 'credential', id: key.credential },
    {
      provider: key.provider,
      keyId: key.keyId,
      generation: key.generation,
      tries,
    },
  )
}

/**
 * Looks again once every call that may still have been in flight has landed, disables a key that
 * arrived late, and only then gives account and credentials their final word.
 */
export const settle: Step = async (ctx) => {
  const { life, operation } = ctx
  if (operation.steps.includes('shut-off')) await shutOffPrincipals(ctx)
  const doomed = await doomedKeys(ctx)
  // Read once: two readings a millisecond apart would make "until now" lie in the future for ever.
  const now = life.clock.now()
  const until = await settledAt(ctx, doomed, now)
  if (now < until) return { go: 'wait', until }

  if (doomed.some((d) => alive(d.key)) || (await disableStrays(ctx))) return backToDisabling(ctx)
  const seen = await listAgain(ctx, doomed)
  if (seen !== 'clean') return seen
  const settled = doomed
    .filter((d) => d.key.status === 'disabled')
    .map((d): IssuedKey => ({ ...d.key, settledAt: now }))
  const finish = operation.subjectType === 'credential' ? [] : await finishAccount(ctx, settled)
  return {
    go: 'next',
    changes: [...settled.map((key): Change => ({ type: 'key', key })), ...finish],
  }
}

/** Other credentials' newcomers are their own operations' to find. */
function intentsBelow({ subjectType, subject, account }: Operation) {
  return subjectType === 'credential' ? { subject, account } : { account }
}

/**
 * When a listing can be trusted: our own writes and those of cancelled calls have settled, and no
 * such call is in flight.
 */
async function settledAt(
  ctx: StepContext,
  doomed: readonly Doomed[],
  now: Instant,
): Promise<Instant> {
  const { life, operation } = ctx
  const inFlight = await life.store.read.inFlightUntil(operation.tenant, operation.account!, now)
  // Looked at every second: a live worker lets go as soon as its call has landed, a dead one's lease lapses.
  let until = inFlight === null ? now : earlier(inFlight, addSeconds(now, 1))
  for (const { key, place } of doomed) {
    if (key.status !== 'disabled' || key.disabledAt === null) continue
    until = later(until, addSeconds(key.disabledAt, lagOf(place().capabilities)))
  }
  for (const { operation: cut, mint } of await openIntents(ctx, intentsBelow(operation))) {
    const { capabilities = {} } = life.providers.get(cut.provider ?? '') ?? {}
    // Of the kind that was being minted: another kind of the same provider may take far longer.
    const credential = await life.store.read.credential(cut.tenant, cut.subject)
    const minted = credential && capabilities[credential.kind]
    const kinds = minted ? [minted] : Object.values(capabilities)
    const settle = Math.max(0, ...kinds.map(lagOf))
    until = later(until, settledAfter(mint, seconds(settle), cut.leaseUntil))
  }
  return until
}

/** What no listing shows is not looked for a second time: there is nothing to wait for. */
const lagOf = ({ canList, settleMax }: KindCapabilities): number => (canList ? settleMax : 0)

/** A list that shows one of our dead keys alive sends us back to the start: somebody re-armed it. */
async function listAgain(
  ctx: StepContext,
  doomed: readonly Doomed[],
): Promise<StepResult | 'clean'> {
  const places = new Map<string, KeyPlace>()
  for (const { key, place } of doomed) {
    if (key.status !== 'disabled' || !place().capabilities.canList) continue
    places.set(`${key.provider} ${place().external}`, place())
  }
  for (const { provider, external } of places.values()) {
    const listing = await provider.list(external, ctx.call())
    if (!listing.complete) {
      // Nothing is derived from half a listing; what was refused stays refused.
      const message = `the second listing of ${provider.name} was incomplete`
      return { go: 'retry', failure: { code: 'listingIncomplete', message }, after: null }
    }
    const armed = new Set(listing.items.filter((item) => item.active).map((item) => item.keyId))
    const rearmed = doomed.find((d) => d.key.status === 'disabled' && armed.has(d.key.keyId))?.key
    if (rearmed) {
      const key: IssuedKey = {
        ...rearmed,
        status: 'superseded',
        disabledAt: null,
        refusedAt: null,
        outcome: null,
      }
      await ctx.checkpoint({}, [
        { type: 'key', key },
        audit(
          ctx,
          'key.rearmed',
          { type: 'credential', id: key.credential },
          { provider: key.provider, keyId: key.keyId },
        ),
      ])
      return backToDisabling(ctx)
    }
  }
  return 'clean'
}

function backToDisabling(ctx: StepContext): StepResult {
  return { go: 'wait', until: ctx.life.clock.now(), backTo: 'disable-keys' }
}

/**
 * A mint whose answer was never heard: the newcomer on our own principal is switched off too, and
 * journalled, so that it is proven dead and deleted like the others and never taken for foreign.
 */
async function disableStrays(ctx: StepContext): Promise<boolean> {
  const { life, operation } = ctx
  const { account } = operation
  const principals = await life.store.read.principalsOf(operation.tenant, account!)
  const journal = await life.store.read.keysOfAccount(operation.tenant, account!)
  for (const { operation: cut, mint } of await openIntents(ctx, intentsBelow(operation))) {
    const principal = principals.find((p) => p.provider === cut.provider) ?? null
    const provider = cut.provider === null ? undefined : life.providers.get(cut.provider)
    const cutFrom = await life.store.read.credential(operation.tenant, cut.subject)
    const capabilities = cutFrom && provider?.capabilities[cutFrom.kind]
    if (!principal?.external || !provider || !capabilities) continue
    if (!capabilities.canList) {
      await noteExposed(ctx, { capabilities, credential: cutFrom, mint, operation: cut.id })
      continue
    }
    const listing = await provider.list(principal.external, ctx.call())
    const found = newcomers(mint, listing.items, journal, cutFrom)
    const [stray] = found
    if (found.length !== 1 || !stray || !isOurStray(stray, mint, principal, cut.leaseUntil))
      continue
    const canDisable = provider.capabilities[stray.kind]?.canDisable === true
    if (canDisable && stray.active) {
      await provider.disable(principal.external, stray.keyId, ctx.call())
    }
    // Deploy keys have no "off": deleting is the only way to end one.
    if (!canDisable) await provider.revoke(principal.external, stray.keyId, ctx.call())
    const generations = journal.filter((k) => k.credential === cut.subject).map((k) => k.generation)
    const key = strayKey(
      { credential: cut.subject as IssuedKey['credential'], principal },
      { ...mint, generation: Math.max(mint.generation, ...generations.map((g) => g + 1)) },
      stray.keyId,
      life.clock.now(),
    )
    await ctx.checkpoint({}, [
      {
        type: 'key',
        key: { ...key, status: 'disabled', deletedAt: canDisable ? null : life.clock.now() },
      },
      audit(
        ctx,
        canDisable ? 'key.strayDisabled' : 'key.strayRemoved',
        { type: 'account', id: principal.account },
        { provider: principal.provider, keyId: stray.keyId },
      ),
    ])
    return true
  }
  return false
}

async function finishAccount(
  ctx: StepContext,
  keys: readonly IssuedKey[],
): Promise<readonly Change[]> {
  const { life, operation } = ctx
  const now = life.clock.now()
  const account = await loadAccount(ctx, operation.account!)
  const retiring = operation.kind === 'retire'
  const asked = (operation.memo['reason'] as StatusReason | undefined) ?? 'operator'
  // The row may know a stronger reason than this operation: its owner left meanwhile.
  const reason = retiring ? asked : (account.statusReason ?? asked)
  // Only owner-left, expired and retire start the clock to deletion; an operator's pause never deletes.
  const dies =
    retiring || reason === 'ownerLeft' || reason === 'ownerMissing' || reason === 'expired'
  const status = retiring ? 'retired' : reason === 'expired' ? 'expired' : 'disabled'
  const credentials = await subjectCredentials(ctx)
  const stays: ReadonlySet<Credential['status']> = new Set(['revoked', 'revoking', 'failed'])
  const revoking = credentials.filter((c) => c.status === 'revoking')
  const revocations = await Promise.all(revoking.map((c) => revocationOf(ctx, c)))
  return [
    putAccount(
      {
        ...account,
        status,
        statusReason: reason,
        disabledAt: account.disabledAt ?? now,
        retiredAt: retiring ? now : account.retiredAt,
        deleteAt: dies ? addSeconds(now, termsOf(life, account).hold) : null,
      },
      now,
    ),
    ...credentials
      .filter((c) => !stays.has(c.status))
      .map((c) => putCredential(closed(c, keys, retiring), now)),
    ...revocations,
    audit(
      ctx,
      `account.${status}`,
      { type: 'account', id: account.id },
      { reason, keys: keys.length },
    ),
  ]
}

/**
 * Continues a revocation that this operation pre-empted: were the credential closed like the others,
 * enabling the account would bring back a key that somebody had asked to end.
 */
async function revocationOf(ctx: StepContext, credential: Credential): Promise<Change> {
  const { life, operation } = ctx
  const { tenant, id: subject } = credential
  const before = await life.store.read.operations({ tenant, subject, after: null, limit: 20 })
  const preempted = before.find((o) => o.kind === 'revoke')
  const revocation = planOperation(life, {
    tenant: operation.tenant,
    kind: 'revoke',
    subjectType: 'credential',
    subject: credential.id,
    account: credential.account,
    provider: credential.provider,
    actor: operation.actor,
    cause: operation.cause,
    memo: { reason: preempted?.memo['reason'] ?? 'requested' },
  })
  return { type: 'enqueue', operation: revocation, preempt: false }
}
