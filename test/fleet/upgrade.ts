import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import { census } from '../support/claims.ts'
import { eventually } from '../support/custody.ts'
import { treeFault } from './audit-tree.ts'
import type { Balancer, FailedCall } from './balancer.ts'
import { startBalancer } from './balancer.ts'
import type { Ground } from './ground.ts'
import { makeGround } from './ground.ts'
import { settled } from './rotations.ts'
import { askForKeys, startTraffic } from './traffic.ts'

const here = path.resolve(import.meta.dirname, '../..')
const keys = 20
const clients = 4
/** What the old version begins waits longer for its next step than both versions serve. */
const marginSeconds = 60
/** What an operator gives a balancer to hear that a replica was taken out of it. */
const takenOutMs = 1_000

export interface UpgradeOrder {
  /** The git ref of the version before. */
  readonly from: string
  readonly abrupt: boolean
  readonly liveSeconds: number
  readonly say: (line: string) => void
}

export interface UpgradeFigures {
  readonly calls: number
  readonly failed: readonly FailedCall[]
  readonly surprises: readonly string[]
  /** How many people a 2xx promised, and which of them are not as it said. */
  readonly promised: number
  readonly broken: readonly string[]
  /** Operations of before the first new replica that ended after the last old one. */
  readonly handedOver: number
  readonly withOneLiveKey: number
  readonly servedAndLive: number
  readonly tree: string | null
  /** Seconds between two slots that sweeps of each kind took, at most; null when fewer than two. */
  readonly sweepGap: number | null
  /** Sweeps of the old version that the new schema turned away. */
  readonly sweepsRefused: number
  /** What the old version says when it is started on the new schema. */
  readonly wayBack: { readonly code: number | null; readonly said: string }
  readonly seconds: number
}

interface Replica {
  readonly name: string
  readonly url: string
  readonly token: string
  readonly said: () => string
  /** SIGTERM, and the seconds until it was gone. */
  end(): Promise<number>
}

/** Replaces two replicas of an older version, one by one, under the traffic of a day. */
export async function runUpgrade(order: UpgradeOrder): Promise<UpgradeFigures> {
  const { say } = order
  const old = await checkOut(order.from)
  const ground = await makeGround(undefined, {
    version: old,
    // An overlap would wait for consumers to move, and there are none.
    overlap: 'PT0S',
    soak: `PT${order.liveSeconds + marginSeconds}S`,
  })
  const balancer = startBalancer()
  const children = new Set<ChildProcess>()
  const began = performance.now()
  const since = (): string => `${((performance.now() - began) / 1_000).toFixed(1)} s`
  const start = async (name: string, version: string): Promise<Replica> => {
    const replica = await serve(ground, { name, version, children })
    say(`${since()}: ${name} serves`)
    await balancer.add(name, replica.url)
    return replica
  }
  try {
    const a = await start('old-a', old)
    const b = await start('old-b', old)
    const rotate = await askForKeys(balancer, a.token, keys)
    await quiet(ground)
    const tokens = await Promise.all(
      Array.from({ length: clients }, async (_, i) => {
        const body = { name: `client ${i}`, role: 'admin' }
        return String((await balancer.send('POST', '/api/v1/clients', a.token, body))!.body.token)
      }),
    )
    const traffic = startTraffic(balancer, { tokens, rotate })
    await sleep(8_000)

    const firstNewAt = new Date().toISOString()
    const c = await start('new-c', here)
    await sleep(order.liveSeconds * 1_000)
    await endOld(a, { balancer, order, since })
    const d = await start('new-d', here)
    await sleep(4_000)
    await endOld(b, { balancer, order, since })
    const lastOldAt = new Date().toISOString()
    say(`${since()}: no old replica is left; ${balancer.failed.length} calls failed`)

    // From here on the new version replaces itself, by SIGTERM alone.
    const e = await start('new-e', here)
    const ending = await c.end()
    say(`${since()}: new-c took ${ending.toFixed(1)} s to end`)
    balancer.leave('new-c')
    await sleep(6_000)
    await traffic.stop()
    const handedOver = await handedOverBetween(ground, firstNewAt, lastOldAt)
    await quiet(ground)
    const broken = await traffic.check()
    await settled(ground)
    const wayBack = await tryToServe(ground, old)
    for (const replica of [d, e]) await replica.end()
    const store = await openStore({ url: ground.storeUrl, codec: documentCodec, readonly: true })
    const found = await census(store, ground.aws)
    const tree = await treeFault(store)
    await store.close()
    return {
      calls: balancer.calls(),
      failed: balancer.failed,
      surprises: traffic.surprises,
      promised: traffic.promised(),
      broken,
      handedOver,
      ...found,
      tree,
      sweepGap: await longestGap(ground),
      sweepsRefused: [a, b].reduce(
        (sum, r) => sum + r.said().split('start the newer').length - 1,
        0,
      ),
      wayBack,
      seconds: (performance.now() - began) / 1_000,
    }
  } finally {
    balancer.close()
    for (const child of children) child.kill('SIGKILL')
    await ground.close()
    await rm(old, { recursive: true, force: true })
  }
}

/** What is wrong with a run; null when nothing is. */
export function faultOf(f: UpgradeFigures): string | null {
  if (f.failed.length > 0) return `${f.failed.length} calls failed`
  if (f.surprises.length > 0) return 'an answer was not what was to be expected'
  if (f.broken.length > 0) return 'what a 2xx promised is not so'
  if (f.withOneLiveKey !== keys || f.servedAndLive !== keys)
    return 'a key is missing, or one too many'
  if (f.tree !== null) return `the audit tree: ${f.tree}`
  if (f.handedOver === 0)
    return 'no operation was begun by the old version and ended by the new one'
  if (f.wayBack.code === 0 || !/newer version/.test(f.wayBack.said)) {
    return 'the old version does not refuse the new schema'
  }
  return f.sweepGap !== null && f.sweepGap > 125 ? 'sweeps left out a slot' : null
}

/** The files of a version, with the packages that are installed here. */
async function checkOut(ref: string): Promise<string> {
  const at = await mkdtemp(path.join(tmpdir(), 'custody-version-'))
  const archive = execFileSync('git', ['archive', ref], { cwd: here, maxBuffer: 2 ** 28 })
  execFileSync('tar', ['-x', '-C', at], { input: archive })
  await symlink(path.join(here, 'node_modules'), path.join(at, 'node_modules'))
  return at
}

interface ServeOrder {
  readonly name: string
  readonly version: string
  readonly children: Set<ChildProcess>
}

function launch(ground: Ground, home: string, version: string): ChildProcess {
  const config = path.join(home, 'custody.yaml')
  const bin = path.join(version, 'bin', 'custody.js')
  return spawn(process.execPath, [bin, 'serve', '--config', config], {
    cwd: home,
    env: {
      ...process.env,
      CUSTODY_HOME: home,
      CUSTODY_LISTEN: '127.0.0.1:0',
      CUSTODY_STORE_URL: ground.storeUrl,
      CUSTODY_MASTER_KEY: ground.masterKey,
      CUSTODY_LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function serve(ground: Ground, { name, version, children }: ServeOrder): Promise<Replica> {
  const home = await ground.home(name)
  const child = launch(ground, home, version)
  children.add(child)
  const heard = listenTo(child)
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr!.on('data', () => {
      const ready = /^listening (\S+)$/m.exec(heard())
      if (ready) resolve(ready[1]!)
    })
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${heard()}`)))
  })
  const token = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  return {
    name,
    url,
    token,
    said: heard,
    async end() {
      const asked = performance.now()
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      await gone
      children.delete(child)
      return (performance.now() - asked) / 1_000
    },
  }
}

function listenTo(child: ChildProcess): () => string {
  let said = ''
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  }
  return () => said
}

/** A version that tells nobody that it ends is taken out of the balancer first. */
async function endOld(
  replica: Replica,
  at: { readonly balancer: Balancer; readonly order: UpgradeOrder; readonly since: () => string },
): Promise<void> {
  if (!at.order.abrupt) {
    at.balancer.leave(replica.name)
    await sleep(takenOutMs)
  }
  const seconds = await replica.end()
  if (at.order.abrupt) at.balancer.leave(replica.name)
  at.order.say(`${at.since()}: ${replica.name} took ${seconds.toFixed(1)} s to end`)
}

/** The old version on the new schema: it has to refuse, and to say why. */
async function tryToServe(
  ground: Ground,
  version: string,
): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = launch(ground, await ground.home('back'), version)
  const said = listenTo(child)
  const late = setTimeout(() => child.kill('SIGTERM'), 20_000)
  const [code] = (await once(child, 'exit')) as [number | null]
  clearTimeout(late)
  return { code, said: said().trim().slice(-300) }
}

async function quiet({ sql }: Ground): Promise<void> {
  const open = `select count(*) as n from operation
    where status in ('queued', 'running', 'waiting', 'needsOperator')`
  await eventually(
    async () => Number((await sql<{ n: string }>(open))[0]!.n),
    (n) => n === 0,
    240_000,
  )
}

/** Begun before one instant, and open or ended after the other. */
async function handedOverBetween({ sql }: Ground, begun: string, ended: string): Promise<number> {
  const [row] = await sql<{ n: string }>(
    `select count(*) as n from operation
      where created_at < $1 and (finished_at is null or finished_at > $2)`,
    [begun, ended],
  )
  return Number(row!.n)
}

async function longestGap({ sql }: Ground): Promise<number | null> {
  const [row] = await sql<{ gap: string | null }>(
    `select max(extract(epoch from at - before)) as gap from (
      select slot.at::timestamptz as at,
        lag(slot.at::timestamptz) over (partition by job order by slot.at) as before
      from slot where job in ('orphans', 'expiry', 'rotation')) as slots`,
  )
  return row?.gap == null ? null : Math.round(Number(row.gap))
}
