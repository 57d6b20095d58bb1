import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unheard } from '../../src/store/postgres-failures.ts'
import type { Json, Reply, TestCustody } from '../support/custody.ts'
import { startTestCustody, userUrn } from '../support/custody.ts'

describe('Idempotency-Key', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
  })
  afterAll(() => custody.close())

  const post = (path: string, body: Json, key: string, token?: string): Promise<Reply> =>
    custody.call('POST', path, body, {
      ...(token ? { token } : {}),
      headers: { 'idempotency-key': key },
    })
  const user = (userName: string, more = {}): Json => ({ schemas: [userUrn], userName, ...more })

  it('gives a repeated create the first answer, byte by byte, also below the older base', async () => {
    const first = await post('/scim/v2/Users', user('a@x.test'), 'k1')
    expect(first.status).toBe(201)

    for (const base of ['/scim/v2', '/scim']) {
      const again = await post(`${base}/Users`, user('a@x.test'), 'k1')
      expect(again.status).toBe(201)
      expect(again.text).toBe(first.text)
      for (const name of ['location', 'etag', 'content-type']) {
        expect(again.headers.get(name)).toBe(first.headers.get(name))
      }
      expect(again.headers.get('idempotency-replayed')).toBe('true')
    }
  })

  it('refuses the key for another body or another query', async () => {
    await post('/scim/v2/Users', user('b@x.test'), 'k2')

    const body = await post('/scim/v2/Users', user('c@x.test'), 'k2')
    expect(body.status).toBe(422)
    const query = await post('/scim/v2/Users?attributes=id', user('b@x.test'), 'k2')
    expect(query.status).toBe(422)
    expect(query.body.detail).toContain('k2')
  })

  it('means another request under another key, route or client', async () => {
    const { token } = await custody.createClient('admin')
    await post('/scim/v2/Users', user('d@x.test'), 'k3')

    expect((await post('/scim/v2/Users', user('d@x.test'), 'k4')).status).toBe(409)
    expect((await post('/scim/v2/Users', user('d@x.test'), 'k3', token)).status).toBe(409)
    expect((await post('/api/v1/sweeps/orphans', {}, 'k3')).status).toBe(200)
  })

  it('frees the key of a request that was refused', async () => {
    expect((await post('/scim/v2/Users', { schemas: [userUrn] }, 'k5')).status).toBe(400)
    expect((await post('/scim/v2/Users', user('e@x.test'), 'k5')).status).toBe(201)
  })

  it('repeats that nobody knows how it came out, rather than to do it twice', async () => {
    const { store } = custody.running.engine.life
    const before = { ...store }
    const lost = unheard(new Error('Connection terminated unexpectedly'))
    Object.assign(store, {
      async commit(changes: Parameters<typeof before.commit>[0]) {
        const result = await before.commit(changes)
        if (changes.some(({ type }) => type === 'person')) throw lost
        return result
      },
    })
    const first = await post('/scim/v2/Users', user('unknown@x.test'), 'k10')
    Object.assign(store, before)

    expect(first.status).toBe(503)
    expect(first.body.detail).toContain('may have been kept')
    // No invitation to send it again blindly.
    expect(first.headers.get('retry-after')).toBeNull()
    const again = await post('/scim/v2/Users', user('unknown@x.test'), 'k10')
    expect(again.status).toBe(503)
    expect(again.text).toBe(first.text)
    expect(again.headers.get('idempotency-replayed')).toBe('true')
  })

  it('does the work once when the same request comes twice at the same moment', async () => {
    const replies = await Promise.all(
      Array.from({ length: 5 }, () => post('/scim/v2/Users', user('f@x.test'), 'k6')),
    )

    const created = new Set(replies.filter((r) => r.status === 201).map((r) => r.body.id))
    expect(created.size).toBe(1)
    for (const reply of replies.filter((r) => r.status !== 201)) {
      expect(reply.status).toBe(409)
      expect(reply.body.detail).toContain('still running')
    }
  })

  it('covers actions and Bulk', async () => {
    const owner = await custody.createPerson('owner@x.test')
    const left = await post(`/api/v1/owners/${owner}/leave`, { reason: 'r' }, 'k7')
    expect(left.status).toBe(202)
    const again = await post(`/api/v1/owners/${owner}/leave`, { reason: 'r' }, 'k7')
    expect(again.text).toBe(left.text)
    expect(again.headers.get('custody-operation')).toBe(left.headers.get('custody-operation'))

    const body = {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
      Operations: [{ method: 'POST', path: '/Users', bulkId: 'x', data: user('g@x.test') }],
    }
    const bulk = await post('/scim/v2/Bulk', body, 'k8')
    expect(bulk.body.Operations[0].status).toBe('201')
    expect((await post('/scim/v2/Bulk', body, 'k8')).text).toBe(bulk.text)
  })

  it('never gives a secret twice, and keeps none', async () => {
    const body = { name: 'once', role: 'auditor' }
    const first = await post('/api/v1/clients', body, 'k9')
    expect(first.status).toBe(201)

    const again = await post('/api/v1/clients', body, 'k9')
    expect(again.status).toBe(409)
    expect(again.body.code).toBe('alreadyIssued')
    const { store } = custody.running.engine.life
    const clients = await store.read.clients('default' as never)
    const kept = await Promise.all(
      clients.map((c) =>
        store.read.replay(c.tenant, c.id, JSON.stringify(['POST', '/api/v1/clients', null, 'k9'])),
      ),
    )
    expect(kept.filter((r) => r !== null)).toMatchObject([{ status: 201, body: null }])
  })

  it.each(['', 'a b', 'x'.repeat(256)])('refuses the key "%s"', async (key) => {
    const reply = await post('/scim/v2/Users', user('h@x.test'), key)

    expect(reply.status).toBe(400)
  })

  it('takes over a claim whose process died, and forgets after a day', async () => {
    const { store } = custody.running.engine.life
    const claim = {
      tenant: 'default',
      client: 'c',
      scope: 's',
      fingerprint: 'f',
      request: 'r1',
      status: null,
      headers: null,
      body: null,
      staleAt: '2026-01-01T00:05:00.000Z',
      expiresAt: '2026-01-02T00:00:00.000Z',
    } as never as Parameters<typeof commit>[0]
    type Change = Parameters<typeof store.commit>[0][number]
    const commit = (replay: Extract<Change, { type: 'replayClaim' }>['replay'], now: string) =>
      store.commit([{ type: 'replayClaim', replay, now: now as never }])
    const second = { ...claim, request: 'r2' }

    expect(await commit(claim, '2026-01-01T00:00:00.000Z')).toBe('saved')
    expect(await commit(second, '2026-01-01T00:04:00.000Z')).toMatchObject({
      reason: 'slot',
      with: 'r1',
    })
    expect(await commit(second, '2026-01-01T00:05:00.000Z')).toBe('saved')
    await store.commit([{ type: 'replayAnswer', replay: { ...claim, status: 200 } }])
    expect(await store.read.replay(claim.tenant, claim.client, 's')).toMatchObject({
      request: 'r2',
      status: null,
    })
    await store.commit([{ type: 'replayAnswer', replay: { ...second, status: 200, headers: {} } }])
    expect(await commit(claim, '2026-01-01T23:00:00.000Z')).toMatchObject({ reason: 'slot' })
    expect(await commit(claim, '2026-01-02T00:00:00.000Z')).toBe('saved')
  })
})
