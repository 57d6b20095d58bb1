import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { startTestCustody, userUrn } from '../support/custody.ts'
import { enterpriseUrn, outcomeOf, refusal, filter, person, unique } from '../support/scim.ts'

const scim = '/scim/v2'
const discovery = ['ServiceProviderConfig', 'Schemas', 'ResourceTypes'] as const

describe('how SCIM is spoken (RFC 7644 §2, §3.1, §3.12, §3.13)', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    await custody.createPerson('nora@x.test', { displayName: 'Nora Ek' })
  })
  afterAll(() => custody.close())

  it.each([
    ['no token', null, {}],
    ['Authorization: non-token (Okta)', null, { authorization: 'non-token' }],
    ['Basic', null, { authorization: 'Basic bm9yYTp4' }],
    ['an unknown token', 'cst_0000000000_aaaaaaaaaaaaaaaaaaaaaaaa', {}],
  ])('answers %s with 401, a challenge and a SCIM error', async (_name, token, headers) => {
    const reply = await custody.call('GET', `${scim}/Users`, undefined, { token, headers })

    expect(outcomeOf(reply)).toEqual(refusal(401))
    expect(reply.headers.get('www-authenticate')).toMatch(/^Bearer realm=/)
  })

  const sent = (type: string) =>
    custody.call('POST', `${scim}/Users`, person(unique('typed')), {
      headers: { 'content-type': type },
    })

  it.each([
    'application/scim+json',
    'application/json',
    'application/scim+json; charset=utf-8',
    'Application/JSON;charset=UTF-8',
  ])('reads a body of type %s', async (type) => {
    const reply = await sent(type)

    expect(reply.status).toBe(201)
    expect(reply.headers.get('content-type')).toContain('application/scim+json')
  })

  it.each([
    'text/plain',
    'application/xml',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
  ])('refuses a body of type %s', async (type) => {
    expect(outcomeOf(await sent(type))).toEqual(refusal(415))
  })

  it.each(['*/*', 'application/json', 'application/scim+json', 'text/html, */*;q=0.8'])(
    'answers application/scim+json to Accept: %s',
    async (accept) => {
      const reply = await custody.call('GET', `${scim}/Users`, undefined, { headers: { accept } })

      expect(reply.status).toBe(200)
      expect(reply.headers.get('content-type')).toContain('application/scim+json')
    },
  )

  it.each([
    [`${scim}/Users`, 'its base with a version'],
    ['/scim/Users', 'its base without one'],
    [`${scim}/Users/`, 'a slash at the end'],
    ['/scim/Users/', 'both'],
  ])('serves %s: %s', async (path) => {
    const query = '?filter=DisplayName+eq+%22Nora+Ek%22'
    const { status, body } = await custody.call('GET', `${path}${query}`)

    expect(status).toBe(200)
    expect(body.Resources.map((r: Json) => r.userName)).toEqual(['nora@x.test'])
    expect(body.Resources[0].meta.location).toMatch(/\/scim\/v2\/Users\/[^/]+$/)
  })

  it('reads names of attributes in any case and spells them as published', async () => {
    const userName = unique('case')
    const { status, body } = await custody.call('POST', `${scim}/Users`, {
      Schemas: [userUrn, enterpriseUrn],
      UserName: userName,
      Active: true,
      Emails: [{ Value: 'c@x.test', Primary: true, TYPE: 'work' }],
      [enterpriseUrn.toUpperCase()]: { Department: 'IT' },
    })

    expect(status).toBe(201)
    expect(body).toMatchObject({
      schemas: [userUrn, enterpriseUrn],
      userName,
      active: true,
      emails: [{ value: 'c@x.test', primary: true, type: 'work' }],
      [enterpriseUrn]: { department: 'IT' },
    })
    expect(body).not.toHaveProperty('UserName')
  })

  it.each(['/Nothing', '/Users/a/b/c', '/Users/nobody', '/Groups/nobody', '/Credentials/nobody'])(
    'answers %s with 404 and a SCIM error',
    async (path) => {
      expect(outcomeOf(await custody.call('GET', `${scim}${path}`))).toEqual(refusal(404))
    },
  )

  it.each([
    ['PUT', '/Users'],
    ['PATCH', '/Groups'],
    ['DELETE', '/Credentials'],
    ['POST', '/Users/some-id'],
    ['GET', '/Bulk'],
    ['DELETE', '/.search'],
  ])('answers %s %s with 405 and a SCIM error', async (method, path) => {
    const reply = await custody.call(method, `${scim}${path}`)

    expect(outcomeOf(reply)).toEqual(refusal(405))
    expect(reply.headers.get('allow')).not.toContain(method)
  })

  it('ignores parameters nobody knows on every route (aadOptscim062020)', async () => {
    for (const path of ['/Users', '/Groups', '/ServiceProviderConfig', '/Schemas']) {
      for (const query of ['?aadOptscim062020', '?aadOptscim062020=true']) {
        expect((await custody.call('GET', `${scim}${path}${query}`)).status, path).toBe(200)
      }
    }
  })

  it('names status, scimType and detail in every refusal', async () => {
    const taken = await custody.call('POST', `${scim}/Users`, person('NORA@X.test'))
    const syntax = await custody.call('POST', `${scim}/Users`, '{"userName":')
    const where = await custody.call('GET', `${scim}/Users?${filter('userName is "x"')}`)
    const large = await custody.call('POST', `${scim}/Users`, {
      ...person('x'),
      title: 'x'.repeat(1_100_000),
    })

    expect(outcomeOf(taken)).toEqual(refusal(409, 'uniqueness'))
    expect(outcomeOf(syntax)).toEqual(refusal(400, 'invalidSyntax'))
    expect(outcomeOf(where)).toEqual(refusal(400, 'invalidFilter'))
    expect(outcomeOf(large)).toEqual(refusal(413))
  })

  it('speaks HTTP without an Accept header, too', async () => {
    const status = await new Promise((resolve, reject) => {
      const url = new URL(`${custody.url}${scim}/Users?count=1`)
      httpRequest(url, { headers: { authorization: `Bearer ${custody.adminToken}` } }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
        .on('error', reject)
        .end()
    })

    expect(status).toBe(200)
  })

  describe('discovery (RFC 7643 §5, §6, §7; RFC 7644 §4)', () => {
    const ask = (path: string, headers = {}) =>
      custody.call('GET', `${scim}/${path}`, undefined, { token: null, headers })

    it.each(discovery)('is open to everybody: %s', async (path) => {
      const reply = await ask(path)

      expect(reply.status).toBe(200)
      expect(reply.headers.get('content-type')).toContain('application/scim+json')
      expect(reply.text).not.toContain(':null')
    })

    it.each(discovery.flatMap((path) => ['POST', 'PUT', 'PATCH', 'DELETE'].map((m) => [m, path])))(
      'cannot be changed: %s %s',
      async (method, path) => {
        const reply = await custody.call(method, `${scim}/${path}`)

        expect(outcomeOf(reply)).toEqual(refusal(405))
        expect(reply.headers.get('allow')).toBe('GET')
      },
    )

    it.each(discovery)('takes no filter: %s', async (path) => {
      expect(outcomeOf(await ask(`${path}?${filter('id eq "x"')}`))).toEqual(refusal(403))
    })

    it.each(['Schemas/urn:nobody', 'ResourceTypes/Nobody'])('has no %s', async (path) => {
      expect(outcomeOf(await ask(path))).toEqual(refusal(404))
    })

    it('says in one object what the service can do', async () => {
      const { body } = await ask('ServiceProviderConfig')

      expect(body).toMatchObject({
        schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'],
        documentationUri: expect.stringMatching(/^http/),
        patch: { supported: true },
        bulk: { supported: true, maxOperations: 500, maxPayloadSize: 4_194_304 },
        filter: { supported: true, maxResults: 200 },
        changePassword: { supported: false },
        sort: { supported: true },
        etag: { supported: true },
        pagination: {
          cursor: true,
          index: true,
          defaultPaginationMethod: 'index',
          defaultPageSize: 100,
          maxPageSize: 200,
          cursorTimeout: 3_600,
        },
        meta: { resourceType: 'ServiceProviderConfig', location: expect.stringMatching(/Config$/) },
      })
      for (const scheme of body.authenticationSchemes) {
        expect(scheme.type).toMatch(/^(oauth|oauth2|oauthbearertoken|httpbasic|httpdigest)$/)
        expect(scheme).toMatchObject({
          name: expect.any(String),
          description: expect.any(String),
          specUri: expect.stringMatching(/^https:/),
          primary: expect.any(Boolean),
        })
      }
    })

    it('lists resource types by name, each with a schema that is there', async () => {
      const { body } = await ask('ResourceTypes')
      const known = (await ask('Schemas')).body.Resources.map((s: Json) => s.id)

      expect(body).toMatchObject({ totalResults: 4, itemsPerPage: 4, startIndex: 1 })
      for (const type of body.Resources) {
        const named = [type.schema, ...(type.schemaExtensions ?? []).map((e: Json) => e.schema)]
        expect(known).toEqual(expect.arrayContaining(named))
        expect(type.id).toBe(type.name)
        expect((await ask(`ResourceTypes/${type.id}`)).body).toEqual(type)
        expect((await custody.call('GET', `${scim}${type.endpoint}?count=0`)).status).toBe(200)
      }
    })

    it('describes every attribute with all its facets, in camel case', async () => {
      const { body } = await ask('Schemas')
      const facets = [
        'name type multiValued description required caseExact mutability returned uniqueness',
        'canonicalValues referenceTypes subAttributes',
      ]
      const walk = (attributes: readonly Json[], path: string): void => {
        for (const attribute of attributes) {
          const at = `${path}.${attribute.name}`
          const must = facets[0]!.split(' ')
          expect(Object.keys(attribute), at).toEqual(expect.arrayContaining(must))
          const may = facets.join(' ').split(' ')
          expect(
            Object.keys(attribute).filter((name) => !may.includes(name)),
            at,
          ).toEqual([])
          walk(attribute.subAttributes ?? [], at)
        }
      }

      for (const schema of body.Resources) {
        walk(schema.attributes, schema.id)
        expect((await ask(`Schemas/${schema.id}`)).body).toEqual(schema)
      }
    })
  })
})
