import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { accountTransitions } from '../../src/domain/account.ts'
import { credentialTransitions } from '../../src/domain/credential.ts'
import { operationTransitions } from '../../src/domain/operation.ts'
import { stepsOf } from '../../src/lifecycle/context.ts'

const root = path.resolve(import.meta.dirname, '../..')
const page = readFileSync(path.join(root, 'docs/explanation/lifecycle.md'), 'utf8')

/** The rows of the tables below a heading, as cells; the heading rows left out. */
function rowsBelow(heading: string): readonly (readonly string[])[] {
  const part = page.split(/^## /m).find((p) => p.startsWith(`${heading}\n`))
  if (part === undefined) throw new Error(`no heading "${heading}"`)
  const rows = part.split('\n').filter((line) => line.startsWith('| '))
  return rows
    .map((row) => row.slice(2, -2).split(' | '))
    .filter(([first = '']) => first.startsWith('`'))
}

const words = (cell = ''): readonly string[] =>
  [...cell.matchAll(/`([\w-]+)`/g)].map(([, word]) => word!)

describe('docs/explanation/lifecycle.md', () => {
  it.each([
    ['Account', accountTransitions],
    ['Credential', credentialTransitions],
    ['Operation', operationTransitions],
  ] as const)('says of each state of the %s what may follow', (heading, table) => {
    const said = rowsBelow(heading).filter((row) => row.length === 3)

    const read = said.map(([status, , next]) => [words(status)[0], [...words(next)].sort()])

    const wanted = Object.entries<readonly string[]>(table)
    expect(Object.fromEntries(read)).toEqual(
      Object.fromEntries(wanted.map(([status, next]) => [status, next.toSorted()])),
    )
  })

  it('names the steps of each kind of operation, in order', () => {
    const said = rowsBelow('Operation').filter((row) => row.length === 2)

    const read = Object.fromEntries(said.map(([kind, steps]) => [words(kind)[0], words(steps)]))

    expect(read).toEqual(stepsOf)
  })

  it('explains each step of a rotation', () => {
    const said = rowsBelow('A rotation, step by step').map(([step]) => words(step)[0])

    expect(said).toEqual(stepsOf.rotate)
  })

  it('tells what to do for every failure that an operation may show, and for no other', () => {
    const said = rowsBelow('When it is stuck').map(([code]) => words(code)[0]!)

    expect(said.toSorted()).toEqual([...codesInSource()].sort())
  })
})

/** Words after `code:`, first arguments of `ask`, and the kinds of a ProviderError, which become codes. */
function codesInSource(): ReadonlySet<string> {
  const codes = new Set<string>()
  const folder = path.join(root, 'src/lifecycle')
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue
    const text = readFileSync(path.join(folder, name), 'utf8')
    for (const [, code] of text.matchAll(/(?:\bcode: |\bask\(\s*)'(\w+)'/g)) codes.add(code!)
  }
  const journal = readFileSync(path.join(root, 'src/store/journal.ts'), 'utf8')
  for (const [, code] of journal.matchAll(/\bcode: '(\w+)'/g)) codes.add(code!)
  const contract = readFileSync(path.join(root, 'src/provider/contract.ts'), 'utf8')
  const kinds = /export type ProviderErrorKind =((?:\s*\| '\w+')+)/.exec(contract)![1]!
  for (const [, kind] of kinds.matchAll(/'(\w+)'/g)) codes.add(kind!)
  return codes
}
