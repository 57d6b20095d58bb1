import { afterAll, beforeAll, expect, it } from 'vitest'
import { errors } from '../../src/domain/errors.ts'
import { createEngine } from '../../src/lifecycle/engine.ts'
import type { TestEngine } from '../support/engine.ts'
import { startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

it('a database that is away hides nothing: what it cannot show is not called missing', async () => {
  const owned = await test.request(await test.person(), { credentials: [wants.accessKey()] })
  const [credential] = await test.credentials(owned.id)
  const { life } = test
  const account = () =>
    Promise.reject(errors.notReady({ reason: 'the database cannot be reached' }))
  const read = { ...life.store.read, account }
  const engine = createEngine({ ...life, store: { ...life.store, read } })

  for (const attempt of [
    () => engine.rotateCredential(test.admin, credential!.id),
    () => engine.revokeCredential(test.admin, credential!.id),
  ]) {
    await expect(attempt()).rejects.toMatchObject({ code: 'notReady', status: 503 })
  }
})
