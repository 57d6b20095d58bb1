import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { ClientId, TenantId } from '../../src/domain/ids.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import {
  makeAccount,
  makeAudit,
  makeClient,
  makeClientToken,
  makeCredential,
  makeId,
  makeIssuedToken,
  makeKey,
  makeOperation,
  makePerson,
  makePrincipal,
  t0,
} from '../support/entities.ts'
import { brakeConformance } from './store-brakes.ts'
import { findingConformance } from './store-findings.ts'
import { entitlementConformance } from './store-entitlements.ts'
import { consumerConformance } from './store-consumers.ts'
import { importConformance } from './store-imports.ts'
import { shadowConformance } from './store-shadow.ts'
import { signalConformance } from './store-signals.ts'
import { filterConformance } from './store-filters.ts'
import { directoryCheckConformance } from './store-directory-checks.ts'
import { replicaConformance } from './store-replicas.ts'
import { reportConformance } from './store-reports.ts'
import { sealedConformance } from './store-sealed.ts'
import { listConformance } from './store-lists.ts'
import { groupConformance } from './store-groups.ts'
import { moveConformance } from './store-moves.ts'
import { ledgerConformance } from './store-ledger.ts'
import { auditConformance } from './store-audit.ts'
import { storeModel } from './store-model.ts'

export interface OpenedStore {
  readonly store: Store
  /** Closes the store and opens the same data again. */
  reopen(): Promise<Store>
  /** Closes and removes everything. */
  dispose(): Promise<void>
}

/** @param how.ordered commits of one tick are to be applied in the order of their calls */
export type OpenStore = (how: { readonly ordered: boolean }) => Promise<OpenedStore>

const later = addSeconds(t0, 60)

/**
 * What every store must do; a new database joins by calling this and nothing else.
 * @param effort scales the number of runs of the laws: a server is asked some 20 times as slowly
 */
export function storeConformance(label: string, open: OpenStore, effort = 1): void {
  describe(`${label} store`, () => {
    let opened: OpenedStore
    let store: Store
    beforeEach(async () => {
      opened = await open({ ordered: false })
      store = opened.store
    })
    afterEach(() => opened.dispose())

    const insert = (entity: { person: ReturnType<typeof makePerson> }): Change => ({
      type: 'person',
      person: entity.person,
      expectedVersion: null,
    })
    const putAccount = (
      account: ServiceAccount,
      expectedVersion: number | null = null,
    ): Change => ({ type: 'account', account, expectedVersion })
    const enqueue = (operation: Operation, preempt = false): Change => ({
      type: 'enqueue',
      operation,
      preempt,
    })
    const save = async (...changes: Change[]) => expect(await store.commit(changes)).toBe('saved')

    describe('entities', () => {
      it('gives back each entity exactly as it was put, also after reopening', async () => {
        const person = makePerson({
          externalId: 'hr-1',
          leftAt: later,
          leftCause: 'event-1',
          active: false,
          attributes: {
            schemas: ['x'],
            name: { familyName: 'Ängström' },
            emails: [{ value: 'a' }],
          },
        })
        const account = makeAccount({
          owner: { type: 'Group', id: 'g1' },
          pendingOwner: { type: 'User', id: 'p2' },
          backups: [{ type: 'User', id: 'p3', nominatedAt: t0, acceptedAt: null }],
          environment: 'prod',
          labels: ['team=a'],
          protected: true,
          status: 'orphaned',
          statusReason: 'ownerLeft',
          disableAt: later,
        })
        const credential = makeCredential({
          account: account.id,
          scopes: ['a', 'b'],
          readers: ['ci'],
          displayName: 'deploy',
          overlap: seconds(1.5),
        })
        const key = makeKey(credential, { outcome: 'refused', refusedAt: later })
        const principal = makePrincipal(account, { external: 'AIDA', created: false })
        const operation = makeOperation({
          account: account.id,
          subject: credential.id,
          memo: { before: ['k1'] },
          failure: { code: 'throttled', message: 'wait' },
        })
        const row = makeAudit({
          target: account.id,
          operation: operation.id,
          decision: { effect: 'permit', reasons: ['r'] },
          facts: { b: 1, a: [null] },
        })
        await save(
          insert({ person }),
          putAccount(account),
          { type: 'credential', credential, expectedVersion: null },
          { type: 'key', key },
          { type: 'principal', principal },
          enqueue(operation),
          { type: 'audit', row },
        )

        store = await opened.reopen()

        expect(await store.read.person(tenant, person.id)).toEqual(person)
        expect(await store.read.account(tenant, account.id)).toEqual(account)
        expect(await store.read.credential(tenant, credential.id)).toEqual(credential)
        expect(await store.read.credentialsOf(tenant, account.id)).toEqual([credential])
        expect(await store.read.keysOf(tenant, credential.id)).toEqual([key])
        expect(await store.read.keysOfAccount(tenant, account.id)).toEqual([key])
        expect(await store.read.principal(tenant, account.id, 'tokens')).toEqual(principal)
        expect(await store.read.principalsOf(tenant, account.id)).toEqual([principal])
        expect(await store.read.operation(tenant, operation.id)).toEqual(operation)
        expect(await store.read.audit(tenant, { after: null, limit: 10 })).toEqual([row])
      })

      it('answers null for what is of another type, another tenant or nowhere', async () => {
        const account = makeAccount()
        await save(putAccount(account))

        expect(await store.read.person(tenant, account.id)).toBeNull()
        expect(await store.read.account('other' as TenantId, account.id)).toBeNull()
        expect(await store.read.account(tenant, makeId())).toBeNull()
        expect(await store.read.userDocument('other' as TenantId, account.id)).toBeNull()
      })

      it('raises the version with each update and refuses a stale one', async () => {
        const person = makePerson()
        await save(insert({ person }))
        const update: Change = {
          type: 'person',
          person: { ...person, active: false, version: 77 },
          expectedVersion: 1,
        }
        await save(update)

        expect(await store.commit([update])).toEqual({
          change: 0,
          reason: 'version',
          with: person.id,
        })
        expect(await store.read.person(tenant, person.id)).toEqual({
          ...person,
          active: false,
          version: 2,
        })
      })

      it('names what is missing and what exists already', async () => {
        const person = makePerson()
        expect(await store.commit([{ type: 'person', person, expectedVersion: 1 }])).toEqual({
          change: 0,
          reason: 'missing',
          with: person.id,
        })
        await save(insert({ person }))
        expect(await store.commit([insert({ person })])).toEqual({
          change: 0,
          reason: 'version',
          with: person.id,
        })
        const orphan = makeCredential()
        expect(
          await store.commit([{ type: 'credential', credential: orphan, expectedVersion: null }]),
        ).toMatchObject({ reason: 'missing' })
        expect(await store.commit([{ type: 'key', key: makeKey(orphan) }])).toEqual({
          change: 0,
          reason: 'missing',
          with: orphan.id,
        })
      })

      it('writes all of a commit or nothing', async () => {
        const person = makePerson()
        const row = makeAudit()
        const result = await store.commit([
          insert({ person }),
          { type: 'audit', row },
          { type: 'person', person: makePerson(), expectedVersion: 3 },
        ])

        expect(result).toMatchObject({ change: 2, reason: 'missing' })
        expect(await store.read.person(tenant, person.id)).toBeNull()
        expect(await store.read.audit(tenant, { after: null, limit: 10 })).toEqual([])
      })

      it('lets later changes of a commit see the earlier ones', async () => {
        const person = makePerson()
        await save(insert({ person }), { type: 'person', person, expectedVersion: 1 })

        expect((await store.read.person(tenant, person.id))?.version).toBe(2)
      })

      it('updates keys and principals in place', async () => {
        const account = makeAccount()
        const credential = makeCredential({ account: account.id })
        const key = makeKey(credential)
        const principal = makePrincipal(account)
        await save(
          putAccount(account),
          { type: 'credential', credential, expectedVersion: null },
          { type: 'key', key },
          { type: 'key', key: makeKey(credential, { generation: 2, keyId: 'second' }) },
          { type: 'principal', principal },
        )
        await save(
          { type: 'key', key: { ...key, status: 'disabled', disabledAt: later } },
          { type: 'principal', principal: { ...principal, state: 'off' } },
        )

        const keys = await store.read.keysOf(tenant, credential.id)
        expect(keys.map((k) => [k.generation, k.status])).toEqual([
          [1, 'disabled'],
          [2, 'active'],
        ])
        expect((await store.read.principal(tenant, account.id, 'tokens'))?.state).toBe('off')
      })

      it('pages accounts, people and the accounts of an owner by id', async () => {
        const owner = makePerson()
        const mine = Array.from({ length: 3 }, () =>
          makeAccount({ owner: { type: 'User', id: owner.id } }),
        )
        const retired = makeAccount({
          owner: { type: 'User', id: owner.id },
          status: 'retired',
          deletedAt: t0,
        })
        await save(
          insert({ person: owner }),
          ...[...mine, retired, makeAccount()].map((a) => putAccount(a)),
        )

        const first = await store.read.accountsOwnedBy(tenant, owner.id, null, 2)
        const rest = await store.read.accountsOwnedBy(tenant, owner.id, first[1]!.id, 2)
        expect([...first, ...rest].map((a) => a.id)).toEqual(mine.map((a) => a.id))
        expect(await store.read.retiredAccountsOf(tenant, owner.id, null, 2)).toEqual([retired])
        const all = await store.read.accountsAfter(tenant, mine[0]!.id, 10)
        expect(all).toHaveLength(4)
        expect(all.map((a) => a.id)).toContain(retired.id)
        expect(await store.read.peopleAfter(tenant, null, 10)).toEqual([owner])
      })
    })

    describe('uniqueness', () => {
      it('keeps userName unique per type, whatever its case, and frees it on deletion', async () => {
        const person = makePerson({ userName: 'Änne' })
        await save(insert({ person }))

        expect(await store.commit([insert({ person: makePerson({ userName: 'äNNE' }) })])).toEqual({
          change: 0,
          reason: 'userName',
          with: person.id,
        })
        await save(putAccount(makeAccount({ userName: 'änne' })))
        await save(insert({ person: makePerson({ userName: 'änne', tenant: 'b' as TenantId }) }))
        await save({ type: 'person', person: { ...person, deletedAt: later }, expectedVersion: 1 })
        await save(insert({ person: makePerson({ userName: 'änne' }) }))
      })

      it('reports a renaming onto a taken userName', async () => {
        const [a, b] = [makePerson(), makePerson()]
        await save(insert({ person: a }), insert({ person: b }))

        expect(
          await store.commit([
            { type: 'person', person: { ...b, userName: a.userName }, expectedVersion: 1 },
          ]),
        ).toEqual({ change: 0, reason: 'userName', with: a.id })
      })

      it('keeps externalId unique per client and type', async () => {
        const person = makePerson({ externalId: 'E1' })
        await save(insert({ person }))

        expect(await store.commit([insert({ person: makePerson({ externalId: 'E1' }) })])).toEqual({
          change: 0,
          reason: 'externalId',
          with: person.id,
        })
        await save(insert({ person: makePerson({ externalId: 'e1' }) }))
        await save(
          insert({ person: makePerson({ externalId: 'E1', client: 'client-2' as ClientId }) }),
        )
      })

      it('keeps a path for one credential until that is revoked or failed', async () => {
        const account = makeAccount()
        const deliverTo = { sink: 'files', path: 'a/b' }
        const first = makeCredential({ account: account.id, deliverTo })
        const second = makeCredential({ account: account.id, deliverTo })
        await save(putAccount(account), {
          type: 'credential',
          credential: first,
          expectedVersion: null,
        })
        const add: Change = { type: 'credential', credential: second, expectedVersion: null }

        expect(await store.commit([add])).toEqual({ change: 0, reason: 'path', with: first.id })
        await save({
          type: 'credential',
          credential: { ...first, status: 'revoked' },
          expectedVersion: 1,
        })
        await save(add)
      })
    })

    describe('documents', () => {
      it('carries the summaries of all credentials that are not revoked', async () => {
        const account = makeAccount()
        const [a, b] = [1, 2].map(() => makeCredential({ account: account.id }))
        await save(putAccount(account))
        const bare = await store.read.userDocument(tenant, account.id)
        await save(
          { type: 'credential', credential: a!, expectedVersion: null },
          { type: 'credential', credential: b!, expectedVersion: null },
        )
        const full = await store.read.userDocument(tenant, account.id)
        await save({
          type: 'credential',
          credential: { ...a!, status: 'revoked', updatedAt: later },
          expectedVersion: 1,
        })
        const after = await store.read.userDocument(tenant, account.id)

        expect(bare?.credentials).toBe('[]')
        const values = (text: string | null | undefined) =>
          (JSON.parse(text!) as { value: string }[]).map((c) => c.value)
        expect(values(full?.credentials)).toEqual([a!.id, b!.id])
        expect(values(after?.credentials)).toEqual([b!.id])
        expect(new Set([bare?.etag, full?.etag, after?.etag]).size).toBe(3)
        expect(after?.updatedAt).toBe(later)
        expect((await store.read.account(tenant, account.id))?.updatedAt).toBe(t0)
      })

      it('keeps the ETag when nothing that shows has changed', async () => {
        const account = makeAccount()
        const credential = makeCredential({ account: account.id })
        await save(putAccount(account), { type: 'credential', credential, expectedVersion: null })
        const before = await store.read.userDocument(tenant, account.id)
        await save({
          type: 'credential',
          credential: { ...credential, lastUsedAt: later, updatedAt: later },
          expectedVersion: 1,
        })

        expect(await store.read.userDocument(tenant, account.id)).toEqual(before)
      })

      it('hides what was deleted but keeps it as an entity', async () => {
        const person = makePerson({ deletedAt: later })
        await save(insert({ person }))

        expect(await store.read.userDocument(tenant, person.id)).toBeNull()
        expect(await store.read.person(tenant, person.id)).toEqual(person)
      })

      it('pages with an exact total in one stable order', async () => {
        const people = Array.from({ length: 5 }, () => makePerson())
        const account = makeAccount()
        await save(
          ...people.map((person) => insert({ person })),
          putAccount(account),
          insert({ person: makePerson({ deletedAt: t0 }) }),
          insert({ person: makePerson({ tenant: 'b' as TenantId }) }),
        )
        const list = (startIndex: number, count: number) =>
          store.read.listUsers({
            tenant,
            visibility: { people: 'all', accounts: 'all' },
            filter: null,
            startIndex,
            count,
          })
        const pages = [await list(1, 4), await list(5, 4), await list(7, 4), await list(1, 0)]

        expect(pages.map((p) => p.total)).toEqual([6, 6, 6, 6])
        expect(pages.flatMap((p) => p.rows).map((r) => r.id)).toEqual([
          ...people.map((p) => p.id),
          account.id,
        ])
      })

      it('shows a role what it may see and counts nothing else', async () => {
        const [hr, ext] = [makePerson(), makePerson({ directory: 'external' })]
        const mine = makeAccount()
        const owned = makeAccount({
          client: 'client-x' as ClientId,
          owner: { type: 'User', id: hr.id },
        })
        const foreign = makeAccount({ client: 'client-x' as ClientId })
        const credentials = [mine, owned, foreign].map((a) => makeCredential({ account: a.id }))
        await save(
          insert({ person: hr }),
          insert({ person: ext }),
          ...[mine, owned, foreign].map((a) => putAccount(a)),
          ...credentials.map((credential): Change => {
            return { type: 'credential', credential, expectedVersion: null }
          }),
        )
        const query = { tenant, filter: null, startIndex: 1, count: 200 }
        const scope = { client: mine.client, owners: [hr.id] }
        const users = async (visibility: Parameters<Store['read']['listUsers']>[0]['visibility']) =>
          (await store.read.listUsers({ ...query, visibility })).rows.map((r) => r.id)
        const page = await store.read.listCredentials({
          ...query,
          visibility: { people: 'none', accounts: scope },
        })

        expect(await users({ people: { directory: 'external' }, accounts: 'none' })).toEqual([
          ext.id,
        ])
        expect(await users({ people: 'none', accounts: scope })).toEqual([mine.id, owned.id])
        expect(await users({ people: 'none', accounts: { ...scope, owners: [] } })).toEqual([
          mine.id,
        ])
        expect(await users({ people: 'none', accounts: 'none' })).toEqual([])
        expect(await users({ people: 'all', accounts: 'none' })).toEqual([hr.id, ext.id])
        expect(page.total).toBe(2)
        expect(page.rows.map((r) => r.id)).toEqual([credentials[0]!.id, credentials[1]!.id])
        expect(
          await store.read.listCredentials({
            ...query,
            visibility: { people: 'all', accounts: 'none' },
          }),
        ).toEqual({ total: 0, rows: [], next: null })
      })
    })

    describe('journal', () => {
      it('hands each due operation to exactly one of two claimers', async () => {
        const operations = Array.from({ length: 20 }, () => makeOperation())
        await save(...operations.map((o) => enqueue(o)))

        const claims = await Promise.all(
          ['w1', 'w2', 'w3'].map((w) => store.claim(w, t0, seconds(60), 10)),
        )

        expect(claims.map((c) => c.length).sort((a, b) => b - a)).toEqual([10, 10, 0])
        const ids = claims.flat().map((o) => o.id)
        expect(new Set(ids).size).toBe(20)
        expect(claims.flat().every((o) => o.status === 'running' && o.fence === 1)).toBe(true)
        // Which two of the three win is nobody's business.
        for (const [i, own] of claims.entries()) {
          const lease = { leaseWorker: `w${i + 1}`, leaseUntil: later }
          for (const operation of own) expect(operation).toMatchObject(lease)
        }
      })

      it('claims in the order in which operations fall due, and none before', async () => {
        const [a, b, c] = [0, -5, 1].map((s) => makeOperation({ runAt: addSeconds(t0, s) }))
        await save(enqueue(a!), enqueue(b!), enqueue(c!))

        const claimed = await store.claim('w', t0, seconds(60), 10)

        expect(claimed.map((o) => o.id)).toEqual([b!.id, a!.id])
        expect(await store.read.operation(tenant, b!.id)).toEqual(claimed[0])
      })

      it('claims what takes access away first, whatever else fell due before it', async () => {
        const rotations = [-9, -8, -7].map((s) =>
          makeOperation({ kind: 'rotate', runAt: addSeconds(t0, s) }),
        )
        const revoke = makeOperation({ kind: 'revoke', runAt: addSeconds(t0, -1) })
        const disable = makeOperation({
          kind: 'disable',
          subjectType: 'account',
          runAt: addSeconds(t0, -2),
        })
        await save(...[...rotations, revoke, disable].map((o) => enqueue(o)))

        const two = await store.claim('w', t0, seconds(60), 4, 1)
        const more = await store.claim('w', t0, seconds(60), 10, 0)
        const rest = await store.claim('w', t0, seconds(60), 10)

        expect(two.map((o) => o.id)).toEqual([disable.id, revoke.id, rotations[0]!.id])
        expect(more).toEqual([])
        expect(rest.map((o) => o.id)).toEqual([rotations[1]!.id, rotations[2]!.id])
      })

      it('does not let a revocation wait for a sibling of the account that mints', async () => {
        const account = makeAccount().id
        const rotate = makeOperation({ account, kind: 'rotate', runAt: addSeconds(t0, -60) })
        const revoke = makeOperation({ account, kind: 'revoke' })
        await save(enqueue(rotate), enqueue(revoke))

        const first = await store.claim('w', t0, seconds(60), 10)
        const second = await store.claim('w', later, seconds(60), 10)

        expect(first.map((o) => o.id)).toEqual([revoke.id])
        // Its lease has lapsed by now, and it is still the one to go first.
        expect(second.map((o) => o.id)).toEqual([revoke.id])
      })

      it('works on one operation of an account at a time, and again when the lease lapsed', async () => {
        const account = makeAccount().id
        const [a, b] = [makeOperation({ account }), makeOperation({ account })]
        await save(enqueue(a), enqueue(b))

        const first = await store.claim('w', t0, seconds(60), 10)
        const second = await store.claim('w', addSeconds(t0, 59), seconds(60), 10)
        const third = await store.claim('w2', later, seconds(60), 10)

        expect(first.map((o) => o.id)).toEqual([a.id])
        expect(second).toEqual([])
        // The lapsed one fell due (at the lease's end) after the one that waits since t0.
        expect(third.map((o) => o.id)).toEqual([b.id])
        const fourth = await store.claim('w3', addSeconds(later, 60), seconds(60), 10)
        expect(fourth).toHaveLength(1)
        expect(fourth[0]).toMatchObject({ id: a.id, fence: 2, leaseWorker: 'w3' })
      })

      it('does not mix up the operations of people, who have no account', async () => {
        const leaves = [1, 2].map(() =>
          makeOperation({ kind: 'leave', subjectType: 'person', account: null, provider: null }),
        )
        await save(...leaves.map((o) => enqueue(o)))

        expect(await store.claim('w', t0, seconds(60), 10)).toHaveLength(2)
      })

      it('leaves alone what waits for an operator or has ended', async () => {
        await save(
          ...(['needsOperator', 'succeeded', 'failed', 'cancelled'] as const).map((status) =>
            enqueue(makeOperation({ status })),
          ),
        )

        expect(await store.claim('w', t0, seconds(60), 10)).toEqual([])
        expect(await store.read.nextRunAt()).toBeNull()
      })

      it('refuses a second open operation on a subject', async () => {
        const open = makeOperation()
        await save(enqueue(open))

        expect(await store.commit([enqueue(makeOperation({ subject: open.subject }))])).toEqual({
          change: 0,
          reason: 'busy',
          with: open.id,
        })
      })

      it('pre-empts what is not higher in rank on the account and below it', async () => {
        const account = makeAccount().id
        const issue = makeOperation({ account })
        const revoke = makeOperation({ account, kind: 'revoke' })
        const elsewhere = makeOperation()
        await save(enqueue(issue))
        const [running] = await store.claim('w', t0, seconds(60), 1)
        await save(enqueue(revoke), enqueue(elsewhere))
        const disable = makeOperation({
          kind: 'disable',
          subjectType: 'account',
          subject: account,
          account,
        })
        await save(enqueue(disable, true))

        expect((await store.read.openOperations(tenant, account)).map((o) => o.id)).toEqual([
          disable.id,
        ])
        expect(await store.read.operation(tenant, issue.id)).toMatchObject({
          status: 'cancelled',
          fence: running!.fence + 1,
          leaseUntil: later,
          failure: { code: 'preempted' },
        })
        expect((await store.read.operation(tenant, elsewhere.id))?.status).toBe('queued')
        expect(await store.read.inFlightUntil(tenant, account, t0)).toBe(later)
        expect(await store.read.inFlightUntil(tenant, account, later)).toBeNull()
        expect(
          await store.commit([
            {
              type: 'advance',
              id: issue.id,
              fence: running!.fence,
              set: { cursor: 1 },
              release: true,
              at: t0,
            },
          ]),
        ).toEqual({ change: 0, reason: 'fence', with: issue.id })
      })

      it('does not let a lower rank pre-empt a higher, nor start below it', async () => {
        const account = makeAccount().id
        const subject = { subjectType: 'account', subject: account, account } as const
        const retire = makeOperation({ ...subject, kind: 'retire' })
        await save(enqueue(retire))

        const enable = makeOperation({ ...subject, kind: 'enable' })
        const issue = makeOperation({ account })
        for (const operation of [enable, issue]) {
          expect(await store.commit([enqueue(operation, true)])).toEqual({
            change: 0,
            reason: 'busy',
            with: retire.id,
          })
        }
        expect((await store.read.operation(tenant, retire.id))?.status).toBe('queued')
      })

      it('lets a credential be revoked while its account is being enabled', async () => {
        const account = makeAccount().id
        const enable = makeOperation({
          kind: 'enable',
          subjectType: 'account',
          subject: account,
          account,
        })
        await save(enqueue(enable), enqueue(makeOperation({ kind: 'revoke', account })))

        expect(await store.read.openOperations(tenant, account)).toHaveLength(2)
      })

      it('undoes the pre-emption when its commit fails', async () => {
        const open = makeOperation()
        await save(enqueue(open))

        const result = await store.commit([
          enqueue(makeOperation({ subject: open.subject, kind: 'revoke' }), true),
          { type: 'person', person: makePerson(), expectedVersion: 9 },
        ])

        expect(result).toMatchObject({ change: 1, reason: 'missing' })
        expect(await store.read.operation(tenant, open.id)).toEqual(open)
      })

      it('advances under the fence only, keeping or giving back the lease', async () => {
        const operation = makeOperation()
        await save(enqueue(operation))
        const [claimed] = await store.claim('w', t0, seconds(60), 1)
        const advance = (
          fence: number,
          set: Extract<Change, { type: 'advance' }>['set'],
          release: boolean,
        ): Change => ({ type: 'advance', id: operation.id, fence, set, release, at: later })
        await save(advance(claimed!.fence, { cursor: 1, memo: { key: 'k' } }, false))

        expect(await store.read.operation(tenant, operation.id)).toEqual({
          ...claimed,
          cursor: 1,
          memo: { key: 'k' },
          updatedAt: later,
        })
        const runAt = addSeconds(t0, 600)
        await save(advance(claimed!.fence, { status: 'waiting', runAt }, true))
        expect(await store.read.operation(tenant, operation.id)).toMatchObject({
          status: 'waiting',
          leaseWorker: null,
          leaseUntil: null,
          memo: { key: 'k' },
        })
        expect(await store.read.nextRunAt()).toBe(runAt)
        expect(await store.commit([advance(claimed!.fence + 1, {}, true)])).toMatchObject({
          reason: 'fence',
        })
        expect(
          await store.commit([
            { type: 'advance', id: makeId(), fence: 0, set: {}, release: true, at: t0 },
          ]),
        ).toMatchObject({ reason: 'missing' })
      })

      it('takes the fence from a worker whose operation is cancelled', async () => {
        const operation = makeOperation()
        await save(enqueue(operation))
        const [claimed] = await store.claim('w', t0, seconds(60), 1)
        const set = (status: Operation['status'], fence: number): Change => {
          return {
            type: 'advance',
            id: operation.id,
            fence,
            set: { status },
            release: false,
            at: t0,
          }
        }
        await save(set('cancelled', claimed!.fence))

        expect(await store.commit([set('waiting', claimed!.fence)])).toMatchObject({
          reason: 'fence',
        })
        expect(await store.heartbeat(operation.id, claimed!.fence, later)).toBe(false)
      })

      it('refuses to open an operation again beside another open one', async () => {
        const failed = makeOperation({ status: 'failed' })
        const open = makeOperation({ subject: failed.subject })
        await save(enqueue(failed), enqueue(open))

        expect(
          await store.commit([
            {
              type: 'advance',
              id: failed.id,
              fence: 0,
              set: { status: 'queued' },
              release: true,
              at: t0,
            },
          ]),
        ).toEqual({ change: 0, reason: 'busy', with: open.id })
      })

      it('prolongs a lease while the fence is the worker’s own', async () => {
        const operation = makeOperation()
        await save(enqueue(operation))
        const [claimed] = await store.claim('w', t0, seconds(60), 1)
        const until = addSeconds(t0, 300)

        expect(await store.heartbeat(operation.id, claimed!.fence, until)).toBe(true)
        expect(await store.claim('w2', addSeconds(t0, 120), seconds(60), 10)).toEqual([])
        expect(await store.read.nextRunAt()).toBe(until)
        expect(await store.heartbeat(operation.id, claimed!.fence - 1, until)).toBe(false)
      })

      it('writes under a claim only while it holds (R63)', async () => {
        const operation = makeOperation()
        await save(enqueue(operation))
        const claimed = (fence: number): Change => ({
          type: 'claimed',
          operation: operation.id,
          fence,
        })
        const note: Change = { type: 'meta', key: 'noted under a claim', value: 'yes' }
        const refused = { change: 0, reason: 'fence', with: operation.id }

        expect(await store.commit([claimed(operation.fence), note])).toEqual(refused)
        const [held] = await store.claim('w', t0, seconds(60), 1)
        expect(await store.commit([claimed(held!.fence - 1), note])).toEqual(refused)
        expect(await store.read.meta(note.key)).toBeNull()
        expect(await store.commit([claimed(held!.fence), note])).toBe('saved')
        expect(await store.read.operation(tenant, operation.id)).toEqual(held)
      })

      it('lets go of a lease for nobody but the worker who holds it (R64)', async () => {
        const account = makeAccount().id
        const issue = makeOperation({ account })
        const [subject, kind] = [account, 'disable' as const]
        const disable = makeOperation({ kind, subjectType: 'account', subject, account })
        await save(enqueue(issue))
        await store.claim('w', t0, seconds(60), 1)

        await store.letGo(issue.id, 'w', t0)
        expect(await store.claim('w2', t0, seconds(60), 1)).toEqual([])
        await save(enqueue(disable, true))
        await store.letGo(issue.id, 'w2', t0)
        expect(await store.read.inFlightUntil(tenant, account, t0)).toBe(later)
        await store.letGo(issue.id, 'w', t0)
        expect(await store.read.inFlightUntil(tenant, account, t0)).toBeNull()
      })

      it('does not wake anybody for work that another operation of its account blocks', async () => {
        const account = makeAccount().id
        await save(enqueue(makeOperation({ account })), enqueue(makeOperation({ account })))
        await store.claim('w', t0, seconds(60), 1)

        expect(await store.read.nextRunAt()).toBe(later)
      })

      it('lists operations newest first under each filter', async () => {
        const account = makeAccount().id
        const a = makeOperation({ account, cause: 'leave-1' })
        const b = makeOperation({ account, kind: 'revoke', status: 'waiting' })
        const c = makeOperation({ cause: 'leave-1' })
        await save(enqueue(a), enqueue(b), enqueue(c))
        const list = async (query: object) =>
          (await store.read.operations({ tenant, after: null, limit: 10, ...query })).map(
            (o) => o.id,
          )

        expect(await list({})).toEqual([c.id, b.id, a.id])
        expect(await list({ account })).toEqual([b.id, a.id])
        expect(await list({ cause: 'leave-1' })).toEqual([c.id, a.id])
        expect(await list({ kind: 'revoke' })).toEqual([b.id])
        expect(await list({ status: 'queued', account })).toEqual([a.id])
        expect(await list({ subject: c.subject })).toEqual([c.id])
        expect(await list({ after: b.id })).toEqual([a.id])
        expect(await list({ limit: 1 })).toEqual([c.id])
      })
    })

    describe('sweeps', () => {
      const ids = (rows: readonly { readonly id: string }[]) => rows.map((r) => r.id).sort()

      it('finds the accounts whose owner is missing, inactive or deleted', async () => {
        const present = makePerson()
        const inactive = makePerson({ active: false })
        const deleted = makePerson({ deletedAt: t0 })
        const of = (id: string, overrides: Partial<ServiceAccount> = {}) =>
          makeAccount({ owner: { type: 'User', id }, ...overrides })
        const gone = [
          of(inactive.id),
          of(deleted.id),
          of('missing', { status: 'provisioning' }),
          makeAccount({ owner: { type: 'Group', id: 'missing' } }),
        ]
        const handled = of(inactive.id)
        const due = of(inactive.id, { status: 'orphaned', disableAt: t0 })
        const waiting = [
          of(inactive.id, { status: 'orphaned' }),
          of(inactive.id, { status: 'orphaned', disableAt: later }),
        ]
        const fine = [of(present.id), of(inactive.id, { status: 'disabled' })]
        await save(
          ...[present, inactive, deleted].map((person) => insert({ person })),
          ...[...gone, handled, due, ...waiting, ...fine].map((a) => putAccount(a)),
          enqueue(
            makeOperation({
              kind: 'disable',
              subjectType: 'account',
              subject: handled.id,
              account: handled.id,
            }),
          ),
        )

        const found = await store.read.orphans(t0, null, 100)
        expect(ids(found.rows)).toEqual(ids([...gone, due, ...waiting]))
        expect(found.next).toBeNull()
        const first = await store.read.orphans(t0, null, 2)
        const rest = await store.read.orphans(t0, first.next, 100)
        expect([...first.rows, ...rest.rows]).toEqual(found.rows)
      })

      it('finds what an owner who changed owns, or is offered, while nothing is done about it', async () => {
        const before = addSeconds(t0, -60)
        const left = makePerson({ active: false, updatedAt: t0 })
        const long = makePerson({ active: false, updatedAt: before })
        const here = makePerson({ updatedAt: t0 })
        const of = (owner: string, more: Partial<ServiceAccount> = {}) =>
          makeAccount({ owner: { type: 'User', id: owner }, ...more })
        const owned = [of(left.id), of(left.id, { status: 'provisioning' })]
        const offered = of('gone', {
          status: 'orphaned',
          pendingOwner: { type: 'User', id: left.id },
          disableAt: t0,
        })
        const closed = of(left.id, { status: 'disabled' })
        const handled = of(left.id)
        await save(
          ...[left, long, here].map((person) => insert({ person })),
          ...[...owned, offered, closed, handled, of(here.id)].map((a) => putAccount(a)),
          enqueue(
            makeOperation({
              kind: 'disable',
              subjectType: 'account',
              subject: handled.id,
              account: handled.id,
            }),
          ),
        )
        const { read } = store

        const people = { from: t0, until: t0 }
        expect((await read.gone('people', people, null, 10)).rows).toEqual([
          { tenant: left.tenant, id: left.id },
        ])
        const both = { from: before, until: t0 }
        const first = await read.gone('people', both, null, 1)
        const second = await read.gone('people', both, first.next, 10)
        expect([...first.rows, ...second.rows].map((o) => o.id)).toEqual([long.id, left.id])
        const owners = [left.id, long.id]
        const mine = await read.accountsOf('ownedBy', left.tenant, owners, null, 1)
        const rest = await read.accountsOf('ownedBy', left.tenant, owners, mine.next, 10)
        expect([...mine.rows, ...rest.rows].map((a) => a.id)).toEqual(ids(owned))
        const heirs = await read.accountsOf('waitingFor', left.tenant, owners, null, 10)
        expect(heirs.rows.map((a) => a.id)).toEqual([offered.id])
        expect((await read.overdue(t0, null, 10)).rows.map((a) => a.id)).toEqual([offered.id])
      })

      it('counts the warnings of an end, and begins anew with another end (R89)', async () => {
        const ends = addSeconds(t0, 5 * 86_400)
        const account = makeAccount({ expiresAt: ends })
        const credential = makeCredential({ account: account.id, expiresAt: ends })
        await save(putAccount(account), { type: 'credential', credential, expectedVersion: null })
        const { tenant: of } = account
        const due = async (what: 'account' | 'credential', warned: number | null) =>
          (await store.read.expiring({ of: what, warned, from: t0, until: ends }, null, 10)).rows
        const warn = (subjectType: 'account' | 'credential', id: string, days: number) =>
          store.commit([
            { type: 'expiryWarned', tenant: of, subjectType, id, expiresAt: ends, days },
          ])

        for (const [what, { id }] of [
          ['account', account],
          ['credential', credential],
        ] as const) {
          expect(await due(what, null)).toEqual([{ tenant: of, id }])
          expect(await warn(what, id, 7)).toBe('saved')
          expect(await warn(what, id, 7)).toMatchObject({ reason: 'version' })
          expect(await due(what, null)).toEqual([])
          expect(await due(what, 7)).toEqual([{ tenant: of, id }])
        }
        const same = { ...account, purpose: 'another' }
        await store.commit([{ type: 'account', account: same, expectedVersion: 1 }])
        expect(await due('account', 7)).toHaveLength(1)
        const moved = { ...same, expiresAt: addSeconds(ends, -1) }
        await store.commit([{ type: 'account', account: moved, expectedVersion: 2 }])
        expect(await due('account', null)).toHaveLength(1)
        const later = { ...credential, expiresAt: addSeconds(ends, -1) }
        await store.commit([{ type: 'credential', credential: later, expectedVersion: 1 }])
        expect(await due('credential', null)).toHaveLength(1)
      })

      it('finds keys that a rotation left at work, and all that has a date to rotate (R02, R14)', async () => {
        const account = makeAccount()
        const left = makeCredential({ account: account.id, rotateAfter: later })
        const busy = makeCredential({ account: account.id, rotateAfter: later })
        const plain = makeCredential({ account: account.id })
        const old = (credential: ReturnType<typeof makeCredential>): Change => ({
          type: 'key',
          key: makeKey(credential, { status: 'superseded' }),
        })
        await save(
          putAccount(account),
          ...[left, busy, plain].map((credential): Change => {
            return { type: 'credential', credential, expectedVersion: null }
          }),
          old(left),
          old(busy),
          enqueue(makeOperation({ kind: 'rotate', subject: busy.id, account: account.id })),
        )

        expect((await store.read.leftBehind(later, null, 10)).rows.map((c) => c.id)).toEqual([
          left.id,
        ])
        expect((await store.read.planned(null, 10)).rows.map((c) => c.id)).toEqual(
          ids([left, busy]),
        )
      })

      it('finds expired accounts and credentials, the deletable and what is due for rotation', async () => {
        const expired = makeAccount({ expiresAt: t0 })
        const closed = makeAccount({ expiresAt: t0, status: 'disabled', deleteAt: t0 })
        const early = makeAccount({ status: 'disabled', deleteAt: later })
        const open = makeAccount()
        const due = makeCredential({ account: open.id, rotateAfter: t0 })
        const notDue = [
          makeCredential({ account: open.id, rotateAfter: later }),
          makeCredential({ account: open.id }),
          makeCredential({ account: open.id, rotateAfter: t0, status: 'superseded' }),
          makeCredential({ account: closed.id, rotateAfter: t0 }),
        ]
        const over = makeCredential({ account: open.id, expiresAt: t0 })
        const notOver = [
          makeCredential({ account: open.id, expiresAt: t0, status: 'revoked' }),
          makeCredential({ account: closed.id, expiresAt: t0 }),
        ]
        await save(
          ...[expired, closed, early, open].map((a) => putAccount(a)),
          ...[due, ...notDue, over, ...notOver].map((credential): Change => {
            return { type: 'credential', credential, expectedVersion: null }
          }),
        )

        const only = ({ id, tenant: of }: { id: string; tenant: TenantId }) => ({
          rows: [{ tenant: of, id }],
          next: null,
        })
        const { read } = store
        expect(await read.expired(t0, null, 10)).toEqual(only(expired))
        const page = await read.expired(t0, null, 1)
        expect(await read.expired(t0, page.next, 10)).toEqual({ rows: [], next: null })
        expect(await read.deletable(t0, null, 10)).toEqual(only(closed))
        expect(await read.rotationDue(t0, null, 10)).toEqual(only(due))
        expect(await read.expiredCredentials(t0, null, 10)).toEqual(only(over))
      })
    })

    describe('clients, tokens and small facts', () => {
      it('keeps clients and their tokens', async () => {
        const client = makeClient({ role: 'directory', directory: 'hr' })
        const token = makeClientToken(client)
        expect(await store.commit([{ type: 'clientToken', token }])).toEqual({
          change: 0,
          reason: 'missing',
          with: client.id,
        })
        await save({ type: 'client', client }, { type: 'clientToken', token })
        await save(
          { type: 'clientTokenUsed', id: token.id, at: later },
          { type: 'clientTokenUsed', id: token.id, at: t0 },
          { type: 'clientTokenUsed', id: 'gone', at: t0 },
          { type: 'client', client: { ...client, revokedAt: later } },
        )

        const used = { ...token, lastUsedAt: later }
        const revoked = { ...client, revokedAt: later }
        expect(await store.read.clientToken(token.id)).toEqual({ token: used, client: revoked })
        expect(await store.read.client(client.id)).toEqual(revoked)
        expect(await store.read.clients(tenant)).toEqual([revoked])
        expect(await store.read.clientTokensOf(client.id)).toEqual([used])
        expect(await store.read.clientToken('gone')).toBeNull()
      })

      it('answers all about an issued token in one read', async () => {
        const account = makeAccount()
        const credential = makeCredential({ account: account.id })
        const token = makeIssuedToken(credential)
        const key = makeKey(credential)
        expect(await store.commit([{ type: 'issuedToken', token }])).toMatchObject({
          reason: 'missing',
        })
        await save(
          putAccount(account),
          { type: 'credential', credential, expectedVersion: null },
          { type: 'issuedToken', token },
        )
        expect(await store.read.tokenState(token.id)).toEqual({
          token,
          account,
          credential,
          key: null,
        })
        await save(
          { type: 'key', key },
          { type: 'issuedTokenActive', id: token.id, active: false },
          { type: 'issuedTokenUsed', id: token.id, at: later },
        )
        const now = { ...token, active: false, lastUsedAt: later }
        expect(await store.read.tokenState(token.id)).toEqual({
          token: now,
          account,
          credential,
          key,
        })
        expect(await store.read.issuedTokensOf(account.id, 'tokens')).toEqual([now])

        await save({ type: 'issuedTokenRemoved', id: token.id })
        expect(await store.read.issuedToken(token.id)).toBeNull()
        expect(await store.read.tokenState(token.id)).toBeNull()
        expect(
          await store.commit([{ type: 'issuedTokenActive', id: token.id, active: true }]),
        ).toEqual({ change: 0, reason: 'missing', with: token.id })
      })

      it('gives each slot of a job to one worker', async () => {
        const take = (worker: string): Change => ({
          type: 'slot',
          job: 'orphans',
          slot: t0,
          worker,
          at: t0,
        })
        const workers = ['w1', 'w2']
        const results = await Promise.all(workers.map((w) => store.commit([take(w)])))

        const winner = workers[results.indexOf('saved')]!
        expect(results.filter((r) => r !== 'saved')).toEqual([
          { change: 0, reason: 'slot', with: winner },
        ])
      })

      it('keeps the last value of a meta key', async () => {
        await save({ type: 'meta', key: 'k', value: '1' })
        await save({ type: 'meta', key: 'k', value: '2' })

        expect(await store.read.meta('k')).toBe('2')
        expect(await store.read.meta('other')).toBeNull()
      })

      it('reads the audit log forwards, by target and by operation', async () => {
        const operation = makeOperation().id
        const rows = [makeAudit(), makeAudit({ operation }), makeAudit({ operation })]
        await save(...rows.map((row): Change => ({ type: 'audit', row })))
        const read = async (query: object) =>
          store.read.audit(tenant, { after: null, limit: 10, ...query })

        expect(await read({})).toEqual(rows)
        expect(await read({ after: rows[0]!.id, limit: 1 })).toEqual([rows[1]])
        expect(await read({ operation })).toEqual(rows.slice(1))
        expect(await read({ target: rows[2]!.target })).toEqual([rows[2]])
        expect(await store.commit([{ type: 'audit', row: rows[0]! }])).toMatchObject({
          reason: 'version',
        })
      })
    })

    filterConformance(() => store, effort)
    listConformance(() => store)
    groupConformance(() => store)
    moveConformance(() => store)
    ledgerConformance(() => store)
    auditConformance(() => store)
    brakeConformance(() => store)
    findingConformance(() => store)
    importConformance(() => store)
    entitlementConformance(() => store)
    consumerConformance(() => store)
    shadowConformance(() => store)
    signalConformance(() => store)
    sealedConformance(() => store)
    directoryCheckConformance(() => store)
    replicaConformance(() => store)
    reportConformance(() => store)

    storeModel(open, effort)
  })
}
