import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, patchUrn, startTestCustody } from '../support/custody.ts'

describe('an access key at AWS', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
  })
  afterAll(() => custody.close())

  it('is minted on a tagged user, delivered to AWSCURRENT, rotated and proven dead', async () => {
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
      async () => (await custody.call('GET', `/api/v1/accounts/${id}`)).body,
      (a) => a.status !== 'provisioning',
      5_000,
    ).catch(async (e: unknown) => {
      console.log(JSON.stringify((await custody.call('GET', `/api/v1/operations`)).body, null, 1))
      console.log(
        custody.log
          .filter((l) => /error|warn/.test(l))
          .slice(-5)
          .join(''),
      )
      throw e
    })
    expect(up.status).toBe('active')
    console.log(JSON.stringify(up, null, 1))
    await custody.call('PATCH', `/scim/v2/Users/${owner}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    })
    const report = await eventually(
      async () => (await custody.call('GET', `/api/v1/reports/offboarding/${owner}`)).body,
      (r) => r.verdict === 'complete',
    ).catch(async (e: unknown) => {
      console.log(JSON.stringify((await custody.call('GET', `/api/v1/operations`)).body, null, 1))
      console.log(
        custody.log
          .filter((l) => /error|warn/.test(l))
          .slice(-5)
          .join(''),
      )
      throw e
    })
    console.log(JSON.stringify(report, null, 1))
    expect(nhiUrn).toBeTruthy()
  })
})
