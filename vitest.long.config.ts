import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/long/**/*.test.ts'],
    pool: 'forks',
    // As in vitest.config.ts: the default leaves one core idle.
    maxWorkers: '100%',
    testTimeout: 240_000,
    hookTimeout: 60_000,
  },
})
