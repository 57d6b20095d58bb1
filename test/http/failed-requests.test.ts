import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

const base = '/api/v1/scim-requests/failed'
const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'

describe('requests of a connection that failed', () => {
  let custody: TestCustody
  let okta: { id: string; token: string }
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
  })
  afterAll(() => custody.close())

  const connection = async () => {
    okta = await custody.createClient('directory', { directory: 'okta', dialect: 'rfc' })
  }
  const scim = (method: string, path: string, body?: unknown) =>
    custody.call(method, `/scim/v2${path}`, body, { token: okta.token })
  const failed = async (state = 'open'): Promise<Json[]> =>
    (await custody.call('GET', `${base}?client=${okta.id}&state=${state}`)).body.items
  const replay = (id: string, body: object = {}, query = '') =>
    custody.call('POST', `${base}/${id}/replay${query}`, body)
  const person = (userName: string, more: object = {}) => ({
    schemas: [userUrn],
    userName,
    ...more,
  })

  it('are listed once however often they are sent, and close when they are accepted', async () => {
    await connection()
    await scim('POST', '/Groups', { schemas: [groupUrn], displayName: 'payments' })
    for (let i = 0; i < 10; i++) await scim('PATCH', '/Users/nobody', { schemas: [patchUrn] })
    const twin = person('twin')
    await scim('POST', '/Users', twin)
    await scim('POST', '/Users', twin)

    const [patch, post] = await failed()
    expect(patch).toMatchObject({ method: 'PATCH', target: 'nobody', status: 404, times: 10 })
    const alarm = await custody.call('GET', '/api/v1/audit?action=scimRequest.keepsFailing')
    expect(alarm.body.items).toMatchObject([{ target: patch.id, facts: { times: 10 } }])
    expect(post).toMatchObject({ method: 'POST', status: 409, scimType: 'uniqueness', times: 1 })
    expect(patch).not.toHaveProperty('fingerprint')

    const [known] = (await scim('GET', `/Users?filter=${encodeURIComponent('userName eq "twin"')}`))
      .body.Resources
    await scim('DELETE', `/Users/${known.id}`)
    expect((await scim('POST', '/Users', twin)).status).toBe(201)
    expect((await failed()).map((f) => f.method)).toEqual(['PATCH'])
    expect(await failed('settled')).toHaveLength(1)
  })

  it('are nobody’s second word about a protected account', async () => {
    const owner = await custody.createPerson('keeper')
    const more = { protected: true, credentials: [] }
    const { body: account } = await custody.requestAccount('protected', owner, more)
    okta = await custody.createClient('admin')
    expect((await scim('DELETE', `/Users/${account.id}`)).status).toBe(409)
    const [failure] = await failed()
    // A month later the first word is forgotten: whoever ran this would speak for both.
    for (const query of ['', '?dryRun=true']) {
      const { body } = await replay(failure.id, {}, query)
      expect(body).toMatchObject({ status: 403, operations: [] })
      expect(body.detail).toContain('nobody’s word')
    }
  })

  it('run again as the client that sent them, once the cause is gone', async () => {
    await connection()
    const other = await custody.createClient('directory', { directory: 'okta', dialect: 'rfc' })
    const blocking = await custody.call('POST', '/scim/v2/Users', person('ada'), {
      token: other.token,
    })
    expect((await scim('POST', '/Users', person('ada', { title: 'Engineer' }))).status).toBe(409)
    const [failure] = await failed()

    const still = await replay(failure.id, {}, '?dryRun=true')
    expect(still.body).toMatchObject({ status: 409, scimType: 'uniqueness', operations: [] })
    await custody.call('DELETE', `/scim/v2/Users/${blocking.body.id}`, undefined, {
      token: other.token,
    })
    const would = await replay(failure.id, {}, '?dryRun=true')
    expect(would.body).toMatchObject({ status: 201, detail: null })
    const byName = `/Users?filter=${encodeURIComponent('userName eq "ada"')}`
    expect((await scim('GET', byName)).body.totalResults).toBe(0)

    expect((await replay(failure.id)).body).toMatchObject({ status: 201, detail: null })
    const [made] = (await scim('GET', byName)).body.Resources
    expect(made).toMatchObject({ userName: 'ada', title: 'Engineer' })
    const audit = (await custody.call('GET', `/api/v1/audit?target=${made.id}`)).body.items
    expect(audit[0].actor.name).toMatch(/, run again by /)
    expect(await failed('replayed')).toMatchObject([
      { id: failure.id, decidedBy: 'local administrator' },
    ])
    const again = await replay(failure.id)
    expect(again.status).toBe(409)
    expect(again.body.detail).toContain('it is replayed')
  })

  it('say in a dry run what a leaving would start, and start nothing', async () => {
    await connection()
    const id = (await scim('POST', '/Users', person('lena'))).body.id
    const deactivate = {
      schemas: [patchUrn],
      Operations: [
        { op: 'replace', path: 'active', value: false },
        { op: 'replace', path: 'userName', value: 'taken' },
      ],
    }
    const blocking = (await scim('POST', '/Users', person('taken'))).body.id
    expect((await scim('PATCH', `/Users/${id}`, deactivate)).status).toBe(409)
    await scim('DELETE', `/Users/${blocking}`)

    const failure = (await failed()).at(-1)
    const would = await replay(failure.id, {}, '?dryRun=true')
    expect(would.body).toMatchObject({ status: 200, operations: [{ id: null, kind: 'leave' }] })
    expect((await scim('GET', `/Users/${id}`)).body.active).toBe(true)
    const done = await replay(failure.id)
    expect(done.body.operations).toMatchObject([{ kind: 'leave' }])
    expect((await scim('GET', `/Users/${id}`)).body).toMatchObject({
      active: false,
      userName: 'taken',
    })
  })

  it('do not undo what was written since, unless somebody insists', async () => {
    await connection()
    const id = (await scim('POST', '/Users', person('mia'))).body.id
    const blocking = (await scim('POST', '/Users', person('held'))).body.id
    const rename = (value: string) => ({
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'userName', value }],
    })
    await scim('PATCH', `/Users/${id}`, rename('held'))
    await scim('DELETE', `/Users/${blocking}`)
    const [failure] = await failed()
    expect((await scim('PATCH', `/Users/${id}`, rename('mia-2'))).status).toBe(200)

    expect((await replay(failure.id, {}, '?dryRun=true')).body.overtaken).toBe(true)
    const refused = await replay(failure.id)
    expect(refused.status).toBe(409)
    expect(refused.body.detail).toContain('force: true')
    expect((await replay(failure.id, { force: true })).body).toMatchObject({ status: 200 })
    expect((await scim('GET', `/Users/${id}`)).body.userName).toBe('held')
  })

  it('of a bulk request are listed one by one, and those of a connection run in their order', async () => {
    await connection()
    const taken = (await scim('POST', '/Users', person('b1'))).body.id
    const bulk = (ops: readonly object[]) =>
      scim('POST', '/Bulk', {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
        Operations: ops,
      })
    await bulk([
      { method: 'POST', path: '/Users', bulkId: 'x', data: person('b1') },
      { method: 'POST', path: '/Users', bulkId: 'y', data: person('b2') },
      { method: 'PATCH', path: '/Users/nobody', data: { schemas: [patchUrn] } },
    ])
    expect(await failed()).toMatchObject([
      { method: 'POST', route: '/Users', status: 409, replayable: true },
      { method: 'PATCH', route: '/Users/:id', target: 'nobody', status: 404 },
    ])
    await scim('DELETE', `/Users/${taken}`)

    const run = await custody.call('POST', `${base}/replay`, { client: okta.id })
    expect(run.body).toMatchObject({ accepted: 1, refused: 1, cursor: null })
    expect(run.body.items.map((i: Json) => i.status)).toEqual([201, 404])
  })

  it('can be signed off, with a reason, by those who answer for it', async () => {
    await connection()
    await scim('PATCH', '/Users/nobody', { schemas: [patchUrn] })
    const [{ id }] = await failed()
    const auditor = await custody.createClient('auditor')
    const off = (body: object, token?: string) =>
      custody.call('POST', `${base}/${id}/sign-off`, body, token ? { token } : {})

    expect((await off({ reason: 'x' }, auditor.token)).status).toBe(403)
    expect((await off({})).status).toBe(400)
    expect((await off({ reason: 'a test user that never was' })).body).toMatchObject({
      state: 'signedOff',
      note: 'a test user that never was',
    })
    expect((await off({ reason: 'again' })).status).toBe(409)
    expect((await custody.call('GET', `${base}?state=gone`)).status).toBe(400)
    expect((await custody.call('GET', `${base}/nothing`)).status).toBe(404)
  })

  it('are kept without passwords, and not at all when their body was never read', async () => {
    await connection()
    const secret = 'hunter2-hunter2'
    await scim('POST', '/Users', person('pat'))
    await scim('POST', '/Users', person('pat', { password: secret }))
    await scim('POST', '/Users', '{"schemas": [')
    const [conflict, garbage] = await failed()
    expect(garbage).toMatchObject({ status: 400, replayable: false })
    expect((await replay(garbage.id)).status).toBe(409)

    const { sealer } = custody.running.engine.life
    const of = { tenant: 'default', credential: 'scim-request', keyId: conflict.id } as const
    const held = await sealer!.held(of as never)
    expect(held!.use((bytes) => Buffer.from(bytes).toString())).not.toContain(secret)
    held!.dispose()
  })
})
