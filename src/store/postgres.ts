import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool, type PoolClient, type QueryConfig } from 'pg'
import { AppError, errors } from '../domain/errors.ts'
import { everyTenant, noTenant, postgresFacts, sayScope } from './fence.ts'
import type { Scope, StoreFacts } from './fence.ts'
import type { Migration } from './migrations/migrations.ts'
import {
  asConstraint,
  asFailure,
  asRefused,
  asUnreachable,
  brokeOff,
  codeOf,
  CommitUnheard,
  contended,
  isLost,
  isOfOne,
  isReadOnly,
  isRefusal,
  isTransient,
  readOnly,
  unheard,
} from './postgres-failures.ts'
import { answerAll, driveTogether, type Member, WriteGroups } from './postgres-group.ts'
import type { Beginning } from './postgres-transaction.ts'
import { begun, beginWith, commit, rollback } from './postgres-transaction.ts'
import { isLookup, SharedReads } from './postgres-reads.ts'
import { checkMigrated, migrate } from './postgres-migrate.ts'
import { SetForms } from './postgres-sets.ts'
import { PostgresSignals } from './postgres-signals.ts'
import { bind, ConstraintFailed } from './sql.ts'
import type {
  Connections,
  Cost,
  Database,
  Manner,
  Outcome,
  Query,
  Row,
  Run,
  Statement,
  Steps,
} from './sql.ts'
import { scanDeadlineMs, tooSlow } from './sql.ts'

/** Texts of lists vary with their filter: beyond this many, new ones are planned at each run. */
const namedMax = 500
/** Of the same question about different rows: while one is answered, another is put together. */
const readsAtOnce = 2
/** Tenants whose reads are gathered at a time. */
const scopesMax = 1_000
/** Of one whose connection broke before its commit was sent: a server that was restarted is back soon. */
const brokenMax = 3
const brokenPauseMs = 100
/** Of a transaction that another one stood in the way of. */
const attemptsMax = 10
/** To connect, or for one of the connections to be free. */
const connectTimeoutMs = 5_000
/** The server gives up a statement, and a wait for somebody else's lock. */
const statementTimeoutMs = 10_000
const lockTimeoutMs = 5_000
/**
 * A process that stands still in the middle of a transaction loses it, and what it holds, before
 * those who wait for that give up: a paused replica must not keep the others from claiming work.
 */
const idleTimeoutMs = 4_000
/** We give up a server that does not even say so: a network may swallow what it answers. */
const answerTimeoutMs = 15_000
const migrationPauseMs = 1_500
const migrationAttempts = 30
/** So long the outcome of a commit whose answer was lost is asked for. */
const unheardMs = 10_000
const unheardPauseMs = 200
/** Whoever asks how it is wants to know soon. */
const healthMs = 3_000
/** After so many, a transaction that nobody is connected to any more is ended. */
const orphanAfter = 5

export interface PostgresOptions {
  readonly readonly: boolean
  readonly migrations: readonly Migration[]
  /** At most so many at once. With one, writes are applied in the order of their calls. */
  readonly connections?: number
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
  /** The scope that each connection was told last, unless something went wrong since. */
  readonly #scopes = new WeakMap<PoolClient, Scope>()
  readonly #sets = new SetForms()
  /** Null with a single connection: writes are then applied in the order of their calls. */
  readonly #groups: WriteGroups | null
  /** Per scope: rows of different tenants are never asked for in one statement. */
  readonly #reads: Map<Scope, SharedReads> | null
  #facts: StoreFacts | null = null
  readonly signals: PostgresSignals

  private constructor(pool: Pool, url: string, readonly: boolean, connections: number) {
    this.#pool = pool
    this.signals = new PostgresSignals(url)
    this.#readonly = readonly
    this.#reads = connections < 2 ? null : new Map<Scope, SharedReads>()
    this.#groups =
      connections < 2
        ? null
        : new WriteGroups(
            (group) => this.#together(group),
            ({ steps, keep, locks, scope }) =>
              this.#alone(steps, keep, { scope, locks, planned: false, tracked: true }),
          )
  }

  /**
   * Connects and migrates.
   * @throws configInvalid, notReady, databaseNewer, migrationChanged
   */
  static async open(url: string, options: PostgresOptions): Promise<PostgresDatabase> {
    if (!URL.canParse(url)) {
      throw errors.configInvalid({ problems: 'store.url: is not a URL; is a character unescaped?' })
    }
    const connections = options.connections ?? 10
    const pool = new Pool({
      connectionString: url,
      max: connections,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: answerTimeoutMs,
      keepAlive: true,
      application_name: 'custody',
      async onConnect(client) {
        // One that is thrown away may still say why it ended; unheard, that would end the process.
        client.on('error', () => undefined)
        // Compiling a filter to machine code takes longer than any list may.
        await client.query(
          `set jit = off; set statement_timeout = ${statementTimeoutMs};
          set lock_timeout = ${lockTimeoutMs}; set idle_in_transaction_session_timeout = ${idleTimeoutMs}; set custody.tenant = '${noTenant}'
          ${options.readonly ? '; set default_transaction_read_only = on' : ''}`,
        )
      },
    })
    // A lost idle connection is replaced at the next use; unheard, the event would end the process.
    pool.on('error', () => undefined)
    const database = new PostgresDatabase(pool, url, options.readonly, connections)
    try {
      await database.#migrate(options)
      return database
    } catch (error) {
      await pool.end()
      throw isRefusal((error as Error).cause) ? asRefused((error as Error).cause) : error
    }
  }

  get facts(): StoreFacts {
    if (this.#facts === null) throw new Error('the store is not open yet')
    return this.#facts
  }

  within(scope: Scope): Query {
    return (statement, args = {}, cost = 'light') => this.#query(scope, statement, args, cost)
  }

  async #query(scope: Scope, statement: Statement, args: Row, cost: Cost): Promise<readonly Row[]> {
    const reads = this.#readsOf(scope)
    if (reads !== null && (cost === 'steady' || (cost === 'light' && isLookup(statement)))) {
      return reads.read(statement, args)
    }
    return again(() =>
      this.#with(async (client) => {
        if (cost !== 'heavy') {
          await this.#enter(client, scope)
          return (await this.#execute(client, statement, args)).rows
        }
        const begin = `begin read only; set local statement_timeout = ${scanDeadlineMs}`
        await client.query(`${begin}${this.#scopeIn(client, scope)}`)
        try {
          return (await this.#execute(client, statement, args)).rows
        } catch (error) {
          throw codeOf(error) === '57014' ? tooSlow(error) : error
        } finally {
          await rollback(client)
        }
      }),
    )
  }

  #readsOf(scope: Scope): SharedReads | null {
    if (this.#reads === null) return null
    let reads = this.#reads.get(scope)
    if (reads === undefined) {
      // What is on its way holds on to its own.
      if (this.#reads.size >= scopesMax) this.#reads.clear()
      reads = new SharedReads(
        (statement, list) => this.#readMany(scope, statement, list),
        readsAtOnce,
      )
      this.#reads.set(scope, reads)
    }
    return reads
  }

  async #readMany(
    scope: Scope,
    statement: Statement,
    list: readonly Row[],
  ): Promise<readonly (readonly Row[])[]> {
    return again(() =>
      this.#with(async (client) => {
        await this.#enter(client, scope)
        if (list.length > 1 && this.#sets.allows(statement)) {
          return (await this.#sets.run(client, statement, list)).map(({ rows }) => rows)
        }
        const answers: (readonly Row[])[] = []
        for (const args of list) answers.push((await this.#execute(client, statement, args)).rows)
        return answers
      }),
    )
  }

  /** @param locks names of what no other write may touch meanwhile */
  async write<T>(
    scope: Scope,
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
    locks: readonly string[] = [],
    manner: Manner = 'alone',
  ): Promise<T> {
    if (this.#readonly) throw new Error('the store was opened for reading only')
    const groups = this.#groups
    if (manner !== 'shared' || groups === null) {
      // Most claims find nothing, and a number would make each of them a write. What a lost answer
      // leaves claimed is claimed again when its lease lapses.
      const planned = manner === 'planned'
      return this.#alone(steps, keep, { scope, locks, planned, tracked: !planned })
    }
    return new Promise<T>((resolve, reject) => {
      groups.add({
        steps,
        keep: keep as (result: unknown) => boolean,
        locks,
        scope,
        resolve: resolve as (result: unknown) => void,
        reject,
      })
    })
  }

  async #alone<T>(
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
    beginning: Beginning & { readonly scope: Scope },
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#with((client) => {
          const said = this.#scopeIn(client, beginning.scope)
          return this.#twice(client, beginWith(said, beginning), steps, keep)
        })
      } catch (error) {
        if (error instanceof CommitUnheard) {
          if (await this.#wasKept(error)) return error.result as T
        } else if (!isTransient(error) && !brokeOff(error)) throw error
        if (attempt >= (brokeOff(error) ? brokenMax : attemptsMax)) {
          if (isTransient(error)) throw contended(error)
          throw error instanceof CommitUnheard ? unheard(error.cause) : error
        }
        // Two that broke each other off must not meet again.
        await sleep(attempt * (brokeOff(error) ? brokenPauseMs : 2) + randomInt(attempt * 8))
      }
    }
  }

  /**
   * What became of a commit whose answer was lost, by the word of the server (`pg_xact_status`).
   * @throws notReady when it cannot be asked
   */
  async #wasKept(lost: CommitUnheard): Promise<boolean> {
    let isOver = false
    const asking = (async () => {
      for (let asked = 1; !isOver; asked++) {
        const status = await this.#statusOf(lost.xid).catch(() => 'unanswered')
        if (status === 'committed') return true
        if (status === 'aborted') return false
        if (status === 'in progress' && asked === orphanAfter) {
          await this.#endOrphan(lost).catch(() => undefined)
        }
        await sleep(unheardPauseMs)
      }
      return null
    })()
    const kept = await Promise.race([asking, sleep(unheardMs).then(() => null)])
    isOver = true
    if (kept === null) throw unheard(lost.cause)
    return kept
  }

  async #statusOf(xid: string): Promise<string | null> {
    return this.#with(async (client) => {
      const asked = {
        text: 'select pg_xact_status($1::text::xid8) as status',
        values: [xid],
        query_timeout: healthMs,
      }
      return (await client.query<{ status: string | null }>(asked)).rows[0]!.status
    })
  }

  /** Nobody will ever hear of its transaction; another session that has its number meanwhile is let be. */
  async #endOrphan({ xid, backend }: CommitUnheard): Promise<void> {
    await this.#with((client) =>
      client.query({
        text: `select pg_terminate_backend(pid) from pg_stat_activity
          where pid = $1 and backend_xid = $2::text::xid8::xid`,
        values: [backend, xid],
      }),
    )
  }

  /** Why nothing could be written now; null when nothing speaks against it. */
  async health(): Promise<string | null> {
    try {
      return await this.#with(async (client) => {
        const text = `select current_setting('transaction_read_only') = 'on' as "readOnly"`
        const asked = { text, query_timeout: healthMs } as QueryConfig
        const [row] = (await client.query<{ readOnly: boolean }>(asked)).rows
        if (row!.readOnly && !this.#readonly) throw readOnly()
        return null
      })
    } catch (error) {
      if (error instanceof AppError) return String(error.facts['reason'])
      throw error
    }
  }

  async time(): Promise<number> {
    return this.#with(async (client) => {
      const text = 'select extract(epoch from clock_timestamp())::double precision * 1000 as ms'
      return (await client.query<{ ms: number }>(text)).rows[0]!.ms
    })
  }

  connections(): Connections {
    const { totalCount, idleCount, waitingCount } = this.#pool
    return { total: totalCount, idle: idleCount, waiting: waitingCount }
  }

  async close(): Promise<void> {
    await this.signals.close()
    await this.#pool.end()
  }

  /** @returns null when nothing was kept because of one of them: they are to be tried apart */
  async #together(group: readonly Member[]): Promise<readonly unknown[] | null> {
    try {
      return await this.#tryTogether(group)
    } catch (error) {
      // Nothing of it was kept: each is made again by itself.
      if (brokeOff(error)) return null
      if (!(error instanceof CommitUnheard)) throw error
      return (await this.#wasKept(error)) ? (error.result as readonly unknown[]) : null
    }
  }

  async #tryTogether(group: readonly Member[]): Promise<readonly unknown[] | null> {
    return this.#with(async (client) => {
      const locks = group.flatMap((member) => member.locks)
      const said = this.#scopeIn(client, group[0]!.scope)
      const begin = beginWith(said, { locks, planned: true, tracked: true })
      try {
        const xid = await begun(client, begin)
        const results = await driveTogether(client, group, this.#sets, this.#execute.bind(this))
        if (group.every((member, i) => member.keep(results[i]))) {
          await commit(client, xid, results)
          return results
        }
      } catch (error) {
        if (error instanceof CommitUnheard) throw error
        await rollback(client, error)
        if (isOfOne(error)) return null
        throw error
      }
      await rollback(client)
      return null
    })
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
    try {
      // It may fail in the middle: at a lock, with the transaction begun.
      const xid = await begun(client, begin)
      const result = await this.#drive(client, steps(), careful)
      if (keep(result)) await commit(client, xid, result)
      else await client.query('rollback')
      return result
    } catch (error) {
      if (error instanceof CommitUnheard) throw error
      await rollback(client, error)
      throw error
    }
  }

  async #drive<T>(client: PoolClient, steps: Steps<T>, careful: boolean): Promise<T> {
    let step = steps.next()
    while (step.done !== true) {
      const { statement, args, more } = step.value
      if (careful && more !== undefined) {
        step = steps.next(await this.#oneByOne(client, statement, [args, ...more]))
        continue
      }
      if (careful) await client.query('savepoint statement')
      let outcome: Outcome
      try {
        outcome = await this.#answer(client, step.value)
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

  async #answer(client: PoolClient, run: Run): Promise<Outcome> {
    if (run.more === undefined) return this.#execute(client, run.statement, run.args)
    const answers = await answerAll(client, [run], this.#sets, this.#execute.bind(this))
    return answers.get(run)!
  }

  async #oneByOne(
    client: PoolClient,
    statement: Statement,
    list: readonly Row[],
  ): Promise<Outcome> {
    const each: (Outcome | ConstraintFailed)[] = []
    for (const args of list) {
      await client.query('savepoint statement')
      try {
        each.push(await this.#execute(client, statement, args))
        await client.query('release statement')
      } catch (error) {
        const constraint = asConstraint(error)
        if (constraint === null) throw error
        await client.query('rollback to statement')
        each.push(constraint)
      }
    }
    return { rows: [], changes: 0, each }
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
      // What the server made of the scope is anybody's guess now; the next one says it anew.
      this.#scopes.delete(client)
      if (broken === undefined && (isLost(error) || isReadOnly(error))) broken = error as Error
      if (error instanceof CommitUnheard) {
        broken ??= error
        throw error
      }
      throw broken === undefined ? asFailure(error) : asUnreachable(error)
    } finally {
      client.off('error', note)
      // Whatever went wrong, nobody is lent a connection that is still in a transaction.
      client.release(broken ?? client.getTransactionStatus() !== 'I')
    }
  }

  /** Tells a connection the scope, when it has another: an installation with one tenant pays nothing. */
  async #enter(client: PoolClient, scope: Scope): Promise<void> {
    if (this.#scopes.get(client) === scope) return
    this.#scopes.delete(client)
    await client.query(sayScope(scope, 'session'))
    this.#scopes.set(client, scope)
  }

  /** The same for one transaction, behind its BEGIN and without a trip; the session keeps its own. */
  #scopeIn(client: PoolClient, scope: Scope): string {
    return this.#scopes.get(client) === scope ? '' : `; ${sayScope(scope, 'transaction')}`
  }

  async #migrate(options: PostgresOptions): Promise<void> {
    // Replicas of the version before still serve: the locks of a migration may meet theirs in a circle.
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#migrateOnce(options)
      } catch (error) {
        const isHeldUp = codeOf((error as Error).cause) === '55P03'
        if (!(isHeldUp || isTransient(error)) || attempt >= migrationAttempts) throw error
        await sleep(isHeldUp ? migrationPauseMs : attempt * 2)
      }
    }
  }

  async #migrateOnce(options: PostgresOptions): Promise<void> {
    await this.#with(async (client) => {
      await client.query(`begin; ${sayScope(everyTenant, 'transaction')}`)
      try {
        if (options.readonly) await checkMigrated(client, options.migrations)
        else await migrate(client, options.migrations)
        this.#facts = await postgresFacts(client)
        await client.query('commit')
      } catch (error) {
        await rollback(client)
        throw error
      }
    })
  }
}

/** A read whose connection turned out to be broken is asked once more: it changed nothing. */
async function again<T>(read: () => Promise<T>): Promise<T> {
  return read().catch((error: unknown) => {
    if (!brokeOff(error)) throw error
    return read()
  })
}
