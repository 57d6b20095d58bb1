import path from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CallOptions, Json, Reply, TestCustody } from '../support/custody.ts'
import { credentialUrn, nhiUrn, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

const scimErrorUrn = 'urn:ietf:params:scim:api:messages:2.0:Error'

describe('a request that cannot be honoured', () => {
  let custody: TestCustody
  let owner: string
  let gone: string
  let account: string
  let credential: string
  let database: Database.Database

  beforeAll(async () => {
    // No worker: nothing is written but by the request under test.
    custody = await startTestCustody({ roles: ['http'] })
    owner = await custody.createPerson('ada@example.com', { externalId: 'e-1' })
    gone = await custody.createPerson('left@example.com', { active: false })
    const requested = await custody.requestAccount('ci-build', owner)
    account = requested.body.id
    credential = requested.body[nhiUrn].credentials[0].value
    database = new Database(path.join(custody.home, 'custody.db'), { readonly: true })
  })
  afterAll(async () => {
    database.close()
    await custody.close()
  })

  /** Every row of every table, by table: a refusal writes nothing but its line in the request log. */
  const rows = (): Record<string, unknown> => {
    const tables = database
      .prepare(
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' and name not in ('scim_request', 'attribute_sighting', 'failed_request', 'sealed')",
      )
      .pluck()
      .all() as string[]
    return Object.fromEntries(
      tables.map((table) => [
        table,
        database
          .prepare(
            // The list of what failed is written behind the answers, and says when one keeps failing.
            table === 'audit'
              ? "select count(*) from audit where action not like 'scimRequest.%'"
              : `select count(*) from "${table}"`,
          )
          .pluck()
          .get(),
      ]),
    )
  }

  const refused = async (
    method: string,
    route: string,
    body: unknown,
    options?: CallOptions,
  ): Promise<Reply> => {
    const before = rows()
    const reply = await custody.call(method, route, body, options)
    expect(reply.status, reply.text).toBeGreaterThanOrEqual(400)
    expect(reply.status, reply.text).toBeLessThan(500)
    expect(rows()).toEqual(before)
    if (route.startsWith('/scim')) {
      expect(reply.headers.get('content-type')).toContain('application/scim+json')
      expect(reply.body).toMatchObject({ schemas: [scimErrorUrn], status: String(reply.status) })
    } else {
      expect(reply.headers.get('content-type')).toContain('application/problem+json')
      expect(reply.body).toMatchObject({ status: reply.status, title: expect.any(String) })
    }
    expect(reply.body.detail).toMatch(/^\S.{9,}[.?]$/s)
    return reply
  }

  const nhi = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
    kind: 'serviceAccount',
    owner: { value: owner },
    purpose: 'tests',
    ...more,
  })
  const user = (extension: unknown, more: Record<string, unknown> = {}): Json => ({
    schemas: [userUrn, nhiUrn],
    userName: 'new-account',
    [nhiUrn]: extension,
    ...more,
  })
  const entry = (more: Record<string, unknown> = {}): Json => ({
    provider: 'tokens',
    kind: 'api-token',
    scopes: ['read'],
    deliverTo: 'files:a/b',
    ...more,
  })
  const inDays = (n: number): string => new Date(Date.now() + n * 86_400_000).toISOString()

  const accounts: readonly (readonly [string, () => Json, number, string | null, RegExp])[] = [
    ['an unknown nhi attribute', () => user(nhi({ purpos: 'x' })), 400, 'invalidValue', /purpose/],
    ['no owner', () => user({ kind: 'bot', purpose: 'x' }), 400, 'invalidValue', /owner/],
    [
      'an owner nobody knows',
      () => user(nhi({ owner: { value: 'nobody' } })),
      400,
      'invalidValue',
      /nobody/,
    ],
    [
      'an owner who left',
      () => user(nhi({ owner: { value: gone } })),
      400,
      'invalidValue',
      /not an active person/,
    ],
    [
      'an account as owner',
      () => user(nhi({ owner: { value: account } })),
      400,
      'invalidValue',
      /owner/,
    ],
    ['no kind', () => user({ owner: { value: owner }, purpose: 'x' }), 400, 'invalidValue', /kind/],
    ['a kind that does not exist', () => user(nhi({ kind: 'robot' })), 400, 'invalidValue', /kind/],
    [
      'no purpose',
      () => user({ kind: 'bot', owner: { value: owner } }),
      400,
      'invalidValue',
      /purpose/,
    ],
    [
      'an unknown provider',
      () => user(nhi({ credentials: [entry({ provider: 'aws' })] })),
      400,
      'invalidValue',
      /configured: tokens/,
    ],
    [
      'a kind the provider lacks',
      () => user(nhi({ credentials: [entry({ kind: 'access-key' })] })),
      400,
      'invalidValue',
      /api-token/,
    ],
    [
      'a scope the provider refuses',
      () => user(nhi({ credentials: [entry({ scopes: ['a b'] })] })),
      400,
      'invalidValue',
      /a b/,
    ],
    [
      'an unknown sink',
      () => user(nhi({ credentials: [entry({ deliverTo: 'vault:a' })] })),
      400,
      'invalidValue',
      /files/,
    ],
    [
      'a path that climbs',
      () => user(nhi({ credentials: [entry({ deliverTo: 'files:../../etc/passwd' })] })),
      400,
      'invalidValue',
      /deliverTo/,
    ],
    [
      'a path that climbs inside',
      () => user(nhi({ credentials: [entry({ deliverTo: 'files:a/../../b' })] })),
      400,
      'invalidValue',
      /deliverTo/,
    ],
    [
      'an absolute path',
      () => user(nhi({ credentials: [entry({ deliverTo: 'files:/etc/passwd' })] })),
      400,
      'invalidValue',
      /deliverTo/,
    ],
    [
      'a path with a null byte',
      () => user(nhi({ credentials: [entry({ deliverTo: 'files:a\u0000b' })] })),
      400,
      'invalidSyntax',
      /NUL/,
    ],
    [
      'an end date in the past',
      () => user(nhi({ expiresAt: inDays(-1) })),
      400,
      'invalidValue',
      /past/,
    ],
    [
      'an end date beyond the cap',
      () => user(nhi({ expiresAt: inDays(366) })),
      400,
      'invalidValue',
      /longest/,
    ],
    [
      'an end date that does not exist',
      () => user(nhi({ expiresAt: '2027-02-30T00:00:00Z' })),
      400,
      'invalidValue',
      /expiresAt/,
    ],
    [
      'a credential that outlives its account',
      () => user(nhi({ expiresAt: inDays(10), credentials: [entry({ expiresAt: inDays(20) })] })),
      400,
      'invalidValue',
      /expiresAt/,
    ],
    [
      'a userName that is taken',
      () => user(nhi(), { userName: 'CI-build' }),
      409,
      'uniqueness',
      /ci-build/i,
    ],
    ['no userName', () => user(nhi(), { userName: undefined }), 400, 'invalidValue', /userName/],
    [
      'a userName of another type',
      () => user(nhi(), { userName: { a: 1 } }),
      400,
      'invalidValue',
      /userName/,
    ],
    [
      'credentials that are no list',
      () => user(nhi({ credentials: 'all' })),
      400,
      'invalidValue',
      /credentials/,
    ],
    ['a body that is a list', () => [user(nhi())], 400, 'invalidSyntax', /object/i],
    ['a body that is null', () => 'null', 400, 'invalidSyntax', /object/i],
    [
      'a path two credentials share',
      () => user(nhi({ credentials: [entry(), entry({ scopes: ['b'] })] })),
      409,
      'uniqueness',
      /a\/b/,
    ],
    [
      'a path that is in use',
      () => user(nhi({ credentials: [entry({ deliverTo: 'files:ci-build/token' })] })),
      409,
      'uniqueness',
      /ci-build\/token/,
    ],
    [
      'an account that starts inactive',
      () => user(nhi(), { active: false }),
      400,
      'invalidValue',
      /active/,
    ],
  ]
  it.each(accounts)('POST /Users with %s', async (_n, body, status, scimType, detail) => {
    const reply = await refused('POST', '/scim/v2/Users', body())
    expect(reply.status, reply.text).toBe(status)
    expect(reply.body.scimType ?? null).toBe(scimType)
    expect(reply.body.detail).toMatch(detail)
  })

  it('names the id of the resource that has the userName, for people and accounts apart', async () => {
    const taken = await refused('POST', '/scim/v2/Users', {
      schemas: [userUrn],
      userName: 'ADA@example.com',
    })
    expect(taken.status).toBe(409)
    expect(taken.body.detail).toContain(owner)

    const same = await refused('POST', '/scim/v2/Users', {
      schemas: [userUrn],
      userName: 'other',
      externalId: 'e-1',
    })
    expect(same.status).toBe(409)
    expect(same.body.detail).toContain(owner)

    const account2 = await refused('POST', '/scim/v2/Users', user(nhi(), { userName: 'ci-build' }))
    expect(account2.body.detail).toContain(account)
  })

  const bodies: readonly (readonly [string, string, number])[] = [
    ['half a document', '{"schemas": [', 400],
    ['no JSON at all', 'userName=ada', 400],
    ['nothing', '', 400],
    ['40 levels of lists', `{"a":${'['.repeat(40)}${']'.repeat(40)}}`, 400],
    ['a hundred thousand brackets', '['.repeat(100_000), 400],
    ['__proto__', '{"__proto__": {"active": true}, "userName": "x"}', 400],
    ['constructor.prototype', '{"constructor": {"prototype": {}}, "userName": "x"}', 400],
    ['one name twice', '{"userName": "a", "name": {"x": 1, "x": 2}}', 400],
    ['one name twice in another case', '{"userName": "a", "active": true, "Active": false}', 400],
    ['more than a megabyte', JSON.stringify({ userName: 'x'.repeat(1_100_000) }), 413],
    ['a lone surrogate and a number', '123', 400],
  ]
  it.each(bodies)('a body with %s, below SCIM and below the API', async (_n, body, status) => {
    for (const route of ['/scim/v2/Users', '/api/v1/clients']) {
      const reply = await refused('POST', route, body)
      expect(reply.status, `${route}: ${reply.text.slice(0, 200)}`).toBe(status)
      expect(reply.text).not.toContain('    at ')
    }
  })

  it('a content type it cannot read', async () => {
    for (const route of ['/scim/v2/Users', '/api/v1/clients']) {
      const reply = await refused('POST', route, '<xml/>', {
        headers: { 'content-type': 'text/xml' },
      })
      expect(reply.status).toBe(415)
    }
  })

  it('a body in an encoding it cannot read', async () => {
    const headers = { 'content-encoding': 'gzip' }
    const reply = await refused('POST', '/scim/v2/Users', { userName: 'x' }, { headers })

    expect(reply.status).toBe(415)
    expect(reply.body.detail).toContain('Content-Encoding "gzip"')
  })

  it.each([
    ['GET', '/scim/v2/Nothing', 404],
    ['GET', '/api/v1/nothing', 404],
    ['GET', '/nothing', 404],
    ['POST', '/scim/v2/Schemas', 405],
    ['GET', '/scim/v2/Users/no-such-id', 404],
    ['GET', `/scim/v2/Users/${'x'.repeat(600)}`, 404],
    ['GET', '/scim/v2/Users/%00', 404],
    ['GET', '/scim/v2/Users/%E0%A4%A', 400],
    ['DELETE', '/scim/v2/Users', 405],
    ['PUT', '/scim/v2/Credentials', 405],
    ['DELETE', '/api/v1/accounts', 405],
    ['GET', '/scim/v2/Users?filter=userName%20eq', 400],
    ['GET', '/scim/v2/Users?count=ten', 400],
    ['GET', '/scim/v2/Users?filter=a%20eq%201&filter=b%20eq%202', 400],
    ['GET', '/scim/v2/Users?startIndex=1&startIndex=2', 400],
    ['GET', '/scim/v2/Users?attributes=userName&attributes=id', 400],
    ['GET', '/api/v1/accounts?limit=x', 400],
    ['GET', '/api/v1/accounts?cursor=a&cursor=b', 400],
    ['GET', '/api/v1/operations?status=none', 400],
    ['GET', '/api/v1/operations?subject=a&subject=b', 400],
    ['GET', '/api/v1/audit?target=a&target=b', 400],
    ['GET', '/api/v1/credentials/none', 404],
    ['GET', '/api/v1/reports/offboarding/none', 404],
    ['GET', '/api/v1/reports/shadow?days=0', 400],
    ['GET', '/api/v1/reports/shadow?days=367', 400],
    ['GET', '/api/v1/reports/shadow?days=two', 400],
    ['GET', '/api/v1/reports/shadow?days=1&days=2', 400],
    ['GET', '/api/v1/reports/shadow?day=1', 400],
    ['GET', '/api/v1/reports/shadow?cursor=x', 400],
    ['POST', '/api/v1/sweeps/everything', 404],
    ['POST', '/api/v1/credentials/none/rotate', 404],
    ['POST', '/api/v1/owners/none/leave', 404],
    ['POST', '/api/v1/operations/none/cancel', 404],
  ])('%s %s', async (method, route, status) => {
    const reply = await refused(method, route, undefined)
    expect(reply.status, reply.text).toBe(status)
  })

  it.each([
    ['no token', null],
    ['a token nobody issued', 'cst_0123456789ab_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG012345'],
    ['words', 'let me in'],
    ['an empty token', ''],
  ])('%s', async (_n, token) => {
    for (const route of ['/scim/v2/Users', '/api/v1/accounts', '/oauth2/introspect']) {
      const method = route.startsWith('/oauth2') ? 'POST' : 'GET'
      const reply = await refused(method, route, undefined, { token })
      expect(reply.status).toBe(401)
      expect(reply.headers.get('www-authenticate')).toContain('Bearer')
    }
  })

  const patch = (...Operations: unknown[]): Json => ({ schemas: [patchUrn], Operations })
  it.each<readonly [string, () => Json, number, string | null]>([
    ['no operations', () => ({ schemas: [patchUrn], Operations: [] }), 400, null],
    ['an unknown verb', () => patch({ op: 'move', path: 'active', value: true }), 400, null],
    [
      'another kind',
      () => patch({ op: 'replace', path: `${nhiUrn}:kind`, value: 'bot' }),
      400,
      'mutability',
    ],
    ['no extension any more', () => patch({ op: 'remove', path: nhiUrn }), 400, 'mutability'],
    [
      'a status of its own',
      () => patch({ op: 'replace', path: `${nhiUrn}:status`, value: 'active' }),
      400,
      'mutability',
    ],
    [
      'an unknown attribute inside',
      () => patch({ op: 'add', path: `${nhiUrn}:ownr`, value: { value: owner } }),
      400,
      null,
    ],
    [
      'an owner who left',
      () => patch({ op: 'replace', path: `${nhiUrn}:owner`, value: { value: gone } }),
      400,
      'invalidValue',
    ],
    [
      'an end date beyond the cap',
      () => patch({ op: 'replace', path: `${nhiUrn}:expiresAt`, value: inDays(400) }),
      400,
      'invalidValue',
    ],
    ['no owner any more', () => patch({ op: 'remove', path: `${nhiUrn}:owner` }), 400, null],
    [
      '1001 operations',
      () =>
        patch(
          ...Array.from({ length: 1_001 }, () => ({
            op: 'replace',
            path: 'displayName',
            value: 'x',
          })),
        ),
      400,
      'tooMany',
    ],
  ])('PATCH of an account with %s', async (_n, body, status, scimType) => {
    const reply = await refused('PATCH', `/scim/v2/Users/${account}`, body())
    expect(reply.status, reply.text).toBe(status)
    expect(reply.body.scimType).toBe(scimType ?? reply.body.scimType)
  })

  it('PUT that leaves credentials out of the list without If-Match', async () => {
    const body = user(nhi({ credentials: [] }), { userName: 'ci-build' })
    const reply = await refused('PUT', `/scim/v2/Users/${account}`, body)
    expect(reply.status).toBe(428)
    const stale = await refused('PUT', `/scim/v2/Users/${account}`, body, {
      headers: { 'if-match': 'W/"stale"' },
    })
    expect(stale.status).toBe(412)
  })

  it.each<readonly [string, () => Json, number]>([
    [
      'no account',
      () => ({ schemas: [credentialUrn], provider: 'tokens', kind: 'api-token' }),
      400,
    ],
    [
      'an account nobody knows',
      () => ({
        schemas: [credentialUrn],
        serviceAccount: { value: 'x' },
        provider: 'tokens',
        kind: 'api-token',
      }),
      400,
    ],
    [
      'a person as account',
      () => ({
        schemas: [credentialUrn],
        serviceAccount: { value: owner },
        provider: 'tokens',
        kind: 'api-token',
      }),
      400,
    ],
    [
      'a path that climbs',
      () => ({
        schemas: [credentialUrn],
        serviceAccount: { value: account },
        provider: 'tokens',
        kind: 'api-token',
        scopes: ['a'],
        deliverTo: { sink: 'files', path: 'a/../../x' },
      }),
      400,
    ],
    [
      'a period of a month',
      () => ({
        schemas: [credentialUrn],
        serviceAccount: { value: account },
        provider: 'tokens',
        kind: 'api-token',
        scopes: ['a'],
        rotateEvery: 'P1M',
      }),
      400,
    ],
  ])('POST /Credentials with %s', async (_n, body, status) => {
    const reply = await refused('POST', '/scim/v2/Credentials', body())
    expect(reply.status, reply.text).toBe(status)
  })

  it('a rotation of what is not issued yet, and a retry of what is not stuck', async () => {
    const rotate = await refused('POST', `/api/v1/credentials/${credential}/rotate`, undefined)
    expect(rotate.status).toBe(409)
    const operations = await custody.call('GET', `/api/v1/operations?subject=${credential}`)
    const id = operations.body.items[0].id as string
    const retry = await refused('POST', `/api/v1/operations/${id}/retry`, undefined)
    expect(retry.status).toBe(409)
  })

  it.each([
    ['transfer without an owner', 'transfer', {}],
    ['transfer at once without a reason', 'transfer', () => ({ owner, atOnce: true })],
    ['transfer to someone who left', 'transfer', () => ({ owner: gone })],
    ['transfer with a number', 'transfer', { owner: 7 }],
    ['transfer with a list as body', 'transfer', []],
  ])('%s', async (_n, action, body) => {
    const value: unknown = typeof body === 'function' ? body() : body
    const reply = await refused('POST', `/api/v1/accounts/${account}/${action}`, value)
    expect(reply.status).toBe(400)
  })

  it('introspection without a token, and a body that is no form', async () => {
    expect((await refused('POST', '/oauth2/introspect', {})).status).toBe(400)
    expect((await refused('POST', '/oauth2/introspect', { token: 7 })).status).toBe(400)
    const other = await custody.call('POST', '/oauth2/introspect', { token: 'csk_x_y' })
    expect(other.body).toEqual({ active: false })
  })

  it('a client of a role, dialect or person that does not exist', async () => {
    for (const body of [
      { name: 'x', role: 'king' },
      { name: 'x' },
      { role: 'admin' },
      { name: 'x', role: 'owner', person: 'nobody' },
      { name: 'x', role: 'admin', dialect: 'klingon' },
      { name: ['x'], role: 'admin' },
    ]) {
      expect((await refused('POST', '/api/v1/clients', body)).status).toBe(400)
    }
  })
})
