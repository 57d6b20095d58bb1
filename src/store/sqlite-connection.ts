import Database from 'better-sqlite3'
import { normalise } from '../domain/text.ts'
import { parseInstant } from '../domain/time.ts'
import type { Outcome, Row, SqlValue, Statement } from './sql.ts'

/** Lists and searches are compiled per request; the texts repeat, since values are parameters. */
const preparedMax = 500

/** Answers of one `steady` query, of some hundred bytes each. */
const keptMax = 1_000

type Prepared = Database.Statement<unknown[], Row>

export interface ConnectionOptions {
  readonly readonly: boolean
  /** A heavy query stops with an error as soon as its first element is not 0. */
  readonly stop?: Int32Array
}

/** One handle with its prepared statements. */
export class Connection {
  readonly db: Database.Database
  /** Rows written so far. */
  changes = 0
  /** Of transactions and savepoints; parsing them anew cost a tenth of a grouped commit. */
  readonly #control = new Map<string, Database.Statement>()
  readonly #hot = new WeakMap<object, Prepared>()
  readonly #byText = new Map<string, Prepared>()
  readonly #version: Database.Statement<[], number>
  #keptAt = -1
  #hasSnapshot = false
  #kept = new WeakMap<Statement, Map<string, readonly Row[]>>()

  constructor(path: string, { readonly, stop }: ConnectionOptions) {
    this.db = new Database(path, { readonly, timeout: 0 })
    this.db.function('custody_normalise', { deterministic: true }, (value: unknown) =>
      typeof value === 'string' ? normalise(value) : value,
    )
    this.db.function('custody_instant', { deterministic: true }, (value: unknown) =>
      typeof value === 'string' ? parseInstant(value) : null,
    )
    // Asked at each row of a heavy query: SQLite itself cannot be interrupted from another thread here.
    this.db.function('custody_may_go_on', { deterministic: false }, (_row: unknown) => {
      if (stop !== undefined && Atomics.load(stop, 0) !== 0) throw new Error('stopped')
      return 1
    })
    this.#version = this.db.prepare<[], number>('pragma data_version').pluck()
  }

  /** @param key stands for the text where the caller has an object that lives as long */
  execute(key: object, text: string, values: readonly SqlValue[]): Outcome {
    const prepared = this.#prepare(key, text)
    if (prepared.reader) return { rows: prepared.all(...values), changes: 0 }
    const { changes } = prepared.run(...values)
    this.changes += changes
    return { rows: [], changes }
  }

  /**
   * Lets all reads of this turn of the event loop share one transaction: beginning one costs 4 µs,
   * as much as a read. Nothing is older for it: a request that this turn reads was sent before the
   * turn, and so before the snapshot.
   */
  openSnapshot(): void {
    if (this.#hasSnapshot) return
    this.control('begin')
    this.#hasSnapshot = true
    setImmediate(() => this.closeSnapshot())
  }

  /** The next read sees what has been committed by now. */
  closeSnapshot(): void {
    if (!this.#hasSnapshot) return
    this.#hasSnapshot = false
    // An I/O error ends a transaction by itself.
    if (this.db.inTransaction) this.control('commit')
  }

  /**
   * As `execute`, with the rows of the last time while no other handle, of this process or another,
   * has committed anything: a client and its token cost 30 µs to read.
   */
  recall(statement: Statement, values: readonly SqlValue[]): readonly Row[] {
    const version = this.#version.get()!
    if (version !== this.#keptAt) this.#kept = new WeakMap()
    this.#keptAt = version
    let kept = this.#kept.get(statement)
    if (kept === undefined) this.#kept.set(statement, (kept = new Map()))
    const key = JSON.stringify(values)
    let rows = kept.get(key)
    if (rows === undefined) {
      rows = this.execute(statement, statement.text, values).rows
      if (kept.size >= keptMax) kept.clear()
      kept.set(key, rows)
    }
    return rows
  }

  control(
    text: 'begin' | 'begin immediate' | 'commit' | 'savepoint member' | 'release member',
  ): void {
    let prepared = this.#control.get(text)
    if (prepared === undefined) this.#control.set(text, (prepared = this.db.prepare(text)))
    prepared.run()
  }

  /** For reading beside a writer. */
  tuneForReading(): void {
    this.db.pragma('cache_size = -65536')
    // Mapped pages are the kernel's to reclaim; at 1 M rows a read costs 42 µs with and 61 without.
    this.db.pragma('mmap_size = 2147418112')
  }

  /** Room statements live as long as the store; those of lists come anew with each request. */
  #prepare(key: object, text: string): Prepared {
    const hot = this.#hot.get(key)
    if (hot !== undefined) return hot
    let prepared = this.#byText.get(text)
    if (prepared === undefined) {
      prepared = this.db.prepare<unknown[], Row>(text)
      if (this.#byText.size >= preparedMax) {
        this.#byText.delete(this.#byText.keys().next().value!)
      }
      this.#byText.set(text, prepared)
    }
    this.#hot.set(key, prepared)
    return prepared
  }
}
