import { assertNever } from '../domain/json.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Failure, Operation, StepName } from '../domain/operation.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { addSeconds, earlier, later, seconds } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import { jittered } from './bulkhead.ts'
import type { Lifecycle } from './context.ts'
import type { StepContext, StepResult } from './steps/step.ts'
import { Preempted } from './steps/step.ts'
import { knownKeysUntil } from './steps/supersede.ts'
import { credentialTold, tellAccount } from './told.ts'

/** A minting operation asks a person after this many failures; what revokes never stops trying (R34, R42). */
const attemptsMax = 8
const backoff = { firstSeconds: 1, mostSeconds: 300 }

const revokingKinds: ReadonlySet<Operation['kind']> = new Set([
  'revoke',
  'disable',
  'retire',
  'delete',
  'leave',
  'rescope',
])

/** From here on a rotation only ends old keys, and that never stops trying (R34). */
const revokingSteps: ReadonlySet<StepName> = new Set([
  'overlap',
  'disable-old',
  'soak',
  'revoke-old',
])

/** Whether what the operation does now takes access away. */
export function isRevoking({ kind, steps, cursor, memo }: Operation): boolean {
  if (kind === 'rescope' && memo['widens'] === true) return false
  return revokingKinds.has(kind) || revokingSteps.has(steps[cursor]!)
}

/**
 * What renews a lease goes on trying as well: an installation that is suspended for an hour, or a
 * provider that is down for one, must not leave a person something to do for each of its tokens.
 */
function isRenewal({ memo }: Operation): boolean {
  return memo['isLease'] === true
}

/**
 * Commits what the step decided.
 * @param wasSaved is told of the step's own changes when they are
 * @returns the operation when this claim may go on with it
 */
export async function settleResult(
  life: Lifecycle,
  context: StepContext,
  result: StepResult,
  wasSaved: (changes: readonly Change[]) => void = () => undefined,
): Promise<Operation | null> {
  const { operation } = context
  const now = life.clock.now()
  const next = progress(operation, result, now)
  const failure = mintingFailure(operation, result)
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
    ...(await toldWhy(life, operation, result, failure, now)),
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
  wasSaved(result.changes ?? [])
  if (failure) await tellAccount(life, operation, { failure, isFinal: result.go === 'ask' })
  if (next.release) {
    life.wake()
    return null
  }
  return { ...operation, ...next.set }
}

/** The failure that somebody who waits for a key should read; null when there is none. */
function mintingFailure(operation: Operation, result: StepResult): Failure | null {
  if (result.go !== 'retry' && result.go !== 'ask') return null
  return operation.subjectType === 'credential' && !isRevoking(operation) ? result.failure : null
}

/**
 * Once for each sentence, so that the tries of an outage do not become a write each, and not when the
 * step itself writes the credential: then it knows what to say of it.
 */
async function toldWhy(
  life: Lifecycle,
  operation: Operation,
  result: StepResult,
  failure: Failure | null,
  now: Instant,
): Promise<readonly Change[]> {
  const isWritten = result.changes?.some(
    (change) => change.type === 'credential' && change.credential.id === operation.subject,
  )
  const isNews = failure !== null && operation.failure?.message !== failure.message
  return isNews && !isWritten ? credentialTold(life, operation, failure, now) : []
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
        set: { memo, cursor, status: 'waiting', runAt, attempt, failure: result.failure ?? null },
        release: true,
      }
    }
    case 'retry': {
      const attempt = operation.attempt + 1
      // A Retry-After of nothing must not spin.
      // What takes access away is tried as soon as it may be (R42); the rest does not come all at once.
      const most = backoffSeconds(attempt)
      const delay = isRevoking(operation) ? most : 1 + jittered(most - 1, operation.id, attempt)
      const runAt = addSeconds(now, Math.max(result.after ?? 0, delay))
      const neverAsks = isRevoking(operation) || isRenewal(operation)
      if (!neverAsks && attempt >= attemptsMax) {
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

/**
 * Waits for a person, unless keys of a leaver have to end first: nobody may be there in time, so it
 * is also tried again by itself until then.
 */
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
  if (owed === null && isRenewal(operation)) {
    return { set: { memo, attempt, status: 'waiting', runAt: next.runAt, failure }, release: true }
  }
  if (owed === null) {
    return { set: { memo, attempt, status: 'needsOperator', failure }, release: true }
  }
  const runAt = owed > next.now ? earlier(owed, next.runAt) : next.runAt
  return { set: { memo, attempt, status: 'waiting', runAt, failure }, release: true }
}

function backoffSeconds(attempt: number): Seconds {
  return seconds(Math.min(backoff.mostSeconds, backoff.firstSeconds * 2 ** (attempt - 1)))
}
