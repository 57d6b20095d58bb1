import type { ServiceAccount } from '../domain/account.ts'
import type { Credential, ScopeGrant } from '../domain/credential.ts'
import type { TenantId } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import type { Change } from '../store/store.ts'
import type { Lifecycle } from './context.ts'
import { auditRow, planOperation } from './context.ts'

/** The subject of what changes a credential's scopes; its own may be a rotation's at that time. */
export function scopesSubject(credential: string): string {
  return `${credential}/scopes`
}

/**
 * What a credential may do at this moment: what was asked for, and what every group grants that its
 * owner, or the account itself, is in. Sorted, so that equal ones look equal.
 */
export async function effectiveScopes(
  life: Pick<Lifecycle, 'store' | 'vocabulary'>,
  account: Pick<ServiceAccount, 'tenant' | 'id' | 'owner'>,
  credential: Pick<Credential, 'scopes' | 'scopesFrom' | 'provider' | 'kind'>,
): Promise<readonly string[]> {
  if (credential.scopesFrom.length === 0) return credential.scopes
  const { read } = life.store
  const around = await Promise.all([
    read.groupsHolding(account.tenant, account.owner.id),
    read.groupsHolding(account.tenant, account.id),
  ])
  const holding = new Set(around.flat())
  const all = new Set(credential.scopes)
  for (const grant of credential.scopesFrom) {
    if (!holding.has(grant.group)) continue
    for (const scope of await granted(life, account.tenant, credential, grant)) all.add(scope)
  }
  return [...all].toSorted()
}

async function granted(
  life: Pick<Lifecycle, 'store' | 'vocabulary'>,
  tenant: TenantId,
  credential: Pick<Credential, 'provider' | 'kind'>,
  { group, scopes }: ScopeGrant,
): Promise<readonly string[]> {
  if (scopes !== null) return scopes
  const name = (await life.store.read.group(tenant, group))?.displayName
  return (life.vocabulary?.() ?? [])
    .filter((t) => t.provider === credential.provider && t.kind === credential.kind)
    .filter((t) => t.groups.some((g) => g === group || g === name))
    .flatMap((t) => t.scopes)
}

export function sameScopes(a: readonly string[], b: readonly string[]): boolean {
  return without(a, b).length === 0 && without(b, a).length === 0
}

export function without(all: readonly string[], less: readonly string[]): readonly string[] {
  return all.filter((scope) => !less.includes(scope))
}

export function refusedSentence(
  { credential }: { readonly credential: Pick<Credential, 'provider' | 'kind'> },
  { scope, reason }: { readonly scope: string; readonly reason: string },
): string {
  const what = scope === '' ? 'what is left of its scopes' : `scope "${scope}"`
  return `${credential.provider} (${credential.kind}) does not take ${what}: ${reason} Change scopes or scopesFrom, or revoke the credential`
}

/**
 * Plans that a credential is brought to what it may do. An older plan of the same gives way: this
 * one looks when it runs, so the last change wins.
 */
export function planRescope(
  life: Pick<Lifecycle, 'ids' | 'clock'>,
  credential: Pick<Credential, 'tenant' | 'id' | 'account' | 'provider'>,
  actor: Actor,
  why: { readonly reason: string; readonly cause?: string; readonly facts?: JsonObject },
): { readonly operation: Operation; readonly changes: readonly Change[] } {
  const operation = planOperation(life as Lifecycle, {
    tenant: credential.tenant,
    kind: 'rescope',
    subjectType: 'scopes',
    subject: scopesSubject(credential.id),
    account: credential.account,
    provider: credential.provider,
    actor,
    ...(why.cause === undefined ? {} : { cause: why.cause }),
    memo: { credential: credential.id, reason: why.reason },
  })
  return {
    operation,
    changes: [
      { type: 'enqueue', operation, preempt: true },
      auditRow(life, {
        tenant: credential.tenant,
        actor,
        action: 'credential.rescopePlanned',
        target: { type: 'credential', id: credential.id },
        operation: operation.id,
        facts: { ...why.facts, reason: why.reason, cause: operation.cause },
      }),
    ],
  }
}

/**
 * What goes into the commit that changes who is in a group: one plan that finds the credentials the
 * group, or one around it, grants to. The groups around are read before the change, since a group
 * that is deleted leaves them in the same commit.
 */
export async function regrouped(
  life: Lifecycle,
  tenant: TenantId,
  group: string,
  actor: Actor,
): Promise<readonly Change[]> {
  const groups = [...new Set([group, ...(await life.store.read.groupsHolding(tenant, group))])]
  const [some] = await life.store.read.grantedThrough(tenant, groups, null, 1)
  if (some === undefined) return []
  const operation = planOperation(life, {
    tenant,
    kind: 'rescope',
    subjectType: 'group',
    subject: scopesSubject(group),
    account: null,
    provider: null,
    actor,
    memo: { groups },
  })
  return [{ type: 'enqueue', operation, preempt: true }]
}

/** What goes into the commit that gives an account another owner: their groups are others. */
export async function reowned(
  life: Lifecycle,
  before: ServiceAccount,
  after: ServiceAccount,
  actor: Actor,
): Promise<readonly Change[]> {
  if (before.owner.id === after.owner.id) return []
  const all = await life.store.read.credentialsOf(before.tenant, before.id)
  return all
    .filter((c) => c.scopesFrom.length > 0 && c.status !== 'revoked' && c.status !== 'released')
    .flatMap((c) => planRescope(life, c, actor, { reason: 'ownerChanged' }).changes)
}
