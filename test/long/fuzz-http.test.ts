import { fuzzSuite } from '../support/fuzz-suite.ts'

// Over HTTP a request takes a millisecond, of which the readers' share is a twentieth.
for (const kind of ['bodies', 'filters'] as const) {
  fuzzSuite(kind, Number(process.env['FUZZ_RUNS'] ?? 200_000) / 20)
}
