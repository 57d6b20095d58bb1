import { afterAll, beforeAll, expect, it } from 'vitest'
import { controls, frameworks } from '../../src/lifecycle/evidence-controls.ts'
import { addSeconds, day } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine({ probe: { count: 1, every: 'PT1S' } })
})
afterAll(() => test.close())

const posture = () => test.engine.posture(test.admin)

it('shows how a tenant is, and how that changes when somebody leaves', async () => {
  expect(await posture()).toMatchObject({
    accounts: { total: 0, open: 0, withActiveOwner: 0, orphaned: 0, watched: 0 },
    coverage: null,
    credentials: { total: 0 },
    oldestActiveKeys: [],
    restored: false,
    atLeast: [],
  })
  const [stays, leaves] = [await test.person(), await test.person()]
  const kept = await test.request(stays, { credentials: [wants.accessKey()] })
  const issuedAt = test.clock.now()
  await test.pass(days(3), days(1))
  const lost = await test.request(leaves, { credentials: [wants.accessKey(), wants.token()] })

  const before = await posture()
  expect(before).toMatchObject({
    at: test.clock.now(),
    accounts: { total: 2, byStatus: { active: 2 }, open: 2, withActiveOwner: 2 },
    coverage: 1,
    credentials: { total: 3, byStatus: { active: 3 }, byProvider: { 'aws-prod': 2, tokens: 1 } },
    expiring: [
      { withinDays: 7, accounts: 0, credentials: 0 },
      { withinDays: 30, accounts: 0, credentials: 0 },
      { withinDays: 90, accounts: 2, credentials: 3 },
    ],
    expired: 0,
    expiredStillUp: { accounts: 0, credentials: 0 },
    rotationsOverdue: { count: 0, first: [] },
    operations: { needsOperator: 0 },
    leavers: { open: 0, complete: 0 },
  })
  expect(before.oldestActiveKeys).toHaveLength(3)
  expect(before.oldestActiveKeys[0]).toMatchObject({
    account: kept.id,
    userName: kept.userName,
    provider: 'aws-prod',
    ageDays: 3,
  })
  expect(before.oldestActiveKeys[0]!.issuedAt <= issuedAt).toBe(true)

  await test.leave(leaves)
  expect(await posture()).toMatchObject({ coverage: 0.5, leavers: { open: 1, complete: 0 } })

  await test.pass(minutes(5), 5)
  const after = await posture()
  expect(after).toMatchObject({
    accounts: { total: 2, byStatus: { active: 1, disabled: 1 }, open: 1, withActiveOwner: 1 },
    coverage: 1,
    leavers: { open: 0, complete: 1 },
  })
  const keys = (await test.store.read.keysOfAccount(test.admin.tenant, lost.id)).filter(
    ({ refusedAt }) => refusedAt !== null,
  )
  expect(after.revocations).toHaveLength(30)
  const [yesterday, today] = after.revocations.slice(-2)
  expect(yesterday).toMatchObject({ count: 0, p50Seconds: null, worstSeconds: null })
  expect(today).toMatchObject({ day: test.clock.now().slice(0, 10), count: keys.length })
  expect(today!.p50Seconds!).toBeLessThanOrEqual(today!.p95Seconds!)
  expect(today!.p95Seconds!).toBeLessThanOrEqual(today!.worstSeconds!)
})

it('names the rotations that are overdue, the longest first', async () => {
  test.clock.advance(days(31))

  const { rotationsOverdue } = await posture()
  expect(rotationsOverdue.count).toBe(1)
  expect(rotationsOverdue.first[0]).toMatchObject({ provider: 'aws-prod', overdueDays: 4 })
})

it('counts what ends on each day', async () => {
  const account = await test.request(await test.person(), {
    expiresAt: addSeconds(test.clock.now(), 40 * day),
  })
  const on = account.expiresAt.slice(0, 10)

  const report = await test.engine.expiryReport(test.admin, { from: on, days: 1 })
  expect(report).toMatchObject({
    from: on,
    days: 1,
    total: { accounts: 1, credentials: 1 },
    items: [{ day: on, accounts: 1, credentials: 1 }],
  })
  const year = await test.engine.expiryReport(test.admin, { from: null, days: 364 })
  expect(year.from).toBe(test.clock.now().slice(0, 10))
  expect(year.total.accounts).toBe(2)
  for (const wrong of [
    { from: '2027-02-30', days: 1 },
    { from: null, days: 0 },
    { from: null, days: 733 },
    { from: '9999-12-31', days: 1 },
  ]) {
    await expect(test.engine.expiryReport(test.admin, wrong)).rejects.toMatchObject({
      code: 'invalidValue',
    })
  }
})

it('is for those who answer for security alone', async () => {
  for (const role of ['auditor', 'security'] as const) {
    expect((await test.engine.posture(test.caller(role))).accounts.total).toBe(3)
  }
  for (const role of ['requester', 'owner', 'directory', 'verifier'] as const) {
    await expect(test.engine.posture(test.caller(role))).rejects.toMatchObject({ status: 403 })
    const want = { from: null, days: 1 }
    await expect(test.engine.expiryReport(test.caller(role), want)).rejects.toMatchObject({
      status: 403,
    })
  }
})

const storyOf = async (id: string) => {
  const account = await test.account(id)
  const credentials = await test.credentials(id)
  const { account: why, credentials: whys } = await test.engine.whyOf(account, credentials)
  return { why, whys, next: await test.engine.nextOf(account, credentials) }
}

it('says what comes next for an account, and that is what the sweeps then do', async () => {
  const account = await test.request(await test.person(), {
    credentials: [wants.accessKey()],
    expiresAt: addSeconds(test.clock.now(), 45 * day),
  })
  const { why, next } = await storyOf(account.id)

  expect(why).toMatchObject({ sentence: expect.stringContaining('It is up'), cause: null })
  expect(next.map(({ act, rule, effect }) => [act, rule, effect])).toEqual([
    ['notice', 'expiresSoon', 'does'],
    ['rotate', 'scheduled', 'does'],
    ['expire', 'expired', 'does'],
    ['delete', 'hold', 'does'],
  ])
  expect(next[2]).toMatchObject({ at: account.expiresAt, heldBy: null })
  const sweeps = { rotate: 'rotation', expire: 'expiry' } as const
  for (const act of ['rotate', 'expire'] as const) {
    const event = (await storyOf(account.id)).next.find((e) => e.act === act)!
    const due = async () => {
      const plan = await test.engine.planSweep(test.admin, sweeps[act], 100)
      return plan.some((due) => due.act === act && due.id === event.subject.id)
    }
    const ahead = Date.parse(event.at) - Date.parse(test.clock.now())
    test.clock.advance(ahead / 1_000 - 1)
    expect(await due()).toBe(false)
    test.clock.advance(1)
    expect(await due()).toBe(true)
    await test.engine.runSweep(test.admin, sweeps[act])
    await test.pass(minutes(10), 60)
  }
  const after = await storyOf(account.id)
  const { deleteAt, disabledAt } = await test.account(account.id)
  expect(after.why).toMatchObject({
    sentence: 'It was switched off: its end date has come.',
    since: disabledAt,
    cause: { kind: 'disable', actor: { type: 'sweep', name: 'expiry sweep' } },
  })
  expect(after.next).toEqual([
    expect.objectContaining({ at: deleteAt, act: 'delete', rule: 'hold', effect: 'does' }),
  ])
})

it('tells of a leaving as the event that it was, down to each credential', async () => {
  const owner = await test.person()
  const account = await test.request(owner)
  await test.leave(owner)
  await test.pass(minutes(5), 5)

  const { leftCause } = (await test.store.read.person(test.admin.tenant, owner))!
  const { why, whys } = await storyOf(account.id)
  expect(why).toMatchObject({
    sentence: 'It was switched off: its owner has left.',
    cause: { event: leftCause, kind: 'disable' },
  })
  const [{ id, refusedAt } = { id: '', refusedAt: null }] = await test.credentials(account.id)
  expect(whys.get(id)).toMatchObject({
    sentence: `Its keys were switched off with its account: its owner has left. Its key was tried and refused at ${refusedAt}.`,
    since: refusedAt,
    cause: { event: leftCause },
  })
})

it('says of a protected account that its end is told and not done, and who it waits for', async () => {
  const [owner, heir] = [await test.person(), await test.person()]
  const account = await test.request(owner, {
    protected: true,
    expiresAt: addSeconds(test.clock.now(), 10 * day),
  })
  expect((await storyOf(account.id)).next.find(({ act }) => act === 'expire')).toMatchObject({
    effect: 'says',
  })
  const offered = await test.request(owner, { backupOwners: [{ type: 'User', id: heir }] })
  await test.leave(owner)
  await test.pass(minutes(1), 5)

  const { why, next } = await storyOf(offered.id)
  expect(why.sentence).toContain('rule activeBackup')
  expect(next).toContainEqual(
    expect.objectContaining({
      act: 'disable',
      rule: 'notAccepted',
      at: (await test.account(offered.id)).disableAt,
    }),
  )
})

it.each(frameworks)('lays out evidence for %s, what is not covered with it', async (framework) => {
  const report = await test.engine.evidence(test.caller('auditor'), framework)

  const names = report.controls.map(({ control }) => control)
  expect(names).toEqual(controls[framework].map(({ control }) => control))
  expect(new Set(names).size).toBe(names.length)
  expect(Object.values(report.summary).reduce((a, b) => a + b)).toBe(names.length)
  for (const { claim, figures, found, verdict, exceptions, gaps } of report.controls) {
    expect(Object.keys(figures)).toEqual(found.map(({ figure }) => figure))
    expect(found.every(({ query }) => /^(GET|custody) /.test(query))).toBe(true)
    expect(verdict === 'notCovered').toBe(claim === null)
    expect(verdict === 'holds').toBe(claim !== null && exceptions.length + gaps.length === 0)
    // What is neither measured nor said to be missing would be a claim without evidence.
    expect(found.length + gaps.length).toBeGreaterThan(0)
  }
})

it('counts against a control what speaks against it, and only where it belongs', async () => {
  const offboarding = async () =>
    (await test.engine.evidence(test.admin, 'owasp-nhi')).controls.find(
      ({ control }) => control === 'NHI1',
    )!
  const account = await test.request(await test.person())
  const before = await offboarding()
  await test.leave(account.owner.id)
  const during = await offboarding()
  await test.pass(minutes(5), 5)

  expect(during.figures['leaversOpen']).toBe(Number(before.figures['leaversOpen']) + 1)
  expect(during).toMatchObject({ verdict: 'exceptions' })
  expect(during.exceptions).toContain(
    `${String(during.figures['leaversOpen'])} leavings have work left`,
  )
  expect((await offboarding()).figures['leaversOpen']).toBe(before.figures['leaversOpen'])
  await expect(test.engine.evidence(test.admin, 'iso')).rejects.toMatchObject({
    code: 'invalidValue',
  })
  await expect(test.engine.evidence(test.caller('owner'), 'soc2')).rejects.toMatchObject({
    status: 403,
  })
})
