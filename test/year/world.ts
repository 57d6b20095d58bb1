import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { awsSecrets } from '../../providers/aws-secrets/index.ts'
import { github } from '../../providers/github/index.ts'
import { token } from '../../providers/token/index.ts'
import { createIdSource, defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { DirectoryListing } from '../../src/domain/directory.ts'
import type { Clock } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import type { Caller, Engine, Lifecycle, Tokens, Worker } from '../../src/lifecycle/engine.ts'
import {
  callerOf,
  createEngine,
  createSealer,
  createTokens,
  createWorker,
  sweepNames,
} from '../../src/lifecycle/engine.ts'
import type { SweepName } from '../../src/lifecycle/engine.ts'
import { compileAuthorisation } from '../../src/policy/authorise.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import { openProviders } from '../../src/provider/registry.ts'
import { AwsWorld } from '../../src/sandbox/aws.ts'
import { generateAppKey, GithubWorld } from '../../src/sandbox/github.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { unbraked } from '../support/engine.ts'
import { makeClient } from '../support/entities.ts'
import type { BlankStore } from '../simulation/blank-store.ts'
import { takeBlankStore } from '../simulation/blank-store.ts'
import { Chance } from '../simulation/scheduler.ts'
import { exchange, awsUrl, githubUrl } from '../simulation/wire-services.ts'
import { day, hour, YearClock } from './clock.ts'
import type { Between } from './quick.ts'
import { watchedProvider, watchedSink } from './quick.ts'

export const sabotages = ['no-evidence', 'no-brake'] as const
/** What is broken on purpose, to see that the figures notice. */
export type Sabotage = (typeof sabotages)[number]

/** What a call takes, divided by how many run beside each other: time passes while work is done. */
const callMs = 5
/** Lists at AWS are so many seconds behind. */
const lagSeconds = 5
/** An account's deploy keys are looked for in every repository there is: more would only cost time. */
export const repositories: readonly string[] = ['website', 'deploy', 'billing']
/** How often each sweep runs here; docs/reference/year.md says why that changes nothing. */
const sweepEvery: Readonly<Record<SweepName, number>> = {
  orphans: hour,
  rotation: hour,
  expiry: 6 * hour,
  reconcile: 28 * day,
}

/** What is told to whoever watches: before a provider is asked or changed, and what was written. */
export interface Watcher {
  /** Keys of this account are about to be listed, ended, or replaced in what consumers read. */
  readonly touched: (account: string) => Promise<void>
  readonly accountOf: (credential: string) => string | null
  readonly saved: (changes: readonly Change[]) => void
  /** What the directory itself would list, asked for a truth check. */
  readonly listing: () => DirectoryListing
  /** Nothing is running, and time has not moved yet. */
  readonly settled: () => Promise<void>
}

/** One Custody with its database and its providers, in one process and in virtual time. */
export class YearWorld {
  readonly clock: YearClock
  readonly chance: Chance
  readonly aws: AwsWorld
  readonly github: GithubWorld
  /** The authority over tokens, by a clock of the asker's own. */
  readonly tokensAt: (clock: Clock) => Tokens
  readonly store: Store
  readonly engine: Engine
  readonly worker: Worker
  readonly admin: Caller
  readonly directory: Caller
  readonly security: Caller
  /** What a step of the engine could not cope with. */
  readonly errors: string[] = []
  /** How often each step ended how. */
  readonly steps = new Map<string, number>()
  /** Provider calls so far. */
  calls = 0
  operations = 0
  readonly #blank: BlankStore
  readonly #watcher: Watcher

  private constructor(parts: {
    readonly clock: YearClock
    readonly chance: Chance
    readonly aws: AwsWorld
    readonly github: GithubWorld
    readonly tokensAt: (clock: Clock) => Tokens
    readonly life: Lifecycle
    readonly blank: BlankStore
    readonly watcher: Watcher
  }) {
    this.clock = parts.clock
    this.chance = parts.chance
    this.aws = parts.aws
    this.github = parts.github
    this.tokensAt = parts.tokensAt
    this.store = parts.life.store
    this.#blank = parts.blank
    this.#watcher = parts.watcher
    this.engine = createEngine(parts.life)
    this.worker = createWorker(parts.life, {
      name: 'year',
      concurrency: 8,
      log: ({ error, kind, step, outcome, failure }) => {
        const key = `${kind} ${step} ${outcome} ${failure?.code ?? ''}`
        this.steps.set(key, (this.steps.get(key) ?? 0) + 1)
        if (failure?.code === 'internal') this.errors.push(`${kind} ${step}: ${failure.message}`)
        if (error instanceof Error) this.errors.push(`${kind} ${step}: ${error.stack}`)
      },
    })
    this.admin = callerOf(makeClient({ name: 'platform', role: 'admin' }))
    this.directory = callerOf(
      makeClient({ name: 'directory', role: 'directory', directory: 'default' }),
    )
    this.security = callerOf(makeClient({ name: 'security', role: 'security' }))
  }

  static async open(
    seed: number,
    start: number,
    watcher: Watcher,
    sabotage: Sabotage | null,
  ): Promise<YearWorld> {
    const clock = new YearClock(start)
    const chance = new Chance(seed)
    const random = (length: number): Uint8Array => chance.bytes(length)
    const aws = new AwsWorld({ clock, random })
    aws.lagSeconds = lagSeconds
    const { key, directory } = appKey()
    const hub = new GithubWorld({
      clock,
      privateKeyPem: key,
      rateLimit: 1_000_000,
      seed: String(seed),
      repositories,
    })
    const blank = await takeBlankStore()
    let world: YearWorld | null = null
    const store: Store = {
      ...blank.store,
      commit: async (changes) => {
        const result = await blank.store.commit(changes)
        if (result === 'saved') watcher.saved(changes)
        return result
      },
    }
    const rules = await policies()
    const policy = sabotage === 'no-brake' ? { ...rules.policy, brake: unbraked } : rules.policy
    const pepper = Secret.of(random(32))
    const tokensAt = (then: Clock): Tokens =>
      createTokens({ store, clock: then, policy: () => policy, pepper })
    const tokens = tokensAt(clock)
    const { accessKeyId, secretAccessKey } = aws.admin
    const connection = {
      region: 'us-east-1',
      endpoint: awsUrl,
      credentials: { accessKeyId, secretAccessKey },
    }
    const between: Between = {
      aws,
      github: hub,
      touched: watcher.touched,
      accountOf: watcher.accountOf,
      hidesUse: sabotage === 'no-evidence',
    }
    const plugins = await openProviders({
      providers: [
        {
          name: 'aws-prod',
          type: 'aws-iam',
          config: { ...connection, settle: 'PT15S', probe: { count: 1, every: 'PT2S' } },
        },
        {
          name: 'github-acme',
          type: 'github',
          config: {
            baseUrl: githubUrl,
            appId: hub.app.id,
            installationId: hub.app.installationId,
            privateKeyFile: 'app.pem',
            settle: 'PT5S',
          },
        },
        { name: 'tokens', type: 'token', config: {} },
      ],
      sinks: [
        {
          name: 'aws-secrets',
          type: 'aws-secrets',
          config: { ...connection, namePrefix: 'custody/' },
        },
      ],
      modules: {
        providers: [awsIam, github, token].map((module) => watchedProvider(module, between)),
        sinks: [watchedSink(awsSecrets, between)],
      },
      hostFor: (name) => ({
        name,
        clock,
        random,
        resolvePath: (file) => path.join(directory, file),
        tokens: tokens.book,
        pepper,
        transport: async (request) => {
          const call = exchange({ aws, github: hub }, request)
          if (world) world.calls += 1
          clock.reach(clock.ms + callMs)
          return call.act()
        },
      }),
    })
    const life: Lifecycle = {
      store,
      clock,
      ids: createIdSource(clock, random),
      policy: () => policy,
      authoriser: () => rules.authoriser,
      providers: plugins.providers,
      sinks: plugins.sinks,
      sealer: createSealer({ store, root: pepper, random }),
      directories: new Map([
        [
          'default',
          {
            name: 'default',
            type: 'csv',
            cycle: seconds(hour / 1_000),
            scope: 'everyone',
            read: () => Promise.resolve(watcher.listing()),
          },
        ],
      ]),
      wake: () => undefined,
    }
    world = new YearWorld({ clock, chance, aws, github: hub, tokensAt, life, blank, watcher })
    return world
  }

  /** Lets everything happen up to then: events, and operations when they fall due. */
  async run(until: number): Promise<void> {
    for (;;) {
      const due = await this.store.read.nextRunAt()
      const next = Math.min(this.clock.next ?? Infinity, due === null ? Infinity : Date.parse(due))
      if (next > until) break
      this.clock.reach(next)
      for (let act = this.clock.take(); act !== null; act = this.clock.take()) await act()
      const done = await this.worker.drain()
      this.operations += done
      await this.#watcher.settled()
      // What is due and cannot be claimed waits for another operation on its account.
      if (done === 0 && due !== null && Date.parse(due) <= this.clock.ms) {
        this.clock.reach(this.clock.ms + 1_000)
      }
    }
    this.clock.reach(until)
  }

  /** Sweeps at their slots, from the next full hour on. */
  schedule(until: number): void {
    const first = Math.ceil(this.clock.ms / hour) * hour
    for (const sweep of sweepNames) {
      const every = sweepEvery[sweep]
      this.clock.every(first + (sweep === 'reconcile' ? 3 * day : 0), every, until, async () => {
        // Once a day everything is looked at, else what changed within the day.
        const full = Math.floor(this.clock.ms / hour) % 24 === 0
        await this.engine.runSweep(this.admin, sweep, { full })
      })
    }
  }

  /** Somebody of the company, as a client linked to them. */
  person(id: string, groups: readonly string[] = []): Caller {
    return callerOf(
      makeClient({ role: 'owner', name: id, person: id as never, tenant: defaultTenant }),
      groups,
    )
  }

  async close(): Promise<void> {
    await this.#blank.giveBack()
  }
}

let compiled: Promise<{
  readonly policy: ReturnType<typeof compileLifecycle>
  readonly authoriser: Awaited<ReturnType<typeof compileAuthorisation>>
}> | null = null

function policies() {
  const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))
  const compile = async () => ({
    policy: compileLifecycle(await readFile(file('lifecycle.yaml'), 'utf8'), 'lifecycle.yaml'),
    authoriser: await compileAuthorisation(file('../../policies/authorisation')),
  })
  compiled ??= compile()
  return compiled
}

let app: { readonly key: string; readonly directory: string } | null = null

function appKey() {
  if (app === null) {
    const key = generateAppKey()
    const directory = mkdtempSync(path.join(tmpdir(), 'custody-year-'))
    writeFileSync(path.join(directory, 'app.pem'), key, { mode: 0o600 })
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
    app = { key, directory }
  }
  return app
}
