import type { ConsumerReport, KeyProbe } from '../domain/consumer.ts'
import type { AccountId, CredentialId, TenantId } from '../domain/ids.ts'

/** The changes of `store.ts` that are about consumers. */
export type ConsumerChange =
  /** Silent about a generation that is not above the one reported before. */
  | { readonly type: 'consumerReport'; readonly report: ConsumerReport }
  /** Silent about an instant before the one noted. */
  | { readonly type: 'keyProbe'; readonly probe: KeyProbe }

export interface ConsumerReads {
  /** Of an account, all credentials, in no order that means anything. */
  consumerReports(tenant: TenantId, account: AccountId): Promise<readonly ConsumerReport[]>
  /** When we last tried a key; null when never. */
  keyProbe(tenant: TenantId, credential: CredentialId, generation: number): Promise<KeyProbe | null>
}
