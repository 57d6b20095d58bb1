import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CredentialKind } from '../../src/domain/credential.ts'
import { renderCredential } from '../../src/scim/render.ts'
import { DoorList } from '../support/doors.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, startTestEngine } from '../support/engine.ts'

const doors = new DoorList()
let test: TestEngine

beforeAll(async () => {
  test = await startTestEngine({ also: [doors.module()] })
})
afterAll(() => test.close())

async function onTheList(kind: CredentialKind) {
  const owner = await test.person()
  const { id } = await test.request(owner, {
    credentials: [{ provider: 'doors', kind, scopes: [] }],
  })
  const [credential] = await test.credentials(id)
  return { owner, account: id, credential: credential! }
}

const actions = async (target: string): Promise<readonly string[]> => {
  const rows = await test.store.read.audit(test.admin.tenant, { target, limit: 50, after: null })
  return rows.map((row) => row.action)
}

describe('a credential without a secret', () => {
  it('is made once, though the answer is lost, and works without a sink', async () => {
    doors.losesAnswer = true
    const before = doors.entries.size

    const { credential, account } = await onTheList('federated-role')

    expect(credential).toMatchObject({ status: 'active', secretRef: null, rotateAfter: null })
    expect(doors.opens(credential.keyId!)).toBe(true)
    expect(doors.entries.size).toBe(before + 1)
    expect((await test.account(account)).status).toBe('active')
    expect(await actions(credential.id)).not.toContain('key.delivered')
    expect(JSON.parse(renderCredential(credential))).not.toHaveProperty('deliverTo')
  })

  it('says what keeps it from being made while that lasts', async () => {
    doors.outage = 'the list is locked away'
    const owner = await test.person()
    const entry = { provider: 'doors', kind: 'manual', scopes: [] } as const
    const { id } = await test.request(owner, { credentials: [entry], drain: false })
    await test.pass(20)

    const [waiting] = await test.credentials(id)
    doors.outage = null
    await test.pass(300, 60)

    expect(waiting).toMatchObject({ status: 'issuing', lastError: 'the list is locked away' })
    const [made] = await test.credentials(id)
    expect(made).toMatchObject({ status: 'active', lastError: null })
    expect(made!.version).toBeLessThan(waiting!.version + 5)
  })

  it('is never rotated: neither by a sweep, nor on request, nor when its owner leaves', async () => {
    const { credential, owner } = await onTheList('federated-role')

    await test.pass(days(1), days(1))
    await test.engine.runSweep(test.admin, 'rotation', { full: true })
    await expect(test.engine.rotateCredential(test.admin, credential.id)).rejects.toMatchObject({
      code: 'notRotatable',
      status: 409,
    })
    await test.leave(owner)
    await test.pass(5)

    const kinds = (await test.operations(credential.id)).map((o) => o.kind)
    expect(kinds).not.toContain('rotate')
  })

  it('is proven dead by trying the door, for as long as it still opens', async () => {
    const { credential } = await onTheList('federated-role')
    doors.porterSleeps = true

    await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(20)
    const [tried] = await test.keys(credential.id)
    doors.porterSleeps = false
    await test.pass(300, 60)

    expect(tried).toMatchObject({ status: 'disabled', outcome: null })
    const told = await actions(credential.id)
    // Before each try, and the last of them before the refusal.
    const tries = told.filter((action) => action === 'probe.negative')
    expect(tries.length).toBeGreaterThan(1)
    expect(told.lastIndexOf('probe.negative')).toBeLessThan(told.indexOf('key.refused'))
    expect((await test.credential(credential.id)).status).toBe('revoked')
    expect((await test.keys(credential.id))[0]).toMatchObject({ outcome: 'refused' })
  })

  it('that nobody can try is dead when a complete listing does not show it', async () => {
    const { credential } = await onTheList('manual')

    await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(20)

    expect((await test.credential(credential.id)).status).toBe('revoked')
    expect((await test.keys(credential.id))[0]).toMatchObject({ outcome: 'absent' })
  })

  it('comes back with its account, the same key, after a pause', async () => {
    const { credential, account } = await onTheList('federated-role')

    await test.engine.switchAccount(test.admin, account, 'disable', null)
    await test.pass(5)
    const paused = doors.opens(credential.keyId!)
    await test.engine.switchAccount(test.admin, account, 'enable', null)
    await test.pass(5)

    expect(paused).toBe(false)
    expect(doors.opens(credential.keyId!)).toBe(true)
    expect((await test.credential(credential.id)).keyId).toBe(credential.keyId)
  })

  it('that only a person can end asks for it once, in the words of the provider', async () => {
    const { credential } = await onTheList('app-installation')
    const operation = await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(30)

    const asked = await test.operation(operation.id)
    const tasks = await test.store.read.tasksOfAccount(asked.tenant, credential.account)
    expect(asked).toMatchObject({ status: 'waiting', failure: { code: 'taskOpen' } })
    expect(tasks.map((t) => t.status)).toEqual(['open'])
    expect(tasks[0]!.instructions).toContain('ask the landlord')
    doors.entries.delete(credential.keyId!)
    await test.engine.retryOperation(test.admin, operation.id)
    await test.pass(5)

    expect((await test.credential(credential.id)).status).toBe('revoked')
  })

  it.each([
    ['adoptOnly', { kind: 'pat-grant' }],
    ['invalidValue', { kind: 'manual', deliverTo: { sink: 'files', path: 'x' } }],
  ] as const)('is refused with %s', async (code, entry) => {
    const owner = await test.person()

    await expect(
      test.request(owner, { credentials: [{ provider: 'doors', scopes: [], ...entry }] }),
    ).rejects.toMatchObject({ code, status: 400 })
  })
})
