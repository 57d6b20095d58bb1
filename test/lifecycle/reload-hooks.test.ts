import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { HookAnswer, HookCall } from '../../src/domain/hook.ts'
import { createHookKeys } from '../../src/domain/hook.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { TestEngine } from '../support/engine.ts'
import { consumedBy, days, hours, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
let calls: HookCall[] = []
let answers: readonly HookAnswer[] = []
const keys = createHookKeys(Secret.ofText('root'))
beforeAll(async () => {
  test = await startTestEngine({
    hooks: {
      keys,
      call: (call) => {
        calls.push(call)
        return Promise.resolve(answers[calls.length - 1] ?? answers.at(-1)!)
      },
    },
  })
})
afterAll(() => test.close())

const start = async (wanted: readonly HookAnswer[]) => {
  calls = []
  answers = wanted
  const attributes = consumedBy(
    { name: 'web', cacheTtl: 'PT5M', reloadHook: 'https://hooks.example/reload' },
    { name: 'job', cacheTtl: 'PT5M' },
  )
  const account = await test.request(await test.person(), { attributes })
  const [credential] = await test.credentials(account.id)
  const reloads = async () =>
    (await test.store.read.operations({ tenant: test.admin.tenant, after: null, limit: 200 }))
      .filter((o) => o.kind === 'reload' && o.memo['credential'] === credential!.id)
      .toReversed()
  return { account, credential: credential!, reloads }
}

describe('a consumer with a reload hook', () => {
  it('is told of each new secret, never the secret itself', async () => {
    const { account, credential } = await start([{ outcome: 'delivered', status: 200 }])

    await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(3)

    const served = await test.served(credential)
    expect(calls.map((c) => JSON.parse(c.body) as unknown)).toEqual(
      [1, 2].map((generation) => ({
        type: 'credential.rotated',
        account: account.id,
        credential: credential.id,
        generation,
        secretRef: expect.stringContaining('file:///'),
      })),
    )
    expect(calls[1]!.body).not.toContain(served)
    expect(new Set(calls.map((c) => c.id)).size).toBe(2)
  })

  it('whose hook fails holds nothing up: it is tried five times, then told of', async () => {
    const failed: HookAnswer = { outcome: 'failed', reason: 'it answered 503' }
    const { credential, reloads } = await start([failed])
    expect(await test.credential(credential.id)).toMatchObject({ status: 'active' })
    expect(await reloads()).toMatchObject([{ status: 'waiting', failure: { code: 'hookFailed' } }])

    await test.pass(hours(1), 60)

    expect(await reloads()).toMatchObject([{ status: 'failed', failure: { code: 'hookFailed' } }])
    expect(calls).toHaveLength(5)
    expect(new Set(calls.map((c) => c.id)).size).toBe(1)
  })

  it('whose hook leads inside is not tried again, and one that is out of date is not called', async () => {
    const refused: HookAnswer = { outcome: 'refused', reason: 'its host is inside the network' }
    const failed: HookAnswer = { outcome: 'failed', reason: 'it answered 503' }
    const { account, credential, reloads } = await start([refused, failed])
    expect(await reloads()).toMatchObject([{ status: 'failed', failure: { code: 'hookRefused' } }])

    await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(3)
    expect(calls).toHaveLength(2)
    await test.engine.switchAccount(test.admin, account.id, 'disable', 'test')
    await test.pass(60)

    expect(calls).toHaveLength(2)
    expect((await reloads()).map((o) => o.status)).toEqual(['failed', 'succeeded'])
    expect(await test.works(credential)).toBe(false)
  })

  it('knows a message by a key that is shown once, and by the one before it', async () => {
    const { credential } = await start([{ outcome: 'delivered', status: 200 }])
    const { tenant } = test.admin

    await test.engine.renewHookSecret(test.admin)
    const shown = await test.engine.renewHookSecret(test.admin)
    await expect(test.engine.renewHookSecret(test.caller('security'))).rejects.toMatchObject({
      code: 'forbidden',
    })
    await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(3)

    const [newest, before] = calls.at(-1)!.secrets
    expect(newest!.equals(keys.secret(tenant, 2))).toBe(true)
    expect(before!.equals(keys.secret(tenant, 1))).toBe(true)
    const text = newest!.use((key) => `whsec_${key.toString('base64')}`)
    expect(shown).toBe(text)
    const rows = await test.store.read.audit(tenant, { target: tenant, after: null, limit: 50 })
    expect(rows.filter((r) => r.action === 'hook.secretShown')).toHaveLength(2)
    expect(JSON.stringify(rows)).not.toContain(shown)
  })
})

describe('a rehearsal', () => {
  it('says who moved and how fast, gives the old key back, and never ends it', async () => {
    const attributes = consumedBy({ name: 'web', cacheTtl: 'PT1H' }, { name: 'job' })
    const credentials = [wants.accessKey()]
    const account = await test.request(await test.person(), { attributes, credentials })
    const [credential] = await test.credentials(account.id)
    const { id } = credential!
    const old = credential!.keyId!
    const { id: operation } = await test.engine.rehearseCredential(test.admin, id)
    await test.pass(2)
    const fresh = (await test.credential(id)).keyId!
    expect(fresh).not.toBe(old)
    let broken = 0
    const pass = async (seconds: number) => {
      for (let left = seconds; left > 0; left -= hours(12)) {
        await test.pass(hours(12), hours(12))
        if (!test.aws.world.wouldAccept(old)) broken++
      }
    }

    await pass(hours(12))
    await test.engine.reportSeen(test.admin, `${account.id}:job`, { credential: id, generation: 2 })
    await pass(days(2))
    const given = await test.credential(id)
    expect(given).toMatchObject({ keyId: old, generation: 1, status: 'active' })
    expect(await test.served(given)).toContain(old)
    const told = await test.operation(operation)
    expect([told.status, told.memo['result']]).toMatchObject([
      'waiting',
      { moves: { web: { state: 'reread' }, job: { state: 'seen' } } },
    ])
    // Who has read the new key may use it until it reads again.
    expect(test.aws.world.wouldAccept(fresh)).toBe(true)
    await pass(days(9))

    expect(test.aws.world.wouldAccept(fresh)).toBe(false)
    expect(broken).toBe(0)
    const done = await test.operation(operation)
    expect(done.status).toBe('succeeded')
    const { moves } = done.memo['result'] as { moves: Record<string, { state: string }> }
    expect(moves).toMatchObject({ web: { state: 'reread' }, job: { state: 'seen' } })
    // What it leaves is as it was: the next rotation has its slot.
    await test.engine.rotateCredential(test.admin, id)
    await test.pass(2)
    expect(await test.works(await test.credential(id))).toBe(true)
  })

  it('is refused where it would prove nothing', async () => {
    const attributes = consumedBy({ name: 'monolith', kind: 'restart-only' })
    const account = await test.request(await test.person(), { attributes })
    const [credential] = await test.credentials(account.id)

    const refused = test.engine.rehearseCredential(test.admin, credential!.id)

    await expect(refused).rejects.toMatchObject({
      code: 'wrongState',
      message: expect.stringContaining('"monolith"'),
    })
  })
})
