import type { ErrorCode } from '../../domain/errors.ts'
import { errorCatalogue } from '../../domain/errors.ts'
import type { JsonObject } from '../../domain/json.ts'
import { queryNamesOf } from '../accepts.ts'
import { accountRoutes, accountSchemas } from './accounts.ts'
import { administrationRoutes, administrationSchemas } from './administration.ts'
import { auditRoutes, auditSchemas } from './audit.ts'
import { credentialRoutes, credentialSchemas } from './credentials.ts'
import { directoryRoutes, directorySchemas } from './directories.ts'
import { findingRoutes, findingSchemas } from './findings.ts'
import { peopleRoutes, peopleSchemas } from './people.ts'
import { providerRoutes, providerSchemas } from './providers.ts'
import type { AnswerHeader, ApiAnswer, ApiRoute, ApiRoutes } from './route.ts'
import { tags } from './route.ts'
import type { ApiSchema } from './schema.ts'
import { count, flag, named, record, said, text, words } from './schema.ts'
import { scimQueryOf, scimRoutes } from './scim.ts'
import { scimMediaType, scimSchemas } from './scim-schemas.ts'
import { serviceRoutes, serviceSchemas } from './service.ts'
import { workRoutes, workSchemas } from './work.ts'

const apiPrefix = '/api/v1'
const scimPrefix = '/scim/v2'

interface Area {
  readonly prefix: string
  readonly routes: ApiRoutes
}

const areas: readonly Area[] = [
  { prefix: apiPrefix, routes: accountRoutes },
  { prefix: apiPrefix, routes: credentialRoutes },
  { prefix: apiPrefix, routes: peopleRoutes },
  { prefix: apiPrefix, routes: workRoutes },
  { prefix: apiPrefix, routes: providerRoutes },
  { prefix: apiPrefix, routes: findingRoutes },
  { prefix: apiPrefix, routes: directoryRoutes },
  { prefix: apiPrefix, routes: auditRoutes },
  { prefix: apiPrefix, routes: administrationRoutes },
  { prefix: scimPrefix, routes: scimRoutes },
  { prefix: '', routes: serviceRoutes },
]

/** A route with its whole path, as it is registered. */
export interface DescribedRoute {
  readonly method: string
  /** As registered: `/api/v1/accounts/:id`. */
  readonly url: string
  /** As in the document: `/api/v1/accounts/{id}`. */
  readonly path: string
  readonly route: ApiRoute
  readonly query: readonly string[]
}

/** Every route that is described, in the order of the document. */
export const describedRoutes: readonly DescribedRoute[] = areas.flatMap(({ prefix, routes }) =>
  Object.entries(routes).map(([key, route]) => {
    const [method = '', below = ''] = key.split(' ')
    const url = below === '/' && prefix !== '' ? prefix : `${prefix}${below}`
    const query =
      prefix === apiPrefix
        ? queryNamesOf(method, below)
        : prefix === scimPrefix
          ? scimQueryOf(method, below)
          : []
    return { method, url, path: pathOf(url), route, query }
  }),
)

function pathOf(url: string): string {
  return url.replace(/:(\w+)/g, '{$1}').replace('*', '{path}')
}

/** Refusals by status, with the codes of the catalogue that bear it. */
function codesOf(status: number): readonly ErrorCode[] {
  return (Object.keys(errorCatalogue) as ErrorCode[]).filter(
    (code) => errorCatalogue[code].status === status,
  )
}

/** Statuses that any route may answer with, described or not: there is no such path, or method. */
export const commonStatuses: readonly number[] = [
  ...new Set(Object.values(errorCatalogue).map(({ status }) => status)),
].sort((a, b) => a - b)

const errorTitles: Readonly<Record<number, string>> = {
  400: 'The request cannot be understood; `detail` says what to change.',
  401: 'No token, or none that is good.',
  403: 'The caller sees it but may not do this.',
  404: 'There is no such thing, or the caller may not see it.',
  405: 'The path has no such method; `Allow` names those it has.',
  409: 'Its state does not allow it, or somebody else was first.',
  412: 'It was changed since: `If-Match` does not fit.',
  413: 'The body is too large.',
  415: 'The body is of a type or encoding that is not read.',
  422: 'The `Idempotency-Key` was used for another request.',
  428: 'It needs `If-Match`: read it first.',
  429: 'Too many requests; wait.',
  500: 'A fault of Custody; `instance` names the request in the log.',
  501: 'This service or this client’s dialect does not do that.',
  502: 'A provider failed.',
  503: 'Not ready; try again.',
}

const errorHeaders: Readonly<Record<number, readonly AnswerHeader[]>> = {
  401: ['WWW-Authenticate'],
  429: ['Retry-After'],
  503: ['Retry-After'],
}

function problemOf(status: number): ApiSchema {
  return record({
    type: said({ const: 'about:blank' }, 'The code says what it is.'),
    title: text,
    status: { const: status },
    code: said(words(codesOf(status)), 'Stable; never used for another meaning.'),
    detail: said(text, 'What happened and what to do next.'),
    instance: said(text, 'The id of the request.'),
  })
}

function scimErrorOf(status: number): ApiSchema {
  const types = [...new Set(codesOf(status).flatMap((code) => errorCatalogue[code].scimType ?? []))]
  return record({
    schemas: (scimSchemas['ScimError']!['properties'] as JsonObject)['schemas'] as ApiSchema,
    status: { const: String(status) },
    ...(types.length === 0 ? {} : { 'scimType?': words(types) }),
    detail: text,
  })
}

function errorSchemas(): Readonly<Record<string, ApiSchema>> {
  const scim = refusalNames().filter(({ isScim }) => isScim)
  return {
    ...Object.fromEntries(commonStatuses.map((status) => [`Problem${status}`, problemOf(status)])),
    ...Object.fromEntries(scim.map(({ name, status }) => [name, scimErrorOf(status)])),
    Problem: { anyOf: commonStatuses.map((status) => named(`Problem${status}`)) },
  }
}

function errorAnswer(status: number, isScim: boolean): ApiAnswer {
  return {
    says: errorTitles[status] ?? 'An error.',
    body: named(`${isScim ? 'ScimError' : 'Problem'}${status}`),
    type: isScim ? scimMediaType : 'application/problem+json',
    headers: errorHeaders[status] ?? [],
  }
}

/** What routes of this kind may be refused with. */
function refusalsOf({ method, url, route }: DescribedRoute): readonly number[] {
  const isScim = url.startsWith(scimPrefix)
  const isPublic = route.roles === 'public'
  const isWrite = method !== 'GET'
  const statuses = [
    400,
    ...(isPublic ? [] : [401, 403]),
    ...(/[:*]/.test(url) || isScim ? [404] : []),
    ...(isWrite ? [404, 413, 415] : []),
    ...(isWrite && !isPublic ? [409, 422] : []),
    ...(isScim && isWrite ? [412, 428] : []),
    ...(isScim ? [429, 501] : []),
    ...(url === '/api/v1/stream' ? [429] : []),
    500,
    503,
    ...(route.refusals ?? []),
  ]
  return [...new Set(statuses)].sort((a, b) => a - b)
}

/** Every answer of a route, refusals included, by status. */
export function answersOf(described: DescribedRoute): ReadonlyMap<number, ApiAnswer> {
  const isScim = described.url.startsWith(scimPrefix)
  const answers = new Map<number, ApiAnswer>()
  for (const status of refusalsOf(described)) answers.set(status, errorAnswer(status, isScim))
  for (const [status, answer] of Object.entries(described.route.answers)) {
    const type = answer.body !== null && isScim ? { type: scimMediaType } : {}
    answers.set(Number(status), { ...type, ...answer })
  }
  return new Map([...answers].sort(([a], [b]) => a - b))
}

const headers: Readonly<Record<AnswerHeader, string>> = {
  'Custody-Operation': 'Ids of the operations that were queued, with commas between them.',
  'Custody-Audit-Key': 'The public key of the note. Pin it from elsewhere.',
  ETag: 'The version of the resource, weak.',
  Location: 'Where it is.',
  'Content-Location': 'Where it is.',
  'Idempotency-Replayed': '`true`: the answer of the request that bore the same key first.',
  'Retry-After': 'Seconds to wait.',
  'WWW-Authenticate': 'How to authenticate.',
  'Set-Cookie': 'The session of the console.',
  'Content-Disposition': 'Always a download.',
}

/** Parameters of queries that mean the same wherever they are taken. */
const queryParameters: Readonly<Record<string, ApiSchema>> = {
  cursor: said(text, 'The `cursor` of the page before.'),
  limit: {
    type: 'integer',
    minimum: 1,
    default: 50,
    description: 'Rows of a page; at most 200 come at once.',
  },
  dryRun: said(flag, 'Answers with the plan and changes nothing.'),
  q: said(text, 'How a name begins, in any case.'),
  role: said(words(['provider', 'sink']), 'Which of two that bear one name.'),
  filter: said(text, 'RFC 7644 §3.4.2.2.'),
  attributes: said(text, 'Only these, with commas between them.'),
  excludedAttributes: said(text, 'All but these.'),
  sortBy: said(text, 'An attribute.'),
  sortOrder: words(['ascending', 'descending']),
  startIndex: said({ type: 'integer' }, 'From 1 on.'),
  count: said(count, 'Resources of a page; at most 200.'),
}

/** What a parameter of a query is; throws for one that nobody described. */
export function queryParameter({ url, route }: DescribedRoute, name: string): ApiSchema {
  const found = route.query?.[name] ?? queryParameters[name]
  if (found === undefined) throw new Error(`?${name} of ${url} is not described`)
  return found
}

function parametersOf(described: DescribedRoute): readonly JsonObject[] {
  const { method, url, path, query, route } = described
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: route.parameters?.[name] ?? text,
  }))
  const inQuery = query.map((name) => {
    const { description, deprecated, ...schema } = queryParameter(described, name)
    return {
      name,
      in: 'query',
      ...(description === undefined ? {} : { description }),
      ...(deprecated === undefined ? {} : { deprecated }),
      schema,
    }
  })
  const isScim = url.startsWith(scimPrefix)
  const hasKey = method === 'POST' && route.roles !== 'public'
  const isOne = isScim && (url.endsWith('/:id') || url.endsWith('/Me')) && route.roles !== 'public'
  const isWrite = method === 'PUT' || method === 'PATCH' || method === 'DELETE'
  const named = [
    ...(hasKey ? ['IdempotencyKey'] : []),
    ...(isOne && isWrite ? ['IfMatch'] : []),
    ...(isOne && method === 'GET' ? ['IfNoneMatch'] : []),
  ].map((name) => ({ $ref: `#/components/parameters/${name}` }))
  return [...inPath, ...inQuery, ...named]
}

function answerObject({ says, body, type = 'application/json', also, headers = [] }: ApiAnswer) {
  const second = also === undefined ? {} : { [also.type]: { schema: also.body } }
  return {
    description: says,
    ...(headers.length === 0
      ? {}
      : {
          headers: Object.fromEntries(
            headers.map((name) => [name, { $ref: `#/components/headers/${name}` }]),
          ),
        }),
    ...(body === null ? {} : { content: { [type]: { schema: body }, ...second } }),
  }
}

/** A name for generated clients: `postAccountsByIdDisable`. */
export function operationIdOf({ method, url }: DescribedRoute): string {
  const words = url
    .replace(/^\/api\/v1/, '')
    .split('/')
    .filter((part) => part !== '')
    .flatMap((part) =>
      part === '*'
        ? ['path']
        : part.startsWith(':')
          ? ['by', part.slice(1)]
          : part.split(/[^A-Za-z0-9]+/).filter((word) => word !== ''),
    )
  return [method.toLowerCase(), ...words.map((w) => w[0]!.toUpperCase() + w.slice(1))].join('')
}

function operationObject(described: DescribedRoute): JsonObject {
  const { method, route } = described
  const { roles, body } = route
  const hasKey = method === 'POST' && roles !== 'public'
  const isScim = described.url.startsWith(scimPrefix)
  const answers = [...answersOf(described)].map(([status, answer]) => {
    if (status >= 400 && !route.answers[status]) {
      const name = `${isScim ? 'ScimError' : 'Problem'}${status}`
      return [String(status), { $ref: `#/components/responses/${name}` }]
    }
    const replays = hasKey && status < 300
    const all = replays ? [...(answer.headers ?? []), 'Idempotency-Replayed' as const] : undefined
    return [String(status), answerObject({ ...answer, ...(all ? { headers: all } : {}) })]
  })
  const parameters = parametersOf(described)
  return {
    operationId: operationIdOf(described),
    tags: [route.tag],
    summary: route.effect,
    ...(route.more === undefined ? {} : { description: route.more }),
    'x-custody-roles': typeof roles === 'string' ? [roles] : [...roles],
    security: roles === 'public' ? [] : [{ bearer: [] }, { session: [] }],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: route.isBodyOptional !== true,
            content: Object.fromEntries(
              (route.bodyTypes ?? ['application/json']).map((type) => [type, { schema: body }]),
            ),
          },
        }),
    responses: Object.fromEntries(answers),
  }
}

/** Refusals that some route has; 405 is for the methods that a path does not have. */
function refusalNames() {
  const found = new Map<string, { readonly status: number; readonly isScim: boolean }>()
  for (const described of describedRoutes) {
    const isScim = described.url.startsWith(scimPrefix)
    for (const status of [405, ...refusalsOf(described)]) {
      if (described.route.answers[status]) continue
      found.set(`${isScim ? 'ScimError' : 'Problem'}${status}`, { status, isScim })
    }
  }
  return [...found].map(([name, of]) => ({ name, ...of }))
}

/** All schemas by name; a test proves that each is used. */
export function apiSchemas(): Readonly<Record<string, ApiSchema>> {
  return {
    ...accountSchemas,
    ...credentialSchemas,
    ...peopleSchemas,
    ...workSchemas,
    ...providerSchemas,
    ...findingSchemas,
    ...directorySchemas,
    ...auditSchemas,
    ...administrationSchemas,
    ...scimSchemas,
    ...serviceSchemas,
    ...errorSchemas(),
  }
}

/** The whole document (https://spec.openapis.org/oas/v3.1.1.html). */
export function openApiDocument(version: string): JsonObject {
  const paths: Record<string, Record<string, JsonObject>> = {}
  for (const described of describedRoutes) {
    const item = (paths[described.path] ??= {})
    item[described.method.toLowerCase()] = operationObject(described)
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Custody',
      version,
      summary: 'Every service account has an owner and an end date.',
      description:
        'SCIM 2.0 for people, groups, service accounts and their credentials; `/api/v1` for what SCIM has no words for. No answer ever carries a secret, but for the token of a client that is being made. Whatever is not visible to the caller is 404; what is visible but not allowed is 403. Any other method on a path is 405. `HEAD` answers as `GET`, without a body.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: apiSchemas(),
      responses: Object.fromEntries(
        refusalNames().map(({ name, status, isScim }) => [
          name,
          answerObject(errorAnswer(status, isScim)),
        ]),
      ),
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, description]) => [
          name,
          { description, schema: { type: 'string' } },
        ]),
      ),
      parameters: {
        IdempotencyKey: {
          name: 'Idempotency-Key',
          in: 'header',
          description: 'The same request again within 24 h gets the first one’s answer.',
          schema: { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' },
        },
        IfMatch: {
          name: 'If-Match',
          in: 'header',
          description: 'Only if it is still this version.',
          schema: { type: 'string' },
        },
        IfNoneMatch: {
          name: 'If-None-Match',
          in: 'header',
          description: 'Only if it is another version.',
          schema: { type: 'string' },
        },
      },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A client token (`cst_…`), or an access token of `/oauth2/token`.',
        },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'custody-session',
          description: 'The session of the console, for its own requests only.',
        },
      },
    },
  }
}
