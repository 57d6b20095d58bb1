import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine, wants } from '../support/engine.ts'

// A deploy key cannot be switched off: to stop it is to delete it, and what follows later deletes
// nothing more.
let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

async function deletions(credential: string): Promise<readonly unknown[]> {
  const rows = await test.store.read.audit(test.admin.tenant, {
    target: credential,
    after: null,
    limit: 200,
  })
  return rows.filter((row) => row.action === 'key.deleted').map((row) => row.facts['generation'])
}

async function deployKey() {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [wants.deployKey()] })
  const [credential] = await test.credentials(account.id)
  return { owner, account, credential: credential!.id }
}

it('a rotation tells of the one deletion of the old key', async () => {
  const { credential } = await deployKey()
  await test.engine.rotateCredential(test.admin, credential)
  await test.pass(days(24), days(8))

  expect((await test.credential(credential)).generation).toBe(2)
  expect(await deletions(credential)).toEqual([1])
})

it('an account that outlived its owner tells of one when it is deleted, too', async () => {
  const { owner, account, credential } = await deployKey()
  await test.leave(owner)
  await test.pass(hours(1), hours(1))
  await test.pass(days(91), days(91))
  await test.engine.runSweep(test.admin, 'expiry')
  await test.pass(hours(1), hours(1))

  expect((await test.account(account.id)).status).toBe('retired')
  expect(await deletions(credential)).toEqual([1])
})

it('enabling an account again tells of none beyond that', async () => {
  const { account, credential } = await deployKey()
  await test.engine.switchAccount(test.admin, account.id, 'disable', null)
  await test.pass(hours(1), hours(1))
  await test.engine.switchAccount(test.admin, account.id, 'enable', null)
  await test.pass(hours(1), hours(1))

  expect((await test.account(account.id)).status).toBe('active')
  expect(await deletions(credential)).toEqual([1])
})

it('a deploy key whose making was never answered is told of as removed, not as switched off', async () => {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [wants.deployKey()], drain: false })
  test.github.faults.arm('POST /repos/{owner}/{repo}/keys', { kind: 'lostResponse' })
  await test.worker.drain()
  expect(await test.liveAtProviders(account.id)).toHaveLength(1)

  await test.leave(owner)
  await test.pass(hours(2), 60)

  expect(await test.liveAtProviders(account.id)).toEqual([])
  const query = { target: account.id, after: null, limit: 200 }
  const rows = await test.store.read.audit(test.admin.tenant, query)
  const strays = rows.filter((row) => row.action.startsWith('key.stray'))
  expect(strays.map((row) => row.action)).toEqual(['key.strayRemoved'])
})
