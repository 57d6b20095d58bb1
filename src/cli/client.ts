import type { Routes, Schemas } from './api-types.ts'

export type { ErrorCode, Routes, Schemas } from './api-types.ts'

/** A route of the API, as `/openapi.json` names it: `GET /api/v1/accounts/{id}`. */
export type RouteName = keyof Routes
export type AnswerOf<R extends RouteName> = Routes[R]['answer']

export interface ClientOptions {
  /** Address of the server, e.g. `https://custody.example`. */
  readonly server: string
  /** A client token (`cst_…`) or an access token; a function is asked for each request. */
  readonly token: string | (() => string | Promise<string>)
  /** How long one answer may take; 30 s when omitted. */
  readonly timeoutMilliseconds?: number
  /** Another `fetch`, for proxies and tests. */
  readonly fetch?: typeof globalThis.fetch
}

export interface CallOptions {
  /** The same request again within 24 h gets the first one's answer. */
  readonly idempotencyKey?: string
  /** `If-Match`: only if it is still this version. */
  readonly version?: string
  readonly signal?: AbortSignal
}

export interface Answer<T = unknown> {
  readonly status: number
  /** The JSON it answered with; null when it was none. */
  readonly body: T
  readonly text: string
  readonly headers: Headers
  /** What the write queued: an id, or several with commas between them. */
  readonly operation: string | null
}

type Query = Readonly<Record<string, string | number | boolean | null | undefined>>

/** Only what a route takes, and what it needs is not to be left out. */
type Part<Name extends string, T> = [T] extends [never]
  ? unknown
  : Partial<T> extends T
    ? { readonly [N in Name]?: T }
    : { readonly [N in Name]: T }

export type InputOf<R extends RouteName> = Part<'path', Routes[R]['path']> &
  Part<'query', Routes[R]['query']> &
  Part<'body', Routes[R]['body']> &
  CallOptions

type Arguments<R extends RouteName> =
  Partial<InputOf<R>> extends InputOf<R> ? [input?: InputOf<R>] : [input: InputOf<R>]

/** Routes that answer page by page, and what a page is made of. */
type PageOf<T> = T extends { readonly items: readonly (infer Item)[]; readonly cursor: unknown }
  ? Item
  : T extends { readonly totalResults: number; readonly Resources?: readonly (infer Item)[] }
    ? Item
    : never
export type ListRoute = {
  [R in RouteName]: R extends `GET ${string}`
    ? [PageOf<AnswerOf<R>>] extends [never]
      ? never
      : R
    : never
}[RouteName]

export interface WaitOptions {
  /** Rejects when it has not ended by then; no end of patience when omitted. */
  readonly timeoutMilliseconds?: number
  readonly signal?: AbortSignal
}

export interface Client {
  readonly server: string
  /**
   * One request. @throws CustodyError when it is refused, or there is no answer
   * @example await client.call('POST /api/v1/credentials/{id}/rotate', { path: { id } })
   */
  call<R extends RouteName>(route: R, ...input: Arguments<R>): Promise<AnswerOf<R>>
  /** The same with status and headers. */
  request<R extends RouteName>(route: R, ...input: Arguments<R>): Promise<Answer<AnswerOf<R>>>
  /** The rows of a list, page after page, read as they are asked for. */
  each<R extends ListRoute>(route: R, ...input: Arguments<R>): AsyncIterable<PageOf<AnswerOf<R>>>
  /** Asks until an operation has ended, or needs an operator. @throws CustodyError */
  waitFor(operation: string, options?: WaitOptions): Promise<Schemas['Operation']>
  /** One request below the server's base, untyped. @throws CustodyError */
  send(
    method: string,
    path: string,
    input?: CallOptions & { readonly body?: unknown },
  ): Promise<Answer>
}

/** What the server refused, in its own words; or why there is no answer. */
export class CustodyError extends Error {
  override readonly name = 'CustodyError'
  /** The status; null when there was no answer. */
  readonly status: number | null
  /** Of the catalogue; of SCIM its `scimType`; `unreachable` or `timeout` without an answer. */
  readonly code: string | null
  /** The id of the request in the server's log. */
  readonly request: string | null
  /** Seconds that the server asks for. */
  readonly retryAfter: number | null

  constructor(
    message: string,
    facts: {
      readonly status: number | null
      readonly code: string | null
      readonly request?: string | null
      readonly retryAfter?: number | null
    },
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.status = facts.status
    this.code = facts.code
    this.request = facts.request ?? null
    this.retryAfter = facts.retryAfter ?? null
  }
}

export const standardTimeoutMilliseconds = 30_000
const poll = { firstMilliseconds: 100, longestMilliseconds: 2_000 }

/**
 * A client of the whole API, typed by `/openapi.json`. It keeps nothing, follows no redirect (that
 * would carry the token to wherever it points) and repeats nothing by itself.
 * @throws TypeError when the address is none
 */
export function createClient(options: ClientOptions): Client {
  const { token, timeoutMilliseconds = standardTimeoutMilliseconds } = options
  const ask = options.fetch ?? globalThis.fetch
  if (!/^https?:/.test(new URL(options.server).protocol)) {
    throw new TypeError(`"${options.server}" is not an http or https address.`)
  }
  const server = options.server.replace(/\/+$/, '')

  const send: Client['send'] = async (method, path, input = {}) => {
    const { body, idempotencyKey, version, signal } = input
    const bearer = typeof token === 'string' ? token : await token()
    const isScim = path.startsWith('/scim/')
    const patience = AbortSignal.timeout(timeoutMilliseconds)
    const { response, text } = await ask(`${server}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        accept:
          'application/json, application/scim+json, application/problem+json, text/plain;q=0.5',
        ...(body === undefined
          ? {}
          : { 'content-type': isScim ? 'application/scim+json' : 'application/json' }),
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        ...(version === undefined ? {} : { 'if-match': version }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    })
      .then(async (response) => ({ response, text: await response.text() }))
      .catch((cause: unknown) => {
        if (signal?.aborted) throw cause
        throw unanswered(server, timeoutMilliseconds, cause)
      })
    const answer = parsed(text)
    if (!response.ok) throw refusal(response, answer)
    const operation = response.headers.get('custody-operation')
    return { status: response.status, body: answer, text, headers: response.headers, operation }
  }

  const request = async (route: string, input: AnyInput = {}): Promise<Answer> => {
    const [method = '', path = ''] = route.split(' ')
    const { path: places = {}, query = {}, ...rest } = input
    const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
      const place = places[name]
      if (place === undefined) throw new TypeError(`${route} needs path.${name}.`)
      return encodeURIComponent(place)
    })
    const asked = new URLSearchParams(
      Object.entries(query).flatMap(([name, value]): [string, string][] =>
        value === undefined || value === null ? [] : [[name, String(value)]],
      ),
    ).toString()
    return send(method, asked === '' ? filled : `${filled}?${asked}`, rest)
  }

  async function* each(route: string, input: AnyInput = {}): AsyncGenerator {
    const isScim = route.includes(' /scim')
    // The feed of events says what comes after; a list goes on from its cursor.
    const name = route.endsWith('/events') ? 'after' : 'cursor'
    let cursor: unknown = input.query?.[name] ?? (isScim ? '' : undefined)
    for (;;) {
      const query = { ...input.query, [name]: cursor as string | undefined }
      const page = (await request(route, { ...input, query })).body as AnyPage
      yield* page.items ?? page.Resources ?? []
      cursor = (isScim ? page.nextCursor : page.cursor) ?? null
      if (cursor === null || page.more === false) return
    }
  }

  const waitFor: Client['waitFor'] = async (id, { timeoutMilliseconds: longest, signal } = {}) => {
    const until = longest === undefined ? Infinity : performance.now() + longest
    for (let pause = poll.firstMilliseconds; ; pause *= 2) {
      const path = `/api/v1/operations/${encodeURIComponent(id)}`
      const { body } = await send('GET', path, signal ? { signal } : {})
      const operation = body as Schemas['Operation']
      if (operation.finishedAt !== null || operation.status === 'needsOperator') return operation
      if (performance.now() >= until) {
        const message = `Operation ${id} is still ${operation.status}.`
        throw new CustodyError(message, { status: null, code: 'timeout' })
      }
      await sleep(Math.min(pause, poll.longestMilliseconds, until - performance.now()), signal)
    }
  }

  return {
    server,
    send,
    request: request as Client['request'],
    call: (async (route: string, input?: AnyInput) =>
      (await request(route, input)).body) as Client['call'],
    each: each as Client['each'],
    waitFor,
  }
}

type AnyInput = CallOptions & {
  readonly path?: Readonly<Record<string, string>>
  readonly query?: Query
  readonly body?: unknown
}

interface AnyPage {
  readonly items?: readonly unknown[]
  readonly cursor?: string | null
  readonly more?: boolean
  readonly Resources?: readonly unknown[]
  readonly nextCursor?: string
}

function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const timer = setTimeout(done, Math.max(0, milliseconds))
    signal?.addEventListener('abort', done)
    function done(): void {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      if (signal?.aborted) reject(signal.reason as Error)
      else resolve()
    }
  })
}

function parsed(text: string): unknown {
  if (text === '') return null
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

/** The server's own sentence: `detail` in RFC 9457 and in SCIM errors alike. */
function refusal(response: Response, body: unknown): CustodyError {
  const { detail, title, code, scimType, instance } = (body ?? {}) as Readonly<
    Record<string, unknown>
  >
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)
  const seconds = Number(response.headers.get('retry-after') ?? NaN)
  return new CustodyError(
    text(detail) ?? text(title) ?? `The server answered ${response.status} ${response.statusText}.`,
    {
      status: response.status,
      code: text(code) ?? text(scimType),
      request: text(instance) ?? response.headers.get('x-request-id'),
      retryAfter: Number.isNaN(seconds) ? null : seconds,
    },
  )
}

function unanswered(server: string, milliseconds: number, cause: unknown): CustodyError {
  const error = cause as Error & { readonly cause?: { readonly code?: string } }
  return error.name === 'TimeoutError'
    ? new CustodyError(
        `${server} did not answer within ${milliseconds / 1_000} s`,
        { status: null, code: 'timeout' },
        cause,
      )
    : new CustodyError(
        `${server} cannot be reached (${error.cause?.code ?? error.message})`,
        { status: null, code: 'unreachable' },
        cause,
      )
}
