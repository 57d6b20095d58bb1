import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from './support/custody.ts'
import { eventually, patchUrn, startTestCustody } from './support/custody.ts'

describe('a token, from request to proven dead, over HTTP', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(() => custody.close())

  it('issues to the file sink, and refuses the moment the owner is deactivated', async () => {
    const owner = await custody.createPerson('ada@example.com')

    const requested = await custody.requestAccount('ci-build', owner)
    expect(requested.status).toBe(201)
    expect(requested.headers.get('custody-operation')).toMatch(/^[0-9a-f-]{36}$/)
    const account = requested.body.id as string

    const token = (await eventually(
      () => custody.secretAt('ci-build/token'),
      (s) => s !== null,
    ))!
    const active = await eventually(
      () => custody.introspect(token),
      (r) => r.active,
    )
    expect(active).toMatchObject({
      active: true,
      sub: account,
      scope: 'read',
      client_id: 'ci-build',
    })

    const left = await custody.call('PATCH', `/scim/v2/Users/${owner}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    })
    expect(left.status).toBe(200)
    expect(await custody.introspect(token)).toEqual({ active: false })

    const report = await eventually(
      async () => (await custody.call('GET', `/api/v1/reports/offboarding/${owner}`)).body,
      (r) => r.verdict === 'complete',
    )
    expect(report.keys).toHaveLength(1)
    expect(report.keys[0]).toMatchObject({ outcome: 'refused', provider: 'tokens' })
    const after = await eventually(
      async () => (await custody.call('GET', `/scim/v2/Users/${account}`)).body,
      (u) => u['urn:custody:scim:schemas:extension:nhi:1.0:User'].status === 'disabled',
    )
    expect(after.active).toBe(false)
  })
})
