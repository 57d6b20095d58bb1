import { styleText } from 'node:util'
import { AppError } from '../domain/errors.ts'
import { visible } from '../host/visible.ts'

/** What a command sees of the world it runs in; a test passes its own. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Data, and nothing else. */
  readonly stdout: (text: string) => void
  /** Messages for people. */
  readonly stderr: (text: string) => void
  /** Width tables must fit; null when stdout is not a terminal. */
  readonly columns: number | null
  /** Someone can answer a question. */
  readonly isInteractive: boolean
  readonly ask: (question: string) => Promise<string>
  /** Aborts at Ctrl-C, from when it is asked for; absent: the process's own. */
  readonly interruption?: () => AbortSignal
  /** All of stdin; absent: the process's own. */
  readonly stdin?: () => Promise<string>
}

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAllowed: 4,
  conflict: 5,
  partial: 6,
  waiting: 7,
  providerFailed: 8,
  integrity: 9,
  interrupted: 130,
} as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** Ends a command with one sentence on stderr and a code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.exitCode = exitCode
  }
}

export function exitCodeOfStatus(status: number): ExitCode {
  switch (status) {
    case 400:
    case 413:
    case 415:
    case 422:
    case 428:
      return exitCodes.usage
    case 401:
    case 403:
      return exitCodes.notAllowed
    case 404:
      return exitCodes.notFound
    case 409:
    case 412:
      return exitCodes.conflict
    case 502:
    case 503:
    case 504:
      return exitCodes.providerFailed
    default:
      return exitCodes.failed
  }
}

/** Local commands meet the same errors as the server, without HTTP in between. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommandFailure) return error.exitCode
  if (!(error instanceof AppError)) return exitCodes.failed
  switch (error.code) {
    case 'configInvalid':
    case 'policyInvalid':
      return exitCodes.usage
    case 'masterKeyWrong':
    case 'masterKeyMissing':
    case 'databaseNewer':
    case 'migrationChanged':
      return exitCodes.integrity
    default:
      return exitCodeOfStatus(error.status)
  }
}

export interface Column {
  readonly title: string
  readonly value: (row: Row) => unknown
  /** Never shortened: an id that is cut cannot be used. */
  readonly whole?: boolean
}

export type Row = Readonly<Record<string, unknown>>

const columnMin = 8
const gap = 2

/**
 * Rows as a table no wider than the terminal: the widest columns give way first, ids never.
 * Columns that no row fills are left out. Values are shown, never obeyed: a userName may hold
 * control characters.
 */
export function table(
  columns: readonly Column[],
  rows: readonly Row[],
  terminal: Terminal,
): string {
  return tablePages(columns, { rows, isFollowed: false }, terminal)(rows)
}

/**
 * The same for rows that come page by page. The first page sets the widths; when others follow it,
 * no column is left out, since a later page may fill it. What is wider later is shortened on a
 * terminal only: elsewhere the text is data.
 * @returns the text of one page; the first has the titles
 */
export function tablePages(
  columns: readonly Column[],
  first: { readonly rows: readonly Row[]; readonly isFollowed: boolean },
  terminal: Terminal,
): (rows: readonly Row[]) => string {
  const cellsOf = (rows: readonly Row[]) =>
    rows.map((row) => columns.map((c) => cellText(c.value(row))))
  const cells = cellsOf(first.rows)
  const used = columns.flatMap((_, i) =>
    first.isFollowed || cells.some((row) => row[i] !== '') ? [i] : [],
  )
  const shown = used.map((i) => columns[i]!)
  const widths = used.map((i) =>
    Math.max(columns[i]!.title.length, ...cells.map((row) => row[i]!.length)),
  )
  if (terminal.columns !== null) shrink(widths, shown, terminal.columns)
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => {
        const isWhole = terminal.columns === null || shown[i]!.whole === true
        const width = isWhole ? Math.max(widths[i]!, text.length) : widths[i]!
        return fit(text, width, i === texts.length - 1)
      })
      .join(' '.repeat(gap))
      .trimEnd()
  let head: string | null = bold(line(shown.map((c) => c.title.toUpperCase())), terminal)
  return (rows) => {
    const lines = cellsOf(rows).map((row) => line(used.map((i) => row[i]!)))
    if (head !== null) lines.unshift(head)
    head = null
    return `${lines.join('\n')}\n`
  }
}

function shrink(widths: number[], columns: readonly Column[], available: number): void {
  const total = () => widths.reduce((sum, w) => sum + w, 0) + gap * (widths.length - 1)
  while (total() > available) {
    let widest = -1
    widths.forEach((w, i) => {
      if (!columns[i]!.whole && w > columnMin && w > (widths[widest] ?? 0)) widest = i
    })
    if (widest < 0) return
    widths[widest]! -= 1
  }
}

function fit(text: string, width: number, isLast: boolean): string {
  if (text.length > width) return `${text.slice(0, width - 1)}…`
  return isLast ? text : text.padEnd(width)
}

/**
 * One thing, a line per attribute. What is nested stands below its name, indented; each of several
 * things begins with a dash. Attributes that hold nothing are left out.
 */
export function record(row: Row, terminal: Terminal): string {
  return attributeLines(row, terminal)
    .map((line) => `${line}\n`)
    .join('')
}

function attributeLines(row: Row, terminal: Terminal): readonly string[] {
  const entries = Object.entries(row).filter(([, v]) => !isNothing(v))
  const width = Math.max(0, ...entries.map(([key]) => key.length))
  return entries.flatMap(([key, v]) => {
    const name = visible(key)
    if (isRow(v)) return [bold(name, terminal), ...indented(attributeLines(v, terminal))]
    if (!Array.isArray(v)) return [`${bold(name.padEnd(width), terminal)}  ${cellText(v)}`]
    const texts = v.filter((item) => !isRow(item)).map(cellText)
    const things = v.filter(isRow).flatMap((item) => {
      const [first = '', ...rest] = attributeLines(item, terminal)
      return [`- ${first}`, ...indented(rest)]
    })
    const head = texts.length
      ? `${bold(name.padEnd(width), terminal)}  ${texts.join(', ')}`
      : bold(name, terminal)
    return [head, ...indented(things)]
  })
}

function indented(lines: readonly string[]): readonly string[] {
  return lines.map((line) => `  ${line}`)
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNothing(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0
  return value === null || value === undefined || (isRow(value) && Object.keys(value).length === 0)
}

export function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'string') return visible(value)
  return visible(JSON.stringify(value))
}

export function bold(text: string, terminal: Terminal): string {
  const wantsColour = terminal.columns !== null && !terminal.env['NO_COLOR']
  return wantsColour ? styleText('bold', text, { validateStream: false }) : text
}
