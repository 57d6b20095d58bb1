import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Worker } from '../../src/lifecycle/engine.ts'
import type { Store } from '../../src/store/store.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

it('gives back what it has not finished, so that another worker need not wait a minute', async () => {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
  const stopping: Promise<void>[] = []
  const worker: Worker = anotherWorker(test, (life) => {
    const commit: Store['commit'] = async (changes) => {
      const result = await life.store.commit(changes)
      // Between two steps, with no call on its way.
      const isStep = changes.some((c) => c.type === 'advance' && !c.release)
      if (isStep && stopping.length === 0) stopping.push(worker.stop(0))
      return result
    }
    return { ...life, store: { ...life.store, commit } }
  })
  await worker.drain()
  await Promise.all(stopping)
  const [begun] = await test.operations((await test.credentials(account.id))[0]!.id)
  expect(begun).toMatchObject({ status: 'running', leaseUntil: test.clock.now() })

  await test.worker.drain()

  expect((await test.account(account.id)).status).toBe('active')
})
