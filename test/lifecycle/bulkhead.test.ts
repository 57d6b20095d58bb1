import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { seconds } from '../../src/domain/time.ts'
import type { Bulkhead } from '../../src/lifecycle/bulkhead.ts'
import { NotNow, createBulkhead, jittered, urgentCall } from '../../src/lifecycle/bulkhead.ts'
import type { Worker } from '../../src/lifecycle/engine.ts'
import { createWorker } from '../../src/lifecycle/engine.ts'
import type { Call, Listing, Provider } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { TestEngine } from '../support/engine.ts'
import { startTestEngine, wants } from '../support/engine.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { unique } from '../support/entities.ts'

type Answer = Listing<never>

/** A provider of which only `list` and `disable` are asked, as the test says. */
function walled(clock: ManualClock, list: () => Promise<Answer>): [Provider, Bulkhead] {
  const provider = {
    name: 'p',
    list,
    disable: list,
    checkScopes: () => null,
  } as unknown as Provider
  const life = { clock, providers: new Map([['p', provider]]), sinks: new Map() }
  const bulkhead = createBulkhead(life as unknown as Parameters<typeof createBulkhead>[0], 32)
  return [bulkhead.life.providers.get('p')!, bulkhead]
}

function call(options: { readonly urgent?: boolean; readonly signal?: AbortSignal } = {}): Call {
  const signal = options.signal ?? new AbortController().signal
  const made: Call = { key: 'k', operation: null, signal, fence: () => Promise.resolve(true) }
  return options.urgent ? urgentCall(made) : made
}

const empty: Answer = { items: [], complete: true }
const failing = (kind: 'unavailable' | 'throttled') => () =>
  Promise.reject(new ProviderError(kind, 'no', { outcome: 'notApplied' }))
const outcome = (asked: Promise<unknown>) =>
  asked.then(
    () => 'answered',
    (error: unknown) => (error instanceof NotNow ? 'turned away' : 'failed'),
  )

describe('the wall around a provider', () => {
  const clock = new ManualClock()
  const hang = () => new Promise<Answer>(() => undefined)

  it('lets half of the worker in, of which a quarter is for revocations (R30)', () => {
    let open = 0
    const [provider, bulkhead] = walled(clock, () => {
      open += 1
      return hang()
    })
    for (let i = 0; i < 32; i++) void provider.list('x', call())
    expect([open, bulkhead.waiting()]).toEqual([12, { urgent: 0, others: 20 }])

    for (let i = 0; i < 6; i++) void provider.disable('x', 'k', call())

    expect([open, bulkhead.waiting()]).toEqual([16, { urgent: 2, others: 20 }])
    expect(bulkhead.crowded()).toEqual(['p'])
  })

  it('lets revocations in first when there is room again', async () => {
    const answers: (() => void)[] = []
    const order: string[] = []
    const [provider] = walled(clock, () => new Promise((r) => answers.push(() => r(empty))))
    for (let i = 0; i < 16; i++) void provider.list('x', call({ urgent: true }))
    void provider.list('x', call()).then(() => order.push('minting'))
    void provider.disable('x', 'k', call()).then(() => order.push('revoking'))

    while (answers.length > 0) {
      answers.shift()!()
      await new Promise((resolve) => setImmediate(resolve))
    }

    expect(order).toEqual(['revoking', 'minting'])
  })

  it('fails a call whose time is over before its turn, as one that was never sent', async () => {
    const controller = new AbortController()
    const [provider, bulkhead] = walled(clock, hang)
    for (let i = 0; i < 12; i++) void provider.list('x', call())
    const late = provider.list('x', call({ signal: controller.signal }))
    controller.abort()

    await expect(late).rejects.toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
    expect(bulkhead.waiting().others).toBe(0)
  })

  it('leaves a provider in peace after five failures, tries it with one call, and opens again', async () => {
    let asked = 0
    let list = failing('unavailable') as () => Promise<Answer>
    const [provider] = walled(clock, () => {
      asked += 1
      return list()
    })
    for (let i = 0; i < 5; i++) await outcome(provider.list('x', call()))
    expect(await outcome(provider.list('x', call()))).toBe('turned away')
    expect(await outcome(provider.list('x', call({ urgent: true })))).toBe('failed')
    expect(asked).toBe(6)

    clock.advance(15)
    const both = [provider.list('x', call()), provider.list('x', call())].map(outcome)
    expect(await Promise.all(both)).toEqual(['failed', 'turned away'])
    clock.advance(15)
    expect(await outcome(provider.list('x', call()))).toBe('turned away')

    list = () => Promise.resolve(empty)
    clock.advance(15)
    expect(await outcome(provider.list('x', call()))).toBe('answered')
    expect(await outcome(provider.list('x', call()))).toBe('answered')
  })

  it('is opened by a revocation that is answered', async () => {
    let list = failing('unavailable') as () => Promise<Answer>
    const [provider] = walled(clock, () => list())
    for (let i = 0; i < 5; i++) await outcome(provider.list('x', call()))
    list = () => Promise.resolve(empty)
    await provider.disable('x', 'k', call())

    expect(await outcome(provider.list('x', call()))).toBe('answered')
  })

  it('shares a rate among all calls after a throttling answer, but not with revocations (R16)', async () => {
    let list = failing('throttled') as () => Promise<Answer>
    const [provider] = walled(clock, () => list())
    await outcome(provider.list('x', call()))
    list = () => Promise.resolve(empty)
    clock.advance(1)

    const many = Array.from({ length: 8 }, () => outcome(provider.list('x', call())))
    expect((await Promise.all(many)).filter((o) => o === 'answered')).toHaveLength(5)
    expect(await outcome(provider.list('x', call({ urgent: true })))).toBe('answered')

    // Nobody complains: the rate doubles until there is none.
    for (let i = 0; i < 8; i++) {
      clock.advance(10)
      await outcome(provider.list('x', call()))
    }
    const more = Array.from({ length: 12 }, () => outcome(provider.list('x', call())))
    expect(new Set(await Promise.all(more))).toEqual(new Set(['answered']))
  })

  it('spreads what failed together over the whole wait, the same in each process (R16)', () => {
    const delays = Array.from({ length: 1_000 }, (_, i) => jittered(100, `operation ${i}`, 3))

    expect(jittered(100, 'operation 7', 3)).toBe(delays[7])
    for (const [from, to] of [
      [0, 25],
      [25, 50],
      [50, 75],
      [75, 100],
    ] as const) {
      const within = delays.filter((d) => d >= from && d < to).length
      expect(within).toBeGreaterThan(200)
      expect(within).toBeLessThan(300)
    }
  })
})

describe('a provider that hangs', () => {
  let test: TestEngine
  let worker: Worker
  beforeEach(async () => {
    test = await startTestEngine()
    worker = createWorker(
      { ...test.life, wake: () => worker.wake() },
      { name: unique('worker'), concurrency: 8, log: () => undefined, pollSeconds: seconds(1) },
    )
  })
  afterEach(async () => {
    test.aws.faults.release()
    await worker.stop(0)
    await test.close()
  })

  it('does not hold up a revocation at another one, however many of its own hang (R30)', async () => {
    const owner = await test.person()
    const token = await test.request(owner)
    const [credential] = await test.credentials(token.id)
    const keys: string[] = []
    for (let i = 0; i < 12; i++) {
      const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
      keys.push((await test.credentials(account.id))[0]!.id)
    }
    await test.pass(1)
    test.aws.faults.arm('*', { kind: 'hold' }, 1_000)
    for (const key of keys) await test.engine.revokeCredential(test.admin, key)
    worker.start()
    await test.aws.faults.whenHolding(4)

    await test.engine.revokeCredential(test.admin, credential!.id)
    worker.wake()
    for (let i = 0; i < 50; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      test.clock.advance(0.1)
      if ((await test.credential(credential!.id)).status === 'revoked') break
    }

    // The fifty steps took five seconds of its clock at most; a call that hangs takes twenty.
    expect((await test.credential(credential!.id)).status).toBe('revoked')
  })
})
