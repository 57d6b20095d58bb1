import type { FastifyInstance } from 'fastify'
import { errors } from '../domain/errors.ts'
import { defaultTenant } from '../domain/ids.ts'
import type { Authenticate } from './auth.ts'

/** One metric as it is announced, whether or not it has a value right now. */
export interface MetricDefinition {
  readonly name: string
  readonly type: 'gauge' | 'counter' | 'histogram'
  /** One sentence, with the unit. */
  readonly help: string
  readonly labels?: readonly string[]
}

export interface Sample {
  readonly name: string
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
  /** Of a histogram: which of its three series this line belongs to. */
  readonly part?: 'bucket' | 'sum' | 'count'
}

/** A group of metrics from one source; a new source of metrics is one of these, passed to the registry. */
export interface Collector {
  readonly name: string
  readonly metrics: readonly MetricDefinition[]
  /** Asked at each scrape; what it throws costs its own metrics and no others. */
  collect(): readonly Sample[] | Promise<readonly Sample[]>
}

export interface Metrics {
  readonly definitions: readonly MetricDefinition[]
  /** The Prometheus text format 0.0.4. */
  text(): Promise<string>
}

export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

const up: MetricDefinition = {
  name: 'custody_collector_up',
  type: 'gauge',
  help: '1 when the source of some of these metrics could be read, else 0.',
  labels: ['collector'],
}

/** @throws when two collectors claim one name, or a name or label is not one Prometheus knows */
export function createMetrics(collectors: readonly Collector[]): Metrics {
  const definitions = [...collectors.flatMap((c) => c.metrics), up]
  const known = new Map<string, MetricDefinition>()
  for (const definition of definitions) {
    for (const word of [definition.name, ...(definition.labels ?? [])]) {
      if (!/^[a-z][a-z0-9_]*$/.test(word))
        throw new Error(`${word} is no name of a metric or label`)
    }
    if (known.has(definition.name)) throw new Error(`${definition.name} is measured twice`)
    known.set(definition.name, definition)
  }

  const samplesOf = async (collector: Collector): Promise<readonly Sample[]> => {
    const labels = { collector: collector.name }
    try {
      const samples = await collector.collect()
      for (const { name } of samples) {
        const isOwn = collector.metrics.some((m) => m.name === name)
        if (!isOwn) throw new Error(`${collector.name} did not announce ${name}`)
      }
      return [...samples, { name: up.name, labels, value: 1 }]
    } catch {
      return [{ name: up.name, labels, value: 0 }]
    }
  }

  return {
    definitions,
    async text() {
      const samples = (await Promise.all(collectors.map(samplesOf))).flat()
      const byName = Map.groupBy(samples, (sample) => sample.name)
      return definitions
        .map(({ name, type, help }) => {
          const lines = (byName.get(name) ?? []).map(lineOf)
          return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`, ...lines]
        })
        .flat()
        .map((line) => `${line}\n`)
        .join('')
    },
  }
}

function lineOf({ name, labels, value, part }: Sample): string {
  const pairs = Object.entries(labels ?? {}).map(
    ([label, text]) => `${label}="${escaped(text).replaceAll('"', '\\"')}"`,
  )
  const series = part === undefined ? name : `${name}_${part}`
  return `${series}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${numberOf(value)}`
}

function numberOf(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (Number.isFinite(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

/**
 * `GET /metrics`, for auditors and administrators of the installation's own tenant: the numbers are
 * about all tenants together.
 */
export function metricsRoute(
  app: FastifyInstance,
  metrics: Metrics,
  authenticate: Authenticate,
): void {
  app.get('/metrics', async (request, reply) => {
    const { client } = await authenticate(request)
    const mayRead = client.role === 'auditor' || client.role === 'admin'
    if (!mayRead || client.tenant !== defaultTenant) {
      const reason = 'It is for auditors and administrators of the default tenant.'
      throw errors.forbidden({ action: 'metrics.read', role: client.role, reason })
    }
    return reply.type(metricsContentType).send(await metrics.text())
  })
}
