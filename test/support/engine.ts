import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { awsSecrets } from '../../providers/aws-secrets/index.ts'
import { file } from '../../providers/file/index.ts'
import { githubActions } from '../../providers/github-actions/index.ts'
import { github } from '../../providers/github/index.ts'
import { token } from '../../providers/token/index.ts'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Client, Role } from '../../src/domain/client.ts'
import type { Credential, IssuedKey } from '../../src/domain/credential.ts'
import { createIdSource, defaultTenant } from '../../src/domain/ids.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { Instant } from '../../src/domain/time.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { AccountWrite, CredentialEntry, PersonWrite } from '../../src/domain/want.ts'
import type { Caller, Engine, Lifecycle, Tokens, Worker } from '../../src/lifecycle/engine.ts'
import {
  callerOf,
  createEngine,
  createTaskBook,
  createTokens,
  createSealer,
  createWorker,
} from '../../src/lifecycle/engine.ts'
import type { WorkerEvent } from '../../src/lifecycle/worker.ts'
import type { Authoriser } from '../../src/policy/authorise.ts'
import { compileAuthorisation } from '../../src/policy/authorise.ts'
import type { LifecyclePolicy, LifecycleTerms } from '../../src/policy/lifecycle.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import type {
  HostContext,
  Provider,
  ProviderModule,
  SecretSink,
} from '../../src/provider/contract.ts'
import type { PluginEntry } from '../../src/provider/registry.ts'
import { openProviders } from '../../src/provider/registry.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import type { GithubSandbox } from '../../src/sandbox/github.ts'
import { generateAppKey, GithubWorld, startGithubSandbox } from '../../src/sandbox/github.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { makeClient, unique } from './entities.ts'
import { ManualClock } from './manual-clock.ts'
import { freshDatabase } from './template.ts'
import { watchTransitions } from './transitions.ts'

const policies = fileURLToPath(new URL('../../policies', import.meta.url))
// Both are slow to make (a WASM engine, an RSA key) and never changed by a test.
let authoriser: Promise<Authoriser> | null = null
let appKey: string | null = null

export const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const enterpriseSchema = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

export const minutes = (n: number): number => n * 60
export const hours = (n: number): number => n * 3_600
export const days = (n: number): number => n * 86_400

/** Attributes of an account with such consumers; what re-reads its secret lets a rotation end. */
export const consumedBy = (
  ...consumers: {
    readonly name: string
    readonly kind?: string
    readonly cacheTtl?: string
    readonly reloadHook?: string
  }[]
): AccountWrite['attributes'] => ({
  schemas: [userSchema, nhiSchema],
  ...(consumers.length === 0 ? {} : { [nhiSchema]: { consumers } }),
})

/** The entries most tests ask for; each with a path of its own. */
export const wants = {
  token: (more: Partial<CredentialEntry> = {}): CredentialEntry => ({
    provider: 'tokens',
    kind: 'api-token',
    scopes: ['read'],
    deliverTo: { sink: 'files', path: unique('token') },
    ...more,
  }),
  accessKey: (more: Partial<CredentialEntry> = {}): CredentialEntry => ({
    provider: 'aws-prod',
    kind: 'access-key',
    scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
    deliverTo: { sink: 'aws-secrets', path: unique('key') },
    ...more,
  }),
  deployKey: (more: Partial<CredentialEntry> = {}): CredentialEntry => ({
    provider: 'github-acme',
    kind: 'deploy-key',
    scopes: ['repo:acme/website'],
    deliverTo: { sink: 'files', path: unique('pem') },
    ...more,
  }),
  appToken: (more: Partial<CredentialEntry> = {}): CredentialEntry => ({
    provider: 'github-acme',
    kind: 'app-token',
    scopes: ['repository:acme/website', 'permission:contents=read'],
    deliverTo: { sink: 'files', path: unique('lease') },
    ...more,
  }),
}

/** More people than any test has. */
export const unbraked = { least: 1_000_000, hourly: 1, daily: 1 }

export interface TestEngine {
  readonly clock: ManualClock
  readonly store: Store
  readonly life: Lifecycle
  readonly engine: Engine
  readonly tokens: Tokens
  readonly worker: Worker
  readonly aws: AwsSandbox
  readonly github: GithubSandbox
  readonly admin: Caller
  readonly home: string
  readonly events: readonly WorkerEvent[]
  /** The `Date` of every answer, as the clients told. */
  readonly dates: readonly { readonly source: string; readonly date: Instant }[]
  /** A caller of another role; nothing of it is stored, for authentication is not under test here. */
  caller(role: Role, more?: Partial<Client>): Caller
  person(more?: { readonly manager?: string }): Promise<string>
  leave(person: string): Promise<void>
  comeBack(person: string): Promise<void>
  /** Requests and, unless told otherwise, runs everything until the account is up. */
  request(
    owner: string,
    more?: Partial<AccountWrite> & { readonly drain?: boolean },
  ): Promise<ServiceAccount>
  account(id: string): Promise<ServiceAccount>
  credentials(account: string): Promise<readonly Credential[]>
  credential(id: string): Promise<Credential>
  keys(credential: string): Promise<readonly IssuedKey[]>
  operations(subject: string): Promise<readonly Operation[]>
  operation(id: string): Promise<Operation>
  /** Advances in `step`s, running all that is due after each. */
  pass(seconds: number, step?: number): Promise<void>
  /** What a consumer reads now; null when there is nothing. */
  served(credential: Credential): Promise<string | null>
  /** Whether the provider itself would accept what a consumer reads now; the oracle, not Custody's belief. */
  works(credential: Credential): Promise<boolean>
  /** Every key the provider holds for the account and would accept now, whoever knows of it. */
  liveAtProviders(account: string): Promise<readonly string[]>
  awsUser(account: string): string | null
  close(): Promise<void>
}

export interface TestEngineOptions {
  readonly adopt?: readonly string[]
  /** What calls reload hooks; without it nobody is told. */
  readonly hooks?: Lifecycle['hooks']
  /** Terms of rotation that differ from those shipped. */
  readonly rotation?: Partial<LifecycleTerms['rotation']>
  /** The mass-leave brake as shipped; else it never engages: these tests let many people go in an hour. */
  readonly brake?: true
  /** How the provider for AWS federates. */
  readonly federation?: Readonly<Record<string, unknown>>
  readonly settle?: string
  /** More of the GitHub provider's configuration. */
  readonly github?: Readonly<Record<string, unknown>>
  readonly probe?: { readonly count: number; readonly every: string }
  /** Providers besides the three that every test has: these by their type alone, which is their name. */
  readonly also?: readonly ProviderModule[]
  /** And these as configured. */
  readonly more?: readonly { readonly entry: PluginEntry; readonly module: ProviderModule }[]
  /** Instead of the policy as shipped. */
  readonly policy?: LifecyclePolicy | ((shipped: string) => string)
  /** When the clock starts; a target with a clock of its own needs the present. */
  readonly start?: Instant
  /** Wraps what the engine's worker works with: the place to kill it. */
  readonly around?: (life: Lifecycle) => Lifecycle
}

/** The lifecycle floor as `main` builds it, on a manual clock, without HTTP and background work. */
export async function startTestEngine(options: TestEngineOptions = {}): Promise<TestEngine> {
  const home = await mkdtemp(path.join(tmpdir(), 'custody-engine-'))
  const clock = new ManualClock(options.start)
  const aws = await startAwsSandbox({ clock })
  appKey ??= generateAppKey()
  const world = new GithubWorld({ clock, privateKeyPem: appKey, rateLimit: 1_000_000 })
  const githubSandbox = await startGithubSandbox({ clock, world })
  await writeFile(path.join(home, 'app.pem'), appKey, { mode: 0o600 })
  const opened = await openStore({
    url: await freshDatabase(home),
    codec: documentCodec,
  })
  const watched = watchTransitions(opened, defaultTenant)
  const { store } = watched
  const name = path.join(policies, 'lifecycle.yaml')
  const text = await readFile(name, 'utf8')
  const own = options.policy ?? ((shipped: string) => shipped)
  const chosen = typeof own === 'function' ? compileLifecycle(own(text), name) : own
  const policy: LifecyclePolicy = {
    ...chosen,
    ...(options.brake ? {} : { brake: unbraked }),
    termsFor(subject) {
      const terms = chosen.termsFor(subject)
      return { ...terms, rotation: { ...terms.rotation, ...options.rotation } }
    },
  }
  authoriser ??= compileAuthorisation(path.join(policies, 'authorisation'))
  const authorise = await authoriser
  const pepper = Secret.of(randomBytes(32))
  const ids = createIdSource(clock, randomBytes)
  const tokens = createTokens({ store, clock, policy: () => policy, pepper })
  const { accessKeyId, secretAccessKey } = aws.world.admin
  const connection = {
    region: 'us-east-1',
    endpoint: aws.url,
    credentials: { accessKeyId, secretAccessKey },
  }
  const dates: { readonly source: string; readonly date: Instant }[] = []
  const plugins = await openProviders({
    providers: [
      {
        name: 'aws-prod',
        type: 'aws-iam',
        config: {
          ...connection,
          settle: options.settle ?? 'PT0S',
          probe: options.probe ?? { count: 1, every: 'PT0S' },
          ...(options.adopt ? { adopt: options.adopt } : {}),
          ...(options.federation ? { federation: options.federation } : {}),
        },
      },
      {
        name: 'github-acme',
        type: 'github',
        config: {
          baseUrl: githubSandbox.url,
          appId: world.app.id,
          installationId: world.app.installationId,
          privateKeyFile: 'app.pem',
          settle: 'PT0S',
          ...options.github,
        },
      },
      { name: 'tokens', type: 'token', config: {} },
      ...(options.more ?? []).map(({ entry }) => entry),
      ...(options.also ?? []).map(({ type }) => ({ name: type, type, config: {} })),
    ],
    sinks: [
      {
        name: 'aws-secrets',
        type: 'aws-secrets',
        config: { ...connection, namePrefix: 'custody/' },
      },
      { name: 'files', type: 'file', config: { directory: 'secrets' } },
      { name: 'github-actions', type: 'github-actions', config: { provider: 'github-acme' } },
    ],
    modules: {
      providers: [
        awsIam,
        github,
        token,
        ...(options.more ?? []).map(({ module }) => module),
        ...(options.also ?? []),
      ],
      sinks: [awsSecrets, file, githubActions],
    },
    hostFor: (plugin): HostContext => ({
      name: plugin,
      clock,
      random: randomBytes,
      resolvePath: (p) => path.resolve(home, p),
      tokens: tokens.book,
      tasks: createTaskBook({ store, clock, ids }),
      pepper,
      sawDate: (date) => dates.push({ source: plugin, date }),
    }),
  })
  const life: Lifecycle = {
    store,
    clock,
    ids,
    policy: () => policy,
    authoriser: () => authorise,
    providers: plugins.providers,
    sinks: plugins.sinks,
    sealer: createSealer({ store, root: pepper, random: randomBytes }),
    ...(options.hooks ? { hooks: options.hooks } : {}),
    wake: () => undefined,
  }
  const events: WorkerEvent[] = []
  const worker = createWorker(options.around?.(life) ?? life, {
    name: 'tests',
    concurrency: 32,
    log: (event) => events.push(event),
  })
  const engine = createEngine(life)
  const caller: TestEngine['caller'] = (role, more = {}) => callerOf(makeClient({ role, ...more }))
  const admin = caller('admin')

  const personWrite = (userName: string, manager: string | undefined): PersonWrite => ({
    type: 'person',
    userName,
    externalId: null,
    active: true,
    attributes: {
      schemas: [userSchema],
      ...(manager === undefined ? {} : { [enterpriseSchema]: { manager: { value: manager } } }),
    },
  })
  const setActive = async (id: string, active: boolean): Promise<void> => {
    const person = await engine.person(admin, id)
    const { userName, externalId, attributes } = person
    const want: PersonWrite = { type: 'person', userName, externalId, attributes, active }
    await engine.updatePerson(admin, person, want)
  }

  const test: TestEngine = {
    clock,
    store,
    life,
    engine,
    tokens,
    worker,
    aws,
    github: githubSandbox,
    admin,
    home,
    events,
    dates,
    caller,
    async person({ manager } = {}) {
      const want = personWrite(unique('person'), manager)
      return (await engine.createPerson(admin, want)).person.id
    },
    leave: (id) => setActive(id, false),
    comeBack: (id) => setActive(id, true),
    async request(owner, { drain = true, ...more } = {}) {
      const { account } = await engine.requestAccount(admin, {
        type: 'account',
        userName: unique('svc'),
        externalId: null,
        active: undefined,
        kind: 'serviceAccount',
        owner: { type: 'User', id: owner },
        backupOwners: undefined,
        purpose: 'tests',
        environment: undefined,
        labels: undefined,
        expiresAt: undefined,
        protected: undefined,
        credentials: [wants.token()],
        attributes: consumedBy({ name: 'app', cacheTtl: 'PT5M' }),
        ...more,
      })
      if (!drain) return account
      await test.pass(2)
      const up = await test.account(account.id)
      if (up.status !== 'active' && (more.credentials?.length ?? 1) > 0) {
        const failures = events.filter((e) => e.failure ?? e.error).slice(-3)
        throw new Error(`the account is ${up.status}: ${JSON.stringify(failures)}`)
      }
      return up
    },
    async account(id) {
      return (await store.read.account(admin.tenant, id))!
    },
    credentials: (account) =>
      store.read.credentialsOf(admin.tenant, account as ServiceAccount['id']),
    async credential(id) {
      return (await store.read.credential(admin.tenant, id))!
    },
    keys: (credential) => store.read.keysOf(admin.tenant, credential as Credential['id']),
    operations: (subject) =>
      store.read.operations({ tenant: admin.tenant, subject, after: null, limit: 200 }),
    async operation(id) {
      return (await store.read.operation(admin.tenant, id))!
    },
    async pass(total, step = 1) {
      await worker.drain()
      for (let left = total; left > 0; left -= step) {
        clock.advance(Math.min(step, left))
        await worker.drain()
      }
    },
    async served({ deliverTo, tenant }) {
      if (deliverTo.sink === 'aws-secrets') {
        return aws.world.secret(`custody/${tenant}/${deliverTo.path}`)?.current ?? null
      }
      const where = path.join(home, 'secrets', tenant, deliverTo.path)
      return readFile(where, 'utf8').catch(() => null)
    },
    async works(credential) {
      const secret = await test.served(credential)
      if (secret === null) return false
      if (credential.kind === 'api-token') {
        return (await tokens.introspect(secret, credential.tenant)).active
      }
      if (credential.kind === 'deploy-key') {
        const prefix = `custody/${credential.account}/`
        return world.deployKeys('acme', 'website').some((k) => k.title.startsWith(prefix))
      }
      if (credential.kind === 'app-token') {
        return world.installationTokens().some((t) => t.token === secret && world.isAlive(t))
      }
      const { accessKeyId: id } = JSON.parse(secret) as { accessKeyId?: string }
      return id !== undefined && aws.world.wouldAccept(id)
    },
    async liveAtProviders(account) {
      const user = test.awsUser(account)
      const awsKeys = user === null ? [] : aws.world.keysOf(user)
      const deploy = ['website', 'deploy', 'billing'].flatMap((r) =>
        world.deployKeys('acme', r).filter((k) => k.title.startsWith(`custody/${account}/`)),
      )
      const issued = await store.read.issuedTokensOf(account as ServiceAccount['id'], 'tokens')
      return [
        ...awsKeys.map((k) => k.accessKeyId).filter((k) => aws.world.wouldAccept(k)),
        ...deploy.map((k) => String(k.id)),
        ...issued.filter((t) => t.active).map((t) => t.id),
      ]
    },
    awsUser(account) {
      return aws.world.users().find((u) => u.tags['custody:id'] === account)?.userName ?? null
    },
    async close() {
      await worker.stop(0)
      await plugins.close()
      await store.close()
      await aws.close()
      await githubSandbox.close()
      await rm(home, { recursive: true, force: true })
      assert.deepEqual(watched.unknown, [], 'changes of status that no table in src/domain names')
    },
  }
  return test
}

/** Where a process can die: just before a call leaves it, or after its effect but before its answer. */
export interface Death {
  readonly call: number
  readonly when: 'before' | 'after'
}

/** Calls that matter: those that change something at a provider, a sink or the store. */
function watched(
  life: Lifecycle,
  visit: (name: string, call: () => Promise<unknown>) => Promise<unknown>,
): Lifecycle {
  const guard = <T extends object>(name: string, target: T, skip: readonly string[]): T =>
    new Proxy(target, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (typeof value !== 'function') return value
        const method = (value as (...args: unknown[]) => Promise<unknown>).bind(object)
        if (skip.includes(String(property))) return method
        return (...args: unknown[]) => visit(`${name}.${String(property)}`, () => method(...args))
      },
    })
  return {
    ...life,
    store: guard('store', life.store, ['close', 'claim', 'heartbeat']),
    providers: new Map(
      [...life.providers].map(([n, p]): [string, Provider] => [
        n,
        guard(n, p, ['checkScopes', 'prepare', 'close', 'list']),
      ]),
    ),
    sinks: new Map(
      [...life.sinks].map(([n, s]): [string, SecretSink] => [n, guard(n, s, ['close'])]),
    ),
  }
}

export interface WatchedLife {
  readonly around: (life: Lifecycle) => Lifecycle
  /** Calls made so far, by name: also how many places there are. */
  readonly calls: readonly string[]
}

/**
 * A life that ends at the n-th call to a provider, a sink or the store, or at the first one of a name
 * (`aws-prod.issue`): from then on nothing it does has any effect, as after `kill -9`.
 */
export function mortal(
  death: Death | { readonly call: string; readonly when: Death['when'] } | null,
): WatchedLife {
  const calls: string[] = []
  let dead = false
  return {
    calls,
    around: (life) =>
      watched(life, async (name, call) => {
        if (dead) throw new Error('this process is dead')
        const place = calls.push(name) - 1
        const dies = death?.call === place || death?.call === name
        if (dies && death.when === 'before') {
          dead = true
          throw new Error('killed before the call')
        }
        const answer = await call()
        if (dies) {
          dead = true
          throw new Error('killed after the call')
        }
        return answer
      }),
  }
}

/** A life in which something else happens at the n-th call, just before or just after it. */
export function interrupted(at: Death | null, act: () => Promise<unknown>): WatchedLife {
  const calls: string[] = []
  return {
    calls,
    around: (life) =>
      watched(life, async (name, call) => {
        const now = at?.call === calls.push(name) - 1
        if (now && at.when === 'before') await act()
        const answer = await call()
        if (now && at.when === 'after') await act()
        return answer
      }),
  }
}

/** A worker of its own over the same store, e.g. one that is going to die. */
export function anotherWorker(test: TestEngine, around: (life: Lifecycle) => Lifecycle): Worker {
  return createWorker(around(test.life), {
    name: unique('worker'),
    concurrency: 32,
    log: () => undefined,
  })
}
