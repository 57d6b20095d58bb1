import { AppError, errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import { applyPatch, parsePatch } from '../scim/patch.ts'
import { assertSameClass, readUser } from '../scim/resource.ts'
import { userSchema } from '../scim/schema.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { orNull } from './errors.ts'
import type { ScimEndpoint, ScimWrites } from './scim-endpoint.ts'
import { endpointOf, parsedDocument, sameAs } from './scim-endpoint.ts'
import type { StoredUser } from '../store/store.ts'
import type { HttpHost } from './server.ts'

/** People and service accounts (contract §3): one endpoint, told apart by the nhi extension. */
export function userEndpoint(host: HttpHost, base: () => string): ScimEndpoint {
  const { engine, store } = host

  /** Only whose account it is takes a look at the account itself. */
  const isVisible = async (caller: Caller, user: StoredUser): Promise<boolean> => {
    const { people, accounts } = engine.visibility(caller)
    if (user.type === 'person') {
      return people === 'all' || (people !== 'none' && people.directory === user.directory)
    }
    if (accounts === 'all' || accounts === 'none') return accounts === 'all'
    return (await orNull(engine.account(caller, user.id))) !== null
  }

  const writes: ScimWrites = {
    schema: userSchema,
    list: (query) => store.read.listUsers(query),

    async read(caller, id) {
      const document = await store.read.userDocument(caller.tenant, id)
      if (document === null || !(await isVisible(caller, document))) {
        throw errors.notFound({ what: 'User', id })
      }
      return document
    },

    async create(caller, data) {
      const want = readUser(data, {
        dialect: caller.client.dialect,
        entitlement: engine.entitlement,
      })
      if (want.type === 'person') {
        const { person } = await engine.createPerson(caller, want)
        return { id: person.id, operations: [] }
      }
      const { account, operations } = await engine.requestAccount(caller, want)
      return { id: account.id, operations }
    },

    /** PUT and PATCH are one write: PATCH computes the full body first. */
    async update(caller, before, { method, data, guarded }) {
      const { dialect } = caller.client
      const current = parsedDocument(before, base())
      const body =
        method === 'PUT'
          ? (data as JsonObject)
          : applyPatch(current, parsePatch(data, dialect), userSchema, { dialect }).resource
      assertSameClass(current, body)
      const want = readUser(body, { dialect, entitlement: engine.entitlement })
      if (want.type === 'person') {
        const person = sameAs(before, await engine.person(caller, before.id), 'User')
        const { operation } = await engine.updatePerson(caller, person, want)
        return operation ? [operation] : []
      }
      const account = sameAs(before, await engine.account(caller, before.id), 'User')
      if (want.kind !== account.kind) {
        throw errors.mutability({ path: 'kind', reason: `is immutable; it is "${account.kind}".` })
      }
      // Leaving a credential out of a PUT revokes it: only for a client that has read the list.
      const mayRemove = method === 'PATCH' || guarded
      return (await engine.updateAccount(caller, account, want, { mayRemove })).operations
    },

    async remove(caller, { id, type }) {
      if (type === 'account') {
        return (await engine.deleteAccount(caller, await engine.account(caller, id))).operations
      }
      const { operation } = await engine.deletePerson(caller, await engine.person(caller, id))
      return operation ? [operation] : []
    },
  }
  const endpoint = endpointOf(writes)
  return {
    ...endpoint,
    async perform(call) {
      try {
        return await endpoint.perform(call)
      } catch (error) {
        const isLost = error instanceof AppError && error.code === 'notFound'
        if (isLost && call.method !== 'GET' && call.id !== null) {
          await engine.heardFromOld(call.caller, call.id, call.method)
        }
        throw error
      }
    },
  }
}
