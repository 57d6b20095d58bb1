import { describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import {
  makeAccount,
  makeCredential,
  makeGroup,
  makePerson,
  t0,
  unique,
} from '../support/entities.ts'

const other = 'other' as typeof tenant

/** What groups grant: which credentials depend on one, and which groups hold somebody. */
export function entitlementConformance(current: () => Store): void {
  const read = () => current().read
  const save = async (...changes: readonly Change[]) =>
    expect(await current().commit(changes)).toBe('saved')
  const member = (group: string, id: string, type: 'User' | 'Group'): Change => ({
    type: 'members',
    tenant,
    group: group as never,
    expectedVersion: null,
    replace: false,
    add: [{ id, type, display: null }],
    remove: [],
    at: t0,
  })
  const put = (credential: Credential, expectedVersion: number | null = null): Change => ({
    type: 'credential',
    credential,
    expectedVersion,
  })

  describe('entitlements', () => {
    it('finds the credentials that a group grants to, until they name it no more or are revoked', async () => {
      const account = makeAccount()
      const [one, two] = [unique('group'), unique('group')]
      const from = (...groups: string[]) => groups.map((group) => ({ group, scopes: null }))
      const both = makeCredential({ account: account.id, scopesFrom: from(one, two) })
      const single = makeCredential({
        account: account.id,
        scopesFrom: [{ group: two, scopes: ['a'] }],
        grantedScopes: ['a', 'b'],
        entitlement: 'ops',
      })
      await save(
        { type: 'account', account, expectedVersion: null },
        put(both),
        put(single),
        put(makeCredential({ account: account.id })),
      )
      const through = (...groups: string[]) => read().grantedThrough(tenant, groups, null, 10)

      expect(await read().credential(tenant, single.id)).toEqual(single)
      expect(await through(one)).toEqual([both.id])
      expect(await through(one, two)).toEqual([both.id, single.id].toSorted())
      expect(await read().grantedThrough(tenant, [two], null, 1)).toHaveLength(1)
      expect(await read().grantedThrough(other, [one, two], null, 10)).toEqual([])
      const page = await read().groupGranted(null, 1)
      expect(page.rows).toHaveLength(1)
      const rest = await read().groupGranted(page.next, 10)
      expect([...page.rows, ...rest.rows].map((row) => row.id)).toEqual(
        [both.id, single.id].toSorted(),
      )

      await save(
        put({ ...both, scopesFrom: from(two) }, 1),
        put({ ...single, status: 'revoked' }, 1),
      )
      expect([await through(one), await through(two)]).toEqual([[], [both.id]])
    })

    it('tells the groups around a person, an account and a group, through circles and not across directories', async () => {
      const [person, account] = [makePerson(), makeAccount()]
      const [inner, outer] = [makeGroup(), makeGroup()]
      const foreign = makeGroup({ directory: 'another' })
      await save(
        { type: 'person', person, expectedVersion: null },
        { type: 'account', account, expectedVersion: null },
        ...[inner, outer, foreign].map((group): Change => ({
          type: 'group',
          group,
          expectedVersion: null,
        })),
        member(inner.id, person.id, 'User'),
        member(outer.id, inner.id, 'Group'),
        member(inner.id, outer.id, 'Group'),
        member(outer.id, account.id, 'User'),
        member(foreign.id, person.id, 'User'),
        member(foreign.id, account.id, 'User'),
      )
      const holding = async (id: string) => new Set(await read().groupsHolding(tenant, id))

      expect(await holding(person.id)).toEqual(new Set([inner.id, outer.id]))
      expect(await holding(account.id)).toEqual(new Set([inner.id, outer.id, foreign.id]))
      expect(await holding(inner.id)).toEqual(new Set([inner.id, outer.id]))
      const { version } = (await read().group(tenant, outer.id))!
      const deletedAt = addSeconds(t0, 1)
      await save({ type: 'group', group: { ...outer, deletedAt }, expectedVersion: version })
      expect(await holding(person.id)).toEqual(new Set([inner.id]))
      expect(await read().memberTargets(tenant, [account.id])).toEqual([
        { id: account.id, type: 'User', directory: null },
      ])
    })
  })
}
