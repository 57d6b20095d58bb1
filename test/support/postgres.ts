import { Client } from 'pg'
import { inject } from 'vitest'

/** The tables in the order in which their rows can go. */
const tables = `select string_agg(format('%I', relname), ', ') as names from pg_class
  where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'migration'`

/** An ordinary role, as an operator would make one: row security does not bind a superuser. */
const role = 'custody_ordinary'
const createRole = `do $$begin create role ${role} login password '${role}' nosuperuser nobypassrls;
  exception when duplicate_object or unique_violation then null; end$$`

export interface TestDatabase {
  /** As an ordinary role, which owns the database. */
  readonly url: string
  /** As the server's superuser, whom nothing fences in. */
  readonly superuserUrl: string
  /** Removes every row but the ledger of migrations. */
  clear(): Promise<void>
  drop(): Promise<void>
}

let made = 0

/** A database of its own on the server that all test files share; the first to ask starts it. */
export async function createDatabase(): Promise<TestDatabase> {
  const server = await (await fetch(inject('postgres'))).text()
  const name = `custody_${process.pid}_${++made}`
  const superuserUrl = new URL(server)
  superuserUrl.pathname = `/${name}`
  const url = new URL(superuserUrl)
  url.username = url.password = role
  const administer = async (text: string): Promise<void> => {
    const client = new Client({ connectionString: server })
    await client.connect()
    await client.query(text)
    await client.end()
  }
  // Not template1: the tests shall meet a default collation that is not the bytes' own.
  await administer(createRole)
  await administer(`create database ${name} owner ${role}`)
  const client = new Client({ connectionString: superuserUrl.href })
  await client.connect()
  let clearing: string | null = null
  return {
    url: url.href,
    superuserUrl: superuserUrl.href,
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
