import type { Brake } from '../domain/brake.ts'
import { errors } from '../domain/errors.ts'
import { engagedBrakes, nameOf, releaseBrake } from './brakes.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'
import { acceptRestored } from './restored.ts'

/** The brakes that concern a caller's tenant, for who may see them. @throws forbidden */
export async function brakesFor(life: Lifecycle, caller: Caller): Promise<readonly Brake[]> {
  authorise(life, caller, 'brake.read', { type: 'brake', id: 'any' })
  const all = await engagedBrakes(life)
  return all.filter((b) => b.tenant === null || b.tenant === caller.tenant)
}

/**
 * An operator says that things are in order again. `leavers` is not released as a whole: each of its
 * people is decided about.
 * @throws forbidden, brakeNotOn, wrongState
 */
export async function releaseByOperator(
  life: Lifecycle,
  caller: Caller,
  wish: { readonly name: string; readonly subject: string; readonly reason: string },
): Promise<Brake> {
  authorise(life, caller, 'brake.release', { type: 'brake', id: wish.name })
  const on = await brakesFor(life, caller)
  const brake = on.find((b) => b.name === wish.name && b.subject === wish.subject)
  const id = wish.subject === '' ? wish.name : `${wish.name}:${wish.subject}`
  if (!brake) {
    throw errors.brakeNotOn({ brake: id, on: on.map(nameOf).join(', ') || 'none' })
  }
  if (brake.name === 'leavers') {
    const status = 'ended by deciding about its people (GET /api/v1/approvals)'
    throw errors.wrongState({ what: 'Brake', id, status, action: 'released as a whole' })
  }
  if (brake.name === 'restored') await acceptRestored(life)
  await releaseBrake(life, brake, { reason: wish.reason }, caller.actor)
  life.wake()
  return brake
}
