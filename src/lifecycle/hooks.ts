import type { ServiceAccount } from '../domain/account.ts'
import { consumersOf } from '../domain/consumer.ts'
import type { Credential } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { HookCaller, HookKeys } from '../domain/hook.ts'
import { shownSecret } from '../domain/hook.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Operation } from '../domain/operation.ts'
import type { Secret } from '../domain/secret.ts'
import type { Change, Store } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, save, systemActor } from './context.ts'

/** What calls reload hooks; handed in by `main`, for this floor opens no connections. */
export interface Hooks extends HookCaller {
  readonly keys: HookKeys
}

/**
 * Tells each consumer with a hook that another secret is served, by an operation of its own: neither
 * promotion nor a revocation waits for a receiver. It belongs to no account, so that an account is
 * never busy with it; before it calls, it looks whether there is still something to tell.
 */
export function tellConsumers(
  life: Lifecycle,
  account: ServiceAccount,
  credential: Credential,
  because: Pick<Operation, 'id' | 'cause'>,
): readonly Change[] {
  if (!life.hooks) return []
  return consumersOf(account).flatMap(({ name, reloadHook }): Change[] => {
    if (reloadHook === null) return []
    const { generation } = credential
    const operation = planOperation(life, {
      tenant: account.tenant,
      kind: 'reload',
      subjectType: 'consumer',
      // A rollback tells of an older generation again, maybe while its first message is on its way.
      subject: `${credential.id}:${generation}:${because.id}:${name}`,
      account: null,
      provider: null,
      actor: systemActor,
      cause: because.cause,
      memo: { account: account.id, credential: credential.id, generation, consumer: name },
    })
    return [{ type: 'enqueue', operation, preempt: false }]
  })
}

const versionKey = (tenant: TenantId): string => `hookSecret:${tenant}`

async function versionOf(store: Store, tenant: TenantId): Promise<number> {
  return Number((await store.read.meta(versionKey(tenant))) ?? 0)
}

/** The keys a receiver may know: the last one shown, and the one before, until it has changed over. */
export async function signingSecrets(
  store: Store,
  keys: HookKeys,
  tenant: TenantId,
): Promise<readonly Secret[]> {
  const version = await versionOf(store, tenant)
  return [version, version - 1].filter((v) => v >= 0).map((v) => keys.secret(tenant, v))
}

/**
 * Makes a new signing key and shows it, this once. Messages carry signatures of it and of the one
 * before. @throws forbidden, notReady where no hooks are called
 */
export async function renewHookSecret(life: Lifecycle, caller: Caller): Promise<string> {
  const { tenant } = caller
  const decision = authorise(life, caller, 'hook.secret', { type: 'tenant', id: tenant })
  if (!life.hooks) throw errors.notReady({ reason: 'this server calls no hooks' })
  const version = (await versionOf(life.store, tenant)) + 1
  const row = auditRow(life, {
    tenant,
    actor: caller.actor,
    action: 'hook.secretShown',
    target: { type: 'tenant', id: tenant },
    decision,
    facts: { version },
  })
  await save(life, [{ type: 'meta', key: versionKey(tenant), value: String(version) }, row], {
    what: 'Tenant',
    id: tenant,
  })
  return shownSecret(life.hooks.keys.secret(tenant, version))
}
