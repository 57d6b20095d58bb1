import type { AccountId, TenantId } from '../domain/ids.ts'
import type { Task, TaskStatus } from '../domain/task.ts'

/** The changes of `store.ts` that are about tasks. */
export type TaskChange =
  /** Conflict `busy` when another task about the same key and action is open. */
  | { readonly type: 'task'; readonly task: Task; readonly expectedVersion: number | null }
  /** The bytes shown for a task, replaced whole; conflict `missing` without the task. */
  | {
      readonly type: 'taskEvidence'
      readonly tenant: TenantId
      readonly task: string
      readonly content: Uint8Array
    }

export interface TaskQuery {
  readonly tenant: TenantId
  readonly status?: TaskStatus
  readonly assignee?: string
  readonly account?: AccountId
  /** Keyset cursor: the id of the last row seen (newest first). */
  readonly after: string | null
  readonly limit: number
}

export interface TaskReads {
  task(tenant: TenantId, id: string): Promise<Task | null>
  /** Newest first. */
  tasks(query: TaskQuery): Promise<readonly Task[]>
  /** All of an account, oldest first. */
  tasksOfAccount(tenant: TenantId, account: AccountId): Promise<readonly Task[]>
  /** All of a provider, oldest first, strictly after `after`; of all tenants. */
  tasksAt(provider: string, after: string | null, limit: number): Promise<readonly Task[]>
  taskEvidence(tenant: TenantId, task: string): Promise<Uint8Array | null>
}
