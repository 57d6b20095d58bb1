import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { maskBody, maskText } from '../../src/http/mask.ts'
import type { Json, TestCustody } from '../support/custody.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { nhiUrn, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

describe('the SCIM request log', () => {
  let custody: TestCustody
  let okta: { id: string; token: string }
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    okta = await custody.createClient('directory', { directory: 'okta', dialect: 'rfc' })
  })
  afterAll(() => custody.close())

  const logged = async (query = ''): Promise<Json[]> =>
    (await custody.call('GET', `/api/v1/scim-requests?client=${okta.id}${query}`)).body.items
  const as = (headers = {}) => ({ token: okta.token, headers })

  it('says who called, in which shape, and why it was refused', async () => {
    await custody.call(
      'GET',
      `/scim/v2/Users?filter=${encodeURIComponent('userName eq "nora"')}`,
      undefined,
      as({ 'user-agent': 'Okta SCIM Client 1.0.0' }),
    )
    await custody.call('PATCH', '/scim/Users/nobody', { schemas: [patchUrn] }, as())
    await custody.call('POST', '/scim/v2/Users', { schemas: [userUrn], colour: 'red' }, as())

    const [post, patch, list] = await logged()
    expect(list).toMatchObject({
      method: 'GET',
      route: '/Users',
      status: 200,
      query: 'filter=userName eq "nora"',
      agent: 'Okta SCIM Client 1.0.0',
      error: null,
    })
    expect(patch).toMatchObject({ route: '/Users/:id', target: 'nobody', status: 404 })
    expect(post).toMatchObject({ status: 400, scimType: 'invalidValue' })
    expect(post.error).toContain('colour')
    expect(JSON.parse(post.body)).toEqual({ schemas: [userUrn], colour: 'red' })
  })

  it('can be asked for what failed, for one status, and page by page', async () => {
    expect((await logged('&status=failed')).map((r) => r.status)).toEqual([400, 404])
    expect((await logged('&status=404')).map((r) => r.method)).toEqual(['PATCH'])
    const page = await custody.call('GET', `/api/v1/scim-requests?client=${okta.id}&limit=2`)
    const rest = await custody.call(
      'GET',
      `/api/v1/scim-requests?client=${okta.id}&limit=2&cursor=${page.body.cursor}`,
    )
    expect(rest.body.items.map((r: Json) => r.method)).toEqual(['GET'])
    expect((await custody.call('GET', '/api/v1/scim-requests?status=odd')).status).toBe(400)
  })

  it('keeps no secret that a client sent, wherever it stood', async () => {
    const token = okta.token
    await custody.call(
      'POST',
      '/scim/v2/Users',
      {
        schemas: [userUrn],
        userName: 'x',
        password: 'hunter2-hunter2',
        [token]: 1,
        note: `my token is ${token}`,
      },
      as(),
    )
    await custody.call('GET', `/scim/v2/Users/${token}`, undefined, as())
    await custody.call('GET', `/scim/v2/Users?filter=userName eq "${token}"`, undefined, as())
    await custody.call(
      'PATCH',
      '/scim/v2/Users/x',
      { Operations: [{ op: 'replace', path: 'password', value: 'hunter2-hunter2' }] },
      as(),
    )

    const text = JSON.stringify(await logged())
    expect(text).not.toContain(token.slice(4))
    expect(text).not.toContain('hunter2')
    expect(text).toContain('[masked]')
  })

  it('keeps twenty lists of a client a second, and everything it refuses', async () => {
    const clock = new ManualClock('2026-05-04T08:00:00.000Z')
    const still = await startTestCustody({ roles: ['http'], clock })
    onTestFinished(() => still.close())
    const [busy, other] = [
      await still.createClient('directory'),
      await still.createClient('directory'),
    ]
    const list = (client: { token: string }, query = '') =>
      still.call('GET', `/scim/v2/Users?count=1${query}`, undefined, { token: client.token })
    const kept = async (client: { id: string }): Promise<readonly number[]> => {
      const { body } = await still.call('GET', `/api/v1/scim-requests?client=${client.id}`)
      return body.items.map((row: Json) => row.status)
    }

    for (let i = 0; i < 30; i++) await list(busy)
    for (let i = 0; i < 3; i++) await list(busy, '&filter=nonsense')
    await list(other)
    expect(await kept(busy)).toEqual([400, 400, 400, ...Array(20).fill(200)])
    expect(await kept(other)).toEqual([200])

    clock.advance(1)
    await list(busy)
    expect(await kept(busy)).toHaveLength(24)
  })

  it('cuts bodies at 4 kB', async () => {
    await custody.call(
      'POST',
      '/scim/v2/Users',
      { schemas: [userUrn], userName: 'long@x.test', displayName: 'long '.repeat(4_000) },
      as(),
    )

    const [{ body }] = await logged()
    expect(body.length).toBeLessThanOrEqual(4_096)
    expect(body.endsWith('…')).toBe(true)
  })

  it('shows a client whose token was revoked, and nobody with no token at all', async () => {
    const gone = await custody.createClient('directory')
    await custody.call('DELETE', `/api/v1/clients/${gone.id}`)
    await custody.call('GET', '/scim/v2/Users', undefined, { token: gone.token })
    await custody.call('GET', '/scim/v2/Users', undefined, { token: null })

    const all = (await custody.call('GET', '/api/v1/scim-requests?status=401')).body.items
    expect(all.map((r: Json) => r.client)).toEqual([gone.id])
  })

  it('is for those who may read the audit log', async () => {
    for (const [role, status] of [
      ['admin', 200],
      ['security', 200],
      ['auditor', 200],
      ['directory', 403],
      ['requester', 403],
      ['verifier', 403],
    ] as const) {
      const { token } = await custody.createClient(role)
      const reply = await custody.call('GET', '/api/v1/scim-requests', undefined, { token })
      expect(reply.status, role).toBe(status)
    }
  })

  it('forgets after 30 days', async () => {
    const { store } = custody.running.engine.life
    const [row] = await store.read.scimRequests({
      tenant: 'default' as never,
      after: null,
      limit: 1,
    })
    const old = { ...row!, id: '0', at: '2020-01-01T00:00:00.000Z' as never }
    const at = (before: string) =>
      store.commit([{ type: 'scimRequests', requests: [], before: before as never }])
    await store.commit([
      { type: 'scimRequests', requests: [old], before: '2019-12-31T00:00:00.000Z' as never },
    ])
    const has = async () =>
      (await store.read.scimRequests({ tenant: 'default' as never, after: '00', limit: 9 })).length

    await at('2020-01-01T00:00:00.000Z')
    expect(await has()).toBe(1)
    await at('2020-01-01T00:00:00.001Z')
    expect(await has()).toBe(0)
  })
})

describe('the report of what a connection sends', () => {
  let custody: TestCustody
  let entra: { id: string; token: string }
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    entra = await custody.createClient('directory', { directory: 'entra', name: 'entra' })
  })
  afterAll(() => custody.close())

  const report = async (id = entra.id): Promise<Json> =>
    (await custody.call('GET', `/api/v1/clients/${id}/attributes`)).body
  const send = (method: string, path: string, body: unknown) =>
    custody.call(method, `/scim/v2${path}`, body, { token: entra.token })
  const formsOf = (body: Json, path: string): Json[] =>
    body.attributes.find((a: Json) => a.path === path)?.forms ?? []

  it('has each attribute with its forms, counts, dates and what became of it', async () => {
    const made = await send('POST', '/Users', {
      schemas: [userUrn],
      UserName: 'nora@x.test',
      active: 'True',
      emails: [{ value: 'nora@x.test', primary: true }],
      department: 'IT',
    })
    for (const value of ['False', 'True', true]) {
      const Operations = [{ op: 'Replace', path: 'active', value }]
      await send('PATCH', `/Users/${made.body.id}`, { schemas: [patchUrn], Operations })
    }
    await send('POST', '/Bulk', {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
      Operations: [
        { method: 'PUT', path: `/Users/${made.body.id}`, data: { userName: 'n', nickName: '' } },
      ],
    })

    const body = await report()
    expect(body.client).toEqual({ id: entra.id, name: 'entra', dialect: 'lenient' })
    expect(formsOf(body, 'active')).toEqual([
      expect.objectContaining({ form: 'boolean', treatment: 'accepted', count: 1 }),
      expect.objectContaining({
        form: 'boolean as text',
        treatment: 'repaired',
        count: 3,
        operation: 'PATCH replace',
      }),
    ])
    expect(body.attributes.find((a: Json) => a.path === 'emails[].primary')).toMatchObject({
      resource: 'User',
      expected: 'boolean',
      forms: [{ form: 'boolean', treatment: 'accepted' }],
    })
    expect(formsOf(body, 'department')).toMatchObject([{ form: 'text', treatment: 'ignored' }])
    expect(formsOf(body, 'nickName')).toMatchObject([{ form: 'empty text', operation: 'PUT' }])
    const [{ firstAt, lastAt }] = formsOf(body, 'userName')
    expect(firstAt <= lastAt && firstAt > '2020').toBe(true)
  })

  it('names what matters and never came, of what the client keeps at all', async () => {
    const { neverSent } = await report()

    expect(neverSent.map((m: Json) => `${m.resource} ${m.path}`)).toEqual([
      'User externalId',
      'User displayName',
      'User urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager',
    ])
    const { id } = await custody.createClient('directory')
    expect(await report(id)).toMatchObject({ attributes: [], neverSent: [] })
  })

  it('holds no value and no secret, in the answer or in the database', async () => {
    const secret = entra.token
    await send('POST', '/Users', {
      schemas: [userUrn],
      userName: 'value-of-name@x.test',
      password: 'hunter2-hunter2',
      [secret]: 'hunter2-hunter2',
      'a name with spaces': 1,
      [nhiUrn]: { [secret]: 1 },
    })
    await send('PATCH', '/Users/none', {
      Operations: [
        { op: 'add', path: `emails[value eq "${secret}"].value`, value: 'hunter2-hunter2' },
        { op: 'add', path: `x[value eq "hunter2-hunter2"]`, value: 1 },
        { op: 'add', path: secret, value: 1 },
      ],
    })

    const { store } = custody.running.engine.life
    const kept = await store.read.sightings('default' as never, entra.id as never)
    const text = JSON.stringify([await report(), kept])
    expect(kept.length).toBeGreaterThan(8)
    for (const value of [secret, secret.split('_')[1]!, 'hunter2', 'value-of-name', 'spaces']) {
      expect(text, value).not.toContain(value)
    }
    expect(formsOf(await report(), '(no name)').length).toBeGreaterThan(0)
  })

  it('is bounded for a client that makes names up', async () => {
    const { id, token } = await custody.createClient('directory')
    for (let i = 0; i < 3; i++) {
      const made = Object.fromEntries(Array.from({ length: 150 }, (_, n) => [`n${i}x${n}`, 1]))
      await custody.call('POST', '/scim/v2/Users', made, { token })
    }

    const { attributes } = await report(id)
    expect(attributes).toHaveLength(201)
    expect(formsOf({ attributes }, '(more names)')).toMatchObject([{ count: 250 }])
  })

  it('is for those who may read the audit log, and of clients that are there', async () => {
    for (const [role, status] of [
      ['auditor', 200],
      ['directory', 403],
      ['requester', 403],
    ] as const) {
      const { token } = await custody.createClient(role)
      const path = `/api/v1/clients/${entra.id}/attributes`
      expect((await custody.call('GET', path, undefined, { token })).status, role).toBe(status)
    }
    expect((await custody.call('GET', '/api/v1/clients/nobody/attributes')).status).toBe(404)
  })
})

describe('masking', () => {
  it.each([
    ['a client token', 'cst_0123456789ab_abcdefghij'],
    ['an access token', 'cat_WyJhYmMiLCIyMDI2LTExIl0.abcdefg-_h'],
    ['a GitHub token', 'ghp_0123456789abcdefABCDEF0123456789abcd'],
    ['an access key id', 'AKIAIOSFODNN7EXAMPLE'],
    ['a secret access key', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'],
    ['a JWT', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln'],
    ['a private key', '-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----'],
  ])('finds %s in a sentence', (_name, secret) => {
    expect(maskText(`before ${secret} after`)).toBe('before [masked] after')
  })

  it.each([
    'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User',
    '01939f2e-0000-7000-8000-000000000000',
    'filter=userName eq "nora.ek@example.com"',
    'Okta SCIM Client 1.0.0',
  ])('leaves %s alone', (text) => {
    expect(maskText(text)).toBe(text)
  })

  it('walks no further than it keeps', () => {
    const huge = { Operations: Array.from({ length: 100_000 }, () => ({ a: 'x'.repeat(20) })) }
    const since = performance.now()

    expect(maskBody(huge, 4_096)!.length).toBeLessThanOrEqual(4_096)
    expect(performance.now() - since).toBeLessThan(50)
    expect(maskBody(undefined, 10)).toBeNull()
  })
})
