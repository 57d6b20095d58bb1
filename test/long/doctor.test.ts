import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { chmod, cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Check } from '../../src/cli/local/doctor/check.ts'
import { checkNames } from '../../src/cli/local/doctor/check.ts'
import { judgeConnections, judgeDatabase } from '../../src/cli/local/doctor/database.ts'
import { judgeDisk } from '../../src/cli/local/doctor/home.ts'
import { runCli } from '../support/run-cli.ts'
import { systemClock } from '../../src/host/clock.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openSide } from '../../src/store/copy-side.ts'
import { type Asker, examineDatabase, isPooled } from '../../src/store/examine.ts'
import { openStore } from '../../src/store/open.ts'
import { startTestCustody } from '../support/custody.ts'
import { createDatabase } from '../support/postgres.ts'

let root: string
/** Of a service that was stopped; each test copies it. */
let home: string
let running: { readonly code: number; readonly stdout: string; readonly stderr: string }
let findings: { readonly code: number; readonly stdout: string }
beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'custody-doctor-'))
  home = path.join(root, 'home')
  await cp(path.resolve(import.meta.dirname, '../../policies'), path.join(home, 'policies'), {
    recursive: true,
  })
  await writeFile(path.join(home, 'custody.yaml'), 'policies: ./policies\n')
  await chmod(home, 0o700)
  const custody = await startTestCustody({ home, roles: ['http', 'worker', 'scheduler'] })
  await custody.requestAccount('robot', await custody.createPerson('ada'))
  await custody.running.sequencer!.round()
  running = await run('doctor', home)
  findings = await run('doctor directory --json', home)
  // As a kill would leave it, with what the log of the database still holds.
  await cp(home, path.join(root, 'killed'), { recursive: true })
  for (const name of ['server.json', 'server.lock']) await rm(path.join(root, 'killed', name))
  await custody.close()
}, 30_000)
afterAll(() => rm(root, { recursive: true, force: true }))

async function run(line: string, at: string, env: Readonly<Record<string, string>> = {}) {
  return runCli(line, {
    env: { CUSTODY_HOME: at, ...env },
    cwd: at,
  })
}

let made = 0
async function patient(): Promise<string> {
  const copy = path.join(root, `home-${++made}`)
  await cp(home, copy, { recursive: true })
  await chmod(copy, 0o700)
  return copy
}

/** What is not well, `state check` each. */
async function examine(at: string, env: Readonly<Record<string, string>> = {}, more = '--offline') {
  const { code, stdout } = await run(`doctor --json ${more}`.trim(), at, env)
  const { checks } = JSON.parse(stdout) as { readonly checks: readonly Check[] }
  const bad = checks.filter(({ state }) => state !== 'ok')
  return { code, checks, bad: bad.map(({ state, check }) => `${state} ${check}`), told: bad }
}

const sql = (at: string, text: string): void => {
  const db = new Database(path.join(at, 'custody.db'))
  db.exec(text)
  db.close()
}

/** Every file with its mode, its bytes and when it was written. */
function bytesOf(at: string): readonly string[] {
  return readdirSync(at, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.endsWith('-shm'))
    .sort()
    .map((name) => {
      const { mode, mtimeMs } = statSync(path.join(at, name))
      const file = path.join(at, name)
      const hash = statSync(file).isFile()
        ? createHash('sha256').update(readFileSync(file)).digest('hex')
        : ''
      return `${name} ${mode} ${mtimeMs} ${hash}`
    })
}

describe('custody doctor', () => {
  it('finds a running service well, asks what it is configured with, and says so line by line', () => {
    expect(running).toMatchObject({ code: 0, stderr: '0 problems, 0 warnings\n' })
    const lines = running.stdout.trimEnd().split('\n')
    expect(lines.every((line) => line.startsWith('ok '))).toBe(true)
    expect(running.stdout).toContain(`server: process ${process.pid} is ready at http://127.0.0.1:`)
    expect(running.stdout).toContain('replicas: 1 live')
    expect(running.stdout).toContain('provider tokens: ')
    expect(findings.code).toBe(6)
    expect(JSON.parse(findings.stdout)).toContainEqual(
      expect.objectContaining({ check: 'no-manager' }),
    )
  })

  it('finds a stopped one well, and leaves every byte as it was', async () => {
    const at = await patient()
    const before = bytesOf(at)
    expect(await examine(at, {}, '')).toMatchObject({ code: 0, bad: [] })
    expect(bytesOf(at)).toEqual(before)
    expect(readdirSync(at)).not.toContain('custody.db-shm')
  })

  it('leaves what a killed one left', async () => {
    const at = path.join(root, 'killed')
    const before = bytesOf(at)
    expect(before.some((line) => line.startsWith('custody.db-wal'))).toBe(true)
    expect((await examine(at)).code).toBe(0)
    expect(bytesOf(at)).toEqual(before)
  })

  it('makes nothing where there is nothing yet', async () => {
    const at = await mkdtemp(path.join(root, 'empty-'))
    const { code, bad } = await examine(path.join(at, 'none'), { CUSTODY_HOME: `${at}/none` })
    expect([code, bad]).toEqual([0, ['warning home', 'warning database']])
    expect(readdirSync(at)).toEqual([])
  })

  it('names all problems of a configuration, and exits 2', async () => {
    const at = await patient()
    await writeFile(path.join(at, 'custody.yaml'), 'listn: {}\nproviders: [{ name: a, type: b }]\n')
    const { code, stdout } = await run('doctor', at)
    expect(code).toBe(2)
    expect(stdout.match(/^PROBLEM +configuration: /gm)).toHaveLength(2)
    expect(stdout).toMatch(/listn.*listen/)
  })

  it('finds what rows say is wrong', async () => {
    const at = await patient()
    sql(
      at,
      `insert into replica values ('a/1/x', '1.0', '["http"]', 'p', '2026', '2999', 0);
      insert into replica values ('b/1/x', '2.0', '["http"]', 'q', '2026', '2999', 0);
      insert into brake values ('', 'clock', '', '2026-01-01T00:00:00.000Z', '{}');
      insert into brake values ('', 'restored', '', '2026-01-01T00:00:00.000Z', '{}');
      update operation set status = 'needsOperator' where id = (select min(id) from operation);
      insert into audit (tenant, id, at, actor, action, target_type, target, facts, leaf)
        select tenant, '0', '2026-01-01T00:00:00.000Z', actor, action, target_type, target, facts,
          leaf from audit limit 1;
      pragma journal_mode = delete`,
    )
    const { code, bad } = await examine(at)
    expect(code).toBe(1)
    expect(bad).toEqual([
      'warning durability',
      'warning replicas',
      'problem replicas',
      'problem replicas',
      'warning audit log',
      'warning operations',
      'warning brakes',
      'problem restored',
    ])
  })

  it('finds files that others may read, a policy that cannot be read, another key, a lost anchor', async () => {
    const at = await patient()
    for (const name of ['admin-token', 'custody.db']) await chmod(path.join(at, name), 0o644)
    await chmod(at, 0o755)
    await writeFile(path.join(at, 'policies/lifecycle.yaml'), 'rules: 7\n')
    await writeFile(path.join(at, 'master.key'), Buffer.alloc(32, 7).toString('base64'))
    await rm(path.join(at, 'audit-anchor'))
    const lock = JSON.stringify({ pid: process.ppid, started: null })
    await writeFile(path.join(at, 'server.lock'), lock)
    const record = JSON.stringify({ url: 'http://127.0.0.1:1', pid: process.ppid })
    await writeFile(path.join(at, 'server.json'), record)
    const { code, bad, checks } = await examine(at)
    expect(code).toBe(1)
    expect(bad).toEqual([
      'problem policies',
      'warning home',
      'problem secret files',
      'warning secret files',
      'problem server',
      'problem master key',
      'warning audit anchor',
    ])
    expect(checks.filter(({ next }) => next === null).every(({ state }) => state === 'ok')).toBe(
      true,
    )
  })

  it.each<readonly [string, string, (at: string) => void | Promise<void>]>([
    ['a key that is lost', 'problem master key', (at: string) => rm(path.join(at, 'master.key'))],
    [
      'a copy that was cut off',
      'problem copy',
      (at: string) => sql(at, `insert into meta values ('copy.unfinished', 'x')`),
    ],
    [
      'a newer schema',
      'problem schema',
      (at: string) =>
        sql(
          at,
          `insert into migration (number, name, checksum) select 999, '0999-next', checksum from migration limit 1`,
        ),
    ],
    [
      'an older schema',
      'warning schema',
      (at: string) =>
        sql(at, 'delete from migration where number = (select max(number) from migration)'),
    ],
    [
      'an audit log that is older than its anchor',
      'problem audit anchor',
      (at: string) => sql(at, `update audit_head set size = 0, frontier = ''`),
    ],
    [
      'something else than a database',
      'problem database',
      (at: string) => writeFile(path.join(at, 'custody.db'), 'not a database at all'.repeat(500)),
    ],
    [
      'a damaged database',
      'problem damage',
      (at: string) => {
        const file = path.join(at, 'custody.db')
        const bytes = readFileSync(file)
        const { page, size } = pageOf(at)
        bytes.fill(0x5a, (page - 1) * size, page * size)
        writeFileSync(file, bytes)
      },
    ],
  ])('finds %s', async (_, expected, plant) => {
    const at = await patient()
    await plant(at)
    expect((await examine(at)).bad[0]).toBe(expected)
  })

  it('asks providers and directories, and finds those that do not answer', async () => {
    const at = await patient()
    const aws =
      '{ region: us-east-1, endpoint: "http://127.0.0.1:1", credentials: { accessKeyId: AKIAIOSFODNN7EXAMPLE, secretAccessKey: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY } }'
    await writeFile(
      path.join(at, 'custody.yaml'),
      `policies: ./policies
providers: [{ name: tokens, type: token }, { name: prod, type: aws-iam, config: ${aws} }]
directories:
  - { name: people, type: csv, config: { file: people.csv } }
  - { name: okta, type: okta, config: { baseUrl: "http://127.0.0.1:1", tokenFile: token } }
`,
    )
    await writeFile(path.join(at, 'token'), 'secret', { mode: 0o600 })
    const { code, told } = await examine(at, {}, '')
    expect(code).toBe(1)
    const subjects = new Set(told.map(({ check, subject }) => `${check} ${subject}`))
    expect([...subjects]).toEqual(['provider prod', 'directory people', 'directory okta'])
    expect((await examine(at)).code).toBe(0)
  })

  it('looks into PostgreSQL as the role that Custody uses, and writes nothing there', async () => {
    const database = await createDatabase()
    await (await openStore({ url: database.url, codec: documentCodec })).close()
    const client = new Client({ connectionString: database.superuserUrl })
    await client.connect()
    const name = (await client.query<{ name: string }>('select current_database() as name'))
      .rows[0]!.name
    await client.query(
      `alter database ${name} set synchronous_commit = off; alter database ${name} connection limit 12`,
    )
    const side = await openSide(database.superuserUrl, true)
    const names = (await side.tables()).map((shape) => shape.name)
    await side.close()
    const rows = names
      .map((n) => `select '${n}', count(*), max(xmin::text::bigint) from ${n}`)
      .join(' union all ')
    const before = (await client.query(rows)).rows
    const env = { CUSTODY_STORE_URL: database.superuserUrl }
    const { bad, checks, code } = await examine(await patient(), env)
    expect(code).toBe(1)
    expect(bad).toEqual(
      expect.arrayContaining(['problem durability', 'warning fence', 'warning connections']),
    )
    expect(checks.find(({ check }) => check === 'pooler')).toMatchObject({ state: 'ok' })
    expect((await client.query(rows)).rows).toEqual(before)
    await client.end()
    await database.drop()

    const url = new URL(database.url)
    url.password = 'well-kept'
    const gone = await examine(await patient(), { CUSTODY_STORE_URL: url.href })
    expect(gone.bad).toContain('problem database')
    expect(JSON.stringify(gone.checks)).not.toContain('well-kept')
  })

  it('does not wait for a server that never answers', async () => {
    const silent = createServer(() => undefined)
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as { port: number }
    const began = performance.now()
    const url = `postgres://a:b@127.0.0.1:${port}/c`
    await expect(
      examineDatabase(url, { clock: systemClock, answerMs: 200, readWholeMax: 0 }),
    ).rejects.toMatchObject({
      code: 'notReady',
    })
    expect(performance.now() - began).toBeLessThan(3_000)
    silent.close()
  })

  it('knows a pooler that gives each transaction any connection', async () => {
    const database = await createDatabase()
    const clients = await Promise.all(
      [0, 1].map(async () => {
        const client = new Client({ connectionString: database.url })
        await client.connect()
        return client
      }),
    )
    const askerOf = (client: Client): Asker => ({
      ask: async (text) => (await client.query(text)).rows[0] ?? {},
    })
    expect(await isPooled(askerOf(clients[0]!), askerOf(clients[1]!))).toBe(false)
    // Its two sessions over the server's two connections: the first that is in no transaction.
    const busy = new Map<Client, object>()
    const session = (): Asker => {
      const self: Asker = {
        async ask(text) {
          const held = clients.find((client) => busy.get(client) === self)
          const client = held ?? clients.find((free) => !busy.has(free))!
          if (text.startsWith('begin')) busy.set(client, self)
          if (text === 'rollback') busy.delete(client)
          return askerOf(client).ask(text)
        },
      }
      return self
    }
    expect(await isPooled(session(), session())).toBe(true)
    await Promise.all(clients.map((client) => client.end()))
    await database.drop()
  })

  it.each([
    ['a full disk', judgeDisk('/x', { free: 1e6, type: 1 }, false), 'problem disk'],
    ['a disk that fills', judgeDisk('/x', { free: 5e8, type: 1 }, false), 'warning disk'],
    ['SQLite on NFS', judgeDisk('/x', { free: 1e12, type: 0x6969 }, true), 'problem file system'],
    ['another encoding', judged({ encoding: 'LATIN1' }), 'problem database'],
    ['a replica of the server', judged({ isReadOnly: true }), 'problem database'],
    ['an old server', judged({ versionNumber: 140_000 }), 'warning database'],
    ['fsync off', judged({ settings: { ...settings(), fsync: 'off' } }), 'problem durability'],
    ['a pooler', judged({ isPooled: true }), 'problem pooler'],
    ['a clock two minutes off', judged({ clockOffset: -120_000 }), 'warning clock'],
    ['too few connections', [judgeConnections(facts(), 6)], 'warning connections'],
    ['all well', [...judged({}), judgeConnections(facts(), 4)], undefined],
  ])('judges %s', (_, checks, expected) => {
    const [bad] = checks.filter(({ state }) => state !== 'ok')
    expect(bad && `${bad.state} ${bad.check}`).toBe(expected)
  })

  it('is written down check by check', () => {
    const page = path.resolve(import.meta.dirname, '../../docs/reference/doctor.md')
    const rows = readFileSync(page, 'utf8').matchAll(/^\| `([a-z ]+)` \|/gm)
    expect(Array.from(rows, ([, name]) => name)).toEqual([...checkNames])
  })
})

function settings() {
  return { fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' }
}
function facts() {
  return {
    engine: 'PostgreSQL',
    version: '18.4',
    versionNumber: 180_004,
    encoding: 'UTF8',
    isReadOnly: false,
    settings: settings(),
    connectionsMax: 97,
    clockOffset: 12,
    isPooled: false,
  } as const
}
function judged(
  more: Partial<Extract<Parameters<typeof judgeDatabase>[0], { engine: 'PostgreSQL' }>>,
) {
  return judgeDatabase({ ...facts(), ...more })
}

/** Where the rows of the audit log begin. */
function pageOf(at: string): { readonly page: number; readonly size: number } {
  const db = new Database(path.join(at, 'custody.db'))
  const page = db.prepare(`select rootpage from sqlite_schema where name = 'audit'`).pluck().get()
  const size = db.pragma('page_size', { simple: true })
  db.close()
  return { page: Number(page), size: Number(size) }
}
