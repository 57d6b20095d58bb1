import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSigner } from '../../src/domain/checkpoint.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { rootAt } from '../../src/lifecycle/audit-tree.ts'
import { createSequencer, type SequencerEvent } from '../../src/lifecycle/sequencer.ts'
import { openStore } from '../../src/store/open.ts'
import type { CommitResult, Store } from '../../src/store/store.ts'
import { makeAudit } from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

const signer = createSigner(Secret.of(Buffer.alloc(32, 7)))

describe.each(['SQLite', 'PostgreSQL'])('one of three that sequences %s', (kind) => {
  let database: TestDatabase | null
  let stores: readonly Store[]
  beforeEach(async () => {
    database = kind === 'SQLite' ? null : await createDatabase()
    const url = database?.url ?? 'sqlite::memory:'
    const open = () => openStore({ url, codec, connections: 3 })
    const first = await open()
    stores = database ? [first, await open(), await open()] : [first, first, first]
  })
  afterEach(async () => {
    for (const store of new Set(stores)) await store.close()
    await database?.drop()
  })

  it.each(['auditSequenced', 'auditSigned'] as const)(
    'that stood still at %s is refused when it wakes, and the tree is whole (R63)',
    async (stage) => {
      const clock = new ManualClock()
      const events: SequencerEvent[] = []
      const late: CommitResult[] = []
      const reached = Promise.withResolvers<void>()
      const woken = Promise.withResolvers<void>()
      let isPaused = false
      const pausing: Store = {
        ...stores[0]!,
        async commit(changes) {
          if (isPaused || !changes.some(({ type }) => type === stage)) {
            return stores[0]!.commit(changes)
          }
          isPaused = true
          reached.resolve()
          await woken.promise
          const result = await stores[0]!.commit(changes)
          late.push(result)
          return result
        },
      }
      const [paused, second, third] = [pausing, stores[1]!, stores[2]!].map((store, i) =>
        createSequencer(
          { store, clock },
          { signer, anchor: null, holder: `replica ${i}`, log: (event) => events.push(event) },
        ),
      )
      const write = async (count: number): Promise<void> => {
        const rows = Array.from({ length: count }, () => makeAudit())
        await stores[1]!.commit(rows.map((row) => ({ type: 'audit', row })))
      }

      await write(40)
      const round = paused!.round()
      await reached.promise
      await Promise.all([second!.round(), third!.round()])
      const { fence } = (await stores[1]!.read.leader('sequencer'))!
      // Its lease is alive: nobody goes past it.
      expect((await stores[1]!.read.checkpoint(defaultTenant, null))?.size ?? 0).toBe(0)

      clock.advance(60)
      await write(30)
      await Promise.all([second!.round(), third!.round()])
      await Promise.all([second!.round(), third!.round()])
      const led = (await stores[1]!.read.leader('sequencer'))!
      expect(led.fence).toBeGreaterThan(fence)
      woken.resolve()
      await round

      expect(late).toEqual([{ change: 0, reason: 'fence', with: 'sequencer' }])
      await write(5)
      for (const one of [paused!, second!, third!]) await one.round()
      const placed = await stores[1]!.read.auditFrom(defaultTenant, 0, 200)
      expect(placed.map((e) => e.seq)).toEqual(Array.from({ length: 75 }, (_, i) => i))
      expect(new Set(placed.map((e) => e.row.id)).size).toBe(75)
      const tree = { tenant: defaultTenant, read: stores[1]!.read }
      expect(await tree.read.checkpoint(defaultTenant, null)).toMatchObject({
        size: 75,
        root: await rootAt(tree, 75),
      })
      expect(events.filter(({ outcome }) => outcome !== 'signed')).toEqual([])
      for (const one of [paused!, second!, third!]) await one.stop()
    },
  )
})

it('one that resigns between its look at the lease and its write writes nothing', async () => {
  const store = await openStore({ url: 'sqlite::memory:', codec })
  const clock = new ManualClock()
  const unguarded: CommitResult[] = []
  const watched: Store = {
    ...store,
    read: {
      ...store.read,
      async leader(job) {
        const leader = await store.read.leader(job)
        queueMicrotask(() => void sequencer.stop())
        return leader
      },
    },
    async commit(changes) {
      const result = await store.commit(changes)
      if (changes[0]!.type === 'auditSequenced') unguarded.push(result)
      return result
    },
  }
  const options = { signer, anchor: null, holder: 'it', log: () => undefined }
  const sequencer = createSequencer({ store: watched, clock }, options)
  await store.commit([{ type: 'audit', row: makeAudit() }])

  await sequencer.round()

  expect(unguarded).toEqual([])
  await store.close()
})
