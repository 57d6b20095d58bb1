import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import { unique } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine, wants } from '../support/engine.ts'

const shipped = readFileSync(new URL('../../policies/lifecycle.yaml', import.meta.url), 'utf8')
/** From the 33rd to the 43rd day of the test. */
const frozenFrom = '2027-03-05T00:00:00.000Z' as Instant
const frozenUntil = '2027-03-15T00:00:00.000Z' as Instant
const policy = compileLifecycle(
  `${shipped}
  - name: the spring rest
    when: { label: rests }
    set: { freeze: [{ name: spring, from: 2027-03-05, until: 2027-03-15 }] }
  - name: watched
    when: { label: watched }
    set: { enforcement: observe }
`,
  'lifecycle.yaml',
)

describe('planned acts and protected accounts', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine({ policy, start: '2027-02-01T00:00:00.000Z' as Instant })
  })
  afterAll(() => test.close())

  const statusOf = async ({ id }: ServiceAccount) => (await test.account(id)).status
  const sweep = async (...names: readonly ('orphans' | 'expiry' | 'rotation')[]) => {
    for (const name of names) await test.engine.runSweep(test.admin, name)
    await test.pass(2)
  }
  const told = async (target: string): Promise<readonly string[]> => {
    const rows = await test.store.read.audit(test.admin.tenant, { target, after: null, limit: 200 })
    return rows.map((row) => row.action).reverse()
  }

  it('holds a rotation, and the end of an old key, back until the window is over', async () => {
    const owner = await test.person()
    const resting = await test.request(owner, { labels: ['rests'] })
    const other = await test.request(owner)
    const early = await test.request(owner, { labels: ['rests'] })
    const [due] = await test.credentials(resting.id)
    const [begun] = await test.credentials(early.id)
    // Its overlap of a week ends inside the window.
    test.clock.set(addSeconds(frozenFrom, -days(3)))
    await test.worker.drain()
    await test.engine.rotateCredential(test.admin, begun!.id)
    await test.pass(2)
    test.clock.set(addSeconds(frozenFrom, days(5)))
    await test.worker.drain()
    await sweep('rotation')

    expect((await test.credential(due!.id)).generation).toBe(1)
    expect((await test.credentials(other.id))[0]!.generation).toBe(2)
    const { until } = test.engine.frozen(resting, due!)!
    expect(until >= frozenUntil && until < addSeconds(frozenUntil, hours(1))).toBe(true)
    const plan = await test.engine.planSweep(test.admin, 'rotation', 100)
    expect(plan.find((p) => p.id === due!.id)?.rule).toBe(`frozen until ${until} by "spring"`)
    const [waiting] = await test.operations(begun!.id)
    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'frozen' }, attempt: 0 })
    expect(waiting!.failure!.message).toContain(`this goes on at ${waiting!.runAt}`)
    expect((await test.keys(begun!.id)).map((k) => k.status)).toEqual(['superseded', 'active'])

    test.clock.set(addSeconds(frozenUntil, hours(1)))
    await test.worker.drain()
    await sweep('rotation')
    expect((await test.credential(due!.id)).generation).toBe(2)
    expect((await test.keys(begun!.id))[0]!.status).toBe('disabled')
  })

  it('never holds back what a leaver may know, or what somebody ends', async () => {
    test.clock.set(addSeconds(frozenUntil, -days(1)))
    const [owner, backup] = [await test.person(), await test.person()]
    const more = { labels: ['rests'], backupOwners: [{ type: 'User', id: backup }] } as const
    const left = await test.request(owner, more)
    const revoked = await test.request(backup, { labels: ['rests'] })
    const [known] = await test.credentials(left.id)
    const [ended] = await test.credentials(revoked.id)

    await test.leave(owner)
    await test.engine.revokeCredential(test.admin, ended!.id)
    await test.pass(hours(1) + 60, 300)

    expect((await test.keys(known!.id)).map((k) => k.status)).toEqual(['revoked', 'active'])
    expect((await test.credential(ended!.id)).status).toBe('revoked')
  })

  it('says daily what time would end of a protected account, and ends nothing', async () => {
    const expiresAt = addSeconds(test.clock.now(), days(2))
    const credentials = [wants.token({ expiresAt: addSeconds(test.clock.now(), days(1)) })]
    const account = await test.request(await test.person(), {
      protected: true,
      expiresAt,
      credentials,
    })
    const [credential] = await test.credentials(account.id)
    test.clock.set(addSeconds(expiresAt, 60))
    for (let i = 0; i < 3; i++) await sweep('expiry', 'orphans')

    expect(await statusOf(account)).toBe('active')
    expect(await told(account.id)).toContain('account.protectedDue')
    const dueRows = async () =>
      [...(await told(account.id)), ...(await told(credential!.id))].filter((a) =>
        a.endsWith('.protectedDue'),
      )
    expect(await dueRows()).toEqual(['account.protectedDue', 'credential.protectedDue'])
    test.clock.advance(days(1))
    await sweep('orphans', 'expiry')
    expect(await dueRows()).toHaveLength(4)
  })

  it('takes a protected account down by the word of two people, within a day', async () => {
    const account = await test.request(await test.person(), { protected: true })
    const person = await test.person()
    const as = (id: string, more: object = {}) =>
      test.caller('security', { id, name: id, ...more } as object)
    const [ann, ben] = [as(unique('ann'), { person }), as(unique('ben'))]
    const annToo = as(unique('ann'), { person })
    const disable = (who: typeof ann) =>
      test.engine.switchAccount(who, account.id, 'disable', 'because')
    const needed = { code: 'secondPersonNeeded' }

    await expect(disable(ann)).rejects.toMatchObject(needed)
    await expect(disable(ann)).rejects.toMatchObject(needed)
    await expect(disable(annToo)).rejects.toMatchObject(needed)
    expect(await test.engine.asked(await test.account(account.id))).toMatchObject([
      { act: 'disable', by: ann.client.name, reason: 'because' },
    ])
    const retire = test.engine.switchAccount(ben, account.id, 'retire', null)
    await expect(retire, 'another act').rejects.toMatchObject(needed)
    test.clock.advance(days(1))
    await expect(disable(ben), 'a day later').rejects.toMatchObject(needed)
    expect(await statusOf(account)).toBe('active')

    await disable(ann)
    await test.pass(2)
    expect(await statusOf(account)).toBe('disabled')
    expect(await told(account.id)).toEqual(
      expect.arrayContaining(['account.secondWordNeeded', 'account.secondWord']),
    )
    expect(await test.engine.asked(await test.account(account.id))).toMatchObject([])
  })

  it('does nothing to a watched account, and reports it', async () => {
    const [owner, heir] = [await test.person(), await test.person()]
    const account = await test.request(owner, { labels: ['watched'] })
    const before = await test.account(account.id)
    const [credential] = await test.credentials(account.id)
    await test.leave(owner)
    await test.pass(2)
    for (let i = 0; i < 3; i++) await sweep('orphans', 'expiry', 'rotation')
    const report = await test.engine.shadowReport(test.caller('auditor'), {
      days: 1,
      after: null,
      limit: 50,
    })

    expect(await test.account(account.id)).toEqual(before)
    expect(await test.credential(credential!.id)).toEqual(credential)
    expect(report.items.filter((i) => i.account === account.id)).toMatchObject([
      { act: 'disable', rule: 'noHeir', owner, credential: null, userName: account.userName },
    ])
    expect(report.summary).toEqual(['disabled 1 account'])
    expect(await told(account.id)).toContain('account.wouldHave')

    // After its hold it would be gone; a shadow that is released ends, and acts are real again.
    test.clock.advance(days(91))
    await sweep('orphans')
    const acts = (await test.engine.shadowReport(test.admin, { days: 2, after: null, limit: 50 }))
      .items
    expect(acts.map((i) => [i.act, i.rule])).toContainEqual(['delete', 'held'])
    expect(heir).not.toBe(owner)
  })
})
