import { fuzzSuite } from '../support/fuzz-suite.ts'

fuzzSuite('bodies', Number(process.env['FUZZ_RUNS'] ?? 1_000))
