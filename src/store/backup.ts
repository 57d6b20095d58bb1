import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { copyFile, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Instant } from '../domain/time.ts'
import { copyStore } from './copy.ts'
import type { AuditRoot } from './copy-checks.ts'
import { checkSide } from './copy-checks.ts'
import { openSide } from './copy-side.ts'
import { migrationState } from './migration-state.ts'
import { openStore } from './open.ts'
import { Connection } from './sqlite-connection.ts'
import type { DocumentCodec } from './store.ts'

export const backupFormat = 'custody-backup/1'

/** What stands beside the file of a backup: all that is needed to know it again. */
export interface BackupManifest {
  readonly format: typeof backupFormat
  /** Of Custody. */
  readonly version: string
  readonly takenAt: Instant
  /** Of what was backed up; the file itself is SQLite in either case. */
  readonly engine: 'sqlite' | 'postgres'
  /** The last migration applied. */
  readonly schema: string
  readonly rows: Readonly<Record<string, number>>
  /** Of each tenant's audit log, computed from its rows. */
  readonly roots: readonly AuditRoot[]
  /** A word that only the master key makes; the key itself is in no backup. */
  readonly masterKeyCheck: string | null
  readonly bytes: number
  readonly sha256: string
}

/**
 * Copies a database into one SQLite file, and looks at the copy. SQLite is copied page by page while
 * the service writes (https://www.sqlite.org/backup.html); PostgreSQL row by row, for which no
 * service may run.
 * @param file must not be there; nobody else may read it, from its first byte on
 * @throws CopyRefused from PostgreSQL, and whatever the disk says
 */
export async function takeBackup(options: {
  readonly url: string
  readonly file: string
  readonly now: Instant
  readonly version: string
  readonly codec: DocumentCodec
}): Promise<BackupManifest> {
  const { url, file, now, version, codec } = options
  const isSqlite = url.startsWith('sqlite:')
  // Before the first page is in it: it holds hashes of tokens, and who may do what.
  await writeFile(file, '', { flag: 'wx', mode: 0o600 })
  try {
    if (isSqlite) await copyPages(url.slice('sqlite:'.length), file)
    else await copyRows({ from: url, to: `sqlite:${file}`, now, codec })
    await settle(file)
    const { wrong, ...facts } = await examine(file)
    if (wrong.length > 0) throw new Error(`the copy is not sound: ${wrong.join('; ')}`)
    const { size: bytes } = await stat(file)
    const sha256 = await digestOf(file)
    const engine = isSqlite ? 'sqlite' : 'postgres'
    return { format: backupFormat, version, takenAt: now, engine, ...facts, bytes, sha256 }
  } catch (error) {
    for (const end of ['', '-wal', '-shm', '-journal']) await rm(`${file}${end}`, { force: true })
    throw error
  }
}

/** Rows go into tables that are there: the target is migrated first. */
async function copyRows(copy: {
  readonly from: string
  readonly to: string
  readonly now: Instant
  readonly codec: DocumentCodec
}): Promise<void> {
  await (await openStore({ url: copy.to, codec: copy.codec })).close()
  await copyStore(copy)
}

async function copyPages(from: string, to: string): Promise<void> {
  const connection = new Connection(from, { readonly: true })
  try {
    await connection.db.backup(to)
  } finally {
    connection.db.close()
  }
}

/** One file, without the log that a running database keeps beside it; it is on disk afterwards. */
export async function settle(file: string): Promise<void> {
  const connection = new Connection(file, { readonly: false })
  try {
    connection.db.pragma('wal_checkpoint(truncate)')
    connection.db.pragma('journal_mode = delete')
  } finally {
    connection.db.close()
  }
  const handle = await open(file, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

interface Examined extends Pick<BackupManifest, 'schema' | 'rows' | 'roots' | 'masterKeyCheck'> {
  readonly wrong: readonly string[]
}

async function examine(file: string): Promise<Examined> {
  const damage = damageOf(file)
  if (damage !== null)
    return { wrong: [damage], schema: '', rows: {}, roots: [], masterKeyCheck: null }
  const { applied, pending, unknown } = await migrationState(`sqlite:${file}`)
  const known = unknown.length === 0 && pending.length === 0
  const side = await openSide(`sqlite:${file}`, true)
  try {
    const rows: Record<string, number> = {}
    for (const { name } of await side.tables()) {
      const [row] = await side.ask(`select count(*) as n from "${name}"`)
      rows[name] = Number(row?.['n'] ?? 0)
    }
    // An older schema lacks what the newest checks read; it is checked after the restore.
    const { wrong, roots } = known ? await checkSide(side) : { wrong: [], roots: [] }
    const schema = [...applied, ...unknown].at(-1) ?? ''
    return { wrong, schema, rows, roots, masterKeyCheck: await side.meta('masterKeyCheck') }
  } finally {
    await side.close()
  }
}

function damageOf(file: string): string | null {
  try {
    const connection = new Connection(file, { readonly: true })
    try {
      const said = String(connection.db.pragma('quick_check', { simple: true }))
      return said === 'ok' ? null : `SQLite finds damage: ${said}`
    } finally {
      connection.db.close()
    }
  } catch (error) {
    return `SQLite cannot read it: ${(error as Error).message}`
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}

/** Everything in which a file is not what its manifest says; empty when it is. */
export async function verifyBackup(
  file: string,
  manifest: BackupManifest,
): Promise<readonly string[]> {
  const { size } = await stat(file)
  if (size !== manifest.bytes) return [`it has ${size} bytes, not ${manifest.bytes}`]
  if ((await digestOf(file)) !== manifest.sha256) return ['its SHA-256 is another one']
  const found = await examine(file)
  const wrong = [...found.wrong]
  if (found.schema !== manifest.schema) wrong.push(`its schema is ${found.schema}`)
  if (JSON.stringify(found.rows) !== JSON.stringify(manifest.rows))
    wrong.push('its rows are not as many')
  if (found.roots.length > 0 && JSON.stringify(found.roots) !== JSON.stringify(manifest.roots)) {
    wrong.push('its audit log has another root')
  }
  return wrong
}

/**
 * Puts the file of a backup where a database is read from; there is none there before, or an empty one.
 * The file stays as it is: into PostgreSQL a copy of it goes, which is migrated on its way.
 * @throws CopyRefused for PostgreSQL
 */
export async function putBack(
  file: string,
  to: { readonly url: string; readonly now: Instant; readonly codec: DocumentCodec },
): Promise<void> {
  const { url, now, codec } = to
  if (url.startsWith('sqlite:')) return copyFile(file, url.slice('sqlite:'.length))
  const directory = await mkdtemp(path.join(tmpdir(), 'custody-restore-'))
  try {
    const copy = path.join(directory, 'backup.db')
    await copyFile(file, copy)
    await (await openStore({ url: `sqlite:${copy}`, codec })).close()
    await copyRows({ from: `sqlite:${copy}`, to: url, now, codec })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
