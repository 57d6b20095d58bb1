import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BoundNode } from '../../src/scim/filter.ts'
import { openStore } from '../../src/store/open.ts'
import type { Steps } from '../../src/store/sql.ts'
import { SqliteDatabase } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { attribute, bound, compare } from '../conformance/store-filters.ts'
import { makeClient, makeClientToken, makePerson } from '../support/entities.ts'
import { jsonCodec } from '../support/json-codec.ts'

let directory: string
let url: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'custody-reads-'))
  url = `sqlite:${join(directory, 'custody.db')}`
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function withStore(run: (store: Store) => Promise<void>): Promise<void> {
  const store = await openStore({ url, codec: jsonCodec })
  try {
    await run(store)
  } finally {
    await store.close()
  }
}

describe('what is asked with every request', () => {
  it('is refused at once when this process has revoked it', () =>
    withStore(async (store) => {
      const client = makeClient()
      const token = makeClientToken(client)
      const revokedAt = token.createdAt
      await store.commit([
        { type: 'client', client },
        { type: 'clientToken', token },
      ])

      expect((await store.read.clientToken(token.id))!.token.revokedAt).toBeNull()
      await store.commit([{ type: 'clientToken', token: { ...token, revokedAt } }])

      expect((await store.read.clientToken(token.id))!.token.revokedAt).toBe(revokedAt)
    }))

  it('is refused at the next turn when another process has revoked it', () =>
    withStore((store) =>
      withStore(async (other) => {
        const client = makeClient()
        const token = makeClientToken(client)
        const revokedAt = token.createdAt
        await store.commit([
          { type: 'client', client },
          { type: 'clientToken', token },
        ])
        const first = await store.read.clientToken(token.id)
        const again = await store.read.clientToken(token.id)
        await other.commit([{ type: 'client', client: { ...client, revokedAt } }])
        await nextTurn()

        expect(again).toBe(first)
        expect((await store.read.clientToken(token.id))!.client.revokedAt).toBe(revokedAt)
      }),
    ))
})

describe('reads of one turn', () => {
  it('see the same, and from the next turn on what others have written', async () => {
    const path = join(directory, 'plain.db')
    const one = await SqliteDatabase.open(path, { readonly: false })
    await one.migrate((db) => db.exec('create table t (n integer)'))
    const other = await SqliteDatabase.open(path, { readonly: false })
    const count = async (): Promise<unknown> =>
      (await one.query({ text: 'select count(*) as n from t', parameters: [] }))[0]!['n']
    function* insert(): Steps<null> {
      yield { statement: { text: 'insert into t values (1)', parameters: [] }, args: {} }
      return null
    }

    await other.write(insert, () => true)
    const before = [await count(), await count()]
    await other.write(insert, () => true)
    await nextTurn()
    const after = await count()
    await one.write(insert, () => true)
    const own = await count()
    await one.close()
    await other.close()

    expect([...before, after, own]).toEqual([1, 1, 2, 3])
  })
})

describe('lists of one shape', () => {
  it('each find their own, for values that are texts, empty, and flags', () =>
    withStore(async (store) => {
      const people = ['anna', 'berta', 'anna.b'].map((userName, i) =>
        makePerson({ userName, active: i !== 1, leftAt: null }),
      )
      await store.commit(
        people.map((person) => ({ type: 'person', person, expectedVersion: null })),
      )
      const names = async (root: BoundNode): Promise<readonly string[]> => {
        const page = await store.read.listUsers({
          tenant: people[0]!.tenant,
          visibility: { people: 'all', accounts: 'all' },
          filter: bound(root),
          startIndex: 1,
          count: 10,
        })
        return page.rows.map(({ id }) => people.find((p) => p.id === id)!.userName).sort()
      }
      const active = attribute('active', { type: 'boolean', caseExact: true })

      expect(await names(compare('userName', 'eq', 'anna'))).toEqual(['anna'])
      expect(await names(compare('userName', 'eq', 'berta'))).toEqual(['berta'])
      expect(await names(compare('userName', 'sw', 'anna'))).toEqual(['anna', 'anna.b'])
      expect(await names(compare('userName', 'sw', 'b'))).toEqual(['berta'])
      expect(await names(compare('userName', 'sw', ''))).toHaveLength(3)
      expect(await names(compare(active, 'eq', true))).toEqual(['anna', 'anna.b'])
      expect(await names(compare(active, 'eq', false))).toEqual(['berta'])
    }))
})
