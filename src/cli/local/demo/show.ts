import { bold, table } from '../../terminal.ts'
import type { Column, Row, Terminal } from '../../terminal.ts'

export const widthMax = 96
const indent = '  '
const labelWidth = 12
const drawMilliseconds = 100

/** How the story is told; the same words with and without colour, nothing at all for `--json`. */
export interface Show {
  heading(text: string): void
  /** A labelled line; what is too long goes on below, under itself. */
  fact(label: string, text: string): void
  line(text: string): void
  rows(columns: readonly Column[], rows: readonly Row[]): void
  /** One line that is overwritten; on a terminal only. */
  progress(text: string): void
  /** Removes it. */
  clear(): void
}

export function createShow(terminal: Terminal, isSilent: boolean): Show {
  const isAnimated = terminal.isInteractive && terminal.columns !== null && !isSilent
  const plain = terminal.columns === null ? { ...terminal.env, NO_COLOR: '1' } : terminal.env
  const available = Math.min(widthMax, terminal.columns || widthMax)
  const page: Terminal = { ...terminal, env: plain, columns: available - indent.length }
  let busy: { readonly text: string; readonly since: number } | null = null
  const draw = (): void => {
    if (!busy) return
    const elapsed = seconds((performance.now() - busy.since) / 1_000)
    const text = `${indent}${busy.text} ${elapsed}`.slice(0, available - 1)
    terminal.stderr(`\r\u001B[K${text}`)
  }
  // Redrawn by itself as well: a step that only waits shows that it is alive.
  if (isAnimated) setInterval(draw, drawMilliseconds).unref()
  const clear = (): void => {
    if (busy) terminal.stderr('\r\u001B[K')
    busy = null
  }
  const write = (text: string): void => {
    clear()
    if (!isSilent) terminal.stdout(text)
  }
  return {
    heading: (text) => write(`\n${bold(text, page)}\n`),
    fact(label, text) {
      const head = `${indent}${label.padEnd(labelWidth)}`
      const lines = wrap(text, available - head.length)
      write(lines.map((l, i) => `${i === 0 ? head : ' '.repeat(head.length)}${l}\n`).join(''))
    },
    line: (text) => write(text === '' ? '\n' : `${wrap(text, available).join('\n')}\n`),
    clear,
    rows: (columns, rows) => write(table(columns, rows, page).replaceAll(/^(?=.)/gm, indent)),
    progress(text) {
      if (!isAnimated) return
      const isFirst = busy === null
      busy = { text, since: busy?.since ?? performance.now() }
      if (isFirst) draw()
    },
  }
}

/** Breaks at spaces; a word longer than the line (a path) stays whole, for it is copied. */
function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`
    } else lines.push(word)
  }
  return lines
}

export function seconds(value: number): string {
  return `${value.toFixed(2)} s`
}

/** `+0.09 s`: since the event. */
export function after(value: number): string {
  return `+${seconds(value)}`
}
