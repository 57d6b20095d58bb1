import { loggedIn, loggedInAgain, session } from './session.js'
import { signal } from './signal.js'

/** A refusal, in the server's own words. */
/**
 * Whether the same again may end otherwise. What a role may not do, what is not there, and what is
 * done already does not get better by trying; a plan that changed is decided anew.
 * @param {Error | null} error
 */
export function mayBeTriedAgain(error) {
  if (!(error instanceof Refusal)) return error !== null
  return ![403, 404, 410].includes(error.status) && error.code !== 'wrongState'
}

export class Refusal extends Error {
  /** @param {{ status: number, code: string, detail: string, request: string | null, retryAfter: number | null }} facts */
  constructor(facts) {
    super(facts.detail)
    this.name = 'Refusal'
    this.status = facts.status
    this.code = facts.code
    this.request = facts.request
    this.retryAfter = facts.retryAfter
  }
}

/** No answer came: the server is away, or the network is. */
export class Unreachable extends Error {
  constructor() {
    super(
      navigator.onLine
        ? 'The server does not answer. It may be restarting; nothing was lost here.'
        : 'This computer is offline. Nothing was lost here; it goes on when the network is back.',
    )
    this.name = 'Unreachable'
  }
}

/** Whether the last request was answered at all. */
export const isReachable = signal(true)

/** @typedef {{ readonly key?: string, readonly signal?: AbortSignal, readonly headers?: Readonly<Record<string, string>> }} CallOptions */

/**
 * One request to the API. A session that ended is asked for again and the request repeated: nothing
 * that was typed is lost. One that got no answer is repeated when that does no harm: a read, or an
 * act with its Idempotency-Key, which the server does once.
 * @param {string} method
 * @param {string} route e.g. `/api/v1/accounts?limit=50`
 * @param {unknown} [body]
 * @param {CallOptions} [options]
 * @returns {Promise<any>} the JSON answered; null when there was none
 * @throws {Refusal | Unreachable}
 */
export async function call(method, route, body, options = {}) {
  const answer = await request(method, route, body, options)
  return answer.json
}

/**
 * A key for one act, however often it is sent. `randomUUID` is there only on pages that came over
 * HTTPS or from this machine itself.
 */
export function newKey() {
  return crypto.randomUUID?.() ?? crypto.getRandomValues(new BigUint64Array(2)).join('-')
}

const patience = [300, 1_000, 2_500]

/**
 * @param {string} method
 * @param {string} route
 * @param {unknown} body
 * @param {CallOptions} options
 * @returns {Promise<{ json: any, text: string, headers: Headers }>}
 */
export async function request(method, route, body, options) {
  const mayRepeat = method === 'GET' || options.key !== undefined
  for (let attempt = 0; ; attempt += 1) {
    const response = await send(method, route, body, options)
    const wait = patience[attempt]
    if (response === null || (mayRepeat && response.status === 503)) {
      if (mayRepeat && wait !== undefined) {
        await new Promise((resolve) => setTimeout(resolve, wait))
        continue
      }
      if (response === null) {
        isReachable.set(false)
        throw new Unreachable()
      }
    }
    isReachable.set(true)
    if (mayRepeat && response.status === 429 && attempt < 5) {
      const seconds = Number(response.headers.get('retry-after') ?? 1)
      await new Promise((resolve) => setTimeout(resolve, Math.min(10, seconds || 1) * 1_000))
      continue
    }
    if (response.status === 401 && session.get()) {
      await loggedInAgain()
      continue
    }
    const text = await response.text()
    const json = parsed(text)
    if (!response.ok) throw refusalOf(response, json)
    return { json, text, headers: response.headers }
  }
}

/**
 * @param {string} method
 * @param {string} route
 * @param {unknown} body
 * @param {CallOptions} options
 */
async function send(method, route, body, options) {
  const isScim = route.startsWith('/scim/')
  /** @type {Record<string, string>} */
  const headers = { 'custody-console': '1', ...options.headers }
  if (body !== undefined)
    headers['content-type'] = isScim ? 'application/scim+json' : 'application/json'
  if (options.key !== undefined) headers['idempotency-key'] = options.key
  try {
    return await fetch(route, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(options.signal ? { signal: options.signal } : {}),
    })
  } catch (error) {
    if (options.signal?.aborted) throw error
    return null
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return text === '' ? null : JSON.parse(text)
  } catch {
    return null
  }
}

/**
 * @param {Response} response
 * @param {any} problem RFC 9457 or SCIM Error
 */
function refusalOf(response, problem) {
  const retryAfter = Number(response.headers.get('retry-after') ?? NaN)
  return new Refusal({
    status: response.status,
    code: String(problem?.code ?? problem?.scimType ?? ''),
    detail: String(
      problem?.detail ??
        `The server answered ${response.status} ${response.statusText || 'without a sentence'}.`,
    ),
    request: response.headers.get('x-request-id'),
    retryAfter: Number.isNaN(retryAfter) ? null : retryAfter,
  })
}

/**
 * Every item of a paged list, page after page, up to `most`.
 * @param {string} route
 * @param {number} most
 * @param {(items: any[]) => void} [onPage]
 * @returns {Promise<any[]>}
 */
export async function listAll(route, most, onPage) {
  /** @type {any[]} */
  const items = []
  let cursor = null
  do {
    const joined = `${route}${route.includes('?') ? '&' : '?'}limit=200${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
    const page = await call('GET', joined)
    items.push(...page.items)
    onPage?.(items)
    cursor = page.cursor ?? null
  } while (cursor !== null && items.length < most)
  return items.slice(0, most)
}

/** Asks who is logged in. @returns {Promise<void>} */
export async function findSession() {
  const answer = await send('GET', '/api/v1/session', undefined, {})
  if (answer === null) throw new Unreachable()
  if (!answer.ok) throw refusalOf(answer, parsed(await answer.text()))
  const found = await answer.json()
  if (found.client === null) session.set(null)
  else loggedIn(found)
}

/**
 * @param {{ token: string } | { code: string }} shown
 * @returns {Promise<void>}
 * @throws {Refusal | Unreachable}
 */
export async function logIn(shown) {
  const answer = await send('POST', '/api/v1/session', shown, {})
  if (answer === null) throw new Unreachable()
  const json = parsed(await answer.text())
  if (!answer.ok) throw refusalOf(answer, json)
  loggedIn(json)
}

/** @returns {Promise<void>} */
export async function logOut() {
  await call('DELETE', '/api/v1/session')
  window.location.assign('/console/')
}
