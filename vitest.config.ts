import path from 'node:path'
import { defineConfig } from 'vitest/config'
import { useMemoryForFiles } from './test/support/memory-directory.ts'

// Servers and threads that tests start compile the same modules each time: a quarter of their start.
process.env['NODE_COMPILE_CACHE'] ??= path.join(
  import.meta.dirname,
  'node_modules/.cache/custody-tests',
)

useMemoryForFiles()

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/long/**', 'test/browser/**'],
    pool: 'forks',
    // Files share a worker's module graph: 90 s against 132 s on two cores with other work beside it.
    isolate: false,
    globalSetup: ['test/support/postgres-server.ts'],
    setupFiles: ['test/support/described.ts'],
    // The default leaves one core idle, which on two cores is half of them: 150 s against 100 s.
    maxWorkers: 3,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // A starved runner may cost a test with real processes its patience once; twice is a real failure.
    retry: process.env['CI'] ? 1 : 0,
    reporters: ['default'],
  },
})
