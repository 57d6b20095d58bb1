import type { ServiceAccount } from '../domain/account.ts'
import type { Credential, CredentialKind, ScopeGrant } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import { sameJson } from '../domain/json.ts'
import type { Actor, Operation } from '../domain/operation.ts'
import { earlier } from '../domain/time.ts'
import type { CredentialEntry } from '../domain/want.ts'
import type { KindCapabilities, Provider } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import type { Lifecycle } from './context.ts'
import { requireLivingOwner, requireOpen } from './credentials.ts'
import { effectiveScopes, planRescope, sameScopes, without } from './scopes.ts'
import { isBehind } from './steps/rescope.ts'

/** Each of them is looked up at every change. */
const grantsMax = 50

interface Held {
  readonly account: ServiceAccount
  readonly credential: Credential
}

/**
 * What groups grant has to be something that can be given and taken later.
 * @throws mutability, scopeRefused, invalidValue
 */
export function checkGrants(
  capabilities: KindCapabilities,
  provider: Provider,
  want: {
    readonly provider: string
    readonly kind: CredentialKind
    readonly scopes: readonly string[]
    readonly scopesFrom?: readonly ScopeGrant[] | undefined
  },
): void {
  const grants = want.scopesFrom ?? []
  if (grants.length === 0) return
  if (grants.length > grantsMax) {
    throw errors.invalidValue({ path: 'scopesFrom', reason: `at most ${grantsMax} are possible.` })
  }
  if (capabilities.canRescope === false) throw fixed('scopesFrom', want.provider)
  for (const { scopes } of grants) {
    const refused = scopes && provider.checkScopes(want.kind, [...want.scopes, ...scopes])
    if (refused) throw errors.scopeRefused({ scope: refused.scope, reason: refused.reason })
  }
}

function fixed(path: string, provider: string): Error {
  return errors.mutability({
    path,
    reason: `provider "${provider}" cannot change the scopes of a live credential; request a new one and revoke this one.`,
  })
}

/**
 * Plans what a client's change of scopes needs; the write itself is the caller's. Asking for more is
 * a grant: it needs an open account and an owner who is there. Asking for less never does.
 * @returns null when nothing changes
 * @throws mutability, scopeRefused, noActiveOwner, wrongState
 */
export async function planScopeChange(
  life: Lifecycle,
  { account, credential }: Held,
  want: { readonly scopes: readonly string[]; readonly scopesFrom: readonly ScopeGrant[] },
  actor: Actor,
): Promise<{ readonly operation: Operation; readonly changes: readonly Change[] } | null> {
  const isSame =
    sameScopes(want.scopes, credential.scopes) && sameJson(want.scopesFrom, credential.scopesFrom)
  if (isSame) return null
  const path = sameScopes(want.scopes, credential.scopes) ? 'scopesFrom' : 'scopes'
  const provider = life.providers.get(credential.provider)
  const capabilities = provider?.capabilities[credential.kind]
  if (!provider || !capabilities?.canRescope) throw fixed(path, credential.provider)
  const refused = provider.checkScopes(credential.kind, want.scopes)
  if (refused) throw errors.scopeRefused({ scope: refused.scope, reason: refused.reason })
  checkGrants(capabilities, provider, { ...credential, ...want })
  const before = await effectiveScopes(life, account, credential)
  const after = await effectiveScopes(life, account, { ...credential, ...want })
  if (without(after, before).length > 0) {
    requireOpen(account)
    await requireLivingOwner(life, account)
  }
  return planRescope(life, credential, actor, {
    reason: 'requested',
    facts: { before: credential.scopes, after: want.scopes },
  })
}

/** For the sweep: what a lost plan left behind, or a template that says something else by now. */
export async function rescopeBehind(
  life: Lifecycle,
  { account, credential }: Held,
  actor: Actor,
): Promise<{
  readonly operations: readonly Operation[]
  readonly changes: readonly Change[]
} | null> {
  if (credential.status !== 'active' || !(await isBehind(life, account, credential))) return null
  const open = await life.store.read.openOperations(account.tenant, account.id)
  if (open.some((o) => o.kind === 'rescope' && o.memo['credential'] === credential.id)) return null
  const { operation, changes } = planRescope(life, credential, actor, { reason: 'foundBehind' })
  return { operations: [operation], changes }
}

const over: ReadonlySet<Credential['status']> = new Set(['revoked', 'revoking', 'released'])

/**
 * The elements of an account's `credentials` that name an existing one by `value` and say other
 * scopes. The date follows the account's as in any write of it.
 * @param move the account before and after
 */
export async function planEntryScopes(
  life: Lifecycle,
  move: { readonly from: ServiceAccount; readonly to: ServiceAccount },
  entries: readonly CredentialEntry[] | undefined,
  live: readonly Credential[],
  actor: Actor,
): Promise<{ readonly operations: readonly Operation[]; readonly changes: readonly Change[] }> {
  const { from, to: account } = move
  const operations: Operation[] = []
  const changes: Change[] = []
  for (const { value, scopes, keepsScopes } of entries ?? []) {
    const credential = live.find((c) => c.id === value)
    const isOver = credential !== undefined && over.has(credential.status)
    if (!credential || isOver || keepsScopes) continue
    const want = { scopes, scopesFrom: credential.scopesFrom }
    const planned = await planScopeChange(life, { account, credential }, want, actor)
    if (!planned) continue
    const updatedAt = life.clock.now()
    const follows = credential.expiresAt === from.expiresAt
    const expiresAt = follows ? account.expiresAt : earlier(credential.expiresAt, account.expiresAt)
    changes.push(
      {
        type: 'credential',
        credential: { ...credential, scopes, expiresAt, updatedAt },
        expectedVersion: credential.version,
      },
      ...planned.changes,
    )
    operations.push(planned.operation)
  }
  return { operations, changes }
}
