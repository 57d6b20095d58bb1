import { describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Consent, Shadow, ShadowAct } from '../../src/domain/shadow.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeId, t0, unique } from '../support/entities.ts'

const makeShadow = (overrides: Partial<Shadow> = {}): Shadow => ({
  tenant,
  account: makeId(),
  status: 'orphaned',
  statusReason: 'offerPending',
  owner: makeId(),
  pendingOwner: { type: 'User', id: makeId() },
  orphanedAt: t0,
  disableAt: addSeconds(t0, 60),
  deleteAt: null,
  credentials: { [makeId<string>()]: { rotatedAt: t0 } },
  told: { one: t0 },
  dueAt: t0,
  version: 1,
  ...overrides,
})
const put = (shadow: Shadow, expectedVersion: number | null = null): Change => ({
  type: 'shadow',
  shadow,
  expectedVersion,
})

/** What was not done, and first words. */
export function shadowConformance(current: () => Store): void {
  const read = () => current().read
  const commit = (...changes: readonly Change[]) => current().commit(changes)

  describe('shadows', () => {
    it('keeps one per account, and only the one who read it last may change it', async () => {
      const shadow = makeShadow()
      const { account } = shadow

      expect(await commit(put(shadow))).toBe('saved')
      expect(await read().shadow(tenant, account)).toEqual(shadow)
      expect(await commit(put(shadow))).toMatchObject({ reason: 'version', with: account })
      expect(await commit(put({ ...shadow, status: null }, 1))).toBe('saved')
      expect(await commit(put(shadow, 1))).toMatchObject({ reason: 'version' })
      expect(await read().shadow(tenant, account)).toEqual({ ...shadow, status: null, version: 2 })
      const end: Change = { type: 'shadowEnded', tenant, account }
      expect(await commit(end, end)).toBe('saved')
      expect(await read().shadow(tenant, account)).toBeNull()
    })

    it('tells which are due, in pages', async () => {
      const long = addSeconds(t0, -1_000_000)
      const due = [0, 1, 2].map((n) => makeShadow({ dueAt: addSeconds(long, n) }))
      await commit(...due.map((s) => put(s)), put(makeShadow({ dueAt: addSeconds(t0, 9) })))
      const now = addSeconds(long, 5)

      const first = await read().shadowsDue(now, null, 2)
      const second = await read().shadowsDue(now, first.next, 2)

      expect([...first.rows, ...second.rows].map((r) => r.id)).toEqual(due.map((s) => s.account))
      expect(second.next).toBeNull()
    })

    it('keeps an act once for each subject and cause, and counts and lists those of a time', async () => {
      const own = unique('tenant') as typeof tenant
      const make = (n: number, more: Partial<ShadowAct> = {}): ShadowAct => ({
        tenant: own,
        id: makeId(),
        at: addSeconds(t0, n),
        act: 'rotate',
        rule: 'scheduled',
        account: makeId(),
        userName: 'svc',
        owner: makeId(),
        credential: makeId(),
        cause: makeId(),
        facts: { n },
        ...more,
      })
      const account = makeId<ShadowAct['account']>()
      const acts = [
        make(0),
        make(1, { account }),
        make(2, { account }),
        make(3, { act: 'disable', credential: null }),
      ]
      const again = { ...acts[1]!, id: makeId<string>() }
      const changes = [...acts, again].map((act): Change => ({ type: 'shadowAct', act }))
      expect(await commit(...changes)).toBe('saved')
      const [from, until] = [addSeconds(t0, 1), addSeconds(t0, 3)]
      const page = (after: string | null) =>
        read().shadowActs({ tenant: own, from, until, after, limit: 2 })

      const first = await page(null)
      expect(first).toEqual([acts[3], acts[2]])
      expect(await page(first[1]!.id)).toEqual([acts[1]])
      expect(await page(makeId())).toEqual([])
      const counts = await read().shadowCounts(own, from, until)
      expect(counts.toSorted((a, b) => (a.act < b.act ? -1 : 1))).toEqual([
        { act: 'disable', acts: 1, accounts: 1 },
        { act: 'rotate', acts: 2, accounts: 1 },
      ])
    })

    it('keeps one first word that counts, which is used up once', async () => {
      const consent: Consent = {
        tenant,
        account: makeId(),
        act: 'disable',
        client: 'first',
        clientName: 'First',
        person: null,
        reason: null,
        at: t0,
        expiresAt: addSeconds(t0, 60),
      }
      const said = (more: Partial<Consent> = {}): Change => ({
        type: 'consent',
        consent: { ...consent, ...more },
      })
      const used: Change = { type: 'consentUsed', consent }

      expect(await commit(said())).toBe('saved')
      expect(await commit(said({ client: 'second' }))).toMatchObject({
        reason: 'slot',
        with: 'first',
      })
      const late = { client: 'second', at: addSeconds(t0, 60), expiresAt: addSeconds(t0, 120) }
      expect(await read().consent(tenant, consent.account, 'disable')).toEqual(consent)
      expect(await read().consent(tenant, consent.account, 'retire')).toBeNull()
      expect(await commit(said(late))).toBe('saved')
      expect(await commit(used)).toMatchObject({ reason: 'missing' })
      const second: Change = { type: 'consentUsed', consent: { ...consent, ...late } }
      expect(await commit(second)).toBe('saved')
      expect(await commit(second)).toMatchObject({ reason: 'missing' })
    })
  })
}
