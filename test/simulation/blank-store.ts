import type Database from 'better-sqlite3'
import { documentCodec } from '../../src/scim/codec.ts'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { storeOver } from '../../src/store/open.ts'
import { migrateSqlite, SqliteDatabase } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { answered } from './in-flight.ts'
import { openRealStore } from './real-store.ts'

/** A store as a new installation finds it. */
export interface BlankStore {
  readonly store: Store
  /** Nobody may use it any more. */
  giveBack(): Promise<void>
  close(): Promise<void>
}

let server: string | null = null
const idle: BlankStore[] = []

/** From here on lives are led on that PostgreSQL, one after the other in one database. */
export function liveOn(postgres: string): void {
  server = postgres
}

/** At the end of a process that led lives. */
export async function closeBlankStores(): Promise<void> {
  for (const store of idle.splice(0)) await store.close()
}

/**
 * Migrating, compiling and preparing took 25 ms of a life of 110, so databases are emptied and used
 * again: all statements stay prepared.
 */
export async function takeBlankStore(): Promise<BlankStore> {
  const used = idle.pop()
  if (used !== undefined) return used
  if (server !== null) {
    const real = await openRealStore(server)
    const own: BlankStore = {
      ...real,
      async giveBack() {
        await answered()
        await real.giveBack()
        idle.push(own)
      },
    }
    return own
  }
  const database = await SqliteDatabase.open(':memory:', { readonly: false })
  await migrateSqlite(database, migrations, false)
  const own: BlankStore = {
    store: storeOver(database, documentCodec),
    async giveBack() {
      await database.migrate(empty)
      idle.push(own)
    },
    close: () => database.close(),
  }
  return own
}

function empty(db: Database.Database): void {
  db.pragma('defer_foreign_keys = on')
  const tables = db
    .prepare<[], string>(
      "select name from sqlite_schema where type = 'table' and name <> 'migration'",
    )
    .pluck()
    .all()
  for (const table of tables) db.exec(`delete from "${table}"`)
  // Triggers count what is deleted.
  db.exec('delete from counter')
}
