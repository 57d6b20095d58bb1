import type { BackupOwner, ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { isLive } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { AccountId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import { sameJson } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, earlier, later } from '../domain/time.ts'
import type { AccountWrite, CredentialEntry } from '../domain/want.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'
import { overlapOf, termsOf } from './credential-terms.ts'
import { planCredential, requireLivingOwner, requireOpen } from './credentials.ts'
import { planRevoke } from './revocation.ts'
import { ownerState } from './people.ts'
import { planEntryScopes } from './rescoping.ts'
import { secondWord } from './protected.ts'
import { checkOverlap } from './rotation-terms.ts'
import type { AccountResult } from './switching.ts'
import { accountResource, planSwitch } from './switching.ts'

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
  const terms = termsOf(life, {
    environment: want.environment ?? null,
    labels: want.labels ?? [],
    attributes: want.attributes,
    imported: false,
  })
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
    imported: false,
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
    if (backups.some((b) => b.id === ref.id)) continue
    const known = before.find((b) => b.id === ref.id && b.type === ref.type)
    if (!known) {
      const state = await ownerState(life, caller.tenant, ref)
      if (!state) throw errors.ownerUnknown({ owner: ref.id, path: 'backupOwners.value' })
      if (!state.active) throw errors.backupGone({ owner: ref.id })
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
  if (!sameJson(merged.attributes, current.attributes)) {
    for (const c of live.filter(({ status }) => isLive(status))) {
      checkOverlap(merged, overlapOf(life, merged, c), 'consumers.cacheTtl')
    }
  }
  const rescoped = await planEntryScopes(
    life,
    { from: current, to: merged },
    want.credentials,
    live,
    caller.actor,
  )
  const credentials = planCredentialChanges(
    life,
    merged,
    want.credentials,
    live,
    write.mayRemove,
    caller.actor,
  )
  const following = followExpiry(live, [...credentials.changes, ...rescoped.changes], {
    from: current,
    to: merged,
    now,
  })
  if (credentials.added > 0) await requireLivingOwner(life, current)
  const switching = await planSwitch(life, caller, merged, want.active)
  const words =
    current.protected && !merged.protected
      ? await secondWord(life, caller, current, 'unprotect', null)
      : []

  const next =
    switching?.account ??
    (credentials.added > 0 && merged.status === 'active'
      ? { ...merged, status: 'provisioning' as const }
      : merged)
  if (credentials.added > 0) requireOpen(next)
  const changed = !sameJson(comparable(current), comparable(next))
  const isIdle = credentials.changes.length === 0 && rescoped.changes.length === 0
  if (!changed && isIdle && !switching) return { account: current, operations: [] }

  const saved: ServiceAccount = { ...next, updatedAt: now }
  const operations = [
    ...credentials.operations,
    ...rescoped.operations,
    ...(switching ? [switching.operation] : []),
  ]
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
        facts: changeOf(current, next),
      }),
      ...credentials.changes,
      ...rescoped.changes,
      ...following,
      ...(switching?.changes ?? []),
      ...words,
    ],
    { what: 'User', id: current.id },
  )
  return { account: { ...saved, version: current.version + 1 }, operations }
}

/** The cap counts from creation or the last certification; new selectors never loosen the old terms. */
export function expiryCap(life: Lifecycle, current: ServiceAccount, next: ServiceAccount): Instant {
  const from = current.certifiedAt
    ? later(current.createdAt, current.certifiedAt)
    : current.createdAt
  return earlier(
    addSeconds(from, termsOf(life, current).expiry.cap),
    addSeconds(from, termsOf(life, next).expiry.cap),
  )
}

/**
 * A credential that ends with its account goes on ending with it when that date moves, and none
 * outlives it (contract §8).
 */
export function followExpiry(
  live: readonly Credential[],
  planned: readonly Change[],
  move: { readonly from: ServiceAccount; readonly to: ServiceAccount; readonly now: Instant },
): readonly Change[] {
  const { from, to, now } = move
  if (from.expiresAt === to.expiresAt) return []
  const written = new Set(
    planned.flatMap((c) => (c.type === 'credential' ? [c.credential.id] : [])),
  )
  return live
    .filter((c) => c.status !== 'revoked' && c.status !== 'revoking' && !written.has(c.id))
    .filter((c) => c.expiresAt === from.expiresAt || c.expiresAt > to.expiresAt)
    .map((c) => ({
      type: 'credential',
      credential: { ...c, expiresAt: to.expiresAt, updatedAt: now },
      expectedVersion: c.version,
    }))
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
    // On its way out already: who sends back what was read means "as it is".
    else if (existing.some((c) => c.id === entry.value)) continue
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
  const revoked = removed.map((c) => {
    const planned = planRevoke(life, c, actor, 'removed')
    const row = auditRow(life, {
      tenant: c.tenant,
      actor,
      action: 'credential.revocationRequested',
      target: { type: 'credential', id: c.id },
      operation: planned.operation.id,
      facts: { reason: 'removed' },
    })
    return { ...planned, changes: [...planned.changes, row] }
  })
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

/** What of an account a client can change: equal means nothing to write. */
function comparable(account: ServiceAccount): JsonObject {
  const { updatedAt: _updated, version: _version, ...rest } = account
  return JSON.parse(JSON.stringify(rest)) as JsonObject
}

/** Whose values an audit entry may hold for ever: what people write freely is named only. */
const toldKeys = ['owner', 'backups', 'kind', 'environment', 'protected', 'expiresAt', 'status']

/** What a write changed, for the audit log: which members, and of the plain ones both sides. */
function changeOf(before: ServiceAccount, after: ServiceAccount): JsonObject {
  const [a, b] = [comparable(before), comparable(after)]
  const changed = Object.keys(b).filter((key) => !sameJson(a[key], b[key]))
  const told = changed.filter((key) => toldKeys.includes(key))
  if (told.length === 0) return { changed }
  const side = (of: JsonObject): JsonObject =>
    Object.fromEntries(told.map((key) => [key, of[key] ?? null]))
  return { changed, before: side(a), after: side(b) }
}
