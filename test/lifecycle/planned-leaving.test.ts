import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseLeaveDate } from '../../src/domain/leave-date.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { runSweep } from '../../src/lifecycle/sweep-runs.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine } from '../support/engine.ts'

describe('a leave date', () => {
  const cases: readonly (readonly [string, string, string | null])[] = [
    ['2027-01-31', 'UTC', '2027-02-01T00:00:00.000Z'],
    ['2027-01-31', 'Europe/Berlin', '2027-01-31T23:00:00.000Z'],
    ['2027-01-31', 'America/New_York', '2027-02-01T05:00:00.000Z'],
    // The clocks change in the night that ends it.
    ['2027-03-28', 'Europe/Berlin', '2027-03-28T22:00:00.000Z'],
    ['2027-01-31T12:00:00+02:00', 'Asia/Tokyo', '2027-01-31T10:00:00.000Z'],
    ['2027-01-31T12:00:00', 'UTC', null],
    ['2027-02-30', 'UTC', null],
    ['31.01.2027', 'UTC', null],
    ['01/02/2027', 'UTC', null],
  ]
  it.each(cases)('%s in %s is %s', (text, zone, at) => {
    expect(parseLeaveDate(text, zone)).toBe(at)
  })
})

describe('a leaving that is known ahead', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine({
      policy: (text) => `${text}
  - name: watched
    when: { label: watched=yes }
    set: { enforcement: observe }
`,
    })
  })
  afterAll(() => test.close())

  const sweep = async () => {
    await runSweep(test.life, test.admin.tenant, 'orphans')
    await test.pass(3)
  }
  const personOf = async (id: string) => (await test.store.read.person(test.admin.tenant, id))!
  const plan = async (
    dates: readonly (readonly [who: string, date: string])[],
    more: Partial<Parameters<TestEngine['engine']['setLeaveDates']>[1]> = {},
  ) =>
    test.engine.setLeaveDates(test.admin, {
      entries: dates.map(([who, date], i) => ({
        line: i + 2,
        who,
        date,
      })),
      key: 'userName',
      zone: 'UTC',
      apply: true,
      pastToo: false,
      ...more,
    })
  const dateIn = (span: number) => addSeconds(test.clock.now(), span)
  const setUp = async (span: number) => {
    const manager = await test.person()
    const [owner, heir] = [await test.person({ manager }), await test.person()]
    const backupOwners = [{ type: 'User', id: heir } as const]
    const handed = await test.request(owner, { backupOwners })
    const left = await test.request(owner)
    const { userName } = await personOf(owner)
    const leavesAt = dateIn(span)
    await plan([[userName, leavesAt]])
    return { manager, owner, heir, handed, left, userName, leavesAt }
  }
  const audited = async (target: string, action: string) =>
    (await test.store.read.audit(test.admin.tenant, { target, after: null, limit: 100 })).filter(
      (row) => row.action === action,
    )

  it('is offered two weeks ahead, told of at seven days and one, and surprises nobody', async () => {
    const { manager, owner, heir, handed, left, leavesAt } = await setUp(days(30))
    await sweep()
    expect((await test.account(handed.id)).pendingOwner).toBeNull()

    await test.pass(days(16) + 60, days(8))
    await sweep()
    const [credential] = await test.credentials(handed.id)
    expect(await test.account(handed.id)).toMatchObject({
      status: 'active',
      pendingOwner: { id: heir },
      plannedFor: leavesAt,
    })
    expect((await test.account(left.id)).pendingOwner?.id).toBe(manager)
    expect(credential!.generation).toBe(1)
    const asHeir = test.caller('owner', { person: heir as never })
    await test.engine.acceptTransfer(asHeir, handed.id)

    await test.pass(days(13) - 60, days(6))
    for (let i = 0; i < 3; i++) await sweep()
    const told = await audited(owner, 'person.leavesSoon')
    expect(told.map((row) => row.facts['days'])).toEqual([1])
    expect(told[0]!.facts).toMatchObject({ notHandedOver: 1, accounts: [{ id: left.id }] })
    expect(await test.engine.impact(test.admin, owner)).toMatchObject([
      { account: left.id, plannedOffer: manager },
    ])

    await test.pass(days(1), hours(12))
    await sweep()
    expect(await personOf(owner)).toMatchObject({ active: false, leftClass: 'leaveDate' })
    expect(await test.account(handed.id)).toMatchObject({ status: 'active', owner: { id: heir } })
    expect((await test.account(left.id)).status).toBe('disabled')
    // What was handed over ahead goes on under other keys: they knew the ones of before.
    await test.pass(hours(3), minutes(10))
    await sweep()
    const after = await test.credential(credential!.id)
    expect(after).toMatchObject({ status: 'active', generation: 2 })
    expect(await test.works(after)).toBe(true)
    expect((await test.keys(credential!.id))[0]!.disabledAt).not.toBeNull()
    expect(await test.account(handed.id)).toMatchObject({ status: 'active', owner: { id: heir } })
    const known = await audited(credential!.id, 'credential.memberLeft')
    expect(known.map((row) => row.facts)).toMatchObject([{ member: owner, handedOver: true }])
    expect(await test.store.read.departuresOf(test.admin.tenant, owner)).toEqual([])
    // A directory that lags behind says `active` at its next full sync.
    await test.comeBack(owner)
    expect((await personOf(owner)).active).toBe(false)
  })

  it('takes its offers back when the date moves or goes, and makes them anew', async () => {
    const { owner, heir, handed, userName } = await setUp(days(5))
    await sweep()
    expect((await test.account(handed.id)).pendingOwner?.id).toBe(heir)
    await plan([[userName, dateIn(days(90))]])
    await sweep()
    expect((await test.account(handed.id)).pendingOwner).toBeNull()
    expect(await audited(handed.id, 'account.transferWithdrawn')).toHaveLength(1)
    await plan([[userName, dateIn(days(6))]])
    await sweep()
    expect((await test.account(handed.id)).pendingOwner?.id).toBe(heir)
    await plan([[userName, '']])
    await test.pass(days(10), days(5))
    await sweep()
    expect(await personOf(owner)).toMatchObject({ active: true, leavesAt: null })
    expect((await test.account(handed.id)).pendingOwner).toBeNull()
  })

  it('offers nothing that is only watched, and says so once', async () => {
    const { heir, owner } = await setUp(days(5))
    const backupOwners = [{ type: 'User', id: heir } as const]
    const watched = await test.request(owner, { backupOwners, labels: ['watched=yes'] })
    await sweep()
    await test.pass(minutes(2), minutes(1))
    await sweep()
    expect((await test.account(watched.id)).pendingOwner).toBeNull()
    const would = await audited(watched.id, 'account.wouldHave')
    expect(would.map((row) => row.facts)).toMatchObject([
      { act: 'offer', rule: 'plannedLeave', offeredTo: heir },
    ])
  })

  it('rotates nothing that was handed over while they stay, nor what was rotated since', async () => {
    const { owner, heir, handed, userName } = await setUp(days(5))
    await sweep()
    await test.engine.acceptTransfer(test.caller('owner', { person: heir as never }), handed.id)
    await plan([[userName, '']])
    await test.pass(days(16), days(4))
    await sweep()
    const [credential] = await test.credentials(handed.id)
    expect(credential!.generation).toBe(1)
    await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(days(16), days(2))
    await test.leave(owner)
    await test.pass(hours(2), minutes(20))
    expect((await test.credential(credential!.id)).generation).toBe(2)
    expect(await test.store.read.departuresOf(test.admin.tenant, owner)).toEqual([])
  })

  it('asks nobody twice who declined', async () => {
    const { heir, manager, handed, left } = await setUp(days(5))
    await sweep()
    const as = (person: string) => test.caller('owner', { person: person as never })
    await test.engine.declineTransfer(as(heir), handed.id)
    await test.engine.declineTransfer(as(manager), left.id)
    await sweep()
    expect((await test.account(handed.id)).pendingOwner).toBeNull()
    expect((await test.account(left.id)).pendingOwner).toBeNull()
  })

  it('caps nothing for a contractor who leaves in the far future', async () => {
    const { handed, userName } = await setUp(days(20))
    await plan([[userName, '2099-12-31']])
    const before = (await test.account(handed.id)).expiresAt
    await sweep()
    expect(await test.account(handed.id)).toMatchObject({ expiresAt: before, pendingOwner: null })
  })

  it('comes from a list wholly or not at all, and says what is wrong with which line', async () => {
    const { owner, userName, leavesAt } = await setUp(days(40))
    const other = (await personOf(await test.person())).userName
    await expect(
      plan([
        [userName, '2027-02-30'],
        ['nobody@x.test', '2099-01-01'],
        [other, '2099-01-01'],
        [other.toUpperCase(), '2099-01-02'],
      ]),
    ).rejects.toMatchObject({
      message: expect.stringMatching(
        /line 2: the date does not exist.*line 3: nobody here has that userName.*line 5: the same person as line 4.*Nothing was changed/,
      ) as string,
    })
    const past: Instant = dateIn(-days(1))
    const seen = await plan([[userName, past]], { apply: false })
    expect(seen).toMatchObject([{ owner, before: leavesAt, after: past, past: true }])
    await expect(plan([[userName, past]])).rejects.toMatchObject({
      message: expect.stringContaining('lines 2: in the past') as string,
    })
    expect((await personOf(owner)).leavesAt).toBe(leavesAt)
    await plan([[userName, past]], { pastToo: true })
    await sweep()
    expect((await personOf(owner)).leftClass).toBe('leaveDate')
  })
})
