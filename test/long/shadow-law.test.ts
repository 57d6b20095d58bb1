import { shadowLaw } from '../support/shadow-law.ts'

/** `SHADOW_SEEDS=200 vitest run -c vitest.long.config.ts test/long/shadow-law.test.ts` for more. */
const seeds = Number(process.env['SHADOW_SEEDS'] ?? 2)
shadowLaw(Array.from({ length: seeds }, (_, i) => i + 2))
