import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CallOptions, TestCustody } from '../support/custody.ts'
import { eventually, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'
import { unique } from '../support/entities.ts'

describe('approvals and brakes over HTTP', () => {
  let custody: TestCustody
  const as: Record<string, CallOptions> = {}

  beforeAll(async () => {
    custody = await startTestCustody()
    for (const role of ['security', 'auditor', 'requester', 'verifier'] as const) {
      as[role] = { token: (await custody.createClient(role)).token }
    }
  })
  afterAll(() => custody.close())

  /** A directory of its own that lets seven people go: two are held. */
  async function storm() {
    const directory = unique('directory')
    const hr: CallOptions = {
      token: (await custody.createClient('directory', { directory })).token,
    }
    const ids: string[] = []
    for (let i = 0; i < 7; i++) {
      const userName = unique('person')
      const body = { schemas: [userUrn], userName, active: true }
      ids.push((await custody.call('POST', '/scim/v2/Users', body, hr)).body.id)
    }
    const account = await custody.requestAccount(unique('svc'), ids[6]!)
    const patch = {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    }
    const answers = []
    for (const id of ids) {
      answers.push(await custody.call('PATCH', `/scim/v2/Users/${id}`, patch, hr))
    }
    const { body } = await custody.call('GET', '/api/v1/approvals?status=forming')
    const batch = body.items.find((b: { subject: string }) => b.subject === directory)
    return { directory, ids, hr, answers, batch, account: account.body }
  }

  it('answers the directory as ever, and shows the rest to who may see it', async () => {
    const { answers, ids, batch, directory } = await storm()

    expect(answers.map((a) => a.status)).toEqual(ids.map(() => 200))
    expect(answers.map((a) => a.body.active)).toEqual(ids.map(() => false))
    expect(answers.map((a) => a.headers.has('custody-operation'))).toEqual([
      ...Array.from({ length: 5 }, () => true),
      false,
      false,
    ])
    expect(batch).toMatchObject({ kind: 'leavers', status: 'forming', people: 2, hash: null })

    const owner = await custody.call('GET', `/api/v1/owners/${ids[6]}`, undefined, as['auditor'])
    expect(owner.body).toMatchObject({ active: false, heldBy: batch.id })
    const brakes = await custody.call('GET', '/api/v1/brakes', undefined, as['auditor'])
    expect(brakes.body.items).toContainEqual(
      expect.objectContaining({ name: 'leavers', subject: directory, stops: [] }),
    )
    const ready = await custody.call('GET', '/readyz', undefined, { token: null })
    expect(ready).toMatchObject({ status: 200, body: { status: 'ready', brakes: ['leavers'] } })
  })

  it('approves what was seen, and tells a stale hash', async () => {
    const { ids, batch, account } = await storm()
    const route = `/api/v1/approvals/${batch.id}`
    const shown = await custody.call('GET', route, undefined, as['security'])
    expect(shown.body).toMatchObject({ status: 'waiting', people: 2 })
    expect(shown.body.items.map((i: { subject: string }) => i.subject)).toEqual(ids.slice(5))

    const wrong = { hash: '0'.repeat(64) }
    const stale = await custody.call('POST', `${route}/approve`, wrong, as['security'])
    expect(stale.status).toBe(409)
    expect(stale.body.detail).toContain(shown.body.hash)

    const one = { hash: shown.body.hash, subjects: [ids[6]], reason: 'HR confirms' }
    const approved = await custody.call('POST', `${route}/approve`, one, as['security'])
    expect(approved.body).toMatchObject({
      status: 'waiting',
      items: [{ subject: ids[6], outcome: 'approved' }],
    })
    await eventually(
      async () => (await custody.call('GET', `/api/v1/accounts/${account.id}`)).body.status,
      (status) => status === 'disabled',
    )

    const rest = { hash: shown.body.hash }
    const denied = await custody.call('POST', `${route}/deny`, rest, as['security'])
    expect(denied.body).toMatchObject({
      status: 'closed',
      items: [{ subject: ids[5], outcome: 'denied' }],
    })
    const again = await custody.call('POST', `${route}/approve`, rest, as['security'])
    expect(again.status).toBe(409)

    const audit = await custody.call('GET', `/api/v1/audit?target=${ids[6]}`)
    expect(audit.body.items.map((r: { action: string }) => r.action)).toContain('leaving.approved')
  })

  it('is for security and administrators; auditors look', async () => {
    const { batch, hr } = await storm()
    const route = `/api/v1/approvals/${batch.id}`
    const wish = { hash: 'x' }

    for (const who of [as['auditor'], as['requester'], as['verifier'], hr]) {
      expect((await custody.call('POST', `${route}/approve`, wish, who)).status).toBe(403)
      expect((await custody.call('POST', `${route}/deny`, wish, who)).status).toBe(403)
    }
    for (const who of [as['requester'], as['verifier'], hr]) {
      expect((await custody.call('GET', '/api/v1/approvals', undefined, who)).status).toBe(403)
      expect((await custody.call('GET', '/api/v1/brakes', undefined, who)).status).toBe(403)
    }
    const seen = await custody.call('GET', route, undefined, as['auditor'])
    expect(seen.body).toMatchObject({ status: 'forming', hash: null })
  })

  it.each([
    ['GET', '/api/v1/approvals?status=open', undefined, 400],
    ['GET', '/api/v1/approvals/none', undefined, 404],
    ['POST', '/api/v1/approvals/none/approve', { hash: 'x' }, 404],
    ['POST', '/api/v1/approvals/none/approve', {}, 400],
    ['POST', '/api/v1/approvals/none/approve', { hash: 'x', subjects: [] }, 400],
    ['POST', '/api/v1/approvals/none/approve', { hash: 'x', subjects: 'all' }, 400],
    ['POST', '/api/v1/brakes/clock/release', { reason: 'x' }, 404],
    ['POST', '/api/v1/brakes/clock/release', {}, 400],
    ['POST', '/api/v1/brakes/handbrake/release', { reason: 'x' }, 404],
  ])('refuses %s %s %j with %i', async (method, route, body, status) => {
    expect((await custody.call(method, route, body)).status).toBe(status)
  })

  it('lets an administrator release a brake with a reason, but not the leavers as a whole', async () => {
    const { directory } = await storm()
    await custody.running.engine.life.store.commit([
      {
        type: 'brakeEngaged',
        brake: {
          tenant: null,
          name: 'listing',
          subject: 'aws-prod',
          since: custody.running.engine.life.clock.now(),
          facts: {},
        },
      },
    ])
    const wish = { reason: 'looked', subject: 'aws-prod' }

    const asSecurity = await custody.call(
      'POST',
      '/api/v1/brakes/listing/release',
      wish,
      as['security'],
    )
    const released = await custody.call('POST', '/api/v1/brakes/listing/release', wish)
    const leavers = await custody.call('POST', '/api/v1/brakes/leavers/release', {
      reason: 'no',
      subject: directory,
    })

    expect(asSecurity.status).toBe(403)
    expect(released).toMatchObject({ status: 200, body: { released: { name: 'listing' } } })
    expect(leavers.status).toBe(409)
  })
})
