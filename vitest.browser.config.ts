import { defineConfig } from 'vitest/config'

/** What needs a browser: one Chromium and one installation serve every file, one after another. */
export default defineConfig({
  test: {
    include: ['test/browser/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    retry: process.env['CI'] ? 1 : 0,
  },
})
