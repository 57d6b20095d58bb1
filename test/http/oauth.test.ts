import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Secret } from '../../src/domain/secret.ts'
import type { Instant } from '../../src/domain/time.ts'
import { openToken, sealAccessToken } from '../../src/http/access-token.ts'
import type { Json, Reply, TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody } from '../support/custody.ts'

const form = { 'content-type': 'application/x-www-form-urlencoded' }
const grant = { grant_type: 'client_credentials' }

describe('OAuth', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(() => custody.close())

  const ask = (fields: Record<string, string>, headers = {}): Promise<Reply> =>
    custody.call('POST', '/oauth2/token', new URLSearchParams(fields).toString(), {
      token: null,
      headers: { ...form, ...headers },
    })
  const basic = (id: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${secret}`).toString('base64')}`,
  })

  it('gives a client an access token for its id and token, by header and by body', async () => {
    const { id, token } = await custody.createClient('auditor')

    for (const reply of [
      await ask(grant, basic(id, token)),
      await ask({ ...grant, client_id: id, client_secret: token }),
    ]) {
      expect(reply.status).toBe(200)
      expect(reply.headers.get('cache-control')).toBe('no-store')
      expect(reply.body).toMatchObject({ token_type: 'Bearer', expires_in: 3_600, scope: 'scim' })
      const access = { token: reply.body.access_token as string }
      expect(access.token).toMatch(/^cat_/)
      expect((await custody.call('GET', '/scim/v2/Users', undefined, access)).status).toBe(200)
      expect((await custody.call('GET', '/api/v1/audit', undefined, access)).status).toBe(200)
      expect((await custody.call('POST', '/api/v1/sweeps/orphans', {}, access)).status).toBe(403)
    }
  })

  it('ends access tokens with their client', async () => {
    const { id, token } = await custody.createClient('auditor')
    const { access_token } = (await ask(grant, basic(id, token))).body
    await custody.call('DELETE', `/api/v1/clients/${id}`)

    const reply = await custody.call('GET', '/scim/v2/Users', undefined, { token: access_token })
    expect(reply.status).toBe(401)
    expect((await ask(grant, basic(id, token))).status).toBe(401)
  })

  it('accepts no access token that it has not sealed, nor one that is over', async () => {
    const pepper = Secret.of(Buffer.alloc(32, 1))
    const now = '2026-11-01T00:00:00.000Z' as Instant
    const sealed = sealAccessToken(pepper, 'abc', now)

    expect(openToken(pepper, 'access token', sealed)).toEqual({
      clientToken: 'abc',
      since: now,
      expiresAt: '2026-11-01T01:00:00.000Z',
    })
    expect(openToken(Secret.of(Buffer.alloc(32, 2)), 'access token', sealed)).toBeNull()
    expect(openToken(pepper, 'access token', sealed.replace('cat_W', 'cat_X'))).toBeNull()
    expect(openToken(pepper, 'console session', sealed.replace('cat_', 'ccs_'))).toBeNull()
    const foreign = await custody.call('GET', '/scim/v2/Users', undefined, { token: sealed })
    expect(foreign.status).toBe(401)
  })

  it.each<readonly [string, () => Promise<Reply>, number, string]>([
    ['no grant', () => ask({}), 400, 'invalid_request'],
    ['another grant', () => ask({ grant_type: 'password' }), 400, 'unsupported_grant_type'],
    ['no client', () => ask(grant), 401, 'invalid_client'],
    ['a wrong secret', () => ask(grant, basic('x', 'y')), 401, 'invalid_client'],
    [
      'the token of another client',
      async () => {
        const [one, other] = [
          await custody.createClient('auditor'),
          await custody.createClient('auditor'),
        ]
        return ask(grant, basic(one.id, other.token))
      },
      401,
      'invalid_client',
    ],
  ])('refuses %s in the words of RFC 6749', async (_name, act, status, error) => {
    const reply = await act()

    expect(reply.status).toBe(status)
    expect(reply.body).toMatchObject({ error, error_description: expect.any(String) })
  })

  it('says Basic to whom tried Basic', async () => {
    const reply = await ask(grant, basic('x', 'y'))

    expect(reply.headers.get('www-authenticate')).toContain('Basic')
  })

  it('describes itself (RFC 8414)', async () => {
    const { body } = await custody.call(
      'GET',
      '/.well-known/oauth-authorization-server',
      undefined,
      { token: null },
    )

    expect(body).toMatchObject({
      issuer: custody.url,
      token_endpoint: `${custody.url}/oauth2/token`,
      revocation_endpoint: `${custody.url}/oauth2/revoke`,
      grant_types_supported: ['client_credentials'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    })
  })

  describe('revocation (RFC 7009)', () => {
    const revoke = (token: Json, as?: string): Promise<Reply> =>
      custody.call('POST', '/oauth2/revoke', { token }, as === undefined ? {} : { token: as })

    it('ends an issued token for whoever may, and for nobody else', async () => {
      const owner = await custody.createPerson('revoker@x.test')
      await custody.requestAccount('leaky', owner)
      const secret = (await eventually(
        () => custody.secretAt('leaky/token'),
        (s) => s !== null,
      ))!
      await eventually(
        () => custody.introspect(secret),
        (r) => r.active,
      )
      const verifier = await custody.createClient('verifier')
      const auditor = await custody.createClient('auditor')
      const security = await custody.createClient('security')

      expect((await revoke(secret, verifier.token)).status).toBe(403)
      expect((await revoke(secret, auditor.token)).status).toBe(403)
      expect((await custody.introspect(secret)).active).toBe(true)

      expect((await revoke(secret, security.token)).status).toBe(200)
      expect(await custody.introspect(secret)).toEqual({ active: false })
      expect((await revoke(secret, security.token)).status).toBe(200)
    })

    it('says 200 to what nobody issued, and 400 to what ends elsewhere', async () => {
      expect((await revoke('csk_nothing')).status).toBe(200)
      expect((await revoke(custody.adminToken)).body.error).toBe('unsupported_token_type')
      expect((await revoke(7)).body.error).toBe('invalid_request')
      expect((await custody.call('GET', '/scim/v2/Users')).status).toBe(200)
    })
  })
})

describe('a client in a loop', () => {
  it('gets 429 with Retry-After and a SCIM body, and nobody else does', async () => {
    const custody = await startTestCustody({
      roles: ['http'],
      rateLimit: { perSecond: 1, burst: 5 },
    })
    try {
      const { token } = await custody.createClient('auditor')
      const list = (options = {}) => custody.call('GET', '/scim/v2/Users', undefined, options)
      const replies = await Promise.all(Array.from({ length: 8 }, () => list({ token })))

      const slowed = replies.filter((r) => r.status === 429)
      expect(slowed.length).toBeGreaterThanOrEqual(1)
      expect(replies.filter((r) => r.status === 200).length).toBeGreaterThanOrEqual(5)
      expect(Number(slowed[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
      expect(slowed[0]!.body).toMatchObject({
        schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'],
        status: '429',
      })
      expect((await list()).status).toBe(200)
      const open = await custody.call('GET', '/scim/v2/Schemas', undefined, { token })
      expect(open.status).toBe(200)
    } finally {
      await custody.close()
    }
  })
})
