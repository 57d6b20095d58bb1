import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareText } from '../../src/domain/text.ts'
import type { CallOptions, Json, Reply, TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'

const searchUrn = 'urn:ietf:params:scim:api:messages:2.0:SearchRequest'
const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

let custody: TestCustody
let ada: string
beforeAll(async () => {
  custody = await startTestCustody({ roles: ['http'] })
  ada = await custody.createPerson('ada', {
    title: 'zeta',
    displayName: 'ada',
    externalId: 'b',
    name: { familyName: 'Byron' },
    emails: [{ value: 'z@x.test' }, { value: 'a@x.test', primary: true }],
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:User', enterprise],
    [enterprise]: { department: 'Tools' },
  })
  await custody.createPerson('Ben', {
    title: 'Alpha',
    displayName: 'Ben',
    externalId: 'B',
    name: { familyName: 'Čapek' },
    emails: [{ value: 'm@x.test' }, { value: 'b@x.test' }],
  })
  await custody.createPerson('cleo', { displayName: 'cleo', externalId: 'a' })
  await custody.createPerson('dora', {
    title: 'alpha',
    displayName: 'Émile',
    name: { familyName: 'byron' },
  })
  const day = (n: number) => new Date(Date.now() + n * 86_400_000).toISOString()
  const made = await custody.requestAccount('svc', ada, {
    expiresAt: day(60),
    credentials: [30, 10, 20].map((days) => ({
      provider: 'tokens',
      kind: 'api-token',
      display: `in ${days}`,
      scopes: ['read'],
      deliverTo: `files:svc/${days}`,
      expiresAt: day(days),
    })),
  })
  if (made.status !== 201) throw new Error(made.text)
  for (const displayName of ['ops', 'Dev', 'Böse', 'dba']) {
    await custody.call('POST', '/scim/v2/Groups', { schemas: [groupUrn], displayName })
  }
})
afterAll(() => custody.close())

const get = (query: string, options?: CallOptions): Promise<Reply> =>
  custody.call('GET', `/scim/v2${query}`, undefined, options)
const names = (reply: Reply): string[] => {
  expect(reply.status, reply.text).toBe(200)
  return reply.body.Resources.map((r: Json) => r.userName ?? r.displayName)
}
const sorted = async (query: string, options?: CallOptions): Promise<string[]> =>
  names(await get(query, options))
/** Every page of one row, by cursor. */
const walk = async (query: string, count = 1): Promise<string[]> => {
  const found: string[] = []
  for (let cursor: string | undefined = ''; cursor !== undefined;) {
    const page: Reply = await get(`${query}&count=${count}&cursor=${cursor}`)
    found.push(...names(page))
    cursor = page.body.nextCursor
  }
  return found
}

describe('a sorted list', () => {
  it.each([
    ['text without regard to case', 'userName', 'ada Ben cleo dora svc'],
    ['text downwards', 'userName&sortOrder=descending', 'svc dora cleo Ben ada'],
    ['names in any case', 'USERNAME&SORTORDER=Ascending', 'ada Ben cleo dora svc'],
    ['a full URN', 'urn:ietf:params:scim:schemas:core:2.0:User:userName', 'ada Ben cleo dora svc'],
    ['case where it counts', 'externalId', 'Ben cleo ada dora svc'],
    ['missing values last', 'title', 'Ben dora ada cleo svc'],
    ['missing values first downwards', 'title&sortOrder=descending', 'svc cleo ada dora Ben'],
    ['a sub-attribute', 'name.familyName', 'ada dora Ben cleo svc'],
    ['the primary value, else the first', 'emails', 'ada Ben cleo dora svc'],
    ['the same downwards', 'emails.value&sortOrder=descending', 'svc dora cleo Ben ada'],
    ['an extension', `${enterprise}:department`, 'ada Ben cleo dora svc'],
    ['our own extension', `${nhi}:expiresAt`, 'svc ada Ben cleo dora'],
    ['values of a reference', `${nhi}:owner.value`, 'svc ada Ben cleo dora'],
    ['an id', 'id&sortOrder=descending', 'svc dora cleo Ben ada'],
  ])('orders by %s', async (_name, sortBy, expected) => {
    const query = `/Users?sortBy=${sortBy}`

    expect((await sorted(query)).join(' ')).toBe(expected)
    expect((await walk(query)).join(' ')).toBe(expected)
    const pages = await Promise.all(
      [1, 3, 5].map((at) => sorted(`${query}&startIndex=${at}&count=2`)),
    )
    expect(pages.flat().join(' ')).toBe(expected)
  })

  it('is the same by POST', async () => {
    const body = { schemas: [searchUrn], sortBy: 'userName', sortOrder: 'descending', count: 2 }

    const reply = await custody.call('POST', '/scim/v2/Users/.search', body)

    expect(names(reply)).toEqual(['svc', 'dora'])
  })

  it('holds with a filter', async () => {
    expect(await sorted('/Users?filter=title pr&sortBy=title&sortOrder=descending')).toEqual([
      'ada',
      'dora',
      'Ben',
    ])
  })

  it('has groups by displayName and credentials by expiry', async () => {
    expect(await sorted('/Groups?sortBy=displayName')).toEqual(['Böse', 'dba', 'Dev', 'ops'])
    expect(await sorted('/Credentials?sortBy=expiresAt')).toEqual(['in 10', 'in 20', 'in 30'])
  })

  it('has only what the client may see', async () => {
    const { token } = await custody.createClient('directory', { directory: 'default' })

    expect(await sorted('/Users?sortBy=userName&sortOrder=descending', { token })).toEqual([
      'dora',
      'cleo',
      'Ben',
      'ada',
    ])
  })

  it('keeps equal values in order of id, through pages of any size', async () => {
    const query = '/Users?sortBy=active'

    expect(await walk(query, 2)).toEqual(await sorted('/Users?count=200'))
  })

  it('goes on behind the value where it stopped when that value changes', async () => {
    const first = await get('/Users?sortBy=title&count=2&cursor=')
    expect(names(first)).toEqual(['Ben', 'dora'])
    const change = (value: string) =>
      custody.call('PATCH', `/scim/v2/Users/${first.body.Resources[1].id}`, {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
        Operations: [{ op: 'replace', path: 'title', value }],
      })
    await change('zz')

    const next = await get(`/Users?sortBy=title&count=2&cursor=${first.body.nextCursor}`)

    // Nobody is lost: who moved behind the position comes again, at its new place.
    expect(names(next)).toEqual(['ada', 'dora'])
    await change('alpha')
  })

  it('carries long values in its cursor as far as they order', async () => {
    const ids: string[] = []
    for (const i of [2, 1, 3]) {
      const nickName = `${'ü'.repeat(250)}${i}${'x'.repeat(5_000)}`
      ids.push(await custody.createPerson(`long${i}`, { nickName }))
    }

    expect((await walk('/Users?sortBy=nickName')).slice(0, 3)).toEqual(['long1', 'long2', 'long3'])
    for (const id of ids) await custody.call('DELETE', `/scim/v2/Users/${id}`)
  })

  it.each([
    ['sortOrder=up&sortBy=userName', 'lenient'],
    ['sortOrder=up', 'rfc'],
    ['sortBy=colour', 'rfc'],
    ['sortBy=colour', 'interop'],
    ['sortBy=name', 'rfc'],
    ['sortBy=emails[primary eq true].value', 'rfc'],
    [`sortBy=${enterprise}`, 'rfc'],
  ])('refuses %s for %s', async (query, dialect) => {
    const { token } = await custody.createClient('auditor', { dialect })

    const reply = await get(`/Users?${query}`, { token })

    expect(reply.body).toMatchObject({ status: '400', scimType: 'invalidValue' })
  })

  it.each(['colour', 'name', 'userName.x'])('ignores %s for a lenient client', async (sortBy) => {
    expect(await sorted(`/Users?sortBy=${sortBy}`)).toEqual(await sorted('/Users'))
  })

  it('is promised in the configuration', async () => {
    expect((await get('/ServiceProviderConfig')).body.sort).toEqual({ supported: true })
  })
})

describe('a sorted list over all types', () => {
  const expected = async (): Promise<string[]> => {
    const all = (await get('/?count=200')).body.Resources as Json[]
    return all
      .map((r) => ({ name: r.userName ?? r.displayName, key: r.displayName, id: r.id }))
      .sort((a, b) => {
        if (a.key === undefined || b.key === undefined) {
          return Number(a.key === undefined) - Number(b.key === undefined) || (a.id < b.id ? -1 : 1)
        }
        const key = (r: Json) => r.key.normalize('NFC').toLowerCase()
        return compareText(key(a), key(b)) || (a.id < b.id ? -1 : 1)
      })
      .map((r) => r.name)
  }

  it('is one order, not one per type, by either way of paging', async () => {
    const query = '/?sortBy=displayName'
    const all = await expected()

    expect(all).toHaveLength(12)
    expect(await sorted(query)).toEqual(all)
    for (const count of [1, 3, 5]) expect(await walk(query, count)).toEqual(all)
    expect(await sorted(`${query}&startIndex=4&count=5`)).toEqual(all.slice(3, 8))
    expect(await walk(`${query}&sortOrder=descending`, 5)).toEqual(all.toReversed())
    const { body } = await custody.call('POST', '/scim/v2/.search', {
      schemas: [searchUrn],
      sortBy: 'displayName',
      count: 0,
    })
    expect(body).toMatchObject({ totalResults: 12, Resources: [] })
  })

  it('has types without the attribute behind those that have it', async () => {
    const found = await walk('/?sortBy=userName', 4)

    expect(found.slice(0, 5)).toEqual(['ada', 'Ben', 'cleo', 'dora', 'svc'])
    expect(found).toHaveLength(12)
    const down = await walk('/?sortBy=userName&sortOrder=descending', 4)
    expect(down).toEqual(found.toReversed())
  })

  it('holds with a filter that only some types know', async () => {
    expect(await walk('/?sortBy=displayName&filter=provider pr', 2)).toEqual([
      'in 10',
      'in 20',
      'in 30',
    ])
  })

  it('says how far an index reaches', async () => {
    const reply = await get('/?sortBy=id&startIndex=1002')

    expect(reply.body).toMatchObject({ status: '400', scimType: 'invalidValue' })
    expect(reply.body.detail).toContain('cursor')
  })
})
