import { existsSync } from 'node:fs'
import { Client } from 'pg'
import { errors } from '../domain/errors.ts'
import type { Clock } from '../domain/time.ts'
import { isDisconnected, openSide, unfinishedCopy } from './copy-side.ts'
import { asFailure, asUnreachable } from './postgres-failures.ts'
import { Connection } from './sqlite-connection.ts'

/** What a database says of itself; read beside a running service, nothing is changed. */
export type DatabaseFacts = SqliteFacts | PostgresFacts

export interface SqliteFacts {
  readonly engine: 'SQLite'
  readonly bytes: number
  readonly journalMode: string
  /** `ok`, or the first damage found; null when the file is too large to be read whole now. */
  readonly damage: string | null
}

export interface PostgresFacts {
  readonly engine: 'PostgreSQL'
  readonly version: string
  /** As `server_version_num`: 150018 is 15.18. */
  readonly versionNumber: number
  readonly encoding: string
  readonly isReadOnly: boolean
  /** `fsync`, `synchronous_commit`, `full_page_writes` as a connection of Custody gets them. */
  readonly settings: Readonly<Record<'fsync' | 'synchronous_commit' | 'full_page_writes', string>>
  /** For ordinary roles, and the least of what server, database and role allow. */
  readonly connectionsMax: number
  /** Milliseconds by which this machine's clock is behind the database's. */
  readonly clockOffset: number
  readonly isPooled: boolean
}

export interface Examined {
  readonly facts: DatabaseFacts
  /** Whether rows of a copy that was cut off are there. */
  readonly isUnfinishedCopy: boolean
  readonly close: () => Promise<void>
}

export interface ExamineOptions {
  /** The machine's. */
  readonly clock: Clock
  /** For each answer of a server. */
  readonly answerMs: number
  /** Files beyond this many bytes are not read whole. */
  readonly readWholeMax: number
}

/**
 * Looks at a database. Close it last: until then SQLite keeps its files beside the database, and takes
 * away those that were not there before.
 * @returns null for a SQLite file that is not there or empty
 * @throws notReady, or what SQLite or the server said
 */
export async function examineDatabase(
  url: string,
  options: ExamineOptions,
): Promise<Examined | null> {
  return url.startsWith('sqlite:')
    ? examineSqlite(url.slice('sqlite:'.length), options)
    : examinePostgres(url, options)
}

async function isUnfinished(url: string): Promise<boolean> {
  const side = await openSide(url, true)
  try {
    return (await side.has('meta')) && (await side.meta(unfinishedCopy)) !== null
  } finally {
    await side.close()
  }
}

async function examineSqlite(file: string, options: ExamineOptions): Promise<Examined | null> {
  if (!existsSync(file)) return null
  // The last handle of a WAL database takes its side files away, which one for reading cannot; where
  // they are, somebody uses it or died, and they are not ours to fold.
  const connection = new Connection(file, { readonly: existsSync(`${file}-wal`) })
  const { db } = connection
  try {
    db.pragma('query_only = on')
    db.pragma(`busy_timeout = ${options.answerMs}`)
    const number = (name: string): number => Number(db.pragma(name, { simple: true }))
    const bytes = number('page_count') * number('page_size')
    const facts: SqliteFacts = {
      engine: 'SQLite',
      bytes,
      journalMode: String(db.pragma('journal_mode', { simple: true })),
      damage:
        bytes > options.readWholeMax ? null : String(db.pragma('quick_check(1)', { simple: true })),
    }
    if (bytes === 0) {
      db.close()
      return null
    }
    return {
      facts,
      isUnfinishedCopy: await isUnfinished(`sqlite:${file}`),
      close: async () => void db.close(),
    }
  } catch (error) {
    db.close()
    throw error
  }
}

/** Asks one statement; a `Client` does, and so does a pooler between. */
export interface Asker {
  readonly ask: (text: string) => Promise<Readonly<Record<string, unknown>>>
}

/**
 * Whether two sessions share a connection of the server, as a pooler in transaction mode lets them:
 * one is held in a transaction, and the other's setting does not survive it, or its process is not
 * the one it was.
 */
export async function isPooled(one: Asker, two: Asker): Promise<boolean> {
  const mark = `select pg_backend_pid() as pid, current_setting('custody.doctor', true) as word`
  await one.ask(`set custody.doctor = 'here'`)
  const before = await one.ask(mark)
  await two.ask('begin read only')
  try {
    const other = await two.ask(mark)
    const after = await one.ask(mark)
    const isKept = after['pid'] === before['pid'] && after['word'] === 'here'
    return !isKept || before['word'] !== 'here' || other['pid'] === before['pid']
  } finally {
    await two.ask('rollback')
    await one.ask('reset custody.doctor')
  }
}

const factsOf = `select current_setting('server_version') as version,
    current_setting('server_version_num')::integer as number,
    current_setting('server_encoding') as encoding,
    current_setting('transaction_read_only') as read_only,
    current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('full_page_writes') as full_page_writes,
    current_setting('max_connections')::integer
      - current_setting('superuser_reserved_connections')::integer
      - coalesce(current_setting('reserved_connections', true)::integer, 0) as connections,
    (select datconnlimit from pg_database where datname = current_database()) as of_database,
    (select rolconnlimit from pg_roles where rolname = current_user) as of_role`

async function examinePostgres(
  url: string,
  { answerMs, clock }: ExamineOptions,
): Promise<Examined> {
  if (!URL.canParse(url)) {
    throw errors.configInvalid({ problems: 'store.url: is not a URL; is a character unescaped?' })
  }
  const connect = async (): Promise<Client> => {
    const client = new Client({
      connectionString: url,
      application_name: 'custody doctor',
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      statement_timeout: answerMs,
    })
    client.on('error', () => undefined)
    await client.connect().catch((error: unknown) => {
      throw asUnreachable(error)
    })
    return client
  }
  const clients: Client[] = []
  const askerOf = (client: Client): Asker => ({
    ask: async (text) => (await client.query<Record<string, unknown>>(text)).rows[0] ?? {},
  })
  try {
    clients.push(await connect())
    const first = askerOf(clients[0]!)
    const row = await first.ask(factsOf)
    const clockOffset = await offsetOf(first, clock)
    clients.push(await connect())
    const pooled = await isPooled(first, askerOf(clients[1]!))
    const limits = [row['connections'], row['of_database'], row['of_role']].map(Number)
    const facts: PostgresFacts = {
      engine: 'PostgreSQL',
      version: String(row['version']),
      versionNumber: Number(row['number']),
      encoding: String(row['encoding']),
      isReadOnly: row['read_only'] === 'on',
      settings: {
        fsync: String(row['fsync']),
        synchronous_commit: String(row['synchronous_commit']),
        full_page_writes: String(row['full_page_writes']),
      },
      // -1 is no limit of its own.
      connectionsMax: Math.min(...limits.filter((n) => n >= 0)),
      clockOffset,
      isPooled: pooled,
    }
    return { facts, isUnfinishedCopy: await isUnfinished(url), close: () => Promise.resolve() }
  } catch (error) {
    throw isDisconnected(error) ? asUnreachable(error) : asFailure(error)
  } finally {
    // A pooler that does not answer shall not keep us either.
    await Promise.race([
      Promise.allSettled(clients.map((client) => client.end())),
      new Promise((resolve) => setTimeout(resolve, answerMs).unref()),
    ])
  }
}

/** The best of three: the answer of the quickest says most. */
async function offsetOf(asker: Asker, clock: Clock): Promise<number> {
  const found: { readonly offset: number; readonly trip: number }[] = []
  for (let i = 0; i < 3; i++) {
    const [began, at] = [clock.monotonic(), Date.parse(clock.now())]
    const row = await asker.ask(
      'select extract(epoch from clock_timestamp())::double precision * 1000 as ms',
    )
    const trip = clock.monotonic() - began
    found.push({ offset: Math.round(Number(row['ms']) - (at + trip / 2)), trip })
  }
  return found.toSorted((a, b) => a.trip - b.trip)[0]!.offset
}
