import { afterAll } from 'vitest'
import { fuzzSuite } from '../support/fuzz-suite.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

// What one database keeps another may refuse: NUL, numbers out of range, values too long to index.
for (const kind of ['bodies', 'filters'] as const) {
  let database: TestDatabase | undefined
  fuzzSuite(kind, Number(process.env['FUZZ_RUNS'] ?? 300), async () => {
    database = await createDatabase()
    return database.url
  })
  afterAll(() => database?.drop())
}
