import type { JsonObject } from '../domain/json.ts'
import type { Failure, Operation, StepName } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, seconds, secondsBetween, timeoutOf } from '../domain/time.ts'
import type { Call } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import { NotNow, againAfter, urgentCall } from './bulkhead.ts'
import type { Lifecycle } from './context.ts'
import { cancelledBy } from './operations.ts'
import { isRevoking, settleResult } from './progress.ts'
import { changeScopes, findDependents, proveScopes } from './steps/rescope.ts'
import { compareRights } from './steps/compare-rights.ts'
import { revertDrift } from './steps/revert-drift.ts'
import { compareInventory } from './steps/inventory-compare.ts'
import { takeInventory } from './steps/inventory.ts'
import { TaskOpen, waitForTask } from './steps/by-hand.ts'
import { callHook } from './steps/call-hook.ts'
import { disableKeys, proveDead, settle, shutOff } from './steps/kill.ts'
import { fanOut } from './steps/leave.ts'
import { handOver, release } from './steps/hand-over.ts'
import { ensureAccount, issueAndDeliver } from './steps/mint.ts'
import { StillListed, deleteKeys, deletePrincipals } from './steps/remove.ts'
import { removePerson } from './steps/remove-person.ts'
import { turnOn } from './steps/revive.ts'
import { confirmBack, proveAlive, takeBack } from './steps/take-back.ts'
import { removeUnanswered } from './steps/strays.ts'
import type { Step, StepContext, StepResult, Subject } from './steps/step.ts'
import { NotConfigured, Preempted, loadSubject, memoOf } from './steps/step.ts'
import {
  disableOld,
  endKnownKeys,
  knownKeysUntil,
  overlap,
  revokeOld,
  soak,
} from './steps/supersede.ts'
import { failureChanges, removeHalfMade, verify } from './steps/verify.ts'

const steps: Readonly<Record<StepName, Step>> = {
  'ensure-account': ensureAccount,
  'issue-and-deliver': issueAndDeliver,
  verify,
  overlap,
  'disable-old': disableOld,
  soak,
  'revoke-old': revokeOld,
  'shut-off': shutOff,
  'disable-keys': disableKeys,
  'prove-dead': proveDead,
  settle,
  'delete-keys': deleteKeys,
  'delete-principals': deletePrincipals,
  'turn-on': turnOn,
  'fan-out': fanOut,
  'remove-person': removePerson,
  'take-inventory': takeInventory,
  compare: compareInventory,
  'take-back': takeBack,
  'confirm-back': confirmBack,
  'prove-alive': proveAlive,
  'find-dependents': findDependents,
  'change-scopes': changeScopes,
  'prove-scopes': proveScopes,
  'compare-rights': compareRights,
  'revert-drift': revertDrift,
  'call-hook': callHook,
  release,
  'hand-over': handOver,
}

/** Longer than the slowest step between two heartbeats: one provider call may take `callSeconds`. */
export const leaseSeconds = seconds(60)
const callSeconds = 20

export interface WorkerEvent {
  readonly operation: string
  readonly kind: string
  readonly step: string
  readonly outcome: string
  readonly failure: Failure | null
  readonly error: unknown
}

/** Runs the steps of a claimed operation, one after the other, until it has to wait or is done. */
export async function runOperation(
  life: Lifecycle,
  claimed: Operation,
  options: { readonly name: string; readonly log: (event: WorkerEvent) => void },
  signal: AbortSignal,
): Promise<void> {
  let operation = claimed
  const lease: Lease = { beatAt: life.clock.monotonic(), until: claimed.leaseUntil! }
  while (!signal.aborted) {
    const step = operation.steps[operation.cursor]!
    const context = new Context(life, operation, signal, lease)
    try {
      await context.beat()
      const result = await attempt(context, steps[step])
      options.log({
        operation: operation.id,
        kind: operation.kind,
        step,
        outcome: result.go,
        failure: 'failure' in result ? (result.failure ?? null) : null,
        error: null,
      })
      const next = await settleResult(life, context, result)
      if (next === null) return
      operation = next
    } catch (error) {
      if (!(error instanceof Preempted)) {
        options.log({
          operation: operation.id,
          kind: operation.kind,
          step,
          outcome: 'error',
          failure: null,
          error,
        })
      }
      // Whatever was in flight has landed: what pre-empted us need not wait for the lease to lapse.
      // Anything else (the store failed): it will lapse.
      if (error instanceof Preempted) {
        await life.store.letGo(operation.id, options.name, life.clock.now())
      }
      return
    }
  }
}

/** What one claim holds, over all the steps it runs. */
interface Lease {
  beatAt: number
  until: Instant
}

class Context implements StepContext {
  readonly life: Lifecycle
  readonly #signal: AbortSignal
  readonly #lease: Lease
  operation: Operation

  constructor(life: Lifecycle, operation: Operation, signal: AbortSignal, lease: Lease) {
    this.life = life
    this.operation = operation
    this.#signal = signal
    this.#lease = lease
  }

  async checkpoint(memo: JsonObject, changes: readonly Change[]): Promise<void> {
    const merged = { ...this.operation.memo, ...memo }
    const result = await this.life.store.commit([
      {
        type: 'advance',
        id: this.operation.id,
        fence: this.operation.fence,
        set: { memo: merged },
        release: false,
        at: this.life.clock.now(),
      },
      ...changes,
    ])
    if (result !== 'saved') {
      if (result.reason === 'fence') throw new Preempted('a newer claim owns this operation')
      throw new Replan(`the ${result.reason} of change ${result.change} did not match`)
    }
    this.operation = { ...this.operation, memo: merged }
    await this.beat()
  }

  call(key?: string): Call {
    // A revocation waits for the leases of what it pre-empts: no call may outlive its lease.
    const left = secondsBetween(this.life.clock.now(), this.#lease.until)
    const timeout = Math.max(0, Math.min(callSeconds, left)) * 1_000
    const call: Call = {
      key: key ?? this.life.ids.next(),
      operation: this.operation.id,
      signal: AbortSignal.any([this.#signal, timeoutOf(this.life.clock, Math.floor(timeout))]),
      fence: () => this.#holds(),
      claim: { operation: this.operation.id, fence: this.operation.fence },
    }
    return isRevoking(this.operation) ? urgentCall(call) : call
  }

  async #holds(): Promise<boolean> {
    const { tenant, id, fence } = this.operation
    const now = await this.life.store.read.operation(tenant, id)
    return now?.fence === fence && now.status === 'running'
  }

  /** Prolongs the lease when a third of it has gone: a write per call would double the commits. */
  async beat(): Promise<void> {
    const { clock, store } = this.life
    if (clock.monotonic() - this.#lease.beatAt < (leaseSeconds * 1_000) / 3) return
    this.#lease.beatAt = clock.monotonic()
    const until = addSeconds(clock.now(), leaseSeconds)
    const held = await store.heartbeat(this.operation.id, this.operation.fence, until)
    if (!held) throw new Preempted('a newer claim owns this operation')
    this.#lease.until = until
  }
}

/** Rows changed between a step's read and its write: the step runs again on fresh ones. */
class Replan extends Error {
  override readonly name = 'Replan'
}

/** Runs one step; whatever it throws becomes a decision about what to do next. */
async function attempt(context: Context, step: Step): Promise<StepResult> {
  try {
    const owed = knownKeysUntil(context.operation)
    if (owed !== null && owed <= context.life.clock.now()) await endKnownKeys(context)
    const givenUpBy = memoOf<string>(context, 'cancelledBy')
    const result =
      givenUpBy === null ? await step(context) : await failed(context, cancelledBy(givenUpBy))
    // No new key will come: nothing is left to wait for.
    if (result.go === 'fail' && knownKeysUntil(context.operation) !== null) {
      await endKnownKeys(context)
    }
    return result
  } catch (error) {
    if (error instanceof Preempted) throw error
    if (error instanceof Replan) return { go: 'wait', until: context.life.clock.now() }
    if (error instanceof NotNow) return comeAgain(context, error)
    return afterError(context, error)
  }
}

/** Nothing was sent: the attempt does not count, and the claim is given back meanwhile. */
function comeAgain({ life, operation }: Context, error: NotNow): StepResult {
  const until = againAfter(error, operation.id, operation.fence, life.clock.now())
  return { go: 'wait', until, sameAttempt: true }
}

async function afterError(context: Context, error: unknown): Promise<StepResult> {
  if (error instanceof TaskOpen) return waitForTask(context, error.failure)
  const failure = failureOf(error)
  const after = error instanceof ProviderError ? error.retryAfter : null
  if (isRevoking(context.operation)) {
    return { go: 'retry', failure: { code: 'revokeBlocked', message: failure.message }, after }
  }
  if (error instanceof ProviderError) {
    if (error.kind === 'invalid' && error.outcome === 'notApplied') return failed(context, failure)
    if (error.kind === 'denied' || error.kind === 'conflict') return { go: 'ask', failure }
  }
  if (error instanceof NotConfigured) return { go: 'ask', failure }
  return { go: 'retry', failure, after }
}

/** Ends in failure, but not before what was half made is gone: nobody would look for it later. */
async function failed(context: Context, failure: Failure): Promise<StepResult> {
  if (context.operation.subjectType !== 'credential') return { go: 'ask', failure }
  try {
    const subject: Subject = await loadSubject(context, context.operation.subject)
    const unanswered = await removeUnanswered(context, subject)
    if (unanswered) return unanswered
    const halfMade = subject.keys.find((k) => k.status === 'issuing')
    const removed = halfMade ? await removeHalfMade(context, subject, halfMade) : []
    const after = await failureChanges(context, subject, failure.message)
    // A cancelled operation that keeps its intent would look like one with a call on its way.
    return { go: 'fail', failure, memo: { mint: null }, changes: [...removed, ...after] }
  } catch (error) {
    if (error instanceof Preempted) throw error
    if (error instanceof NotNow) return comeAgain(context, error)
    return { go: 'retry', failure: failureOf(error), after: null }
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof ProviderError) return { code: error.kind, message: error.message }
  if (error instanceof NotConfigured) return { code: 'notConfigured', message: error.message }
  if (error instanceof StillListed) return { code: 'stillListed', message: error.message }
  // Its text may quote anything, so the operator gets it from the log, not from the journal.
  const name = error instanceof Error ? error.name : 'unknown'
  return {
    code: 'internal',
    message: `the step failed inside Custody (${name}); the log has the cause`,
  }
}
