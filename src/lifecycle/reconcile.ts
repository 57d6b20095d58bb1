import { errors } from '../domain/errors.ts'
import type { Finding, FindingKind, FindingStatus } from '../domain/finding.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, replanned, save, visibilityOf } from './context.ts'
import { hiddenAs, visibleAccount } from './visible.ts'

/** The providers whose inventory can be taken. */
export function reconcilable(life: Pick<Lifecycle, 'providers'>): readonly string[] {
  return [...life.providers].flatMap(([name, provider]) => (provider.inventory ? [name] : []))
}

/**
 * Compares one provider's inventory with the journal. Each provider has an operation of its own: one
 * that fails or hangs holds up no other (R30, R86), and a second one is refused while the first runs.
 * @returns null for a provider without an inventory
 */
export function planReconcile(
  life: Lifecycle,
  tenant: TenantId,
  provider: string,
  actor: Actor,
): { readonly changes: readonly Change[]; readonly operations: readonly Operation[] } | null {
  if (!reconcilable(life).includes(provider)) return null
  const operation = planOperation(life, {
    tenant,
    kind: 'reconcile',
    subjectType: 'provider',
    subject: provider,
    account: null,
    provider,
    actor,
  })
  const due = auditRow(life, {
    tenant,
    actor,
    action: 'provider.inventoryDue',
    target: { type: 'provider', id: provider },
    operation: operation.id,
  })
  return { changes: [{ type: 'enqueue', operation, preempt: false }, due], operations: [operation] }
}

/** An exception has an end; whoever still wants it in a year says so again. */
const acceptedSecondsMax = 365 * day

export interface FindingWant {
  readonly kind?: FindingKind
  readonly provider?: string
  readonly status?: FindingStatus
  readonly after: string | null
  readonly limit: number
}

/** Findings, newest first, in a keyset; what the caller may not see is left out by `visibleFinding`. */
export function findingsAfter(
  life: Lifecycle,
  caller: Caller,
  want: FindingWant,
): Promise<readonly Finding[]> {
  if (visibilityOf(caller).accounts === 'none') return Promise.resolve([])
  return life.store.read.findings({ tenant: caller.tenant, ...want })
}

/** @throws notFound also when it is not about an account of the caller's */
export async function visibleFinding(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Finding> {
  const finding = await life.store.read.finding(caller.tenant, id)
  if (!finding) throw errors.notFound({ what: 'Finding', id })
  if (visibilityOf(caller).accounts === 'all') return finding
  try {
    if (finding.account === null) throw errors.notFound({ what: 'Finding', id })
    await visibleAccount(life, caller, finding.account, { retiredToo: true })
    return finding
  } catch (cause) {
    throw hiddenAs(errors.notFound({ what: 'Finding', id }, { cause }), cause)
  }
}

/**
 * Says that a finding may stay until a date; from then on it is open again as soon as it is seen.
 * @throws notFound, forbidden, wrongState for a resolved one, acceptanceDate
 */
export function acceptFinding(
  life: Lifecycle,
  caller: Caller,
  id: string,
  want: { readonly reason: string; readonly until: Instant },
): Promise<Finding> {
  return replanned(async () => {
    const finding = await visibleFinding(life, caller, id)
    const decision = authorise(life, caller, 'finding.accept', { type: 'finding', id })
    const { status } = finding
    if (status === 'resolved') {
      throw errors.wrongState({ what: 'Finding', id, status, action: 'accepted' })
    }
    const now = life.clock.now()
    const latest = addSeconds(now, acceptedSecondsMax)
    if (want.until <= now || want.until > latest) {
      throw errors.acceptanceDate({ until: want.until, latest })
    }
    const acceptance = { by: caller.actor.name, at: now, ...want }
    const accepted: Finding = { ...finding, status: 'accepted', acceptance }
    await save(
      life,
      [
        { type: 'finding', finding: accepted, expectedVersion: finding.version },
        auditRow(life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'finding.accepted',
          target: { type: 'finding', id },
          decision,
          facts: { kind: finding.kind, reason: want.reason, until: want.until },
        }),
      ],
      { what: 'Finding', id },
    )
    return { ...accepted, version: finding.version + 1 }
  })
}
