import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, Reply, TestCustody } from '../support/custody.ts'
import {
  credentialUrn,
  eventually,
  nhiUrn,
  patchUrn,
  startTestCustody,
  userUrn,
} from '../support/custody.ts'

const bulkUrn = 'urn:ietf:params:scim:api:messages:2.0:BulkRequest'
const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

describe('POST /Bulk', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(() => custody.close())

  const bulk = (operations: readonly unknown[], more: Record<string, unknown> = {}) =>
    custody.call('POST', '/scim/v2/Bulk', {
      schemas: [bulkUrn],
      Operations: operations,
      ...more,
    })
  const person = (bulkId: string, userName: string, more: Record<string, unknown> = {}): Json => ({
    method: 'POST',
    path: '/Users',
    bulkId,
    data: { schemas: [userUrn], userName, ...more },
  })
  const account = (bulkId: string, userName: string, owner: string): Json => ({
    method: 'POST',
    path: '/Users',
    bulkId,
    data: {
      schemas: [userUrn, nhiUrn],
      userName,
      [nhiUrn]: { kind: 'bot', owner: { value: owner }, purpose: 'bulk' },
    },
  })
  const statuses = (reply: Reply): string[] =>
    reply.body.Operations.map((o: { status: string }) => o.status)
  const idOf = (location: string): string => location.split('/').at(-1)!
  const read = async (location: string): Promise<Json> =>
    (await custody.call('GET', new URL(location).pathname)).body

  it('creates a person, an account of theirs and a credential of that, named backwards', async () => {
    const reply = await bulk([
      {
        method: 'POST',
        path: '/Credentials',
        bulkId: 'key',
        data: {
          schemas: [credentialUrn],
          serviceAccount: { value: 'bulkId:ci' },
          provider: 'tokens',
          kind: 'api-token',
          scopes: ['read'],
          deliverTo: { sink: 'files', path: 'bulk/key' },
        },
      },
      account('ci', 'bulk-ci', 'bulkId:ada'),
      person('ada', 'bulk-ada@x.test'),
    ])

    expect(reply.status).toBe(200)
    expect(reply.body.schemas).toEqual(['urn:ietf:params:scim:api:messages:2.0:BulkResponse'])
    expect(statuses(reply)).toEqual(['201', '201', '201'])
    const [key, ci, ada] = reply.body.Operations
    expect([key.bulkId, ci.bulkId, ada.bulkId]).toEqual(['key', 'ci', 'ada'])
    expect(ada).toMatchObject({ method: 'POST', version: 'W/"1"' })
    expect((await read(ci.location))[nhiUrn].owner.value).toBe(idOf(ada.location))
    expect((await read(key.location)).serviceAccount.value).toBe(idOf(ci.location))
    expect(reply.headers.get('custody-operation')).toMatch(/^[0-9a-f-]{36}$/)
    const secret = await eventually(
      () => custody.secretAt('bulk/key'),
      (s) => s !== null,
    )
    expect(secret).toMatch(/^csk_/)
  })

  it('resolves managers of each other by creating first and adding later', async () => {
    const manages = (bulkId: string): Json => ({
      [enterpriseUrn]: { manager: { value: `bulkId:${bulkId}` }, department: 'd' },
    })
    const reply = await bulk([
      person('a', 'circle-a@x.test', manages('b')),
      person('b', 'circle-b@x.test', manages('a')),
      person('self', 'circle-self@x.test', manages('self')),
    ])

    expect(statuses(reply)).toEqual(['201', '201', '201'])
    const [a, b, self] = await Promise.all(
      reply.body.Operations.map((o: { location: string }) => read(o.location)),
    )
    expect(a[enterpriseUrn].manager.value).toBe(b.id)
    expect(b[enterpriseUrn]).toMatchObject({ manager: { value: a.id }, department: 'd' })
    expect(self[enterpriseUrn].manager.value).toBe(self.id)
    expect(reply.body.Operations[1].version).toBe(b.meta.version)
  })

  it('takes back one half of a circle whose other half failed', async () => {
    const before = await custody.createPerson('taken@x.test')
    const reply = await bulk([
      person('a', 'taken@x.test', { [enterpriseUrn]: { manager: { value: 'bulkId:b' } } }),
      person('b', 'half@x.test', { [enterpriseUrn]: { manager: { value: 'bulkId:a' } } }),
    ])

    expect(statuses(reply)).toEqual(['409', '409'])
    expect(reply.body.Operations[0].response.detail).toContain(before)
    expect(reply.body.Operations[1].response).toMatchObject({ scimType: 'invalidValue' })
    const left = await custody.call('GET', '/scim/v2/Users?filter=userName eq "half@x.test"')
    expect(left.body.totalResults).toBe(0)
  })

  it('changes and deletes what the same request creates, by its place in the path', async () => {
    const reply = await bulk([
      person('p', 'path@x.test'),
      {
        method: 'PATCH',
        path: '/Users/bulkId:p',
        data: { schemas: [patchUrn], Operations: [{ op: 'add', path: 'title', value: 'Dr' }] },
      },
      person('q', 'gone@x.test'),
      { method: 'DELETE', path: '/Users/bulkId:q' },
    ])

    expect(statuses(reply)).toEqual(['201', '200', '201', '204'])
    const [p, patched, q, gone] = reply.body.Operations
    expect(patched.location).toBe(p.location)
    expect(gone).toEqual({ method: 'DELETE', location: q.location, status: '204' })
    expect((await read(p.location)).title).toBe('Dr')
    expect((await custody.call('GET', new URL(q.location).pathname)).status).toBe(404)
  })

  it('answers each failure in its place, and fails what depends on it', async () => {
    const reply = await bulk([
      account('x', 'orphan', 'bulkId:nobody'),
      account('y', 'child', 'bulkId:bad'),
      { method: 'POST', path: '/Users', bulkId: 'bad', data: { schemas: [userUrn] } },
      person('ok', 'fine@x.test'),
      { method: 'DELETE', path: '/Users/none' },
      { method: 'POST', path: '/Bulk', bulkId: 'nested', data: {} },
      { method: 'PATCH', path: '/Me', data: {} },
      { method: 'POST', path: '/Nothing', bulkId: 'n', data: {} },
    ])

    expect(reply.status).toBe(200)
    expect(statuses(reply)).toEqual(['409', '409', '400', '201', '404', '400', '400', '404'])
    for (const [i, { status, response }] of reply.body.Operations.entries()) {
      if (i === 3) continue
      expect(response).toMatchObject({
        schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'],
        status,
      })
    }
    const failed = reply.body.Operations.filter((o: Json) => o.method === 'POST' && o.response)
    expect(failed.map((o: Json) => o.location)).toEqual(failed.map(() => undefined))
    expect(reply.body.Operations[4].location).toBe(`${custody.url}/scim/v2/Users/none`)
  })

  it('stops after failOnErrors errors and answers what it did', async () => {
    const bad = { method: 'DELETE', path: '/Users/none' }
    const reply = await bulk([person('1', 'one@x.test'), bad, bad, person('2', 'two@x.test')], {
      failOnErrors: 2,
    })

    expect(statuses(reply)).toEqual(['201', '404', '404'])
    const second = await custody.call('GET', '/scim/v2/Users?filter=userName eq "two@x.test"')
    expect(second.body.totalResults).toBe(0)
  })

  it('checks the version of an operation as it checks If-Match', async () => {
    const id = await custody.createPerson('versioned@x.test')
    const patch = (version: string, value: string): Json => ({
      method: 'PATCH',
      path: `/Users/${id}`,
      version,
      data: { schemas: [patchUrn], Operations: [{ op: 'replace', path: 'title', value }] },
    })

    const reply = await bulk([patch('W/"1"', 'a'), patch('W/"1"', 'b'), patch('W/"2"', 'c')])

    expect(statuses(reply)).toEqual(['200', '412', '200'])
    expect(reply.body.Operations[2].version).toBe('W/"3"')
    expect((await custody.call('GET', `/scim/v2/Users/${id}`)).body.title).toBe('c')
  })

  it('names the limit that a request breaks', async () => {
    const many = await bulk(
      Array.from({ length: 501 }, () => ({ method: 'DELETE', path: '/Users/x' })),
    )
    expect(many.status).toBe(413)
    expect(many.body.detail).toContain('500')

    const large = await bulk([person('a', 'x'.repeat(4_200_000))])
    expect(large.status).toBe(413)
    expect(large.body.detail).toContain('4194304')

    const fits = await bulk([person('a', 'large@x.test', { title: 'x'.repeat(2_000_000) })])
    expect(fits.status).toBe(200)
  })

  it('gives a client no more than single requests would', async () => {
    const { token } = await custody.createClient('auditor')
    const reply = await custody.call(
      'POST',
      '/scim/v2/Bulk',
      { schemas: [bulkUrn], Operations: [person('a', 'sneaky@x.test')] },
      { token },
    )

    expect(statuses(reply)).toEqual(['403'])
  })

  it('serves 500 people in one request', async () => {
    const reply = await bulk(
      Array.from({ length: 500 }, (_, i) => person(`p${i}`, `many-${i}@x.test`)),
    )

    expect(new Set(statuses(reply))).toEqual(new Set(['201']))
    expect(reply.body.Operations).toHaveLength(500)
  })
})
