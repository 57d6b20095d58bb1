import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine, wants } from '../support/engine.ts'

describe('rotation', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine()
  })
  afterAll(() => test.close())

  const one = async (entry = wants.accessKey()) => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [entry] })
    const [credential] = await test.credentials(account.id)
    return { owner, account, credential: credential! }
  }

  it('keeps both access keys working during the overlap, then refuses and deletes the old one', async () => {
    const { account, credential } = await one()
    const user = test.awsUser(account.id)!
    const old = credential.keyId!

    const operation = await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(1)

    const rotated = await test.credential(credential.id)
    expect(rotated).toMatchObject({ status: 'active', generation: 2, previousKeyId: old })
    expect(rotated.keyId).not.toBe(old)
    expect(await test.served(rotated)).toContain(rotated.keyId)
    expect(test.aws.world.wouldAccept(old)).toBe(true)
    expect(await test.works(rotated)).toBe(true)
    expect(test.aws.world.keysOf(user)).toHaveLength(2)

    await test.pass(days(7) - 3, days(7) - 3)
    expect(test.aws.world.wouldAccept(old)).toBe(true)

    await test.pass(3)
    expect(test.aws.world.wouldAccept(old)).toBe(false)
    const off = (await test.keys(credential.id)).find((k) => k.keyId === old)!
    expect(off).toMatchObject({ status: 'disabled', outcome: 'refused', deletedAt: null })
    expect(test.aws.world.keysOf(user)).toHaveLength(2)

    await test.pass(days(7), hours(12))
    expect(test.aws.world.keysOf(user).map((k) => k.accessKeyId)).toEqual([rotated.keyId])
    const gone = (await test.keys(credential.id)).find((k) => k.keyId === old)!
    expect(gone).toMatchObject({ status: 'revoked', outcome: 'refused' })
    expect(gone.deletedAt).not.toBeNull()
    expect((await test.credential(credential.id)).previousKeyId).toBeNull()
    expect((await test.operation(operation.id)).status).toBe('succeeded')
  })

  it.each([
    ['token', wants.token],
    ['deploy key', wants.deployKey],
  ])('rotates a %s too, and ends with exactly one live key', async (_name, want) => {
    const { account, credential } = await one(want())
    const before = await test.served(credential)

    await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(2)

    const rotated = await test.credential(credential.id)
    expect(rotated.generation).toBe(2)
    expect(await test.served(rotated)).not.toBe(before)
    expect(await test.liveAtProviders(account.id)).toHaveLength(2)

    await test.pass(days(14) + 2, hours(24))
    expect(await test.liveAtProviders(account.id)).toHaveLength(1)
    expect(await test.works(rotated)).toBe(true)
    expect((await test.credential(credential.id)).previousKeyId).toBeNull()
  })

  it('refuses a second rotation while one runs, and one of a credential that is not active', async () => {
    const { credential } = await one(wants.token())
    await test.engine.rotateCredential(test.admin, credential.id)

    await expect(test.engine.rotateCredential(test.admin, credential.id)).rejects.toMatchObject({
      code: 'busy',
    })

    await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(70)
    await expect(test.engine.rotateCredential(test.admin, credential.id)).rejects.toMatchObject({
      code: 'wrongState',
    })
  })

  it('is started by the sweep once rotateAfter has passed, and not a second earlier', async () => {
    const { credential } = await one(wants.token())
    const untilDue = Date.parse(credential.rotateAfter!) - Date.parse(test.clock.now())
    test.clock.advance(untilDue / 1_000 - 1)
    const early = await test.engine.runSweep(test.admin, 'rotation')
    expect(early.flatMap((a) => (a.proposal.id === credential.id ? a.operations : []))).toEqual([])

    test.clock.advance(1)
    const due = await test.engine.runSweep(test.admin, 'rotation')
    await test.pass(2)

    expect(due.find((a) => a.proposal.id === credential.id)?.operations).toHaveLength(1)
    expect((await test.credential(credential.id)).generation).toBe(2)
  })

  it('gives no new key to an account whose owner has left, by request or by sweep', async () => {
    const { owner, account, credential } = await one(wants.token())
    await test.leave(owner)

    // Before any worker ran: the account still reads active.
    await expect(test.engine.rotateCredential(test.admin, credential.id)).rejects.toMatchObject({
      code: 'noActiveOwner',
    })
    test.clock.advance(days(31))
    await test.engine.runSweep(test.admin, 'rotation')
    expect((await test.operations(credential.id)).map((o) => o.kind)).toEqual(['issue'])

    await test.pass(70)
    expect((await test.account(account.id)).status).toBe('disabled')
    expect((await test.credential(credential.id)).generation).toBe(1)
  })

  it('cannot be cancelled once the new key is served: the old one must still be retired', async () => {
    const { account, credential } = await one(wants.token())
    const operation = await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(2)

    await expect(test.engine.cancelOperation(test.admin, operation.id)).rejects.toMatchObject({
      code: 'wrongState',
    })

    await test.pass(days(15), hours(24))
    expect(await test.liveAtProviders(account.id)).toHaveLength(1)
  })
})
