import { existsSync } from 'node:fs'
import { openSide } from './copy-side.ts'
import { migrations } from './migrations/migrations.ts'

export interface MigrationState {
  /** Names of what the database has, and of what this version would add, both in order. */
  readonly applied: readonly string[]
  readonly pending: readonly string[]
  /** Of a newer version than this one. */
  readonly unknown: readonly string[]
}

/** How far a database has come; nothing is changed. A database that is not there has everything before it. */
export async function migrationState(url: string): Promise<MigrationState> {
  const file = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : null
  const applied = file !== null && !existsSync(file) ? [] : await appliedTo(url)
  const known = migrations.map((m) => m.name)
  return {
    applied: applied.filter((name) => known.includes(name)),
    pending: known.filter((name) => !applied.includes(name)),
    unknown: applied.filter((name) => !known.includes(name)),
  }
}

async function appliedTo(url: string): Promise<readonly string[]> {
  const side = await openSide(url, true)
  try {
    if (!(await side.has('migration'))) return []
    return (await side.ask('select name from migration order by number')).map((r) =>
      String(r['name']),
    )
  } finally {
    await side.close()
  }
}
