import { rm } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody } from '../support/custody.ts'

describe('findings over HTTP, with AWS and GitHub at the other end', () => {
  let custody: TestCustody
  let foreign: string
  let lost: string
  const tokens: Record<string, string> = {}

  const as = (role: string) => ({ token: tokens[role]! })
  const list = async (query = '', role?: string) =>
    (await custody.call('GET', `/api/v1/findings${query}`, undefined, role ? as(role) : {})).body
      .items
  const byHand = (operation: string, input: Record<string, unknown>) => {
    const { world } = custody.aws!
    const { accessKeyId } = world.admin
    return world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' })
  }
  const reconcile = async () => {
    const { body } = await custody.call('POST', '/api/v1/sweeps/reconcile')
    const started: string[] = body.items.flatMap(
      (item: { operations: string[] }) => item.operations,
    )
    for (const id of started) {
      await eventually(
        async () => (await custody.call('GET', `/api/v1/operations/${id}`)).body,
        (operation) => operation.finishedAt !== null,
      )
    }
    return body
  }

  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
    for (const role of ['requester', 'auditor', 'security', 'verifier']) {
      tokens[role] = (await custody.createClient(role)).token
    }
    tokens['directory'] = (await custody.createClient('directory', { directory: 'default' })).token
    const person = await custody.createPerson('ada@example.com')
    tokens['owner'] = (await custody.createClient('owner', { person })).token
    const { body } = await custody.requestAccount('deployer', person, {
      credentials: [
        {
          provider: 'aws-prod',
          kind: 'access-key',
          scopes: ['s3:GetObject on arn:aws:s3:::a/*'],
          deliverTo: 'aws-secrets:deployer/key',
        },
      ],
    })
    await eventually(
      async () => (await custody.call('GET', `/api/v1/accounts/${body.id}`)).body,
      (account) => account.status === 'active',
    )
    const user = custody.aws!.world.users().find((u) => u.tags['custody:id'] === body.id)!
    const made = byHand('CreateAccessKey', { UserName: user.userName }) as {
      AccessKey: { AccessKeyId: string }
    }
    foreign = made.AccessKey.AccessKeyId
    const other = await custody.createPerson('grace@example.com')
    const { body: second } = await custody.requestAccount('reader', other)
    const up = await eventually(
      async () => (await custody.call('GET', `/api/v1/accounts/${second.id}`)).body,
      (account) => account.status === 'active',
    )
    lost = up.credentials[0].id
    await rm(path.join(custody.home, 'secrets/default/reader/token'))
    await reconcile()
  })
  afterAll(() => custody.close())

  it('shows what would be gone through before it is', async () => {
    const { body } = await custody.call('POST', '/api/v1/sweeps/reconcile?dryRun=true')

    expect(body.items.map((item: { act: string; id: string }) => `${item.act} ${item.id}`)).toEqual(
      ['reconcile aws-prod', 'reconcile github-acme', 'reconcile tokens'],
    )
  })

  it('lists them by kind, provider and status, and shows each', async () => {
    const [finding] = await list('?kind=foreign&provider=aws-prod&status=open')
    const { body } = await custody.call('GET', `/api/v1/findings/${finding.id}`)

    expect(body).toEqual(finding)
    expect(finding).toMatchObject({ kind: 'foreign', keyId: foreign, status: 'open' })
    expect(finding).not.toHaveProperty('tenant')
    expect(await list('?provider=github-acme')).toEqual([])
    expect(await list('?status=resolved')).toEqual([])
  })

  it('pages through them', async () => {
    const first = (await custody.call('GET', '/api/v1/findings?limit=1')).body
    const rest = (await custody.call('GET', `/api/v1/findings?cursor=${first.cursor}`)).body
    const all = await list()

    expect([...first.items, ...rest.items]).toEqual(all)
  })

  it.each([
    ['?kind=odd', 'kind'],
    ['?status=gone', 'status'],
  ])('refuses %s', async (query, parameter) => {
    const { status, body } = await custody.call('GET', `/api/v1/findings${query}`)

    expect(status).toBe(400)
    expect(body.detail).toContain(parameter)
  })

  it('shows an owner what is about its accounts, and others nothing', async () => {
    const [finding] = await list('?kind=foreign')

    expect((await list('', 'owner')).map((f: { id: string }) => f.id)).toEqual([finding.id])
    for (const role of ['auditor', 'security']) {
      expect((await list('', role)).length).toBeGreaterThan(1)
    }
    for (const role of ['requester', 'directory', 'verifier']) {
      expect(await list('', role)).toEqual([])
      const { status } = await custody.call(
        'GET',
        `/api/v1/findings/${finding.id}`,
        undefined,
        as(role),
      )
      expect(status).toBe(404)
    }
  })

  it('is accepted by security until a date, with a reason that stays in the audit', async () => {
    const [finding] = await list('?kind=foreign')
    const route = `/api/v1/findings/${finding.id}/accept`
    const soon = new Date(Date.now() + 86_400_000).toISOString()
    const accept = (body: unknown, role = 'security') =>
      custody.call('POST', route, body, as(role)).then((reply) => reply.status)

    expect(await accept({ reason: 'known', until: soon }, 'auditor')).toBe(403)
    expect(await accept({ reason: 'known', until: soon }, 'requester')).toBe(404)
    expect(await accept({ until: soon })).toBe(400)
    expect(await accept({ reason: 'known', until: 'soon' })).toBe(400)
    expect(await accept({ reason: 'known', until: '2020-01-01T00:00:00Z' })).toBe(400)
    expect(await accept({ reason: 'known', until: '2999-01-01T00:00:00Z' })).toBe(400)
    expect(await accept({ reason: 'the old deployer still needs it', until: soon })).toBe(200)

    const [accepted] = await list('?status=accepted')
    expect(accepted).toMatchObject({
      id: finding.id,
      acceptance: { by: 'security client', reason: 'the old deployer still needs it', until: soon },
    })
    const audit = await custody.call('GET', `/api/v1/audit?target=${finding.id}`)
    expect(audit.body.items.map((row: { action: string }) => row.action)).toEqual([
      'finding.opened',
      'finding.accepted',
    ])
    await reconcile()
    expect(await list('?status=accepted')).toHaveLength(1)
  })

  it('of rights is reverted by security with a reason, and every other finding is not', async () => {
    const user = custody.aws!.world.users()[0]!.userName
    const PolicyArn = 'arn:aws:iam::aws:policy/AdministratorAccess'
    byHand('AttachUserPolicy', { UserName: user, PolicyArn })
    await reconcile()
    const [drift] = await list('?kind=entitlement-drift')
    const post = (route: string, body: unknown, role = 'security') =>
      custody.call('POST', `/api/v1/${route}`, body, as(role))
    const reason = { reason: 'nobody asked for it' }

    const [accepted] = await list('?status=accepted')
    const refused = [
      await post(`findings/${drift.id}/revert`, reason, 'auditor'),
      await post(`findings/${drift.id}/revert`, reason, 'owner'),
      await post(`findings/${drift.id}/adopt`, reason, 'requester'),
      await post(`findings/${drift.id}/revert`, {}),
      await post(`findings/${drift.id}/adopt`, reason),
      await post(`findings/${accepted.id}/revert`, reason),
    ]
    const { status, body } = await post(`findings/${drift.id}/revert`, reason)
    const { body: operation } = await eventually(
      () => custody.call('GET', `/api/v1/operations/${body.operation}`),
      ({ body: now }) => now.finishedAt !== null,
    )

    expect(refused.map((reply) => reply.status)).toEqual([403, 403, 404, 400, 409, 409])
    expect(refused[4]!.body.detail).toContain('No scope of aws-prod says attachedPolicy')
    expect([status, operation.status]).toEqual([202, 'succeeded'])
    expect(custody.aws!.world.users()[0]!.attachedPolicies).toEqual([])
    expect(await list('?kind=entitlement-drift&status=open')).toEqual([])
  })

  it('that is let be stands among the exceptions, until somebody ends that', async () => {
    const route = '/api/v1/exceptions'
    const [finding] = await list('?status=accepted')
    const { body } = await custody.call('GET', route, undefined, as('auditor'))
    const { owner, reason, approver } = body.items[0]

    expect(body.items).toHaveLength(1)
    expect(body.items[0]).toMatchObject({
      id: finding.id,
      kind: 'foreign',
      until: finding.acceptance.until,
    })
    expect([owner, reason, approver]).toEqual([
      expect.any(String),
      'the old deployer still needs it',
      'security client',
    ])
    const end = (role: string) =>
      custody.call('DELETE', `${route}/${finding.id}`, undefined, as(role)).then((r) => r.status)
    expect([await end('auditor'), await end('security'), await end('security')]).toEqual([
      403, 204, 409,
    ])
    expect((await list('?kind=foreign'))[0].status).toBe('open')
    const again = { finding: finding.id, reason: 'still', until: finding.acceptance.until }
    const made = await custody.call('POST', route, again, as('security'))
    expect([made.status, made.body.reason]).toEqual([201, 'still'])
  })

  it('cannot be accepted once it is over', async () => {
    await custody.call('POST', `/api/v1/credentials/${lost}/revoke`)
    await eventually(
      async () => (await custody.call('GET', `/api/v1/credentials/${lost}`)).body,
      (credential) => credential.status === 'revoked',
    )
    await reconcile()
    const [over] = await list('?status=resolved&kind=stale-store')

    const { status } = await custody.call('POST', `/api/v1/findings/${over.id}/accept`, {
      reason: 'x',
      until: new Date(Date.now() + 86_400_000).toISOString(),
    })

    expect(over).toMatchObject({ kind: 'stale-store', credential: lost })
    expect(status).toBe(409)
  })
})
