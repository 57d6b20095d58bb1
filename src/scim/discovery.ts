import type { Json, JsonObject } from '../domain/json.ts'
import { bulkBytesMax, bulkOperationsMax } from './bulk.ts'
import { cursorSecondsMax } from './cursor.ts'
import type { ResourceSchema, Schema } from './schema.ts'
import { resourceSchemas } from './schema.ts'

export const pageMax = 200
export const pageStandard = 100

const coreUrn = 'urn:ietf:params:scim:schemas:core:2.0'

/**
 * What this service supports today (RFC 7643 §5): identity providers steer by it, so it promises
 * nothing that would answer 501.
 * @param baseUrl the SCIM base, e.g. `https://custody.example/scim/v2`
 */
export function serviceProviderConfig(baseUrl: string): JsonObject {
  const documentationUri = `${baseUrl.replace(/\/scim(?:\/v2)?$/, '')}/openapi.json`
  return {
    schemas: [`${coreUrn}:ServiceProviderConfig`],
    documentationUri,
    patch: { supported: true },
    bulk: {
      supported: true,
      maxOperations: bulkOperationsMax,
      maxPayloadSize: bulkBytesMax,
    },
    filter: { supported: true, maxResults: pageMax },
    changePassword: { supported: false },
    sort: { supported: true },
    etag: { supported: true },
    pagination: {
      cursor: true,
      index: true,
      defaultPaginationMethod: 'index',
      defaultPageSize: pageStandard,
      maxPageSize: pageMax,
      cursorTimeout: cursorSecondsMax,
    },
    authenticationSchemes: [
      {
        type: 'oauthbearertoken',
        name: 'Client token',
        description: 'Authorization: Bearer with a client token, made by "custody client create".',
        specUri: 'https://www.rfc-editor.org/info/rfc6750',
        documentationUri,
        primary: true,
      },
      {
        type: 'oauth2',
        name: 'Client credentials',
        description:
          'POST /oauth2/token with the id of the client and its token as the secret; see /.well-known/oauth-authorization-server.',
        specUri: 'https://www.rfc-editor.org/info/rfc6749',
        documentationUri,
        primary: false,
      },
    ],
    meta: { resourceType: 'ServiceProviderConfig', location: `${baseUrl}/ServiceProviderConfig` },
  }
}

/** The resource types (RFC 7643 §6); the id is the name and the last segment of the location. */
export function resourceTypes(baseUrl: string): readonly JsonObject[] {
  return resourceSchemas.map((resource) => ({
    schemas: [`${coreUrn}:ResourceType`],
    id: resource.type,
    name: resource.type,
    endpoint: resource.endpoint,
    description: resource.description,
    schema: resource.core.id,
    ...extensionsOf(resource),
    meta: {
      resourceType: 'ResourceType',
      location: `${baseUrl}/ResourceTypes/${resource.type}`,
    },
  }))
}

function extensionsOf(resource: ResourceSchema): JsonObject {
  if (resource.extensions.length === 0) return {}
  return {
    schemaExtensions: resource.extensions.map(({ id }) => ({ schema: id, required: false })),
  }
}

/** Every schema that a resource type names (RFC 7643 §7), as stored in `schemas/*.json`. */
export function schemas(baseUrl: string): readonly JsonObject[] {
  return publishedSchemas().map((schema) => ({
    schemas: [`${coreUrn}:Schema`],
    id: schema.id,
    name: schema.name,
    description: schema.description,
    attributes: schema.attributes as unknown as Json,
    meta: { resourceType: 'Schema', location: `${baseUrl}/Schemas/${schema.id}` },
  }))
}

function publishedSchemas(): readonly Schema[] {
  return resourceSchemas.flatMap((resource) => [resource.core, ...resource.extensions])
}
