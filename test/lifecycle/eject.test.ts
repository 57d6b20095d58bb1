import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  days,
  hours,
  minutes,
  mortal,
  startTestEngine,
  wants,
} from '../support/engine.ts'

describe('handing accounts back', () => {
  let custody: TestEngine
  beforeEach(async () => {
    custody = await startTestEngine()
  })
  afterEach(() => custody.close())

  const eject = (id: string, wish: { includeTokens?: boolean; dryRun?: boolean } = {}) =>
    custody.engine.eject(custody.admin, id, {
      reason: 'we are leaving',
      includeTokens: false,
      dryRun: false,
      ...wish,
    })

  /** What somebody does at AWS without Custody. */
  const byHand = (operation: string, input: Record<string, unknown>): unknown => {
    const { accessKeyId } = custody.aws.world.admin
    return custody.aws.world.call({
      service: 'iam',
      operation,
      input,
      accessKeyId,
      region: 'us-east-1',
    })
  }
  const userNamed = (name: string) => custody.aws.world.users().find((u) => u.userName === name)!

  it('leaves every key working, takes tags and boundary off, and touches nothing of it again', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, {
      credentials: [wants.accessKey(), wants.deployKey()],
    })
    const before = await custody.credentials(account.id)
    const served = await Promise.all(before.map((c) => custody.served(c)))
    const name = custody.awsUser(account.id)!
    expect(userNamed(name).boundary).not.toBeNull()

    const dry = await eject(account.id, { dryRun: true })
    expect(dry).toMatchObject({ operation: null, handOver: { state: 'planned' } })
    expect(userNamed(name).boundary).not.toBeNull()
    const { operation } = await eject(account.id)
    await custody.pass(minutes(1))

    expect(await custody.operation(operation!.id)).toMatchObject({ status: 'succeeded' })
    expect(await custody.account(account.id)).toMatchObject({
      status: 'retired',
      statusReason: 'ejected',
      deleteAt: null,
      deletedAt: expect.any(String),
    })
    expect(userNamed(name)).toMatchObject({ boundary: null, tags: {} })
    const again = await eject(account.id)
    expect(again).toMatchObject({
      operation: null,
      handOver: {
        state: 'handedBack',
        handedBackAt: expect.any(String),
        principals: [
          { removed: [expect.stringContaining('boundary'), expect.stringContaining('custody:id')] },
          { removed: [] },
        ],
      },
    })
    expect(again.handOver.credentials.every((c) => c.keyIds.length === 1)).toBe(true)

    // Whoever goes on makes keys of their own there.
    const { AccessKey } = byHand('CreateAccessKey', { UserName: name }) as {
      AccessKey: { AccessKeyId: string }
    }
    await custody.leave(owner)
    await custody.engine.runSweep(custody.admin, 'reconcile', { full: true })
    await custody.pass(minutes(30), minutes(10))
    await custody.engine.runSweep(custody.admin, 'reconcile', { full: true })
    await custody.pass(days(400), days(100))
    expect(custody.aws.world.wouldAccept(AccessKey.AccessKeyId)).toBe(true)
    expect((await custody.operations('aws-prod')).map(({ status }) => status)).toContain(
      'succeeded',
    )
    expect(await custody.engine.offboarding(custody.admin, owner)).toMatchObject({
      keys: [],
      verdict: 'complete',
      handedBack: [{ account: account.id, at: again.handOver.handedBackAt }],
    })
    const findings = await custody.engine.findings(custody.admin, { after: null, limit: 50 })
    expect(findings).toEqual([])
    for (const [i, credential] of (await custody.credentials(account.id)).entries()) {
      expect(credential.status).toBe('released')
      expect(await custody.served(credential)).toBe(served[i])
      expect(await custody.works(credential)).toBe(true)
    }
    const work = await custody.store.read.operations({
      tenant: custody.admin.tenant,
      account: account.id,
      after: null,
      limit: 1,
    })
    expect(work.map(({ id }) => id)).toEqual([operation!.id])
    for (const credential of before) {
      await expect(
        custody.engine.revokeCredential(custody.admin, credential.id, null),
      ).rejects.toMatchObject({ status: 404 })
    }
  })

  it('refuses tokens, which end with Custody, unless told to include them', async () => {
    const account = await custody.request(await custody.person(), {
      credentials: [wants.token()],
    })
    await expect(eject(account.id)).rejects.toMatchObject({ code: 'endsWithCustody' })
    expect((await custody.account(account.id)).status).toBe('active')

    const { handOver } = await eject(account.id, { includeTokens: true })
    expect(handOver.credentials).toMatchObject([{ endsWithCustody: true }])
    await custody.pass(minutes(1))
    const [token] = await custody.credentials(account.id)
    expect(token).toMatchObject({ status: 'released' })
    expect(await custody.works(token!)).toBe(true)
    // Only Custody could end it now, so while it runs the owner's leaving still counts.
    await custody.leave(account.owner.id)
    expect(await custody.works(token!)).toBe(false)
  })

  it('waits for nobody: refused while a rotation runs, and a leaving takes over', async () => {
    const owner = await custody.person()
    const account = await custody.request(owner, { credentials: [wants.accessKey()] })
    const [credential] = await custody.credentials(account.id)
    await custody.engine.rotateCredential(custody.admin, credential!.id)
    await expect(eject(account.id)).rejects.toMatchObject({ code: 'busy' })
    await custody.pass(days(20), hours(12))

    const { operation } = await eject(account.id)
    await custody.engine.switchAccount(custody.admin, account.id, 'disable', 'a leak')
    await custody.pass(minutes(2))
    expect(await custody.operation(operation!.id)).toMatchObject({ status: 'cancelled' })
    expect(await custody.account(account.id)).toMatchObject({ status: 'disabled' })
    expect(await custody.works((await custody.credentials(account.id))[0]!)).toBe(false)

    // Handed back as it is: off; and whoever switches it on again is left alone.
    const UserName = custody.awsUser(account.id)!
    await eject(account.id)
    await custody.pass(minutes(1))
    expect(await custody.account(account.id)).toMatchObject({ statusReason: 'ejected' })
    expect(custody.awsUser(account.id)).toBeNull()
    expect(await custody.works((await custody.credentials(account.id))[0]!)).toBe(false)
    const [off] = await custody.credentials(account.id)
    byHand('UpdateAccessKey', { UserName, AccessKeyId: off!.keyId!, Status: 'Active' })
    await custody.engine.runSweep(custody.admin, 'reconcile', { full: true })
    await custody.pass(minutes(2))
    expect(await custody.works(off!)).toBe(true)
  })

  it('is finished by another process wherever one dies, with the keys as they were', async () => {
    const owner = await custody.person()
    let places = 1
    // The first run lives, to count the places to die at.
    for (let at = -1; at < places * 2; at++) {
      const account = await custody.request(owner, { credentials: [wants.accessKey()] })
      const name = custody.awsUser(account.id)!
      const { operation } = await eject(account.id)
      const dying = mortal(
        at < 0 ? null : { call: at >> 1, when: at % 2 === 0 ? 'after' : 'before' },
      )
      await anotherWorker(custody, dying.around).drain()
      if (at < 0) places = dying.calls.length

      await custody.pass(minutes(3), minutes(1))

      expect(await custody.operation(operation!.id)).toMatchObject({ status: 'succeeded' })
      expect(userNamed(name)).toMatchObject({ boundary: null, tags: {} })
      const [credential] = await custody.credentials(account.id)
      expect(credential).toMatchObject({ status: 'released' })
      expect(await custody.works(credential!)).toBe(true)
    }
    expect(places).toBeGreaterThan(3)
  })
})
