import { useEffect } from 'preact/hooks'
import { call } from './api.js'
import { link } from './router.js'
import { signal, useSignal } from './signal.js'

/**
 * What people call a thing, where only its id is known.
 * @typedef {{ readonly name: string, readonly href: string | null }} Name
 */

/** null: asked for, and not found (deleted, or not to be seen). @type {Map<string, Name | null>} */
const known = new Map()
const turn = signal(0)
/** @type {Map<string, string>} */
let wanted = new Map()
let isAsking = false

/** Ids of one request; its filter stays well below what a URL may hold. */
const most = 40
/** What is called `user` may be an account or a person. */
const kinds = new Set(['account', 'person', 'user', 'group', 'credential'])
const knownMax = 5_000

/**
 * What an id stands for; null until it is known, and when it has no name or none to be seen.
 * @param {string | null} kind `account`, `person`, `user`, `group` or `credential`
 * @param {string | null} id
 * @returns {Name | null}
 */
export function useNamed(kind, id) {
  useSignal(turn)
  useEffect(() => {
    if (kind === null || id === null || !kinds.has(kind) || known.has(id)) return
    wanted.set(id, kind)
    if (isAsking) return
    isAsking = true
    // Every row of a table asks: all of them become one request.
    setTimeout(ask, 10)
  }, [kind, id])
  return id === null ? null : (known.get(id) ?? null)
}

/** As `useNamed`, the name alone. @param {string | null} kind @param {string | null} id @returns {string | null} */
export function useName(kind, id) {
  return useNamed(kind, id)?.name ?? null
}

async function ask() {
  const all = [...wanted]
  wanted = new Map()
  for (const id of known.keys()) {
    if (known.size <= knownMax) break
    known.delete(id)
  }
  for (const [id] of all) known.set(id, null)
  const of = (/** @type {string[]} */ ...which) =>
    all.filter(([, kind]) => which.includes(kind)).map(([id]) => id)
  try {
    const users = of('account', 'person', 'user')
    const below = await inChunks('Credentials', 'serviceAccount,kind', of('credential'))
    const accounts = below.map((c) => String(c.serviceAccount?.value))
    const more = [...new Set(accounts)].filter((id) => !known.get(id) && !users.includes(id))
    for (const user of await inChunks('Users', 'userName,displayName', [...users, ...more])) {
      known.set(user.id, nameOf(user))
    }
    for (const group of await inChunks('Groups', 'displayName', of('group'))) {
      known.set(group.id, { name: group.displayName, href: null })
    }
    for (const { id, kind, serviceAccount } of below) {
      const account = known.get(String(serviceAccount?.value))
      if (account) known.set(id, { name: `${account.name} ${kind}`, href: account.href })
    }
  } catch {
    // Ids are shown instead; the screen itself says when nothing can be read.
  }
  isAsking = wanted.size > 0
  if (isAsking) setTimeout(ask, 10)
  turn.set(turn.get() + 1)
}

/** @param {any} user @returns {Name} */
function nameOf({ id, schemas, userName, displayName }) {
  const isAccount = schemas.some((/** @type {string} */ s) => s.includes(':nhi:'))
  return isAccount
    ? { name: userName, href: link(['account', id]) }
    : { name: displayName ?? userName, href: link(['leaver'], { person: id }) }
}

/** @param {string} endpoint @param {string} attributes @param {readonly string[]} ids @returns {Promise<any[]>} */
async function inChunks(endpoint, attributes, ids) {
  const found = []
  for (let at = 0; at < ids.length; at += most) {
    const filter = ids
      .slice(at, at + most)
      .map((id) => `id eq ${JSON.stringify(id)}`)
      .join(' or ')
    const query = new URLSearchParams({ attributes, count: String(most), filter })
    const { Resources } = await call('GET', `/scim/v2/${endpoint}?${query}`)
    found.push(...(Resources ?? []))
  }
  return found
}

/**
 * The id of an account or person by its name; null when nobody is called so.
 * @param {string} name
 * @returns {Promise<string | null>}
 */
export async function idOf(name) {
  const filter = `userName eq ${JSON.stringify(name)}`
  const query = new URLSearchParams({ attributes: 'userName', count: '1', filter })
  const { Resources } = await call('GET', `/scim/v2/Users?${query}`)
  return Resources?.[0]?.id ?? null
}

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** @param {unknown} value */
export function isUuid(value) {
  return typeof value === 'string' && uuid.test(value)
}
