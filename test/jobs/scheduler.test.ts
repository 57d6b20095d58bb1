import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createIdSource } from '../../src/domain/ids.ts'
import { instantOf } from '../../src/domain/time.ts'
import type { Scheduler, SweepEvent } from '../../src/jobs/scheduler.ts'
import { slotOf, slotSeconds, startScheduler } from '../../src/jobs/scheduler.ts'
import type { Lifecycle } from '../../src/lifecycle/engine.ts'
import type { Provider } from '../../src/provider/contract.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { makeAccount, makePerson } from '../support/entities.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { policyForTests } from '../support/policy.ts'

describe('a sweep in its own thread', () => {
  let directory: string
  let store: Store
  let clock: ManualClock
  let life: Lifecycle
  let scheduler: Scheduler
  const events: SweepEvent[] = []

  beforeEach(async () => {
    events.length = 0
    directory = await mkdtemp(path.join(tmpdir(), 'custody-jobs-'))
    const storeUrl = `sqlite:${path.join(directory, 'custody.db')}`
    store = await openStore({ url: storeUrl, codec: documentCodec })
    clock = new ManualClock()
    life = {
      store,
      clock,
      ids: createIdSource(clock, (n) => new Uint8Array(n).fill(7)),
      policy: () => policyForTests,
      authoriser: () => ({
        version: 'test',
        rules: [],
        decide: () => ({ effect: 'permit', reasons: [] }),
      }),
      providers: new Map(),
      sinks: new Map(),
      wake: () => undefined,
    }
    scheduler = await startScheduler({
      life,
      storeUrl,
      clock,
      worker: 'test',
      log: (e) => events.push(e),
    })
  })
  afterEach(async () => {
    await scheduler.stop()
    await store.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('finds what is due with its own handle and acts through the main thread', async () => {
    const owner = makePerson({ active: false, leftAt: clock.now() })
    const orphans = Array.from({ length: 150 }, () =>
      makeAccount({ owner: { type: 'User', id: owner.id } }),
    )
    await store.commit([
      { type: 'person', person: owner, expectedVersion: null },
      ...orphans.map((account) => ({ type: 'account', account, expectedVersion: null }) as const),
    ])

    const event = await scheduler.run('orphans')

    expect(event).toMatchObject({ outcome: 'finished', found: 150, started: 150, failed: 0 })
    const operations = await store.read.operations({
      tenant: owner.tenant,
      kind: 'disable',
      after: null,
      limit: 200,
    })
    expect(operations).toHaveLength(150)
  })

  it('starts one reconciliation per provider that has an inventory, from a thread that has none', async () => {
    const none = () => Promise.reject(new Error('a sweep calls no provider'))
    const provider = (name: string, inventory: boolean) =>
      ({ name, ...(inventory ? { inventory: none } : {}) }) as unknown as Provider
    const providers = life.providers as Map<string, Provider>
    providers.set('one', provider('one', true)).set('two', provider('two', true))
    providers.set('mute', provider('mute', false))

    const event = await scheduler.run('reconcile')

    expect(event).toMatchObject({ outcome: 'finished', found: 2, started: 2, failed: 0 })
    const { tenant } = makePerson()
    const queued = await store.read.operations({ tenant, kind: 'reconcile', after: null, limit: 9 })
    expect(queued.map((o) => `${o.subjectType} ${o.subject}`).sort()).toEqual([
      'provider one',
      'provider two',
    ])
  })

  it('skips a slot that was taken before, and runs in the next one', async () => {
    const first = await scheduler.run('expiry')
    const again = await scheduler.run('expiry')
    clock.advance(slotSeconds.expiry)
    const next = await scheduler.run('expiry')

    expect([first.outcome, again.outcome, next.outcome]).toEqual([
      'finished',
      'skipped',
      'finished',
    ])
    expect(next.slot > first.slot).toBe(true)
  })

  const another = (more: Partial<Lifecycle> = {}) =>
    startScheduler({
      life: { ...life, ...more },
      storeUrl: `sqlite:${path.join(directory, 'custody.db')}`,
      clock,
      worker: 'another',
      log: (e) => events.push(e),
    })
  const until = async (isSo: () => boolean): Promise<void> => {
    for (let i = 0; i < 400 && !isSo(); i++) await new Promise((r) => setTimeout(r, 10))
  }

  it('makes up for slots that were missed by one run at its start, and for none by none (R66)', async () => {
    await scheduler.run('expiry')
    await scheduler.stop()
    events.length = 0
    clock.advance(slotSeconds.expiry * 10)

    scheduler = await another()
    await until(() => events.length > 0)
    expect(events).toMatchObject([
      { sweep: 'expiry', outcome: 'finished', slot: slotOf('expiry', clock.now()) },
    ])

    await scheduler.stop()
    scheduler = await another()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(events).toHaveLength(1)
  })

  it('runs a slot once, however many replicas there are (R67)', async () => {
    const other = await another()
    const both = await Promise.all([scheduler.run('expiry'), other.run('expiry')])
    await other.stop()

    expect(both.map((e) => e.outcome).toSorted()).toEqual(['finished', 'skipped'])
  })

  it('looks at everything first and once an hour, else at what changed since its last run', async () => {
    const full: boolean[] = []
    for (const seconds of [60, 60, 3_600, 60]) {
      full.push((await scheduler.run('orphans')).full)
      clock.advance(seconds)
    }
    events.length = 0
    const other = await another()
    await until(() => events.length > 0)
    full.push(events[0]!.full)
    await other.stop()

    expect(full).toEqual([true, false, false, true, true])
  })

  it('finds in a later run who left since its own last one, whoever ran in between', async () => {
    const owner = makePerson()
    const account = makeAccount({ owner: { type: 'User', id: owner.id } })
    await store.commit([
      { type: 'person', person: owner, expectedVersion: null },
      { type: 'account', account, expectedVersion: null },
    ])
    await scheduler.run('orphans')
    clock.advance(60)
    const left = { ...owner, active: false, leftAt: clock.now(), updatedAt: clock.now() }
    await store.commit([{ type: 'person', person: left, expectedVersion: 1 }])
    clock.advance(60)

    expect(await scheduler.run('orphans')).toMatchObject({ full: false, found: 1, started: 1 })
  })

  it('tries what failed again, ever more rarely, and holds up nobody else for it (R86)', async () => {
    await scheduler.stop()
    const owner = makePerson({ active: false, leftAt: clock.now() })
    const accounts = Array.from({ length: 3 }, () =>
      makeAccount({ owner: { type: 'User', id: owner.id } }),
    )
    await store.commit([
      { type: 'person', person: owner, expectedVersion: null },
      ...accounts.map((account) => ({ type: 'account', account, expectedVersion: null }) as const),
    ])
    const poisoned = accounts[1]!.id
    let tries = 0
    scheduler = await another({
      store: {
        ...store,
        commit(changes) {
          const isIt = changes.some((c) => c.type === 'account' && c.account.id === poisoned)
          if (!isIt) return store.commit(changes)
          tries += 1
          return Promise.reject(new Error('poisoned'))
        },
      },
    })
    const first = await scheduler.run('orphans')
    expect(first).toMatchObject({ started: 2, failed: 1 })
    const after: number[] = []
    // Also when the change is long past: what failed is not forgotten.
    for (let minute = 1; minute <= 16; minute++) {
      clock.advance(60)
      if (minute % 4 === 0) {
        await scheduler.run('orphans')
        after.push(tries)
      }
    }

    expect(scheduler.stats().orphans).toMatchObject({ setbacks: 1, finished: 5, started: 2 })
    expect(tries).toBeLessThanOrEqual(8)
    expect(after.at(-1)).toBeGreaterThan(after[0]!)
  }, 20_000)

  it('counts what it did, for metrics', async () => {
    await scheduler.run('expiry')
    await scheduler.run('expiry')

    expect(scheduler.stats().expiry).toMatchObject({
      lastSlot: slotOf('expiry', clock.now()),
      lastOutcome: 'skipped',
      finished: 1,
      skips: 1,
      overlaps: 0,
      failures: 0,
    })
    expect(scheduler.stats().rotation.lastSlot).toBeNull()
  })

  it('has slots at fixed points in time, whoever asks', () => {
    const at = (ms: number) => slotOf('orphans', instantOf(ms))

    expect(at(119_999)).toBe(instantOf(60_000))
    expect(at(120_000)).toBe(instantOf(120_000))
    expect(slotOf('reconcile', instantOf(7_199_999))).toBe(instantOf(3_600_000))
  })
})
