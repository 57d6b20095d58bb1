import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Provider } from '../../src/provider/contract.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, startTestEngine, wants } from '../support/engine.ts'

// A process stands still (a paused machine, a swapped-out container) with the provider's answer in
// its hands, until another has taken the operation over and finished it.
let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

/** A worker that hears the answer to `issue` only when it is let go. */
function slowWorker(name: string) {
  const { promise: gate, resolve: letGo } = Promise.withResolvers<void>()
  const { promise: answered, resolve: hasAnswer } = Promise.withResolvers<void>()
  const worker = anotherWorker(test, (life) => {
    const provider = life.providers.get(name)!
    const slow = new Proxy(provider, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (property !== 'issue') {
          return typeof value === 'function' ? (value as () => unknown).bind(object) : value
        }
        return async (...args: Parameters<Provider['issue']>) => {
          const issued = await object.issue(...args)
          hasAnswer()
          await gate
          return issued
        }
      },
    })
    return { ...life, providers: new Map([...life.providers, [name, slow]]) }
  })
  return { worker, answered, letGo }
}

it.each([
  ['an access key', 'aws-prod', wants.accessKey],
  ['a deploy key', 'github-acme', wants.deployKey],
  ['a token', 'tokens', wants.token],
] as const)(
  'of %s it changes nothing that the other has written',
  async (_name, provider, want) => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [want()], drain: false })
    const slow = slowWorker(provider)
    const running = slow.worker.drain()
    await slow.answered
    test.clock.advance(61)
    await test.pass(5)
    const [credential] = await test.credentials(account.id)
    const before = await test.keys(credential!.id)

    slow.letGo()
    await running

    expect((await test.credential(credential!.id)).status).toBe('active')
    expect(await test.keys(credential!.id)).toEqual(before)
    const audit = await test.store.read.audit(test.admin.tenant, {
      target: credential!.id,
      after: null,
      limit: 200,
    })
    const issued = audit.filter((row) => row.action === 'key.issued').map((r) => r.facts['keyId'])
    expect(issued).toEqual([...new Set(issued)])
  },
)

it('removes the key that it made after another had waited for it in vain', async () => {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
  const { promise: gate, resolve: letGo } = Promise.withResolvers<void>()
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>()
  // It has looked at the fence, and stands still before the send.
  const late = anotherWorker(test, (life) => {
    const provider = life.providers.get('aws-prod')!
    const slow = new Proxy(provider, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (property !== 'issue') {
          return typeof value === 'function' ? (value as () => unknown).bind(object) : value
        }
        return async (...[principal, want, call]: Parameters<Provider['issue']>) => {
          isAsked()
          await gate
          const signal = new AbortController().signal
          return object.issue(principal, want, { ...call, signal, fence: async () => true })
        }
      },
    })
    return { ...life, providers: new Map([...life.providers, ['aws-prod', slow]]) }
  })
  const running = late.drain()
  await asked
  test.clock.advance(61)
  await test.pass(90, 5)
  const [credential] = await test.credentials(account.id)
  expect(credential!.status).toBe('active')

  letGo()
  await running

  expect(await test.liveAtProviders(account.id)).toEqual([credential!.keyId])
  const query = { target: credential!.id, after: null, limit: 200 }
  const rows = await test.store.read.audit(test.admin.tenant, query)
  expect(rows.filter((row) => row.action === 'key.strayRemoved')).toHaveLength(1)
})
