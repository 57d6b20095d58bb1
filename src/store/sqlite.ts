import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { errors } from '../domain/errors.ts'
import { sqliteDialect } from './dialect.ts'
import {
  ledgerTable,
  missingMigration,
  pendingMigrations,
  type AppliedMigration,
  type Migration,
} from './migrations/migrations.ts'
import { bind, ConstraintFailed } from './sql.ts'
import type { Cost, Outcome, Row, Run, SqlValue, Statement, Steps } from './sql.ts'
import { SqliteAside } from './sqlite-aside.ts'
import { Connection } from './sqlite-connection.ts'

const busyDelaysMs = [1, 2, 4, 8, 16, 25]
/** Another process holds the lock for one commit; whoever holds it this long is stuck. */
const busyBudgetMs = 5_000
/**
 * Bounds one transaction, so that the event loop is held for some ~10 ms: 1 000 accounts in one
 * transaction take 70–320 ms.
 */
const groupMax = 200

/**
 * After so many rows the WAL, of some two pages each, is folded into the file by the thread aside.
 * SQLite would have the writer do it within a commit: that held the event loop for 10–25 ms.
 */
const foldAfterRows = 1_000
/**
 * Where the thread never catches up with a busy writer, the writer folds the rest after all, before
 * the WAL gets out of hand: 32 MB.
 */
const walPagesMax = 4_096
/** Nobody has written for so long. */
const quietMs = 50

function isSqliteError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Database.SqliteError
}

/** Another process writes, recovers or checkpoints right now; a moment later it will not. */
function isBusy(error: unknown): boolean {
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'string' && code.startsWith('SQLITE_BUSY')
}

function asConstraint(error: unknown): ConstraintFailed | null {
  if (!isSqliteError(error)) return null
  switch (error.code) {
    case 'SQLITE_CONSTRAINT_UNIQUE':
    case 'SQLITE_CONSTRAINT_PRIMARYKEY':
      return new ConstraintFailed('unique', error)
    case 'SQLITE_CONSTRAINT_FOREIGNKEY':
      return new ConstraintFailed('foreignKey', error)
    default:
      return null
  }
}

const unwritable: Readonly<Record<string, string>> = {
  SQLITE_FULL: 'the disk is full',
  SQLITE_IOERR: 'the disk reports an error',
  SQLITE_READONLY: 'it is read-only',
}

/** What an operator has to mend, and a client may try again after; any other error as it is. */
function asUnwritable(error: unknown): unknown {
  if (!isSqliteError(error)) return error
  // SQLite refines its codes: SQLITE_IOERR_WRITE.
  const why = unwritable[error.code.split('_').slice(0, 2).join('_')]
  if (why === undefined) return error
  return errors.notReady({ reason: `the database cannot be written: ${why}` }, { cause: error })
}

/**
 * Repeats `attempt` while the database is locked by another process, sleeping in between: SQLite's
 * own busy timeout sleeps inside the call and stopped the event loop for 0.4–1.5 s.
 * @throws notReady after `budgetMs`
 */
async function retryBusy<T>(attempt: () => T | Promise<T>, budgetMs = busyBudgetMs): Promise<T> {
  let waited = 0
  for (let i = 0; ; i++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isBusy(error)) throw error
      if (waited >= budgetMs) {
        const reason = 'the database is locked by another process'
        throw errors.notReady({ reason }, { cause: error })
      }
      const delay = busyDelaysMs[Math.min(i, busyDelaysMs.length - 1)]!
      waited += delay
      await sleep(delay)
    }
  }
}

/**
 * Applies what is pending in one transaction.
 * @throws databaseNewer, migrationChanged, notReady when it would have to write and may not
 */
export async function migrateSqlite(
  database: SqliteDatabase,
  known: readonly Migration[],
  readonly: boolean,
): Promise<void> {
  await database.migrate((db) => {
    if (!readonly) db.exec(ledgerTable(sqliteDialect))
    const ledger = db.prepare("select 1 from sqlite_schema where name = 'migration'").get()
    const applied =
      ledger === undefined ? [] : db.prepare<[], AppliedMigration>('select * from migration').all()
    const pending = pendingMigrations(known, applied, sqliteDialect, readonly)
    if (pending.length === 0) return
    if (readonly) throw missingMigration(pending[0]!.name)
    for (const { statements, record } of pending) {
      for (const text of statements) db.exec(text)
      const gaps = record.values.map(() => '?').join(', ')
      db.prepare(`insert into migration (${record.columns}) values (${gaps})`).run(...record.values)
    }
  })
}

interface Member {
  readonly steps: () => Steps<unknown>
  /** False when the result says that nothing is to be kept. */
  readonly keep: (result: unknown) => boolean
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * A SQLite file (or memory) with one writer and one reader.
 *
 * Writes queue until the end of the tick and share one transaction, and so one
 * fsync: at `synchronous=FULL`, 50 writers of an account, an operation and an audit row each made
 * 3 770 commits/s against 890 one after the other, 4.3 times as many (3.7–4.5; 2 cores, 2026-11).
 * `begin immediate` is retried asynchronously; once it holds, everything up to COMMIT is
 * synchronous, so nobody else's statement can slip in.
 */
export class SqliteDatabase {
  readonly #writer: Connection | null
  readonly #reader: Connection
  /** For heavy queries; a database in memory has no second handle. */
  readonly #aside: SqliteAside | null
  readonly #busyMs: number
  #queue: Member[] = []
  #flushing: Promise<void> | null = null
  #closed = false
  #folding = false
  /** What the writer's count was then. */
  #foldedAt = 0
  #rest: NodeJS.Timeout | undefined

  private constructor(
    writer: Connection | null,
    reader: Connection,
    aside: SqliteAside | null,
    busyMs = busyBudgetMs,
  ) {
    this.#writer = writer
    this.#reader = reader
    this.#aside = aside
    this.#busyMs = busyMs
  }

  /**
   * @param path of the file, or `:memory:`
   * @param options.busyMs how long a write waits for the lock of another process, in milliseconds
   * @param options.deadlineMs how long a heavy query may take
   */
  static async open(
    path: string,
    options: {
      readonly readonly: boolean
      readonly busyMs?: number
      readonly deadlineMs?: number
    },
  ): Promise<SqliteDatabase> {
    const memory = path === ':memory:'
    if (!memory && !options.readonly) createPrivately(path)
    const writer = options.readonly ? null : new Connection(path, { readonly: false })
    if (writer !== null) {
      // Of a new file only: at 1 M resources of 2.6 KB, one alone on a page of 4 KB, a file was 4.5 GB
      // and a read cost 100 µs; three of them to a page, it is 3.2 GB and 69 µs.
      writer.db.pragma('page_size = 8192')
      await retryBusy(() => writer.db.pragma('journal_mode = wal'))
      writer.db.pragma('synchronous = full')
      writer.db.pragma('foreign_keys = on')
      writer.db.pragma('cache_size = -16384')
      // Pages it only looks at are not copied: a fifth of what an account's update costs.
      writer.db.pragma('mmap_size = 2147418112')
      if (!memory) writer.db.pragma(`wal_autocheckpoint = ${walPagesMax}`)
    }
    // Two handles on `:memory:` would be two databases.
    if (memory && writer !== null) return new SqliteDatabase(writer, writer, null, options.busyMs)
    const reader = new Connection(path, { readonly: true })
    reader.tuneForReading()
    const aside = new SqliteAside(path, options.deadlineMs)
    return new SqliteDatabase(writer, reader, aside, options.busyMs)
  }

  /** @throws tooMany when a heavy query takes too long */
  async query(statement: Statement, args: Row = {}, cost: Cost = 'light'): Promise<readonly Row[]> {
    const values = bind(statement, args)
    const aside = this.#aside
    if (aside !== null && cost === 'heavy') {
      return retryBusy(() => aside.query(statement.text, values))
    }
    try {
      return this.#readHere(statement, values, cost)
    } catch (error) {
      if (!isBusy(error)) throw error
      return retryBusy(() => this.#readHere(statement, values, cost))
    }
  }

  #readHere(statement: Statement, values: readonly SqlValue[], cost: Cost): readonly Row[] {
    const reader = this.#reader
    // Without a second handle there is no second snapshot to share.
    if (this.#aside === null) return reader.execute(statement, statement.text, values).rows
    reader.openSnapshot()
    return cost === 'steady'
      ? reader.recall(statement, values)
      : reader.execute(statement, statement.text, values).rows
  }

  /** Runs `steps` in the next group; resolves when the group is on the disk. */
  write<T>(steps: () => Steps<T>, keep: (result: T) => boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) throw new Error('the store is closed')
      if (this.#writer === null) throw new Error('the store was opened for reading only')
      this.#queue.push({
        steps,
        keep: keep as (result: unknown) => boolean,
        resolve: resolve as (result: unknown) => void,
        reject: (error) => reject(asUnwritable(error)),
      })
      this.#flushing ??= this.#flush(this.#writer)
    })
  }

  /** Runs a migration script in a transaction of its own, before the store is handed out. */
  async migrate(script: (db: Database.Database) => void): Promise<void> {
    if (this.#writer === null) return script(this.#reader.db)
    const { db } = this.#writer
    await retryBusy(() => db.exec('begin immediate'))
    try {
      script(db)
      db.exec('commit')
    } catch (error) {
      if (db.inTransaction) db.exec('rollback')
      throw error
    }
  }

  time(): Promise<null> {
    return Promise.resolve(null)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#rest)
    await this.#flushing
    await this.#aside?.close()
    this.#reader.closeSnapshot()
    // The reader first: the last handle to close folds the WAL back into the file, and a reader cannot.
    if (this.#reader !== this.#writer) this.#reader.db.close()
    this.#writer?.db.close()
  }

  #foldInTime(writer: Connection): void {
    if (writer.changes - this.#foldedAt >= foldAfterRows) this.#fold(writer)
  }

  #fold(writer: Connection): void {
    if (this.#folding || this.#aside === null || this.#closed) return
    this.#folding = true
    this.#foldedAt = writer.changes
    void this.#aside.checkpoint().finally(() => {
      this.#folding = false
      this.#foldRest(writer)
    })
  }

  /** What came during a fold keeps the WAL from being begun anew: it follows once nobody writes. */
  #foldRest(writer: Connection): void {
    const { changes } = writer
    clearTimeout(this.#rest)
    if (changes === this.#foldedAt || this.#closed) return
    const isQuiet = (): boolean => writer.changes === changes
    const next = (): void => (isQuiet() ? this.#fold(writer) : this.#foldRest(writer))
    this.#rest = setTimeout(next, quietMs).unref()
  }

  async #flush(writer: Connection): Promise<void> {
    // Not a microtask: all requests that this turn of the event loop reads shall join.
    await new Promise((resolve) => setImmediate(resolve))
    let again: readonly Member[] = []
    while (again.length > 0 || this.#queue.length > 0) {
      try {
        await retryBusy(() => writer.control('begin immediate'), this.#busyMs)
      } catch (error) {
        for (const member of [...again, ...this.#queue.splice(0)]) member.reject(error)
        break
      }
      // Whoever is told that its write is done has to find it.
      this.#reader.closeSnapshot()
      if (again.length > 0) {
        runCarefully(writer, again)
        again = []
        continue
      }
      // Taken only now: whoever came while the lock was awaited joins.
      const group = this.#queue.splice(0, groupMax)
      if (!runPlainly(writer, group)) again = group
      this.#foldInTime(writer)
    }
    this.#flushing = null
  }
}

/**
 * Runs a group without savepoints, which make up a third of what a commit costs: next to always
 * everybody's part is kept. The transaction is open; afterwards it is not.
 * @returns false when nobody's part was kept, since one has to be taken back alone
 */
function runPlainly(writer: Connection, members: readonly Member[]): boolean {
  const { db } = writer
  const results: unknown[] = []
  try {
    for (const member of members) {
      const result = drive(writer, member.steps())
      results.push(result)
      if (member.keep(result)) continue
      db.exec('rollback')
      if (members.length === 1) member.resolve(result)
      return members.length === 1
    }
  } catch (error) {
    if (db.inTransaction) db.exec('rollback')
    if (members.length === 1) members[0]!.reject(error)
    return members.length === 1
  }
  try {
    writer.control('commit')
  } catch (error) {
    if (db.inTransaction) db.exec('rollback')
    for (const member of members) member.reject(error)
    return true
  }
  for (const [i, member] of members.entries()) member.resolve(results[i])
  return true
}

/**
 * Runs a group with a savepoint for each member. The transaction is open; afterwards it is not, and
 * every member knows its fate.
 */
function runCarefully(writer: Connection, members: readonly Member[]): void {
  const { db } = writer
  const settle: (() => void)[] = []
  try {
    for (const member of members) {
      writer.control('savepoint member')
      try {
        const result = drive(writer, member.steps())
        if (!member.keep(result)) db.exec('rollback to member')
        settle.push(() => member.resolve(result))
      } catch (error) {
        // SQLITE_FULL, IOERR or NOMEM may have rolled back everything, members already released included.
        if (!db.inTransaction) throw error
        db.exec('rollback to member')
        settle.push(() => member.reject(error))
      }
      writer.control('release member')
    }
    writer.control('commit')
  } catch (error) {
    if (db.inTransaction) db.exec('rollback')
    for (const member of members) member.reject(error)
    return
  }
  for (const tell of settle) tell()
}

function drive<T>(connection: Connection, steps: Steps<T>): T {
  let step = steps.next()
  while (step.done !== true) {
    let outcome: Outcome
    try {
      outcome = answer(connection, step.value)
    } catch (error) {
      const constraint = asConstraint(error)
      if (constraint === null) throw error
      step = steps.throw(constraint)
      continue
    }
    step = steps.next(outcome)
  }
  return step.value
}

function answer(connection: Connection, { statement, args, more }: Run): Outcome {
  const one = (row: Row): Outcome =>
    connection.execute(statement, statement.text, bind(statement, row))
  if (more === undefined) return one(args)
  const each = [args, ...more].map((row) => {
    try {
      return one(row)
    } catch (error) {
      const constraint = asConstraint(error)
      if (constraint === null) throw error
      return constraint
    }
  })
  return { rows: [], changes: 0, each }
}

/** Hashes and names of owners are nobody else's business; WAL and shm inherit the file's mode. */
function createPrivately(path: string): void {
  mkdirSync(dirname(path), { recursive: true })
  closeSync(openSync(path, 'a', 0o600))
}
