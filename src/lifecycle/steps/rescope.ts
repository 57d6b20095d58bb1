import { isOpen, type ServiceAccount } from '../../domain/account.ts'
import type { Credential, IssuedKey } from '../../domain/credential.ts'
import { isDelivered } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, secondsBetween } from '../../domain/time.ts'
import type { Change } from '../../store/store.ts'
import { termsOf } from '../credential-terms.ts'
import { rotation } from '../credentials.ts'
import { effectiveScopes, planRescope, refusedSentence, sameScopes, without } from '../scopes.ts'
import { withholds } from './mint.ts'
import type { Step, StepContext, StepResult, Subject } from './step.ts'
import { audit, externalOf, loadSubject, memoOf, putCredential } from './step.ts'
import { isAccepted } from './verify.ts'

/** Credentials per commit when a group changes that many depend on. */
const pageSize = 100

/** A key that is refused for so long after its scopes changed is a person's matter. */
const proveWithinSeconds = 120

/** Plans a change for each credential that hangs on the groups; for a single one there is nothing to find. */
export const findDependents: Step = async (ctx) => {
  const { life, operation } = ctx
  const groups = memoOf<readonly string[]>(ctx, 'groups')
  if (groups === null) return { go: 'next' }
  const after = memoOf<string>(ctx, 'after')
  const { tenant } = operation
  const ids = await life.store.read.grantedThrough(tenant, groups, after, pageSize)
  const changes: Change[] = []
  for (const id of ids) {
    const held = await heldBy(ctx, id)
    if (!held || !(await isBehind(life, held.account, held.credential))) continue
    const { cause } = operation
    const why = { reason: 'groupChanged', cause, facts: { groups } }
    changes.push(...planRescope(life, held.credential, operation.actor, why).changes)
  }
  if (ids.length < pageSize) return { go: 'done', changes }
  return { go: 'wait', until: life.clock.now(), memo: { after: ids.at(-1)! }, changes }
}

async function heldBy(
  { life, operation }: StepContext,
  id: string,
): Promise<{ readonly account: ServiceAccount; readonly credential: Credential } | null> {
  const credential = await life.store.read.credential(operation.tenant, id)
  const account =
    credential && (await life.store.read.account(operation.tenant, credential.account))
  return account ? { account, credential } : null
}

const isOver = ({ status }: Credential): boolean =>
  status === 'revoked' || status === 'revoking' || status === 'released'

/** Whether the provider was last told something else than what holds now. */
export async function isBehind(
  life: StepContext['life'],
  account: ServiceAccount,
  credential: Credential,
): Promise<boolean> {
  const { grantedScopes } = credential
  if (grantedScopes === null || isOver(credential)) return false
  return !sameScopes(grantedScopes, await effectiveScopes(life, account, credential))
}

/** For the commit that makes a key the current one: what changed while it was being made. */
export async function catchUp(
  ctx: StepContext,
  account: ServiceAccount,
  credential: Credential,
): Promise<readonly Change[]> {
  if (!(await isBehind(ctx.life, account, credential))) return []
  const why = { reason: 'changedMeanwhile', cause: ctx.operation.cause }
  return planRescope(ctx.life, credential, ctx.operation.actor, why).changes
}

/**
 * Brings what the provider allows to what holds now, whatever it was that changed. What is taken
 * away is taken at once; what is new fails closed and waits for an owner, like any grant.
 */
export const changeScopes: Step = async (ctx) => {
  const { life } = ctx
  const held = await heldBy(ctx, memoOf<string>(ctx, 'credential')!)
  // One that is still being made is brought up to date when its key becomes the current one.
  if (!held || held.credential.grantedScopes === null || isOver(held.credential)) {
    return { go: 'done' }
  }
  const unheard = await unheardOf(ctx)
  if (unheard === null && !(await isBehind(life, held.account, held.credential))) {
    return { go: 'done' }
  }
  const subject = await loadSubject(ctx, held.credential.id)
  const { account, credential, capabilities, provider } = subject
  const granted = credential.grantedScopes ?? credential.scopes
  const from = [...new Set([...granted, ...(unheard ?? [])])]
  const wanted = await effectiveScopes(life, account, credential)
  const widens = without(wanted, granted).length > 0
  const closed = widens && !isOpen(account.status)
  const waits = widens && !closed ? await withholds(ctx, { account, capabilities }) : null
  const to = closed || waits ? granted.filter((scope) => wanted.includes(scope)) : wanted
  // What a closed account would gain is looked for again when it is opened.
  if (unheard === null && sameScopes(from, to)) return waits ?? { go: 'done' }

  const refused = provider.checkScopes(credential.kind, to)
  if (refused) return ask('scopesRefused', refusedSentence(subject, refused))
  const taken = without(from, to)
  await ctx.checkpoint({ widens: taken.length === 0 }, [])
  switch (capabilities.canRescope) {
    case 'inPlace':
      return inPlace(ctx, subject, { from, to, waits })
    case 'newKey':
    case 'nextLease':
      return byNewKey(ctx, subject, { from, to })
    case false:
      return ask(
        'cannotRescope',
        `${provider.name} cannot change what a ${credential.kind} may do; request a new credential and revoke this one`,
      )
  }
}

/**
 * What the provider may allow although no row says so: it was asked, by an earlier plan or an earlier
 * try of this one, and its answer was lost or nobody waited for it.
 * @returns null when what is noted as granted is all there is to know
 */
async function unheardOf({ life, operation }: StepContext): Promise<readonly string[] | null> {
  const { tenant, subject } = operation
  const plans = await life.store.read.operations({ tenant, subject, after: null, limit: 50 })
  // Newest first: whichever was heard of last has overwritten all before it.
  const heard = plans.findIndex(({ memo }) => memo['telling'] === null)
  const asked = (heard === -1 ? plans : plans.slice(0, heard)).flatMap(
    ({ memo }) => (memo['telling'] as readonly string[] | undefined) ?? [],
  )
  return asked.length === 0 ? null : asked
}

interface Difference {
  readonly from: readonly string[]
  readonly to: readonly string[]
}

async function inPlace(
  ctx: StepContext,
  subject: Subject,
  { from, to, waits }: Difference & { readonly waits: StepResult | null },
): Promise<StepResult> {
  const { life, operation } = ctx
  const { account, credential, provider, keys } = subject
  const now = life.clock.now()
  // An older plan may have a call on its way, which must not land behind this one.
  const inFlight = await life.store.read.inFlightUntil(operation.tenant, account.id, now)
  if (inFlight !== null) return { go: 'wait', until: earlier(inFlight, addSeconds(now, 1)) }
  const external = externalOf(subject.principal)
  await ctx.checkpoint({ telling: to }, [])
  for (const key of keys.filter(isThere)) {
    const want = {
      tenant: credential.tenant,
      account: account.id,
      credential: credential.id,
      kind: credential.kind,
      keyId: key.keyId,
      scopes: to,
      before: from,
    }
    await provider.rescope!(external, want, ctx.call())
  }
  const changes: readonly Change[] = [
    putCredential({ ...credential, grantedScopes: to, lastError: null }, life.clock.now()),
    rescoped(ctx, credential, { from, to }),
  ]
  const memo = { telling: null }
  return waits
    ? { ...waits, changes, memo }
    : { go: 'next', changes, memo: { ...memo, provingSince: now } }
}

/** One that was switched off may be switched on again. */
function isThere({ deletedAt, status }: IssuedKey): boolean {
  return deletedAt === null && status !== 'revoked' && status !== 'failed'
}

/**
 * A new key brings the new scopes. When some were taken away the old one ends as one does that
 * somebody knows who may not: soon, and also when no new one could be made.
 */
async function byNewKey(
  ctx: StepContext,
  subject: Subject,
  { from, to }: Difference,
): Promise<StepResult> {
  const { life, operation } = ctx
  const { account, credential } = subject
  if (!isDelivered(credential)) {
    return ask('deliverToMissing', 'its new key has nowhere to go; set deliverTo, then retry')
  }
  // Switched off: it is looked at again when it is switched on.
  if (credential.status !== 'active' || !isOpen(account.status)) return { go: 'done' }
  const narrows = without(from, to).length > 0
  const open = await life.store.read.openOperations(operation.tenant, account.id)
  const running = open.find((o) => o.subject === credential.id && o.kind === 'rotate')
  const carried = (running?.memo['mint'] as { scopes?: readonly string[] } | undefined)?.scopes
  const isMade = running !== undefined && running.memo['activatedAt'] !== undefined
  const endsSoon = !narrows || (running?.memo['oldKeysUntil'] ?? null) !== null
  if (running && !isMade && endsSoon && (!carried || sameScopes(carried, to))) return { go: 'done' }
  // Its key may be served already without a row that says so, and would end as a stray while a
  // consumer has it. Once it is the current one, `catchUp` plans what is missing.
  const willBeMade = running !== undefined && !isMade && running.status !== 'needsOperator'
  if (willBeMade && !narrows) return { go: 'done' }
  const { leaver } = termsOf(life, account, credential)
  const rotate = rotation(life, account, credential, operation.actor, {
    reason: 'rescoped',
    cause: operation.cause,
    ...(narrows ? { oldKeysUntil: addSeconds(life.clock.now(), leaver.overlap) } : {}),
  })
  return {
    go: 'done',
    changes: [
      { type: 'enqueue', operation: rotate, preempt: true },
      rescoped(ctx, credential, { from, to }),
    ],
  }
}

function rescoped(ctx: StepContext, { id, keyId }: Credential, { from, to }: Difference): Change {
  return audit(
    ctx,
    'credential.rescoped',
    { type: 'credential', id },
    {
      before: from,
      after: to,
      taken: without(from, to),
      given: without(to, from),
      keyId,
      reason: memoOf<string>(ctx, 'reason'),
      cause: ctx.operation.cause,
    },
  )
}

/** The same key goes on: it is tried, since consumers were not asked to read another one. */
export const proveScopes: Step = async (ctx) => {
  const { life } = ctx
  const subject = await loadSubject(ctx, memoOf<string>(ctx, 'credential')!)
  const { account, credential, capabilities, keys } = subject
  const key = keys.find((k) => k.generation === credential.generation && k.status === 'active')
  if (!key || credential.status !== 'active' || !isOpen(account.status)) return { go: 'done' }
  if (await isAccepted(ctx, subject, key)) {
    const count = (memoOf<number>(ctx, 'accepted') ?? 0) + 1
    if (count >= capabilities.probe.count) return { go: 'next' }
    const until = addSeconds(life.clock.now(), capabilities.probe.every)
    return { go: 'wait', until, memo: { accepted: count } }
  }
  const now = life.clock.now()
  const since = memoOf<Instant>(ctx, 'provingSince') ?? now
  if (secondsBetween(since, now) > proveWithinSeconds) {
    return ask(
      'notAccepted',
      `key ${key.keyId} is refused since its scopes were changed; check the provider, then retry or rotate it`,
    )
  }
  const until = addSeconds(now, Math.max(1, capabilities.probe.every))
  return { go: 'wait', until, memo: { accepted: 0 } }
}

function ask(code: string, message: string): StepResult {
  return { go: 'ask', failure: { code, message } }
}
