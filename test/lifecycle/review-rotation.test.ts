import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, days, hours, mortal, startTestEngine, wants } from '../support/engine.ts'

describe('a rotation whose new key was accepted once', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  const rotating = async (more: { readonly expiresIn?: number } = {}) => {
    const owner = await test.person()
    const { expiresIn } = more
    const expiresAt = expiresIn === undefined ? {} : { expiresAt: in_(expiresIn) }
    const account = await test.request(owner, { credentials: [wants.token(expiresAt)] })
    const [credential] = await test.credentials(account.id)
    const operation = await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(5)
    const now = await test.credential(credential!.id)
    expect(now.generation).toBe(2)
    return { old: credential!.keyId!, credential: now, operation: operation.id }
  }
  const in_ = (span: number) => {
    const at = Date.parse(test.clock.now()) + span * 1_000
    return new Date(at).toISOString() as ReturnType<typeof test.clock.now>
  }

  it('asks nobody about a key that is refused because its end date has come', async () => {
    const { credential, operation } = await rotating({ expiresIn: days(3) })

    await test.pass(days(4), hours(1))

    const waiting = await test.operation(operation)
    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'credentialExpired' } })
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(60, 5)
    expect(await test.credential(credential.id)).toMatchObject({ status: 'revoked' })
    expect((await test.operation(operation)).status).toBe('cancelled')
  })

  it('goes on once the end date was moved', async () => {
    const { credential, operation, old } = await rotating({ expiresIn: days(3) })
    await test.pass(days(4), hours(1))
    const { displayName, provider, kind, scopes, readers, deliverTo, account } = credential

    await test.engine.updateCredential(test.admin, await test.credential(credential.id), {
      serviceAccount: account,
      displayName,
      provider,
      kind,
      scopes,
      readers,
      deliverTo,
      expiresAt: in_(days(60)),
      rotateEvery: undefined,
      overlap: undefined,
    })
    await test.pass(days(20), hours(6))

    expect((await test.operation(operation)).status).toBe('succeeded')
    expect((await test.keys(credential.id)).find((k) => k.keyId === old)?.status).toBe('revoked')
    expect(await test.works(await test.credential(credential.id))).toBe(true)
  })

  it('gives consumers a token back that was switched off, too', async () => {
    const { old, credential, operation } = await rotating()
    await test.pass(days(8), hours(6))
    expect((await test.keys(credential.id)).find((k) => k.keyId === old)?.status).toBe('disabled')
    await test.tokens.book.remove(credential.keyId!)

    await test.pass(days(2), 600)

    expect(await test.operation(operation)).toMatchObject({ failure: { code: 'rolledBack' } })
    expect(await test.works(await test.credential(credential.id))).toBe(true)
  })

  it('leaves no key alive that the journal calls dead when the worker dies while it rolls back', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()] })
    const [credential] = await test.credentials(account.id)
    const old = credential!.keyId!
    await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(days(8), hours(6))
    const current = await test.credential(credential!.id)
    test.aws.world.call({
      service: 'iam',
      operation: 'UpdateAccessKey',
      input: {
        UserName: test.awsUser(account.id)!,
        AccessKeyId: current.keyId,
        Status: 'Inactive',
      },
      accessKeyId: test.aws.world.admin.accessKeyId,
      region: 'us-east-1',
    })
    for (let call = 0; !test.aws.world.wouldAccept(old); call++) {
      expect(call).toBeLessThan(40)
      const worker = anotherWorker(test, mortal({ call, when: 'after' }).around)
      for (let look = 0; look < 8; look++) {
        test.clock.advance(hours(1))
        await worker.drain()
      }
    }

    const row = (await test.keys(credential!.id)).find((k) => k.keyId === old)
    expect(row?.status).not.toBe('disabled')
  })
})
