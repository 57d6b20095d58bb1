import { isOpen } from '../../domain/account.ts'
import { addSeconds } from '../../domain/time.ts'
import type { Change } from '../../store/store.ts'
import { verdictOn } from '../offboard.ts'
import { effectiveScopes, refusedSentence } from '../scopes.ts'
import { waitForBrake, waitIfRestored } from './braked.ts'
import { listKeys } from './held.ts'
import { mintClientMade, resumeClientMade } from './mint-client.ts'
import { makeWithoutSecret } from './mint-none.ts'
import { ask, foreignSentence, incomplete } from './mint-record.ts'
import { mintServerMade, resumeServerMade } from './mint-server.ts'
import type { Step, StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, loadSubject, memoOf, putCredential } from './step.ts'
import type { Mint } from './strays.ts'
import { isJournalled, removeInterrupted } from './strays.ts'
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
  const isSame = principal?.external === ensured.external
  if (isSame && principal.state === 'live') return { go: 'next' }
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
          // Once made by us, always made by us: a second look finds it there already. Not so of
          // another one: an adopted user may have come beside roles of ours.
          created: ensured.created || (isSame && principal.created),
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
export async function withholds(
  ctx: StepContext,
  { account, capabilities }: Pick<Subject, 'account' | 'capabilities'>,
): Promise<StepResult | null> {
  const isScheduled = memoOf<string>(ctx, 'reason') === 'scheduled'
  const braked = await waitForBrake(ctx, 'mint', ...(isScheduled ? (['rotate'] as const) : []))
  if (braked) return braked
  if (!isOpen(account.status) && account.status !== 'requested') {
    return ask('accountClosed', `the account is ${account.status}; enable it, then retry`)
  }
  const { decision } = await verdictOn(ctx.life, account)
  // Within its grace an owner keeps what works and gets nothing new; so do those who are held.
  const { rule } = decision
  // A lease that is not renewed stops what works within the hour: no grace at all.
  const rests = rule === 'grace' && !(isScheduled && capabilities.lease)
  return decision.action === 'disable' || rule === 'groupGrace' || rule === 'held' || rests
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
  switch (subject.capabilities.mint) {
    case 'none':
      return mint.keyId === null ? makeWithoutSecret(ctx, subject, mint) : { go: 'next' }
    case 'client':
      return isDone(mint) ? { go: 'next' } : resumeClientMade(ctx, subject, mint)
    case 'server':
      return isDone(mint) ? { go: 'next' } : resumeServerMade(ctx, subject, mint)
  }
}

const isDone = ({ version, keyId }: Mint): boolean => version !== null && keyId !== null

async function begin(ctx: StepContext, subject: Subject): Promise<StepResult> {
  const { life, operation } = ctx
  const { provider, capabilities, principal, credential } = subject
  const withheld = await withholds(ctx, subject)
  if (withheld) return withheld
  const listing = await listKeys(ctx, { provider, capabilities, external: externalOf(principal) })
  if (!listing.complete) return incomplete(provider.name)
  const restored = await waitIfRestored(ctx, provider.name, listing.items)
  if (restored) return restored

  const interrupted = await removeInterrupted(ctx, subject, listing.items)
  if (interrupted) return interrupted
  const journal = await life.store.read.keysOfAccount(operation.tenant, subject.account.id)
  const foreign = listing.items.filter(
    (item) => item.kind === credential.kind && !isJournalled(item, journal, provider.name),
  )
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
  const scopes = await effectiveScopes(life, subject.account, credential)
  const refused =
    credential.scopesFrom.length > 0 ? provider.checkScopes(credential.kind, scopes) : null
  if (refused) return ask('scopesRefused', refusedSentence(subject, refused))
  // A full disk or a locked vault must show before a key exists, not after (R33).
  if (capabilities.mint !== 'none') await subject.sink.check(subject.target, ctx.call())

  const mint: Mint = {
    generation: Math.max(credential.generation, ...subject.keys.map((k) => k.generation)) + 1,
    key: life.ids.next(),
    startedAt: life.clock.now(),
    lostAt: null,
    before: listing.items.map((item) => item.keyId),
    scopes,
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
  switch (capabilities.mint) {
    case 'none':
      return makeWithoutSecret(ctx, subject, mint)
    case 'client':
      return mintClientMade(ctx, subject, mint)
    case 'server':
      return mintServerMade(ctx, subject, mint)
  }
}
