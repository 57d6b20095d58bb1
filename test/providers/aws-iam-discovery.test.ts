import { beforeEach, describe, expect, it } from 'vitest'
import type { Discovered, Provider } from '../../src/provider/contract.ts'
import type { AwsAccountUnderTest } from '../support/aws-account.ts'
import { awsAccount } from '../support/aws-account.ts'
import { awsRefusal, awsTransport } from '../support/aws-wire.ts'
import {
  callWith,
  providerErrorFrom,
  wantCredential,
  wantPrincipal,
} from '../conformance/provider.ts'

describe('discovering and adopting IAM users', () => {
  let account: AwsAccountUnderTest
  let provider: Provider

  beforeEach(() => {
    account = awsAccount()
    provider = account.connect()
  })

  function user(UserName: string, tags: Record<string, string> = {}, Path = '/'): string {
    const Tags = Object.entries(tags).map(([Key, Value]) => ({ Key, Value }))
    account.admin('CreateUser', { UserName, Path, Tags })
    const { AccessKey } = account.admin('CreateAccessKey', { UserName })
    return (AccessKey as { readonly AccessKeyId: string }).AccessKeyId
  }

  async function walk(of = provider) {
    const items: Discovered[] = []
    let complete = true
    let from: string | null = null
    let pages = 0
    do {
      const page = await of.discover!(from, callWith())
      items.push(...page.items)
      complete &&= page.complete
      from = page.next
      pages++
    } while (from !== null)
    return { items, complete, pages }
  }

  const find = async (name: string) => (await walk()).items.find((i) => i.name === name)!

  it('shows each user that Custody did not make, with its key, age, last use and owners', async () => {
    const keyId = user('ci', {
      Owner: 'ada@example.com, grace',
      contact: 'mailto:team@example.com',
    })
    await provider.ensurePrincipal(wantPrincipal(account.clock), callWith())
    const createdAt = account.clock.now()
    account.clock.advance(60)
    const region = 'us-east-1'
    const whoAmI = { service: 'sts' as const, operation: 'GetCallerIdentity', input: {}, region }
    account.world.call({ ...whoAmI, accessKeyId: keyId })

    const { items, complete } = await walk()

    const { userId } = account.world.users().find((u) => u.userName === 'ci')!
    expect(complete).toBe(true)
    expect(items).toEqual([
      {
        external: JSON.stringify({ userId }),
        name: '/ci',
        kind: 'access-key',
        createdAt,
        keys: [
          {
            keyId,
            fingerprint: null,
            kind: 'access-key',
            active: true,
            createdAt,
            lastUsedAt: account.clock.now(),
          },
        ],
        owners: ['ada@example.com', 'grace', 'team@example.com'].map((hint) => ({
          hint,
          from: 'tag',
        })),
        vendor: null,
        account: null,
        obstacle: null,
      },
    ])
  })

  it('takes the names of owner tags from the configuration', async () => {
    user('ci', { owner: 'nobody', squad: 'payments' })

    const { items } = await walk(account.connect({ ownerTags: ['Squad'] }))

    expect(items[0]!.owners).toEqual([{ hint: 'payments', from: 'tag' }])
  })

  it('says that a last use could not be told instead of calling the key unused', async () => {
    user('ci')
    const limited = account.connect(
      {},
      awsTransport(account.world, ({ operation }, answer) =>
        operation === 'GetAccessKeyLastUsed' ? awsRefusal(403, 'AccessDenied') : answer(),
      ),
    )

    const { items } = await walk(limited)

    expect(items[0]!.keys[0]).not.toHaveProperty('lastUsedAt')
  })

  it('goes on behind the last user it read when it was throttled, and misses none', async () => {
    for (let i = 0; i < 25; i++) user(`u${String(i).padStart(2, '0')}`)
    account.world.pageSizeMax = 10
    let calls = 0
    const throttled = account.connect(
      {},
      awsTransport(account.world, ({ operation }, answer) =>
        operation === 'ListAccessKeys' && ++calls % 7 === 0
          ? awsRefusal(400, 'Throttling', 'Rate exceeded')
          : answer(),
      ),
    )

    const { items, complete } = await walk(throttled)

    expect(items.map((item) => item.name)).toEqual(
      Array.from({ length: 25 }, (_, i) => `/u${String(i).padStart(2, '0')}`),
    )
    expect(complete).toBe(true)
  })

  it('refuses a place in a listing that is none', async () => {
    for (const from of ['{}', 'x', '{"marker":7,"after":null}']) {
      expect((await providerErrorFrom(provider.discover!(from, callWith()))).kind).toBe('invalid')
    }
  })

  it('shows what stands in the way of adopting a person, who signs in with a password', async () => {
    user('ada')
    account.admin('CreateLoginProfile', { UserName: 'ada', Password: 'x' })

    const { obstacle, external } = await find('/ada')
    const want = wantPrincipal(account.clock)
    const error = await providerErrorFrom(provider.adopt!(external, want, callWith()))

    expect(obstacle).toContain('console password')
    expect([error.kind, error.message]).toEqual(['conflict', expect.stringContaining(obstacle!)])
  })

  it('marks what it adopts for one account, and changes nothing else about it', async () => {
    user('ci', { owner: 'ada' }, '/teams/')
    const before = account.world.users()[0]!
    const want = wantPrincipal(account.clock)
    const { external } = await find('/teams/ci')

    const adopted = await provider.adopt!(external, want, callWith())
    const again = await provider.adopt!(external, want, callWith())
    const other = providerErrorFrom(
      provider.adopt!(external, wantPrincipal(account.clock), callWith()),
    )

    const mark = { 'custody:adopted': `default/${want.account}` }
    expect(account.world.users()).toEqual([{ ...before, tags: { ...before.tags, ...mark } }])
    expect([adopted.created, again]).toEqual([false, adopted])
    expect((await other).kind).toBe('conflict')
    expect((await find('/teams/ci')).account).toBe(want.account)
  })

  it('does not adopt the user that Custody itself runs as', async () => {
    const everything = { Effect: 'Allow', Action: '*', Resource: '*' }
    const policy = { Version: '2012-10-17', Statement: [everything] }
    const credentials = account.userWith('custody', policy)
    const asItself = account.connect({ credentials, adopt: ['custody'] })
    const want = { ...wantPrincipal(account.clock), userName: 'custody' }
    const { external } = await find('/custody')

    const found = await providerErrorFrom(asItself.adopt!(external, want, callWith()))
    const named = await providerErrorFrom(asItself.ensurePrincipal(want, callWith()))

    expect([found.kind, named.kind]).toEqual(['conflict', 'conflict'])
    expect(found.message).toContain('is the one that Custody runs as')
    expect(account.world.users()[0]!.tags).toEqual({})
  })

  it('adopts neither what Custody made nor what is gone', async () => {
    const { external } = await provider.ensurePrincipal(wantPrincipal(account.clock), callWith())
    const want = wantPrincipal(account.clock)

    const ours = await providerErrorFrom(provider.adopt!(external, want, callWith()))
    const gone = await providerErrorFrom(
      provider.adopt!(JSON.stringify({ userId: 'AIDAGONE' }), want, callWith()),
    )

    expect([ours.kind, gone.kind]).toEqual(['conflict', 'notFound'])
  })

  describe('a user that was adopted and renamed since', () => {
    async function renamed() {
      const keyId = user('ci')
      const want = wantPrincipal(account.clock)
      const { external } = await provider.adopt!((await find('/ci')).external, want, callWith())
      account.admin('UpdateUser', { UserName: 'ci', NewUserName: 'build', NewPath: '/new/' })
      account.admin('CreateUser', { UserName: 'ci' })
      return { keyId, want, external }
    }

    it('is the one that its account goes on with, and none is made beside it', async () => {
      const { want, external, keyId } = await renamed()

      const ensured = await provider.ensurePrincipal({ ...want, external }, callWith())
      const credential = wantCredential(want, 'access-key', account.clock)
      const issued = await provider.issue(ensured.external, credential, callWith())

      expect(JSON.parse(ensured.external)).toMatchObject({ userName: 'build' })
      expect(ensured.created).toBe(false)
      const keys = account.world.keysOf('build').map((key) => key.accessKeyId)
      expect(keys.toSorted()).toEqual([keyId, issued.keyId].toSorted())
      expect(account.world.users()).toHaveLength(2)
    })

    it('is in the inventory, wherever it lies, with the account of its mark', async () => {
      const { want, keyId } = await renamed()
      for (let i = 0; i < 5; i++) user(`other${i}`)
      account.world.pageSizeMax = 2

      const entries = []
      for (let from: string | null = null, first = true; first || from !== null; first = false) {
        const page = await provider.inventory!(from, callWith())
        entries.push(...page.entries)
        from = page.next
      }

      expect(entries).toMatchObject([
        { name: '/new/build', account: want.account, keys: [{ keyId }] },
      ])
    })

    it('is not replaced by a new user when somebody deletes it', async () => {
      const { want, external, keyId } = await renamed()
      account.admin('DeleteAccessKey', { UserName: 'build', AccessKeyId: keyId })
      account.admin('DeleteUser', { UserName: 'build' })

      const error = await providerErrorFrom(
        provider.ensurePrincipal({ ...want, external }, callWith()),
      )

      expect([error.kind, error.message]).toEqual([
        'notFound',
        'IAM user "ci", adopted for this account, is gone; retire the account.',
      ])
    })
  })

  it('finds a user of its own again that was renamed, instead of making a second one', async () => {
    const want = wantPrincipal(account.clock)
    const { external } = await provider.ensurePrincipal(want, callWith())
    const { userName } = JSON.parse(external) as { readonly userName: string }
    account.admin('UpdateUser', { UserName: userName, NewUserName: 'renamed' })

    const again = await provider.ensurePrincipal({ ...want, external }, callWith())

    expect(JSON.parse(again.external)).toMatchObject({ userName: 'renamed' })
    expect(account.world.users()).toHaveLength(1)
  })

  it('is left out where the configuration says so', async () => {
    const without = account.connect({ discovery: false })

    expect(without).toMatchObject({ discover: undefined })
    expect((await without.inventory!(null, callWith())).next).toContain('federated-role')
  })

  it('shuts an adopted user off though its own policies leave no room, and turns it on again', async () => {
    const keyId = user('ci')
    const Resource = Array.from({ length: 57 }, (_, i) => `arn:aws:s3:::bucket-number-${i}/*`)
    const PolicyDocument = JSON.stringify({
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource }],
    })
    account.admin('PutUserPolicy', { UserName: 'ci', PolicyName: 'own', PolicyDocument })
    const want = wantPrincipal(account.clock)
    const { external } = await provider.adopt!((await find('/ci')).external, want, callWith())
    const may = () => account.world.wouldAllow(keyId, 's3:GetObject', Resource[0])

    await provider.shutOff(external, callWith())
    const off = may()
    await provider.turnOn(external, callWith())

    expect([off, may()]).toEqual([false, true])
    expect(account.world.users()[0]).toMatchObject({ attachedPolicies: [] })
  })

  it('keeps sessions out that were made before an adopted user was shut off', async () => {
    user('ci')
    const want = wantPrincipal(account.clock)
    const { external } = await provider.adopt!((await find('/ci')).external, want, callWith())

    await provider.shutOff(external, callWith())
    await provider.turnOn(external, callWith())

    const [document] = Object.values(account.world.users()[0]!.inlinePolicies)
    expect(JSON.parse(document!)).toMatchObject({
      Statement: [
        {
          Effect: 'Deny',
          Condition: { DateLessThan: { 'aws:TokenIssueTime': account.clock.now() } },
        },
      ],
    })
  })
})
