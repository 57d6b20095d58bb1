import { afterAll, beforeAll, expect, it } from 'vitest'
import { ProviderError } from '../../src/provider/contract.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

it('tries again to replace the keys a leaver knows, instead of waiting for the hour that ends them', async () => {
  const [owner, heir] = [await test.person(), await test.person()]
  const account = await test.request(owner, {
    backupOwners: [{ type: 'User', id: heir }],
    credentials: [wants.accessKey()],
  })
  const [credential] = await test.credentials(account.id)
  const denied = anotherWorker(test, (life) => {
    const sink = life.sinks.get('aws-secrets')!
    const refusing = new Proxy(sink, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (property === 'check') {
          return () => {
            throw new ProviderError('denied', 'not authorized', { outcome: 'notApplied' })
          }
        }
        return typeof value === 'function' ? (value as () => unknown).bind(object) : value
      },
    })
    return { ...life, sinks: new Map([...life.sinks, ['aws-secrets', refusing]]) }
  })

  await test.leave(owner)
  await denied.drain()
  const [rotation] = (await test.operations(credential!.id)).filter((o) => o.kind === 'rotate')
  expect(rotation).toMatchObject({ status: 'waiting', failure: { code: 'denied' } })
  await test.pass(minutes(5), 10)

  expect(await test.credential(credential!.id)).toMatchObject({ status: 'active', generation: 2 })
  expect(await test.works(await test.credential(credential!.id))).toBe(true)
})
