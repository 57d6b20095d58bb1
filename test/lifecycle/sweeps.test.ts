import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addSeconds } from '../../src/domain/time.ts'
import type { SweepEvent } from '../../src/jobs/scheduler.ts'
import { startScheduler } from '../../src/jobs/scheduler.ts'
import type { Lifecycle, Proposal } from '../../src/lifecycle/engine.ts'
import { applyBatch, findDue } from '../../src/lifecycle/engine.ts'
import type { LifecyclePolicy } from '../../src/policy/lifecycle.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, startTestEngine, wants } from '../support/engine.ts'
import { policyForTests } from '../support/policy.ts'

let test: TestEngine
beforeEach(async () => {
  test = await startTestEngine()
})
afterEach(() => test.close())

/** One run of a sweep in its thread, by a process that ends afterwards. */
async function sweepOnce(
  sweep: 'orphans' | 'expiry' | 'rotation',
  life: Lifecycle = test.life,
): Promise<SweepEvent> {
  const scheduler = await startScheduler({
    life,
    storeUrl: `sqlite:${test.home}/custody.db`,
    clock: test.clock,
    worker: 'test',
    log: () => undefined,
  })
  const event = await scheduler.run(sweep)
  await scheduler.stop()
  return event
}

const told = async (target: string): Promise<readonly unknown[]> => {
  const rows = await test.store.read.audit(test.admin.tenant, { target, after: null, limit: 200 })
  return rows.filter((r) => r.action.endsWith('.expiresSoon')).map((r) => r.facts['days'])
}

describe('a warning before the end', () => {
  it('comes once at 30, 14, 7 and 1 days, for account and credential (R89)', async () => {
    const owner = await test.person()
    const account = await test.request(owner)
    const [credential] = await test.credentials(account.id)
    const left = (n: number) => test.clock.set(addSeconds(account.expiresAt, -days(n)))

    for (const n of [31, 30, 29, 14, 13, 7, 2, 1, 0.5]) {
      left(n)
      await test.engine.runSweep(test.admin, 'expiry')
      await test.engine.runSweep(test.admin, 'expiry')
    }

    expect(await told(account.id)).toEqual([30, 14, 7, 1])
    expect(await told(credential!.id)).toEqual([30, 14, 7, 1])
    const [row] = await test.store.read
      .audit(test.admin.tenant, {
        target: account.id,
        after: null,
        limit: 200,
      })
      .then((rows) => rows.filter((r) => r.action === 'account.expiresSoon'))
    expect(row?.facts).toEqual({ days: 30, expiresAt: account.expiresAt, owner })
  })

  it('is the nearest one alone when several were missed, and survives a restart (R89)', async () => {
    const account = await test.request(await test.person())
    test.clock.set(addSeconds(account.expiresAt, -days(5)))
    await sweepOnce('expiry')
    test.clock.advance(600)
    await sweepOnce('expiry')

    expect(await told(account.id)).toEqual([7])
  })

  it('starts anew with another end (R89)', async () => {
    const account = await test.request(await test.person())
    test.clock.set(addSeconds(account.expiresAt, -days(5)))
    await test.engine.runSweep(test.admin, 'expiry')
    const again = await test.account(account.id)
    const moved = { ...again, expiresAt: addSeconds(test.clock.now(), days(10)) }
    await test.store.commit([{ type: 'account', account: moved, expectedVersion: again.version }])
    await test.engine.runSweep(test.admin, 'expiry')

    expect(await told(account.id)).toEqual([7, 14])
  })

  it('shows in a dry run, once, and tells nobody', async () => {
    const account = await test.request(await test.person())
    test.clock.set(addSeconds(account.expiresAt, -days(0.5)))
    const plan = await test.engine.planSweep(test.admin, 'expiry', 1_000)

    expect(plan.filter((p) => p.id === account.id)).toMatchObject([
      { act: 'warn', rule: 'expires within 1 days' },
    ])
    expect(await told(account.id)).toEqual([])
  })
})

describe('looking for orphans among what changed', () => {
  const found = async (since: number): Promise<readonly string[]> => {
    const ids: string[] = []
    const { groupGrace } = test.life.policy()
    const scope = {
      changedSince: addSeconds(test.clock.now(), -since),
      groupGrace,
      replan: false,
    }
    const { read } = test.store
    for await (const batch of findDue(read, 'orphans', test.clock.now(), scope)) {
      ids.push(...batch.map((p) => p.id))
    }
    return ids
  }

  it('finds what a leaver owns, and nobody else’s', async () => {
    const owner = await test.person()
    const account = await test.request(owner)
    await test.request(await test.person())
    expect(await found(60)).toEqual([])
    await test.leave(owner)

    expect(await found(60)).toEqual([account.id])
    test.clock.advance(120)
    expect(await found(60)).toEqual([])
  })

  it('finds an account whose heir leaves while it waits for the heir', async () => {
    const [owner, heir] = [await test.person(), await test.person()]
    const account = await test.request(owner, { backupOwners: [{ type: 'User', id: heir }] })
    await test.leave(owner)
    await test.pass(3)
    expect((await test.account(account.id)).status).toBe('orphaned')
    test.clock.advance(600)
    expect(await found(60)).toEqual([])

    await test.leave(heir)
    await test.engine.runSweep(test.admin, 'orphans', { full: false })
    await test.pass(3)

    expect((await test.account(account.id)).status).toBe('disabled')
  })
})

describe('a batch of a sweep', () => {
  it('acts on all the others when one of them was written meanwhile, or fails (R86)', async () => {
    const owner = await test.person()
    const accounts = []
    for (let i = 0; i < 6; i++) accounts.push(await test.request(owner))
    test.clock.advance(days(91))
    const [first, poisoned] = accounts
    let isFirst = true
    const life: Lifecycle = {
      ...test.life,
      store: {
        ...test.store,
        async commit(changes) {
          const ids = changes.flatMap((c) => (c.type === 'account' ? [c.account.id] : []))
          if (ids.includes(poisoned!.id)) throw new Error('poisoned')
          if (isFirst && ids.includes(first!.id)) {
            isFirst = false
            const now = await test.account(first!.id)
            await test.store.commit([
              { type: 'account', account: now, expectedVersion: now.version },
            ])
          }
          return test.store.commit(changes)
        },
      },
    }
    const batch = accounts.map(({ id, tenant }): Proposal => ({ act: 'expire', tenant, id }))
    const applied = await applyBatch(life, 'expiry', batch)

    expect(applied.map((a) => [a.acted, a.error])).toEqual(
      accounts.map(({ id }) =>
        id === poisoned!.id ? [false, 'poisoned'] : [id !== first!.id, null],
      ),
    )
    const due = await test.store.read.expired(test.clock.now(), null, 10)
    expect(due.rows.map((r) => r.id).toSorted()).toEqual([first!.id, poisoned!.id].toSorted())
  })
})

describe('what is due for rotation', () => {
  const rotations = async (id: string) =>
    (await test.operations(id)).filter((o) => o.kind === 'rotate').length

  it('is asked of the database, so a restart forgets none (R13)', async () => {
    const account = await test.request(await test.person())
    const [credential] = await test.credentials(account.id)
    test.clock.advance(days(30) + 10)

    const event = await sweepOnce('rotation')

    expect(event).toMatchObject({ outcome: 'finished', started: 1 })
    expect(await rotations(credential!.id)).toBe(1)
  })

  it('moves with the policy, also when the process died in between (R14)', async () => {
    const account = await test.request(await test.person())
    const [credential] = await test.credentials(account.id)
    const withPeriod = (version: string, period: number): LifecyclePolicy => ({
      ...policyForTests,
      version,
      termsFor(subject) {
        const terms = policyForTests.termsFor(subject)
        return { ...terms, rotation: { ...terms.rotation, every: period as typeof terms.hold } }
      },
    })
    await sweepOnce('rotation')
    const shorter: Lifecycle = { ...test.life, policy: () => withPeriod('shorter', days(10)) }
    test.clock.advance(600)
    const dies: Lifecycle = {
      ...shorter,
      store: {
        ...test.store,
        commit: (changes) =>
          changes.some((c) => c.type === 'slot')
            ? test.store.commit(changes)
            : Promise.reject(new Error('killed')),
      },
    }
    await sweepOnce('rotation', dies)
    expect((await test.credential(credential!.id)).rotateAfter).toBe(credential!.rotateAfter)

    test.clock.advance(600)
    await sweepOnce('rotation', shorter)
    expect((await test.credential(credential!.id)).rotateAfter).toBe(
      addSeconds(credential!.issuedAt!, days(10)),
    )

    const longer: Lifecycle = { ...test.life, policy: () => withPeriod('longer', days(40)) }
    test.clock.advance(days(20))
    const event = await sweepOnce('rotation', longer)
    expect(event.started).toBe(0)
    expect((await test.credential(credential!.id)).rotateAfter).toBe(
      addSeconds(credential!.issuedAt!, days(40)),
    )
  })

  it('is a credential with an old key at work, however fresh its last rotation is (R02)', async () => {
    const account = await test.request(await test.person(), { credentials: [wants.accessKey()] })
    const [before] = await test.credentials(account.id)
    test.clock.advance(days(20))
    const operation = await test.engine.rotateCredential(test.admin, before!.id)
    await test.pass(5)
    // Cut off during its overlap: the old key works, and nothing is going to end it.
    const open = await test.operation(operation.id)
    await test.store.commit([
      {
        type: 'advance',
        id: open.id,
        fence: open.fence,
        set: { status: 'cancelled', finishedAt: test.clock.now() },
        release: true,
        at: test.clock.now(),
      },
    ])
    expect((await test.keys(before!.id)).map((k) => k.status)).toEqual(['superseded', 'active'])
    const fresh = await test.credential(before!.id)
    expect(fresh.lastRotatedAt).not.toBeNull()

    test.clock.advance(days(9))
    await test.engine.runSweep(test.admin, 'rotation')
    expect(await rotations(before!.id)).toBe(1)
    test.clock.advance(days(2))
    expect(test.clock.now() < fresh.rotateAfter!).toBe(true)
    await test.engine.runSweep(test.admin, 'rotation')

    expect(await rotations(before!.id)).toBe(2)
    await test.pass(5)
    expect(await test.liveAtProviders(account.id)).not.toContain(before!.keyId)
  })
})
