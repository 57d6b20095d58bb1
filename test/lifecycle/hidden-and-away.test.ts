import { afterAll, beforeAll, expect, it } from 'vitest'
import { errors } from '../../src/domain/errors.ts'
import type { TestEngine } from '../support/engine.ts'
import { startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
let isAway = false
beforeAll(async () => {
  test = await startTestEngine({
    around: (life) => {
      const account: typeof life.store.read.account = (...of) =>
        isAway
          ? Promise.reject(errors.notReady({ reason: 'the database cannot be reached' }))
          : life.store.read.account(...of)
      return { ...life, store: { ...life.store, read: { ...life.store.read, account } } }
    },
  })
})
afterAll(() => test.close())

it('a database that is away hides nothing: what it cannot show is not called missing', async () => {
  const owned = await test.request(await test.person(), { credentials: [wants.accessKey()] })
  const [credential] = await test.credentials(owned.id)
  isAway = true

  for (const attempt of [
    () => test.engine.rotateCredential(test.admin, credential!.id),
    () => test.engine.revokeCredential(test.admin, credential!.id),
  ]) {
    await expect(attempt()).rejects.toMatchObject({ code: 'notReady', status: 503 })
  }
  isAway = false
  expect(await test.engine.credential(test.admin, credential!.id)).toMatchObject({
    id: credential!.id,
  })
})
