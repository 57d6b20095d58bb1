import path from 'node:path'
import Database from 'better-sqlite3'
import { Client } from 'pg'

/** Runs statements without parameters against a store's own database, behind Custody's back. */
export async function execute(url: string, statements: readonly string[]): Promise<void> {
  if (url.startsWith('sqlite:')) {
    const db = new Database(url.slice('sqlite:'.length))
    db.exec(['begin', ...statements, 'commit'].join(';\n'))
    db.close()
    return
  }
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    // A commit each: versions of one counter's row that one transaction left behind are walked again
    // with each row it counts. 22 000 accounts took more than three minutes in one.
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}

/** `in (…)` over many values, which are ours and need no escape. */
export function updateEach(set: string, column: string, values: readonly string[]): string[] {
  const statements: string[] = []
  for (let from = 0; from < values.length; from += 500) {
    const some = values.slice(from, from + 500).map((value) => `'${value}'`)
    statements.push(`update resource set ${set} where ${column} in (${some.join(', ')})`)
  }
  return statements
}

export function urlOf(home: string): string {
  return `sqlite:${path.join(home, 'custody.db')}`
}

/** What `loadConfig` reads, for a home and perhaps a database elsewhere. */
export function environmentOf(home: string, url: string): Record<string, string> {
  return { CUSTODY_HOME: home, CUSTODY_LISTEN: '127.0.0.1:0', CUSTODY_STORE_URL: url }
}
