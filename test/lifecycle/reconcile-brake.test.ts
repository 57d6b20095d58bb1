import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import { engagedBrakes, releaseBrake } from '../../src/lifecycle/brakes.ts'
import { planReconcile } from '../../src/lifecycle/reconcile.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { eventually } from '../support/custody.ts'
import type { TestEngine, TestEngineOptions } from '../support/engine.ts'
import { anotherWorker, hours, mortal, startTestEngine, wants } from '../support/engine.ts'
import { withInventory } from '../support/inventory.ts'
import { throttle } from '../support/throttle.ts'

interface MadeKey {
  readonly AccessKey: { readonly AccessKeyId: string }
}

let test: TestEngine
let owner: string
let credentials: readonly Credential[]

const byHand = (operation: string, input: Record<string, unknown>): object =>
  test.aws.world.call({
    service: 'iam',
    operation,
    input,
    accessKeyId: test.aws.world.admin.accessKeyId,
    region: 'us-east-1',
  }) ?? {}
const userOf = (credential: Credential): string => test.awsUser(credential.account)!
const deleteByHand = (credential: Credential): void => {
  const { keyId: AccessKeyId } = credential
  byHand('DeleteAccessKey', { UserName: userOf(credential), AccessKeyId })
}

const house = async (accounts: number, options: TestEngineOptions = {}): Promise<void> => {
  test = await startTestEngine(options)
  owner = await test.person()
  const made = []
  for (let i = 0; i < accounts; i++) {
    const { id } = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
    made.push(id)
  }
  await test.pass(3)
  credentials = (await Promise.all(made.map((id) => test.credentials(id)))).flat()
}
const sweep = async (after = hours(1), seconds = 60): Promise<void> => {
  test.clock.advance(after)
  await test.engine.runSweep(test.admin, 'reconcile')
  await test.pass(seconds, 10)
}
const open = async (): Promise<readonly string[]> => {
  const { tenant } = test.admin
  const all = await test.store.read.findings({ tenant, status: 'open', after: null, limit: 200 })
  return all.map((f) => `${f.kind} ${f.keyId ?? f.subject}`).sort()
}
const brake = async () => (await engagedBrakes(test.life)).find((b) => b.name === 'listing') ?? null
const lastRun = async (provider = 'aws-prod') => (await test.operations(provider))[0]!

afterEach(() => test.close())

describe('the listing brake', () => {
  beforeEach(() => house(12))

  it('engages when more than a tenth of what was listed is gone, and derives nothing (R17, R44)', async () => {
    await sweep()
    const [first, second, ...rest] = credentials
    deleteByHand(first!)
    deleteByHand(second!)

    for (let i = 0; i < 3; i++) await sweep()

    expect(await brake()).toMatchObject({
      subject: 'aws-prod',
      facts: { reason: 'shrunk', before: { keys: 12 }, now: { keys: 10, missing: 2 } },
    })
    expect(await open()).toEqual([])
    await test.engine.revokeCredential(test.admin, rest[0]!.id)
    await test.pass(60, 5)
    expect((await test.credential(rest[0]!.id)).status).toBe('revoked')
  })

  it('lets a tenth go, and calls what is missing vanished', async () => {
    await sweep()
    deleteByHand(credentials[0]!)

    for (let i = 0; i < 2; i++) await sweep()

    expect(await brake()).toBeNull()
    expect(await open()).toEqual([`vanished ${credentials[0]!.keyId}`])
  })

  it('resolves nothing while it is on, and lets go by itself when all is back', async () => {
    const foreign = byHand('CreateAccessKey', { UserName: userOf(credentials[0]!) }) as MadeKey
    const { AccessKeyId } = foreign.AccessKey
    await sweep()
    const move = (NewPath: string) => {
      for (const c of credentials) byHand('UpdateUser', { UserName: userOf(c), NewPath })
    }
    move('/hidden/')
    byHand('DeleteAccessKey', { UserName: userOf(credentials[0]!), AccessKeyId })
    await sweep()
    expect(await brake()).not.toBeNull()
    expect(await open()).toEqual([`foreign ${AccessKeyId}`])

    move('/custody/')
    await sweep()
    expect(await brake()).toBeNull()
    expect(await open()).toEqual([])
  })

  it('takes an operator’s release for the word that this is how it is now', async () => {
    await sweep()
    for (const c of credentials.slice(0, 4)) deleteByHand(c)
    await sweep()
    const key = { tenant: null, name: 'listing', subject: 'aws-prod' } as const
    await releaseBrake(test.life, key, { reason: 'they were deleted on purpose' })

    for (let i = 0; i < 2; i++) await sweep()

    expect(await brake()).toBeNull()
    expect(await open()).toEqual(
      credentials
        .slice(0, 4)
        .map((c) => `vanished ${c.keyId}`)
        .sort(),
    )
  })

  it('does not count what Custody itself has deleted', async () => {
    await sweep()
    for (const c of credentials.slice(0, 6)) await test.engine.revokeCredential(test.admin, c.id)
    await test.pass(60, 5)

    await sweep()

    expect(await brake()).toBeNull()
    expect(await open()).toEqual([])
    expect((await lastRun()).status).toBe('succeeded')
  })

  it('shows keys that are switched off in mass as such, and not one by one (R58)', async () => {
    await sweep()
    for (const c of credentials.slice(0, 3)) {
      const { keyId: AccessKeyId } = c
      byHand('UpdateAccessKey', { UserName: userOf(c), AccessKeyId, Status: 'Inactive' })
    }

    await sweep()

    expect(await brake()).toMatchObject({ facts: { reason: 'massDisabled', now: { inactive: 3 } } })
    expect(await open()).toEqual([])
  })

  it('engages when a page fails for good, and keeps what the pages before it showed', async () => {
    const foreign = byHand('CreateAccessKey', { UserName: userOf(credentials[0]!) }) as MadeKey
    test.aws.world.pageSizeMax = 4
    await sweep()
    deleteByHand(credentials[5]!)
    let calls = 0
    const own = test.life.providers.get('aws-prod')!
    const broken = withInventory(own, async (from, call) => {
      if (++calls === 2) throw new ProviderError('denied', 'no more', { outcome: 'notApplied' })
      return own.inventory!(from, call)
    })
    const worker = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers, ['aws-prod', broken]]),
    }))
    for (let i = 0; i < 2; i++) {
      calls = 0
      test.clock.advance(hours(1))
      await test.engine.runSweep(test.admin, 'reconcile')
      await worker.drain()
    }

    expect(await brake()).toMatchObject({ facts: { reason: 'denied', message: 'no more' } })
    expect((await lastRun()).failure).toEqual({ code: 'denied', message: 'no more' })
    expect((await lastRun('tokens')).status).toBe('succeeded')
    expect(await open()).toEqual([`foreign ${foreign.AccessKey.AccessKeyId}`])

    await sweep()
    expect(await brake()).toBeNull()
  })

  it('holds for one provider only: what the others show is still believed', async () => {
    await sweep()
    for (const c of credentials) deleteByHand(c)
    const account = await test.request(owner, { credentials: [wants.deployKey()] })
    await sweep()
    const repository = test.github.world.findRepository('acme', 'website')!
    repository.keys.clear()

    for (let i = 0; i < 2; i++) await sweep()

    const [key] = await test.credentials(account.id)
    expect(await brake()).toMatchObject({ subject: 'aws-prod' })
    expect(await open()).toEqual([`vanished ${key!.keyId}`])
  })
})

describe('an inventory', () => {
  it('that lags shows nothing that is not so', async () => {
    await house(2, { settle: 'PT30S' })
    test.aws.world.lagSeconds = 25
    await test.pass(60, 10)
    const fresh = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
    await test.pass(40, 2)
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.engine.switchAccount(test.admin, credentials[0]!.account, 'disable', null)
    await test.pass(1)
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(10, 2)

    expect(await open()).toEqual([])
    expect((await test.account(fresh.id)).status).toBe('active')
  })

  it('whose worker dies between two of its calls is finished by another, nothing doubled', async () => {
    await house(3)
    test.aws.world.pageSizeMax = 2
    const foreign = credentials.map(
      (c) => (byHand('CreateAccessKey', { UserName: userOf(c) }) as MadeKey).AccessKey.AccessKeyId,
    )
    const due = async (): Promise<void> => {
      test.clock.advance(hours(1))
      const { tenant, actor } = test.admin
      await test.store.commit(planReconcile(test.life, tenant, 'aws-prod', actor)!.changes)
    }
    const whole = mortal(null)
    await due()
    await anotherWorker(test, whole.around).drain()
    expect(whole.calls.filter((name) => name.includes('inventory')).length).toBeGreaterThan(1)

    // An odd stride meets "before" and "after" alike.
    for (let place = 0; place < whole.calls.length * 2; place += 5) {
      const death = { call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' } as const
      await due()
      await anotherWorker(test, mortal(death).around).drain()
      test.clock.advance(61)
      await test.worker.drain()
      expect((await lastRun()).status).toBe('succeeded')
    }

    expect(await open()).toEqual(foreign.map((id) => `foreign ${id}`).sort())
    const { tenant } = test.admin
    const all = await test.store.read.findings({ tenant, after: null, limit: 200 })
    expect(all).toHaveLength(3)
    expect(JSON.parse((await test.store.read.meta('inventory:aws-prod'))!)).toMatchObject({
      good: { keys: 6, live: 3, missing: 0 },
    })
  })

  it('that hangs is given up page by page, and holds up no other', async () => {
    await house(2)
    let isLate = false
    /** Time passes for whoever hangs, and for nobody who waits for an answer meanwhile. */
    const wait = (signal: AbortSignal): void => {
      if (signal.aborted) return
      if (isLate) test.clock.advance(5)
      setTimeout(() => wait(signal), 1)
    }
    const hanging = withInventory(
      test.life.providers.get('aws-prod')!,
      (_from, call) =>
        new Promise((_resolve, reject) => {
          const fail = () =>
            reject(new ProviderError('unavailable', 'timeout', { outcome: 'notApplied' }))
          if (call.signal.aborted) fail()
          call.signal.addEventListener('abort', fail)
          wait(call.signal)
        }),
    )
    const worker = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers, ['aws-prod', hanging]]),
    }))
    await test.engine.runSweep(test.admin, 'reconcile')

    const run = worker.drain()
    const others = async () => [await lastRun('tokens'), await lastRun('github-acme')]
    await eventually(others, (runs) => runs.every((r) => r.status === 'succeeded'))
    isLate = true
    await run
    expect((await lastRun()).status).toBe('waiting')

    for (let i = 0; i < 300 && (await lastRun()).finishedAt === null; i++) {
      test.clock.advance(5)
      await worker.drain()
    }
    expect((await lastRun()).failure).toEqual({ code: 'unavailable', message: 'timeout' })
    expect(await brake()).toMatchObject({ facts: { reason: 'unavailable' } })
  })

  it('of many users gets through an account that throttles, without a failed run', async () => {
    await house(1)
    for (let i = 0; i < 300; i++) {
      byHand('CreateUser', { UserName: `shadow-${i}`, Path: '/custody/' })
    }
    const refused = throttle(test, { burst: 20, perSecond: 10 })
    test.clock.advance(hours(1))
    await test.engine.runSweep(test.admin, 'reconcile')
    for (let i = 0; (await lastRun()).finishedAt === null && i < 200; i++) await test.pass(1)

    expect((await lastRun()).status).toBe('succeeded')
    const { tenant } = test.admin
    const found = await test.store.read.findings({ tenant, after: null, limit: 1_000 })
    expect(new Set(found.map((f) => f.kind))).toEqual(new Set(['unmanaged']))
    expect(found).toHaveLength(300)
    expect(refused()).toBeGreaterThan(10)
  })
})
