import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'docs/how-to/write-a-provider.md'), 'utf8')
const blocks = Array.from(page.matchAll(/^```ts\n([\s\S]*?)^```/gm), ([, code]) => code!)
// Inside the project, so that the runner treats it as a source of ours.
const folder = path.join(root, 'node_modules/.cache/custody-how-to')
const [example = '', test = ''] = blocks

/** In a checkout there is no installed package; test/long/pack.test.ts runs the page unchanged. */
const inCheckout = (code: string): string =>
  code
    .replaceAll(`'custody/provider'`, `'${path.join(root, 'src/provider/kit.ts')}'`)
    .replaceAll(`'custody/conformance'`, `'${path.join(root, 'test/conformance/kit.ts')}'`)
    .replaceAll(`'./index.js'`, `'./index.ts'`)

mkdirSync(folder, { recursive: true })
writeFileSync(path.join(folder, 'index.ts'), inCheckout(example))
writeFileSync(path.join(folder, 'example.ts'), inCheckout(test))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the provider of docs/how-to/write-a-provider.md', async () => {
  await import(/* @vite-ignore */ path.join(folder, 'example.ts'))

  it('is short enough to be read', () => {
    expect(blocks).toHaveLength(2)
    expect(example.split('\n').length).toBeLessThan(150)
  })
})
