import type { DirectoryCheck } from '../domain/directory.ts'
import type { TenantId } from '../domain/ids.ts'

/** The change of `store.ts` that is about comparisons with a directory: replaces the last one. */
export interface DirectoryCheckChange {
  readonly type: 'directoryCheck'
  readonly check: DirectoryCheck
}

/** One without what it found, which may be long. */
export type DirectoryCheckHead = Omit<DirectoryCheck, 'report'>

export interface DirectoryCheckReads {
  directoryCheck(tenant: TenantId, directory: string): Promise<DirectoryCheck | null>
  /** The last one of each directory of all tenants, by tenant and name: for metrics. */
  directoryChecks(): Promise<readonly DirectoryCheckHead[]>
}
