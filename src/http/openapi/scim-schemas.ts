import { bulkOperationsMax, bulkRequestUrn, bulkResponseUrn } from '../../scim/bulk.ts'
import { patchUrn } from '../../scim/patch-parser.ts'
import { listUrn } from '../../scim/render.ts'
import type { ResourceSchema, Schema, SchemaAttribute } from '../../scim/schema.ts'
import { isClosed, resourceSchemas } from '../../scim/schema.ts'
import { scimErrorUrn } from '../errors.ts'
import { searchRequestUrn } from '../scim-list.ts'
import type { ApiSchema } from './schema.ts'
import {
  count,
  flag,
  instant,
  list,
  map,
  named,
  record,
  said,
  text,
  whole,
  words,
} from './schema.ts'

export const scimMediaType = 'application/scim+json'

/** Without anything required: a request may ask for a part of it (RFC 7644 §3.9). */
function part(members: Readonly<Record<string, ApiSchema>>, extra: boolean): ApiSchema {
  return { type: 'object', properties: members, additionalProperties: extra }
}

interface Side {
  /** What a client sends: without what it cannot set, and with what a dialect may leave unread. */
  readonly isRequest: boolean
  readonly isClosed: boolean
}

/** An attribute as JSON (RFC 7643 §2.3). */
function schemaOf(attribute: SchemaAttribute, side: Side): ApiSchema {
  const one = oneOf(attribute, side)
  const schema = attribute.multiValued ? list(one) : one
  return said(schema, attribute.description)
}

function oneOf(attribute: SchemaAttribute, side: Side): ApiSchema {
  const { type, canonicalValues, subAttributes = [] } = attribute
  switch (type) {
    case 'boolean':
      return flag
    case 'decimal':
      return { type: 'number' }
    case 'integer':
      return whole
    case 'dateTime':
      return instant
    case 'complex':
      return part(membersOf(subAttributes, side), side.isRequest)
    case 'string':
    case 'binary':
    case 'reference':
      // In the schemas of the RFC canonical values are suggestions, in ours all there are.
      return canonicalValues && side.isClosed ? words(canonicalValues) : text
  }
}

function membersOf(
  attributes: readonly SchemaAttribute[],
  side: Side,
): Readonly<Record<string, ApiSchema>> {
  return Object.fromEntries(
    attributes
      .filter(({ mutability }) =>
        side.isRequest ? mutability !== 'readOnly' : mutability !== 'writeOnly',
      )
      .map((attribute) => [attribute.name, schemaOf(attribute, side)]),
  )
}

function ofSchema(schema: Schema, isRequest: boolean): Readonly<Record<string, ApiSchema>> {
  return membersOf(schema.attributes, { isRequest, isClosed: isClosed(schema) })
}

/** A resource with its extensions; derived from what `/Schemas` publishes. */
function resource(type: ResourceSchema, isRequest: boolean): ApiSchema {
  const { common, core, extensions, description } = type
  const members = {
    ...ofSchema(common, isRequest),
    ...ofSchema(core, isRequest),
    ...Object.fromEntries(
      extensions.map((extension) => [
        extension.id,
        said(part(ofSchema(extension, isRequest), isRequest), extension.description),
      ]),
    ),
  }
  return {
    ...part(members, isRequest),
    description,
    ...(isRequest ? {} : { required: ['schemas', 'id'] }),
  }
}

const urns = (urn: string): ApiSchema => ({
  type: 'array',
  items: { const: urn },
  minItems: 1,
  maxItems: 1,
})

/** A ListResponse (RFC 7644 §3.4.2). */
export function listOf(items: ApiSchema): ApiSchema {
  return record({
    schemas: urns(listUrn),
    totalResults: count,
    itemsPerPage: count,
    'startIndex?': said(count, 'Of a page by index.'),
    'nextCursor?': said(text, 'Of a page by cursor that is not the last (RFC 9865).'),
    'Resources?': list(items),
  })
}

const meta = record({ resourceType: text, location: text })
const coreUrn = 'urn:ietf:params:scim:schemas:core:2.0'

const attribute = {
  name: text,
  type: words([
    'string',
    'boolean',
    'decimal',
    'integer',
    'dateTime',
    'binary',
    'reference',
    'complex',
  ]),
  multiValued: flag,
  description: text,
  required: flag,
  'canonicalValues?': list(text),
  caseExact: flag,
  mutability: words(['readOnly', 'readWrite', 'immutable', 'writeOnly']),
  returned: words(['always', 'never', 'default', 'request']),
  uniqueness: words(['none', 'server', 'global']),
  'referenceTypes?': list(text),
  'subAttributes?': list(named('ScimAttribute')),
}

const bulkOperation = {
  'bulkId?': text,
  'version?': text,
}

export const scimSchemas: Readonly<Record<string, ApiSchema>> = {
  ...Object.fromEntries(
    resourceSchemas.flatMap((type) => [
      [`Scim${type.type}`, resource(type, false)],
      // Files say what may be asked for by name: nobody writes those here.
      ...(type.type === 'Entitlement' ? [] : [[`Scim${type.type}Write`, resource(type, true)]]),
    ]),
  ),
  ...Object.fromEntries(
    resourceSchemas.map(({ type }) => [`Scim${type}List`, listOf(named(`Scim${type}`))]),
  ),
  ScimList: listOf({
    anyOf: resourceSchemas.map(({ type }) => named(`Scim${type}`)),
  }),
  ScimSearch: {
    type: 'object',
    properties: {
      schemas: urns(searchRequestUrn),
      filter: text,
      attributes: list(text),
      excludedAttributes: list(text),
      sortBy: text,
      sortOrder: words(['ascending', 'descending']),
      startIndex: whole,
      count: whole,
      cursor: text,
    },
    additionalProperties: true,
  },
  ScimPatch: {
    type: 'object',
    properties: {
      schemas: urns(patchUrn),
      Operations: {
        type: 'array',
        minItems: 1,
        maxItems: 1_000,
        items: {
          type: 'object',
          properties: {
            op: said(text, '`add`, `replace` or `remove`, in any case.'),
            path: text,
            value: said({}, 'What the path takes.'),
          },
          required: ['op'],
          additionalProperties: true,
        },
      },
    },
    required: ['Operations'],
    additionalProperties: true,
  },
  ScimBulk: {
    type: 'object',
    properties: {
      schemas: urns(bulkRequestUrn),
      failOnErrors: whole,
      Operations: {
        type: 'array',
        maxItems: bulkOperationsMax,
        items: {
          type: 'object',
          properties: {
            method: words(['POST', 'PUT', 'PATCH', 'DELETE']),
            path: text,
            bulkId: text,
            version: text,
            data: { type: 'object', additionalProperties: true },
          },
          required: ['method', 'path'],
          additionalProperties: true,
        },
      },
    },
    required: ['Operations'],
    additionalProperties: true,
  },
  ScimBulkAnswer: record({
    schemas: urns(bulkResponseUrn),
    Operations: list(
      record({
        'method?': text,
        ...bulkOperation,
        'location?': text,
        status: text,
        'response?': named('ScimError'),
      }),
    ),
  }),
  ScimError: record({
    schemas: urns(scimErrorUrn),
    status: text,
    'scimType?': text,
    detail: text,
  }),
  ScimAttribute: record(attribute),
  ScimSchema: record({
    schemas: urns(`${coreUrn}:Schema`),
    id: text,
    name: text,
    description: text,
    attributes: list(named('ScimAttribute')),
    meta,
  }),
  ScimResourceType: record({
    schemas: urns(`${coreUrn}:ResourceType`),
    id: text,
    name: text,
    endpoint: text,
    description: text,
    schema: text,
    'schemaExtensions?': list(record({ schema: text, required: flag })),
    meta,
  }),
  ScimServiceProviderConfig: {
    type: 'object',
    description: 'RFC 7643 §5.',
    properties: {
      schemas: urns(`${coreUrn}:ServiceProviderConfig`),
      documentationUri: text,
      patch: record({ supported: flag }),
      bulk: record({ supported: flag, maxOperations: count, maxPayloadSize: count }),
      filter: record({ supported: flag, maxResults: count }),
      changePassword: record({ supported: flag }),
      sort: record({ supported: flag }),
      etag: record({ supported: flag }),
      pagination: map({ type: ['boolean', 'string', 'integer'] }),
      authenticationSchemes: list(
        record({
          type: text,
          name: text,
          description: text,
          specUri: text,
          documentationUri: text,
          primary: flag,
        }),
      ),
      meta,
    },
    required: ['schemas', 'patch', 'bulk', 'filter', 'authenticationSchemes', 'meta'],
    additionalProperties: false,
  },
}
