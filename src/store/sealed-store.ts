import type { CredentialId, TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/time.ts'

/** A secret under seal (src/domain/seal.ts), and until when it is good for anything. */
export interface Sealed {
  readonly tenant: TenantId
  readonly credential: CredentialId
  readonly keyId: string
  readonly envelope: string
  readonly expiresAt: Instant
}

/** The changes of `store.ts` that are about sealed secrets. */
export type SealedChange =
  /** Replaces what is sealed for the same key. */
  | { readonly type: 'sealed'; readonly sealed: Sealed }
  /** Its key has ended; nothing there is success. */
  | {
      readonly type: 'unsealed'
      readonly tenant: TenantId
      readonly credential: CredentialId
      readonly keyId: string
    }
  /** Whatever was good for nothing any more before then; of all tenants. */
  | { readonly type: 'sealedSwept'; readonly before: Instant }

export interface SealedReads {
  sealed(tenant: TenantId, credential: CredentialId, keyId: string): Promise<Sealed | null>
  /** Of all tenants, by tenant, credential and key, strictly after `after`. */
  allSealed(after: Sealed | null, limit: number): Promise<readonly Sealed[]>
}
