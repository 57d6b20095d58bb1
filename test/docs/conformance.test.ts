import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'docs/reference/conformance.md'), 'utf8')

interface Proof {
  readonly file: string
  readonly title: string
}

interface Line {
  readonly section: string
  readonly what: string
  readonly proofs: readonly Proof[]
  /** Why there is no proof. */
  readonly reason: string | null
}

/** The rows of all tables below numbered headings. */
const lines: readonly Line[] = page.split(/^## /m).flatMap((part) => {
  const section = /^(\d+\.\d+) /.exec(part)?.[1]
  if (section === undefined) return []
  const rows = part.split('\n').filter((line) => line.startsWith('| '))
  return rows.slice(2).map((row) => {
    const [, , what = '', proof = ''] = row.split(/(?<!\\)\|/).map((cell) => cell.trim())
    const reason = /^no: (.+)$/.exec(proof)?.[1] ?? null
    const proofs = reason === null ? proof.split('<br>').map(proofOf) : []
    return { section, what, proofs, reason }
  })
})

function proofOf(text: string): Proof {
  const found = /^`([\w./-]+)` › (.+)$/.exec(text)
  if (!found) throw new Error(`no proof: ${text}`)
  return { file: found[1]!, title: found[2]! }
}

/** Where a title stands: in a call, behind a table, as a row's first cell or its `name`. */
// Looked ahead for, so that a bracket within a text does not swallow the title behind it.
const titleAt =
  /(?:\b(?:it|test|describe)\(|[\])]\(|\bname:|\[)(?=\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`))/g

const titlesOf = (text: string): ReadonlySet<string> =>
  new Set(
    Array.from(text.matchAll(titleAt), ([, single, double, template]) =>
      (single ?? double ?? template ?? '').replaceAll(/\\(.)/g, '$1'),
    ),
  )

const files = [...new Set(lines.flatMap((line) => line.proofs.map((proof) => proof.file)))]

describe('the conformance table', () => {
  it('covers every section, each line with a proof or a reason', () => {
    const numbers = [...Array(12).keys()].map((n) => `1.${n + 1}`)
    const providers = [...Array(9).keys()].map((n) => `3.${n + 1}`)

    expect([...new Set(lines.map((line) => line.section))]).toEqual([...numbers, ...providers])
    expect(lines.length).toBeGreaterThan(110)
    for (const { what, proofs, reason } of lines) {
      expect(what).not.toBe('')
      expect(proofs.length > 0 || reason!.length > 10, what).toBe(true)
    }
  })

  it.each(files)('names tests of %s that are there, and none that is skipped', (file) => {
    const full = path.join(root, 'test', file)
    expect(existsSync(full), full).toBe(true)
    const text = readFileSync(full, 'utf8')
    const titles = titlesOf(text)
    const named = lines.flatMap((line) => line.proofs.filter((proof) => proof.file === file))

    expect(named.map(({ title }) => title).filter((title) => !titles.has(title))).toEqual([])
    expect(text).not.toMatch(/\.(?:skip|skipIf|runIf|todo|only|fails)\b|\bx(?:it|test)\(/)
  })

  it('names every file about identity providers', () => {
    const written = readdirSync(path.join(root, 'test/http/idp')).map((name) => `http/idp/${name}`)

    expect(written.filter((name) => !files.includes(name))).toEqual([])
  })
})
