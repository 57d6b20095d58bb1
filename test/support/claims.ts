import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { awsSecrets } from '../../providers/aws-secrets/index.ts'
import { createIdSource, defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { Clock } from '../../src/domain/time.ts'
import { instantOf } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { Lifecycle } from '../../src/lifecycle/engine.ts'
import { callerOf, createEngine, createTokens, createWorker } from '../../src/lifecycle/engine.ts'
import { compileAuthorisation } from '../../src/policy/authorise.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import { openProviders } from '../../src/provider/registry.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { eventually } from './custody.ts'
import { makeClient } from './entities.ts'
import type { HeldAws } from './held-aws.ts'
import { startHeldAws } from './held-aws.ts'

const policies = path.resolve(import.meta.dirname, '../../policies')
const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const aMonthMs = 31 * 86_400_000

/** What a claiming process is told by its parent, through its environment. */
export interface ClaimOrder {
  readonly storeUrl: string
  readonly awsUrl: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** How far its clock runs ahead, in milliseconds. */
  readonly aheadMs: number
}

/** The machine's clock, so many milliseconds ahead. */
export function aheadBy(milliseconds: () => number): Clock {
  return { ...systemClock, now: () => instantOf(Date.now() + milliseconds()) }
}

/** The lifecycle floor over a database and an AWS; nothing waits between old and new key. */
export async function lifeOver(
  store: Store,
  clock: Clock,
  order: Omit<ClaimOrder, 'storeUrl' | 'aheadMs'>,
): Promise<Lifecycle> {
  const text = (await readFile(`${policies}/lifecycle.yaml`, 'utf8'))
    .replace('overlap: P7D', 'overlap: PT0S')
    .replace('soak: P7D', 'soak: PT0S')
  const policy = compileLifecycle(text, 'lifecycle.yaml')
  const authoriser = await compileAuthorisation(`${policies}/authorisation`)
  const pepper = Secret.of(randomBytes(32))
  const { accessKeyId, secretAccessKey, awsUrl } = order
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
        config: { ...connection, settle: 'PT0S', probe: { count: 1, every: 'PT0S' } },
      },
    ],
    sinks: [{ name: 'aws-secrets', type: 'aws-secrets', config: connection }],
    modules: { providers: [awsIam], sinks: [awsSecrets] },
    hostFor: (name) => ({
      name,
      clock,
      random: randomBytes,
      resolvePath: (file) => file,
      tokens: createTokens({ store, clock, policy: () => policy, pepper }).book,
      pepper,
    }),
  })
  return {
    store,
    clock,
    ids: createIdSource(clock, randomBytes),
    policy: () => policy,
    authoriser: () => authoriser,
    providers: plugins.providers,
    sinks: plugins.sinks,
    wake: () => undefined,
  }
}

export const claimer = callerOf(makeClient({ role: 'admin' }))
/** As `main` names its workers, so that a successor can tell the dead. */
export const workerName = (n: number): string => `${hostname()}/${process.pid}/${n}`

export interface ClaimFigures {
  readonly rotations: number
  readonly processes: number
  readonly kills: number
  readonly creates: number
  /** Deletions beyond the one old key of each rotation. */
  readonly compensations: number
  readonly withOneLiveKey: number
  readonly servedAndLive: number
  readonly seconds: number
}

/**
 * So many access keys fall due at once; several processes, each its own sweep and worker, have one
 * database between them. The provider counts.
 * @param options.storeUrl of an empty database; a SQLite file of its own when omitted
 * @param options.kills how many times one of the processes is killed, and replaced
 */
export async function claimDueRotations(options: {
  readonly rotations: number
  readonly processes: number
  readonly kills: number
  readonly storeUrl?: string
}): Promise<ClaimFigures> {
  const directory = await mkdtemp(path.join(tmpdir(), 'custody-claims-'))
  const storeUrl = options.storeUrl ?? `sqlite:${path.join(directory, 'custody.db')}`
  let ahead = 0
  const clock = aheadBy(() => ahead)
  const aws = await startHeldAws(clock)
  const store = await openStore({ url: storeUrl, codec: documentCodec })
  const children = new Set<ChildProcess>()
  try {
    const { accessKeyId, secretAccessKey } = aws.world.admin
    const keyPair = { awsUrl: aws.url, accessKeyId, secretAccessKey }
    await issueAll(await lifeOver(store, clock, keyPair), options.rotations)
    const issued = aws.succeeded('CreateAccessKey')

    ahead = aMonthMs
    const order: ClaimOrder = { ...keyPair, storeUrl, aheadMs: ahead }
    const start = (): void => {
      const child = fork(path.join(import.meta.dirname, 'claim-entry.ts'), {
        env: { ...process.env, CUSTODY_CLAIM: JSON.stringify(order) },
      })
      children.add(child)
    }
    const began = performance.now()
    for (let n = 0; n < options.processes; n++) start()
    for (let kill = 0; kill < options.kills; kill++) {
      // Spread over the work: one each time another part of it is done.
      const due = ((kill + 1) * options.rotations) / (options.kills + 1)
      await eventually(
        () => aws.succeeded('CreateAccessKey') - issued,
        (made) => made >= due,
        300_000,
      )
      const [victim] = children
      children.delete(victim!)
      victim!.kill('SIGKILL')
      await once(victim!, 'exit')
      start()
    }
    await eventually(
      () => openOrOld(store, aws, options.rotations),
      (open) => open === 0,
      Number(process.env['CLAIM_WAIT'] ?? 300_000),
    )
    const seconds = (performance.now() - began) / 1_000
    return {
      ...options,
      creates: aws.succeeded('CreateAccessKey') - issued,
      compensations: aws.succeeded('DeleteAccessKey') - options.rotations,
      ...(await census(store, aws)),
      seconds,
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await store.close()
    await aws.close()
    await rm(directory, { recursive: true, force: true })
  }
}

/** So many accounts of one owner, each with an access key. */
export async function issueAll(life: Lifecycle, count: number): Promise<void> {
  const engine = createEngine(life)
  const { person } = await engine.createPerson(claimer, {
    type: 'person',
    userName: 'owner',
    externalId: null,
    active: true,
    attributes: { schemas: [userSchema] },
  })
  for (let n = 0; n < count; n++) {
    await engine.requestAccount(claimer, {
      type: 'account',
      userName: `svc-${n}`,
      externalId: null,
      active: undefined,
      kind: 'workload',
      owner: { type: 'User', id: person.id },
      backupOwners: undefined,
      purpose: 'claims',
      environment: undefined,
      labels: undefined,
      expiresAt: undefined,
      protected: undefined,
      credentials: [
        {
          provider: 'aws-prod',
          kind: 'access-key',
          scopes: ['s3:GetObject on arn:aws:s3:::x/*'],
          deliverTo: { sink: 'aws-secrets', path: `svc-${n}` },
        },
      ],
      attributes: { schemas: [userSchema, nhiSchema] },
    })
  }
  const worker = createWorker(life, { name: workerName(0), concurrency: 32, log: () => undefined })
  await worker.drain()
  await worker.stop(0)
}

/** Operations that are not done, and credentials that are not rotated, the first of either. */
async function openOrOld(store: Store, aws: HeldAws, rotations: number): Promise<number> {
  if (aws.succeeded('DeleteAccessKey') < rotations) return rotations
  const open = await Promise.all(
    (['queued', 'running', 'waiting', 'needsOperator'] as const).map((status) =>
      store.read.operations({ tenant: defaultTenant, status, after: null, limit: 10 }),
    ),
  )
  return open.flat().length
}

/** How many credentials have one key that works, and serve it. */
export async function census(
  store: Store,
  { world }: HeldAws,
): Promise<{ withOneLiveKey: number; servedAndLive: number }> {
  const userOf = new Map(world.users().map((u) => [u.tags['custody:id'], u.userName]))
  let [withOneLiveKey, servedAndLive] = [0, 0]
  for (let after: string | null = null; ;) {
    const credentials = await store.read.credentialsAfter(defaultTenant, after, 200)
    for (const { account, keyId, generation, deliverTo } of credentials) {
      const keys = world.keysOf(userOf.get(account)!)
      const [only] = keys
      const isOne = keys.length === 1 && world.wouldAccept(only!.accessKeyId)
      if (isOne && only!.accessKeyId === keyId && generation > 1) withOneLiveKey += 1
      const text = world.secret(`custody/default/${deliverTo.path}`)?.current
      const served = (JSON.parse(text ?? '{}') as { readonly accessKeyId?: string }).accessKeyId
      if (served === keyId) servedAndLive += 1
    }
    after = credentials.at(-1)?.id ?? null
    if (credentials.length < 200) return { withOneLiveKey, servedAndLive }
  }
}
