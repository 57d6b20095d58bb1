import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { startTestCustody, type TestCustody } from '../support/custody.ts'

describe('the kill switch of a provider', () => {
  let custody: TestCustody
  let security: string
  const body = { reason: 'the App key leaked' }

  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
    security = (await custody.createClient('security')).token
  })
  afterAll(() => custody.close())

  const post = (name: string, act: string, want: unknown = body, token = security) =>
    custody.call('POST', `/api/v1/providers/${name}/${act}`, want, { token })
  const suspendedAt = () => {
    const { world } = custody.github!
    return world.installations.get(world.app.installationId)?.suspendedAt
  }
  const audit = async () => {
    const { body: page } = await custody.call('GET', '/api/v1/audit?limit=200')
    const rows = page.items as readonly { action: string; facts: object }[]
    return rows.filter((row) => /^provider\.(suspend|resume)/.test(row.action))
  }

  it('is thrown and taken back by the security team, and is in the audit before and after', async () => {
    const off = await post('github-acme', 'suspend')
    const during = suspendedAt()
    const on = await post('github-acme', 'resume')

    expect([off.status, off.body.state]).toEqual([200, 'suspended'])
    expect(during).not.toBeNull()
    expect([on.status, on.body.state]).toEqual([200, 'resumed'])
    expect(suspendedAt()).toBeNull()
    const rows = await audit()
    expect(rows.map((row) => row.action).toSorted()).toEqual([
      'provider.resumeAsked',
      'provider.resumed',
      'provider.suspendAsked',
      'provider.suspended',
    ])
    expect(rows.every((row) => JSON.stringify(row.facts).includes(body.reason))).toBe(true)
  })

  it('is refused to others, without a reason, where there is none, and of what is not there', async () => {
    const auditor = (await custody.createClient('auditor')).token

    const statuses = await Promise.all([
      post('github-acme', 'suspend', body, auditor),
      post('github-acme', 'suspend', {}),
      post('aws-prod', 'suspend'),
      post('nowhere', 'suspend'),
    ])

    expect(statuses.map((reply) => reply.status)).toEqual([403, 400, 400, 404])
    expect(statuses[2]!.body.detail).toContain('no kill switch')
    expect(suspendedAt()).toBeNull()
  })

  it('says what the provider said when it would not, and keeps that', async () => {
    custody.github!.faults.arm('PUT /app/installations/{installation_id}/suspended', {
      kind: 'serverError',
      effect: false,
    })

    const reply = await post('github-acme', 'suspend')

    expect(reply.status).toBe(502)
    expect(reply.body.detail).toContain('GitHub failed with 502')
    expect((await audit()).find((row) => row.action === 'provider.suspendFailed')?.facts).toEqual({
      ...body,
      kind: 'unavailable',
      outcome: 'unknown',
    })
  })

  it('is asked for twice on the command line', async () => {
    let stderr = ''
    const run = (...args: readonly string[]) =>
      main(['provider', ...args], {
        env: { CUSTODY_SERVER: custody.url, CUSTODY_TOKEN: security },
        cwd: '/',
        stdout: () => {},
        stderr: (text) => (stderr += text),
        columns: null,
        isInteractive: false,
        ask: () => Promise.reject(new Error('nobody is there to ask')),
      })

    const unasked = await run('suspend', 'github-acme', '--reason', 'x')
    const before = suspendedAt()
    const asked = await run('suspend', 'github-acme', '--reason', 'x', '--yes')
    const during = suspendedAt()
    const back = await run('resume', 'github-acme', '--reason', 'x', '--yes')

    expect([unasked, asked, back]).toEqual([2, 0, 0])
    expect([before, during !== null, suspendedAt()]).toEqual([null, true, null])
    expect(stderr).toContain('Take it back with: custody provider resume github-acme')
  })
})
