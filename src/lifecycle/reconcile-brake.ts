import type { InventoryDoubt, InventoryLevel } from '../domain/finding.ts'
import { doubtOf } from '../domain/finding.ts'
import { defaultTenant } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Change } from '../store/store.ts'
import { brakeOn, engagedBrakes, nameOf } from './brakes.ts'
import { auditRow } from './context.ts'
import { reconcileActor } from './reconcile-findings.ts'
import type { StepContext } from './steps/step.ts'

/** What is kept of a provider's inventories, under `inventory:<provider>` in `meta`. */
interface InventoryBook {
  /** The last one believed. */
  readonly good: InventoryLevel | null
  /** The last one that was not: an operator's release of the brake makes it the base line. */
  readonly refused: InventoryLevel | null
}

export interface Judgement {
  /** Whether anything may be derived from what the inventory does not show. */
  readonly trusted: boolean
  readonly changes: readonly Change[]
}

/**
 * Judges an inventory and sets or takes back the brake `listing` of its provider (R17, R44, R58).
 * @param level null when the listing failed or was incomplete
 * @param failure what went wrong then, for the operator
 */
export async function judgeInventory(
  ctx: StepContext,
  provider: string,
  level: InventoryLevel | null,
  failure: JsonObject,
): Promise<Judgement> {
  const { read } = ctx.life.store
  const brakes = await engagedBrakes(ctx.life)
  const isOn = brakes.some((b) => b.name === 'listing' && b.subject === provider)
  const key = `inventory:${provider}`
  const book = bookOf(await read.meta(key))
  // Somebody released the brake: what was refused then is how things are now.
  const good = !isOn && book.refused ? book.refused : book.good
  const keep = (refused: InventoryLevel | null, now = good): Change => ({
    type: 'meta',
    key,
    value: JSON.stringify({ good: now, refused } satisfies InventoryBook),
  })
  if (level === null) {
    return {
      trusted: false,
      changes: [keep(isOn ? book.refused : null), ...engage(ctx, provider, failure, isOn)],
    }
  }
  const deleted = good ? await read.keysDeletedSince(provider, good.at) : 0
  const doubt = doubtOf(level, good, deleted)
  if (doubt !== null) {
    const facts = { reason: doubt satisfies InventoryDoubt, before: good, now: level, deleted }
    return { trusted: false, changes: [keep(level), ...engage(ctx, provider, facts, isOn)] }
  }
  const others = brakes.filter((b) => b.name !== 'listing')
  return {
    trusted: brakeOn(others, `actOnListing:${provider}`) === null,
    changes: [keep(null, level), ...(isOn ? release(ctx, provider, level) : [])],
  }
}

function bookOf(text: string | null): InventoryBook {
  return text === null ? { good: null, refused: null } : (JSON.parse(text) as InventoryBook)
}

const brakeOf = (provider: string) =>
  ({ tenant: null, name: 'listing', subject: provider }) as const

function engage(
  ctx: StepContext,
  provider: string,
  facts: JsonObject,
  isOn: boolean,
): readonly Change[] {
  const brake = { ...brakeOf(provider), since: ctx.life.clock.now(), facts }
  return [
    { type: 'brakeEngaged', brake },
    ...(isOn ? [] : [brakeAudit(ctx, provider, 'brake.engaged', facts)]),
  ]
}

function release(ctx: StepContext, provider: string, facts: JsonObject): readonly Change[] {
  return [
    { type: 'brakeReleased', ...brakeOf(provider) },
    brakeAudit(ctx, provider, 'brake.released', facts),
  ]
}

/** The brake is one of the whole installation: its audit is in the tenant that everybody has. */
function brakeAudit(
  { life, operation }: StepContext,
  provider: string,
  action: 'brake.engaged' | 'brake.released',
  facts: JsonObject,
): Change {
  return auditRow(life, {
    tenant: defaultTenant,
    actor: reconcileActor,
    action,
    target: { type: 'brake', id: nameOf(brakeOf(provider)) },
    operation: operation.id,
    facts,
  })
}
