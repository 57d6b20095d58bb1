import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { Secret } from '../../src/domain/secret.ts'
import type {
  InventoryEntry,
  InventoryPage,
  Provider,
  TokenBook,
} from '../../src/provider/contract.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { callWith, providerErrorFrom } from '../conformance/provider.ts'
import { ManualClock } from '../support/manual-clock.ts'

describe('the inventory of IAM users', () => {
  let sandbox: AwsSandbox
  let provider: Provider
  const clock = new ManualClock()

  const connect = (more: Record<string, unknown> = {}): Provider =>
    awsIam.create(
      {
        name: 'aws-test',
        clock,
        random: (length) => new Uint8Array(length),
        resolvePath: (path) => path,
        tokens: {} as TokenBook,
        pepper: Secret.ofText('unused'),
      },
      { region: 'us-east-1', endpoint: sandbox.url, credentials: sandbox.world.admin, ...more },
    )
  const act = (operation: string, input: Record<string, unknown>): void => {
    const { accessKeyId } = sandbox.world.admin
    sandbox.world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' })
  }
  const user = (UserName: string, Path = '/custody/', keys = 1): void => {
    act('CreateUser', { UserName, Path })
    for (let i = 0; i < keys; i++) act('CreateAccessKey', { UserName })
  }

  beforeEach(async () => {
    sandbox = await startAwsSandbox({ clock })
    provider = connect()
  })
  afterEach(async () => {
    await provider.close()
    await sandbox.close()
  })

  const names = (entries: readonly InventoryEntry[]) => entries.map((entry) => entry.name)
  /** Page after page; a page that is throttled is asked for again. */
  async function walk(from: Provider = provider) {
    const entries: InventoryEntry[] = []
    let pages = 0
    let complete = true
    let failures = 0
    for (let next: string | null = null; ; pages++) {
      const page: InventoryPage | null = await from.inventory!(next, callWith()).catch(() => null)
      if (page === null) {
        if (++failures > 50) throw new Error('it does not get through')
        continue
      }
      entries.push(...page.entries)
      complete &&= page.complete
      next = page.next
      if (next === null) return { entries, complete, pages: pages + 1, failures }
    }
  }

  it('goes through all users under the path, page by page, and through no other', async () => {
    for (let i = 0; i < 60; i++) user(`u${String(i).padStart(2, '0')}`, '/custody/', i % 3)
    user('elsewhere', '/people/')

    const { entries, complete, pages } = await walk()

    // The fourth looks for adopted users elsewhere, the fifth for roles.
    expect([entries.length, complete, pages]).toEqual([60, true, 5])
    expect(new Set(names(entries)).size).toBe(60)
    expect(entries.flatMap((e) => e.keys)).toHaveLength(60)
    expect(entries[0]).toMatchObject({ name: '/custody/u00', account: null, keys: [] })
  })

  it('ends a page where it was throttled, and goes on behind the last user it read', async () => {
    for (let i = 0; i < 30; i++) user(`u${String(i).padStart(2, '0')}`)
    const { faults } = sandbox
    let calls = 0
    faults.take = (operation) =>
      operation === 'ListAccessKeys' && ++calls % 5 === 0
        ? { kind: 'throttle', retryAfterSeconds: 1 }
        : null

    const { entries, complete } = await walk()

    expect([names(entries).length, new Set(names(entries)).size, complete]).toEqual([30, 30, true])
  })

  it('misses none when the user it stopped behind is deleted meanwhile', async () => {
    for (let i = 0; i < 30; i++) user(`u${String(i).padStart(2, '0')}`, '/custody/', 0)
    let calls = 0
    sandbox.faults.take = (operation) =>
      operation === 'ListAccessKeys' && ++calls === 11
        ? { kind: 'throttle', retryAfterSeconds: 1 }
        : null
    const first = await provider.inventory!(null, callWith())
    act('DeleteUser', { UserName: 'u09' })

    const second = await provider.inventory!(first.next, callWith())
    const third = await provider.inventory!(second.next, callWith())

    expect(names(first.entries).at(-1)).toBe('/custody/u09')
    const all = [first, second, third].flatMap((page) => names(page.entries))
    expect([new Set(all).size, third.next]).toEqual([30, '{"tagged":null,"after":null}'])
  })

  it('is incomplete when one user may not be read, and shows the others', async () => {
    user('open')
    user('shut')
    sandbox.faults.take = () => null
    const { world } = sandbox
    act('CreateUser', { UserName: 'reader' })
    const statement = (Effect: string, Action: string, Resource: string) => ({
      Effect,
      Action,
      Resource,
    })
    const shut = `arn:aws:iam::${world.accountId}:user/custody/shut`
    act('PutUserPolicy', {
      UserName: 'reader',
      PolicyName: 'reader',
      PolicyDocument: JSON.stringify({
        Version: '2012-10-17',
        Statement: [statement('Allow', 'iam:*', '*'), statement('Deny', 'iam:*', shut)],
      }),
    })
    const { AccessKey } = world.call({
      service: 'iam',
      operation: 'CreateAccessKey',
      input: { UserName: 'reader' },
      accessKeyId: world.admin.accessKeyId,
      region: 'us-east-1',
    }) as { AccessKey: { AccessKeyId: string; SecretAccessKey: string } }
    const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey } = AccessKey
    const reader = connect({ credentials: { accessKeyId, secretAccessKey } })

    const { entries, complete } = await walk(reader)
    await reader.close()

    expect([names(entries), complete]).toEqual([['/custody/open'], false])
  })

  it('includes adopted users wherever they are, once', async () => {
    user('legacy', '/people/', 2)
    user('inside', '/custody/')
    const adopting = connect({ adopt: ['legacy', 'inside', 'never-made'] })

    const { entries, complete } = await walk(adopting)
    await adopting.close()

    expect(names(entries).sort()).toEqual(['/custody/inside', '/people/legacy'])
    expect(complete).toBe(true)
  })

  it('fails when the very first call fails, and when a marker is not known any more', async () => {
    user('one')
    sandbox.faults.arm('ListUsers', { kind: 'throttle', retryAfterSeconds: 7 })
    const throttled = await providerErrorFrom(provider.inventory!(null, callWith()))
    const unknown = JSON.stringify({ marker: 'no such marker', after: null })
    const lost = await providerErrorFrom(provider.inventory!(unknown, callWith()))

    expect(throttled).toMatchObject({ kind: 'throttled', retryAfter: 7 })
    expect(lost).toMatchObject({ kind: 'invalid', outcome: 'notApplied' })
  })

  it('reads the account from the marks of one user', async () => {
    const Tags = [{ Key: 'custody:id', Value: 'the-account' }]
    act('CreateUser', { UserName: 'marked', Path: '/custody/', Tags })
    user('plain')
    const { entries } = await walk()

    const marks = await Promise.all(
      entries.map((entry) => provider.marksOf!(entry.external, callWith())),
    )

    expect(marks).toEqual(['the-account', null])
  })
})
