import type { ServiceAccount } from '../domain/account.ts'
import type { IssuedKey } from '../domain/credential.ts'
import type { Task } from '../domain/task.ts'
import { isOverdue } from '../domain/task.ts'
import type { Instant } from '../domain/time.ts'
import type { Lifecycle } from './context.ts'

/** What became of a task to end a key. */
export interface KeyByHand {
  readonly task: string
  readonly status: Task['status']
  readonly assignee: string | null
  readonly dueAt: Instant
  readonly overdue: boolean
  readonly note: string | null
  /** Of the bytes that were shown, in hexadecimal; null when only a note was. */
  readonly sha256: string | null
  readonly doneAt: Instant | null
  readonly doneBy: string | null
}

/** What a report says of a key that people had to end: while nobody did, it was not switched off. */
export interface Handwork {
  readonly byHand: KeyByHand
  readonly switchedOffAt?: null
  readonly switchedOffSeconds?: null
}

/** The task that ended each key of an account, else the last one that is to. */
export async function handwork(
  { store, clock }: Pick<Lifecycle, 'store' | 'clock'>,
  account: ServiceAccount,
): Promise<(key: IssuedKey) => Handwork | null> {
  const now = clock.now()
  const all = await store.read.tasksOfAccount(account.tenant, account.id)
  const ends = all.filter(
    (t) => t.status !== 'cancelled' && (t.action === 'disable' || t.action === 'remove'),
  )
  return ({ provider, keyId }) => {
    const own = ends.filter((t) => t.provider === provider && t.keyId === keyId)
    // What was switched off and is now to be removed has its evidence already.
    const task = own.findLast((t) => t.status === 'done') ?? own.at(-1)
    if (!task) return null
    const { id, status, assignee, dueAt, note, evidence, doneAt, doneBy } = task
    const overdue = isOverdue(task, now)
    const sha256 = evidence?.sha256 ?? null
    return {
      byHand: { task: id, status, assignee, dueAt, overdue, note, sha256, doneAt, doneBy },
      ...(status === 'open' ? { switchedOffAt: null, switchedOffSeconds: null } : {}),
    }
  }
}
