import type { ServiceAccount, StatusReason } from '../domain/account.ts'
import { isOpen, mayBecome } from '../domain/account.ts'
import type { Decision } from '../domain/audit.ts'
import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation, OperationKind } from '../domain/operation.ts'
import type { Action } from '../policy/authorise.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, save } from './context.ts'
import { requireLivingOwner } from './credentials.ts'
import { secondWord } from './protected.ts'
import { visibleAccount } from './visible.ts'

export interface AccountResult {
  readonly account: ServiceAccount
  readonly operations: readonly Operation[]
}

const closedStatuses: ReadonlySet<ServiceAccount['status']> = new Set([
  'disabling',
  'disabled',
  'expired',
])

export interface Switch {
  readonly account: ServiceAccount
  readonly operation: Operation
  readonly changes: readonly Change[]
}

export async function planSwitch(
  life: Lifecycle,
  caller: Caller,
  account: ServiceAccount,
  active: boolean | undefined,
): Promise<Switch | null> {
  if (active === undefined || active === isOpen(account.status)) return null
  if (active) {
    authorise(life, caller, 'account.enable', accountResource(account))
    return planEnable(life, account, caller.actor)
  }
  authorise(life, caller, 'account.disable', accountResource(account))
  const { actor } = caller
  const planned = planClose(life, account, { kind: 'disable', reason: 'operator', actor })
  const words = await secondWord(life, caller, account, 'disable', null)
  return { ...planned, changes: [...planned.changes, ...words] }
}

/**
 * Plans switching an account off (`disable`) or for good (`retire`). It pre-empts everything that
 * runs below the account: a revocation never waits for a rotation (R83).
 */
export function planClose(
  life: Lifecycle,
  account: ServiceAccount,
  close: {
    readonly kind: Extract<OperationKind, 'disable' | 'retire'>
    readonly reason: StatusReason
    readonly actor: Actor
    readonly cause?: string
  },
): Switch {
  const status = close.kind === 'disable' ? 'disabling' : 'retiring'
  // What is closed stays closed for the reason it was: a later, weaker "operator" would stop the
  // clock to deletion and let `enable` give back keys that a leaver knows.
  const closed =
    close.kind === 'disable' ? closedStatuses.has(account.status) : account.status === 'retiring'
  if (closed || !mayBecome(account.status, status)) {
    throw errors.wrongState({
      what: 'Account',
      id: account.id,
      status: account.status,
      action: close.kind === 'disable' ? 'disabled' : 'retired',
    })
  }
  const operation = planOperation(life, {
    tenant: account.tenant,
    kind: close.kind,
    subjectType: 'account',
    subject: account.id,
    account: account.id,
    provider: null,
    actor: close.actor,
    ...(close.cause === undefined ? {} : { cause: close.cause }),
    memo: { reason: close.reason },
  })
  return {
    account: {
      ...account,
      status,
      statusReason:
        close.reason === 'operator' && knownToOthers(account) ? account.statusReason : close.reason,
      pendingOwner: close.kind === 'retire' ? null : account.pendingOwner,
      orphanedAt:
        close.reason === 'ownerLeft'
          ? (account.orphanedAt ?? life.clock.now())
          : account.orphanedAt,
      disableAt: null,
      updatedAt: life.clock.now(),
    },
    operation,
    changes: [{ type: 'enqueue', operation, preempt: true }],
  }
}

/** Its keys were switched off because somebody may know them, and are not replaced yet. */
function knownToOthers({ statusReason }: ServiceAccount): boolean {
  return statusReason === 'ownerLeft' || statusReason === 'ownerMissing' || statusReason === 'leak'
}

async function planEnable(life: Lifecycle, account: ServiceAccount, actor: Actor): Promise<Switch> {
  if (!['disabled', 'expired', 'failed'].includes(account.status)) {
    throw errors.wrongState({
      what: 'Account',
      id: account.id,
      status: account.status,
      action: 'enabled',
    })
  }
  await requireLivingOwner(life, account)
  if (account.expiresAt <= life.clock.now()) throw errors.expiryPast({ path: 'expiresAt' })
  // After an operator's pause the same secret works again; after a leaver or a leak somebody may
  // know it, so a new generation is issued (contract §4).
  const sameKeys = account.statusReason === 'operator'
  const operation = planOperation(life, {
    tenant: account.tenant,
    kind: 'enable',
    subjectType: 'account',
    subject: account.id,
    account: account.id,
    provider: null,
    actor,
    memo: { sameKeys },
  })
  return {
    account: {
      ...account,
      status: 'provisioning',
      // Until the keys are replaced: a pause in between must not turn a leaver's keys into ours.
      statusReason: knownToOthers(account) ? account.statusReason : null,
      disabledAt: null,
      deleteAt: null,
      orphanedAt: null,
      updatedAt: life.clock.now(),
    },
    operation,
    changes: [
      { type: 'enqueue', operation, preempt: false },
      // Somebody wants it up: enforcing would have enabled it as well.
      { type: 'shadowEnded', tenant: account.tenant, account: account.id },
    ],
  }
}

async function applySwitch(
  life: Lifecycle,
  caller: Caller,
  current: ServiceAccount,
  planned: Switch,
  audit: { readonly action: string; readonly decision: Decision; readonly facts: JsonObject },
): Promise<AccountResult> {
  await save(
    life,
    [
      { type: 'account', account: planned.account, expectedVersion: current.version },
      ...planned.changes,
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: audit.action,
        target: { type: 'account', id: current.id },
        decision: audit.decision,
        operation: planned.operation.id,
        facts: audit.facts,
      }),
    ],
    { what: 'Account', id: current.id },
  )
  return {
    account: { ...planned.account, version: current.version + 1 },
    operations: [planned.operation],
  }
}

/** @throws wrongState, busy, notFound, forbidden, noActiveOwner (enable) */
export async function switchAccount(
  life: Lifecycle,
  caller: Caller,
  id: string,
  to: 'disable' | 'enable' | 'retire',
  reason: string | null,
): Promise<AccountResult> {
  const current = await visibleAccount(life, caller, id, { retiredToo: true })
  const decision = authorise(
    life,
    caller,
    `account.${to}` satisfies Action,
    accountResource(current),
  )
  const planned =
    to === 'enable'
      ? await planEnable(life, current, caller.actor)
      : planClose(life, current, {
          kind: to,
          reason: to === 'retire' ? 'retired' : 'operator',
          actor: caller.actor,
        })
  const words = to === 'enable' ? [] : await secondWord(life, caller, current, to, reason)
  // Retiring is what SCIM's DELETE does: gone from there, its name free, its history kept.
  const gone = to === 'retire' ? { deletedAt: current.deletedAt ?? life.clock.now() } : {}
  const switched = {
    ...planned,
    account: { ...planned.account, ...gone },
    changes: [...planned.changes, ...words],
  }
  return applySwitch(life, caller, current, switched, {
    action: `account.${to}Requested`,
    decision,
    facts: { reason },
  })
}

/** SCIM DELETE: retire, and 404 in SCIM from this moment on; the history stays. */
export async function deleteAccount(
  life: Lifecycle,
  caller: Caller,
  current: ServiceAccount,
): Promise<AccountResult> {
  const decision = authorise(life, caller, 'account.retire', accountResource(current))
  const now = life.clock.now()
  if (current.status === 'retiring' || current.status === 'retired') {
    const gone: ServiceAccount = { ...current, deletedAt: now, updatedAt: now }
    await save(
      life,
      [
        { type: 'account', account: gone, expectedVersion: current.version },
        auditRow(life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'account.deleted',
          target: { type: 'account', id: current.id },
          decision,
        }),
      ],
      { what: 'User', id: current.id },
    )
    return { account: { ...gone, version: current.version + 1 }, operations: [] }
  }
  const planned = planClose(life, current, {
    kind: 'retire',
    reason: 'retired',
    actor: caller.actor,
  })
  return applySwitch(
    life,
    caller,
    current,
    {
      ...planned,
      account: { ...planned.account, deletedAt: now },
      changes: [...planned.changes, ...(await secondWord(life, caller, current, 'retire', null))],
    },
    { action: 'account.deleted', decision, facts: {} },
  )
}

export function accountResource(account: ServiceAccount) {
  return {
    type: 'account',
    id: account.id,
    client: account.client,
    owner: account.owner.id,
    pendingOwner: account.pendingOwner?.id ?? null,
    protected: account.protected,
  } as const
}
