import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CallOptions, Json, Reply, TestCustody } from '../support/custody.ts'
import { patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

const searchUrn = 'urn:ietf:params:scim:api:messages:2.0:SearchRequest'

describe('lists and searches', () => {
  let custody: TestCustody
  let account: string
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    const ada = await custody.createPerson('ada@x.test', { title: 'Dr' })
    for (const name of ['ben', 'cleo', 'dora', 'emil']) await custody.createPerson(`${name}@x.test`)
    account = (await custody.requestAccount('ci', ada)).body.id
  })
  afterAll(() => custody.close())

  const get = (query: string, options?: CallOptions): Promise<Reply> =>
    custody.call('GET', `/scim/v2${query}`, undefined, options)
  const search = (path: string, body: Json, options?: CallOptions): Promise<Reply> =>
    custody.call('POST', `/scim/v2${path}/.search`, { schemas: [searchUrn], ...body }, options)
  const names = ({ body }: Reply): string[] =>
    body.Resources.map((r: Json) => r.userName ?? r.meta.resourceType)

  it('asks one type by POST as by GET', async () => {
    const reply = await search('/Users', {
      filter: 'userName sw "ada"',
      attributes: ['userName', 'title'],
      startIndex: 1,
      count: 10,
    })

    expect(reply.status).toBe(200)
    expect(reply.headers.get('content-type')).toContain('application/scim+json')
    expect(reply.body.totalResults).toBe(1)
    expect(Object.keys(reply.body.Resources[0]).sort()).toEqual([
      'id',
      'schemas',
      'title',
      'userName',
    ])
  })

  it('asks all types at the root, by POST and by GET', async () => {
    const all = await search('', {})
    expect(all.body.totalResults).toBe(7)
    expect(names(all).at(-1)).toBe('Credential')

    const users = await get(`/?filter=${encodeURIComponent('meta.resourceType eq "User"')}`)
    expect(users.body.totalResults).toBe(6)
    const keys = await search('', { filter: 'meta.resourceType eq "Credential"' })
    expect(names(keys)).toEqual(['Credential'])
  })

  it('pages through all types as through one', async () => {
    const page = await get('/?startIndex=6&count=2')

    expect(page.body).toMatchObject({ totalResults: 7, startIndex: 6, itemsPerPage: 2 })
    expect(names(page)).toEqual(['ci', 'Credential'])
    expect((await get('/?count=0')).body).toMatchObject({ totalResults: 7, Resources: [] })
  })

  it('at the root refuses what no type knows, and not what one does', async () => {
    const { token } = await custody.createClient('auditor', { dialect: 'rfc' })

    const known = await search('', { filter: 'provider eq "tokens"' }, { token })
    expect(names(known)).toEqual(['Credential'])
    const unknown = await search('', { filter: 'colour eq "red"' }, { token })
    expect(unknown.body).toMatchObject({ status: '400', scimType: 'invalidFilter' })
  })

  it('shows a role at the root what it may see and nothing else', async () => {
    const { token } = await custody.createClient('directory', { directory: 'other' })

    expect((await get('/', { token })).body.totalResults).toBe(0)
    const { token: verifier } = await custody.createClient('verifier')
    expect((await search('', {}, { token: verifier })).body.totalResults).toBe(0)
  })

  it.each([
    ['+ as a space', '/Users/?filter=userName+eq+%22ada@x.test%22', 1],
    ['names of parameters in any case', '/Users?FILTER=userName%20pr&StartIndex=2&COUNT=2', 2],
    ['keys nobody knows', '/Users?aadOptscim062020&filter=userName eq "ada@x.test"', 1],
    ['a key with a value nobody knows', '/Users?aadOptscim062020=true&count=1', 1],
    ['startIndex 0 and a negative one', '/Users?startindex=0&count=6', 6],
    ['the older base', '/../../scim/Users?count=3', 3],
  ])('reads %s', async (_name, query, shown) => {
    const reply = await get(query)

    expect(reply.status, reply.text).toBe(200)
    expect(reply.body.Resources).toHaveLength(shown)
  })

  it.each([
    ['a body that is a list', [], 'invalidSyntax'],
    ['a filter that is no text', { filter: { a: 1 } }, 'invalidValue'],
    ['a filter that is none', { filter: 'userName eq' }, 'invalidFilter'],
    ['a count that is none', { count: 'ten' }, 'invalidValue'],
    ['both lists of attributes', { attributes: ['a'], excludedAttributes: 'b' }, 'invalidValue'],
  ])('refuses %s', async (_name, body, scimType) => {
    const reply = await custody.call('POST', '/scim/v2/Users/.search', body)

    expect(reply.body).toMatchObject({ status: '400', scimType })
  })

  it('refuses the same parameter in two spellings', async () => {
    expect((await get('/Users?count=1&Count=2')).status).toBe(400)
  })

  it('has no filter by POST for clients of the interop profile', async () => {
    const { token } = await custody.createClient('auditor', { dialect: 'interop' })

    expect((await search('/Users', { filter: 'userName pr' }, { token })).status).toBe(501)
    expect((await search('/Users', { count: 1 }, { token })).status).toBe(200)
  })

  describe('by cursor', () => {
    const walk = async (query: string, options?: CallOptions): Promise<Reply[]> => {
      const pages: Reply[] = []
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const page: Reply = await get(`${query}&cursor=${cursor}`, options)
        expect(page.status, page.text).toBe(200)
        pages.push(page)
        cursor = page.body.nextCursor
      }
      return pages
    }

    it.each([
      ['/Users?count=2', 6, 3],
      ['/Users?count=3', 6, 2],
      ['/Users?count=200', 6, 1],
      ['/?count=4', 7, 2],
      ['/?count=3&filter=id pr', 7, 3],
      ['/Users?filter=title pr&count=1', 1, 1],
    ])('%s gives each once, in the order of the list', async (query, total, pages) => {
      const walked = await walk(query)

      expect(walked).toHaveLength(pages)
      const ids = walked.flatMap((p) => p.body.Resources.map((r: Json) => r.id))
      const listed = await get(query.replace(/count=\d+/, 'count=200'))
      expect(ids).toEqual(listed.body.Resources.map((r: Json) => r.id))
      expect(walked.map((p) => p.body.totalResults)).toEqual(walked.map(() => total))
      expect(walked.at(-1)!.body).not.toHaveProperty('nextCursor')
      expect(walked[0]!.body).not.toHaveProperty('startIndex')
    })

    it('works in .search as well', async () => {
      const first = await search('/Users', { cursor: '', count: 4 })
      const next = await search('/Users', { cursor: first.body.nextCursor, count: 4 })

      expect(next.body.Resources).toHaveLength(2)
    })

    it('gives forged and foreign cursors the same answer', async () => {
      const { nextCursor } = (await get('/Users?count=2&cursor')).body as { nextCursor: string }
      const { token } = await custody.createClient('auditor')

      const refused = await Promise.all([
        get('/Users?count=2&cursor=forged'),
        get(`/Users?count=2&cursor=${nextCursor}`, { token }),
        get(`/Users?count=3&cursor=${nextCursor}`),
        get(`/Users?count=2&cursor=${nextCursor}&filter=userName pr`),
        get(`/Users?count=2&cursor=${nextCursor}&sortBy=userName`),
        get(`/Credentials?count=2&cursor=${nextCursor}`),
      ])

      expect(new Set(refused.map((r) => r.text)).size).toBe(1)
      expect(refused[0]?.body).toMatchObject({ status: '400', scimType: 'invalidCursor' })
    })

    it.each(['-1', 'ten', '1.5'])('refuses a count of %s', async (count) => {
      expect((await get(`/Users?cursor&count=${count}`)).body).toMatchObject({
        status: '400',
        scimType: 'invalidCount',
      })
    })

    it('goes on where it was when rows come and go', async () => {
      const first = await get('/Users?count=2&cursor')
      const extra = await custody.createPerson('zoe@x.test')
      const [gone] = first.body.Resources as Json[]

      const second = await get(`/Users?count=200&cursor=${first.body.nextCursor}`)
      expect(second.status).toBe(400)
      const again = await get(`/Users?count=2&cursor=${first.body.nextCursor}`)
      expect(names(again)).toEqual(['cleo@x.test', 'dora@x.test'])
      expect(gone.userName).toBe('ada@x.test')
      await custody.call('DELETE', `/scim/v2/Users/${extra}`)
    })
  })

  it('promises in its configuration what it does', async () => {
    const { body } = await get('/ServiceProviderConfig')

    expect(body.bulk).toEqual({ supported: true, maxOperations: 500, maxPayloadSize: 4_194_304 })
    expect(body.pagination).toMatchObject({
      cursor: true,
      index: true,
      defaultPaginationMethod: 'index',
      maxPageSize: 200,
    })
    const schemes = body.authenticationSchemes.map((s: Json) => s.type)
    expect(schemes).toEqual(['oauthbearertoken', 'oauth2'])
  })

  describe('/Me', () => {
    it('is the person that the client stands for, at its permanent address', async () => {
      const person = await custody.createPerson('me@x.test')
      const { token } = await custody.createClient('admin', { person })
      const me = await get('/Me', { token })

      expect(me.body).toMatchObject({ id: person, userName: 'me@x.test' })
      const permanent = `${custody.url}/scim/v2/Users/${person}`
      expect(me.headers.get('location')).toBe(permanent)
      expect(me.body.meta.location).toBe(permanent)

      const patch = {
        schemas: [patchUrn],
        Operations: [{ op: 'add', path: 'title', value: 'Prof' }],
      }
      const changed = await custody.call('PATCH', '/scim/v2/Me', patch, { token })
      expect(changed.body.title).toBe('Prof')
      const put = { schemas: [userUrn], userName: 'me2@x.test' }
      expect((await custody.call('PUT', '/scim/v2/Me', put, { token })).body.userName).toBe(
        'me2@x.test',
      )
      expect((await custody.call('POST', '/scim/v2/Me', put, { token })).status).toBe(405)
      expect((await custody.call('DELETE', '/scim/v2/Me', undefined, { token })).status).toBe(204)
      expect((await get('/Me', { token })).status).toBe(404)
    })

    it('says why there is none', async () => {
      const reply = await get('/Me')

      expect(reply.status).toBe(404)
      expect(reply.body.detail).toMatch(/stands for no person.*--person/)
    })

    it('gives no right that its role has not', async () => {
      const person = await custody.createPerson('owner@x.test')
      const { token } = await custody.createClient('owner', { person })

      expect((await get('/Me', { token })).status).toBe(200)
      const { status } = await custody.call('DELETE', '/scim/v2/Me', undefined, { token })
      expect(status).toBe(403)
    })
  })

  it('keeps conditional reads', async () => {
    const first = await get(`/Users/${account}`)
    const etag = first.headers.get('etag')!

    const again = await get(`/Users/${account}`, { headers: { 'if-none-match': etag } })
    expect(again.status).toBe(304)
    expect(again.headers.get('etag')).toBe(etag)
  })
})
