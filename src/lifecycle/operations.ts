import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save, visibilityOf } from './context.ts'
import { visibleAccount, visiblePerson } from './visible.ts'

/** @throws notFound unless the caller may see what the operation is about */
export async function visibleOperation(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Operation> {
  const operation = await life.store.read.operation(caller.tenant, id)
  if (!operation) throw errors.notFound({ what: 'Operation', id })
  if (visibilityOf(caller).accounts === 'all') return operation
  try {
    if (operation.account !== null)
      await visibleAccount(life, caller, operation.account, { retiredToo: true })
    else await visiblePerson(life, caller, operation.subject)
  } catch (cause) {
    throw errors.notFound({ what: 'Operation', id }, { cause })
  }
  return operation
}

/** An operation belongs to whom its account belongs to. */
async function resourceOf(life: Lifecycle, operation: Operation) {
  const account =
    operation.account === null
      ? null
      : await life.store.read.account(operation.tenant, operation.account)
  return {
    type: 'operation',
    id: operation.id,
    client: account?.client ?? null,
    owner: account?.owner.id ?? null,
  } as const
}

/** Sends a stuck operation back to work after a person has decided. @throws wrongState */
export async function retryOperation(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Operation> {
  const operation = await visibleOperation(life, caller, id)
  const decision = authorise(life, caller, 'operation.retry', await resourceOf(life, operation))
  if (operation.status !== 'needsOperator' && operation.status !== 'waiting') {
    throw errors.wrongState({ what: 'Operation', id, status: operation.status, action: 'retried' })
  }
  const now = life.clock.now()
  await save(
    life,
    [
      {
        type: 'advance',
        id: operation.id,
        fence: operation.fence,
        set: { status: 'queued', runAt: now, attempt: 0 },
        release: true,
        at: now,
      },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'operation.retried',
        target: { type: 'operation', id },
        decision,
        operation: operation.id,
        facts: { failure: operation.failure?.code ?? null },
      }),
    ],
    { what: 'Operation', id },
  )
  life.wake()
  return { ...operation, status: 'queued', runAt: now, attempt: 0 }
}

const cancellable: ReadonlySet<Operation['kind']> = new Set(['issue', 'rotate', 'enable'])

/** Gives up work that grants something. What revokes is never cancelled: it ends by an answer. @throws wrongState */
export async function cancelOperation(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Operation> {
  const operation = await visibleOperation(life, caller, id)
  const decision = authorise(life, caller, 'operation.cancel', await resourceOf(life, operation))
  const open =
    operation.status === 'needsOperator' ||
    operation.status === 'waiting' ||
    operation.status === 'queued'
  // A rotation whose new key is served has only its old key's end left, which is revoking.
  const revoking = operation.kind === 'rotate' && operation.memo['activatedAt'] !== undefined
  if (!open || !cancellable.has(operation.kind) || revoking) {
    throw errors.wrongState({
      what: 'Operation',
      id,
      status: `${operation.kind} (${operation.status})`,
      action: 'cancelled',
    })
  }
  const now = life.clock.now()
  const failure = { code: 'cancelled', message: `cancelled by ${caller.actor.name}` }
  await save(
    life,
    [
      {
        type: 'advance',
        id: operation.id,
        fence: operation.fence,
        set: { status: 'cancelled', failure, finishedAt: now },
        release: true,
        at: now,
      },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'operation.cancelled',
        target: { type: 'operation', id },
        decision,
        operation: operation.id,
      }),
    ],
    { what: 'Operation', id },
  )
  return { ...operation, status: 'cancelled', failure, finishedAt: now }
}
