import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as configuration from '../../scripts/generate-configuration.ts'
import { command, currentPage, page } from '../../scripts/generate-providers.ts'

it('docs/reference/providers.md says what the flags say', async () => {
  const text = await currentPage()

  expect(readFileSync(page, 'utf8') === text, `it is not current; run ${command}`).toBe(true)
})

it('docs/reference/configuration.md has every setting of the schemas, in the words of its script', () => {
  const { command, file, page } = configuration

  expect(readFileSync(file, 'utf8') === page, `it is not current; run ${command}`).toBe(true)
})

it('has no page of a setting without a sentence, nor of a sentence without a setting', () => {
  const schema = { type: 'object', properties: { probe: { properties: { every: {} } } } }

  expect(() => configuration.settings('x', schema, {})).toThrow('x: no sentence for probe.every')
  expect(() => configuration.settings('x', {}, { gone: ['It is gone.'] })).toThrow(
    'x: sentences for nothing: gone',
  )
})
