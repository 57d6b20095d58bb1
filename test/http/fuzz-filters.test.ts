import { fuzzSuite } from '../support/fuzz-suite.ts'

fuzzSuite('filters', Number(process.env['FUZZ_RUNS'] ?? 1_000))
