import { describe, expect, it } from 'vitest'
import type { Brake } from '../../src/domain/brake.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Approval, ApprovalItem } from '../../src/domain/approval.ts'
import { approvalItemsMax } from '../../src/domain/approval.ts'
import type { ApprovalId, ClientId, PersonId } from '../../src/domain/ids.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeId, makeOperation, makePerson, t0, unique } from '../support/entities.ts'

const makeBrake = (overrides: Partial<Brake> = {}): Brake => ({
  tenant: null,
  name: 'listing',
  subject: unique('provider'),
  since: t0,
  facts: { reason: 'incomplete', seen: 3 },
  ...overrides,
})

const leaving = (
  directory: string,
  limits: { readonly hourly: number; readonly daily: number } | null,
  more: Partial<Extract<Change, { type: 'leaving' }>> = {},
): Change => ({
  type: 'leaving',
  tenant,
  person: makeId<PersonId>(),
  directory,
  at: t0,
  hourAgo: addSeconds(t0, -3_600),
  dayAgo: addSeconds(t0, -86_400),
  held: limits === null,
  limits,
  ...more,
})

const makeApproval = (directory: string, overrides: Partial<Approval> = {}): Approval => ({
  tenant,
  id: makeId<ApprovalId>(),
  kind: 'leavers',
  subject: directory,
  status: 'forming',
  joined: 1,
  hash: null,
  policyVersion: null,
  plan: [],
  facts: { hourly: 5 },
  createdAt: t0,
  frozenAt: null,
  closedAt: null,
  ...overrides,
})

const itemOf = (approval: Approval, overrides: Partial<ApprovalItem> = {}): ApprovalItem => ({
  tenant,
  approval: approval.id,
  subject: makeId<PersonId>(),
  since: t0,
  client: 'client-hr' as ClientId,
  clientPerson: null,
  outcome: null,
  reason: null,
  decidedBy: null,
  decidedAt: null,
  operation: null,
  ...overrides,
})

/** Brakes that are on, the leavings a directory sent, and the approvals of what was held. */
export function brakeConformance(current: () => Store): void {
  const mine = async (subject: string) =>
    (await current().read.brakes()).filter((b) => b.subject === subject)

  describe('brakes', () => {
    it('keeps a brake until it is released', async () => {
      const brake = makeBrake()

      await current().commit([{ type: 'brakeEngaged', brake }])
      expect(await mine(brake.subject)).toEqual([brake])

      await current().commit([{ ...brake, type: 'brakeReleased' }])
      expect(await mine(brake.subject)).toEqual([])
    })

    it('lets a brake that is engaged again keep its beginning', async () => {
      const brake = makeBrake({ tenant })
      const again = { ...brake, since: addSeconds(t0, 60), facts: { seen: 4 } }

      await current().commit([{ type: 'brakeEngaged', brake }])
      await current().commit([{ type: 'brakeEngaged', brake: again }])

      expect(await mine(brake.subject)).toEqual([{ ...again, since: t0 }])
    })

    it('tells brakes of a tenant, of everybody and of other subjects apart', async () => {
      const all = makeBrake()
      const own = { ...all, tenant }
      const clock = makeBrake({ name: 'clock', subject: all.subject })
      await current().commit([all, own, clock].map((brake) => ({ type: 'brakeEngaged', brake })))

      await current().commit([{ ...own, type: 'brakeReleased' }])

      expect(await mine(all.subject)).toEqual(expect.arrayContaining([all, clock]))
      expect(await mine(all.subject)).toHaveLength(2)
    })
  })

  it('makes what takes access away due when a clock was set back, and ends leases of another time', async () => {
    const tomorrow = addSeconds(t0, 86_400)
    const revoke = makeOperation({ kind: 'revoke', runAt: tomorrow })
    const rotate = makeOperation({ kind: 'rotate', runAt: tomorrow })
    const soon = makeOperation({ kind: 'disable', runAt: addSeconds(t0, 200) })
    const memo = { reason: 'ownerLeft', oldKeysUntil: addSeconds(t0, 3_600) }
    const leavers = makeOperation({ kind: 'rotate', runAt: tomorrow, memo })
    const planned = makeOperation({ kind: 'rotate', runAt: tomorrow, memo: { oldKeysUntil: null } })
    const lease = { status: 'running', leaseWorker: 'died' } as const
    const held = makeOperation({ kind: 'issue', ...lease, leaseUntil: tomorrow })
    const working = makeOperation({ kind: 'issue', ...lease, leaseUntil: addSeconds(t0, 30) })
    for (const operation of [revoke, rotate, leavers, planned, soon, held, working]) {
      await current().commit([{ type: 'enqueue', operation, preempt: false }])
    }

    const at = t0
    await current().commit([
      { type: 'urgentDue', at, until: addSeconds(at, 60), beyond: addSeconds(at, 300) },
    ])

    const runAt = async ({ id }: { readonly id: string }) =>
      (await current().read.operation(tenant, id))?.runAt
    expect(await runAt(revoke)).toBe(at)
    expect(await runAt(rotate)).toBe(tomorrow)
    expect(await runAt(leavers)).toBe(at)
    expect(await runAt(planned)).toBe(tomorrow)
    expect(await runAt(soon)).toBe(soon.runAt)
    const leaseUntil = async ({ id }: { readonly id: string }) =>
      (await current().read.operation(tenant, id))?.leaseUntil
    expect(await leaseUntil(held)).toBe(addSeconds(at, 60))
    expect(await leaseUntil(working)).toBe(working.leaseUntil)
  })

  describe('leavings', () => {
    const limits = { hourly: 5, daily: 7 }
    const countsAt = (directory: string, at = t0) =>
      current().read.leaveCounts(tenant, directory, {
        person: makeId(),
        hourAgo: addSeconds(at, -3_600),
        dayAgo: addSeconds(at, -86_400),
      })

    it('lets as many go as the limit says, however many writers ask at once', async () => {
      const directory = unique('directory')

      const results = await Promise.all(
        Array.from({ length: 20 }, () => current().commit([leaving(directory, limits)])),
      )

      expect(results.filter((r) => r === 'saved')).toHaveLength(5)
      expect(results).toContainEqual({ change: 0, reason: 'braked', with: null })
      expect(await countsAt(directory)).toMatchObject({ hour: 5, day: 5, letGo: false })
    })

    it('counts a person once, the held ones too, and forgets what is older than a day', async () => {
      const directory = unique('directory')
      const person = makeId<PersonId>()
      await current().commit([leaving(directory, limits, { person })])
      await current().commit([leaving(directory, limits, { person, at: addSeconds(t0, 60) })])
      await current().commit([leaving(directory, null)])
      await current().commit([leaving(unique('directory'), limits)])

      expect(await countsAt(directory)).toMatchObject({ hour: 2, day: 2 })
      expect(await countsAt(directory, addSeconds(t0, 3_630))).toMatchObject({ hour: 1, day: 2 })
      expect(await countsAt(directory, addSeconds(t0, 90_000))).toMatchObject({ hour: 0, day: 0 })
    })

    it('knows how many active people a directory has', async () => {
      const directory = unique('directory')
      const people = [1, 2, 3, 4].map(() => makePerson({ directory }))
      for (const person of people) {
        await current().commit([{ type: 'person', person, expectedVersion: null }])
      }
      const [first, second] = people
      const left = { ...first!, active: false, leftAt: t0, heldBy: makeId<ApprovalId>() }
      const gone = { ...second!, deletedAt: t0 }
      await current().commit([
        { type: 'person', person: left, expectedVersion: 1 },
        { type: 'person', person: gone, expectedVersion: 1 },
      ])

      expect((await countsAt(directory)).active).toBe(2)
      expect(await current().read.person(tenant, left.id)).toEqual({ ...left, version: 2 })

      const back = { ...left, active: true, leftAt: null, heldBy: null }
      await current().commit([{ type: 'person', person: back, expectedVersion: 2 }])
      expect((await countsAt(directory)).active).toBe(3)
    })
  })

  describe('approvals', () => {
    const hold = (approval: Approval, isNew: boolean, item = itemOf(approval)): Change => ({
      type: 'held',
      approval,
      isNew,
      item,
    })
    const decided = (item: ApprovalItem, directory: string, isFinal = true): Change => ({
      type: 'approvalDecided',
      directory,
      item: { ...item, outcome: 'approved', decidedBy: 'eve', decidedAt: t0 },
      isFinal,
    })

    it('lets one batch form at a time, and takes whoever is held into it', async () => {
      const directory = unique('directory')
      const rivals = Array.from({ length: 5 }, () => makeApproval(directory))

      const results = await Promise.all(rivals.map((a) => current().commit([hold(a, true)])))
      const forming = (await current().read.formingApproval(tenant, 'leavers', directory))!
      await Promise.all([1, 2, 3].map(() => current().commit([hold(forming, false)])))

      expect(results.filter((r) => r === 'saved')).toHaveLength(1)
      expect(await current().read.approval(tenant, forming.id)).toEqual({ ...forming, joined: 4 })
      expect(await current().read.approvalItems(tenant, forming.id, null, 10)).toHaveLength(4)
    })

    it('takes nobody once it is frozen or full, and freezes only what was seen', async () => {
      const directory = unique('directory')
      const approval = makeApproval(directory)
      await current().commit([hold(approval, true)])
      const frozen: Change = {
        type: 'approvalFrozen',
        tenant,
        id: approval.id,
        directory,
        joined: 1,
        hash: 'abc',
        policyVersion: 'p1',
        plan: [{ subject: makeId<PersonId>(), action: 'leave', version: 2 }],
        at: t0,
      }

      expect(await current().commit([{ ...frozen, joined: 2 }])).toMatchObject({
        reason: 'version',
      })
      expect(await current().commit([frozen])).toBe('saved')
      expect(await current().commit([hold(approval, false)])).toMatchObject({ reason: 'busy' })
      expect(await current().read.approval(tenant, approval.id)).toMatchObject({
        status: 'waiting',
        hash: 'abc',
        plan: frozen.plan,
        frozenAt: t0,
      })

      const full = makeApproval(directory, { joined: approvalItemsMax - 1 })
      await current().commit([hold(full, true), hold(full, false)])
      expect(await current().read.formingApproval(tenant, 'leavers', directory)).toBeNull()
    })

    it('decides each person once, closes with the last, and releases the brake', async () => {
      const directory = unique('directory')
      const approval = makeApproval(directory)
      const [one, two] = [itemOf(approval), itemOf(approval)]
      const brake = makeBrake({ tenant, name: 'leavers', subject: directory })
      await current().commit([
        hold(approval, true, one),
        hold(approval, false, two),
        { type: 'brakeEngaged', brake },
      ])

      const race = await Promise.all(
        [1, 2, 3].map(() => current().commit([decided(one, directory)])),
      )
      expect(race.filter((r) => r === 'saved')).toHaveLength(1)
      expect(await current().commit([decided(one, directory, false)])).toBe('saved')
      expect((await current().read.approval(tenant, approval.id))?.status).toBe('forming')
      expect(await mine(directory)).toHaveLength(1)

      await current().commit([decided(two, directory)])
      expect(await current().read.approval(tenant, approval.id)).toMatchObject({
        status: 'closed',
        closedAt: t0,
      })
      expect(await mine(directory)).toEqual([])
      expect(await current().read.approvalItem(tenant, approval.id, one.subject)).toMatchObject({
        outcome: 'approved',
        decidedBy: 'eve',
      })
    })

    it('lists batches by status, oldest first, in pages', async () => {
      const made = [1, 2, 3].map(() => makeApproval(unique('directory')))
      for (const approval of made) await current().commit([hold(approval, true)])
      const ids = made.map((a) => a.id)
      const among = async (status: 'forming' | 'closed' | null, after: string | null) =>
        (await current().read.approvals(tenant, { status, after, limit: 100 }))
          .map((a) => a.id)
          .filter((id) => ids.includes(id))

      expect(await among(null, null)).toEqual(ids)
      expect(await among('forming', ids[0]!)).toEqual(ids.slice(1))
      expect(await among('closed', null)).toEqual([])
    })
  })
}
