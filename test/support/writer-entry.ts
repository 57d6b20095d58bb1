import { writeSync } from 'node:fs'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'

/**
 * Writes rows into the database named by its argument until somebody kills it, and says the number
 * of each on its output once, and only once, the store has promised that it is kept.
 */
const rows = 3_000
// Several pages a row, so that checkpoints of the log come soon.
const filling = 'x'.repeat(12_000)

const store = await openStore({ url: `sqlite:${process.argv[2]!}`, codec: documentCodec })
writeSync(1, 'open\n')
for (let n = 0; n < rows; n++) {
  await store.commit([{ type: 'meta', key: `row-${n}`, value: `${n} ${filling}` }])
  writeSync(1, `${n}\n`)
}
await store.close()
