import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Operation } from '../../src/domain/operation.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

describe('taking back what one event did', () => {
  let custody: TestEngine
  beforeEach(async () => {
    custody = await startTestEngine()
  })
  afterEach(() => custody.close())

  const leaveOf = async (person: string): Promise<Operation> =>
    (await custody.operations(person)).find((o) => o.kind === 'leave')!
  const undo = (id: string, dryRun = false) =>
    custody.engine.undo(custody.admin, id, { reason: 'a mistake of the directory', dryRun })
  const keyIds = async (account: string) => (await custody.credentials(account)).map((c) => c.keyId)
  const audited = async (action: string) =>
    (await custody.store.read.audit(custody.admin.tenant, { action, after: null, limit: 50 })).map(
      (row) => row.facts,
    )

  it('brings the same keys back, proves that they work, and the owner counts again', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, {
      credentials: [wants.accessKey(), wants.token()],
    })
    const before = await keyIds(account.id)
    await custody.leave(owner)
    await custody.pass(minutes(2))
    expect(await custody.account(account.id)).toMatchObject({ status: 'disabled' })
    for (const credential of await custody.credentials(account.id)) {
      expect(await custody.works(credential)).toBe(false)
    }

    const leave = await leaveOf(owner)
    const dry = await undo(leave.id, true)
    expect(dry.plan.items).toMatchObject([
      { act: 'enable', why: null, keys: [{ same: true }, { same: true }] },
    ])
    expect((await custody.account(account.id)).status).toBe('disabled')

    const { operation } = await undo(leave.id)
    await custody.pass(30)
    expect(await custody.operation(operation!.id)).toMatchObject({ status: 'succeeded' })
    expect(await custody.account(account.id)).toMatchObject({
      status: 'active',
      statusReason: null,
      disabledAt: null,
      deleteAt: null,
      orphanedAt: null,
    })
    expect(await keyIds(account.id)).toEqual(before)
    for (const credential of await custody.credentials(account.id)) {
      expect(credential).toMatchObject({ status: 'active', generation: 1 })
      expect(await custody.works(credential)).toBe(true)
    }
    expect(await audited('key.accepted')).toHaveLength(2)
    expect(await custody.engine.person(custody.admin, owner)).toMatchObject({ active: true })

    // Nothing sweeps it away again, and the next word of the directory counts.
    await custody.engine.runSweep(custody.admin, 'orphans', { full: true })
    await custody.pass(hours(2), minutes(10))
    expect((await custody.account(account.id)).status).toBe('active')
    const again = await undo(leave.id)
    expect(again).toMatchObject({ operation: null, plan: { items: [{ act: 'none' }] } })
    await custody.leave(owner)
    await custody.pass(minutes(2))
    expect((await custody.account(account.id)).status).toBe('disabled')
    await expect(undo(leave.id)).rejects.toMatchObject({ code: 'notUndoable' })
    expect((await undo((await leaveOf(owner)).id)).operation).not.toBeNull()
  })

  it('makes anew what cannot be switched off, and says so before', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, { credentials: [wants.deployKey()] })
    const [before] = await keyIds(account.id)
    await custody.leave(owner)
    await custody.pass(minutes(2))

    const { plan } = await undo((await leaveOf(owner)).id)
    expect(plan.items).toMatchObject([
      {
        act: 'enable',
        keys: [{ same: false, keyId: before }],
        why: expect.stringContaining('1 of 1'),
      },
    ])
    await custody.pass(minutes(5))
    const [credential] = await custody.credentials(account.id)
    expect(credential).toMatchObject({ status: 'active', generation: 2 })
    expect(await custody.works(credential!)).toBe(true)
  })

  it('withdraws an offer, and lets the old key of its rotation have the usual overlap', async () => {
    const [owner, heir] = [await custody.person(), await custody.person()]
    const account = await custody.request(owner, {
      backupOwners: [{ type: 'User', id: heir }],
      credentials: [wants.accessKey()],
    })
    const [credential] = await custody.credentials(account.id)
    const old = credential!.keyId!
    await custody.leave(owner)
    await custody.pass(minutes(2))
    expect(await custody.account(account.id)).toMatchObject({
      status: 'orphaned',
      pendingOwner: { id: heir },
    })

    await undo((await leaveOf(owner)).id)
    await custody.pass(minutes(3))
    expect(await custody.account(account.id)).toMatchObject({
      status: 'active',
      pendingOwner: null,
      disableAt: null,
      owner: { id: owner },
    })
    // An hour would have ended it, had the owner left.
    await custody.pass(hours(3), minutes(10))
    expect(custody.aws.world.wouldAccept(old)).toBe(true)
    expect(await custody.works((await custody.credentials(account.id))[0]!)).toBe(true)
  })

  it('lets no old key go on that ends for another reason than the leaving', async () => {
    const [owner, heir] = [await custody.person(), await custody.person()]
    const account = await custody.request(owner, {
      backupOwners: [{ type: 'User', id: heir }],
      credentials: [wants.accessKey()],
    })
    const [credential] = await custody.credentials(account.id)
    await custody.leave(owner)
    await custody.pass(minutes(2), 10)
    const [open] = (await custody.operations(credential!.id)).filter((o) => o.kind === 'rotate')
    // As one for a reader who left is: in the place of the leaving's own.
    const memo = { ...open!.memo, reason: 'memberLeft' }
    const at = custody.clock.now()
    const { id, fence } = open!
    await custody.store.commit([{ type: 'advance', id, fence, set: { memo }, release: false, at }])
    await undo((await leaveOf(owner)).id)
    await custody.pass(hours(2), minutes(10))
    expect((await custody.account(account.id)).status).toBe('active')
    expect(custody.aws.world.wouldAccept(credential!.keyId!)).toBe(false)
  })

  it('gives both keys back when a rotation was cut short', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, { credentials: [wants.accessKey()] })
    const [credential] = await custody.credentials(account.id)
    await custody.engine.rotateCredential(custody.admin, credential!.id)
    await custody.pass(minutes(1))
    const keys = (await custody.keys(credential!.id)).map((k) => k.keyId)
    expect(keys).toHaveLength(2)
    await custody.leave(owner)
    await custody.pass(minutes(2))
    expect(keys.map((id) => custody.aws.world.wouldAccept(id))).toEqual([false, false])

    await undo((await leaveOf(owner)).id)
    await custody.pass(minutes(1))
    expect(keys.map((id) => custody.aws.world.wouldAccept(id))).toEqual([true, true])
    // What ends the old one is the next rotation, which needs its slot.
    await custody.pass(days(31), days(1))
    await custody.engine.runSweep(custody.admin, 'rotation')
    await custody.pass(days(1), hours(1))
    expect(custody.aws.world.wouldAccept(keys[0]!)).toBe(false)
    expect(await custody.works((await custody.credentials(account.id))[0]!)).toBe(true)
  })

  // Found by the simulation, seed 1246.
  it('brings back what changed hands since, and leaves another owner’s offers alone', async () => {
    const [owner, next, heir] = [
      await custody.person(),
      await custody.person(),
      await custody.person(),
    ]
    const credentials = [wants.token()]
    const passed = await custody.request(owner, { credentials })
    const offered = await custody.request(owner, {
      credentials: [wants.token()],
      backupOwners: [{ type: 'User', id: heir }],
    })
    await custody.leave(owner)
    await custody.pass(minutes(2))
    const to = { owner: { type: 'User', id: next }, atOnce: true, reason: 'moved' } as const
    await custody.engine.transfer(custody.admin, passed.id, to)
    const another = { ...to, owner: { type: 'User', id: await custody.person() } } as const
    await custody.engine.transfer(custody.admin, offered.id, another)
    await custody.leave(another.owner.id)
    await custody.pass(minutes(2))
    expect((await custody.account(offered.id)).status).toBe('orphaned')

    await undo((await leaveOf(owner)).id)
    await custody.pass(minutes(1))
    expect(await custody.account(passed.id)).toMatchObject({
      status: 'active',
      owner: { id: next },
    })
    expect(await custody.works((await custody.credentials(passed.id))[0]!)).toBe(true)
    expect((await custody.account(offered.id)).status).toBe('orphaned')
  })

  // Found by the simulation, seeds 2202 and 2472.
  it('never opens what an operator had closed before', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner)
    await custody.engine.switchAccount(custody.admin, account.id, 'disable', 'odd')
    await custody.pass(minutes(1))
    await custody.leave(owner)
    await custody.pass(minutes(2))
    expect((await custody.account(account.id)).statusReason).toBe('ownerLeft')

    const { plan } = await undo((await leaveOf(owner)).id, true)
    expect(plan.items).toMatchObject([{ act: 'cannot', why: expect.stringContaining('by hand') }])
    await expect(undo((await leaveOf(owner)).id)).rejects.toMatchObject({ code: 'notUndoable' })
  })

  it('stops a leaving that is still under way', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, { credentials: [wants.accessKey()] })
    const before = await keyIds(account.id)
    await custody.leave(owner)
    await undo((await leaveOf(owner)).id)
    await custody.pass(minutes(2))
    expect(await custody.account(account.id)).toMatchObject({ status: 'active' })
    expect(await keyIds(account.id)).toEqual(before)
    expect(await leaveOf(owner)).toMatchObject({ status: 'cancelled' })
  })

  it('lists what cannot come back and changes nothing when nothing can', async () => {
    const owner = await custody.person()
    const late = await custody.request(owner, { credentials: [wants.accessKey()] })
    await custody.leave(owner)
    await custody.pass(minutes(2))
    await custody.pass(days(91), days(1))
    const leave = await leaveOf(owner)
    await expect(undo(leave.id)).rejects.toMatchObject({
      code: 'notUndoable',
      message: expect.stringContaining('hold was over'),
    })
    expect(await custody.engine.person(custody.admin, owner)).toMatchObject({ active: false })
    expect((await custody.account(late.id)).status).not.toBe('active')
  })

  it('leaves alone what was ended for another reason, and refuses what was ended for good', async () => {
    const owner = await custody.person()
    const kept = await custody.request(owner)
    const retired = await custody.request(owner)
    const leaked = await custody.request(owner, { credentials: [wants.accessKey(), wants.token()] })
    const [revoked] = await custody.credentials(leaked.id)
    const revoke = await custody.engine.revokeCredential(custody.admin, revoked!.id)
    await custody.pass(5)
    await custody.leave(owner)
    await custody.pass(minutes(2))
    await custody.engine.switchAccount(custody.admin, retired.id, 'retire', null)
    await custody.pass(minutes(2))

    const { plan } = await undo((await leaveOf(owner)).id)
    const acts = new Map(plan.items.map((item) => [item.account, item.act]))
    expect(acts.get(kept.id)).toBe('enable')
    expect(acts.get(retired.id)).toBe('cannot')
    await custody.pass(minutes(1))
    const after = await custody.credentials(leaked.id)
    expect(after.map((c) => c.status).toSorted((a, b) => a.localeCompare(b))).toEqual([
      'active',
      'revoked',
    ])
    await expect(undo(revoke.id)).rejects.toMatchObject({ code: 'notUndoable' })
    await expect(undo('nothing')).rejects.toMatchObject({ code: 'notFound' })
    const security = custody.caller('auditor')
    await expect(
      custody.engine.undo(security, revoke.id, { reason: 'x', dryRun: true }),
    ).rejects.toMatchObject({ code: 'forbidden' })
  })

  it('takes an operator’s switching off back, as enabling would', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, { credentials: [wants.accessKey()] })
    const before = await keyIds(account.id)
    const { operations } = await custody.engine.switchAccount(
      custody.admin,
      account.id,
      'disable',
      'test',
    )
    await custody.pass(minutes(1))
    const entry = (
      await custody.store.read.audit(custody.admin.tenant, {
        action: 'account.disabled',
        after: null,
        limit: 1,
      })
    )[0]!
    // Anything that was done because of it leads to it.
    const { plan } = await undo(entry.id)
    expect(plan.cause).toBe(operations[0]!.id)
    await custody.pass(minutes(1))
    expect(await custody.account(account.id)).toMatchObject({ status: 'active' })
    expect(await keyIds(account.id)).toEqual(before)
  })

  it('of a leave date takes the date back as well, or the next sweep would act on it again', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner)
    const { userName } = await custody.engine.person(custody.admin, owner)
    await custody.engine.setLeaveDates(custody.admin, {
      entries: [{ line: 2, who: userName, date: addSeconds(custody.clock.now(), -60) }],
      key: 'userName',
      zone: 'UTC',
      apply: true,
      pastToo: true,
    })
    await custody.engine.runSweep(custody.admin, 'orphans')
    await custody.pass(minutes(2), 10)
    expect((await custody.account(account.id)).status).toBe('disabled')

    await undo((await leaveOf(owner)).id)
    await custody.pass(minutes(1), 10)
    await custody.engine.runSweep(custody.admin, 'orphans')
    await custody.pass(minutes(1), 10)
    expect(await custody.engine.person(custody.admin, owner)).toMatchObject({
      active: true,
      leavesAt: null,
      leftClass: null,
      notices: [],
    })
    expect((await custody.account(account.id)).status).toBe('active')
  })

  it('gives nothing back to somebody who has left again before it came to that', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner)
    const [credential] = await custody.credentials(account.id)
    await custody.leave(owner)
    await custody.pass(minutes(2), 10)
    const { operation } = await undo((await leaveOf(owner)).id)
    await custody.leave(owner)
    await custody.pass(minutes(2), 10)
    expect(await custody.account(account.id)).toMatchObject({
      status: 'disabled',
      statusReason: 'ownerLeft',
    })
    expect(await custody.works(credential!)).toBe(false)
    expect(await custody.operation(operation!.id)).toMatchObject({
      status: 'failed',
      failure: { code: 'preempted' },
    })
  })

  it('of one switching off is no word about a later one', async () => {
    const account = await custody.request(await custody.person())
    const off = async (why: string) => {
      const to = await custody.engine.switchAccount(custody.admin, account.id, 'disable', why)
      await custody.pass(minutes(1), 10)
      return to.operations[0]!.id
    }
    const first = await off('odd')
    await custody.engine.switchAccount(custody.admin, account.id, 'enable', null)
    await custody.pass(minutes(1), 10)
    const second = await off('odd again')
    await expect(undo(first)).rejects.toMatchObject({
      code: 'notUndoable',
      message: expect.stringContaining(second) as string,
    })
    expect((await undo(second, true)).plan.items).toMatchObject([{ act: 'enable' }])
  })

  it('never gives an heir the keys that the owner before, who is gone, still knows', async () => {
    const [owner, heir] = [await custody.person(), await custody.person()]
    const account = await custody.request(owner)
    await custody.leave(owner)
    const to = { owner: { type: 'User', id: heir }, atOnce: true, reason: 'hand-over' } as const
    await custody.engine.transfer(custody.admin, account.id, to)
    await custody.pass(minutes(2), 10)
    expect(await custody.account(account.id)).toMatchObject({
      status: 'disabled',
      owner: { id: heir },
    })
    const [off] = (await custody.operations(account.id)).filter((o) => o.kind === 'disable')
    await expect(undo(off!.id)).rejects.toMatchObject({
      code: 'notUndoable',
      message: expect.stringContaining('enable it for new keys') as string,
    })
  })
})
