import type { Compilable, Kysely } from 'kysely'
import { errors } from '../domain/errors.ts'
import type { Dialect } from './dialect.ts'
import type { Scope, StoreFacts } from './fence.ts'
import type { Conflict } from './store.ts'
import type { Tables } from './tables.ts'

export type SqlValue = string | number | null
export type Row = Readonly<Record<string, SqlValue>>

/** What a room needs to compile its statements: the builder and the differences of the database. */
export interface Sql {
  readonly db: Kysely<Tables>
  readonly dialect: Dialect
}

/** SQL compiled once; `parameters` holds constants and named gaps that each run fills in. */
export interface Statement {
  readonly text: string
  readonly parameters: readonly unknown[]
}

/** One statement with the values for its gaps. */
export interface Run {
  readonly statement: Statement
  readonly args: Row
  /** The same statement for other rows, in any order: a database may answer all at once. */
  readonly more?: readonly Row[]
}

export interface Outcome {
  readonly rows: readonly Row[]
  readonly changes: number
  /** Of a run with `more`: of `args`, then of each of them. */
  readonly each?: readonly (Outcome | ConstraintFailed)[]
}

/**
 * A piece of a transaction: it yields statements and gets their outcomes. A generator, because the
 * same steps must run synchronously inside a SQLite group commit (an `await` there would let the
 * event loop slip a stranger into the transaction) and asynchronously over a PostgreSQL connection.
 * A statement that a constraint refuses is thrown into the generator as `ConstraintFailed`: it had
 * no effect and the transaction is still usable.
 */
export type Steps<T> = Generator<Run, T, Outcome>

/**
 * `heavy` may look at every row: it runs aside and under a deadline. `steady` is asked with every
 * request and seldom changes: its rows may be kept until anybody has written anything.
 */
export type Cost = 'light' | 'steady' | 'heavy'

export type Query = (statement: Statement, args?: Row, cost?: Cost) => Promise<readonly Row[]>

/**
 * `shared`: the rows that it reads and writes are guarded by its locks, by versions, fences or
 * constraints, and it may take its steps within a transaction beside those of others. `planned`: its
 * statements want the same plan whatever their values are.
 */
export type Manner = 'alone' | 'shared' | 'planned'

/** What the processes on one database tell each other; no word carries data, any may be lost. */
export type Topic = 'work' | 'policy'

export interface Signals {
  /** To the other processes, soon; several of one kind become one. */
  announce(topic: Topic): void
  /** Hears the others, and each topic once whenever something may have been missed; returns the end. */
  listen(heard: (topic: Topic) => void): Promise<() => void>
}

/** How many connections there are, are free, and how much waits for one. */
export interface Connections {
  readonly total: number
  readonly idle: number
  readonly waiting: number
}

/** What the rooms are built upon. */
export interface Database {
  readonly facts: StoreFacts
  /** What reads in that scope; where the database has row security it shows nothing else. */
  within(scope: Scope): Query
  /**
   * Runs `steps` in a transaction, which is kept when `keep` says so.
   * @param scope whose rows it may touch
   * @param locks names of what no other write may touch meanwhile, where writes run side by side
   * @param manner what a database may do to be quicker
   */
  write<T>(
    scope: Scope,
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
    locks?: readonly string[],
    manner?: Manner,
  ): Promise<T>
  /** Of a database behind a pool. */
  connections?(): Connections
  /** Absent where no other process can be told. */
  readonly signals?: Signals
  /** The database's own time, in milliseconds since 1970; null where it has none but the machine's. */
  time(): Promise<number | null>
  /** Why nothing could be written now; absent where only a write can tell. */
  health?(): Promise<string | null>
  close(): Promise<void>
}

/** How long one heavy query may take. */
export const scanDeadlineMs = 2_000

export function tooSlow(cause: unknown): Error {
  const reason =
    'The list takes too long to find: no index serves its filter or order. Filter by an indexed attribute, such as userName, externalId, owner.value or status, with eq.'
  return errors.tooMany({ reason }, { cause })
}

/** Why one change cannot be made; its place in the commit is added by the caller. */
export type Refusal = Omit<Conflict, 'change'>

export class ConstraintFailed extends Error {
  override readonly name = 'ConstraintFailed'
  readonly constraint: 'unique' | 'foreignKey'

  constructor(constraint: 'unique' | 'foreignKey', cause: unknown) {
    super(`a ${constraint} constraint refused the row`, { cause })
    this.constraint = constraint
  }
}

export class Gap {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** A named gap to be filled at each run; typed as the value the query builder expects there. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what the builder expects
export function arg<T = string>(name: string): T {
  return new Gap(name) as T
}

/** A gap for each column, named after it: the `values` of an insert. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
export function gaps<T = Record<string, never>>(columns: readonly string[]): T {
  return Object.fromEntries(columns.map((column) => [column, arg(column)])) as T
}

export function statement(query: Compilable): Statement {
  const compiled = query.compile()
  return { text: compiled.sql, parameters: compiled.parameters }
}

export function bind(statement: Statement, args: Row): SqlValue[] {
  return statement.parameters.map((parameter) => {
    if (!(parameter instanceof Gap)) return parameter as SqlValue
    const value = args[parameter.name]
    if (value === undefined) throw new Error(`no value for ${parameter.name}`)
    return value
  })
}

export function* run(statement: Statement, args: Row): Steps<Outcome> {
  return yield { statement, args }
}

/**
 * A statement for several rows, none of which depends on another, nor is the same. One that a
 * constraint refuses is told in its place.
 */
export function* runAll(
  statement: Statement,
  list: readonly Row[],
): Steps<readonly (Outcome | ConstraintFailed)[]> {
  const [args, ...more] = list
  if (args === undefined) return []
  return (yield { statement, args, more }).each!
}

export function* first(statement: Statement, args: Row): Steps<Row | null> {
  return (yield { statement, args }).rows[0] ?? null
}
