import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/long/**'],
    pool: 'forks',
    globalSetup: ['test/support/postgres-server.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // A starved runner may cost a test with real processes its patience once; twice is a real failure.
    retry: process.env['CI'] ? 1 : 0,
    reporters: ['default'],
  },
})
