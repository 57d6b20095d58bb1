import { afterEach, describe, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, hours, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
afterEach(() => test.close())

const call = () => ({
  key: '0197c5a0-0000-7000-8000-000000000001',
  operation: null,
  signal: AbortSignal.timeout(5_000),
  fence: () => Promise.resolve(true),
})

describe('a key whose answer was lost before a revocation took over', () => {
  it('is deleted with its credential and does not look foreign afterwards', async () => {
    test = await startTestEngine({ settle: 'PT15S' })
    const account = await test.request(await test.person(), {
      credentials: [wants.accessKey()],
      drain: false,
    })
    const [credential] = await test.credentials(account.id)
    test.aws.faults.arm('CreateAccessKey', { kind: 'lostResponse' })
    await test.pass(0)
    expect(await test.liveAtProviders(account.id)).toHaveLength(1)

    await test.engine.revokeCredential(test.admin, credential!.id)
    await test.pass(100, 5)

    expect((await test.credential(credential!.id)).status).toBe('revoked')
    expect(test.aws.world.keysOf(test.awsUser(account.id)!)).toEqual([])
  })
})

describe('a deploy key whose answer was lost before a leaving took over', () => {
  it('is deleted before the heir gets another one, and told of', async () => {
    test = await startTestEngine()
    const heir = await test.person()
    const owner = await test.person()
    const account = await test.request(owner, {
      backupOwners: [{ type: 'User', id: heir }],
      credentials: [wants.deployKey()],
    })
    const [credential] = await test.credentials(account.id)
    await test.engine.rotateCredential(test.admin, credential!.id)
    test.github.faults.arm('POST /repos/{owner}/{repo}/keys', { kind: 'lostResponse' })
    await test.pass(0)
    const [old, lost] = await test.liveAtProviders(account.id)
    expect([old, lost]).not.toContain(undefined)

    await test.leave(owner)
    await test.pass(hours(2), 60)

    const live = await test.liveAtProviders(account.id)
    expect(live).toHaveLength(1)
    expect([old, lost]).not.toContain(live[0])
    const rows = await test.store.read.audit(account.tenant, {
      target: credential!.id,
      action: 'key.strayRemoved',
      after: null,
      limit: 10,
    })
    expect(rows).toHaveLength(1)
  })
})

describe('switching off after a switching on that was cut off', () => {
  const disabled = async () => {
    test = await startTestEngine()
    const account = await test.request(await test.person(), { credentials: [wants.accessKey()] })
    await test.engine.switchAccount(test.admin, account.id, 'disable', null)
    await test.pass(3)
    return account
  }

  it('denies the principal again, whatever the row says', async () => {
    const account = await disabled()
    const principal = await test.store.read.principal(account.tenant, account.id, 'aws-prod')
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.life.providers.get('aws-prod')!.turnOn(principal!.external!, call())

    await test.engine.switchAccount(test.admin, account.id, 'disable', null)
    await test.pass(3)

    const user = test.aws.world.users().find((u) => u.tags['custody:id'] === account.id)!
    expect(Object.keys(user.inlinePolicies)).toContain('custody-shut-off')
  })

  it('does not call a principal live that nobody could turn on', async () => {
    const account = await disabled()
    const worker = anotherWorker(test, (life) => ({ ...life, providers: new Map() }))
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)

    await worker.drain()

    const principal = await test.store.read.principal(account.tenant, account.id, 'aws-prod')
    expect(principal!.state).toBe('off')
    const [enable] = await test.operations(account.id)
    expect(enable).toMatchObject({ status: 'needsOperator', failure: { code: 'notConfigured' } })
  })
})
