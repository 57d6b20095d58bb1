import { createHash } from 'node:crypto'
import type { Clock, Instant } from '../domain/time.ts'
import { addSeconds, secondsBetween } from '../domain/time.ts'
import type { Call, Provider, SecretSink } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Lifecycle } from './context.ts'
import type { Watch } from './watch.ts'
import { watchedCall } from './watch.ts'

/** So many answers in a row that say "not now", or none at all, and a provider is left in peace. */
const failuresMax = 5
const rest = { firstSeconds: 15, mostSeconds: 240 }
/** After a throttling answer all calls share this rate; it doubles until nobody notices it. */
const rate = { firstPerSecond: 5, mostPerSecond: 320, doublesAfterSeconds: 10 }
/** Beyond these a call is turned away: its operation waits in the journal instead of in memory. */
const waitersMax = 64
const turnedAwaySeconds = 5

/** Why a call was not sent: nothing happened, and it is no failure of what asked for it. */
export class NotNow extends Error {
  override readonly name = 'NotNow'
  readonly until: Instant

  constructor(reason: string, until: Instant) {
    super(reason)
    this.until = until
  }
}

/** What only ever takes access away, whoever asks for it. */
const revoking: ReadonlySet<PropertyKey> = new Set<keyof Provider>([
  'disable',
  'revoke',
  'shutOff',
  'deletePrincipal',
  'removePerson',
  'suspend',
])

/** The calls that take access away: they go first, and no rest of a provider holds them up. */
const urgent = new WeakSet<Call>()

export function urgentCall(call: Call): Call {
  urgent.add(call)
  return call
}

/** How calls to one provider or sink fare: as they come, at a rate, or not at all for now. */
export interface GateState {
  readonly name: string
  readonly role: 'provider' | 'sink'
  readonly state: 'open' | 'slowed' | 'resting'
  /** Until when it is left in peace; null when it is not. */
  readonly restsUntil: Instant | null
  /** What a throttling answer left; null = no limit of ours. */
  readonly callsPerSecond: number | null
  /** Calls that wait for their turn. */
  readonly waiting: number
}

interface Waiter {
  readonly urgent: boolean
  readonly go: () => void
  readonly refuse: (error: Error) => void
}

/**
 * The wall around one provider or sink: how many calls may be open there, at what rate, and whether
 * it is worth asking at all. A provider that hangs then fills its own part of the worker only.
 */
class Gate {
  readonly name: string
  readonly #mayRefuse: boolean
  readonly #clock: Clock
  readonly #most: { readonly all: number; readonly minting: number }
  #open = 0
  #minting = 0
  #waiters: Waiter[] = []
  #failures = 0
  #rests = 0
  #restsUntil: Instant | null = null
  #trying = false
  /** Calls a second, null = as they come. */
  #rate: number | null = null
  #rateSince = 0
  #tokens = 0
  #filledAt = 0

  constructor(name: string, clock: Clock, most: number, mayRefuse: boolean) {
    this.name = name
    this.#mayRefuse = mayRefuse
    this.#clock = clock
    // One that hangs while keys are minted must still be asked to end some.
    this.#most = { all: most, minting: Math.max(1, Math.ceil((most * 3) / 4)) }
  }

  get waiting(): { readonly urgent: number; readonly others: number } {
    const first = this.#waiters.filter((w) => w.urgent).length
    return { urgent: first, others: this.#waiters.length - first }
  }

  state(): GateState {
    // A rest that is over leaves its instant until a call has succeeded.
    const rests = this.#restsUntil !== null && this.#clock.now() < this.#restsUntil
    return {
      name: this.name,
      role: this.#mayRefuse ? 'provider' : 'sink',
      state: rests ? 'resting' : this.#rate === null ? 'open' : 'slowed',
      restsUntil: rests ? this.#restsUntil : null,
      callsPerSecond: this.#rate,
      waiting: this.#waiters.length,
    }
  }

  /** @throws NotNow; ProviderError when the call's time is over before its turn came */
  async through<T>(call: Call | undefined, send: () => Promise<T>): Promise<T> {
    const isUrgent = call !== undefined && urgent.has(call)
    if (this.#mayRefuse) this.#spend(isUrgent)
    const isTrial = this.#mayRefuse && !isUrgent && this.#mayTry()
    if (this.#isFree(isUrgent)) this.#take(isUrgent)
    else {
      try {
        await this.#turn(isUrgent, call?.signal)
      } catch (error) {
        if (isTrial) this.#trying = false
        throw error
      }
    }
    try {
      const answer = await send()
      this.#succeeded()
      return answer
    } catch (error) {
      this.#failed(error)
      throw error
    } finally {
      if (isTrial) this.#trying = false
      this.#open -= 1
      this.#minting -= Number(!isUrgent)
      this.#admit()
    }
  }

  /**
   * While a provider rests, one call that mints is let through after each rest, to try it.
   * @returns whether this is that call
   * @throws NotNow
   */
  #mayTry(): boolean {
    if (this.#restsUntil === null) return false
    const now = this.#clock.now()
    if (now >= this.#restsUntil && !this.#trying) return (this.#trying = true)
    const until = now >= this.#restsUntil ? addSeconds(now, turnedAwaySeconds) : this.#restsUntil
    throw new NotNow(`${this.name} has not answered lately and is left in peace`, until)
  }

  #isFree(isUrgent: boolean): boolean {
    return this.#open < this.#most.all && (isUrgent || this.#minting < this.#most.minting)
  }

  #take(isUrgent: boolean): void {
    this.#open += 1
    this.#minting += Number(!isUrgent)
  }

  /**
   * The share of a rate that a throttling provider takes. What takes access away uses it up and never
   * waits for it; the rest waits in the journal.
   * @throws NotNow
   */
  #spend(isUrgent: boolean): void {
    if (this.#rate === null) return
    const perSecond = this.#rate
    this.#fill(perSecond)
    if (!isUrgent && this.#tokens < 1) {
      const until = addSeconds(this.#clock.now(), Math.max(1, (1 - this.#tokens) / perSecond))
      throw new NotNow(`${this.name} asked for fewer calls`, until)
    }
    this.#tokens = Math.max(-perSecond, this.#tokens - 1)
  }

  #turn(isUrgent: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (this.#mayRefuse && this.#waiters.length >= waitersMax) {
      const until = addSeconds(this.#clock.now(), turnedAwaySeconds)
      throw new NotNow(`too many calls wait for ${this.name}`, until)
    }
    return new Promise<void>((resolve, reject) => {
      const waiter: Waiter = { urgent: isUrgent, go: resolve, refuse: reject }
      const first = this.#waiters.findIndex((w) => isUrgent && !w.urgent)
      this.#waiters.splice(first < 0 ? this.#waiters.length : first, 0, waiter)
      signal?.addEventListener('abort', () => {
        const place = this.#waiters.indexOf(waiter)
        if (place < 0) return
        this.#waiters.splice(place, 1)
        const reason = `${this.name}: the calls before this one took all of its time`
        reject(new ProviderError('unavailable', reason, { outcome: 'notApplied' }))
      })
      this.#admit()
    })
  }

  /** Lets in who waits, as far as there is room. */
  #admit(): void {
    for (;;) {
      const next = this.#waiters.findIndex((w) => this.#isFree(w.urgent))
      const waiter = next < 0 ? undefined : this.#waiters.splice(next, 1)[0]
      if (waiter === undefined) break
      this.#take(waiter.urgent)
      waiter.go()
    }
  }

  #fill(perSecond: number): void {
    const now = this.#clock.monotonic()
    this.#tokens = Math.min(perSecond, this.#tokens + ((now - this.#filledAt) / 1_000) * perSecond)
    this.#filledAt = now
    if (now - this.#rateSince < rate.doublesAfterSeconds * 1_000) return
    this.#rateSince = now
    this.#rate = perSecond * 2 > rate.mostPerSecond ? null : perSecond * 2
  }

  #succeeded(): void {
    this.#failures = 0
    this.#rests = 0
    this.#restsUntil = null
  }

  #failed(error: unknown): void {
    // Refused here, before it was sent.
    if (!(error instanceof ProviderError) || error.kind === 'fenced') return
    if (error.kind === 'throttled') this.#slowDown()
    if (error.kind !== 'throttled' && error.kind !== 'unavailable') return this.#succeeded()
    this.#failures += 1
    const now = this.#clock.now()
    if (this.#failures < failuresMax || (this.#restsUntil !== null && now < this.#restsUntil))
      return
    if (!this.#mayRefuse) return
    const seconds = Math.min(rest.mostSeconds, rest.firstSeconds * 2 ** this.#rests)
    this.#rests += 1
    this.#restsUntil = addSeconds(now, Math.max(seconds, error.retryAfter ?? 0))
    for (const waiter of this.#waiters.filter((w) => !w.urgent)) {
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
      waiter.refuse(new NotNow(`${this.name} does not answer`, this.#restsUntil))
    }
  }

  #slowDown(): void {
    const now = this.#clock.monotonic()
    const slower = Math.max(rate.firstPerSecond, (this.#rate ?? 0) / 2)
    // The answers to calls that were under way already say nothing new.
    if (this.#rate !== null && now - this.#rateSince < 1_000) return
    this.#rate = slower
    this.#rateSince = now
    this.#filledAt = now
    this.#tokens = 0
  }
}

export interface Bulkhead {
  /** The same life, with a wall around each provider and sink. */
  readonly life: Lifecycle
  /** Operations that wait for a call to a provider: they hold a claim, and no part of the worker. */
  waiting(): { readonly urgent: number; readonly others: number }
  /** Providers with calls that wait: more work for them would only wait, too. */
  crowded(): readonly string[]
  states(): readonly GateState[]
}

/**
 * @param concurrency of the worker: half of it is the most that one provider gets
 * @param watch is told of each call that was sent
 */
export function createBulkhead(life: Lifecycle, concurrency: number, watch?: Watch): Bulkhead {
  const most = Math.max(1, Math.floor(concurrency / 2))
  const providers: Gate[] = []
  const gates: Gate[] = []
  const walled = <T extends object>(name: string, target: T, isProvider: boolean): T => {
    // A key that was just minted is lost unless it is delivered: a sink makes it wait, here, and
    // turns none away.
    const gate = new Gate(name, life.clock, most, isProvider)
    const role = isProvider ? ('provider' as const) : ('sink' as const)
    gates.push(gate)
    if (isProvider) providers.push(gate)
    const methods = new Map<PropertyKey, unknown>()
    return new Proxy(target, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (typeof value !== 'function') return value
        const known = methods.get(property)
        if (known !== undefined) return known
        const method = (value as (...args: unknown[]) => unknown).bind(object)
        const what = { target: name, role, call: String(property) }
        const wrapped = (...args: unknown[]): unknown => {
          const last = args.at(-1)
          if (isCall(last) && revoking.has(property)) urgent.add(last)
          // What takes no call does not leave the process.
          return isCall(last)
            ? gate.through(last, () =>
                watchedCall({ life, watch }, what, () => method(...args) as Promise<unknown>),
              )
            : method(...args)
        }
        methods.set(property, wrapped)
        return wrapped
      },
    })
  }
  const around = <T extends Provider | SecretSink>(
    all: ReadonlyMap<string, T>,
    isProvider: boolean,
  ): ReadonlyMap<string, T> =>
    new Map([...all].map(([name, each]) => [name, walled(name, each, isProvider)]))
  return {
    life: { ...life, providers: around(life.providers, true), sinks: around(life.sinks, false) },
    states: () => gates.map((gate) => gate.state()),
    crowded() {
      return providers
        .filter(({ waiting }) => waiting.urgent + waiting.others > 0)
        .map(({ name }) => name)
    },
    waiting() {
      const all = providers.map((gate) => gate.waiting)
      return {
        urgent: all.reduce((sum, w) => sum + w.urgent, 0),
        others: all.reduce((sum, w) => sum + w.others, 0),
      }
    },
  }
}

function isCall(value: unknown): value is Call {
  return typeof value === 'object' && value !== null && 'signal' in value && 'fence' in value
}

/**
 * A part of `seconds`, evenly spread (full jitter, R16): what failed together does not come back
 * together. The same for one attempt of one operation in every process, so that a replay repeats it.
 */
export function jittered(seconds: number, operation: string, attempt: number): number {
  const hash = createHash('sha256').update(`${operation} ${attempt}`).digest()
  return seconds * (hash.readUInt32BE(0) / 2 ** 32)
}

/** When an operation that was turned away comes again: not all at the same moment. */
export function againAfter(
  error: NotNow,
  operation: string,
  attempt: number,
  now: Instant,
): Instant {
  const spread = Math.max(1, secondsBetween(now, error.until) / 4)
  return addSeconds(error.until, jittered(spread, operation, attempt))
}
