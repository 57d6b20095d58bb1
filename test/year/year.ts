import { day, hour, minute, week, yearStart } from './clock.ts'
import { Company } from './company.ts'
import { Consumers } from './consumers.ts'
import { Estate } from './estate.ts'
import type { DecisionKind, MailKind } from './judge.ts'
import { Judge } from './judge.ts'
import { Operators } from './operators.ts'
import type { Sabotage } from './world.ts'
import { YearWorld } from './world.ts'

export interface YearOptions {
  readonly people?: number
  /** Service accounts on the first day; by the last there are twice as many. */
  readonly accounts?: number
  readonly weeks?: number
  readonly sabotage?: Sabotage | null
}

/** The figures of one seed. */
export interface YearFigures {
  readonly seed: number
  readonly weeks: number
  readonly people: number
  readonly accounts: { readonly first: number; readonly last: number }
  readonly hires: number
  readonly leavers: number
  readonly operations: number
  readonly providerCalls: number
  readonly consumerCalls: number
  readonly decisions: ReadonlyMap<DecisionKind, number>
  readonly decisionsPerWeek: number
  /** Yearly confirmations by owners, which come by the calendar. */
  readonly confirmed: number
  /** By what the calls failed for. */
  readonly failures: ReadonlyMap<string, { readonly consumers: number; readonly calls: number }>
  readonly failedInRotation: number
  readonly falseKills: number
  /** Of those: works again more than 60 s after somebody said so, or not at all. */
  readonly falseKillsNotUndone: number
  readonly falseKillsBy: ReadonlyMap<string, number>
  readonly undoSecondsMost: number
  readonly orphans: number
  readonly exposureHours: { readonly p50: number; readonly p99: number; readonly of: number }
  readonly mails: ReadonlyMap<MailKind, number>
  readonly mailsPerOwnerWeek: { readonly mean: number; readonly most: number }
  /** People of whom Custody and the truth agree, before and after a truth check, in percent. */
  readonly accuracy: { readonly before: number; readonly after: number }
  readonly errors: readonly string[]
  readonly seconds: number
  readonly steps: ReadonlyMap<string, number>
  readonly story: readonly string[]
}

/** Weeks before the year in which people and accounts come in, so that their keys are not all alike. */
const setUpWeeks = 9
/** Where in the year what is out of the ordinary happens. */
const when = { firstReorganisation: 0.27, secondReorganisation: 0.73, outage: 0.5, missync: 0.6 }
const undoWithinSeconds = 60
const wrongShare = 0.06

/** Lives one year of a company, from the seed alone. */
export async function liveYear(seed: number, options: YearOptions = {}): Promise<YearFigures> {
  const began = performance.now()
  const { people = 5_000, accounts = 800, weeks = 52, sabotage = null } = options
  const from = yearStart
  const until = from + weeks * week
  const year = await Year.open(seed, { people, from, until, sabotage })
  try {
    await year.setUp(accounts)
    year.plan(accounts, weeks)
    await year.world.run(until)
    return await year.figures({ seed, weeks, people, accounts, began })
  } finally {
    await year.world.close()
  }
}

interface Span {
  readonly people: number
  readonly from: number
  readonly until: number
}

class Year {
  readonly world: YearWorld
  readonly judge: Judge
  readonly estate: Estate
  readonly consumers: Consumers
  readonly company: Company
  readonly operators: Operators
  readonly #span: Span

  private constructor(
    parts: Pick<Year, 'world' | 'judge' | 'estate' | 'consumers'>,
    span: Span,
    lies: boolean,
  ) {
    this.world = parts.world
    this.judge = parts.judge
    this.estate = parts.estate
    this.consumers = parts.consumers
    this.#span = span
    this.company = new Company(this.world, span, {
      left: (member) => this.judge.left(member),
      telling: async ({ id, team }) => {
        await this.judge.leaving(id)
        const here = [...team.members].filter((m) => m.state === 'here')
        if (here.length === 0) await this.judge.leaving(team.id)
      },
      dissolving: ({ id }) => this.judge.leaving(id),
      returned: (member) => this.operators.returned(member),
    })
    this.operators = new Operators({ ...parts, company: this.company, until: span.until, lies })
  }

  static async open(
    seed: number,
    { sabotage, ...span }: Span & { readonly sabotage: Sabotage | null },
  ): Promise<Year> {
    // They know of each other: what Custody writes is seen by all of them.
    let year: Year | null = null
    const world = () => opened
    const judge: Judge = new Judge({
      world,
      estate: () => estate,
      company: () => year!.company,
      consumers: () => consumers,
      from: span.from,
    })
    const estate: Estate = new Estate(world, {
      account: (before, after) => {
        judge.account(before, after)
        year?.operators.account(before, after)
      },
      audit: (row) => {
        judge.audit(row)
        year?.operators.audit(row)
      },
      enqueued: (operation) => judge.enqueued(operation),
      stuck: (operation) => year?.operators.stuck(operation),
      delivered: (place, patterns) => {
        for (const [i, pattern] of patterns.entries()) {
          consumers.add(place, pattern, { name: `${pattern}-${i + 1}`, until: span.until })
        }
      },
    })
    const watcher = {
      touched: (account: string) => consumers.touched(account),
      accountOf: (credential: string) => estate.credentials.get(credential)?.account ?? null,
      saved: (changes: Parameters<Estate['saved']>[0]) => estate.saved(changes),
      listing: () => year!.company.listing(),
      settled: () => judge.settled(),
    }
    const start = span.from - setUpWeeks * week
    const opened = await YearWorld.open(seed, start, watcher, sabotage)
    const consumers: Consumers = new Consumers(world, opened.chance, {
      failure: (failed) => judge.failed(failed),
      restart: (consumer) => year?.operators.restarted(consumer),
    })
    year = new Year({ world: opened, judge, estate, consumers }, span, sabotage === 'no-evidence')
    return year
  }

  /** People and accounts come in over some weeks, as they did over the years before. */
  async setUp(accounts: number): Promise<void> {
    const { clock, chance } = this.world
    await this.company.found()
    for (let n = 0; n < accounts; n++) {
      clock.at(clock.ms + chance.below((setUpWeeks - 1) * week), () =>
        this.estate.request(this.company),
      )
    }
    this.world.schedule(this.#span.until)
    await this.world.run(this.#span.from - hour)
    await this.estate.confirmAll()
    await this.world.run(this.#span.from)
  }

  /** What happens in the year, and when. */
  plan(accounts: number, weeks: number): void {
    const { company, world, judge, operators } = this
    const { from, until, people } = this.#span
    const { clock, chance } = world
    const at = (share: number) => from + Math.round((until - from) * share)
    company.live()
    for (let n = 0; n < Math.round((accounts * weeks) / 52); n++) {
      clock.at(from + chance.below(until - from), () => this.estate.request(company))
    }
    for (const [n, share] of [when.firstReorganisation, when.secondReorganisation].entries()) {
      clock.at(at(share), () =>
        company.reorganise(`r${n + 1}`, (replaced) => operators.reorganise(replaced)),
      )
    }
    const outage = at(when.outage)
    company.outage(outage, 2 * day)
    judge.outageEnds = { from: outage, to: outage + 2 * day }
    // The quarter ends meanwhile, and many contracts with it.
    company.endContracts(outage + day, Math.round(people * 0.02))
    const missync = at(when.missync)
    const wrong = company.missync(missync, Math.round(people * wrongShare))
    // Somebody is faster now and then: the directory, or security, which denies those held.
    const corrected = missync + (chance.happens(0.5) ? 2 : 4) * hour
    clock.at(corrected, async () => {
      for (const member of wrong) if (member.state === 'here') await company.tell(member, true)
    })
    clock.at(corrected + 20 * minute, () => operators.undoMistake())
    clock.every(from + hour, 6 * hour, until, () => judge.lookForOrphans())
    clock.every(from + 6 * hour, 6 * hour, until, () => operators.checkTruth())
  }

  async figures(asked: {
    readonly seed: number
    readonly weeks: number
    readonly people: number
    readonly accounts: number
    readonly began: number
  }): Promise<YearFigures> {
    const { judge, company, world, estate, consumers } = this
    await consumers.everybody()
    judge.lookForOrphans()
    judge.close()
    const before = await this.operators.accuracy()
    await this.operators.checkTruth()
    await world.worker.drain()
    const after = await this.operators.accuracy()
    const decided = [...judge.decisions.values()].reduce((a, b) => a + b, 0)
    const slow = judge.falseKills.filter(({ at, why, decidedAt, restoredAt }) =>
      decidedAt === null
        ? // Who is on leave is asked when they are back; whatever else nobody noticed for a day is lost.
          why !== 'leave of absence' && restoredAt === null && world.clock.ms - at > day
        : restoredAt === null || restoredAt - decidedAt > undoWithinSeconds * 1_000,
    )
    const undone = judge.falseKills.flatMap((k) =>
      k.decidedAt !== null && k.restoredAt !== null ? (k.restoredAt - k.decidedAt) / 1_000 : [],
    )
    const exposures = judge.exposures.toSorted((a, b) => a - b).map((ms) => ms / hour)
    return {
      seed: asked.seed,
      weeks: asked.weeks,
      people: asked.people,
      accounts: { first: asked.accounts, last: estate.open.length },
      hires: company.hires,
      leavers: company.leavers,
      operations: world.operations,
      providerCalls: world.calls,
      consumerCalls: consumers.calls,
      decisions: judge.decisions,
      confirmed: judge.confirmed,
      decisionsPerWeek: decided / asked.weeks,
      failures: judge.failures,
      failedInRotation: judge.failures.get('planned rotation')?.calls ?? 0,
      falseKills: judge.falseKills.length,
      falseKillsNotUndone: slow.length,
      falseKillsBy: countBy(judge.falseKills.map((k) => k.why)),
      undoSecondsMost: Math.max(0, ...undone),
      orphans: judge.orphans.size,
      exposureHours: {
        p50: percentile(exposures, 0.5),
        p99: percentile(exposures, 0.99),
        of: exposures.length,
      },
      mails: judge.mails,
      mailsPerOwnerWeek: judge.mailsPerOwnerWeek(asked.weeks),
      accuracy: { before, after },
      errors: world.errors,
      seconds: (performance.now() - asked.began) / 1_000,
      steps: world.steps,
      story: judge.story,
    }
  }
}

function countBy(values: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
