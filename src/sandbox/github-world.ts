import { createHash, createHmac, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { addSeconds, type Clock, type Instant } from '../domain/time.ts'

export type Permission = 'read' | 'write'
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

export interface ActionsSecret {
  readonly name: string
  readonly encryptedValue: string
  readonly createdAt: Instant
  readonly updatedAt: Instant
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
  readonly secrets: Map<string, ActionsSecret>
  readonly secretsKey: { readonly id: string; readonly publicKey: string }
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

export interface GithubWorldOptions {
  readonly clock: Clock
  readonly organization?: string
  readonly repositories?: readonly string[]
  readonly permissions?: Permissions
  /** `stateless`: the ~520-character `ghs_<app>_<JWT>` rolled out since 2026-04. */
  readonly tokenFormat?: 'opaque' | 'stateless'
  /** Requests per hour and installation (GitHub: 5 000 at least). */
  readonly rateLimit?: number
  /** Determines every token. */
  readonly seed?: string
  /** The App's RSA key; made anew (~60 ms) when omitted. */
  readonly privateKeyPem?: string
}

/** Who a request comes from, as the Authorization header proves. */
export type Caller =
  | { readonly type: 'app' }
  | { readonly type: 'installation'; readonly token: InstallationToken }
  | { readonly type: 'nobody'; readonly reason: string }

const tokenSeconds = 3_600
const jwtSecondsMax = 600

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
  readonly tokenFormat: 'opaque' | 'stateless'
  readonly rateLimit: number
  readonly repositories = new Map<number, Repository>()
  readonly installations = new Map<number, Installation>()
  readonly #publicKey: KeyObject
  readonly #seed: string
  readonly #tokens = new Map<string, InstallationToken>()
  readonly #usage = new Map<number, { readonly since: Instant; used: number }>()
  /** Old names keep answering with a redirect until a new repository takes them. */
  readonly #formerNames = new Map<string, number>()
  #lastId = 1_000

  constructor(options: GithubWorldOptions) {
    this.clock = options.clock
    this.organization = options.organization ?? 'acme'
    this.tokenFormat = options.tokenFormat ?? 'opaque'
    this.rateLimit = options.rateLimit ?? 5_000
    this.#seed = options.seed ?? 'custody'
    const privateKeyPem = options.privateKeyPem ?? generateAppKey()
    this.#publicKey = createPublicKey(privateKeyPem)
    this.app = {
      id: this.#nextId(),
      slug: 'custody',
      clientId: 'Iv23liCustodySandbox',
      installationId: this.#nextId(),
      privateKeyPem,
      createdAt: this.clock.now(),
    }
    this.installations.set(this.app.installationId, {
      id: this.app.installationId,
      appId: this.app.id,
      appSlug: this.app.slug,
      account: this.organization,
      repositoryIds: null,
      permissions: options.permissions ?? {
        administration: 'write',
        contents: 'read',
        metadata: 'read',
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
      deployKeysEnabled: true,
      createdAt: this.clock.now(),
      keys: new Map(),
      secrets: new Map(),
      secretsKey: {
        id: String(568_250_000_000 + id),
        publicKey: generateKeyPairSync('x25519')
          .publicKey.export({ type: 'spki', format: 'der' })
          .subarray(-32)
          .toString('base64'),
      },
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
    return [...this.#tokens.values()]
  }

  isAlive(token: InstallationToken): boolean {
    return token.revokedAt === null && token.expiresAt > this.clock.now()
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
    const now = this.clock.now()
    const minted: InstallationToken = {
      token: this.#tokenText(this.#nextId()),
      installationId: installation.id,
      repositoryIds,
      permissions,
      createdAt: now,
      expiresAt: addSeconds(now, tokenSeconds),
      revokedAt: null,
    }
    this.#tokens.set(minted.token, minted)
    return minted
  }

  /** Reads an Authorization header: an App JWT, a live installation token, or nobody. */
  authenticate(header: string | undefined): Caller {
    const m = /^(?:bearer|token) (\S+)$/i.exec(header ?? '')
    if (!m) return { type: 'nobody', reason: 'Requires authentication' }
    const token = this.#tokens.get(m[1]!)
    if (token && this.isAlive(token)) return { type: 'installation', token }
    if (m[1]!.startsWith('ghs_')) return { type: 'nobody', reason: 'Bad credentials' }
    const problem = this.#checkJwt(m[1]!)
    return problem === null ? { type: 'app' } : { type: 'nobody', reason: problem }
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

  #checkJwt(jwt: string): string | null {
    const undecodable = 'A JSON web token could not be decoded'
    const [head, payload, signature, rest] = jwt.split('.')
    if (!head || !payload || !signature || rest !== undefined) return 'Bad credentials'
    let claims: { iss?: unknown; iat?: unknown; exp?: unknown }
    try {
      const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as { alg?: unknown }
      claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as typeof claims
      if (header.alg !== 'RS256') return undecodable
    } catch {
      return undecodable
    }
    const signed = Buffer.from(`${head}.${payload}`)
    if (!verify('sha256', signed, this.#publicKey, Buffer.from(signature, 'base64url'))) {
      return undecodable
    }
    const now = Math.floor(Date.parse(this.clock.now()) / 1_000)
    if (String(claims.iss) !== String(this.app.id) && claims.iss !== this.app.clientId) {
      return "'Issuer' claim ('iss') must be an Integer"
    }
    if (typeof claims.exp !== 'number' || claims.exp <= now) {
      return "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
    }
    if (claims.exp > now + jwtSecondsMax) {
      return "'Expiration time' claim ('exp') is too far in the future"
    }
    if (typeof claims.iat !== 'number' || claims.iat > now) {
      return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
    }
    return null
  }

  #tokenText(n: number): string {
    const mac = (part: string) => createHmac('sha512', this.#seed).update(`${part}:${n}`).digest()
    if (this.tokenFormat === 'opaque') {
      return `ghs_${mac('opaque').toString('hex').slice(0, 36)}`
    }
    const header = Buffer.from('{"typ":"JWT","alg":"ES256"}').toString('base64url')
    const body = Buffer.concat(['a', 'b', 'c', 'd', 'e'].map(mac)).subarray(0, 280)
    return `ghs_${this.app.id}_${header}.${body.toString('base64url')}.${mac('sig').toString('base64url')}`
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

const keyTypes =
  /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com)$/

/** `<type> <base64>` if the text is an OpenSSH public key whose blob names the same type. */
function normalPublicKey(text: string): string | null {
  const [type, blob] = text.trim().split(/\s+/)
  if (!type || !blob || !keyTypes.test(type)) return null
  const bytes = Buffer.from(blob, 'base64')
  if (bytes.length < 4 + type.length || bytes.readUInt32BE(0) !== type.length) return null
  return bytes.subarray(4, 4 + type.length).toString() === type ? `${type} ${blob}` : null
}

/** `SHA256:…` as GitHub's web interface and `ssh-keygen -l` show a key. */
export function keyFingerprint(publicKey: string): string {
  const blob = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64')
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}
