import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AccountId } from '../../src/domain/ids.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { openStore } from '../../src/store/open.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeId, makeOperation, makePerson } from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let stores: readonly Store[]
beforeAll(async () => {
  database = await createDatabase()
  const client = new Client({ connectionString: database.superuserUrl })
  await client.connect()
  // A second is what the server waits before it looks for a deadlock.
  const name = new URL(database.url).pathname.slice(1)
  await client.query(`alter database ${name} set deadlock_timeout = '10ms'`)
  await client.end()
  const open = () => openStore({ url: database.url, codec, connections: 4 })
  stores = [await open(), await open()]
})
afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()))
  await database.drop()
})

describe('two replicas that write in groups', () => {
  it('pre-empt each other crosswise, and nothing that was answered is lost or half there', async () => {
    const accounts = Array.from({ length: 6 }, () => makeId<AccountId>())
    const onAccount = (account: AccountId) =>
      makeOperation({ kind: 'disable', subjectType: 'account', subject: account, account })
    const commits = stores.flatMap((store, s) =>
      Array.from({ length: 60 }, (_, k) => {
        const pair = [accounts[k % 6]!, accounts[(k * 5 + 1 + Math.floor(k / 6)) % 6]!]
        const different = [...new Set(pair)].toSorted()
        // One store goes up, the other down: each holds what the other wants next.
        const operations = (s === 0 ? different : different.toReversed()).map(onAccount)
        return { store, operations, person: makePerson() }
      }),
    )

    const answers = await Promise.all(
      commits.map(({ store, operations, person }) =>
        store.commit([
          ...operations.map((operation): Change => ({ type: 'enqueue', operation, preempt: true })),
          { type: 'person', person, expectedVersion: null },
        ]),
      ),
    )

    const [store] = stores
    const open: string[] = []
    for (const [i, { operations, person }] of commits.entries()) {
      const answer = answers[i]!
      const saved = answer === 'saved'
      if (!saved) expect(answer.reason).toBe('busy')
      expect((await store!.read.person(tenant, person.id)) !== null).toBe(saved)
      for (const { id } of operations) {
        const found = await store!.read.operation(tenant, id)
        expect(found !== null).toBe(saved)
        if (found?.status === 'queued') open.push(found.subject)
        else if (found) {
          expect(found).toMatchObject({ status: 'cancelled', failure: { code: 'preempted' } })
        }
      }
    }
    expect(open.toSorted()).toEqual(accounts.toSorted())
    expect(answers.filter((answer) => answer === 'saved').length).toBeGreaterThan(30)
  })
})
