import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AccountWrite } from '../../src/domain/want.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, startTestEngine, wants } from '../support/engine.ts'

describe('the end of an account', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  const up = async (more: Partial<AccountWrite> = {}) => {
    const owner = await test.person()
    const account = await test.request(owner, {
      credentials: [wants.accessKey(), wants.token()],
      ...more,
    })
    return { owner, account, credentials: await test.credentials(account.id) }
  }
  const both = async (credentials: Awaited<ReturnType<typeof up>>['credentials']) =>
    Promise.all(credentials.map(async (c) => test.works(await test.credential(c.id))))

  it('comes at expiry, not a second earlier, and is deleted after the hold', async () => {
    const { account, credentials } = await up()
    const left = (Date.parse(account.expiresAt) - Date.parse(test.clock.now())) / 1_000
    test.clock.advance(left - 1)
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(0)
    expect((await test.account(account.id)).status).toBe('active')
    expect(await both(credentials)).toEqual([true, true])

    test.clock.advance(1)
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    const expired = await test.account(account.id)
    expect(expired).toMatchObject({ status: 'expired', statusReason: 'expired' })
    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect(Date.parse(expired.deleteAt!) - Date.parse(test.clock.now())).toBeGreaterThan(
      (days(90) - 10) * 1_000,
    )

    test.clock.advance(days(90))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    expect((await test.account(account.id)).status).toBe('retired')
    expect(test.awsUser(account.id)).toBeNull()
    expect(await test.served(credentials.find((c) => c.kind === 'api-token')!)).toBeNull()
  })

  it('comes to one credential alone when that ends before its account', async () => {
    const ends = addSeconds(test.clock.now(), days(10))
    const { account, credentials } = await up({
      credentials: [wants.accessKey({ expiresAt: ends }), wants.token()],
    })
    const key = credentials.find((c) => c.kind === 'access-key')!
    const token = credentials.find((c) => c.kind === 'api-token')!

    test.clock.advance(days(10) - 60)
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(0)
    expect(await test.works(await test.credential(key.id))).toBe(true)

    test.clock.advance(60)
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    expect(await test.credential(key.id)).toMatchObject({ status: 'revoked' })
    expect((await test.keys(key.id))[0]).toMatchObject({ outcome: 'refused' })
    expect(await test.works(await test.credential(token.id))).toBe(true)
    expect((await test.account(account.id)).status).toBe('active')
  })

  it('shows in a dry run what a sweep would do, and does nothing', async () => {
    const { account } = await up()
    test.clock.advance(days(90))
    const plan = await test.engine.planSweep(test.admin, 'expiry', 1_000)

    expect(plan.filter((p) => p.id === account.id)).toEqual([
      { act: 'expire', tenant: 'default', id: account.id, rule: 'expire' },
    ])
    expect((await test.account(account.id)).status).toBe('active')
  })

  it('retires at once on DELETE; the history stays and a deletion follows the hold', async () => {
    const { account, credentials } = await up()
    await test.engine.deleteAccount(test.admin, account)
    await expect(test.engine.account(test.admin, account.id)).rejects.toMatchObject({
      code: 'notFound',
    })
    await test.pass(2)

    const history = await test.engine.account(test.admin, account.id, { retiredToo: true })
    expect(history).toMatchObject({ status: 'retired', statusReason: 'retired' })
    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect((await test.credentials(account.id)).map((c) => c.status)).toEqual([
      'revoked',
      'revoked',
    ])

    test.clock.advance(days(90))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    expect(test.awsUser(account.id)).toBeNull()
    expect(await test.served(credentials.find((c) => c.kind === 'api-token')!)).toBeNull()
    expect((await test.account(account.id)).deleteAt).toBeNull()
  })

  it('brings the same keys back after an operator’s pause, and never deletes during one', async () => {
    const { account, credentials } = await up()
    const live = await test.liveAtProviders(account.id)
    await test.engine.switchAccount(test.admin, account.id, 'disable', 'a pause')
    await test.pass(2)
    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect((await test.account(account.id)).deleteAt).toBeNull()

    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(2)

    expect(await test.account(account.id)).toMatchObject({ status: 'active', statusReason: null })
    expect(await test.liveAtProviders(account.id)).toEqual(live)
    expect(await both(credentials)).toEqual([true, true])
    const key = credentials.find((c) => c.kind === 'access-key')!
    expect(
      test.aws.world.wouldAllow(
        (await test.credential(key.id)).keyId!,
        's3:GetObject',
        'arn:aws:s3:::artifacts/x',
      ),
    ).toBe(true)
  })

  it('makes a new deploy key after a pause, for the old one could only be deleted', async () => {
    const { account, credentials } = await up({ credentials: [wants.deployKey()] })
    await test.engine.switchAccount(test.admin, account.id, 'disable', null)
    await test.pass(2)
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(2)

    const again = await test.credential(credentials[0]!.id)
    expect(again).toMatchObject({ status: 'active', generation: 2 })
    expect(await test.liveAtProviders(account.id)).toHaveLength(1)
  })

  it('issues new keys when it is enabled after a leaver, and only with an active owner', async () => {
    const { owner, account, credentials } = await up()
    const known = await test.liveAtProviders(account.id)
    await test.leave(owner)
    await test.pass(2)

    await expect(
      test.engine.switchAccount(test.admin, account.id, 'enable', null),
    ).rejects.toMatchObject({ code: 'noActiveOwner' })

    await test.comeBack(owner)
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(3)

    const live = await test.liveAtProviders(account.id)
    expect(live).toHaveLength(2)
    expect(live.filter((k) => known.includes(k))).toEqual([])
    expect(await both(credentials)).toEqual([true, true])
    expect(await test.account(account.id)).toMatchObject({ status: 'active', deleteAt: null })
  })

  it('tries the failed credentials again when a failed account is enabled', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
    test.aws.world.propagationSeconds = 10_000
    await test.pass(150, 5)
    test.aws.world.propagationSeconds = 0
    expect((await test.account(account.id)).status).toBe('failed')
    expect(test.aws.world.keysOf(test.awsUser(account.id)!)).toEqual([])

    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(3)

    const [credential] = await test.credentials(account.id)
    expect(await test.account(account.id)).toMatchObject({ status: 'active' })
    expect(credential).toMatchObject({ status: 'active', lastError: null })
    expect(await test.works(credential!)).toBe(true)
  })

  it('does not expire, enable or rotate what is being deleted', async () => {
    const { owner, account, credentials } = await up()
    await test.leave(owner)
    await test.pass(2)
    test.clock.advance(days(90))
    await test.engine.runSweep(test.admin, 'expiry')

    await expect(
      test.engine.switchAccount(test.admin, account.id, 'enable', null),
    ).rejects.toMatchObject({ code: 'wrongState' })
    await expect(
      test.engine.rotateCredential(test.admin, credentials[0]!.id),
    ).rejects.toMatchObject({ code: 'wrongState' })
    await test.pass(2)
    expect((await test.account(account.id)).status).toBe('retired')
  })

  it('gives no leaver’s key back when the enabling was interrupted by a pause', async () => {
    const { owner, account } = await up()
    const known = await test.liveAtProviders(account.id)
    await test.leave(owner)
    await test.pass(2)
    await test.comeBack(owner)
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.engine.switchAccount(test.admin, account.id, 'disable', 'on second thoughts')
    await test.pass(2)
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(3)

    expect(await test.account(account.id)).toMatchObject({ status: 'active', statusReason: null })
    const live = await test.liveAtProviders(account.id)
    expect(live).toHaveLength(2)
    expect(live.filter((k) => known.includes(k))).toEqual([])
  })

  it.each(['revoked', 'cancelled'])(
    'does not keep an account waiting for a credential that was %s before it existed',
    async (how) => {
      const owner = await test.person()
      const account = await test.request(owner, {
        credentials: [wants.token(), wants.accessKey()],
        drain: false,
      })
      const stuck = (await test.credentials(account.id)).find((c) => c.kind === 'access-key')!
      test.aws.faults.arm('CreateUser', { kind: 'throttle', retryAfterSeconds: 1 }, 100)
      await test.pass(200, 5)
      expect((await test.account(account.id)).status).toBe('provisioning')

      const [operation] = await test.operations(stuck.id)
      await (how === 'revoked'
        ? test.engine.revokeCredential(test.admin, stuck.id)
        : test.engine.cancelOperation(test.admin, operation!.id))
      await test.pass(65, 13)
      test.aws.faults.release()

      expect((await test.account(account.id)).status).toBe('active')
      expect((await test.credential(stuck.id)).status).toBe(
        how === 'revoked' ? 'revoked' : 'failed',
      )
    },
  )
})
