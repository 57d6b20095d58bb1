import type { AuditRow, Decision } from '../domain/audit.ts'
import type { Client } from '../domain/client.ts'
import type { DirectorySource } from '../domain/directory.ts'
import { AppError, errors } from '../domain/errors.ts'
import type { AccountId, IdSource, OperationId, TenantId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation, OperationKind, StepName, SubjectType } from '../domain/operation.ts'
import type { Clock } from '../domain/time.ts'
import type { Action, Authoriser, AuthoriseRequest } from '../policy/authorise.ts'
import type { Template } from '../policy/templates.ts'
import type { LifecyclePolicy } from '../policy/lifecycle.ts'
import type { Provider, SecretSink } from '../provider/contract.ts'
import type { Change, Conflict, Store, Visibility } from '../store/store.ts'
import type { Hooks } from './hooks.ts'
import type { Sealer } from './sealing.ts'
import type { GateState } from './bulkhead.ts'

/** What the whole lifecycle floor works with; one per process, handed in by `main`. */
export interface Lifecycle {
  readonly store: Store
  readonly clock: Clock
  readonly ids: IdSource
  /** Functions, since both are replaced as a whole on reload. */
  readonly policy: () => LifecyclePolicy
  readonly authoriser: () => Authoriser
  readonly providers: ReadonlyMap<string, Provider>
  readonly sinks: ReadonlyMap<string, SecretSink>
  /** Looks at the clock before anything that only time asks for; absent where time is made by hand. */
  readonly clockGuard?: { check(): Promise<boolean> }
  /** The high-water mark of the audit outside the database, where there is one. */
  readonly anchor?: { setAside(): Promise<string | null> }
  /** How the calls to each provider and sink fare here; absent where none are made. */
  readonly gates?: () => readonly GateState[]
  /** Keeps what ending a key needs; absent where no provider asks for that. */
  readonly sealer?: Sealer
  /** The templates that requests may name, and that say what groups grant; absent: there are none. */
  readonly vocabulary?: () => readonly Template[]
  /** Calls the reload hooks of consumers; absent where nothing may leave the process. */
  readonly hooks?: Hooks
  /** The directories themselves, by name, for those that were configured. */
  readonly directories?: ReadonlyMap<string, DirectorySource>
  /** Tells the worker that something may be due now. */
  readonly wake: () => void
}

/** Who asks: an authenticated client as the engine sees it. */
export interface Caller {
  readonly client: Client
  readonly actor: Actor
  readonly tenant: TenantId
  /** The groups around the linked person, nested ones included: it owns what they own. */
  readonly groups: readonly string[]
  /** Somebody else runs again what the client once sent: with its rights, but it says nothing now. */
  readonly isRerun?: true
}

export function callerOf(client: Client, groups: readonly string[] = []): Caller {
  return {
    client,
    actor: { type: 'client', id: client.id, name: client.name },
    tenant: client.tenant,
    groups,
  }
}

export const systemActor: Actor = { type: 'system', id: 'system', name: 'custody' }

/** Reads are decided by role alone (contract §6); writes and actions ask the authoriser. */
export function visibilityOf(caller: Caller): Visibility {
  const { client } = caller
  switch (client.role) {
    case 'admin':
    case 'security':
    case 'auditor':
      return { people: 'all', accounts: 'all' }
    case 'directory':
      return { people: { directory: client.directory ?? 'default' }, accounts: 'none' }
    case 'requester':
    case 'owner':
      return {
        people: 'all',
        accounts: {
          client: client.id,
          owners: client.person === null ? [] : [client.person, ...caller.groups],
        },
      }
    case 'verifier':
      return { people: 'none', accounts: 'none' }
  }
}

/** @throws forbidden, naming the policies that said no */
export function authorise(
  life: Lifecycle,
  caller: Caller,
  action: Action,
  resource: Omit<AuthoriseRequest['resource'], 'tenant'>,
): Decision {
  const { client } = caller
  const decision = life.authoriser().decide({
    actor: {
      id: client.id,
      role: client.role,
      tenant: client.tenant,
      directory: client.directory,
      person: client.person,
      groups: caller.groups,
    },
    action,
    resource: { ...resource, tenant: caller.tenant },
  })
  if (decision.effect === 'forbid') {
    const reason = decision.reasons.length > 0 ? `refused by ${decision.reasons.join(', ')}.` : ''
    throw errors.forbidden({ action, role: client.role, reason })
  }
  return decision
}

export function auditRow(
  life: Pick<Lifecycle, 'ids' | 'clock'>,
  row: {
    readonly tenant: TenantId
    readonly actor: Actor
    readonly action: string
    readonly target: { readonly type: string; readonly id: string }
    readonly decision?: Decision | null
    readonly operation?: OperationId | null
    readonly facts?: JsonObject
  },
): Change & { readonly type: 'audit'; readonly row: AuditRow } {
  return {
    type: 'audit',
    row: {
      tenant: row.tenant,
      id: life.ids.next(),
      at: life.clock.now(),
      actor: row.actor,
      action: row.action,
      targetType: row.target.type,
      target: row.target.id,
      decision: row.decision ?? null,
      operation: row.operation ?? null,
      facts: row.facts ?? {},
    },
  }
}

/** What each kind of operation does, in order. */
export const stepsOf: Readonly<Record<OperationKind, readonly StepName[]>> = {
  issue: ['ensure-account', 'issue-and-deliver', 'verify'],
  rotate: [
    'ensure-account',
    'issue-and-deliver',
    'verify',
    'overlap',
    'disable-old',
    'soak',
    'revoke-old',
  ],
  revoke: ['disable-keys', 'prove-dead', 'settle', 'delete-keys'],
  disable: ['shut-off', 'disable-keys', 'prove-dead', 'settle'],
  enable: ['turn-on', 'prove-alive'],
  retire: ['shut-off', 'disable-keys', 'prove-dead', 'settle'],
  delete: ['delete-keys', 'delete-principals'],
  leave: ['fan-out', 'remove-person'],
  reconcile: ['take-inventory', 'compare-rights', 'compare'],
  undo: ['take-back', 'confirm-back'],
  rescope: ['find-dependents', 'change-scopes', 'prove-scopes'],
  revertDrift: ['revert-drift'],
  reload: ['call-hook'],
  eject: ['release', 'hand-over'],
}

/** The steps are frozen here: a later version that plans other steps still finishes this list. */
export function planOperation(
  life: Lifecycle,
  plan: {
    readonly tenant: TenantId
    readonly kind: OperationKind
    readonly subjectType: SubjectType
    readonly subject: string
    readonly account: AccountId | null
    readonly provider: string | null
    readonly actor: Actor
    /** Omitted: the operation is its own cause. */
    readonly cause?: string
    readonly memo?: JsonObject
  },
): Operation {
  const id = life.ids.next() as OperationId
  const now = life.clock.now()
  return {
    tenant: plan.tenant,
    id,
    kind: plan.kind,
    subjectType: plan.subjectType,
    subject: plan.subject,
    account: plan.account,
    provider: plan.provider,
    steps: stepsOf[plan.kind],
    cursor: 0,
    attempt: 0,
    status: 'queued',
    runAt: now,
    leaseWorker: null,
    leaseUntil: null,
    fence: 0,
    memo: plan.memo ?? {},
    actor: plan.actor,
    cause: plan.cause ?? id,
    failure: null,
    createdAt: now,
    updatedAt: now,
    finishedAt: null,
  }
}

/** Commits a client's write, turning a conflict into the error that tells the client what to do. */
export async function save(
  life: Lifecycle,
  changes: readonly Change[],
  subject: { readonly what: string; readonly id: string },
): Promise<void> {
  const result = await life.store.commit(changes)
  if (result === 'saved') {
    if (changes.some((c) => c.type === 'enqueue')) life.wake()
    return
  }
  throw await conflictError(life, result, changes, subject)
}

const replansMax = 5

/** Plans a write anew on fresh rows when it lost a race: nothing may stop a direct revocation. */
export async function replanned<T>(write: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write()
    } catch (error) {
      const lostRace = error instanceof AppError && error.code === 'changedMeanwhile'
      if (!lostRace || attempt >= replansMax) throw error
    }
  }
}

/** The error that tells a client what stood in the way of its write. */
export async function conflictError(
  life: Lifecycle,
  conflict: Conflict,
  changes: readonly Change[],
  subject: { readonly what: string; readonly id: string },
): Promise<Error> {
  const change = changes[conflict.change]
  const other = conflict.with ?? 'another resource'
  switch (conflict.reason) {
    case 'userName':
      return errors.userNameTaken({ userName: userNameOf(change), id: other })
    case 'externalId':
      return errors.externalIdTaken({ externalId: externalIdOf(change), id: other })
    case 'displayName':
      return errors.displayNameTaken({
        displayName: change?.type === 'group' ? change.group.displayName : '',
        id: other,
      })
    case 'path':
      return change?.type === 'credential'
        ? errors.pathTaken({
            sink: change.credential.deliverTo.sink,
            path: change.credential.deliverTo.path,
          })
        : errors.pathTaken({ sink: '', path: '' })
    case 'busy': {
      const operation =
        change?.type === 'enqueue' && conflict.with !== null
          ? await life.store.read.operation(change.operation.tenant, conflict.with)
          : null
      return errors.busy({ ...subject, operation: other, kind: operation?.kind ?? 'unknown' })
    }
    case 'version':
    case 'fence':
    case 'slot':
    case 'missing':
    case 'braked':
      return errors.changedMeanwhile(subject)
  }
}

function userNameOf(change: Change | undefined): string {
  if (change?.type === 'person') return change.person.userName
  return change?.type === 'account' ? change.account.userName : ''
}

function externalIdOf(change: Change | undefined): string {
  if (change?.type === 'person') return change.person.externalId ?? ''
  if (change?.type === 'group') return change.group.externalId ?? ''
  return change?.type === 'account' ? (change.account.externalId ?? '') : ''
}
