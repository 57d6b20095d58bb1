import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { CredentialEntry } from '../../src/domain/want.ts'
import type { Death, TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  days,
  hours,
  interrupted,
  startTestEngine,
  wants,
} from '../support/engine.ts'

/** An odd stride meets "before" and "after" alike; with fifteen, each kind dies in four places or so. */
const stride = 15

describe('a revocation during a rotation', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  interface Target {
    readonly owner: string
    readonly account: string
    readonly credential: string
  }
  const rotating = async (want: () => CredentialEntry): Promise<Target> => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [want()] })
    const [credential] = await test.credentials(account.id)
    await test.engine.rotateCredential(test.admin, credential!.id)
    return { owner, account: account.id, credential: credential!.id }
  }

  const everywhere = async (
    want: () => CredentialEntry,
    act: (target: Target) => Promise<unknown>,
    check: (target: Target) => Promise<void>,
  ): Promise<void> => {
    const attempt = async (at: Death | null): Promise<number> => {
      const target = await rotating(want)
      const life = interrupted(at, () => act(target))
      await anotherWorker(test, life.around).drain()
      if (at === null) await act(target)
      await test.pass(63, 31)
      try {
        await check(target)
      } catch (error) {
        const where = at ? `${at.when} ${life.calls[at.call]}` : 'afterwards'
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error })
      }
      return life.calls.length
    }
    const places = await attempt(null)
    for (let place = 0; place < places * 2; place += stride) {
      await attempt({ call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' })
    }
  }

  const dead = async ({ account, credential }: Target): Promise<Credential> => {
    expect(await test.liveAtProviders(account)).toEqual([])
    const keys = await test.keys(credential)
    for (const key of keys.filter((k) => k.status !== 'failed')) {
      expect(key.outcome, key.keyId).toMatch(/^(refused|absent)$/)
    }
    return test.credential(credential)
  }
  const kinds: readonly (readonly [string, () => CredentialEntry])[] = [
    ['an access key', wants.accessKey],
    ['a deploy key', wants.deployKey],
    ['a token', wants.token],
  ]

  it.each(kinds)('of %s wins at every place, and every key ends with a proof', async (_n, want) => {
    await everywhere(
      want,
      ({ credential }) => test.engine.revokeCredential(test.admin, credential),
      async (target) => {
        expect((await dead(target)).status).toBe('revoked')
        const user = test.awsUser(target.account)
        expect(user === null ? [] : test.aws.world.keysOf(user)).toEqual([])
      },
    )
  })

  it.each(kinds)('by a leaving ends %s at every place', async (_n, want) => {
    await everywhere(
      want,
      ({ owner }) => test.leave(owner),
      async (target) => {
        expect((await dead(target)).status).toBe('disabled')
        expect((await test.account(target.account)).status).toBe('disabled')
      },
    )
  })

  it('between moving consumers and noting it is no obstacle to later rotations', async () => {
    await rotating(wants.accessKey)
    const counted = interrupted(null, async () => undefined)
    await anotherWorker(test, counted.around).drain()
    const call = counted.calls.indexOf('aws-secrets.promote')
    expect(call).toBeGreaterThan(0)

    const { account, credential } = await rotating(wants.accessKey)
    const life = interrupted({ call, when: 'after' }, () =>
      test.engine.switchAccount(test.admin, account, 'disable', null),
    )
    await anotherWorker(test, life.around).drain()
    expect(life.calls[call]).toBe('aws-secrets.promote')
    await test.pass(63, 31)
    await test.engine.switchAccount(test.admin, account, 'enable', null)
    await test.pass(63, 31)
    await test.engine.rotateCredential(test.admin, credential)
    await test.pass(63, 31)

    const [rotation] = (await test.operations(credential)).filter((o) => o.kind === 'rotate')
    expect(rotation).toMatchObject({ status: 'waiting', failure: null })
    expect(await test.works(await test.credential(credential))).toBe(true)
  })

  it.each([
    ['overlap', hours(1)],
    ['soak', days(8)],
  ])('also ends both keys in the %s', async (_n, wait) => {
    const target = await rotating(wants.accessKey)
    await test.pass(wait, wait / 2)
    await test.engine.switchAccount(test.admin, target.account, 'disable', null)
    await test.pass(2)

    expect((await dead(target)).status).toBe('disabled')
    expect(await test.keys(target.credential)).toHaveLength(2)
    const [rotation] = (await test.operations(target.credential)).filter((o) => o.kind === 'rotate')
    expect(rotation).toMatchObject({ status: 'cancelled', failure: { code: 'preempted' } })
  })

  it('switches off a key that AWS makes after the account was disabled', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
    test.aws.faults.arm('CreateAccessKey', { kind: 'hold' })
    const minting = anotherWorker(test, (life) => life)
    const run = minting.drain()
    await test.aws.faults.whenHolding()

    await test.leave(owner)
    await test.worker.drain()
    // The answer is in flight: nobody but AWS knows the key yet.
    const user = test.awsUser(account.id)!
    expect(test.aws.world.keysOf(user).map((k) => k.status)).toEqual(['Active'])

    // The minting process never hears the answer.
    await minting.stop(0)
    await run
    await test.pass(70)

    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect((await test.account(account.id)).status).toBe('disabled')
    test.aws.faults.release()
  })

  it('knows a key whose answer arrives after the account was disabled, and ends it', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
    test.aws.faults.arm('CreateAccessKey', { kind: 'hold' })
    const run = anotherWorker(test, (life) => life).drain()
    await test.aws.faults.whenHolding()
    await test.leave(owner)
    await test.worker.drain()

    test.aws.faults.release()
    await run
    await test.pass(70)

    expect(await test.liveAtProviders(account.id)).toEqual([])
    const [credential] = await test.credentials(account.id)
    const [key] = await test.keys(credential!.id)
    expect(key).toMatchObject({
      status: 'disabled',
      outcome: expect.stringMatching(/refused|untestable/),
    })
  })
})

describe('one provider that fails', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  it('does not keep the keys at the others alive, and is tried from one second on for ever', async () => {
    const owner = await test.person()
    const account = await test.request(owner, {
      credentials: [wants.accessKey(), wants.deployKey(), wants.token()],
    })
    test.aws.faults.arm('PutUserPolicy', { kind: 'throttle', retryAfterSeconds: 0 }, 100_000)
    test.aws.faults.arm('UpdateAccessKey', { kind: 'throttle', retryAfterSeconds: 0 }, 100_000)
    await test.leave(owner)
    await test.pass(3)

    expect(await test.liveAtProviders(account.id)).toHaveLength(1)
    expect((await test.account(account.id)).status).toBe('disabling')

    await test.pass(hours(1), 20)
    const [operation] = (await test.operations(account.id)).filter((o) => o.kind === 'disable')
    expect(operation).toMatchObject({ status: 'waiting', failure: { code: 'revokeBlocked' } })
    expect(operation!.attempt).toBeGreaterThan(8)

    test.aws.faults.release()
    await test.pass(301, 20)
    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect((await test.account(account.id)).status).toBe('disabled')
  })

  it('does not hold up the other keys when only the switch for the whole user is denied', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()] })
    test.aws.faults.arm('PutUserPolicy', { kind: 'serverError', effect: false }, 100_000)
    await test.leave(owner)
    await test.pass(10)

    expect(await test.liveAtProviders(account.id)).toEqual([])
    test.aws.faults.release()
    await test.pass(400, 20)
    expect((await test.account(account.id)).status).toBe('disabled')
  })

  it('retries a revocation after one second, then two, then four', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()] })
    const [credential] = await test.credentials(account.id)
    test.aws.faults.arm('UpdateAccessKey', { kind: 'serverError', effect: false }, 100_000)
    const started = await test.engine.revokeCredential(test.admin, credential!.id)
    const waits: number[] = []
    for (let i = 0; i < 4; i++) {
      await test.worker.drain()
      const { runAt } = await test.operation(started.id)
      const seconds = (Date.parse(runAt) - Date.parse(test.clock.now())) / 1_000
      waits.push(seconds)
      test.clock.advance(seconds)
    }
    expect(waits).toEqual([1, 2, 4, 8])
    await expect(test.engine.cancelOperation(test.admin, started.id)).rejects.toMatchObject({
      code: 'wrongState',
    })
    test.aws.faults.release()
    await test.engine.retryOperation(test.admin, started.id)
    await test.pass(2)
    expect((await test.operation(started.id)).status).toBe('succeeded')
  })

  it.each([
    ['an access key', wants.accessKey],
    ['a deploy key', wants.deployKey],
  ])('ends an account that expires while %s is made, at every place', async (_n, want) => {
    const owner = await test.person()
    const attempt = async (at: Death | null): Promise<number> => {
      const expiresAt = addSeconds(test.clock.now(), hours(1))
      const account = await test.request(owner, { credentials: [want()], drain: false, expiresAt })
      const life = interrupted(at, async () => {
        test.clock.advance(hours(1))
        await test.engine.runSweep(test.admin, 'expiry')
      })
      await anotherWorker(test, life.around).drain()
      if (at === null) return life.calls.length
      await test.pass(63, 31)
      const where = `${at.when} ${life.calls[at.call]}`
      expect((await test.account(account.id)).status, where).toBe('expired')
      expect(await test.liveAtProviders(account.id), where).toEqual([])
      return life.calls.length
    }
    const places = await attempt(null)
    expect(places).toBeGreaterThan(5)
    for (let place = 0; place < places * 2; place += 3) {
      await attempt({ call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' })
    }
  })

  it('ends the leaver’s old key within the hour even when no new key can be minted', async () => {
    const heir = await test.person()
    const owner = await test.person()
    const account = await test.request(owner, {
      backupOwners: [{ type: 'User', id: heir }],
      credentials: [wants.accessKey()],
    })
    await test.pass(3)
    test.aws.faults.arm('CreateAccessKey', { kind: 'throttle', retryAfterSeconds: 1 }, 100_000)
    await test.leave(owner)
    await test.pass(hours(1) + 120, 30)

    expect(await test.liveAtProviders(account.id)).toEqual([])
    test.aws.faults.release()
  })

  it('ends a deploy key whose answer was lost, though it was never journalled', async () => {
    const owner = await test.person()
    test.github.faults.arm('POST /repos/{owner}/{repo}/keys', { kind: 'lostResponse' })
    const account = await test.request(owner, { credentials: [wants.deployKey()], drain: false })
    await test.worker.drain()
    expect(await test.liveAtProviders(account.id)).toHaveLength(1)

    await test.engine.switchAccount(test.admin, account.id, 'disable', null)
    await test.pass(5)

    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect((await test.account(account.id)).status).toBe('disabled')
  })
})
