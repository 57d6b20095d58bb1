import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CallOptions, TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

describe('what a client of each role may see and do', () => {
  let custody: TestCustody
  let people: { hr: string; other: string }
  let mine: string
  let theirs: string
  let credential: string
  const as: Record<string, CallOptions> = {}

  beforeAll(async () => {
    custody = await startTestCustody()
    const client = async (name: string, role: string, more = {}): Promise<void> => {
      as[name] = { token: (await custody.createClient(role, more)).token }
    }
    await client('hr', 'directory', { directory: 'hr' })
    await client('hr2', 'directory', { directory: 'hr' })
    await client('contractors', 'directory', { directory: 'contractors' })
    await client('requester', 'requester')
    await client('verifier', 'verifier')
    await client('auditor', 'auditor')
    await client('security', 'security')
    const person = async (who: string, userName: string): Promise<string> =>
      (await custody.call('POST', '/scim/v2/Users', { schemas: [userUrn], userName }, as[who])).body
        .id
    people = {
      hr: await person('hr', 'h@example.com'),
      other: await person('contractors', 'c@example.com'),
    }
    await client('owner', 'owner', { person: people.hr })
    const account = async (who: CallOptions | undefined, userName: string) =>
      (
        await custody.call(
          'POST',
          '/scim/v2/Users',
          {
            schemas: [userUrn, nhiUrn],
            userName,
            [nhiUrn]: {
              kind: 'bot',
              owner: { value: people.hr },
              purpose: 'tests',
              credentials: [
                {
                  provider: 'tokens',
                  kind: 'api-token',
                  scopes: ['read'],
                  deliverTo: `files:${userName}`,
                },
              ],
            },
          },
          who,
        )
      ).body
    const own = await account(as['requester'], 'mine')
    mine = own.id
    credential = own[nhiUrn].credentials[0].value
    theirs = (await account(undefined, 'theirs')).id
    await eventually(
      () => custody.secretAt('theirs'),
      (s) => s !== null,
    )
    await eventually(
      async () => (await custody.call('GET', `/api/v1/credentials/${credential}`)).body.status,
      (s) => s === 'active',
    )
  })
  afterAll(() => custody.close())

  const status = async (
    who: string,
    method: string,
    route: string,
    body?: unknown,
  ): Promise<number> => (await custody.call(method, route, body, as[who])).status
  const deactivate = {
    schemas: [patchUrn],
    Operations: [{ op: 'replace', path: 'active', value: false }],
  }

  it('a directory sees its own people, through any of its clients, and nobody and nothing else', async () => {
    expect(await status('hr', 'GET', `/scim/v2/Users/${people.hr}`)).toBe(200)
    expect(await status('hr2', 'GET', `/scim/v2/Users/${people.hr}`)).toBe(200)
    for (const id of [people.other, mine, theirs]) {
      expect(await status('hr', 'GET', `/scim/v2/Users/${id}`)).toBe(404)
      expect(await status('hr', 'PATCH', `/scim/v2/Users/${id}`, deactivate)).toBe(404)
      expect(await status('hr', 'DELETE', `/scim/v2/Users/${id}`)).toBe(404)
    }
    const list = await custody.call('GET', '/scim/v2/Users', undefined, as['hr'])
    expect(list.body.Resources.map((r: { id: string }) => r.id)).toEqual([people.hr])
    expect(list.body.totalResults).toBe(1)
    const credentials = await custody.call('GET', '/scim/v2/Credentials', undefined, as['hr'])
    expect(credentials.body.totalResults).toBe(0)
    expect(await status('hr', 'GET', `/scim/v2/Credentials/${credential}`)).toBe(404)
    expect(await status('hr', 'POST', `/api/v1/credentials/${credential}/revoke`)).toBe(404)
    expect((await custody.call('GET', '/api/v1/accounts', undefined, as['hr'])).body.items).toEqual(
      [],
    )
  })

  it('lists and reports show each role what it may see, and refuse a misspelt filter', async () => {
    const of = async (who: string, route: string) => {
      const { body } = await custody.call('GET', `/api/v1/${route}`, undefined, as[who])
      return (body.items ?? []).map((row: { userName?: string; account: string }) =>
        row.userName === undefined ? row.account : row.userName,
      )
    }
    expect(await of('auditor', 'accounts?q=MI')).toEqual(['mine'])
    expect(await of('auditor', `accounts?owner=${people.hr}&status=active&limit=1`)).toEqual([
      'mine',
    ])
    expect(await of('auditor', 'accounts?status=failed')).toEqual([])
    expect(await of('auditor', 'accounts?expiresBefore=2020-01-01')).toEqual([])
    expect(await of('owner', 'accounts')).toEqual(['mine', 'theirs'])
    expect(await of('requester', 'credentials?status=active')).toEqual([mine])
    expect(await of('security', `credentials?account=${mine}`)).toEqual([mine])
    expect(await of('auditor', 'owners?q=H@')).toEqual(['h@example.com'])
    expect(await of('hr', 'owners')).toEqual(['h@example.com'])
    expect(await of('auditor', 'transfers')).toEqual([])
    for (const route of ['accounts', 'credentials', 'owners', 'transfers']) {
      expect(await of('verifier', route)).toEqual([])
    }
    for (const wrong of [
      'accounts?status=up',
      'credentials?status=up',
      'accounts?expiresAfter=x',
    ]) {
      expect(await status('auditor', 'GET', `/api/v1/${wrong}`)).toBe(400)
    }
    const { body } = await custody.call('GET', `/api/v1/accounts/${mine}`, undefined, as['owner'])
    expect(body.why.sentence).toContain('It is up')
    expect(body.credentials[0].why.cause.kind).toBe('issue')
    expect(body.next.map(({ act }: { act: string }) => act)).toContain('expire')
    for (const report of ['posture', 'expiry?days=7', 'evidence?framework=soc2']) {
      expect(await status('auditor', 'GET', `/api/v1/reports/${report}`)).toBe(200)
      expect(await status('requester', 'GET', `/api/v1/reports/${report}`)).toBe(403)
    }
    expect(await status('auditor', 'GET', '/api/v1/reports/evidence')).toBe(400)
  })

  it('a directory cannot request an account', async () => {
    const body = {
      schemas: [userUrn, nhiUrn],
      userName: 'sneaky',
      [nhiUrn]: { kind: 'bot', owner: { value: people.hr }, purpose: 'x' },
    }
    expect(await status('hr', 'POST', '/scim/v2/Users', body)).toBe(403)
  })

  it('a requester sees and changes the accounts it created, and no others', async () => {
    expect(await status('requester', 'GET', `/scim/v2/Users/${mine}`)).toBe(200)
    expect(await status('requester', 'GET', `/scim/v2/Users/${theirs}`)).toBe(404)
    expect(await status('requester', 'POST', `/api/v1/accounts/${theirs}/disable`)).toBe(404)
    const list = await custody.call('GET', '/api/v1/accounts', undefined, as['requester'])
    expect(list.body.items.map((a: { id: string }) => a.id)).toEqual([mine])
    const operations = await custody.call('GET', '/api/v1/operations', undefined, as['requester'])
    expect(new Set(operations.body.items.map((o: { account: string }) => o.account))).toEqual(
      new Set([mine]),
    )
    expect(
      await status('requester', 'POST', '/scim/v2/Users', { schemas: [userUrn], userName: 'p' }),
    ).toBe(403)
    expect(await status('requester', 'PATCH', `/scim/v2/Users/${people.hr}`, deactivate)).toBe(403)
    expect(await status('requester', 'POST', `/api/v1/owners/${people.hr}/leave`)).toBe(403)
    expect(await status('requester', 'GET', '/api/v1/audit')).toBe(403)
    expect(await status('requester', 'POST', '/api/v1/sweeps/orphans')).toBe(403)
  })

  it('a requester may try its own stuck work again, but never cancel', async () => {
    const operations = await custody.call(
      'GET',
      `/api/v1/operations?subject=${credential}`,
      undefined,
      as['requester'],
    )
    const [{ id }] = operations.body.items
    // 409, not 403: it is allowed, there is only nothing stuck.
    expect(await status('requester', 'POST', `/api/v1/operations/${id}/retry`)).toBe(409)
    expect(await status('requester', 'POST', `/api/v1/operations/${id}/cancel`)).toBe(403)
  })

  it('a requester cannot protect its account, nor pass it on at once', async () => {
    const protect = {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: `${nhiUrn}:protected`, value: true }],
    }
    expect(await status('requester', 'PATCH', `/scim/v2/Users/${mine}`, protect)).toBe(403)
    const atOnce = { owner: people.other, atOnce: true, reason: 'because' }
    expect(await status('requester', 'POST', `/api/v1/accounts/${mine}/transfer`, atOnce)).toBe(403)
  })

  it('a verifier introspects and sees nothing', async () => {
    const token = (await custody.secretAt('theirs'))!
    const form = {
      ...as['verifier'],
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    }
    const answer = await custody.call('POST', '/oauth2/introspect', `token=${token}`, form)
    expect(answer.body).toMatchObject({ active: true, sub: theirs })
    expect(await status('verifier', 'GET', `/scim/v2/Users/${people.hr}`)).toBe(404)
    expect(await status('verifier', 'GET', `/api/v1/accounts/${mine}`)).toBe(404)
    expect(
      (await custody.call('GET', '/scim/v2/Users', undefined, as['verifier'])).body.totalResults,
    ).toBe(0)
    expect(await status('verifier', 'GET', '/api/v1/audit')).toBe(403)
    expect(await status('verifier', 'POST', '/api/v1/sweeps/orphans')).toBe(403)
  })

  it('only a verifier and an admin introspect', async () => {
    for (const who of ['hr', 'requester', 'auditor', 'owner', 'security'])
      expect(await status(who, 'POST', '/oauth2/introspect', { token: 'csk_a_b' })).toBe(403)
  })

  it('an auditor reads everything, plans included, and changes nothing', async () => {
    for (const route of [
      `/scim/v2/Users/${people.other}`,
      `/api/v1/accounts/${theirs}`,
      '/api/v1/audit',
      `/api/v1/owners/${people.hr}/impact`,
      `/api/v1/reports/offboarding/${people.hr}`,
      '/api/v1/reports/shadow?days=3',
      '/api/v1/clients',
    ])
      expect(await status('auditor', 'GET', route), route).toBe(200)
    expect(await status('auditor', 'POST', '/api/v1/sweeps/orphans?dryRun=true')).toBe(200)

    expect(await status('auditor', 'POST', '/api/v1/sweeps/orphans')).toBe(403)
    expect(await status('auditor', 'POST', `/api/v1/accounts/${mine}/disable`)).toBe(403)
    expect(await status('auditor', 'DELETE', `/scim/v2/Users/${mine}`)).toBe(403)
    expect(await status('auditor', 'PATCH', `/scim/v2/Users/${people.hr}`, deactivate)).toBe(403)
    expect(await status('auditor', 'POST', `/api/v1/credentials/${credential}/rotate`)).toBe(403)
    expect(await status('auditor', 'POST', '/api/v1/clients', { name: 'x', role: 'admin' })).toBe(
      403,
    )
  })

  it('an owner sees the accounts of its person and may only answer offers', async () => {
    expect(await status('owner', 'GET', `/api/v1/accounts/${mine}`)).toBe(200)
    expect(await status('owner', 'POST', `/api/v1/accounts/${mine}/disable`)).toBe(403)
    expect(await status('owner', 'POST', `/api/v1/credentials/${credential}/rotate`)).toBe(403)
    expect(await status('owner', 'POST', `/api/v1/transfers/${mine}/accept`)).toBe(403)
  })

  it('an owner confirms its accounts, and moves their end to the cap, which counts from then', async () => {
    const before = (await custody.call('GET', `/api/v1/accounts/${mine}`)).body
    const year = 365 * 86_400_000

    const kept = await custody.call('POST', `/api/v1/accounts/${mine}/certify`, {}, as['owner'])
    const route = `/api/v1/accounts/${mine}/certify?extend=true`
    const extended = await custody.call('POST', route, {}, as['owner'])

    expect(kept.body).toMatchObject({ expiresAt: before.expiresAt })
    expect(kept.body.certifiedAt).not.toBeNull()
    const { certifiedAt, expiresAt } = extended.body
    expect(Date.parse(expiresAt) - Date.parse(certifiedAt)).toBe(year)
    const shown = await custody.call('GET', `/api/v1/credentials/${credential}`)
    expect(shown.body.expiresAt).toBe(expiresAt)
    for (const who of ['requester', 'auditor', 'security'] as const) {
      expect(await status(who, 'POST', `/api/v1/accounts/${mine}/certify`)).toBe(403)
    }
    expect(await status('owner', 'POST', `/api/v1/accounts/${mine}/certify?extend=yes`)).toBe(400)
  })

  it('a nominated heir agrees, and nobody agrees in its place', async () => {
    const route = `/api/v1/accounts/${mine}/backup/accept`
    const heir = await custody.createClient('owner', { person: people.other })
    as['heir'] = { token: heir.token }
    expect(await status('heir', 'POST', route)).toBe(404)
    const nominate = {
      schemas: [patchUrn],
      Operations: [{ op: 'add', path: `${nhiUrn}:backupOwners`, value: [{ value: people.other }] }],
    }
    expect(await status('requester', 'PATCH', `/scim/v2/Users/${mine}`, nominate)).toBe(200)

    expect(await status('owner', 'POST', route)).toBe(403)
    expect(await status('requester', 'POST', route)).toBe(403)
    const agreed = await custody.call('POST', route, {}, as['heir'])

    expect(agreed.status).toBe(200)
    expect(agreed.body.backups).toMatchObject([{ id: people.other }])
    expect(agreed.body.backups[0].acceptedAt).not.toBeNull()
    expect((await custody.call('POST', route, {}, as['heir'])).body).toEqual(agreed.body)
  })

  it('security shuts off and hands over, and grants nothing new', async () => {
    expect(await status('security', 'POST', `/api/v1/credentials/${credential}/rotate`)).toBe(202)
    expect(await status('security', 'POST', `/api/v1/accounts/${theirs}/disable`)).toBe(202)
    expect(
      await status('security', 'POST', '/scim/v2/Users', { schemas: [userUrn], userName: 'p' }),
    ).toBe(403)
    expect(await status('security', 'POST', '/api/v1/clients', { name: 'x', role: 'admin' })).toBe(
      403,
    )
  })

  it('a revoked client is refused at the very next request', async () => {
    const { id, token } = await custody.createClient('auditor')
    expect((await custody.call('GET', '/api/v1/audit', undefined, { token })).status).toBe(200)
    expect((await custody.call('DELETE', `/api/v1/clients/${id}`)).status).toBe(204)
    expect((await custody.call('GET', '/api/v1/audit', undefined, { token })).status).toBe(401)
  })
})
