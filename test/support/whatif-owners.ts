import { expect } from 'vitest'
import type { AccountWrite } from '../../src/domain/want.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import { createEngine } from '../../src/lifecycle/engine.ts'
import { patchUrn, startTestCustody, userUrn } from './custody.ts'
import { days, hours, minutes, wants } from './engine.ts'
import { unique } from './entities.ts'
import type { Bench, Scenario } from './whatif.ts'

const owned = async ({ test, person }: Bench, more: Partial<AccountWrite> = {}) => {
  const owner = await person()
  return { owner, account: await test.request(owner, more) }
}
const spanOf = (from: string | null, to: string | null) =>
  (Date.parse(to!) - Date.parse(from!)) / 1_000

/** The page's lines about people, groups and directories; the key is the line's first cell. */
export const ownerScenarios: Readonly<Record<string, Scenario>> = {
  'owner leaves, a backup is active': async (bench, row) => {
    const { test, person, sweep } = bench
    const backupOwners = [{ type: 'User', id: await person() } as const]
    const credentials = [wants.accessKey()]
    const { owner, account } = await owned(bench, { backupOwners, credentials })
    const old = (await bench.credentialOf(account)).keyId!
    const moved = await owned(bench, { backupOwners, credentials: [wants.accessKey()] })
    const movedFrom = (await bench.credentialOf(moved.account)).keyId!
    await test.leave(owner)
    await test.leave(moved.owner)
    await test.pass(2)
    const { keyId } = await bench.credentialOf(moved.account)
    const call = { service: 'iam', operation: 'GetUser', input: {}, region: 'us-east-1' } as const
    expect(() => test.aws.world.call({ ...call, accessKeyId: keyId! })).toThrow(/not authorized/)
    await test.pass(minutes(2), minutes(1))
    expect(test.aws.world.wouldAccept(movedFrom), 'once the new one is in use').toBe(false)
    const now = await test.account(account.id)
    row.is('orphaned', now.status)
    expect(now.pendingOwner).toEqual(backupOwners[0])
    expect(await bench.credentialOf(account)).toMatchObject({ generation: 2, status: 'active' })
    const overlap = row.seconds('leaver.overlap')
    await test.pass(overlap - minutes(4), minutes(28))
    expect(test.aws.world.wouldAccept(old)).toBe(true)
    await test.pass(minutes(3), minutes(1))
    expect(test.aws.world.wouldAccept(old)).toBe(false)
    expect(await test.works(await bench.credentialOf(account))).toBe(true)
    const acceptWithin = row.seconds('leaver.acceptWithin')
    expect(spanOf(now.orphanedAt, now.disableAt)).toBe(acceptWithin)
    await test.pass(acceptWithin - overlap, days(1))
    await sweep('orphans')
    row.is('disabled', await bench.status(account))
  },

  'owner leaves, nobody is backup': async (bench, row) => {
    const { test } = bench
    const credentials = [wants.accessKey(), wants.token()]
    const { owner, account } = await owned(bench, { credentials })
    await test.leave(owner)
    await test.pass(2)
    row.is('disabled', await bench.status(account))
    expect(await test.liveAtProviders(account.id)).toEqual([])
    const { keys } = await test.engine.offboarding(test.admin, owner)
    expect(keys.map((key) => key.outcome)).toEqual(['refused', 'refused'])
  },

  'owner leaves, nobody is backup, production used lately': async (bench, row) => {
    const { test, person, sweep } = bench
    row.is('true', row.value('leaver.contain (prod)'))
    const manager = await person()
    const prod = async () => {
      const owner = await person({ manager })
      const account = await test.request(owner, { environment: 'prod' })
      const token = (await test.served(await bench.credentialOf(account)))!
      expect((await test.tokens.introspect(token, test.admin.tenant)).active).toBe(true)
      return { owner, account }
    }
    const unused = await prod()
    await test.pass(row.seconds('leaver.containWhenUsedWithin') + 60, days(1))
    const used = await prod()
    await test.leave(used.owner)
    await test.leave(unused.owner)
    await test.pass(3)
    expect(await bench.status(unused.account)).toBe('disabled')
    const now = await test.account(used.account.id)
    row.is('orphaned', now.status)
    expect(now.pendingOwner?.id).toBe(manager)
    expect(await bench.credentialOf(now)).toMatchObject({ generation: 2 })
    expect(spanOf(now.orphanedAt, now.disableAt)).toBe(row.seconds('leaver.containFor'))
    await test.pass(row.seconds('leaver.containFor'), hours(1))
    await sweep('orphans')
    row.is('disabled', await bench.status(used.account))
  },

  'owner leaves, the backup in production was named lately': async (bench, row) => {
    const { test, person } = bench
    const backup = await person()
    const backupOwners = [{ type: 'User', id: backup } as const]
    const more = { backupOwners, environment: 'prod' } as const
    const one = await owned(bench, more)
    await test.pass(row.seconds('leaver.backupMinAge (prod)') - hours(1), days(7))
    const two = await owned(bench, more)
    await test.engine.acceptBackup(bench.as(backup), two.account.id, null)
    const young = await owned(bench, more)
    await test.pass(hours(1), minutes(30))
    for (const { owner } of [one, two, young]) await test.leave(owner)
    await test.pass(2)
    row.is('orphaned', await bench.status(one.account))
    row.is('orphaned', await bench.status(two.account))
    row.is('disabled', await bench.status(young.account))
  },

  'owner leaves, the account is protected': async (bench, row) => {
    const { test, person, sweep } = bench
    const manager = await person()
    const owner = await person({ manager })
    const account = await test.request(owner, { protected: true, credentials: [wants.accessKey()] })
    const old = (await bench.credentialOf(account)).keyId!
    await test.leave(owner)
    await test.pass(2)
    const now = await test.account(account.id)
    row.is('orphaned', now.status)
    expect(now).toMatchObject({ disableAt: null, pendingOwner: { id: manager } })
    await test.pass(row.seconds('leaver.overlap') + minutes(1), minutes(30))
    expect(test.aws.world.wouldAccept(old)).toBe(false)
    await test.pass(days(10), days(5))
    await sweep('orphans')
    expect(await bench.status(account)).toBe('orphaned')
    expect(await test.works(await bench.credentialOf(account))).toBe(true)
  },

  'owner leaves, the account is observed': async ({ test, found, person, ...bench }, row) => {
    row.is('observe', row.value('enforcement (imported)'))
    const owner = await person()
    const user = found.add(unique('found'), [{}])
    const userName = unique('imported')
    const entry = { external: user.id, owner, userName, purpose: 'found' }
    const [answer] = await test.engine.adopt(test.admin, 'found', [entry])
    const before = await test.account(answer!.account!)
    await test.leave(owner)
    await bench.sweep('orphans')
    expect(await test.account(before.id)).toEqual(before)
    const wish = { days: 1, after: null, limit: 200 }
    const { items } = await test.engine.shadowReport(test.admin, wish)
    row.is('disable', items.find((item) => item.account === before.id)?.act)
  },

  'owner leaves, a group owns the account': async (bench, row) => {
    const { test, person, sweep } = bench
    const [one, two] = [await person(), await person()]
    const { id } = await bench.group(one, two)
    const account = await test.request(id, { owner: { type: 'Group', id } })
    await test.leave(one)
    await test.pass(hours(2), hours(1))
    await sweep('orphans')
    row.is('active', await bench.status(account))
    row.is('nothing', row.value('leaver.onMemberLeft'))
    expect(await bench.credentialOf(account)).toMatchObject({ generation: 1 })
  },

  'owner gets another manager or team': async (bench, row) => {
    const { test, person, sweep } = bench
    const { owner, account } = await owned(bench)
    const current = await test.engine.person(test.admin, owner)
    const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
    const manager = { value: await person() }
    const attributes = { ...current.attributes, [enterprise]: { manager, department: 'other' } }
    const { userName, externalId } = current
    const want = { type: 'person', userName, externalId, active: true, attributes } as const
    await test.engine.updatePerson(test.admin, current, want)
    await sweep('orphans')
    row.is('active', await bench.status(account))
    expect((await test.account(account.id)).owner.id).toBe(owner)
    expect(await bench.credentialOf(account)).toMatchObject({ generation: 1 })
  },

  'the last member of an owning group changes teams': async (bench, row) => {
    const { test, person, sweep } = bench
    const mover = await person()
    const [from, to] = [await bench.group(mover), await bench.group(await person())]
    const account = await test.request(from.id, { owner: { type: 'Group', id: from.id } })
    await bench.members(to, [mover], [])
    await bench.members(from, [], [mover])
    const debounce = row.seconds('leaver.moverDebounce')
    await test.pass(debounce - minutes(5), days(7))
    await test.engine.runSweep(test.admin, 'orphans', { full: true })
    await test.pass(2)
    row.is('active', await bench.status(account))
    await test.pass(minutes(5), minutes(5))
    await sweep('orphans')
    row.is('disabled', await bench.status(account))
  },

  'owner is on leave, back within the grace': async (bench, row) => {
    const { test, sweep } = bench
    expect(row.seconds('leaver.deactivatedGrace')).toBe(0)
    const { owner, account } = await owned(bench, { labels: ['patient'] })
    await test.leave(owner)
    await test.pass(days(1), hours(12))
    await sweep('orphans')
    row.is('active', await bench.status(account))
    await expect(
      test.engine.rotateCredential(test.admin, (await bench.credentialOf(account)).id),
    ).rejects.toMatchObject({ code: 'noActiveOwner' })
    await test.comeBack(owner)
    await test.pass(days(2), days(1))
    await sweep('orphans')
    expect(await bench.status(account)).toBe('active')
    expect(await bench.credentialOf(account)).toMatchObject({ generation: 1 })
  },

  'owner is on leave, back after the grace': async (bench, row) => {
    const { test } = bench
    const { owner, account } = await owned(bench, { credentials: [wants.accessKey()] })
    await test.leave(owner)
    await test.pass(row.seconds('leaver.deactivatedGrace') + 2)
    await test.comeBack(owner)
    await test.pass(minutes(2), minutes(1))
    row.is('disabled', await bench.status(account))
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(minutes(1), 10)
    row.is('active', await bench.status(account))
    const credential = await bench.credentialOf(account)
    expect(credential.generation).toBe(2)
    expect(await test.works(credential)).toBe(true)
  },

  'owner is unassigned from the application: the directory deactivates them': async (
    bench,
    row,
  ) => {
    const { test } = bench
    const { owner, account } = await owned(bench)
    await test.leave(owner)
    await test.pass(row.seconds('leaver.deactivatedGrace') + 2)
    row.is('disabled', await bench.status(account))
    row.is('deactivated', (await test.store.read.person(test.admin.tenant, owner))!.leftClass)
  },

  'owner is unassigned from the application: the directory deletes them': async (bench, row) => {
    const { test } = bench
    const { owner, account } = await owned(bench)
    await test.engine.deletePerson(test.admin, await test.engine.person(test.admin, owner))
    await test.pass(row.seconds('leaver.deletedGrace') + 2)
    row.is('disabled', await bench.status(account))
    row.is('deleted', (await test.store.read.person(test.admin.tenant, owner))!.leftClass)
  },

  'the leave date of an owner is known': async (bench, row) => {
    const { test, person, sweep } = bench
    const heir = await person()
    const backupOwners = [{ type: 'User', id: heir } as const]
    const { owner, account } = await owned(bench, { backupOwners })
    const ahead = row.seconds('leaver.planAhead')
    await planned(bench, owner, ahead + days(2))
    await sweep('orphans')
    expect((await test.account(account.id)).pendingOwner).toBeNull()
    await test.pass(days(2), days(1))
    await sweep('orphans')
    row.is('active', await bench.status(account))
    expect((await test.account(account.id)).pendingOwner?.id).toBe(heir)
    expect(await bench.credentialOf(account)).toMatchObject({ generation: 1 })
  },

  'the leave date of an owner passes': async (bench, row) => {
    const { test, sweep } = bench
    const { owner, account } = await owned(bench)
    await planned(bench, owner, days(1))
    await test.pass(days(1) + row.seconds('leaver.leaveDateGrace'), hours(12))
    await sweep('orphans')
    row.is('disabled', await bench.status(account))
    await test.comeBack(owner)
    const person = (await test.store.read.person(test.admin.tenant, owner))!
    row.is('leaveDate', person.leftClass)
    expect(person.active).toBe(false)
  },

  'an owning group becomes empty': async (bench, row) => {
    const { test, person, sweep } = bench
    const member = await person()
    const group = await bench.group(member)
    const account = await test.request(group.id, { owner: { type: 'Group', id: group.id } })
    await bench.members(group, [], [member])
    const grace = row.seconds('leaver.groupGrace')
    await test.pass(grace - minutes(5), minutes(30))
    await sweep('orphans')
    row.is('active', await bench.status(account))
    await test.pass(minutes(5), minutes(5))
    await sweep('orphans')
    row.is('disabled', await bench.status(account))
  },

  'an owning group is empty, and filled again in time': async (bench, row) => {
    const { test, person, sweep } = bench
    const member = await person()
    const group = await bench.group(member)
    const account = await test.request(group.id, { owner: { type: 'Group', id: group.id } })
    await bench.members(group, [], [member])
    await test.pass(row.seconds('leaver.groupGrace') - minutes(5), minutes(30))
    await bench.members(group, [member], [])
    await test.pass(hours(2), hours(1))
    await sweep('orphans')
    row.is('active', await bench.status(account))
    expect(await bench.credentialOf(account)).toMatchObject({ generation: 1 })
  },

  'the directory is wrong: many leave at once': async (bench, row) => {
    const { test, person } = bench
    const least = Number(row.value('brake.least'))
    // A directory this small is held by the least alone: both shares are less.
    expect([row.value('brake.hourly'), row.value('brake.daily')]).toEqual(['1%', '3%'])
    const ids: string[] = []
    for (let i = 0; i < least + 2; i++) ids.push(await person())
    const first = await test.request(ids[0]!)
    const last = await test.request(ids.at(-1)!)
    for (const id of ids) await test.leave(id)
    await test.pass(2)
    const held = await Promise.all(
      ids.map(async (id) => (await test.store.read.person(test.admin.tenant, id))!.heldBy !== null),
    )
    expect(held).toEqual(ids.map((_, i) => i >= least))
    row.is('disabled', await bench.status(first))
    row.is('active', await bench.status(last))
    expect(await test.works(await bench.credentialOf(last))).toBe(true)
  },

  'the directory is wrong: one leaving was a mistake': async (bench, row) => {
    const { test } = bench
    const { owner, account } = await owned(bench, { credentials: [wants.accessKey()] })
    const { keyId } = await bench.credentialOf(account)
    await test.leave(owner)
    await test.pass(row.seconds('hold') - days(1), days(45))
    expect(await bench.status(account)).toBe('disabled')
    const wish = { reason: 'a mistake', dryRun: false }
    await test.engine.undo(test.admin, (await bench.leaveOf(owner)).id, wish)
    await test.pass(minutes(1), 10)
    const credential = await bench.credentialOf(account)
    expect(credential.keyId).toBe(keyId)
    row.is('active', await bench.status(account))
    expect(await test.works(credential)).toBe(true)
  },

  'the directory is wrong: a leaver was never reported': async (bench, row) => {
    const { test, person } = bench
    const directory = bench.directory()
    const ids = [await person(), await person()]
    const account = await test.request(ids[0]!)
    const rows = await Promise.all(ids.map((id) => test.engine.person(test.admin, id)))
    const people = rows.map(({ id, userName }, i) => ({
      id,
      userName,
      email: null,
      externalId: null,
      employeeNumber: null,
      state: i === 0 ? ('left' as const) : ('active' as const),
      deleted: false,
      leavesAt: null,
      changedAt: null,
    }))
    const source = {
      name: directory,
      type: 'csv',
      cycle: seconds(3_600),
      scope: 'everyone' as const,
      read: async () => ({ people, complete: true, trouble: null }),
    }
    const engine = createEngine({ ...test.life, directories: new Map([[directory, source]]) })
    const found = await engine.startDirectoryCheck(test.admin, directory).done
    expect(found.report.missed.map((p) => p.id)).toEqual([ids[0]])
    row.is('active', await bench.status(account))
    const wish = { check: found.id, people: null, reason: null, confirmCount: null }
    await engine.applyDirectoryCheck(test.admin, directory, wish)
    await test.pass(2)
    row.is('disabled', await bench.status(account))
  },

  'the directory is right, and its request was refused': async (_, row) => {
    const custody = await startTestCustody({ roles: ['http'] })
    try {
      const client = { directory: 'okta', dialect: 'rfc' } as const
      const { token, id: sender } = await custody.createClient('directory', client)
      const scim = (method: string, at: string, body?: unknown) =>
        custody.call(method, `/scim/v2${at}`, body, { token })
      const make = async (userName: string) =>
        (await scim('POST', '/Users', { schemas: [userUrn], userName })).body.id as string
      const [leaver, blocking] = [await make('lena'), await make('taken')]
      const Operations = [
        { op: 'replace', path: 'active', value: false },
        { op: 'replace', path: 'userName', value: 'taken' },
      ]
      await scim('PATCH', `/Users/${leaver}`, { schemas: [patchUrn], Operations })
      const list = `/api/v1/scim-requests/failed?client=${sender}`
      const failure = async (state: string) =>
        (await custody.call('GET', `${list}&state=${state}`)).body.items[0]
      const { id, state } = await failure('open')
      row.is('open', state)
      await scim('DELETE', `/Users/${blocking}`)
      const { body } = await custody.call('POST', `/api/v1/scim-requests/failed/${id}/replay`, {})
      expect(body.operations).toMatchObject([{ kind: 'leave' }])
      row.is('replayed', (await failure('replayed')).state)
      expect((await scim('GET', `/Users/${leaver}`)).body.active).toBe(false)
    } finally {
      await custody.close()
    }
  },
}

async function planned({ test }: Bench, owner: string, span: number): Promise<void> {
  const { userName } = await test.engine.person(test.admin, owner)
  await test.engine.setLeaveDates(test.admin, {
    entries: [{ line: 2, who: userName, date: addSeconds(test.clock.now(), span) }],
    key: 'userName',
    zone: 'UTC',
    apply: true,
    pastToo: false,
  })
}
