import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { TenantId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { openStore } from '../../src/store/open.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeAccount, makeCredential, makeIssuedToken, makePerson } from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let store: Store
let other: Store
let line: Server
beforeAll(async () => {
  database = await createDatabase()
  store = await openStore({ url: database.url, codec, connections: 3 })
  const far = new URL(database.url)
  line = await slowLine(Number(far.port), far.hostname)
  far.host = `127.0.0.1:${(line.address() as AddressInfo).port}`
  other = await openStore({ url: far.href, codec, connections: 2 })
})
afterAll(async () => {
  await Promise.all([store.close(), other.close()])
  line.close()
  await database.drop()
})

/** Answers come late over it: what was true when they were sent may have changed on their arrival. */
async function slowLine(port: number, host: string): Promise<Server> {
  const server = createServer((near) => {
    const far = connect(port, host)
    near.pipe(far)
    far.on('data', (bytes) => setTimeout(() => near.write(bytes), 4))
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** What is sent to the server while `work` runs: the values of each statement. */
async function sentDuring(work: () => Promise<unknown>): Promise<readonly string[]> {
  const spy = vi.spyOn(Client.prototype, 'query')
  try {
    await work()
    return spy.mock.calls.map(([query]) =>
      JSON.stringify((query as { readonly values?: readonly unknown[] }).values ?? []),
    )
  } finally {
    spy.mockRestore()
  }
}

describe('lookups that many ask for at the same time', () => {
  it('never tell of a token that another replica revoked before they were asked for', async () => {
    const account = makeAccount()
    const credential = makeCredential({ account: account.id })
    const tokens = Array.from({ length: 40 }, () => makeIssuedToken(credential))
    const saved = await store.commit([
      { type: 'account', account, expectedVersion: null },
      { type: 'credential', credential, expectedVersion: null },
      ...tokens.map((token): Change => ({ type: 'issuedToken', token })),
    ])
    expect(saved).toBe('saved')
    const revoked = new Set<string>()
    const stale: string[] = []
    let asked = 0
    let active = 0
    const reader = async (first: number): Promise<void> => {
      for (let i = first; revoked.size < tokens.length; i++) {
        // Around the one that is about to go, so that many wait for the same answer.
        const { id } = tokens[Math.min(revoked.size + (i % 3), tokens.length - 1)]!
        const { id: gone } = tokens[Math.max(revoked.size - 1, 0)]!
        for (const one of [id, gone]) {
          const wasRevoked = revoked.has(one)
          const found = await other.read.issuedToken(one)
          asked += 1
          if (found!.active) active += 1
          if (wasRevoked && found!.active) stale.push(one)
        }
      }
    }

    const sent = await sentDuring(async () => {
      const readers = Array.from({ length: 60 }, (_, i) => reader(i))
      for (const { id } of tokens) {
        await store.commit([{ type: 'issuedTokenActive', id, active: false }])
        revoked.add(id)
        if ((await other.read.issuedToken(id))!.active) stale.push(id)
      }
      await Promise.all(readers)
    })

    expect(stale).toEqual([])
    expect(active).toBeGreaterThan(0)
    expect(sent.length).toBeLessThan(asked / 3)
  })

  it('of different tenants are never in one statement, and answer each with its own', async () => {
    const tenants = Array.from({ length: 5 }, (_, i) => `tenant-${i}` as TenantId)
    const people = [...tenants, defaultTenant].flatMap((tenant) =>
      Array.from({ length: 8 }, () => makePerson({ tenant })),
    )
    for (const person of people) {
      await store.commit([{ type: 'person', person, expectedVersion: null }])
    }
    // In turns, so that neighbours are of different tenants; each also asks for what is not its own.
    const asks = people.flatMap((_, i) => {
      const { tenant, id } = people[(i * 8 + Math.floor(i / 6)) % people.length]!
      return [tenant, tenants.find((t) => t !== tenant)!].map((by) => ({ by, id, tenant }))
    })

    let answers: readonly unknown[] = []
    const sent = await sentDuring(async () => {
      answers = await Promise.all(asks.map(({ by, id }) => other.read.person(by, id)))
    })

    const expected = asks.map(({ by, id, tenant }) =>
      by === tenant ? people.find((person) => person.id === id) : null,
    )
    expect(answers).toEqual(expected)
    const all = [...tenants, defaultTenant]
    const named = sent.map((values) => all.filter((tenant) => values.includes(`"${tenant}"`)))
    expect(named.filter((some) => some.length > 1)).toEqual([])
    expect(named.filter((some) => some.length === 1).length).toBeLessThan(asks.length / 2)
  })
})
