import type { ClientId, PersonId, TenantId } from './ids.ts'
import type { Instant } from './time.ts'

export type Role =
  | 'directory'
  | 'requester'
  | 'owner'
  | 'security'
  | 'verifier'
  | 'auditor'
  | 'admin'
export const roles: readonly Role[] = [
  'directory',
  'requester',
  'owner',
  'security',
  'verifier',
  'auditor',
  'admin',
]

export type Dialect = 'lenient' | 'rfc' | 'interop'
export const dialects: readonly Dialect[] = ['lenient', 'rfc', 'interop']

export interface Client {
  readonly tenant: TenantId
  readonly id: ClientId
  readonly name: string
  readonly role: Role
  readonly dialect: Dialect
  /** Set for role `directory` only: the people it sees and changes. */
  readonly directory: string | null
  readonly person: PersonId | null
  readonly createdAt: Instant
  readonly revokedAt: Instant | null
}

/** One of up to three live bearer tokens of a client; only a keyed hash is stored. */
export interface ClientToken {
  readonly id: string
  readonly client: ClientId
  readonly hash: string
  readonly createdAt: Instant
  readonly expiresAt: Instant | null
  readonly lastUsedAt: Instant | null
  readonly revokedAt: Instant | null
}
