import { createHash } from 'node:crypto'
import type { ServiceAccount } from '../domain/account.ts'
import { errors } from '../domain/errors.ts'
import type { AccountId, OperationId, TenantId } from '../domain/ids.ts'
import type { Failure } from '../domain/operation.ts'
import type { Task } from '../domain/task.ts'
import { isOverdue } from '../domain/task.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import type { AskedTask, TaskBook } from '../provider/contract.ts'
import { hiddenAs } from './visible.ts'
import type { Change, TaskQuery } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save, systemActor, visibilityOf } from './context.ts'
import { ownerState } from './people.ts'

type Desk = Pick<Lifecycle, 'store' | 'clock' | 'ids'>

/** How soon a waiting operation looks again by itself; evidence wakes it at once. */
export const taskPollSeconds = 3_600

/** The book of tasks that providers without an API write into. */
export function createTaskBook(desk: Desk): TaskBook {
  const { read } = desk.store
  return {
    ask: (task) => askPerson(desk, task),
    async withdraw({ tenant, provider, account, keyId, action }) {
      const open = (await read.tasksOfAccount(tenant, account)).find(
        (t) =>
          t.provider === provider &&
          t.keyId === keyId &&
          t.action === action &&
          t.status === 'open',
      )
      if (open) await cancelTask(desk, open)
    },
    async of(tenant, account, provider) {
      return (await read.tasksOfAccount(tenant, account)).filter((t) => t.provider === provider)
    },
    page: (provider, after, limit) => read.tasksAt(provider, after, limit),
  }
}

/** Nobody has to decide about an old key any more: it ends, or is the current one again. */
export async function withdrawDecision(
  desk: Desk,
  {
    tenant,
    provider,
    account,
    keyId,
  }: Pick<AskedTask, 'tenant' | 'provider' | 'account' | 'keyId'>,
): Promise<void> {
  await createTaskBook(desk).withdraw({ tenant, provider, account, keyId, action: 'decide' })
}

async function cancelTask(desk: Desk, task: Task): Promise<void> {
  const now = desk.clock.now()
  const cancelled: Task = { ...task, status: 'cancelled', updatedAt: now }
  await desk.store.commit([
    { type: 'task', task: cancelled, expectedVersion: task.version },
    taskRow(desk, cancelled, 'task.withdrawn', {}),
  ])
}

/**
 * Asks somebody to do by hand what no API does. Repeating is harmless: while one about the same key
 * and action is open, that one is the answer.
 */
export async function askPerson(desk: Desk, asked: AskedTask): Promise<Task> {
  const now = desk.clock.now()
  const account = await desk.store.read.account(asked.tenant, asked.account)
  const { due, ...said } = asked
  const task: Task = {
    ...said,
    id: desk.ids.next(),
    status: 'open',
    assignee: await assigneeFor(desk, account, asked),
    dueAt: addSeconds(now, due),
    operation: asked.operation as OperationId | null,
    createdAt: now,
    updatedAt: now,
    doneAt: null,
    doneBy: null,
    note: null,
    removed: false,
    evidence: null,
    version: 1,
  }
  const facts = { action: task.action, assignee: task.assignee, dueAt: task.dueAt }
  const result = await desk.store.commit([
    { type: 'task', task, expectedVersion: null },
    taskRow(desk, task, 'task.opened', facts),
  ])
  if (result === 'saved') return task
  const other = result.with === null ? null : await desk.store.read.task(task.tenant, result.with)
  if (!other) throw new Error(`the task could not be opened: ${result.reason}`)
  return other
}

/**
 * Whoever is configured, unless they have left; else the owner, the first heir who is there, the
 * owner's manager. Nobody who left is asked to end what they may still use.
 */
async function assigneeFor(
  desk: Desk,
  account: ServiceAccount | null,
  { tenant, assignee }: AskedTask,
): Promise<string | null> {
  if (assignee !== null) {
    const byId = await desk.store.read.person(tenant, assignee)
    const named = byId ? [byId] : await desk.store.read.peopleNamed(tenant, [assignee])
    const [person] = named
    // A team or a queue that this directory does not know is taken at its word.
    if (!person) return assignee
    if (person.active && person.deletedAt === null) return person.id
  }
  if (!account) return null
  const owner = await ownerState(desk, tenant, account.owner)
  if (owner?.active) return owner.ref.id
  for (const backup of account.backups) {
    const state = await ownerState(desk, tenant, backup)
    if (state?.active) return state.ref.id
  }
  if (!owner?.manager) return null
  const manager = await ownerState(desk, tenant, { type: 'User', id: owner.manager })
  return manager?.active ? owner.manager : null
}

function taskRow(
  desk: Desk,
  task: Task,
  action: string,
  facts: Parameters<typeof auditRow>[1]['facts'] & object,
  by: Partial<Pick<Parameters<typeof auditRow>[1], 'actor' | 'decision'>> = {},
): Change {
  const { account, provider, keyId } = task
  return auditRow(desk, {
    tenant: task.tenant,
    actor: systemActor,
    target: { type: 'task', id: task.id },
    action,
    operation: task.operation,
    facts: { account, provider, keyId, ...facts },
    ...by,
  })
}

/** What an operation that waits for a person says of it. */
export function waitingFor(task: Task, now: Instant): Failure {
  const who = task.assignee ?? 'nobody: everyone who could be asked has left'
  const late = isOverdue(task, now) ? ', overdue' : ''
  const message = `waits for task ${task.id} (${task.action} ${task.keyId} at ${task.provider}), asked of ${who}, due ${task.dueAt}${late}; show evidence with "custody task done"`
  return { code: 'taskOpen', message }
}

/** The open task that asks for the end of a key. */
export function openTaskOf(
  tasks: readonly Task[],
  key: { readonly provider: string; readonly keyId: string },
): Task | null {
  const ends = tasks.filter(
    (t) => t.provider === key.provider && t.keyId === key.keyId && t.status === 'open',
  )
  return ends.findLast((t) => t.action === 'disable' || t.action === 'remove') ?? null
}

// What clients do with tasks

/** @throws notFound unless the caller was asked, or sees everything */
export async function visibleTask(life: Lifecycle, caller: Caller, id: string): Promise<Task> {
  const task = await life.store.read.task(caller.tenant, id)
  if (!task) throw errors.notFound({ what: 'Task', id })
  try {
    authorise(life, caller, 'task.read', resourceOf(task))
  } catch (cause) {
    throw hiddenAs(errors.notFound({ what: 'Task', id }, { cause }), cause)
  }
  return task
}

/** All of the tenant, or what the caller was asked. */
export async function listTasks(
  life: Lifecycle,
  caller: Caller,
  want: Omit<TaskQuery, 'tenant'>,
): Promise<readonly Task[]> {
  const { accounts } = visibilityOf(caller)
  const { tenant } = caller
  if (accounts === 'all') return life.store.read.tasks({ ...want, tenant })
  if (accounts === 'none' || caller.client.role !== 'owner') return []
  const { person } = caller.client
  if (person === null || (want.assignee ?? person) !== person) return []
  return life.store.read.tasks({ ...want, tenant, assignee: person })
}

export interface ShownEvidence {
  readonly note: string | null
  readonly name: string | null
  readonly contentType: string | null
  /** What the client says it sent; null = it did not say. */
  readonly sha256: string | null
  readonly content: Uint8Array | null
  readonly removed: boolean
}

/**
 * Somebody shows that it is done. What waits for it goes on at once.
 * @throws notFound, forbidden, wrongState, requiredMissing (neither note nor content), invalidValue
 */
export async function showEvidence(
  life: Lifecycle,
  caller: Caller,
  id: string,
  shown: ShownEvidence,
): Promise<Task> {
  const task = await visibleTask(life, caller, id)
  const decision = authorise(life, caller, 'task.evidence', resourceOf(task))
  if (task.status !== 'open') {
    const next = task.status === 'done' ? 'Reopen it to show other evidence.' : ''
    throw errors.wrongState({ what: 'Task', id, status: task.status, action: 'done', next })
  }
  const { content, note, name, contentType, removed } = shown
  if (content === null && note === null) throw errors.requiredMissing({ path: 'note' })
  const sha256 = content && createHash('sha256').update(content).digest('hex')
  if (shown.sha256 !== null && shown.sha256.toLowerCase() !== sha256) {
    const reason = `is not the hash of the content that came (${sha256 ?? 'none came'}).`
    throw errors.invalidValue({ path: 'sha256', reason })
  }
  const now = life.clock.now()
  const done: Task = {
    ...task,
    status: 'done',
    doneAt: now,
    doneBy: caller.actor.name,
    note,
    removed,
    evidence: content && sha256 ? { sha256, bytes: content.length, name, contentType } : null,
    updatedAt: now,
  }
  const facts = { action: task.action, note, sha256, name, removed }
  const changes: readonly Change[] = [
    { type: 'task', task: done, expectedVersion: task.version },
    ...(content ? [{ type: 'taskEvidence', tenant: task.tenant, task: id, content } as const] : []),
    taskRow(life, done, 'task.evidenced', facts, { actor: caller.actor, decision }),
  ]
  await save(life, changes, { what: 'Task', id })
  await wakeWaiting(life, task.tenant, task.account)
  return { ...done, version: task.version + 1 }
}

/** What waits for a task of the account looks again now; what cannot be woken looks within the hour. */
async function wakeWaiting(life: Lifecycle, tenant: TenantId, account: AccountId): Promise<void> {
  const at = life.clock.now()
  for (const operation of await life.store.read.openOperations(tenant, account)) {
    if (operation.status !== 'waiting' || operation.failure?.code !== 'taskOpen') continue
    const { id, fence } = operation
    await life.store.commit([{ type: 'advance', id, fence, set: { runAt: at }, release: true, at }])
  }
  life.wake()
}

/** The evidence is not good enough: the report counts it as open again. @throws wrongState, busy */
export async function reopenTask(
  life: Lifecycle,
  caller: Caller,
  id: string,
  reason: string,
): Promise<Task> {
  const task = await visibleTask(life, caller, id)
  const decision = authorise(life, caller, 'task.reopen', resourceOf(task))
  if (task.status !== 'done') {
    throw errors.wrongState({ what: 'Task', id, status: task.status, action: 'reopened' })
  }
  const now = life.clock.now()
  const open: Task = {
    ...task,
    status: 'open',
    doneAt: null,
    doneBy: null,
    removed: false,
    updatedAt: now,
  }
  const facts = { reason, sha256: task.evidence?.sha256 ?? null }
  const changes: readonly Change[] = [
    { type: 'task', task: open, expectedVersion: task.version },
    taskRow(life, open, 'task.reopened', facts, { actor: caller.actor, decision }),
  ]
  await save(life, changes, { what: 'Task', id })
  return { ...open, version: task.version + 1 }
}

function resourceOf(task: Task) {
  return { type: 'task', id: task.id, owner: task.assignee } as const
}
