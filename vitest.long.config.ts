import path from 'node:path'
import { defineConfig } from 'vitest/config'

// Servers and threads that tests start compile the same modules each time: a quarter of their start.
process.env['NODE_COMPILE_CACHE'] ??= path.join(
  import.meta.dirname,
  'node_modules/.cache/custody-tests',
)

export default defineConfig({
  test: {
    include: ['test/long/**/*.test.ts'],
    pool: 'forks',
    globalSetup: ['test/support/postgres-server.ts'],
    // As in vitest.config.ts: the default leaves one core idle.
    maxWorkers: '100%',
    testTimeout: 240_000,
    hookTimeout: 60_000,
  },
})
