import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { eventually, patchUrn, startTestCustody } from '../support/custody.ts'

describe('a service account at AWS and GitHub, over HTTP', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
  })
  afterAll(() => custody.close())

  const get = async (route: string) => (await custody.call('GET', route)).body

  it('is minted on a tagged user, served, rotated, and proven dead when its owner leaves', async () => {
    const owner = await custody.createPerson('grace@example.com')
    const requested = await custody.requestAccount('deployer', owner, {
      credentials: [
        {
          provider: 'aws-prod',
          kind: 'access-key',
          scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
          deliverTo: 'aws-secrets:deployer/key',
        },
        {
          provider: 'github-acme',
          kind: 'deploy-key',
          scopes: ['repo:acme/website'],
          deliverTo: 'files:deployer/key.pem',
        },
      ],
    })
    expect(requested.status, requested.text).toBe(201)
    const id = requested.body.id as string

    const up = await eventually(
      () => get(`/api/v1/accounts/${id}`),
      (a) => a.status === 'active',
    )
    const world = custody.aws!.world
    const user = world.users().find((u) => u.tags['custody:id'] === id)!
    const key = up.credentials.find((c: { kind: string }) => c.kind === 'access-key')
    expect(user.path).toBe('/custody/')
    expect(world.keysOf(user.userName).map((k) => k.accessKeyId)).toEqual([key.keyId])
    expect(world.secret('custody/default/deployer/key')!.current).toContain(key.keyId)
    expect(await custody.secretAt('deployer/key.pem')).toContain('PRIVATE KEY')
    expect(custody.github!.world.deployKeys('acme', 'website')).toHaveLength(1)

    const rotate = await custody.call('POST', `/api/v1/credentials/${key.id}/rotate`)
    expect(rotate.status).toBe(202)
    const rotated = await eventually(
      () => get(`/api/v1/credentials/${key.id}`),
      (c) => c.generation === 2,
    )
    expect(rotated.previousKeyId).toBe(key.keyId)
    expect(world.wouldAccept(key.keyId)).toBe(true)
    expect(world.wouldAccept(rotated.keyId)).toBe(true)

    const left = await custody.call('PATCH', `/scim/v2/Users/${owner}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: 'False' }],
    })
    expect(left.status).toBe(200)
    const report = await eventually(
      () => get(`/api/v1/reports/offboarding/${owner}`),
      (r) => r.verdict === 'complete',
    )
    expect(report.keys.map((k: { outcome: string }) => k.outcome).sort()).toEqual([
      'absent',
      'refused',
      'refused',
    ])
    expect(world.keysOf(user.userName).some((k) => world.wouldAccept(k.accessKeyId))).toBe(false)
    expect(custody.github!.world.deployKeys('acme', 'website')).toEqual([])
  })
})
