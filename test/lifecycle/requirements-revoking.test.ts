import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OperationKind } from '../../src/domain/operation.ts'
import type { TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  days,
  hours,
  interrupted,
  startTestEngine,
  userSchema,
  wants,
} from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

const working = async (...entries: Parameters<typeof wants.token>) => {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [wants.accessKey(...entries)] })
  const [credential] = await test.credentials(account.id)
  return {
    owner,
    account: account.id,
    userName: account.userName,
    user: test.awsUser(account.id)!,
    credential: credential!,
    keyId: credential!.keyId!,
  }
}
const asAdmin = (operation: string, input: Readonly<Record<string, unknown>>) =>
  test.aws.world.call({
    service: 'iam',
    operation,
    input,
    accessKeyId: test.aws.world.admin.accessKeyId,
    region: 'us-east-1',
  }) as { readonly AccessKey: { readonly AccessKeyId: string } }
const auditOf = (target: string) =>
  test.store.read.audit(test.admin.tenant, { target, after: null, limit: 200 })

describe('a revocation', () => {
  it('is not over while the provider still accepts the key, whatever it answered (R19)', async () => {
    const { account, credential, keyId } = await working()
    test.clock.advance(60)
    test.aws.world.propagationSeconds = 40
    const operation = await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(30, 5)

    expect(test.aws.world.wouldAccept(keyId)).toBe(true)
    expect(await test.operation(operation.id)).toMatchObject({
      status: 'waiting',
      failure: { code: 'revokeBlocked' },
    })
    expect(await test.credential(credential.id)).toMatchObject({
      status: 'revoking',
      refusedAt: null,
    })

    await test.pass(90, 5)
    test.aws.world.propagationSeconds = 0
    const revoked = await test.credential(credential.id)
    expect(revoked.status).toBe('revoked')
    expect(await test.liveAtProviders(account)).toEqual([])
    const [key] = await test.keys(credential.id)
    expect(Date.parse(key!.refusedAt!) - Date.parse(key!.disabledAt!)).toBeGreaterThanOrEqual(
      40_000,
    )
  })

  it.each([
    ['an access key', wants.accessKey, 'refused'],
    ['a deploy key', wants.deployKey, 'absent'],
  ] as const)(
    'of %s that somebody deleted meanwhile succeeds, and says how that is known (R29)',
    async (_what, want, outcome) => {
      const owner = await test.person()
      const account = await test.request(owner, { credentials: [want()] })
      const [credential] = await test.credentials(account.id)
      if (credential!.kind === 'access-key') {
        const UserName = test.awsUser(account.id)!
        asAdmin('DeleteAccessKey', { UserName, AccessKeyId: credential!.keyId })
      } else {
        const [found] = test.github.world
          .deployKeys('acme', 'website')
          .filter((k) => k.title.startsWith(`custody/${account.id}/`))
        test.github.world.findRepository('acme', 'website')!.keys.delete(found!.id)
      }

      const operation = await test.engine.revokeCredential(test.admin, credential!.id)
      await test.pass(5)

      expect((await test.operation(operation.id)).status).toBe('succeeded')
      expect((await test.credential(credential!.id)).status).toBe('revoked')
      expect((await test.keys(credential!.id)).map((k) => k.outcome)).toEqual([outcome])
    },
  )

  it('waits for a provider that left the configuration, says so, and ends when it is back (R31)', async () => {
    const { account, credential } = await working()
    const operation = await test.engine.revokeCredential(test.admin, credential.id)
    const without = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers].filter(([name]) => name !== 'aws-prod')),
    }))
    for (let i = 0; i < 12; i++) {
      await without.drain()
      test.clock.advance(300)
    }

    const stuck = await test.operation(operation.id)
    expect(stuck).toMatchObject({ status: 'waiting', failure: { code: 'revokeBlocked' } })
    expect(stuck.failure!.message).toContain('"aws-prod" is not configured any more')
    expect((await test.credential(credential.id)).status).toBe('revoking')
    await test.pass(5)
    expect(await test.liveAtProviders(account)).toEqual([])
    expect((await test.operation(operation.id)).status).toBe('succeeded')
  })

  it('never goes without a reason, whoever asked for it (R39)', async () => {
    const revoking: readonly OperationKind[] = ['revoke', 'disable', 'retire', 'delete']
    const reasonsOf = async (...subjects: readonly string[]) => {
      const operations = await Promise.all(subjects.map((s) => test.operations(s)))
      return operations
        .flat()
        .filter(({ kind }) => revoking.includes(kind))
        .map(({ kind, memo }) => `${kind}: ${memo['reason'] as string}`)
        .toSorted()
    }
    const asked = await working()
    await test.engine.revokeCredential(test.admin, asked.credential.id)
    // Pre-empts the revocation, which goes on afterwards with its reason.
    await test.engine.switchAccount(test.admin, asked.account, 'disable', null)
    const removed = await working()
    const account = await test.account(removed.account)
    await test.engine.updateAccount(
      test.admin,
      account,
      { ...account, type: 'account', backupOwners: [], active: undefined, credentials: [] },
      { mayRemove: true },
    )
    const left = await working()
    await test.leave(left.owner)
    const retired = await working()
    await test.engine.switchAccount(test.admin, retired.account, 'retire', null)
    await test.pass(5)
    const ending = await working({
      expiresAt: new Date(Date.parse(test.clock.now()) + 1_000 * hours(1)).toISOString() as never,
    })
    const expired = await working()
    test.clock.advance(hours(2))
    await test.engine.runSweep(test.admin, 'expiry')
    test.clock.advance(days(90))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(5)
    test.clock.advance(days(91))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(5)

    const both = (of: typeof asked) => reasonsOf(of.account, of.credential.id)
    expect(await both(asked)).toEqual([
      'disable: operator',
      'revoke: requested',
      'revoke: requested',
    ])
    expect(await both(removed)).toContain('revoke: removed')
    expect(await both(left)).toEqual(['delete: ownerLeft', 'disable: ownerLeft'])
    expect(await both(retired)).toEqual(['delete: retired', 'retire: retired'])
    expect(await both(ending)).toContain('revoke: expired')
    expect(await both(expired)).toEqual(['delete: expired', 'disable: expired'])
    const [row] = (await auditOf(removed.credential.id)).filter(
      (r) => r.action === 'credential.revocationRequested',
    )
    expect(row?.facts).toEqual({ reason: 'removed' })
  })

  it('names the key in every line of the audit about it, and the secret in none (R79)', async () => {
    const { credential, keyId } = await working()
    const { secretAccessKey } = JSON.parse((await test.served(credential))!) as {
      secretAccessKey: string
    }
    await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(5)

    const rows = await auditOf(credential.id)
    const about = rows.filter((row) => row.action.startsWith('key.') && row.facts['keyId'])
    expect(about.map((row) => [row.action, row.facts['keyId']])).toEqual(
      ['key.issued', 'key.activated', 'key.disabled', 'key.refused', 'key.deleted'].map(
        (action) => [action, keyId],
      ),
    )
    expect(JSON.stringify(rows)).not.toContain(secretAccessKey)
  })

  it('touches no key that our journal does not know, not even on a user of ours (R04)', async () => {
    const { account, credential, user, keyId } = await working()
    const { AccessKey: foreign } = asAdmin('CreateAccessKey', { UserName: user })

    await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(5)
    await test.engine.switchAccount(test.admin, account, 'disable', null)
    await test.pass(5)

    expect(test.aws.world.keysOf(user).map((k) => [k.accessKeyId, k.status])).toEqual([
      [foreign.AccessKeyId, 'Active'],
    ])
    expect(test.aws.world.wouldAccept(keyId)).toBe(false)
  })
})

describe('what is closed', () => {
  it('is denied as a whole before any key is switched off, and listed once more at the end (R83)', async () => {
    const { account } = await working()
    const calls: string[] = []
    const { around } = interrupted(null, () => Promise.resolve())
    await test.engine.switchAccount(test.admin, account, 'disable', null)
    await anotherWorker(test, (life) => {
      const inner = around(life)
      const provider = inner.providers.get('aws-prod')!
      const told = new Proxy(provider, {
        get: (object, name) => {
          const value: unknown = Reflect.get(object, name, object)
          if (typeof value !== 'function') return value
          return (...args: unknown[]): unknown => {
            calls.push(String(name))
            return (value as (...of: unknown[]) => unknown).apply(object, args)
          }
        },
      })
      return { ...inner, providers: new Map(inner.providers).set('aws-prod', told) }
    }).drain()

    expect(calls).toEqual(['shutOff', 'disable', 'probe', 'list'])
    expect((await test.account(account)).status).toBe('disabled')
  })

  it('gives nothing to an account made anew under the same name (R45)', async () => {
    const owner = await test.person()
    const userName = `svc-again-${Math.random().toString(36).slice(2)}`
    const more = { userName, credentials: [wants.token(), wants.accessKey()] }
    const first = await test.request(owner, more)
    const [token] = await test.credentials(first.id)
    const old = (await test.served(token!))!
    const oldUser = test.awsUser(first.id)
    await test.engine.deleteAccount(test.admin, await test.account(first.id))
    await test.pass(5)

    const again = await test.request(owner, {
      ...more,
      credentials: [wants.token(), wants.accessKey()],
    })

    expect(again.id).not.toBe(first.id)
    expect(test.awsUser(again.id)).not.toBe(oldUser)
    expect((await test.tokens.introspect(old, test.admin.tenant)).active).toBe(false)
    expect(await test.liveAtProviders(first.id)).toEqual([])
    test.clock.advance(days(91))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(5)
    // The tombstone holds no token and no user any more.
    expect(await test.store.read.issuedTokensOf(first.id, 'tokens')).toEqual([])
    expect(test.awsUser(first.id)).toBeNull()
  })
})

describe('the decision about a leaver’s account', () => {
  it('stands in the audit with the rule, its inputs and the version of the policy (R11)', async () => {
    const heir = await test.person()
    const owner = await test.person()
    const { id } = await test.request(owner, {
      backupOwners: [{ type: 'User', id: heir }],
      attributes: { schemas: [userSchema] },
    })
    const [credential] = await test.credentials(id)
    test.clock.advance(60)
    await test.tokens.introspect((await test.served(credential!))!, test.admin.tenant)
    const used = test.clock.now()
    test.clock.advance(60)
    await test.leave(owner)
    const left = test.clock.now()
    await test.pass(2)

    const [decided] = (await auditOf(id)).filter((r) => r.action === 'account.leaverDecided')
    expect(decided?.facts).toMatchObject({
      decision: 'offer',
      rule: 'activeBackup',
      owner,
      ownerLeftAt: left,
      lastUsedAt: used,
      backups: [{ id: heir, acceptedAt: null }],
      policy: test.life.policy().version,
    })
  })
})
