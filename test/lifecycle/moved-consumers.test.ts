import { afterEach, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { hours, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
afterEach(() => test.close())

/** A rotation that has moved the consumers and never heard that it did. */
async function moved(backup: boolean) {
  test = await startTestEngine()
  const [owner, heir] = [await test.person(), await test.person()]
  const account = await test.request(owner, {
    ...(backup ? { backupOwners: [{ type: 'User', id: heir }] as const } : {}),
    credentials: [wants.accessKey()],
  })
  const [credential] = await test.credentials(account.id)
  test.aws.faults.arm('UpdateSecretVersionStage', { kind: 'lostResponse' })
  const operation = await test.engine.rotateCredential(test.admin, credential!.id)
  await test.worker.drain()
  expect(await test.operation(operation.id)).toMatchObject({ status: 'waiting', attempt: 1 })
  expect(await test.served(credential!)).not.toContain(credential!.keyId)
  return { owner, credential: credential!, operation }
}

it('gives consumers the old key back when a rotation is cancelled that had moved them unheard', async () => {
  const { credential, operation } = await moved(false)

  await test.engine.cancelOperation(test.admin, operation.id)
  await test.worker.drain()

  expect((await test.operation(operation.id)).status).toBe('cancelled')
  expect(await test.served(credential)).toContain(credential.keyId)
  expect(await test.works(credential)).toBe(true)
})

it('serves the key that an operator’s pause gave back, not the one that such a rotation left', async () => {
  const { credential } = await moved(false)

  await test.engine.switchAccount(test.admin, credential.account, 'disable', null)
  await test.pass(5)
  await test.engine.switchAccount(test.admin, credential.account, 'enable', null)
  await test.pass(5)

  expect(await test.credential(credential.id)).toMatchObject({ status: 'active', generation: 1 })
  expect(await test.served(credential)).toContain(credential.keyId)
  expect(await test.works(credential)).toBe(true)
})

it('keeps consumers served when a leave takes such a rotation over', async () => {
  const { owner, credential } = await moved(true)

  await test.leave(owner)
  for (let second = 0; second < 10; second++) {
    expect(await test.works(credential)).toBe(true)
    await test.pass(1)
  }
  await test.pass(hours(2), 60)

  const now = await test.credential(credential.id)
  expect(now.keyId).not.toBe(credential.keyId)
  expect(await test.works(now)).toBe(true)
  expect(test.aws.world.wouldAccept(credential.keyId!)).toBe(false)
})
