import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import type { TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, startTestCustody } from '../support/custody.ts'

describe('consumers over HTTP and on the command line', () => {
  let custody: TestCustody
  let account: string
  let credential: string

  const cli = async (...args: string[]) => {
    return runCli(args, {
      env: { CUSTODY_SERVER: custody.url, CUSTODY_TOKEN: custody.adminToken },
      cwd: custody.home,
    })
  }
  const consumers = [
    { name: 'web/1', kind: 'restart-only' },
    { name: 'job', cacheTtl: 'PT1H' },
  ]

  beforeAll(async () => {
    custody = await startTestCustody()
    const owner = await custody.createPerson('ada@example.com')
    const { body } = await custody.requestAccount('svc', owner, { consumers })
    account = body.id
    credential = body[nhiUrn].credentials[0].value
    const read = () => custody.call('GET', `/api/v1/credentials/${credential}`)
    await eventually(read, ({ body: { status } }) => status === 'active')
  })
  afterAll(() => custody.close())

  it('are listed with how far each is, and report what they read', async () => {
    const id = `${account}:web/1`
    const listed = await custody.call('GET', `/api/v1/consumers?account=${account}`)
    expect(listed.body.items).toMatchObject([
      { id, name: 'web/1', credentials: [{ credential, generation: 1, seen: null }] },
      { name: 'job', cacheTtl: 'PT1H', credentials: [{ state: 'settled' }] },
    ])

    const paged = await custody.call('GET', `/api/v1/consumers?account=${account}&limit=1`)
    expect(paged.body.cursor).toBe(id)
    const next = `/api/v1/consumers?account=${account}&cursor=${encodeURIComponent(id)}`
    expect((await custody.call('GET', next)).body).toMatchObject({
      items: [{ name: 'job' }],
      cursor: null,
    })

    const route = `/api/v1/consumers/${encodeURIComponent(id)}/seen`
    const seen = await custody.call('POST', route, { credential, generation: 1 })
    expect(seen).toMatchObject({ status: 200, body: { credentials: [{ seen: 1 }] } })
    for (const generation of [0, 1.5, '1', 2 ** 40, 7]) {
      const refused = await custody.call('POST', route, { credential, generation })
      expect(refused.status).toBe(400)
    }
    const unknown = await custody.call('POST', route, { credential, generation: 1, seen: true })
    expect(unknown.status).toBe(400)
    const auditor = await custody.createClient('auditor')
    const word = { credential, generation: 1 }
    expect((await custody.call('POST', route, word, { token: auditor.token })).status).toBe(403)
    const stranger = await custody.createClient('requester')
    expect((await custody.call('POST', route, word, { token: stranger.token })).status).toBe(404)
    expect((await custody.call('GET', '/api/v1/consumers')).status).toBe(400)

    const { code, stdout } = await cli('consumer', 'list', '--account', account)
    expect(code).toBe(0)
    expect(stdout).toMatch(/web\/1 +restart-only .*seen \(generation 1\)/)
  })

  it('are refused where they could not be told apart, or a hook would lead inside', async () => {
    const refused = async (list: readonly unknown[]) => {
      const path = `/scim/v2/Users/${account}`
      const op = { op: 'replace', path: `${nhiUrn}:consumers`, value: list }
      const schemas = ['urn:ietf:params:scim:api:messages:2.0:PatchOp']
      const { status, body } = await custody.call('PATCH', path, { schemas, Operations: [op] })
      expect(status).toBe(400)
      return body.detail as string
    }

    expect(await refused([{ name: 'a' }, { name: 'a', kind: 'manual' }])).toContain(
      '"a" is there twice',
    )
    const secret = 'https://x:hunter2@hooks.example/'
    const detail = await refused([{ name: 'a', reloadHook: secret }])
    expect(detail).toContain('user name')
    expect(detail).not.toContain('hunter2')
    expect(await refused([{ name: 'a', cacheTtl: 'P1Y' }])).toContain('not a duration')
  })

  it('wait for nobody before a rotation, and the signing key of hooks is shown once', async () => {
    const [issue] = (await custody.call('GET', `/api/v1/operations?subject=${credential}`)).body
      .items
    const waive = { consumer: 'web/1', reason: 'test' }
    const early = await custody.call('POST', `/api/v1/operations/${issue.id}/waive`, waive)
    expect(early).toMatchObject({ status: 409 })
    const rehearsed = await custody.call('POST', `/api/v1/credentials/${credential}/rehearse`, {})
    expect(rehearsed.status).toBe(409)
    expect(rehearsed.body.detail).toContain('"web/1"')

    const headers = { 'idempotency-key': 'once' }
    const first = await custody.call('POST', '/api/v1/consumers/hook-secret', {}, { headers })
    expect(first.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const again = await custody.call('POST', '/api/v1/consumers/hook-secret', {}, { headers })
    expect(again.status).toBe(409)
    const { stdout } = await cli('consumer', 'hook-secret')
    expect(stdout.trim()).not.toBe(first.body.secret)
    expect(custody.log.join('')).not.toContain(first.body.secret)
  })
})
