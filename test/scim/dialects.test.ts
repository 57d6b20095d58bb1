import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { does, quirks, type QuirkName } from '../../src/scim/dialects.ts'

const root = path.resolve(import.meta.dirname, '../..')
const sources = ['src/scim', 'src/http'].flatMap((folder) =>
  readdirSync(path.join(root, folder))
    .filter((name) => name.endsWith('.ts') && name !== 'dialects.ts')
    .map((name) => ({ name, text: readFileSync(path.join(root, folder, name), 'utf8') })),
)

describe('the table of dialects', () => {
  it('has no row that the code does not read', () => {
    const unread = Object.keys(quirks).filter(
      (name) => !sources.some(({ text }) => text.includes(`'${name}'`)),
    )

    expect(unread).toEqual([])
  })

  it('is the only place that compares dialects', () => {
    const scattered = sources.filter(({ text }) => /dialect\s*[!=]==?\s*'/.test(text))

    expect(scattered.map(({ name }) => name)).toEqual([])
  })

  it('has no row in which all dialects agree, and none that says the same for yes and no', () => {
    for (const [name, { dialects, yes, no }] of Object.entries(quirks)) {
      expect(new Set(Object.values(dialects)).size, name).toBe(2)
      expect(yes, name).not.toBe(no)
    }
  })

  it('lets rfc and interop absorb nothing that is against the RFC', () => {
    const absorbed = (Object.keys(quirks) as QuirkName[]).filter(
      (name) => does('interop', name) && does('lenient', name),
    )

    expect(absorbed).toEqual([])
  })

  it('is printed in docs/reference/scim.md as it stands', () => {
    const script = path.join(root, 'scripts/generate-docs.js')

    expect(() =>
      execFileSync(process.execPath, [script, '--check'], { stdio: 'pipe' }),
    ).not.toThrow()
  })
})
