import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { barChart, lineChart } from '../../bench/chart.ts'
import { renderReport } from '../../bench/report.ts'
import type { Results } from '../../bench/result.ts'

const docs = path.resolve(import.meta.dirname, '..', '..', 'docs', 'reference')
const one = (median: number) => ({ median, min: median * 0.9, max: median * 1.1 })

describe('a chart', () => {
  const bars = barChart({
    title: 'a < b & "c"',
    unit: 'requests per second',
    groups: [
      {
        name: 'get',
        bars: [
          { series: 'x', value: one(3) },
          { series: 'y', value: one(29_000) },
        ],
      },
    ],
  })
  const lines = lineChart({
    title: 'cost',
    x: 'resources',
    y: 'µs',
    lines: ['first', 'second'].map((name) => ({
      name,
      points: [1_000, 10_000].map((x) => ({ x, value: one(x / 100) })),
    })),
  })

  it.each([
    ['bars', bars],
    ['lines', lines],
  ])('is well-formed XML with its axes named: %s', (_name, svg) => {
    expect(wellFormed(svg)).toBe(true)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg).toContain('logarithmic')
    expect(svg).toContain('prefers-color-scheme: dark')
  })

  it('draws more as longer, and names that end together apart', () => {
    const widths = [...bars.matchAll(/<rect class="f\d"[^>]* width="([\d.]+)"/g)].map((m) =>
      Number(m[1]),
    )
    const places = ['first', 'second'].map((name) =>
      Number(new RegExp(`y="([\\d.]+)">${name}<`).exec(lines)![1]),
    )

    expect(widths[1]! / widths[0]!).toBeGreaterThan(2)
    expect(Math.abs(places[1]! - places[0]!)).toBeGreaterThanOrEqual(17)
  })
})

describe('docs/reference/benchmarks.md', () => {
  it('is what the generator makes of the results beside it', async () => {
    const results = JSON.parse(
      await readFile(path.join(docs, 'benchmarks.json'), 'utf8'),
    ) as Results

    const rendered = renderReport(results)

    for (const [name, text] of Object.entries(rendered)) {
      expect(await readFile(path.join(docs, name), 'utf8'), name).toBe(text)
    }
    expect(Object.keys(rendered)).toHaveLength(3)
  })

  it('says which goals were missed', async () => {
    const file = path.join(docs, 'benchmarks.json')
    const results = JSON.parse(await readFile(file, 'utf8')) as Results
    const missed = {
      name: 'a goal',
      unit: '×',
      value: { ...one(1), values: [1] },
      atLeast: 2,
    }
    const [first] = results.parts

    const page = renderReport({ ...results, parts: [{ ...first!, figures: [missed] }] })

    expect(page['benchmarks.md']).toContain('0 of 1 were reached.')
    expect(page['benchmarks.md']).toMatch(/a goal .*MISS/)
  })
})

/** Every element that is opened is closed, in order; every attribute is quoted. */
function wellFormed(svg: string): boolean {
  const open: string[] = []
  const rest = svg.replace(
    /<(\/?)([a-z]+)((?: [a-zA-Z-:]+="[^"<]*")*)(\/?)>/g,
    (_, end, name, _a, alone) => {
      if (end === '/') return open.pop() === name ? '' : '<'
      if (alone !== '/') open.push(name as string)
      return ''
    },
  )
  return open.length === 0 && !/[<>]/.test(rest) && !/&(?!amp;|lt;|gt;|quot;)/.test(rest)
}
