import type { AccountStatus, ServiceAccount } from '../domain/account.ts'
import { isHandedBack } from '../domain/account.ts'
import type { Credential, IssuedKey, Principal } from '../domain/credential.ts'
import { isDelivered } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import type { Released } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, replanned, save } from './context.ts'
import { accountResource } from './switching.ts'
import { visibleAccount } from './visible.ts'

/** One credential of an account that is handed back. */
export interface HandedCredential {
  readonly credential: string
  readonly provider: string
  readonly kind: string
  readonly status: Credential['status']
  readonly keyIds: readonly string[]
  /** Where consumers read it: `<sink>:<path>`; null when Custody never delivered it. */
  readonly secretAt: string | null
  readonly secretRef: string | null
  /** The end date that nobody enforces any more. */
  readonly expiresAt: Instant
  /** True for what lives only in Custody: it is refused once Custody is gone. */
  readonly endsWithCustody: boolean
}

export interface HandedPrincipal extends Released {
  readonly provider: string
  /** The provider's own handle; null when nothing was made there. */
  readonly principal: string | null
}

/** What a person who goes on without Custody has to know of one account. Never a secret. */
export interface HandOver {
  readonly account: string
  readonly userName: string
  readonly owner: OwnerRef
  readonly state: 'planned' | 'handingOver' | 'handedBack'
  readonly handedBackAt: Instant | null
  readonly credentials: readonly HandedCredential[]
  /** What was removed there, and what stays; empty lists until it was done. */
  readonly principals: readonly HandedPrincipal[]
}

export interface Ejected {
  readonly handOver: HandOver
  /** null for a dry run, and when it was handed back before. */
  readonly operation: Operation | null
}

/** What `release` did so far, by provider. */
export type ReleasedAt = Readonly<Record<string, Released>>

const ejectable: ReadonlySet<AccountStatus> = new Set([
  'active',
  'orphaned',
  'disabled',
  'expired',
  'failed',
])

/**
 * Hands one account back: all keys stay what they are, consumers go on reading where they read, and
 * Custody's marks and boundaries go. Repeating it answers what was done.
 * @throws forbidden, notFound, wrongState, busy, endsWithCustody, reasonRequired
 */
export async function ejectAccount(
  life: Lifecycle,
  caller: Caller,
  id: string,
  wish: {
    readonly reason: string | null
    readonly includeTokens: boolean
    readonly dryRun: boolean
  },
): Promise<Ejected> {
  return replanned(async () => {
    const account = await visibleAccount(life, caller, id, { retiredToo: true })
    const decision = authorise(life, caller, 'account.eject', accountResource(account))
    const what = { what: 'Account', id }
    const [last] = await life.store.read.operations({
      tenant: caller.tenant,
      subject: id,
      kind: 'eject',
      after: null,
      limit: 1,
    })
    if (isHandedBack(account)) return { handOver: await told(life, account, last), operation: null }
    const open = await life.store.read.openOperations(caller.tenant, account.id)
    const already = open.find((operation) => operation.kind === 'eject')
    if (already) {
      return { handOver: await told(life, account, already), operation: already }
    }
    if (!ejectable.has(account.status)) {
      throw errors.wrongState({ ...what, status: account.status, action: 'handed back' })
    }
    const [busy] = open
    if (busy) throw errors.busy({ ...what, operation: busy.id, kind: busy.kind })
    const handOver = await told(life, account)
    const tokens = handOver.credentials.filter((c) => c.endsWithCustody && c.status === 'active')
    if (wish.dryRun) return { handOver, operation: null }
    if (tokens.length > 0 && !wish.includeTokens) {
      throw errors.endsWithCustody({ id, tokens: tokens.length })
    }
    if (!wish.reason) throw errors.reasonRequired({ action: 'hand an account back' })
    const operation = planOperation(life, {
      tenant: caller.tenant,
      kind: 'eject',
      subjectType: 'account',
      subject: account.id,
      account: account.id,
      provider: null,
      actor: caller.actor,
    })
    const changes: Change[] = [
      // Written so that whoever changed the account meanwhile is noticed, and the other way round.
      {
        type: 'account',
        account: { ...account, updatedAt: life.clock.now() },
        expectedVersion: account.version,
      },
      { type: 'enqueue', operation, preempt: false },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'account.ejectRequested',
        target: { type: 'account', id: account.id },
        decision,
        operation: operation.id,
        facts: { reason: wish.reason, tokens: tokens.map((token) => token.credential) },
      }),
    ]
    await save(life, changes, what)
    return { handOver: { ...handOver, state: 'handingOver' }, operation }
  })
}

async function told(
  life: Lifecycle,
  account: ServiceAccount,
  operation?: Operation,
): Promise<HandOver> {
  const { read } = life.store
  const { tenant, id } = account
  const released = (operation?.memo['released'] ?? {}) as unknown as ReleasedAt
  const credentials = await read.credentialsOf(tenant, id)
  const keys = await read.keysOfAccount(tenant, id)
  const principals = await read.principalsOf(tenant, id)
  const isOver = isHandedBack(account)
  return {
    account: id,
    userName: account.userName,
    owner: account.owner,
    state: isOver ? 'handedBack' : operation ? 'handingOver' : 'planned',
    handedBackAt: isOver ? account.retiredAt : null,
    credentials: credentials
      .filter(({ status }) => status !== 'revoked')
      .map((credential) => handed(credential, keys)),
    principals: principals
      .filter(({ state }) => state !== 'absent')
      .map((principal) => principalOf(principal, released)),
  }
}

function handed(credential: Credential, keys: readonly IssuedKey[]): HandedCredential {
  const { id, provider, kind, status, deliverTo, secretRef, expiresAt } = credential
  return {
    credential: id,
    provider,
    kind,
    status,
    keyIds: keys.filter((key) => key.credential === id && isThere(key)).map((key) => key.keyId),
    secretAt: isDelivered(credential) ? `${deliverTo.sink}:${deliverTo.path}` : null,
    secretRef,
    expiresAt,
    endsWithCustody: kind === 'api-token',
  }
}

/** Whether the provider may still hold the key: what is handed back. */
export function isThere({ status, deletedAt }: IssuedKey): boolean {
  return deletedAt === null && status !== 'revoked' && status !== 'failed'
}

function principalOf({ provider, external }: Principal, released: ReleasedAt): HandedPrincipal {
  return {
    provider,
    principal: external,
    removed: released[provider]?.removed ?? [],
    stays: released[provider]?.stays ?? [],
  }
}
