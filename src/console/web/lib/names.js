import { useEffect, useState } from 'preact/hooks'
import { call } from './api.js'

/** Names that rows point to, asked for once each: a list of a hundred rows names few owners. @type {Map<string, Promise<string | null>>} */
const asked = new Map()
const askedMax = 2_000

/** @type {Readonly<Record<'account' | 'person' | 'group', (id: string) => Promise<string | null>>>} */
const ask = {
  account: async (id) => (await call('GET', `/api/v1/accounts/${id}`)).userName,
  person: async (id) => {
    const found = await call('GET', `/api/v1/owners/${id}`)
    return found.displayName ?? found.userName
  },
  group: async (id) =>
    (await call('GET', `/scim/v2/Groups/${id}?attributes=displayName`)).displayName,
}

/**
 * The name of an account, a person or a group; null while it is not known, or not to be seen.
 * @param {'account' | 'person' | 'group'} kind
 * @param {string | null} id
 * @returns {string | null}
 */
export function useName(kind, id) {
  const [name, setName] = useState(/** @type {string | null} */ (null))
  useEffect(() => {
    if (id === null) return undefined
    let isGone = false
    const key = `${kind} ${id}`
    let found = asked.get(key)
    if (found === undefined) {
      if (asked.size >= askedMax) asked.clear()
      found = ask[kind](id).catch(() => {
        asked.delete(key)
        return null
      })
      asked.set(key, found)
    }
    void found.then((text) => {
      if (!isGone) setName(text)
    })
    return () => {
      isGone = true
    }
  }, [kind, id])
  return name
}
