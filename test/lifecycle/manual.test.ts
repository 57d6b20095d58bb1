import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { manual } from '../../providers/manual/index.ts'
import type { Task } from '../../src/domain/task.ts'
import { unique } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine } from '../support/engine.ts'

describe('a target without an API', () => {
  let custody: TestEngine
  let team: string
  const config = { due: 'P2D', instructions: 'Open the old console, Users.' }

  beforeAll(async () => {
    custody = await startTestEngine({
      more: [{ entry: { name: 'mainframe', type: 'manual', config }, module: manual }],
    })
    team = await custody.person()
  })
  afterAll(() => custody.close())

  const wanted = { provider: 'mainframe', kind: 'manual' as const, scopes: ['reports'] }
  const upOf = async (owner: string) => {
    const account = await custody.request(owner, { credentials: [wanted] })
    const [credential] = await custody.credentials(account.id)
    return { account, credential: credential! }
  }
  const tasks = (account: string) =>
    custody.store.read.tasksOfAccount(custody.admin.tenant, account as Task['account'])
  const openTask = async (account: string) =>
    (await tasks(account)).find((t) => t.status === 'open' && t.action !== 'create')!
  const show = (id: string, more: { content?: Uint8Array; removed?: boolean } = {}) =>
    custody.engine.showEvidence(custody.admin, id, {
      note: 'done as written',
      name: 'screen.png',
      contentType: 'image/png',
      sha256: null,
      content: more.content ?? null,
      removed: more.removed ?? false,
    })
  const latest = async (subject: string) => (await custody.operations(subject))[0]!

  it('asks the owner to make what is wanted, and delivers nothing', async () => {
    const { account, credential } = await upOf(team)

    expect(credential).toMatchObject({ status: 'active', secretRef: null, rotateAfter: null })
    expect(await tasks(account.id)).toMatchObject([
      {
        action: 'create',
        assignee: team,
        keyId: credential.keyId,
        instructions: expect.stringContaining('Open the old console'),
      },
    ])
    await expect(
      custody.engine.requestCredential(custody.admin, {
        ...wanted,
        serviceAccount: account.id,
        displayName: null,
        readers: [],
        expiresAt: undefined,
        rotateEvery: undefined,
        overlap: undefined,
        deliverTo: { sink: 'files', path: unique('x') },
      }),
    ).rejects.toMatchObject({ code: 'invalidValue' })
  })

  it('of a leaver is asked of the manager, waits without being tried again, and is shown as not provable until evidenced', async () => {
    const manager = await custody.person()
    const owner = await custody.person({ manager })
    const { account, credential } = await upOf(owner)

    await custody.leave(owner)
    await custody.pass(5)
    const task = await openTask(account.id)
    const waiting = await latest(account.id)
    const steps = custody.events.length
    await custody.pass(hours(3), 600)
    const tried = custody.events.slice(steps).filter((e) => e.operation === waiting.id)
    const before = await custody.engine.offboarding(custody.admin, owner)

    expect(task).toMatchObject({ action: 'disable', assignee: manager, keyId: credential.keyId })
    expect(waiting).toMatchObject({
      status: 'waiting',
      failure: { code: 'taskOpen', message: expect.stringContaining(task.id) },
    })
    expect(tried.length).toBeLessThanOrEqual(3)
    expect(before).toMatchObject({ open: 1, verdict: 'incomplete' })
    expect(before.keys[0]).toMatchObject({
      outcome: null,
      switchedOffAt: null,
      byHand: { task: task.id, status: 'open', assignee: manager, overdue: false },
    })
    await custody.pass(days(3), hours(12))
    const late = await custody.engine.offboarding(custody.admin, owner)
    expect(late.keys[0]!.byHand!.overdue).toBe(true)

    const content = Buffer.from('a screenshot')
    await show(task.id, { content })
    await custody.pass(2)

    const sha256 = createHash('sha256').update(content).digest('hex')
    const after = await custody.engine.offboarding(custody.admin, owner)
    expect(after).toMatchObject({ open: 0, verdict: 'complete' })
    expect(after.keys[0]).toMatchObject({
      outcome: 'untestable',
      byHand: { status: 'done', sha256 },
    })
    expect((await custody.account(account.id)).status).toBe('disabled')

    await custody.engine.reopenTask(custody.admin, task.id, 'unreadable')
    expect(await custody.engine.offboarding(custody.admin, owner)).toMatchObject({
      open: 1,
      verdict: 'incomplete',
    })
    await show(task.id, { content })
    await custody.engine.runSweep(custody.admin, 'expiry')
    custody.clock.advance(days(91))
    await custody.engine.runSweep(custody.admin, 'expiry')
    await custody.pass(2)
    const removal = await openTask(account.id)
    expect(removal).toMatchObject({ action: 'remove' })
    await show(removal.id)
    await custody.pass(2)
    expect((await custody.account(account.id)).status).toBe('retired')
    expect((await custody.keys(credential.id))[0]).toMatchObject({
      status: 'revoked',
      outcome: 'untestable',
    })
  })

  it('is revoked with one piece of evidence when that says it is gone for good', async () => {
    const { account, credential } = await upOf(team)

    await custody.engine.revokeCredential(custody.admin, credential.id)
    await custody.pass(2)
    const task = await openTask(account.id)
    await show(task.id, { removed: true })
    await custody.pass(2)

    expect(await custody.credential(credential.id)).toMatchObject({ status: 'revoked' })
    expect(await openTask(account.id)).toBeUndefined()
    expect((await latest(credential.id)).status).toBe('succeeded')
  })

  it('expires, and comes back after a pause that nobody had carried out yet', async () => {
    const { account } = await upOf(team)

    await custody.engine.switchAccount(custody.admin, account.id, 'disable', null)
    await custody.pass(2)
    const task = await openTask(account.id)
    await show(task.id)
    await custody.pass(2)
    await custody.engine.switchAccount(custody.admin, account.id, 'enable', null)
    await custody.pass(2)

    expect((await custody.account(account.id)).status).toBe('active')
    expect(await openTask(account.id)).toMatchObject({ action: 'enable' })
    custody.clock.advance(days(120))
    await custody.engine.runSweep(custody.admin, 'expiry')
    await custody.pass(2)
    expect((await custody.account(account.id)).status).toBe('disabling')
    expect((await latest(account.id)).failure).toMatchObject({ code: 'taskOpen' })
  })

  it('takes evidence from whoever was asked, once, and only what is what it says', async () => {
    const owner = await custody.person()
    const { account, credential } = await upOf(owner)
    await custody.engine.revokeCredential(custody.admin, credential.id)
    await custody.pass(2)
    const { id } = await openTask(account.id)
    const asked = custody.caller('owner', { person: owner as never })
    const other = custody.caller('owner', { person: team as never })
    const shown = { note: 'x', name: null, contentType: null, removed: false, content: null }

    const refused = (caller: typeof asked, more: object) =>
      custody.engine.showEvidence(caller, id, { ...shown, sha256: null, ...more })
    await expect(refused(other, {})).rejects.toMatchObject({ code: 'notFound' })
    await expect(refused(asked, { sha256: 'ab' })).rejects.toMatchObject({ code: 'invalidValue' })
    await expect(refused(asked, { note: null })).rejects.toMatchObject({ code: 'requiredMissing' })
    const page = { after: null, limit: 9 }
    expect((await custody.engine.tasks(asked, page)).map((t) => t.id)).toContain(id)
    expect((await custody.engine.tasks(other, page)).map((t) => t.id)).not.toContain(id)
    await refused(asked, {})
    await expect(refused(asked, {})).rejects.toMatchObject({ code: 'wrongState' })
    expect(await custody.store.read.task(custody.admin.tenant, id)).toMatchObject({ note: 'x' })
  })
})
