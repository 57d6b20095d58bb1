import type { AccountId, CredentialId, TenantId } from './ids.ts'
import type { Instant, Seconds } from './time.ts'

export type CredentialKind =
  | 'api-token'
  | 'access-key'
  | 'federated-role'
  | 'deploy-key'
  | 'app-token'
  /** A grant that a person's fine-grained token has here: found, owned and ended, never made. */
  | 'pat-grant'
  /** A third party's app installed here, with a sponsor. */
  | 'app-installation'
  | 'password'
  | 'manual'

export type CredentialStatus =
  | 'pending'
  | 'issuing'
  | 'active'
  | 'superseded'
  | 'disabled'
  | 'revoking'
  | 'revoked'
  | 'failed'
  /** Handed back with its account: what became of it since, Custody does not know. */
  | 'released'

/** Which status may follow which (contract §4); docs/explanation/lifecycle.md is checked against it. */
export const credentialTransitions: Readonly<
  Record<CredentialStatus, readonly CredentialStatus[]>
> = {
  pending: ['issuing', 'failed', 'disabled', 'revoking', 'revoked'],
  issuing: ['active', 'failed', 'disabled', 'revoking', 'revoked'],
  active: ['disabled', 'revoking', 'revoked', 'released'],
  superseded: ['disabled', 'revoking', 'revoked', 'released'],
  disabled: ['active', 'pending', 'issuing', 'revoking', 'revoked', 'released'],
  revoking: ['revoked'],
  // Only when a provider shows a key of it alive again: it is ended once more.
  revoked: ['revoking'],
  failed: ['issuing', 'pending', 'revoking', 'disabled', 'revoked', 'released'],
  released: [],
}

export interface DeliverTo {
  readonly sink: string
  readonly path: string
}

/** A group whose members' credentials may do more; without `scopes`, what the templates say that name it. */
export type ScopeGrant = {
  readonly group: string
  readonly scopes: readonly string[] | null
}

/** A credential as requested: one entry a consumer knows by path; its keys come and go below it. */
export interface Credential {
  readonly tenant: TenantId
  readonly id: CredentialId
  readonly account: AccountId
  readonly provider: string
  readonly kind: CredentialKind
  readonly displayName: string | null
  /** As asked for. What groups grant comes on top. */
  readonly scopes: readonly string[]
  readonly scopesFrom: readonly ScopeGrant[]
  /** What the current key was last given at the provider; null before there was one. */
  readonly grantedScopes: readonly string[] | null
  /** The template it was asked for by. */
  readonly entitlement: string | null
  readonly readers: readonly string[]
  readonly deliverTo: DeliverTo
  readonly status: CredentialStatus
  /** Counts the keys ever minted; the current key is `keys` row (credential, generation). */
  readonly generation: number
  readonly keyId: string | null
  readonly previousKeyId: string | null
  readonly fingerprint: string | null
  readonly secretRef: string | null
  readonly expiresAt: Instant
  readonly rotateEvery: Seconds | null
  readonly overlap: Seconds | null
  readonly issuedAt: Instant | null
  readonly rotateAfter: Instant | null
  readonly lastRotatedAt: Instant | null
  readonly lastUsedAt: Instant | null
  /** First refusal seen by trying the secret after it was switched off. */
  readonly refusedAt: Instant | null
  /** Last complete re-listing that found nothing alive. */
  readonly settledAt: Instant | null
  readonly lastError: string | null
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly version: number
}

export type KeyStatus =
  | 'issuing'
  | 'active'
  | 'superseded'
  | 'disabled'
  | 'revoked'
  | 'failed'
  | 'released'

/** How we know that a key is dead. `absent` and `untestable` never count as `refused`. */
export type ProbeOutcome = 'refused' | 'absent' | 'untestable'

/** One key at a provider: one generation of one credential. What is not here is not ours to touch. */
export interface IssuedKey {
  readonly tenant: TenantId
  readonly credential: CredentialId
  readonly account: AccountId
  readonly provider: string
  readonly generation: number
  readonly keyId: string
  readonly fingerprint: string
  /** The sink's version that holds this key's secret; null before delivery. */
  readonly sinkVersion: string | null
  readonly status: KeyStatus
  readonly issuedAt: Instant
  readonly activatedAt: Instant | null
  readonly supersededAt: Instant | null
  readonly disabledAt: Instant | null
  readonly refusedAt: Instant | null
  readonly settledAt: Instant | null
  readonly outcome: ProbeOutcome | null
  /** Physical deletion at the provider: a fact with a date, not a state. */
  readonly deletedAt: Instant | null
}

/** The account's identity at one provider, made on the first credential there. */
export interface Principal {
  readonly tenant: TenantId
  readonly account: AccountId
  readonly provider: string
  /** The provider's immutable id together with what its calls need, as one opaque text. */
  readonly external: string | null
  readonly state: 'absent' | 'live' | 'off' | 'released'
  /** True when Custody made it; an adopted principal may hold keys of others. */
  readonly created: boolean
  readonly updatedAt: Instant
}

export function isLive(status: CredentialStatus): boolean {
  return (
    status === 'pending' || status === 'issuing' || status === 'active' || status === 'superseded'
  )
}

/** Of what was imported, and of kinds without a secret: there is nothing to deliver, so far. */
export function nowhere(id: CredentialId): DeliverTo {
  return { sink: '', path: id }
}

export function isDelivered({ deliverTo }: Pick<Credential, 'deliverTo'>): boolean {
  return deliverTo.sink !== ''
}
