import { generateKeyPairSync } from 'node:crypto'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { Finding } from '../../src/domain/finding.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { engagedBrakes } from '../../src/lifecycle/brakes.ts'
import type { ListedKey } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { TestEngine, TestEngineOptions } from '../support/engine.ts'
import { anotherWorker, days, hours, startTestEngine, wants } from '../support/engine.ts'
import { withInventory } from '../support/inventory.ts'

let test: TestEngine
let owner: string

const start = async (options: TestEngineOptions = {}): Promise<void> => {
  test = await startTestEngine(options)
  owner = await test.person()
}

/** One hourly run over all providers. */
const sweep = async (after = hours(1)): Promise<void> => {
  test.clock.advance(after)
  await test.engine.runSweep(test.admin, 'reconcile')
  await test.pass(30, 10)
}
const findings = async (want: Partial<Finding> = {}): Promise<readonly Finding[]> => {
  const { tenant } = test.admin
  const all = await test.store.read.findings({ tenant, after: null, limit: 200 })
  return all.filter((f) => Object.entries(want).every(([k, v]) => f[k as keyof Finding] === v))
}
const open = async (): Promise<readonly string[]> =>
  (await findings({ status: 'open' })).map((f) => `${f.kind} ${f.keyId ?? f.subject}`).sort()
const history = async (id: string): Promise<readonly string[]> =>
  (await test.store.read.audit(test.admin.tenant, { target: id, after: null, limit: 50 })).map(
    (row) => row.action,
  )
const accessKey = async (): Promise<Credential> => {
  const account = await test.request(owner, { credentials: [wants.accessKey()] })
  return (await test.credentials(account.id))[0]!
}
const userOf = (credential: Credential): string => test.awsUser(credential.account)!
/** What somebody does at AWS without Custody. */
const byHand = (operation: string, input: Record<string, unknown>): object =>
  test.aws.world.call({
    service: 'iam',
    operation,
    input,
    accessKeyId: test.aws.world.admin.accessKeyId,
    region: 'us-east-1',
  }) ?? {}
const keyByHand = (UserName: string): string =>
  (byHand('CreateAccessKey', { UserName }) as { AccessKey: { AccessKeyId: string } }).AccessKey
    .AccessKeyId
const publicKey = (): string => {
  const { publicKey: key } = generateKeyPairSync('ed25519')
  const raw = key.export({ type: 'spki', format: 'der' }).subarray(-32)
  const field = (bytes: Uint8Array) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  const blob = Buffer.concat([field(Buffer.from('ssh-ed25519')), field(raw)])
  return `ssh-ed25519 ${blob.toString('base64')}`
}

afterEach(() => test.close())

describe('a reconciliation', () => {
  beforeEach(() => start())

  it('finds nothing where nothing is wrong, over and over', async () => {
    await test.request(owner, {
      credentials: [wants.accessKey(), wants.deployKey(), wants.token()],
    })

    await sweep()
    await sweep()

    expect(await findings()).toEqual([])
    expect(await engagedBrakes(test.life)).toEqual([])
    for (const provider of ['aws-prod', 'github-acme', 'tokens']) {
      const runs = await test.operations(provider)
      expect(runs.map((o) => `${o.kind} ${o.status}`)).toEqual(
        Array.from({ length: 2 }, () => 'reconcile succeeded'),
      )
    }
  })

  it('names the providers it would go through, and starts none', async () => {
    const plan = await test.engine.planSweep(test.admin, 'reconcile', 10)

    expect(plan.map((item) => item.id)).toEqual(['aws-prod', 'github-acme', 'tokens'])
    expect(await test.operations('aws-prod')).toEqual([])
  })

  it('is not started a second time while it runs', async () => {
    const first = await test.engine.runSweep(test.admin, 'reconcile')
    const again = await test.engine.runSweep(test.admin, 'reconcile')

    expect(first.map((a) => a.operations.length)).toEqual([1, 1, 1])
    expect(again.map((a) => [a.operations.length, a.error])).toEqual([
      [0, null],
      [0, null],
      [0, null],
    ])
  })

  it('reports a user of nobody under our path, and one that bears marks of no account we know', async () => {
    byHand('CreateUser', { UserName: 'shadow', Path: '/custody/' })
    keyByHand('shadow')
    const Tags = [{ Key: 'custody:id', Value: 'an-account-of-a-lost-database' }]
    byHand('CreateUser', { UserName: 'left-over', Path: '/custody/', Tags })
    byHand('CreateUser', { UserName: 'elsewhere', Path: '/people/' })

    await sweep()

    const seen = await findings()
    expect(seen.map((f) => [f.kind, f.facts['name']])).toEqual(
      expect.arrayContaining([
        ['unmanaged', '/custody/shadow'],
        ['orphaned-principal', '/custody/left-over'],
      ]),
    )
    expect(seen).toHaveLength(2)
    expect(seen.find((f) => f.kind === 'unmanaged')!.facts).toMatchObject({ keys: 1, active: 1 })
  })

  it('leaves a user alone that is only just being made', async () => {
    await test.engine.runSweep(test.admin, 'reconcile')
    byHand('CreateUser', { UserName: 'new', Path: '/custody/' })

    await test.pass(10)

    expect(await findings()).toEqual([])
  })

  it('reports our user that is still there although we deleted it', async () => {
    const key = await accessKey()
    const account = await test.account(key.account)
    const user = test.aws.world.users().find((u) => u.tags['custody:id'] === account.id)!
    const principal = (await test.store.read.principal(account.tenant, account.id, 'aws-prod'))!
    await test.store.commit([{ type: 'principal', principal: { ...principal, state: 'absent' } }])

    await sweep()

    const [seen] = await findings({ kind: 'orphaned-principal' })
    expect(seen).toMatchObject({ account: account.id, facts: { reason: 'deletedByUs' } })
    expect(seen!.subject).toContain(user.userId)
  })

  it('reports a key on our user that no journal knows, and touches nothing', async () => {
    const key = await accessKey()
    const foreign = keyByHand(userOf(key))

    await sweep()
    await sweep()

    expect(await open()).toEqual([`foreign ${foreign}`])
    const [finding] = await findings()
    expect(finding).toMatchObject({ account: key.account, provider: 'aws-prod', status: 'open' })
    expect(finding!.lastSeenAt > finding!.firstSeenAt).toBe(true)
    expect(await history(finding!.id)).toEqual(['finding.opened'])
    expect(test.aws.world.wouldAccept(foreign)).toBe(true)
  })

  it('resolves what is gone, and opens a finding of its own when it comes again', async () => {
    const key = await accessKey()
    const foreign = keyByHand(userOf(key))
    await sweep()
    byHand('DeleteAccessKey', { UserName: userOf(key), AccessKeyId: foreign })
    await sweep()

    const [resolved] = await findings()
    expect(resolved).toMatchObject({ status: 'resolved', resolvedAt: resolved!.resolvedAt })
    expect(await history(resolved!.id)).toEqual(['finding.opened', 'finding.resolved'])

    const other = keyByHand(userOf(key))
    await sweep()
    expect(await open()).toEqual([`foreign ${other}`])
  })

  it('takes a deploy key under our title for foreign, and none under another', async () => {
    const account = await test.request(owner, { credentials: [wants.deployKey()] })
    const { world } = test.github
    world.addDeployKeyByHand('acme', 'website', `custody/${account.id}/x/g9/y`, publicKey())
    world.addDeployKeyByHand('acme', 'website', 'laptop of mona', publicKey())
    world.addDeployKeyByHand('acme', 'deploy', 'custody/nobody-we-know/x/g1/y', publicKey())

    await sweep()

    const kinds = (await findings()).map((f) => f.kind).sort()
    expect(kinds).toEqual(['foreign', 'orphaned-principal'])
  })

  it('calls a key vanished after two complete inventories, and mints nothing for it', async () => {
    const key = await accessKey()
    byHand('DeleteAccessKey', { UserName: userOf(key), AccessKeyId: key.keyId! })

    await sweep()
    expect(await open()).toEqual([])
    await sweep()
    await sweep()

    expect(await open()).toEqual([`vanished ${key.keyId}`])
    const after = await test.credential(key.id)
    expect(after).toMatchObject({ status: 'active', keyId: key.keyId })
    expect(after.lastError).toContain(key.keyId)
    expect(test.aws.world.keysOf(userOf(key))).toEqual([])
  })

  it('does not miss the keys of a user that was moved out of our path', async () => {
    const key = await accessKey()
    byHand('UpdateUser', { UserName: userOf(key), NewPath: '/moved/' })

    for (let i = 0; i < 3; i++) await sweep()

    expect(await open()).toEqual([])
  })

  it('takes a vanished finding for over once its credential is revoked', async () => {
    const key = await accessKey()
    byHand('DeleteAccessKey', { UserName: userOf(key), AccessKeyId: key.keyId! })
    for (let i = 0; i < 2; i++) await sweep()
    expect(await open()).toEqual([`vanished ${key.keyId}`])

    await test.engine.revokeCredential(test.admin, key.id)
    await test.pass(30, 5)
    await sweep()

    expect(await open()).toEqual([])
  })

  it('reports a key that somebody else switched off', async () => {
    const key = await accessKey()
    const set = (Status: string) =>
      byHand('UpdateAccessKey', { UserName: userOf(key), AccessKeyId: key.keyId!, Status })
    set('Inactive')
    await sweep()
    expect(await open()).toEqual([`deactivated ${key.keyId}`])

    set('Active')
    await sweep()
    expect(await open()).toEqual([])
  })

  it('switches a leaver’s key off again that somebody re-activated, with the finding as its cause', async () => {
    const key = await accessKey()
    const user = userOf(key)
    await test.leave(owner)
    await test.pass(60, 5)
    expect(test.aws.world.wouldAccept(key.keyId!)).toBe(false)
    byHand('UpdateAccessKey', { UserName: user, AccessKeyId: key.keyId!, Status: 'Active' })

    test.clock.advance(hours(1))
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(60, 5)

    expect(test.aws.world.wouldAccept(key.keyId!)).toBe(false)
    expect(await test.account(key.account)).toMatchObject({
      status: 'disabled',
      statusReason: 'ownerLeft',
    })
    const [finding] = await findings({ kind: 'reactivated' })
    const [run] = await test.operations('aws-prod')
    const again = await test.operation(finding!.facts['operation'] as string)
    expect(again).toMatchObject({ kind: 'disable', status: 'succeeded', cause: run!.id })
    expect(await history(key.id)).toContain('key.rearmed')
    expect((await test.keys(key.id))[0]).toMatchObject({ status: 'disabled', outcome: 'refused' })

    await sweep()
    expect(await open()).toEqual([])
  })

  it('revokes a revoked key again that is active again, below an account that is up', async () => {
    const account = await test.request(owner, {
      credentials: [wants.accessKey(), wants.token()],
    })
    const key = (await test.credentials(account.id)).find((c) => c.kind === 'access-key')!
    await test.engine.revokeCredential(test.admin, key.id)
    await test.pass(60, 5)
    const [ended] = await test.keys(key.id)
    expect(ended!.status).toBe('revoked')
    // A deletion that was reported and never happened.
    const alive = keyByHand(userOf(key))
    await test.store.commit([{ type: 'key', key: { ...ended!, keyId: alive } }])

    await sweep()

    expect(test.aws.world.keysOf(userOf(key))).toEqual([])
    expect((await findings()).map((f) => f.kind)).toEqual(['reactivated'])
    expect((await test.credential(key.id)).status).toBe('revoked')
    expect((await test.account(account.id)).status).toBe('active')
  })

  it('reports a key that we deleted and that is still listed', async () => {
    const key = await accessKey()
    const other = keyByHand(userOf(key))
    byHand('UpdateAccessKey', { UserName: userOf(key), AccessKeyId: other, Status: 'Inactive' })
    const [own] = await test.keys(key.id)
    const dead = { status: 'revoked', deletedAt: test.clock.now() } as const
    await test.store.commit([
      { type: 'key', key: { ...own!, ...dead, generation: 9, keyId: other } },
    ])

    await sweep()

    expect(await open()).toEqual([`extra ${other}`])
  })

  it('reports a store that does not serve the newest key, and one that serves nothing', async () => {
    const account = await test.request(owner, { credentials: [wants.token(), wants.accessKey()] })
    const all = await test.credentials(account.id)
    const [token, key] = ['api-token', 'access-key'].map((k) => all.find((c) => c.kind === k)!)
    await rm(path.join(test.home, 'secrets', token!.tenant, token!.deliverTo.path))
    const id = `custody/${key!.tenant}/${key!.deliverTo.path}`
    const stages = test.aws.world.secret(id)!.stages
    const current = Object.keys(stages).find((v) => stages[v]!.includes('AWSCURRENT'))!
    const placeholder = Object.keys(stages).find((v) => v !== current) ?? key!.id
    test.aws.world.call({
      service: 'secretsmanager',
      operation: 'UpdateSecretVersionStage',
      input: {
        SecretId: id,
        VersionStage: 'AWSCURRENT',
        MoveToVersionId: placeholder,
        RemoveFromVersionId: current,
      },
      accessKeyId: test.aws.world.admin.accessKeyId,
      region: 'us-east-1',
    })

    await sweep()

    expect(await open()).toEqual(
      [`stale-store ${token!.keyId}`, `stale-store ${key!.keyId}`].sort(),
    )
    const facts = (await findings()).map((f) => f.facts['found'])
    expect(facts).toEqual([null, null])
  })

  it('reports a key beyond the maximum age, however fresh the last rotation is (R02)', async () => {
    const key = await accessKey()
    await sweep(days(89))
    expect(await open()).toEqual([])
    const current = await test.credential(key.id)
    const rotated = { ...current, lastRotatedAt: test.clock.now() }
    await test.store.commit([
      { type: 'credential', credential: rotated, expectedVersion: current.version },
    ])

    await sweep(days(2))

    expect(await open()).toContain(`overage ${key.keyId}`)
  })

  it('reports more keys than the provider allows, and does not stumble over them (R06)', async () => {
    const key = await accessKey()
    const own = test.life.providers.get('aws-prod')!
    const crowded = withInventory(own, async (from, call) => {
      const page = await own.inventory!(from, call)
      const crowd = (keys: readonly ListedKey[]) =>
        Array.from({ length: 8 }, (_, i) => (i === 0 ? keys[0]! : { ...keys[0]!, keyId: `K${i}` }))
      return { ...page, entries: page.entries.map((e) => ({ ...e, keys: crowd(e.keys) })) }
    })
    const worker = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers, ['aws-prod', crowded]]),
    }))
    test.clock.advance(hours(1))
    await test.engine.runSweep(test.admin, 'reconcile')
    await worker.drain()

    const [extra] = await findings({ kind: 'extra' })
    expect(extra).toMatchObject({ account: key.account, facts: { keys: 8, allowed: 2 } })
    expect((await findings({ kind: 'foreign' })).length).toBe(7)
    expect((await test.operations('aws-prod'))[0]!.status).toBe('succeeded')
  })

  it('ends the re-activated key of a retired account, which stays retired', async () => {
    const key = await accessKey()
    const user = userOf(key)
    await test.engine.switchAccount(test.admin, key.account, 'retire', null)
    await test.pass(30, 5)
    byHand('UpdateAccessKey', { UserName: user, AccessKeyId: key.keyId!, Status: 'Active' })

    await sweep()

    expect(test.aws.world.wouldAccept(key.keyId!)).toBe(false)
    expect((await test.account(key.account)).status).toBe('retired')
    expect((await findings()).map((f) => f.kind)).toEqual(['reactivated'])
  })

  it('only reports a re-activated key below an account that is up', async () => {
    const key = await accessKey()
    const user = userOf(key)
    const other = keyByHand(user)
    const [own] = await test.keys(key.id)
    await test.store.commit([
      {
        type: 'key',
        key: {
          ...own!,
          generation: 9,
          keyId: other,
          status: 'disabled',
          disabledAt: own!.issuedAt,
        },
      },
    ])

    await sweep()

    const [finding] = await findings({ kind: 'reactivated' })
    expect(finding).toMatchObject({ keyId: other, facts: { operation: null } })
    expect(test.aws.world.wouldAccept(other)).toBe(true)
  })

  it('is not fooled by a list that still shows as active what was just switched off', async () => {
    await test.close()
    await start({ settle: 'PT30S' })
    const key = await accessKey()
    await test.pass(60, 10)
    test.aws.world.lagSeconds = 25
    await test.engine.switchAccount(test.admin, key.account, 'disable', null)
    await test.pass(3)
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(3)

    expect(await findings()).toEqual([])
  })

  it('opens an accepted finding again once its date has passed', async () => {
    const key = await accessKey()
    keyByHand(userOf(key))
    await sweep()
    const [seen] = await findings()
    const until = addSeconds(test.clock.now(), hours(3))
    await test.engine.acceptFinding(test.admin, seen!.id, { reason: 'known', until })

    await sweep()
    expect(await findings({ status: 'accepted' })).toHaveLength(1)
    await sweep(hours(3))

    const [again] = await findings()
    expect(again).toMatchObject({ id: seen!.id, status: 'open', acceptance: null })
    expect(await history(seen!.id)).toEqual([
      'finding.opened',
      'finding.accepted',
      'finding.reopened',
    ])
  })

  it('keeps a finding about a store that cannot be asked, and asks it once', async () => {
    const account = await test.request(owner, { credentials: [wants.token(), wants.token()] })
    for (const { tenant, deliverTo } of await test.credentials(account.id)) {
      await rm(path.join(test.home, 'secrets', tenant, deliverTo.path))
    }
    await sweep()
    const before = await open()
    const sink = test.life.sinks.get('files')!
    let asked = 0
    const silent = {
      ...sink,
      current: () => {
        asked += 1
        return Promise.reject(new ProviderError('unavailable', 'down', { outcome: 'notApplied' }))
      },
    }
    const worker = anotherWorker(test, (life) => ({
      ...life,
      sinks: new Map([...life.sinks, ['files', silent]]),
    }))
    test.clock.advance(hours(1))
    await test.engine.runSweep(test.admin, 'reconcile')
    await worker.drain()

    expect(before).toHaveLength(2)
    expect(await open()).toEqual(before)
    expect(asked).toBe(1)
  })
})
