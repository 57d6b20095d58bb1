import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { defaultTenant } from '../../src/domain/ids.ts'
import { instantOf } from '../../src/domain/time.ts'
import { rootAt } from '../../src/lifecycle/audit-tree.ts'
import { rootOf } from '../../src/domain/merkle.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { copyStore, CopyRefused, leftOut } from '../../src/store/copy.ts'
import { checkSide } from '../../src/store/copy-checks.ts'
import { openSide } from '../../src/store/copy-side.ts'
import { openStore } from '../../src/store/open.ts'
import { makeAudit } from '../support/entities.ts'
import { eventually, startTestCustody } from '../support/custody.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { runCli } from '../support/run-cli.ts'

const lately = instantOf(Date.now() + 120_000)

/** Ends the copy that waits for a lock. */
const endWaiting = `select pg_terminate_backend(pid) from pg_stat_activity
  where application_name = 'custody copy' and datname = current_database() and wait_event_type = 'Lock'`

let source: string
let home: string
let database: TestDatabase
beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'custody-db-'))
  const custody = await startTestCustody({ home })
  const owner = await custody.createPerson('ådå “quoted”', { title: '𝔘nicode' })
  for (let i = 0; i < 4; i++) await custody.requestAccount(`robot-${i}`, owner)
  await eventually(
    () => custody.secretAt('robot-3/token'),
    (secret) => secret !== null,
  )
  const { store } = custody.running.engine.life
  const rows = Array.from({ length: 2_300 }, () => makeAudit())
  for (let at = 0; at < rows.length; at += 230) {
    await store.commit(rows.slice(at, at + 230).map((row) => ({ type: 'audit', row })))
  }
  await custody.running.sequencer!.round()
  await custody.close()
  source = `sqlite:${path.join(home, 'custody.db')}`
  database = await createDatabase()
}, 30_000)
afterAll(async () => {
  await database.drop()
  await rm(home, { recursive: true, force: true })
})

const migrated = async (url: string): Promise<string> => {
  await (await openStore({ url, codec: documentCodec })).close()
  return url
}

const run = async (line: string, env: Readonly<Record<string, string>> = {}) => {
  return runCli(line, { env, cwd: home })
}

describe('custody db copy', () => {
  it('takes everything to PostgreSQL and back, and both are the same', async () => {
    await writeFile(path.join(home, 'target'), database.url, { mode: 0o600 })
    const there = await run(`db copy --from ${source} --to-file target`)
    expect(there).toMatchObject({ code: 0, stdout: expect.stringContaining('copied, and equal') })
    const back = `sqlite:${path.join(home, 'back.db')}`
    const again = await run(`db copy --from-file target --to ${back} --json`)
    expect(again.code).toBe(0)
    const report = JSON.parse(again.stdout) as { rows: number; tables: { table: string }[] }
    expect(report.rows).toBeGreaterThan(2_300)

    expect(await run(`db copy --from ${source} --to ${back} --check`)).toMatchObject({ code: 0 })
    expect(await run(`db copy --from ${source} --to-file target`)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('nothing to do'),
    })
    for (const { stdout, stderr } of [there, again]) {
      expect(stdout + stderr).not.toContain(new URL(database.url).password + '@')
    }
  })

  it('makes a backup of PostgreSQL in one file, which is put back into another', async () => {
    const env = { CUSTODY_HOME: home, CUSTODY_STORE_URL: database.url }
    const taken = await run('backup create whole.db --json', env)
    expect(taken).toMatchObject({ code: 0 })
    expect(JSON.parse(taken.stdout)).toMatchObject({ engine: 'postgres', rows: { resource: 5 } })
    expect(await run('backup verify whole.db')).toMatchObject({ code: 0 })

    const other = await createDatabase()
    try {
      const there = { ...env, CUSTODY_STORE_URL: other.url }
      expect(await run('backup restore whole.db', there)).toMatchObject({ code: 0 })
      expect((await run('backup restore whole.db', there)).code).toBe(5)
      const store = await openStore({ url: other.url, codec: documentCodec, readonly: true })
      const brakes = await store.read.brakes()
      expect(brakes.map(({ name }) => name)).toEqual(['restored'])
      await store.close()
    } finally {
      await other.drop()
    }
  })

  it('brings an audit log whose tree still has the root that was signed', async () => {
    const store = await openStore({ url: database.url, codec: documentCodec, readonly: true })
    const head = (await store.read.auditHead(defaultTenant))!
    const { size } = head.frontier
    expect(await rootAt({ tenant: defaultTenant, read: store.read }, size)).toBe(
      rootOf(head.frontier),
    )
    expect((await store.read.checkpoint(defaultTenant, null))!.root).toBe(rootOf(head.frontier))
    expect(size).toBeGreaterThan(2_300)
    await store.close()
  })

  it('serves what was copied: lists, filters, counts and the client who asks', async () => {
    const custody = await startTestCustody({ home, storeUrl: database.url })
    const { body } = await custody.call('GET', '/scim/v2/Users?filter=userName sw "robot"')
    expect(body.totalResults).toBe(4)
    expect((await custody.call('GET', '/scim/v2/Users')).body.totalResults).toBe(5)
    const token = (await custody.secretAt('robot-0/token'))!.trim()
    expect(await custody.introspect(token)).toMatchObject({ active: true })
    const used = await run(`db copy --from-file target --to sqlite:${home}/used.db`)
    expect(used).toMatchObject({ code: 5, stderr: expect.stringContaining('in use by') })
    // This machine's clock is two minutes fast; the server's heartbeat is by the database's.
    const to = await migrated(`sqlite:${home}/fast.db`)
    await expect(copyStore({ from: database.url, to, now: lately })).rejects.toMatchObject({
      reason: 'busy',
    })
    await custody.close()
    const after = await run(`db copy --from ${source} --to-file target`)
    expect(after).toMatchObject({ code: 5, stderr: expect.stringContaining('holds data already') })
  })

  it('goes from PostgreSQL to PostgreSQL, and on after its connection was ended', async () => {
    const other = await createDatabase()
    await migrated(other.url)
    const client = new Client({ connectionString: other.superuserUrl })
    await client.connect()
    await client.query('begin; lock table resource in exclusive mode')
    await writeFile(path.join(home, 'other'), other.url, { mode: 0o600 })
    const cut = run('db copy --from-file target --to-file other')
    await eventually(
      async () => {
        // Of one transaction, all looks at the sessions are the first.
        await client.query('select pg_stat_clear_snapshot()')
        return (await client.query(endWaiting)).rowCount
      },
      (ended) => ended === 1,
    )
    await client.query('rollback')
    await client.end()

    expect(await cut).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^The connection .* run the same command again, .*\n$/),
    })
    expect(await run('db copy --from-file target --to-file other')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('was gone on with'),
    })
    await other.drop()
  })

  it('warns of a password that everybody can read, and takes it from a file in silence', async () => {
    const shown = await run('db copy --from postgres://a:secret@127.0.0.1:1/x --to sqlite:y.db')
    expect(shown.stderr).toContain('give --from-file')
    expect(shown.stderr).not.toContain('secret')
    expect((await run(`db copy --from ${source} --to-file target`)).stderr).not.toContain('Warn')
  })

  it('is refused while the lock of the home says that a server runs', async () => {
    const lock = path.join(home, 'server.lock')
    await writeFile(lock, JSON.stringify({ pid: process.ppid, started: null }))
    const env = { CUSTODY_HOME: home }
    const refused = await run(`db copy --from ${source} --to sqlite:${home}/locked.db`, env)
    await rm(lock)
    expect(refused).toMatchObject({
      code: 5,
      stderr: expect.stringContaining(`process ${process.ppid}`),
    })
  })

  it('knows every table that there is', async () => {
    const side = await openSide(source, true)
    const tables = await side.tables()
    expect(tables.every((t) => t.key.length > 0 && t.columns.length > 0)).toBe(true)
    expect(tables.map((t) => t.name)).toEqual(expect.arrayContaining(Object.keys(leftOut)))
    await side.close()
  })
})

describe('a copy', () => {
  let target: string
  let made = 0
  beforeEach(async () => {
    target = await migrated(`sqlite:${path.join(home, `target-${++made}.db`)}`)
  })
  const copying = (more: Partial<Parameters<typeof copyStore>[0]> = {}) =>
    copyStore({ from: source, to: target, now: lately, ...more })
  const vacuumed = (name: string): string => {
    const file = `${home}/${name}.db`
    new Database(source.slice('sqlite:'.length)).exec(`vacuum into '${file}'`).close()
    return `sqlite:${file}`
  }
  const reasonOf = async (attempt: Promise<unknown>) =>
    attempt.then(
      () => null,
      (error: unknown) => (error instanceof CopyRefused ? error.reason : String(error)),
    )

  it('goes on where it was cut off, at any page, and comes out the same', async () => {
    const whole = await copying()
    const cuts = whole.tables.length
    for (const cut of [1, 3, Math.floor(cuts / 2), cuts - 1]) {
      target = await migrated(`sqlite:${path.join(home, `cut-${cut}.db`)}`)
      let pages = 0
      const onProgress = (): void => {
        if (++pages > cut) throw new Error('cut off')
      }
      expect(await reasonOf(copying({ onProgress }))).toBe('Error: cut off')
      expect(await copying()).toEqual({ ...whole, resumed: true })
    }
  })

  it('is refused while anybody uses the source', async () => {
    expect(await reasonOf(copying())).toBeNull()
    const from = source.slice('sqlite:'.length)
    const db = new Database(from)
    const seen = `insert into replica values ('host/1/x', '1', '[]', 'p', ?, ?, 0)`
    db.prepare(seen).run(lately, lately)
    expect(await reasonOf(copying({ to: await migrated(`sqlite:${home}/busy.db`) }))).toBe('busy')
    db.prepare('delete from replica').run()
    db.close()
  })

  it('is refused while the lease of a worker runs, though nobody hears of it', async () => {
    const from = vacuumed('leased')
    const db = new Database(from.slice('sqlite:'.length))
    db.prepare(
      `update operation set status = 'running', lease_worker = 'gone/7/x', lease_until = ?
        where id = (select min(id) from operation)`,
    ).run(instantOf(Date.parse(lately) + 1_000))
    db.close()
    const error = await copying({ from }).catch((e: unknown) => e)
    expect(error).toMatchObject({ reason: 'busy', message: expect.stringContaining('gone/7/x') })
  })

  it('that is not finished is no database to start on', async () => {
    const cut = (): void => {
      throw new Error('cut off')
    }
    await reasonOf(copying({ onProgress: cut }))
    await expect(startTestCustody({ home, storeUrl: target })).rejects.toMatchObject({
      code: 'copyUnfinished',
      message: expect.stringContaining('run the same custody db copy again'),
    })
  })

  it('is checked against its own rows: counters, references, the root of the audit log', async () => {
    const whole = openSide(source, true)
    const { wrong, roots } = await checkSide(await whole)
    await (await whole).close()
    expect(wrong).toEqual([])
    expect(roots).toEqual([
      { tenant: 'default', size: expect.any(Number), root: expect.any(String) },
    ])

    const broken = vacuumed('broken')
    new Database(broken.slice('sqlite:'.length))
      .exec(
        `pragma foreign_keys = off; delete from client; update counter set total = total + 1;
        update audit set action = 'forged' where seq = 3`,
      )
      .close()
    const side = await openSide(broken, true)
    expect((await checkSide(side)).wrong).toEqual([
      expect.stringMatching(/^a row of client_token to client/),
      'the counters are not the numbers of rows',
      'the audit log of default does not have the root that its head tells',
    ])
    await side.close()
  })

  it('is refused when the source changed between two attempts, and into what holds something else', async () => {
    const from = vacuumed('changing')
    const cut = (): void => {
      throw new Error('cut off')
    }
    await reasonOf(copying({ from, onProgress: cut }))
    const db = new Database(from.slice('sqlite:'.length))
    db.exec(`update operation set updated_at = '2099-01-01T00:00:00.000Z'`)
    db.close()
    expect(await reasonOf(copying({ from }))).toBe('changed')
    expect(await reasonOf(copying({ from: source, to: from }))).toBe('notEmpty')
  })

  it('tells which table differs', async () => {
    await copying()
    const db = new Database(target.slice('sqlite:'.length))
    db.exec(`update audit set action = 'forged' where rowid = 5`)
    db.close()
    const error = await copying({ check: true }).catch((e: unknown) => e)
    expect(error).toMatchObject({ reason: 'differs', message: expect.stringContaining('audit (') })
  })

  it('names the table of a text that PostgreSQL cannot keep', async () => {
    const from = vacuumed('odd')
    const db = new Database(from.slice('sqlite:'.length))
    db.prepare('update client set name = ?').run('a\u0000b')
    db.close()
    await database.clear()
    const error = await copying({ from, to: database.url }).catch((e: unknown) => e)
    expect(error).toMatchObject({
      reason: 'text',
      message: expect.stringContaining('table client'),
    })
  })

  it('that was killed is finished by the next', async () => {
    const entry = path.join(import.meta.dirname, '../support/copy-entry.ts')
    const child = fork(entry, [source, target], { stdio: 'ignore' })
    await once(child, 'message')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await copying()).toMatchObject({ outcome: 'copied', resumed: true })
  })
})

describe('custody db migrate', () => {
  it('lists what it would do, does it, and then has nothing to do', async () => {
    const env = { CUSTODY_HOME: home, CUSTODY_STORE_URL: `sqlite:${home}/fresh.db` }
    const dry = await run('db migrate --dry-run', env)
    expect(dry).toMatchObject({ code: 0, stderr: expect.stringContaining('would be applied') })
    expect(dry.stdout).toContain('0001-initial\n')
    const done = await run('db migrate --json', env)
    expect(JSON.parse(done.stdout)).toMatchObject({ dryRun: false, applied: 0 })
    expect(await run('db migrate', env)).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringContaining('nothing to do'),
    })
  })

  it.each([
    ['db copy --from sqlite:a.db', 2, 'Say where to'],
    ['db copy --from mysql://x --to sqlite:b.db', 2, 'is neither sqlite'],
    ['db copy --from sqlite:a.db --to sqlite:a.db', 2, 'the same database'],
    ['db copy --to sqlite:a.db --to-file b', 2, 'not both'],
  ])('%s', async (line, code, sentence) => {
    expect(await run(line, { CUSTODY_HOME: home })).toMatchObject({
      code,
      stderr: expect.stringContaining(sentence),
    })
  })
})
