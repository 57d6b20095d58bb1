import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Person } from '../../src/domain/owner.ts'
import { createEngine } from '../../src/lifecycle/engine.ts'
import { limitsOf } from '../../src/lifecycle/holding.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeEach(async () => {
  test = await startTestEngine({ brake: true })
})
afterEach(() => test.close())

const person = async (id: string): Promise<Person> =>
  (await test.store.read.person(test.admin.tenant, id))!
const heldOf = async (ids: readonly string[]): Promise<readonly string[]> => {
  const people = await Promise.all(ids.map(person))
  return people.filter((p) => p.heldBy !== null).map((p) => p.id)
}
const people = async (count: number): Promise<string[]> => {
  const ids: string[] = []
  for (let i = 0; i < count; i++) ids.push(await test.person())
  return ids
}
const security = () => test.caller('security')
const batches = (status: 'forming' | 'waiting' | 'closed' | null = null) =>
  test.engine.approvals(test.admin, { status, after: null, limit: 50 })

/** A directory with so many people, of whom the last to leave owns an account with a token. */
async function overTheLimit(leaving = 7) {
  const ids = await people(leaving)
  const last = ids.at(-1)!
  const account = await test.request(last)
  for (const id of ids) await test.leave(id)
  await test.pass(2)
  return { ids, last, account }
}

describe('R70 the mass-leave brake', () => {
  it('lets the first five go and holds the rest', async () => {
    const { ids } = await overTheLimit(8)

    expect(await heldOf(ids)).toEqual(ids.slice(5))
    expect(await Promise.all(ids.map((id) => person(id).then((p) => p.active)))).not.toContain(true)
    expect(await batches()).toMatchObject([{ status: 'forming', subject: 'default', joined: 3 }])
    expect(await test.store.read.brakes()).toMatchObject([{ name: 'leavers', subject: 'default' }])
  })

  it('keeps the keys of held people working and makes them no new ones', async () => {
    const { account } = await overTheLimit()
    const [credential] = await test.credentials(account.id)

    await test.pass(minutes(5), 60)
    await test.engine.runSweep(test.admin, 'orphans')
    await test.pass(days(31), hours(6))
    await test.engine.runSweep(test.admin, 'rotation')
    await test.pass(minutes(5), 60)

    expect((await test.account(account.id)).status).toBe('active')
    expect((await test.credential(credential!.id)).generation).toBe(1)
    await expect(test.works(credential!)).resolves.toBe(true)
    await expect(test.engine.rotateCredential(test.admin, credential!.id)).rejects.toMatchObject({
      code: 'noActiveOwner',
    })
  })

  it('never trips over one person, however many accounts that person owns', async () => {
    const owner = await test.person()
    const wanted = { drain: false, credentials: [] }
    await Promise.all(Array.from({ length: 200 }, () => test.request(owner, wanted)))

    await test.leave(owner)
    await test.pass(2)

    expect(await heldOf([owner])).toEqual([])
    expect(await batches()).toEqual([])
  })

  it('counts a person who comes and goes once', async () => {
    const ids = await people(5)
    for (let round = 0; round < 4; round++) {
      await test.leave(ids[0]!)
      await test.comeBack(ids[0]!)
    }

    for (const id of ids) await test.leave(id)

    expect(await heldOf(ids)).toEqual([])
  })

  it('is not reset by people who return: five others may not go', async () => {
    const ids = await people(10)
    for (const id of ids.slice(0, 5)) await test.leave(id)
    for (const id of ids.slice(0, 5)) await test.comeBack(id)

    for (const id of ids.slice(5)) await test.leave(id)

    expect(await heldOf(ids)).toEqual(ids.slice(5))
  })

  it('looks at an hour and at a day, and at each directory alone', async () => {
    const ids = await people(12)
    for (const id of ids.slice(0, 5)) await test.leave(id)
    const other = test.caller('directory', { directory: 'other' })
    const { person: stranger } = await test.engine.createPerson(other, {
      type: 'person',
      userName: 'stranger',
      externalId: null,
      active: true,
      attributes: { schemas: [] },
    })
    await test.engine.deletePerson(other, stranger)
    test.clock.advance(hours(1) + 1)

    await test.leave(ids[5]!)
    expect(await heldOf([ids[5]!, stranger.id])).toEqual([ids[5]!])

    test.clock.advance(days(1))
    await test.leave(ids[6]!)
    expect(await heldOf([ids[6]!])).toEqual([])
  })

  it.each([
    { people: 20, hourly: 5, daily: 5 },
    { people: 499, hourly: 5, daily: 14 },
    { people: 1_000, hourly: 10, daily: 30 },
    { people: 1_000_000, hourly: 10_000, daily: 30_000 },
  ])('allows $hourly an hour and $daily a day of $people people', ({ people: all, ...limits }) => {
    const counts = { hour: 0, day: 10, active: all - 10, letGo: false }

    expect(limitsOf({ least: 5, hourly: 0.01, daily: 0.03 }, counts)).toEqual(limits)
  })

  it('holds 30 % leavers, an empty directory and a truncated list alike (R11)', async () => {
    const ids = await people(20)
    const admin = test.admin
    for (const id of ids) await test.engine.deletePerson(admin, await person(id))

    expect(await heldOf(ids)).toEqual(ids.slice(5))
  })

  it('lets no two writers share the last place', async () => {
    const ids = await people(30)

    await Promise.all(ids.map((id) => test.leave(id)))

    expect(await heldOf(ids)).toHaveLength(25)
  })

  it('counts across processes: two of them together let no more go than one', async () => {
    const ids = await people(24)
    const url = `sqlite:${path.join(test.home, 'custody.db')}`
    const other = await openStore({ url, codec: documentCodec })
    const second = createEngine({ ...test.life, store: other })

    await Promise.all(
      ids.map(async (id, i) => {
        const engine = i % 2 === 0 ? test.engine : second
        await engine.deletePerson(test.admin, await person(id))
      }),
    )
    await other.close()

    expect(await heldOf(ids)).toHaveLength(19)
    expect(await batches()).toMatchObject([{ joined: 19 }])
  })

  it('keeps a group that held people alone are in as an owner', async () => {
    const ids = await people(6)
    const group = await test.engine.createGroup(
      test.admin,
      { displayName: 'crew', externalId: null, attributes: { schemas: [] } },
      [{ id: ids[5]!, type: undefined, display: null }],
      { keepsUnknown: true },
    )
    for (const id of ids.slice(0, 5)) await test.leave(id)

    await test.engine.deletePerson(test.admin, await person(ids[5]!))

    expect(await heldOf(ids)).toEqual([ids[5]!])
    expect((await test.store.read.groupState(test.admin.tenant, group.id))?.active).toBe(true)
  })
})

describe('held people', () => {
  it('go at once when an operator declares the leaving', async () => {
    const { last, account } = await overTheLimit(6)
    const [credential] = await test.credentials(account.id)
    const secret = (await test.served(credential!))!
    await test.engine.deletePerson(test.admin, await person(last))

    const { operation } = await test.engine.declareLeave(test.admin, last, {
      reason: 'HR called',
      since: null,
    })
    await test.pass(2)

    expect(operation?.kind).toBe('leave')
    expect((await test.tokens.introspect(secret, test.admin.tenant)).active).toBe(false)
    expect(await heldOf([last])).toEqual([])
    expect(await batches()).toMatchObject([{ status: 'closed' }])
    expect(await test.store.read.brakes()).toEqual([])
  })

  it('are let alone when the directory says active again', async () => {
    const { last, account } = await overTheLimit(6)

    await test.comeBack(last)
    await test.pass(minutes(2), 60)

    expect(await person(last)).toMatchObject({ active: true, heldBy: null, leftAt: null })
    expect((await test.account(account.id)).status).toBe('active')
    expect(await test.store.read.brakes()).toEqual([])
  })

  it('stay held when the directory deletes them, and their deadlines wait', async () => {
    const { last, account } = await overTheLimit(6)

    await test.engine.deletePerson(test.admin, await person(last))
    await test.pass(days(10), hours(12))
    await test.engine.runSweep(test.admin, 'orphans')

    expect(await heldOf([last])).toEqual([last])
    expect((await test.account(account.id)).status).toBe('active')
  })

  it('keep no account alive that an earlier leaving has put a date on', async () => {
    const ids = await people(6)
    const heir = await test.person()
    const last = ids.at(-1)!
    const account = await test.request(last, { backupOwners: [{ type: 'User', id: heir }] })
    await test.leave(last)
    await test.pass(minutes(2), 5)
    expect((await test.account(account.id)).status).toBe('orphaned')
    await test.comeBack(last)
    await test.pass(days(2), hours(6))

    for (const id of ids) await test.leave(id)
    await test.pass(days(2), hours(6))
    await test.engine.runSweep(test.admin, 'orphans')
    await test.pass(minutes(2), 5)

    expect(await heldOf(ids)).toEqual([last])
    expect((await test.account(account.id)).status).toBe('disabled')
  })

  it('show in impact and in the offboarding report', async () => {
    const { last } = await overTheLimit(6)

    const [row] = await test.engine.impact(test.admin, last)
    const report = await test.engine.offboarding(test.admin, last)

    expect(row).toMatchObject({
      decision: 'none',
      rule: 'held',
      whenReleased: { decision: 'disable', rule: 'noHeir' },
    })
    expect(report).toMatchObject({ verdict: 'held', open: 1 })
  })
})

describe('approvals', () => {
  it('start the leaves and count deadlines from then, not from the directory’s word', async () => {
    const ids = await people(6)
    const heir = await test.person()
    const account = await test.request(ids[5]!, {
      backupOwners: [{ type: 'User', id: heir }],
      credentials: [wants.token()],
    })
    for (const id of ids) await test.leave(id)
    await test.pass(days(5), hours(12))
    const [batch] = await batches()
    const { approval, items } = await test.engine.approval(security(), batch!.id)

    const decided = await test.engine.approve(security(), approval.id, {
      hash: approval.hash!,
      subjects: null,
      reason: 'HR confirms',
    })
    await test.pass(2)

    expect(items).toMatchObject([{ subject: ids[5]!, outcome: null, ageSeconds: days(5) }])
    expect(decided).toMatchObject([{ subject: ids[5]!, outcome: 'approved' }])
    const left = await person(ids[5]!)
    const after = await test.account(account.id)
    expect(after.status).toBe('orphaned')
    expect(Date.parse(after.disableAt!) - Date.parse(left.releasedAt!)).toBe(days(3) * 1_000)
    expect((await test.engine.offboarding(test.admin, ids[5]!)).receivedAt).toBe(left.leftAt)
    expect(await batches('closed')).toHaveLength(1)
  })

  it('take one person alone, and the rest later under the same hash', async () => {
    const { ids } = await overTheLimit(8)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)
    const wish = { hash: approval.hash!, reason: null }

    const one = await test.engine.approve(security(), batch!.id, { ...wish, subjects: [ids[6]!] })
    expect(await heldOf(ids)).toEqual([ids[5]!, ids[7]!])
    const rest = await test.engine.approve(security(), batch!.id, { ...wish, subjects: null })

    expect(one.map((d) => d.subject)).toEqual([ids[6]!])
    expect(rest.map((d) => d.subject)).toEqual([ids[5]!, ids[7]!])
    expect(await heldOf(ids)).toEqual([])
  })

  it('are frozen by the first look of somebody who may decide, and by nobody else’s', async () => {
    const { ids } = await overTheLimit(6)
    const [batch] = await batches()
    const shown = await test.engine.approval(test.caller('auditor'), batch!.id)
    expect(shown.approval).toMatchObject({ status: 'forming', hash: null })

    const { approval } = await test.engine.approval(security(), batch!.id)
    const late = await test.person()
    await test.leave(late)

    expect(approval.plan.map((p) => p.subject)).toEqual([ids[5]!])
    expect(await batches()).toMatchObject([{ status: 'waiting' }, { status: 'forming' }])
    expect((await person(late)).heldBy).not.toBe(batch!.id)
  })

  it('skip who came back, and say so', async () => {
    const { ids } = await overTheLimit(7)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)
    await test.comeBack(ids[5]!)

    const wish = { hash: approval.hash!, subjects: null, reason: null }
    const decided = await test.engine.approve(security(), batch!.id, wish)

    expect(decided).toMatchObject([
      { subject: ids[5]!, outcome: 'moot', reason: 'returned already' },
      { subject: ids[6]!, outcome: 'approved' },
    ])
    expect((await person(ids[5]!)).active).toBe(true)
  })

  it('refuse a hash that is not of the plan as it is now, and name what changed', async () => {
    const { ids } = await overTheLimit(7)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)
    await test.engine.deletePerson(test.admin, await person(ids[5]!))

    const wish = { subjects: null, reason: null }
    const stale = test.engine.approve(security(), batch!.id, { ...wish, hash: approval.hash! })
    await expect(stale).rejects.toMatchObject({
      code: 'planChanged',
      message: expect.stringContaining(ids[5]!) as string,
    })
    const wrong = test.engine.approve(security(), batch!.id, { ...wish, hash: 'f'.repeat(64) })
    await expect(wrong).rejects.toMatchObject({ code: 'planChanged' })

    const again = await test.engine.approval(security(), batch!.id)
    expect(again.approval.hash).not.toBe(approval.hash)
    expect(await heldOf(ids)).toHaveLength(2)
  })

  it('bind the policy: a reload in between asks for another look', async () => {
    await overTheLimit(6)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)
    const before = test.life.policy()
    Object.assign(test.life, { policy: () => ({ ...before, version: 'reloaded' }) })

    const wish = { hash: approval.hash!, subjects: null, reason: null }

    await expect(test.engine.approve(security(), batch!.id, wish)).rejects.toMatchObject({
      message: expect.stringContaining('policy is reloaded') as string,
    })
  })

  it('leave the denied as they are until the directory or an operator speaks', async () => {
    const { last, account } = await overTheLimit(6)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)

    const wish = { hash: approval.hash!, subjects: null, reason: 'a bad export' }
    await test.engine.deny(security(), batch!.id, wish)
    await test.pass(days(20), days(1))
    await test.engine.runSweep(test.admin, 'orphans')

    expect((await person(last)).heldBy).toBe(batch!.id)
    expect((await test.account(account.id)).status).toBe('active')
    expect(await batches()).toMatchObject([{ status: 'closed' }])
    expect((await test.engine.approval(security(), batch!.id)).items).toMatchObject([
      { outcome: 'denied', reason: 'a bad export' },
    ])

    await test.engine.declareLeave(test.admin, last, { reason: null, since: null })
    await test.pass(2)
    expect((await test.account(account.id)).status).toBe('disabled')
  })

  it('are asked anew about somebody who was denied and whom the directory then deletes', async () => {
    const { ids, last, account } = await overTheLimit(7)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)
    const wish = { hash: approval.hash!, subjects: null, reason: 'a bad export' }
    await test.engine.deny(security(), batch!.id, wish)
    const [first] = ids.slice(5)

    await test.engine.deletePerson(test.admin, await person(first!))
    const [second] = await batches('forming')
    expect(second).toMatchObject({ joined: 1 })
    expect((await person(first!)).heldBy).toBe(second!.id)

    test.clock.advance(days(1) + 1)
    await test.engine.deletePerson(test.admin, await person(last))
    await test.pass(2)
    expect(await person(last)).toMatchObject({ heldBy: null, leftAt: expect.anything() as string })
    expect((await test.account(account.id)).status).toBe('disabled')
  })

  it('let two approvers decide each person once', async () => {
    const { ids } = await overTheLimit(15)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)

    const wish = { hash: approval.hash!, subjects: null, reason: null }
    const both = await Promise.all([
      test.engine.approve(security(), batch!.id, wish),
      test.engine.deny(security(), batch!.id, wish),
    ])

    const final = both.flat().filter((d) => d.outcome !== 'moot')
    expect(final.map((d) => d.subject).sort()).toEqual(ids.slice(5).sort())
  })

  it('X19: nobody decides about what they sent, or about themselves', async () => {
    const { ids } = await overTheLimit(7)
    const [batch] = await batches()
    const { approval } = await test.engine.approval(security(), batch!.id)
    const wish = { hash: approval.hash!, subjects: null, reason: null }
    const [item] = await test.store.read.approvalItems(test.admin.tenant, batch!.id, null, 1)
    const self = test.caller('security', { person: ids[5]! as never })

    for (const caller of [test.admin, self]) {
      await expect(test.engine.approve(caller, batch!.id, wish)).rejects.toMatchObject({
        code: 'ownLeaving',
      })
    }
    for (const role of ['directory', 'requester', 'owner', 'verifier', 'auditor'] as const) {
      await expect(test.engine.approve(test.caller(role), batch!.id, wish)).rejects.toMatchObject({
        code: 'forbidden',
      })
    }
    expect(item!.client).toBe(test.admin.client.id)
    expect(await heldOf(ids)).toHaveLength(2)
  })
})
