import type { ServiceAccount } from '../domain/account.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'

export interface VendorCount {
  readonly vendor: string
  /** Accounts that are not retired. */
  readonly accounts: number
}

/** The reads of `store.ts` that an import and the closing of a vendor ask. */
export interface ImportReads {
  /**
   * People who are there (not deleted) and bear one of the names: as userName or address whatever
   * the case, or as externalId exactly.
   */
  peopleNamed(tenant: TenantId, names: readonly string[]): Promise<readonly Person[]>
  /** The first few whose userName is an address with this local part, whatever the case. */
  peopleAtLogin(tenant: TenantId, login: string, limit: number): Promise<readonly Person[]>
  /** Accounts labelled `vendor=<name>`, by id, strictly after `after`; retired ones included. */
  accountsOfVendor(
    tenant: TenantId,
    vendor: string,
    after: string | null,
    limit: number,
  ): Promise<readonly ServiceAccount[]>
  /** By name, strictly after `after`. */
  vendors(tenant: TenantId, after: string | null, limit: number): Promise<readonly VendorCount[]>
}
