import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SqliteDatabase } from '../../src/store/sqlite.ts'

let directory: string
let database: SqliteDatabase
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'custody-aside-'))
  database = await SqliteDatabase.open(join(directory, 'custody.db'), {
    readonly: false,
    deadlineMs: 150,
  })
  await database.migrate((db) => {
    db.exec('create table t (n integer primary key) strict')
    const insert = db.prepare('insert into t values (?)')
    for (let n = 0; n < 2_000; n++) insert.run(n)
  })
})
afterEach(async () => {
  await database.close()
  rmSync(directory, { recursive: true, force: true })
})

const text = (sql: string) => ({ text: sql, parameters: [] })
// Eight thousand million rows.
const endless = text(
  'select count(*) as n from t join t as b join t as c where custody_may_go_on(t.rowid + c.n) = 1',
)

describe('a heavy query', () => {
  it('is stopped at its deadline, while the event loop turns and light ones are answered', async () => {
    let turns = 0
    const timer = setInterval(() => turns++, 5)

    const pending = database.query(endless, {}, 'heavy').catch((error: unknown) => error)
    expect(await database.query(text('select count(*) as n from t'))).toEqual([{ n: 2_000 }])
    const error = await pending
    clearInterval(timer)

    expect(error).toMatchObject({ code: 'tooMany', message: expect.stringContaining('userName') })
    expect(turns).toBeGreaterThan(5)
    // The next one has the thread, and a deadline, to itself.
    expect(await database.query(text('select max(n) as n from t'), {}, 'heavy')).toEqual([
      { n: 1_999 },
    ])
  })

  it('says what SQLite said of it', async () => {
    await expect(database.query(text('select * from nowhere'), {}, 'heavy')).rejects.toMatchObject({
      code: 'SQLITE_ERROR',
      message: 'no such table: nowhere',
    })
  })

  it('is refused when too many wait already', async () => {
    const all = await Promise.allSettled(
      Array.from({ length: 20 }, () => database.query(text('select 1 as n'), {}, 'heavy')),
    )

    expect(all.filter((r) => r.status === 'rejected')).toHaveLength(4)
    expect(all.at(-1)).toMatchObject({ reason: { code: 'notReady' } })
  })

  it('does not keep the store from closing', async () => {
    const outcome = database.query(endless, {}, 'heavy').catch((error: unknown) => error)
    await new Promise((resolve) => setTimeout(resolve, 60))

    await database.close()

    expect(await outcome).toMatchObject({ code: 'tooMany' })
  })
})
