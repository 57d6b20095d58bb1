import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { assertNever } from '../domain/json.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Shadow, ShadowAct, ShadowActKind, ShadowCredential } from '../domain/shadow.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, earlier, later } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Lifecycle } from './context.ts'
import { auditRow } from './context.ts'
import { termsOf } from './credential-terms.ts'

/** What a commit would do: the changes, and the operations among them. */
export interface Plan {
  readonly changes: readonly Change[]
  readonly operations: readonly Operation[]
}

export interface Why {
  readonly actor: Actor
  readonly rule: string
  readonly cause: string
  readonly facts?: JsonObject
}

/** Whether nothing that the policy or a sweep decides is done to the account: it only watches. */
export function isWatched(life: Pick<Lifecycle, 'policy'>, account: ServiceAccount): boolean {
  return termsOf(life, account).enforcement === 'observe'
}

/**
 * An account and its credentials as they would be by now, had the policy always enforced. Of one
 * that is enforced it is what the rows say.
 */
export interface Twin {
  readonly account: ServiceAccount
  readonly watched: boolean
  readonly shadow: Shadow | null
  credential(real: Credential): Credential
  /** When a key would have been made last; null: the rows know better. */
  rotatedAt(real: Credential): Instant | null
}

/** Whatever decides by itself asks this first, plans on what it gets, and hands the plan to `unlessWatched`. */
export async function twinOf(
  life: Pick<Lifecycle, 'policy' | 'store'>,
  account: ServiceAccount,
): Promise<Twin> {
  const watched = isWatched(life, account)
  const shadow = watched ? await life.store.read.shadow(account.tenant, account.id) : null
  const of = (real: Credential): ShadowCredential => shadow?.credentials[real.id] ?? {}
  return {
    watched,
    shadow,
    account: shadow ? shadowed(account, shadow) : account,
    credential(real) {
      const { revokedAt } = of(real)
      return revokedAt === undefined ? real : { ...real, status: 'revoked' }
    },
    rotatedAt(real) {
      const { rotatedAt } = of(real)
      return rotatedAt === undefined ? null : later(rotatedAt, real.issuedAt ?? rotatedAt)
    },
  }
}

function shadowed(account: ServiceAccount, shadow: Shadow): ServiceAccount {
  const { status, statusReason, orphanedAt, pendingOwner, disableAt, deleteAt } = shadow
  if (status === null) return account
  // It has changed hands, or a person closed it: of an offer nothing is left.
  const isOver = shadow.owner !== account.owner.id || !isOpen(account.status)
  if (status === 'orphaned' && isOver) return account
  return { ...account, status, statusReason, orphanedAt, pendingOwner, disableAt, deleteAt }
}

/**
 * The one gate of everything that the policy or a sweep does by itself. Where it enforces, the plan
 * comes back as it is. Where it only watches, what comes back journals the acts and keeps what the
 * account would be after them: no operation, no change to the account.
 * @param plan as made for `twin.account`
 */
export function unlessWatched(
  life: Pick<Lifecycle, 'policy' | 'clock' | 'ids'>,
  account: ServiceAccount,
  twin: Twin,
  plan: Plan,
  why: Why,
): Plan {
  if (!twin.watched) return plan
  const now = life.clock.now()
  const shadow = after(life, account, twin, plan, now)
  const acts: ShadowAct[] = plan.operations.map((operation) =>
    actOf(life, account, why, kindOf(operation), credentialOf(operation)),
  )
  // Its deadline goes with the offer; the rotations it starts are acts of their own.
  if (isOffered(twin.account, shadow)) {
    const { pendingOwner, disableAt } = shadow
    const facts = { offeredTo: pendingOwner?.id ?? null, disableAt, ...why.facts }
    acts.unshift(actOf(life, account, { ...why, facts }, 'offer', null))
  }
  return {
    operations: [],
    changes: [
      { type: 'shadow', shadow, expectedVersion: twin.shadow?.version ?? null },
      ...acts.flatMap((act) => journalled(life, act, why.actor)),
    ],
  }
}

function isOffered(before: ServiceAccount, { status, pendingOwner }: Shadow): boolean {
  if (status !== 'orphaned') return false
  return before.status !== 'orphaned' || before.pendingOwner?.id !== pendingOwner?.id
}

/** The act's own row and that of the audit. */
export function journalled(
  life: Pick<Lifecycle, 'clock' | 'ids'>,
  act: ShadowAct,
  actor: Actor,
): readonly Change[] {
  const { tenant, account, credential, rule, cause, facts } = act
  const row = auditRow(life, {
    tenant,
    actor,
    action: credential === null ? 'account.wouldHave' : 'credential.wouldHave',
    target:
      credential === null
        ? { type: 'account', id: account }
        : { type: 'credential', id: credential },
    facts: { act: act.act, rule, cause, ...facts },
  })
  return [{ type: 'shadowAct', act }, row]
}

/** The account's shadow after a plan that was not carried out, as if it were finished at once. */
function after(
  life: Pick<Lifecycle, 'policy'>,
  account: ServiceAccount,
  { account: twin, shadow }: Twin,
  plan: Plan,
  now: Instant,
): Shadow {
  const planned =
    plan.changes.find((c) => c.type === 'account' && c.account.id === account.id) ?? null
  const next = planned?.type === 'account' ? planned.account : null
  const credentials: Record<string, ShadowCredential> = { ...shadow?.credentials }
  for (const operation of plan.operations) {
    const id = credentialOf(operation)
    if (id === null) continue
    const change = operation.kind === 'rotate' ? { rotatedAt: now } : { revokedAt: now }
    credentials[id] = { ...credentials[id], ...change }
  }
  const base: Shadow = { ...(shadow ?? blankShadow(account, now)), credentials }
  const state =
    next === null ? base : { ...base, ...stateOf(life, next, now), owner: twin.owner.id }
  return { ...state, dueAt: dueOf(state, now) }
}

/** Of an account to which nothing has happened. */
export function blankShadow({ tenant, id, owner }: ServiceAccount, now: Instant): Shadow {
  return {
    tenant,
    account: id,
    status: null,
    statusReason: null,
    owner: owner.id,
    pendingOwner: null,
    orphanedAt: null,
    disableAt: null,
    deleteAt: null,
    credentials: {},
    dueAt: addSeconds(now, day),
    version: 1,
  }
}

type State = Pick<
  Shadow,
  'status' | 'statusReason' | 'pendingOwner' | 'orphanedAt' | 'disableAt' | 'deleteAt'
>

/** What closing ends in (steps/kill.ts), without the minutes that it takes. */
function stateOf(life: Pick<Lifecycle, 'policy'>, next: ServiceAccount, now: Instant): State {
  const { statusReason, pendingOwner, orphanedAt } = next
  const state = { statusReason, pendingOwner, orphanedAt, disableAt: null, deleteAt: null }
  switch (next.status) {
    case 'orphaned':
      return { ...state, status: 'orphaned', disableAt: next.disableAt }
    case 'disabling':
    case 'disabled':
    case 'expired': {
      const status = statusReason === 'expired' ? 'expired' : 'disabled'
      return { ...state, status, deleteAt: addSeconds(now, termsOf(life, next).hold) }
    }
    case 'retiring':
    case 'retired':
      return { ...state, status: 'retired' }
    case 'requested':
    case 'provisioning':
    case 'active':
    case 'failed':
      return { ...state, status: null }
    default:
      return assertNever(next.status)
  }
}

/** Looked at daily, so that one whose account is gone, or enforced by now, does not stay for ever. */
function dueOf({ disableAt, deleteAt }: Pick<Shadow, 'disableAt' | 'deleteAt'>, now: Instant) {
  const dates = [disableAt, deleteAt].filter((at) => at !== null && at > now) as Instant[]
  return dates.reduce<Instant>(earlier, addSeconds(now, day))
}

/** Changes that put off the next look at a shadow, or end it where there is nothing left to watch. */
export function reviewed(
  life: Pick<Lifecycle, 'clock'>,
  account: ServiceAccount,
  { watched, shadow }: Twin,
): readonly Change[] {
  // One that enforcing would have deleted keeps its shadow while it lives, or its acts came again.
  if (!watched || account.retiredAt !== null) {
    return [{ type: 'shadowEnded', tenant: account.tenant, account: account.id }]
  }
  if (shadow === null) return []
  const dueAt = dueOf(shadow, life.clock.now())
  return [{ type: 'shadow', shadow: { ...shadow, dueAt }, expectedVersion: shadow.version }]
}

export function actOf(
  life: Pick<Lifecycle, 'clock' | 'ids'>,
  account: ServiceAccount,
  why: Omit<Why, 'actor'>,
  act: ShadowActKind,
  credential: ShadowAct['credential'],
): ShadowAct {
  return {
    tenant: account.tenant,
    id: life.ids.next(),
    at: life.clock.now(),
    act,
    rule: why.rule,
    account: account.id,
    userName: account.userName,
    owner: account.owner.id,
    credential,
    cause: why.cause,
    facts: why.facts ?? {},
  }
}

function credentialOf({ subjectType, subject }: Operation): ShadowAct['credential'] {
  return subjectType === 'credential' ? (subject as Credential['id']) : null
}

function kindOf({ kind }: Operation): ShadowActKind {
  switch (kind) {
    case 'disable':
    case 'retire':
      return 'disable'
    case 'rotate':
    case 'revoke':
    case 'delete':
      return kind
    case 'issue':
    case 'enable':
    case 'leave':
    case 'reconcile':
    // Asked for by somebody, or following what somebody granted.
    case 'rescope':
    case 'revertDrift':
    case 'undo':
    case 'reload':
    case 'eject':
      throw new Error(`no policy starts ${kind} by itself`)
    default:
      return assertNever(kind)
  }
}
