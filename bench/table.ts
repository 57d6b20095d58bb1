import type { Figure } from './leaver.ts'
import type { Sample, Spread } from './measure.ts'
import { spread } from './measure.ts'
import type { Measured } from './scim.ts'

/** Whether a figure reaches its goal; null when it has none. */
export function isMet({ value, atMost, atLeast }: Figure): boolean | null {
  if (atMost === undefined && atLeast === undefined) return null
  return value.median <= (atMost ?? Infinity) && value.median >= (atLeast ?? -Infinity)
}

export function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => {
    const met = isMet(figure)
    const verdict = met === null ? '' : met ? 'PASS' : 'MISS'
    return [figure.name, range(figure.value), figure.unit, goalOf(figure), verdict]
  })
  return table([['figure', 'median (min–max)', '', 'goal', ''], ...rows])
}

function goalOf({ atMost, atLeast }: Figure): string {
  if (atMost !== undefined) return `≤ ${figure(atMost)}`
  return atLeast === undefined ? '' : `≥ ${figure(atLeast)}`
}

const cells = ['req/s', 'µs CPU/req', 'core', 'p50 ms', 'p99 ms', 'RssAnon MB'] as const

export function sampleTable(measured: readonly Measured[]): string {
  return table([
    ['asked', 'of', 'resources', ...cells],
    ...measured.map(({ what, by, size, samples }) => [what, by, size, ...cellsOf(samples)]),
  ])
}

function cellsOf(found: readonly Sample[]): readonly string[] {
  const of = (pick: (sample: Sample) => number): Spread => spread(found.map(pick))
  return [
    range(of((s) => s.perSecond)),
    range(of((s) => s.cpu)),
    `${Math.round(of((s) => s.busy).median * 100)} %`,
    figure(of((s) => s.p50).median),
    figure(of((s) => s.p99).median),
    figure(of((s) => s.rssAnon).median),
  ]
}

export function range({ median, min, max }: Spread): string {
  return min === max ? figure(median) : `${figure(median)} (${figure(min)}–${figure(max)})`
}

/** Three digits, or all before the point; whole numbers as they are. */
export function figure(value: number): string {
  const digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d)(?<!\.\d*))/g, ',')
}

export function table(rows: readonly (readonly string[])[]): string {
  const isText = rows[0]!.map((_, column) =>
    rows.slice(1).every((row) => !/^[≤≥\d]/.test(row[column]!) || column < 3),
  )
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => (isText[i] ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  const rule = widths.map((width, i) =>
    isText[i] ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  )
  return [line(rows[0]!), `| ${rule.join(' | ')} |`, ...rows.slice(1).map(line)].join('\n')
}
