import type { Clock } from '../../src/domain/time.ts'
import type { Reads, Store } from '../../src/store/store.ts'
import type { Scheduler } from './scheduler.ts'

/** What a killed process waits for. */
const never = new Promise<never>(() => undefined)

/** How likely a process comes to grief at each step between two awaits. */
export interface Ways {
  deathRate: number
  /** Stands still for longer than a lease, and goes on as if nothing had been. */
  freezeRate: number
}

const freezeMilliseconds = 75_000

/**
 * One simulated process. Each call that leaves it goes through `step`: time passes there, others
 * run, and there it may die, after which nothing of it ever goes on, as after `kill -9`.
 */
export class Process {
  readonly name: string
  readonly clock: Clock
  readonly #scheduler: Scheduler
  readonly #ways: Ways
  readonly #onDeath: (process: Process) => void
  #frozenUntil = 0
  isAlive = true

  constructor(
    name: string,
    scheduler: Scheduler,
    ways: Ways,
    onDeath: (process: Process) => void = () => undefined,
  ) {
    this.name = name
    this.#scheduler = scheduler
    this.#ways = ways
    this.#onDeath = onDeath
    this.clock = {
      now: () => scheduler.now(),
      monotonic: () => scheduler.monotonic(),
      after: (milliseconds, act) =>
        scheduler.after(milliseconds, () => {
          if (this.#thaw > 0) scheduler.after(this.#thaw, act)
          else if (this.isAlive) act()
        }),
    }
  }

  async step(milliseconds: number): Promise<void> {
    const { chance } = this.#scheduler
    await new Promise<void>((resolve) => this.#scheduler.after(milliseconds, resolve))
    if (this.isAlive && chance.happens(this.#ways.deathRate)) this.kill()
    if (this.isAlive && chance.happens(this.#ways.freezeRate)) {
      this.#frozenUntil = this.#scheduler.monotonic() + freezeMilliseconds
    }
    if (this.#thaw > 0) {
      await new Promise<void>((resolve) => this.#scheduler.after(this.#thaw, resolve))
    }
    if (!this.isAlive) await never
  }

  /** Milliseconds until it moves again. */
  get #thaw(): number {
    return Math.max(0, this.#frozenUntil - this.#scheduler.monotonic())
  }

  kill(): void {
    if (!this.isAlive) return
    this.isAlive = false
    this.#onDeath(this)
  }

  /** The store as this process reaches it: its calls arrive some time later, their answers too. */
  reach(store: Store): Store {
    const { chance } = this.#scheduler
    const slowly =
      (call: (...args: readonly never[]) => Promise<unknown>, isRead: boolean) =>
      async (...args: readonly never[]): Promise<unknown> => {
        // A third of the reads is enough to have everybody's writes come in between.
        if (isRead && !chance.happens(0.3)) return call(...args)
        await this.step(chance.below(4))
        const answer = await call(...args)
        if (!isRead) await this.step(chance.below(4))
        return answer
      }
    const wrap = <T extends object>(target: T, isRead: boolean): T =>
      new Proxy(target, {
        get(object, property) {
          const value: unknown = Reflect.get(object, property, object)
          if (typeof value !== 'function') return value
          return slowly((value as () => Promise<unknown>).bind(object), isRead)
        },
      })
    const read: Reads = wrap(store.read, true)
    return new Proxy(wrap(store, false), {
      get: (object, property) =>
        property === 'read'
          ? read
          : property === 'close'
            ? async () => undefined
            : Reflect.get(object, property),
    })
  }
}
