import { Installation } from './installation.ts'
import { Laws } from './laws.ts'
import type { Sabotage } from './sabotage.ts'
import { Chance, warmedUp } from './scheduler.ts'
import { allTerms } from './terms.ts'
import { Traffic } from './traffic.ts'
import { Violation } from './violation.ts'
import type { Weather } from './wire.ts'
import { troubles } from './wire.ts'

export interface Outcome {
  readonly seed: number
  readonly mode: Mode
  /** Null when every law held. */
  readonly violation: string | null
  readonly fingerprint: string
  readonly events: number
  /** Provider calls that arrived. */
  readonly calls: number
  readonly acts: number
  readonly deaths: number
  /** What was asked for and what the workers did, for whoever replays it. */
  readonly story: readonly string[]
}

const minute = 60
const hour = 3_600
const day = 86_400

/**
 * `safety`: any number of faults to the very end, and what must hold at every moment.
 * `liveness`: a storm, then good weather, in which everything has to come to its end.
 */
export type Mode = 'safety' | 'liveness'

export interface SimulateOptions {
  /** How long the storm lasts, in virtual minutes; by the mode when omitted. */
  readonly minutes?: number
  /** Decided by the seed when omitted. */
  readonly mode?: Mode
  /** Breaks Custody on purpose, to see that the laws notice. */
  readonly sabotage?: Sabotage
}

let warm: Promise<unknown> | null = null

/** One life of a small installation, from the seed alone. */
export async function simulate(seed: number, options: SimulateOptions = {}): Promise<Outcome> {
  // A life that nobody judges: else the first one of a process would go another way than its replay.
  warm ??= lead(1, { mode: 'liveness', minutes: 0.5 }).then(warmedUp)
  await warm
  return lead(seed, options)
}

async function lead(seed: number, options: SimulateOptions): Promise<Outcome> {
  const mode = options.mode ?? (seed % 2 === 0 ? 'liveness' : 'safety')
  // Drawn before anything else, since the configuration depends on it; mixed, since seeds come in a row.
  const drawn = new Chance(seed ^ 0x5eed)
  const lagSeconds = drawn.oneOf([0, 0, 5, 14, 90])
  const terms = drawn.oneOf(['shipped', ...allTerms] as const)
  const installation = await Installation.open(seed, {
    sabotage: options.sabotage ?? null,
    lagSeconds,
    terms,
  })
  const life = new Life(installation)
  let violation: string | null = null
  try {
    await life.open()
    await life.storm(mode, options.minutes ?? 1)
    if (mode === 'liveness') await life.calm()
    else await life.laws.atTheEnd()
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    violation = `${installation.scheduler.now()}: ${error.message}`
  } finally {
    await installation.close()
  }
  const { scheduler, deaths } = installation
  return {
    seed,
    mode,
    violation,
    fingerprint: installation.fingerprint(),
    events: scheduler.events,
    calls: installation.witness.calls,
    acts: life.traffic.log.length,
    deaths,
    story: [...life.traffic.log, ...installation.log].sort(),
  }
}

/** The times of one installation, the laws looked at all along. */
class Life {
  readonly laws: Laws
  readonly traffic: Traffic
  readonly #installation: Installation

  constructor(installation: Installation) {
    this.#installation = installation
    this.laws = new Laws(installation)
    this.traffic = new Traffic(installation, this.laws)
  }

  async open(): Promise<void> {
    const installation = this.#installation
    for (const name of ['http', 'worker-1', 'worker-2']) {
      await installation.start(name, { works: name !== 'http' })
    }
    installation.background(this.traffic.open())
    await this.#pass(20, 20)
  }

  /** Anything may fail, anybody may die, and people go on asking. */
  async storm(mode: Mode, minutes: number): Promise<void> {
    const installation = this.#installation
    const { chance } = installation.scheduler
    const isWild = mode === 'safety'
    installation.ways.deathRate = chance.oneOf(isWild ? [0.002, 0.01] : [0, 0.002, 0.008])
    installation.ways.freezeRate = chance.oneOf([0, 0, 0.004])
    const rate = chance.oneOf(isWild ? [0.03, 0.08, 0.2] : [0, 0.02, 0.05, 0.1])
    installation.weather = weatherOf(rate, () => chance.happens(0.3))
    await this.#pass(minutes * minute, 5, () => {
      if (chance.happens(0.5)) installation.background(this.traffic.act())
    })
  }

  /** Everything ends within the hour, with an operator who has what is stuck tried again. */
  async calm(): Promise<void> {
    const installation = this.#installation
    const { scheduler } = installation
    const { chance } = scheduler
    installation.weather = new Map()
    installation.ways.deathRate = 0
    installation.ways.freezeRate = 0
    await this.#pass(hour, 10 * minute, () => {
      installation.background(this.traffic.sweep('orphans'))
      installation.background(this.traffic.sweep('expiry'))
      installation.background(this.traffic.operatorRetries())
      // What was cancelled by hand is found behind.
      if (this.traffic.isBehind) installation.background(this.traffic.sweep('rotation'))
    })
    await this.#pass(minute, minute)
    await this.laws.atRest()
    if (chance.happens(0.2)) {
      // Past overlap and soak; what expires in between is swept.
      await this.#pass(16 * day, 4 * day, () => {
        installation.background(this.traffic.sweep('expiry'))
      })
      await this.#pass(10 * minute, 10 * minute)
      await this.laws.atRest()
    }
    installation.background(this.traffic.everybodyLeaves())
    await this.#pass(80 * minute, 20 * minute, () => {
      installation.background(this.traffic.sweep('orphans'))
    })
    // Backups have their days to accept, and what was contained its hours.
    await this.#pass(4 * day, 12 * hour, () => {
      installation.background(this.traffic.sweep('orphans'))
    })
    await this.#pass(20 * minute, 20 * minute)
    await this.laws.nothingLives()
  }

  /**
   * Lets time pass in slices, after each of which `then` begins something. The laws are looked at
   * before, and whenever something was taken away at a provider.
   */
  async #pass(seconds: number, slice: number, then: () => void = () => undefined): Promise<void> {
    const { scheduler, witness } = this.#installation
    for (let left = seconds; left > 0; left -= slice) {
      await scheduler.run(Math.min(slice, left), async () => {
        if (witness.wasTouched()) await this.laws.always()
      })
      if (this.#installation.failure !== null) throw this.#installation.failure
      await this.laws.always()
      this.#installation.wakeAll()
      then()
    }
  }
}

function weatherOf(rate: number, isAbout: () => boolean): Weather {
  return new Map(
    troubles.flatMap((trouble) => (isAbout() && rate > 0 ? [[trouble, rate] as const] : [])),
  )
}
