import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../src/store/sql.ts'
import { SqliteDatabase } from '../../src/store/sqlite.ts'

let directory: string
let path: string
let database: SqliteDatabase
beforeEach(async () => {
  // On a disk, where folding takes longer than writing: other tests' files may be in memory.
  directory = mkdtempSync('/tmp/custody-wal-')
  path = join(directory, 'custody.db')
  database = await SqliteDatabase.open(path, { readonly: false })
  await database.migrate((db) => {
    db.exec('create table t (n integer primary key, text text not null) strict')
  })
})
afterEach(async () => {
  await database.close()
  rmSync(directory, { recursive: true, force: true })
})

const insert = { text: `insert into t (text) values ('${'x'.repeat(500)}')`, parameters: [] }

/** Commits of a hundred rows each. */
async function write(commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    await database.write(
      function* rows() {
        for (let n = 0; n < 100; n++) yield* run(insert, {})
      },
      () => true,
    )
  }
}

/** Asks a handle of its own, which folds nothing up itself. */
async function untilFolded(): Promise<void> {
  const db = new Database(path)
  try {
    for (let i = 0; i < 300; i++) {
      const [state] = db.pragma('wal_checkpoint(noop)') as { log: number; checkpointed: number }[]
      if (state!.log > 0 && state!.log === state!.checkpointed) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error('the WAL was not folded up')
  } finally {
    db.close()
  }
}

describe('the WAL', () => {
  it('is folded into the file while the store is at work, after a thousand rows', async () => {
    const before = statSync(path).size
    await write(5)
    expect(statSync(path).size).toBe(before)

    await write(10)
    await untilFolded()
    expect(statSync(path).size).toBeGreaterThan(500_000)
  })

  it('is begun anew once it was folded, and does not grow with all that is written', async () => {
    for (let round = 0; round < 6; round++) {
      await write(12)
      await untilFolded()
    }
    // 7 200 rows of half a kilobyte.
    expect(statSync(path).size).toBeGreaterThan(2_500_000)
    expect(statSync(`${path}-wal`).size).toBeLessThan(3_000_000)
  })

  it('leaves nothing behind when the store closes in the middle of a fold', async () => {
    await write(11)
    await database.close()

    const db = new Database(path, { readonly: true })
    expect(db.prepare('select count(*) as n from t').get()).toEqual({ n: 1_100 })
    expect(db.prepare('pragma integrity_check').pluck().get()).toBe('ok')
    db.close()
  })
})
