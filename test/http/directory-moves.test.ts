import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'
const base = '/api/v1/directories/moves'

interface Connection {
  readonly id: string
  readonly directory: string
  scim(method: string, path: string, body?: unknown): Promise<Json>
}

describe('a move from one directory to another', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(() => custody.close())

  let count = 0
  const connect = async (name: string): Promise<Connection> => {
    const directory = `${name}-${++count}`
    const { id, token } = await custody.createClient('directory', { directory, dialect: 'lenient' })
    return {
      id,
      directory,
      scim: (method, path, body) => custody.call(method, `/scim/v2${path}`, body, { token }),
    }
  }
  const person = (userName: string, employeeNumber: string | null, more: object = {}) => ({
    schemas: [userUrn, enterpriseUrn],
    userName,
    ...(employeeNumber === null ? {} : { [enterpriseUrn]: { employeeNumber } }),
    ...more,
  })
  const account = async (userName: string, owner: string, nhi: object = {}): Promise<string> => {
    const answer = await custody.requestAccount(`${userName}-${count}`, owner, nhi as never)
    expect(answer.status).toBe(201)
    return answer.body.id
  }
  const open = async (from: Connection, to: Connection, query = '') =>
    custody.call('POST', `${base}${query}`, {
      from: from.directory,
      to: to.directory,
      match: 'employeeNumber',
    })
  const advance = async (id: string): Promise<Json> => {
    for (;;) {
      const { body, status } = await custody.call('POST', `${base}/${id}/advance`, {})
      expect(status).toBe(200)
      if (body.stage === 'done') return body
    }
  }
  const accountOf = async (id: string): Promise<Json> =>
    (await custody.call('GET', `/api/v1/accounts/${id}`)).body
  const orphans = async (): Promise<Json> =>
    (await custody.call('POST', '/api/v1/sweeps/orphans?dryRun=true', {})).body.items

  it('keeps every owner, recognises who arrives, and what the old one says ends nothing', async () => {
    const [okta, entra] = [await connect('okta'), await connect('entra')]
    const people: Json[] = []
    for (let i = 0; i < 8; i++) {
      people.push((await okta.scim('POST', '/Users', person(`p${i}@${count}.old`, `E${i}`))).body)
    }
    const nobody = (await okta.scim('POST', '/Users', person(`keyless${count}`, null))).body
    const team = (
      await okta.scim('POST', '/Groups', {
        schemas: [groupUrn],
        displayName: 'payments',
        members: [{ value: people[0].id }],
      })
    ).body
    const mine = await account('mine', people[1].id)
    const ours = await account('ours', people[0].id, {
      owner: { value: team.id, type: 'Group' },
    })

    const plan = (await open(okta, entra, '?dryRun=true')).body
    expect(plan).toMatchObject({ people: 9, groups: 1, twins: 0, keyless: { count: 1 } })
    expect((await okta.scim('GET', `/Users/${people[0].id}`)).status).toBe(200)
    const move = (await open(okta, entra)).body
    expect((await open(okta, entra)).status).toBe(409)
    await advance(move.id)

    // The old connection is unassigned: it deactivates and deletes everybody it knows.
    for (const { id } of people) {
      const word = {
        schemas: [patchUrn],
        Operations: [{ op: 'replace', path: 'active', value: false }],
      }
      expect((await okta.scim('PATCH', `/Users/${id}`, word)).status).toBe(404)
      expect((await okta.scim('DELETE', `/Users/${id}`)).status).toBe(404)
    }
    const arrived = await Promise.all(
      people
        .slice(0, 7)
        .map((_, i) =>
          entra.scim(
            'POST',
            '/Users',
            person(`p${i}@${count}.new`, `E${i}`, { externalId: `x${i}` }),
          ),
        ),
    )
    expect(arrived.map((a) => [a.status, a.body.id])).toEqual(
      people.slice(0, 7).map((p) => [201, p.id]),
    )
    expect(arrived[3]!.body).toMatchObject({ userName: `p3@${count}.new`, externalId: 'x3' })
    const found = await entra.scim(
      'GET',
      `/Groups?filter=${encodeURIComponent('displayName eq "payments"')}`,
    )
    expect(found.body.Resources).toMatchObject([{ id: team.id }])

    expect(await orphans()).toEqual([])
    expect(await accountOf(mine)).toMatchObject({ owner: { id: people[1].id } })
    expect((await accountOf(ours)).status).not.toBe('orphaned')
    await account('late', people[7].id)
    const refused = await custody.call('POST', `${base}/${move.id}/finish`, {})
    expect(refused.status).toBe(409)
    expect(refused.body.detail).toContain('waiting for 1 owner')
    const waiting = await custody.call('GET', `${base}/${move.id}/people?state=waiting`)
    expect(new Set(waiting.body.items.map((p: Json) => p.id))).toEqual(
      new Set([people[7].id, nobody.id]),
    )
    expect(waiting.body.items.find((p: Json) => p.id === people[7].id).oldWordAt).not.toBeNull()
    const end = await custody.call('POST', `${base}/${move.id}/finish`, { force: true })
    expect(end.body).toMatchObject({
      status: 'finished',
      waiting: 2,
      waitingOwners: [people[7].id],
      facts: { confirmed: 7 },
    })

    const again = (await open(okta, entra, '?dryRun=true')).body
    expect(again).toMatchObject({ people: 0, groups: 0 })
    expect((await open(okta, entra)).status).toBe(400)
  })

  it('hands over what hangs on people and groups who are there twice', async () => {
    const [okta, entra] = [await connect('okta'), await connect('entra')]
    const both = async (name: string, number: string) => ({
      old: (await okta.scim('POST', '/Users', person(`${name}-${count}@old`, number))).body.id,
      new: (await entra.scim('POST', '/Users', person(`${name}-${count}@new`, number))).body.id,
    })
    const [ada, ben] = [await both('ada', '1'), await both('ben', '2')]
    const groupOf = async (where: Connection, members: readonly string[]) =>
      (
        await where.scim('POST', '/Groups', {
          schemas: [groupUrn],
          displayName: `team-${count}`,
          members: members.map((value) => ({ value })),
        })
      ).body.id
    const [oldTeam, newTeam] = [await groupOf(okta, [ada.old]), await groupOf(entra, [])]
    // Only the old directory nests: there is no second one of it to join.
    const outer = (
      await okta.scim('POST', '/Groups', {
        schemas: [groupUrn],
        displayName: `outer-${count}`,
        members: [{ value: oldTeam }],
      })
    ).body.id
    const nested = await account('nested', ada.old, { owner: { value: outer, type: 'Group' } })
    const granting = await account('granted', ada.old)
    const granted = await custody.call('POST', '/scim/v2/Credentials', {
      schemas: ['urn:custody:scim:schemas:core:1.0:Credential'],
      serviceAccount: { value: granting },
      provider: 'tokens',
      kind: 'api-token',
      scopes: ['read'],
      scopesFrom: [{ group: oldTeam, scopes: ['write'] }],
      deliverTo: { sink: 'files', path: `granted-${count}/more` },
    })
    expect(granted.status).toBe(201)
    const mine = await account('twice', ada.old, { backupOwners: [{ value: ben.old }] })
    const ours = await account('team', ada.old, { owner: { value: oldTeam, type: 'Group' } })

    const move = (await open(okta, entra)).body
    expect(move.facts).toMatchObject({ twins: 2, groupTwins: 1 })
    await advance(move.id)

    expect(await accountOf(mine)).toMatchObject({
      owner: { id: ada.new },
      backups: [{ id: ben.new }],
      status: expect.not.stringMatching(/orphaned|disab/),
    })
    expect(await accountOf(ours)).toMatchObject({ owner: { type: 'Group', id: newTeam } })
    const members = (await entra.scim('GET', `/Groups/${newTeam}`)).body.members
    expect(members.map((m: Json) => m.value)).toContain(ada.new)
    const around = (await entra.scim('GET', `/Groups/${outer}`)).body.members
    expect(around.map((m: Json) => m.value)).toEqual([newTeam])
    expect((await accountOf(nested)).owner).toMatchObject({ id: outer })
    const { body: kept } = await custody.call('GET', `/scim/v2/Credentials/${granted.body.id}`)
    expect(kept.scopesFrom).toEqual([{ group: newTeam, scopes: ['write'] }])
    expect((await entra.scim('GET', `/Users/${ada.old}`)).status).toBe(404)
    expect(await orphans()).toEqual([])
    const end = await custody.call('POST', `${base}/${move.id}/finish`, {})
    expect(end.body).toMatchObject({ status: 'finished', waiting: 0 })
    expect((await custody.call('POST', `${base}/${move.id}/finish`, {})).status).toBe(200)
  })

  it('recognises nobody by a key that several share, and refuses what makes no sense', async () => {
    const [okta, entra] = [await connect('okta'), await connect('entra')]
    for (const name of ['one', 'two']) {
      await okta.scim('POST', '/Users', person(`${name}-${count}`, 'SAME'))
    }
    const plan = (await open(okta, entra, '?dryRun=true')).body
    expect(plan.ambiguous).toMatchObject([
      { key: 'same', people: [expect.any(String), expect.any(String)] },
    ])
    const move = (await open(okta, entra)).body
    const stranger = await entra.scim('POST', '/Users', person(`three-${count}`, 'SAME'))
    expect(stranger.status).toBe(201)
    const one = await entra.scim('POST', '/Users', person(`one-${count}`, 'SAME'))
    expect(one.status).toBe(409)
    await advance(move.id)
    await custody.call('POST', `${base}/${move.id}/finish`, {})

    expect((await open(okta, okta)).status).toBe(400)
    const security = await custody.createClient('security')
    const wish = { from: okta.directory, to: entra.directory, match: 'employeeNumber' }
    const denied = await custody.call('POST', base, wish, { token: security.token })
    expect(denied.status).toBe(403)
    for (const bad of [{ ...wish, match: 'shoeSize' }, { ...wish, also: 1 }, { to: 'x' }, []]) {
      expect((await custody.call('POST', base, bad)).status).toBe(400)
    }
    expect((await custody.call('POST', `${base}/nothing/advance`, {})).status).toBe(404)
  })
})

describe('everything that one person owns', () => {
  let custody: TestCustody
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
  })
  afterAll(() => custody.close())

  it('is offered to another, or passed at once with a reason', async () => {
    const [a, b] = [await custody.createPerson('anna'), await custody.createPerson('bert')]
    const ids = await Promise.all(
      ['x', 'y', 'z'].map(async (name) => (await custody.requestAccount(name, a)).body.id),
    )
    const move = (body: object, query = '', token?: string) =>
      custody.call('POST', `/api/v1/owners/${a}/move${query}`, body, token ? { token } : {})
    const outcomes = (answer: Json) => answer.body.items.map((i: Json) => i.outcome)

    expect(outcomes(await move({ to: b }, '?dryRun=true'))).toEqual([
      'offered',
      'offered',
      'offered',
    ])
    const { body: untouched } = await custody.call('GET', `/api/v1/accounts/${ids[0]}`)
    expect(untouched.pendingOwner).toBeNull()
    expect(outcomes(await move({ to: b }))).toEqual(['offered', 'offered', 'offered'])
    expect(outcomes(await move({ to: b }))).toEqual(['there', 'there', 'there'])

    expect((await move({ to: b, atOnce: true })).status).toBe(400)
    expect(outcomes(await move({ to: b, atOnce: true, reason: 'reorganisation' }))).toEqual([
      'passed',
      'passed',
      'passed',
    ])
    expect((await move({ to: b })).body).toMatchObject({ items: [], cursor: null })
    const { body: passed } = await custody.call('GET', `/api/v1/accounts/${ids[2]}`)
    expect(passed).toMatchObject({ owner: { id: b }, pendingOwner: null })

    for (const bad of [{ to: a }, { to: 'nobody' }, {}, { to: 7 }]) {
      expect((await move(bad)).status).toBe(400)
    }
    const auditor = await custody.createClient('auditor')
    await custody.requestAccount('w', a)
    expect(outcomes(await move({ to: b }, '', auditor.token))).toEqual(['refused'])
  })
})
