import type { CredentialKind } from '../../src/domain/credential.ts'
import type { Secret } from '../../src/domain/secret.ts'
import type {
  Call,
  Capabilities,
  CheckReport,
  Drift,
  DriftPage,
  EnsuredPrincipal,
  ExternalCredential,
  HostContext,
  InventoryPage,
  Issued,
  Listing,
  ProbeAnswer,
  Released,
  Provider,
  ProviderModule,
  WantedCredential,
  WantedPrincipal,
  WantedOf,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { AwsAccount } from './account.ts'
import { Boundary } from './boundary.ts'
import { checkProvider } from './check.ts'
import type { Config } from './config.ts'
import { configSchema } from './config.ts'
import type { Identity } from './identity.ts'
import { capabilitiesOf, chained, identityOf } from './identity.ts'
import { UsersWithKeys } from './keys.ts'
import { FederatedRoles, isRoleArn } from './federation.ts'
import { parsed, refuse } from './marks.ts'
import { Rights } from './rights.ts'
import { Users } from './users.ts'

/**
 * IAM users and their access keys. One service account is one IAM user under a path of Custody's;
 * a credential is an access key of it.
 */
export const awsIam: ProviderModule = {
  type: 'aws-iam',
  role: 'provider',
  configSchema,
  create: (host, config) => new AwsIam(host, config as unknown as Config),
}

/** Knows no sort of identity itself: it hands each call to the one whose kind or principal it names. */
class AwsIam implements Provider {
  readonly name: string
  readonly type = 'aws-iam'
  readonly capabilities: Capabilities
  readonly discover?: NonNullable<Provider['discover']>
  readonly #account: AwsAccount
  readonly #checked: Parameters<typeof checkProvider>[0]
  readonly #keys: UsersWithKeys
  readonly #roles: FederatedRoles
  readonly #rights: Rights
  /** Each with a kind of its own; the first is meant where none is named. */
  readonly #identities: readonly [Identity, ...Identity[]]

  constructor(host: HostContext, config: Config) {
    this.name = host.name
    this.#account = new AwsAccount(host, config)
    const boundary = new Boundary(this.#account, config)
    const users = new Users(this.#account, boundary, config)
    const parts = { account: this.#account, boundary, users }
    this.#roles = new FederatedRoles(host, parts, config)
    this.#keys = new UsersWithKeys(host, { ...parts, beside: this.#roles.roles }, config)
    this.#rights = new Rights({ ...parts, roles: this.#roles.roles }, config, host.clock)
    this.#identities = [this.#keys, this.#roles]
    this.#checked = { account: this.#account, boundary, identities: this.#identities, config }
    this.capabilities = capabilitiesOf(this.#identities)
    const found = this.#identities.filter((identity) => identity.discover !== undefined)
    if (found.length > 0) {
      this.discover = (from, call) =>
        chained(found, from, (identity, at) => identity.discover!(at, call))
    }
  }

  #of(principal: string): Identity {
    return identityOf(this.#identities, principal)
  }

  /** Keys and roles of an account have one principal between them: a key says itself what it is. */
  async #ofKey(principal: string, keyId: string, call: Call): Promise<readonly [Identity, string]> {
    if (isRoleArn(keyId)) return [this.#roles, principal]
    const stored = await this.#withUser(principal, call)
    return [this.#of(stored), stored]
  }

  /** As stored, or the user where the account has one although only its roles were stored. */
  async #withUser(principal: string, call: Call): Promise<string> {
    if (!this.#roles.owns(parsed(principal))) return principal
    return (await this.#roles.roles.userBeside(principal, call)) ?? principal
  }

  #ofKind(kind: CredentialKind): Identity | null {
    return this.#identities.find((identity) => identity.kind === kind) ?? null
  }

  checkScopes(
    kind: CredentialKind,
    scopes: readonly string[],
  ): { readonly scope: string; readonly reason: string } | null {
    const identity = this.#ofKind(kind)
    if (identity) return identity.checkScopes(scopes)
    return { scope: scopes[0] ?? '', reason: `Provider ${this.name} issues no ${kind}.` }
  }

  ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const identity = want.kind === undefined ? null : this.#ofKind(want.kind)
    return (identity ?? this.#identities[0]).ensurePrincipal(want, call)
  }

  async issue(principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    if (want.kind === this.#roles.kind) return this.#roles.issue(principal, want, call)
    const stored = await this.#withUser(principal, call)
    const identity = this.#of(stored)
    if (identity.kind === want.kind) return identity.issue(stored, want, call)
    const { reason } = this.checkScopes(want.kind, []) ?? {
      reason: `The principal stored for ${want.account} bears no ${want.kind}.`,
    }
    throw refuse('invalid', reason)
  }

  async rescope(principal: string, want: WantedScopes, call: Call): Promise<void> {
    if (want.kind === this.#roles.kind) return this.#roles.rescope(principal, want, call)
    const stored = await this.#withUser(principal, call)
    await this.#keys.rescope(stored, want, call)
  }

  driftOf(principal: string, want: readonly WantedScopes[], call: Call): Promise<Listing<Drift>> {
    return this.#rights.driftOf(principal, want, call)
  }

  driftPage(from: string | null, wantedOf: WantedOf, call: Call): Promise<DriftPage> {
    return this.#rights.page(from, wantedOf, call)
  }

  revertDrift(
    principal: string,
    want: readonly WantedScopes[],
    drift: Drift,
    call: Call,
  ): Promise<readonly string[]> {
    return this.#rights.revert(principal, want, drift, call)
  }

  async disable(principal: string, keyId: string, call: Call): Promise<void> {
    const [identity, stored] = await this.#ofKey(principal, keyId, call)
    await identity.disable(stored, keyId, call)
  }

  async enable(principal: string, keyId: string, call: Call): Promise<void> {
    const [identity, stored] = await this.#ofKey(principal, keyId, call)
    await identity.enable(stored, keyId, call)
  }

  async revoke(
    principal: string,
    keyId: string,
    call: Call,
    held: Secret | null = null,
  ): Promise<void> {
    const [identity, stored] = await this.#ofKey(principal, keyId, call)
    await identity.revoke(stored, keyId, call, held)
  }

  async shutOff(principal: string, call: Call): Promise<void> {
    const stored = await this.#withUser(principal, call)
    await this.#of(stored).shutOff(stored, call)
  }

  async turnOn(principal: string, call: Call): Promise<void> {
    const stored = await this.#withUser(principal, call)
    await this.#of(stored).turnOn(stored, call)
  }

  async probe(secret: Secret, kind: CredentialKind, call: Call): Promise<ProbeAnswer> {
    return this.#ofKind(kind)?.probe(secret, kind, call) ?? 'untestable'
  }

  async probeKey(principal: string, keyId: string, call: Call): Promise<ProbeAnswer> {
    const [identity, stored] = await this.#ofKey(principal, keyId, call)
    return identity.probeKey?.(stored, keyId, call) ?? 'untestable'
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const stored = await this.#withUser(principal, call)
    return this.#of(stored).list(stored, call)
  }

  inventory(from: string | null, call: Call): Promise<InventoryPage> {
    return chained(this.#identities, from, (identity, at) => identity.inventory(at, call))
  }

  /** What was discovered names the sort it is of as a principal does, perhaps with less. */
  async adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const kind = want.kind ?? this.#identities[0].kind
    const identity = this.#ofKind(kind)
    if (!identity?.adopt) throw refuse('invalid', `Provider ${this.name} adopts no ${kind}.`)
    return identity.adopt(external, want, call)
  }

  async release(principal: string, call: Call): Promise<Released> {
    const stored = await this.#withUser(principal, call)
    return (await this.#of(stored).release?.(stored, call)) ?? { removed: [], stays: [] }
  }

  async marksOf(principal: string, call: Call): Promise<string | null> {
    return this.#of(principal).marksOf(principal, call)
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    const stored = await this.#withUser(principal, call)
    await this.#of(stored).deletePrincipal(stored, call)
  }

  check(call: Call): Promise<CheckReport> {
    return checkProvider(this.#checked, call)
  }

  close(): Promise<void> {
    return this.#account.close()
  }
}
