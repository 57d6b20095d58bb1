import { setImmediate } from 'node:timers/promises'
import type { Dialect } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Group } from '../domain/group.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { does } from '../scim/dialects.ts'
import { readGroup, readGroupPatch } from '../scim/group.ts'
import { groupSchema } from '../scim/schema.ts'
import type { ListQuery, Page, Store, StoredDocument } from '../store/store.ts'
import type { ScimEndpoint } from './scim-endpoint.ts'
import { endpointOf, parsedDocument, sameAs } from './scim-endpoint.ts'
import type { HttpHost } from './server.ts'

const membersFor = (dialect: Dialect) => ({ keepsUnknown: does(dialect, 'keepsUnknownMembers') })

/** Groups; their members are read only where the answer shows them. */
export function groupEndpoint(host: HttpHost, base: () => string): ScimEndpoint {
  const { engine, store } = host

  const groupOf = async (caller: Caller, before: StoredDocument): Promise<Group> =>
    sameAs(before, await engine.group(caller, before.id), 'Group')

  return endpointOf({
    schema: groupSchema,
    list: (query, shows) => listGroups(store, query, shows('members')),

    async read(caller, id, shows) {
      // Throws for a group of another directory, too.
      await engine.group(caller, id)
      const members = shows('members')
      const document = await store.read.groupDocument(caller.tenant, id, { members })
      if (!document) throw errors.notFound({ what: 'Group', id })
      return document
    },

    async create(caller, data) {
      const { dialect } = caller.client
      const { group, members } = readGroup(data, { dialect })
      const { id } = await engine.createGroup(caller, group, members, membersFor(dialect))
      return { id, operations: [] }
    },

    async update(caller, before, { method, data, guarded }) {
      const { dialect } = caller.client
      const current = await groupOf(caller, before)
      const options = { exact: guarded, ...membersFor(dialect) }
      if (method === 'PUT') {
        const { group, members: add } = readGroup(data, { dialect })
        const members = { replace: true, add, remove: [] }
        await engine.updateGroup(caller, current, { group, members }, options)
        return []
      }
      // A PATCH asks once per operation, and SQLite answers at once: each time others get a turn.
      const among = async (ids: readonly string[]) => {
        await setImmediate()
        return store.read.membersAmong(caller.tenant, current.id, ids)
      }
      const source = { among, all: () => engine.membersOf(current) }
      const want = await readGroupPatch(data, parsedDocument(before, base()), source, { dialect })
      await engine.updateGroup(caller, current, want, options)
      return []
    },

    async remove(caller, before) {
      await engine.deleteGroup(caller, await groupOf(caller, before))
      return []
    },
  })
}

/** Bytes of members in one page; the page then ends early (RFC 7644 §3.4.2.4: at most `count`). */
export const memberBytesMax = 4_194_304

/** A page of groups is found without members, which then are read group by group. */
async function listGroups(
  store: Store,
  query: ListQuery,
  members: boolean,
): Promise<Page<StoredDocument>> {
  const page = await store.read.listGroups({ ...query, members: false })
  if (!members) return page
  const rows: StoredDocument[] = []
  let bytes = 0
  for (const row of page.rows) {
    const full = await store.read.groupDocument(query.tenant, row.id, { members: true })
    rows.push(full ?? row)
    bytes += full?.members?.length ?? 0
    if (bytes > memberBytesMax && rows.length < page.rows.length) {
      // Not read anew: groups that went meanwhile would move the end of the page.
      const places = page.places?.slice(0, rows.length)
      const next = places?.at(-1)?.after ?? row.id
      return { ...page, rows, next, ...(places && { places }) }
    }
    if (rows.length % 50 === 0) await setImmediate()
  }
  return { ...page, rows }
}
