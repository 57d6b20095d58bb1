import type { KeyObject } from 'node:crypto'
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
import { signAppJwt } from './app-jwt.ts'
import type { Budget } from './budget.ts'
import { fromAnswer, fromSilence, type Answer, type Attempt, type Permissions } from './errors.ts'

export interface ClientOptions {
  readonly baseUrl: string
  /** App id or client id: both are accepted as issuer. */
  readonly appId: string
  readonly installationId: number
  readonly privateKey: KeyObject
  readonly timeout: Seconds
  readonly clock: Clock
  readonly budget: Budget
  /** Hears the `Date` of every answer. */
  readonly sawDate?: (date: Instant) => void
  /** Absent: the network. */
  readonly transport?: Transport
}

/** What `send` adds to the parameters of one Octokit call. */
export interface RequestOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly request: { readonly signal: AbortSignal }
}

export interface Reply<T> {
  readonly status: number
  readonly headers: Readonly<Record<string, string | number | undefined>>
  readonly data: T
}

export type Send<T> = (octokit: Octokit, options: RequestOptions) => Promise<Reply<T>>

interface ManagementToken {
  readonly secret: Secret
  readonly mintedAt: Instant
  readonly expiresAt: Instant
}

/** A token lives 60 minutes; the margin covers the longest step that may start with it. */
const renewBeforeSeconds = 600
/** A new token may be unknown (401) or without its permissions (403) on some replicas for a while. */
export const replicationSeconds = 15
/** From here on a difference between the clocks is more than the margins of a JWT should bear. */
export const skewSeconds = 30
/** A process that ends does not wait long for the end of its token. */
const closeMilliseconds = 2_000
export const pageSize = 100
const pagesMax = 100

/**
 * One App installation's connection to GitHub. Signs App JWTs itself and keeps one management token
 * per set of permissions, apart from all tokens that are handed out. No call is ever repeated here:
 * retries belong to the journal, and `@octokit/auth-app` would hand out one cached token twice,
 * repeat a 401 up to five seconds and read the process clock.
 */
export class GithubClient {
  readonly installationId: number
  readonly #options: ClientOptions
  readonly #octokit: Octokit
  /** By `permissionsText`. */
  readonly #tokens = new Map<string, ManagementToken>()
  readonly #minting = new Map<string, Promise<ManagementToken>>()
  #skew: number | null = null

  constructor(options: ClientOptions) {
    this.#options = options
    this.installationId = options.installationId
    const silent = () => {}
    this.#octokit = new Octokit({
      baseUrl: options.baseUrl,
      userAgent: 'custody',
      log: { debug: silent, info: silent, warn: silent, error: silent },
      ...(options.transport ? { request: { fetch: fetchOf(options.transport) } } : {}),
    })
  }

  /** Seconds that GitHub's clock is ahead of ours, as its last answer showed; null before one. */
  get skew(): number | null {
    return this.#skew
  }

  /** Sends with the App's own JWT. */
  async asApp<T>(attempt: Attempt, call: Call, run: Send<T>): Promise<Reply<T>> {
    const { appId, clock, privateKey } = this.#options
    // A clock that is known to be wrong must not stop a revocation.
    const correction = Math.abs(this.#skew ?? 0) < skewSeconds ? 0 : (this.#skew ?? 0)
    const jwt = signAppJwt(appId, privateKey, Date.parse(clock.now()) + correction * 1_000)
    const result = await this.#exchange(attempt, call.signal, `bearer ${jwt}`, run)
    if ('reply' in result) return result.reply
    const error = fromAnswer(result.answer, attempt, clock)
    const skew = this.#skew ?? 0
    if (result.answer.status !== 401 || Math.abs(skew) < skewSeconds) throw error
    const isNews = Math.abs(skew - correction) >= skewSeconds
    const words = `GitHub's clock differs from ours by ${Math.round(skew)} s`
    throw isNews
      ? new ProviderError('unavailable', `${attempt.request}: GitHub refused the App; ${words}.`, {
          outcome: 'notApplied',
          retryAfter: seconds(1),
        })
      : new ProviderError(error.kind, `${error.message} ${words}.`, { outcome: error.outcome })
  }

  /** Sends with the management token that has `attempt.needs`, minting one first when needed. */
  async asInstallation<T>(attempt: Attempt, call: Call, run: Send<T>): Promise<Reply<T>> {
    const permissions = { ...attempt.needs, metadata: 'read' as const }
    const token = await this.#managementToken(permissions, attempt, call)
    const authorization = authorizationOf(token.secret)
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
    const name = permissionsText(permissions)
    if (this.#tokens.get(name) === token) this.#tokens.delete(name)
    throw new ProviderError(
      'unavailable',
      `${attempt.request}: the management token was refused.`,
      { outcome: 'notApplied', retryAfter: seconds(1) },
    )
  }

  /**
   * Sends with a token that was handed out, and never with one of ours.
   * @param userAgent by which the owner of the logs tells this use from the consumer's
   * @returns GitHub's answer as it is: here a 401 may be what was hoped for
   * @throws ProviderError when there was none
   */
  asHolder<T>(
    attempt: Attempt,
    call: Call,
    held: Secret,
    userAgent: string,
    run: Send<T>,
  ): Promise<{ readonly reply: Reply<T> } | { readonly answer: Answer }> {
    return this.#exchange(attempt, call.signal, authorizationOf(held), run, userAgent)
  }

  /** Sends without any credentials, to where GitHub refuses whoever has some. */
  async asNobody<T>(attempt: Attempt, call: Call, run: Send<T>): Promise<Reply<T>> {
    const result = await this.#exchange(attempt, call.signal, null, run)
    if ('reply' in result) return result.reply
    throw fromAnswer(result.answer, attempt, this.#options.clock)
  }

  /** Translates an answer that `asHolder` gave. */
  errorOf(answer: Answer, attempt: Attempt): ProviderError {
    return fromAnswer(answer, attempt, this.#options.clock)
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

  /** Revokes the management tokens; what cannot be revoked dies within the hour. */
  async close(): Promise<void> {
    const tokens = [...this.#tokens.values()]
    this.#tokens.clear()
    const attempt: Attempt = { request: 'DELETE /installation/token', writes: true, ends: true }
    const soon = timeoutOf(this.#options.clock, closeMilliseconds)
    await Promise.all(
      tokens.map(async ({ secret }) => {
        await this.#exchange(attempt, soon, authorizationOf(secret), (octokit, options) =>
          octokit.rest.apps.revokeInstallationAccessToken({ ...options }),
        ).catch(() => null)
        secret.dispose()
      }),
    )
  }

  async #managementToken(
    permissions: Permissions,
    attempt: Attempt,
    call: Call,
  ): Promise<ManagementToken> {
    const name = permissionsText(permissions)
    const token = this.#tokens.get(name)
    const now = this.#options.clock.now()
    if (token && secondsBetween(now, token.expiresAt) > renewBeforeSeconds) return token
    // Calls that come together share one mint: each is a new live token at GitHub.
    const minting =
      this.#minting.get(name) ??
      this.#mint(permissions, attempt, call).finally(() => this.#minting.delete(name))
    this.#minting.set(name, minting)
    return minting
  }

  async #mint(permissions: Permissions, cause: Attempt, call: Call): Promise<ManagementToken> {
    const { clock, installationId } = this.#options
    // Marked as a read: a token lost on the way dies within the hour and changed nothing, while
    // the caller's own request was certainly not sent.
    const attempt: Attempt = {
      request: `POST /app/installations/${installationId}/access_tokens`,
      writes: false,
      ...(cause.ends ? { ends: true } : {}),
    }
    const { data } = await this.asApp(attempt, call, (octokit, options) =>
      octokit.rest.apps.createInstallationAccessToken({
        installation_id: installationId,
        permissions,
        ...options,
      }),
    ).catch((error: unknown) => {
      if (!(error instanceof ProviderError) || error.kind !== 'invalid') throw error
      throw new ProviderError(
        'denied',
        `${error.message} The installation must grant ${permissionsText(permissions)}.`,
        { outcome: 'notApplied' },
      )
    })
    const mintedAt = clock.now()
    const token = {
      secret: Secret.ofText(data.token),
      mintedAt,
      expiresAt: parseInstant(data.expires_at) ?? mintedAt,
    }
    this.#tokens.set(permissionsText(permissions), token)
    return token
  }

  async #exchange<T>(
    attempt: Attempt,
    signal: AbortSignal,
    authorization: string | null,
    run: Send<T>,
    userAgent?: string,
  ): Promise<{ readonly reply: Reply<T> } | { readonly answer: Answer }> {
    if (signal.aborted) {
      throw new ProviderError('unavailable', `${attempt.request}: given up before sending.`, {
        outcome: 'notApplied',
      })
    }
    const timeout = timeoutOf(this.#options.clock, this.#options.timeout * 1_000)
    try {
      const reply = await this.#options.budget.run(attempt, attempt.request, () =>
        run(this.#octokit, {
          headers: {
            ...(authorization === null ? {} : { authorization }),
            ...(userAgent ? { 'user-agent': userAgent } : {}),
          },
          request: { signal: AbortSignal.any([signal, timeout]) },
        }),
      )
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

  #tellDate(headers: Answer['headers']): void {
    const date = Date.parse(String(headers['date'] ?? ''))
    if (Number.isNaN(date)) return
    this.#skew = (date - Date.parse(this.#options.clock.now())) / 1_000
    this.#options.sawDate?.(instantOf(date))
  }
}

function authorizationOf(token: Secret): string {
  return token.use((bytes) => `token ${bytes.toString('utf8')}`)
}

/** `administration=write, metadata=read`: sorted, so that equal sets have equal texts. */
export function permissionsText(permissions: Permissions): string {
  return Object.entries(permissions)
    .map(([name, level]) => `${name}=${level}`)
    .sort()
    .join(', ')
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
