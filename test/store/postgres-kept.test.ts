import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { openStore } from '../../src/store/open.ts'
import { asFailure } from '../../src/store/postgres-failures.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeOperation, makePerson } from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let store: Store
/** Breaks the connection by which the next COMMIT comes: the server hears it, or does not. */
let atCommit: 'before' | 'after' | null = null
const relay = createServer((client) => {
  const { hostname, port } = new URL(database.url)
  const server = connect({ host: hostname, port: Number(port) })
  let isDeaf = false
  const end = (): void => {
    client.destroy()
    server.destroy()
  }
  client.on('data', (bytes) => {
    const fate = /(^|[^a-z])commit\0/.test(bytes.toString('latin1')) ? atCommit : null
    if (fate !== null) atCommit = null
    if (fate === 'before') return end()
    isDeaf ||= fate === 'after'
    server.write(bytes)
  })
  server.on('data', (bytes) => {
    if (isDeaf) end()
    else client.write(bytes)
  })
  for (const socket of [client, server]) socket.on('error', end).on('close', end)
})

beforeAll(async () => {
  database = await createDatabase()
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve))
  const through = new URL(database.url)
  through.host = `127.0.0.1:${(relay.address() as AddressInfo).port}`
  store = await openStore({ url: through.href, codec, connections: 3 })
})
afterAll(async () => {
  await store.close()
  await new Promise<void>((resolve) => relay.close(() => resolve()))
  await database.drop()
})

const person = (userName: string): Change => ({
  type: 'person',
  person: makePerson({ userName }),
  expectedVersion: null,
})

describe('a commit that runs alone, and whose answer is lost', () => {
  it.each(['before', 'after'] as const)('is answered as it came out: cut %s', async (fate) => {
    const one = makePerson({ userName: `alone-${fate}` })
    atCommit = fate

    const result = await store.commit([
      { type: 'meta', key: `kept-${fate}`, value: 'v' },
      { type: 'person', person: one, expectedVersion: null },
    ])

    expect(result).toBe('saved')
    expect(atCommit).toBeNull()
    expect(await store.read.person(tenant, one.id)).toEqual(one)
  })
})

describe('commits that wait together', () => {
  it('may concern more accounts than one SELECT has room for', async () => {
    const commits = Array.from({ length: 90 }, (_, i) =>
      i % 9 === 0
        ? Array.from({ length: 180 }, (): Change => ({
            type: 'enqueue',
            operation: makeOperation(),
            preempt: false,
          }))
        : [person(`room-${i}`)],
    )

    const results = await Promise.all(commits.map((changes) => store.commit(changes)))

    expect(new Set(results)).toEqual(new Set(['saved']))
  })

  it('keep the others when one is too long for an index', async () => {
    const names = ['e1', randomBytes(6_000).toString('hex'), 'e2', 'e3']

    const results = await Promise.allSettled(names.map((name) => store.commit([person(name)])))

    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ])
  })
})

it('a standby that was the primary before is called read-only', () => {
  const said = new Error('cannot assign TransactionIds during recovery')

  expect(asFailure(Object.assign(said, { code: 'XX000' }))).toMatchObject({
    code: 'notReady',
    facts: { reason: 'the database is read-only' },
  })
})
