import type { Finding, Sight } from '../domain/finding.ts'
import { findingKey, seenAgain } from '../domain/finding.ts'
import { sameJson } from '../domain/json.ts'
import type { Actor } from '../domain/operation.ts'
import type { Change } from '../store/store.ts'
import { auditRow } from './context.ts'
import type { StepContext } from './steps/step.ts'

export const reconcileActor: Actor = { type: 'sweep', id: 'reconcile', name: 'reconcile sweep' }

/**
 * What was seen becomes findings: new ones are opened, known ones are seen again. Each opening has
 * its audit row in the same commit; to be seen again is none.
 * @param kept what could not be looked at this time, and so must not count as gone
 */
export async function sightChanges(
  ctx: StepContext,
  provider: string,
  sights: readonly Sight[],
  kept: readonly Pick<Sight, 'kind' | 'subject'>[] = [],
): Promise<readonly Change[]> {
  const { life, operation } = ctx
  if (sights.length === 0 && kept.length === 0) return []
  const subjects = [...sights, ...kept].map((s) => s.subject)
  const found = await life.store.read.unresolvedFindings(provider, subjects)
  const known = new Map(found.map((finding) => [findingKey(finding), finding]))
  const at = { run: operation.id, now: life.clock.now() }
  const changes: Change[] = []
  for (const sight of new Map(sights.map((s) => [findingKey(s), s])).values()) {
    const before = known.get(findingKey(sight))
    if (!before) {
      const finding = opened(ctx, sight)
      changes.push(
        { type: 'finding', finding, expectedVersion: null },
        findingAudit(ctx, finding, 'finding.opened'),
      )
      continue
    }
    if (before.run === at.run && sameJson(before.facts, sight.facts)) continue
    const { finding, reopened } = seenAgain(before, sight, at)
    changes.push({ type: 'finding', finding, expectedVersion: before.version })
    if (reopened) changes.push(findingAudit(ctx, finding, 'finding.reopened'))
  }
  for (const { kind, subject } of kept) {
    const before = known.get(findingKey({ kind, subject }))
    if (!before || before.run === at.run) continue
    const finding = { ...before, run: at.run }
    changes.push({ type: 'finding', finding, expectedVersion: before.version })
  }
  return changes
}

function opened({ life, operation }: StepContext, sight: Sight): Finding {
  const now = life.clock.now()
  return {
    ...sight,
    id: life.ids.next(),
    status: 'open',
    firstSeenAt: now,
    lastSeenAt: now,
    resolvedAt: null,
    acceptance: null,
    run: operation.id,
    version: 1,
  }
}

/** What a believed inventory does not show any more is over. */
export function resolution(ctx: StepContext, finding: Finding): readonly Change[] {
  const resolved: Finding = {
    ...finding,
    status: 'resolved',
    resolvedAt: ctx.life.clock.now(),
  }
  return [
    { type: 'finding', finding: resolved, expectedVersion: finding.version },
    findingAudit(ctx, resolved, 'finding.resolved'),
  ]
}

function findingAudit(
  { life, operation }: StepContext,
  { id, tenant, kind, provider, account, credential, keyId }: Finding,
  action: 'finding.opened' | 'finding.reopened' | 'finding.resolved',
): Change {
  return auditRow(life, {
    tenant,
    actor: reconcileActor,
    action,
    target: { type: 'finding', id },
    operation: operation.id,
    facts: { kind, provider, account, credential, keyId },
  })
}
