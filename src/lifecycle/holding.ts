import type { Approval, ApprovalItem, ApprovalOutcome, LeaveCounts } from '../domain/approval.ts'
import type { ApprovalId, OperationId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, hour } from '../domain/time.ts'
import type { BrakeTerms } from '../policy/lifecycle.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow } from './context.ts'

export interface LeaveLimits {
  readonly hourly: number
  readonly daily: number
}

/**
 * How many people of a directory may leave in an hour and in a day. The shares are of those who were
 * there before: a directory that empties itself would otherwise lower its own limit. Pure.
 */
export function limitsOf(terms: BrakeTerms, counts: LeaveCounts): LeaveLimits {
  const people = counts.active + counts.day
  return {
    hourly: Math.max(terms.least, Math.floor(people * terms.hourly)),
    daily: Math.max(terms.least, Math.floor(people * terms.daily)),
  }
}

/** What a leaving that a directory sent adds to its commit: the note that lets it go, or the hold. */
export interface Holding {
  /** null: let go. */
  readonly heldBy: ApprovalId | null
  readonly changes: readonly Change[]
}

/**
 * Decides whether one more may go. The store decides again when it commits: two processes that both
 * see one place left cannot both take it, the second one's commit ends as `braked`.
 */
export async function holdOrLetGo(
  life: Lifecycle,
  caller: Caller,
  person: Person,
  at: Instant,
): Promise<Holding> {
  const { tenant, directory, id } = person
  const ago = (span: number) => addSeconds(at, -span)
  const who = { person: id, hourAgo: ago(hour), dayAgo: ago(day) }
  const counts = await life.store.read.leaveCounts(tenant, directory, who)
  const limits = limitsOf(life.policy().brake, counts)
  const note = { type: 'leaving', tenant, directory, at, ...who } as const
  const full = counts.hour >= limits.hourly || counts.day >= limits.daily
  if (!full || counts.letGo) {
    return { heldBy: null, changes: [{ ...note, held: false, limits }] }
  }

  const known = await life.store.read.formingApproval(tenant, 'leavers', directory)
  // This person included: an operator compares it with what the directory sent.
  const facts = { leftWithinHour: counts.hour + 1, leftWithinDay: counts.day + 1, ...limits }
  const approval: Approval = known ?? {
    tenant,
    id: life.ids.next() as ApprovalId,
    kind: 'leavers',
    subject: directory,
    status: 'forming',
    joined: 1,
    hash: null,
    policyVersion: null,
    plan: [],
    facts,
    createdAt: at,
    frozenAt: null,
    closedAt: null,
  }
  const item: ApprovalItem = {
    tenant,
    approval: approval.id,
    subject: id,
    since: at,
    client: caller.client.id,
    clientPerson: caller.client.person,
    outcome: null,
    reason: null,
    decidedBy: null,
    decidedAt: null,
    operation: null,
  }
  return {
    heldBy: approval.id,
    changes: [
      { ...note, held: true, limits: null },
      { type: 'held', approval, isNew: known === null, item },
      {
        type: 'brakeEngaged',
        brake: { tenant, name: 'leavers', subject: directory, since: at, facts },
      },
      ...(known === null ? [opened(life, caller, approval)] : []),
      auditRow(life, {
        tenant,
        actor: caller.actor,
        action: 'leaving.held',
        target: { type: 'person', id },
        facts: { approval: approval.id, ...facts },
      }),
    ],
  }
}

function opened(life: Lifecycle, caller: Caller, approval: Approval): Change {
  return auditRow(life, {
    tenant: approval.tenant,
    actor: caller.actor,
    action: 'approval.opened',
    target: { type: 'approval', id: approval.id },
    facts: { kind: approval.kind, directory: approval.subject, ...approval.facts },
  })
}

/** How a held person's item ends outside of a decision on the batch; nothing for who is not held. */
export function endOfHolding(
  caller: Caller,
  person: Person,
  outcome: Extract<ApprovalOutcome, 'returned' | 'declared'>,
  why: {
    readonly at: Instant
    readonly reason: string | null
    readonly operation: OperationId | null
  },
): readonly Change[] {
  if (person.heldBy === null) return []
  const item: ApprovalItem = {
    tenant: person.tenant,
    approval: person.heldBy,
    subject: person.id,
    since: person.leftAt ?? why.at,
    client: caller.client.id,
    clientPerson: caller.client.person,
    outcome,
    reason: why.reason,
    decidedBy: caller.client.name,
    decidedAt: why.at,
    operation: why.operation,
  }
  return [{ type: 'approvalDecided', directory: person.directory, item, isFinal: false }]
}
