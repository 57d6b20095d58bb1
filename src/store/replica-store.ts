import type { Leader, Replica } from '../domain/replica.ts'
import type { Instant } from '../domain/time.ts'

/** What concerns the processes themselves; no tenant's. */
export type ReplicaChange =
  /** Rows that were last seen before `forget` go with it. */
  | { readonly type: 'replicaSeen'; readonly replica: Replica; readonly forget: Instant }
  | { readonly type: 'replicaGone'; readonly id: string }
  /** Takes or keeps a job that is one process's alone; `busy` while another one has it. */
  | {
      readonly type: 'lead'
      readonly job: string
      readonly holder: string
      readonly now: Instant
      readonly until: Instant
    }
  /** What follows is written only by who leads under this fence: else `fence`. */
  | { readonly type: 'led'; readonly job: string; readonly fence: number }

export interface ReplicaReads {
  /** By id; also those that were killed, until they are forgotten. */
  replicas(): Promise<readonly Replica[]>
  leader(job: string): Promise<Leader | null>
}
