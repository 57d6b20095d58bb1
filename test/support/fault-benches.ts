import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { awsSecrets } from '../../providers/aws-secrets/index.ts'
import { githubActions } from '../../providers/github-actions/index.ts'
import { github } from '../../providers/github/index.ts'
import type { CredentialKind } from '../../src/domain/credential.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext, Provider, SecretSink, SinkTarget } from '../../src/provider/contract.ts'
import { AwsWorld } from '../../src/sandbox/aws.ts'
import { Faults } from '../../src/sandbox/faults.ts'
import { generateAppKey, GithubWorld } from '../../src/sandbox/github.ts'
import { callWith, wantCredential, wantPrincipal } from '../conformance/provider.ts'
import { sinkTarget } from '../conformance/sink.ts'
import { awsUrl, githubUrl } from '../simulation/wire-services.ts'
import type { Bench, Scene } from './fault-matrix.ts'
import { faultyTransport } from './fault-matrix.ts'
import { ManualClock } from './manual-clock.ts'

const appKey = generateAppKey()

function openWorlds() {
  const clock = new ManualClock()
  const folder = mkdtempSync(path.join(tmpdir(), 'custody-faults-'))
  writeFileSync(path.join(folder, 'app.pem'), appKey, { mode: 0o600 })
  const worlds = {
    aws: new AwsWorld({ clock }),
    github: new GithubWorld({ clock, privateKeyPem: appKey, rateLimit: 1_000_000 }),
  }
  const faults = new Faults()
  const calls: string[] = []
  const aws = { region: 'eu-central-1', endpoint: awsUrl, credentials: worlds.aws.admin }
  const app = {
    baseUrl: githubUrl,
    appId: worlds.github.app.id,
    installationId: worlds.github.app.installationId,
    privateKeyFile: 'app.pem',
    settle: 'PT0S',
  }
  const host: HostContext = {
    name: 'under-faults',
    clock,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    resolvePath: (file) => path.join(folder, file),
    tokens: null as never,
    pepper: Secret.ofText('unused'),
    transport: faultyTransport(worlds, faults, calls),
    peer: () => ({ type: 'github', config: app }),
  }
  const rest = (): void => clock.advance(120)
  return { clock, worlds, faults, calls, aws, app, host, rest, folder }
}

type Opened = ReturnType<typeof openWorlds>

const scopesOf: Readonly<Partial<Record<CredentialKind, readonly string[]>>> = {
  'deploy-key': ['repo:acme/website'],
  'app-token': ['repository:acme/website', 'permission:contents=read'],
}

function providerScenes(
  opened: Opened,
  provider: () => Provider,
  kind: CredentialKind,
  truthOf: (account: string, external: string) => unknown,
): Bench['scenes'] {
  const { clock } = opened
  const abilities = () => provider().capabilities[kind]!

  async function stage() {
    const want = wantPrincipal(clock)
    const { external } = await provider().ensurePrincipal(want, callWith())
    return { want, external, truth: () => truthOf(want.account, external) }
  }
  async function issued() {
    const place = await stage()
    const base = wantCredential(place.want, kind, clock, { scopes: scopesOf[kind] ?? [] })
    const prepared = abilities().mint === 'client' ? provider().prepare!(base) : null
    const want = { ...base, publicPart: prepared?.publicPart ?? null }
    const key = await provider().issue(place.external, want, callWith())
    const secret = (key.secret ?? prepared?.secret)!
    const secrets = [secret.use((bytes) => bytes.toString('utf8'))]
    return {
      ...place,
      credential: { ...want, keyId: key.keyId },
      keyId: key.keyId,
      secret,
      secrets,
    }
  }
  const onKey =
    (run: (made: Awaited<ReturnType<typeof issued>>) => Promise<unknown>, single = true) =>
    async (): Promise<Scene> => {
      const made = await issued()
      const { truth, secrets } = made
      return { run: () => run(made), truth, secrets, ...(single ? { isSingle: true } : {}) }
    }

  /** From one inline policy and one managed to another of each, so that every sort of write is made. */
  async function rescoped(): Promise<Scene> {
    const place = await stage()
    const before = ['s3:GetObject', 'policy:arn:aws:iam::aws:policy/ReadOnlyAccess']
    const scopes = ['s3:ListBucket', 'policy:arn:aws:iam::aws:policy/SecurityAudit']
    const base = wantCredential(place.want, kind, clock, { scopes: before })
    const { keyId } = await provider().issue(place.external, base, callWith())
    const want = { ...base, keyId, scopes, before }
    return { run: () => provider().rescope!(place.external, want, callWith()), truth: place.truth }
  }

  return {
    ensurePrincipal: async () => {
      const want = wantPrincipal(clock)
      const run = () => provider().ensurePrincipal(want, callWith())
      return { run, truth: () => truthOf(want.account, '') }
    },
    issue: async () => {
      const { want, external, truth } = await stage()
      const base = wantCredential(want, kind, clock, { scopes: scopesOf[kind] ?? [] })
      const prepared = abilities().mint === 'client' ? provider().prepare!(base) : null
      const wanted = { ...base, publicPart: prepared?.publicPart ?? null }
      return {
        run: () => provider().issue(external, wanted, callWith()),
        truth,
        isSingle: true,
        // As the engine does: what the listing shows, and nobody journalled, is removed first.
        async recover() {
          if (abilities().mint !== 'server' || !abilities().canList) return
          const { items } = await provider().list(external, callWith())
          for (const { keyId } of items) await provider().revoke(external, keyId, callWith())
        },
      }
    },
    list: onKey(({ external }) => provider().list(external, callWith())),
    probe: onKey(({ secret }) => provider().probe(secret, kind, callWith())),
    ...(abilities().canDisable
      ? {
          disable: onKey(({ external, keyId }) => provider().disable(external, keyId, callWith())),
          enable: async () => {
            const made = await issued()
            await provider().disable(made.external, made.keyId, callWith())
            const run = () => provider().enable(made.external, made.keyId, callWith())
            return { run, truth: made.truth, secrets: made.secrets, isSingle: true }
          },
        }
      : {}),
    // Switched off before it is deleted, where a provider can: two effects.
    revoke: onKey(
      ({ external, keyId, secret }) =>
        provider().revoke(external, keyId, callWith(), abilities().keepsSecret ? secret : null),
      false,
    ),
    ...(provider().driftOf
      ? {
          driftOf: onKey(({ external, credential }) =>
            provider().driftOf!(external, [credential], callWith()),
          ),
        }
      : {}),
    ...(provider().driftPage
      ? {
          driftPage: onKey(({ external, credential }) => {
            const wanted = new Map([[external, [credential]]])
            return provider().driftPage!(null, () => Promise.resolve(wanted), callWith())
          }),
        }
      : {}),
    ...(provider().revertDrift
      ? {
          // What is granted by now is not attached yet: that is put back.
          revertDrift: onKey(({ external, credential }) => {
            const name = 'arn:aws:iam::aws:policy/SecurityAudit'
            const want = [{ ...credential, scopes: [`policy:${name}`] }]
            const texts = { granted: name, actual: null, reach: 'less' } as const
            const drift = { what: 'attachedPolicy', name, keyId: null, ...texts }
            return provider().revertDrift!(external, want, drift, callWith())
          }),
        }
      : {}),
    ...(abilities().canRescope === 'inPlace' ? { rescope: () => rescoped() } : {}),
    shutOff: onKey(({ external }) => provider().shutOff(external, callWith())),
    turnOn: async () => {
      const made = await issued()
      await provider().shutOff(made.external, callWith())
      const run = () => provider().turnOn(made.external, callWith())
      return { run, truth: made.truth, secrets: made.secrets }
    },
    deletePrincipal: onKey(
      ({ external }) => provider().deletePrincipal(external, callWith()),
      false,
    ),
    ...walks(provider),
  }
}

/** What looks at everything there, whatever the kind. */
function walks(provider: () => Provider): Bench['scenes'] {
  const p = provider()
  const walk = (run: () => Promise<unknown>, more: object = {}) => ({
    run,
    truth: () => 'reads only',
    ...more,
  })
  return {
    ...(p.inventory
      ? { inventory: async () => walk(() => provider().inventory!(null, callWith())) }
      : {}),
    ...(p.discover
      ? { discover: async () => walk(() => provider().discover!(null, callWith())) }
      : {}),
    ...(p.check
      ? { check: async () => walk(() => provider().check!(callWith()), { reports: true }) }
      : {}),
  }
}

function sinkScenes(
  sink: () => SecretSink,
  pathOf: () => string,
  truthOf: (target: SinkTarget) => unknown,
): Bench['scenes'] {
  const text = `canary-${randomUUID()}`
  const secret = () => Secret.ofText(text)
  const scene =
    (prepare: (target: SinkTarget) => Promise<() => Promise<unknown>>, more: Partial<Scene> = {}) =>
    async (): Promise<Scene> => {
      const target = sinkTarget(pathOf())
      const run = await prepare(target)
      return { run, truth: () => truthOf(target), secrets: [text], ...more }
    }
  const one = async (target: SinkTarget) => {
    const version = await sink().deliver(target, secret(), callWith())
    await sink().promote(target, version, null, callWith())
    return version
  }
  return {
    check: scene(async (target) => () => sink().check(target, callWith())),
    deliver: scene(async (target) => {
      const key = randomUUID()
      return () => sink().deliver(target, secret(), callWith({ key }))
    }),
    promote: scene(async (target) => {
      const from = await one(target)
      const version = await sink().deliver(target, secret(), callWith())
      return () => sink().promote(target, version, from, callWith())
    }),
    find: scene(async (target) => {
      const key = randomUUID()
      await sink().deliver(target, secret(), callWith({ key }))
      return () => sink().find(target, key, callWith())
    }),
    read: scene(async (target) => {
      const version = await one(target)
      return () => sink().read(target, version, callWith())
    }),
    current: scene(async (target) => {
      await one(target)
      return () => sink().current!(target, callWith())
    }),
    discard: scene(async (target) => {
      await one(target)
      const version = await sink().deliver(target, secret(), callWith())
      return () => sink().discard(target, version, callWith())
    }),
    remove: scene(async (target) => {
      await one(target)
      return () => sink().remove(target, callWith())
    }),
    ...(sink().examine
      ? { examine: scene(async () => () => sink().examine!(callWith()), { reports: true }) }
      : {}),
  }
}

function bench(opened: Opened, plugin: { close(): Promise<void> }, scenes: Bench['scenes']): Bench {
  const { faults, calls, rest, folder } = opened
  return {
    faults,
    calls,
    rest,
    scenes,
    async close() {
      faults.release()
      await plugin.close()
      rmSync(folder, { recursive: true })
    },
  }
}

function iamBench(): Bench {
  const opened = openWorlds()
  const { worlds, aws, host } = opened
  const probe = { count: 1, every: 'PT0S' }
  const allowedPolicies = ['ReadOnlyAccess', 'SecurityAudit'].map(
    (n) => `arn:aws:iam::aws:policy/${n}`,
  )
  const provider = awsIam.create(host, { ...aws, settle: 'PT0S', probe, allowedPolicies })
  const truthOf = (account: string) =>
    worlds.aws
      .users()
      .filter(({ tags }) => Object.values(tags).includes(account))
      .map((user) => ({
        policies: Object.keys(user.inlinePolicies),
        attached: user.attachedPolicies,
        boundary: user.boundary !== null,
        keys: worlds.aws.keysOf(user.userName).map((key) => key.status),
      }))
  return bench(
    opened,
    provider,
    providerScenes(opened, () => provider, 'access-key', truthOf),
  )
}

function githubBench(kind: 'deploy-key' | 'app-token'): Bench {
  const opened = openWorlds()
  const { worlds, app, host } = opened
  const provider = github.create(host, app)
  const truthOf = (account: string) =>
    kind === 'deploy-key'
      ? worlds.github.deployKeys('acme', 'website').filter((k) => k.title.includes(account)).length
      : 'leases'
  const scenes = providerScenes(opened, () => provider, kind, truthOf)
  if (kind === 'deploy-key') return bench(opened, provider, scenes)
  const unrevoked = () =>
    worlds.github
      .installationTokens()
      .filter((t) => 'contents' in t.permissions && t.revokedAt === null).length
  // A token that got lost lives out its lease: counted are those that a revocation ends.
  const { revoke, ...others } = scenes
  const counted = async (): Promise<Scene> => {
    const scene = await revoke!()
    const before = unrevoked()
    return { ...scene, truth: () => unrevoked() - before }
  }
  return bench(opened, provider, { ...others, revoke: counted })
}

function secretsBench(): Bench {
  const opened = openWorlds()
  const { worlds, aws, host } = opened
  const sink = awsSecrets.create(host, aws)
  const truthOf = (target: SinkTarget) => {
    const secret = worlds.aws.secret(`custody/${target.tenant}/${target.path}`)
    if (!secret) return null
    return {
      isGoing: secret.deleteAt !== null,
      labels: Object.values(secret.stages).map((labels) => labels.length),
    }
  }
  const scenes = sinkScenes(
    () => sink,
    () => `svc/${randomUUID()}`,
    truthOf,
  )
  return bench(opened, sink, scenes)
}

function actionsBench(): Bench {
  const opened = openWorlds()
  const { worlds, host } = opened
  const sink = githubActions.create(host, { provider: 'github' })
  const { actions } = worlds.github.findRepository('acme', 'website')!
  const truthOf = (target: SinkTarget) => {
    const name = target.path.split('/').at(-1)!
    const own = [...actions.secrets.keys()].filter((n) => n.startsWith(name))
    return own.map((n) => n.slice(name.length).replaceAll(/[0-9A-F]{12}/g, 'x')).sort()
  }
  const pathOf = () => `acme/website/K${randomUUID().replaceAll('-', '').toUpperCase()}`
  return bench(
    opened,
    sink,
    sinkScenes(() => sink, pathOf, truthOf),
  )
}

/** Each provider and sink that speaks to somebody over a wire. */
export const benches: Readonly<Record<string, () => Bench>> = {
  'aws-iam': iamBench,
  'github deploy-key': () => githubBench('deploy-key'),
  'github app-token': () => githubBench('app-token'),
  'aws-secrets': secretsBench,
  'github-actions': actionsBench,
}
