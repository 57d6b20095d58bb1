import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ground, Replica } from '../fleet/ground.ts'
import type { BadNetwork } from '../support/bad-network.ts'
import { eventually } from '../support/custody.ts'
import { account, Load, patch, person, rotation } from './load.ts'
import type { Server } from './server.ts'
import { role } from './server.ts'

export interface Scene {
  readonly server: Server
  readonly network: BadNetwork
  readonly ground: Ground
  readonly replica: Replica
  /** Others on the same database, of which the day may take one. */
  readonly others: readonly Replica[]
}
export interface Day {
  readonly name: string
  /** What /readyz has to say meanwhile; null when it may go on saying that all is well. */
  readonly reason: RegExp | null
  /** Brings the trouble about, lets it last, and ends it. */
  readonly trouble: (scene: Scene) => Promise<void>
}
export interface Report {
  readonly anomalies: readonly string[]
  readonly figures: Readonly<Record<string, unknown>>
}

const everyMs = 200
/** So soon it has to say so, and be well again. */
const noticedMs = 10_000
const recoveredMs = 30_000
const linesMax = 60

/** Clients before, during and after; then everything is counted. */
export async function runDay(scene: Scene, day: Day, nth: number): Promise<Report> {
  const { server, ground, replica } = scene
  const load = new Load(replica)
  const { anomalies } = load
  const before = await prepare(load, scene, nth)
  const linesBefore = linesOf(replica).length

  const asked: Promise<unknown>[] = []
  const patches = [...before.people]
  const rotations = [...before.credentials]
  let isOver = false
  const clients = (async () => {
    for (let i = 0; !isOver || i < 10; i++) {
      asked.push(load.ask(person(`day${nth}-during-${i}`)))
      const next = patches.pop()
      if (next) asked.push(load.ask(patch(next.id, next.name)))
      if (i % 4 === 1) asked.push(load.ask(account(`svc${nth}-during-${i}`, before.owner)))
      const credential = i % 3 === 0 ? rotations.pop() : undefined
      if (credential) asked.push(load.ask(rotation(credential)))
      await sleep(everyMs)
    }
  })()
  let reasons = new Set<string>()
  let noticedAt: number | null = null
  const began = performance.now()
  const watching = (async () => {
    while (!isOver) {
      const { status, text } = await load.get('/readyz').catch((error: unknown) => ({
        status: 0,
        text: String(error),
      }))
      if (status === 503) {
        noticedAt ??= performance.now() - began
        reasons.add(text)
        load.judgeWords(text)
      }
      await sleep(everyMs)
    }
  })()
  await day.trouble(scene)
  const ended = performance.now()
  const isReady = async (): Promise<boolean> =>
    (await load.get('/readyz').catch(() => ({ status: 0 }))).status === 200
  const recovered = await eventually(isReady, (ready) => ready, recoveredMs).catch(() => false)
  const backAfterMs = Math.round(performance.now() - ended)
  if (!recovered) anomalies.push(`/readyz is not 200 ${recoveredMs} ms afterwards`)
  // And some more, of a day like any other.
  await sleep(5 * everyMs)
  isOver = true
  await Promise.all([clients, watching])
  await Promise.all(asked)
  if (day.reason !== null) {
    if (noticedAt === null || noticedAt > noticedMs)
      anomalies.push(`/readyz noticed after ${noticedAt ?? 'never'} ms`)
    if (![...reasons].some((text) => day.reason!.test(text)))
      anomalies.push(`/readyz never said why: ${[...reasons].join(' ')}`)
  }
  const refused = load.failed.length
  await load.repeatFailed()
  await settle(scene, anomalies)
  await judge(scene, load)
  const lines = linesOf(replica).slice(linesBefore)
  const own = lines.filter((line) => !line.includes('"msg":"request"'))
  if (own.length > linesMax) anomalies.push(`${own.length} log lines: ${own.slice(-3).join('')}`)
  if (replica.child.exitCode !== null) anomalies.push('the replica ended')
  if (lines.some((line) => /unhandled/i.test(line))) anomalies.push('an unhandled rejection')
  const [pool] = await server.administer<{ n: string; stuck: string }>(
    `select count(*) as n, count(*) filter (where state like 'idle in transaction%'
      and state_change < now() - interval '5 seconds') as stuck
      from pg_stat_activity where usename = '${role}'`,
  )
  const connectionsMax = 24 * (1 + scene.others.length)
  if (Number(pool!.n) > connectionsMax || Number(pool!.stuck) > 0)
    anomalies.push(`connections: ${JSON.stringify(pool)}`)
  reasons = new Set([...reasons].map((text) => reasonIn(text)))
  return {
    anomalies,
    figures: {
      asked: asked.length,
      refused,
      statuses: Object.fromEntries(load.statuses),
      slowestMs: Math.round(load.slowestMs),
      noticedMs: noticedAt === null ? null : Math.round(noticedAt),
      backAfterMs,
      reasons: [...reasons],
      lines: own.length,
      creates: ground.aws.succeeded('CreateAccessKey'),
    },
  }
}

function reasonIn(text: string): string {
  return (JSON.parse(text) as { detail?: string }).detail ?? text
}

function linesOf({ log }: Replica): readonly string[] {
  return existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []
}

async function prepare(load: Load, scene: Scene, nth: number) {
  const people: { id: string; name: string }[] = []
  for (let i = 0; i < 8; i++) {
    const name = `day${nth}-before-${i}`
    const { text } = await load.ask(person(name))
    people.push({ id: (JSON.parse(text) as { id: string }).id, name })
  }
  const owner = people.shift()!.id
  for (let i = 0; i < 4; i++) await load.ask(account(`svc${nth}-before-${i}`, owner))
  await settle(scene, load.anomalies)
  const rows = await inDatabase<{ id: string }>(
    scene,
    `select c.id from credential c join resource r on r.tenant = c.tenant and r.id = c.account
      where r.user_name like 'svc${nth}-before-%'`,
  )
  return { owner, people, credentials: rows.map(({ id }) => id) }
}

export async function inDatabase<T extends object>(
  { server }: Pick<Scene, 'server'>,
  text: string,
): Promise<readonly T[]> {
  const { Client } = await import('pg')
  const url = new URL(server.superuserUrl())
  url.pathname = '/days'
  const client = new Client({ connectionString: url.href })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<T>(text)).rows
  } finally {
    await client.end()
  }
}

const openKinds = `status in ('queued', 'running', 'waiting', 'needsOperator')`

/** Until nothing is open; a worker that died holds its lease for a minute. */
async function settle(scene: Scene, anomalies: string[]): Promise<void> {
  const open = () =>
    inDatabase<{ kind: string; status: string; step: string }>(
      scene,
      `select kind, status, cursor as step from operation where ${openKinds}`,
    )
  await eventually(open, (rows) => rows.length === 0, 100_000).catch((error: unknown) => {
    anomalies.push(`an operation hangs: ${String(error).slice(0, 300)}`)
  })
}

/** What clients were told is what is there, and AWS has one live key for each credential. */
async function judge(scene: Scene, load: Load): Promise<void> {
  const { ground } = scene
  const { anomalies, done } = load
  const names = await inDatabase<{ name: string; display: string | null; n: string }>(
    scene,
    `select user_name as name, max(doc::jsonb ->> 'displayName') as display, count(*) as n
      from resource where user_name is not null group by user_name`,
  )
  const found = new Map(names.map((row) => [row.name, row]))
  for (const { what, name } of done) {
    const row = found.get(name)
    if (what === 'person' || what === 'account') {
      if (Number(row?.n ?? 0) !== 1) anomalies.push(`${what} ${name} is there ${row?.n ?? 0} times`)
    } else if (what === 'patch' && row?.display !== `patched ${name}`) {
      anomalies.push(`the patch of ${name} is lost: ${row?.display}`)
    }
  }
  const credentials = Number(
    (await inDatabase<{ n: string }>(scene, 'select count(*) as n from credential'))[0]!.n,
  )
  const creates = ground.aws.succeeded('CreateAccessKey')
  const deletes = ground.aws.succeeded('DeleteAccessKey')
  const users = ground.aws.world.users()
  const live = users.map(({ userName }) => ground.aws.world.keysOf(userName).length)
  const odd = live.filter((n) => n !== 1).length
  if (users.length !== credentials || odd > 0)
    anomalies.push(
      `${credentials} credentials, ${users.length} users at AWS, ${odd} without one key`,
    )
  if (creates - deletes !== credentials)
    anomalies.push(`${creates} created less ${deletes} deleted is not ${credentials}`)
  const rotated = done.filter(({ what }) => what === 'rotation').map(({ name }) => `'${name}'`)
  if (rotated.length === 0) return
  const twice = await inDatabase<{ credential: string; n: string }>(
    scene,
    `select subject as credential, count(*) as n from operation where kind = 'rotate'
      and subject in (${rotated.join(', ')}) group by subject`,
  )
  if (twice.length !== rotated.length || twice.some(({ n }) => n !== '1'))
    anomalies.push(`rotations: ${rotated.length} asked, ${JSON.stringify(twice)}`)
}
