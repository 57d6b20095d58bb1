import { Secret } from '../../src/domain/secret.ts'
import {
  addSeconds,
  hour,
  instantOf,
  minute,
  parseInstant,
  seconds,
  secondsBetween,
  type Instant,
} from '../../src/domain/time.ts'
import {
  ProviderError,
  type Call,
  type Drift,
  type Issued,
  type KindCapabilities,
  type ProbeAnswer,
  type WantedCredential,
  type WantedScopes,
} from '../../src/provider/contract.ts'
import {
  excessOf,
  parseAppTokenScopes,
  permissionsByDefault,
  type AppTokenScope,
} from './app-token-scopes.ts'
import { permissionsText, replicationSeconds, skewSeconds } from './client.ts'
import { isSuspension, type Answer, type Attempt } from './errors.ts'
import { grants, readInstallation } from './installation.ts'
import type { GithubKind, GithubKit } from './kind.ts'
import type { ScopeRefusal } from './names.ts'
import { deniedIfNotFound, isKind, refusal } from './refusals.ts'
import { findRepository, type FoundRepository } from './repositories.ts'

/** GitHub's own figure; nothing in the request changes it. */
const lifetime = hour
const endedMax = 1_000

/**
 * Installation access tokens, handed out as leases of an hour. GitHub shows a token once, lists none
 * and ends one only for who presents it: the token itself is what a revocation needs. It is opaque
 * here, whatever its format.
 */
export class AppTokens implements GithubKind {
  readonly kind = 'app-token'
  /** To find a repository by its name; the App needs besides what it hands out. */
  readonly permissions = { metadata: 'read' } as const
  readonly capabilities: KindCapabilities
  readonly #kit: GithubKit
  readonly #allowed: readonly string[]
  /** Those whose end GitHub confirmed to this process: a second 401 means just that. */
  readonly #ended = new Set<string>()

  constructor(kit: GithubKit) {
    this.#kit = kit
    this.#allowed = kit.config.appToken?.permissions ?? permissionsByDefault
    this.capabilities = {
      canCreate: true,
      canRevoke: true,
      canList: false,
      maxLive: null,
      canDisable: false,
      canRescope: 'nextLease',
      canProbe: true,
      canLastUsed: false,
      lastUsedLag: seconds(0),
      mint: 'server',
      lease: { lifetime, renewBefore: seconds(10 * minute) },
      keepsSecret: true,
      settleMin: seconds(0),
      settleMax: seconds(replicationSeconds),
      quota: { calls: 500, per: hour },
      probe: { count: 1, every: seconds(2) },
      cannot: [
        'Live longer than an hour: it is renewed ten minutes before its end.',
        'Be listed: a token whose bytes are lost works until its hour is over, or until the installation is suspended.',
        'Be switched off and on again, or have its scopes changed: the next one brings other scopes, and one taken away ends the old one soon.',
      ],
    }
  }

  ownsKey(keyId: string): boolean {
    return endOf(keyId) !== null
  }

  checkScopes(scopes: readonly string[]): ScopeRefusal | null {
    const parsed = parseAppTokenScopes(scopes, this.#allowed)
    return 'reason' in parsed ? parsed : null
  }

  /** Whether the next token would still open what was granted: the App may have lost some of it. */
  async driftOf({ keyId, scopes }: WantedScopes, call: Call): Promise<readonly Drift[]> {
    const scope = parseAppTokenScopes(scopes, this.#allowed)
    if ('reason' in scope) return []
    const drifts: Drift[] = []
    const state = await readInstallation(this.#kit.client, call)
    for (const [name, level] of Object.entries(scope.permissions)) {
      if (grants(state, name, level)) continue
      const texts = { granted: level, actual: state.permissions[name] ?? null }
      drifts.push({ what: 'permission', name, keyId, ...texts, reach: 'less' })
    }
    for (const at of scope.repositories) {
      const name = `${at.owner}/${at.repo}`
      const found = await findRepository(this.#kit.client, at, this.permissions, call).catch(
        (error: unknown) => {
          if (isKind(error, 'notFound')) return null
          throw error
        },
      )
      if (found) continue
      drifts.push({ what: 'repository', name, keyId, granted: name, actual: null, reach: 'less' })
    }
    return drifts
  }

  async issue(_principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    const scope = parseAppTokenScopes(want.scopes, this.#allowed)
    if ('reason' in scope) {
      throw refusal('invalid', `Scope "${scope.scope}" is refused: ${scope.reason}`)
    }
    const found = await this.#repositories(scope, call)
    const id = this.#kit.installationId
    const attempt: Attempt = {
      request: `POST /app/installations/${id}/access_tokens`,
      writes: true,
      creates: true,
    }
    if (!(await call.fence())) {
      throw refusal('fenced', `${attempt.request}: overtaken before sending.`)
    }
    const { data } = await this.#kit.client
      .asApp(attempt, call, (octokit, options) =>
        octokit.rest.apps.createInstallationAccessToken({
          installation_id: id,
          // By id: a name may belong to another repository by the time GitHub reads it.
          repository_ids: found.map((r) => r.id),
          permissions: scope.permissions,
          ...options,
        }),
      )
      .catch((error: unknown) => {
        if (!isKind(error, 'invalid')) return deniedIfNotFound(error)
        throw refusal(
          'denied',
          `${error.message} The installation must grant ${permissionsText(scope.permissions)} and be installed on every repository asked for.`,
        )
      })
    if (typeof data.token !== 'string' || data.token === '') {
      throw new ProviderError('unavailable', `${attempt.request}: the answer has no token.`, {
        outcome: 'unknown',
      })
    }
    const secret = Secret.ofText(data.token)
    const mistake = mistakeIn(data, scope, found)
    if (mistake) {
      // Never handed out; GitHub has been told what to give, so this is not expected to happen.
      await this.#end(secret, call).catch(() => null)
      secret.dispose()
      throw refusal('invalid', `${attempt.request}: GitHub gave ${mistake}; the token was ended.`)
    }
    const expiresAt = this.#endByOurClock(data.expires_at)
    const fingerprint = secret.fingerprint()
    return { keyId: writeTokenId(fingerprint, expiresAt), secret, fingerprint, expiresAt }
  }

  async revoke(_principal: string, keyId: string, call: Call, held: Secret | null): Promise<void> {
    const end = endOf(keyId)
    if (end === null) throw refusal('invalid', `"${keyId}" is not the id of an app token.`)
    const left = secondsBetween(this.#kit.host.clock.now(), end)
    // Nothing GitHub could still accept, whichever clock is right.
    if (left <= -skewSeconds) return
    if (held === null) {
      throw refusal(
        'invalid',
        `Token ${keyId} is not kept any more and cannot be ended singly; it ends by itself at ${end}, and suspending the installation stops it now.`,
      )
    }
    if (writeTokenId(held.fingerprint(), end) !== keyId) {
      throw refusal('invalid', `The secret held for ${keyId} is another one; nothing was ended.`)
    }
    if (this.#ended.has(keyId)) return
    const answer = await this.#end(held, call)
    if (answer === null) {
      this.#remember(keyId)
      return
    }
    if (answer.status !== 401) throw this.#unclear(answer, endToken)
    // R47: refused at its end, it is over; refused before, GitHub may not know it everywhere yet.
    if (left <= skewSeconds) return
    if (lifetime - left < replicationSeconds) {
      throw new ProviderError(
        'unavailable',
        `${endToken.request}: the token is refused and seconds old; it may not be known everywhere yet.`,
        { outcome: 'unknown', retryAfter: seconds(2) },
      )
    }
    if ((await this.probe(held, call)) === 'refused') return
    throw new ProviderError(
      'unavailable',
      `${endToken.request}: GitHub refused the token and accepts it elsewhere.`,
      { outcome: 'notApplied', retryAfter: seconds(5) },
    )
  }

  async probe(secret: Secret, call: Call): Promise<ProbeAnswer> {
    const answer = await this.#use(secret, call)
    if (answer === null) return 'accepted'
    if (answer.status === 401) return 'refused'
    throw this.#unclear(answer, tryToken)
  }

  #remember(keyId: string): void {
    this.#ended.add(keyId)
    const oldest = this.#ended.values().next().value
    if (this.#ended.size > endedMax && oldest !== undefined) this.#ended.delete(oldest)
  }

  /** GitHub's end of a token, told by our clock where the two are known to differ. */
  #endByOurClock(text: string): Instant {
    const end = parseInstant(text)
    if (end === null) return addSeconds(this.#kit.host.clock.now(), lifetime)
    const skew = this.#kit.client.skew ?? 0
    return Math.abs(skew) < skewSeconds ? end : addSeconds(end, -skew)
  }

  /** @returns null when GitHub accepted the token */
  async #use(secret: Secret, call: Call): Promise<Answer | null> {
    // Written so that who reads GitHub's log can tell a trial of ours from a thief's.
    const userAgent = `custody-probe/${call.operation ?? 'none'}`
    const tried = await this.#kit.client.asHolder(
      tryToken,
      call,
      secret,
      userAgent,
      (octokit, options) =>
        octokit.rest.apps.listReposAccessibleToInstallation({ per_page: 1, ...options }),
    )
    return 'reply' in tried ? null : tried.answer
  }

  /** @returns null when GitHub ended it now */
  async #end(held: Secret, call: Call): Promise<Answer | null> {
    const userAgent = `custody/${call.operation ?? 'none'}`
    const ended = await this.#kit.client.asHolder(
      endToken,
      call,
      held,
      userAgent,
      (octokit, options) => octokit.rest.apps.revokeInstallationAccessToken({ ...options }),
    )
    return 'reply' in ended ? null : ended.answer
  }

  /**
   * What neither proves that a token works nor that it is dead: a suspended installation gives its
   * tokens back when it is resumed, and a token may be known before its permissions are (R49).
   */
  #unclear(answer: Answer, attempt: Attempt): ProviderError {
    const error = this.#kit.client.errorOf(answer, attempt)
    if (error.kind !== 'denied') return error
    return new ProviderError('unavailable', error.message, {
      outcome: 'notApplied',
      retryAfter: isSuspension(answer) ? minute : seconds(2),
    })
  }

  async #repositories(scope: AppTokenScope, call: Call): Promise<readonly FoundRepository[]> {
    const found: FoundRepository[] = []
    const changes = Object.values(scope.permissions).some((level) => level !== 'read')
    for (const at of scope.repositories) {
      const repository = await findRepository(this.#kit.client, at, this.permissions, call).catch(
        deniedIfNotFound,
      )
      if (changes && repository.archived) {
        throw refusal(
          'denied',
          `Repository ${at.owner}/${at.repo} is archived and read-only; unarchive it, or ask for read permissions only.`,
        )
      }
      found.push(repository)
    }
    return found
  }
}

const tryToken: Attempt = { request: 'GET /installation/repositories', writes: false, ends: true }
const endToken: Attempt = { request: 'DELETE /installation/token', writes: true, ends: true }

/**
 * A token has no id at GitHub. Ours is made of 64 bits of its SHA-256, of which nothing can be
 * rebuilt, and of its end, which decides what a 401 means later.
 */
function writeTokenId(fingerprint: string, end: Instant): string {
  return `it_${fingerprint.slice(0, 16)}_${Math.floor(Date.parse(end) / 1_000)}`
}

/** When the token ends; null for a text that is no id of one. */
function endOf(keyId: string): Instant | null {
  const m = /^it_[0-9a-f]{16}_(\d{10})$/.exec(keyId)
  return m && instantOf(Number(m[1]) * 1_000)
}

/** What GitHub gave beyond what was asked; null when it is that or less. */
function mistakeIn(
  given: {
    readonly permissions?: Readonly<Record<string, unknown>>
    readonly repository_selection?: string
    readonly repositories?: readonly { readonly id: number }[]
  },
  scope: AppTokenScope,
  found: readonly FoundRepository[],
): string | null {
  const excess = excessOf(given.permissions ?? {}, scope.permissions)
  if (excess) return `${excess} besides what was asked`
  if (given.repository_selection === 'all') return 'all repositories'
  const strange = given.repositories?.find((r) => !found.some((f) => f.id === r.id))
  return strange ? `repository ${strange.id} besides what was asked` : null
}
