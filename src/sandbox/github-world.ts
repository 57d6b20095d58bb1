import { generateKeyPairSync } from 'node:crypto'
import { addSeconds, type Clock, type Instant } from '../domain/time.ts'
import { GithubPeople } from './github/people.ts'
import { SecretVault } from './github/secret-vault.ts'
import { normalPublicKey } from './github/ssh-keys.ts'
import type {
  Caller,
  DeployKey,
  Installation,
  InstallationToken,
  Permissions,
  Repository,
} from './github/state.ts'
import { SecondaryCounter, type SecondaryLimits } from './github/limits.ts'
import { InstallationTokens, type TokenFormat, type TokenLag } from './github/tokens.ts'

export { keyFingerprint } from './github/ssh-keys.ts'
export type * from './github/state.ts'

export interface GithubWorldOptions {
  readonly clock: Clock
  readonly organization?: string
  readonly repositories?: readonly string[]
  readonly permissions?: Permissions
  /** `stateless`: the ~520-character `ghs_<app>_<JWT>` rolled out since 2026-04. */
  readonly tokenFormat?: TokenFormat
  /** Requests per hour and installation (GitHub: 5 000 at least). */
  readonly rateLimit?: number
  /** What GitHub counts besides; absent = nobody is slowed down by them. */
  readonly secondaryLimits?: Partial<SecondaryLimits>
  /** Seconds that GitHub's clock is ahead of `clock`. */
  readonly skew?: number
  /** Determines every token. */
  readonly seed?: string
  /** The App's RSA key; made anew (~60 ms) when omitted. */
  readonly privateKeyPem?: string
}

/**
 * GitHub as far as Custody speaks to it: one App, its installation in one organisation, the
 * repositories there. State and rules only, no sockets; `github-routes.ts` puts the REST API on it.
 * The methods that are not part of that API play the humans: they rename, suspend, add keys.
 */
export class GithubWorld {
  readonly clock: Clock
  readonly organization: string
  readonly app: {
    readonly id: number
    readonly slug: string
    readonly clientId: string
    readonly installationId: number
    readonly privateKeyPem: string
    readonly createdAt: Instant
  }
  readonly tokenFormat: TokenFormat
  readonly rateLimit: number
  readonly secondary: SecondaryCounter | null
  /** Seconds that this clock is ahead of the one it was given. */
  skew: number
  /** Whether new repositories may have deploy keys: the organisation's policy. */
  #deployKeysEnabled = true
  readonly repositories = new Map<number, Repository>()
  readonly installations = new Map<number, Installation>()
  /** Members, their own tokens, apps of third parties. */
  readonly people: GithubPeople
  /** The organisation's own Actions secrets. */
  readonly actions: SecretVault
  readonly #tokens: InstallationTokens
  readonly #usage = new Map<number, { readonly since: Instant; used: number }>()
  /** Old names keep answering with a redirect until a new repository takes them. */
  readonly #formerNames = new Map<string, number>()
  #lastId = 1_000

  constructor(options: GithubWorldOptions) {
    this.skew = options.skew ?? 0
    this.clock = {
      now: () => addSeconds(options.clock.now(), this.skew),
      monotonic: () => options.clock.monotonic(),
      after: (milliseconds, act) => options.clock.after(milliseconds, act),
    }
    this.actions = new SecretVault(this.clock)
    this.secondary = options.secondaryLimits
      ? new SecondaryCounter(options.clock, options.secondaryLimits)
      : null
    this.organization = options.organization ?? 'acme'
    this.tokenFormat = options.tokenFormat ?? 'opaque'
    this.rateLimit = options.rateLimit ?? 5_000
    const privateKeyPem = options.privateKeyPem ?? generateAppKey()
    this.app = {
      id: this.#nextId(),
      slug: 'custody',
      clientId: 'Iv23liCustodySandbox',
      installationId: this.#nextId(),
      privateKeyPem,
      createdAt: this.clock.now(),
    }
    this.#tokens = new InstallationTokens(
      this.clock,
      this.app,
      this.tokenFormat,
      options.seed ?? 'custody',
    )
    this.people = new GithubPeople({
      clock: this.clock,
      organization: this.organization,
      seed: options.seed ?? 'custody',
      nextId: () => this.#nextId(),
    })
    this.installations.set(this.app.installationId, {
      id: this.app.installationId,
      appId: this.app.id,
      appSlug: this.app.slug,
      account: this.organization,
      repositoryIds: null,
      permissions: options.permissions ?? {
        administration: 'write',
        contents: 'read',
        environments: 'write',
        metadata: 'read',
        organization_secrets: 'write',
        secrets: 'write',
      },
      suspendedAt: null,
      createdAt: this.clock.now(),
    })
    for (const name of options.repositories ?? ['website', 'deploy', 'billing']) {
      this.addRepository(name)
    }
  }

  addRepository(name: string, options: { readonly private?: boolean } = {}): Repository {
    const id = this.#nextId()
    const repository: Repository = {
      id,
      owner: this.organization,
      name,
      private: options.private ?? true,
      archived: false,
      deployKeysEnabled: this.#deployKeysEnabled,
      createdAt: this.clock.now(),
      keys: new Map(),
      actions: new SecretVault(this.clock),
      environments: new Map([['prod', new SecretVault(this.clock)]]),
    }
    this.repositories.set(id, repository)
    this.#formerNames.delete(this.#nameKey(this.organization, name))
    return repository
  }

  renameRepository(owner: string, name: string, to: string): void {
    const repository = this.#existing(owner, name)
    this.#formerNames.set(this.#nameKey(owner, name), repository.id)
    repository.name = to
  }

  deleteRepository(owner: string, name: string): void {
    this.repositories.delete(this.#existing(owner, name).id)
  }

  /** What a person with admin rights does in the web interface. */
  addDeployKeyByHand(owner: string, name: string, title: string, key: string): DeployKey {
    const added = this.addDeployKey(this.#existing(owner, name), title, key, true, 'mona')
    if (typeof added === 'string') throw new Error(added)
    return added
  }

  /** The organisation's policy on deploy keys; forbidding them switches the existing ones off. */
  allowDeployKeys(allowed: boolean): void {
    this.#deployKeysEnabled = allowed
    for (const repository of this.repositories.values()) repository.deployKeysEnabled = allowed
  }

  /** The organisation takes the App out: its tokens die with the installation. */
  uninstall(installationId = this.app.installationId): void {
    this.installations.delete(installationId)
    for (const token of this.#tokens.all()) {
      if (token.installationId === installationId) this.#tokens.end(token)
    }
  }

  suspend(installationId = this.app.installationId): void {
    this.installations.get(installationId)!.suspendedAt = this.clock.now()
  }

  unsuspend(installationId = this.app.installationId): void {
    this.installations.get(installationId)!.suspendedAt = null
  }

  /** Narrows the installation to `names`; null opens it to all repositories again. */
  selectRepositories(names: readonly string[] | null): void {
    const installation = this.installations.get(this.app.installationId)!
    installation.repositoryIds =
      names && new Set(names.map((name) => this.#existing(this.organization, name).id))
  }

  setPermissions(permissions: Permissions): void {
    this.installations.get(this.app.installationId)!.permissions = permissions
  }

  /** The truth about a repository's deploy keys, whatever an API answered. */
  deployKeys(owner: string, name: string): readonly DeployKey[] {
    return [...this.#existing(owner, name).keys.values()]
  }

  /** Every token ever minted, revoked and expired ones included. */
  installationTokens(): readonly InstallationToken[] {
    return this.#tokens.all()
  }

  isAlive(token: InstallationToken): boolean {
    return this.#tokens.isAlive(token)
  }

  /** A repository by its present name, case-insensitively as GitHub does. */
  findRepository(owner: string, name: string): Repository | null {
    const wanted = this.#nameKey(owner, name)
    for (const r of this.repositories.values()) {
      if (this.#nameKey(r.owner, r.name) === wanted) return r
    }
    return null
  }

  /** Where a former name leads to. */
  findFormer(owner: string, name: string): Repository | null {
    const id = this.#formerNames.get(this.#nameKey(owner, name))
    return (id !== undefined && this.repositories.get(id)) || null
  }

  repositoriesOf(installation: Installation): readonly Repository[] {
    return [...this.repositories.values()].filter(
      (r) =>
        r.owner === installation.account &&
        (installation.repositoryIds === null || installation.repositoryIds.has(r.id)),
    )
  }

  /** @returns the key, or GitHub's words why not (a deploy key is unique across all of GitHub) */
  addDeployKey(
    repository: Repository,
    title: string,
    key: string,
    readOnly: boolean,
    addedBy: string,
  ): DeployKey | string {
    if (!repository.deployKeysEnabled) return 'Deploy keys are disabled for this repository'
    const normal = normalPublicKey(key)
    if (!normal) {
      return 'key is invalid. You must supply a key in OpenSSH public key format'
    }
    for (const other of this.repositories.values()) {
      for (const k of other.keys.values()) if (k.key === normal) return 'key is already in use'
    }
    const added: DeployKey = {
      id: this.#nextId(),
      title,
      key: normal,
      readOnly,
      addedBy,
      createdAt: this.clock.now(),
      lastUsedAt: null,
    }
    repository.keys.set(added.id, added)
    return added
  }

  mintToken(
    installation: Installation,
    permissions: Permissions,
    repositoryIds: ReadonlySet<number> | null,
  ): InstallationToken {
    return this.#tokens.mint(this.#nextId(), installation.id, permissions, repositoryIds)
  }

  endToken(token: InstallationToken): void {
    this.#tokens.end(token)
  }

  /** How late GitHub's servers learn of tokens; changes count at once. */
  get tokenLag(): TokenLag {
    return this.#tokens.lag
  }

  /** Reads an Authorization header: an App JWT, a live installation token, or nobody. */
  authenticate(header: string | undefined): Caller {
    return this.#tokens.authenticate(header)
  }

  /** Counts one request against the installation's hour; `remaining` below 0 means refuse. */
  spend(installationId: number): { readonly remaining: number; readonly resetAt: Instant } {
    const now = this.clock.now()
    let window = this.#usage.get(installationId)
    if (!window || addSeconds(window.since, 3_600) <= now) {
      window = { since: now, used: 0 }
      this.#usage.set(installationId, window)
    }
    window.used += 1
    return { remaining: this.rateLimit - window.used, resetAt: addSeconds(window.since, 3_600) }
  }

  #existing(owner: string, name: string): Repository {
    const repository = this.findRepository(owner, name)
    if (!repository) throw new Error(`the sandbox has no repository ${owner}/${name}`)
    return repository
  }

  #nameKey(owner: string, name: string): string {
    return `${owner}/${name}`.toLowerCase()
  }

  #nextId(): number {
    return ++this.#lastId
  }
}

/** A key as GitHub hands it out for an App: RSA 2048, PKCS #1. */
export function generateAppKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  return privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
}
