import { createHash } from 'node:crypto'
import type { Approval, ApprovalItem, ApprovalStatus, PlannedAct } from '../domain/approval.ts'
import type { Decision } from '../domain/audit.ts'
import { errors } from '../domain/errors.ts'
import type { PersonId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import { secondsBetween } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise } from './context.ts'
import { leaveOperation, planSave, released } from './people.ts'

/** One person of a batch as an approver sees it. */
export interface HeldPerson {
  readonly subject: string
  readonly userName: string | null
  readonly action: 'leave'
  readonly since: string
  /** Whole seconds since the directory said so. */
  readonly ageSeconds: number
  /** `moot`: undecided, and nothing left to decide. */
  readonly outcome: ApprovalItem['outcome'] | 'moot'
  readonly reason: string | null
  readonly decidedBy: string | null
  readonly decidedAt: string | null
  readonly operation: string | null
}

export interface ApprovalView {
  readonly approval: Approval
  readonly items: readonly HeldPerson[]
}

/** What became of one person by an approval or a denial. */
export interface Decided {
  readonly subject: string
  readonly outcome: 'approved' | 'denied' | 'moot'
  /** Of an approved one: the leave that was started. */
  readonly operation: string | null
  /** Of a moot one, why. */
  readonly reason: string | null
}

export interface DecisionWish {
  /** Of the plan as it was shown. */
  readonly hash: string
  /** null: all that is undecided. */
  readonly subjects: readonly string[] | null
  readonly reason: string | null
}

/**
 * What the approver agrees to, as a hash: tenant, batch, every (subject, action, version) and the
 * policy that would decide for their accounts. Canonical: keys sorted, no spaces.
 * @returns SHA-256 in hex
 */
export function hashOfPlan(
  approval: Pick<Approval, 'tenant' | 'id'>,
  plan: readonly PlannedAct[],
  policyVersion: string,
): string {
  const acts = [...plan]
    .sort((a, b) => (a.subject < b.subject ? -1 : 1))
    .map(({ action, subject, version }) => ({ action, subject, version }))
  const { id, tenant } = approval
  const text = JSON.stringify({ acts, batch: id, policy: policyVersion, tenant })
  return createHash('sha256').update(text).digest('hex')
}

export async function listApprovals(
  life: Lifecycle,
  caller: Caller,
  want: {
    readonly status: ApprovalStatus | null
    readonly after: string | null
    readonly limit: number
  },
): Promise<readonly Approval[]> {
  authorise(life, caller, 'approval.read', { type: 'approval', id: 'any' })
  return life.store.read.approvals(caller.tenant, want)
}

/** Whether a plan may be shown to this caller as one to decide on: that freezes it. */
function mayDecide(life: Lifecycle, caller: Caller, id: string): Decision | null {
  try {
    return authorise(life, caller, 'approval.decide', { type: 'approval', id })
  } catch {
    return null
  }
}

/**
 * One batch with its people. Shown to somebody who may decide, it is frozen: whoever is held later
 * joins another one. @throws notFound
 */
export async function showApproval(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<ApprovalView> {
  authorise(life, caller, 'approval.read', { type: 'approval', id })
  if (mayDecide(life, caller, id)) return viewOf(life, (await openPlan(life, caller, id)).opened)
  return viewOf(life, await load(life, caller, id))
}

/**
 * Starts the leaves of a batch, or of some of it. Who came back or was decided meanwhile is skipped
 * and reported.
 * @throws notFound, forbidden, ownLeaving, wrongState, planChanged with what is different now
 */
export async function approve(
  life: Lifecycle,
  caller: Caller,
  id: string,
  wish: DecisionWish,
): Promise<readonly Decided[]> {
  return decideBatch(life, caller, id, wish, 'approved')
}

/**
 * The directory was wrong. They stay as they are, with no deadline, until it says active again or
 * an operator declares the leaving. @throws as `approve`
 */
export async function deny(
  life: Lifecycle,
  caller: Caller,
  id: string,
  wish: DecisionWish,
): Promise<readonly Decided[]> {
  return decideBatch(life, caller, id, wish, 'denied')
}

async function decideBatch(
  life: Lifecycle,
  caller: Caller,
  id: string,
  wish: DecisionWish,
  outcome: 'approved' | 'denied',
): Promise<readonly Decided[]> {
  const decision = authorise(life, caller, 'approval.decide', { type: 'approval', id })
  const { before, opened, changed } = await openPlan(life, caller, id)
  if (opened.status === 'closed') {
    const action = outcome
    throw errors.wrongState({ what: 'Approval', id, status: 'closed already', action })
  }
  if (wish.hash !== opened.hash) {
    const seen = before.hash === wish.hash ? changed.join('; ') : 'it is not the plan shown last'
    throw errors.planChanged({ id, changes: seen, hash: opened.hash ?? '' })
  }
  const items = await itemsOf(life, opened)
  const chosen = chooseItems(id, opened, items, wish.subjects)
  for (const item of chosen) if (item.outcome === null) forbidOwn(caller, item)

  const decided: Decided[] = []
  // A few at a time share one group commit of the store; all at once would hold others up.
  for (let i = 0; i < chosen.length; i += 25) {
    const some = chosen.slice(i, i + 25)
    decided.push(
      ...(await Promise.all(
        some.map((item) => decideOne(life, caller, { opened, item, wish, outcome, decision })),
      )),
    )
  }
  if (decided.some((d) => d.operation !== null)) life.wake()
  return decided
}

function chooseItems(
  id: string,
  opened: Approval,
  items: readonly ApprovalItem[],
  subjects: readonly string[] | null,
): readonly ApprovalItem[] {
  const planned = new Set<string>(opened.plan.map((act) => act.subject))
  if (subjects === null) {
    // Those another approver decided are that one's to report; who came back is told.
    const isMine = (i: ApprovalItem) => i.outcome !== 'approved' && i.outcome !== 'denied'
    return items.filter((i) => planned.has(i.subject) && isMine(i))
  }
  return [...new Set(subjects)].map((subject) => {
    const item = items.find((i) => i.subject === subject)
    if (item && planned.has(subject)) return item
    const reason = `"${subject}" is not in the plan of approval ${id}.`
    throw errors.invalidValue({ path: 'subjects', reason })
  })
}

/** Nobody decides about what they sent themselves, or about their own leaving (X19). */
function forbidOwn({ client }: Caller, item: ApprovalItem): void {
  const samePerson =
    client.person !== null &&
    (client.person === item.clientPerson || client.person === item.subject)
  if (client.id === item.client || samePerson) throw errors.ownLeaving({ subject: item.subject })
}

async function decideOne(
  life: Lifecycle,
  caller: Caller,
  act: {
    readonly opened: Approval
    readonly item: ApprovalItem
    readonly wish: DecisionWish
    readonly outcome: 'approved' | 'denied'
    readonly decision: Decision
  },
): Promise<Decided> {
  const { opened, item, outcome, decision } = act
  const now = life.clock.now()
  const person = await life.store.read.person(opened.tenant, item.subject)
  const moot = (reason: string): Decided => ({
    subject: item.subject,
    outcome: 'moot',
    operation: null,
    reason,
  })
  if (item.outcome !== null) return moot(`${item.outcome} already`)
  if (person?.heldBy !== opened.id) return moot('not held any more')
  // Bound to the plan: whoever changed between the check of the hash and here is left for the next.
  if (person.version !== opened.plan.find((p) => p.subject === person.id)?.version) {
    return moot('changed this moment; look again')
  }
  const operation = outcome === 'approved' ? leaveOperation(life, caller, person) : null
  const ended: Change = {
    type: 'approvalDecided',
    directory: opened.subject,
    isFinal: true,
    item: {
      ...item,
      outcome,
      reason: act.wish.reason,
      decidedBy: caller.client.name,
      decidedAt: now,
      operation: operation?.id ?? null,
    },
  }
  const facts = { approval: opened.id, hash: opened.hash, reason: act.wish.reason }
  const changes: readonly Change[] =
    operation === null
      ? [
          ended,
          auditRow(life, {
            tenant: opened.tenant,
            actor: caller.actor,
            action: 'leaving.denied',
            target: { type: 'person', id: person.id },
            decision,
            facts,
          }),
        ]
      : planSave(life, caller, {
          current: person,
          next: released(person, now),
          action: 'leaving.approved',
          decision,
          operation,
          facts,
          more: [ended],
        }).changes
  const result = await life.store.commit(changes)
  if (result !== 'saved') return moot('decided by somebody else this moment')
  return { subject: item.subject, outcome, operation: operation?.id ?? null, reason: null }
}

interface OpenedPlan {
  readonly before: Approval
  readonly opened: Approval
  /** What is different from the plan shown before; empty when it is the same one. */
  readonly changed: readonly string[]
}

const freezesMax = 10

/**
 * The batch with a plan that is true now: frozen at the first look, and anew once one of its people
 * or the policy has changed.
 */
async function openPlan(life: Lifecycle, caller: Caller, id: string): Promise<OpenedPlan> {
  for (let attempt = 1; ; attempt++) {
    const before = await load(life, caller, id)
    if (before.status === 'closed') return { before, opened: before, changed: [] }
    const people = await undecided(life, before)
    const changed = changesSince(life, before, people)
    if (before.hash !== null && changed.length === 0) return { before, opened: before, changed }

    const plan = people.map((p): PlannedAct => ({
      subject: p.id,
      action: 'leave',
      version: p.version,
    }))
    const policyVersion = life.policy().version
    const at = life.clock.now()
    const frozen = { policyVersion, plan, hash: hashOfPlan(before, plan, policyVersion) }
    const { tenant, subject, joined } = before
    const result = await life.store.commit([
      { type: 'approvalFrozen', tenant, id: before.id, directory: subject, joined, at, ...frozen },
      auditRow(life, {
        tenant,
        actor: caller.actor,
        action: 'approval.frozen',
        target: { type: 'approval', id: before.id },
        facts: { people: plan.length, hash: frozen.hash, policy: policyVersion },
      }),
    ])
    if (result === 'saved') {
      return { before, opened: { ...before, ...frozen, status: 'waiting', frozenAt: at }, changed }
    }
    if (attempt >= freezesMax) throw errors.changedMeanwhile({ what: 'Approval', id })
  }
}

async function undecided(life: Lifecycle, approval: Approval): Promise<readonly Person[]> {
  const items = (await itemsOf(life, approval)).filter((i) => i.outcome === null)
  const people = await Promise.all(
    items.map((i) => life.store.read.person(approval.tenant, i.subject)),
  )
  return people.filter((p): p is Person => p?.heldBy === approval.id)
}

const changesShownMax = 10

function changesSince(
  life: Lifecycle,
  approval: Approval,
  people: readonly Person[],
): readonly string[] {
  const changes: string[] = []
  const policy = life.policy().version
  if (approval.policyVersion !== null && approval.policyVersion !== policy) {
    changes.push(`the lifecycle policy is ${policy}, it was ${approval.policyVersion}`)
  }
  const versions = new Map<PersonId, number>(approval.plan.map((p) => [p.subject, p.version]))
  const moved = people.filter((p) => versions.get(p.id) !== p.version)
  changes.push(...moved.slice(0, changesShownMax).map((p) => `${p.userName} (${p.id}) changed`))
  if (moved.length > changesShownMax) {
    changes.push(`${moved.length - changesShownMax} more people changed`)
  }
  return changes
}

async function load(life: Lifecycle, caller: Caller, id: string): Promise<Approval> {
  const approval = await life.store.read.approval(caller.tenant, id)
  if (!approval) throw errors.notFound({ what: 'Approval', id })
  return approval
}

const itemsPage = 200

async function itemsOf(life: Lifecycle, approval: Approval): Promise<readonly ApprovalItem[]> {
  const items: ApprovalItem[] = []
  for (;;) {
    const after = items.at(-1)?.subject ?? null
    const { tenant, id } = approval
    const page = await life.store.read.approvalItems(tenant, id, after, itemsPage)
    items.push(...page)
    if (page.length < itemsPage) return items
  }
}

async function viewOf(life: Lifecycle, approval: Approval): Promise<ApprovalView> {
  const now = life.clock.now()
  const items = await Promise.all(
    (await itemsOf(life, approval)).map(async (item): Promise<HeldPerson> => {
      const person = await life.store.read.person(approval.tenant, item.subject)
      const isMoot = item.outcome === null && person?.heldBy !== approval.id
      return {
        subject: item.subject,
        userName: person?.userName ?? null,
        action: 'leave',
        since: item.since,
        ageSeconds: Math.floor(secondsBetween(item.since, now)),
        outcome: isMoot ? 'moot' : item.outcome,
        reason: item.reason,
        decidedBy: item.decidedBy,
        decidedAt: item.decidedAt,
        operation: item.operation,
      }
    }),
  )
  return { approval, items }
}
