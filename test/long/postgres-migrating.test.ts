import { Client } from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let store: Store
beforeAll(async () => {
  database = await createDatabase()
  store = await openStore({ url: database.url, codec })
})
afterAll(async () => {
  await store.close()
  await database.drop()
})

const newest = migrations.at(-1)!.number
const newer = {
  number: newest + 1,
  name: 'wider',
  readableFrom: newest,
  statements: () => ['alter table meta add column extra text'],
}

it('lets traffic pass while a migration waits for whoever reads a table for long', async () => {
  const reader = new Client({ connectionString: database.url })
  await reader.connect()
  await reader.query('begin; select count(*) from meta')
  const next = openStore({ url: database.url, codec, migrations: [...migrations, newer] })
  const waits: number[] = []
  const began = performance.now()
  // Longer than the migration waits at a time, into the pause behind it.
  while (performance.now() - began < 1_500) {
    const asked = performance.now()
    expect(await store.commit([{ type: 'meta', key: 'k', value: 'v' }])).toBe('saved')
    waits.push(performance.now() - asked)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await reader.query('rollback')
  await reader.end()

  // One waited behind the `alter table`, or there was nothing to see; nobody longer than it waits.
  expect(Math.max(...waits)).toBeGreaterThan(200)
  expect(Math.max(...waits)).toBeLessThan(1_300)
  expect(waits.filter((ms) => ms < 200).length).toBeGreaterThan(3)
  const migrated = await next
  expect(await migrated.read.meta('k')).toBe('v')
  await migrated.close()
  expect(await store.read.meta('k')).toBe('v')
  const older = await openStore({ url: database.url, codec, readonly: true })
  expect(await older.read.meta('k')).toBe('v')
  await older.close()
})
