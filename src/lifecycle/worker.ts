import { assertNever } from '../domain/json.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Failure, Operation, StepName } from '../domain/operation.ts'
import { urgentKinds } from '../domain/operation.ts'
import type { Clock, Instant, Seconds } from '../domain/time.ts'
import { addSeconds, later, seconds, secondsBetween, timeoutOf } from '../domain/time.ts'
import type { Call } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import type { Lifecycle } from './context.ts'
import { cancelledBy } from './operations.ts'
import { disableKeys, proveDead, settle, shutOff } from './steps/kill.ts'
import { fanOut } from './steps/leave.ts'
import { ensureAccount, issueAndDeliver } from './steps/mint.ts'
import { StillListed, deleteKeys, deletePrincipals } from './steps/remove.ts'
import { turnOn } from './steps/revive.ts'
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
}

/** Longer than the slowest step between two heartbeats: one provider call may take `callSeconds`. */
const leaseSeconds = seconds(60)
const callSeconds = 20
/** A minting operation asks a person after this many failures; what revokes never stops trying (R34, R42). */
const attemptsMax = 8
const backoff = { firstSeconds: 1, mostSeconds: 300 }
const pollSeconds = 5

export interface WorkerOptions {
  readonly name: string
  /**
   * Operations in flight at once; each holds at most one provider call open. A quarter of them is
   * kept for what takes access away, so that no rush of rotations and no hanging provider delays it.
   */
  readonly concurrency: number
  /** How long a worker with nothing to do goes without looking, for what others queue; default 5. */
  readonly pollSeconds?: number
  /** Where an operator reads of a failing step; receives no secrets. */
  readonly log: (event: WorkerEvent) => void
}

export interface WorkerEvent {
  readonly operation: string
  readonly kind: string
  readonly step: string
  readonly outcome: string
  readonly failure: Failure | null
  readonly error: unknown
}

export interface Worker {
  start(): void
  /** Something may be due: looks at once instead of at the next tick. */
  wake(): void
  /** Runs all that is due now, and all that becomes due by it; for tests and drills on a manual clock. */
  drain(): Promise<number>
  /** Stops claiming, gives running steps `graceSeconds` to reach a commit, then lets go. */
  stop(graceSeconds?: number): Promise<void>
}

/**
 * Claims due operations and runs their steps. All state is in the journal: a worker may be killed
 * at any await, and another picks the operation up when the lease lapses. A claim may run several
 * steps in a row; each commit is guarded by the fence, so a pre-empted worker changes nothing more.
 */
export function createWorker(life: Lifecycle, options: WorkerOptions): Worker {
  const abort = new AbortController()
  const running = new Set<Promise<void>>()
  const othersMax = Math.ceil((options.concurrency * 3) / 4)
  let others = 0
  let stopped = false
  let woken = false
  let wakeUp: (() => void) | null = null
  const idleSecondsMax = options.pollSeconds ?? pollSeconds
  let loop: Promise<void> | null = null

  const claimSome = async (): Promise<number> => {
    const free = options.concurrency - running.size
    if (free <= 0) return 0
    const claimed = await life.store.claim(
      options.name,
      life.clock.now(),
      leaseSeconds,
      free,
      othersMax - others,
    )
    for (const operation of claimed) {
      const weight = urgentKinds.includes(operation.kind) ? 0 : 1
      others += weight
      const run: Promise<void> = runOperation(life, operation, options, abort.signal).finally(
        () => {
          running.delete(run)
          others -= weight
          wake()
        },
      )
      running.add(run)
    }
    return claimed.length
  }

  const wake = (): void => {
    woken = true
    wakeUp?.()
  }

  /** Sleeps until something is due, or a wake; a wake that came since the last claim counts too. */
  const idle = async (): Promise<void> => {
    const isFull = running.size >= options.concurrency
    const next = isFull ? null : await life.store.read.nextRunAt()
    if (woken) return
    const dueIn = next === null ? idleSecondsMax : secondsBetween(life.clock.now(), next)
    // At least a few milliseconds: something due that cannot be claimed (its account is busy, the
    // slots of its sort are taken) must not spin.
    const leastMs = others < othersMax ? 5 : 50
    const ms = Math.max(leastMs, Math.min(dueIn, idleSecondsMax) * 1_000)
    await new Promise<void>((resolve) => {
      const cancel = life.clock.after(ms, resolve)
      wakeUp = () => {
        cancel()
        resolve()
      }
    })
    wakeUp = null
  }

  const forever = async (): Promise<void> => {
    while (!stopped) {
      try {
        woken = false
        if ((await claimSome()) === 0) await idle()
      } catch (error) {
        if (stopped) return
        options.log({
          operation: '-',
          kind: '-',
          step: 'claim',
          outcome: 'error',
          failure: null,
          error,
        })
        await pause(life.clock, 1_000)
      }
    }
  }

  return {
    start() {
      loop ??= forever()
    },
    wake,
    async drain() {
      let total = 0
      for (;;) {
        const claimed = await claimSome()
        total += claimed
        await Promise.all(running)
        if (claimed === 0) return total
      }
    },
    async stop(graceSeconds = 10) {
      stopped = true
      wake()
      await Promise.race([Promise.all(running), pause(life.clock, graceSeconds * 1_000)])
      abort.abort()
      await Promise.all(running)
      await loop
    },
  }
}

async function runOperation(
  life: Lifecycle,
  claimed: Operation,
  options: WorkerOptions,
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
        failure: 'failure' in result ? result.failure : null,
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
    return {
      key: key ?? this.life.ids.next(),
      signal: AbortSignal.any([this.#signal, timeoutOf(this.life.clock, Math.floor(timeout))]),
      fence: () => this.#holds(),
    }
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
    return afterError(context, error)
  }
}

const revokingKinds: ReadonlySet<Operation['kind']> = new Set([
  'revoke',
  'disable',
  'retire',
  'delete',
  'leave',
])

/** From here on a rotation only ends old keys, and that never stops trying (R34). */
const revokingSteps: ReadonlySet<StepName> = new Set([
  'overlap',
  'disable-old',
  'soak',
  'revoke-old',
])

function isRevoking({ kind, steps, cursor }: Operation): boolean {
  return revokingKinds.has(kind) || revokingSteps.has(steps[cursor]!)
}

async function afterError(context: Context, error: unknown): Promise<StepResult> {
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

/** Commits what the step decided. @returns the operation when this claim may go on with it */
async function settleResult(
  life: Lifecycle,
  context: Context,
  result: StepResult,
): Promise<Operation | null> {
  const { operation } = context
  const now = life.clock.now()
  const next = progress(operation, result, now)
  const changes: readonly Change[] = [
    {
      type: 'advance',
      id: operation.id,
      fence: operation.fence,
      set: next.set,
      release: next.release,
      at: now,
    },
    ...(result.changes ?? []),
  ]
  const saved = await life.store.commit(changes)
  if (saved !== 'saved') {
    if (saved.reason === 'fence') throw new Preempted('a newer claim owns this operation')
    // Only the step's rows were stale: give the operation back to be run on fresh ones. What is not
    // a matter of versions will most likely refuse the next run too, so that one waits.
    const stale = saved.reason === 'version'
    const attempt = operation.attempt + (stale ? 0 : 1)
    const failure = {
      code: 'conflict',
      message: `what the step wrote was refused (${saved.reason}${saved.with === null ? '' : `: ${saved.with}`}); it is tried again`,
    }
    const again = await life.store.commit([
      {
        type: 'advance',
        id: operation.id,
        fence: operation.fence,
        set: {
          status: 'waiting',
          runAt: stale ? now : addSeconds(now, backoffSeconds(attempt)),
          ...(stale ? {} : { attempt, failure }),
        },
        release: true,
        at: now,
      },
    ])
    if (again !== 'saved') throw new Preempted('a newer claim owns this operation')
    return null
  }
  if (next.release) {
    life.wake()
    return null
  }
  return { ...operation, ...next.set }
}

type Progress = Extract<Change, { readonly type: 'advance' }>['set']

function progress(
  operation: Operation,
  result: StepResult,
  now: Instant,
): { readonly set: Progress; readonly release: boolean } {
  const memo = { ...operation.memo, ...result.memo }
  const finished = (status: Operation['status'], failure: Failure | null) => ({
    set: { memo, status, failure, finishedAt: now },
    release: true,
  })
  switch (result.go) {
    case 'next': {
      const cursor = operation.cursor + 1
      return cursor >= operation.steps.length
        ? finished('succeeded', null)
        : { set: { memo, cursor, attempt: 0, failure: null }, release: false }
    }
    case 'done':
      return finished('succeeded', null)
    case 'wait': {
      const cursor = result.backTo ? operation.steps.indexOf(result.backTo) : operation.cursor
      const runAt = later(now, result.until)
      const attempt = result.sameAttempt ? operation.attempt : 0
      return {
        set: { memo, cursor, status: 'waiting', runAt, attempt, failure: null },
        release: true,
      }
    }
    case 'retry': {
      const attempt = operation.attempt + 1
      // A Retry-After of nothing must not spin.
      const runAt = addSeconds(now, Math.max(result.after ?? 0, backoffSeconds(attempt)))
      if (!isRevoking(operation) && attempt >= attemptsMax) {
        const message = `${result.failure.message}; it failed ${attempt} times: decide whether to retry or to revoke`
        return ask(operation, { ...result.failure, message }, { memo, attempt, runAt, now })
      }
      return {
        set: { memo, attempt, status: 'waiting', runAt, failure: result.failure },
        release: true,
      }
    }
    case 'ask': {
      const attempt = operation.attempt + 1
      const runAt = addSeconds(now, backoffSeconds(attempt))
      return ask(operation, result.failure, { memo, attempt, runAt, now })
    }
    case 'fail': {
      const isCancelled = (operation.memo['cancelledBy'] ?? null) !== null
      return finished(isCancelled ? 'cancelled' : 'failed', result.failure)
    }
    default:
      return assertNever(result)
  }
}

/** Waits for a person, unless keys of a leaver have to end first: nobody may be there in time. */
function ask(
  operation: Operation,
  failure: Failure,
  next: {
    readonly memo: JsonObject
    readonly attempt: number
    readonly runAt: Instant
    readonly now: Instant
  },
): { readonly set: Progress; readonly release: boolean } {
  const { memo, attempt } = next
  const owed = knownKeysUntil(operation)
  if (owed === null) {
    return { set: { memo, attempt, status: 'needsOperator', failure }, release: true }
  }
  const runAt = owed > next.now ? owed : next.runAt
  return { set: { memo, attempt, status: 'waiting', runAt, failure }, release: true }
}

function pause(clock: Clock, milliseconds: number): Promise<void> {
  return new Promise((resolve) => clock.after(milliseconds, resolve))
}

function backoffSeconds(attempt: number): Seconds {
  return seconds(Math.min(backoff.mostSeconds, backoff.firstSeconds * 2 ** (attempt - 1)))
}
