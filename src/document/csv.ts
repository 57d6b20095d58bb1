import { isUtf8 } from 'node:buffer'
import type { Problem } from './document.ts'

export interface CsvOptions {
  /** Must all be in the header, in any order; matched without regard to case, answered as here. */
  readonly required: readonly string[]
  /** May be in the header. */
  readonly optional: readonly string[]
  /** What becomes of columns of other names: an export of a whole directory has dozens. */
  readonly others: 'refuse' | 'ignore'
  readonly bytesMax?: number
  readonly rowsMax?: number
}

export interface CsvRow {
  /** 1-based line of the file on which the row begins: a quoted cell may span several. */
  readonly line: number
  /** As many as the header has columns, in its order; without surrounding blanks. */
  readonly cells: readonly string[]
}

export interface Csv {
  /** Only the columns asked for, spelt as in the options; `cells` has the same order. */
  readonly header: readonly string[]
  readonly rows: readonly CsvRow[]
}

/** A file that is not read at all: every problem with its line. No message repeats a cell. */
export class CsvError extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map((p) => `line ${p.line}: ${p.message}`).join('\n'))
    this.name = 'CsvError'
    this.problems = problems
  }
}

const bytesMaxDefault = 32 * 1024 * 1024
const rowsMaxDefault = 200_000
/** A file of the wrong sort has the same problem on each line. */
const problemsMax = 20

/**
 * Reads comma-separated values (RFC 4180) strictly, all or nothing: UTF-8 with or without its mark,
 * one header, rows of one width. A cell that a spreadsheet would run as a formula is refused.
 * @throws CsvError
 */
export function readCsv(bytes: Buffer, options: CsvOptions): Csv {
  const text = decoded(bytes, options.bytesMax ?? bytesMaxDefault)
  const problems: Problem[] = []
  const rowsMax = options.rowsMax ?? rowsMaxDefault
  const [head, ...records] = recordsOf(text, rowsMax + 1)
  if (!head) throw fault(1, 'the file is empty; its first line names the columns.')
  const columns = columnsOf(head, options, problems)
  if (problems.length > 0) throw new CsvError(problems)

  const rows: CsvRow[] = []
  for (const { line, cells } of records) {
    if (cells.length !== head.cells.length) {
      const message = `has ${cells.length} cells where the header has ${head.cells.length}.`
      problems.push({ path: '', line, message })
    } else {
      const kept = columns.map(({ at, name }) => {
        const reason = unfit(cells[at]!)
        if (reason) problems.push({ path: name, line, message: `column "${name}" ${reason}` })
        return cells[at]!
      })
      rows.push({ line, cells: kept })
    }
    if (problems.length >= problemsMax) break
  }
  if (problems.length > 0) throw new CsvError(problems)
  return { header: columns.map(({ name }) => name), rows }
}

function fault(line: number, message: string): CsvError {
  return new CsvError([{ path: '', line, message }])
}

function decoded(bytes: Buffer, bytesMax: number): string {
  if (bytes.length > bytesMax) {
    throw fault(1, `the file has ${bytes.length} bytes; at most ${bytesMax} are read.`)
  }
  const [first, second] = bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw fault(1, 'the file is UTF-16; save it as UTF-8.')
  }
  const zero = bytes.indexOf(0)
  // Latin text in UTF-16 without a mark is every second byte a zero; both are valid UTF-8.
  if (zero !== -1) {
    throw fault(lineAt(bytes, zero), 'has a zero byte (UTF-16 or binary); save the file as UTF-8.')
  }
  if (!isUtf8(bytes)) {
    const message = 'is not UTF-8 (Latin-1 or Windows-1252, most likely); save the file as UTF-8.'
    throw fault(lineAt(bytes, firstInvalid(bytes)), message)
  }
  const text = bytes.toString('utf8')
  return text.startsWith('\uFEFF') ? text.slice(1) : text
}

const lineAt = (bytes: Buffer, at: number): number => {
  let line = 1
  for (let i = bytes.indexOf(10); i !== -1 && i < at; i = bytes.indexOf(10, i + 1)) line++
  return line
}

/** No character of UTF-8 spans a line, so the first line that is invalid by itself holds it. */
function firstInvalid(bytes: Buffer): number {
  let start = 0
  for (;;) {
    const end = bytes.indexOf(10, start)
    const stop = end === -1 ? bytes.length : end
    if (end === -1 || !isUtf8(bytes.subarray(start, stop))) return start
    start = stop + 1
  }
}

/** Cells of one line, or of more where a quoted cell holds line ends; empty lines are skipped. */
function recordsOf(text: string, recordsMax: number): readonly CsvRow[] {
  const records: CsvRow[] = []
  let at = 0
  let line = 1
  while (at < text.length) {
    const begins = line
    const cells: string[] = []
    for (let more = true; more;) {
      const quoted = text[at] === '"'
      const end = quoted ? endOfQuoted(text, at, line) : endOfPlain(text, at)
      const raw = text.slice(at, end)
      if (!quoted && raw.includes('"')) {
        throw fault(line, 'has a quote inside a cell that is not quoted; quote it and double it.')
      }
      cells.push((quoted ? raw.slice(1, -1).replaceAll('""', '"') : raw).trim())
      if (quoted) line += raw.split('\n').length - 1
      const next = text[end]
      more = next === ','
      if (next !== undefined && next !== ',' && next !== '\n' && next !== '\r') {
        throw fault(line, 'has text after a closing quote; a quote inside a cell is doubled.')
      }
      at = end + 1
      if (next === '\r' && text[at] === '\n') at++
    }
    line++
    if (cells.length > 1 || cells[0] !== '') records.push({ line: begins, cells })
    if (records.length > recordsMax) {
      throw fault(begins, `the file has more than ${recordsMax - 1} rows.`)
    }
  }
  return records
}

function endOfPlain(text: string, from: number): number {
  let at = from
  while (at < text.length && text[at] !== ',' && text[at] !== '\n' && text[at] !== '\r') at++
  return at
}

function endOfQuoted(text: string, from: number, line: number): number {
  for (let at = from + 1; ; at += 2) {
    at = text.indexOf('"', at)
    if (at === -1) throw fault(line, 'opens a quote that is never closed.')
    if (text[at + 1] !== '"') return at + 1
  }
}

interface Column {
  readonly name: string
  readonly at: number
}

function columnsOf(
  { line, cells }: CsvRow,
  { required, optional, others }: CsvOptions,
  problems: Problem[],
): readonly Column[] {
  const known = [...required, ...optional]
  const add = (message: string) => problems.push({ path: '', line, message })
  const [only] = cells
  if (cells.length === 1 && /[;\t]/.test(only!)) {
    add('separates columns by semicolons or tabs; save the file with commas.')
    return []
  }
  const columns = cells.flatMap((cell, at): Column[] => {
    const name = known.find((k) => k.toLowerCase() === cell.toLowerCase())
    if (name !== undefined) return [{ name, at }]
    if (others === 'refuse') {
      add(`names a column, the ${at + 1}. one, that is not known; known are ${known.join(', ')}.`)
    }
    return []
  })
  for (const { name, at } of columns) {
    if (columns.some((c) => c.name === name && c.at < at)) add(`names column "${name}" twice.`)
  }
  for (const name of required) {
    if (!columns.some((c) => c.name === name)) add(`has no column "${name}".`)
  }
  return columns
}

/** Why a cell is not taken; a tab or line end in front hides a formula from a reader, not from a sheet. */
function unfit(cell: string): string | null {
  if (/^[=+\-@]/.test(cell)) {
    return `starts with "${cell[0]}": a spreadsheet would run it as a formula.`
  }
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u001F\u007F\uFEFF\uFFFD]/.test(cell)) {
    return 'holds a control character or one that an earlier conversion could not read.'
  }
  return null
}
