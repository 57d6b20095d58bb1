import { setTimeout as sleepFor } from 'node:timers/promises'
import type { Secret } from '../domain/secret.ts'
import type { Clock } from '../domain/time.ts'

/** What every reader works with; a test passes its own clock and does not sleep. */
export interface DirectoryHost {
  readonly clock: Clock
  readonly sleep: (milliseconds: number) => Promise<void>
  /** Absolute path of a file named in the configuration. */
  readonly resolvePath: (file: string) => string
}

export const realSleep = (milliseconds: number): Promise<void> => sleepFor(milliseconds)

/** The reading of a directory stops; the sentence is for the operator and holds no secret. */
export class ReadFailure extends Error {
  override readonly name = 'ReadFailure'
  readonly status: number | null

  constructor(message: string, status: number | null = null) {
    super(message)
    this.status = status
  }
}

export interface Page {
  readonly status: number
  readonly body: unknown
  readonly headers: Headers
}

interface Trouble {
  /** Milliseconds until it may be tried again. */
  readonly wait: number
  readonly trouble: string
}

export interface CallOptions {
  readonly url: string
  readonly authorization: string | null
  /** Sent as a form by POST; else GET. */
  readonly form?: URLSearchParams
  /** Statuses that the caller understands better than we do. */
  readonly understood?: readonly number[]
}

/** A page of 999 users with all that is selected is below 2 MiB. */
const bodyBytesMax = 16 * 1024 * 1024
const timeoutMilliseconds = 30_000
const attemptsMax = 6
/** A directory that asks for more patience than this in one reading is read another time. */
const patienceMilliseconds = 10 * 60_000
/** Okta gives 600 requests a minute to most organisations and counts other tools among them. */
const paceMilliseconds = 120

/** HTTP for one reading: paced, bounded, and repeated where a repetition may help. */
export class Calls {
  readonly #host: DirectoryHost
  readonly #name: string
  readonly #pace: number
  #patience = patienceMilliseconds
  #calls = 0

  constructor(host: DirectoryHost, name: string, pace = paceMilliseconds) {
    this.#host = host
    this.#name = name
    this.#pace = pace
  }

  /** @throws ReadFailure when the answer is final, or patience ran out */
  async send(options: CallOptions): Promise<Page> {
    for (let attempt = 1; ; attempt++) {
      if (this.#calls++ > 0) await this.#host.sleep(this.#pace)
      const outcome = await this.#once(options)
      if (!('wait' in outcome)) return outcome
      this.#patience -= outcome.wait
      if (attempt >= attemptsMax || this.#patience < 0) throw new ReadFailure(outcome.trouble)
      await this.#host.sleep(outcome.wait)
    }
  }

  async #once(call: CallOptions): Promise<Page | Trouble> {
    const { url, authorization, form, understood = [] } = call
    const where = `${this.#name} (${new URL(url).host})`
    let response: Response
    let text: string
    try {
      response = await fetch(url, {
        method: form ? 'POST' : 'GET',
        headers: {
          accept: 'application/json',
          ...(authorization === null ? {} : { authorization }),
        },
        ...(form ? { body: form } : {}),
        // A redirect would carry the token to wherever it points.
        redirect: 'error',
        signal: AbortSignal.timeout(timeoutMilliseconds),
      })
      text = await bodyOf(response)
    } catch (error) {
      if (error instanceof ReadFailure) throw error
      const { cause, message } = error as Error & { readonly cause?: { readonly code?: string } }
      return { wait: 1_000, trouble: `${where} cannot be reached: ${cause?.code ?? message}.` }
    }
    const { status, headers } = response
    if (status === 429 || status === 503 || status === 502 || status === 504) {
      const wait = waitOf(headers, this.#host.clock) ?? 2_000
      return { wait, trouble: `${where} answers ${status} and does not let us read on.` }
    }
    if (!response.ok && !understood.includes(status)) {
      throw new ReadFailure(`${where} answers ${status}${hintOf(status)}.`, status)
    }
    try {
      return { body: JSON.parse(text) as unknown, headers, status }
    } catch {
      if (!response.ok) return { body: null, headers, status }
      throw new ReadFailure(`${where} answers something that is not JSON.`)
    }
  }
}

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    if (size > bodyBytesMax) {
      throw new ReadFailure(`An answer is larger than ${bodyBytesMax} bytes.`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * `Retry-After` in seconds (RFC 9110 §10.2.3; Graph), else `X-Rate-Limit-Reset`, which is a moment in
 * seconds since 1970 (https://developer.okta.com/docs/reference/rl-best-practices/).
 */
function waitOf(headers: Headers, clock: Clock): number | null {
  const after = headers.get('retry-after')
  if (after !== null && /^\d{1,6}$/.test(after)) return Number(after) * 1_000
  const reset = headers.get('x-rate-limit-reset')
  if (reset === null || !/^\d{1,12}$/.test(reset)) return null
  return Math.max(1_000, Number(reset) * 1_000 - Date.parse(clock.now()) + 1_000)
}

function hintOf(status: number): string {
  if (status === 401) return ': the token or secret is wrong, or has expired'
  if (status === 403) return ': the token may not read users'
  return ''
}

/** `SSWS …` or `Bearer …`, made as late as possible. */
export function authorizationOf(scheme: string, token: Secret): string {
  return token.use((bytes) => `${scheme} ${bytes.toString('utf8').trim()}`)
}

/** A link to the next page must not take our token elsewhere. @throws ReadFailure */
export function sameOrigin(link: string, base: string, name: string): string {
  if (!URL.canParse(link) || new URL(link).origin !== new URL(base).origin) {
    throw new ReadFailure(`${name} points to a next page on another host.`)
  }
  return link
}

/** A million people in pages of 200. */
export const pagesMax = 5_000
/** Whoever follows links follows them in circles one day. @throws ReadFailure */
export class Trail {
  readonly #seen = new Set<string>()
  readonly #name: string

  constructor(name: string) {
    this.#name = name
  }

  step(url: string): void {
    if (this.#seen.has(url)) throw new ReadFailure(`${this.#name} leads in a circle of pages.`)
    if (this.#seen.size >= pagesMax) throw new ReadFailure(`${this.#name} has no end of pages.`)
    this.#seen.add(url)
  }
}

export function textOf(value: unknown): string | null {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null
}
