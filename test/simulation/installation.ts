import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { awsSecrets } from '../../providers/aws-secrets/index.ts'
import { github } from '../../providers/github/index.ts'
import { token } from '../../providers/token/index.ts'
import { createIdSource } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { Caller, Engine, Lifecycle, Tokens, Worker } from '../../src/lifecycle/engine.ts'
import {
  callerOf,
  createEngine,
  createSealer,
  createTokens,
  createWorker,
} from '../../src/lifecycle/engine.ts'
import type { WorkerEvent } from '../../src/lifecycle/worker.ts'
import type { Authoriser } from '../../src/policy/authorise.ts'
import { compileAuthorisation } from '../../src/policy/authorise.ts'
import type { LifecyclePolicy } from '../../src/policy/lifecycle.ts'
import { openProviders } from '../../src/provider/registry.ts'
import { AwsWorld } from '../../src/sandbox/aws.ts'
import { generateAppKey, GithubWorld } from '../../src/sandbox/github.ts'
import type { Store } from '../../src/store/store.ts'
import { makeClient } from '../support/entities.ts'
import type { BlankStore } from './blank-store.ts'
import { takeBlankStore } from './blank-store.ts'
import { Process } from './process.ts'
import type { Ways } from './process.ts'
import type { Sabotage } from './sabotage.ts'
import { Saboteur } from './sabotage.ts'
import { Scheduler } from './scheduler.ts'
import type { Terms } from './terms.ts'
import { graceOf, policyOf } from './terms.ts'
import type { Fate, Weather } from './wire.ts'
import { fateOf, transportOf } from './wire.ts'
import type { Worlds } from './wire-services.ts'
import { awsUrl, githubUrl } from './wire-services.ts'
import { Witness } from './witness.ts'

const policies = fileURLToPath(new URL('../../policies', import.meta.url))
const appKey = generateAppKey()

interface Rules {
  readonly policy: LifecyclePolicy
  readonly authoriser: Authoriser
}
let authoriser: Promise<Authoriser> | null = null

let directory: string | null = null

/** Where the adapters read the key of the app, each time they are opened. */
function keyDirectory(): string {
  if (directory === null) {
    const made = mkdtempSync(path.join(tmpdir(), 'custody-simulation-'))
    writeFileSync(path.join(made, 'app.pem'), appKey, { mode: 0o600 })
    process.on('exit', () => rmSync(made, { recursive: true, force: true }))
    directory = made
  }
  return directory
}

/** How long after its end a killed process is started again, in seconds. */
const restartSecondsMax = 40
/** Nobody polls in the meantime: a commit that queues work wakes every worker, as a notification would. */
const pollSeconds = 86_400 * 365

export interface InstallationOptions {
  readonly sabotage?: Sabotage | null
  /** How far the lists of AWS lag behind. */
  readonly lagSeconds?: number
  /** The policy as shipped when omitted. */
  readonly terms?: Terms
}

/** One running process of Custody: engine, worker, adapters, all its own. */
export interface Node {
  readonly process: Process
  readonly engine: Engine
  readonly tokens: Tokens
  readonly worker: Worker | null
}

/** A whole installation in one event loop: a database, two providers, and processes that come and go. */
export class Installation {
  readonly scheduler: Scheduler
  readonly worlds: Worlds
  readonly store: Store
  readonly admin: Caller
  readonly ways: Ways = { deathRate: 0, freezeRate: 0 }
  readonly witness = new Witness()
  /** Seconds that a deactivation rests before it counts. */
  readonly grace: number
  weather: Weather = new Map()
  /** Decides over each call instead of the weather. */
  fate: Fate
  deaths = 0
  failure: unknown = null
  readonly #pepper: Secret
  readonly #rules: Rules
  readonly #nodes = new Map<string, Node>()
  readonly #log: string[] = []
  #started = 0

  readonly #saboteur: Saboteur
  readonly #blank: BlankStore
  readonly #settle: string

  private constructor(
    scheduler: Scheduler,
    worlds: Worlds,
    blank: BlankStore,
    shared: Rules,
    { sabotage = null, lagSeconds = 0, terms = 'shipped' }: InstallationOptions,
  ) {
    this.grace = graceOf(terms)
    this.#saboteur = new Saboteur(sabotage, worlds)
    worlds.aws.lagSeconds = lagSeconds
    // What an operator has to know of a provider: how long its lists may lag.
    this.#settle = `PT${Math.max(15, lagSeconds + 1)}S`
    this.fate = fateOf(scheduler, () => this.weather)
    this.scheduler = scheduler
    this.worlds = worlds
    this.store = blank.store
    this.#blank = blank
    this.#rules = shared
    this.#pepper = Secret.of(scheduler.chance.bytes(32))
    this.admin = callerOf(makeClient({ role: 'admin' }))
  }

  static async open(seed: number, options: InstallationOptions = {}): Promise<Installation> {
    authoriser ??= compileAuthorisation(`${policies}/authorisation`)
    const shared = {
      policy: await policyOf(
        options.terms ?? 'shipped',
        options.sabotage !== 'watching is forgotten',
      ),
      authoriser: await authoriser,
    }
    const scheduler = new Scheduler(seed)
    const random = (length: number): Uint8Array => scheduler.chance.bytes(length)
    const worlds: Worlds = {
      aws: new AwsWorld({ clock: scheduler, random }),
      github: new GithubWorld({
        clock: scheduler,
        privateKeyPem: appKey,
        rateLimit: 1_000_000,
        seed: String(seed),
      }),
    }
    return new Installation(scheduler, worlds, await takeBlankStore(), shared, options)
  }

  /** The node of that name as it runs now; the caller asks anew after each death. */
  node(name: string): Node {
    const node = this.#nodes.get(name)
    if (!node?.process.isAlive) throw new Error(`${name} is dead`)
    return node
  }

  isUp(name: string): boolean {
    return this.#nodes.get(name)?.process.isAlive === true
  }

  /** Starts a node, and starts it again whenever it has died. */
  async start(name: string, options: { readonly works: boolean }): Promise<void> {
    const own = new Process(name, this.scheduler, this.ways, () => {
      this.deaths += 1
      const pause = this.scheduler.chance.below(restartSecondsMax * 1_000)
      this.scheduler.after(pause, () => {
        this.start(name, options).catch((error: unknown) => this.#fail(error))
      })
    })
    const life = await this.#lifeOf(own)
    const workerName = `${name}/${this.#started++}`
    const worker = options.works
      ? createWorker(life, {
          name: workerName,
          concurrency: 8,
          pollSeconds,
          log: (event) => this.#note(workerName, event),
        })
      : null
    const engine = createEngine(life)
    const tokens = this.tokensOf(life.store)
    this.#nodes.set(name, { process: own, engine, tokens, worker })
    worker?.start()
  }

  async close(): Promise<void> {
    for (const node of this.#nodes.values()) node.process.isAlive = false
    await this.#blank.giveBack()
  }

  /** As polling would: who died between a commit and its notification told nobody. */
  wakeAll(): void {
    for (const { process: other, worker } of this.#nodes.values()) {
      if (other.isAlive) worker?.wake()
    }
  }

  /** Goes on beside everything else; nobody waits for it, since it may die on the way. */
  background(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#fail(error))
  }

  /** What the workers did, a line each. */
  get log(): readonly string[] {
    return this.#log
  }

  /** Anything a simulated process could not have caused: a bug of the simulation itself. */
  #fail(error: unknown): void {
    this.failure ??= error
  }

  #note(worker: string, { operation, kind, step, outcome, failure, error }: WorkerEvent): void {
    const why = failure ? ` (${failure.code}: ${failure.message})` : ''
    const thrown = error instanceof Error ? ` !! ${error.stack ?? error.message}` : ''
    this.#log.push(
      `${this.scheduler.now()} ${worker} ${kind} ${operation} ${step} → ${outcome}${why}${thrown}`,
    )
  }

  tokensOf(store: Store): Tokens {
    const { policy } = this.#rules
    return createTokens({
      store,
      clock: this.scheduler,
      policy: () => policy,
      pepper: this.#pepper,
    })
  }

  async #lifeOf(own: Process): Promise<Lifecycle> {
    const { scheduler } = this
    const { policy, authoriser } = this.#rules
    const random = (length: number): Uint8Array => scheduler.chance.bytes(length)
    const store = own.reach(
      this.witness.watch(this.#saboteur.store(this.witness.record(this.store))),
    )
    const tokens = this.tokensOf(store)
    const { accessKeyId, secretAccessKey } = this.worlds.aws.admin
    const connection = {
      region: 'us-east-1',
      endpoint: awsUrl,
      credentials: { accessKeyId, secretAccessKey },
    }
    const plugins = await openProviders({
      providers: [
        {
          name: 'aws-prod',
          type: 'aws-iam',
          config: { ...connection, settle: this.#settle, probe: { count: 2, every: 'PT2S' } },
        },
        {
          name: 'github-acme',
          type: 'github',
          config: {
            baseUrl: githubUrl,
            appId: this.worlds.github.app.id,
            installationId: this.worlds.github.app.installationId,
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
      modules: { providers: [awsIam, github, token], sinks: [awsSecrets] },
      hostFor: (name) => ({
        name,
        clock: own.clock,
        random,
        resolvePath: (file) => path.join(keyDirectory(), file),
        tokens: tokens.book,
        pepper: this.#pepper,
        transport: this.#saboteur.transport(
          transportOf(own, scheduler, this.worlds, this.witness, (call) => this.fate(call)),
        ),
      }),
    })
    return {
      store,
      clock: own.clock,
      ids: createIdSource(own.clock, random),
      policy: () => policy,
      authoriser: () => authoriser,
      providers: plugins.providers,
      sinks: plugins.sinks,
      sealer: createSealer({ store, root: this.#pepper, random }),
      wake: () => this.wakeAll(),
    }
  }

  /** Two runs that went the same way have the same. */
  fingerprint(): string {
    return createHash('sha256')
      .update(`${this.scheduler.now()} ${this.scheduler.events} ${this.deaths}\n`)
      .update(this.#log.join('\n'))
      .digest('hex')
      .slice(0, 16)
  }
}
