import { defaultTenant, type OperationId, type TenantId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import { instantOf } from '../domain/time.ts'
import type { Actor } from '../domain/operation.ts'
import type { BrakeKey } from './brakes.ts'
import { engageBrake } from './brakes.ts'
import type { Lifecycle } from './context.ts'

export const restoredBrake: BrakeKey = { tenant: null, name: 'restored', subject: '' }

/** Marks from before an operator's release were looked at then. */
const acceptedKey = 'restored.acceptedAt'

/**
 * The database is older than the world: people, leaver events, confirmed disables and operators'
 * revocations go on; mints, rotation, expiry, deletion and what sweeps derive from a missing owner
 * wait for an operator. @returns false when the mode was on already
 */
export function enterRestored(
  life: Pick<Lifecycle, 'store' | 'ids' | 'clock'>,
  facts: JsonObject,
  actor?: Actor,
): Promise<boolean> {
  return engageBrake(life, restoredBrake, facts, actor)
}

/**
 * What a provider bears as the operation that marked it last has to be in our journal: the intent is
 * committed before the call. One that is not was made after the copy this database comes from.
 * @param marks ids of operations, as principals and keys of ours bear them
 * @returns whether restored mode is on because of them
 */
export async function checkMarks(
  life: Pick<Lifecycle, 'store' | 'ids' | 'clock'>,
  marks: readonly { readonly operation: string; readonly facts: JsonObject }[],
  tenant: TenantId = defaultTenant,
): Promise<boolean> {
  const accepted = marks.length === 0 ? null : await life.store.read.meta(acceptedKey)
  for (const { operation, facts } of marks) {
    const markedAt = instantOfId(operation)
    if (markedAt === null || (accepted !== null && markedAt <= accepted)) continue
    if (await life.store.read.operation(tenant, operation)) continue
    await enterRestored(life, { reason: 'unknownOperation', operation, markedAt, ...facts })
    return true
  }
  return false
}

/** The operator has seen what the providers hold: what bears a mark until now is no surprise again. */
export async function acceptRestored(
  life: Pick<Lifecycle, 'store' | 'clock' | 'anchor'>,
): Promise<void> {
  // Before the mark: whoever is told that it did not work may say it again.
  await life.anchor?.setAside()
  await life.store.commit([{ type: 'meta', key: acceptedKey, value: life.clock.now() }])
}

/** When a UUIDv7 was made (RFC 9562 §5.7); null for any other text: then it is not one of ours. */
export function instantOfId(id: OperationId | string): string | null {
  const isOurs = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id)
  return isOurs ? instantOf(Number.parseInt(id.slice(0, 13).replace('-', ''), 16)) : null
}
