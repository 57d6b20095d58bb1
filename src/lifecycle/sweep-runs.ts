import type { ServiceAccount } from '../domain/account.ts'
import { addSeconds } from '../domain/time.ts'
import type { Frozen } from '../policy/windows.ts'
import type { Lifecycle } from './context.ts'
import type { Proposal, Scope, SweepName } from './due.ts'
import { findDue } from './due.ts'
import { verdictOn } from './offboard.ts'
import { reconcilable } from './reconcile.ts'
import type { Applied } from './sweeps.ts'
import { applyBatch } from './sweeps.ts'
import { daysLeft } from './warnings.ts'
import { frozenAccount, frozenCredential } from './windows.ts'

/** Owners who changed this long ago are looked at when an operator asks for less than everything. */
const recentSeconds = 86_400

/** What a sweep that an operator asks for looks at. */
function scopeOf(life: Lifecycle, full: boolean): Scope {
  const { groupGrace, leaveGrace, planAhead } = life.policy()
  const changedSince = full ? null : addSeconds(life.clock.now(), -recentSeconds)
  // Dating all rotations anew is for the scheduler, which knows when it has been through.
  const providers = reconcilable(life)
  return { changedSince, groupGrace, leaveGrace, planAhead, replan: false, providers }
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
    case 'rotate':
      return (await frozenRule(life, tenant, proposal.id)) ?? proposal.act
    case 'delete': {
      const account = await life.store.read.account(tenant, proposal.id)
      const frozen = account && frozenAccount(life, account)
      return frozen ? frozenText(frozen) : proposal.act
    }
    default:
      return proposal.act
  }
}

async function frozenRule(
  life: Lifecycle,
  tenant: ServiceAccount['tenant'],
  id: string,
): Promise<string | null> {
  const credential = await life.store.read.credential(tenant, id)
  const account = credential && (await life.store.read.account(tenant, credential.account))
  const frozen = account && frozenCredential(life, account, credential)
  return frozen && frozenText(frozen)
}

function frozenText({ window, until }: Frozen): string {
  return `frozen until ${until} by "${window}"`
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
