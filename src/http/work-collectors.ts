import type { CallNote, EndingNote } from '../lifecycle/engine.ts'
import { createHistogram } from './histogram.ts'
import type { Collector } from './metrics.ts'

/** How calls to providers and sinks fare, as this process made them. */
export function callCollector(): {
  readonly collector: Collector
  readonly note: (note: CallNote) => void
} {
  const seconds = createHistogram(
    {
      name: 'custody_provider_call_seconds',
      help: 'How long calls to a provider or sink took, in seconds, by outcome; ok went well. Its count is the number of calls.',
      labels: ['target', 'call', 'outcome'],
    },
    [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
  )
  return {
    note: (note) => seconds.series(note.target, note.call, note.outcome).observe(note.seconds),
    collector: {
      name: 'calls',
      metrics: [seconds.definition],
      collect: () => seconds.samples(),
    },
  }
}

/** How long it took to end a key, as far as this process proved it. */
export function endingCollector(): {
  readonly collector: Collector
  readonly note: (note: EndingNote) => void
} {
  const seconds = createHistogram(
    {
      name: 'custody_revocation_seconds',
      help: 'From the word that ended a key to the proof that it is dead, in seconds; refused = tried and refused, settled = nothing alive in a complete listing.',
      labels: ['kind', 'cause', 'proof'],
    },
    [1, 2.5, 5, 10, 15, 30, 60, 120, 300, 900, 3_600],
  )
  return {
    note: (note) => seconds.series(note.kind, note.cause, note.proof).observe(note.seconds),
    collector: {
      name: 'endings',
      metrics: [seconds.definition],
      collect: () => seconds.samples(),
    },
  }
}

/** What runs here, as labels of a number that is always 1. */
export function buildCollector(build: {
  readonly version: string
  readonly node: string
  readonly store: string
}): Collector {
  const name = 'custody_build_info'
  return {
    name: 'build',
    metrics: [
      {
        name,
        type: 'gauge',
        help: 'Always 1; the labels say what runs here.',
        labels: ['version', 'node', 'store'],
      },
    ],
    collect: () => [{ name, labels: { ...build }, value: 1 }],
  }
}

/** The connections to the database; a store that has no pool has no numbers. */
export function poolCollector(pool: () => PoolFacts | null): Collector {
  return {
    name: 'pool',
    metrics: [
      {
        name: 'custody_database_connections',
        type: 'gauge',
        help: 'Connections of this process to PostgreSQL, by state; waiting = queries that wait for one.',
        labels: ['state'],
      },
    ],
    collect() {
      const facts = pool()
      const sample = (state: string, value: number) => ({
        name: 'custody_database_connections',
        labels: { state },
        value,
      })
      return facts === null
        ? []
        : [
            sample('busy', facts.total - facts.idle),
            sample('idle', facts.idle),
            sample('waiting', facts.waiting),
          ]
    },
  }
}

export interface PoolFacts {
  readonly total: number
  readonly idle: number
  readonly waiting: number
}
