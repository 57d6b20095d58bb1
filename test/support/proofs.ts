import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** A test that a page of the documentation names: its file below `test/`, and its title there. */
export interface Proof {
  readonly file: string
  readonly title: string
}

/** What a cell for proofs holds: proofs, or why there is none. */
export interface Proven {
  readonly proofs: readonly Proof[]
  /** Why there is no proof. */
  readonly reason: string | null
}

const root = path.resolve(import.meta.dirname, '../..')

export const readPage = (name: string): string =>
  readFileSync(path.join(root, 'docs/reference', name), 'utf8')

/** The rows of the tables in a piece of Markdown, as cells; heads and rulers left out. */
export function rowsOf(text: string): readonly (readonly string[])[] {
  const tables = text.split(/\n(?!\| )/).map((part) => part.split('\n').filter(isRow))
  return tables.flatMap((rows) =>
    rows.slice(2).map((row) =>
      row
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    ),
  )
}

const isRow = (line: string): boolean => line.startsWith('| ')

/** Reads "`file` › title<br>…" or "no: why". @throws when it is neither */
export function provenBy(cell: string): Proven {
  const reason = /^no: (.+)$/.exec(cell)?.[1] ?? null
  return { reason, proofs: reason === null ? cell.split('<br>').map(proofOf) : [] }
}

function proofOf(text: string): Proof {
  const found = /^`([\w./-]+)` › (.+)$/.exec(text)
  if (!found) throw new Error(`no proof: ${text}`)
  return { file: found[1]!, title: found[2]! }
}

/** Where a title stands: in a call, behind a table, as a row's first cell or its `name`. */
// Looked ahead for, so that a bracket within a text does not swallow the title behind it.
const titleAt =
  /(?:\b(?:it|test|describe)\(|[\])]\(|\bname:|\[)(?=\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`))/g

function titlesOf(text: string): ReadonlySet<string> {
  return new Set(
    Array.from(text.matchAll(titleAt), ([, single, double, template]) =>
      (single ?? double ?? template ?? '')
        .replaceAll(/\\u([0-9a-f]{4})/g, (_all, code: string) =>
          String.fromCharCode(Number.parseInt(code, 16)),
        )
        .replaceAll(/\\(.)/g, '$1'),
    ),
  )
}

export const filesOf = (lines: readonly Proven[]): readonly string[] => [
  ...new Set(lines.flatMap((line) => line.proofs.map((proof) => proof.file))),
]

/**
 * What is wrong with a page's proofs in one file: the file is not there, a title is not in it, or
 * a test of it does not run.
 * @returns one sentence each; empty when all is well
 */
export function faultsIn(file: string, lines: readonly Proven[]): readonly string[] {
  const full = path.join(root, 'test', file)
  if (!existsSync(full)) return [`test/${file} is not there`]
  // A test that runs only where its tool is installed may stand in the file, but proves nothing.
  const text = readFileSync(full, 'utf8').replaceAll(/\bit\.(?:runIf|skipIf)\([^()]*\)/g, 'aside')
  const titles = titlesOf(text)
  const named = lines.flatMap(({ proofs }) => proofs.filter((proof) => proof.file === file))
  const idle = /\.(?:skip|skipIf|runIf|todo|only|fails)\b|\bx(?:it|test)\(/.exec(text)
  return [
    ...named.filter(({ title }) => !titles.has(title)).map(({ title }) => `no test "${title}"`),
    ...(idle ? [`"${idle[0]}" keeps a test from running`] : []),
  ]
}
