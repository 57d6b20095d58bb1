import type { Credential } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Failure, Operation } from '../domain/operation.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save, visibilityOf } from './context.ts'
import type { Change } from '../store/store.ts'
import { provisioned, putCredential } from './steps/step.ts'
import { hiddenAs, visibleAccount, visiblePerson } from './visible.ts'

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
    throw hiddenAs(errors.notFound({ what: 'Operation', id }, { cause }), cause)
  }
  return operation
}

/** Sends a stuck operation back to work after a person has decided. @throws wrongState */
export async function retryOperation(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Operation> {
  const operation = await visibleOperation(life, caller, id)
  const resource = await operationResource(life, operation)
  const decision = authorise(life, caller, 'operation.retry', resource)
  if (operation.status !== 'needsOperator' && operation.status !== 'waiting') {
    const { status } = operation
    const next = ended.has(status)
      ? 'It has ended: ask for the same anew.'
      : 'It is being worked on.'
    throw errors.wrongState({ what: 'Operation', id, status, action: 'retried', next })
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

const ended: ReadonlySet<Operation['status']> = new Set(['succeeded', 'failed', 'cancelled'])

/** Not `enable`: half of it may be done, and disabling the account takes all of it back. */
const cancellable: ReadonlySet<Operation['kind']> = new Set(['issue', 'rotate', 'reconcile'])

/** Gives up work that grants something. What revokes is never cancelled: it ends by an answer. @throws wrongState */
export async function cancelOperation(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<Operation> {
  const operation = await visibleOperation(life, caller, id)
  const resource = await operationResource(life, operation)
  const decision = authorise(life, caller, 'operation.cancel', resource)
  const open =
    operation.status === 'needsOperator' ||
    operation.status === 'waiting' ||
    operation.status === 'queued'
  // A rotation whose new key is served, or that replaces keys a leaver knows, owes the old keys' end.
  const { activatedAt, oldKeysUntil } = operation.memo
  const revoking =
    operation.kind === 'rotate' && (activatedAt !== undefined || (oldKeysUntil ?? null) !== null)
  if (!open || !cancellable.has(operation.kind) || revoking) {
    throw errors.wrongState({
      what: 'Operation',
      id,
      status: `${operation.kind} (${operation.status})`,
      action: 'cancelled',
      next: whyNotCancelled(operation),
    })
  }
  const now = life.clock.now()
  const by = caller.actor.name
  // What may have been made already has to go first, and only the worker can see to that.
  const isClean = (operation.memo['mint'] ?? null) === null
  const set = isClean
    ? ({ status: 'cancelled', failure: cancelledBy(by), finishedAt: now } as const)
    : ({
        status: 'queued',
        runAt: now,
        attempt: 0,
        memo: { ...operation.memo, cancelledBy: by },
      } as const)
  await save(
    life,
    [
      { type: 'advance', id: operation.id, fence: operation.fence, set, release: true, at: now },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'operation.cancelled',
        target: { type: 'operation', id },
        decision,
        operation: operation.id,
      }),
      ...(isClean ? await givenUp(life, caller, operation) : []),
    ],
    { what: 'Operation', id },
  )
  if (!isClean) life.wake()
  return { ...operation, ...set }
}

function whyNotCancelled({ kind, status }: Operation): string {
  if (ended.has(status)) return 'It has ended.'
  if (kind === 'enable') return 'Disable the account to take it back.'
  if (!cancellable.has(kind)) return 'What takes access away is never given up.'
  if (status === 'running') return 'It is being worked on; ask again in a moment.'
  return 'Its new key is served already; what is left of it ends the old one.'
}

/** How an operation that somebody gave up ends. */
export function cancelledBy(name: string): Failure {
  return { code: 'cancelled', message: `cancelled by ${name}` }
}

/** Whose account it is about decides who may touch it. */
export async function operationResource(life: Lifecycle, { id, tenant, account: of }: Operation) {
  const account = of === null ? null : await life.store.read.account(tenant, of)
  return {
    type: 'operation',
    id,
    ...(account ? { client: account.client, owner: account.owner.id } : {}),
  } as const
}

/** A credential whose first key nobody makes any more has failed; its account waits no longer. */
async function givenUp(
  life: Lifecycle,
  caller: Caller,
  operation: Operation,
): Promise<readonly Change[]> {
  if (operation.kind !== 'issue') return []
  const credential = await life.store.read.credential(operation.tenant, operation.subject)
  if (credential?.status !== 'pending' && credential?.status !== 'issuing') return []
  const now = life.clock.now()
  const failed: Credential = {
    ...credential,
    status: 'failed',
    lastError: `its issue was cancelled by ${caller.actor.name}`,
  }
  const account = await life.store.read.account(operation.tenant, credential.account)
  const all = await life.store.read.credentialsOf(operation.tenant, credential.account)
  return [putCredential(failed, now), ...(account ? provisioned(account, all, failed, now) : [])]
}
