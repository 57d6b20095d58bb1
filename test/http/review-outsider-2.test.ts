import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { patchUrn, startTestCustody, userUrn } from '../support/custody.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let custody: TestCustody
let person: string
beforeAll(async () => {
  // PostgreSQL: it refuses what SQLite keeps.
  database = await createDatabase()
  custody = await startTestCustody({ roles: ['http'], storeUrl: database.url })
  person = await custody.createPerson('odd.outsider', { title: 'kept' })
})
afterAll(async () => {
  await custody.close()
  await database.drop()
})

/** Sends text as it stands and reads until the other side has nothing more to say. */
const raw = (text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(custody.url)
    const socket = connect(Number(port), hostname)
    let answer = ''
    socket.on('data', (bytes) => (answer += String(bytes)))
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
    socket.write(text)
  })
const logOf = async (client: string): Promise<Json[]> =>
  (await custody.call('GET', `/api/v1/scim-requests?client=${client}`)).body.items
const patched = (operation: Json) =>
  custody.call('PATCH', `/scim/v2/Users/${person}`, {
    schemas: [patchUrn],
    Operations: [operation],
  })

describe('the request log', () => {
  it('keeps the requests of others when one holds NUL', async () => {
    const noisy = await custody.createClient('directory', { directory: 'a' })
    const quiet = await custody.createClient('directory', { directory: 'b' })

    await custody.call('GET', '/scim/v2/Users?count=0', undefined, { token: quiet.token })
    await custody.call('GET', '/scim/v2/Users/a%00b', undefined, { token: noisy.token })
    await custody.call('GET', '/scim/v2/Users?x=%00', undefined, { token: noisy.token })

    expect(await logOf(quiet.id)).toHaveLength(1)
    expect((await logOf(noisy.id)).map((row) => row.query ?? row.target)).toEqual([
      'x=\uFFFD',
      'a\uFFFDb',
    ])
  })

  it('masks secrets in parameters, filters, and under names in any case', async () => {
    const { id, token } = await custody.createClient('directory', { directory: 'c' })
    const send = (method: string, path: string, body?: unknown) =>
      custody.call(method, `/scim/v2/${path}`, body, { token })
    const filter = encodeURIComponent('userName eq "shown" and password eq "hidden 1" or title pr')

    await send('GET', `Users?access_token=hidden2&client%5Fsecret=hidden3&x=shown&pwd=hidden4`)
    await send('GET', `Users?filter=${filter}&broken=%E0`)
    await send('POST', 'Users/.search', { filter: "not (password co 'hidden 5')" })
    await send('PATCH', 'Users/x', { Operations: [{ Path: 'password', Value: 'hidden6' }] })
    await send('POST', 'Users', {
      pwd: 'hidden7',
      apiKey: 'hidden8',
      PIN: 'hidden9',
      title: 'shown',
    })

    const rows = await logOf(id)
    expect(rows).toHaveLength(5)
    expect(JSON.stringify(rows)).not.toContain('hidden')
    expect(rows.map((row) => row.query ?? row.body)).toEqual([
      expect.stringContaining('"title":"shown"'),
      expect.stringContaining('"Path":"password"'),
      expect.stringContaining('not (password co [masked])'),
      'filter=userName eq "shown" and password eq [masked] or title pr&broken=%E0',
      'access_token=[masked]&client_secret=[masked]&x=shown&pwd=[masked]',
    ])
  })
})

describe('the report of what a connection sends', () => {
  it('does not call the removal of what is required accepted', async () => {
    const { id, token } = await custody.createClient('directory', { directory: 'd' })
    const made = await custody.call(
      'POST',
      '/scim/v2/Users',
      { schemas: [userUrn], userName: 'reported' },
      { token },
    )
    const body = { schemas: [patchUrn], Operations: [{ op: 'remove', path: 'userName' }] }
    const path = `/scim/v2/Users/${made.body.id}`
    expect((await custody.call('PATCH', path, body, { token })).status).toBe(400)

    const report = await custody.call('GET', `/api/v1/clients/${id}/attributes`)
    const { forms } = report.body.attributes.find((row: Json) => row.path === 'userName')
    expect(forms.map((row: Json) => [row.form, row.treatment])).toEqual(
      expect.arrayContaining([
        ['removed', 'refused'],
        ['text', 'accepted'],
      ]),
    )
  })
})

describe('a PATCH whose filter unescapes into what no database keeps', () => {
  it.each(['\\u0000', '\\ud800'])('is refused: %s', async (text) => {
    const reply = await patched({ op: 'add', path: `emails[type eq "${text}"].value`, value: 'x' })

    expect(reply.body).toMatchObject({ status: '400', scimType: 'invalidFilter' })
  })
})

describe('writes of one person at the same moment', () => {
  it('all happen when none of them asks for a version', async () => {
    const id = await custody.createPerson('popular.outsider')
    const add = (value: string) =>
      custody.call('PATCH', `/scim/v2/Users/${id}`, {
        schemas: [patchUrn],
        Operations: [{ op: 'add', path: 'phoneNumbers', value: [{ value }] }],
      })

    const replies = await Promise.all(Array.from({ length: 20 }, (_, i) => add(`${i}`)))

    expect(replies.map((reply) => reply.status)).toEqual(Array.from({ length: 20 }, () => 200))
    const { body } = await custody.call('GET', `/scim/v2/Users/${id}`)
    expect(body.phoneNumbers).toHaveLength(20)
  })
})

describe('methods', () => {
  it.each(['Users', 'Users/PERSON', 'ServiceProviderConfig', 'Schemas'])(
    'answers HEAD of %s like GET, without the body',
    async (name) => {
      const path = `/scim/v2/${name.replace('PERSON', person)}`
      const [head, get] = [await custody.call('HEAD', path), await custody.call('GET', path)]

      expect([head.status, head.text]).toEqual([200, ''])
      for (const header of ['etag', 'content-type', 'content-length']) {
        expect(head.headers.get(header)).toBe(get.headers.get(header))
      }
    },
  )

  it('changes nothing by HEAD, and knows its conditions', async () => {
    const path = `/scim/v2/Users/${person}`
    const { body } = await custody.call('GET', path)
    const headers = { 'if-none-match': body.meta.version }

    expect((await custody.call('HEAD', path, undefined, { headers })).status).toBe(304)
    expect((await custody.call('HEAD', '/scim/v2/Users/nobody')).status).toBe(404)
    expect((await custody.call('HEAD', path, undefined, { token: null })).status).toBe(401)
    expect((await custody.call('GET', path)).body).toEqual(body)
  })

  it('answers OPTIONS with 405 and the methods there are', async () => {
    const reply = await custody.call('OPTIONS', '/scim/v2/Users')

    expect([reply.status, reply.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST'])
  })
})

describe('what is hardly a request', () => {
  it.each([
    ['a URL that is too long', `GET /scim/v2/Users?filter=${'x'.repeat(20_000)} HTTP/1.1`, 431],
    ['a method nobody knows', 'NONSENSE /scim/v2/Users HTTP/1.1', 400],
  ])('gets a SCIM error: %s', async (_what, line, status) => {
    const [head = '', body = ''] = (await raw(`${line}\r\nHost: x\r\n\r\n`)).split('\r\n\r\n')

    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} .*application/scim\\+json`, 's'))
    expect(JSON.parse(body)).toMatchObject({ status: String(status), detail: expect.any(String) })
  })

  it.each([
    ['{"__proto__":{"a":1}}', 'forbidden name'],
    ['{"constructor":{"prototype":{}}}', 'forbidden name'],
    ['{"userName":1x}', 'character 14'],
  ])('is told what is wrong with the body %s', async (body, reason) => {
    expect((await custody.call('POST', '/scim/v2/Users', body)).body.detail).toContain(reason)
  })

  it.each([
    'count=9223372036854775807',
    'startIndex=-9223372036854775808',
    'cursor=&count=1'.padEnd(40, '0'),
  ])('takes numbers of 64 bits for the nearest that makes sense: %s', async (query) => {
    expect((await custody.call('GET', `/scim/v2/Users?${query}`)).status).toBe(200)
  })

  it('reads a token behind several blanks (RFC 9110 \u00a711.4)', async () => {
    const headers = { authorization: `Bearer   ${custody.adminToken}` }

    const reply = await custody.call('GET', '/scim/v2/Users', undefined, { token: null, headers })

    expect(reply.status).toBe(200)
  })
})

describe('/oauth2/token', () => {
  it.each([
    ['application/json', '{', 400, 'not JSON'],
    ['text/plain', 'grant_type=client_credentials', 415, 'text/plain'],
    ['application/x-www-form-urlencoded', `a=${'x'.repeat(70_000)}`, 413, '65536'],
  ])('answers a body of %s that it cannot read as OAuth does', async (type, body, status, why) => {
    const headers = { 'content-type': type }

    const reply = await custody.call('POST', '/oauth2/token', body, { token: null, headers })

    expect(reply.status).toBe(status)
    expect(reply.body).toEqual({
      error: 'invalid_request',
      error_description: expect.stringContaining(why),
    })
  })
})
