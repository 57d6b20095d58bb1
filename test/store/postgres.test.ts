import { afterAll, beforeAll } from 'vitest'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { storeConformance } from '../conformance/store.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
const stores = new Map<boolean, Promise<Store>>()
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(async () => {
  for (const store of stores.values()) await (await store).close()
  await database.drop()
})

/** Kept open from test to test: connecting costs more than most tests do. */
function open(ordered: boolean): Promise<Store> {
  // The model applies the commits of one tick in order; so does a single connection.
  const limit = ordered ? { connections: 1 } : {}
  const store = stores.get(ordered) ?? openStore({ url: database.url, codec, ...limit })
  stores.set(ordered, store)
  return store
}

storeConformance(
  'PostgreSQL',
  async ({ ordered }) => ({
    store: await open(ordered),
    async reopen() {
      await (await open(ordered)).close()
      stores.delete(ordered)
      return open(ordered)
    },
    dispose: () => database.clear(),
  }),
  0.4,
)
