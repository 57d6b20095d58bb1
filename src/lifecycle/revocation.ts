import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, save } from './context.ts'
import { credentialResource } from './credentials.ts'
import { visibleCredential } from './visible.ts'

/** Revoking pre-empts whatever runs on the credential. @throws wrongState when it is revoked */
export async function revokeCredential(
  life: Lifecycle,
  caller: Caller,
  id: string,
  reason: string | null = null,
  why: RevokeReason = 'requested',
): Promise<Operation> {
  const { credential, account } = await visibleCredential(life, caller, id)
  const decision = authorise(life, caller, 'credential.revoke', credentialResource(account, id))
  if (['revoked', 'revoking', 'released'].includes(credential.status)) {
    throw errors.wrongState({
      what: 'Credential',
      id,
      status: credential.status,
      action: 'revoked again',
    })
  }
  const closing = await closingOperation(life, account)
  const planned = planRevoke(life, credential, caller.actor, why)
  // Whatever closes the account switches this key off as well, and then goes on to revoke it.
  const operation = closing ?? planned.operation
  const changes = closing ? planned.changes.filter((c) => c.type !== 'enqueue') : planned.changes
  await save(
    life,
    [
      ...changes,
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'credential.revocationRequested',
        target: { type: 'credential', id },
        decision,
        operation: operation.id,
        facts: { reason: reason ?? why },
      }),
    ],
    { what: 'Credential', id },
  )
  return operation
}

async function closingOperation(
  life: Lifecycle,
  account: ServiceAccount,
): Promise<Operation | null> {
  const open = await life.store.read.openOperations(account.tenant, account.id)
  const closes: readonly Operation['kind'][] = ['disable', 'retire', 'delete']
  return open.find((o) => o.subjectType === 'account' && closes.includes(o.kind)) ?? null
}

/** Why a credential is revoked; no revocation goes without one (R39). */
export type RevokeReason = 'requested' | 'removed' | 'expired' | 'leaked'

export function planRevoke(
  life: Lifecycle,
  credential: Credential,
  actor: Actor,
  reason: RevokeReason,
): { readonly operation: Operation; readonly changes: readonly Change[] } {
  const operation = planOperation(life, {
    tenant: credential.tenant,
    kind: 'revoke',
    subjectType: 'credential',
    subject: credential.id,
    account: credential.account,
    provider: credential.provider,
    actor,
    memo: { reason },
  })
  const now = life.clock.now()
  const revoking: Credential = { ...credential, status: 'revoking', updatedAt: now }
  return {
    operation,
    changes: [
      { type: 'credential', credential: revoking, expectedVersion: credential.version },
      { type: 'enqueue', operation, preempt: true },
    ],
  }
}
