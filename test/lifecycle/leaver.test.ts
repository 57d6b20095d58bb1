import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { AccountWrite } from '../../src/domain/want.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

describe('an owner who leaves', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  const all = () => [wants.accessKey(), wants.deployKey(), wants.token()]
  const owned = async (more: Partial<AccountWrite> = {}) => {
    const owner = await test.person()
    const account = await test.request(owner, more)
    return { owner, account, credentials: await test.credentials(account.id) }
  }
  const withHeir = async (more: Partial<AccountWrite> = {}) => {
    const heir = await test.person()
    return { heir, ...(await owned({ backupOwners: [{ type: 'User', id: heir }], ...more })) }
  }
  const tokenOf = async (account: ServiceAccount): Promise<string> =>
    (await test.served((await test.credentials(account.id))[0]!))!
  const isActive = async (token: string): Promise<boolean> =>
    (await test.tokens.introspect(token, test.admin.tenant)).active

  describe('without a backup', () => {
    it('is refused by introspection the moment the row is committed, before any worker ran', async () => {
      const { owner, account } = await owned()
      const token = await tokenOf(account)
      expect(await isActive(token)).toBe(true)

      await test.leave(owner)

      expect(await isActive(token)).toBe(false)
      expect((await test.account(account.id)).status).toBe('active')
      await test.pass(1)
    })

    it('loses every key at every provider at once, each with a proof', async () => {
      const { owner, account } = await owned({ credentials: all() })
      expect(await test.liveAtProviders(account.id)).toHaveLength(3)

      await test.leave(owner)
      await test.pass(2)

      expect(await test.liveAtProviders(account.id)).toEqual([])
      expect(await test.account(account.id)).toMatchObject({
        status: 'disabled',
        statusReason: 'ownerLeft',
      })
      const report = await test.engine.offboarding(test.admin, owner)
      expect(report.verdict).toBe('complete')
      expect(report.keys.map((k) => String(k.outcome)).toSorted()).toEqual([
        'absent',
        'refused',
        'refused',
      ])
    })

    it('starts the clock to deletion, and a deletion leaves nothing at provider and sink', async () => {
      const { owner, account, credentials } = await owned({ credentials: all() })
      await test.leave(owner)
      await test.pass(2)
      const closed = await test.account(account.id)
      expect(closed.deleteAt).not.toBeNull()

      test.clock.advance(days(90) - 3)
      await test.engine.runSweep(test.admin, 'expiry')
      await test.pass(1)
      expect((await test.account(account.id)).status).toBe('disabled')

      test.clock.advance(3)
      await test.engine.runSweep(test.admin, 'expiry')
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('retired')
      expect(test.awsUser(account.id)).toBeNull()
      expect(await test.served(credentials.find((c) => c.kind === 'api-token')!)).toBeNull()
      expect(await test.served(credentials.find((c) => c.kind === 'deploy-key')!)).toBeNull()
      const key = credentials.find((c) => c.kind === 'access-key')!
      const secret = test.aws.world.secret(`custody/default/${key.deliverTo.path}`)
      expect(secret?.deleteAt).not.toBeNull()
      const after = await test.credentials(account.id)
      expect(after.map((c) => c.status)).toEqual(['revoked', 'revoked', 'revoked'])
    })

    it('stays closed when the person comes back: only the person is revived', async () => {
      const { owner, account } = await owned()
      const token = await tokenOf(account)
      await test.leave(owner)
      await test.pass(2)

      await test.comeBack(owner)
      await test.pass(2)

      expect((await test.engine.person(test.admin, owner)).active).toBe(true)
      expect((await test.account(account.id)).status).toBe('disabled')
      expect(await isActive(token)).toBe(false)
    })

    it('keeps everything when the person comes back before the fan-out ran', async () => {
      const { owner, account } = await owned()
      const token = await tokenOf(account)
      await test.leave(owner)
      await test.comeBack(owner)
      await test.pass(2)

      expect((await test.account(account.id)).status).toBe('active')
      expect(await isActive(token)).toBe(true)
    })

    it('does nothing more on a second leave event', async () => {
      const { owner, account } = await owned()
      await test.leave(owner)
      await test.pass(2)
      const before = await test.operations(account.id)

      await test.leave(owner)
      await test.pass(2)

      expect(await test.operations(account.id)).toEqual(before)
      expect((await test.operations(owner)).filter((o) => o.kind === 'leave')).toHaveLength(1)
    })

    it('is found by the orphans sweep when the person was deleted outright', async () => {
      const { owner, account } = await owned()
      const token = await tokenOf(account)
      await test.engine.deletePerson(test.admin, await test.engine.person(test.admin, owner))

      expect(await isActive(token)).toBe(false)
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('disabled')
    })

    it('closes an account whose owner is missing altogether', async () => {
      const { account } = await owned()
      const token = await tokenOf(account)
      const stray = { ...account, owner: { type: 'User' as const, id: 'nobody-at-all' } }
      await test.store.commit([
        { type: 'account', account: stray, expectedVersion: account.version },
      ])

      expect(await isActive(token)).toBe(false)
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('disabled')
      expect(await test.liveAtProviders(account.id)).toEqual([])
    })
  })

  describe('with an active backup', () => {
    it('keeps the account up with new keys and ends the old ones within an hour', async () => {
      const { owner, heir, account, credentials } = await withHeir({ credentials: all() })
      const old = await test.liveAtProviders(account.id)
      await test.pass(5)

      await test.leave(owner)
      await test.pass(3)

      expect(await test.account(account.id)).toMatchObject({
        status: 'orphaned',
        pendingOwner: { type: 'User', id: heir },
      })
      for (const credential of credentials) {
        expect((await test.credential(credential.id)).generation).toBe(2)
        expect(await test.works(await test.credential(credential.id))).toBe(true)
      }

      await test.pass(hours(1), minutes(1))
      const live = await test.liveAtProviders(account.id)
      expect(live).toHaveLength(3)
      expect(live.filter((k) => old.includes(k))).toEqual([])
      for (const credential of credentials)
        expect(await test.works(await test.credential(credential.id))).toBe(true)
    })

    it('ends the old key as soon as the new one is seen in use', async () => {
      const { owner, account } = await withHeir()
      const old = await tokenOf(account)
      await test.pass(5)
      await test.leave(owner)
      await test.pass(5)
      const fresh = await tokenOf(account)
      expect(fresh).not.toBe(old)
      expect(await isActive(old)).toBe(true)

      expect(await isActive(fresh)).toBe(true)
      await test.pass(minutes(4), 30)

      expect(await isActive(old)).toBe(false)
      expect(await isActive(fresh)).toBe(true)
    })

    it('refuses the old tokens after an hour even when no worker runs at all', async () => {
      const { owner, account } = await withHeir()
      const old = await tokenOf(account)
      test.clock.advance(5)
      await test.leave(owner)

      test.clock.advance(hours(1) - 1)
      expect(await isActive(old)).toBe(true)
      test.clock.advance(1)
      expect(await isActive(old)).toBe(false)
      await test.pass(2)
    })

    it('also ends the key of an earlier rotation that was still in its overlap', async () => {
      const { owner, account, heir, credentials } = await withHeir({
        credentials: [wants.token(), wants.deployKey(), wants.accessKey()],
      })
      const oldest = await test.liveAtProviders(account.id)
      for (const c of credentials) await test.engine.rotateCredential(test.admin, c.id)
      await test.pass(3)
      const older = await test.liveAtProviders(account.id)
      expect(older).toHaveLength(6)

      await test.leave(owner)
      await test.pass(3)
      await test.engine.acceptTransfer(test.caller('owner', { person: heir as never }), account.id)
      await test.pass(hours(1) + 2, minutes(2))

      const live = await test.liveAtProviders(account.id)
      expect(live.filter((k) => older.includes(k) || oldest.includes(k))).toEqual([])
      expect(live).toHaveLength(3)
    })

    it('belongs to the heir once accepted, and stays up past the deadline', async () => {
      const { owner, heir, account } = await withHeir()
      await test.pass(5)
      await test.leave(owner)
      await test.pass(3)

      const accepting = test.caller('owner', { person: heir as never })
      await test.engine.acceptTransfer(accepting, account.id)

      expect(await test.account(account.id)).toMatchObject({
        status: 'active',
        owner: { id: heir },
        pendingOwner: null,
        disableAt: null,
      })
      await test.pass(days(3), hours(2))
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('active')
      expect(await isActive(await tokenOf(account))).toBe(true)
    })

    it('is disabled by the orphans sweep at the deadline when nobody accepted', async () => {
      const { owner, account } = await withHeir({ credentials: all() })
      await test.pass(5)
      await test.leave(owner)
      await test.pass(3)
      await test.pass(days(3) - 10, hours(1))
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(1)
      expect((await test.account(account.id)).status).toBe('orphaned')

      test.clock.advance(10)
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)

      expect(await test.account(account.id)).toMatchObject({
        status: 'disabled',
        statusReason: 'ownerLeft',
      })
      expect(await test.liveAtProviders(account.id)).toEqual([])
    })

    it('goes to the next heir when the first declines, and is disabled when the last one does', async () => {
      const second = await test.person()
      const first = await test.person()
      const { owner, account } = await owned({
        backupOwners: [first, second].map((id) => ({ type: 'User', id })),
      })
      await test.pass(5)
      await test.leave(owner)
      await test.pass(3)

      await test.engine.declineTransfer(
        test.caller('owner', { person: first as never }),
        account.id,
      )
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(1)
      expect(await test.account(account.id)).toMatchObject({
        status: 'orphaned',
        pendingOwner: { id: second },
      })

      await test.engine.declineTransfer(
        test.caller('owner', { person: second as never }),
        account.id,
      )
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('disabled')
    })

    it('is offered to the next heir when the one it was offered to leaves as well', async () => {
      const first = await test.person()
      const second = await test.person()
      const { owner, account } = await owned({
        backupOwners: [first, second].map((id) => ({ type: 'User', id })),
      })
      await test.leave(owner)
      await test.pass(2)
      const { disableAt } = await test.account(account.id)

      await test.leave(first)
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)
      expect(await test.account(account.id)).toMatchObject({
        status: 'orphaned',
        pendingOwner: { id: second },
        disableAt,
      })

      await test.leave(second)
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('disabled')
      expect(await test.liveAtProviders(account.id)).toEqual([])
    })

    it('is disabled at once when the heir has left too', async () => {
      const { owner, heir, account } = await withHeir()
      await test.leave(heir)
      await test.leave(owner)
      await test.pass(2)

      expect((await test.account(account.id)).status).toBe('disabled')
    })

    it('does not let a leaver accept an account or one without an offer be accepted', async () => {
      const { owner, heir, account } = await withHeir()
      await test.leave(owner)
      await test.pass(3)
      await test.leave(heir)

      await expect(
        test.engine.acceptTransfer(test.caller('owner', { person: heir as never }), account.id),
      ).rejects.toMatchObject({ code: 'ownerGone' })
      await test.pass(2)
    })
  })

  describe('in production', () => {
    it('contains an account that was used today: rotated, offered to the manager, off after four hours', async () => {
      const manager = await test.person()
      const owner = await test.person({ manager })
      const account = await test.request(owner, { environment: 'prod' })
      const old = await tokenOf(account)
      expect(await isActive(old)).toBe(true)
      await test.pass(5)

      await test.leave(owner)
      await test.pass(3)

      const contained = await test.account(account.id)
      expect(contained).toMatchObject({
        status: 'orphaned',
        statusReason: 'contained',
        pendingOwner: { id: manager },
      })
      expect(Date.parse(contained.disableAt!) - Date.parse(contained.orphanedAt!)).toBe(
        hours(4) * 1_000,
      )
      expect(await isActive(await tokenOf(account))).toBe(true)

      await test.pass(hours(4), minutes(5))
      await test.engine.runSweep(test.admin, 'orphans')
      await test.pass(2)
      expect((await test.account(account.id)).status).toBe('disabled')
      expect(await test.liveAtProviders(account.id)).toEqual([])
    })

    it('disables an account that was not used in the last day at once', async () => {
      const { owner, account } = await owned({ environment: 'prod' })
      expect(await isActive(await tokenOf(account))).toBe(true)
      test.clock.advance(hours(24) + 1)

      await test.leave(owner)
      await test.pass(2)

      expect((await test.account(account.id)).status).toBe('disabled')
    })

    it('does not count an heir who was nominated on the last day and has not accepted', async () => {
      const { owner, account } = await withHeir({ environment: 'prod' })
      test.clock.advance(days(7) - 60)
      await test.leave(owner)
      await test.pass(2)

      expect((await test.account(account.id)).status).toBe('disabled')
    })
  })

  it('never disables a protected account by itself, yet ends the keys the leaver knew', async () => {
    const { owner, account } = await owned({ protected: true })
    const old = await tokenOf(account)
    await test.pass(5)
    await test.leave(owner)
    await test.pass(3)
    await test.pass(days(10), hours(6))
    await test.engine.runSweep(test.admin, 'orphans')
    await test.pass(2)

    expect((await test.account(account.id)).status).toBe('orphaned')
    expect(await isActive(old)).toBe(false)
    expect(await isActive(await tokenOf(account))).toBe(true)
  })

  it('gives no key known to the leaver back when the account had been paused by an operator before', async () => {
    const heir = await test.person()
    const { owner, account } = await owned({ credentials: [wants.token(), wants.accessKey()] })
    const known = await test.liveAtProviders(account.id)
    await test.engine.switchAccount(test.admin, account.id, 'disable', 'a pause')
    await test.pass(2)

    await test.leave(owner)
    await test.pass(2)
    await test.engine.transfer(test.admin, account.id, {
      owner: { type: 'User', id: heir },
      atOnce: true,
      reason: 'the owner left',
    })
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(3)

    expect((await test.account(account.id)).status).toBe('active')
    const live = await test.liveAtProviders(account.id)
    expect(live).toHaveLength(2)
    expect(live.filter((k) => known.includes(k))).toEqual([])
  })

  it('refuses an operator’s disable of what a leaving has closed: its reason and clock stay', async () => {
    const { owner, account } = await owned()
    await test.leave(owner)
    await test.pass(2)
    const before = await test.account(account.id)

    await expect(
      test.engine.switchAccount(test.admin, account.id, 'disable', 'to be sure'),
    ).rejects.toMatchObject({ code: 'wrongState' })
    await test.pass(2)

    expect(await test.account(account.id)).toMatchObject({
      status: 'disabled',
      statusReason: 'ownerLeft',
      deleteAt: before.deleteAt,
    })
  })
})
