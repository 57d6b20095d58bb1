import { fuzzSuite } from '../support/fuzz-suite.ts'

fuzzSuite('bodies', 5_000)
