import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { patchUrn, startTestCustody } from '../support/custody.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let custody: TestCustody
let held: readonly string[]
let batch: { readonly id: string; readonly hash: string }
let security: { readonly token: string }
beforeAll(async () => {
  // PostgreSQL: it refuses what SQLite keeps.
  database = await createDatabase()
  custody = await startTestCustody({ roles: ['http'], storeUrl: database.url })
  security = await custody.createClient('security')
  const ids: string[] = []
  for (let i = 0; i < 7; i++) ids.push(await custody.createPerson(`person-${i}`))
  for (const id of ids) {
    await custody.call('PATCH', `/scim/v2/Users/${id}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    })
  }
  held = ids.slice(5)
  const { body } = await custody.call('GET', '/api/v1/approvals')
  batch = (await custody.call('GET', `/api/v1/approvals/${body.items[0].id}`)).body
})
afterAll(async () => {
  await custody.close()
  await database.drop()
})

describe('what a route does not know is refused, since it would widen what is done', () => {
  it.each([
    ['subject', { subject: 'one person' }, 'did you mean "subjects"?'],
    ['only', { only: ['one person'] }, 'there are hash, subjects, reason.'],
  ])('a decision with the field %s decides about nobody', async (name, more, hint) => {
    const route = `/api/v1/approvals/${batch.id}/approve`
    const answer = await custody.call('POST', route, { hash: batch.hash, ...more }, security)

    expect(answer).toMatchObject({ status: 400, body: { code: 'invalidValue' } })
    expect(answer.body.detail).toBe(`${name}: is no field here; ${hint}`)
    const { body } = await custody.call('GET', `/api/v1/approvals/${batch.id}`)
    expect(body.items.map((i: { outcome: unknown }) => i.outcome)).toEqual([null, null])
  })

  it.each([[[{ reason: 'x' }]], [5]])('a body that is no object: %j', async (body) => {
    const made = await custody.call('POST', '/api/v1/consumers/hook-secret', body)
    const decided = await custody.call('POST', `/api/v1/approvals/${batch.id}/deny`, body)

    expect([made.status, decided.status]).toEqual([400, 400])
    expect(decided.body.detail).toContain('one JSON object, with hash, subjects, reason')
  })

  it('a decision with its subjects in the query decides about nobody', async () => {
    const route = `/api/v1/approvals/${batch.id}/approve?subjects=${held[0]}`
    const answer = await custody.call('POST', route, { hash: batch.hash }, security)

    expect(answer).toMatchObject({ status: 400, body: { code: 'invalidValue' } })
  })

  it.each([
    'accounts?stat=active',
    'credentials?owner=x',
    'owners?active=false',
    'transfers?status=open',
    'operations?state=failed',
    'operations/x?wait=true',
    'approvals?state=forming',
    'brakes?name=clock',
    'findings?state=open',
    'audit?targte=x',
    'audit/checkpoint?at=5',
    'audit/consistency?from=0&until=1',
    'events?from=5',
    'clients?role=admin',
    'scim-requests?code=401',
  ])('GET %s', async (route) => {
    const { status, body } = await custody.call('GET', `/api/v1/${route}`)

    expect(status).toBe(400)
    expect(body.detail).toMatch(/^\w+: is no parameter here; (did you mean|there)/)
  })

  it.each(
    ['accounts', 'credentials', 'owners', 'operations', 'approvals', 'findings', 'audit'].flatMap(
      (list) => [
        [`${list}?cursor=garbage`, 'invalidCursor'],
        [`${list}?cursor=%00`, 'invalidCursor'],
        [`${list}?cursor=`, 'invalidCursor'],
        [`${list}?limit=0`, 'invalidValue'],
        [`${list}?limit=1e3`, 'invalidValue'],
      ],
    ),
  )('GET %s is %s', async (route, code) => {
    const { status, body } = await custody.call('GET', `/api/v1/${route}`)

    expect([status, body.code]).toEqual([400, code])
  })
})

it.each([
  'approvals/%00',
  'findings/%00',
  'findings?provider=%00',
  'audit?target=%00',
  'audit?operation=%00',
  'audit?action=%00',
  'audit/proof/%00',
  'audit/checkpoint?size=99999999999999999',
  'audit/checkpoint?size=999999999999999',
  'audit?order=seq&cursor=%00',
  'audit?order=seq&cursor=2147483647',
  'audit?order=seq&cursor=999999999999999',
  'audit/consistency?from=%00',
  'audit/consistency?from=0&to=999999999999999',
  'events?after=%00',
  'events?after=999999999999999',
  'operations/%00',
  'operations?subject=%00',
  'operations?cause=%00',
  'owners/%00',
  'owners/%00/impact',
  'reports/offboarding/%00',
  'accounts/%00',
  'credentials/%00',
  'clients/%00/attributes',
  'scim-requests?client=%00',
])('GET %s never ends as an error of ours', async (route) => {
  expect((await custody.call('GET', `/api/v1/${route}`)).status).toBeLessThan(500)
})

it.each([
  'approvals/%00/approve',
  'approvals/%00/deny',
  'brakes/%00/release',
  'findings/%00/accept',
  'accounts/%00/certify',
  'accounts/%00/backup/accept',
  'transfers/%00/accept',
  'operations/%00/retry',
  'operations/%00/cancel',
  'owners/%00/leave',
  'sweeps/%00',
])('POST %s is refused', async (route) => {
  const body = route.startsWith('sweeps')
    ? undefined
    : route.includes('approvals')
      ? { hash: 'x' }
      : route.includes('findings')
        ? { reason: 'x', until: '2027-01-31T00:00:00Z' }
        : route.includes('brakes')
          ? { reason: 'x' }
          : {}
  const { status } = await custody.call('POST', `/api/v1/${route}`, body)

  expect([400, 404]).toContain(status)
})

it('keeps the reason of a revocation in the audit log', async () => {
  const owner = await custody.createPerson('owner')
  const { body: account } = await custody.requestAccount('leaky', owner)
  const { body: credentials } = await custody.call(
    'GET',
    `/api/v1/credentials?account=${account.id}`,
  )
  const route = `/api/v1/credentials/${credentials.items[0].id}/revoke`
  const { body } = await custody.call('POST', route, { reason: 'seen in a paste' })

  const { body: audit } = await custody.call('GET', `/api/v1/audit?operation=${body.id}`)
  expect(audit.items).toContainEqual(
    expect.objectContaining({
      action: 'credential.revocationRequested',
      facts: { reason: 'seen in a paste' },
    }),
  )
})
