import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createIdSource } from '../../src/domain/ids.ts'
import { pooledRandom } from '../../src/host/random.ts'
import type { Scheduler } from '../../src/jobs/scheduler.ts'
import { slotOf, slotSeconds, startScheduler } from '../../src/jobs/scheduler.ts'
import type { Lifecycle } from '../../src/lifecycle/engine.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { makeAccount, makePerson } from '../support/entities.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { policyForTests } from '../support/policy.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

describe('three schedulers on one PostgreSQL', () => {
  const clock = new ManualClock()
  let database: TestDatabase
  const stores: Store[] = []
  const schedulers: Scheduler[] = []
  beforeAll(async () => {
    database = await createDatabase()
    for (const worker of ['a', 'b', 'c']) {
      const url = database.url
      const store = await openStore({ url, codec: documentCodec, connections: 3 })
      stores.push(store)
      const life: Lifecycle = {
        store,
        clock,
        ids: createIdSource(clock, pooledRandom),
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
      const host = { life, storeUrl: url, clock, worker, log: () => undefined }
      schedulers.push(await startScheduler(host))
    }
  })
  afterAll(async () => {
    for (const scheduler of schedulers) await scheduler.stop()
    for (const store of stores) await store.close()
    await database.drop()
  })

  const disabled = async (): Promise<number> => {
    const { tenant } = makePerson()
    const query = { tenant, kind: 'disable', after: null, limit: 100 } as const
    return (await stores[0]!.read.operations(query)).length
  }
  const orphan = async (): Promise<void> => {
    const owner = makePerson({ active: false, leftAt: clock.now(), updatedAt: clock.now() })
    const account = makeAccount({ owner: { type: 'User', id: owner.id } })
    const saved = await stores[0]!.commit([
      { type: 'person', person: owner, expectedVersion: null },
      { type: 'account', account, expectedVersion: null },
    ])
    expect(saved).toBe('saved')
  }
  it('run each slot once, and nothing is started twice (R67)', async () => {
    await orphan()
    const outcomes = (await Promise.all(schedulers.map((s) => s.run('orphans')))).map(
      (event) => event.outcome,
    )
    expect(outcomes.toSorted()).toEqual(['finished', 'skipped', 'skipped'])
    expect(await disabled()).toBe(1)
    clock.advance(slotSeconds.orphans)
  })

  it('make up in the next slot for one that died with its slot (R66)', async () => {
    const before = await disabled()
    await orphan()
    const now = clock.now()
    const slot = slotOf('orphans', now)
    const taken = { type: 'slot', job: 'orphans', slot, worker: 'dead', at: now } as const
    expect(await stores[0]!.commit([taken])).toBe('saved')
    expect(await schedulers[0]!.run('orphans')).toMatchObject({ outcome: 'skipped' })
    expect(await disabled()).toBe(before)

    clock.advance(slotSeconds.orphans)
    await schedulers[1]!.run('orphans')

    expect(await disabled()).toBe(before + 1)
  })
})
