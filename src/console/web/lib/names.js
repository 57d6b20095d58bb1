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
const kinds = new Set(['account', 'person', 'credential', 'user'])

/**
 * The name behind an id; null until it is known, and when it has none.
 * @param {string | null} type `account`, `person`, `user` (either) or `credential`
 * @param {string | null} id
 * @returns {Name | null}
 */
export function useName(type, id) {
  useSignal(turn)
  useEffect(() => {
    if (type === null || id === null || !kinds.has(type) || known.has(id)) return
    wanted.set(id, type)
    if (isAsking) return
    isAsking = true
    // Every row of a table asks: all of them become one request.
    setTimeout(ask, 10)
  }, [type, id])
  return id === null ? null : (known.get(id) ?? null)
}

async function ask() {
  const all = [...wanted]
  wanted = new Map()
  const users = all.filter(([, type]) => type !== 'credential').map(([id]) => id)
  const credentials = all.filter(([, type]) => type === 'credential').map(([id]) => id)
  for (const [id] of all) known.set(id, null)
  try {
    const below = await inChunks('Credentials', 'serviceAccount,kind', credentials)
    const accounts = below.map((c) => String(c.serviceAccount?.value))
    const more = accounts.filter((id) => !known.has(id) && !users.includes(id))
    for (const user of await inChunks('Users', 'userName,userType', [...users, ...more])) {
      const isAccount = user.schemas.some((/** @type {string} */ s) => s.includes(':nhi:'))
      const href = isAccount ? link(['account', user.id]) : link(['leaver', user.id])
      known.set(user.id, { name: user.userName, href })
    }
    for (const credential of below) {
      const of = known.get(String(credential.serviceAccount?.value))
      if (of) known.set(credential.id, { name: `${of.name} ${credential.kind}`, href: of.href })
    }
  } catch {
    // Ids are shown instead; the screen itself says when nothing can be read.
  }
  isAsking = wanted.size > 0
  if (isAsking) setTimeout(ask, 10)
  turn.set(turn.get() + 1)
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
