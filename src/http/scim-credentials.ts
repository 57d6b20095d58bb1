import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import { applyPatch, parsePatch } from '../scim/patch.ts'
import { checkImmutable, readCredential } from '../scim/resource.ts'
import { credentialSchema } from '../scim/schema.ts'
import type { ScimEndpoint } from './scim-endpoint.ts'
import { endpointOf, parsedDocument, sameAs } from './scim-endpoint.ts'
import type { HttpHost } from './server.ts'

/** Credentials as resources of their own (contract §3): POST requests, DELETE revokes, PATCH re-plans. */
export function credentialEndpoint(host: HttpHost, base: () => string): ScimEndpoint {
  const { engine, store } = host
  return endpointOf({
    schema: credentialSchema,
    list: (query) => store.read.listCredentials(query),

    async read(caller, id) {
      const { credential } = await engine.credential(caller, id)
      const document = await store.read.credentialDocument(caller.tenant, id)
      if (!document || ['revoked', 'released'].includes(credential.status)) {
        throw errors.notFound({ what: 'Credential', id })
      }
      return document
    },

    async create(caller, data) {
      const want = readCredential(data, {
        dialect: caller.client.dialect,
        entitlement: engine.entitlement,
      })
      const { credential, operation } = await engine.requestCredential(caller, want)
      return { id: credential.id, operations: operation ? [operation] : [] }
    },

    async update(caller, before, { method, data }) {
      const { dialect } = caller.client
      const current = parsedDocument(before, base())
      const body =
        method === 'PUT'
          ? (data as JsonObject)
          : applyPatch(current, parsePatch(data, dialect), credentialSchema, { dialect }).resource
      checkImmutable(current, body, credentialSchema)
      const want = readCredential({ ...keptBy(method, current), ...body }, { dialect })
      const { credential } = await engine.credential(caller, before.id)
      sameAs(before, credential, 'Credential')
      const { operation } = await engine.updateCredential(caller, credential, want)
      return operation ? [operation] : []
    },

    remove: async (caller, { id }) => [await engine.revokeCredential(caller, id)],
  })
}

/**
 * What a write of a credential may leave out and still mean the same (RFC 7644 §3.5.1): what is
 * immutable, and of a PUT the scopes, for a client that does not know them must not take them away.
 */
function keptBy(method: string, current: JsonObject): JsonObject {
  const immutable = ['schemas', 'serviceAccount', 'provider', 'kind', 'deliverTo', 'entitlement']
  const kept = method === 'PUT' ? [...immutable, 'scopes', 'scopesFrom'] : immutable
  return Object.fromEntries(
    kept.flatMap((name) => (current[name] === undefined ? [] : [[name, current[name]]])),
  )
}
