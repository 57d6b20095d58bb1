import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { Client, Pool } from 'pg'
import type { PoolClient } from 'pg'
import { parseDuration } from '../../src/domain/time.ts'
import type { Call, HostContext } from '../../src/provider/contract.ts'
import { loginRefusal, providerErrorOf, refuse } from './errors.ts'

/** Where the server is and who Custody is there. */
export interface Connection {
  readonly host: string
  readonly port?: number
  readonly database?: string
  readonly user: string
  readonly password?: string
  readonly passwordFile?: string
  /** `verify-full` unless the host is this machine. */
  readonly tls?: 'verify-full' | 'disable'
  readonly tlsCaFile?: string
  readonly timeout?: string
}

/** JSON Schema of `Connection`'s members. */
export const connectionProperties = {
  host: { type: 'string', minLength: 1, maxLength: 253 },
  port: { type: 'integer', minimum: 1, maximum: 65_535 },
  database: { type: 'string', minLength: 1, maxLength: 63 },
  user: { type: 'string', minLength: 1, maxLength: 63 },
  password: { type: 'string', minLength: 1 },
  passwordFile: { type: 'string', minLength: 1 },
  tls: { enum: ['verify-full', 'disable'] },
  tlsCaFile: { type: 'string', minLength: 1 },
  timeout: { type: 'string', format: 'positive-duration' },
} as const

/** Runs statements of one connection; rows come as plain objects. */
export type Query = <R>(text: string, values?: readonly unknown[]) => Promise<readonly R[]>

interface Login {
  readonly user: string
  readonly password: string
}

const connectionsMax = 4
const connectMilliseconds = 5_000
/** PostgreSQL's default; a lock that somebody else holds must not outlast the lease of a step. */
const statementSeconds = 10

/** One PostgreSQL server as its administrator sees it, and as somebody who merely tries to log in. */
export class PostgresServer {
  readonly place: { readonly host: string; readonly port: number; readonly database: string }
  readonly user: string
  readonly #pool: Pool
  readonly #tls: false | ConnectionOptions
  readonly #timeout: number
  readonly #admin: { readonly user: string; readonly password?: string }

  constructor(host: HostContext, connection: Connection) {
    const { port = 5432, database = 'postgres', tls, tlsCaFile } = connection
    this.place = { host: connection.host, port, database }
    this.user = connection.user
    this.#timeout = (parseDuration(connection.timeout ?? '') ?? statementSeconds) * 1_000
    const mode = tls ?? (needsTls(connection.host) ? 'verify-full' : 'disable')
    const ca = tlsCaFile === undefined ? {} : { ca: readText(host, 'tlsCaFile', tlsCaFile) }
    this.#tls = mode === 'disable' ? false : { rejectUnauthorized: true, ...ca }
    const password =
      connection.passwordFile === undefined
        ? connection.password
        : readText(host, 'passwordFile', connection.passwordFile).trim()
    this.#admin = { user: connection.user, ...(password === undefined ? {} : { password }) }
    this.#pool = new Pool({
      ...this.#settings(database, 'custody'),
      ...this.#admin,
      max: connectionsMax,
      idleTimeoutMillis: 30_000,
      allowExitOnIdle: true,
    })
    // An idle connection that breaks is replaced by the next call; unheard, it would end the process.
    this.#pool.on('error', () => undefined)
  }

  /** Reads; nothing it does can have an effect. */
  read<T>(call: Call, what: string, run: (query: Query) => Promise<T>): Promise<T> {
    return this.#use(call, what, false, run)
  }

  /** One transaction: all of it happened, or, unless the connection broke at its end, nothing did. */
  write<T>(call: Call, what: string, run: (query: Query) => Promise<T>): Promise<T> {
    return this.#use(call, what, true, async (query) => {
      await query('begin')
      try {
        const result = await run(query)
        await query('commit')
        return result
      } catch (error) {
        await query('rollback').catch(() => undefined)
        throw error
      }
    })
  }

  /** A transaction in another database of the server: what a role owns can be given away only there. */
  async writeIn<T>(
    database: string,
    call: Call,
    what: string,
    run: (query: Query) => Promise<T>,
  ): Promise<T> {
    const client = new Client({ ...this.#settings(database, 'custody'), ...this.#admin })
    return this.#guard(call, what, true, client, async () => {
      await client.connect()
      const query = queryOf(client)
      await query('begin')
      const result = await run(query)
      await query('commit')
      return result
    })
  }

  /**
   * Logs in and out again.
   * @returns whether PostgreSQL took the login, or refused it because of the role or its password
   * @throws ProviderError when it refused for another reason, or nobody answered
   */
  async tryLogin(login: Login, call: Call): Promise<'accepted' | 'refused'> {
    const { database } = this.place
    // PostgreSQL keeps 63 bytes of it: all of a UUID.
    const client = new Client({
      ...this.#settings(database, `custody-probe/${call.operation ?? call.key}`),
      ...login,
    })
    return this.#guard(call, `trying ${login.user}`, false, client, async () => {
      try {
        await client.connect()
        return 'accepted'
      } catch (error) {
        if (loginRefusal(error) === 'refused') return 'refused'
        throw error
      }
    })
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  #settings(database: string, application: string) {
    const { host, port } = this.place
    return {
      host,
      port,
      database,
      ssl: this.#tls,
      connectionTimeoutMillis: connectMilliseconds,
      statement_timeout: this.#timeout,
      lock_timeout: this.#timeout,
      application_name: application,
      // Notices of the server would be printed; nothing here asks for any.
      options: '-c client_min_messages=error',
    }
  }

  async #use<T>(
    call: Call,
    what: string,
    writes: boolean,
    run: (query: Query) => Promise<T>,
  ): Promise<T> {
    if (call.signal.aborted) throw aborted(what)
    let sent = false
    let client: PoolClient | null = null
    let broken = false
    try {
      client = await this.#pool.connect()
      sent = writes
      const query = queryOf(client)
      return await untilAborted(call.signal, run(query))
    } catch (error) {
      broken = !isAnswer(error)
      throw providerErrorOf(error, what, sent)
    } finally {
      // A connection with a statement still under way must not be handed to the next call.
      client?.release(broken)
    }
  }

  /** Ends a connection of its own whatever comes. */
  async #guard<T>(
    call: Call,
    what: string,
    writes: boolean,
    client: Client,
    run: () => Promise<T>,
  ): Promise<T> {
    if (call.signal.aborted) throw aborted(what)
    client.on('error', () => undefined)
    try {
      return await untilAborted(call.signal, run())
    } catch (error) {
      throw providerErrorOf(error, what, writes)
    } finally {
      await Promise.race([client.end().catch(() => undefined), afterAbort(call.signal)])
    }
  }
}

function queryOf(client: Client | PoolClient): Query {
  return async <R>(text: string, values: readonly unknown[] = []) => {
    // Without values the simple protocol is used, which utility statements need.
    const result = values.length === 0 ? client.query(text) : client.query(text, [...values])
    return (await result).rows as readonly R[]
  }
}

const aborted = (what: string) => refuse('unavailable', `PostgreSQL, ${what}: not sent in time.`)

function isAnswer(error: unknown): boolean {
  return typeof (error as { readonly severity?: unknown } | null)?.severity === 'string'
}

/** The statement itself goes on until its own timeout; its connection is thrown away. */
function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new Error('no answer in time'))
    signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

function afterAbort(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** All but this machine: `127.` at the start of a name may be anybody's. */
export function needsTls(host: string): boolean {
  const isLoopback = host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
  return !isLoopback && !host.startsWith('/')
}

function readText(host: HostContext, name: string, file: string): string {
  const path = host.resolvePath(file)
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw refuse('invalid', `Provider "${host.name}": ${name} ${path} cannot be read (${code}).`)
  }
}
