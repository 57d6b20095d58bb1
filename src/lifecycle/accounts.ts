import type { BackupOwner, ServiceAccount, StatusReason } from '../domain/account.ts'
import { isOpen, mayBecome } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { isLive } from '../domain/credential.ts'
import type { Decision } from '../domain/audit.ts'
import { errors } from '../domain/errors.ts'
import type { AccountId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation, OperationKind } from '../domain/operation.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, earlier, later } from '../domain/time.ts'
import type { AccountWrite, CredentialEntry } from '../domain/want.ts'
import type { Action } from '../policy/authorise.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, sameJson, save } from './context.ts'
import {
  planCredential,
  planRevoke,
  requireLivingOwner,
  requireOpen,
  termsOf,
} from './credentials.ts'
import { ownerState } from './people.ts'
import { visibleAccount } from './visible.ts'

export interface AccountResult {
  readonly account: ServiceAccount
  readonly operations: readonly Operation[]
}

/**
 * Takes a request for a service account: checks owner, expiry and every credential, then writes
 * account, credentials, operations and audit in one commit. Nothing exists at a provider yet.
 * @throws ownerUnknown, ownerGone, expiryTooFar, expiryPast, userNameTaken and what planCredential throws
 */
export async function requestAccount(
  life: Lifecycle,
  caller: Caller,
  want: AccountWrite,
): Promise<AccountResult> {
  if (!want.owner) throw errors.requiredMissing({ path: 'owner' })
  const id = life.ids.next() as AccountId
  const decision = authorise(life, caller, 'account.request', {
    type: 'account',
    id,
    client: caller.client.id,
    owner: want.owner.id,
    protected: want.protected ?? false,
  })
  if (want.protected) {
    authorise(life, caller, 'account.protect', { type: 'account', id, protected: true })
  }
  await requireActiveOwner(life, caller, want.owner)
  const backups = await backupsFrom(life, caller, want.backupOwners ?? [], [])
  const now = life.clock.now()
  const terms = termsOf(life, { environment: want.environment ?? null, labels: want.labels ?? [] })
  const cap = addSeconds(now, terms.expiry.cap)
  const expiresAt = want.expiresAt ?? addSeconds(now, terms.expiry.default)
  checkExpiry(expiresAt, cap, now)

  const wanted = want.credentials ?? []
  const account: ServiceAccount = {
    tenant: caller.tenant,
    id,
    client: caller.client.id,
    userName: want.userName,
    externalId: want.externalId,
    kind: want.kind,
    owner: want.owner,
    pendingOwner: null,
    backups,
    purpose: want.purpose,
    environment: want.environment ?? null,
    labels: want.labels ?? [],
    protected: want.protected ?? false,
    status: wanted.length > 0 ? 'provisioning' : 'active',
    statusReason: null,
    expiresAt,
    orphanedAt: null,
    disabledAt: null,
    disableAt: null,
    deleteAt: null,
    certifiedAt: null,
    certifyBy: null,
    retiredAt: null,
    deletedAt: null,
    attributes: want.attributes,
    createdAt: now,
    updatedAt: now,
    version: 1,
  }
  if (want.active === false) {
    throw errors.invalidValue({
      path: 'active',
      reason: 'a new account cannot start inactive; leave it out and disable it later.',
    })
  }
  const planned = planAll(life, account, wanted, [], caller.actor)
  await save(
    life,
    [
      { type: 'account', account, expectedVersion: null },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'account.requested',
        target: { type: 'account', id },
        decision,
        facts: {
          userName: account.userName,
          owner: account.owner.id,
          expiresAt,
          credentials: wanted.length,
        },
      }),
      ...planned.flatMap((p) => p.changes),
    ],
    { what: 'User', id },
  )
  return { account, operations: planned.map((p) => p.operation) }
}

function planAll(
  life: Lifecycle,
  account: ServiceAccount,
  entries: readonly CredentialEntry[],
  live: readonly Credential[],
  actor: Actor,
) {
  const held: Pick<Credential, 'provider' | 'kind' | 'status'>[] = [...live]
  return entries.map((entry) => {
    const planned = planCredential(life, account, entry, held, actor)
    held.push(planned.credential)
    return planned
  })
}

async function requireActiveOwner(life: Lifecycle, caller: Caller, owner: OwnerRef): Promise<void> {
  const state = await ownerState(life, caller.tenant, owner)
  if (!state) throw errors.ownerUnknown({ owner: owner.id, path: 'owner.value' })
  if (!state.active) throw errors.ownerGone({ owner: owner.id })
}

/** Nominations keep their date, so renaming the account does not make an heir young again. */
async function backupsFrom(
  life: Lifecycle,
  caller: Caller,
  want: readonly OwnerRef[],
  before: readonly BackupOwner[],
): Promise<readonly BackupOwner[]> {
  const now = life.clock.now()
  const backups: BackupOwner[] = []
  for (const ref of want) {
    const known = before.find((b) => b.id === ref.id && b.type === ref.type)
    if (!known && !(await ownerState(life, caller.tenant, ref))) {
      throw errors.ownerUnknown({ owner: ref.id, path: 'backupOwners.value' })
    }
    backups.push(known ?? { type: ref.type, id: ref.id, nominatedAt: now, acceptedAt: null })
  }
  return backups
}

function checkExpiry(expiresAt: Instant, cap: Instant, now: Instant): void {
  if (expiresAt <= now) throw errors.expiryPast({ path: 'expiresAt' })
  if (expiresAt > cap) throw errors.expiryTooFar({ path: 'expiresAt', cap })
}

/**
 * Writes an account's new state. A new owner opens a transfer; `active` disables or enables;
 * credentials are matched by id, else by what they are: new ones are requested, missing ones
 * revoked (contract §3).
 * @param write.mayRemove false when the client has not proven that it read the current list
 */
export async function updateAccount(
  life: Lifecycle,
  caller: Caller,
  current: ServiceAccount,
  want: AccountWrite,
  write: { readonly mayRemove: boolean },
): Promise<AccountResult> {
  const decision = authorise(life, caller, 'account.update', accountResource(current))
  const now = life.clock.now()
  const owner = want.owner ?? current.owner
  const ownerChanges = owner.id !== current.owner.id && owner.id !== current.pendingOwner?.id
  if (ownerChanges) {
    authorise(life, caller, 'account.transfer', accountResource(current))
    await requireActiveOwner(life, caller, owner)
  }
  if (want.protected !== undefined && want.protected !== current.protected) {
    authorise(life, caller, 'account.protect', accountResource(current))
  }

  const merged: ServiceAccount = {
    ...current,
    userName: want.userName,
    externalId: want.externalId,
    pendingOwner: ownerChanges ? owner : current.pendingOwner,
    backups: await backupsFrom(life, caller, want.backupOwners ?? [], current.backups),
    purpose: want.purpose,
    environment: want.environment ?? null,
    labels: want.labels ?? [],
    protected: want.protected ?? current.protected,
    expiresAt: want.expiresAt ?? current.expiresAt,
    attributes: want.attributes,
  }
  if (merged.expiresAt !== current.expiresAt) {
    checkExpiry(merged.expiresAt, expiryCap(life, current, merged), now)
  }
  const live = await life.store.read.credentialsOf(caller.tenant, current.id)
  const credentials = planCredentialChanges(
    life,
    merged,
    want.credentials,
    live,
    write.mayRemove,
    caller.actor,
  )
  if (credentials.added > 0) await requireLivingOwner(life, current)
  const switching = await planSwitch(life, caller, merged, want.active)

  const next =
    switching?.account ??
    (credentials.added > 0 && merged.status === 'active'
      ? { ...merged, status: 'provisioning' as const }
      : merged)
  if (credentials.added > 0) requireOpen(next)
  const changed = !sameJson(comparable(current), comparable(next))
  if (!changed && credentials.changes.length === 0 && !switching)
    return { account: current, operations: [] }

  const saved: ServiceAccount = { ...next, updatedAt: now }
  const operations = [...credentials.operations, ...(switching ? [switching.operation] : [])]
  await save(
    life,
    [
      { type: 'account', account: saved, expectedVersion: current.version },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: ownerChanges ? 'account.transferOpened' : 'account.updated',
        target: { type: 'account', id: current.id },
        decision,
        facts: { changed: changedKeys(current, next) },
      }),
      ...credentials.changes,
      ...(switching?.changes ?? []),
    ],
    { what: 'User', id: current.id },
  )
  return { account: { ...saved, version: current.version + 1 }, operations }
}

/** The cap counts from creation or the last certification; new selectors never loosen the old terms. */
function expiryCap(life: Lifecycle, current: ServiceAccount, next: ServiceAccount): Instant {
  const from = current.certifiedAt
    ? later(current.createdAt, current.certifiedAt)
    : current.createdAt
  return earlier(
    addSeconds(from, termsOf(life, current).expiry.cap),
    addSeconds(from, termsOf(life, next).expiry.cap),
  )
}

function planCredentialChanges(
  life: Lifecycle,
  account: ServiceAccount,
  entries: readonly CredentialEntry[] | undefined,
  existing: readonly Credential[],
  mayRemove: boolean,
  actor: Actor,
): {
  readonly changes: readonly Change[]
  readonly operations: readonly Operation[]
  readonly added: number
} {
  if (entries === undefined) return { changes: [], operations: [], added: 0 }
  const live = existing.filter((c) => c.status !== 'revoked' && c.status !== 'revoking')
  const kept = new Set<string>()
  const added: CredentialEntry[] = []
  for (const entry of entries) {
    const match = live.find((c) => !kept.has(c.id) && matches(entry, c))
    if (match) kept.add(match.id)
    else if (entry.value !== undefined) {
      throw errors.invalidValue({
        path: 'credentials.value',
        reason: `this account has no credential "${entry.value}".`,
      })
    } else added.push(entry)
  }
  const removed = live.filter((c) => !kept.has(c.id))
  if (removed.length > 0 && !mayRemove) {
    throw errors.preconditionRequired({
      reason: `This would revoke ${removed.length} credential(s) that the request leaves out.`,
    })
  }
  const revoked = removed.map((c) => planRevoke(life, c, actor))
  const planned = planAll(
    life,
    account,
    added,
    live.filter((c) => kept.has(c.id)),
    actor,
  )
  return {
    changes: [...revoked.flatMap((r) => r.changes), ...planned.flatMap((p) => p.changes)],
    operations: [...revoked.map((r) => r.operation), ...planned.map((p) => p.operation)],
    added: added.length,
  }
}

function matches(entry: CredentialEntry, credential: Credential): boolean {
  if (entry.value !== undefined) return entry.value === credential.id
  return (
    entry.provider === credential.provider &&
    entry.kind === credential.kind &&
    sameJson([...entry.scopes].sort(), [...credential.scopes].sort()) &&
    (entry.deliverTo?.sink === undefined || entry.deliverTo.sink === credential.deliverTo.sink) &&
    (entry.deliverTo?.path === undefined || entry.deliverTo.path === credential.deliverTo.path)
  )
}

const closedStatuses: ReadonlySet<ServiceAccount['status']> = new Set([
  'disabling',
  'disabled',
  'expired',
])

interface Switch {
  readonly account: ServiceAccount
  readonly operation: Operation
  readonly changes: readonly Change[]
}

async function planSwitch(
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
  return planClose(life, account, { kind: 'disable', reason: 'operator', actor: caller.actor })
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
    changes: [{ type: 'enqueue', operation, preempt: false }],
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
  return applySwitch(life, caller, current, planned, {
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
    { ...planned, account: { ...planned.account, deletedAt: now } },
    { action: 'account.deleted', decision, facts: {} },
  )
}

/** What of an account a client can change: equal means nothing to write. */
function comparable(account: ServiceAccount): JsonObject {
  const { updatedAt: _updated, version: _version, ...rest } = account
  return JSON.parse(JSON.stringify(rest)) as JsonObject
}

function changedKeys(before: ServiceAccount, after: ServiceAccount): readonly string[] {
  const a = comparable(before)
  const b = comparable(after)
  return Object.keys(b).filter((key) => !sameJson(a[key], b[key]))
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

export function liveCredentials(credentials: readonly Credential[]): readonly Credential[] {
  return credentials.filter((c) => isLive(c.status))
}
