import type { CredentialKind } from '../domain/credential.ts'
import type { AccountId, CredentialId, TenantId } from '../domain/ids.ts'

/** What one credential of a principal was granted. */
export interface WantedScopes {
  readonly tenant: TenantId
  readonly account: AccountId
  readonly credential: CredentialId
  readonly kind: CredentialKind
  /** Of the current key. */
  readonly keyId: string
  readonly scopes: readonly string[]
  /**
   * For `rescope`: what was granted until now, so what may be taken away where nothing there tells
   * what is Custody's (a principal that was adopted). Absent: nothing is known.
   */
  readonly before?: readonly string[]
}

export type WantedOf = (
  principals: readonly { readonly external: string; readonly account: string | null }[],
) => Promise<ReadonlyMap<string, readonly WantedScopes[]>>

/** One difference between what was granted and what the provider would allow now. */
export interface Drift {
  /** Where it lies, a stable word: `policy`, `boundary`, `group`, `loginProfile`, `permission`, `readOnly`. */
  readonly what: string
  /** Which one of them: a policy's ARN or name, a group, a repository. */
  readonly name: string
  /** The key it is about; null = the principal, so all of its keys. */
  readonly keyId: string | null
  /** As people read it; null = nothing should be, or is, there. Never a secret. */
  readonly granted: string | null
  readonly actual: string | null
  /** `more`: somebody can do what nobody granted. `less`: consumers are refused what they were promised. */
  readonly reach: 'more' | 'less' | 'other'
  /**
   * What `scopes` would have to become for this to be what was granted, where it can be said in
   * scopes that this provider accepts. Absent: it cannot be adopted.
   */
  readonly asScopes?: { readonly add: readonly string[]; readonly remove: readonly string[] }
}

/** What one principal's rights were found to be, in a walk over all of them. */
export interface PrincipalDrift {
  readonly external: string
  /** The account whose marks it bears; null when none. */
  readonly account: string | null
  readonly items: readonly Drift[]
}

export interface DriftPage {
  readonly principals: readonly PrincipalDrift[]
  readonly next: string | null
}
