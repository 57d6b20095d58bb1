import { setImmediate } from 'node:timers/promises'
import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { assertNever } from '../domain/json.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, earlier } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import { planClose } from './switching.ts'
import type { BrakedAct } from './brakes.ts'
import { brakeOn, currentBrakes } from './brakes.ts'
import type { Lifecycle } from './context.ts'
import { auditRow, planOperation } from './context.ts'
import { capabilitiesOf, periodOf, rotateAfterOf, termsOf } from './credential-terms.ts'
import { rotation } from './credentials.ts'
import { planRevoke } from './revocation.ts'
import type { Proposal, Scope, SweepName } from './due.ts'
import { findDue, warningDays } from './due.ts'
import { planSignal } from './signals.ts'
import { actOnLeaver, verdictOn } from './offboard.ts'
import { paceOf } from './pace.ts'
import { planReconcile, reconcilable } from './reconcile.ts'

/** What a sweep's acts are to the brakes; null = nothing that a brake would stop. */
const brakedAct: Readonly<Record<Proposal['act'], BrakedAct | null>> = {
  offboard: 'orphans',
  depart: 'deadline',
  leaveDate: 'deadline',
  expire: 'expire',
  expireCredential: 'expire',
  delete: 'delete',
  warn: null,
  warnCredential: null,
  replan: null,
  // Reading only; what it finds has brakes of its own.
  reconcile: null,
  rotate: 'rotate',
}

export interface Applied {
  readonly proposal: Proposal
  /** Whether anything was written; false when the row had changed and nothing is due any more. */
  readonly acted: boolean
  /** Operations started. */
  readonly operations: readonly string[]
  readonly error: string | null
}

/** What one item comes to; null = nothing (any more). */
type Planned = {
  readonly changes: readonly Change[]
  readonly operations: readonly Operation[]
} | null

/**
 * Acts on one batch, some items to a commit, and lets others have their turn in between. Each item
 * stands alone: where one was written meanwhile, or fails, the others of its commit are acted on
 * without it, and it stays due and is seen next time (R86).
 */
export async function applyBatch(
  life: Lifecycle,
  sweep: SweepName,
  batch: readonly Proposal[],
): Promise<readonly Applied[]> {
  const actor: Actor = { type: 'sweep', id: sweep, name: `${sweep} sweep` }
  const brakes = await currentBrakes(life)
  const isFree = ({ act, tenant }: Proposal) => {
    const braked = brakedAct[act]
    return braked === null || !brakeOn(brakes, braked, tenant)
  }
  const applied: Applied[] = batch
    .filter((proposal) => !isFree(proposal))
    .map((proposal) => ({ proposal, acted: false, operations: [], error: null }))
  const free = batch.filter(isFree)
  const pace = paceOf(life.clock)
  for (let i = 0; i < free.length;) {
    if (i > 0) await setImmediate()
    const some = free.slice(i, i + pace.size)
    applied.push(...(await pace.timed(some.length, () => applySome(life, some, actor))))
    i += some.length
  }
  if (applied.some((item) => item.operations.length > 0)) life.wake()
  return applied
}

async function applySome(
  life: Lifecycle,
  batch: readonly Proposal[],
  actor: Actor,
): Promise<readonly Applied[]> {
  const planned = await Promise.all(
    batch.map((proposal) => plan(life, proposal, actor).catch(() => 'failed' as const)),
  )
  const together = planned.flatMap((p) => (p === 'failed' || p === null ? [] : p.changes))
  const saved =
    together.length > 0 &&
    !planned.includes('failed') &&
    // Whatever is wrong, each for itself will find out whose it is.
    (await life.store.commit(together).catch(() => null)) === 'saved'
  return Promise.all(
    batch.map(async (proposal, i): Promise<Applied> => {
      const own = planned[i]!
      if (own === null) return { proposal, acted: false, operations: [], error: null }
      // What has nothing to commit here has committed by itself.
      const isDone = own !== 'failed' && (saved || own.changes.length === 0)
      if (!isDone) return applyAlone(life, proposal, actor)
      return { proposal, acted: true, operations: own.operations.map((o) => o.id), error: null }
    }),
  )
}

async function applyAlone(life: Lifecycle, proposal: Proposal, actor: Actor): Promise<Applied> {
  try {
    const planned = await plan(life, proposal, actor)
    const acted = planned !== null && (await life.store.commit(planned.changes)) === 'saved'
    const operations = acted ? planned.operations.map((o) => o.id) : []
    return { proposal, acted, operations, error: null }
  } catch (error) {
    const message = error instanceof Error ? error.message : 'unknown'
    return { proposal, acted: false, operations: [], error: message }
  }
}

async function plan(life: Lifecycle, proposal: Proposal, actor: Actor): Promise<Planned> {
  const tenant = proposal.tenant as ServiceAccount['tenant']
  switch (proposal.act) {
    case 'offboard':
    case 'expire':
    case 'delete':
    case 'warn': {
      const account = await life.store.read.account(tenant, proposal.id)
      return account && planAccount(life, proposal.act, account, actor)
    }
    case 'expireCredential':
    case 'warnCredential':
    case 'replan':
    case 'rotate': {
      const credential = await life.store.read.credential(tenant, proposal.id)
      const account = credential && (await life.store.read.account(tenant, credential.account))
      return account && planCredential(life, proposal.act, { account, credential }, actor)
    }
    case 'leaveDate':
    case 'depart':
      return planSignal(life, { ...proposal, act: proposal.act, tenant }, actor)
    case 'reconcile':
      return planReconcile(life, tenant, proposal.id, actor)
    default:
      return assertNever(proposal.act)
  }
}

async function planAccount(
  life: Lifecycle,
  act: 'offboard' | 'expire' | 'delete' | 'warn',
  account: ServiceAccount,
  actor: Actor,
): Promise<Planned> {
  switch (act) {
    case 'offboard':
      return offboard(life, account, actor)
    case 'expire':
      return expire(life, account, actor)
    case 'delete':
      return deleteHeld(life, account, actor)
    case 'warn':
      return warn(life, 'account', account, account, actor)
  }
}

interface Held {
  readonly account: ServiceAccount
  readonly credential: Credential
}

async function planCredential(
  life: Lifecycle,
  act: 'expireCredential' | 'warnCredential' | 'replan' | 'rotate',
  held: Held,
  actor: Actor,
): Promise<Planned> {
  switch (act) {
    case 'expireCredential':
      return expireCredential(life, held, actor)
    case 'warnCredential':
      return warn(life, 'credential', held.credential, held.account, actor)
    case 'replan':
      return replan(life, held, actor)
    case 'rotate':
      return rotateDue(life, held, actor)
  }
}

/** The decision commits by itself: after a conflict it looks at the account again. */
async function offboard(life: Lifecycle, account: ServiceAccount, actor: Actor): Promise<Planned> {
  const operations = await actOnLeaver(life, account, { actor, cause: life.ids.next() })
  return operations.length === 0 ? null : { changes: [], operations }
}

function expire(life: Lifecycle, account: ServiceAccount, actor: Actor): Planned {
  if (account.expiresAt > life.clock.now() || account.protected || watched(life, account)) {
    return null
  }
  const planned = planClose(life, account, { kind: 'disable', reason: 'expired', actor })
  const facts = { expiresAt: account.expiresAt }
  return closing(life, account, planned, 'account.expiryDue', facts, actor)
}

/** Under `enforcement: observe` no sweep acts; its plan still shows what is due. */
function watched(life: Lifecycle, account: ServiceAccount): boolean {
  return termsOf(life, account).enforcement === 'observe'
}

function deleteHeld(life: Lifecycle, account: ServiceAccount, actor: Actor): Planned {
  const { deleteAt } = account
  if (deleteAt === null || deleteAt > life.clock.now()) return null
  // What was retired was so by somebody's word: observing is no reason to keep its keys for ever.
  if (account.status !== 'retired' && watched(life, account)) return null
  const operation = planOperation(life, {
    tenant: account.tenant,
    kind: 'delete',
    subjectType: 'account',
    subject: account.id,
    account: account.id,
    provider: null,
    actor,
    memo: { reason: account.statusReason },
  })
  const status = account.status === 'retired' ? 'retired' : 'retiring'
  const planned = {
    account: { ...account, status, updatedAt: life.clock.now() } as const,
    operation,
    changes: [{ type: 'enqueue', operation, preempt: false } as const],
  }
  return closing(life, account, planned, 'account.deletionDue', { deleteAt }, actor)
}

function closing(
  life: Lifecycle,
  before: ServiceAccount,
  planned: ReturnType<typeof planClose>,
  action: string,
  facts: JsonObject,
  actor: Actor,
): Planned {
  return {
    operations: [planned.operation],
    changes: [
      { type: 'account', account: planned.account, expectedVersion: before.version },
      ...planned.changes,
      auditRow(life, {
        tenant: before.tenant,
        actor,
        action,
        target: { type: 'account', id: before.id },
        operation: planned.operation.id,
        facts,
      }),
    ],
  }
}

function expireCredential(life: Lifecycle, { account, credential }: Held, actor: Actor): Planned {
  if (watched(life, account) || account.protected) return null
  const works = credential.status === 'active' || credential.status === 'superseded'
  if (!works || credential.expiresAt > life.clock.now()) return null
  const { operation, changes } = planRevoke(life, credential, actor, 'expired')
  const facts = { expiresAt: credential.expiresAt }
  const row = credentialRow(life, credential, 'credential.expiryDue', operation, facts, actor)
  return { operations: [operation], changes: [...changes, row] }
}

function credentialRow(
  life: Lifecycle,
  credential: Credential,
  action: string,
  operation: Operation | null,
  facts: JsonObject,
  actor: Actor,
): Change {
  return auditRow(life, {
    tenant: credential.tenant,
    actor,
    action,
    target: { type: 'credential', id: credential.id },
    operation: operation?.id ?? null,
    facts,
  })
}

/**
 * Tells that something ends soon, once for each number of days and each end; of several that were
 * missed, the nearest (R89). Also where nothing will be done about it: `observe`, `protected`.
 */
function warn(
  life: Lifecycle,
  subjectType: 'account' | 'credential',
  subject: ServiceAccount | Credential,
  account: ServiceAccount,
  actor: Actor,
): Planned {
  const days = daysLeft(life, subject.expiresAt)
  if (days === null) return null
  const { tenant, id, expiresAt } = subject
  return {
    operations: [],
    changes: [
      { type: 'expiryWarned', tenant, subjectType, id, expiresAt, days },
      auditRow(life, {
        tenant,
        actor,
        action: `${subjectType}.expiresSoon`,
        target: { type: subjectType, id },
        facts: { days, expiresAt, owner: account.owner.id },
      }),
    ],
  }
}

/** The least of the numbers of days to warn of that is not over yet. */
function daysLeft(life: Lifecycle, expiresAt: Instant): number | null {
  const now = life.clock.now()
  if (expiresAt <= now) return null
  return warningDays.find((days) => expiresAt <= addSeconds(now, days * day)) ?? null
}

/** The policy's period has changed: the next rotation moves with it (R14). */
function replan(life: Lifecycle, { account, credential }: Held, actor: Actor): Planned {
  const every = periodOf(life, account, credential)
  const rotateAfter = rotateAfterOf(credential.issuedAt, every)
  if (rotateAfter === null || rotateAfter === credential.rotateAfter) return null
  const next: Credential = { ...credential, rotateAfter, updatedAt: life.clock.now() }
  const facts = {
    rotateAfter,
    before: credential.rotateAfter,
    every,
    policy: life.policy().version,
  }
  return {
    operations: [],
    changes: [
      { type: 'credential', credential: next, expectedVersion: credential.version },
      credentialRow(life, credential, 'credential.rotationMoved', null, facts, actor),
    ],
  }
}

/**
 * What counts is the age of the oldest key that works: a rotation that was cut off after its new key
 * leaves the old one at work, however fresh `lastRotatedAt` is (R02).
 */
async function rotateDue(
  life: Lifecycle,
  { account, credential }: Held,
  actor: Actor,
): Promise<Planned> {
  const now = life.clock.now()
  const isLease = capabilitiesOf(life, credential)?.lease != null
  // Without its next lease an account that is only waiting for an heir would stop within the hour.
  const isUp = account.status === 'active' || (isLease && account.status === 'orphaned')
  if (credential.status !== 'active' || !isUp) return null
  const every = periodOf(life, account, credential)
  const keys = await life.store.read.keysOf(credential.tenant, credential.id)
  // The lease before the newest ends by itself: it makes nothing due.
  const oldest = (isLease ? [] : keys)
    .filter((key) => key.status === 'active' || key.status === 'superseded')
    .reduce(
      (least, key) => (least === null ? key.issuedAt : earlier(least, key.issuedAt)),
      credential.issuedAt,
    )
  // A key that stopped working brings the date forward; of a lease its own date always counts.
  const serves = keys.some((key) => key.keyId === credential.keyId && key.status === 'active')
  const due = isLease || !serves ? credential.rotateAfter : rotateAfterOf(oldest, every)
  // Dated by a policy that is no longer the one, e.g. while it was replaced.
  if (due === null || due > now) return replan(life, { account, credential }, actor)
  if (watched(life, account)) return null
  // A rotation gives a working key: never to an account whose owner is gone (R60).
  const { decision } = await verdictOn(life, account)
  const { rule } = decision
  const staysUp = decision.action === 'none' || (isLease && decision.action !== 'disable')
  const waits = rule === 'groupGrace' || rule === 'held' || (rule === 'grace' && !isLease)
  if (!staysUp || waits) return null
  const operation = rotation(life, account, credential, actor, { reason: 'scheduled' })
  const facts = { rotateAfter: credential.rotateAfter, oldestKeyIssuedAt: oldest, every }
  const row = credentialRow(life, credential, 'credential.rotationDue', operation, facts, actor)
  return {
    operations: [operation],
    changes: [{ type: 'enqueue', operation, preempt: false }, row],
  }
}

/** Owners who changed this long ago are looked at when an operator asks for less than everything. */
const recentSeconds = 86_400

/** What a sweep that an operator asks for looks at. */
function scopeOf(life: Lifecycle, full: boolean): Scope {
  const { groupGrace, leaveGrace, planAhead } = life.policy()
  const changedSince = full ? null : addSeconds(life.clock.now(), -recentSeconds)
  // Dating all rotations anew is for the scheduler, which knows when it has been through.
  return {
    changedSince,
    groupGrace,
    leaveGrace,
    planAhead,
    replan: false,
    providers: reconcilable(life),
  }
}

/** The plan of a sweep for one tenant: what it would act on now, with the decision behind each. */
export async function planSweep(
  life: Lifecycle,
  tenant: string,
  sweep: SweepName,
  limit: number,
  options: { readonly full: boolean } = { full: true },
): Promise<readonly (Proposal & { readonly rule: string })[]> {
  const plan: (Proposal & { readonly rule: string })[] = []
  const { read } = life.store
  for await (const batch of findDue(read, sweep, life.clock.now(), scopeOf(life, options.full))) {
    for (const proposal of batch.filter((p) => p.tenant === tenant)) {
      if (plan.length >= limit) return plan
      plan.push({ ...proposal, rule: await ruleOf(life, proposal) })
    }
  }
  return plan
}

async function ruleOf(life: Lifecycle, proposal: Proposal): Promise<string> {
  const tenant = proposal.tenant as ServiceAccount['tenant']
  switch (proposal.act) {
    case 'warn':
    case 'warnCredential': {
      const { read } = life.store
      const subject = await (proposal.act === 'warn'
        ? read.account(tenant, proposal.id)
        : read.credential(tenant, proposal.id))
      return `expires within ${(subject && daysLeft(life, subject.expiresAt)) ?? 0} days`
    }
    case 'offboard': {
      const account = await life.store.read.account(tenant, proposal.id)
      if (!account) return 'gone'
      const { decision } = await verdictOn(life, account)
      return `${decision.action}: ${decision.rule}`
    }
    default:
      return proposal.act
  }
}

/** Runs a whole sweep for one tenant in this process: what `POST /api/v1/sweeps/{name}` does. */
export async function runSweep(
  life: Lifecycle,
  tenant: string,
  sweep: SweepName,
  options: { readonly full: boolean } = { full: true },
): Promise<readonly Applied[]> {
  const applied: Applied[] = []
  const { read } = life.store
  for await (const batch of findDue(read, sweep, life.clock.now(), scopeOf(life, options.full))) {
    const own = batch.filter((p) => p.tenant === tenant)
    applied.push(...(await applyBatch(life, sweep, own)))
  }
  return applied
}
