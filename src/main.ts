import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { realSleep } from './directory/calls.ts'
import { checkDirectories, openDirectories } from './directory/open.ts'
import { createSigner } from './domain/checkpoint.ts'
import type { Client } from './domain/client.ts'
import { errors } from './domain/errors.ts'
import type { ClientId, IdSource } from './domain/ids.ts'
import { createIdSource, defaultTenant } from './domain/ids.ts'
import { Secret } from './domain/secret.ts'
import type { Clock } from './domain/time.ts'
import { hashToken, parseToken } from './domain/token.ts'
import type { Anchor } from './host/anchor.ts'
import { checkAnchor, openAnchor } from './host/anchor.ts'
import { createInstallationClock, systemClock } from './host/clock.ts'
import type { Config, ConfigCheck } from './host/config.ts'
import { ensureDirectory, openHome, packageVersion } from './host/home.ts'
import type { Home } from './host/home.ts'
import { watchBalancer } from './host/balancer.ts'
import { isRunning } from './host/lock.ts'
import type { Log } from './host/log.ts'
import { createHooks } from './host/hooks.ts'
import { createLog } from './host/log.ts'
import type { Tracing } from './host/tracing.ts'
import { openTracing } from './host/tracing.ts'
import { machineName, watchProcess } from './host/process.ts'
import { pooledRandom } from './host/random.ts'
import { serviceMetrics } from './http/collectors.ts'
import { createServer } from './http/server.ts'
import type { Scheduler } from './jobs/scheduler.ts'
import { schedulerForLater } from './jobs/scheduler.ts'
import type {
  ClockGuard,
  Engine,
  Lifecycle,
  Sequencer,
  Tokens,
  Worker,
} from './lifecycle/engine.ts'
import {
  auditRow,
  createClockGuard,
  createReplica,
  createEngine,
  createSealer,
  createSequencer,
  createTaskBook,
  createTokens,
  createWorker,
  engagedBrakes,
  enterRestored,
  systemActor,
  tracedStore,
  treesOf,
} from './lifecycle/engine.ts'
import { loadPolicies, offeredTemplates } from './policy/load.ts'
import type { HostContext, TaskBook } from './provider/contract.ts'
import type { BuiltInModules, OpenPlugins } from './provider/registry.ts'
import { checkPlugins, openProviders } from './provider/registry.ts'
import { documentCodec } from './scim/codec.ts'
import { unfinishedCopy } from './store/copy-side.ts'
import { openStore } from './store/open.ts'
import type { Store } from './store/store.ts'

export type Role = 'http' | 'worker' | 'scheduler'

export interface StartOptions {
  readonly config: Config
  readonly roles?: readonly Role[]
  readonly log?: Log
  readonly clock?: Clock
  /** SCIM requests per client; absent = 50/s in bursts of 200, null = unlimited. */
  readonly rateLimit?: { readonly perSecond: number; readonly burst: number } | null
  /** Shows made-up data to somebody who looks around: the console offers a tour. */
  readonly isDemo?: boolean
  /** Stands in for the store opened, e.g. to hold back or count what is written. */
  readonly store?: (opened: Store) => Store
}

/** A running Custody; `close` finishes what is at a commit and leaves the rest to the journal. */
export interface Running {
  readonly url: string
  readonly home: Home
  readonly engine: Engine
  readonly tokens: Tokens
  readonly worker: Worker
  readonly scheduler: Scheduler | null
  /** Of a process with the role `worker`. */
  readonly sequencer: Sequencer | null
  /** Reads both policies again; a bad file keeps the old ones. @throws policyInvalid */
  reloadPolicies(): Promise<void>
  close(): Promise<void>
}

const workerConcurrency = 32

/** What comes with this version; a new provider or sink enters here. */
export const builtIn: BuiltInModules = {
  providers: [
    { type: 'aws-iam', load: async () => (await import('../providers/aws-iam/index.ts')).awsIam },
    { type: 'github', load: async () => (await import('../providers/github/index.ts')).github },
    { type: 'manual', load: async () => (await import('../providers/manual/index.ts')).manual },
    {
      type: 'postgres',
      load: async () => (await import('../providers/postgres/index.ts')).postgres,
    },
    { type: 'token', load: async () => (await import('../providers/token/index.ts')).token },
  ],
  sinks: [
    {
      type: 'aws-secrets',
      load: async () => (await import('../providers/aws-secrets/index.ts')).awsSecrets,
    },
    { type: 'file', load: async () => (await import('../providers/file/index.ts')).file },
    {
      type: 'github-actions',
      load: async () => (await import('../providers/github-actions/index.ts')).githubActions,
    },
  ],
}

/**
 * What `loadConfig` cannot know by itself: which providers, sinks and databases this version has.
 * Nothing is opened, and no package from outside loaded.
 */
export const checkConfig: ConfigCheck = async (config, lineOf) => {
  return [
    ...(await checkPlugins(config, builtIn, lineOf)),
    ...checkDirectories(config.directories, lineOf),
  ]
}

/**
 * Puts the house together: configuration in, a listening service out.
 * @throws configInvalid, policyInvalid, homeInUse, masterKeyMissing, masterKeyWrong, databaseNewer,
 *   migrationChanged, copyUnfinished
 */
export async function startCustody(options: StartOptions): Promise<Running> {
  const { config } = options
  let tracing: Tracing | null = null
  // What a worker's name and a replica's begin with.
  const processName = `${machineName()}/${process.pid}`
  const about = () => ({ replica: processName, ...tracing?.current() })
  const log = options.log ?? createLog({ level: config.logLevel, about })
  const roles = options.roles ?? ['http', 'worker', 'scheduler']
  const policies = await loadPolicies(config.policies)
  const storeUrl = storeUrlOf(config)
  const database = await databaseOf(config)
  const home = await openHome({ path: config.home, masterKey: config.masterKey, database })
  const closers: (() => Promise<void>)[] = []
  try {
    if (roles.includes('http')) closers.unshift(await home.claimServer())
    if (config.store.kind === 'sqlite' && config.store.file !== ':memory:') {
      await ensureDirectory(path.dirname(config.store.file))
    }
    const opened = await openStore({ url: storeUrl, codec: documentCodec })
    closers.unshift(() => opened.close())
    const { engine: kind, fence } = opened.facts()
    if ((await opened.read.meta(unfinishedCopy)) !== null)
      throw errors.copyUnfinished({ engine: kind })
    if (config.store.kind === 'postgres' && fence.state === 'off') {
      log.warn(fence, 'no row security by tenant')
    }
    tracing = await openTracing({
      version: packageVersion(),
      instance: processName,
      onProblem: (facts, message) => log.warn(facts, message),
    })
    closers.unshift(async () => tracing?.close())
    const tracer = tracing?.tracer ?? null
    const store = tracedStore(options.store?.(opened) ?? opened, tracer)
    const time = createInstallationClock(options.clock ?? systemClock, () => store.time())
    const { clock } = time
    await time.measure()
    const endOfTime = time.start()
    closers.unshift(async () => endOfTime())
    await checkMasterKey(store, config, home)
    const ids = createIdSource(clock, pooledRandom)
    const name = workerName(ids)
    const pepper = derive(home.masterKey, 'token pepper')
    await registerLocalAdmin({ store, home, pepper, clock, ids })
    const tokens = createTokens({ store, clock, policy: () => policies.lifecycle, pepper })
    const clockGuard = createClockGuard(
      { store, clock, ids },
      { worker: name, onError: (error) => log.error({ error }, 'clock guard') },
    )
    const plugins = await openPlugins(config, {
      clock,
      tokens,
      tasks: createTaskBook({ store, clock, ids }),
      pepper,
      clockGuard,
    })
    closers.unshift(() => plugins.close())
    policies.templates = await offeredTemplates(config.policies, policies, plugins.providers)

    const signer = createSigner(derive(home.masterKey, 'audit signing key'))
    // A database that is gone with its process has no past to be anchored.
    const isKept = config.store.kind !== 'sqlite' || config.store.file !== ':memory:'
    const anchor = isKept ? openAnchor({ home: home.path, clock, signer }) : null
    let worker: Worker | null = null
    const life: Lifecycle = {
      store,
      clock,
      ids,
      policy: () => policies.lifecycle,
      vocabulary: () => policies.templates,
      authoriser: () => policies.authoriser,
      providers: plugins.providers,
      sinks: plugins.sinks,
      clockGuard,
      directories: openDirectories(config.directories, {
        clock,
        sleep: realSleep,
        resolvePath: config.resolvePath,
      }),
      ...(anchor ? { anchor } : {}),
      ...(roles.includes('worker') ? { gates: () => worker?.gates() ?? [] } : {}),
      sealer: createSealer({
        store,
        root: derive(home.masterKey, 'seal root'),
        random: randomBytes,
      }),
      hooks: createHooks({ root: derive(home.masterKey, 'hooks'), clock, ...config.hooks }),
      // Others need not hear of what this process can do itself.
      wake: () => {
        worker?.wake()
        const { total, used } = worker?.slots() ?? { total: 0, used: 0 }
        if (!roles.includes('worker') || used >= total) store.announce('work')
      },
    }
    if (anchor) await compareWithAnchor(anchor, life, log)
    let sequencer: Sequencer | null = null
    const vital = watchProcess()
    closers.unshift(async () => vital.stop())
    const { metrics, noteStep, noteSweep, traffic, watch } = serviceMetrics({
      store,
      clock,
      worker: () => worker,
      sequencer: () => sequencer?.state() ?? null,
      anchoredAt: async () =>
        Array.from((await anchor?.all().catch(() => null))?.values() ?? [], (a) => a.at),
      brakes: () => engagedBrakes({ store }),
      process: () => vital.facts(),
      providers: () => [...plugins.providers.keys()],
      build: { version: packageVersion(), node: process.version, store: config.store.kind },
      tracer,
    })
    await releaseDeadWorkers(store, clock)
    worker = createWorker(life, {
      name,
      concurrency: workerConcurrency,
      watch,
      log: (event) => {
        const { error, ...facts } = event
        noteStep(event)
        if (error !== null) log.error({ ...facts, error }, 'step failed')
        else if (event.failure) log.warn(facts, 'step did not succeed')
        else log.debug(facts, 'step')
      },
    })
    const engine = createEngine(life)
    const endGuard = await clockGuard.start()
    closers.unshift(async () => endGuard())

    let url = config.publicUrl ?? ''
    let stopping = false
    const balancer = watchBalancer(clock)
    const app = await createServer({
      engine,
      tokens,
      store,
      clock,
      ids,
      pepper,
      signer,
      metrics,
      traffic,
      tracer,
      ...(options.rateLimit === undefined ? {} : { rateLimit: options.rateLimit }),
      version: packageVersion(),
      isDemo: options.isDemo ?? false,
      baseUrl: () => url,
      notReady: () => (stopping ? 'it is shutting down' : null),
      stopping: () => stopping,
      onReadyAsked: () => balancer.asked(),
      log: ({ level, error, ...facts }) =>
        log[level](error === null ? facts : { ...facts, error }, 'request'),
      logs: (level) => log.isLevelEnabled(level),
    })
    if (roles.includes('worker')) {
      const running = worker
      const sequencing = createSequencer(life, {
        signer,
        anchor,
        holder: name,
        log: ({ outcome, ...event }) =>
          log[outcome === 'signed' ? 'debug' : 'error'](event, `audit log: ${outcome}`),
      })
      sequencer = sequencing
      sequencing.start()
      closers.unshift(() => sequencing.stop())
      running.start()
      closers.unshift(() => running.stop())
    }
    const reload = async (): Promise<void> => {
      Object.assign(policies, await loadPolicies(config.policies, plugins.providers))
    }
    const replica = createReplica(life, {
      id: name,
      version: packageVersion(),
      roles,
      policy: () => policyVersion(policies),
      clockOffset: () => time.offset(),
      onWork: () => worker?.wake(),
      onReload: () =>
        reload().then(
          () => log.info({ policy: policyVersion(policies) }, 'policies read again'),
          (error: unknown) => log.error({ error }, 'policies kept as they were'),
        ),
      log: (event) =>
        log[event.outcome === 'agrees' ? 'info' : 'warn'](event, `replicas: ${event.outcome}`),
    })
    await replica.start()
    closers.unshift(() => replica.stop())
    const scheduler = roles.includes('scheduler')
      ? schedulerForLater({
          life,
          storeUrl,
          clock,
          worker: name,
          log: (event) => {
            noteSweep(event)
            if (event.outcome === 'failed') log.error(event, 'sweep')
            else log.info(event, 'sweep')
          },
        })
      : null
    if (scheduler) closers.unshift(() => scheduler.stop())
    if (roles.includes('http')) {
      closers.unshift(() => app.close())
      const bound = await app.listen({ host: config.listen.host, port: config.listen.port })
      if (config.publicUrl === null) url = bound
      await home.writeServer({ url: bound, pid: process.pid })
      closers.unshift(() => home.removeServer())
      url ||= bound
    }
    // Behind `listening`: what was missed is made up for while requests are answered.
    scheduler?.begin((error) => log.error({ error }, 'the sweeps cannot be started'))
    return {
      url,
      home,
      engine,
      tokens,
      worker,
      scheduler,
      sequencer,
      async reloadPolicies() {
        await reload()
        await replica.reloadAll()
      },
      async close() {
        stopping = true
        if (roles.includes('http')) await balancer.drained(config.shutdown.drain)
        await closeAll(closers)
      },
    }
  } catch (error) {
    await closeAll(closers)
    throw error
  }
}

async function closeAll(closers: (() => Promise<void>)[]): Promise<void> {
  for (const close of closers.splice(0)) await close()
}

/** What a process decides by; replicas that differ in it decide differently. */
function policyVersion({
  lifecycle,
  authoriser,
}: Awaited<ReturnType<typeof loadPolicies>>): string {
  return `${lifecycle.version.slice(0, 12)}/${authoriser.version.slice(0, 12)}`
}

function workerName(ids: IdSource): string {
  return `${machineName()}/${process.pid}/${ids.next()}`
}

/**
 * After a kill, the work of the dead process would wait for its leases to lapse, a minute in which a
 * leaver's keys stay alive. A worker of this host whose process is gone is surely dead; one whose
 * process id is in use again is left to its lease.
 */
async function releaseDeadWorkers(store: Store, clock: Clock): Promise<void> {
  for (const worker of await store.read.leaseHolders()) {
    const [host, pid] = worker.split('/')
    if (host === machineName() && pid !== undefined && !isRunning(Number(pid))) {
      await store.releaseLeases(worker, clock.now())
    }
  }
}

/** Whatever is wrong with the anchor, revocations must go on: it keeps nobody from starting. */
async function compareWithAnchor(anchor: Anchor, life: Lifecycle, log: Log): Promise<void> {
  try {
    const check = await checkAnchor(anchor, treesOf(life.store.read))
    if (!check.behind) return
    for (const fact of check.facts) log.error(fact, 'the audit log is behind its anchor')
    await enterRestored(life, { reason: 'auditBehind', ...check.facts[0] })
  } catch (error) {
    log.error({ error }, 'the audit log could not be compared with its anchor')
  }
}

function storeUrlOf({ store }: Config): string {
  return store.kind === 'sqlite'
    ? `sqlite:${store.file}`
    : store.url.use((bytes) => bytes.toString('utf8'))
}

/** The database that is there already, if one is; SQLite makes an empty file before it writes. */
async function databaseOf({ store }: Config): Promise<string | null> {
  if (store.kind !== 'sqlite' || store.file === ':memory:') return null
  const size = await stat(store.file).then(
    (s) => s.size,
    () => 0,
  )
  return size > 0 ? store.file : null
}

/** One key file, several uses: each gets its own key, so that none of them says anything about another. */
export function derive(masterKey: Secret, use: string): Secret {
  return masterKey.use((key) =>
    Secret.of(new Uint8Array(hkdfSync('sha256', key, '', `custody ${use}`, 32))),
  )
}

/** What a database keeps of the key it was made with (meta `masterKeyCheck`). */
export function masterKeyWord(masterKey: Secret): string {
  return derive(masterKey, 'master key check').use((key) =>
    createHmac('sha256', key).update('check').digest('hex'),
  )
}

/** Token hashes of one key mean nothing under another: better not to start than to refuse everybody. */
async function checkMasterKey(store: Store, config: Config, home: Home): Promise<void> {
  const check = masterKeyWord(home.masterKey)
  const known = await store.read.meta('masterKeyCheck')
  if (known === null) await store.commit([{ type: 'meta', key: 'masterKeyCheck', value: check }])
  else if (known !== check) {
    const fromFile = path.join(home.path, 'master.key')
    throw errors.masterKeyWrong({ path: config.masterKey ? 'CUSTODY_MASTER_KEY' : fromFile })
  }
}

/** The holder of `.custody/admin-token` administers this installation. */
async function registerLocalAdmin(host: {
  readonly store: Store
  readonly home: Home
  readonly pepper: Secret
  readonly clock: Clock
  readonly ids: IdSource
}): Promise<void> {
  const { store, home, pepper, clock, ids } = host
  const { id, hash } = home.adminToken.use((bytes) => ({
    id: parseToken(bytes.toString('utf8'))!.id,
    hash: pepper.use((key) => hashToken(key, bytes)),
  }))
  if (await store.read.clientToken(id)) return
  const now = clock.now()
  const client: Client = {
    tenant: defaultTenant,
    id: ids.next() as ClientId,
    name: 'local administrator',
    role: 'admin',
    dialect: 'lenient',
    directory: null,
    person: null,
    createdAt: now,
    revokedAt: null,
  }
  await store.commit([
    { type: 'client', client },
    {
      type: 'clientToken',
      token: {
        id,
        client: client.id,
        hash,
        createdAt: now,
        expiresAt: null,
        lastUsedAt: null,
        revokedAt: null,
      },
    },
    auditRow(
      { clock, ids },
      {
        tenant: defaultTenant,
        actor: systemActor,
        action: 'client.created',
        target: { type: 'client', id: client.id },
        facts: { name: client.name, role: client.role },
      },
    ),
  ])
}

function openPlugins(
  config: Config,
  host: {
    readonly clock: Clock
    readonly tokens: Tokens
    readonly tasks: TaskBook
    readonly pepper: Secret
    readonly clockGuard: ClockGuard
  },
): Promise<OpenPlugins> {
  return openProviders({
    providers: config.providers,
    sinks: config.sinks,
    modules: builtIn,
    hostFor: (name): HostContext => ({
      name,
      clock: host.clock,
      random: randomBytes,
      resolvePath: config.resolvePath,
      tokens: host.tokens.book,
      tasks: host.tasks,
      pepper: host.pepper,
      sawDate: (date) => host.clockGuard.sawDate(name, date),
    }),
  })
}
