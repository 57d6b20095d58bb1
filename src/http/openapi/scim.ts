import { resourceSchemas } from '../../scim/schema.ts'
import type { ResourceSchema } from '../../scim/schema.ts'
import type { ApiAnswer, ApiRoute, ApiRoutes } from './route.ts'
import { ok } from './route.ts'
import { named } from './schema.ts'
import { listOf, scimMediaType } from './scim-schemas.ts'

const scimTypes = [scimMediaType, 'application/json']

const projection = ['attributes', 'excludedAttributes']
const listing = ['filter', ...projection, 'sortBy', 'sortOrder', 'startIndex', 'count', 'cursor']

/** What SCIM takes in a query; what nobody knows is left unread (RFC 7644 §3.12). */
export function scimQueryOf(method: string, path: string): readonly string[] {
  const isOne = path.endsWith('/:id') || path === '/Me'
  if (/^\/(?:Bulk|ServiceProviderConfig|ResourceTypes|Schemas)/.test(path)) return []
  if (path.endsWith('.search')) return []
  if (method === 'DELETE') return []
  return method === 'GET' && !isOne ? listing : projection
}

const resourceHeaders = ['ETag', 'Content-Location'] as const

function shown(type: string): ApiAnswer {
  return {
    says: 'The resource.',
    body: named(`Scim${type}`),
    headers: [...resourceHeaders, 'Custody-Operation'],
  }
}

const unchanged: ApiAnswer = {
  says: 'It is the one of `If-None-Match`.',
  body: null,
  headers: resourceHeaders,
}

const bodiless: ApiAnswer = {
  says: 'Changed, or gone; a PATCH that asks for no JSON is answered so.',
  body: null,
  headers: ['ETag', 'Custody-Operation'],
}

const writers: Readonly<Record<string, ApiRoute['roles']>> = {
  User: ['directory', 'requester', 'admin'],
  Group: ['directory', 'admin'],
  Credential: ['requester', 'security', 'admin'],
}

function routesOf({ type, endpoint }: ResourceSchema): ApiRoutes {
  const tag = 'scim'
  const one = named(`Scim${type}Write`)
  const reads: ApiRoutes = {
    [`GET ${endpoint}`]: {
      tag,
      effect: `Lists ${endpoint.slice(1)}.`,
      roles: 'any',
      answers: ok(named(`Scim${type}List`)),
    },
    [`POST ${endpoint}/.search`]: {
      tag,
      effect: `Searches ${endpoint.slice(1)} (RFC 7644 §3.4.3).`,
      roles: 'any',
      body: named('ScimSearch'),
      bodyTypes: scimTypes,
      answers: ok(named(`Scim${type}List`)),
    },
    [`GET ${endpoint}/:id`]: {
      tag,
      effect: `Reads one ${type}.`,
      roles: 'any',
      answers: { 200: shown(type), 304: unchanged },
      refusals: [404],
    },
  }
  const roles = writers[type]
  if (roles === undefined) return reads
  const write = { tag, roles, bodyTypes: scimTypes } as const
  return {
    ...reads,
    [`POST ${endpoint}`]: {
      ...write,
      effect: `Creates a ${type}.`,
      body: one,
      answers: { 201: { ...shown(type), headers: [...shown(type).headers!, 'Location'] } },
    },
    [`PUT ${endpoint}/:id`]: {
      ...write,
      effect: `Replaces a ${type}.`,
      body: one,
      answers: { 200: shown(type) },
    },
    [`PATCH ${endpoint}/:id`]: {
      ...write,
      effect: `Changes a ${type} (RFC 7644 §3.5.2).`,
      body: named('ScimPatch'),
      answers: { 200: shown(type), 204: bodiless },
    },
    [`DELETE ${endpoint}/:id`]: {
      tag,
      roles,
      effect:
        type === 'User'
          ? 'Removes a person, or retires an account.'
          : type === 'Credential'
            ? 'Revokes a credential.'
            : 'Removes a group.',
      answers: { 204: bodiless },
    },
  }
}

const me: ApiRoutes = Object.fromEntries(
  ['GET', 'PUT', 'PATCH', 'DELETE'].map((method) => {
    const {
      effect: _effect,
      roles: _roles,
      ...rest
    } = routesOf(resourceSchemas[0]!)[`${method} /Users/:id`]!
    const answers = Object.fromEntries(
      Object.entries(rest.answers).map(([status, answer]) => [
        status,
        { ...answer, headers: [...(answer.headers ?? []), 'Location' as const] },
      ]),
    )
    const effect = `${method} of the person that the client stands for (RFC 7644 §3.11).`
    return [`${method} /Me`, { ...rest, answers, effect, roles: 'any' as const, refusals: [404] }]
  }),
)

function discovery(path: string, type: string, what: string): ApiRoutes {
  const common = { tag: 'scim', roles: 'public', refusals: [403] } as const
  return {
    [`GET ${path}`]: { ...common, effect: `Lists ${what}.`, answers: ok(listOf(named(type))) },
    [`GET ${path}/:id`]: {
      ...common,
      effect: `One of the ${what}.`,
      answers: ok(named(type)),
    },
  }
}

/** Below `/scim/v2`, and below `/scim`. */
export const scimRoutes: ApiRoutes = {
  ...Object.assign({}, ...resourceSchemas.map(routesOf)),
  ...me,
  'GET /': {
    tag: 'scim',
    effect: 'Lists resources of every type.',
    roles: 'any',
    answers: ok(named('ScimList')),
  },
  'POST /.search': {
    tag: 'scim',
    effect: 'Searches resources of every type.',
    roles: 'any',
    body: named('ScimSearch'),
    bodyTypes: scimTypes,
    answers: ok(named('ScimList')),
  },
  'POST /Bulk': {
    tag: 'scim',
    effect: 'Many writes in one request (RFC 7644 §3.7).',
    roles: 'any',
    body: named('ScimBulk'),
    bodyTypes: scimTypes,
    answers: {
      200: {
        says: 'What became of each.',
        body: named('ScimBulkAnswer'),
        headers: ['Custody-Operation'],
      },
    },
  },
  'GET /ServiceProviderConfig': {
    tag: 'scim',
    effect: 'What this service supports.',
    roles: 'public',
    answers: ok(named('ScimServiceProviderConfig')),
    refusals: [403],
  },
  ...discovery('/ResourceTypes', 'ScimResourceType', 'resource types'),
  ...discovery('/Schemas', 'ScimSchema', 'schemas'),
}
