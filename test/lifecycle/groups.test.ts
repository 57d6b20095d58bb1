import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Group } from '../../src/domain/group.ts'
import type { MembersWrite } from '../../src/domain/want.ts'
import { runSweep } from '../../src/lifecycle/sweep-runs.ts'
import { unique } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

const schemas = ['urn:ietf:params:scim:schemas:core:2.0:Group']

describe('a group as owner', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  const group = (...members: string[]): Promise<Group> =>
    test.engine.createGroup(
      test.admin,
      { displayName: unique('group'), externalId: null, attributes: { schemas } },
      members.map((id) => ({ id, type: undefined, display: null })),
      { keepsUnknown: true },
    )
  const change = async (id: string, members: Partial<MembersWrite>): Promise<boolean> =>
    test.engine.updateGroup(
      test.admin,
      await test.engine.group(test.admin, id),
      { group: null, members: { replace: false, add: [], remove: [], ...members } },
      { exact: false, keepsUnknown: true },
    )
  const add = (id: string, ...members: string[]) =>
    change(id, { add: members.map((m) => ({ id: m, type: undefined, display: null })) })
  const remove = (id: string, ...members: string[]) => change(id, { remove: members })
  const ownedBy = (
    owner: Group,
    more: Parameters<TestEngine['request']>[1] = {},
  ): Promise<ServiceAccount> =>
    test.request(owner.id, { owner: { type: 'Group', id: owner.id }, ...more })
  /** What the scheduler does every minute. */
  const sweep = async () => {
    const applied = await runSweep(test.life, test.admin.tenant, 'orphans')
    await test.pass(2)
    return applied.filter((a) => a.operations.length > 0).map((a) => a.proposal.id)
  }
  const statusOf = async ({ id }: ServiceAccount) => (await test.account(id)).status
  const tokenOf = async (account: ServiceAccount): Promise<string> =>
    (await test.served((await test.credentials(account.id))[0]!))!
  const isActive = async (token: string): Promise<boolean> =>
    (await test.tokens.introspect(token, test.admin.tenant)).active

  it('may own only with an active member, directly or through another group', async () => {
    const empty = await group()
    await expect(ownedBy(empty)).rejects.toMatchObject({ code: 'ownerGone' })
    await expect(test.request('x', { owner: { type: 'Group', id: 'x' } })).rejects.toMatchObject({
      code: 'ownerUnknown',
    })
    const person = await test.person()
    await expect(
      test.request(person, { owner: { type: 'Group', id: person } }),
    ).rejects.toMatchObject({ code: 'ownerUnknown' })

    const outer = await group((await group(person)).id)
    expect((await ownedBy(outer)).status).toBe('active')
  })

  it('goes on owning when a member leaves and another stays', async () => {
    const [one, two] = [await test.person(), await test.person()]
    const account = await ownedBy(await group(one, two))
    const token = await tokenOf(account)

    await test.leave(one)
    await test.pass(hours(2), minutes(30))

    expect(await sweep()).not.toContain(account.id)
    expect(await statusOf(account)).toBe('active')
    expect(await isActive(token)).toBe(true)
  })

  it.each([
    ['its last member leaves', async (person: string) => test.leave(person)],
    ['its last member is taken out', async (person: string, g: Group) => remove(g.id, person)],
    [
      'all members are replaced by none',
      async (_: string, g: Group) => change(g.id, { replace: true }),
    ],
    [
      'it is deleted',
      async (_: string, g: Group) =>
        test.engine.deleteGroup(test.admin, await test.engine.group(test.admin, g.id)),
    ],
    [
      'its last member is deleted',
      async (person: string) =>
        test.engine.deletePerson(test.admin, await test.engine.person(test.admin, person)),
    ],
  ])('keeps its accounts for an hour when %s, then they are switched off', async (_, empty) => {
    const person = await test.person()
    const owner = await group(person)
    const account = await ownedBy(owner)
    const token = await tokenOf(account)

    await empty(person, owner)
    expect(await sweep()).not.toContain(account.id)
    await test.pass(minutes(55), minutes(5))
    expect(await sweep()).not.toContain(account.id)
    expect(await isActive(token)).toBe(true)

    await test.pass(minutes(5))
    expect(await isActive(token)).toBe(false)
    expect(await sweep()).toContain(account.id)
    expect(await test.account(account.id)).toMatchObject({
      status: 'disabled',
      statusReason: 'ownerLeft',
    })
    expect(await test.liveAtProviders(account.id)).toEqual([])
  })

  it('is empty, with all around it, when the group in it is deleted', async () => {
    const inner = await group(await test.person())
    const middle = await group(inner.id)
    const outer = await group(middle.id)
    const account = await ownedBy(outer)

    await test.engine.deleteGroup(test.admin, await test.engine.group(test.admin, inner.id))

    expect(await sweep()).not.toContain(account.id)
    await test.pass(hours(1), minutes(30))
    expect(await sweep()).toContain(account.id)
  })

  it('starts its hour anew when it was filled in between', async () => {
    const person = await test.person()
    const owner = await group(person)
    const account = await ownedBy(owner)

    await remove(owner.id, person)
    await test.pass(minutes(50), minutes(10))
    await add(owner.id, person)
    await remove(owner.id, person)
    await test.pass(minutes(50), minutes(10))
    expect(await sweep()).not.toContain(account.id)

    await test.leave(person)
    await add(owner.id, person)
    await test.pass(minutes(10))
    expect(await sweep()).toContain(account.id)
  })

  it('is filled again by a person who returns, and nothing happens', async () => {
    const person = await test.person()
    const account = await ownedBy(await group(person))

    await test.leave(person)
    await test.pass(minutes(30), minutes(10))
    await test.comeBack(person)
    await test.pass(hours(2), minutes(30))

    expect(await sweep()).not.toContain(account.id)
    expect(await statusOf(account)).toBe('active')
  })

  it('gets nothing new within its hour, and what waited goes on when it is filled', async () => {
    const person = await test.person()
    const owner = await group(person)
    const account = await ownedBy(owner, { drain: false })
    await remove(owner.id, person)
    await test.pass(minutes(2), 30)
    expect(await statusOf(account)).toBe('provisioning')
    expect(await test.liveAtProviders(account.id)).toEqual([])
    const want = { ...wants.token(), serviceAccount: account.id, displayName: null, readers: [] }
    await expect(
      test.engine.requestCredential(test.admin, {
        ...want,
        deliverTo: want.deliverTo,
        expiresAt: undefined,
        rotateEvery: undefined,
        overlap: undefined,
      }),
    ).rejects.toMatchObject({ code: 'noActiveOwner' })

    await add(owner.id, person)
    await test.pass(minutes(1), 30)
    expect(await statusOf(account)).toBe('active')
  })

  it('leaves its account to an active backup, with the deadlines counted from the end of the hour', async () => {
    const [person, heir] = [await test.person(), await test.person()]
    const owner = await group(person)
    const account = await ownedBy(owner, { backupOwners: [{ type: 'User', id: heir }] })
    const emptiedAt = Date.parse(test.clock.now())

    await remove(owner.id, person)
    await test.pass(minutes(61), minutes(1))
    await sweep()

    const orphaned = await test.account(account.id)
    expect(orphaned).toMatchObject({ status: 'orphaned', pendingOwner: { id: heir } })
    expect(Date.parse(orphaned.orphanedAt!)).toBe(emptiedAt + hours(1) * 1_000)
    expect(Date.parse(orphaned.disableAt!)).toBe(emptiedAt + (hours(1) + days(3)) * 1_000)
  })

  it('is an heir as long as somebody is in it, and any member may accept', async () => {
    const [leaver, member] = [await test.person(), await test.person()]
    const heir = await group(member)
    const account = await test.request(leaver, { backupOwners: [{ type: 'Group', id: heir.id }] })

    await test.leave(leaver)
    await test.pass(2)
    expect(await test.account(account.id)).toMatchObject({
      status: 'orphaned',
      pendingOwner: { type: 'Group', id: heir.id },
    })

    const around = await test.store.read.groupsAround(test.admin.tenant, member)
    const outsider = test.caller('owner', { person: (await test.person()) as never })
    const linked = { ...test.caller('owner', { person: member as never }), groups: around }
    await expect(test.engine.acceptTransfer(outsider, account.id)).rejects.toMatchObject({
      code: 'notFound',
    })
    expect(await test.engine.acceptTransfer(linked, account.id)).toMatchObject({
      status: 'active',
      owner: { type: 'Group', id: heir.id },
    })
  })

  it('writes nothing for what changes nothing, and an audit row with the ids for what does', async () => {
    const [one, two] = [await test.person(), await test.person()]
    const owner = await group(one)
    const { tenant } = test.admin
    const before = await test.store.read.group(tenant, owner.id)

    expect(await add(owner.id, one)).toBe(false)
    expect(await remove(owner.id, two)).toBe(false)
    expect(
      await change(owner.id, { replace: true, add: [{ id: one, type: 'User', display: null }] }),
    ).toBe(false)
    expect(await test.store.read.group(tenant, owner.id)).toEqual(before)

    expect(await add(owner.id, two)).toBe(true)
    const rows = await test.store.read.audit(tenant, { target: owner.id, after: null, limit: 10 })
    expect(rows.map((r) => r.action)).toEqual([
      'group.created',
      'group.membersChanged',
      'group.membersChanged',
    ])
    expect(rows.at(-1)!.facts).toEqual({ added: [two], removed: [] })
  })
})
