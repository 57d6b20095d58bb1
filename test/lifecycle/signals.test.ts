import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LeaveClass } from '../../src/domain/owner.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { Instant } from '../../src/domain/time.ts'
import { departedAt } from '../../src/lifecycle/departures.ts'
import { decideLeaver, graceOf, leftAtOf } from '../../src/lifecycle/leaver.ts'
import { runSweep } from '../../src/lifecycle/sweep-runs.ts'
import { makeAccount, makePerson, t0, unique } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { consumedBy, days, hours, minutes, startTestEngine } from '../support/engine.ts'
import { policyForTests } from '../support/policy.ts'

const schemas = ['urn:ietf:params:scim:schemas:core:2.0:Group']
const shipped = policyForTests.termsFor({ environment: null, labels: [], imported: false })

describe('the words about a leaving', () => {
  const classes: readonly LeaveClass[] = [
    'deleted',
    'deactivated',
    'leaveDate',
    'declared',
    'security',
  ]
  const notices = fc.array(
    fc.record({
      class: fc.constantFrom(...classes),
      at: fc.nat({ max: days(5) }).map((s): Instant => addSeconds(t0, s)),
    }),
    { minLength: 1, maxLength: 4 },
  )
  const span = fc.nat({ max: days(4) }).map(seconds)
  const graces = fc.record({ deletedGrace: span, deactivatedGrace: span, leaveDateGrace: span })

  it('decide nothing while each of them rests, and the first to end ends it', () => {
    fc.assert(
      fc.property(notices, graces, fc.nat({ max: days(10) }), (said, grace, late) => {
        const terms = { ...shipped, leaver: { ...shipped.leaver, ...grace } }
        const leftAt = said.map((n) => n.at).reduce((a, b) => (a < b ? a : b))
        const owner = {
          ...({
            ref: {
              type: 'User',
              id: 'u',
            },
            active: false,
            held: false,
            leftAt,
          } as const),
          notices: said,
          displayName: null,
          manager: null,
        }
        const now = addSeconds(t0, late)
        const ask = (of: typeof owner) =>
          decideLeaver({
            owner: of,
            account: makeAccount({ status: 'active' }),
            backups: [],
            terms,
            now,
            lastUsedAt: null,
          })
        const rests = said.every((n) => {
          const grace = graceOf(terms, n.class)
          return grace > 0 && now < addSeconds(n.at, grace)
        })
        expect(ask(owner).rule).toBe(rests ? 'grace' : 'noHeir')
        // One word more never lets somebody stay longer.
        const more = { ...owner, notices: [...said, { class: 'deleted' as const, at: now }] }
        expect(leftAtOf({ owner: more, terms })! <= leftAtOf({ owner, terms })!).toBe(true)
        const event = { ...owner, notices: [...said, { class: 'security' as const, at: now }] }
        expect(ask(event).rule).toBe('noHeir')
      }),
      { numRuns: 200 },
    )
  })

  it('let a mover be one for the debounce, and who leaves then is a leaver', () => {
    const at = t0
    const mover = makePerson()
    expect(departedAt(mover, { at }, shipped)).toBe(addSeconds(t0, days(14)))
    const leftAt = addSeconds(t0, days(2))
    const leaver = makePerson({
      active: false,
      leftAt,
      notices: [
        {
          class: 'deactivated',
          at: leftAt,
        },
      ],
    })
    expect(departedAt(leaver, { at }, shipped)).toBe(leftAt)
    expect(departedAt(null, { at }, shipped)).toBe(t0)
  })
})

describe('a leaving that the policy lets rest', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine({
      policy: (text) =>
        text
          .replace('deactivatedGrace: PT0S', 'deactivatedGrace: P2D')
          .replace('deletedGrace: PT0S', 'deletedGrace: PT6H')
          .replace('onMemberLeft: nothing', 'onMemberLeft: rotate')
          .concat(
            '\n  - name: watched\n    when: { label: watched=yes }\n    set: { enforcement: observe }\n',
          ),
    })
  })
  afterAll(() => test.close())

  const owned = async () => {
    const owner = await test.person()
    const account = await test.request(owner)
    const [credential] = await test.credentials(account.id)
    return { owner, account, credential: credential! }
  }
  const statusOf = async ({ id }: { readonly id: string }) => (await test.account(id)).status
  const personOf = async (id: string) => (await test.store.read.person(test.admin.tenant, id))!
  const sweep = async () => {
    await runSweep(test.life, test.admin.tenant, 'orphans')
    await test.pass(2)
  }
  const group = (...members: string[]) =>
    test.engine.createGroup(
      test.admin,
      { displayName: unique('group'), externalId: null, attributes: { schemas } },
      members.map((id) => ({ id, type: undefined, display: null })),
      { keepsUnknown: true },
    )
  const change = async (id: string, add: readonly string[], remove: readonly string[]) =>
    test.engine.updateGroup(
      test.admin,
      await test.engine.group(test.admin, id),
      {
        group: null,
        members: {
          replace: false,
          remove: [...remove],
          add: add.map((member) => ({
            id: member,
            type: undefined,
            display: null,
          })),
        },
      },
      { exact: false, keepsUnknown: true },
    )
  const names = async (id: string, ...readers: readonly string[]) => {
    const credential = await test.credential(id)
    const want = {
      ...credential,
      serviceAccount: credential.account,
      readers,
      expiresAt: undefined,
      rotateEvery: undefined,
      overlap: undefined,
      deliverTo: undefined,
    }
    await test.engine.updateCredential(test.admin, credential, want)
  }
  const generationOf = async (id: string) => (await test.credential(id)).generation

  it('touches nothing in a leave of absence, and makes nothing new meanwhile', async () => {
    const { owner, account, credential } = await owned()
    await test.leave(owner)
    await test.pass(hours(40), hours(10))
    await sweep()

    expect(await statusOf(account)).toBe('active')
    expect(await test.works(credential)).toBe(true)
    await expect(test.engine.rotateCredential(test.admin, credential.id)).rejects.toMatchObject({
      code: 'noActiveOwner',
    })
    const [row] = await test.engine.impact(test.admin, owner)
    expect(row).toMatchObject({
      rule: 'grace',
      graceUntil: addSeconds((await personOf(owner)).leftAt!, days(2)),
      whenReleased: { decision: 'disable', rule: 'noHeir' },
    })

    await test.comeBack(owner)
    await test.pass(days(3), hours(12))
    await sweep()
    expect(await statusOf(account)).toBe('active')
    expect(await generationOf(credential.id)).toBe(1)
    expect(await personOf(owner)).toMatchObject({ leftClass: null, notices: [] })
  })

  it('goes on by itself when the grace is over, by the operation alone', async () => {
    const { owner, account, credential } = await owned()
    await test.leave(owner)
    await test.pass(days(2) - 60, hours(8))
    expect(await test.works(credential)).toBe(true)
    test.clock.advance(61)
    // Introspection asks the same function: it refuses before any worker has run.
    expect(await test.works(credential)).toBe(false)
    await test.pass(minutes(2), 5)
    expect(await statusOf(account)).toBe('disabled')
    expect(await test.engine.offboarding(test.admin, owner)).toMatchObject({
      verdict: 'complete',
      leftClass: 'deactivated',
      notices: [{ class: 'deactivated' }],
    })
  })

  it('goes on by the sweep when the operation was lost, and not before', async () => {
    const { owner, account } = await owned()
    await test.leave(owner)
    await test.pass(1)
    const [leave] = await test.operations(owner)
    expect(leave).toMatchObject({ kind: 'leave', status: 'waiting' })
    const { id, fence } = leave!
    const lost = { set: { status: 'cancelled' as const }, release: true, at: test.clock.now() }
    expect(await test.store.commit([{ type: 'advance', id, fence, ...lost }])).toBe('saved')
    const scope = { full: false } as const
    const visit = async () => {
      await runSweep(test.life, test.admin.tenant, 'orphans', scope)
      await test.pass(2)
    }
    await visit()
    expect(await statusOf(account)).toBe('active')
    // The sweep of the last day alone: the person was written two days ago.
    test.clock.advance(days(2))
    await visit()
    expect(await statusOf(account)).toBe('disabled')
  })

  it('ends at once with a security event, and sooner with a deletion', async () => {
    const one = await owned()
    await test.leave(one.owner)
    await test.pass(hours(1), hours(1))
    await test.engine.declareLeave(test.admin, one.owner, {
      reason: 'laptop stolen',
      since: null,
      class: 'security',
    })
    expect(await test.works(one.credential)).toBe(false)
    await test.pass(2)
    expect(await statusOf(one.account)).toBe('disabled')
    expect((await test.engine.offboarding(test.admin, one.owner)).leftClass).toBe('security')

    const two = await owned()
    await test.leave(two.owner)
    await test.pass(hours(1), hours(1))
    await test.engine.deletePerson(test.admin, await test.engine.person(test.admin, two.owner))
    await test.pass(hours(6) - 60, hours(2))
    expect(await statusOf(two.account)).toBe('active')
    await test.pass(minutes(3), 10)
    expect(await statusOf(two.account)).toBe('disabled')
    expect((await test.engine.offboarding(test.admin, two.owner)).notices).toMatchObject([
      { class: 'deactivated' },
      { class: 'deleted' },
    ])
  })

  it('does not leave what a leaver knows to whoever takes the account over meanwhile', async () => {
    const { owner, account, credential } = await owned()
    const heir = await test.person()
    await test.leave(owner)
    const want = { owner: { type: 'User', id: heir }, atOnce: true, reason: 'hand-over' } as const
    await test.engine.transfer(test.admin, account.id, want)
    await test.pass(hours(2), minutes(10))
    expect(await generationOf(credential.id)).toBe(2)
    const [old] = await test.keys(credential.id)
    expect(['disabled', 'revoked']).toContain(old!.status)
    expect(await statusOf(account)).toBe('active')
  })

  it('of readers: one rotation for all who left before it, and none for who came back', async () => {
    const [one, two, stays, alone] = await Promise.all([1, 2, 3, 4].map(() => test.person()))
    const readers = await group(one!, two!, stays!)
    const { owner, account, credential } = await owned()
    await names(credential.id, readers.id, alone!)
    // Moved: nothing for two weeks, and nothing at all when they are back by then.
    await change(readers.id, [], [one!])
    await sweep()
    await change(readers.id, [one!], [])
    await test.pass(days(15), days(5))
    await sweep()
    expect(await generationOf(credential.id)).toBe(1)

    for (const id of [one!, two!]) {
      await test.engine.declareLeave(test.admin, id, { reason: null, since: null })
    }
    await test.pass(hours(3), minutes(10))
    await sweep()
    expect(await generationOf(credential.id)).toBe(2)
    expect((await test.keys(credential.id))[0]!.disabledAt).not.toBeNull()
    expect((await test.account(account.id)).owner.id).toBe(owner)

    await test.engine.declareLeave(test.admin, alone!, { reason: null, since: null })
    await test.pass(hours(3), minutes(10))
    expect(await generationOf(credential.id)).toBe(3)
  })

  it('of readers: is not over before what they know is, whatever ends its rotation', async () => {
    const reader = await test.person()
    const { credential } = await owned()
    await names(credential.id, reader)
    await test.engine.declareLeave(test.admin, reader, { reason: null, since: null })
    await test.pass(minutes(5), minutes(1))
    const [rotation] = (await test.operations(credential.id)).filter((o) => o.kind === 'rotate')
    expect(rotation).toMatchObject({ status: 'waiting', memo: { reason: 'memberLeft' } })
    const { id, fence } = rotation!
    const at = test.clock.now()
    const set = { status: 'cancelled' as const, finishedAt: at }
    await test.store.commit([{ type: 'advance', id, fence, set, release: true, at }])
    for (let i = 0; i < 3; i++) {
      await test.pass(hours(2), minutes(10))
      await sweep()
    }
    expect((await test.keys(credential.id))[0]!.disabledAt).not.toBeNull()
    expect(await test.works(await test.credential(credential.id))).toBe(true)
    expect(await test.store.read.departuresOf(test.admin.tenant, reader)).toEqual([])
  })

  it('of readers: is told once in the report of what is only watched', async () => {
    const [one, two] = [await test.person(), await test.person()]
    const account = await test.request(await test.person(), { labels: ['watched=yes'] })
    const [credential] = await test.credentials(account.id)
    await names(credential!.id, one, two)
    for (const reader of [one, two]) {
      await test.pass(minutes(5), minutes(1))
      await test.engine.declareLeave(test.admin, reader, { reason: null, since: null })
    }
    await test.pass(minutes(3), minutes(1))
    expect(await generationOf(credential!.id)).toBe(1)
    const report = await test.engine.shadowReport(test.admin, { days: 1, after: null, limit: 50 })
    const acts = report.items.filter((item) => item.account === account.id)
    // Enforced, the second one would know the first one's new key as well.
    expect(acts.map(({ act, rule }) => [act, rule])).toEqual([
      ['rotate', 'memberLeft'],
      ['rotate', 'memberLeft'],
    ])
    await sweep()
    expect(await test.store.read.departuresOf(test.admin.tenant, one)).toEqual([])
  })

  it('of readers: ends what they know although a planned rotation waits for its consumers', async () => {
    const reader = await test.person()
    const account = await test.request(await test.person(), {
      attributes: consumedBy({ name: 'monolith', kind: 'restart-only' }),
    })
    const [credential] = await test.credentials(account.id)
    await names(credential!.id, reader)
    await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(days(10), days(1))
    expect(await test.keys(credential!.id)).toMatchObject([
      { status: 'superseded' },
      { status: 'active' },
    ])
    await test.engine.declareLeave(test.admin, reader, { reason: null, since: null })
    await test.pass(hours(3), minutes(10))
    await sweep()
    expect(await generationOf(credential!.id)).toBe(3)
    for (const key of (await test.keys(credential!.id)).slice(0, 2)) {
      expect(key.disabledAt).not.toBeNull()
    }
    expect(await test.works(await test.credential(credential!.id))).toBe(true)
  })

  it('of readers: also when their group is deleted, or taken out of the one that reads', async () => {
    const [one, two] = [await test.person(), await test.person()]
    const [deleted, inner] = [await group(one), await group(two)]
    const outer = await group(inner.id)
    const held = await Promise.all(
      [deleted, outer].map(async (readers) => {
        const { credential } = await owned()
        await names(credential.id, readers.id)
        return credential.id
      }),
    )
    await test.engine.deleteGroup(test.admin, await test.engine.group(test.admin, deleted.id))
    await change(outer.id, [], [inner.id])
    await test.pass(days(13), days(13))
    await sweep()
    expect(await Promise.all(held.map(generationOf))).toEqual([1, 1])
    await test.pass(days(1), hours(12))
    await sweep()
    expect(await Promise.all(held.map(generationOf))).toEqual([2, 2])
  })

  it('of a member of an owning group: what it could read rotates, for a mover after the debounce', async () => {
    const [mover, stays] = [await test.person(), await test.person()]
    const team = await group(mover, stays)
    const account = await test.request(team.id, { owner: { type: 'Group', id: team.id } })
    const [credential] = await test.credentials(account.id)
    await change(team.id, [], [mover])
    await test.pass(days(13), days(6))
    await sweep()
    expect(await generationOf(credential!.id)).toBe(1)
    await test.pass(days(1), hours(12))
    await sweep()
    expect(await generationOf(credential!.id)).toBe(2)
    const rows = await test.store.read.audit(test.admin.tenant, {
      target: credential!.id,
      after: null,
      limit: 50,
    })
    expect(rows.find((r) => r.action === 'credential.memberLeft')?.facts).toMatchObject({
      member: mover,
      group: team.id,
      moved: true,
    })
  })

  it('of a group: whoever moved to another team leaves it an owner for the debounce', async () => {
    const [mover, plain] = [await test.person(), await test.person()]
    const [team, bare] = [await group(mover), await group(plain)]
    const next = await group()
    const [one, two] = [
      await test.request(team.id, { owner: { type: 'Group', id: team.id } }),
      await test.request(bare.id, { owner: { type: 'Group', id: bare.id } }),
    ]
    await change(next.id, [mover], [])
    await change(team.id, [], [mover])
    await change(bare.id, [], [plain])
    await test.pass(hours(1), minutes(20))
    await sweep()
    expect([await statusOf(one), await statusOf(two)]).toEqual(['active', 'disabled'])
    // It empties anew after somebody was in it: the time before does not count.
    await change(team.id, [mover], [])
    await test.pass(days(13), days(13))
    await change(team.id, [], [mover])
    await test.pass(days(13), days(13))
    await sweep()
    expect(await statusOf(one)).toBe('active')
    await test.pass(days(1) + 60, hours(12))
    await sweep()
    expect(await statusOf(one)).toBe('disabled')
  })
})
