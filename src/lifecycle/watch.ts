import type { Operation, StepName } from '../domain/operation.ts'
import type { Tracer } from '../domain/trace.ts'
import { traced } from '../domain/trace.ts'
import type { Instant } from '../domain/time.ts'
import { instantOf, secondsBetween } from '../domain/time.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Change, Store } from '../store/store.ts'
import type { Lifecycle } from './context.ts'

/** One call to a provider or sink, as it ended. */
export interface CallNote {
  readonly target: string
  readonly role: 'provider' | 'sink'
  /** The method's name, e.g. `issue`. */
  readonly call: string
  /** `ok`, the kind of the provider's error, or `error`. */
  readonly outcome: string
  readonly seconds: number
}

/** One key that was ended: how long it took from the word to the proof. */
export interface EndingNote {
  readonly kind: Operation['kind']
  /** Who gave the word: a client directly, an event such as a leaving, or a sweep. */
  readonly cause: 'request' | 'event' | 'sweep'
  /** `refused`: its secret was tried and refused; `settled`: a complete listing shows nothing alive. */
  readonly proof: 'refused' | 'settled'
  readonly seconds: number
}

/** Who is told what the worker does, for metrics and traces; nothing of it may throw. */
export interface Watch {
  readonly call: (note: CallNote) => void
  readonly ending: (note: EndingNote) => void
  /** Null where nobody collects traces. */
  readonly tracer: Tracer | null
}

/** Only these end a key now; a rotation's old key ends at a planned time. */
const endingKinds: readonly Operation['kind'][] = ['revoke', 'disable', 'retire']

/** Steps that run again write the same proof again: so many keys are remembered. */
const rememberedMax = 10_000

/**
 * Tells of each key that a saved step has proven dead, once. The word's time is the cause's, whose
 * id carries it; where the policy grants a grace, that of the operation the grace's end started.
 */
export function createEndings(life: Lifecycle, watch: Watch | undefined) {
  const seen = new Set<string>()
  return (operation: Operation, step: StepName, changes: readonly Change[]): void => {
    if (watch === undefined || !endingKinds.includes(operation.kind)) return
    const proof = step === 'prove-dead' ? 'refused' : step === 'settle' ? 'settled' : null
    if (proof === null) return
    for (const change of changes) {
      if (change.type !== 'key') continue
      const { credential, generation } = change.key
      const at = proof === 'refused' ? change.key.refusedAt : change.key.settledAt
      const key = `${operation.id}/${credential}/${generation}/${proof}`
      if (at === null || at < operation.createdAt || seen.has(key)) continue
      if (seen.size >= rememberedMax) seen.delete(seen.values().next().value!)
      seen.add(key)
      const seconds = Math.max(0, secondsBetween(wordOf(life, operation), at))
      watch.ending({ kind: operation.kind, cause: causeOf(operation), proof, seconds })
    }
  }
}

function causeOf({ id, cause, actor }: Operation): EndingNote['cause'] {
  if (actor.type === 'sweep') return 'sweep'
  return cause === id ? 'request' : 'event'
}

function wordOf(life: Lifecycle, operation: Operation): Instant {
  const { cause, createdAt } = operation
  const at = life.policy().leaveGrace > 0 ? null : timeOfId(cause)
  return at !== null && at < createdAt ? at : createdAt
}

/** When a UUIDv7 was made (RFC 9562 §5.7); null of any other text. */
function timeOfId(id: string): Instant | null {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7/.test(id)) return null
  const milliseconds = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
  return instantOf(milliseconds)
}

/** Sends one call, and tells how it went. */
export async function watchedCall<T>(
  host: { readonly life: Pick<Lifecycle, 'clock'>; readonly watch: Watch | undefined },
  what: Pick<CallNote, 'target' | 'role' | 'call'>,
  send: () => Promise<T>,
): Promise<T> {
  const { watch } = host
  if (watch === undefined) return send()
  const { clock } = host.life
  const since = clock.monotonic()
  const note = (outcome: string): void =>
    watch.call({ ...what, outcome, seconds: (clock.monotonic() - since) / 1_000 })
  const facts = { 'custody.target': what.target, 'custody.call': what.call }
  const start = { name: `${what.role} ${what.call}`, kind: 'client', facts } as const
  try {
    const answer = await traced(watch.tracer, start, send)
    note('ok')
    return answer
  } catch (error) {
    note(error instanceof ProviderError ? error.kind : 'error')
    throw error
  }
}

/** The key of a memo under which an operation carries the trace of what queued it. */
const traceMemo = 'trace'

/** Runs one step in a span of its own, linked to what queued the operation. */
export function watchedStep<T>(
  watch: Watch | undefined,
  { id, kind, memo, attempt }: Operation,
  step: StepName,
  work: () => Promise<T>,
): Promise<T> {
  if (!watch?.tracer) return work()
  const link = memo[traceMemo]
  const facts = { 'custody.operation': id, 'custody.kind': kind, 'custody.attempt': attempt }
  const start = { name: `step ${step}`, kind: 'internal', facts } as const
  return traced(watch.tracer, typeof link === 'string' ? { ...start, link } : start, work)
}

/**
 * The same store, with a span around each commit that belongs to a running one, and the trace noted in
 * what it enqueues: its steps may run in another process, minutes later.
 */
export function tracedStore(store: Store, tracer: Tracer | null): Store {
  if (tracer === null) return store
  return {
    ...store,
    commit(changes) {
      const trace = tracer.current()
      if (trace === null) return store.commit(changes)
      const marked = changes.map((change) =>
        change.type === 'enqueue'
          ? {
              ...change,
              operation: {
                ...change.operation,
                memo: { ...change.operation.memo, [traceMemo]: trace },
              },
            }
          : change,
      )
      const start = {
        name: 'commit',
        kind: 'client',
        facts: { 'custody.changes': changes.length },
      } as const
      return traced(tracer, start, () => store.commit(marked))
    },
  }
}
