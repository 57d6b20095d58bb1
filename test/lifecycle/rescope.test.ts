import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Credential, ScopeGrant } from '../../src/domain/credential.ts'
import type { Group } from '../../src/domain/group.ts'
import type { CredentialEntry } from '../../src/domain/want.ts'
import { engageBrake, releaseBrake } from '../../src/lifecycle/engine.ts'
import { scopesSubject } from '../../src/lifecycle/scopes.ts'
import { runSweep } from '../../src/lifecycle/sweep-runs.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unique } from '../support/entities.ts'
import type { Death, TestEngine } from '../support/engine.ts'
import { anotherWorker, hours, minutes, mortal, startTestEngine, wants } from '../support/engine.ts'

const schemas = ['urn:ietf:params:scim:schemas:core:2.0:Group']
const listUsers = 'iam:ListUsers'
const getUser = 'iam:GetUser'

let test: TestEngine
/** So many answers of `rescope` at AWS get lost behind their effect. */
let failures = 0
beforeAll(async () => {
  test = await startTestEngine({
    around: (life) => {
      const aws = life.providers.get('aws-prod')!
      const rescope: typeof aws.rescope = async (...args) => {
        await aws.rescope!(...args)
        if (failures-- > 0) {
          throw new ProviderError('unavailable', 'Down.', { outcome: 'unknown' })
        }
      }
      const failing = new Proxy(aws, {
        get: (target, name) => {
          if (name === 'rescope') return rescope
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      })
      return { ...life, providers: new Map([...life.providers, ['aws-prod', failing]]) }
    },
  })
})
afterAll(() => test.close())

interface Up {
  readonly owner: string
  readonly account: ServiceAccount
  readonly id: string
}

async function up(entry: CredentialEntry, scopesFrom: readonly ScopeGrant[] = []): Promise<Up> {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [{ ...entry, scopesFrom }] })
  const [credential] = await test.credentials(account.id)
  return { owner, account, id: credential!.id }
}

/** What a client asks for, and what its answer is. */
async function ask(
  { id }: Up,
  more: Partial<Pick<Credential, 'scopes' | 'scopesFrom'>>,
  client = test.admin,
) {
  const current = await test.credential(id)
  return test.engine.updateCredential(client, current, {
    serviceAccount: current.account,
    provider: current.provider,
    kind: current.kind,
    displayName: null,
    scopes: current.scopes,
    readers: [],
    deliverTo: undefined,
    expiresAt: undefined,
    rotateEvery: undefined,
    overlap: undefined,
    ...more,
  })
}

/** Whether AWS lets the account's one key do this. */
function may({ account }: Up, operation: string): boolean {
  const [key] = test.aws.world.keysOf(test.awsUser(account.id)!)
  try {
    const call = { service: 'iam', operation, input: {}, region: 'us-east-1' } as const
    test.aws.world.call({ ...call, accessKeyId: key!.accessKeyId })
    return true
  } catch {
    return false
  }
}

const makeGroup = (...members: string[]): Promise<Group> =>
  test.engine.createGroup(
    test.admin,
    { displayName: unique('group'), externalId: null, attributes: { schemas } },
    members.map((id) => ({ id, type: undefined, display: null })),
    { keepsUnknown: false },
  )

async function audited(id: string, action: string) {
  const query = { target: id, after: null, limit: 100 }
  const rows = await test.store.read.audit(test.admin.tenant, query)
  return rows.filter((row) => row.action === action)
}

const operationOf = async ({ id }: Up) => (await test.operations(scopesSubject(id)))[0]!

describe('changing what a living key may do', () => {
  // Found by the simulation, seed 3216: consumers had its key, and it was removed as a stray.
  it('lets a rotation under way finish before it gives more by another key', async () => {
    const begin = async (death: Death | null) => {
      const it = await up(wants.deployKey())
      await test.engine.rotateCredential(test.admin, it.id)
      const life = mortal(death)
      await anotherWorker(test, life.around).drain()
      return { it, calls: life.calls }
    }
    const promotion = (await begin(null)).calls.indexOf('files.promote')
    const { it } = await begin({ call: promotion, when: 'after' })
    await ask(it, { scopes: ['repo:acme/website', 'write'] })
    await test.pass(minutes(3), 31)
    const keys = test.github.world
      .deployKeys('acme', 'website')
      .filter((k) => k.title.startsWith(`custody/${it.account.id}/`))
    expect(keys.map((k) => k.readOnly)).toEqual([true, true, false])
  })

  it('keeps key and generation, tries the key, and tells before, after and cause', async () => {
    const it = await up(wants.accessKey({ scopes: [listUsers, getUser] }))
    const before = await test.credential(it.id)
    expect([may(it, 'ListUsers'), before.grantedScopes]).toEqual([true, [listUsers, getUser]])

    const { operation } = await ask(it, { scopes: [getUser] })
    expect(await test.credential(it.id)).toMatchObject({ grantedScopes: [listUsers, getUser] })
    await test.pass(2)

    expect(may(it, 'ListUsers')).toBe(false)
    expect(await test.credential(it.id)).toMatchObject({
      keyId: before.keyId,
      generation: 1,
      scopes: [getUser],
      grantedScopes: [getUser],
    })
    const done = await test.operation(operation!.id)
    expect([done.kind, done.status]).toEqual(['rescope', 'succeeded'])
    const [row] = await audited(it.id, 'credential.rescoped')
    expect(row!.facts).toMatchObject({
      before: [listUsers, getUser],
      after: [getUser],
      taken: [listUsers],
      given: [],
      cause: done.cause,
    })
  })

  it('lets the last of two changes win, and survives calls that fail behind their effect', async () => {
    const it = await up(wants.accessKey({ scopes: [getUser] }))
    failures = 2
    await ask(it, { scopes: [listUsers] })
    await ask(it, { scopes: [listUsers, getUser] })
    await test.pass(minutes(1), 5)

    expect(await test.credential(it.id)).toMatchObject({ grantedScopes: [listUsers, getUser] })
    expect(may(it, 'ListUsers')).toBe(true)
    const all = await test.operations(scopesSubject(it.id))
    expect(all.map((o) => o.status)).toEqual(['succeeded', 'cancelled'])
  })

  it('takes back what was given by a call whose answer was lost, when less is wanted before the next try', async () => {
    const one = await up(wants.accessKey({ scopes: [listUsers] }))
    failures = 1
    await ask(one, { scopes: [listUsers, getUser] })
    await test.pass(0)
    expect(may(one, 'GetUser')).toBe(true)
    expect((await test.credential(one.id)).grantedScopes).toEqual([listUsers])

    await ask(one, { scopes: [listUsers] })
    await test.pass(120, 5)

    expect(may(one, 'GetUser')).toBe(false)
    expect(may(one, 'ListUsers')).toBe(true)
    expect((await test.credential(one.id)).grantedScopes).toEqual([listUsers])
  })

  it('takes away whatever brakes minting; what is given waits for it, and for an owner', async () => {
    const it = await up(wants.accessKey({ scopes: [getUser, 'iam:ListRoles'] }))
    const brake = { name: 'restored', tenant: null, subject: '' } as const
    await engageBrake(test.life, brake, {})
    await ask(it, { scopes: [getUser, listUsers] })
    await test.pass(2)
    expect(await test.credential(it.id)).toMatchObject({ grantedScopes: [getUser] })
    expect(may(it, 'ListUsers')).toBe(false)
    await releaseBrake(test.life, brake, {})
    await test.pass(minutes(2), 10)
    expect(may(it, 'ListUsers')).toBe(true)

    await test.leave(it.owner)
    await expect(ask(it, { scopes: [getUser, listUsers, 's3:GetObject'] })).rejects.toMatchObject({
      code: 'noActiveOwner',
    })
  })

  it('gives way to a revocation', async () => {
    const it = await up(wants.accessKey({ scopes: [getUser] }))
    failures = 3
    await ask(it, { scopes: [listUsers] })
    await test.worker.drain()
    await test.engine.revokeCredential(test.admin, it.id)
    await test.pass(hours(1), minutes(1))
    failures = 0

    expect(await test.credential(it.id)).toMatchObject({ status: 'revoked' })
    expect(await operationOf(it)).toMatchObject({ status: 'succeeded' })
    expect(await audited(it.id, 'credential.rescoped')).toEqual([])
  })
})

describe('kinds that need a new key', () => {
  it('rotate: the old key of a deploy key that lost a repository ends within the leaver’s overlap', async () => {
    const it = await up(wants.deployKey())
    await ask(it, { scopes: ['repo:acme/billing'] })
    await test.pass(3)

    expect(await test.credential(it.id)).toMatchObject({
      generation: 2,
      grantedScopes: ['repo:acme/billing'],
    })
    await test.pass(hours(2), minutes(10))
    const titled = (r: string) =>
      test.github.world.deployKeys('acme', r).filter((k) => k.title.includes(it.account.id))
    expect([titled('website').length, titled('billing').length]).toEqual([0, 1])
  })

  it('cannot be left with what their provider would not take', async () => {
    const it = await up(wants.deployKey())
    await expect(ask(it, { scopes: [] })).rejects.toMatchObject({ code: 'scopeRefused' })
    const scopesFrom = [{ group: (await makeGroup(it.owner)).id, scopes: ['repo:acme/billing'] }]
    await expect(ask(it, { scopesFrom })).rejects.toMatchObject({ code: 'scopeRefused' })
    expect(await test.operations(scopesSubject(it.id))).toEqual([])
  })

  it('renew: an installation token has its new permissions with the next lease, started at once', async () => {
    const it = await up(wants.appToken())
    const scopes = ['repository:acme/website', 'permission:metadata=read']
    await ask(it, { scopes })
    await test.pass(5)

    expect(await test.credential(it.id)).toMatchObject({ generation: 2, grantedScopes: scopes })
  })
})

describe('groups that grant scopes', () => {
  it('stop granting when the account goes to somebody who is not in them', async () => {
    const [owner, heir] = [await test.person(), await test.person()]
    const group = await makeGroup(owner)
    const account = await test.request(owner, {
      credentials: [
        wants.accessKey({
          scopes: [getUser],
          scopesFrom: [{ group: group.id, scopes: [listUsers] }],
        }),
      ],
    })
    const it = { owner, account, id: (await test.credentials(account.id))[0]!.id }
    expect(may(it, 'ListUsers')).toBe(true)

    await test.engine.transfer(test.admin, account.id, {
      owner: { type: 'User', id: heir },
      atOnce: true,
      reason: 'moved',
    })
    await test.pass(2)

    expect(may(it, 'ListUsers')).toBe(false)
    expect(await test.credential(it.id)).toMatchObject({ generation: 1, grantedScopes: [getUser] })
  })

  it('are looked at by the rotation sweep, which finds what no plan ever told', async () => {
    const owner = await test.person()
    const group = await makeGroup(owner)
    const it = {
      ...(await up(wants.token({ scopes: ['read'] }), [{ group: group.id, scopes: ['more'] }])),
    }
    expect(await test.credential(it.id)).toMatchObject({ grantedScopes: ['read'] })
    // Behind the engine's back, as when an older version wrote it.
    await test.store.commit([
      {
        type: 'members',
        tenant: test.admin.tenant,
        group: group.id,
        expectedVersion: null,
        replace: false,
        add: [{ id: it.owner, type: 'User', display: null }],
        remove: [],
        at: test.clock.now(),
      },
    ])

    const applied = await runSweep(test.life, test.admin.tenant, 'rotation')
    await test.pass(2)

    expect(applied.filter((a) => a.acted).map((a) => a.proposal)).toContainEqual(
      expect.objectContaining({ act: 'rescope', id: it.id }),
    )
    expect(await test.credential(it.id)).toMatchObject({ grantedScopes: ['more', 'read'] })
    const again = await runSweep(test.life, test.admin.tenant, 'rotation')
    expect(again.filter((a) => a.acted && a.proposal.act === 'rescope')).toEqual([])
  })

  it('that change while a key is being minted are caught up with when it becomes current', async () => {
    const owner = await test.person()
    const group = await makeGroup(owner)
    const account = await test.request(owner, {
      drain: false,
      credentials: [
        wants.token({ scopes: ['read'], scopesFrom: [{ group: group.id, scopes: ['more'] }] }),
      ],
    })
    const id = (await test.credentials(account.id))[0]!.id
    await test.engine.updateGroup(
      test.admin,
      await test.engine.group(test.admin, group.id),
      { group: null, members: { replace: false, add: [], remove: [owner] } },
      { exact: false, keepsUnknown: false },
    )
    await test.pass(5)

    expect(await test.credential(id)).toMatchObject({ status: 'active', grantedScopes: ['read'] })
  })

  it('cannot be named with scopes that the provider refuses', async () => {
    await expect(up(wants.token(), [{ group: 'g', scopes: ['has space'] }])).rejects.toMatchObject({
      code: 'scopeRefused',
    })
  })
})
