import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { clientTypes, file as clientFile } from '../../scripts/generate-client.ts'
import { apiReference, page } from '../../scripts/generate-api-reference.ts'
import { packageRoot } from '../../src/host/home.ts'
import { bodyNamesOf } from '../../src/http/accepts.ts'
import { describedRoutes } from '../../src/http/openapi/document.ts'
import type { ApiSchema } from '../../src/http/openapi/schema.ts'
import { createClient, CustodyError, type Schemas } from '../../src/cli/client.ts'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'
import { faultOf } from '../support/described-answers.ts'

let custody: TestCustody
let app: FastifyInstance
const registered = new Set<string>()
// oxlint-disable-next-line no-explicit-any -- a document is read as what it is under test
let document: any

beforeAll(async () => {
  const listen = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    app = fastify
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const name of [method].flat()) registered.add(`${name} ${url}`)
    })
  }
  subscribe('fastify.initialization', listen)
  custody = await startTestCustody()
  unsubscribe('fastify.initialization', listen)
  document = (await custody.call('GET', '/openapi.json', undefined, { token: null })).body
})
afterAll(() => custody.close())

/** Every schema of the document with its place. */
function* nodesOf(value: unknown, place = '#'): Generator<[string, Record<string, unknown>]> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield [place, value as Record<string, unknown>]
  for (const [name, item] of Object.entries(value)) yield* nodesOf(item, `${place}/${name}`)
}

describe('the description of the API', () => {
  it('has every route that is served, and whatever it does not have is 405', async () => {
    const known = new Set(describedRoutes.map(({ method, url }) => `${method} ${url}`))
    const authorization = `Bearer ${custody.adminToken}`
    const others = [...registered]
      .filter((route) => !route.startsWith('HEAD '))
      .map((route) => route.replace(/ \/scim(?=\/(?!v2(?:\/|$))|$)/, ' /scim/v2'))
      .map((route) => (/[^ ]\/$/.test(route) ? route.slice(0, -1) : route))
      .filter((route) => !known.has(route))
    const wrong: string[] = []
    for (const route of new Set(others)) {
      const [method = '', url = ''] = route.split(' ')
      const { statusCode } = await app.inject({
        method: method as 'GET',
        url: url.replace('*', 'x'),
        headers: { authorization },
      })
      if (statusCode !== 405) wrong.push(`${route}: ${statusCode}`)
    }

    expect(wrong).toEqual([])
    expect(others.length).toBeGreaterThan(100)
  })

  it('has no route that is not served, under both addresses of SCIM', () => {
    const missing = describedRoutes
      .flatMap(({ method, url }) =>
        url.startsWith('/scim/v2')
          ? [`${method} ${url}`, `${method} ${url.replace('/scim/v2', '/scim')}`]
          : [`${method} ${url}`],
      )
      .filter((route) => !registered.has(route) && !registered.has(`${route}/`))

    expect(missing).toEqual([])
  })

  it('is OpenAPI 3.1: nothing in it that has no place there, and every reference leads somewhere', () => {
    const check = new Ajv2020({ strict: false, validateFormats: false }).compile(openApiShape)
    expect(check(document) ? [] : check.errors).toEqual([])

    const targets = [...nodesOf(document)].flatMap(([place, { $ref }]) =>
      typeof $ref === 'string' ? [[place, $ref] as const] : [],
    )
    const lost = targets.filter(([, ref]) => {
      const parts = ref.slice(2).split('/')
      return (
        parts.reduce<unknown>((at, name) => (at as ApiSchema | undefined)?.[name], document) ===
        undefined
      )
    })
    expect(lost).toEqual([])
    expect(targets.length).toBeGreaterThan(500)
    const used = new Set(targets.map(([, ref]) => ref))
    const names = ['schemas', 'responses', 'headers', 'parameters'].flatMap((kind) =>
      Object.keys(document.components[kind]).map((name) => `#/components/${kind}/${name}`),
    )
    // What 405 looks like is for the methods that no operation stands for.
    const unused = names.filter((name) => !used.has(name) && !/(Problem|ScimError)405$/.test(name))
    expect(unused).toEqual([])
  })

  it('names each operation once, and each place of a path', () => {
    const operations = describedRoutes.map(
      ({ method, path: place }) => document.paths[place === '' ? '/' : place][method.toLowerCase()],
    )
    const ids = operations.map(({ operationId }) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const [i, { path: place }] of describedRoutes.entries()) {
      const inPath = (operations[i].parameters ?? []).filter(
        (p: { in?: string }) => p.in === 'path',
      )
      expect([place, ...inPath.map((p: { name: string }) => p.name)]).toEqual([
        place,
        ...[...place.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      ])
    }
  })

  it('describes what every route answers to somebody who knows nothing', async () => {
    const ids = ['nobody', '%00']
    const bodies = [undefined, {}, { reason: '\u0000', dryRun: 'perhaps' }, 'text']
    const failures: string[] = []
    for (const { method, path: route } of describedRoutes) {
      if (route === '/api/v1/stream' || route === '/api/v1/session/link') continue
      const places = route.includes('{')
        ? ids.map((id) => route.replaceAll(/\{\w+\}/g, id))
        : [route]
      for (const place of places) {
        for (const body of method === 'GET' ? [undefined] : bodies) {
          const headers = { authorization: `Bearer ${custody.adminToken}` }
          const sent = body === undefined ? {} : { body: JSON.stringify(body) }
          const type = route.startsWith('/scim') ? 'application/scim+json' : 'application/json'
          const { status } = await fetch(`${custody.url}${place}`, {
            method,
            headers: body === undefined ? headers : { ...headers, 'content-type': type },
            ...sent,
          })
          if (status >= 500) failures.push(`${method} ${place} ${JSON.stringify(body)}: ${status}`)
        }
      }
    }
    expect(failures).toEqual([])
  })

  it('has the fields of bodies that the routes read, and no others', () => {
    const wrong = describedRoutes.flatMap(({ method, url, route }) => {
      const read = bodyNamesOf(method, url.slice('/api/v1'.length))
      if (read === null || !url.startsWith('/api/v1')) return []
      const body = route.body ?? {}
      const several = (body['anyOf'] ?? [body]) as readonly ApiSchema[]
      const told = new Set(several.flatMap((one) => Object.keys(one['properties'] ?? {})))
      const same = told.size === read.length && read.every((name) => told.has(name))
      return same ? [] : [{ url, read, told: [...told] }]
    })

    expect(wrong).toEqual([])
  })

  it('has the roles that the policies as shipped permit', () => {
    const permitted = permittedRoles()
    const wrong = describedRoutes.flatMap(({ method, url, route: { action, roles } }) => {
      if (action === undefined) return []
      const wanted = new Set<string>(permitted.get(action)).add('admin')
      const same =
        typeof roles !== 'string' &&
        roles.length === wanted.size &&
        roles.every((role) => wanted.has(role))
      return same ? [] : [{ route: `${method} ${url}`, roles, wanted: [...wanted] }]
    })

    expect(wrong).toEqual([])
  })

  it('has its client and its reference printed from it', () => {
    expect(readFileSync(clientFile, 'utf8')).toBe(clientTypes())
    expect(readFileSync(page, 'utf8')).toBe(apiReference())
  })

  it.each([
    ['a status', { status: 418, payload: '{}' }, 'there is no such status'],
    ['a media type', { status: 200, type: 'text/html', payload: '' }, 'is text/html'],
    ['a field', { status: 200, payload: '{"status":"alive","secret":1}' }, 'additional properties'],
    ['a word', { status: 200, payload: '{"status":"undead"}' }, 'must be equal to constant'],
    ['a missing field', { status: 200, payload: '{}' }, 'must have required property'],
  ])('does not let %s pass that it does not have', (_, sent, fault) => {
    const answer = { method: 'GET', route: '/livez', url: '/livez', type: 'application/json' }

    expect(faultOf({ ...answer, ...sent })).toContain(fault)
    expect(faultOf({ ...answer, status: 200, payload: '{"status":"alive"}' })).toBeNull()
  })
})

describe('the client', () => {
  const connect = () => createClient({ server: `${custody.url}/`, token: () => custody.adminToken })

  it('calls routes by their names, pages through lists, and waits for operations', async () => {
    const client = connect()
    const owner = await custody.createPerson('client-owner@example.com')
    for (const name of ['one', 'two', 'three']) await custody.requestAccount(name, owner)

    const seen: Schemas['Account'][] = []
    for await (const account of client.each('GET /api/v1/accounts', { query: { limit: 2 } })) {
      seen.push(account)
    }
    const people = []
    for await (const user of client.each('GET /scim/v2/Users', { query: { count: 2 } })) {
      people.push(user.userName)
    }
    const id = seen.find(({ userName }) => userName === 'two')!.id
    const { status, operation } = await client.request('POST /api/v1/accounts/{id}/disable', {
      path: { id },
      body: { reason: 'a test' },
      idempotencyKey: 'once',
    })
    const again = await client.call('POST /api/v1/accounts/{id}/disable', {
      path: { id },
      body: { reason: 'a test' },
      idempotencyKey: 'once',
    })
    const ended = await client.waitFor(operation!, { timeoutMilliseconds: 15_000 })

    expect(seen.map(({ userName }) => userName).sort()).toEqual(['one', 'three', 'two'])
    expect(people.length).toBeGreaterThanOrEqual(4)
    expect({ status, id: again.id, end: ended.status }).toEqual({
      status: 202,
      id: operation,
      end: 'succeeded',
    })
    const rows = []
    for await (const { action } of client.each('GET /api/v1/audit', { query: { limit: 3 } })) {
      rows.push(action)
    }
    expect(rows).toContain('account.requested')
    let next = 0
    for await (const { seq } of client.each('GET /api/v1/events', { query: { limit: 1 } })) {
      expect(seq).toBe(next++)
    }
  })

  it('does what the how-to shows', async () => {
    const text = readFileSync(path.join(packageRoot, 'docs/how-to/use-the-client.md'), 'utf8')
    const example = /```ts\n([\s\S]*?)```/.exec(text)![1]!
    const own = pathToFileURL(path.join(packageRoot, 'src/cli/client.ts')).href
    const file = path.join(custody.home, 'example.ts')
    writeFileSync(file, example.replaceAll("'custody/client'", JSON.stringify(own)))
    vi.stubEnv('CUSTODY_SERVER', custody.url)
    vi.stubEnv('CUSTODY_TOKEN', custody.adminToken)

    const { ended, refused } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as {
      ended: Schemas['Operation']
      refused: string
    }

    expect({ kind: ended.kind, status: ended.status, refused }).toEqual({
      kind: 'disable',
      status: 'succeeded',
      refused: 'notFound',
    })
    vi.unstubAllEnvs()
  })

  it('tells what was refused by code, status and sentence, and that nobody answers', async () => {
    const client = connect()
    const refused = await client
      .call('GET /api/v1/accounts/{id}', { path: { id: 'no/such account' } })
      .catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(CustodyError)
    expect(refused).toMatchObject({ status: 404, code: 'notFound', retryAfter: null })
    expect((refused as CustodyError).request).toMatch(/^[0-9a-f-]{36}$/)

    // @ts-expect-error -- the types ask for what the path names, and so does the client itself
    await expect(client.call('GET /api/v1/accounts/{id}')).rejects.toThrow('needs path.id')
    // @ts-expect-error -- there is no such route
    await expect(client.call('GET /api/v1/acounts')).rejects.toMatchObject({ code: 'noSuchRoute' })

    const nobody = createClient({ server: 'http://127.0.0.1:1', token: 'x' })
    await expect(nobody.call('GET /readyz')).rejects.toMatchObject({
      status: null,
      code: 'unreachable',
    })
    const slow = createClient({
      server: custody.url,
      token: 'x',
      timeoutMilliseconds: 20,
      fetch: (_, init) =>
        new Promise((_resolve, reject) =>
          init!.signal!.addEventListener('abort', () => reject(init!.signal!.reason as Error)),
        ),
    })
    await expect(slow.call('GET /livez')).rejects.toMatchObject({ status: null, code: 'timeout' })
    expect(() => createClient({ server: 'ftp://x', token: 'x' })).toThrow('not an http')
  })
})

/** Roles by action, read from the files an operator edits; `admin` may everything. */
function permittedRoles(): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>()
  const folder = path.join(packageRoot, 'policies/authorisation')
  for (const name of readdirSync(folder).filter((n) => n.endsWith('.cedar'))) {
    const source = readFileSync(path.join(folder, name), 'utf8').replace(/\/\/.*/g, '')
    for (const rule of source.split(';').filter((r) => r.trimStart().startsWith('permit'))) {
      const listed = [...rule.matchAll(/\[([^\]]*)\]\.contains\(principal\.role\)/g)]
      const roles = [
        ...[...rule.matchAll(/principal\.role == "(\w+)"/g)].map(([, role]) => role!),
        ...listed.flatMap(([, list]) => [...list!.matchAll(/"(\w+)"/g)].map(([, role]) => role!)),
      ]
      for (const [, action] of rule.matchAll(/Action::"([\w.]+)"/g)) {
        found.set(action!, new Set([...(found.get(action!) ?? []), ...roles]))
      }
    }
  }
  return found
}

const closed = (properties: object, required: readonly string[] = []) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
})
const each = (ref: string) => ({ type: 'object', additionalProperties: { $ref: `#/$defs/${ref}` } })
const either = (schema: object) => ({
  anyOf: [closed({ $ref: { type: 'string' } }, ['$ref']), schema],
})

/** What OpenAPI 3.1.1 says of the objects that this document is made of (§4.8), and no more than it uses. */
const openApiShape = {
  ...closed(
    {
      openapi: { const: '3.1.1' },
      info: closed(
        {
          title: { type: 'string' },
          version: { type: 'string' },
          summary: { type: 'string' },
          description: { type: 'string' },
          license: closed({ name: { type: 'string' }, identifier: { type: 'string' } }, ['name']),
        },
        ['title', 'version'],
      ),
      servers: { type: 'array', items: closed({ url: { type: 'string' } }, ['url']) },
      tags: {
        type: 'array',
        items: closed({ name: { type: 'string' }, description: { type: 'string' } }, ['name']),
      },
      paths: {
        type: 'object',
        propertyNames: { pattern: '^/' },
        additionalProperties: closed(
          Object.fromEntries(
            ['get', 'put', 'post', 'delete', 'patch'].map((m) => [
              m,
              { $ref: '#/$defs/operation' },
            ]),
          ),
        ),
      },
      components: closed({
        schemas: each('schema'),
        responses: each('response'),
        headers: each('header'),
        parameters: each('parameter'),
        securitySchemes: {
          type: 'object',
          additionalProperties: closed(
            {
              type: { enum: ['http', 'apiKey'] },
              scheme: { type: 'string' },
              in: { enum: ['query', 'header', 'cookie'] },
              name: { type: 'string' },
              description: { type: 'string' },
            },
            ['type'],
          ),
        },
      }),
    },
    ['openapi', 'info', 'paths'],
  ),
  $defs: {
    schema: { $ref: 'https://json-schema.org/draft/2020-12/schema' },
    header: either(
      closed({ description: { type: 'string' }, schema: { $ref: '#/$defs/schema' } }, ['schema']),
    ),
    parameter: either(
      closed(
        {
          name: { type: 'string' },
          in: { enum: ['query', 'header', 'path', 'cookie'] },
          description: { type: 'string' },
          required: { type: 'boolean' },
          deprecated: { type: 'boolean' },
          schema: { $ref: '#/$defs/schema' },
        },
        ['name', 'in', 'schema'],
      ),
    ),
    content: {
      type: 'object',
      propertyNames: { pattern: '^[a-z*]+/[a-z0-9.+*-]+$' },
      additionalProperties: closed({ schema: { $ref: '#/$defs/schema' } }, ['schema']),
    },
    response: either(
      closed(
        {
          description: { type: 'string', minLength: 1 },
          headers: each('header'),
          content: { $ref: '#/$defs/content' },
        },
        ['description'],
      ),
    ),
    operation: closed(
      {
        operationId: { type: 'string', pattern: '^[a-z][A-Za-z0-9]+$' },
        tags: { type: 'array', items: { type: 'string' }, minItems: 1 },
        summary: { type: 'string', pattern: '\\.$' },
        description: { type: 'string' },
        'x-custody-roles': { type: 'array', items: { type: 'string' }, minItems: 1 },
        security: { type: 'array', items: { type: 'object' } },
        parameters: { type: 'array', items: { $ref: '#/$defs/parameter' } },
        requestBody: closed(
          { required: { type: 'boolean' }, content: { $ref: '#/$defs/content' } },
          ['content'],
        ),
        responses: {
          type: 'object',
          propertyNames: { pattern: '^[1-5]\\d\\d$' },
          minProperties: 1,
          additionalProperties: { $ref: '#/$defs/response' },
        },
      },
      ['operationId', 'responses', 'summary', 'security', 'tags'],
    ),
  },
}
