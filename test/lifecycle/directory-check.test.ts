import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DirectoryListing, DirectoryPerson } from '../../src/domain/directory.ts'
import type { Person } from '../../src/domain/owner.ts'
import { seconds } from '../../src/domain/time.ts'
import { comparePeople } from '../../src/lifecycle/directory-compare.ts'
import type { Lifecycle } from '../../src/lifecycle/engine.ts'
import { createEngine } from '../../src/lifecycle/engine.ts'
import { makeClient, makeId, makePerson, t0 } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { startTestEngine } from '../support/engine.ts'

let made = 0
const there = (more: Partial<DirectoryPerson> = {}): DirectoryPerson => ({
  id: `okta-${(made += 1)}`,
  userName: `there-${made}@acme.example`,
  email: null,
  externalId: null,
  employeeNumber: null,
  state: 'active',
  deleted: false,
  leavesAt: null,
  changedAt: null,
  ...more,
})
const withEmail = (value: string, more: Partial<Person> = {}): Person =>
  makePerson({ ...more, attributes: { schemas: [], emails: [{ value, primary: true }] } })
const gone = { active: false, leftAt: t0 }

describe('comparing people', () => {
  it('matches by externalId, then userName, then address, whatever the case', () => {
    const here = [
      makePerson({ userName: 'a@acme.example', externalId: 'okta-a' }),
      makePerson({ userName: 'B@ACME.example' }),
      withEmail('c@acme.example', { userName: 'old-c' }),
    ]
    const listed = [
      there({ id: 'okta-a', userName: 'renamed@acme.example' }),
      there({ userName: 'b@acme.example' }),
      there({ userName: 'new-c', email: 'C@acme.example' }),
    ]

    const found = comparePeople(here, listed, 'everyone')

    expect(found).toMatchObject({ agreeing: 3, all: 3, ghosts: [], missing: [], ambiguous: [] })
    expect(found.differences.map((d) => [d.attribute, d.there])).toEqual([
      ['userName', 'renamed@acme.example'],
      ['userName', 'new-c'],
    ])
  })

  it('takes nobody for anybody where a key names two, not even by a weaker key', () => {
    const twins = [withEmail('twin@acme.example'), withEmail('twin@acme.example')]
    const one = there({ email: 'twin@acme.example', state: 'left' })

    const found = comparePeople(twins, [one], 'everyone')

    expect(found.missed).toEqual([])
    expect(found.ambiguous).toHaveLength(1)
    expect(found.ambiguous[0]!.here.map((p) => p.id)).toEqual(twins.map((p) => p.id))
    expect(found).toMatchObject({ agreeing: 0, all: 2, ghosts: [], missing: [] })
  })

  it('tells leavers, ghosts, missing and returned apart, and derives nothing from the unsettled', () => {
    const named = (userName: string, more: Partial<Person> = {}) =>
      makePerson({ userName, ...more })
    const here = [
      named('both'),
      named('left-there'),
      named('unknown-there'),
      named('left-here', gone),
      named('deleted-here', { ...gone, deletedAt: t0 }),
      named('left-both', gone),
      named('forgotten', gone),
      named('suspended'),
    ]
    const listed = [
      there({ userName: 'both' }),
      there({ userName: 'left-there', state: 'left', changedAt: t0 }),
      there({ userName: 'left-here' }),
      there({ userName: 'deleted-here' }),
      there({ userName: 'left-both', state: 'left' }),
      there({ userName: 'suspended', state: 'unsettled' }),
      there({ userName: 'unknown-here' }),
      there({ userName: 'gone-and-unknown', state: 'left' }),
    ]

    const found = comparePeople(here, listed, 'everyone')
    const names = (rows: readonly { readonly userName: string }[]) => rows.map((r) => r.userName)

    expect(names(found.missed)).toEqual(['left-there'])
    expect(found.missed[0]).toMatchObject({ since: t0, by: 'userName', version: 1 })
    expect(names(found.ghosts)).toEqual(['unknown-there'])
    expect(names(found.missing)).toEqual(['unknown-here'])
    expect(names(found.returned)).toEqual(['left-here', 'deleted-here'])
    expect(found.unsettled).toBe(1)
    // both, left-both, forgotten and suspended, of these and the five above
    expect([found.agreeing, found.all]).toEqual([4, 9])
    expect(comparePeople(here, listed, 'assigned').missing).toEqual([])
  })

  it('compares managers as people, not as texts', () => {
    const boss = makePerson({ userName: 'boss', externalId: 'okta-boss' })
    const of = (manager: string) =>
      makePerson({
        userName: 'worker',
        attributes: {
          schemas: [],
          'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': {
            manager: { value: manager },
          },
        },
      })
    const listed = [
      there({ id: 'okta-boss', userName: 'boss', manager: null }),
      there({ userName: 'worker', manager: 'okta-boss' }),
    ]

    for (const manager of [boss.id, 'okta-boss', 'BOSS']) {
      expect(comparePeople([boss, of(manager)], listed, 'everyone').differences).toEqual([])
    }
    expect(comparePeople([boss, of('somebody')], listed, 'everyone').differences).toMatchObject([
      { attribute: 'manager', here: 'somebody', there: 'okta-boss' },
    ])
  })

  it('counts each record once, and agrees with a copy of itself (law)', () => {
    const someone = fc.record({ name: fc.integer({ min: 0, max: 12 }), active: fc.boolean() })
    fc.assert(
      fc.property(
        fc.uniqueArray(someone, { selector: (p) => p.name }),
        fc.uniqueArray(someone, { selector: (p) => p.name }),
        (ours, theirs) => {
          const here = ours.map(({ name, active }) =>
            makePerson({ userName: `p${name}`, ...(active ? {} : gone) }),
          )
          const listed = theirs.map(({ name, active }) =>
            there({ userName: `P${name}`, state: active ? 'active' : 'left' }),
          )
          const found = comparePeople(here, listed, 'everyone')
          const { missed, ghosts, missing, returned, agreeing, all } = found
          const wrong = missed.length + ghosts.length + missing.length + returned.length
          expect(all - agreeing).toBe(wrong)
          const copy = ours.map(({ name, active }) =>
            there({ userName: `p${name}`, state: active ? 'active' : 'left' }),
          )
          const same = comparePeople(here, copy, 'everyone')
          expect(same.agreeing).toBe(same.all)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('a directory check', () => {
  let test: TestEngine
  let engine: ReturnType<typeof createEngine>
  let listing: DirectoryListing
  beforeAll(async () => {
    test = await startTestEngine({ brake: true })
    const source = {
      name: 'default',
      type: 'csv',
      cycle: seconds(3_600),
      scope: 'everyone' as const,
      read: async () => listing,
    }
    const life: Lifecycle = { ...test.life, directories: new Map([['default', source]]) }
    engine = createEngine(life)
  })
  afterAll(() => test.close())

  const check = () => engine.startDirectoryCheck(test.admin, 'default').done
  const personOf = async (id: string) => (await test.store.read.person(test.admin.tenant, id))!
  const say = async (left: readonly string[], more: Partial<DirectoryListing> = {}) => {
    const people = await test.store.read.peopleAfter(test.admin.tenant, null, 500)
    listing = {
      people: people.map(({ id, userName, active }) =>
        there({
          id,
          userName,
          state: left.includes(id) || !active ? 'left' : 'active',
          changedAt: left.includes(id) ? t0 : null,
        }),
      ),
      complete: true,
      trouble: null,
      ...more,
    }
  }
  const apply = (wish: { check: string; people?: readonly string[]; confirmCount?: number }) =>
    engine.applyDirectoryCheck(test.admin, 'default', {
      check: wish.check,
      people: wish.people ?? null,
      reason: null,
      confirmCount: wish.confirmCount ?? null,
    })

  it('finds the leaver that never came over SCIM, and ends what they own once it is applied', async () => {
    const [eve, ada] = [await test.person(), await test.person()]
    const account = await test.request(eve)
    await say([eve])

    const found = await check()
    expect(found).toMatchObject({ complete: true, agreeing: 1, all: 2 })
    expect(found.report.missed.map((m) => m.id)).toEqual([eve])
    expect((await personOf(eve)).active).toBe(true)

    const { items } = await apply({ check: found.id })
    expect(items).toMatchObject([{ id: eve, outcome: 'left' }])
    await test.pass(5)
    expect((await test.account(account.id)).status).toBe('disabled')
    expect((await personOf(ada)).active).toBe(true)
    const report = await engine.offboarding(test.admin, eve)
    expect(report.signal).toMatchObject({ sentAt: t0 })

    const again = await apply({ check: found.id })
    expect(again.items).toMatchObject([{ id: eve, outcome: 'already', operation: null }])
    expect(await check()).toMatchObject({ agreeing: 2, all: 2 })
    const applied = await test.store.read.audit(test.admin.tenant, {
      target: 'default',
      action: 'directory.applied',
      after: null,
      limit: 10,
    })
    expect(applied.map((row) => [row.facts['left'], row.facts['already']])).toEqual([
      [1, 0],
      [0, 1],
    ])
  })

  it('leaves alone, and lists, who was written since', async () => {
    const eve = await test.person()
    await say([eve])
    const found = await check()
    const person = await personOf(eve)
    await engine.updatePerson(test.admin, person, {
      type: 'person',
      userName: `${person.userName}-renamed`,
      externalId: null,
      active: true,
      attributes: person.attributes,
    })

    const { items } = await apply({ check: found.id })

    expect(items).toMatchObject([{ id: eve, outcome: 'changed', operation: null }])
    expect((await personOf(eve)).active).toBe(true)
  })

  it('reports an incomplete listing, and acts on nothing', async () => {
    const eve = await test.person()
    await say([eve], { complete: false, trouble: 'it stops in the middle.' })
    listing = { ...listing, people: listing.people.filter((p) => p.state === 'left') }

    const found = await check()

    expect(found).toMatchObject({ complete: false })
    expect(found.report).toMatchObject({ trouble: 'it stops in the middle.', ghosts: [] })
    expect(found.report.missed.map((m) => m.id)).toContain(eve)
    await expect(apply({ check: found.id })).rejects.toMatchObject({ code: 'wrongState' })
    expect((await personOf(eve)).active).toBe(true)
  })

  it('does not believe a directory that knows hardly anybody', async () => {
    for (let i = 0; i < 8; i++) await test.person()
    listing = { people: [], complete: true, trouble: null }

    const found = await check()

    expect(found.complete).toBe(false)
    expect(found.report.trouble).toMatch(/cut off, or is another directory's/)
  })

  it('wants the number above what the brake would let through, and only the last check', async () => {
    const leavers: string[] = []
    for (let i = 0; i < 6; i++) leavers.push(await test.person())
    await say(leavers)
    const old = await check()
    const found = await check()

    await expect(apply({ check: old.id })).rejects.toMatchObject({ code: 'wrongState' })
    await expect(apply({ check: found.id })).rejects.toThrow(/hold more than 5; it is 6/)
    await expect(apply({ check: found.id, confirmCount: 5 })).rejects.toThrow(/it is 6/)
    const stranger = { check: found.id, people: [found.id] }
    await expect(apply(stranger)).rejects.toMatchObject({ code: 'invalidValue' })
    expect((await apply({ check: found.id, people: leavers.slice(0, 1) })).items).toHaveLength(1)
    const { items } = await apply({ check: found.id, confirmCount: 6 })
    expect(items.map((i) => i.outcome)).toEqual(['already', ...Array(5).fill('left')])
    test.clock.advance(2 * 86_400)
    await expect(apply({ check: found.id })).rejects.toThrow(/more than a day old/)
  })

  it('is for those who may read, and applying for those who may respond', async () => {
    for (const role of ['directory', 'requester', 'owner', 'verifier'] as const) {
      expect(() => engine.startDirectoryCheck(test.caller(role), 'default')).toThrow(
        /refused|may not/,
      )
    }
    await say([])
    const { id } = await engine.startDirectoryCheck(test.caller('auditor'), 'default').done
    const wish = { check: id, people: null, reason: null, confirmCount: null }
    await expect(
      engine.applyDirectoryCheck(test.caller('auditor'), 'default', wish),
    ).rejects.toMatchObject({ code: 'forbidden' })
    const found = await engine.applyDirectoryCheck(test.caller('security'), 'default', wish)
    expect(found.items).toEqual([])
    expect(() => engine.startDirectoryCheck(test.admin, 'elsewhere')).toThrow(/elsewhere/)
  })

  it('alarms about a connection that was silent for two cycles, and about a check that is old', async () => {
    const client = makeClient({ role: 'directory', createdAt: test.clock.now() })
    const { tenant, id } = client
    const request = { method: 'GET', route: '/Users', target: null, query: null, agent: null }
    const answer = { status: 200, error: null, scimType: null, body: null, milliseconds: 1 }
    await test.store.commit([{ type: 'client', client }])
    await say([])
    await check()
    const silent = async () =>
      (await engine.directoryDoctor(test.admin)).filter((f) => f.check === 'silent-connection')
    const heard = async () => {
      const at = test.clock.now()
      const row = { tenant, id: makeId(), client: id, at, ...request, ...answer }
      await test.store.commit([{ type: 'scimRequests', requests: [row], before: t0 }])
    }

    await heard()
    test.clock.advance(7_200)
    expect(await silent()).toEqual([])
    test.clock.advance(1)
    const [alarm] = await silent()
    expect(alarm).toMatchObject({ subject: client.name, id })
    expect(alarm!.found).toMatch(/^was last heard 2 h ago .* speaks every 60 min$/)
    await heard()
    expect(await silent()).toEqual([])

    test.clock.advance(8 * 86_400)
    const old = (await engine.directoryDoctor(test.admin)).filter(
      (f) => f.check === 'never-checked',
    )
    expect(old.map((f) => f.found)).toEqual(['was last compared 8 d ago'])
  })
})
