import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'

let custody: TestCustody
let person: string
beforeAll(async () => {
  custody = await startTestCustody({ roles: ['http'] })
  person = await custody.createPerson('odd.requests')
})
afterAll(() => custody.close())

describe('a request that nobody would send on purpose', () => {
  it.each([
    '/scim/v2/Users?filter=a&filter=b',
    '/scim/v2/Users?attributes=a&attributes=b',
    '/scim/v2/Users?startIndex=1&startIndex=2',
    '/api/v1/accounts?cursor=a&cursor=b',
    '/api/v1/operations?subject=a&subject=b',
    '/api/v1/audit?target=a&target=b',
  ])('is refused when a parameter comes twice: %s', async (path) => {
    const reply = await custody.call('GET', path)

    expect(reply.status).toBe(400)
    expect(reply.text).toContain('more than once')
  })

  it.each([
    ['POST', '/scim/v2/Users', undefined],
    ['POST', '/scim/v2/Users', '[]'],
    ['POST', '/scim/v2/Users', 'null'],
    ['POST', '/scim/v2/Users', '7'],
    ['PUT', '/scim/v2/Users/PERSON', undefined],
    ['PUT', '/scim/v2/Users/PERSON', 'null'],
    ['PUT', '/scim/v2/Users/PERSON', '[]'],
    ['PUT', '/scim/v2/Users/PERSON', '"text"'],
    ['PATCH', '/scim/v2/Users/PERSON', undefined],
    ['PATCH', '/scim/v2/Users/PERSON', 'null'],
    ['PATCH', '/scim/v2/Users/PERSON', '[]'],
    ['POST', '/scim/v2/Credentials', 'null'],
    ['POST', '/api/v1/clients', 'null'],
    ['POST', '/oauth2/introspect', 'null'],
  ])('%s %s with the body %s is the client\u2019s fault', async (method, path, body) => {
    const reply = await custody.call(method, path.replace('PERSON', person), body)

    expect(reply.status).toBe(400)
  })

  it.each([
    '/scim/v2/Users/%00',
    '/scim/v2/Users?filter=userName%20eq%20%22%00%22',
    '/api/v1/operations?status=nonsense',
    '/api/v1/accounts?cursor=%F0%9F%92%A9',
    '/scim/v2/Users?count=-1',
  ])('never ends as an error of ours: %s', async (path) => {
    expect((await custody.call('GET', path)).status).toBeLessThan(500)
  })
})

describe('a write whose answer cannot be given', () => {
  it('is refused before anything is written', async () => {
    const body = { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: 'half.done' }
    const both = 'attributes=userName&excludedAttributes=title'

    const reply = await custody.call('POST', `/scim/v2/Users?${both}`, body)

    expect(reply.body).toMatchObject({ status: '400', scimType: 'invalidValue' })
    const found = await custody.call('GET', '/scim/v2/Users?filter=userName eq "half.done"')
    expect(found.body.totalResults).toBe(0)
  })
})

describe('a requester', () => {
  it('may repeat what failed of its own accounts, and nobody else\u2019s', async () => {
    const [own, other] = [
      await custody.createClient('requester'),
      await custody.createClient('requester'),
    ]
    const body = {
      schemas: [
        'urn:ietf:params:scim:schemas:core:2.0:User',
        'urn:custody:scim:schemas:extension:nhi:1.0:User',
      ],
      userName: 'svc-retry',
      'urn:custody:scim:schemas:extension:nhi:1.0:User': {
        kind: 'bot',
        owner: { value: person },
        purpose: 'testing',
        credentials: [{ provider: 'tokens', kind: 'api-token', scopes: ['read'] }],
      },
    }
    const made = await custody.call('POST', '/scim/v2/Users', body, { token: own.token })
    const id = made.headers.get('custody-operation')!
    const store = custody.running.engine.life.store
    const operation = (
      await store.read.operations({
        tenant: 'default' as never,
        after: null,
        limit: 1,
      })
    )[0]!
    await store.commit([
      {
        type: 'advance',
        id: operation.id,
        fence: operation.fence,
        set: { status: 'needsOperator', failure: { code: 'denied', message: 'ask' } },
        release: true,
        at: operation.createdAt,
      },
    ])
    const retry = (token: string) =>
      custody.call('POST', `/api/v1/operations/${id}/retry`, {}, { token })

    expect((await retry(other.token)).status).toBe(404)
    expect((await retry(own.token)).status).toBe(202)
  })
})
