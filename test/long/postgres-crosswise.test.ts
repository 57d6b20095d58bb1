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
let rival: Client
beforeAll(async () => {
  database = await createDatabase()
  rival = new Client({ connectionString: database.superuserUrl })
  await rival.connect()
  // Long enough to come to the other row, not as long as the second the server would take.
  const name = new URL(database.url).pathname.slice(1)
  await rival.query(`alter database ${name} set deadlock_timeout = '200ms'`)
  const open = () => openStore({ url: database.url, codec, connections: 4 })
  stores = [await open(), await open()]
})
afterAll(async () => {
  await rival.end()
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
    const ended: (string | undefined)[] = []
    for (const [i, { operations, person }] of commits.entries()) {
      const answer = answers[i]!
      const saved = answer === 'saved'
      expect(saved ? 'busy' : answer.reason).toBe('busy')
      expect((await store!.read.person(tenant, person.id)) !== null).toBe(saved)
      for (const { id } of operations) {
        const found = await store!.read.operation(tenant, id)
        expect(found !== null).toBe(saved)
        if (found?.status === 'queued') open.push(found.subject)
        else if (found) ended.push(found.failure?.code)
      }
    }
    expect(new Set(ended)).toEqual(new Set(['preempted']))
    expect(open.toSorted()).toEqual(accounts.toSorted())
    expect(answers.filter((answer) => answer === 'saved').length).toBeGreaterThan(30)
  })

  it('break a deadlock off, and write again what was undone by it', async () => {
    const [store] = stores
    const values = (value: string): readonly Change[] =>
      ['left', 'right'].map((key) => ({ type: 'meta', key, value }))
    await store!.commit(values('first'))
    const set = (key: string) => `update meta set value = 'theirs' where key = '${key}'`
    // Never the one to look for it.
    await rival.query(`set deadlock_timeout = '60s'; begin; ${set('right')}`)
    const commit = store!.commit(values('ours'))
    await waiting()

    // Granted only because the store lets go of what it holds.
    await rival.query(`${set('left')}; commit`)

    expect(await commit).toBe('saved')
    expect(await store!.read.meta('left')).toBe('ours')
    expect(await store!.read.meta('right')).toBe('ours')
  })
})

/** Until somebody waits for a row of the rival's. */
async function waiting(): Promise<void> {
  // pg_stat_activity would stay as it was in this transaction.
  const text = `select count(*)::int as n from pg_locks
    where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`
  for (;;) {
    const { rows } = await rival.query<{ n: number }>(text)
    if (rows[0]!.n > 0) return
  }
}
