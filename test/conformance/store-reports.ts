import { describe, expect, it } from 'vitest'
import type { AccountId, OperationId } from '../../src/domain/ids.ts'
import type { defaultTenant } from '../../src/domain/ids.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds, day, hour } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import {
  makeAccount,
  makeCredential,
  makeGroup,
  makeId,
  makeKey,
  makeOperation,
  makePerson,
  t0,
  unique,
} from '../support/entities.ts'

const now = addSeconds(t0, day)
const on = (text: string): Instant => `${text}T12:00:00.000Z` as Instant

/** What reports count and the console lists; each test has a tenant of its own. */
export function reportConformance(current: () => Store): void {
  const read = () => current().read
  const ids = (rows: readonly { readonly id: string }[]) => rows.map((row) => row.id)
  const put = async (...changes: readonly Change[]) =>
    expect(await current().commit(changes)).toBe('saved')
  const person = (value: ReturnType<typeof makePerson>): Change => ({
    type: 'person',
    person: value,
    expectedVersion: null,
  })
  const account = (
    value: ReturnType<typeof makeAccount>,
    expectedVersion: number | null = null,
  ): Change => ({ type: 'account', account: value, expectedVersion })
  const credential = (
    value: ReturnType<typeof makeCredential>,
    expectedVersion: number | null = null,
  ): Change => ({ type: 'credential', credential: value, expectedVersion })
  const newTenant = () => unique('tenant') as typeof defaultTenant

  describe('reports', () => {
    it('counts states and ends as they are after any change of them', async () => {
      const tenant = newTenant()
      const one = makeAccount({ tenant, expiresAt: on('2027-01-05') })
      const two = makeAccount({ tenant, expiresAt: on('2027-01-05'), status: 'failed' })
      const key = makeCredential({
        tenant,
        account: one.id,
        provider: 'my tokens',
        expiresAt: on('2027-01-05'),
      })
      await put(account(one), account(two), credential(key))

      expect(await read().stateCounts(tenant)).toEqual({
        accounts: [
          { status: 'active', count: 1 },
          { status: 'failed', count: 1 },
        ],
        credentials: [{ provider: 'my tokens', status: 'active', count: 1 }],
      })
      expect(await read().endsByDay(tenant, '2027-01-05', '2027-01-06')).toEqual([
        { day: '2027-01-05', accounts: 1, credentials: 1 },
      ])
      expect(await read().endsByDay(tenant, '2027-01-06', '2028-01-06')).toEqual([])

      await put(
        account({ ...one, expiresAt: on('2027-02-01') }, 1),
        account({ ...two, status: 'retired', deletedAt: now, expiresAt: on('2027-02-01') }, 1),
        credential({ ...key, status: 'revoked' }, 1),
      )
      expect(await read().stateCounts(tenant)).toEqual({
        accounts: [
          { status: 'active', count: 1 },
          { status: 'retired', count: 1 },
        ],
        credentials: [{ provider: 'my tokens', status: 'revoked', count: 1 }],
      })
      expect(await read().endsByDay(tenant, '2027-01-01', '2027-03-01')).toEqual([
        { day: '2027-02-01', accounts: 1, credentials: 0 },
      ])
      expect(await read().stateCounts(newTenant())).toEqual({ accounts: [], credentials: [] })
    })

    it('counts who has no owner, what is past its end and what waits', async () => {
      const tenant = newTenant()
      const [here, gone, held] = [
        makePerson({ tenant }),
        makePerson({ tenant, active: false, leftAt: t0 }),
        makePerson({ tenant, active: false, leftAt: t0, heldBy: makeId() }),
      ]
      const empty = makeGroup({ tenant, emptiedAt: t0 })
      const owned = (id: string, more: Partial<ReturnType<typeof makeAccount>> = {}) =>
        makeAccount({ tenant, owner: { type: 'User', id }, ...more })
      const late = owned(here.id, { expiresAt: t0, imported: true })
      const key = makeCredential({ tenant, account: late.id, expiresAt: t0, rotateAfter: t0 })
      const waiting = makeOperation({
        tenant,
        account: late.id,
        subject: late.id,
        subjectType: 'account',
        status: 'waiting',
        createdAt: t0,
      })
      await put(
        person(here),
        person(gone),
        person(held),
        { type: 'group', group: empty, expectedVersion: null },
        account(late),
        account(owned(gone.id)),
        account(owned(gone.id, { status: 'disabled' })),
        account(owned(held.id)),
        account(makeAccount({ tenant, owner: { type: 'Group', id: empty.id } })),
        credential(key),
        { type: 'enqueue', operation: waiting, preempt: false },
      )

      expect(await read().reportCounts(tenant, now, addSeconds(now, 0 - hour))).toEqual({
        withoutOwner: 2,
        expiredAccounts: 1,
        expiredCredentials: 1,
        rotationsOverdue: 1,
        operations: { queued: 0, running: 0, waiting: 1, needsOperator: 0 },
        oldestWaitingAt: t0,
        approvalsWaiting: 0,
      })
      expect(ids(await read().overdueRotations(tenant, now, 10))).toEqual([key.id])
      expect(await read().overdueRotations(tenant, t0, 10)).toEqual([])
      expect(ids(await read().openAccounts(tenant, 'imported', null, 9))).toEqual([late.id])
      expect(await read().openAccounts(tenant, 'all', null, 9)).toHaveLength(4)
    })

    it('tells from the cause how long a revocation took, and leaves rotations out', async () => {
      const tenant = newTenant()
      const holder = makeAccount({ tenant })
      const [ended, rotated] = [
        makeCredential({ tenant, account: holder.id }),
        makeCredential({ tenant, account: holder.id }),
      ]
      const leaveId = makeId<OperationId>()
      const leave = makeOperation({
        tenant,
        id: leaveId,
        cause: leaveId,
        kind: 'leave',
        subjectType: 'person',
        subject: makeId(),
        account: null,
        createdAt: t0,
        status: 'succeeded',
      })
      const over = (more: Partial<ReturnType<typeof makeOperation>>) =>
        makeOperation({ tenant, account: holder.id, status: 'succeeded', ...more })
      const revoke = over({
        kind: 'revoke',
        subjectType: 'credential',
        subject: ended.id,
        cause: leave.id,
        createdAt: addSeconds(t0, 5),
      })
      const rotate = over({ kind: 'rotate', subjectType: 'credential', subject: rotated.id })
      const refusedAt = addSeconds(t0, 12)
      const keyOf = (of: typeof ended, more: object = {}) => makeKey(of, { provider: 'p', ...more })
      await put(
        account(holder),
        credential(ended),
        credential(rotated),
        ...[leave, revoke, rotate].map((operation): Change => ({
          type: 'enqueue',
          operation,
          preempt: false,
        })),
        { type: 'key', key: keyOf(ended, { status: 'revoked', refusedAt }) },
        { type: 'key', key: keyOf(rotated, { status: 'revoked', refusedAt }) },
        { type: 'key', key: keyOf(rotated, { generation: 2, status: 'active', issuedAt: t0 }) },
      )

      expect(await read().revokedSince(tenant, t0, 10)).toEqual([{ refusedAt, causedAt: t0 }])
      expect(await read().revokedSince(tenant, addSeconds(t0, 13), 10)).toEqual([])
      expect(await read().leavingsSince(tenant, t0)).toEqual({ open: 0, complete: 1 })
      const still = makeOperation({ tenant, cause: leave.id, account: makeId(), status: 'waiting' })
      await put({ type: 'enqueue', operation: still, preempt: false })
      expect(await read().leavingsSince(tenant, t0)).toEqual({ open: 1, complete: 0 })
      const oldest = await read().oldestKeysOf(tenant, ['p', 'other'], 3)
      expect(oldest.map(({ generation }) => generation)).toEqual([2])
    })
  })

  describe('lists of the console', () => {
    const tenant = newTenant()
    const me = makeId<string>()
    const owner = { type: 'User', id: makeId<string>() } as const
    const of = (userName: string, more: Partial<ReturnType<typeof makeAccount>> = {}) =>
      makeAccount({ tenant, userName, owner, ...more })
    const accounts = [
      of('svc-b', { status: 'failed' }),
      of('SVC-a', { expiresAt: on('2027-01-02') }),
      of('other', { client: me as never, expiresAt: on('2027-01-03') }),
      of('svc-c', { status: 'failed', pendingOwner: { type: 'User', id: me } }),
      of('svc-d', { owner: { type: 'User', id: me }, status: 'retired', deletedAt: t0 }),
      of('own', {
        backups: [{ type: 'User', id: me, nominatedAt: t0, acceptedAt: null }],
        expiresAt: on('2027-01-02'),
      }),
    ] as const
    const key = makeCredential({ tenant, account: accounts[0].id, status: 'failed' })
    const people = [
      makePerson({ tenant, userName: 'zoe', attributes: { displayName: 'Ada Z' } }),
      makePerson({ tenant, userName: 'Ada@x', attributes: { displayName: 'Ada' } }),
      makePerson({ tenant, userName: 'bob', directory: 'two' }),
      makePerson({ tenant, userName: 'adam' }),
    ] as const
    const once = async () => {
      if ((await read().account(tenant, accounts[0].id)) !== null) return
      await put(...people.map(person), ...accounts.map((a) => account(a)), credential(key))
    }
    type Want = Omit<Parameters<Store['read']['accountsWhere']>[0], 'tenant' | 'after' | 'limit'>
    const found = async (want: Want) => {
      await once()
      const seen: string[] = []
      for (let after: string | null = null; ;) {
        const page = ids(await read().accountsWhere({ tenant, ...want, after, limit: 1 }))
        seen.push(...page)
        if (page.length === 0) break
        after = page[0]!
      }
      expect(ids(await read().accountsWhere({ tenant, ...want, after: null, limit: 9 }))).toEqual(
        seen,
      )
      return seen.map((id) => accounts.findIndex((a) => a.id === id))
    }

    it.each<readonly [string, Want, readonly number[]]>([
      ['all', {}, [0, 1, 2, 3, 4, 5]],
      ['of an owner', { owner: me }, [4]],
      ['in a state', { status: 'failed' }, [0, 3]],
      ['of a name', { prefix: 'svc-' }, [1, 0, 3, 4]],
      ['of a name in a state that few are in', { prefix: 'svc-', status: 'failed' }, [0, 3]],
      ['of a name in a state that many are in', { prefix: 'svc-', status: 'active' }, [1]],
      [
        'that end on a day',
        { expiresFrom: on('2027-01-02'), expiresBefore: on('2027-01-03') },
        [1, 5],
      ],
      ['that end before a day', { expiresBefore: on('2027-01-04') }, [1, 5, 2]],
      ['on offer', { transfers: true }, [3]],
      [
        'of a client and an owner, offers with them',
        { seenBy: { client: me, owners: [me], nominated: false } },
        [2, 3, 4],
      ],
      [
        'of one who is nominated',
        { seenBy: { client: 'none', owners: [me], nominated: true } },
        [3, 4, 5],
      ],
      ['of a client alone', { seenBy: { client: me, owners: [], nominated: false } }, [2]],
    ])('finds accounts %s, page by page', async (_, want, expected) => {
      expect(await found(want)).toEqual(expected)
    })

    it('finds people by either name, and credentials by account and state', async () => {
      await once()
      const named = async (want: object) => {
        const seen: string[] = []
        for (let after: string | null = null; ;) {
          const [row] = await read().peopleWhere({ tenant, ...want, after, limit: 1 })
          if (row === undefined) return seen
          seen.push(row.userName)
          after = row.id
        }
      }
      expect(await named({ prefix: 'ADA' })).toEqual(['Ada@x', 'adam', 'zoe'])
      expect(await named({ directory: 'two' })).toEqual(['bob'])
      expect(await named({})).toHaveLength(4)
      const whole = await read().peopleWhere({ tenant, prefix: 'ada', after: null, limit: 9 })
      expect(whole.map(({ userName }) => userName)).toEqual(['Ada@x', 'adam', 'zoe'])

      const page = { tenant, after: null, limit: 9 }
      const by = async (want: { account?: AccountId; status?: 'failed' | 'active' }) =>
        ids(await read().credentialsWhere({ ...page, ...want }))
      expect(await by({ account: accounts[0].id })).toEqual([key.id])
      expect(await by({ status: 'failed' })).toEqual([key.id])
      expect(await by({ account: accounts[0].id, status: 'active' })).toEqual([])
    })
  })
}
