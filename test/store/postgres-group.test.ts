import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AccountId } from '../../src/domain/ids.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import { openStore } from '../../src/store/open.ts'
import type { Change, CommitResult, Store } from '../../src/store/store.ts'
import {
  makeAccount,
  makeAudit,
  makeCredential,
  makeId,
  makeOperation,
  makePerson,
  t0,
} from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let store: Store
let client: Client
beforeAll(async () => {
  database = await createDatabase()
  store = await openStore({ url: database.url, codec })
  client = new Client({ connectionString: database.url })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await store.close()
  await database.drop()
})

const person = (userName: string): Change => ({
  type: 'person',
  person: makePerson({ userName }),
  expectedVersion: null,
})

/** Transactions that have written, so far. */
async function transactions(): Promise<number> {
  const { rows } = await client.query<{ n: string }>(
    'select pg_current_xact_id()::text::bigint as n',
  )
  return Number(rows[0]!.n)
}

async function together(commits: readonly (readonly Change[])[]): Promise<readonly CommitResult[]> {
  return Promise.all(commits.map((changes) => store.commit(changes)))
}

function reasons(results: readonly CommitResult[]): readonly string[] {
  return results.map((result) => (result === 'saved' ? result : result.reason))
}

async function claimed(count: number): Promise<readonly Operation[]> {
  const mine = Array.from({ length: count }, () => makeOperation())
  const enqueue = mine.map((operation) => ({ type: 'enqueue', operation, preempt: false }) as const)
  expect(await store.commit(enqueue)).toBe('saved')
  const found = await store.claim('w', t0, seconds(60), 1_000)
  return found.filter(({ id }) => mine.some((one) => one.id === id))
}

const succeeded = ({ id, fence }: Operation, at = addSeconds(t0, 5)): Change => ({
  type: 'advance',
  id,
  fence,
  set: { status: 'succeeded', finishedAt: at },
  release: true,
  at,
})

describe('commits that wait together', () => {
  it('share transactions, and are all there once they are answered', async () => {
    const people = Array.from({ length: 60 }, () => makePerson())
    const before = await transactions()

    const results = await together(
      people.map((one) => [
        { type: 'person', person: one, expectedVersion: null },
        { type: 'audit', row: makeAudit({ target: one.id }) },
      ]),
    )

    expect(new Set(results)).toEqual(new Set(['saved']))
    expect((await transactions()) - before).toBeLessThan(10)
    const found = await Promise.all(people.map(({ id }) => store.read.person(tenant, id)))
    expect(found).toEqual(people)
  })

  it('refuse only the one that is to be refused', async () => {
    await store.commit([person('taken')])

    const results = await together(
      [person('a1'), person('taken'), person('a2'), person('a3')].map((one) => [one]),
    )

    expect(reasons(results)).toEqual(['saved', 'userName', 'saved', 'saved'])
  })

  it('let one of two of the same name through', async () => {
    const results = await together(['b1', 'twice', 'b2', 'twice'].map((name) => [person(name)]))

    expect(reasons(results).toSorted()).toEqual(['saved', 'saved', 'saved', 'userName'])
  })

  it('keep the others when one holds what PostgreSQL does not take', async () => {
    const results = await Promise.allSettled(
      ['c1', 'c\0', 'c2'].map((name) => store.commit([person(name)])),
    )

    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[1]).toMatchObject({ reason: { code: 'invalidValue' } })
  })

  it('are written each as if it were alone when they concern the same account', async () => {
    const account = makeAccount()
    await store.commit([{ type: 'account', account, expectedVersion: null }])
    const others = Array.from({ length: 8 }, (_, i) => [person(`d${i}`)])
    const mine = Array.from({ length: 8 }, (): Change[] => [
      {
        type: 'credential',
        credential: makeCredential({ account: account.id }),
        expectedVersion: null,
      },
    ])

    const results = await together(mine.flatMap((one, i) => [one, others[i]!]))

    expect(new Set(results)).toEqual(new Set(['saved']))
    const document = await store.read.userDocument(tenant, account.id)
    expect(JSON.parse(document!.credentials!)).toHaveLength(8)
  })

  it('are refused one by one by their fences', async () => {
    const operations = await claimed(30)
    const stale = (i: number): boolean => i % 7 === 3

    const results = await together(
      operations.map((one, i) => [succeeded(stale(i) ? { ...one, fence: one.fence - 1 } : one)]),
    )

    expect(reasons(results)).toEqual(operations.map((_, i) => (stale(i) ? 'fence' : 'saved')))
    const now = await Promise.all(operations.map(({ id }) => store.read.operation(tenant, id)))
    expect(now.map((one) => one!.status)).toEqual(
      operations.map((_, i) => (stale(i) ? 'running' : 'succeeded')),
    )
  })

  it('let two cancel the same operation once', async () => {
    const [one] = await claimed(1)
    const cancel: Change = {
      type: 'advance',
      id: one!.id,
      fence: one!.fence,
      set: { status: 'cancelled', finishedAt: t0 },
      release: false,
      at: t0,
    }

    const results = await together([[cancel], [cancel], [person('e1')]])

    expect(reasons(results).toSorted()).toEqual(['fence', 'saved', 'saved'])
    expect((await store.read.operation(tenant, one!.id))!.fence).toBe(one!.fence + 1)
  })
})

describe('a commit of many advances', () => {
  it('names the one that is refused, and keeps none', async () => {
    const operations = await claimed(5)
    const changes = operations.flatMap((one, i): Change[] => [
      succeeded(i === 3 ? { ...one, fence: 99 } : one),
      { type: 'audit', row: makeAudit({ operation: one.id }) },
    ])

    const result = await store.commit(changes)

    expect(result).toEqual({ change: 6, reason: 'fence', with: operations[3]!.id })
    const now = await Promise.all(operations.map(({ id }) => store.read.operation(tenant, id)))
    expect(new Set(now.map((one) => one!.status))).toEqual(new Set(['running']))
  })

  it('tells which one would be opened beside another open one', async () => {
    const subject = makeId()
    const account = makeId<AccountId>()
    const [old, fine] = [
      makeOperation({ subject, account, status: 'failed' }),
      makeOperation({ status: 'failed' }),
    ]
    const newer = makeOperation({ subject, account })
    for (const operation of [old, fine, newer]) {
      await store.commit([{ type: 'enqueue', operation, preempt: false }])
    }
    const open = ({ id, fence }: Operation): Change => ({
      type: 'advance',
      id,
      fence,
      set: { status: 'queued' },
      release: true,
      at: t0,
    })

    expect(await store.commit([open(fine), open(old)])).toEqual({
      change: 1,
      reason: 'busy',
      with: newer.id,
    })
  })
})
