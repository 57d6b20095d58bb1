import type { Compilable, Kysely } from 'kysely'
import { errors } from '../domain/errors.ts'
import type { Dialect } from './dialect.ts'
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
}

export interface Outcome {
  readonly rows: readonly Row[]
  readonly changes: number
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

/** What the processes on one database tell each other; no word carries data, any may be lost. */
export type Topic = 'work' | 'policy'

export interface Signals {
  /** To the other processes, soon; several of one kind become one. */
  announce(topic: Topic): void
  /** Hears the others, and each topic once whenever something may have been missed; returns the end. */
  listen(heard: (topic: Topic) => void): Promise<() => void>
}

/** What the rooms are built upon. */
export interface Database {
  readonly query: Query
  /**
   * Runs `steps` in a transaction, which is kept when `keep` says so.
   * @param locks names of what no other write may touch meanwhile, where writes run side by side
   */
  write<T>(
    steps: () => Steps<T>,
    keep: (result: T) => boolean,
    locks?: readonly string[],
  ): Promise<T>
  /** Absent where no other process can be told. */
  readonly signals?: Signals
  /** The database's own time, in milliseconds since 1970; null where it has none but the machine's. */
  time(): Promise<number | null>
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

class Gap {
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

export function* first(statement: Statement, args: Row): Steps<Row | null> {
  return (yield { statement, args }).rows[0] ?? null
}
