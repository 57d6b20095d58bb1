import type { Instant } from '../../domain/time.ts'
import type { SecretVault } from './secret-vault.ts'

export type Permission = 'read' | 'write' | 'admin'
export type Permissions = Readonly<Record<string, Permission>>

export interface DeployKey {
  readonly id: number
  readonly title: string
  /** `<type> <base64>`, without the comment: GitHub drops it. */
  readonly key: string
  readonly readOnly: boolean
  readonly addedBy: string
  readonly createdAt: Instant
  readonly lastUsedAt: Instant | null
}

export interface Repository {
  readonly id: number
  owner: string
  name: string
  readonly private: boolean
  archived: boolean
  /** An organisation may forbid deploy keys, which also switches the existing ones off. */
  deployKeysEnabled: boolean
  readonly createdAt: Instant
  readonly keys: Map<number, DeployKey>
  readonly actions: SecretVault
  /** By name; each has secrets of its own. */
  readonly environments: Map<string, SecretVault>
}

export interface Installation {
  readonly id: number
  readonly appId: number
  readonly appSlug: string
  readonly account: string
  /** Null: all repositories of the account, later ones included. */
  repositoryIds: ReadonlySet<number> | null
  permissions: Permissions
  suspendedAt: Instant | null
  readonly createdAt: Instant
}

export interface InstallationToken {
  readonly token: string
  readonly installationId: number
  readonly repositoryIds: ReadonlySet<number> | null
  readonly permissions: Permissions
  readonly createdAt: Instant
  readonly expiresAt: Instant
  revokedAt: Instant | null
}

/** Who a request comes from, as the Authorization header proves. */
export type Caller =
  | { readonly type: 'app' }
  | {
      readonly type: 'installation'
      readonly token: InstallationToken
      /** False while the permissions of a new token are still on their way. */
      readonly hasPermissions: boolean
    }
  | {
      readonly type: 'nobody'
      readonly status: 401 | 404
      readonly reason: string
      readonly hasCredentials: boolean
    }
