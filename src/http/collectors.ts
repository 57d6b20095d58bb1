import type { Brake } from '../domain/brake.ts'
import { brakeNames } from '../domain/brake.ts'
import type { Clock, Instant } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'
import type { SequencerState, Worker, WorkerEvent } from '../lifecycle/engine.ts'
import { sweepNames } from '../lifecycle/engine.ts'
import type { Store, Vitals } from '../store/store.ts'
import type { Tracer } from '../domain/trace.ts'
import type { Watch } from '../lifecycle/engine.ts'
import type { Collector, Metrics, Sample } from './metrics.ts'
import { createMetrics } from './metrics.ts'
import type { Traffic } from './traffic.ts'
import { createTraffic } from './traffic.ts'
import {
  buildCollector,
  callCollector,
  endingCollector,
  poolCollector,
  replicaCollector,
  slotCollector,
} from './work-collectors.ts'

/** Where the metrics of a whole service come from; functions, for most of it starts later. */
export interface MetricSources {
  readonly store: Store
  readonly clock: Clock
  readonly worker: () => Worker | null
  /** Null where no sequencer runs. */
  readonly sequencer: () => SequencerState | null
  /** When each tenant's anchored checkpoint was signed. */
  readonly anchoredAt: () => Promise<readonly Instant[]>
  readonly brakes: () => Promise<readonly Brake[]>
  readonly process: () => ProcessFacts
  readonly providers: () => readonly string[]
  readonly build: { readonly version: string; readonly node: string; readonly store: string }
  /** Null where no traces are collected. */
  readonly tracer: Tracer | null
  /** Whatever else is worth measuring. */
  readonly more?: readonly Collector[]
}

/** All that /metrics serves; steps and sweeps are counted as they are noted. */
export function serviceMetrics(sources: MetricSources): {
  readonly metrics: Metrics
  readonly noteStep: (event: WorkerEvent) => void
  readonly noteSweep: (event: SweepNote) => void
  /** Counts what is served, once it watches the server. */
  readonly traffic: Traffic
  /** For the worker. */
  readonly watch: Watch
} {
  const { store, clock, tracer } = sources
  const traffic = createTraffic()
  const calls = callCollector()
  const endings = endingCollector()
  const worker = workerCollector(sources.worker)
  const sweeps = sweepCollector(clock)
  const metrics = createMetrics([
    // Before the others ask the database themselves.
    poolCollector(() => store.connections()),
    buildCollector(sources.build),
    traffic.collector,
    storeCollector(store, clock, sources.providers),
    calls.collector,
    endings.collector,
    worker.collector,
    sweeps.collector,
    slotCollector(store, clock),
    replicaCollector(store, clock),
    auditCollector(sources),
    brakeCollector(sources.brakes),
    directoryCollector(store, clock),
    processCollector(sources.process),
    ...(sources.more ?? []),
  ])
  const watch: Watch = { call: calls.note, ending: endings.note, tracer }
  return { metrics, noteStep: worker.note, noteSweep: sweeps.note, traffic, watch }
}

/** Two scrapers, or an impatient one, do not make the store count twice. */
const freshMilliseconds = 2_000

/** The journal and the audit log, as the database has them: the same on every replica. */
export function storeCollector(
  store: Store,
  clock: Clock,
  providers: () => readonly string[] = () => [],
): Collector {
  let asked: { readonly at: number; readonly vitals: Promise<Vitals> } | null = null
  const vitals = (): Promise<Vitals> => {
    const at = clock.monotonic()
    if (asked === null || at - asked.at > freshMilliseconds) {
      const found = store.read.vitals(clock.now(), providers())
      found.catch(() => (asked = null))
      asked = { at, vitals: found }
    }
    return asked.vitals
  }
  return {
    name: 'store',
    metrics: [
      {
        name: 'custody_operations_open',
        type: 'gauge',
        help: 'Operations that are not finished, up to 100000.',
        labels: ['kind', 'status'],
      },
      {
        name: 'custody_operations_needing_operator',
        type: 'gauge',
        help: 'Operations that wait for a human decision.',
      },
      {
        name: 'custody_operation_due_lag_seconds',
        type: 'gauge',
        help: 'Since when the oldest operation that could run has been due, in seconds; 0 = none.',
      },
      {
        name: 'custody_revocation_unfinished_seconds',
        type: 'gauge',
        help: 'Age of the oldest unfinished leave, revoke, disable or retire, in seconds; 0 = none.',
      },
      {
        name: 'custody_operations_stuck',
        type: 'gauge',
        help: 'Operations that get nowhere, up to 100000; failing = for an hour and the last try failed, lapsed = running past their lease.',
        labels: ['reason'],
      },
      {
        name: 'custody_accounts_orphaned',
        type: 'gauge',
        help: 'Service accounts that have no owner, up to 100000.',
      },
      {
        name: 'custody_rotations_overdue',
        type: 'gauge',
        help: 'Credentials whose rotation was due more than an hour ago, up to 100000.',
      },
      {
        name: 'custody_rotation_overdue_seconds',
        type: 'gauge',
        help: 'Since when the first of them has been due, in seconds; 0 = none.',
      },
      {
        name: 'custody_oldest_key_seconds',
        type: 'gauge',
        help: 'Age of the oldest active key at each provider, in seconds.',
        labels: ['provider'],
      },
      {
        name: 'custody_approvals_waiting',
        type: 'gauge',
        help: 'Approvals that wait for a person, up to 100000.',
      },
      {
        name: 'custody_audit_unsequenced_rows',
        type: 'gauge',
        help: 'Audit rows that have no place in the tree yet, up to 100000.',
      },
      {
        name: 'custody_audit_unsequenced_seconds',
        type: 'gauge',
        help: 'Age of the oldest audit row without a place, in seconds; 0 = none.',
      },
    ],
    async collect() {
      const found = await vitals()
      const age = (at: Instant | null): number =>
        at === null ? 0 : Math.max(0, secondsBetween(at, clock.now()))
      return [
        ...found.operations.map(({ kind, status, count }) => ({
          name: 'custody_operations_open',
          labels: { kind, status },
          value: count,
        })),
        { name: 'custody_operations_needing_operator', value: found.needsOperator },
        { name: 'custody_operation_due_lag_seconds', value: age(found.oldestDueAt) },
        { name: 'custody_revocation_unfinished_seconds', value: age(found.oldestRevocationAt) },
        {
          name: 'custody_operations_stuck',
          labels: { reason: 'failing' },
          value: found.failing,
        },
        { name: 'custody_operations_stuck', labels: { reason: 'lapsed' }, value: found.lapsed },
        { name: 'custody_accounts_orphaned', value: found.orphaned },
        { name: 'custody_rotations_overdue', value: found.overdueRotations },
        { name: 'custody_rotation_overdue_seconds', value: age(found.oldestOverdueAt) },
        ...found.oldestKeys.map(({ provider, issuedAt }) => ({
          name: 'custody_oldest_key_seconds',
          labels: { provider },
          value: age(issuedAt),
        })),
        { name: 'custody_approvals_waiting', value: found.approvalsWaiting },
        { name: 'custody_audit_unsequenced_rows', value: found.auditUnsequenced },
        { name: 'custody_audit_unsequenced_seconds', value: age(found.oldestUnsequencedAt) },
      ]
    },
  }
}

/** What this process's worker does. `note` is called with each of its events. */
export function workerCollector(worker: () => Worker | null): {
  readonly collector: Collector
  readonly note: (event: WorkerEvent) => void
} {
  const steps = new Map<string, Sample & { value: number }>()
  return {
    note({ kind, step, outcome }) {
      const key = `${kind}/${step}/${outcome}`
      const labels = { kind, step, outcome }
      const sample = steps.get(key) ?? { name: 'custody_steps_total', labels, value: 0 }
      sample.value++
      steps.set(key, sample)
    },
    collector: {
      name: 'worker',
      metrics: [
        {
          name: 'custody_worker_slots',
          type: 'gauge',
          help: 'Operations this process can have in flight at once.',
        },
        {
          name: 'custody_worker_slots_used',
          type: 'gauge',
          help: 'Operations this process has in flight.',
        },
        {
          name: 'custody_steps_total',
          type: 'counter',
          help: 'Steps of operations that this process ran, by how they ended.',
          labels: ['kind', 'step', 'outcome'],
        },
      ],
      collect() {
        const slots = worker()?.slots() ?? { total: 0, used: 0 }
        return [
          { name: 'custody_worker_slots', value: slots.total },
          { name: 'custody_worker_slots_used', value: slots.used },
          ...steps.values(),
        ]
      },
    },
  }
}

export interface SweepNote {
  readonly sweep: string
  /** `finished`, `failed`, `skipped` (another replica had the slot) or `overlap`. */
  readonly outcome: string
}

/** What this process's scheduler did. `note` is called when a run has ended, or was left out. */
export function sweepCollector(clock: Clock): {
  readonly collector: Collector
  readonly note: (event: SweepNote) => void
} {
  const runs = new Map<string, number>()
  const last = new Map<string, { readonly at: Instant; readonly finished: boolean }>()
  return {
    note({ sweep, outcome }) {
      const key = JSON.stringify([sweep, outcome])
      runs.set(key, (runs.get(key) ?? 0) + 1)
      // A run that was left out says nothing about how the sweep does.
      if (outcome === 'finished' || outcome === 'failed') {
        last.set(sweep, { at: clock.now(), finished: outcome === 'finished' })
      }
    },
    collector: {
      name: 'sweeps',
      metrics: [
        {
          name: 'custody_sweep_runs_total',
          type: 'counter',
          help: 'Slots of a sweep, by outcome; skipped = another replica had it, overlap = the run before was not over.',
          labels: ['sweep', 'outcome'],
        },
        {
          name: 'custody_sweep_last_run_timestamp_seconds',
          type: 'gauge',
          help: 'When this process last ran the sweep to an end, in seconds since 1970; 0 = not since its start.',
          labels: ['sweep'],
        },
        {
          name: 'custody_sweep_last_run_ok',
          type: 'gauge',
          help: '1 when that run finished, 0 when it failed.',
          labels: ['sweep'],
        },
      ],
      collect: () => [
        ...[...runs].map(([key, value]) => {
          const [sweep, outcome] = JSON.parse(key) as [string, string]
          return { name: 'custody_sweep_runs_total', labels: { sweep, outcome }, value }
        }),
        ...sweepNames.flatMap((sweep) => {
          const run = last.get(sweep)
          const at = run === undefined ? 0 : Date.parse(run.at) / 1_000
          const labels = { sweep }
          const ran = { name: 'custody_sweep_last_run_timestamp_seconds', labels, value: at }
          const ok = {
            name: 'custody_sweep_last_run_ok',
            labels,
            value: Number(run?.finished ?? false),
          }
          return run === undefined ? [ran] : [ran, ok]
        }),
      ],
    },
  }
}

/** The audit log's way out of this database: this process's sequencer and its anchor. */
export function auditCollector(
  host: Pick<MetricSources, 'clock' | 'sequencer' | 'anchoredAt'>,
): Collector {
  return {
    name: 'audit',
    metrics: [
      {
        name: 'custody_audit_export_lag_seconds',
        type: 'gauge',
        help: 'Since when this process has failed to place, sign and anchor all audit rows, in seconds; 0 = it does.',
      },
      {
        name: 'custody_audit_sequencer_failures_total',
        type: 'counter',
        help: 'Rounds of the sequencer that failed for some tenant.',
      },
      {
        name: 'custody_audit_behind_tenants',
        type: 'gauge',
        help: 'Tenants whose audit log contradicts what was anchored; anything but 0 is an alarm.',
      },
      {
        name: 'custody_audit_anchor_age_seconds',
        type: 'gauge',
        help: 'Age of the newest anchored checkpoint, in seconds; it grows while nothing happens.',
      },
    ],
    async collect() {
      const state = host.sequencer()
      const anchored = [...(await host.anchoredAt())].sort().at(-1)
      const own =
        state === null
          ? []
          : [
              { name: 'custody_audit_export_lag_seconds', value: state.lagSeconds },
              { name: 'custody_audit_sequencer_failures_total', value: state.failures },
              { name: 'custody_audit_behind_tenants', value: state.behind.length },
            ]
      if (anchored === undefined) return own
      const age = Math.max(0, secondsBetween(anchored, host.clock.now()))
      return [...own, { name: 'custody_audit_anchor_age_seconds', value: age }]
    },
  }
}

/** Each brake there is, so that an alarm need not wait for its first appearance. */
export function brakeCollector(engaged: () => Promise<readonly Brake[]>): Collector {
  return {
    name: 'brakes',
    metrics: [
      {
        name: 'custody_brake_engaged',
        type: 'gauge',
        help: 'How many brakes of this name hold work back: directories, providers, or 1.',
        labels: ['brake'],
      },
    ],
    async collect() {
      const on = await engaged()
      return brakeNames.map((name) => ({
        name: 'custody_brake_engaged',
        labels: { brake: name },
        value: on.filter((brake) => brake.name === name).length,
      }))
    },
  }
}

/** How well each directory and Custody agree, as the last check found. */
export function directoryCollector(store: Store, clock: Clock): Collector {
  return {
    name: 'directories',
    metrics: [
      {
        name: 'custody_directory_accuracy',
        type: 'gauge',
        help: 'Records on which the directory and Custody agreed at the last complete check, of all; 1 = every one.',
        labels: ['directory'],
      },
      {
        name: 'custody_directory_check_age_seconds',
        type: 'gauge',
        help: 'Age of the last check of the directory itself, complete or not, in seconds.',
        labels: ['directory'],
      },
      {
        name: 'custody_directory_check_complete',
        type: 'gauge',
        help: '1 when the last check saw the whole directory.',
        labels: ['directory'],
      },
    ],
    async collect() {
      const checks = await store.read.directoryChecks()
      return checks.flatMap(({ directory, at, complete, agreeing, all }) => {
        const labels = { directory }
        const age = Math.max(0, secondsBetween(at, clock.now()))
        return [
          ...(complete
            ? [
                {
                  name: 'custody_directory_accuracy',
                  labels,
                  value: all === 0 ? 1 : agreeing / all,
                },
              ]
            : []),
          { name: 'custody_directory_check_age_seconds', labels, value: age },
          { name: 'custody_directory_check_complete', labels, value: Number(complete) },
        ]
      })
    },
  }
}

export interface ProcessFacts {
  readonly eventLoopDelayP99Seconds: number
  readonly residentBytes: number
  readonly openHandles: number
  /** Null where the system does not tell. */
  readonly openFiles: number | null
}

export function processCollector(facts: () => ProcessFacts): Collector {
  return {
    name: 'process',
    metrics: [
      {
        name: 'custody_event_loop_delay_p99_seconds',
        type: 'gauge',
        help: 'How late the event loop was at worst in 99 of 100 cases since the last scrape, in seconds.',
      },
      {
        name: 'custody_open_handles',
        type: 'gauge',
        help: 'Timers, sockets and other resources that this process holds open.',
      },
      {
        name: 'process_resident_memory_bytes',
        type: 'gauge',
        help: 'Memory of this process, in bytes.',
      },
      {
        name: 'process_open_fds',
        type: 'gauge',
        help: 'File descriptors that this process has open.',
      },
    ],
    collect() {
      const { eventLoopDelayP99Seconds, residentBytes, openHandles, openFiles } = facts()
      return [
        { name: 'custody_event_loop_delay_p99_seconds', value: eventLoopDelayP99Seconds },
        { name: 'custody_open_handles', value: openHandles },
        { name: 'process_resident_memory_bytes', value: residentBytes },
        ...(openFiles === null ? [] : [{ name: 'process_open_fds', value: openFiles }]),
      ]
    },
  }
}
