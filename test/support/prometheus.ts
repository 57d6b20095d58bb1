/** One metric of a scrape, with all of its samples. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly samples: readonly {
    /** Name and labels as they were written. */
    readonly series: string
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
  }[]
}

const types = ['counter', 'gauge', 'histogram']
const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/

/**
 * Reads the Prometheus text format 0.0.4 more strictly than Prometheus does: HELP then TYPE once per
 * metric, its samples together below them, no series twice, counters not negative, and histograms
 * whose buckets ascend, add up, and end in a +Inf that equals the count.
 * @throws on anything else, naming the line
 */
export function parseExposition(text: string): readonly Family[] {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end')
  const families: (Family & { samples: Family['samples'][number][] })[] = []
  const series = new Set<string>()
  let help: readonly [name: string, text: string] | null = null
  for (const line of text.split('\n').slice(0, -1)) {
    const refuse = (why: string): Error => new Error(`${why}: ${line}`)
    const announced = /^# HELP (\S+) (.+)$/.exec(line)
    if (announced) {
      if (families.some((f) => f.name === announced[1])) throw refuse('announced twice')
      help = [announced[1]!, announced[2]!]
      continue
    }
    const typed = /^# TYPE (\S+) (\S+)$/.exec(line)
    if (typed) {
      if (help === null || help[0] !== typed[1] || !types.includes(typed[2]!))
        throw refuse('type without help')
      families.push({ name: help[0], help: help[1], type: typed[2]!, samples: [] })
      help = null
      continue
    }
    const [, name, pairs, number] = sampleLine.exec(line) ?? []
    const family = families.at(-1)
    if (name === undefined || family === undefined || help !== null) throw refuse('no sample')
    const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    if (!suffixes.some((suffix) => name === family.name + suffix)) throw refuse('stray sample')
    const labels = labelsOf(pairs ?? '', refuse)
    const key = JSON.stringify([name, sorted(labels)])
    if (series.has(key)) throw refuse('series twice')
    series.add(key)
    const value = Number(number!.replace('Inf', 'Infinity'))
    if (family.type === 'counter' && (Number.isNaN(value) || value < 0))
      throw refuse('negative counter')
    family.samples.push({ series: line.slice(0, line.lastIndexOf(' ')), name, labels, value })
  }
  for (const family of families) if (family.type === 'histogram') checkBuckets(family)
  return families
}

function labelsOf(pairs: string, refuse: (why: string) => Error): Record<string, string> {
  const labels: Record<string, string> = {}
  let rest = pairs
  while (rest !== '') {
    const [all, name, value] =
      /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=.)|$)/.exec(rest) ?? []
    if (all === undefined || name === undefined || name in labels) throw refuse('label')
    labels[name] = value!
    rest = rest.slice(all.length)
  }
  return labels
}

function sorted(labels: Readonly<Record<string, string>>): readonly (readonly [string, string])[] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
}

function checkBuckets({ name, samples }: Family): void {
  const keyOf = ({ le: _le, ...labels }: Readonly<Record<string, string>>) =>
    JSON.stringify(sorted(labels))
  for (const [key, group] of Map.groupBy(samples, (s) => keyOf(s.labels))) {
    const buckets = group.filter((s) => s.name === `${name}_bucket`)
    const bounds = buckets.map((s) => Number(s.labels['le']!.replace('Inf', 'Infinity')))
    const ascends = (numbers: readonly number[], strictly: boolean): boolean =>
      numbers.every((n, i) => i === 0 || n > numbers[i - 1]! || (!strictly && n === numbers[i - 1]))
    const [sums, counts] = ['_sum', '_count'].map((end) =>
      group.filter((s) => s.name === name + end),
    )
    const isWhole =
      bounds.at(-1) === Infinity &&
      ascends(bounds, true) &&
      ascends(
        buckets.map((s) => s.value),
        false,
      ) &&
      sums?.length === 1 &&
      counts?.length === 1 &&
      counts[0]!.value === buckets.at(-1)!.value
    if (!isWhole) throw new Error(`${name} ${key} is no histogram`)
  }
}
