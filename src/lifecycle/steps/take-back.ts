import type { ServiceAccount } from '../../domain/account.ts'
import type { Credential } from '../../domain/credential.ts'
import type { Failure, Operation } from '../../domain/operation.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, secondsBetween } from '../../domain/time.ts'
import type { Change } from '../../store/store.ts'
import { planOperation } from '../context.ts'
import { alsoTouched, itemOf } from '../undo.ts'
import type { Step, StepContext } from './step.ts'
import { switchOff } from './proof.ts'
import { bringUp } from './revive.ts'
import { audit, externalOf, loadSubject, memoOf, putAccount, putCredential } from './step.ts'
import { isAccepted } from './verify.ts'

const pageSize = 100
const lookSeconds = { least: 1, most: 60 }
/** A key that was switched on and is still refused after this long is a person's matter. */
const aliveWithinSeconds = 120

/**
 * Goes through the accounts of an undone event and starts what brings each back. One that is still
 * being switched off is waited for: its calls would land on keys that work again.
 */
export const takeBack: Step = async (ctx) => {
  const { life, operation } = ctx
  const left = await leftAgain(ctx)
  if (left) return { go: 'fail', failure: left }
  let waiting = 0
  for await (const account of touched(ctx)) {
    const done = await takeBackOne(ctx, account)
    if (!done) waiting++
  }
  if (waiting === 0) return { go: 'next' }
  const message = `${waiting} accounts are still being switched off; each comes back once it is off`
  return {
    go: 'wait',
    until: nextLook(operation.createdAt, life.clock.now()),
    failure: { code: 'stillClosing', message },
  }
}

/** A newer word than the undo: what it would switch on, somebody who is gone would know. */
async function leftAgain(ctx: StepContext): Promise<Failure | null> {
  const id = memoOf<string>(ctx, 'person')
  const person = id === null ? null : await ctx.life.store.read.person(ctx.operation.tenant, id)
  if (id === null || person?.active || person?.heldBy) return null
  const message = `the person left again meanwhile; undo that: ${person?.leftCause ?? 'nobody is known'}`
  return { code: 'preempted', message }
}

async function* touched(ctx: StepContext): AsyncGenerator<ServiceAccount> {
  const { tenant } = ctx.operation
  const { read } = ctx.life.store
  for (const id of memoOf<readonly string[]>(ctx, 'accounts') ?? []) {
    const account = await read.account(tenant, id)
    if (account) yield account
  }
  const person = memoOf<string>(ctx, 'person')
  if (person === null) return
  const owned = new Set<string>()
  for (let after: string | null = null; ;) {
    const page: readonly ServiceAccount[] = await read.accountsOwnedBy(
      tenant,
      person,
      after,
      pageSize,
    )
    for (const account of page) owned.add(account.id)
    yield* page
    if (page.length < pageSize) break
    after = page.at(-1)!.id
  }
  // What changed hands, before the undo or during it, was ended by the same event.
  const root = { tenant, id: memoOf<string>(ctx, 'cause')! }
  yield* await alsoTouched(ctx.life, root, owned)
}

/** @returns false when it has to be looked at again */
async function takeBackOne(ctx: StepContext, account: ServiceAccount): Promise<boolean> {
  const { life, operation } = ctx
  const person = memoOf<string>(ctx, 'person')
  const kind = person === null ? 'disable' : 'leave'
  const root = { kind, id: memoOf<string>(ctx, 'cause')!, memo: operation.memo } as const
  // Asked with each account: there may be thousands, and the next word may come in between.
  if (await leftAgain(ctx)) return false
  const { act } = await itemOf(life, account, root, account.owner.id === person)
  if (act === 'none' || act === 'cannot') return true
  const changes = act === 'withdraw' ? await withdrawal(ctx, account) : await enabling(ctx, account)
  if (changes === null) return false
  const result = await life.store.commit(changes)
  if (result === 'saved') life.wake()
  return result === 'saved'
}

async function enabling(
  ctx: StepContext,
  account: ServiceAccount,
): Promise<readonly Change[] | null> {
  const { life, operation } = ctx
  const open = await life.store.read.openOperations(operation.tenant, account.id)
  if (account.status === 'disabling' || open.length > 0) return null
  const enable = planOperation(life, {
    tenant: operation.tenant,
    kind: 'enable',
    subjectType: 'account',
    subject: account.id,
    account: account.id,
    provider: null,
    actor: operation.actor,
    cause: operation.id,
    memo: { sameKeys: true, since: memoOf<string>(ctx, 'since') },
  })
  const coming: ServiceAccount = {
    ...account,
    status: 'provisioning',
    // Until its keys are back: a disable in between must not make a leaver's keys an operator's.
    statusReason: account.statusReason,
    disabledAt: null,
    deleteAt: null,
    orphanedAt: null,
  }
  return [
    putAccount(coming, life.clock.now()),
    { type: 'enqueue', operation: enable, preempt: false },
    audit(
      ctx,
      'account.takenBack',
      { type: 'account', id: account.id },
      { from: account.status, reason: account.statusReason },
    ),
  ]
}

/**
 * The offer goes, and what a rotation owed to the leaver: its new key stays, the old one has the
 * overlap that every rotation gives. @returns null while a worker is at the rotation
 */
async function withdrawal(
  ctx: StepContext,
  account: ServiceAccount,
): Promise<readonly Change[] | null> {
  const { life, operation } = ctx
  const now = life.clock.now()
  const open = await life.store.read.openOperations(operation.tenant, account.id)
  // Not what ends for a reader who left, or for scopes that were taken away.
  const rotations = open.filter(
    (o) =>
      o.kind === 'rotate' && o.memo['reason'] === 'ownerLeft' && o.memo['oldKeysUntil'] !== null,
  )
  if (rotations.some((o) => o.status === 'running')) return null
  const credentials = await life.store.read.credentialsOf(account.tenant, account.id)
  const isMaking = credentials.some((c) => c.status === 'pending' || c.status === 'issuing')
  const kept: ServiceAccount = {
    ...account,
    status: isMaking ? 'provisioning' : 'active',
    statusReason: null,
    pendingOwner: null,
    plannedFor: null,
    orphanedAt: null,
    disableAt: null,
  }
  return [
    putAccount(kept, now),
    ...rotations.map((rotation) => unhurried(rotation, now)),
    audit(
      ctx,
      'account.takenBack',
      { type: 'account', id: account.id },
      {
        from: account.status,
        offeredTo: account.pendingOwner?.id ?? null,
        rotations: rotations.map((o) => o.id),
      },
    ),
  ]
}

function unhurried({ id, fence, memo }: Operation, at: Instant): Change {
  const set = { memo: { ...memo, oldKeysUntil: null, reason: 'requested' } }
  return { type: 'advance', id, fence, set, release: false, at }
}

/** Waits for what was started, so that "undone" means that every key was tried. */
export const confirmBack: Step = async (ctx) => {
  const { life, operation } = ctx
  const tally = { back: 0, stuck: 0, open: 0 }
  for (let after: string | null = null; ;) {
    const page: readonly Operation[] = await life.store.read.operations({
      tenant: operation.tenant,
      cause: operation.id,
      after,
      limit: pageSize,
    })
    for (const { id, kind, status } of page) {
      if (id === operation.id || (kind !== 'enable' && kind !== 'issue')) continue
      if (status === 'succeeded') tally.back++
      else if (status === 'needsOperator' || status === 'failed' || status === 'cancelled')
        tally.stuck++
      else tally.open++
    }
    if (page.length < pageSize) break
    after = page.at(-1)!.id
  }
  if (tally.open > 0) {
    return { go: 'wait', until: nextLook(operation.createdAt, life.clock.now()), memo: tally }
  }
  const target = { type: 'operation', id: memoOf<string>(ctx, 'cause') ?? operation.id }
  const { back, stuck } = tally
  return {
    go: 'next',
    memo: tally,
    changes: [audit(ctx, 'event.takenBack', target, { back, stuck })],
  }
}

/** Soon at first: nearly everything is back within seconds. */
function nextLook(since: Instant, now: Instant): Instant {
  const waited = secondsBetween(since, now) / 4
  return addSeconds(now, Math.min(lookSeconds.most, Math.max(lookSeconds.least, waited)))
}

/**
 * Tries each key that was switched on with the secret that consumers read. One that is refused still
 * is of no use to anybody: it is made anew, like those that could not be switched on.
 */
export const proveAlive: Step = async (ctx) => {
  const { life } = ctx
  const since = memoOf<Instant>(ctx, 'revivedAt') ?? life.clock.now()
  const accepted = new Set(memoOf<readonly string[]>(ctx, 'accepted'))
  const refused: Credential[] = []
  const changes: Change[] = []
  for (const id of memoOf<readonly string[]>(ctx, 'revived') ?? []) {
    if (accepted.has(id)) continue
    const subject = await loadSubject(ctx, id)
    const { credential, keys } = subject
    const key = keys.find((k) => k.generation === credential.generation)
    // Switched off again meanwhile, or replaced: nothing is left to show.
    const proof = key?.status === 'active' ? await isAccepted(ctx, subject, key) : 'used'
    if (proof === null) {
      refused.push(credential)
      continue
    }
    accepted.add(id)
    if (key?.status !== 'active') continue
    const { provider, keyId, generation } = key
    const target = { type: 'credential', id }
    changes.push(audit(ctx, 'key.accepted', target, { provider, keyId, generation, proof }))
  }
  const now = life.clock.now()
  const memo = { accepted: [...accepted] }
  if (refused.length > 0 && secondsBetween(since, now) <= aliveWithinSeconds) {
    return { go: 'wait', until: addSeconds(now, 1), memo, changes }
  }
  if (refused.length > 0) {
    await ctx.checkpoint(memo, [...changes, ...(await givenUp(ctx, refused))])
    return { go: 'next', memo, changes: await bringUp(ctx, accepted) }
  }
  return { go: 'next', memo, changes: [...changes, ...(await bringUp(ctx, accepted))] }
}

/** Off again, so that what makes keys anew finds them like the others. */
async function givenUp(
  ctx: StepContext,
  credentials: readonly Credential[],
): Promise<readonly Change[]> {
  const changes: Change[] = []
  for (const { id, generation } of credentials) {
    const subject = await loadSubject(ctx, id)
    const key = subject.keys.find((k) => k.generation === generation)
    if (key?.status !== 'active') continue
    const { provider, capabilities, sink, credential, principal } = subject
    const place = { provider, capabilities, sink, credential, external: externalOf(principal) }
    const off = await switchOff(ctx, place, key)
    const lastError = 'its key was switched on and refused still; a new one is made'
    changes.push(
      ...off.changes,
      putCredential({ ...credential, status: 'disabled', lastError }, ctx.life.clock.now()),
    )
  }
  return changes
}
