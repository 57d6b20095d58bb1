import type { Instant } from './time.ts'

/** Not heard of for this long, a process is taken for gone. */
export const silentAfterSeconds = 35

/** One running process of this installation, as it last told about itself. */
export interface Replica {
  /** `<host>/<process id>/<id>`: a worker's name in leases. */
  readonly id: string
  readonly version: string
  readonly roles: readonly string[]
  /** The version of the policies it decides by. */
  readonly policy: string
  readonly startedAt: Instant
  readonly seenAt: Instant
  /** By how much its machine's clock is behind the database's, in milliseconds; 0 with SQLite. */
  readonly clockOffset: number
}

/** Who does a job that is one process's alone, until when. */
export interface Leader {
  readonly job: string
  readonly holder: string
  /** Grows with each change of holder: whoever led before can be told from who leads now. */
  readonly fence: number
  readonly until: Instant
}
