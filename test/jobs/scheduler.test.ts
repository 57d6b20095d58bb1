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

  it('has slots at fixed points in time, whoever asks', () => {
    const at = (ms: number) => slotOf('orphans', instantOf(ms))

    expect(at(119_999)).toBe(instantOf(60_000))
    expect(at(120_000)).toBe(instantOf(120_000))
    expect(slotOf('rotation', instantOf(899_999))).toBe(instantOf(600_000))
  })
})
