import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { systemClock } from '../../host/clock.ts'
import { loadConfig } from '../../host/config.ts'
import { lockHolder } from '../../host/lock.ts'
import { documentCodec } from '../../scim/codec.ts'
import { copyStore, CopyRefused } from '../../store/copy.ts'
import { migrationState } from '../../store/migration-state.ts'
import { openStore } from '../../store/open.ts'
import type { CopyOptions, MigrateOptions } from '../commands/local.ts'
import { systemFailure } from '../system-failure.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { CommandFailure, exitCodes, record } from '../terminal.ts'

/** Lines of progress are no more often than this. */
const progressMs = 200

/**
 * Applies what the database of the configuration lacks; `--dry-run` lists it.
 * @throws configInvalid, databaseNewer, migrationChanged, notReady
 */
export async function migrate(options: MigrateOptions, terminal: Terminal): Promise<ExitCode> {
  const url = await configuredUrl(options.config, terminal)
  const before = await reaching(url, () => migrationState(url))
  if (!options.dryRun) await (await openMigrated(url)).close()
  const { pending, applied } = before
  if (options.json) {
    const result = {
      dryRun: options.dryRun,
      applied: applied.length,
      [options.dryRun ? 'pending' : 'migrated']: pending,
    }
    terminal.stdout(`${JSON.stringify(result, null, 2)}\n`)
    return exitCodes.ok
  }
  for (const name of pending) terminal.stdout(`${name}\n`)
  const done = options.dryRun ? 'would be applied' : 'applied'
  terminal.stderr(
    pending.length === 0
      ? `nothing to do: ${applied.length} migrations are there\n`
      : `${pending.length} ${done}\n`,
  )
  return exitCodes.ok
}

/**
 * Copies one database into another of either kind, and compares them.
 * @throws CommandFailure with what to do; no URL is ever printed
 */
export async function copy(options: CopyOptions, terminal: Terminal): Promise<ExitCode> {
  const from = await urlOf('--from', options.from, options.fromFile, terminal, options.config)
  const to = await urlOf('--to', options.to, options.toFile, terminal, null)
  if (from === to)
    throw new CommandFailure(exitCodes.usage, '--from and --to are the same database.')
  await notServed(from, options.config, terminal)
  await (
    await reaching(from, () => openStore({ url: from, codec: documentCodec, readonly: true }))
  ).close()
  await (await openMigrated(to, options.check)).close()
  const began = performance.now()
  const report = await reaching(to, () =>
    copyStore({
      from,
      to,
      now: systemClock.now(),
      check: options.check,
      onProgress: progressOn(terminal, options.json),
    }),
  ).catch((error: unknown) => {
    throw asFailure(error)
  })
  const seconds = (performance.now() - began) / 1_000
  const rows = report.tables.reduce((sum, table) => sum + table.rows, 0)
  if (options.json) {
    terminal.stdout(`${JSON.stringify({ ...report, rows, seconds }, null, 2)}\n`)
    return exitCodes.ok
  }
  const what = options.check
    ? 'equal'
    : report.outcome === 'same'
      ? 'nothing to do: the copy was finished before, and is equal'
      : report.resumed
        ? 'copied (what was cut off before was gone on with), and equal'
        : 'copied, and equal'
  terminal.stdout(
    record(
      {
        result: what,
        rows: `${rows} in ${report.tables.filter((t) => t.rows > 0).length} tables`,
        took: `${seconds.toFixed(1)} s`,
      },
      terminal,
    ),
  )
  if (report.outcome === 'copied') {
    terminal.stderr(
      'Next: set store.url to the target and start with the same master key and audit anchor (.custody/master.key, .custody/audit-anchor).\n',
    )
  }
  return exitCodes.ok
}

function progressOn(terminal: Terminal, isJson: boolean) {
  if (isJson || terminal.columns === null) return () => undefined
  let shownAt = -Infinity
  return ({ table, rows }: { readonly table: string; readonly rows: number }): void => {
    if (performance.now() - shownAt < progressMs) return
    shownAt = performance.now()
    terminal.stderr(`${table}: ${rows} rows\n`)
  }
}

async function configuredUrl(file: string | null, { env, cwd }: Terminal): Promise<string> {
  const { store } = await loadConfig({ file, env, cwd })
  return store.kind === 'sqlite'
    ? `sqlite:${store.file}`
    : store.url.use((bytes) => bytes.toString('utf8'))
}

/** A URL with a password belongs into a file: all users of a machine can read its command lines. */
async function urlOf(
  flag: string,
  url: string | null,
  file: string | null,
  terminal: Terminal,
  config: string | null,
): Promise<string> {
  if (url !== null && file !== null) {
    throw new CommandFailure(exitCodes.usage, `Give ${flag} or ${flag}-file, not both.`)
  }
  if (url === null && file === null) {
    if (flag === '--from') return configuredUrl(config, terminal)
    throw new CommandFailure(exitCodes.usage, `Say where to: ${flag} or ${flag}-file.`)
  }
  if (url !== null && hasPassword(url)) {
    terminal.stderr(
      `Warning: ${flag} holds a password, which every user of this machine can read meanwhile; put the URL into a file and give ${flag}-file.\n`,
    )
  }
  const text = url ?? (await readFile(path.resolve(terminal.cwd, file!), 'utf8')).trim()
  if (text.startsWith('sqlite:')) {
    return `sqlite:${path.resolve(terminal.cwd, text.slice('sqlite:'.length))}`
  }
  if (/^postgres(ql)?:\/\//.test(text)) return text
  throw new CommandFailure(
    exitCodes.usage,
    `${flag}${file === null ? '' : '-file'}: is neither sqlite:<path> nor postgres://….`,
  )
}

function hasPassword(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { password, searchParams } = new URL(url)
  return password !== '' || searchParams.has('password')
}

/**
 * A server that hangs, or a clock that was set, leaves no fresh heartbeat; the lock of its home tells.
 * @throws CommandFailure when the configuration names this file, and a server runs on its home
 */
async function notServed(from: string, file: string | null, { env, cwd }: Terminal): Promise<void> {
  // What was named by --from needs no configuration; one that cannot be read tells no home.
  const config = await loadConfig({ file, env, cwd }).catch(() => null)
  if (config?.store.kind !== 'sqlite' || from !== `sqlite:${config.store.file}`) return
  const pid = await lockHolder(path.join(config.home, 'server.lock'))
  if (pid === null) return
  throw new CommandFailure(
    exitCodes.conflict,
    `The source is in use: a server runs on ${config.home}, process ${pid}; stop it.`,
  )
}

function openMigrated(url: string, readonly = false) {
  return reaching(url, () => openStore({ url, codec: documentCodec, readonly }))
}

/** What the disk said no to, with the path; other errors as they are. */
async function reaching<T>(url: string, act: () => Promise<T>): Promise<T> {
  const file = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : null
  return act().catch((error: unknown) => {
    throw systemFailure(error, file) ?? error
  })
}

const copyCodes: Partial<Record<CopyRefused['reason'], ExitCode>> = {
  differs: exitCodes.integrity,
  lost: exitCodes.failed,
}

function asFailure(error: unknown): unknown {
  if (!(error instanceof CopyRefused)) return error
  return new CommandFailure(copyCodes[error.reason] ?? exitCodes.conflict, error.message, error)
}
