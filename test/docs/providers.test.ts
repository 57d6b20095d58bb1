import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { command, currentPage, page } from '../../scripts/generate-providers.ts'

it('docs/reference/providers.md says what the flags say', async () => {
  const text = await currentPage()

  expect(readFileSync(page, 'utf8') === text, `it is not current; run ${command}`).toBe(true)
})
