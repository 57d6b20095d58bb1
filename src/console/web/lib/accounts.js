import { call, Refusal } from './api.js'

export const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/**
 * An account as the lists of the console show it, from SCIM or from the API.
 * @typedef {object} AccountRow
 * @property {string} id
 * @property {string} userName
 * @property {string} status
 * @property {{ type: string, id: string } | null} owner
 * @property {string | null} environment
 * @property {string | null} expiresAt
 * @property {string | null} purpose
 * @property {string} updatedAt
 */

/** @param {any} resource @returns {AccountRow} */
function fromScim(resource) {
  const more = resource[nhi] ?? {}
  return {
    id: resource.id,
    userName: resource.userName,
    status: more.status,
    owner: more.owner ? { type: more.owner.type ?? 'User', id: more.owner.value } : null,
    environment: more.environment ?? null,
    expiresAt: more.expiresAt ?? null,
    purpose: more.purpose ?? null,
    updatedAt: resource.meta.lastModified,
  }
}

/**
 * What a list of accounts is narrowed to; a SCIM filter stands alone, the others go through indexes.
 * @typedef {{ filter: string, q: string, status: string, owner: string, expiresBefore: string, expiresAfter: string }} Wanted
 */

/** @param {URLSearchParams} query @returns {Wanted} */
export function wantedOf(query) {
  const text = (/** @type {string} */ name) => query.get(name) ?? ''
  return {
    filter: text('filter'),
    q: text('q'),
    status: text('status'),
    owner: text('owner'),
    expiresBefore: text('expiresBefore'),
    expiresAfter: text('expiresAfter'),
  }
}

/** `+30d` is a day counted from today, so that a saved view stays what it says. @param {string} at */
function dateOf(at) {
  const days = /^([+-]\d{1,4})d$/.exec(at)?.[1]
  return days === undefined ? at : dayAt(Number(days))
}

/** @param {number} days from now */
export function dayAt(days) {
  return `${new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)}T00:00:00Z`
}

/** @param {Wanted} wanted */
export function routeOf({ filter, ...plain }) {
  if (filter !== '') return `/scim/v2/Users?filter=${encodeURIComponent(onlyAccounts(filter))}`
  const given = Object.entries({
    ...plain,
    expiresBefore: dateOf(plain.expiresBefore),
    expiresAfter: dateOf(plain.expiresAfter),
  })
  const parameters = new URLSearchParams(given.filter(([, value]) => value !== ''))
  return `/api/v1/accounts${parameters.size > 0 ? `?${parameters}` : ''}`
}

/** Attributes of accounts alone, which the filter box takes without the name of their schema. */
const short =
  /(?<![\w:.$-])(status|environment|purpose|labels|kind|owner|expiresAt|protected)(?=(?:\.\w+)?[\s)]|$)/gi

/**
 * The filter as the server takes it. People are users, too: a filter on what both have would list
 * them, and so would one of its alternatives.
 * @param {string} filter
 */
export function onlyAccounts(filter) {
  const full = filter
    .split(/("(?:[^"\\]|\\.)*")/)
    .map((part, i) => (i % 2 === 1 ? part : part.replace(short, `${nhi}:$1`)))
    .join('')
  return `(${full}) and ${nhi}:kind pr`
}

/**
 * One page, whichever of the two it comes from.
 * @param {string} route as `routeOf` made it
 * @param {string | null} cursor
 * @param {number} limit
 * @param {AbortSignal} [signal]
 * @returns {Promise<{ items: readonly AccountRow[], cursor: string | null }>}
 */
export async function accountPage(route, cursor, limit, signal) {
  const isScim = route.startsWith('/scim/')
  const joint = route.includes('?') ? '&' : '?'
  const more = isScim
    ? `count=${limit}&cursor=${encodeURIComponent(cursor ?? '')}`
    : `limit=${limit}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
  const page = await call(
    'GET',
    `${route}${joint}${more}`,
    undefined,
    signal ? { signal } : {},
  ).catch((error) => {
    // It counts in the filter as it was sent, which is longer than the one that was typed.
    if (error instanceof Refusal) error.message = error.message.replace(/ \(at character \d+\)/, '')
    throw error
  })
  return isScim
    ? { items: (page.Resources ?? []).map(fromScim), cursor: page.nextCursor ?? null }
    : { items: page.items, cursor: page.cursor ?? null }
}

/** What can be done with many accounts at once. @typedef {'disable' | 'enable' | 'certify' | 'retire' | 'rotate'} Act */

/** @type {Readonly<Record<Act, { title: string, said: string, isDestructive: boolean }>>} */
export const acts = {
  disable: {
    title: 'Disable',
    said: 'Every key is switched off, and can be switched on again.',
    isDestructive: true,
  },
  enable: {
    title: 'Enable',
    said: 'The same keys work again, where policy lets them.',
    isDestructive: false,
  },
  certify: {
    title: 'Certify',
    said: 'Said to be needed still; the end date moves to the cap.',
    isDestructive: false,
  },
  rotate: {
    title: 'Rotate',
    said: 'Each active credential gets a new key; the old one ends when consumers have moved.',
    isDestructive: false,
  },
  retire: {
    title: 'Retire',
    said: 'Every key is ended for good. This cannot be taken back.',
    isDestructive: true,
  },
}

/**
 * Does one act to one account; repeating it with the same key does it once.
 * @param {Act} act
 * @param {{ id: string, credentials?: readonly { id: string, status: string }[] }} account
 * @param {{ key: string, reason: string | null }} given
 */
export async function perform(act, account, { key, reason }) {
  const body = reason === null ? {} : { reason }
  if (act === 'certify') {
    return call('POST', `/api/v1/accounts/${account.id}/certify?extend=true`, body, { key })
  }
  if (act !== 'rotate') {
    return call('POST', `/api/v1/accounts/${account.id}/${act}`, body, { key })
  }
  const found =
    account.credentials ?? (await call('GET', `/api/v1/accounts/${account.id}`)).credentials
  const active = found.filter((/** @type {any} */ c) => c.status === 'active')
  if (active.length === 0) throw new Error('It has no active credential to rotate.')
  for (const { id } of active) {
    await call('POST', `/api/v1/credentials/${id}/rotate`, {}, { key: `${key}-${id}` })
  }
}
