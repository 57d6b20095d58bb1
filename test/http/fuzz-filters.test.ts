import { fuzzSuite } from '../support/fuzz-suite.ts'

fuzzSuite('filters', 5_000)
