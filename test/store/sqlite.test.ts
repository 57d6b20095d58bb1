import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore } from '../../src/store/open.ts'
import { storeConformance } from '../conformance/store.ts'
import { jsonCodec } from '../support/json-codec.ts'
import { freshDatabase } from '../support/template.ts'

storeConformance('SQLite', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'custody-store-'))
  const url = await freshDatabase(directory)
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
