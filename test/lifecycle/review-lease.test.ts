import { afterEach, expect, it } from 'vitest'
import type { Provider } from '../../src/provider/contract.ts'
import { secondsBetween } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
afterEach(() => test.close())

it('prolongs the lease between the steps of one claim', async () => {
  test = await startTestEngine()
  const account = await test.request(await test.person(), {
    credentials: [wants.accessKey()],
    drain: false,
  })
  const [credential] = await test.credentials(account.id)
  const left: number[] = []
  const slow = (provider: Provider): Provider =>
    new Proxy(provider, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (typeof value !== 'function') return value
        return async (...args: unknown[]): Promise<unknown> => {
          if (property === 'list') {
            const [operation] = await test.operations(credential!.id)
            left.push(secondsBetween(test.clock.now(), operation!.leaseUntil!))
          }
          const answer: unknown = await value.apply(object, args)
          if (property === 'ensurePrincipal') test.clock.advance(50)
          return answer
        }
      },
    })
  const worker = anotherWorker(test, (life) => ({
    ...life,
    providers: new Map(life.providers).set('aws-prod', slow(life.providers.get('aws-prod')!)),
  }))

  await worker.drain()

  expect(left[0]).toBeGreaterThan(20)
})
