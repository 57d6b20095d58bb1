import type { AccountId, CredentialId, TenantId } from '../domain/ids.ts'
import type { Secret } from '../domain/secret.ts'
import type { Task, TaskAction } from '../domain/task.ts'
import type { Instant, Seconds } from '../domain/time.ts'

/** An operation as one worker holds it: whoever took it over since has a higher fence. */
export interface Claim {
  readonly operation: string
  readonly fence: number
}

/**
 * Where the embedded `token` provider keeps its tokens; the store implements it. What is written
 * under a claim is written only while it holds, however long its process stood still before:
 * otherwise `ProviderError` `fenced`.
 */
export interface TokenBook {
  /** Idempotent by id. */
  register(token: IssuedToken, claim?: Claim): Promise<void>
  find(id: string): Promise<IssuedToken | null>
  setActive(id: string, active: boolean, claim?: Claim): Promise<void>
  /** Silent about nothing: one that is not there any more is refused. */
  setScopes(id: string, scopes: readonly string[], claim?: Claim): Promise<void>
  remove(id: string, claim?: Claim): Promise<void>
  list(account: AccountId, provider: string): Promise<readonly IssuedToken[]>
  /** Of all accounts, by id, strictly after `after`. */
  page(provider: string, after: string | null, limit: number): Promise<readonly IssuedToken[]>
  /** What introspection would answer for it now, owner and account state joined in. */
  isAccepted(token: Secret): Promise<boolean>
}

export interface IssuedToken {
  readonly tenant: TenantId
  /** The public part of `csk_<id>_…`. */
  readonly id: string
  readonly provider: string
  readonly account: AccountId
  readonly credential: CredentialId
  readonly generation: number
  readonly hash: string
  readonly scopes: readonly string[]
  readonly active: boolean
  readonly createdAt: Instant
  readonly expiresAt: Instant
  readonly lastUsedAt: Instant | null
}

/** What a person is to do; the host says who, unless `assignee` does and is still there. */
export interface AskedTask {
  readonly tenant: TenantId
  readonly provider: string
  readonly account: AccountId
  readonly credential: CredentialId | null
  readonly keyId: string
  readonly action: TaskAction
  /** Never a secret. */
  readonly instructions: string
  /** userName, address or id of a person; null = whoever owns the account, or stands in for them. */
  readonly assignee: string | null
  readonly due: Seconds
  readonly operation: string | null
}

/** Where providers without an API keep what they ask people to do; the store implements it. */
export interface TaskBook {
  /** Opens it, unless one about the same key and action is open: then that one. */
  ask(task: AskedTask): Promise<Task>
  /** Nobody need do it any more. Silent when nothing of it is open. */
  withdraw(
    about: Pick<AskedTask, 'tenant' | 'provider' | 'account' | 'keyId' | 'action'>,
  ): Promise<void>
  /** Of one account, oldest first. */
  of(tenant: TenantId, account: AccountId, provider: string): Promise<readonly Task[]>
  /** Of all accounts, oldest first, strictly after `after`. */
  page(provider: string, after: string | null, limit: number): Promise<readonly Task[]>
}
