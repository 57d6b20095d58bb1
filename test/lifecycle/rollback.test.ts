import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { Provider } from '../../src/provider/contract.ts'
import type { Death, TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  consumedBy,
  days,
  hours,
  mortal,
  startTestEngine,
  wants,
} from '../support/engine.ts'

const inLookSteps = hours(2)

describe('a planned rotation', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine({ rotation: { atMaxAge: 'end' } })
  })
  afterAll(() => test.close())

  const rotated = async (entry = wants.accessKey()) => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [entry] })
    const [credential] = await test.credentials(account.id)
    const old = credential!.keyId!
    const operation = await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(2)
    const now = await test.credential(credential!.id)
    expect(now.generation).toBe(2)
    return { owner, account, old, operation: operation.id, credential: now }
  }
  /** A consumer's call: that it is denied does not make it less of a use. */
  const use = (accessKeyId: string) => {
    const call = { service: 'iam', operation: 'GetUser', input: {}, region: 'us-east-1' } as const
    expect(() => test.aws.world.call({ ...call, accessKeyId })).toThrow(/not authorized|denied/i)
  }
  const asAdmin = (operation: string, input: Readonly<Record<string, unknown>>) =>
    test.aws.world.call({
      service: 'iam',
      operation,
      input,
      accessKeyId: test.aws.world.admin.accessKeyId,
      region: 'us-east-1',
    })
  const refusing = (provider: Provider): Provider =>
    new Proxy(provider, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (name === 'probe') return () => Promise.resolve('refused')
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  const auditOf = async (id: string, action: string) => {
    const query = { target: id, after: null, limit: 200 }
    const rows = await test.store.read.audit(test.admin.tenant, query)
    return rows.filter((row) => row.action === action)
  }

  it('waits with the old key as long as a consumer uses it, says so, and retires it once it is quiet', async () => {
    const { old, operation, credential } = await rotated()
    await test.pass(days(6) + hours(20), inLookSteps)
    use(old)

    await test.pass(hours(6), inLookSteps)

    expect(test.aws.world.wouldAccept(old)).toBe(true)
    const waiting = await test.operation(operation)
    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'oldKeyInUse' } })
    expect(waiting.failure!.message).toContain(old)
    // Nothing can come of a look before that use is old enough: an hourly one costs five calls each.
    expect(waiting.runAt > addSeconds(test.clock.now(), hours(12))).toBe(true)
    expect(await auditOf(credential.id, 'key.stillUsed')).toHaveLength(1)

    // A seventh of the overlap, and the four hours that IAM may be late.
    await test.pass(hours(24), inLookSteps)
    expect(test.aws.world.wouldAccept(old)).toBe(false)
    expect(await auditOf(credential.id, 'key.stillUsed')).toHaveLength(1)
    expect(await auditOf(credential.id, 'key.retiredInUse')).toHaveLength(0)
  })

  it('keeps the old key as long as the provider does not say when it was last used', async () => {
    const { old, operation } = await rotated()
    await test.pass(days(6) + hours(23), inLookSteps)
    test.aws.faults.arm('GetAccessKeyLastUsed', { kind: 'serverError', effect: false }, 4)

    await test.pass(hours(1) + 2, hours(1))

    expect(test.aws.world.wouldAccept(old)).toBe(true)
    expect((await test.operation(operation)).failure).toMatchObject({ code: 'usageUnknown' })
    await test.pass(hours(1), 60)
    expect(test.aws.world.wouldAccept(old)).toBe(false)
  })

  it('retires the old key at its maximum age, whoever still uses it, where policy says end', async () => {
    const { old, credential } = await rotated()
    for (let day = 0; day < 88; day += 8) {
      test.clock.advance(days(8))
      use(old)
      await test.worker.drain()
    }
    test.clock.advance(days(1))
    expect(test.aws.world.wouldAccept(old)).toBe(true)

    use(old)
    await test.pass(days(1) + hours(2), inLookSteps)

    expect(test.aws.world.wouldAccept(old)).toBe(false)
    expect(await auditOf(credential.id, 'key.retiredInUse')).toHaveLength(1)
    expect(await test.works(await test.credential(credential.id))).toBe(true)
  })

  it('asks for no such proof where the overlap is nothing', async () => {
    const owner = await test.person()
    const attributes = consumedBy()
    const account = await test.request(owner, { credentials: [wants.accessKey()], attributes })
    const [first] = await test.credentials(account.id)
    const { displayName, provider, kind, scopes, readers, deliverTo } = first!
    await test.engine.updateCredential(test.admin, first!, {
      serviceAccount: account.id,
      displayName,
      provider,
      kind,
      scopes,
      readers,
      deliverTo,
      expiresAt: undefined,
      rotateEvery: undefined,
      overlap: seconds(0),
    })
    test.clock.advance(60)
    use(first!.keyId!)

    await test.engine.rotateCredential(test.admin, first!.id)
    await test.pass(3)

    expect(test.aws.world.wouldAccept(first!.keyId!)).toBe(false)
  })

  const backWithTheOldKey = async (id: string, operation: string, old: string) => {
    const restored = await test.credential(id)
    expect(restored).toMatchObject({ status: 'active', keyId: old, generation: 1 })
    expect(await test.served(restored)).toContain(old)
    expect(await test.works(restored)).toBe(true)
    expect(await test.operation(operation)).toMatchObject({
      status: 'failed',
      failure: { code: 'rolledBack' },
    })
    return restored
  }

  it('gives consumers the old key back when the new one disappears during the overlap', async () => {
    const { account, old, operation, credential } = await rotated()
    const UserName = test.awsUser(account.id)!
    asAdmin('DeleteAccessKey', { UserName, AccessKeyId: credential.keyId })

    await test.pass(days(1), 30)

    await backWithTheOldKey(credential.id, operation, old)
    expect(await auditOf(credential.id, 'key.rolledBack')).toHaveLength(1)
  })

  it('switches the old key on again when the new one is switched off during the soak, and the next rotation tidies up', async () => {
    const { account, old, operation, credential } = await rotated()
    await test.pass(days(8), hours(6))
    expect(test.aws.world.wouldAccept(old)).toBe(false)
    const UserName = test.awsUser(account.id)!
    asAdmin('UpdateAccessKey', { UserName, AccessKeyId: credential.keyId, Status: 'Inactive' })

    await test.pass(days(2), 600)

    const restored = await backWithTheOldKey(credential.id, operation, old)
    expect(test.aws.world.wouldAccept(credential.keyId!)).toBe(false)
    expect(restored.rotateAfter! > test.clock.now()).toBe(true)

    await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(days(20), hours(6))
    const third = await test.credential(credential.id)
    expect(third.generation).toBe(3)
    expect(test.aws.world.keysOf(UserName).map((k) => k.accessKeyId)).toEqual([third.keyId])
  })

  it('asks a person when the new key is active there but what consumers read is refused', async () => {
    const { old, operation } = await rotated()
    const worker = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers].map(([name, p]) => [name, refusing(p)])),
    }))
    for (let look = 0; look < 30; look++) {
      test.clock.advance(60)
      await worker.drain()
    }

    expect(await test.operation(operation)).toMatchObject({
      status: 'needsOperator',
      failure: { code: 'newKeyRefused' },
    })
    expect(test.aws.world.wouldAccept(old)).toBe(true)
  })
  it('makes a new key with the next sweep when the new one breaks and the old one is deleted', async () => {
    const { account, operation, credential } = await rotated(wants.deployKey())
    await test.pass(days(8), inLookSteps)
    const principal = await test.store.read.principal(account.tenant, account.id, 'github-acme')
    const call = {
      key: 'by hand',
      operation: null,
      signal: new AbortController().signal,
      fence: () => Promise.resolve(true),
    }
    const provider = test.life.providers.get('github-acme')!
    await provider.revoke(principal!.external!, credential.keyId!, call)

    await test.pass(days(2), inLookSteps)
    const lost = await test.operation(operation)
    await test.engine.runSweep(test.admin, 'rotation')
    await test.pass(5)

    expect(lost).toMatchObject({ status: 'failed', failure: { code: 'keyLost' } })
    const again = await test.credential(credential.id)
    expect(again).toMatchObject({ status: 'active', generation: 3, lastError: null })
    expect(await test.works(again)).toBe(true)
  })

  it('never gives a key back that somebody who left may know', async () => {
    const owner = await test.person()
    const heir = await test.person()
    const account = await test.request(owner, {
      backupOwners: [{ type: 'User', id: heir }],
      credentials: [wants.accessKey()],
    })
    const [first] = await test.credentials(account.id)
    await test.leave(owner)
    await test.pass(5)
    const current = await test.credential(first!.id)
    expect(current.generation).toBe(2)
    const UserName = test.awsUser(account.id)!
    await test.pass(hours(2), 600)
    asAdmin('DeleteAccessKey', { UserName, AccessKeyId: current.keyId })

    await test.pass(hours(12), 600)

    expect(test.aws.world.wouldAccept(first!.keyId!)).toBe(false)
  })

  it('is rolled back to exactly one working key, wherever the worker dies meanwhile', async () => {
    const attempt = async (death: Death | null): Promise<number> => {
      const { account, old, operation, credential } = await rotated()
      await test.pass(days(8), hours(12))
      const UserName = test.awsUser(account.id)!
      asAdmin('UpdateAccessKey', { UserName, AccessKeyId: credential.keyId, Status: 'Inactive' })
      const life = mortal(death)
      const worker = anotherWorker(test, life.around)
      for (let look = 0; look < 90; look++) {
        test.clock.advance(hours(1))
        await worker.drain()
      }
      await test.pass(days(1), hours(1))
      await backWithTheOldKey(credential.id, operation, old)
      expect(await test.liveAtProviders(account.id)).toEqual([old])
      return life.calls.length
    }
    const places = await attempt(null)
    for (let place = 0; place < places * 2; place += 29) {
      await attempt({ call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' })
    }
    expect(places).toBeGreaterThan(8)
  })
})
