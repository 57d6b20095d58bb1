import type { Brake, BrakeName } from '../domain/brake.ts'
import { brakeNames } from '../domain/brake.ts'
import { defaultTenant, type TenantId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor } from '../domain/operation.ts'
import type { Lifecycle } from './context.ts'
import { auditRow, systemActor } from './context.ts'

/**
 * What a brake may stop. A direct revocation, a leave that an operator declares, the intake of leaks
 * and confirmed disables of the journal have no word here on purpose: nothing stops them.
 */
export type BrakedAct =
  /** A new key at a provider, for whatever reason. */
  | 'mint'
  /** A rotation that only time asks for. */
  | 'rotate'
  /** Switching off what is past its end date. */
  | 'expire'
  /** Physical deletion after the hold. */
  | 'delete'
  /** Switching off or deleting the old key of a rotation, once its overlap or soak is over. */
  | 'retireKey'
  /** What only a deadline asks for: nobody accepted in time, the grace of an empty group is over. */
  | 'deadline'
  /** Deciding for the accounts of somebody whose leaving we were told of. */
  | 'offboard'
  /** Deciding for accounts that a sweep found to be without an owner. */
  | 'orphans'
  /** Anything derived from what this provider lists. */
  | `actOnListing:${string}`

type PlainAct = Exclude<BrakedAct, `actOnListing:${string}`>

/** The held people of a directory are marked on their own rows: `leavers` stops no act as a whole. */
const stops: Readonly<Record<BrakeName, readonly PlainAct[]>> = {
  leavers: [],
  clock: ['rotate', 'expire', 'delete', 'retireKey', 'deadline'],
  restored: ['mint', 'rotate', 'expire', 'delete', 'retireKey', 'deadline', 'orphans'],
  listing: [],
}

/**
 * The brake that stops `act`; null = go on. Pure.
 * @param tenant of what is acted on; brakes of other tenants do not count
 */
export function brakeOn(
  brakes: readonly Brake[],
  act: BrakedAct,
  tenant: TenantId | string | null = null,
): Brake | null {
  return brakes.find((b) => concerns(b, tenant) && stopsAct(b, act)) ?? null
}

function concerns(brake: Brake, tenant: string | null): boolean {
  return brake.tenant === null || tenant === null || brake.tenant === tenant
}

function stopsAct(brake: Brake, act: BrakedAct): boolean {
  if (act.startsWith('actOnListing:')) {
    const provider = act.slice('actOnListing:'.length)
    return brake.name === 'restored' || (brake.name === 'listing' && brake.subject === provider)
  }
  return stops[brake.name].includes(act as PlainAct)
}

/** What each brake stops, for those who show it. */
export function stoppedBy({ name, subject }: Brake): readonly BrakedAct[] {
  return name === 'listing' ? [`actOnListing:${subject}`] : stops[name]
}

export type BrakeKey = Pick<Brake, 'tenant' | 'name' | 'subject'>

/** The brakes that are on, of all tenants. */
export async function engagedBrakes(life: Pick<Lifecycle, 'store'>): Promise<readonly Brake[]> {
  return life.store.read.brakes()
}

/** The brakes as they are now, after a look at the clock: what every act is asked against. */
export async function currentBrakes(
  life: Pick<Lifecycle, 'store' | 'clockGuard'>,
): Promise<readonly Brake[]> {
  await life.clockGuard?.check()
  return engagedBrakes(life)
}

/** `brakeOn` with the brakes as they are now. */
export async function brakedNow(
  life: Pick<Lifecycle, 'store' | 'clockGuard'>,
  act: BrakedAct,
  tenant: TenantId | string | null = null,
): Promise<Brake | null> {
  return brakeOn(await currentBrakes(life), act, tenant)
}

/**
 * Engages a brake, durably and for all processes; one that is on already gets the new facts.
 * @returns false when it was on already
 */
export async function engageBrake(
  life: Pick<Lifecycle, 'store' | 'ids' | 'clock'>,
  key: BrakeKey,
  facts: JsonObject,
  actor: Actor = systemActor,
): Promise<boolean> {
  const known = (await engagedBrakes(life)).some((b) => isSame(b, key))
  const brake: Brake = { ...key, since: life.clock.now(), facts }
  await life.store.commit([
    { type: 'brakeEngaged', brake },
    ...(known ? [] : [brakeAudit(life, key, 'brake.engaged', facts, actor)]),
  ])
  return !known
}

/** @returns false when it was not on */
export async function releaseBrake(
  life: Pick<Lifecycle, 'store' | 'ids' | 'clock'>,
  key: BrakeKey,
  facts: JsonObject,
  actor: Actor = systemActor,
): Promise<boolean> {
  const on = (await engagedBrakes(life)).find((b) => isSame(b, key))
  if (!on) return false
  await life.store.commit([
    { type: 'brakeReleased', tenant: key.tenant, name: key.name, subject: key.subject },
    brakeAudit(life, key, 'brake.released', { ...facts, since: on.since }, actor),
  ])
  return true
}

export function isSame(a: BrakeKey, b: BrakeKey): boolean {
  return a.tenant === b.tenant && a.name === b.name && a.subject === b.subject
}

/** A brake of the whole installation is in the audit of the tenant that everybody has. */
function brakeAudit(
  life: Pick<Lifecycle, 'ids' | 'clock'>,
  key: BrakeKey,
  action: 'brake.engaged' | 'brake.released',
  facts: JsonObject,
  actor: Actor,
) {
  return auditRow(life, {
    tenant: key.tenant ?? defaultTenant,
    actor,
    action,
    target: { type: 'brake', id: nameOf(key) },
    facts,
  })
}

export function nameOf({ name, subject }: BrakeKey): string {
  return subject === '' ? name : `${name}:${subject}`
}

export function brakeNameOf(text: string): BrakeName | null {
  return brakeNames.find((name) => name === text) ?? null
}
