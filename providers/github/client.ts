import { sign, type KeyObject } from 'node:crypto'
import { Octokit } from '@octokit/rest'
import { ProviderError, type Call, type Transport } from '../../src/provider/contract.ts'
import { Secret } from '../../src/domain/secret.ts'
import {
  instantOf,
  parseInstant,
  seconds,
  secondsBetween,
  timeoutOf,
  type Clock,
  type Instant,
  type Seconds,
} from '../../src/domain/time.ts'
import { fromAnswer, fromSilence, type Answer, type Attempt } from './errors.ts'

export interface ClientOptions {
  readonly baseUrl: string
  /** App id or client id: both are accepted as issuer. */
  readonly appId: string
  readonly installationId: number
  readonly privateKey: KeyObject
  readonly timeout: Seconds
  readonly clock: Clock
  /** Hears the `Date` of every answer. */
  readonly sawDate?: (date: Instant) => void
  /** Absent: the network. */
  readonly transport?: Transport
}

/** What `send` adds to the parameters of one Octokit call. */
interface RequestOptions {
  readonly headers: { readonly authorization: string }
  readonly request: { readonly signal: AbortSignal }
}

interface Reply<T> {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number | undefined>>
  readonly data: T
}

type Send<T> = (octokit: Octokit, options: RequestOptions) => Promise<Reply<T>>

interface ManagementToken {
  readonly secret: Secret
  readonly mintedAt: Instant
  readonly expiresAt: Instant
}

// GitHub refuses an `iat` in its future and an `exp` more than 600 s ahead by *its* clock; with
// these margins a clock that is up to a minute off either way still signs in.
const jwtBackdatedSeconds = 60
const jwtSeconds = 540
/** A token lives 60 minutes; the margin covers the longest step that may start with it. */
const renewBeforeSeconds = 600
/** A new token may be unknown (401) or without its permissions (403) on some replicas for a while. */
const replicationSeconds = 15
/** A process that ends does not wait long for the end of its token. */
const closeMilliseconds = 2_000
export const pageSize = 100
const pagesMax = 100

/**
 * One App installation's connection to GitHub. Signs App JWTs itself and keeps one management token
 * with the least permissions. No call is ever repeated here: retries belong to the journal, and
 * `@octokit/auth-app` would repeat a 401 up to five seconds and read the process clock.
 */
export class GithubClient {
  readonly #options: ClientOptions
  readonly #octokit: Octokit
  #token: ManagementToken | null = null
  #minting: Promise<ManagementToken> | null = null

  constructor(options: ClientOptions) {
    this.#options = options
    const silent = () => {}
    this.#octokit = new Octokit({
      baseUrl: options.baseUrl.replace(/\/+$/, ''),
      userAgent: 'custody',
      log: { debug: silent, info: silent, warn: silent, error: silent },
      ...(options.transport ? { request: { fetch: fetchOf(options.transport) } } : {}),
    })
  }

  /** Sends with the App's own JWT. */
  async asApp<T>(attempt: Attempt, call: Call, run: Send<T>): Promise<Reply<T>> {
    const result = await this.#exchange(attempt, call.signal, `bearer ${this.#jwt()}`, run)
    if ('reply' in result) return result.reply
    const error = fromAnswer(result.answer, attempt, this.#options.clock)
    const skew = result.answer.status === 401 ? this.#skewOf(result.answer) : null
    if (skew === null || Math.abs(skew) < 30) throw error
    throw new ProviderError(
      error.kind,
      `${error.message} GitHub's clock differs from ours by ${Math.round(skew)} s.`,
      { outcome: error.outcome },
    )
  }

  /** Sends with the management token, minting one first when needed. */
  async asInstallation<T>(attempt: Attempt, call: Call, run: Send<T>): Promise<Reply<T>> {
    const token = await this.#managementToken(call)
    const authorization = token.secret.use((bytes) => `token ${bytes.toString('utf8')}`)
    const result = await this.#exchange(attempt, call.signal, authorization, run)
    if ('reply' in result) return result.reply
    const error = fromAnswer(result.answer, attempt, this.#options.clock)
    const { status } = result.answer
    const age = secondsBetween(token.mintedAt, this.#options.clock.now())
    const isFresh = age < replicationSeconds
    if (isFresh && error.kind === 'denied' && (status === 401 || status === 403)) {
      throw new ProviderError('unavailable', `${error.message} The token is ${age} s old.`, {
        outcome: 'notApplied',
        retryAfter: seconds(2),
      })
    }
    if (status !== 401) throw error
    // Revoked under us (a suspended installation, an operator): the next attempt gets a new one.
    if (this.#token === token) this.#token = null
    throw new ProviderError(
      'unavailable',
      `${attempt.request}: the management token was refused.`,
      {
        outcome: 'notApplied',
        retryAfter: seconds(1),
      },
    )
  }

  /**
   * Reads all pages of a list. `complete` is false when there are more than `pagesMax`.
   * @param run sends for one page; `per_page` must be `pageSize`
   */
  async pages<T>(
    attempt: Attempt,
    call: Call,
    run: (octokit: Octokit, page: number, options: RequestOptions) => Promise<Reply<readonly T[]>>,
  ): Promise<{ readonly items: readonly T[]; readonly complete: boolean }> {
    const items: T[] = []
    for (let page = 1; page <= pagesMax; page++) {
      const reply = await this.asInstallation(attempt, call, (octokit, options) =>
        run(octokit, page, options),
      )
      items.push(...reply.data)
      if (!/rel="next"/.test(String(reply.headers['link'] ?? ''))) return { items, complete: true }
    }
    return { items, complete: false }
  }

  /** Revokes the management token; what cannot be revoked dies within the hour. */
  async close(): Promise<void> {
    const token = this.#token
    this.#token = null
    if (!token) return
    const attempt = { request: 'DELETE /installation/token', writes: true }
    const authorization = token.secret.use((bytes) => `token ${bytes.toString('utf8')}`)
    const soon = timeoutOf(this.#options.clock, closeMilliseconds)
    await this.#exchange(attempt, soon, authorization, (octokit, options) =>
      octokit.rest.apps.revokeInstallationAccessToken({ ...options }),
    ).catch(() => null)
    token.secret.dispose()
  }

  async #managementToken(call: Call): Promise<ManagementToken> {
    const { clock } = this.#options
    const token = this.#token
    if (token && secondsBetween(clock.now(), token.expiresAt) > renewBeforeSeconds) return token
    // Calls that come together share one mint: each is a new live token at GitHub.
    this.#minting ??= this.#mint(call).finally(() => {
      this.#minting = null
    })
    return this.#minting
  }

  async #mint(call: Call): Promise<ManagementToken> {
    const { clock, installationId } = this.#options
    // Marked as a read: a token lost on the way dies within the hour and changed nothing, while
    // the caller's own request was certainly not sent.
    const attempt = {
      request: `POST /app/installations/${installationId}/access_tokens`,
      writes: false,
    }
    const { data } = await this.asApp(attempt, call, (octokit, options) =>
      octokit.rest.apps.createInstallationAccessToken({
        installation_id: installationId,
        permissions: { administration: 'write', metadata: 'read' },
        ...options,
      }),
    ).catch((error: unknown) => {
      if (!(error instanceof ProviderError) || error.kind !== 'invalid') throw error
      throw new ProviderError(
        'denied',
        `${error.message} The installation must grant administration=write.`,
        { outcome: 'notApplied' },
      )
    })
    const mintedAt = clock.now()
    this.#token = {
      secret: Secret.ofText(data.token),
      mintedAt,
      expiresAt: parseInstant(data.expires_at) ?? mintedAt,
    }
    return this.#token
  }

  async #exchange<T>(
    attempt: Attempt,
    signal: AbortSignal,
    authorization: string,
    run: Send<T>,
  ): Promise<{ readonly reply: Reply<T> } | { readonly answer: Answer }> {
    if (signal.aborted) {
      throw new ProviderError('unavailable', `${attempt.request}: given up before sending.`, {
        outcome: 'notApplied',
      })
    }
    const timeout = timeoutOf(this.#options.clock, this.#options.timeout * 1_000)
    try {
      const reply = await run(this.#octokit, {
        headers: { authorization },
        request: { signal: AbortSignal.any([signal, timeout]) },
      })
      this.#tellDate(reply.headers)
      if (reply.status !== 204 && typeof reply.data !== 'object') {
        // A proxy's page under GitHub's status: nobody can tell what became of the request.
        throw new ProviderError('unavailable', `${attempt.request}: the answer is not JSON.`, {
          outcome: attempt.writes ? 'unknown' : 'notApplied',
        })
      }
      return { reply }
    } catch (error) {
      if (error instanceof ProviderError) throw error
      const answer = answerOf(error)
      // Octokit's error holds the request with its headers, so it never becomes a cause.
      if (!answer) throw fromSilence(error, attempt)
      this.#tellDate(answer.headers)
      return { answer }
    }
  }

  #jwt(): string {
    const { appId, clock, privateKey } = this.#options
    const now = Math.floor(Date.parse(clock.now()) / 1_000)
    const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')
    const claims = { iat: now - jwtBackdatedSeconds, exp: now + jwtSeconds, iss: appId }
    const body = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}`
    return `${body}.${sign('sha256', Buffer.from(body), privateKey).toString('base64url')}`
  }

  #tellDate(headers: Answer['headers']): void {
    const date = Date.parse(String(headers['date'] ?? ''))
    if (!Number.isNaN(date)) this.#options.sawDate?.(instantOf(date))
  }

  #skewOf(answer: Answer): number | null {
    const theirs = Date.parse(String(answer.headers['date'] ?? ''))
    return Number.isNaN(theirs) ? null : (theirs - Date.parse(this.#options.clock.now())) / 1_000
  }
}

type GithubDetail = string | { readonly message?: string }

/** Reduces Octokit's error to what GitHub answered; null when there was no answer, or not GitHub's. */
function answerOf(error: unknown): Answer | null {
  if (typeof error !== 'object' || error === null || !('response' in error)) return null
  const { response } = error as { response?: Reply<unknown> }
  if (typeof response?.data !== 'object') return null
  const data = response.data as { message?: string; errors?: readonly GithubDetail[] } | undefined
  const details = (data?.errors ?? []).map((e) => (typeof e === 'string' ? e : e.message))
  const message = [data?.message ?? 'no message', ...details].filter(Boolean).join('; ')
  return { status: response.status, headers: response.headers, message: message.slice(0, 300) }
}

/** Lets Octokit speak through a transport. */
function fetchOf(transport: Transport): typeof fetch {
  return async (target, { method = 'GET', headers, body, signal = null } = {}) => {
    const request = {
      method,
      url: target instanceof Request ? new URL(target.url) : new URL(target),
      headers: Object.fromEntries(new Headers(headers)),
      body: (body ?? '') as string,
    }
    const answer = await transport(request, signal)
    const nothing = answer.status === 204 || answer.status === 304
    return new Response(nothing ? null : answer.body, answer)
  }
}
