import { readdirSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Proven } from '../support/proofs.ts'
import { faultsIn, filesOf, provenBy, readPage, rowsOf } from '../support/proofs.ts'

interface Line extends Proven {
  readonly section: string
  readonly what: string
}

/** The rows of all tables below numbered headings. */
const lines: readonly Line[] = readPage('conformance.md')
  .split(/^## /m)
  .flatMap((part) => {
    const section = /^(\d+\.\d+) /.exec(part)?.[1]
    if (section === undefined) return []
    return rowsOf(part).map(([, what = '', proof = '']) => ({ section, what, ...provenBy(proof) }))
  })

const files = filesOf(lines)

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
    expect(faultsIn(file, lines)).toEqual([])
  })

  it('names every file about identity providers', () => {
    const folder = path.resolve(import.meta.dirname, '../http/idp')
    const written = readdirSync(folder).map((name) => `http/idp/${name}`)

    expect(written.filter((name) => !files.includes(name))).toEqual([])
  })
})
