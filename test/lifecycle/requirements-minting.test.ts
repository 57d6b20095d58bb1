import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callerOf, createEngine } from '../../src/lifecycle/engine.ts'
import type { Lifecycle } from '../../src/lifecycle/engine.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import type { Provider, SecretSink } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { seconds } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  consumedBy,
  days,
  startTestEngine,
  userSchema,
  wants,
} from '../support/engine.ts'

const nhiUrn = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** A provider or sink with some of its methods answered otherwise. */
function otherwise<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get: (object, name) => {
      const other: unknown = Reflect.get(methods, name)
      if (other !== undefined) return other
      const value: unknown = Reflect.get(object, name, object)
      return typeof value === 'function' ? (value.bind(object) as unknown) : value
    },
  })
}

const withProvider =
  (name: string, methods: Partial<Provider>) =>
  (life: Lifecycle): Lifecycle => ({
    ...life,
    providers: new Map(life.providers).set(name, otherwise(life.providers.get(name)!, methods)),
  })
const withSink =
  (name: string, methods: Partial<SecretSink>) =>
  (life: Lifecycle): Lifecycle => ({
    ...life,
    sinks: new Map(life.sinks).set(name, otherwise(life.sinks.get(name)!, methods)),
  })

let test: TestEngine
const issuing = async (entry = wants.accessKey()) => {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [entry], drain: false })
  const [{ id } = { id: '' }] = await test.credentials(account.id)
  return { account: account.id, id, now: () => test.credential(id) }
}
const working = async (entry = wants.accessKey(), more = {}) => {
  const owner = await test.person()
  const { id: account } = await test.request(owner, { credentials: [entry], ...more })
  const [credential] = await test.credentials(account)
  return { owner, account, id: credential!.id, credential: credential! }
}
const auditOf = (target: string) =>
  test.store.read.audit(test.admin.tenant, { target, after: null, limit: 200 })

describe('a fresh key at a provider that takes time to know it (R01)', () => {
  const propagation = 9
  beforeAll(async () => {
    test = await startTestEngine({ probe: { count: 5, every: 'PT2S' } })
  })
  afterAll(() => test.close())

  it('is not served before it was accepted five times in a row, two seconds apart', async () => {
    const { account, now } = await issuing()
    test.aws.world.propagationSeconds = propagation

    await test.pass(0)
    const made = test.aws.world.keysOf(test.awsUser(account)!)[0]!.accessKeyId
    for (let second = 0; second < propagation + 8; second++) {
      expect(await test.served(await now()), `after ${second} s`).not.toContain(made)
      await test.pass(1)
    }
    await test.pass(2)

    expect(await test.served(await now())).toContain(made)
    test.aws.world.propagationSeconds = 0
  })

  it('starts its count again when it is refused in between', async () => {
    const answers = ['accepted', 'accepted', 'accepted', 'accepted', 'refused'] as const
    let tries = 0
    const probe: Provider['probe'] = () => Promise.resolve(answers[tries++] ?? 'accepted')
    const { now } = await issuing()
    const worker = anotherWorker(test, withProvider('aws-prod', { probe }))
    for (let second = 0; second < 12; second++) {
      await worker.drain()
      expect((await now()).status).toBe('issuing')
      test.clock.advance(1)
    }
    for (let second = 0; second < 12; second++) {
      await worker.drain()
      test.clock.advance(1)
    }

    expect((await now()).status).toBe('active')
    expect(tries).toBe(10)
  })

  it('is removed when it is still refused after two minutes, and the credential says why', async () => {
    const { account, now, id } = await issuing()
    test.aws.world.propagationSeconds = 1_000
    await test.pass(118, 2)
    expect((await now()).status).toBe('issuing')

    await test.pass(8, 2)
    test.aws.world.propagationSeconds = 0

    expect(test.aws.world.keysOf(test.awsUser(account)!)).toEqual([])
    expect(await now()).toMatchObject({ status: 'failed', lastError: /refused after 120 s/ })
    expect((await test.operations(id))[0]).toMatchObject({ failure: { code: 'notAccepted' } })
  })
})

describe('a minting that cannot be trusted', () => {
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  it('makes no key while the journal cannot be written (R33)', async () => {
    const { account, now } = await issuing()
    const worker = anotherWorker(test, (life) => ({
      ...life,
      store: otherwise(life.store, {
        commit: (changes) =>
          changes.some((c) => c.type === 'advance' && (c.set.memo?.['mint'] ?? null) !== null)
            ? Promise.reject(new Error('the disk is full'))
            : life.store.commit(changes),
      }),
    }))
    await worker.drain()

    expect((await now()).status).toBe('pending')
    expect(test.aws.world.keysOf(test.awsUser(account)!)).toEqual([])
    test.clock.advance(61)
    await test.pass(2)
    expect(await test.works(await now())).toBe(true)
  })

  it('makes no key while the sink could not take it (R33)', async () => {
    const { account, now } = await issuing()
    const check = () =>
      Promise.reject(new ProviderError('unavailable', 'read-only', { outcome: 'notApplied' }))
    const worker = anotherWorker(test, withSink('aws-secrets', { check }))
    for (let i = 0; i < 3; i++) {
      await worker.drain()
      test.clock.advance(5)
    }

    expect(test.aws.world.keysOf(test.awsUser(account)!)).toEqual([])
    await test.pass(30)
    expect(await test.works(await now())).toBe(true)
  })

  it('waits for as long as a throttled provider asks (R54)', async () => {
    const { id, now } = await issuing()
    test.aws.faults.arm('CreateAccessKey', { kind: 'throttle', retryAfterSeconds: 97 })
    await test.pass(0)
    const asked = test.clock.now()

    const [waiting] = await test.operations(id)
    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'throttled' } })
    expect(Date.parse(waiting!.runAt) - Date.parse(asked)).toBe(97_000)
    await test.pass(96, 32)
    expect((await now()).status).toBe('issuing')
    await test.pass(1)
    expect(await test.works(await now())).toBe(true)
  })

  it('promotes nothing whose value is not there, whatever its label says (R21)', async () => {
    const { id, now } = await issuing()
    const worker = anotherWorker(
      test,
      withSink('aws-secrets', { read: () => Promise.resolve(null) }),
    )
    for (let i = 0; i < 4; i++) {
      await worker.drain()
      test.clock.advance(5)
    }

    expect((await now()).status).toBe('issuing')
    expect(await test.served(await now())).not.toContain('accessKeyId')
    expect((await test.operations(id))[0]!.steps[(await test.operations(id))[0]!.cursor]).toBe(
      'verify',
    )
    await test.pass(60)
    expect(await test.works(await now())).toBe(true)
  })

  it('that brings the same key again is no rotation: a person is asked, and the key stays (R41)', async () => {
    const { account, id, credential } = await working(wants.token())
    const issue: Provider['issue'] = (_principal, want) =>
      Promise.resolve({
        keyId: credential.keyId!,
        secret: null,
        fingerprint: want.publicPart!,
        expiresAt: null,
      })
    await test.engine.rotateCredential(test.admin, id)
    await anotherWorker(test, withProvider('tokens', { issue })).drain()
    await test.pass(days(15), days(1))

    const [rotation] = await test.operations(id)
    expect(rotation).toMatchObject({ status: 'needsOperator', failure: { code: 'sameKey' } })
    expect(await test.liveAtProviders(account)).toEqual([credential.keyId])
    expect(await test.works(await test.credential(id))).toBe(true)
  })
})

describe('a user whose slots are taken', () => {
  beforeAll(async () => {
    test = await startTestEngine({ adopt: ['legacy-ci'] })
  })
  afterAll(() => test.close())

  it('names the keys that take the slots, switched off or not, and mints nothing (R07)', async () => {
    const asAdmin = (operation: string, input: Readonly<Record<string, unknown>>) =>
      test.aws.world.call({
        service: 'iam',
        operation,
        input: { UserName: 'legacy-ci', ...input },
        accessKeyId: test.aws.world.admin.accessKeyId,
        region: 'us-east-1',
      }) as { readonly AccessKey: { readonly AccessKeyId: string } }
    asAdmin('CreateUser', {})
    const [on, off] = [0, 1].map(() => asAdmin('CreateAccessKey', {}).AccessKey.AccessKeyId)
    asAdmin('UpdateAccessKey', { AccessKeyId: off, Status: 'Inactive' })
    const owner = await test.person()
    const { id: account } = await test.request(owner, {
      userName: 'legacy-ci',
      credentials: [wants.accessKey()],
      drain: false,
    })
    await test.pass(5)

    const [credential] = await test.credentials(account)
    const [issue] = await test.operations(credential!.id)
    expect(issue).toMatchObject({ status: 'needsOperator', failure: { code: 'slotsFull' } })
    expect(issue!.failure!.message).toContain(`${on}, ${off}`)
    expect(test.aws.world.keysOf('legacy-ci').map((k) => k.accessKeyId)).toEqual([on, off])

    asAdmin('DeleteAccessKey', { AccessKeyId: off })
    await test.engine.retryOperation(test.admin, issue!.id)
    await test.pass(5)
    expect(await test.works(await test.credential(credential!.id))).toBe(true)
    expect(test.aws.world.wouldAccept(on!)).toBe(true)
  })
})

describe('a rotation', () => {
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  it('leaves proof that the new key was accepted and the old one refused (R82)', async () => {
    const { id, credential } = await working()
    await test.engine.rotateCredential(test.admin, id)
    await test.pass(days(16), days(1))

    const now = await test.credential(id)
    const rows = await auditOf(id)
    const about = (keyId: string) =>
      rows.filter((r) => r.facts['keyId'] === keyId).map((r) => r.action)
    expect(about(now.keyId!)).toEqual(['key.issued', 'key.activated'])
    expect(about(credential.keyId!)).toEqual([
      'key.issued',
      'key.activated',
      'key.disabled',
      'key.refused',
      'key.deleted',
    ])
    const [refused, deleted] = ['key.refused', 'key.deleted'].map(
      (action) => rows.find((r) => r.action === action)!.at,
    )
    expect(Date.parse(deleted!) - Date.parse(refused!)).toBeGreaterThanOrEqual(days(7) * 1_000)
  })

  it('of an old key in the way deletes it only after it was off for the soak (R05)', async () => {
    const { account, id } = await working()
    const user = test.awsUser(account)!
    await test.engine.rotateCredential(test.admin, id)
    await test.pass(days(1), days(1))
    // Pre-empts the rotation: the old key stays behind, off, and takes the second slot.
    await test.engine.switchAccount(test.admin, account, 'disable', null)
    await test.pass(5)
    await test.engine.switchAccount(test.admin, account, 'enable', null)
    await test.pass(5)
    const before = test.aws.world.keysOf(user).map((k) => k.accessKeyId)
    expect(before).toHaveLength(2)

    const operation = await test.engine.rotateCredential(test.admin, id)
    await test.pass(days(6), days(1))
    expect(test.aws.world.keysOf(user).map((k) => k.accessKeyId)).toEqual(before)
    expect(await test.operation(operation.id)).toMatchObject({
      status: 'waiting',
      failure: { code: 'slotsFull' },
    })

    await test.pass(days(1) + 10, days(1) / 2)
    expect((await test.credential(id)).generation).toBe(3)
    expect(await test.works(await test.credential(id))).toBe(true)
  })
})

describe('a plan of rotation that cannot hold', () => {
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  const consumers = (cacheTtl: string) => ({
    schemas: [userSchema, nhiUrn],
    [nhiUrn]: { consumers: [{ name: 'billing', cacheTtl }] },
  })
  const plan = async (
    id: string,
    more: { readonly rotateEvery?: number; readonly overlap?: number },
  ) => {
    const current = await test.credential(id)
    return test.engine.updateCredential(test.admin, current, {
      ...current,
      serviceAccount: current.account,
      expiresAt: undefined,
      rotateEvery: more.rotateEvery === undefined ? undefined : seconds(more.rotateEvery),
      overlap: more.overlap === undefined ? undefined : seconds(more.overlap),
    })
  }

  it('is refused when period, overlap and soak together outlast the age of a key (R03)', async () => {
    const { id } = await working(wants.token())

    await plan(id, { rotateEvery: days(76) })

    await expect(plan(id, { rotateEvery: days(77) })).rejects.toMatchObject({
      code: 'invalidValue',
      message: expect.stringContaining('P90D'),
    })
    expect((await test.credential(id)).rotateEvery).toBe(days(76))
  })

  it('is refused when it rotates more often than a store of secrets bears (R27)', async () => {
    const { id } = await working(wants.token(), { attributes: consumedBy() })

    await plan(id, { rotateEvery: 600, overlap: 0 })

    await expect(plan(id, { rotateEvery: 599, overlap: 0 })).rejects.toMatchObject({
      message: expect.stringContaining('at least PT10M'),
    })
  })

  it('is refused when a consumer caches for longer than the old key works (R25)', async () => {
    const owner = await test.person()
    const { id: account } = await test.request(owner, { attributes: consumers('PT1H') })
    const [credential] = await test.credentials(account)
    const refused = { code: 'invalidValue', message: expect.stringContaining('"billing"') }

    await plan(credential!.id, { overlap: 3_900 })
    await expect(plan(credential!.id, { overlap: 3_899 })).rejects.toMatchObject(refused)

    const current = await test.account(account)
    const asIs = { active: undefined, credentials: undefined, backupOwners: undefined }
    const write = { ...current, ...asIs, type: 'account' } as const
    await expect(
      test.engine.updateAccount(
        test.admin,
        current,
        { ...write, attributes: consumers('PT2H') },
        { mayRemove: false },
      ),
    ).rejects.toMatchObject(refused)
    await expect(test.request(owner, { attributes: consumers('P7D') })).rejects.toMatchObject(
      refused,
    )
  })
})

describe('planned rotation', () => {
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  it('never leaves an account without a working key, under any policy that is accepted (R08)', async () => {
    const day = fc.integer({ min: 0, max: 20 })
    await fc.assert(
      fc.asyncProperty(
        fc.record({ every: fc.integer({ min: 1, max: 30 }), overlap: day, soak: day, slack: day }),
        fc.constantFrom(wants.token, wants.token, wants.accessKey),
        async ({ every, overlap, soak, slack }, want) => {
          const text = policyWith({ every, overlap, soak, maxAge: every + overlap + soak + slack })
          const policy = compileLifecycle(text, 'lifecycle.yaml')
          const under = (life: Lifecycle): Lifecycle => ({ ...life, policy: () => policy })
          const engine = createEngine(under(test.life))
          const worker = anotherWorker(test, under)
          const { id } = await working(want())
          let generations = 0
          for (let passed = 0; passed < 84; passed += 6) {
            await engine.runSweep(callerOf(test.admin.client), 'rotation')
            await worker.drain()
            const now = await test.credential(id)
            generations = now.generation
            expect(await test.works(now), `after ${passed} days`).toBe(true)
            test.clock.advance(days(6))
            await worker.drain()
            expect(await test.works(await test.credential(id)), `${passed} days on`).toBe(true)
          }
          expect(generations).toBeGreaterThan(1)
        },
      ),
      { numRuns: 2 },
    )
  })
})

const policyWith = (rotation: Readonly<Record<string, number>>): string => `
defaults:
  expiry: { default: P365D, cap: P365D }
  rotation: { ${Object.entries(rotation)
    .map(([name, count]) => `${name}: P${count}D`)
    .join(', ')} }
  leaver:
    { overlap: PT1H, acceptWithin: P3D, backupMinAge: PT0S, groupGrace: PT1H, contain: false,
      containFor: PT4H, containWhenUsedWithin: PT24H }
  hold: P90D
  enforcement: enforce
`
