import type { ServiceAccount } from '../../domain/account.ts'
import type { Credential, IssuedKey } from '../../domain/credential.ts'
import type { Operation } from '../../domain/operation.ts'
import type { Change } from '../../store/store.ts'
import { auditRow, planOperation } from '../context.ts'
import { reconcileActor } from '../reconcile-findings.ts'
import { actOf, isWatched } from '../shadow.ts'
import type { StepContext } from './step.ts'
import { putAccount, putCredential } from './step.ts'

const offStatuses: ReadonlySet<ServiceAccount['status']> = new Set([
  'disabled',
  'expired',
  'retired',
])

/**
 * Ends keys of ours that came back to life. The one thing a reconciliation does: the key is in our
 * journal and was switched off on purpose, so it is switched off again by the operation that always
 * does it, and no brake stops that. Where the account is up, or only watched, a person decides.
 */
export class Rearm {
  readonly changes: Change[] = []
  readonly #ctx: StepContext
  /** One operation per subject, however many of its keys came back. */
  readonly #started = new Map<string, Operation>()

  constructor(ctx: StepContext) {
    this.#ctx = ctx
  }

  /**
   * @param work what is open on the account
   * @returns the operation that ends the key; null when none was started
   */
  async end(
    key: IssuedKey,
    account: ServiceAccount | null,
    work: readonly Operation[],
  ): Promise<string | null> {
    const { life } = this.#ctx
    if (!account || work.length > 0) return null
    const credential = await life.store.read.credential(key.tenant, key.credential)
    if (!credential) return null
    const isOff = offStatuses.has(account.status)
    if (!isOff && credential.status !== 'revoked') return null
    if (isWatched(life, account)) {
      const why = { rule: 'cameBack', cause: `${key.keyId}@${key.disabledAt ?? ''}` }
      this.changes.push({
        type: 'shadowAct',
        act: actOf(life, account, { ...why, facts: { keyId: key.keyId } }, 'rearm', credential.id),
      })
      return null
    }
    const operation = isOff ? this.#close(account) : this.#revoke(credential)
    const alive: IssuedKey = {
      ...key,
      status: 'superseded',
      disabledAt: null,
      refusedAt: null,
      settledAt: null,
      outcome: null,
      deletedAt: null,
    }
    this.changes.push(
      { type: 'key', key: alive },
      this.#audit('key.rearmed', credential, operation, { keyId: key.keyId, was: key.status }),
    )
    return operation.id
  }

  #close(account: ServiceAccount): Operation {
    const known = this.#started.get(account.id)
    if (known) return known
    const operation = this.#plan({
      kind: account.status === 'retired' ? 'retire' : 'disable',
      subjectType: 'account',
      subject: account.id,
      account,
      provider: null,
    })
    // What is retired stays so in every list; the others are closing once more.
    if (account.status !== 'retired') {
      const closing: ServiceAccount = { ...account, status: 'disabling' }
      this.changes.push(putAccount(closing, this.#ctx.life.clock.now()))
    }
    return operation
  }

  #revoke(credential: Credential): Operation {
    const known = this.#started.get(credential.id)
    if (known) return known
    const revoking: Credential = { ...credential, status: 'revoking' }
    this.changes.push(putCredential(revoking, this.#ctx.life.clock.now()))
    return this.#plan({
      kind: 'revoke',
      subjectType: 'credential',
      subject: credential.id,
      account: { id: credential.account, tenant: credential.tenant, statusReason: null },
      provider: credential.provider,
    })
  }

  #plan(of: {
    readonly kind: 'disable' | 'retire' | 'revoke'
    readonly subjectType: 'account' | 'credential'
    readonly subject: string
    readonly account: Pick<ServiceAccount, 'id' | 'tenant' | 'statusReason'>
    readonly provider: string | null
  }): Operation {
    const { life, operation: cause } = this.#ctx
    const operation = planOperation(life, {
      tenant: of.account.tenant,
      kind: of.kind,
      subjectType: of.subjectType,
      subject: of.subject,
      account: of.account.id,
      provider: of.provider,
      actor: reconcileActor,
      cause: cause.id,
      memo: { reason: of.account.statusReason ?? 'operator' },
    })
    this.#started.set(of.subject, operation)
    this.changes.push({ type: 'enqueue', operation, preempt: false })
    return operation
  }

  #audit(
    action: string,
    credential: Credential,
    operation: Operation,
    facts: Readonly<Record<string, string>>,
  ): Change {
    return auditRow(this.#ctx.life, {
      tenant: credential.tenant,
      actor: reconcileActor,
      action,
      target: { type: 'credential', id: credential.id },
      operation: operation.id,
      facts: { provider: credential.provider, ...facts, cause: this.#ctx.operation.id },
    })
  }
}
