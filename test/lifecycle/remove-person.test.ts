import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { GithubPeople } from '../../src/sandbox/github/people.ts'
import type { TestEngine } from '../support/engine.ts'
import { minutes, startTestEngine, wants } from '../support/engine.ts'

const granted = {
  administration: 'write',
  contents: 'read',
  members: 'write',
  metadata: 'read',
  organization_personal_access_tokens: 'write',
} as const

describe('a leaver with a membership of their own', () => {
  let test: TestEngine
  let people: GithubPeople
  let owner: string
  let login: string

  beforeAll(async () => {
    test = await startTestEngine({
      github: {
        people: { logins: { from: 'userName' }, removeMembership: true, revokeGrants: true },
      },
    })
    test.github.world.setPermissions(granted)
    people = test.github.world.people
    people.addMember('root', 'admin')
  })
  afterAll(() => test.close())
  beforeEach(async () => {
    owner = await test.person()
    login = (await test.store.read.person(test.admin.tenant, owner))!.userName
    people.addMember(login)
    people.addToken({ owner: login, name: 'laptop' })
  })

  const report = () => test.engine.offboarding(test.admin, owner)
  const rows = async () =>
    (
      await test.store.read.audit(test.admin.tenant, { target: owner, after: null, limit: 50 })
    ).filter(({ action }) => action === 'person.removedAt')

  it('is removed once the accounts are on their way, and the report and the audit tell', async () => {
    await test.request(owner, { credentials: [wants.token()] })
    await test.leave(owner)
    await test.pass(minutes(1), 5)

    const { removals, verdict } = await report()

    expect(people.member(login)).toBeNull()
    expect(removals).toMatchObject([{ provider: 'github-acme', done: true, reason: null }])
    expect(removals[0]!.lines.map((line) => line.replace(/Grant \d+/, 'Grant N'))).toEqual([
      `Grant N of ${login}'s token "laptop" in acme was ended; the token itself lives on outside of it.`,
      `${login} was removed from acme, where the role was member.`,
    ])
    expect(verdict).toBe('complete')
    expect(await rows()).toMatchObject([
      { facts: { provider: 'github-acme', lines: removals[0]!.lines } },
    ])
  })

  it('holds up no account when GitHub fails, and is removed when it works again', async () => {
    const account = await test.request(owner, { credentials: [wants.token()] })
    const [credential] = await test.credentials(account.id)
    const removal = 'DELETE /orgs/{org}/memberships/{username}'
    test.github.faults.arm(removal, { kind: 'serverError', effect: false }, 4)

    await test.leave(owner)
    await test.pass(1, 1)

    expect(await test.works(credential!)).toBe(false)
    const { leftCause } = (await test.store.read.person(test.admin.tenant, owner))!
    expect(await test.operation(leftCause!)).toMatchObject({
      status: 'waiting',
      failure: { code: 'revokeBlocked' },
    })
    expect(await report()).toMatchObject({ verdict: 'incomplete', removals: [{ done: false }] })

    await test.pass(minutes(1), 5)
    expect(people.member(login)).toBeNull()
    expect(await report()).toMatchObject({ verdict: 'complete', removals: [{ done: true }] })
    // What was ended before the failure is told once, and so is the rest.
    expect(await rows()).toHaveLength(2)
  })

  it('is let be when they are the last owner, until there is another', async () => {
    people.members.delete('root')
    people.addMember(login, 'admin')
    await test.leave(owner)
    await test.pass(minutes(1), 5)

    const [removal] = (await report()).removals
    expect(removal).toMatchObject({ done: false })
    expect(removal!.reason).toContain(`${login} is the last owner of acme and was not removed`)
    expect(people.member(login)).not.toBeNull()

    people.addMember('root', 'admin')
    await test.pass(minutes(5), 30)
    expect(people.member(login)).toBeNull()
  })

  it('stays a member when the leaving is taken back before it was their turn', async () => {
    await test.request(owner, { credentials: [wants.token()] })
    await test.leave(owner)
    await test.comeBack(owner)
    await test.pass(minutes(1), 5)

    expect(people.member(login)).not.toBeNull()
    expect((await report()).removals).toEqual([])
  })
})
