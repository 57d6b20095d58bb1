import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool, type PoolClient } from 'pg'
import { errors } from '../domain/errors.ts'
import { postgresDialect, postgresFunctions } from './dialect-postgres.ts'
import type { AppliedMigration, Migration } from './migrations/migrations.ts'
import { ledgerTable, missingMigration, pendingMigrations } from './migrations/migrations.ts'
import { PostgresSignals } from './postgres-signals.ts'
import { bind, ConstraintFailed } from './sql.ts'
import type { Cost, Database, Outcome, Row, Statement, Steps } from './sql.ts'
import { scanDeadlineMs, tooSlow } from './sql.ts'

/** Texts of lists vary with their filter: beyond this many, new ones are planned at each run. */
const namedMax = 500
/** Of a transaction that another one stood in the way of. */
const attemptsMax = 10
const connectTimeoutMs = 5_000
/** Under this key replicas that start together migrate one after the other. */
const migrationLock = lockKey('custody migration')

export interface PostgresOptions {
  readonly readonly: boolean
  readonly migrations: readonly Migration[]
  /** At most so many at once. With one, writes are applied in the order of their calls. */
  readonly connections?: number
}

function codeOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown }
  return typeof code === 'string' ? code : ''
}

function asConstraint(error: unknown): ConstraintFailed | null {
  switch (codeOf(error)) {
    case '23505':
      return new ConstraintFailed('unique', error)
    case '23503':
      return new ConstraintFailed('foreignKey', error)
    default:
      return null
  }
}

/** Serialisation failure and deadlock: the transaction did nothing and will succeed when repeated. */
function isTransient(error: unknown): boolean {
  return ['40001', '40P01'].includes(codeOf(error))
}

/** Errors of a connection and of a server that is not there; none of them repeats the URL. */
function asUnreachable(error: unknown): Error {
  switch (codeOf(error)) {
    case '28000':
    case '28P01':
    case '3D000':
      return errors.configInvalid(
        {
          problems: 'store.url: the database refused the user, the password or the database name.',
        },
        { cause: error },
      )
    default:
      return errors.notReady({ reason: 'the database cannot be reached' }, { cause: error })
  }
}

/** Why a statement failed, in words a client may read where it is the client's doing. */
function asFailure(error: unknown): unknown {
  // PostgreSQL keeps any text but U+0000.
  return codeOf(error) === '22021'
    ? errors.invalidValue({ path: 'text', reason: 'must not contain U+0000.' }, { cause: error })
    : error
}

function lockKey(name: string): string {
  return createHash('sha256').update(name).digest().readBigInt64BE(0).toString()
}

/**
 * PostgreSQL behind a small pool. Every write is one transaction at READ COMMITTED; what its rows
 * alone do not decide (an account's summaries, what is open below it) is guarded by advisory locks
 * that are taken along with BEGIN, without a trip of their own. SERIALIZABLE would need none, but
 * a claim reads what every enqueue writes, and each would abort the other.
 */
export class PostgresDatabase implements Database {
  readonly #pool: Pool
  readonly #readonly: boolean
  readonly #names = new Map<string, string>()
  readonly signals: PostgresSignals

  private constructor(pool: Pool, url: string, readonly: boolean) {
    this.#pool = pool
    this.signals = new PostgresSignals(url)
    this.#readonly = readonly
  }

  /**
   * Connects and migrates.
   * @throws configInvalid, notReady, databaseNewer, migrationChanged
   */
  static async open(url: string, options: PostgresOptions): Promise<PostgresDatabase> {
    if (!URL.canParse(url)) {
      throw errors.configInvalid({ problems: 'store.url: is not a URL; is a character unescaped?' })
    }
    const pool = new Pool({
      connectionString: url,
      max: options.connections ?? 10,
      connectionTimeoutMillis: connectTimeoutMs,
      application_name: 'custody',
      async onConnect(client) {
        // Compiling a filter to machine code takes longer than any list may.
        const access = options.readonly ? '; set default_transaction_read_only = on' : ''
        await client.query(`set jit = off${access}`)
      },
    })
    // A lost idle connection is replaced at the next use; unheard, the event would end the process.
    pool.on('error', () => undefined)
    const database = new PostgresDatabase(pool, url, options.readonly)
    try {
      await database.#migrate(options)
      return database
    } catch (error) {
      await pool.end()
      throw error
    }
  }

  async query(statement: Statement, args: Row = {}, cost: Cost = 'light'): Promise<readonly Row[]> {
    return this.#with(async (client) => {
      if (cost !== 'heavy') return (await this.#execute(client, statement, args)).rows
      await client.query(`begin read only; set local statement_timeout = ${scanDeadlineMs}`)
      try {
        return (await this.#execute(client, statement, args)).rows
      } catch (error) {
        throw codeOf(error) === '57014' ? tooSlow(error) : error
      } finally {
        await rollback(client)
      }
    })
  }

  /** @param locks names of what no other write may touch meanwhile */
  async write<T>(
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
    locks: readonly string[] = [],
  ): Promise<T> {
    if (this.#readonly) throw new Error('the store was opened for reading only')
    // In one order everywhere, so that nobody waits in a circle.
    const keys = [...new Set(locks)].sort().map((name) => `pg_advisory_xact_lock(${lockKey(name)})`)
    const begin = keys.length === 0 ? 'begin' : `begin; select ${keys.join(', ')}`
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#with((client) => this.#twice(client, begin, steps, keep))
      } catch (error) {
        if (!isTransient(error) || attempt >= attemptsMax) throw error
        await sleep(attempt * 2)
      }
    }
  }

  async time(): Promise<number> {
    return this.#with(async (client) => {
      const text = 'select extract(epoch from clock_timestamp())::double precision * 1000 as ms'
      return (await client.query<{ ms: number }>(text)).rows[0]!.ms
    })
  }

  async close(): Promise<void> {
    await this.signals.close()
    await this.#pool.end()
  }

  /** The second try has the first one's connection: whoever waits for one stays behind. */
  async #twice<T>(
    client: PoolClient,
    begin: string,
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
  ): Promise<T> {
    try {
      return await this.#transaction(client, begin, steps, keep, false)
    } catch (error) {
      if (!(error instanceof ConstraintFailed)) throw error
      return await this.#transaction(client, begin, steps, keep, true)
    }
  }

  /**
   * @param careful puts a savepoint around each statement, so that one which a constraint refuses
   *   can be answered. The first try goes without: that saves two trips per statement, and
   *   conflicts are rare.
   */
  async #transaction<T>(
    client: PoolClient,
    begin: string,
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
    careful: boolean,
  ): Promise<T> {
    await client.query(begin)
    try {
      const result = await this.#drive(client, steps(), careful)
      await client.query(keep(result) ? 'commit' : 'rollback')
      return result
    } catch (error) {
      await rollback(client)
      throw error
    }
  }

  async #drive<T>(client: PoolClient, steps: Steps<T>, careful: boolean): Promise<T> {
    let step = steps.next()
    while (step.done !== true) {
      const { statement, args } = step.value
      if (careful) await client.query('savepoint statement')
      let outcome: Outcome
      try {
        outcome = await this.#execute(client, statement, args)
      } catch (error) {
        const constraint = asConstraint(error)
        if (constraint === null) throw error
        if (!careful) throw constraint
        await client.query('rollback to statement')
        step = steps.throw(constraint)
        continue
      }
      if (careful) await client.query('release statement')
      step = steps.next(outcome)
    }
    return step.value
  }

  async #execute(client: PoolClient, statement: Statement, args: Row): Promise<Outcome> {
    const name = this.#nameOf(statement.text)
    const result = await client.query<Row>({
      text: statement.text,
      values: bind(statement, args),
      ...(name === undefined ? {} : { name }),
    })
    return { rows: result.rows, changes: result.rowCount ?? 0 }
  }

  /** Named statements are planned once per connection: 1.5 times as many reads a second. */
  #nameOf(text: string): string | undefined {
    let name = this.#names.get(text)
    if (name === undefined && this.#names.size < namedMax) {
      this.#names.set(text, (name = `custody_${this.#names.size}`))
    }
    return name
  }

  /** Lends a connection; one that broke is thrown away. */
  async #with<T>(use: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw asUnreachable(error)
    })
    let broken: Error | undefined
    // A connection that breaks while it is lent tells so here as well as to its query.
    const note = (error: Error): void => {
      broken = error
    }
    client.on('error', note)
    try {
      return await use(client)
    } catch (error) {
      throw broken === undefined ? asFailure(error) : asUnreachable(error)
    } finally {
      client.off('error', note)
      client.release(broken)
    }
  }

  async #migrate(options: PostgresOptions): Promise<void> {
    await this.#with(async (client) => {
      await client.query('begin')
      try {
        if (options.readonly) await checkMigrated(client, options.migrations)
        else await migrate(client, options.migrations)
        await client.query('commit')
      } catch (error) {
        await rollback(client)
        throw error
      }
    })
  }
}

/** It can only fail with its connection, which is noticed elsewhere; what failed before matters. */
async function rollback(client: PoolClient): Promise<void> {
  await client.query('rollback').catch(() => undefined)
}

async function migrate(client: PoolClient, known: readonly Migration[]): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(${migrationLock})`)
  await client.query('set local client_min_messages = warning')
  const { rows } = await client.query<{ version: number; encoding: string }>(
    `select current_setting('server_version_num')::integer as version,
      current_setting('server_encoding') as encoding`,
  )
  const { version, encoding } = rows[0]!
  if (encoding !== 'UTF8') {
    const problems = `store.url: the database stores text in ${encoding}; create one with encoding UTF8.`
    throw errors.configInvalid({ problems })
  }
  await client.query(ledgerTable(postgresDialect))
  const pending = pendingMigrations(known, await applied(client), postgresDialect)
  if (pending.length === 0) return
  for (const text of postgresFunctions(version)) await client.query(text)
  for (const { number, name, checksum, statements } of pending) {
    for (const text of statements) await client.query(text)
    const values = [number, name, checksum]
    await client.query('insert into migration (number, name, checksum) values ($1, $2, $3)', values)
  }
}

/** @throws notReady when the server was not started since the last upgrade */
async function checkMigrated(client: PoolClient, known: readonly Migration[]): Promise<void> {
  const ledger = await client.query<{ there: boolean }>(
    `select to_regclass('migration') is not null as there`,
  )
  const done = ledger.rows[0]!.there ? await applied(client) : []
  const [pending] = pendingMigrations(known, done, postgresDialect)
  if (pending !== undefined) throw missingMigration(pending.name)
}

async function applied(client: PoolClient): Promise<readonly AppliedMigration[]> {
  return (await client.query<AppliedMigration>('select number, name, checksum from migration')).rows
}
