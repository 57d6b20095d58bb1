import type { TenantId } from '../domain/ids.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Lifecycle } from './context.ts'
import { actOnDeparture } from './departures.ts'
import { actOnLeaveDate } from './planned-leaving.ts'

/**
 * What the orphans sweep does about people and not about accounts. Commits by itself, one account or
 * credential at a time: one that is busy keeps no other from its own.
 * @returns null when nothing was started
 */
export async function planSignal(
  life: Lifecycle,
  { act, tenant, id }: { readonly act: 'depart' | 'leaveDate'; tenant: TenantId; id: string },
  actor: Actor,
): Promise<{ readonly changes: readonly []; readonly operations: readonly Operation[] } | null> {
  const operations =
    act === 'depart'
      ? await depart(life, tenant, id, actor)
      : await onLeaveDate(life, tenant, id, actor)
  return operations.length === 0 ? null : { changes: [], operations }
}

async function depart(life: Lifecycle, tenant: TenantId, id: string, actor: Actor) {
  const [member = '', group = ''] = id.split(' ')
  const departure = await life.store.read.departure(tenant, member, group)
  if (!departure || departure.dueAt > life.clock.now()) return []
  return actOnDeparture(life, departure, actor)
}

async function onLeaveDate(life: Lifecycle, tenant: TenantId, id: string, actor: Actor) {
  const person = await life.store.read.person(tenant, id)
  return person ? actOnLeaveDate(life, person, actor) : []
}
