import { existsSync } from 'node:fs'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createIdSource } from '../../domain/ids.ts'
import { systemClock } from '../../host/clock.ts'
import type { Config } from '../../host/config.ts'
import { loadConfig } from '../../host/config.ts'
import { openHome, packageVersion } from '../../host/home.ts'
import { lockHolder } from '../../host/lock.ts'
import { pooledRandom } from '../../host/random.ts'
import { enterRestored } from '../../lifecycle/engine.ts'
import { masterKeyWord } from '../../main.ts'
import { documentCodec } from '../../scim/codec.ts'
import type { BackupManifest } from '../../store/backup.ts'
import { backupFormat, putBack, settle, takeBackup, verifyBackup } from '../../store/backup.ts'
import { CopyRefused } from '../../store/copy.ts'
import { openStore } from '../../store/open.ts'
import type { BackupOptions, RestoreOptions } from '../commands/backup.ts'
import { systemFailure } from '../system-failure.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { CommandFailure, exitCodes, record } from '../terminal.ts'

const manifestOf = (file: string): string => `${file}.manifest.json`

/**
 * Writes a backup of the configured database, beside a running service with SQLite. Both files appear
 * whole or not at all, the manifest last: what has none is no backup.
 * @throws CommandFailure
 */
export async function create(
  target: string,
  options: BackupOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const config = await configured(options, terminal)
  const file = path.resolve(terminal.cwd, target)
  for (const taken of [file, manifestOf(file)]) {
    if (!existsSync(taken)) continue
    throw new CommandFailure(exitCodes.conflict, `${taken} is there already; name another file.`)
  }
  const database = config.store.kind === 'sqlite' ? config.store.file : null
  if (database !== null && !existsSync(database)) {
    const sentence = `There is no database at ${database} yet; start the service once.`
    throw new CommandFailure(exitCodes.notFound, sentence)
  }
  await mkdir(path.dirname(file), { recursive: true })
  const temporary = `${file}.${process.pid}.part`
  const began = performance.now()
  try {
    const manifest = await takeBackup({
      url: urlOf(config),
      file: temporary,
      now: systemClock.now(),
      version: packageVersion(),
      codec: documentCodec,
    })
    // A link, not a rename: a file that has come there meanwhile stays.
    await link(temporary, file)
    const text = `${JSON.stringify(manifest, null, 2)}\n`
    await writeFile(manifestOf(file), text, { flag: 'wx', mode: 0o600 }).catch(async (error) => {
      // Without one it is no backup, and would only be in the way of the next.
      await rm(file, { force: true })
      throw error
    })
    const seconds = (performance.now() - began) / 1_000
    tell({ file, ...manifest }, `taken in ${seconds.toFixed(1)} s`, options.json, terminal)
    terminal.stderr(
      'The master key is not in it: keep .custody/master.key and .custody/audit-anchor elsewhere, too.\n',
    )
    return exitCodes.ok
  } catch (error) {
    throw asFailure(error, temporary)
  } finally {
    await rm(temporary, { force: true })
  }
}

/** Reads a backup whole: digest, damage, counters, references, and the root of each audit log. */
export async function verify(
  target: string,
  options: Pick<BackupOptions, 'json'>,
  terminal: Terminal,
): Promise<ExitCode> {
  const { file, manifest } = await backupAt(target, terminal)
  await verified(file, manifest)
  tell({ file, ...manifest }, 'sound', options.json, terminal)
  return exitCodes.ok
}

/**
 * Puts a backup in the place of the configured database, which is moved aside. The service then starts
 * restored: it mints, rotates and deletes nothing by itself until an operator has looked.
 * @throws CommandFailure
 */
export async function restore(
  target: string,
  options: RestoreOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const { file, manifest } = await backupAt(target, terminal)
  const config = await configured(options, terminal)
  await notServed(config)
  await verified(file, manifest)
  const home = await openHome({ path: config.home, masterKey: config.masterKey, database: file })
  if (
    manifest.masterKeyCheck !== null &&
    manifest.masterKeyCheck !== masterKeyWord(home.masterKey)
  ) {
    const sentence = `The backup was made with another master key than the one of ${config.home}: put that one there first.`
    throw new CommandFailure(exitCodes.integrity, sentence)
  }
  refuseToOverwrite(config, options)
  const { store } = config
  // Made ready beside its place: a crash in the middle leaves what was there.
  const temporary = store.kind === 'sqlite' ? `${store.file}.${process.pid}.part` : null
  const url = temporary === null ? urlOf(config) : `sqlite:${temporary}`
  let aside: string | null = null
  try {
    await putBack(file, { url, now: systemClock.now(), codec: documentCodec })
    await engageRestored(url, manifest)
    if (temporary !== null) await settle(temporary)
    if (temporary !== null && store.kind === 'sqlite') {
      aside = await moveAside(store.file)
      await rename(temporary, store.file)
    }
  } catch (error) {
    throw asFailure(error, file)
  } finally {
    if (temporary !== null) {
      for (const end of ['', '-wal', '-shm']) await rm(`${temporary}${end}`, { force: true })
    }
  }
  const facts = { restored: file, takenAt: manifest.takenAt, aside, schema: manifest.schema }
  if (options.json) terminal.stdout(`${JSON.stringify(facts, null, 2)}\n`)
  else terminal.stdout(record(facts, terminal))
  terminal.stderr(
    'Next: custody serve, then custody sweep run reconcile, look at custody finding list, and release with custody brake release restored --reason "…".\n',
  )
  return exitCodes.ok
}

async function configured(
  { config }: { readonly config: string | null },
  { env, cwd }: Terminal,
): Promise<Config> {
  return loadConfig({ file: config, env, cwd })
}

/** The database of a configuration, with its password. */
export function urlOf({ store }: Config): string {
  return store.kind === 'sqlite'
    ? `sqlite:${store.file}`
    : store.url.use((bytes) => bytes.toString('utf8'))
}

async function notServed(config: Config): Promise<void> {
  const pid = await lockHolder(path.join(config.home, 'server.lock'))
  if (pid === null) return
  const sentence = `A server runs on ${config.home}, process ${pid}; stop it first.`
  throw new CommandFailure(exitCodes.conflict, sentence)
}

/** Before anything is written: the service that starts on it has to know that time went back. */
async function engageRestored(url: string, { takenAt, sha256 }: BackupManifest): Promise<void> {
  const store = await openStore({ url, codec: documentCodec })
  try {
    const ids = createIdSource(systemClock, pooledRandom)
    const facts = { reason: 'backupRestored', takenAt, sha256 }
    await enterRestored({ store, clock: systemClock, ids }, facts)
  } finally {
    await store.close()
  }
}

/** What is there is never overwritten. */
function refuseToOverwrite({ store }: Config, { replace }: RestoreOptions): void {
  if (store.kind !== 'sqlite' || replace || !existsSync(store.file)) return
  const sentence = `There is a database at ${store.file}. Give --replace, and it is moved aside.`
  throw new CommandFailure(exitCodes.conflict, sentence)
}

/** @returns where it is now; null when there was nothing */
async function moveAside(file: string): Promise<string | null> {
  if (!existsSync(file)) return null
  const aside = `${file}.before-${systemClock.now().replaceAll(':', '')}`
  for (const end of ['-wal', '-shm']) {
    if (existsSync(`${file}${end}`)) await rename(`${file}${end}`, `${aside}${end}`)
  }
  // A second name, not another: at its place there is always one of the two, whenever this ends.
  await link(file, aside)
  return aside
}

async function backupAt(target: string, { cwd }: Terminal) {
  const file = path.resolve(cwd, target)
  const said = await readFile(manifestOf(file), 'utf8').catch(() => null)
  if (said === null || !existsSync(file)) {
    const missing = existsSync(file) ? manifestOf(file) : file
    throw new CommandFailure(exitCodes.notFound, `There is no backup: ${missing} is missing.`)
  }
  const manifest = parsed(said)
  if (manifest?.format !== backupFormat) {
    const sentence = `${manifestOf(file)} is no manifest of a backup that this version knows.`
    throw new CommandFailure(exitCodes.integrity, sentence)
  }
  return { file, manifest }
}

function parsed(text: string): BackupManifest | null {
  try {
    return JSON.parse(text) as BackupManifest
  } catch {
    return null
  }
}

async function verified(file: string, manifest: BackupManifest): Promise<void> {
  const wrong = await verifyBackup(file, manifest)
  if (wrong.length === 0) return
  const sentence = `${file} is not what was backed up: ${wrong.join('; ')}.`
  throw new CommandFailure(exitCodes.integrity, sentence)
}

function tell(
  { file, ...manifest }: BackupManifest & { readonly file: string },
  result: string,
  isJson: boolean,
  terminal: Terminal,
): void {
  if (isJson) {
    terminal.stdout(`${JSON.stringify({ file, ...manifest }, null, 2)}\n`)
    return
  }
  const { rows, roots, takenAt, bytes, sha256, schema } = manifest
  const all = Object.values(rows).reduce((sum, n) => sum + n, 0)
  terminal.stdout(
    record(
      {
        result,
        file,
        'taken at': takenAt,
        rows: `${all} in ${Object.values(rows).filter((n) => n > 0).length} tables`,
        audit: roots.map((r) => `${r.tenant}: ${r.size} rows, root ${r.root}`).join(', '),
        schema,
        bytes,
        sha256,
      },
      terminal,
    ),
  )
}

function asFailure(error: unknown, file: string): unknown {
  if (error instanceof CopyRefused) {
    return new CommandFailure(exitCodes.conflict, error.message, error)
  }
  return systemFailure(error, file) ?? error
}
