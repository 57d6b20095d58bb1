import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

describe('what outsiders stumbled over', () => {
  let custody: TestCustody
  let owner: string
  beforeAll(async () => {
    custody = await startTestCustody()
    owner = await custody.createPerson('owner@example.com')
  })
  afterAll(() => custody.close())

  const api = (method: string, route: string, body?: unknown) =>
    custody.call(method, `/api/v1${route}`, body)
  const ready = async (name: string, nhi: Record<string, unknown> = {}) => {
    const requested = await custody.requestAccount(name, owner, nhi)
    expect(requested.status, requested.text).toBe(201)
    const id = requested.body.id as string
    const account = await eventually(
      async () => (await api('GET', `/accounts/${id}`)).body,
      (a) => a.status === 'active',
    )
    return { id, credential: account.credentials[0].id as string }
  }
  const statusOf = async (id: string): Promise<string> =>
    (await api('GET', `/accounts/${id}`)).body.status

  it('takes since when somebody is gone, and no date ahead or of another form', async () => {
    const person = await custody.createPerson('long-gone@example.com')
    const leave = (body: Json) => api('POST', `/owners/${person}/leave`, body)
    for (const since of ['yesterday', 7, '2999-01-01T00:00:00Z']) {
      const refused = await leave({ since })
      expect([refused.status, refused.text]).toEqual([400, expect.stringContaining('since')])
    }

    expect((await leave({ since: '2026-01-02T03:04:05Z' })).status).toBe(202)
    expect((await api('GET', `/reports/offboarding/${person}`)).body.signal).toMatchObject({
      sentAt: '2026-01-02T03:04:05.000Z',
    })
  })

  it('keeps a revoked credential revoked through disable and enable', async () => {
    const { id, credential } = await ready('revoked-for-good')
    const token = await custody.secretAt('revoked-for-good/token')
    await api('POST', `/credentials/${credential}/revoke`)
    await api('POST', `/accounts/${id}/disable`)
    await eventually(
      () => statusOf(id),
      (s) => s === 'disabled',
    )
    await eventually(
      async () => (await api('GET', `/credentials/${credential}`)).body.status,
      (s) => s === 'revoked',
    )

    await api('POST', `/accounts/${id}/enable`)
    await eventually(
      () => statusOf(id),
      (s) => s === 'active',
    )

    expect(await custody.introspect(token!)).toEqual({ active: false })
  })

  it('takes a revocation while the account is being disabled', async () => {
    const { id, credential } = await ready('closing')
    expect((await api('POST', `/accounts/${id}/disable`)).status).toBe(202)

    const revoked = await api('POST', `/credentials/${credential}/revoke`)

    // Whether it meets the disabling in flight or just after: it is taken, and the key ends revoked.
    expect(revoked.status, revoked.text).toBe(202)
    await eventually(
      async () => (await api('GET', `/credentials/${credential}`)).body.status,
      (s) => s === 'revoked',
    )
  })

  it('lets the account be written while one of its credentials is on its way out', async () => {
    const { id, credential } = await ready('busy-leaving')
    const read = (await custody.call('GET', `/scim/v2/Users/${id}`)).body
    await api('POST', `/credentials/${credential}/revoke`)

    const put = await custody.call('PUT', `/scim/v2/Users/${id}`, {
      ...read,
      displayName: 'as read',
    })
    const patched = await custody.call('PATCH', `/scim/v2/Users/${id}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'displayName', value: 'patched' }],
    })

    expect([put.status, patched.status], put.text + patched.text).toEqual([200, 200])
  })

  it('never takes a request for a plan as an order', async () => {
    const refused = await Promise.all(
      ['?dryRun=TRUE', '?dryRun=1', '?dryRun=', '?dryrun=true', '?dryRun=true&dryRun=false'].map(
        (query) => api('POST', `/sweeps/rotation${query}`),
      ),
    )
    const inBody = await api('POST', '/sweeps/rotation', { dryRun: true })

    expect([...refused, inBody].map((r) => r.status)).toEqual([400, 400, 400, 400, 400, 400])
    expect((await api('POST', '/sweeps/rotation?dryRun=true')).body.dryRun).toBe(true)
  })

  it('does not put a client into a tenant it was not asked for', async () => {
    const reply = await api('POST', '/clients', { name: 'x', role: 'admin', tenant: 'elsewhere' })

    expect(reply.status).toBe(400)
    expect(reply.body.detail).toContain('tenant')
  })

  it.each([
    ['half a surrogate pair', '{"schemas":["U"],"userName":"\\ud800"}'],
    ['NUL', '{"schemas":["U"],"userName":"a\\u0000b"}'],
    ['an escape code', '{"schemas":["U"],"userName":"\\u001b[31mred"}'],
    ['a line break', '{"schemas":["U"],"userName":"a\\nb"}'],
    ['5 000 characters', `{"schemas":["U"],"userName":"${'a'.repeat(5_000)}"}`],
  ])('refuses a userName with %s', async (_what, body) => {
    const reply = await custody.call('POST', '/scim/v2/Users', body.replace('"U"', `"${userUrn}"`))

    expect(reply.status).toBe(400)
    expect(reply.body.schemas).toEqual(['urn:ietf:params:scim:api:messages:2.0:Error'])
  })

  it.each(['a//b', 'a/', 'a/./b', './a', '/a'])('refuses the path %s at once', async (path) => {
    const reply = await custody.requestAccount(`path-${path.length}-${path.charCodeAt(0)}`, owner, {
      credentials: [{ provider: 'tokens', kind: 'api-token', deliverTo: `files:${path}` }],
    })

    expect(reply.status).toBe(400)
    expect(reply.body).toMatchObject({ scimType: 'invalidValue' })
  })

  it('moves the credentials’ end along with the account’s', async () => {
    const { id, credential } = await ready('extended')
    const expiresAt = new Date(Date.now() + 200 * 86_400_000).toISOString()

    const patched = await custody.call('PATCH', `/scim/v2/Users/${id}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: `${nhiUrn}:expiresAt`, value: expiresAt }],
    })

    expect(patched.status, patched.text).toBe(200)
    expect((await api('GET', `/credentials/${credential}`)).body.expiresAt).toBe(expiresAt)
    const token = await custody.secretAt('extended/token')
    expect((await custody.introspect(token!)).exp).toBe(Math.floor(Date.parse(expiresAt) / 1_000))
  })

  it('retires by route as by DELETE: gone from SCIM, its name free, its history kept', async () => {
    const { id } = await ready('retired-by-route')

    expect((await api('POST', `/accounts/${id}/retire`)).status).toBe(202)

    expect((await custody.call('GET', `/scim/v2/Users/${id}`)).status).toBe(404)
    expect(
      (await custody.requestAccount('retired-by-route', owner, { credentials: [] })).status,
    ).toBe(201)
    expect(
      await eventually(
        () => statusOf(id),
        (s) => s === 'retired',
      ),
    ).toBe('retired')
  })

  it.each([
    ['rotateEvery', 'PT0S'],
    ['rotateEvery', 'P99999D'],
    ['overlap', 'P99999D'],
  ])('refuses %s %s', async (name, value) => {
    const { id } = await ready(`plan-${name}-${value.toLowerCase()}`)

    const reply: { status: number; body: Json } = await custody.call(
      'POST',
      '/scim/v2/Credentials',
      {
        schemas: ['urn:custody:scim:schemas:core:1.0:Credential'],
        serviceAccount: { value: id },
        provider: 'tokens',
        kind: 'api-token',
        [name]: value,
      },
    )

    expect(reply.status).toBe(400)
    expect(reply.body.detail).toContain(name)
  })

  it('takes as heirs only people who are there', async () => {
    const gone = await custody.createPerson('gone@example.com', { active: false })

    const reply = await custody.requestAccount('heirs', owner, { backupOwners: [{ value: gone }] })

    expect(reply.status).toBe(400)
    expect(reply.body.detail).toContain(gone)
  })
})
