import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { openStore } from '../../src/store/open.ts'
import type { Row, Steps } from '../../src/store/sql.ts'
import { SqliteDatabase } from '../../src/store/sqlite.ts'
import { makeAudit, makePerson } from '../support/entities.ts'
import { jsonCodec } from '../support/json-codec.ts'

let directory: string
let path: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'custody-group-'))
  path = join(directory, 'custody.db')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const text = (sql: string, ...parameters: unknown[]) => ({ text: sql, parameters })
function* execute(sql: string, ...parameters: unknown[]): Steps<string> {
  yield { statement: text(sql, ...parameters), args: {} }
  return sql
}
const always = () => true

async function openTable(busyMs?: number): Promise<SqliteDatabase> {
  const options = busyMs === undefined ? { readonly: false } : { readonly: false, busyMs }
  const database = await SqliteDatabase.open(path, options)
  await database.migrate((db) => db.exec('create table t (n integer primary key, pad blob) strict'))
  return database
}
const insert =
  (n: number, bytes = 0) =>
  () =>
    execute('insert into t values (?, zeroblob(?))', n, bytes)
const rowsOf = async (database: SqliteDatabase) =>
  (await database.query(text('select n from t order by n'))).map((row: Row) => row['n'])

describe('group commit', () => {
  it('puts all writes of a tick into one transaction', async () => {
    const database = await openTable()
    const watcher = new Database(path, { readonly: true })
    const version = () => watcher.pragma('data_version', { simple: true }) as number
    const before = version()

    const seen = new Set<number>()
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        await database.write(insert(n), always)
        seen.add(version())
      }),
    )

    expect(await rowsOf(database)).toHaveLength(50)
    // data_version moves once per foreign commit seen: one for the whole group.
    expect([...seen]).toEqual([before + 1])
    watcher.close()
    await database.close()
  })

  it('undoes only the member that is refused or fails', async () => {
    const database = await openTable()

    const results = await Promise.allSettled([
      database.write(insert(1), always),
      database.write(insert(2), () => false),
      database.write(() => execute('insert into nowhere values (1)'), always),
      database.write(function* () {
        yield* insert(3)()
        throw new Error('a bug')
      }, always),
      database.write(insert(4), always),
    ])

    expect(results.map((r) => r.status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ])
    expect(await rowsOf(database)).toEqual([1, 4])
    await database.close()
  })

  it('fails every member when the disk is full, those already released included', async () => {
    const database = await openTable()
    await database.write(insert(0), always)
    await database.migrate((db) => db.pragma('max_page_count = 12'))

    const results = await Promise.allSettled([
      database.write(insert(1), always),
      database.write(insert(2, 1_000_000), always),
      database.write(insert(3), always),
    ])

    expect(results.map((r) => r.status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(results.map((r) => (r as PromiseRejectedResult).reason as Error)).toMatchObject(
      Array.from({ length: 3 }, () => ({ code: 'notReady', cause: { code: 'SQLITE_FULL' } })),
    )
    expect(await rowsOf(database)).toEqual([0])
    await database.write(insert(4), always)
    expect(await rowsOf(database)).toEqual([0, 4])
    await database.close()
  })

  it('fails every member when COMMIT itself fails', async () => {
    const database = await openTable()
    await database.migrate((db) =>
      db.exec('create table child (n integer references t (n) deferrable initially deferred)'),
    )

    const results = await Promise.allSettled([
      database.write(insert(1), always),
      database.write(() => execute('insert into child values (99)'), always),
    ])

    expect(results.map((r) => r.status)).toEqual(['rejected', 'rejected'])
    expect(await rowsOf(database)).toEqual([])
    await database.write(insert(2), always)
    expect(await rowsOf(database)).toEqual([2])
    await database.close()
  })

  it('finishes what is queued before it closes, and takes nothing after', async () => {
    const database = await openTable()
    const pending = database.write(insert(1), always)
    await database.close()

    await expect(pending).resolves.toContain('insert')
    await expect(database.write(insert(2), always)).rejects.toThrow('closed')
  })
})

describe('a lock held by another process', () => {
  it('is waited for without blocking the event loop', async () => {
    const database = await openTable()
    const other = new Database(path, { timeout: 0 })
    other.exec('begin immediate; insert into t values (7, null)')
    let ticks = 0
    const timer = setInterval(() => ticks++, 1)

    const pending = Promise.all([1, 2].map((n) => database.write(insert(n), always)))
    await new Promise((resolve) => setTimeout(resolve, 40))
    expect(await rowsOf(database)).toEqual([])
    other.exec('commit')
    await pending
    clearInterval(timer)

    expect(ticks).toBeGreaterThan(5)
    expect(await rowsOf(database)).toEqual([1, 2, 7])
    other.close()
    await database.close()
  })

  it('is given up on after a while, with the store still usable', async () => {
    const database = await openTable(20)
    const other = new Database(path, { timeout: 0 })
    other.exec('begin immediate')

    await expect(database.write(insert(1), always)).rejects.toMatchObject({ code: 'notReady' })
    other.exec('rollback')
    await database.write(insert(2), always)

    expect(await rowsOf(database)).toEqual([2])
    other.close()
    await database.close()
  })
})

describe('openStore', () => {
  it('makes a file that only its owner can read', async () => {
    const store = await openStore({ url: `sqlite:${path}`, codec: jsonCodec })
    await store.commit([{ type: 'meta', key: 'k', value: 'v' }])

    expect(statSync(path).mode & 0o077).toBe(0)
    expect(statSync(`${path}-wal`).mode & 0o077).toBe(0)
    await store.close()
  })

  it('keeps what was committed when the process dies without closing', async () => {
    const store = await openStore({ url: `sqlite:${path}`, codec: jsonCodec })
    const person = makePerson()
    await store.commit([{ type: 'person', person, expectedVersion: null }])

    const second = await openStore({ url: `sqlite:${path}`, codec: jsonCodec })

    expect(await second.read.person(tenant, person.id)).toEqual(person)
    await second.close()
    await store.close()
  })

  it('reads beside a writer but never writes when opened for reading', async () => {
    const store = await openStore({ url: `sqlite:${path}`, codec: jsonCodec })
    const reader = await openStore({ url: `sqlite:${path}`, codec: jsonCodec, readonly: true })
    const row = makeAudit()
    await store.commit([{ type: 'audit', row }])

    expect(await reader.read.audit(tenant, { after: null, limit: 10 })).toEqual([row])
    await expect(reader.commit([{ type: 'audit', row: makeAudit() }])).rejects.toThrow('reading')
    await reader.close()
    await store.close()
  })

  it('works in memory', async () => {
    const store = await openStore({ url: 'sqlite::memory:', codec: jsonCodec })
    const person = makePerson()
    await store.commit([{ type: 'person', person, expectedVersion: null }])

    expect(await store.read.person(tenant, person.id)).toEqual(person)
    await store.close()
  })

  it('refuses a URL of another kind without repeating its password', async () => {
    await expect(
      openStore({ url: 'mysql://u:secret@host/db', codec: jsonCodec }),
    ).rejects.toMatchObject({
      code: 'configInvalid',
      message: expect.not.stringContaining('secret'),
    })
  })
})
