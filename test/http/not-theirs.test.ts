import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding } from '../../src/domain/finding.ts'
import type { AccountId } from '../../src/domain/ids.ts'
import type { CallOptions, TestCustody } from '../support/custody.ts'
import { nhiUrn, startTestCustody, userUrn } from '../support/custody.ts'
import { makeAccount, makeId } from '../support/entities.ts'

describe('what is not theirs', () => {
  let custody: TestCustody
  let ada: string
  let bob: string
  let theirs: string
  const as: Record<string, CallOptions> = {}

  beforeAll(async () => {
    custody = await startTestCustody()
    ada = await custody.createPerson('ada')
    bob = await custody.createPerson('bob')
    theirs = (await custody.requestAccount('merger-2027', ada)).body.id
    as['directory'] = {
      token: (await custody.createClient('directory', { directory: 'default' })).token,
    }
    as['requester'] = { token: (await custody.createClient('requester')).token }
    as['owner'] = { token: (await custody.createClient('owner', { person: bob })).token }
  })
  afterAll(() => custody.close())

  it.each(['requester', 'owner', 'directory'])(
    'a move of all that somebody owns names none of it to a client with the role %s',
    async (role) => {
      const hidden = await custody.call('GET', `/api/v1/accounts/${theirs}`, undefined, as[role])
      expect(hidden.status).toBe(404)
      for (const query of ['?dryRun=true', '']) {
        const { text } = await custody.call(
          'POST',
          `/api/v1/owners/${ada}/move${query}`,
          { to: bob },
          as[role],
        )
        expect(text).not.toContain('merger-2027')
        expect(text).not.toContain(theirs)
      }
    },
  )

  it('a cursor tells nothing of an account that is not there for a requester', async () => {
    for (const userName of ['ma', 'mz']) {
      const nhi = { kind: 'bot', owner: { value: bob }, purpose: 'test', credentials: [] }
      const body = { schemas: [userUrn, nhiUrn], userName, [nhiUrn]: nhi }
      const made = await custody.call('POST', '/scim/v2/Users', body, as['requester'])
      expect(made.status).toBe(201)
    }
    const behind = async (cursor: string, route: string) =>
      (await custody.call('GET', `${route}&cursor=${cursor}`, undefined, as['requester'])).body
    const nowhere = '0198c0de-0000-7000-8000-00000000dead'
    for (const route of ['/api/v1/accounts?q=m', '/api/v1/accounts?expiresAfter=2000-01-01']) {
      expect(await behind(theirs, route)).toEqual(await behind(nowhere, route))
    }
    const all = await custody.call('GET', '/api/v1/accounts?q=m', undefined, as['requester'])
    const [first] = all.body.items
    const rest = await behind(first.id, '/api/v1/accounts?q=m')
    expect(rest.items.map((a: { userName: string }) => a.userName)).toEqual(['mz'])
  })

  it('their newest account is shown with its owner, however many others there are', async () => {
    const { store } = custody.running.engine.life
    const { client } = (await custody.call('GET', `/api/v1/accounts/${theirs}`)).body
    const owner = { type: 'User', id: ada } as const
    for (let n = 0; n < 205; n += 1) {
      const account = makeAccount({ owner, client, userName: `others-${n}` })
      await store.commit([{ type: 'account', account, expectedVersion: null }])
    }
    const nhi = { kind: 'bot', owner: { value: ada }, purpose: 'test', credentials: [] }
    const body = { schemas: [userUrn, nhiUrn], userName: 'newest', [nhiUrn]: nhi }
    const made = await custody.call('POST', '/scim/v2/Users', body, as['requester'])
    const seen = await custody.call('GET', `/api/v1/owners/${ada}`, undefined, as['requester'])
    expect(seen.body.accounts.map((a: { id: string }) => a.id)).toEqual([made.body.id])
    expect(seen.body.hasMore).toBe(false)
    const whole = await custody.call('GET', `/api/v1/owners/${ada}`)
    expect([whole.body.accounts.length, whole.body.hasMore]).toEqual([200, true])
  })

  it('thousands of findings about others are gone through in parts', async () => {
    const { store } = custody.running.engine.life
    const { tenant } = makeAccount()
    const now = custody.running.engine.life.clock.now()
    for (let n = 0; n < 2_100; n += 1) {
      const finding: Finding = {
        tenant,
        id: makeId(),
        kind: 'foreign',
        provider: 'aws-prod',
        subject: `AKIA${n}`,
        account: theirs as AccountId,
        credential: null,
        keyId: null,
        facts: {},
        status: 'open',
        firstSeenAt: now,
        lastSeenAt: now,
        resolvedAt: null,
        acceptance: null,
        run: makeId(),
        version: 1,
      }
      await store.commit([{ type: 'finding', finding, expectedVersion: null }])
    }
    const first = await custody.call('GET', '/api/v1/findings?limit=1', undefined, as['requester'])
    expect(first.body).toEqual({ items: [], cursor: expect.any(String) })
    const next = `/api/v1/findings?limit=1&cursor=${first.body.cursor}`
    const rest = await custody.call('GET', next, undefined, as['requester'])
    expect(rest.body).toEqual({ items: [], cursor: null })
  })

  it.each(['', '-5', '0x10', '1e3'])('a stream begins now after the event "%s"', async (last) => {
    const ending = new AbortController()
    const answer = await fetch(`${custody.url}/api/v1/stream`, {
      headers: { authorization: `Bearer ${custody.adminToken}`, 'last-event-id': last },
      signal: ending.signal,
    })
    const { value } = await answer.body!.pipeThrough(new TextDecoderStream()).getReader().read()
    ending.abort()
    expect(value).toMatch(/^id: \d+\nevent: hello\n/)
  })
})
