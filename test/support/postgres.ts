import { Client } from 'pg'
import { inject } from 'vitest'

/** The tables in the order in which their rows can go. */
const tables = `select string_agg(format('%I', relname), ', ') as names from pg_class
  where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'migration'`

export interface TestDatabase {
  readonly url: string
  /** Removes every row but the ledger of migrations. */
  clear(): Promise<void>
  drop(): Promise<void>
}

let made = 0

/** A database of its own on the server that all test files share; the first to ask starts it. */
export async function createDatabase(): Promise<TestDatabase> {
  const server = await (await fetch(inject('postgres'))).text()
  const name = `custody_${process.pid}_${++made}`
  const url = new URL(server)
  url.pathname = `/${name}`
  const administer = async (text: string): Promise<void> => {
    const client = new Client({ connectionString: server })
    await client.connect()
    await client.query(text)
    await client.end()
  }
  // Not template1: the tests shall meet a default collation that is not the bytes' own.
  await administer(`create database ${name}`)
  const client = new Client({ connectionString: url.href })
  await client.connect()
  let clearing: string | null = null
  return {
    url: url.href,
    async clear() {
      if (clearing === null) {
        const { rows } = await client.query<{ names: string }>(tables)
        const all = rows[0]!.names.split(', ')
        // Deleting few rows is quicker than TRUNCATE; replicas do not check references.
        clearing = `set session_replication_role = replica; ${all.map((t) => `delete from ${t}`).join('; ')}`
      }
      await client.query(clearing)
    },
    async drop() {
      await client.end()
      await administer(`drop database ${name} with (force)`)
    },
  }
}
