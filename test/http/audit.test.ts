import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { leafHash, type AuditRow } from '../../src/domain/audit.ts'
import { openCheckpoint, parseVerifierKey } from '../../src/domain/checkpoint.ts'
import { defaultTenant, type TenantId } from '../../src/domain/ids.ts'
import { isConsistent, rootFromInclusion } from '../../src/domain/merkle.ts'
import { makeAudit } from '../support/entities.ts'
import {
  eventually,
  startTestCustody,
  type CallOptions,
  type TestCustody,
} from '../support/custody.ts'

const rowOf = ({ seq: _seq, leaf: _leaf, ...row }: Record<string, unknown>): AuditRow =>
  row as unknown as AuditRow

describe('the audit log over HTTP', () => {
  let custody: TestCustody
  const as: Record<string, CallOptions> = {}
  beforeAll(async () => {
    custody = await startTestCustody()
    for (const role of ['auditor', 'security', 'requester', 'owner', 'verifier']) {
      as[role] = { token: (await custody.createClient(role)).token }
    }
    as['directory'] = {
      token: (await custody.createClient('directory', { directory: 'hr' })).token,
    }
    const ada = await custody.createPerson('ada')
    const { body: robot } = await custody.requestAccount('robot', ada)
    // Its rows would come between those that the tests count.
    await eventually(
      async () => (await custody.call('GET', `/api/v1/accounts/${robot.id}`)).body.status,
      (status) => status === 'active',
    )
    await write(300)
    await custody.running.sequencer!.round()
  })
  afterAll(() => custody.close())

  const write = async (count: number, tenant: TenantId = defaultTenant) => {
    const rows = Array.from({ length: count }, () => makeAudit({ tenant }))
    const { store } = custody.running.engine.life
    for (let at = 0; at < count; at += 100) {
      await store.commit(rows.slice(at, at + 100).map((row) => ({ type: 'audit', row })))
    }
    return rows
  }
  const get = (route: string, who?: CallOptions) => custody.call('GET', route, undefined, who)
  const note = async (size?: number): Promise<{ text: string; key: string }> => {
    const query = size === undefined ? '' : `?size=${size}`
    const response = await fetch(`${custody.url}/api/v1/audit/checkpoint${query}`, {
      headers: { authorization: `Bearer ${custody.adminToken}` },
    })
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    return { text: await response.text(), key: response.headers.get('custody-audit-key')! }
  }
  const opened = async (size?: number) => {
    const { text, key } = await note(size)
    const checkpoint = openCheckpoint(text, parseVerifierKey(key)!)
    if (typeof checkpoint === 'string') throw new Error(checkpoint)
    return checkpoint
  }

  it('lists each row with its place, and leaves that follow from what is shown', async () => {
    const page = await get('/api/v1/audit?limit=200')
    expect(page.body.items).toHaveLength(200)
    for (const item of page.body.items) {
      expect(leafHash(rowOf(item))).toBe(item.leaf)
      expect(item.seq).toBeTypeOf('number')
    }
    const [requested] = (await get('/api/v1/audit?action=account.requested&limit=1')).body.items
    expect(requested).toMatchObject({ action: 'account.requested' })
    const about = await get(`/api/v1/audit?target=${requested.target}`)
    expect(about.body.items.length).toBeGreaterThan(0)
  })

  it('lists in the order of places, page after page, each row once', async () => {
    const seen: number[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const more: string = cursor === '' ? '' : `&cursor=${cursor}`
      const { body } = await get(`/api/v1/audit?order=seq&limit=170${more}`)
      seen.push(...body.items.map((i: { seq: number }) => i.seq))
      cursor = body.cursor
    }

    expect(seen.length).toBeGreaterThanOrEqual(300)
    expect(seen).toEqual(seen.map((_, i) => i))
  })

  it('proves that a row is in the log, against a signed note', async () => {
    const { size, root } = await opened()
    for (const seq of [0, 1, 255, 256, size - 1]) {
      const after = seq === 0 ? '' : `&cursor=${seq - 1}`
      const [item] = (await get(`/api/v1/audit?order=seq&limit=1${after}`)).body.items
      const { body } = await get(`/api/v1/audit/proof/${item.id}`, as['auditor'])

      expect(body).toMatchObject({ id: item.id, seq, leaf: item.leaf, size, row: rowOf(item) })
      expect(rootFromInclusion(leafHash(body.row), seq, size, body.path)).toBe(root)
      expect(body.checkpoint).toBe((await note()).text)
    }
  })

  it('proves that the log only grew', async () => {
    const older = await opened()
    await write(7)
    await custody.running.sequencer!.round()
    const newer = await opened()
    const { body } = await get(`/api/v1/audit/consistency?from=${older.size}`)

    expect(newer.size).toBeGreaterThanOrEqual(older.size + 7)
    expect(body).toMatchObject({ from: older.size, to: newer.size })
    const claim = {
      from: older.size,
      fromRoot: older.root,
      to: newer.size,
      toRoot: newer.root,
      path: body.path,
    }
    expect(isConsistent(claim)).toBe(true)
    expect(await opened(older.size)).toEqual(older)
    expect(await opened(older.size + 1)).toEqual(newer)
    expect((await get(`/api/v1/audit/checkpoint?size=${newer.size + 1_000}`)).status).toBe(404)
  })

  it('lists the newest first, page after page, with any filter', async () => {
    const first = (await get('/api/v1/audit?order=newest&limit=2')).body
    const next = (await get(`/api/v1/audit?order=newest&limit=2&cursor=${first.cursor}`)).body
    const ids = [...first.items, ...next.items].map((item) => item.id)
    const [newest] = first.items
    const only = (await get(`/api/v1/audit?order=newest&target=${newest.target}`)).body.items

    expect(ids).toEqual(ids.toSorted().toReversed())
    expect(new Set(ids).size).toBe(4)
    expect(only.map((item: { id: string }) => item.id)).toContain(newest.id)
  })

  it('feeds events in one order, to be resumed anywhere, none twice and none left out', async () => {
    const ids: string[] = []
    let after: string | null = null
    for (let page = 0; ; page++) {
      const { body } = await get(
        `/api/v1/events?limit=37${after === null ? '' : `&after=${after}`}`,
        as['security'],
      )
      ids.push(...body.items.map((e: { id: string }) => e.id))
      after = body.cursor
      // Whoever writes between two pages is read on a later one.
      if (page % 3 === 0 && page < 9) {
        await write(5)
        await custody.running.sequencer!.round()
      }
      if (!body.more) break
    }
    const all: string[] = []
    const { store } = custody.running.engine.life
    for (const { row } of await store.read.auditFrom(defaultTenant, 0, 2_000)) all.push(row.id)

    expect(ids).toEqual(all)
    const end = await get(`/api/v1/events?after=${after}`)
    expect(end.body).toMatchObject({ items: [], cursor: after, more: false })
    await write(1)
    await custody.running.sequencer!.round()
    const next = await get(`/api/v1/events?after=${after}`)
    expect(next.body.items).toHaveLength(1)
    expect(Object.keys(next.body.items[0])).toEqual([
      'id',
      'seq',
      'at',
      'type',
      'subject',
      'actor',
      'operation',
      'facts',
    ])
  })

  it.each([
    '/api/v1/events?after=abc',
    '/api/v1/events?after=-1',
    '/api/v1/events?after=01',
    '/api/v1/events?after=1e3',
    '/api/v1/events?after=99999999',
    '/api/v1/events?after=9999999999999999999',
    '/api/v1/events?cursor=3',
    '/api/v1/events?limit=x',
    '/api/v1/events?limit=-1',
    '/api/v1/audit?order=seq&cursor=x',
    '/api/v1/audit?order=at',
    '/api/v1/audit?order=seq&target=x',
    '/api/v1/audit/checkpoint?size=x',
    '/api/v1/audit/consistency',
    '/api/v1/audit/consistency?from=9&to=3',
    '/api/v1/audit/consistency?from=0&to=99999999',
  ])('refuses %s', async (route) => {
    expect((await get(route)).status).toBe(400)
  })

  it.each(['requester', 'owner', 'verifier', 'directory'])(
    'shows nothing of it to the role %s',
    async (role) => {
      for (const route of [
        '/api/v1/audit',
        '/api/v1/audit/checkpoint',
        '/api/v1/audit/proof/x',
        '/api/v1/audit/consistency?from=0',
        '/api/v1/events',
        '/metrics',
      ]) {
        expect((await get(route, as[role])).status, route).toBe(403)
      }
    },
  )

  it('keeps the logs of tenants apart', async () => {
    const [row] = await write(1, 'other' as TenantId)
    await custody.running.sequencer!.round()

    expect((await get(`/api/v1/audit/proof/${row!.id}`)).status).toBe(404)
    expect((await get('/api/v1/events?limit=200')).text).not.toContain(row!.id)
    expect((await opened()).origin).toMatch(/^custody\/[0-9a-f]{16}\/default$/)
  })
})

describe('the audit log where no sequencer runs', () => {
  it('has neither proofs nor events yet, and says when to ask again', async () => {
    const custody = await startTestCustody({ roles: ['http'] })
    const row = makeAudit()
    await custody.running.engine.life.store.commit([{ type: 'audit', row }])
    const get = (route: string) => custody.call('GET', `/api/v1${route}`)

    const proof = await get(`/audit/proof/${row.id}`)
    expect(proof.status).toBe(503)
    expect(proof.headers.get('retry-after')).toBe('1')
    expect((await get('/audit/proof/nobody')).status).toBe(404)
    expect((await get('/audit/checkpoint')).status).toBe(404)
    expect((await get('/audit/consistency?from=0')).status).toBe(404)
    expect((await get('/events')).body).toEqual({
      items: [],
      cursor: null,
      more: false,
      newest: null,
    })
    expect((await get(`/audit?target=${row.target}`)).body.items).toMatchObject([
      { id: row.id, seq: null },
    ])
    await custody.close()
  })
})
