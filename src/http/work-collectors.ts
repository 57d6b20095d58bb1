import type { CallNote, EndingNote } from '../lifecycle/engine.ts'
import { liveReplicas, sweepNames } from '../lifecycle/engine.ts'
import type { Clock } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'
import type { Store } from '../store/store.ts'
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

/** How old the newest slot of each sweep is, whichever replica took it. */
export function slotCollector(store: Store, clock: Clock): Collector {
  const name = 'custody_sweep_slot_age_seconds'
  return {
    name: 'slots',
    metrics: [
      {
        name,
        type: 'gauge',
        help: 'Age of the newest slot of the sweep that any replica took, in seconds; absent before the first.',
        labels: ['sweep'],
      },
    ],
    async collect() {
      const now = clock.now()
      const slots = await Promise.all(
        sweepNames.map(async (sweep) => ({ sweep, slot: await store.read.lastSlot(sweep) })),
      )
      return slots.flatMap(({ sweep, slot }) =>
        slot === null
          ? []
          : [{ name, labels: { sweep }, value: Math.max(0, secondsBetween(slot, now)) }],
      )
    },
  }
}

/** Who is there, as the processes themselves tell. */
export function replicaCollector(store: Store, clock: Clock): Collector {
  return {
    name: 'replicas',
    metrics: [
      {
        name: 'custody_replicas',
        type: 'gauge',
        help: 'Processes on this database that were seen lately, by role; one may have several.',
        labels: ['role'],
      },
      {
        name: 'custody_replica_versions',
        type: 'gauge',
        help: 'Versions of Custody among them; more than 1 is an upgrade under way.',
      },
      {
        name: 'custody_replica_policies',
        type: 'gauge',
        help: 'Versions of the policies among them; more than 1: some decide by other files.',
      },
      {
        name: 'custody_replica_clock_offset_seconds',
        type: 'gauge',
        help: 'The farthest that the clock of one of their machines is from the database, in seconds.',
      },
    ],
    async collect() {
      const live = liveReplicas(await store.read.replicas(), clock.now())
      const different = (words: readonly string[]): number => new Set(words).size
      return [
        ...['http', 'worker', 'scheduler'].map((role) => ({
          name: 'custody_replicas',
          labels: { role },
          value: live.filter(({ roles }) => roles.includes(role)).length,
        })),
        { name: 'custody_replica_versions', value: different(live.map((r) => r.version)) },
        { name: 'custody_replica_policies', value: different(live.map((r) => r.policy)) },
        {
          name: 'custody_replica_clock_offset_seconds',
          value: Math.max(0, ...live.map((r) => Math.abs(r.clockOffset))) / 1_000,
        },
      ]
    },
  }
}
