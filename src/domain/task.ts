import type { AccountId, CredentialId, OperationId, TenantId } from './ids.ts'
import type { Instant } from './time.ts'

/**
 * What a person is asked to do where no API would: make something, switch it off or on, end it; or to
 * decide what Custody does not decide by itself.
 */
export type TaskAction = 'create' | 'disable' | 'enable' | 'remove' | 'decide'

export type TaskStatus = 'open' | 'done' | 'cancelled'
export const taskStatuses: readonly TaskStatus[] = ['open', 'done', 'cancelled']

/** What somebody showed for it; its bytes are kept beside, under this hash. */
export interface Evidence {
  /** Hexadecimal, of the bytes. */
  readonly sha256: string
  readonly bytes: number
  readonly name: string | null
  readonly contentType: string | null
}

/** Something that only a person can do, and what was shown for it. */
export interface Task {
  readonly tenant: TenantId
  readonly id: string
  readonly provider: string
  readonly account: AccountId
  /** Null where the asked provider did not say. */
  readonly credential: CredentialId | null
  /** The key as the journal knows it. */
  readonly keyId: string
  readonly action: TaskAction
  readonly status: TaskStatus
  /** A person's id, or a name that nobody here bears; null = nobody was left to ask. */
  readonly assignee: string | null
  /** What to do, and where. Never a secret. */
  readonly instructions: string
  readonly dueAt: Instant
  readonly operation: OperationId | null
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly doneAt: Instant | null
  /** The client that showed the evidence. */
  readonly doneBy: string | null
  readonly note: string | null
  /** Who did it says that it is gone for good, not only off. */
  readonly removed: boolean
  readonly evidence: Evidence | null
  readonly version: number
}

/** Bytes of one piece of evidence: a screenshot, not an archive. */
export const evidenceBytesMax = 256 * 1_024

export function isOverdue(task: Task, now: Instant): boolean {
  return task.status === 'open' && task.dueAt < now
}

/** What a key is, as far as people told: the last word about it counts. */
export type ToldState = 'on' | 'off' | 'gone'

/**
 * What the tasks of one key say of it. Asked for is not done: a key counts as on until somebody
 * showed that it is off, and again from the moment somebody was asked to switch it on.
 * @param tasks of one key, oldest first
 */
export function toldState(tasks: readonly Task[]): ToldState {
  let state: ToldState = 'on'
  for (const { action, status, removed } of tasks) {
    if (status === 'cancelled') continue
    if (action === 'enable') state = 'on'
    if (status !== 'done') continue
    if (action === 'disable') state = removed ? 'gone' : 'off'
    if (action === 'remove') state = 'gone'
  }
  return state
}
