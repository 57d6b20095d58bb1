import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore } from '../../src/store/open.ts'
import { storeConformance } from '../conformance/store.ts'
import { jsonCodec } from '../support/json-codec.ts'

storeConformance('SQLite', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'custody-store-'))
  const url = `sqlite:${join(directory, 'custody.db')}`
  let store = await openStore({ url, codec: jsonCodec })
  return {
    store,
    async reopen() {
      await store.close()
      store = await openStore({ url, codec: jsonCodec })
      return store
    },
    async dispose() {
      await store.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
})
