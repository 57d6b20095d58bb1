import type { MetricDefinition, Sample } from './metrics.ts'

/** One series of a histogram: what was observed under one set of labels. */
export interface Series {
  /** @param seconds how long it took */
  observe(seconds: number): void
  readonly count: number
}

/** A histogram over fixed buckets, so that replicas can be added up. */
export interface Histogram {
  readonly definition: MetricDefinition
  /**
   * The series of these label values, in the order of the definition's labels. Beyond `seriesMax`
   * of them all share one whose labels are `other`: no label set may grow with what clients send.
   */
  series(...values: readonly string[]): Series
  samples(): readonly Sample[]
}

const seriesMax = 1_000

/** @param bounds upper ends of the buckets in seconds, ascending, without +Inf */
export function createHistogram(
  definition: Omit<MetricDefinition, 'type'>,
  bounds: readonly number[],
): Histogram {
  const labels = definition.labels ?? []
  const all = new Map<string, Counts>()

  const series = (...values: readonly string[]): Counts => {
    const key = JSON.stringify(values)
    const known = all.get(key)
    if (known !== undefined) return known
    const isOther = all.size >= seriesMax && values.some((value) => value !== 'other')
    if (isOther) return series(...labels.map(() => 'other'))
    const made = new Counts(bounds, Object.fromEntries(labels.map((l, i) => [l, values[i] ?? ''])))
    all.set(key, made)
    return made
  }

  return {
    definition: { ...definition, type: 'histogram' },
    series,
    samples: () => [...all.values()].flatMap((counts) => counts.samples(definition.name)),
  }
}

class Counts implements Series {
  readonly #bounds: readonly number[]
  readonly #labels: Readonly<Record<string, string>>
  /** Not cumulative: one write per observation; added up when they are asked for. */
  readonly #buckets: number[]
  #sum = 0
  #count = 0

  constructor(bounds: readonly number[], labels: Readonly<Record<string, string>>) {
    this.#bounds = bounds
    this.#labels = labels
    this.#buckets = bounds.map(() => 0)
  }

  get count(): number {
    return this.#count
  }

  observe(seconds: number): void {
    this.#sum += seconds
    this.#count += 1
    for (let i = 0; i < this.#bounds.length; i++) {
      if (seconds <= this.#bounds[i]!) {
        this.#buckets[i]! += 1
        return
      }
    }
  }

  samples(name: string): readonly Sample[] {
    let sum = 0
    const bucket = (le: string, value: number): Sample => ({
      name,
      part: 'bucket',
      labels: { ...this.#labels, le },
      value,
    })
    return [
      ...this.#bounds.map((bound, i) => bucket(String(bound), (sum += this.#buckets[i]!))),
      bucket('+Inf', this.#count),
      { name, part: 'sum', labels: this.#labels, value: this.#sum },
      { name, part: 'count', labels: this.#labels, value: this.#count },
    ]
  }
}
