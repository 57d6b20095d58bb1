import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSigner, openCheckpoint, parseVerifierKey } from '../../src/domain/checkpoint.ts'
import { defaultTenant, type TenantId } from '../../src/domain/ids.ts'
import { rootFromInclusion } from '../../src/domain/merkle.ts'
import { Secret } from '../../src/domain/secret.ts'
import { anchorFile, checkAnchor, openAnchor, type Anchor } from '../../src/host/anchor.ts'
import { inclusionProof, rootAt, treesOf } from '../../src/lifecycle/audit-tree.ts'
import {
  createSequencer,
  type Sequencer,
  type SequencerEvent,
} from '../../src/lifecycle/sequencer.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { makeAudit } from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { createDatabase } from '../support/postgres.ts'

const other = 'other' as TenantId
const signer = createSigner(Secret.of(Buffer.alloc(32, 7)))
const key = parseVerifierKey(signer.verifierKeyOf(defaultTenant))!

describe('the sequencer', () => {
  let home: string
  let clock: ManualClock
  let store: Store
  let anchor: Anchor
  let events: SequencerEvent[]
  let running: Sequencer[]
  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'custody-sequencer-'))
    clock = new ManualClock()
    store = await openStore({ url: 'sqlite::memory:', codec })
    anchor = openAnchor({ home, clock, signer })
    events = []
    running = []
  })
  afterEach(async () => {
    for (const sequencer of running) await sequencer.stop()
    await store.close()
    await rm(home, { recursive: true, force: true })
  })

  const sequencer = (over: Store = store, high: Anchor | null = anchor): Sequencer => {
    const made = createSequencer(
      { store: over, clock },
      { signer, anchor: high, log: (event) => events.push(event) },
    )
    running.push(made)
    return made
  }
  const write = async (count: number, tenant: TenantId = defaultTenant, to = store) => {
    const rows = Array.from({ length: count }, () => makeAudit({ tenant }))
    await to.commit(rows.map((row) => ({ type: 'audit', row })))
    return rows
  }
  const check = (against: Store) => checkAnchor(anchor, treesOf(against.read))

  it('anchors again what another process of the same home wrote over', async () => {
    let lost = 0
    const raise: Anchor['raise'] = async (tenant, checkpoint) => {
      // Read before ours was written, written after it.
      if (lost++ > 0) await anchor.raise(tenant, checkpoint)
    }
    const one = sequencer(store, { ...anchor, raise })
    await write(3)

    await one.round()
    expect(await anchor.of(defaultTenant)).toBeNull()
    await one.round()

    expect(await anchor.of(defaultTenant)).toMatchObject({ size: 3 })
    await one.round()
    await one.round()
    expect(lost).toBe(2)
  })

  it('places, signs and anchors what was committed, tenant by tenant', async () => {
    await write(600)
    await write(3, other)
    await sequencer().round()

    for (const [tenant, size] of [
      [defaultTenant, 600],
      [other, 3],
    ] as const) {
      const checkpoint = (await store.read.checkpoint(tenant, null))!
      const verifier = parseVerifierKey(signer.verifierKeyOf(tenant))!
      const tree = { tenant, read: store.read }
      expect(openCheckpoint(checkpoint.note, verifier)).toEqual({
        origin: signer.originOf(tenant),
        size,
        root: await rootAt(tree, size),
      })
      expect((await anchor.of(tenant))?.note).toBe(checkpoint.note)
      const [row] = await store.read.auditFrom(tenant, size - 1, 1)
      const proof = await inclusionProof(tree, row!.seq!, size)
      expect(rootFromInclusion(row!.leaf, row!.seq!, size, proof)).toBe(checkpoint.root)
    }
    expect(await store.read.auditPending(null)).toBeNull()
    expect(events.map((e) => e.outcome)).toEqual(['signed', 'signed'])
  })

  it('looks again every two seconds of whatever clock it has, and stops at once', async () => {
    const one = sequencer()
    one.start()
    await write(1)
    const signed = async (size: number) => {
      for (let i = 0; i < 400 && !events.some((e) => e.size === size); i++) {
        clock.advance(0.5)
        // Its anchor is a real file.
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      expect(events.map((e) => e.size)).toContain(size)
    }
    await signed(1)
    await write(1)
    await signed(2)

    await one.stop()
    await write(1)
    clock.advance(10)
    expect((await store.read.auditHead(defaultTenant))?.frontier.size).toBe(2)
  })

  it('signs nothing twice, and nothing where nothing changed', async () => {
    const one = sequencer()
    await write(2)
    for (let i = 0; i < 3; i++) await one.round()

    expect(events).toHaveLength(1)
    expect(one.state()).toMatchObject({ failures: 0, lagSeconds: 0, behind: [] })
  })

  it('makes one log out of many processes that sequence side by side', async () => {
    const many = Array.from({ length: 4 }, () => sequencer(store, null))
    const rows = await write(900)
    await Promise.all([...many.map((s) => s.round()), write(50)])
    await Promise.all(many.map((s) => s.round()))

    const placed = await store.read.auditFrom(defaultTenant, 0, 2_000)
    expect(placed.map((e) => e.seq)).toEqual(Array.from({ length: 950 }, (_, i) => i))
    expect(new Set(placed.map((e) => e.row.id)).size).toBe(950)
    expect(placed.slice(0, 900).map((e) => e.row.id)).toEqual(rows.map((r) => r.id))
    expect(many.every((s) => s.state().failures === 0)).toBe(true)
  })

  it('makes one log out of replicas that write and sequence one PostgreSQL', async () => {
    const database = await createDatabase()
    const replicas = await Promise.all(
      Array.from({ length: 3 }, () => openStore({ url: database.url, codec, connections: 3 })),
    )
    const many = replicas.map((replica) => sequencer(replica, null))
    const rounds = many.map(async (one, i) => {
      for (let round = 0; round < 4; round++) {
        await Promise.all([one.round(), write(70, defaultTenant, replicas[i])])
      }
    })
    await Promise.all(rounds)
    await many[0]!.round()

    const placed = await replicas[0]!.read.auditFrom(defaultTenant, 0, 2_000)
    expect(placed.map((e) => e.seq)).toEqual(Array.from({ length: 840 }, (_, i) => i))
    const tree = { tenant: defaultTenant, read: replicas[1]!.read }
    const signed = (await tree.read.checkpoint(defaultTenant, null))!
    expect(signed).toMatchObject({ size: 840, root: await rootAt(tree, 840) })
    expect(many.map((s) => s.state().failures)).toEqual([0, 0, 0])
    for (const replica of replicas) await replica.close()
    await database.drop()
  })

  it('tells of its trouble once, goes on trying, and leaves the commits of others alone', async () => {
    let broken = true
    const failing: Store = {
      ...store,
      commit: (changes) =>
        broken && changes.some((c) => c.type === 'auditSequenced')
          ? Promise.reject(new Error('the disk is full'))
          : store.commit(changes),
    }
    const one = sequencer(failing)
    await write(1)
    await one.round()
    clock.advance(30)
    await one.round()

    expect(events).toMatchObject([{ outcome: 'failed', tenant: defaultTenant }])
    expect(one.state()).toMatchObject({ failures: 2, lagSeconds: 30 })
    broken = false
    await one.round()
    expect(one.state()).toMatchObject({ failures: 2, lagSeconds: 0 })
    expect((await anchor.of(defaultTenant))?.size).toBe(1)
  })

  it('keeps its anchor private', async () => {
    await write(1)
    await sequencer().round()

    expect((await stat(anchorFile(home))).mode & 0o777).toBe(0o600)
  })

  describe('with an older database under a newer anchor', () => {
    /** What a backup of the first `count` rows would hold. */
    const backup = async (count: number): Promise<Store> => {
      const older = await openStore({ url: 'sqlite::memory:', codec })
      const rows = await store.read.auditFrom(defaultTenant, 0, count)
      await older.commit(rows.map(({ row }) => ({ type: 'audit', row })))
      return older
    }

    it('finds it behind: smaller first, different once it has grown', async () => {
      await write(5)
      await sequencer().round()
      const older = await backup(3)
      await sequencer(older, null).round()

      expect(await check(store)).toEqual({ behind: false })
      expect(await check(older)).toMatchObject({
        behind: true,
        facts: [
          {
            tenant: defaultTenant,
            reason: 'smaller',
            anchoredSize: 5,
            databaseSize: 3,
            origin: key.name,
            anchoredAt: clock.now(),
          },
        ],
      })
      await write(4, defaultTenant, older)
      await sequencer(older, null).round()
      expect(await check(older)).toMatchObject({
        behind: true,
        facts: [{ reason: 'differs', anchoredSize: 5, databaseSize: 7 }],
      })
      await older.close()
    })

    it('signs no second history, until the operator puts the anchor aside', async () => {
      await write(5)
      await sequencer().round()
      const older = await backup(3)
      const one = sequencer(older)
      events.length = 0
      await one.round()
      await one.round()

      expect(events).toMatchObject([{ outcome: 'behind', tenant: defaultTenant }])
      expect(one.state().behind).toEqual([defaultTenant])
      expect(await older.read.checkpoint(defaultTenant, null)).toBeNull()
      expect((await anchor.of(defaultTenant))?.size).toBe(5)
      expect(await older.read.auditPending(null)).toBeNull()

      const aside = await anchor.setAside()
      await one.round()
      expect(one.state().behind).toEqual([])
      expect((await anchor.of(defaultTenant))?.size).toBe(3)
      expect(await readFile(aside!, 'utf8')).toContain('"version": 1')
      await older.close()
    })

    it('is not alarmed by rows that had no place when the anchor was written', async () => {
      await write(2)
      await sequencer().round()
      await write(2)

      expect(await check(store)).toEqual({ behind: false })
    })
  })

  it.each([
    ['cut off', (text: string) => text.slice(0, -30)],
    ['another size', (text: string) => text.replace('\\n2\\n', '\\n9\\n')],
    ['another key', (text: string) => text.replace(/"key": "[^"]+"/, '"key": "a+00000000+AA=="')],
  ])('takes an anchor that is damaged (%s) for a database behind', async (_, damage) => {
    await write(2)
    await sequencer().round()
    const text = await readFile(anchorFile(home), 'utf8')
    expect(damage(text)).not.toBe(text)
    await writeFile(anchorFile(home), damage(text))

    expect(await check(store)).toMatchObject({ behind: true, facts: [{ reason: 'damaged' }] })
  })

  it('takes the anchor of another installation for a database behind', async () => {
    const stranger = createSigner(Secret.of(Buffer.alloc(32, 8)))
    const theirs = openAnchor({ home, clock, signer: stranger })
    await write(1)
    await createSequencer(
      { store, clock },
      { signer: stranger, anchor: theirs, log: () => undefined },
    ).round()

    expect(await check(store)).toMatchObject({ behind: true, facts: [{ reason: 'damaged' }] })
  })
})
