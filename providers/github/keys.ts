import { parseInstant } from '../../src/domain/time.ts'
import type { ExternalCredential } from '../../src/provider/contract.ts'
import { accountOfTitle, writeKeyId } from './names.ts'
import { fingerprintOfLine } from './openssh.ts'

/** As GitHub lists it. */
export interface DeployKey {
  readonly id: number
  readonly key: string
  readonly title: string
  readonly read_only: boolean
  readonly created_at: string
  readonly last_used?: string | null
  readonly enabled?: boolean
  /** The login of whoever added it; absent in older answers. */
  readonly added_by?: string | null
}

/** Titles of ours end with the operation that made the key. */
function operationOf(title: string): { readonly operation?: string } {
  const operation = accountOfTitle(title) === null ? undefined : title.split('/')[4]
  return operation === undefined ? {} : { operation }
}

export function externalOf(repositoryId: number, key: DeployKey): ExternalCredential {
  return {
    keyId: writeKeyId({ repositoryId, id: key.id }),
    fingerprint: fingerprintOfLine(key.key),
    kind: 'deploy-key',
    // False when the organisation forbids deploy keys; it comes back when that is lifted.
    active: key.enabled !== false,
    createdAt: parseInstant(key.created_at),
    lastUsedAt: parseInstant(key.last_used ?? ''),
    ...operationOf(key.title),
  }
}
