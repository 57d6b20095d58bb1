import type { Sabotage } from './installation.ts'
import { Installation } from './installation.ts'
import { Laws, Violation } from './laws.ts'
import { Traffic } from './traffic.ts'
import type { Weather } from './wire.ts'
import { troubles } from './wire.ts'

export interface Outcome {
  readonly seed: number
  /** Null when every law held. */
  readonly violation: string | null
  readonly fingerprint: string
  readonly events: number
  readonly acts: number
  readonly deaths: number
  /** What was asked for and what the workers did, for whoever replays it. */
  readonly story: readonly string[]
}

const minute = 60
const hour = 3_600
const day = 86_400

export interface SimulateOptions {
  /** How long the storm lasts, in virtual minutes; 8 when omitted. */
  readonly minutes?: number
  /** Breaks Custody on purpose, to see that the laws notice. */
  readonly sabotage?: Sabotage
}

/** One life of a small installation, from the seed alone. */
export async function simulate(seed: number, options: SimulateOptions = {}): Promise<Outcome> {
  const installation = await Installation.open(seed, options.sabotage ?? null)
  const traffic = new Traffic(installation)
  const laws = new Laws(installation)
  let violation: string | null = null
  try {
    await live(installation, traffic, laws, options.minutes ?? 8)
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    violation = `${installation.scheduler.now()}: ${error.message}`
  } finally {
    await installation.close()
  }
  const { scheduler, deaths } = installation
  return {
    seed,
    violation,
    fingerprint: installation.fingerprint(),
    events: scheduler.events,
    acts: traffic.log.length,
    deaths,
    story: [...traffic.log, ...installation.log].sort(),
  }
}

async function live(
  installation: Installation,
  traffic: Traffic,
  laws: Laws,
  minutes: number,
): Promise<void> {
  const { scheduler, worlds } = installation
  const { chance } = scheduler
  const during = async (seconds: number, slice: number, each: () => Promise<void>) => {
    for (let left = seconds; left > 0; left -= slice) {
      await scheduler.run(Math.min(slice, left))
      if (installation.failure !== null) throw installation.failure
      await each()
    }
  }
  for (const name of ['http', 'worker-1', 'worker-2']) {
    await installation.start(name, { works: name !== 'http' })
  }
  installation.background(traffic.open())
  await during(30, 30, () => laws.always())

  // The storm: anything may fail, anybody may die, and people go on asking.
  worlds.aws.lagSeconds = chance.oneOf([0, 0, 5, 14])
  installation.ways.deathRate = chance.oneOf([0, 0.001, 0.005])
  installation.ways.freezeRate = chance.oneOf([0, 0, 0.002])
  installation.weather = weatherOf(chance.next() < 0.2 ? 0 : chance.oneOf([0.02, 0.08]), () =>
    chance.happens(0.4),
  )
  await during(minutes * minute, 15, async () => {
    // The laws first: an act begins at once, and would go on while they look.
    await laws.always()
    if (chance.happens(0.5)) installation.background(traffic.act())
  })

  // The calm: everything ends within the hour, with an operator who has what is stuck tried again.
  installation.weather = new Map()
  installation.ways.deathRate = 0
  installation.ways.freezeRate = 0
  await during(hour, 10 * minute, async () => {
    await laws.always()
    installation.background(traffic.sweep('orphans'))
    installation.background(traffic.operatorRetries())
  })
  await scheduler.run(minute)
  await laws.atRest()
  if (chance.happens(0.3)) {
    await during(16 * day, 2 * day, () => laws.always())
    await laws.atRest()
  }
  installation.background(traffic.everybodyLeaves())
  await during(hour, 10 * minute, () => laws.always())
  // Backups have their days to accept, and what was contained its hours.
  await during(4 * day, day, async () => {
    installation.background(traffic.sweep('orphans'))
    await scheduler.run(10 * minute)
  })
  await laws.nothingLives()
}

function weatherOf(rate: number, isAbout: () => boolean): Weather {
  return new Map(
    troubles.flatMap((trouble) => (isAbout() && rate > 0 ? [[trouble, rate] as const] : [])),
  )
}
