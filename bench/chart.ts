/** A bar, or a point of a line, with the range over the rounds. */
export interface Value {
  readonly median: number
  readonly min: number
  readonly max: number
}

export interface BarChart {
  readonly title: string
  /** What the axis counts. It is logarithmic, from a power of ten. */
  readonly unit: string
  readonly groups: readonly {
    readonly name: string
    readonly bars: readonly { readonly series: string; readonly value: Value }[]
  }[]
}

export interface LineChart {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly lines: readonly {
    readonly name: string
    readonly points: readonly { readonly x: number; readonly value: Value }[]
  }[]
}

/** One per series, in light and dark; told apart without colour by shapes and by their order. */
const colours = [
  ['#0b6bcb', '#58a6ff'],
  ['#b3470a', '#ff9d57'],
  ['#1a7f37', '#56d364'],
  ['#8250df', '#d2a8ff'],
  ['#57606a', '#adb5bd'],
  ['#a40e5c', '#ff8cc6'],
  ['#7a5f00', '#e3b341'],
  ['#04727b', '#56d4dd'],
  ['#5b4a3f', '#c9b8a8'],
  ['#303f9f', '#9fa8ff'],
] as const
const width = 860
const rowHeight = 18
const font = "font-family: system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"

/** Horizontal bars in groups, one row a bar, each with its value beside it. */
export function barChart({ title, unit, groups }: BarChart): string {
  const series = [...new Set(groups.flatMap((g) => g.bars.map((b) => b.series)))]
  const values = groups.flatMap((g) => g.bars.map((b) => b.value))
  const axis = logAxis(values, { from: 250, to: width - 110 })
  const body: string[] = []
  let y = 46
  for (const { name, bars } of groups) {
    body.push(text({ x: 16, y: y + 14, content: name, more: 'class="strong"' }))
    y += 22
    for (const { series: by, value } of bars) {
      const end = axis.at(value.median)
      const middle = y + rowHeight / 2
      body.push(
        text({ x: 242, y: middle + 4, content: by, more: 'text-anchor="end"' }),
        `<rect class="f${series.indexOf(by) % colours.length}" x="${axis.from}" y="${y + 2}" width="${round(Math.max(1, end - axis.from))}" height="${rowHeight - 4}"/>`,
        `<path class="range" d="M${axis.at(value.min)} ${middle}H${axis.at(value.max)}"/>`,
        text({
          x: Math.max(end, axis.at(value.max)) + 6,
          y: middle + 4,
          content: short(value.median),
        }),
      )
      y += rowHeight
    }
    y += 10
  }
  const bottom = y
  const grid = axis.ticks.flatMap((tick) => [
    `<path class="grid" d="M${axis.at(tick)} 44V${bottom}"/>`,
    text({ x: axis.at(tick), y: bottom + 16, content: short(tick), more: 'text-anchor="middle"' }),
  ])
  const label = text({
    x: (axis.from + axis.to) / 2,
    y: bottom + 36,
    content: `${unit}, logarithmic`,
    more: 'text-anchor="middle"',
  })
  return document(title, bottom + 50, [...grid, ...body, label])
}

/** Lines over a logarithmic x and y, named where they end. */
export function lineChart({ title, x, y, lines }: LineChart): string {
  const top = 50
  const bottom = 440
  const points = lines.flatMap((line) => line.points)
  const across = logAxis(
    points.map((p) => ({ median: p.x, min: p.x, max: p.x })),
    { from: 76, to: width - 290 },
  )
  const up = logAxis(
    points.map((p) => p.value),
    { from: bottom, to: top },
  )
  const body: string[] = []
  for (const tick of across.ticks) {
    body.push(
      `<path class="grid" d="M${across.at(tick)} ${top}V${bottom}"/>`,
      text({
        x: across.at(tick),
        y: bottom + 18,
        content: short(tick),
        more: 'text-anchor="middle"',
      }),
    )
  }
  for (const tick of up.ticks) {
    body.push(
      `<path class="grid" d="M${across.from} ${up.at(tick)}H${across.to}"/>`,
      text({
        x: across.from - 8,
        y: up.at(tick) + 4,
        content: short(tick),
        more: 'text-anchor="end"',
      }),
    )
  }
  const ends = apart(
    lines.map(({ points }) => up.at(points.at(-1)?.value.median ?? 1)),
    bottom,
  )
  for (const [i, { name, points }] of lines.entries()) {
    const places = points.map((p) => [across.at(p.x), up.at(p.value.median)] as const)
    const path = places.map(([x, y], k) => `${k === 0 ? 'M' : 'L'}${x} ${y}`).join('')
    const end = places.at(-1)
    if (end === undefined) continue
    const colour = i % colours.length
    body.push(`<path class="s${colour} line" d="${path}"/>`)
    for (const [k, { value }] of points.entries()) {
      const [cx, cy] = places[k]!
      body.push(
        `<path class="s${colour} thin" d="M${cx} ${up.at(value.min)}V${up.at(value.max)}"/>`,
      )
      body.push(mark(i, cx, cy))
    }
    body.push(
      `<path class="s${colour} thin" d="M${end[0] + 6} ${end[1]}L${across.to + 14} ${ends[i]}"/>`,
      mark(i, across.to + 22, ends[i]!),
      text({ x: across.to + 32, y: ends[i]! + 4, content: name }),
    )
  }
  body.push(
    text({
      x: (across.from + across.to) / 2,
      y: bottom + 40,
      content: `${x}, logarithmic`,
      more: 'text-anchor="middle"',
    }),
    `<text transform="translate(18 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escape(`${y}, logarithmic`)}</text>`,
  )
  return document(title, bottom + 56, body)
}

/** Circle, square, triangle, diamond. */
function mark(series: number, x: number, y: number): string {
  const name = `class="f${series % colours.length}"`
  switch (series % 4) {
    case 0:
      return `<circle ${name} cx="${x}" cy="${y}" r="4"/>`
    case 1:
      return `<rect ${name} x="${round(x - 4)}" y="${round(y - 4)}" width="8" height="8"/>`
    case 2:
      return `<path ${name} d="M${x} ${round(y - 5)}l5 9h-10z"/>`
    default:
      return `<path ${name} d="M${x} ${round(y - 5)}l5 5l-5 5l-5 -5z"/>`
  }
}

interface Axis {
  readonly from: number
  readonly to: number
  readonly ticks: readonly number[]
  at(value: number): number
}

function logAxis(
  values: readonly Value[],
  place: { readonly from: number; readonly to: number },
): Axis {
  const all = values.flatMap((v) => [v.median, v.min, v.max]).filter((n) => n > 0)
  const first = Math.floor(Math.log10(Math.min(...all, 1e9)))
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...all, 10 ** first))))
  const { from, to } = place
  const at = (value: number): number => {
    const share = (Math.log10(Math.max(value, 10 ** first)) - first) / (last - first)
    return round(from + share * (to - from))
  }
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i))
  return { from, to, ticks, at }
}

/** Moves names that would lie over each other, keeping their order, none below the bottom. */
function apart(places: readonly number[], bottom: number): readonly number[] {
  const order = places.map((y, i) => ({ y, i })).sort((a, b) => a.y - b.y)
  for (const [k, one] of order.entries()) {
    one.y = Math.max(one.y, (order[k - 1]?.y ?? 0) + 17)
  }
  let lowest = bottom
  for (const one of order.toReversed()) {
    one.y = Math.min(one.y, lowest)
    lowest = one.y - 17
  }
  const moved = [...places]
  for (const { y, i } of order) moved[i] = round(y)
  return moved
}

function text(of: {
  readonly x: number
  readonly y: number
  readonly content: string
  readonly more?: string
}): string {
  const more = of.more === undefined ? '' : ` ${of.more}`
  return `<text x="${round(of.x)}" y="${round(of.y)}"${more}>${escape(of.content)}</text>`
}

function document(title: string, height: number, body: readonly string[]): string {
  const fills = (which: 0 | 1): string =>
    colours.map((c, i) => `.f${i} { fill: ${c[which]} } .s${i} { stroke: ${c[which]} }`).join('\n')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${round(height)}" width="${width}" height="${round(height)}" role="img" aria-label="${escape(title)}">
<title>${escape(title)}</title>
<style>
text { ${font}; font-size: 12px; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.strong { font-weight: 600 }
.back { fill: #ffffff }
.grid { stroke: #d0d7de; fill: none }
.range { stroke: #1f2328; stroke-width: 2; fill: none }
.line { fill: none; stroke-width: 2 }
.thin { fill: none; stroke-width: 1 }
${fills(0)}
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.back { fill: #0d1117 }
.grid { stroke: #30363d }
.range { stroke: #e6edf3 }
${fills(1)}
}
</style>
<rect class="back" width="100%" height="100%"/>
${text({ x: 16, y: 26, content: title, more: 'class="title"' })}
${body.join('\n')}
</svg>
`
}

/** 1,240 as 1.2 k. */
function short(value: number): string {
  const [unit, by] = value >= 1e6 ? [' M', 1e6] : value >= 1_000 ? [' k', 1_000] : ['', 1]
  const scaled = value / by
  const digits = scaled >= 100 || Number.isInteger(scaled) ? 0 : scaled >= 10 && unit === '' ? 0 : 1
  return `${scaled.toFixed(digits)}${unit}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escape(content: string): string {
  return content
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
