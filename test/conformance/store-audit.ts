import { describe, expect, it } from 'vitest'
import { leafHash } from '../../src/domain/audit.ts'
import type { TenantId } from '../../src/domain/ids.ts'
import { emptyFrontier, grow, tileWidth, type Frontier } from '../../src/domain/merkle.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import {
  makeAccount,
  makeAudit,
  makeClient,
  makeCredential,
  makeKey,
  makeOperation,
  t0,
  unique,
} from '../support/entities.ts'

const sequenced = (
  tenant: TenantId,
  after: Frontier,
  rows: readonly { readonly id: string; readonly leaf: string }[],
): Change & { readonly type: 'auditSequenced' } => ({
  type: 'auditSequenced',
  tenant,
  after,
  ids: rows.map((r) => r.id),
  ...grow(
    after,
    rows.map((r) => r.leaf),
  ),
})

/** The tree over the audit log, and what /metrics asks. */
export function auditConformance(current: () => Store): void {
  describe('the audit log', () => {
    const fill = async (tenant: TenantId, count: number): Promise<void> => {
      const rows = Array.from({ length: count }, () => makeAudit({ tenant }))
      expect(await current().commit(rows.map((row) => ({ type: 'audit', row })))).toBe('saved')
    }

    it('gives each row one place, in the order it is told, and keeps the nodes of the tree', async () => {
      const tenant = unique('tenant') as TenantId
      const { read } = current()
      await fill(tenant, tileWidth + 3)
      const rows = await read.auditUnsequenced(tenant, 1_000)
      const first = sequenced(tenant, emptyFrontier, rows.slice(0, tileWidth).toReversed())
      expect(await current().commit([first])).toBe('saved')
      const second = sequenced(tenant, first.frontier, rows.slice(tileWidth, tileWidth + 2))
      expect(await current().commit([second])).toBe('saved')

      const placed = await read.auditFrom(tenant, 0, 1_000)
      expect(placed.map((e) => e.seq)).toEqual(placed.map((_, i) => i))
      expect(placed.map((e) => e.row.id)).toEqual([...first.ids, ...second.ids])
      for (const { row, leaf } of placed) expect(leafHash(row)).toBe(leaf)
      expect(await read.auditHead(tenant)).toEqual({
        tenant,
        frontier: second.frontier,
        signedSize: 0,
      })
      expect(await read.auditNodes(tenant, 8, 0, tileWidth)).toEqual([first.nodes[0]!.hash])
      expect(await read.auditNodes(tenant, 0, tileWidth - 1, 2)).toEqual(
        placed.slice(tileWidth - 1, tileWidth + 1).map((e) => e.leaf),
      )
      const [last] = rows.slice(-1)
      expect(await read.auditUnsequenced(tenant, 10)).toEqual([last])
      expect(await read.auditEntry(tenant, last!.id)).toMatchObject({ seq: null, leaf: last!.leaf })
      expect(await read.auditEntry(tenant, first.ids[1]!)).toMatchObject({ seq: 1 })
      expect(await read.auditFrom(tenant, tileWidth + 1, 5)).toHaveLength(1)
    })

    it('lets one of many sequencers place the same rows', async () => {
      const tenant = unique('tenant') as TenantId
      await fill(tenant, 4)
      const rows = await current().read.auditUnsequenced(tenant, 10)
      for (const [after, batch] of [
        [emptyFrontier, rows.slice(0, 2)],
        [
          grow(
            emptyFrontier,
            rows.slice(0, 2).map((r) => r.leaf),
          ).frontier,
          rows.slice(2),
        ],
      ] as const) {
        const change = sequenced(tenant, after, batch)
        const results = await Promise.all(
          Array.from({ length: 5 }, () => current().commit([change])),
        )
        expect(results.filter((r) => r === 'saved')).toHaveLength(1)
        expect(results.filter((r) => r !== 'saved')).toEqual(
          Array.from({ length: 4 }, () => ({ change: 0, reason: 'version', with: null })),
        )
      }

      expect((await current().read.auditHead(tenant))?.frontier.size).toBe(4)
    })

    it('moves nothing when a row has its place already', async () => {
      const tenant = unique('tenant') as TenantId
      await fill(tenant, 2)
      const [a, b] = await current().read.auditUnsequenced(tenant, 10)
      const first = sequenced(tenant, emptyFrontier, [a!])
      await current().commit([first])

      expect(await current().commit([sequenced(tenant, first.frontier, [b!, a!])])).toMatchObject({
        reason: 'version',
      })
      expect((await current().read.auditHead(tenant))?.frontier).toEqual(first.frontier)
      expect(await current().read.auditUnsequenced(tenant, 10)).toEqual([b])
    })

    it('names the tenants that wait for their sequencer, one after the other', async () => {
      const [a, b] = [unique('waits-a'), unique('waits-b')].sort() as [TenantId, TenantId]
      await fill(a, 2)
      await fill(b, 1)
      const found: string[] = []
      for (
        let tenant = await current().read.auditPending(null);
        tenant !== null;
        tenant = await current().read.auditPending(tenant)
      ) {
        found.push(tenant)
      }

      expect(found).toEqual(found.toSorted())
      expect(found.filter((t) => t === a || t === b)).toEqual([a, b])
    })

    it('keeps what was signed, finds the first that covers a size, and forgets old ones', async () => {
      const tenant = unique('tenant') as TenantId
      await fill(tenant, 3)
      const rows = await current().read.auditUnsequenced(tenant, 10)
      await current().commit([sequenced(tenant, emptyFrontier, rows)])
      const checkpoint = (size: number, at = t0) => ({
        origin: `log/${tenant}`,
        size,
        root: rows[0]!.leaf,
        note: `log/${tenant}\n${size}\n…\n`,
        at,
      })
      const sign = (size: number, at = t0, before = addSeconds(t0, -60)) =>
        current().commit([
          { type: 'auditSigned', tenant, checkpoint: checkpoint(size, at), before },
        ])
      for (const size of [1, 3, 2, 3]) expect(await sign(size)).toBe('saved')
      const { read } = current()

      expect(await read.checkpoint(tenant, null)).toEqual(checkpoint(3))
      expect(await read.checkpoint(tenant, 2)).toEqual(checkpoint(2))
      expect(await read.checkpoint(tenant, 4)).toBeNull()
      expect(await read.auditHead(tenant)).toMatchObject({ signedSize: 3 })
      expect((await read.auditHeads()).map((h) => h.tenant)).toContain(tenant)
      await sign(3, addSeconds(t0, 60), addSeconds(t0, 1))
      expect(await read.checkpoint(tenant, 1)).toEqual(checkpoint(3))
      expect(await read.checkpoint(unique('none') as TenantId, null)).toBeNull()
    })

    it('is found by target, operation and action', async () => {
      const tenant = unique('tenant') as TenantId
      const rows = [
        makeAudit({ tenant, action: 'key.refused' }),
        makeAudit({ tenant, action: 'account.requested' }),
      ]
      await current().commit(rows.map((row) => ({ type: 'audit', row })))
      const query = { after: null, limit: 10 }
      const { read } = current()

      expect(await read.auditEntries(tenant, { ...query, action: 'key.refused' })).toEqual([
        { seq: null, leaf: leafHash(rows[0]!), row: rows[0] },
      ])
      expect(await read.audit(tenant, { ...query, target: rows[1]!.target })).toEqual([rows[1]])

      const newest = { ...query, limit: 1, newestFirst: true }
      const [last, first] = rows.map(({ id }) => id).sort()
      const ids = async (after: string | null) =>
        (await read.audit(tenant, { ...newest, after })).map(({ id }) => id)
      expect([await ids(null), await ids(first!), await ids(last!)]).toEqual([[first], [last], []])
    })
  })

  it('tells how the journal does', async () => {
    const before = await current().read.vitals(t0)
    const open = [
      makeOperation({ kind: 'revoke', runAt: t0, createdAt: addSeconds(t0, -90) }),
      makeOperation({ kind: 'issue', runAt: addSeconds(t0, -30), createdAt: addSeconds(t0, -600) }),
      makeOperation({ kind: 'issue', runAt: addSeconds(t0, 30) }),
      makeOperation({ kind: 'rotate', status: 'needsOperator' }),
      makeOperation({
        kind: 'reload',
        status: 'waiting',
        failure: { code: 'unavailable', message: 'no answer' },
        createdAt: addSeconds(t0, -3_601),
        runAt: addSeconds(t0, 60),
      }),
    ]
    const done = makeOperation({ kind: 'disable', status: 'succeeded', finishedAt: t0 })
    const enqueue = (operation: typeof done): Change => ({
      type: 'enqueue',
      operation,
      preempt: false,
    })
    expect(await current().commit([...open, done].map(enqueue))).toBe('saved')

    const vitals = await current().read.vitals(t0)
    expect(before.operations).toEqual([])
    expect(vitals.operations).toEqual([
      { kind: 'issue', status: 'queued', count: 2 },
      { kind: 'reload', status: 'waiting', count: 1 },
      { kind: 'revoke', status: 'queued', count: 1 },
      { kind: 'rotate', status: 'needsOperator', count: 1 },
    ])
    expect(vitals).toMatchObject({
      oldestDueAt: addSeconds(t0, -30),
      oldestRevocationAt: addSeconds(t0, -90),
      needsOperator: 1,
      failing: 1,
      lapsed: 0,
    })
    const [claimed] = await current().claim('dead', t0, seconds(60), 1)
    expect((await current().read.vitals(addSeconds(t0, 61))).lapsed).toBe(1)
    expect(claimed?.status).toBe('running')
  })

  it('tells of accounts without an owner, late rotations, the oldest key and open questions', async () => {
    const account = { ...makeAccount(), status: 'orphaned' as const }
    const credential = {
      ...makeCredential({ account: account.id, provider: 'vitals' }),
      status: 'active' as const,
      rotateAfter: addSeconds(t0, -3_700),
    }
    const old = makeKey(credential, { status: 'active', issuedAt: addSeconds(t0, -500) })
    const client = makeClient()
    const before = await current().read.vitals(t0, ['aws', old.provider])
    expect(
      await current().commit([
        { type: 'client', client },
        { type: 'account', account, expectedVersion: null },
        { type: 'credential', credential, expectedVersion: null },
        { type: 'key', key: old },
      ]),
    ).toBe('saved')

    const after = await current().read.vitals(t0, ['nowhere', old.provider])
    expect(after.orphaned).toBe(before.orphaned + 1)
    expect(after).toMatchObject({
      overdueRotations: before.overdueRotations + 1,
      oldestOverdueAt: addSeconds(t0, -3_700),
      oldestKeys: [{ provider: old.provider, issuedAt: addSeconds(t0, -500) }],
      approvalsWaiting: 0,
    })
  })
}
