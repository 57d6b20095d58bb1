import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import type { Reads } from '../store/store.ts'
import { planClose } from './switching.ts'
import type { Lifecycle } from './context.ts'
import { auditRow, planOperation } from './context.ts'
import { planRevoke, rotation, termsOf } from './credentials.ts'
import { actOnLeaver, verdictOn } from './offboard.ts'

export type SweepName = 'orphans' | 'expiry' | 'rotation'
export const sweepNames: readonly SweepName[] = ['orphans', 'expiry', 'rotation']

/** What a sweep found due. It carries ids only: whoever acts reads the rows again and decides anew. */
export interface Proposal {
  readonly act: 'offboard' | 'expire' | 'expireCredential' | 'delete' | 'rotate'
  readonly tenant: string
  readonly id: string
}

/** Proposals per batch: applying one stays within about 10 ms of the main thread. */
export const sweepBatchMax = 100

/**
 * Reads what is due, in batches, from any handle: a sweep's own thread or the main one. It writes
 * nothing and calls no provider. Ends when a page comes back short.
 */
export async function* findDue(
  read: Reads,
  sweep: SweepName,
  now: Instant,
): AsyncGenerator<readonly Proposal[]> {
  switch (sweep) {
    case 'orphans':
      yield* pages((after) => read.orphans(now, after, sweepBatchMax), 'offboard')
      return
    case 'expiry':
      yield* pages((after) => read.expired(now, after, sweepBatchMax), 'expire')
      yield* pages(
        (after) => read.expiredCredentials(now, after, sweepBatchMax),
        'expireCredential',
      )
      yield* pages((after) => read.deletable(now, after, sweepBatchMax), 'delete')
      return
    case 'rotation':
      yield* pages((after) => read.rotationDue(now, after, sweepBatchMax), 'rotate')
  }
}

async function* pages(
  read: (after: string | null) => Promise<readonly (ServiceAccount | Credential)[]>,
  act: Proposal['act'],
): AsyncGenerator<readonly Proposal[]> {
  let after: string | null = null
  for (;;) {
    const rows = await read(after)
    const last = rows.at(-1)
    if (!last) return
    yield rows.map(({ id, tenant }) => ({ act, id, tenant }))
    if (rows.length < sweepBatchMax) return
    after = last.id
  }
}

export interface Applied {
  readonly proposal: Proposal
  /** Operations started; empty when the row had changed and nothing is due any more. */
  readonly operations: readonly string[]
  readonly error: string | null
}

/** Acts on one batch. Each item stands alone: one that fails stays due and is seen next time (R86). */
export async function applyBatch(
  life: Lifecycle,
  sweep: SweepName,
  batch: readonly Proposal[],
): Promise<readonly Applied[]> {
  const actor: Actor = { type: 'sweep', id: sweep, name: `${sweep} sweep` }
  return Promise.all(
    batch.map(async (proposal): Promise<Applied> => {
      try {
        const operations = await applyOne(life, proposal, actor)
        return { proposal, operations: operations.map((o) => o.id), error: null }
      } catch (error) {
        return {
          proposal,
          operations: [],
          error: error instanceof Error ? error.message : 'unknown',
        }
      }
    }),
  )
}

async function applyOne(
  life: Lifecycle,
  proposal: Proposal,
  actor: Actor,
): Promise<readonly Operation[]> {
  const tenant = proposal.tenant as ServiceAccount['tenant']
  if (proposal.act === 'rotate') return rotateDue(life, tenant, proposal.id, actor)
  if (proposal.act === 'expireCredential') return expireCredential(life, tenant, proposal.id, actor)
  const account = await life.store.read.account(tenant, proposal.id)
  if (!account) return []
  switch (proposal.act) {
    case 'offboard':
      return actOnLeaver(life, account, { actor, cause: life.ids.next() })
    case 'expire':
      return expire(life, account, actor)
    case 'delete':
      return deleteHeld(life, account, actor)
  }
}

async function expire(
  life: Lifecycle,
  account: ServiceAccount,
  actor: Actor,
): Promise<readonly Operation[]> {
  if (account.expiresAt > life.clock.now() || account.protected || watched(life, account)) return []
  const planned = planClose(life, account, { kind: 'disable', reason: 'expired', actor })
  return commitOne(
    life,
    account,
    planned,
    'account.expiryDue',
    { expiresAt: account.expiresAt },
    actor,
  )
}

/** Under `enforcement: observe` no sweep acts; its plan still shows what is due. */
function watched(life: Lifecycle, account: ServiceAccount): boolean {
  return termsOf(life, account).enforcement === 'observe'
}

async function deleteHeld(
  life: Lifecycle,
  account: ServiceAccount,
  actor: Actor,
): Promise<readonly Operation[]> {
  if (account.deleteAt === null || account.deleteAt > life.clock.now() || watched(life, account))
    return []
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
  return commitOne(
    life,
    account,
    planned,
    'account.deletionDue',
    { deleteAt: account.deleteAt },
    actor,
  )
}

async function commitOne(
  life: Lifecycle,
  before: ServiceAccount,
  planned: ReturnType<typeof planClose>,
  action: string,
  facts: Readonly<Record<string, string>>,
  actor: Actor,
): Promise<readonly Operation[]> {
  const result = await life.store.commit([
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
  ])
  if (result !== 'saved') return []
  life.wake()
  return [planned.operation]
}

async function expireCredential(
  life: Lifecycle,
  tenant: ServiceAccount['tenant'],
  id: string,
  actor: Actor,
): Promise<readonly Operation[]> {
  const credential = await life.store.read.credential(tenant, id)
  const account = credential && (await life.store.read.account(tenant, credential.account))
  if (!credential || !account || watched(life, account) || account.protected) return []
  const works = credential.status === 'active' || credential.status === 'superseded'
  if (!works || credential.expiresAt > life.clock.now()) return []
  const { operation, changes } = planRevoke(life, credential, actor, 'expired')
  const result = await life.store.commit([
    ...changes,
    auditRow(life, {
      tenant,
      actor,
      action: 'credential.expiryDue',
      target: { type: 'credential', id },
      operation: operation.id,
      facts: { expiresAt: credential.expiresAt },
    }),
  ])
  if (result !== 'saved') return []
  life.wake()
  return [operation]
}

async function rotateDue(
  life: Lifecycle,
  tenant: ServiceAccount['tenant'],
  id: string,
  actor: Actor,
): Promise<readonly Operation[]> {
  const credential = await life.store.read.credential(tenant, id)
  const account = credential && (await life.store.read.account(tenant, credential.account))
  if (!credential || !account) return []
  const due = credential.rotateAfter !== null && credential.rotateAfter <= life.clock.now()
  if (!due || credential.status !== 'active' || account.status !== 'active') return []
  if (watched(life, account)) return []
  // A rotation gives a working key: never to an account whose owner is gone (R60).
  const { decision } = await verdictOn(life, account)
  if (decision.action !== 'none' || decision.rule === 'groupGrace') return []
  const operation = rotation(life, account, credential, actor, { reason: 'scheduled' })
  const result = await life.store.commit([
    { type: 'enqueue', operation, preempt: false },
    auditRow(life, {
      tenant,
      actor,
      action: 'credential.rotationDue',
      target: { type: 'credential', id },
      operation: operation.id,
      facts: { rotateAfter: credential.rotateAfter },
    }),
  ])
  if (result !== 'saved') return []
  life.wake()
  return [operation]
}

/** The plan of a sweep for one tenant: what it would act on now, with the decision behind each. */
export async function planSweep(
  life: Lifecycle,
  tenant: string,
  sweep: SweepName,
  limit: number,
): Promise<readonly (Proposal & { readonly rule: string })[]> {
  const plan: (Proposal & { readonly rule: string })[] = []
  for await (const batch of findDue(life.store.read, sweep, life.clock.now())) {
    for (const proposal of batch.filter((p) => p.tenant === tenant)) {
      if (plan.length >= limit) return plan
      plan.push({ ...proposal, rule: await ruleOf(life, proposal) })
    }
  }
  return plan
}

async function ruleOf(life: Lifecycle, proposal: Proposal): Promise<string> {
  if (proposal.act !== 'offboard') return proposal.act
  const account = await life.store.read.account(
    proposal.tenant as ServiceAccount['tenant'],
    proposal.id,
  )
  if (!account) return 'gone'
  const { decision } = await verdictOn(life, account)
  return `${decision.action}: ${decision.rule}`
}

/** Runs a whole sweep for one tenant in this process: what `POST /api/v1/sweeps/{name}` does. */
export async function runSweep(
  life: Lifecycle,
  tenant: string,
  sweep: SweepName,
): Promise<readonly Applied[]> {
  const applied: Applied[] = []
  for await (const batch of findDue(life.store.read, sweep, life.clock.now())) {
    const own = batch.filter((p) => p.tenant === tenant)
    applied.push(...(await applyBatch(life, sweep, own)))
  }
  return applied
}
