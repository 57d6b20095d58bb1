import { Client } from 'pg'
import type { Signals, Topic } from './sql.ts'

/** Announcements that come within this time go out as one: a burst of writes wakes others once. */
const gatherMs = 10
const firstPauseMs = 250
const longestPauseMs = 15_000
/** A network that swallows packets says nothing; asked this often, it is found out. */
const askEveryMs = 20_000
const answerMs = 5_000
const topics: readonly Topic[] = ['work', 'policy']

/**
 * Words between the processes on one database, by LISTEN and NOTIFY, on a connection of their own. A
 * word carries no data, and may be lost: whoever listens looks at the rows, and looks by itself now
 * and then. It is not part of the commit it tells of: PostgreSQL takes a lock of the whole database
 * at the commit of a transaction that notifies, under which all of them would queue for the disk.
 */
export class PostgresSignals implements Signals {
  readonly #url: string
  readonly #heard = new Set<(topic: Topic) => void>()
  readonly #pending = new Set<Topic>()
  #client: Client | null = null
  #channel = ''
  #connecting: Promise<void> | null = null
  #pauseMs = firstPauseMs
  #retry: NodeJS.Timeout | null = null
  #flush: NodeJS.Timeout | null = null
  #ask: NodeJS.Timeout | null = null
  #isClosed = false

  constructor(url: string) {
    this.#url = url
  }

  announce(topic: Topic): void {
    if (this.#isClosed) return
    this.#pending.add(topic)
    this.#flush ??= setTimeout(() => void this.#send(), gatherMs).unref()
  }

  async listen(heard: (topic: Topic) => void): Promise<() => void> {
    this.#heard.add(heard)
    // Without a connection it goes on trying by itself; whoever listens need not wait for that.
    await this.#connect()
    return () => {
      this.#heard.delete(heard)
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const timer of [this.#retry, this.#flush, this.#ask]) if (timer) clearTimeout(timer)
    await this.#connecting
    await this.#client?.end().catch(() => undefined)
    this.#client = null
  }

  async #send(): Promise<void> {
    this.#flush = null
    await this.#connect()
    const client = this.#client
    if (client === null) return
    const words = [...this.#pending]
    this.#pending.clear()
    const calls = words.map((_, i) => `pg_notify($1, $${i + 2})`).join(', ')
    if (words.length === 0) return
    await client.query(`select ${calls}`, [this.#channel, ...words]).catch(() => {
      this.#lost(client)
    })
  }

  #connect(): Promise<void> {
    if (this.#client !== null || this.#retry !== null || this.#isClosed) return Promise.resolve()
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = null
    })
    return this.#connecting
  }

  async #open(): Promise<void> {
    const client = new Client({
      connectionString: this.#url,
      connectionTimeoutMillis: answerMs,
      query_timeout: answerMs,
      keepAlive: true,
      application_name: 'custody signals',
    })
    client.on('error', () => this.#lost(client))
    client.on('end', () => this.#lost(client))
    client.on('notification', ({ processId, payload }) => {
      // What this process says it knows already.
      if (processId !== processIdOf(client)) this.#hear(payload as Topic)
    })
    try {
      await client.connect()
      // Two installations may share a database, each with a schema of its own.
      const { rows } = await client.query<{ schema: string }>('select current_schema() as schema')
      this.#channel = `custody ${rows[0]!.schema}`.slice(0, 63)
      await client.query(`listen ${client.escapeIdentifier(this.#channel)}`)
    } catch {
      await client.end().catch(() => undefined)
      this.#again()
      return
    }
    if (this.#isClosed) {
      await client.end().catch(() => undefined)
      return
    }
    this.#client = client
    this.#pauseMs = firstPauseMs
    this.#ask = setInterval(() => {
      client.query('select 1').catch(() => this.#lost(client))
    }, askEveryMs).unref()
    // Whatever was said while nobody listened.
    for (const topic of topics) this.#hear(topic)
  }

  #hear(topic: Topic): void {
    if (!topics.includes(topic)) return
    for (const heard of this.#heard) heard(topic)
  }

  #lost(client: Client): void {
    if (this.#client !== client) return
    this.#client = null
    if (this.#ask) clearInterval(this.#ask)
    // Not awaited: on a dead network the goodbye takes as long as anything else.
    void client.end().catch(() => undefined)
    this.#again()
  }

  #again(): void {
    if (this.#isClosed || this.#retry !== null) return
    // Not all of them at the same moment when the database comes back.
    const pause = this.#pauseMs * (0.5 + (process.pid % 50) / 100)
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
    this.#retry = setTimeout(() => {
      this.#retry = null
      void this.#connect()
    }, pause).unref()
  }
}

/** The server's process behind a connection; the driver keeps it, its types do not say so. */
function processIdOf(client: Client): number | undefined {
  return (client as unknown as { readonly processID?: number }).processID
}
