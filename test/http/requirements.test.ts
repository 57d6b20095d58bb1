import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { nhiUrn, startTestCustody, userUrn } from '../support/custody.ts'

let custody: TestCustody
let owner: string
beforeAll(async () => {
  custody = await startTestCustody({ roles: ['http'] })
  owner = await custody.createPerson('owner@x.test')
})
afterAll(() => custody.close())

const entry = (more: object = {}) => ({
  provider: 'tokens',
  kind: 'api-token',
  scopes: ['read'],
  ...more,
})
const found = async (userName: string): Promise<number> =>
  (await custody.call('GET', `/scim/v2/Users?filter=userName eq "${userName}"`)).body.totalResults
const rows = async (): Promise<Json> => {
  const of = async (path: string) => (await custody.call('GET', path)).body.items.length as number
  return {
    operations: await of('/api/v1/operations?limit=200'),
    credentials: await of('/api/v1/credentials?limit=200'),
    audit: await of('/api/v1/audit?limit=200'),
  }
}

describe('an answer of success (R36)', () => {
  it.each<readonly [string, string, string, (n: string) => unknown]>([
    ['a person', 'POST', '/scim/v2/Users', (n) => ({ schemas: [userUrn], userName: n })],
    [
      'an account',
      'POST',
      '/scim/v2/Users',
      (n) => ({
        schemas: [userUrn, nhiUrn],
        userName: n,
        [nhiUrn]: { kind: 'bot', owner: { value: owner }, purpose: 'x', credentials: [entry()] },
      }),
    ],
    ['a leaving', 'POST', 'leave', () => ({ reason: 'gone' })],
  ])('is never given for %s that was not written', async (_what, method, path, body) => {
    const { store } = custody.running.engine.life
    const name = `unwritten-${Math.random().toString(36).slice(2)}`
    const route = path === 'leave' ? `/api/v1/owners/${owner}/leave` : path
    const commit = store.commit.bind(store)
    const before = await rows()

    store.commit = () => Promise.reject(new Error('the disk is full'))
    const reply = await custody.call(method, route, body(name))
    store.commit = commit

    expect(reply.status).toBe(500)
    expect(await found(name)).toBe(0)
    expect(await rows()).toEqual(before)
    expect((await custody.call('GET', `/scim/v2/Users/${owner}`)).body.active).toBe(true)
  })
})

describe('a request that is refused (R87)', () => {
  it.each<readonly [string, number, (n: string) => readonly object[]]>([
    ['a scope of its second credential', 400, () => [entry(), entry({ scopes: ['two words'] })]],
    ['a provider that is not there', 400, () => [entry(), entry({ provider: 'nowhere' })]],
    [
      'a path that its first credential took',
      409,
      (n) => {
        const deliverTo = `files:${n}/same`
        return [entry({ deliverTo }), entry({ deliverTo, scopes: ['write'] })]
      },
    ],
  ])('for %s leaves nothing behind', async (_what, status, credentials) => {
    const name = `refused-${Math.random().toString(36).slice(2)}`
    const before = await rows()

    const reply = await custody.requestAccount(name, owner, { credentials: credentials(name) })

    expect(reply.status, reply.text).toBe(status)
    expect(await found(name)).toBe(0)
    expect(await rows()).toEqual(before)
  })

  it('for a name that is taken leaves the one who has it as it was', async () => {
    const name = `taken-${Math.random().toString(36).slice(2)}`
    const first = await custody.requestAccount(name, owner)
    const before = await rows()

    const again = await custody.requestAccount(name.toUpperCase(), owner, {
      credentials: [entry()],
    })

    expect(again.status).toBe(409)
    expect(again.body).toMatchObject({
      schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'],
      status: '409',
      scimType: 'uniqueness',
      detail: expect.stringContaining(first.body.id),
    })
    expect(await rows()).toEqual(before)
    const kept = await custody.call('GET', `/scim/v2/Users/${first.body.id}`)
    expect(kept.body.meta.version).toBe(first.body.meta.version)
  })
})
