import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccountWrite } from '../src/domain/want.ts'
import { defaultTenant } from '../src/domain/ids.ts'
import { loadConfig } from '../src/host/config.ts'
import { createLog } from '../src/host/log.ts'
import type { Caller } from '../src/lifecycle/engine.ts'
import { callerOf } from '../src/lifecycle/engine.ts'
import type { Running } from '../src/main.ts'
import { checkConfig, startCustody } from '../src/main.ts'
import type { Store } from '../src/store/store.ts'
import type { Figure } from './leaver.ts'
import type { Spread } from './measure.ts'
import { spread } from './measure.ts'
import type { Server } from './process.ts'
import { startServer } from './process.ts'

export interface RotationsOptions {
  /** Access keys that are rotated in one round. */
  readonly accounts: number
  /** With the limits of AWS every call waits its turn: fewer of them. */
  readonly throttled: number
  /** IAM users that a reconciliation goes through. */
  readonly users: number
  readonly rounds: number
  readonly only: readonly string[]
  readonly say: (text: string) => void
}

interface Calls {
  readonly admitted: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, number>>
}

interface Round {
  readonly perHour: number
  /** Processor time of Custody for one rotation, in ms, all threads. */
  readonly cpuMs: number
  readonly calls: Calls
}

/** How often one credential may be rotated at once before its write budget makes it wait. */
const roundsMost = 4

export async function runRotations(options: RotationsOptions): Promise<readonly Figure[]> {
  const { only, accounts, throttled, users, rounds } = options
  const wants = (part: string): boolean =>
    only.length === 0 || only.some((prefix) => part.startsWith(prefix))
  const figures: Figure[] = []
  if (wants('free')) {
    figures.push(
      ...rotationFigures(await rotate(accounts, rounds, false, options), accounts, 10_000),
    )
  }
  if (wants('throttled')) {
    const found = await rotate(throttled, 1, true, options)
    figures.push(...rotationFigures(found, throttled, null))
  }
  if (wants('reconcile')) figures.push(...(await reconcile(users, options)))
  return figures
}

function rotationFigures(
  rounds: readonly Round[],
  accounts: number,
  atLeast: number | null,
): readonly Figure[] {
  const of = (pick: (round: Round) => number): Spread => spread(rounds.map(pick))
  const total = (counts: Calls['admitted'], service: RegExp): number =>
    Object.entries(counts).reduce((sum, [name, n]) => (service.test(name) ? sum + n : sum), 0)
  const each = (service: RegExp) => of((r) => total(r.calls.admitted, service) / accounts)
  const how = atLeast === null ? 'under limits' : 'without limits'
  return [
    {
      name: `rotations of ${accounts} keys, ${how}`,
      unit: '/h',
      value: of((r) => r.perHour),
      ...(atLeast === null ? {} : { atLeast }),
    },
    { name: '… processor time for one', unit: 'ms', value: of((r) => r.cpuMs) },
    { name: '… calls for one', unit: '', value: each(/./) },
    { name: '… of them writes to IAM', unit: '', value: each(iamWrites) },
    { name: '… of them counted writes to Secrets Manager', unit: '', value: each(secretWrites) },
    {
      name: '… calls refused for one',
      unit: '',
      value: of((r) => total(r.calls.refused, /./) / accounts),
    },
  ]
}

const iamWrites =
  /^(Create|Put|Delete|Tag|Untag|Update|Attach|Detach)[A-Za-z]*(User|Key|Policy)\w*$/
const secretWrites = /^(PutSecretValue|UpdateSecretVersionStage)$/

async function rotate(
  accounts: number,
  rounds: number,
  isThrottled: boolean,
  { say }: RotationsOptions,
): Promise<readonly Round[]> {
  return withCustody([], async ({ custody, sandbox, ended }) => {
    const { engine } = custody
    const admin = await adminOf(custody)
    const owner = await personOf(custody, admin)
    const credentials: string[] = []
    for (let i = 0; i < accounts; i++) {
      const { account } = await engine.requestAccount(admin, accountOf(i, owner))
      const [made] = await engine.life.store.read.credentialsOf(defaultTenant, account.id)
      credentials.push(made!.id)
    }
    await allActive(custody, owner, accounts)
    say(`${accounts} accounts with a key each are there`)
    if (isThrottled) process.kill(sandbox.pid, 'SIGUSR1')
    const found: Round[] = []
    for (let round = 0; round < Math.min(rounds, roundsMost); round++) {
      await callsOf(sandbox)
      ended.count = 0
      const cpu = process.cpuUsage()
      const since = performance.now()
      for (const id of credentials) await engine.rotateCredential(admin, id)
      while (ended.count < accounts) {
        if (performance.now() - since > 1_800_000)
          throw new Error('rotations take over half an hour')
        await sleep(20)
      }
      const seconds = (performance.now() - since) / 1_000
      const { user, system } = process.cpuUsage(cpu)
      const calls = await callsOf(sandbox)
      found.push({
        perHour: (accounts / seconds) * 3_600,
        cpuMs: (user + system) / 1_000 / accounts,
        calls,
      })
      say(`${accounts} rotated in ${seconds.toFixed(1)} s: ${JSON.stringify(calls)}`)
      await allRotated(custody)
    }
    return found
  })
}

async function reconcile(users: number, { say }: RotationsOptions): Promise<readonly Figure[]> {
  return withCustody([String(users)], async ({ custody, sandbox }) => {
    const { engine } = custody
    const admin = await adminOf(custody)
    process.kill(sandbox.pid, 'SIGUSR1')
    await callsOf(sandbox)
    const since = performance.now()
    await engine.runSweep(admin, 'reconcile')
    const { read } = engine.life.store
    let last = (await read.operations({ tenant: defaultTenant, after: null, limit: 1 }))[0]
    while (last?.finishedAt == null) {
      await sleep(500)
      last = (await read.operations({ tenant: defaultTenant, after: null, limit: 1 }))[0]
      if (performance.now() - since > 1_800_000) throw new Error('it takes over half an hour')
    }
    const seconds = (performance.now() - since) / 1_000
    const { refused } = await callsOf(sandbox)
    say(`reconciliation of ${users} users: ${last.status}; refused ${JSON.stringify(refused)}`)
    const of = (value: number): Spread => spread([value])
    const throttles = Object.values(refused).reduce((sum, n) => sum + n, 0)
    return [
      { name: `reconciliation of ${users} users under limits`, unit: 's', value: of(seconds) },
      { name: '… calls refused', unit: '', value: of(throttles) },
      {
        name: '… failed runs',
        unit: '',
        value: of(last.status === 'succeeded' ? 0 : 1),
        atMost: 0,
      },
    ]
  })
}

interface Bench {
  readonly custody: Running
  readonly sandbox: Server
  /** Old keys deleted so far: the end of a rotation. */
  readonly ended: { count: number }
}

async function withCustody<T>(
  args: readonly string[],
  run: (bench: Bench) => Promise<T>,
): Promise<T> {
  const sandbox = await startServer('sandbox.ts', args)
  const home = await mkdtemp(path.join(tmpdir(), 'custody-bench-rotations-'))
  const ended = { count: 0 }
  let custody: Running | null = null
  try {
    const file = path.join(home, 'custody.yaml')
    await writeFile(file, await configOf(sandbox.url, home), { mode: 0o600 })
    const config = await loadConfig({ env: { CUSTODY_HOME: home }, cwd: home, file }, checkConfig)
    custody = await startCustody({
      config,
      roles: ['worker'],
      log: createLog({ level: 'error', write: () => undefined }),
      store: (store) => counting(store, ended),
    })
    return await run({ custody, sandbox, ended })
  } finally {
    await custody?.close()
    await sandbox.stop()
    await rm(home, { recursive: true, force: true })
  }
}

function counting(store: Store, ended: { count: number }): Store {
  return {
    ...store,
    commit: async (changes) => {
      const result = await store.commit(changes)
      if (result !== 'saved') return result
      for (const change of changes) {
        if (change.type === 'key' && change.key.status === 'revoked') ended.count += 1
      }
      return result
    },
  }
}

async function callsOf(sandbox: Server): Promise<Calls> {
  const lines = createInterface({ input: sandbox.stdout })
  process.kill(sandbox.pid, 'SIGUSR2')
  for (;;) {
    const [line] = (await once(lines, 'line')) as [string]
    if (!line.startsWith('calls ')) continue
    lines.close()
    return JSON.parse(line.slice(6)) as Calls
  }
}

async function adminOf({ engine }: Running): Promise<Caller> {
  const [client] = await engine.life.store.read.clients(defaultTenant)
  return callerOf(client!)
}

async function personOf({ engine }: Running, admin: Caller): Promise<string> {
  const { person } = await engine.createPerson(admin, {
    type: 'person',
    userName: 'owner@bench.example',
    externalId: null,
    active: true,
    attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'] },
  })
  return person.id
}

async function allActive({ engine }: Running, owner: string, count: number): Promise<void> {
  const { read } = engine.life.store
  for (;;) {
    const rows = await read.accountsOwnedBy(defaultTenant, owner, null, 10_000)
    if (rows.length === count && rows.every((row) => row.status === 'active')) return
    await sleep(200)
  }
}

/** An operation ends a moment after the key it deleted. */
async function allRotated({ engine }: Running): Promise<void> {
  const { read } = engine.life.store
  while ((await read.nextRunAt()) !== null) await sleep(20)
}

function accountOf(index: number, owner: string): AccountWrite {
  const name = `svc-${String(index).padStart(5, '0')}`
  return {
    type: 'account',
    userName: name,
    externalId: null,
    active: undefined,
    kind: 'serviceAccount',
    owner: { type: 'User', id: owner },
    backupOwners: undefined,
    purpose: 'bench',
    environment: undefined,
    labels: undefined,
    expiresAt: undefined,
    protected: undefined,
    credentials: [
      {
        provider: 'aws',
        kind: 'access-key',
        scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
        deliverTo: { sink: 'secrets', path: name },
      },
    ],
    attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'] },
  }
}

/** Rotations whose old key ends at once: no time passes that is not work. */
async function configOf(sandbox: string, home: string): Promise<string> {
  const policies = path.join(home, 'policies')
  await cp(path.resolve(import.meta.dirname, '..', 'policies'), policies, { recursive: true })
  const rules = path.join(policies, 'lifecycle.yaml')
  const text = await readFile(rules, 'utf8')
  await writeFile(
    rules,
    text.replace('overlap: P7D', 'overlap: PT0S').replace('soak: P7D', 'soak: PT0S'),
  )
  const [endpoint, credentials] = sandbox.split('#') as [string, string]
  const [accessKeyId, secretAccessKey] = credentials.split(':') as [string, string]
  const connection = `region: us-east-1, endpoint: "${endpoint}", credentials: { accessKeyId: "${accessKeyId}", secretAccessKey: "${secretAccessKey}" }`
  return `policies: ${JSON.stringify(policies)}
providers:
  - { name: aws, type: aws-iam, config: { ${connection}, settle: PT0S, probe: { count: 1, every: PT0S } } }
sinks:
  - { name: secrets, type: aws-secrets, config: { ${connection}, namePrefix: custody/ } }
`
}
