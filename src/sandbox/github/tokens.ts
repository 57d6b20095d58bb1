import { createHmac, createPublicKey, verify, type KeyObject } from 'node:crypto'
import { addSeconds, secondsBetween, type Clock } from '../../domain/time.ts'
import type { Caller, InstallationToken, Permissions } from './state.ts'

/** `stateless`: the ~520-character `ghs_<app>_<JWT>` rolled out since 2026-04. */
export type TokenFormat = 'opaque' | 'stateless'

export interface AppIdentity {
  readonly id: number
  readonly clientId: string
  readonly privateKeyPem: string
}

/** In seconds. */
export interface TokenLag {
  /** A new token is unknown (401) for the first half, then known without its permissions (403). */
  birth: number
  /** A revoked token goes on working. */
  death: number
}

const tokenSeconds = 3_600
const jwtSecondsMax = 600
const unknownApp = 'Integration not found'

/** The tokens of an App's installations, and who a request comes from. */
export class InstallationTokens {
  readonly #clock: Clock
  readonly #app: AppIdentity
  readonly #publicKey: KeyObject
  readonly #format: TokenFormat
  readonly #seed: string
  readonly lag: TokenLag = { birth: 0, death: 0 }
  readonly #tokens = new Map<string, InstallationToken>()

  /** @param seed determines every token */
  constructor(clock: Clock, app: AppIdentity, format: TokenFormat, seed: string) {
    this.#clock = clock
    this.#app = app
    this.#publicKey = createPublicKey(app.privateKeyPem)
    this.#format = format
    this.#seed = seed
  }

  /** Every token ever minted, revoked and expired ones included. */
  all(): readonly InstallationToken[] {
    return [...this.#tokens.values()]
  }

  isAlive(token: InstallationToken): boolean {
    const now = this.#clock.now()
    const isRevoked = token.revokedAt !== null && addSeconds(token.revokedAt, this.lag.death) <= now
    return !isRevoked && token.expiresAt > now
  }

  end(token: InstallationToken): void {
    token.revokedAt ??= this.#clock.now()
  }

  mint(
    number: number,
    installationId: number,
    permissions: Permissions,
    repositoryIds: ReadonlySet<number> | null,
  ): InstallationToken {
    const now = this.#clock.now()
    const minted: InstallationToken = {
      token: this.#text(number),
      installationId,
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
    const nobody = (reason: string): Extract<Caller, { type: 'nobody' }> => ({
      type: 'nobody',
      status: 401,
      reason,
      hasCredentials: header !== undefined,
    })
    const m = /^(?:bearer|token) (\S+)$/i.exec(header ?? '')
    if (!m) return nobody('Requires authentication')
    const token = this.#tokens.get(m[1]!)
    if (token && this.isAlive(token)) {
      const age = secondsBetween(token.createdAt, this.#clock.now())
      if (age < this.lag.birth / 2) return nobody('Bad credentials')
      return { type: 'installation', token, hasPermissions: age >= this.lag.birth }
    }
    if (m[1]!.startsWith('ghs_')) return nobody('Bad credentials')
    const problem = this.#checkJwt(m[1]!)
    if (problem === null) return { type: 'app' }
    // A signature that fits, by an App that does not exist: GitHub calls that 404.
    return problem === unknownApp ? { ...nobody(problem), status: 404 } : nobody(problem)
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
    const now = Math.floor(Date.parse(this.#clock.now()) / 1_000)
    if (String(claims.iss) !== String(this.#app.id) && claims.iss !== this.#app.clientId) {
      return unknownApp
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

  #text(n: number): string {
    const mac = (part: string) => createHmac('sha512', this.#seed).update(`${part}:${n}`).digest()
    if (this.#format === 'opaque') {
      return `ghs_${mac('opaque').toString('hex').slice(0, 36)}`
    }
    const header = Buffer.from('{"typ":"JWT","alg":"ES256"}').toString('base64url')
    const body = Buffer.concat(['a', 'b', 'c', 'd', 'e'].map(mac)).subarray(0, 280)
    return `ghs_${this.#app.id}_${header}.${body.toString('base64url')}.${mac('sig').toString('base64url')}`
  }
}
