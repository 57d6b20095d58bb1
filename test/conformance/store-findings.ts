import { describe, expect, it } from 'vitest'
import type { IssuedKey } from '../../src/domain/credential.ts'
import type { Finding } from '../../src/domain/finding.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import {
  makeAccount,
  makeCredential,
  makeId,
  makeIssuedToken,
  makeKey,
  makePrincipal,
  t0,
  unique,
} from '../support/entities.ts'

const makeFinding = (overrides: Partial<Finding> = {}): Finding => ({
  tenant,
  id: makeId(),
  kind: 'foreign',
  provider: unique('provider'),
  subject: unique('key'),
  account: null,
  credential: null,
  keyId: null,
  facts: { seen: 1 },
  status: 'open',
  firstSeenAt: t0,
  lastSeenAt: t0,
  resolvedAt: null,
  acceptance: null,
  run: 'one',
  version: 1,
  ...overrides,
})
const put = (finding: Finding, expectedVersion: number | null = null): Change => ({
  type: 'finding',
  finding,
  expectedVersion,
})

/** Findings, and by what an inventory is compared with the journal. */
export function findingConformance(current: () => Store): void {
  const read = () => current().read
  const commit = (...changes: readonly Change[]) => current().commit(changes)

  describe('findings', () => {
    it('keeps a finding as it is, and only the one who read it last may change it', async () => {
      const finding = makeFinding({ account: makeId(), credential: makeId(), keyId: 'k' })
      const until = addSeconds(t0, 60)
      const acceptance = { by: 'me', at: t0, reason: 'known', until }
      const accepted: Finding = { ...finding, status: 'accepted', acceptance }

      expect(await commit(put(finding))).toBe('saved')
      expect(await read().finding(tenant, finding.id)).toEqual(finding)
      expect(await commit(put(accepted, 1))).toBe('saved')
      expect(await commit(put(finding, 1))).toMatchObject({ reason: 'version', with: finding.id })
      expect(await read().finding(tenant, finding.id)).toEqual({ ...accepted, version: 2 })
      expect(await read().finding('other' as typeof tenant, finding.id)).toBeNull()
    })

    it('has one unresolved finding per provider, kind and subject', async () => {
      const first = makeFinding()
      const same = { ...first, id: makeId() }
      const other = { ...first, id: makeId(), kind: 'vanished' as const }
      await commit(put(first))

      expect(await commit(put(same))).toEqual({ change: 0, reason: 'busy', with: first.id })
      expect(await commit(put(other))).toBe('saved')
      await commit(put({ ...first, status: 'resolved', resolvedAt: t0 }, 1))
      expect(await commit(put(same))).toBe('saved')
      const { provider, subject } = first
      const found = await read().unresolvedFindings(provider, [subject, 'nothing', subject])
      expect(found.map((f) => f.id).sort()).toEqual([other.id, same.id].sort())
    })

    it('lists them newest first, by kind, provider and status', async () => {
      const provider = unique('provider')
      const rows = [
        makeFinding({ provider }),
        makeFinding({ provider, kind: 'vanished' }),
        makeFinding({ provider, kind: 'vanished', status: 'resolved', resolvedAt: t0 }),
      ]
      await commit(...rows.map((row) => put(row)))
      const find = async (want: object, after: string | null = null) =>
        (await read().findings({ tenant, provider, after, limit: 2, ...want })).map((f) => f.id)

      expect(await find({})).toEqual([rows[2]!.id, rows[1]!.id])
      expect(await find({}, rows[1]!.id)).toEqual([rows[0]!.id])
      expect(await find({ kind: 'vanished', status: 'open' })).toEqual([rows[1]!.id])
      expect(await find({ status: 'resolved' })).toEqual([rows[2]!.id])
    })

    it('tells which ones a run did not see', async () => {
      const provider = unique('provider')
      const rows = [
        makeFinding({ provider }),
        makeFinding({ provider, run: 'two' }),
        makeFinding({ provider, status: 'accepted' }),
        makeFinding({ provider, status: 'resolved', resolvedAt: t0 }),
      ]
      await commit(...rows.map((row) => put(row)))
      const unseen = async (after: string | null) =>
        (await read().findingsNotSeen(provider, 'two', after, 5)).map((f) => f.id)

      expect(await unseen(null)).toEqual([rows[0]!.id, rows[2]!.id])
      expect(await unseen(rows[0]!.id)).toEqual([rows[2]!.id])
    })
  })

  describe('what an inventory is compared with', () => {
    const house = async (statuses: readonly Partial<IssuedKey>[]) => {
      const provider = unique('provider')
      const account = makeAccount()
      const credential = makeCredential({ account: account.id, provider })
      const keys = statuses.map((overrides, i) =>
        makeKey(credential, { generation: i + 1, keyId: `k${i + 1}`, ...overrides }),
      )
      const principal = makePrincipal(account, { provider, external: unique('external') })
      const token = makeIssuedToken(credential)
      await commit(
        { type: 'account', account, expectedVersion: null },
        { type: 'credential', credential, expectedVersion: null },
        ...keys.map((key): Change => ({ type: 'key', key })),
        { type: 'principal', principal },
        { type: 'issuedToken', token },
      )
      return { provider, keys, principal, token }
    }

    it('finds keys and principals by what the provider calls them', async () => {
      const first = { fingerprint: 'SHA256:one' }
      const { provider, keys, principal, token } = await house([first, { status: 'revoked' }])
      const store = read()

      expect(await store.keysById(provider, ['k2', 'k9', 'k1'])).toEqual(
        expect.arrayContaining([...keys]),
      )
      expect(await store.keysById('other', ['k1'])).toEqual([])
      expect(await store.keysByFingerprint(provider, ['SHA256:one', 'none'])).toEqual([keys[0]])
      expect(await store.keysByFingerprint('other', ['SHA256:one'])).toEqual([])
      expect(await store.principalsByExternal(provider, [principal.external!, 'x'])).toEqual([
        principal,
      ])
      expect(await store.principalsByExternal(provider, [])).toEqual([])
      expect(await store.issuedTokensAfter(provider, null, 5)).toEqual([token])
      expect(await store.issuedTokensAfter(provider, token.id, 5)).toEqual([])
    })

    it('tells of each key that should work how inventories saw it', async () => {
      const { provider } = await house([
        {},
        { status: 'superseded' },
        { status: 'disabled' },
        {},
        { issuedAt: addSeconds(t0, 10) },
      ])
      const at = addSeconds(t0, 5)
      const seen = (run: string, ...keys: readonly [string, boolean][]): Change => ({
        type: 'keysSeen',
        provider,
        run,
        at,
        keys: keys.map(([keyId, active]) => ({ keyId, active })),
      })
      const missed = (run: string, keyId: string, when = at): Change => ({
        type: 'keyMissed',
        provider,
        run,
        keyId,
        at: when,
      })
      await commit(seen('one', ['k1', true], ['k2', true], ['k3', true]))
      await commit(seen('two', ['k1', true], ['k2', false]))
      await commit(missed('two', 'k4'), missed('three', 'k4', addSeconds(t0, 9)))

      const live = await read().liveKeysAt(provider, null, 10)
      expect(live.map(({ key, sighting }) => [key.keyId, sighting])).toEqual([
        ['k1', { run: 'two', active: true, missedRun: null, missedAt: null }],
        ['k2', { run: 'two', active: false, missedRun: null, missedAt: null }],
        ['k4', { run: '', active: false, missedRun: 'two', missedAt: at }],
        ['k5', null],
      ])
      expect((await read().liveKeysAt(provider, 'k1', 1)).map((l) => l.key.keyId)).toEqual(['k2'])
      expect(await read().liveKeysTally(provider, 'two', at)).toEqual({
        live: 3,
        missing: 1,
        inactive: 1,
      })
      expect(await read().liveKeysTally('nobody', 'two', at)).toEqual({
        live: 0,
        missing: 0,
        inactive: 0,
      })

      await commit(seen('three', ['k4', true]))
      const [found] = await read().liveKeysAt(provider, 'k2', 1)
      expect(found!.sighting).toEqual({
        run: 'three',
        active: true,
        missedRun: null,
        missedAt: null,
      })
    })

    it('counts what was deleted since', async () => {
      const { provider } = await house([
        { status: 'revoked', deletedAt: t0 },
        { status: 'revoked', deletedAt: addSeconds(t0, 60) },
        {},
      ])

      expect(await read().keysDeletedSince(provider, t0)).toBe(2)
      expect(await read().keysDeletedSince(provider, addSeconds(t0, 1))).toBe(1)
      expect(await read().keysDeletedSince('nobody', t0)).toBe(0)
    })
  })
}
