import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CallOptions, Json, TestCustody } from '../../support/custody.ts'
import { eventually, nhiUrn, startTestCustody } from '../../support/custody.ts'
import { filter, groupUrn, patch, person, unique } from '../../support/scim.ts'

/** Somebody of a directory of their own, so that no brake holds, with an account that works. */
interface Owner {
  readonly id: string
  readonly userName: string
  readonly externalId: string
  readonly account: string
  readonly secret: string
  readonly as: CallOptions
}

// Each has an owner of its own, so they need not wait for each other's workers.
describe.concurrent('what a directory says of an owner', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(() => custody.close())

  const call = (owner: Owner, method: string, path: string, body?: unknown) =>
    custody.call(method, `/scim/v2${path}`, body, owner.as)
  const shown = async (id: string): Promise<Json> =>
    (await custody.call('GET', `/api/v1/accounts/${id}`)).body
  const works = async ({ secret }: Owner): Promise<boolean> =>
    (await custody.introspect(secret)).active

  const owner = async (): Promise<Owner> => {
    const { token } = await custody.createClient('directory', { directory: unique('dir') })
    const as = { token }
    const [userName, externalId] = [`${unique('owner')}@x.test`, unique('ext')]
    const made = await custody.call('POST', '/scim/v2/Users', person(userName, { externalId }), as)
    const name = unique('svc')
    const account = await custody.requestAccount(name, made.body.id)
    const secret = await eventually(
      () => custody.secretAt(`${name}/token`),
      (found) => found !== null,
    )
    await eventually(
      () => shown(account.body.id),
      (found) => found.status === 'active',
    )
    return { id: made.body.id, userName, externalId, account: account.body.id, secret: secret!, as }
  }

  describe('that means gone ends every account at once', () => {
    it.each<readonly [string, string, (owner: Owner) => unknown]>([
      ['PATCH active false', 'PATCH', () => patch({ op: 'replace', path: 'active', value: false })],
      [
        'PATCH active "False" (Entra)',
        'PATCH',
        () => patch({ op: 'Replace', path: 'active', value: 'False' }),
      ],
      [
        'PATCH active "false" without a path',
        'PATCH',
        () => patch({ op: 'replace', value: { active: 'false' } }),
      ],
      [
        'PATCH active false by its URN (Entra)',
        'PATCH',
        () =>
          patch({
            op: 'replace',
            value: { 'urn:ietf:params:scim:schemas:core:2.0:User:active': false },
          }),
      ],
      [
        'PUT active false (Okta AIW, authentik, Ping)',
        'PUT',
        ({ userName, externalId }) => person(userName, { externalId, active: false }),
      ],
      ['PUT active "False"', 'PUT', ({ userName }) => person(userName, { active: 'False' })],
      ['DELETE', 'DELETE', () => undefined],
    ])('%s', async (_name, method, body) => {
      const gone = await owner()
      expect(await works(gone)).toBe(true)

      const reply = await call(gone, method, `/Users/${gone.id}`, body(gone))

      expect(reply.status).toBe(method === 'DELETE' ? 204 : 200)
      expect(reply.headers.get('custody-operation')).toMatch(/./)
      expect(await works(gone)).toBe(false)
      const account = await eventually(
        () => shown(gone.account),
        (found) => found.status === 'disabled',
      )
      expect(account.statusReason).toBe('ownerLeft')
    })

    it('a DELETE in Bulk', async () => {
      const gone = await owner()

      const reply = await call(gone, 'POST', '/Bulk', {
        schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
        Operations: [{ method: 'DELETE', path: `/Users/${gone.id}` }],
      })

      expect(reply.body.Operations[0].status).toBe('204')
      expect(await works(gone)).toBe(false)
    })
  })

  describe('that does not mean gone leaves the accounts alone', () => {
    it.each<readonly [string, (owner: Owner) => unknown]>([
      [
        'a new userName',
        ({ userName }) => patch({ op: 'replace', path: 'userName', value: `x-${userName}` }),
      ],
      [
        'a new externalId',
        ({ externalId }) => patch({ op: 'Replace', path: 'externalId', value: `x-${externalId}` }),
      ],
      ['active true again', () => patch({ op: 'Replace', path: 'active', value: 'True' })],
      ['a removed title', () => patch({ op: 'remove', path: 'title' })],
    ])('%s', async (_name, body) => {
      const same = await owner()

      const reply = await call(same, 'PATCH', `/Users/${same.id}`, body(same))

      expect(reply.status).toBe(200)
      expect(reply.headers.get('custody-operation')).toBeNull()
      expect(await works(same)).toBe(true)
      expect(await shown(same.account)).toMatchObject({ status: 'active' })
    })

    it('being taken out of an assignment group, and its end', async () => {
      const same = await owner()
      const made = await call(same, 'POST', '/Groups', {
        schemas: [groupUrn],
        displayName: unique('assigned'),
        members: [{ value: same.id }],
      })

      await call(
        same,
        'PATCH',
        `/Groups/${made.body.id}`,
        patch({ op: 'remove', path: `members[value eq "${same.id}"]` }),
      )
      await call(same, 'DELETE', `/Groups/${made.body.id}`)

      expect(await works(same)).toBe(true)
      expect((await call(same, 'GET', `/Users/${same.id}`)).body.active).toBe(true)
    })

    it('an omitted active in a PUT, whatever it was', async () => {
      const same = await owner()
      const put = () => call(same, 'PUT', `/Users/${same.id}`, person(same.userName))

      expect((await put()).body.active).toBe(true)
      expect(await works(same)).toBe(true)
      await call(same, 'PUT', `/Users/${same.id}`, person(same.userName, { active: false }))
      expect((await put()).body.active).toBe(false)
    })
  })

  it('gives a person made anew under the same names another id, and nothing of the old one', async () => {
    const old = await owner()
    await call(old, 'DELETE', `/Users/${old.id}`)

    const again = await call(
      old,
      'POST',
      '/Users',
      person(old.userName, { externalId: old.externalId, active: true }),
    )

    expect(again.status).toBe(201)
    expect(again.body.id).not.toBe(old.id)
    const owned = filter(`${nhiUrn}:owner.value eq "${again.body.id}"`)
    expect((await custody.call('GET', `/scim/v2/Users?${owned}`)).body.totalResults).toBe(0)
    await eventually(
      () => shown(old.account),
      (found) => found.status === 'disabled',
    )
    const enabled = await custody.call('POST', `/api/v1/accounts/${old.account}/enable`)
    expect(enabled.status).toBe(409)
    expect(await works(old)).toBe(false)
  })

  it('repeated or late never leaves twice and never revives', async () => {
    const gone = await owner()
    const off = patch({ op: 'replace', path: 'active', value: false })
    await call(gone, 'PATCH', `/Users/${gone.id}`, off)
    await eventually(
      () => shown(gone.account),
      (found) => found.status === 'disabled',
    )

    for (const [method, body] of [
      ['PATCH', off],
      ['PATCH', patch({ op: 'replace', path: 'displayName', value: 'late' })],
      ['PUT', person(gone.userName, { displayName: 'later' })],
    ] as const) {
      const late = await call(gone, method, `/Users/${gone.id}`, body)
      expect(late.status).toBe(200)
      expect(late.headers.get('custody-operation')).toBeNull()
      expect(late.body.active).toBe(false)
    }
    expect((await call(gone, 'DELETE', `/Users/${gone.id}`)).status).toBe(204)
    for (const [method, body] of [
      ['DELETE', undefined],
      ['PATCH', patch({ op: 'replace', path: 'active', value: true })],
      ['PUT', person(gone.userName, { active: true })],
    ] as const) {
      expect((await call(gone, method, `/Users/${gone.id}`, body)).status).toBe(404)
    }
    expect(await works(gone)).toBe(false)
    expect(await shown(gone.account)).toMatchObject({ status: 'disabled' })
  })

  it('taken back revives the person alone; an operator may then enable the account', async () => {
    const back = await owner()
    const active = (value: boolean) => patch({ op: 'replace', path: 'active', value })
    await call(back, 'PATCH', `/Users/${back.id}`, active(false))
    await eventually(
      () => shown(back.account),
      (found) => found.status === 'disabled',
    )

    expect((await call(back, 'PATCH', `/Users/${back.id}`, active(true))).body.active).toBe(true)
    expect(await works(back)).toBe(false)
    expect((await custody.call('POST', `/api/v1/accounts/${back.account}/enable`)).status).toBe(202)
    await eventually(
      () => shown(back.account),
      (found) => found.status === 'active',
    )
  })
})
