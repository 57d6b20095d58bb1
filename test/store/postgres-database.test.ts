import * as fc from 'fast-check'
import { Client, type PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { isJsonObject, type Json } from '../../src/domain/json.ts'
import type { Person } from '../../src/domain/owner.ts'
import { normalise } from '../../src/domain/text.ts'
import { addSeconds, parseInstant, seconds } from '../../src/domain/time.ts'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { openStore } from '../../src/store/open.ts'
import { beginWith, begun } from '../../src/store/postgres-transaction.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { attribute, bound, compare } from '../conformance/store-filters.ts'
import { makeAccount, makeCredential, makeOperation, makePerson, t0 } from '../support/entities.ts'
import { jsonCodec as codec, nhi } from '../support/json-codec.ts'
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

async function ask(expression: string, values: readonly unknown[]): Promise<unknown[]> {
  const { rows } = await client.query<{ answer: unknown }>(
    `select ${expression} as answer from unnest($1::text[]) with ordinality as t(value, n) order by n`,
    [values],
  )
  return rows.map((row) => row.answer)
}

describe('functions of the database', () => {
  it('fold case as the domain does', async () => {
    const words = fc.sample(fc.string({ unit: 'binary', maxLength: 12 }), {
      numRuns: 60,
      seed: 20_261_122,
    })
    // What the alphabets have that is special: a final sigma, a dotted I, ligatures, composition.
    const all = ['ΟΔΟΣ', 'ΑΣ ΑΣ.', 'İstanbul', 'ẞ', 'ǅ', 'Å', 'e\u0301', 'Ꭰ', ...words].filter(
      (word) => !word.includes('\0') && word.isWellFormed(),
    )

    expect(await ask('custody_normalise(value)', all)).toEqual(all.map(normalise))
  })

  it('read dates as the domain does', async () => {
    const digits = (length: number) => fc.stringMatching(new RegExp(`^[0-9]{${length}}$`))
    const part = (max: number) => fc.nat(max).map((n) => String(n).padStart(2, '0'))
    const date = fc
      .tuple(
        fc.oneof(fc.constantFrom('0000', '0001', '9999', '2024', '1900'), digits(4)),
        fc.tuple(part(13), part(32), part(25), part(61), part(61)),
        fc.oneof(
          fc.constant(''),
          fc.nat(12).chain((n) => digits(n + 1).map((d) => `.${d.slice(1)}`)),
        ),
        fc.oneof(
          fc.constantFrom('', 'Z', 'z', '+14:00'),
          fc
            .tuple(fc.constantFrom('+', '-'), part(25), part(61))
            .map(([s, h, m]) => `${s}${h}:${m}`),
        ),
      )
      .map(([y, [mo, d, h, mi, s], f, zone]) => `${y}-${mo}-${d}T${h}:${mi}:${s}${f}${zone}`)
    const all = [
      '2024-02-29T23:59:59.9999Z',
      '2023-02-29T00:00:00Z',
      '0000-01-01T00:00:00+01:00',
      '9999-12-31T23:59:59-01:00',
      '2026-01-01',
      '',
      ...fc.sample(date, { numRuns: 400, seed: 20_261_122 }),
    ]

    expect(await ask('custody_instant(value)', all)).toEqual(all.map(parseInstant))
  })

  it('survive documents with NUL and lone surrogates', async () => {
    const awkward = { a: 'x\0y', b: '\ud800\ud800', c: String.raw`\u0000`, d: 'é😀' }

    const [answer] = await ask('custody_json(value)', [JSON.stringify(awkward)])

    expect(answer).toEqual({ ...awkward, a: 'x\ufffdy', b: '\ufffd\ufffd' })
  })
})

describe('commits side by side', () => {
  it('keep every credential in the summaries of their account', async () => {
    const account = makeAccount()
    await store.commit([{ type: 'account', account, expectedVersion: null }])
    const credentials = Array.from({ length: 20 }, () => makeCredential({ account: account.id }))

    const results = await Promise.all(
      credentials.map((credential) =>
        store.commit([{ type: 'credential', credential, expectedVersion: null }]),
      ),
    )

    expect(results).toEqual(results.map(() => 'saved'))
    const document = await store.read.userDocument(tenant, account.id)
    expect(JSON.parse(document!.credentials!)).toHaveLength(20)
  })

  it('never leave a lower operation open below a higher one', async () => {
    for (let i = 0; i < 10; i++) {
      const account = makeAccount()
      await store.commit([{ type: 'account', account, expectedVersion: null }])
      const own = { account: account.id }
      const below = Array.from({ length: 6 }, () =>
        makeOperation({
          ...own,
          kind: 'issue',
          subjectType: 'credential',
          subject: makeCredential(own).id,
        }),
      )
      const above = makeOperation({
        ...own,
        kind: 'disable',
        subjectType: 'account',
        subject: account.id,
      })

      await Promise.all(
        [...below.slice(0, 3), above, ...below.slice(3)].map((operation) =>
          store.commit([{ type: 'enqueue', operation, preempt: true }]),
        ),
      )

      const open = await store.read.openOperations(tenant, account.id)
      expect(open.map((o) => o.id)).toEqual([above.id])
    }
  })

  it('hand out one operation of an account, however many claim', async () => {
    const account = makeAccount()
    await store.commit([{ type: 'account', account, expectedVersion: null }])
    const operations = Array.from({ length: 12 }, (_, n) =>
      makeOperation({ account: account.id, runAt: addSeconds(t0, -n) }),
    )
    for (const operation of operations) {
      expect(await store.commit([{ type: 'enqueue', operation, preempt: false }])).toBe('saved')
    }

    const claims = await Promise.all(
      Array.from({ length: 8 }, (_, n) => store.claim(`w${n}`, t0, seconds(60), 5)),
    )

    const mine = claims.flat().filter((o) => o.account === account.id)
    expect(mine).toHaveLength(1)
  })

  it.each([
    ['nested loops', 'hashagg,hashjoin,mergejoin,material,sort'],
    ['a hash of what is there', 'nestloop,mergejoin,indexscan,bitmapscan'],
  ])('hand out no more than was asked for, also when the plan is %s', async (_, without) => {
    const url = new URL(database.url)
    const options = without.split(',').map((method) => `-c enable_${method}=off`)
    url.searchParams.set('options', options.join(' '))
    const planned = await openStore({ url: url.href, codec })
    const operations = Array.from({ length: 12 }, () =>
      makeOperation({ runAt: addSeconds(t0, -99) }),
    )
    await planned.commit(
      operations.map((operation) => ({ type: 'enqueue', operation, preempt: false }) as const),
    )

    const claimed = await planned.claim('w', t0, seconds(60), 3)
    await planned.close()

    expect(claimed).toHaveLength(3)
  })

  it('queue when they touch the same rows in different orders', async () => {
    const [a, b] = await twoPeople()

    const results = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        store.commit(i % 2 === 0 ? [update(a), update(b)] : [update(b), update(a)]),
      ),
    )

    expect(results.filter((r) => r === 'saved')).toHaveLength(1)
    expect(results.filter((r) => r !== 'saved').map((r) => r.reason)).toEqual(
      Array.from({ length: 9 }, () => 'version'),
    )
  })

  it('leave a connection outside of any transaction when a lock was not to be had', async () => {
    const [holder, waiting] = [new Client(database.url), new Client(database.url)]
    await Promise.all([holder.connect(), waiting.connect()])
    const begin = beginWith('', { locks: ['held'], planned: true, tracked: true })
    await holder.query(begin)
    await waiting.query('set lock_timeout = 50')

    const failed = begun(waiting as unknown as PoolClient, begin)

    await expect(failed).rejects.toMatchObject({ code: '55P03' })
    await expect(waiting.query('select 1')).resolves.toMatchObject({ rowCount: 1 })
    await Promise.all([holder.end(), waiting.end()])
  })

  it('are repeated when the server breaks them off in favour of another', async () => {
    const [a, b] = await twoPeople()
    const touch = (id: string) =>
      client.query(`update resource set active = active where id = $1`, [id])

    await client.query('begin')
    await touch(b.id)
    const pending = store.commit([update(a), update(b)])
    // It holds a and waits for b, and is the first to look for a circle.
    await new Promise((resolve) => setTimeout(resolve, 30))
    await touch(a.id)
    await client.query('commit')

    // Both succeed, so it was the store's transaction that was broken off.
    expect(await pending).toBe('saved')
  })
})

async function endConnections(): Promise<void> {
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'custody' and datname = current_database()`,
  )
  await new Promise((resolve) => setTimeout(resolve, 50))
}

const update = (person: Person): Change => ({ type: 'person', person, expectedVersion: 1 })

async function twoPeople(): Promise<[Person, Person]> {
  const people: [Person, Person] = [makePerson(), makePerson()]
  await store.commit(
    people.map((person) => ({ type: 'person', person, expectedVersion: null }) as const),
  )
  return people
}

describe('text as it is stored', () => {
  it('comes back byte by byte', async () => {
    const attributes = { z: 1.5, a: 'é\u2028"\\u0041', long: 1e21, list: [] }
    const person = makePerson({ attributes })
    await store.commit([{ type: 'person', person, expectedVersion: null }])

    const document = await store.read.userDocument(tenant, person.id)

    expect(document!.text).toBe(codec.person(person))
  })

  it('is refused with NUL in a name, in words for the client', async () => {
    const person = makePerson({ userName: 'a\0b' })

    await expect(
      store.commit([{ type: 'person', person, expectedVersion: null }]),
    ).rejects.toMatchObject({ code: 'invalidValue' })
  })

  it('is filtered by bytes, whatever the collation of the database', async () => {
    const people = ['a', 'B', 'é', 'z'].map((title) => makePerson({ attributes: { title } }))
    await store.commit(
      people.map((person) => ({ type: 'person', person, expectedVersion: null }) as const),
    )
    const list = await store.read.listUsers({
      tenant,
      visibility: { people: 'all', accounts: 'none' },
      filter: bound(compare(attribute('title', { caseExact: true }), 'gt', 'a')),
      startIndex: 1,
      count: 200,
    })

    expect(list.rows.map((r) => titleOf(JSON.parse(r.text) as Json))).toEqual(['é', 'z'])
  })
})

function titleOf(document: Json): Json {
  return isJsonObject(document) ? document['title']! : null
}

describe('opening', () => {
  it('lets replicas that start together migrate once', async () => {
    const fresh = await createDatabase()
    const stores = await Promise.all(
      Array.from({ length: 4 }, () => openStore({ url: fresh.url, codec, connections: 2 })),
    )

    await stores[0]!.commit([{ type: 'meta', key: 'k', value: 'v' }])
    expect(await stores[3]!.read.meta('k')).toBe('v')
    const other = new Client({ connectionString: fresh.url })
    await other.connect()
    const { rows } = await other.query('select number from migration order by number')
    expect(rows).toEqual(migrations.map(({ number }) => ({ number })))

    await other.end()
    for (const one of stores) await one.close()
    await fresh.drop()
  })

  it('reads but never writes nor migrates when opened for reading', async () => {
    const reader = await openStore({ url: database.url, codec, readonly: true })
    await store.commit([{ type: 'meta', key: 'seen', value: 'v' }])
    expect(await reader.read.meta('seen')).toBe('v')
    await expect(reader.commit([{ type: 'meta', key: 'k', value: 'w' }])).rejects.toThrow('reading')
    await reader.close()

    const fresh = await createDatabase()
    await expect(openStore({ url: fresh.url, codec, readonly: true })).rejects.toMatchObject({
      code: 'notReady',
    })
    await fresh.drop()
  })

  it.each([
    ['a wrong password', (url: URL) => (url.password = 'hunter2'), 'configInvalid'],
    ['an unknown database', (url: URL) => (url.pathname = '/nowhere'), 'configInvalid'],
    ['a server that is not there', (url: URL) => (url.port = '1'), 'notReady'],
  ])('refuses %s without repeating the password', async (_, change, code) => {
    const url = new URL(database.url)
    url.password = 'hunter2'
    change(url)

    const error = await openStore({ url: url.href, codec }).catch((e: unknown) => e)

    expect(error).toMatchObject({ code })
    expect(
      `${JSON.stringify(error)} ${String(error)} ${String((error as Error).cause)}`,
    ).not.toContain('hunter2')
  })

  it('can be written again as soon as the database is no longer read-only', async () => {
    const setting = `alter database "${new URL(database.url).pathname.slice(1)}"`
    await client.query(`${setting} set default_transaction_read_only = on`)
    await endConnections()
    expect(await store.unwritable()).toBe('the database is read-only')
    await client.query(`${setting} reset default_transaction_read_only`)

    expect(await store.unwritable()).toBeNull()
    expect(await store.commit([{ type: 'meta', key: 'again', value: 'v' }])).toBe('saved')
  })

  it('goes on after the server dropped its connections', async () => {
    await store.read.meta('k')
    await endConnections()

    expect(await store.commit([{ type: 'meta', key: 'after', value: 'v' }])).toBe('saved')
    expect(await store.read.meta('after')).toBe('v')
  })

  it('serves the extension attributes that lie in columns', async () => {
    const account = makeAccount({ environment: 'Prod' })
    await store.commit([{ type: 'account', account, expectedVersion: null }])
    const list = await store.read.listUsers({
      tenant,
      visibility: { people: 'all', accounts: 'all' },
      filter: bound(compare(`${nhi} environment`, 'eq', 'PROD')),
      startIndex: 1,
      count: 10,
    })

    expect(list.rows.map((r) => r.id)).toEqual([account.id])
  })
})
