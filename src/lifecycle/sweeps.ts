import { setImmediate } from 'node:timers/promises'
import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { assertNever } from '../domain/json.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import { earlier } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import { planClose } from './switching.ts'
import type { BrakedAct } from './brakes.ts'
import { brakeOn, brakedNow, currentBrakes } from './brakes.ts'
import type { Lifecycle } from './context.ts'
import { auditRow, planOperation } from './context.ts'
import { capabilitiesOf, periodOf, rotateAfterOf } from './credential-terms.ts'
import { rotation } from './credentials.ts'
import { planRevoke } from './revocation.ts'
import type { Proposal, SweepName } from './due.ts'
import { planSignal } from './signals.ts'
import { actOnLeaver, verdictOnTwin } from './offboard.ts'
import { paceOf } from './pace.ts'
import { rescopeBehind } from './rescoping.ts'
import { protectedDue } from './protected.ts'
import { planReconcile } from './reconcile.ts'
import type { Plan, Why } from './shadow.ts'
import { reviewed, twinOf, unlessWatched } from './shadow.ts'
import { warn } from './warnings.ts'
import { frozenAccount, frozenCredential } from './windows.ts'

/** What a sweep's acts are to the brakes; null = nothing that a brake would stop. */
export const brakedAct: Readonly<Record<Proposal['act'], BrakedAct | null>> = {
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
  // It may take away.
  rescope: null,
  // It writes what would be; the acts behind it ask for themselves.
  shadow: null,
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
type Planned = Plan | null

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
  const applied: Applied[] = []
  for (const [i, proposal] of batch.entries()) {
    const own = planned[i]!
    if (own === null) {
      applied.push({ proposal, acted: false, operations: [], error: null })
      continue
    }
    // What has nothing to commit here has committed by itself.
    const isDone = own !== 'failed' && (saved || own.changes.length === 0)
    applied.push(
      isDone
        ? { proposal, acted: true, operations: own.operations.map((o) => o.id), error: null }
        : // One after the other: the credentials of a watched account share its shadow.
          await applyAlone(life, proposal, actor),
    )
  }
  return applied
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

/**
 * What a sweep would plan, by the clock of `life`; nothing is written. Who shows what comes next asks
 * the same functions that will decide it.
 */
export function foresee(
  life: Lifecycle,
  proposal: Proposal & { readonly act: 'expire' | 'delete' | 'expireCredential' | 'rotate' },
): Promise<Plan | null> {
  return plan(life, proposal, { type: 'sweep', id: 'preview', name: 'preview' })
}

async function plan(life: Lifecycle, proposal: Proposal, actor: Actor): Promise<Planned> {
  const tenant = proposal.tenant as ServiceAccount['tenant']
  switch (proposal.act) {
    case 'offboard':
    case 'expire':
    case 'delete':
    case 'shadow':
    case 'warn': {
      const account = await life.store.read.account(tenant, proposal.id)
      return account && planAccount(life, proposal.act, account, actor)
    }
    case 'expireCredential':
    case 'warnCredential':
    case 'replan':
    case 'rescope':
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
  act: 'offboard' | 'expire' | 'delete' | 'shadow' | 'warn',
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
    case 'shadow':
      return shadowDue(life, account, actor)
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
  act: 'expireCredential' | 'warnCredential' | 'replan' | 'rescope' | 'rotate',
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
    case 'rescope':
      return rescopeBehind(life, held, actor)
    case 'rotate':
      return rotateDue(life, held, actor)
  }
}

/** The decision commits by itself: after a conflict it looks at the account again. */
async function offboard(life: Lifecycle, account: ServiceAccount, actor: Actor): Promise<Planned> {
  const operations = await actOnLeaver(life, account, { actor, cause: life.ids.next() })
  return operations.length === 0 ? null : { changes: [], operations }
}

async function expire(life: Lifecycle, real: ServiceAccount, actor: Actor): Promise<Planned> {
  const { id, expiresAt } = real
  if (expiresAt > life.clock.now()) return null
  if (real.protected) {
    if (!isOpen(real.status)) return null
    const due = { subjectType: 'account', id, rule: 'expired', since: expiresAt } as const
    return protectedDue(life, real, due, actor)
  }
  const twin = await twinOf(life, real)
  const { account } = twin
  if (!isOpen(account.status)) return null
  const planned = planClose(life, account, { kind: 'disable', reason: 'expired', actor })
  const facts = { expiresAt: account.expiresAt }
  const plan = closing(life, account, planned, 'account.expiryDue', facts, actor)
  return unlessWatched(life, real, twin, plan, whyOf('expired', plan, actor))
}

/** What a sweep starts has no other cause than itself. */
function whyOf(rule: string, { operations }: Plan, actor: Actor): Why {
  return { actor, rule, cause: operations[0]!.cause }
}

/**
 * What is due of an account only by what enforcing would have made of it: the offer that nobody
 * could accept, the hold of what was never switched off.
 */
async function shadowDue(life: Lifecycle, account: ServiceAccount, actor: Actor): Promise<Planned> {
  const { status } = await twinOf(life, account).then((twin) => twin.account)
  const { tenant } = account
  if (status === 'orphaned' && !(await brakedNow(life, 'orphans', tenant))) {
    await offboard(life, account, actor)
  }
  if (isHeld(status) && !(await brakedNow(life, 'delete', tenant))) {
    const deletion = await deleteHeld(life, account, actor)
    if (deletion) return deletion
  }
  const changes = reviewed(life, account, await twinOf(life, account))
  return changes.length === 0 ? null : { changes, operations: [] }
}

function isHeld(status: ServiceAccount['status']): boolean {
  return status === 'disabled' || status === 'expired' || status === 'retired'
}

async function deleteHeld(life: Lifecycle, real: ServiceAccount, actor: Actor): Promise<Planned> {
  // What was retired was so by somebody's word: observing is no reason to keep its keys for ever.
  const watching = await twinOf(life, real)
  const twin = real.status === 'retired' ? { ...watching, watched: false } : watching
  const account = twin.watched ? twin.account : real
  const { deleteAt } = account
  if (deleteAt === null || deleteAt > life.clock.now() || !isHeld(account.status)) return null
  if (real.protected && real.status !== 'retired') {
    const due = { subjectType: 'account', id: real.id, rule: 'held', since: deleteAt } as const
    return protectedDue(life, real, due, actor)
  }
  if (frozenAccount(life, account)) return null
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
  const plan = closing(life, account, planned, 'account.deletionDue', { deleteAt }, actor)
  return unlessWatched(life, real, twin, plan, whyOf('held', plan, actor))
}

function closing(
  life: Lifecycle,
  before: ServiceAccount,
  planned: ReturnType<typeof planClose>,
  action: string,
  facts: JsonObject,
  actor: Actor,
): Plan {
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

async function expireCredential(life: Lifecycle, held: Held, actor: Actor): Promise<Planned> {
  const { account } = held
  const twin = await twinOf(life, account)
  if (!isOpen(twin.account.status)) return null
  const credential = twin.credential(held.credential)
  const works = credential.status === 'active' || credential.status === 'superseded'
  if (!works || credential.expiresAt > life.clock.now()) return null
  const { id, expiresAt } = credential
  if (account.protected) {
    const due = { subjectType: 'credential', id, rule: 'expired', since: expiresAt } as const
    return protectedDue(life, account, due, actor)
  }
  const { operation, changes } = planRevoke(life, credential, actor, 'expired')
  const facts = { expiresAt: credential.expiresAt }
  const row = credentialRow(life, credential, 'credential.expiryDue', operation, facts, actor)
  const plan = { operations: [operation], changes: [...changes, row] }
  return unlessWatched(life, account, twin, plan, whyOf('expired', plan, actor))
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
  { account: real, credential }: Held,
  actor: Actor,
): Promise<Planned> {
  const now = life.clock.now()
  const twin = await twinOf(life, real)
  const { account } = twin
  const isLease = capabilitiesOf(life, credential)?.lease != null
  // Without its next lease an account that is only waiting for an heir would stop within the hour;
  // a protected one may wait for years.
  const goesOn = isLease || account.protected
  const isUp = account.status === 'active' || (goesOn && account.status === 'orphaned')
  if (twin.credential(credential).status !== 'active' || !isUp) return null
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
  const rotatedAt = twin.rotatedAt(credential)
  const dated = rotatedAt !== null && (oldest === null || rotatedAt > oldest)
  const due =
    !dated && (isLease || !serves)
      ? credential.rotateAfter
      : rotateAfterOf(dated ? rotatedAt : oldest, every)
  // Dated by a policy that is no longer the one, e.g. while it was replaced.
  if (due === null || due > now) {
    return dated ? null : replan(life, { account: real, credential }, actor)
  }
  // A key that stopped working is no plan: it is replaced whenever it is.
  if ((serves || dated) && frozenCredential(life, account, credential)) return null
  // A rotation gives a working key: never to an account whose owner is gone (R60).
  const { decision } = await verdictOnTwin(life, twin)
  const { rule } = decision
  const staysUp = decision.action === 'none' || (goesOn && decision.action !== 'disable')
  const waits = rule === 'groupGrace' || rule === 'held' || (rule === 'grace' && !isLease)
  if (!staysUp || waits) return null
  const operation = rotation(life, account, credential, actor, { reason: 'scheduled' })
  const facts = { rotateAfter: credential.rotateAfter, oldestKeyIssuedAt: oldest, every }
  const row = credentialRow(life, credential, 'credential.rotationDue', operation, facts, actor)
  const plan = {
    operations: [operation],
    changes: [{ type: 'enqueue', operation, preempt: false } as const, row],
  }
  return unlessWatched(life, real, twin, plan, whyOf('scheduled', plan, actor))
}
