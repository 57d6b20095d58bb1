import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { Credential, CredentialKind, DeliverTo } from '../domain/credential.ts'
import { isDelivered, isLive, nowhere } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { CredentialId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { earlier } from '../domain/time.ts'
import type { CredentialEntry, CredentialWrite, DeliverToWish } from '../domain/want.ts'
import type { KindCapabilities, Provider } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, save } from './context.ts'
import {
  capabilitiesOf,
  periodOf,
  checkPeriods,
  rotateAfterOf,
  spansOf,
  termsOf,
} from './credential-terms.ts'
import { ownerState } from './people.ts'
import { checkRequired } from './required-kind.ts'
import { checkGrants, planScopeChange } from './rescoping.ts'
import { visibleAccount, visibleCredential } from './visible.ts'
import { underTemplate } from './vocabulary.ts'

const credentialsPerAccountMax = 100

export interface CredentialResult {
  readonly credential: Credential
  readonly operation: Operation | null
}

/** One requested credential and the operation that will issue it; nothing is written yet. */
export interface PlannedCredential {
  readonly credential: Credential
  readonly operation: Operation
  readonly changes: readonly Change[]
}

/**
 * Checks one request against provider, sink and policy, and plans its issue.
 * @param live what the account holds already, this request's earlier siblings included
 * @throws unknownProvider, kindUnsupported, kindRequired, scopeRefused, unknownSink, sinkAmbiguous, expiryTooFar,
 *   expiryPast, tooManyCredentials
 */
export function planCredential(
  life: Lifecycle,
  account: ServiceAccount,
  asked: CredentialEntry & Partial<Pick<CredentialWrite, 'readers' | 'rotateEvery' | 'overlap'>>,
  live: readonly Pick<Credential, 'provider' | 'kind' | 'status'>[],
  actor: Actor,
): PlannedCredential {
  const now = life.clock.now()
  const want = underTemplate(life, account, asked)
  const { provider, capabilities } = providerFor(life, want.provider, want.kind)
  const terms = termsOf(life, account, want)
  checkRequired(terms, provider, want)
  const refused = provider.checkScopes(want.kind, want.scopes)
  if (refused) throw errors.scopeRefused({ scope: refused.scope, reason: refused.reason })
  checkGrants(capabilities, provider, want)

  const siblings = live.filter(
    (c) => c.provider === want.provider && c.kind === want.kind && isLive(c.status),
  )
  const limit =
    capabilities.maxLive === null
      ? credentialsPerAccountMax
      : Math.min(capabilities.maxLive - 1, credentialsPerAccountMax)
  if (siblings.length >= limit) {
    throw errors.tooManyCredentials({ provider: want.provider, kind: want.kind, limit })
  }

  if (!capabilities.canCreate) {
    throw errors.adoptOnly({ provider: want.provider, kind: want.kind })
  }
  checkPeriods(capabilities, terms, account, want)
  const id = life.ids.next() as CredentialId
  const credential: Credential = {
    tenant: account.tenant,
    id,
    account: account.id,
    provider: want.provider,
    kind: want.kind,
    displayName: want.display ?? null,
    scopes: want.scopes,
    scopesFrom: want.scopesFrom ?? [],
    grantedScopes: null,
    entitlement: want.entitlement ?? null,
    readers: want.readers ?? [],
    deliverTo: placeFor(life, account, id, want, capabilities),
    status: 'pending',
    generation: 0,
    keyId: null,
    previousKeyId: null,
    fingerprint: null,
    secretRef: null,
    expiresAt: credentialExpiry(want.expiresAt, account, now),
    rotateEvery: want.rotateEvery ?? null,
    overlap: want.overlap ?? null,
    issuedAt: null,
    rotateAfter: null,
    lastRotatedAt: null,
    lastUsedAt: null,
    refusedAt: null,
    settledAt: null,
    lastError: null,
    createdAt: now,
    updatedAt: now,
    version: 1,
  }
  const operation = planOperation(life, {
    tenant: account.tenant,
    kind: 'issue',
    subjectType: 'credential',
    subject: id,
    account: account.id,
    provider: want.provider,
    actor,
  })
  const changes: readonly Change[] = [
    { type: 'credential', credential, expectedVersion: null },
    { type: 'enqueue', operation, preempt: false },
    auditRow(life, {
      tenant: account.tenant,
      actor,
      action: 'credential.requested',
      target: { type: 'credential', id },
      operation: operation.id,
      facts: {
        account: account.id,
        provider: want.provider,
        kind: want.kind,
        scopes: want.scopes,
        sink: credential.deliverTo.sink,
        path: credential.deliverTo.path,
      },
    }),
  ]
  return { credential, operation, changes }
}

function providerFor(
  life: Lifecycle,
  name: string,
  kind: CredentialKind,
): { readonly provider: Provider; readonly capabilities: KindCapabilities } {
  const provider = life.providers.get(name)
  if (!provider) {
    throw errors.unknownProvider({ provider: name, known: [...life.providers.keys()].join(', ') })
  }
  const capabilities = provider.capabilities[kind]
  if (!capabilities) {
    const kinds = Object.keys(provider.capabilities).join(', ')
    throw errors.kindUnsupported({ provider: name, kind, kinds })
  }
  return { provider, capabilities }
}

export function deliverToFor(
  life: Lifecycle,
  account: Pick<ServiceAccount, 'userName'>,
  id: CredentialId,
  wish: DeliverToWish | undefined,
): DeliverTo {
  const known = [...life.sinks.keys()]
  const sink = wish?.sink ?? (known.length === 1 ? known[0]! : null)
  if (sink === null) throw errors.sinkAmbiguous({ known: known.join(', ') })
  if (!life.sinks.has(sink)) throw errors.unknownSink({ sink, known: known.join(', ') })
  return { sink, path: wish?.path ?? `${pathPart(account.userName)}/${id}` }
}

/** @throws invalidValue when a secret is to be delivered of which there is none */
function placeFor(
  life: Lifecycle,
  account: ServiceAccount,
  id: CredentialId,
  want: CredentialEntry,
  { mint }: KindCapabilities,
): DeliverTo {
  if (mint !== 'none') return deliverToFor(life, account, id, want.deliverTo)
  if (want.deliverTo === undefined) return nowhere(id)
  const reason = `a ${want.kind} has no secret, so nothing is delivered; leave it out.`
  throw errors.invalidValue({ path: 'deliverTo', reason })
}

/** A userName may hold any character; a path may not (contract §3). */
function pathPart(userName: string): string {
  const safe = userName
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .replace(/\.{2,}/g, '.')
    .replace(/^\.+/, '')
  return safe.slice(0, 120) || 'account'
}

function credentialExpiry(
  want: Instant | undefined,
  account: Pick<ServiceAccount, 'expiresAt'>,
  now: Instant,
): Instant {
  if (want === undefined) return account.expiresAt
  if (want <= now) throw errors.expiryPast({ path: 'credentials.expiresAt' })
  if (want > account.expiresAt) {
    throw errors.expiryTooFar({ path: 'credentials.expiresAt', cap: account.expiresAt })
  }
  return want
}

/** POST /Credentials. @throws what `planCredential` throws, notFound, wrongState */
export async function requestCredential(
  life: Lifecycle,
  caller: Caller,
  want: CredentialWrite,
): Promise<CredentialResult> {
  const account = await visibleAccount(life, caller, want.serviceAccount).catch(
    (cause: unknown) => {
      throw errors.invalidValue(
        {
          path: 'serviceAccount',
          reason: `no service account "${want.serviceAccount}" is known here.`,
        },
        { cause },
      )
    },
  )
  const decision = authorise(life, caller, 'credential.request', credentialResource(account, 'new'))
  requireOpen(account)
  await requireLivingOwner(life, account)
  const live = await life.store.read.credentialsOf(caller.tenant, account.id)
  const planned = planCredential(
    life,
    account,
    { ...want, ...(want.displayName === null ? {} : { display: want.displayName }) },
    live,
    caller.actor,
  )
  await save(
    life,
    // The account's version is the guard: two requests at once cannot both take the last slot.
    [
      {
        type: 'account',
        account: { ...account, updatedAt: life.clock.now() },
        expectedVersion: account.version,
      },
      ...planned.changes,
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'credential.permitted',
        target: { type: 'credential', id: planned.credential.id },
        decision,
        operation: planned.operation.id,
      }),
    ],
    { what: 'Credential', id: planned.credential.id },
  )
  return { credential: planned.credential, operation: planned.operation }
}

/**
 * Granting fails closed: the owner's row decides at this moment, whatever the account's status says
 * while the fan-out has not run yet (R60).
 * @throws noActiveOwner
 */
export async function requireLivingOwner(life: Lifecycle, account: ServiceAccount): Promise<void> {
  const owner = await ownerState(life, account.tenant, account.owner)
  if (!owner?.active) throw errors.noActiveOwner({ account: account.id })
}

/**
 * A key made for a closed account would work: its principal is turned on to mint one.
 * @throws wrongState
 */
export function requireOpen(account: ServiceAccount): void {
  if (isOpen(account.status)) return
  throw errors.wrongState({
    what: 'Account',
    id: account.id,
    status: account.status,
    action: 'given a credential',
  })
}

/** PATCH/PUT: what may change without a new key; the next rotation follows the new plan. */
export async function updateCredential(
  life: Lifecycle,
  caller: Caller,
  current: Credential,
  want: CredentialWrite,
): Promise<CredentialResult> {
  const account = await visibleAccount(life, caller, current.account)
  const decision = authorise(
    life,
    caller,
    'credential.update',
    credentialResource(account, current.id),
  )
  const now = life.clock.now()
  const scopesFrom = want.scopesFrom ?? current.scopesFrom
  const rescoping = await planScopeChange(
    life,
    { account, credential: current },
    { scopes: want.scopes, scopesFrom },
    caller.actor,
  )
  const terms = termsOf(life, account, current)
  checkPeriods(capabilitiesOf(life, current), terms, account, want)
  // Immutable, but what was imported gets its place once (contract §3).
  const deliverTo =
    want.deliverTo && !isDelivered(current)
      ? deliverToFor(life, account, current.id, want.deliverTo)
      : current.deliverTo
  const rotateEvery = want.rotateEvery ?? current.rotateEvery
  const next: Credential = {
    ...current,
    displayName: want.displayName,
    scopes: want.scopes,
    scopesFrom,
    readers: want.readers,
    expiresAt:
      want.expiresAt === undefined || want.expiresAt === current.expiresAt
        ? current.expiresAt
        : credentialExpiry(want.expiresAt, account, now),
    rotateEvery,
    overlap: want.overlap ?? current.overlap,
    deliverTo,
    // Without a place to deliver to it cannot be rotated, so no rotation is ever due.
    rotateAfter: rotateAfterOf(
      current.issuedAt,
      periodOf(life, account, { ...current, rotateEvery, deliverTo }),
    ),
    updatedAt: now,
  }
  if (sameCredential(current, next)) return { credential: current, operation: null }
  await save(
    life,
    [
      { type: 'credential', credential: next, expectedVersion: current.version },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'credential.updated',
        target: { type: 'credential', id: current.id },
        decision,
      }),
      ...(rescoping?.changes ?? []),
    ],
    { what: 'Credential', id: current.id },
  )
  return {
    credential: { ...next, version: current.version + 1 },
    operation: rescoping?.operation ?? null,
  }
}

function sameCredential(a: Credential, b: Credential): boolean {
  return JSON.stringify({ ...a, updatedAt: null }) === JSON.stringify({ ...b, updatedAt: null })
}

/** @throws wrongState unless the credential is active, noActiveOwner, busy when something else runs on it */
export async function rotateCredential(
  life: Lifecycle,
  caller: Caller,
  id: string,
  reason: 'requested' | 'rehearsal' = 'requested',
): Promise<Operation> {
  const { credential, account } = await visibleCredential(life, caller, id)
  const decision = authorise(life, caller, 'credential.rotate', credentialResource(account, id))
  if (credential.status !== 'active' || !isOpen(account.status)) {
    const status =
      credential.status === 'active' ? `on an account that is ${account.status}` : credential.status
    throw errors.wrongState({ what: 'Credential', id, status, action: 'rotated' })
  }
  if (capabilitiesOf(life, credential)?.mint === 'none') {
    throw errors.notRotatable({ credential: id, kind: credential.kind })
  }
  if (!isDelivered(credential)) throw errors.deliverToMissing({ credential: id })
  await requireLivingOwner(life, account)
  const operation = rotation(life, account, credential, caller.actor, { reason })
  await save(
    life,
    [
      { type: 'enqueue', operation, preempt: false },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'credential.rotationRequested',
        target: { type: 'credential', id },
        decision,
        operation: operation.id,
      }),
    ],
    { what: 'Credential', id },
  )
  return operation
}

/**
 * Plans a rotation with its waits frozen into the memo, so that a later policy edit does not move
 * the end of an overlap that consumers were promised.
 */
export function rotation(
  life: Lifecycle,
  account: ServiceAccount,
  credential: Credential,
  actor: Actor,
  why: {
    readonly reason:
      | 'requested'
      | 'scheduled'
      | 'ownerLeft'
      | 'rescoped'
      | 'rehearsal'
      | 'memberLeft'
    readonly cause?: string
    /** The old key's last moment, when somebody who left may know it. */
    readonly oldKeysUntil?: Instant
  },
): Operation {
  const memo: JsonObject = {
    reason: why.reason,
    ...spansOf(life, account, credential, why.oldKeysUntil !== undefined),
    oldKeysUntil: why.oldKeysUntil ?? null,
  }
  return planOperation(life, {
    tenant: credential.tenant,
    kind: 'rotate',
    subjectType: 'credential',
    subject: credential.id,
    account: account.id,
    provider: credential.provider,
    actor,
    ...(why.cause === undefined ? {} : { cause: why.cause }),
    memo,
  })
}

export function credentialResource(account: ServiceAccount, id: string) {
  return {
    type: 'credential',
    id,
    client: account.client,
    owner: account.owner.id,
    pendingOwner: account.pendingOwner?.id ?? null,
    protected: account.protected,
  } as const
}

/** The latest sign of life of anything on the account. */
export function lastUseOf(credentials: readonly Credential[]): Instant | null {
  let last: Instant | null = null
  for (const { lastUsedAt } of credentials) {
    if (lastUsedAt !== null && (last === null || lastUsedAt > last)) last = lastUsedAt
  }
  return last
}

export function expiryOf(credential: Credential, account: ServiceAccount): Instant {
  return earlier(credential.expiresAt, account.expiresAt)
}
