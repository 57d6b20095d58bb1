import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createIdSource } from '../../src/domain/ids.ts'
import type { Scheduler } from '../../src/jobs/scheduler.ts'
import { slotSeconds, startScheduler } from '../../src/jobs/scheduler.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { policyForTests } from '../support/policy.ts'

describe('a sweep whose slot cannot be written', () => {
  let directory: string
  let store: Store
  let scheduler: Scheduler
  let locked = true
  const clock = new ManualClock()

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'custody-jobs-'))
    const storeUrl = `sqlite:${path.join(directory, 'custody.db')}`
    store = await openStore({ url: storeUrl, codec: documentCodec })
    scheduler = await startScheduler({
      life: {
        store: {
          ...store,
          commit: (changes) =>
            locked ? Promise.reject(new Error('the database is locked')) : store.commit(changes),
        },
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
      },
      storeUrl,
      clock,
      worker: 'test',
      log: () => undefined,
    })
  })
  afterEach(async () => {
    await scheduler.stop()
    await store.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('fails by itself, and runs again in the next slot', async () => {
    const failed = await scheduler.run('expiry')
    locked = false
    clock.advance(slotSeconds.expiry)
    const next = await scheduler.run('expiry')

    expect(failed).toMatchObject({ outcome: 'failed', message: 'the database is locked' })
    expect(next.outcome).toBe('finished')
  }, 15_000)
})
