import { isId } from '../domain/ids.ts'
import type { ApiClient } from './connection.ts'
import type { Row } from './terminal.ts'

/** Of one filter; each is a look by id. */
const most = 40
/** Names kept while a list goes by; most accounts have few owners. */
const keptMax = 10_000

/**
 * Puts names beside the ids of people and groups, for tables that people read: a reference such as
 * `owner`, `{ type, id }`, gets a `display`. Whom the caller may not see, or who is gone, stays an id.
 */
export function namesOf(api: ApiClient): (rows: readonly Row[]) => Promise<readonly Row[]> {
  const known = new Map<string, string | null>()

  const learn = async (endpoint: 'Users' | 'Groups', ids: readonly string[]): Promise<void> => {
    const attribute = endpoint === 'Users' ? 'userName' : 'displayName'
    for (let at = 0; at < ids.length; at += most) {
      const some = ids.slice(at, at + most)
      const filter = some.map((id) => `id eq ${JSON.stringify(id)}`).join(' or ')
      const query = new URLSearchParams({ attributes: attribute, count: String(most), filter })
      for (const id of some) known.set(id, null)
      try {
        const { body } = await api.send('GET', `/scim/v2/${endpoint}?${query}`)
        const found = (body as { Resources?: readonly Row[] } | null)?.Resources ?? []
        for (const row of found) known.set(String(row['id']), String(row[attribute]))
      } catch {
        // Whoever may see the list need not see the people in it.
      }
    }
  }

  return async (rows) => {
    if (known.size > keptMax) known.clear()
    const wanted = { Users: new Set<string>(), Groups: new Set<string>() }
    for (const reference of rows.flatMap(referencesOf)) {
      if (!known.has(reference.id)) wanted[endpointOf(reference)].add(reference.id)
    }
    await learn('Users', [...wanted.Users])
    await learn('Groups', [...wanted.Groups])
    return rows.map((row) => named(row, known))
  }
}

interface Reference {
  readonly type: string
  readonly id: string
}

const endpointOf = ({ type }: Reference): 'Users' | 'Groups' =>
  type === 'Group' ? 'Groups' : 'Users'

function isReference(value: unknown): value is Reference {
  const { type, id } = (value ?? {}) as Partial<Reference>
  return (type === 'User' || type === 'Group') && typeof id === 'string' && isId(id)
}

function referencesOf(row: Row): readonly Reference[] {
  return Object.values(row).filter(isReference)
}

function named(row: Row, known: ReadonlyMap<string, string | null>): Row {
  const entries = Object.entries(row).map(([key, value]) => {
    const name = isReference(value) ? known.get(value.id) : null
    return [key, name ? { ...(value as Reference), display: name } : value] as const
  })
  return Object.fromEntries(entries)
}
