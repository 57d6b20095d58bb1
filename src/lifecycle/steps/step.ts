import type { ServiceAccount } from '../../domain/account.ts'
import type { Credential, IssuedKey, Principal } from '../../domain/credential.ts'
import { isDelivered } from '../../domain/credential.ts'
import type { AccountId } from '../../domain/ids.ts'
import type { Json, JsonObject } from '../../domain/json.ts'
import type { Failure, Operation, StepName } from '../../domain/operation.ts'
import { systemActor } from '../context.ts'
import type { Instant, Seconds } from '../../domain/time.ts'
import type {
  Call,
  KindCapabilities,
  Provider,
  SecretSink,
  SinkTarget,
} from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import type { Lifecycle } from '../context.ts'
import { auditRow } from '../context.ts'
import { noSink } from './no-sink.ts'

/**
 * What a step decides. `changes` are committed together with the operation's progress, under its
 * fence: either all of it happened or a newer claim owns the work.
 */
export type StepResult = { readonly changes?: readonly Change[]; readonly memo?: JsonObject } & (
  | { readonly go: 'next' }
  /** The operation is complete, whatever steps are left. */
  | { readonly go: 'done' }
  | {
      readonly go: 'wait'
      readonly until: Instant
      /** The step to continue with, when an earlier one has to run again. */
      readonly backTo?: StepName
      /** The failures so far still count: this wait is part of an attempt, not progress. */
      readonly sameAttempt?: true
      /** What it waits for, where an operator may want to help. */
      readonly failure?: Failure
    }
  | { readonly go: 'retry'; readonly failure: Failure; readonly after: Seconds | null }
  /** Ends in `needsOperator` with the sentence that says what to decide. */
  | { readonly go: 'ask'; readonly failure: Failure }
  | { readonly go: 'fail'; readonly failure: Failure }
)

export interface StepContext {
  readonly life: Lifecycle
  /** As claimed; `memo` inside is the one at the start of the step. */
  readonly operation: Operation
  /** Commits progress inside a step, before or after an effect. @throws Preempted */
  checkpoint(memo: JsonObject, changes: readonly Change[]): Promise<void>
  /** A provider or sink call: `key` is its idempotency token, default a fresh one. */
  call(key?: string): Call
}

/** A newer claim or a revocation owns the operation now; whoever sees this stops at once. */
export class Preempted extends Error {
  override readonly name = 'Preempted'
}

export type Step = (ctx: StepContext) => Promise<StepResult>

/** A field of the memo with the type its writer, another step of the same operation, gave it. */
// oxlint-disable-next-line no-unnecessary-type-parameters -- the memo is JSON; the reader names the type
export function memoOf<T>(ctx: StepContext, key: string): T | null {
  return (ctx.operation.memo[key] ?? null) as T | null
}

export function audit(
  ctx: StepContext,
  action: string,
  target: { readonly type: string; readonly id: string },
  facts: Readonly<Record<string, Json>>,
): Change {
  return auditRow(ctx.life, {
    tenant: ctx.operation.tenant,
    actor: systemActor,
    action,
    target,
    operation: ctx.operation.id,
    facts,
  })
}

export interface Subject {
  readonly account: ServiceAccount
  readonly credential: Credential
  readonly keys: readonly IssuedKey[]
  readonly principal: Principal | null
  readonly provider: Provider
  readonly capabilities: KindCapabilities
  readonly sink: SecretSink
  readonly target: SinkTarget
}

/** All a credential step needs. A provider or sink that left the configuration is an operator's matter. */
export async function loadSubject(ctx: StepContext, id: string): Promise<Subject> {
  const { life, operation } = ctx
  const credential = await life.store.read.credential(operation.tenant, id)
  if (!credential) throw new Error(`credential ${id} of operation ${operation.id} is missing`)
  const account = await life.store.read.account(operation.tenant, credential.account)
  if (!account)
    throw new Error(`account ${credential.account} of operation ${operation.id} is missing`)
  const provider = life.providers.get(credential.provider)
  const capabilities = provider?.capabilities[credential.kind]
  const sink = isDelivered(credential) ? life.sinks.get(credential.deliverTo.sink) : noSink
  if (!provider || !capabilities || !sink) {
    throw new NotConfigured(
      !sink
        ? `sink "${credential.deliverTo.sink}" is not configured any more; put it back and retry`
        : `provider "${credential.provider}" (${credential.kind}) is not configured any more; put it back and retry`,
    )
  }
  return {
    account,
    credential,
    keys: await life.store.read.keysOf(operation.tenant, credential.id),
    principal: await life.store.read.principal(operation.tenant, account.id, credential.provider),
    provider,
    capabilities,
    sink,
    target: targetOf(credential),
  }
}

export function targetOf(credential: Credential): SinkTarget {
  return { tenant: credential.tenant, credential: credential.id, path: credential.deliverTo.path }
}

export class NotConfigured extends Error {
  override readonly name = 'NotConfigured'
}

/** The principal's handle; a step that needs one runs after `ensure-account`. */
export function externalOf(principal: Principal | null): string {
  if (principal?.external == null) throw new Error('the principal was never ensured')
  return principal.external
}

/** A write of a credential as read: the store refuses it when somebody changed it meanwhile. */
export function putCredential(credential: Credential, now: Instant): Change {
  return {
    type: 'credential',
    credential: { ...credential, updatedAt: now },
    expectedVersion: credential.version,
  }
}

export function putAccount(account: ServiceAccount, now: Instant): Change {
  return {
    type: 'account',
    account: { ...account, updatedAt: now },
    expectedVersion: account.version,
  }
}

export async function loadAccount(
  ctx: StepContext,
  id: AccountId | string,
): Promise<ServiceAccount> {
  const account = await ctx.life.store.read.account(ctx.operation.tenant, id)
  if (!account) throw new Error(`account ${id} of operation ${ctx.operation.id} is missing`)
  return account
}

/**
 * An account is up once nothing below it is still being made, however that ended: by a key, by a
 * failure, by giving it up.
 * @param all the account's credentials as stored, `changed` among them in an older state
 * @returns the account's new state; empty while something is still on its way
 */
export function provisioned(
  account: ServiceAccount,
  all: readonly Credential[],
  changed: Credential,
  now: Instant,
): readonly Change[] {
  if (account.status !== 'provisioning') return []
  const states = all
    .map((c) => (c.id === changed.id ? changed.status : c.status))
    .filter((status) => status !== 'revoked' && status !== 'revoking')
  // A disabled one below an account that is coming up is about to be revived or issued anew.
  if (states.some((s) => s === 'pending' || s === 'issuing' || s === 'disabled')) return []
  const failed = states.includes('failed') && !states.includes('active')
  return [
    putAccount(
      {
        ...account,
        status: failed ? 'failed' : 'active',
        statusReason: failed ? 'provisionFailed' : null,
      },
      now,
    ),
  ]
}
