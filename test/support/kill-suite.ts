import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { CommitPoint, Told } from './crash-entry.ts'
import type { Json } from './custody.ts'
import { eventually, nhiUrn, userUrn } from './custody.ts'
import type { CallFate, HeldAws } from './held-aws.ts'
import { callFates, startHeldAws } from './held-aws.ts'

const entry = path.join(import.meta.dirname, 'crash-entry.ts')
const policies = path.resolve(import.meta.dirname, '../../policies')

const flows = ['create', 'rotate', 'revoke'] as const
type Flow = (typeof flows)[number]
const kindOf: Readonly<Record<Flow, string>> = {
  create: 'issue',
  rotate: 'rotate',
  revoke: 'revoke',
}

interface Point {
  readonly flow: Flow
  readonly account: string
  readonly commit: CommitPoint | null
  readonly call: { readonly call: number; readonly fate: CallFate } | null
}

/** A server in a process of its own, as long as nobody kills it. */
interface Server {
  call(method: string, route: string, body?: unknown): Promise<Json>
  kill(): Promise<void>
}

/** Below what a worker takes on at once, so that everybody reaches his point. */
const pointsPerKill = 22
const heldWithinMs = 15_000

/**
 * Kills a server process before and after the commits of journal steps, and at each provider call
 * (not sent, failed, response lost), while a key is made, rotated or revoked. Many accounts are
 * brought to a point of their own each, and one SIGKILL ends them all; the next process finds what
 * they left. The judge is the provider.
 * @param stride every how many points are tried; 1 = all of them
 */
export function killSuite(stride: number, timeoutSeconds: number): void {
  describe('a server that is killed', () => {
    let home: string
    let aws: HeldAws
    let owner: string
    let foreign: string
    /** The journal as it is on disk, whoever is alive. */
    let journal: Store | null = null
    const commits = new Map<string, number>()
    const held = new Set<string>()

    beforeAll(async () => {
      home = await mkdtemp(path.join(tmpdir(), 'custody-kill-'))
      aws = await startHeldAws()
      aws.onHeld = (account) => void held.add(account)
      const call = (operation: string, input: Record<string, unknown>): Json =>
        aws.world.call({
          service: 'iam',
          operation,
          input,
          accessKeyId: aws.world.admin.accessKeyId,
          region: 'us-east-1',
        })
      call('CreateUser', { UserName: 'somebody-else' })
      foreign = call('CreateAccessKey', { UserName: 'somebody-else' }).AccessKey.AccessKeyId
      await configure()
    })
    afterAll(async () => {
      await journal?.close()
      await aws.close()
      await rm(home, { recursive: true, force: true })
    })

    async function configure(): Promise<void> {
      // Nothing waits: overlap and soak are over at once.
      const own = path.join(home, 'policies')
      await cp(policies, own, { recursive: true })
      const lifecycle = await readFile(path.join(policies, 'lifecycle.yaml'), 'utf8')
      await writeFile(
        path.join(own, 'lifecycle.yaml'),
        lifecycle.replace('overlap: P7D', 'overlap: PT0S').replace('soak: P7D', 'soak: PT0S'),
      )
      const { accessKeyId, secretAccessKey } = aws.world.admin
      const connection = {
        region: 'us-east-1',
        endpoint: aws.url,
        credentials: { accessKeyId, secretAccessKey },
      }
      const config = {
        policies: own,
        providers: [
          {
            name: 'aws-prod',
            type: 'aws-iam',
            config: { ...connection, settle: 'PT0S', probe: { count: 1, every: 'PT0S' } },
          },
        ],
        sinks: [{ name: 'aws-secrets', type: 'aws-secrets', config: connection }],
      }
      await writeFile(path.join(home, 'custody.yaml'), JSON.stringify(config))
    }

    const databaseUrl = (): string => `sqlite:${path.join(home, 'custody.db')}`

    async function start(points: readonly Point[]): Promise<Server> {
      const at = points.flatMap((p) => (p.commit === null ? [] : [[p.account, p.commit] as const]))
      const child = fork(entry, {
        cwd: home,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        env: {
          ...process.env,
          CUSTODY_HOME: home,
          CUSTODY_LISTEN: '127.0.0.1:0',
          CUSTODY_STORE_URL: databaseUrl(),
          CUSTODY_CRASH_CONFIG: path.join(home, 'custody.yaml'),
          CUSTODY_CRASH_AT: JSON.stringify(Object.fromEntries(at)),
        },
      })
      const ended = once(child, 'exit')
      const url = await new Promise<string>((resolve, reject) => {
        child.on('message', (told: Told) => {
          if (told.type === 'listening') resolve(told.url)
          if (told.type === 'held') held.add(told.account)
          if (told.type === 'commit') {
            const key = `${told.account} ${told.kind}`
            commits.set(key, (commits.get(key) ?? 0) + 1)
          }
        })
        child.on('exit', (code) => reject(new Error(`the server ended with ${code}`)))
      })
      const token = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
      return {
        async call(method, route, body) {
          const response = await fetch(`${url}${route}`, {
            method,
            headers: {
              authorization: `Bearer ${token}`,
              ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            },
            ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          })
          const text = await response.text()
          if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${text}`)
          return text === '' ? null : JSON.parse(text)
        },
        async kill() {
          child.kill('SIGKILL')
          await ended
        },
      }
    }

    const create = (server: Server, userName: string): Promise<Json> =>
      server.call('POST', '/scim/v2/Users', {
        schemas: [userUrn, nhiUrn],
        userName,
        [nhiUrn]: {
          kind: 'workload',
          owner: { value: owner },
          purpose: 'kill test',
          credentials: [
            {
              provider: 'aws-prod',
              kind: 'access-key',
              scopes: ['s3:GetObject on arn:aws:s3:::x/*'],
              deliverTo: `aws-secrets:${userName}`,
            },
          ],
        },
      })

    const credentials = async (): Promise<ReadonlyMap<string, Credential>> => {
      const found = new Map<string, Credential>()
      for (let after: string | null = null; ;) {
        const accounts = await journal!.read.accountsAfter(defaultTenant, after, 200)
        for (const { id, userName } of accounts) {
          const [credential] = await journal!.read.credentialsOf(defaultTenant, id)
          found.set(userName, credential!)
        }
        after = accounts.at(-1)?.id ?? null
        if (accounts.length < 200) return found
      }
    }

    /** Until nothing is open any more, nor asks for an operator. */
    const settled = (withinMs: number): Promise<readonly Json[]> =>
      eventually(
        async () => {
          const open = await Promise.all(
            (['queued', 'running', 'waiting', 'needsOperator'] as const).map((status) =>
              journal!.read.operations({ tenant: defaultTenant, status, after: null, limit: 20 }),
            ),
          )
          return open.flat()
        },
        (open) => open.length === 0,
        withinMs,
      )

    async function begin(
      server: Server,
      { flow, account }: Point,
      known: ReadonlyMap<string, Credential>,
    ): Promise<void> {
      if (flow === 'create') await create(server, account)
      else await server.call('POST', `/api/v1/credentials/${known.get(account)!.id}/${flow}`)
    }

    const liveKeys = (account: string): readonly string[] => {
      const user = aws.world.users().find((u) => u.userName.includes(account))
      const keys = user ? aws.world.keysOf(user.userName).map((k) => k.accessKeyId) : []
      return keys.filter((key) => aws.world.wouldAccept(key))
    }
    const served = (account: string): string | null => {
      const current = aws.world.secret(`custody/default/${account}`)?.current ?? null
      return current === null ? null : (JSON.parse(current) as { accessKeyId: string }).accessKeyId
    }

    /** What is not as it should be after a kill at the point; null = all is well. */
    function complaint({ flow, account, commit, call }: Point, found: Credential): string | null {
      const live = liveKeys(account)
      const current = served(account)
      const isRight =
        flow === 'revoke'
          ? live.length === 0 && found.status === 'revoked'
          : live.length === 1 &&
            live[0] === found.keyId &&
            current === found.keyId &&
            found.status === 'active' &&
            found.generation > (flow === 'rotate' ? 1 : 0)
      if (isRight) return null
      const where = commit
        ? `${commit.when} commit ${commit.commit}`
        : `${call!.fate}, ${call!.call}`
      return `${flow}, ${where}: ${found.status} ${found.keyId}, live ${live.join()}, served ${current}`
    }

    it(
      'at any point loses no key, leaks none, and touches no foreign one',
      async () => {
        let server = await start([])
        journal = await openStore({ url: databaseUrl(), codec: documentCodec, readonly: true })
        owner = (
          await server.call('POST', '/scim/v2/Users', { schemas: [userUrn], userName: 'owner' })
        ).id
        // A life without a kill counts the points.
        const sizes = new Map<Flow, { readonly calls: number; readonly commits: number }>()
        for (const flow of flows) {
          const account = `pilot-${flow === 'create' ? 'a' : 'b'}`
          if (flow === 'rotate') await create(server, account)
          await settled(10_000)
          aws.watch(account, null)
          const point = { flow, account, commit: null, call: null }
          await begin(server, point, await credentials())
          await settled(10_000)
          const made = commits.get(`${account} ${kindOf[flow]}`) ?? 0
          sizes.set(flow, { calls: aws.callsOf(account), commits: made })
        }
        const points = pointsOf(sizes).filter((_, i) => i % stride === 0)

        const old = points.filter(({ flow }) => flow !== 'create')
        await Promise.all(old.map(({ account }) => create(server, account)))
        await settled(60_000)
        let kills = 0
        // Spread, for a row of failures at one time would have the provider left in peace for a while.
        const batches = Math.ceil(points.length / pointsPerKill)
        for (let which = 0; which < batches; which++) {
          const batch = points.filter((_, i) => i % batches === which)
          await server.kill()
          aws.drop()
          held.clear()
          server = await start(batch)
          const known = await credentials()
          for (const { account, call } of batch) if (call !== null) aws.watch(account, call)
          await Promise.all(batch.map((point) => begin(server, point, known)))
          await eventually(
            () => batch.filter((p) => !held.has(p.account)),
            (missing) => missing.length === 0,
            heldWithinMs,
          )
          // Consumers of a planned rotation never read a key that does not work.
          const stranded = batch.filter(
            ({ flow, account }) =>
              flow === 'rotate' && !liveKeys(account).includes(served(account) ?? ''),
          )
          expect(stranded).toEqual([])
          kills += 1
        }
        await server.kill()
        aws.drop()
        server = await start([])
        await settled(30_000)
        const found = await credentials()
        await server.kill()

        const complaints = points.map((point) => complaint(point, found.get(point.account)!))
        expect(complaints.filter((c) => c !== null)).toEqual([])
        expect(aws.world.wouldAccept(foreign)).toBe(true)
        console.log(`killed at ${points.length} points (${kills + 1} kills), nothing lost`)
      },
      timeoutSeconds * 1_000,
    )
  })
}

function pointsOf(
  sizes: ReadonlyMap<Flow, { readonly calls: number; readonly commits: number }>,
): readonly Point[] {
  const points: Point[] = []
  const next = (flow: Flow): string => `${flow}-${String(points.length).padStart(4, '0')}`
  for (const [flow, { calls, commits }] of sizes) {
    for (let call = 0; call < calls; call++) {
      for (const fate of callFates) {
        points.push({ flow, account: next(flow), commit: null, call: { call, fate } })
      }
    }
    for (let commit = 0; commit < commits; commit++) {
      for (const when of ['before', 'after'] as const) {
        const at = { kind: kindOf[flow], commit, when }
        points.push({ flow, account: next(flow), commit: at, call: null })
      }
    }
  }
  return points
}
