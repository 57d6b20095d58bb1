import type { CredentialKind } from '../../src/domain/credential.ts'
import type { Secret } from '../../src/domain/secret.ts'
import type { Seconds } from '../../src/domain/time.ts'
import type {
  Call,
  CheckFinding,
  DiscoveryPage,
  Drift,
  EnsuredPrincipal,
  ExternalCredential,
  HostContext,
  InventoryPage,
  Issued,
  KindCapabilities,
  Listing,
  Prepared,
  ProbeAnswer,
  WantedCredential,
  WantedPrincipal,
  WantedScopes,
} from '../../src/provider/contract.ts'
import type { GithubClient } from './client.ts'
import type { Config } from './config.ts'
import type { ScopeRefusal } from './names.ts'

/** What every kind is built from. */
export interface GithubKit {
  readonly host: HostContext
  readonly client: GithubClient
  readonly config: Config
  readonly installationId: number
  /** How long a listing may lag behind a write. */
  readonly settle: Seconds
}

/**
 * One kind of credential at GitHub. Its methods mean what those of `Provider` do; the door finds the
 * kind by the key id, the principal or the scope. What a kind has no method for, it refuses.
 */
export interface GithubKind {
  readonly kind: CredentialKind
  readonly capabilities: KindCapabilities
  /** App permissions that Custody itself needs for this kind, `administration: 'write'`. */
  readonly permissions: Readonly<Record<string, 'read' | 'write'>>
  /** Whether a key id is written as this kind writes its own; no two kinds may claim the same. */
  ownsKey(keyId: string): boolean
  checkScopes(scopes: readonly string[]): ScopeRefusal | null
  prepare?(want: WantedCredential): Prepared
  issue(principal: string, want: WantedCredential, call: Call): Promise<Issued>
  disable?(principal: string, keyId: string, call: Call): Promise<void>
  enable?(principal: string, keyId: string, call: Call): Promise<void>
  revoke(principal: string, keyId: string, call: Call, held: Secret | null): Promise<void>
  probe?(secret: Secret, call: Call): Promise<ProbeAnswer>
  probeKey?(principal: string, keyId: string, call: Call): Promise<ProbeAnswer>
  /** Absent: nothing is listed, and a listing of the account's keys says nothing about this kind. */
  list?(principal: string, call: Call): Promise<Listing<ExternalCredential>>
  /** Absent: nothing that Custody made lies at GitHub to be found. */
  inventory?(from: string | null, call: Call): Promise<InventoryPage>
  discover?(from: string | null, call: Call): Promise<DiscoveryPage>
  /** @returns null for an `external` that another kind discovered */
  adopt?(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> | null
  /** Of one key of this kind; absent: nothing of it can drift. */
  driftOf?(want: WantedScopes, call: Call): Promise<readonly Drift[]>
  /** What `check` says beyond the permissions, which it looks at itself. */
  check?(call: Call): Promise<readonly CheckFinding[]>
}
