import * as iam from '@aws-sdk/client-iam'
import * as sts from '@aws-sdk/client-sts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { parseFederatedScopes } from '../../providers/aws-iam/trust.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext, Provider, TokenBook } from '../../src/provider/contract.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import {
  callWith,
  providerConformance,
  providerErrorFrom,
  wantCredential,
  wantPrincipal,
} from '../conformance/provider.ts'
import { ManualClock } from '../support/manual-clock.ts'

const issuer = 'token.actions.githubusercontent.com'
const sub = 'repo:acme/shop:environment:production'
const aud = 'sts.amazonaws.com'
const consumer = [`issuer:${issuer}`, `subject:${sub}`, `audience:${aud}`]
const rights = ['s3:GetObject on arn:aws:s3:::bucket/*']
const managed = 'arn:aws:iam::aws:policy/ReadOnlyAccess'
const providerArn = `arn:aws:iam::123456789012:oidc-provider/${issuer}`

interface World {
  readonly lag?: number
  readonly federation?: Record<string, unknown>
  /** Without it the account knows no issuer yet. */
  readonly registered?: boolean
  readonly tokens?: boolean
}

async function connect({
  lag = 0,
  federation = {},
  registered = true,
  tokens = false,
}: World = {}) {
  const clock = new ManualClock()
  const sandbox = await startAwsSandbox({ clock })
  const { world } = sandbox
  const directory = mkdtempSync(join(tmpdir(), 'custody-federation-'))
  const file = join(directory, 'token')
  const write = (claims: { sub?: string; aud?: string; seconds?: number } = {}) =>
    writeFileSync(file, `${world.issueWebIdentity({ sub, aud, seconds: 86_400, ...claims })}\n`)
  if (tokens) write()
  if (registered) {
    world.call({
      service: 'iam',
      operation: 'CreateOpenIDConnectProvider',
      input: { Url: `https://${issuer}`, ClientIDList: [aud] },
      accessKeyId: world.admin.accessKeyId,
      region: 'us-east-1',
    })
  }
  world.lagSeconds = lag
  world.propagationSeconds = lag
  const host: HostContext = {
    name: 'aws-test',
    clock,
    random: (length) => new Uint8Array(length),
    resolvePath: (path) => join(directory, path),
    tokens: {} as TokenBook,
    pepper: Secret.ofText('unused'),
  }
  const provider = awsIam.create(host, {
    region: 'eu-central-1',
    endpoint: sandbox.url,
    credentials: world.admin,
    settle: 'PT0S',
    probe: { count: 1, every: 'PT0S' },
    allowedPolicies: [managed],
    federation: { ...federation, ...(tokens ? { probeTokenFiles: ['token'] } : {}) },
  })
  return {
    provider,
    sandbox,
    clock,
    write,
    kind: 'federated-role' as const,
    scopes: [...consumer, `policy:${managed}`, ...rights],
    otherScopes: [...consumer, ...rights],
    plantDrift: ({ keyId }: { readonly keyId: string }) => {
      const input = { RoleName: keyId.split('/').at(-1)!, PolicyArn: managed }
      const { accessKeyId } = world.admin
      const call = { service: 'iam', input, accessKeyId, region: 'us-east-1' } as const
      world.call({ ...call, operation: 'DetachRolePolicy' })
    },
    refusedScope: 'subject:repo:acme/*',
    settle: () => clock.advance(lag),
    armLostIssue: () => sandbox.faults.arm('CreateRole', { kind: 'lostResponse' }),
    armThrottledIssue: () =>
      sandbox.faults.arm('CreateRole', { kind: 'throttle', retryAfterSeconds: 7 }),
    snapshot: () => [world.users(), world.roles()],
    dispose: async () => {
      rmSync(directory, { recursive: true })
      await sandbox.close()
    },
  }
}

providerConformance('aws-iam federated roles, tried with a token, with a lag of 10 s', () =>
  connect({ lag: 10, tokens: true }),
)

describe('a federated role', () => {
  let under: Awaited<ReturnType<typeof connect>>
  let provider: Provider
  let admin: iam.IAM

  async function start(world: World = {}) {
    under = await connect(world)
    provider = under.provider
    const { url, world: aws } = under.sandbox
    admin = new iam.IAM({ region: 'eu-central-1', endpoint: url, credentials: aws.admin })
  }
  beforeEach(() => start({ tokens: true }))
  afterEach(async () => {
    admin.destroy()
    await provider.close()
    await under.dispose()
  })
  const restart = async (world: World) => {
    admin.destroy()
    await provider.close()
    await under.dispose()
    await start(world)
  }

  async function issued(scopes = [...consumer, ...rights]) {
    const want = { ...wantPrincipal(under.clock), kind: under.kind }
    const { external } = await provider.ensurePrincipal(want, callWith())
    const credential = wantCredential(want, under.kind, under.clock, { scopes })
    const key = await provider.issue(external, credential, callWith())
    return { want, external, credential, keyId: key.keyId, key }
  }

  /** As the consumer's workflow does it. */
  async function enter(RoleArn: string): Promise<string> {
    const { url, world } = under.sandbox
    const client = new sts.STS({ region: 'eu-central-1', endpoint: url, maxAttempts: 1 })
    const WebIdentityToken = world.issueWebIdentity({ sub, aud })
    const input = { RoleArn, RoleSessionName: 'run-1', WebIdentityToken }
    return client.assumeRoleWithWebIdentity(input).then(
      ({ Credentials }) => Credentials!.AccessKeyId!,
      (error: Error) => error.name,
    )
  }

  const mayRead = (accessKeyId: string) =>
    under.sandbox.world.wouldAllow(accessKeyId, 's3:GetObject', 'arn:aws:s3:::bucket/a')
  const role = () => under.sandbox.world.roles()[0]!

  it('lets in exactly its consumer, with exactly its rights, and has no secret', async () => {
    const { want, credential, key } = await issued([...consumer, `policy:${managed}`, ...rights])

    const session = await enter(key.keyId)

    expect(mayRead(session)).toBe(true)
    expect(under.sandbox.world.wouldAllow(session, 's3:PutObject')).toBe(false)
    expect([key.secret, key.fingerprint, key.keyId]).toEqual([null, role().roleId, role().arn])
    expect(under.sandbox.world.users()).toEqual([])
    expect(role()).toMatchObject({
      path: `/custody/${want.account}/`,
      roleName: `custody-${credential.credential}-g1`,
      boundary: expect.stringContaining(':policy/custody/custody-boundary-v'),
      attachedPolicies: [managed],
      tags: {
        'custody:id': want.account,
        'custody:tenant': want.tenant,
        'custody:credential': credential.credential,
        'custody:generation': '1',
        'custody:operation': credential.operation,
      },
    })
    expect(JSON.parse(role().trust)).toMatchObject({
      Statement: [
        {
          Effect: 'Allow',
          Principal: { Federated: providerArn },
          Condition: { StringEquals: { [`${issuer}:sub`]: sub, [`${issuer}:aud`]: aud } },
        },
      ],
    })
  })

  it('is completed, not doubled, when the answer of its making was lost', async () => {
    const want = { ...wantPrincipal(under.clock), kind: under.kind }
    const { external } = await provider.ensurePrincipal(want, callWith())
    const scopes = [...consumer, ...rights]
    const credential = wantCredential(want, under.kind, under.clock, { scopes })
    under.armLostIssue()

    const lost = await providerErrorFrom(provider.issue(external, credential, callWith()))
    const again = await provider.issue(external, credential, callWith())

    expect([lost.outcome, under.sandbox.world.roles().length]).toEqual(['unknown', 1])
    expect(mayRead(await enter(again.keyId))).toBe(true)
  })

  it('shuts its door and ends its sessions when disabled, and is exactly what it was when enabled', async () => {
    under.sandbox.world.propagationSeconds = 10
    const { external, keyId } = await issued()
    under.clock.advance(10)
    const before = { trust: role().trust, inline: role().inlinePolicies }
    const session = await enter(keyId)
    expect(await provider.probeKey!(external, keyId, callWith())).toBe('accepted')

    await provider.disable(external, keyId, callWith())
    const slipped = await enter(keyId)
    under.clock.advance(10)
    const off = {
      sessions: [mayRead(session), mayRead(slipped)],
      door: await enter(keyId),
      probe: await provider.probeKey!(external, keyId, callWith()),
    }
    await provider.enable(external, keyId, callWith())
    under.clock.advance(10)

    expect(off).toEqual({ sessions: [false, false], door: 'AccessDenied', probe: 'refused' })
    expect({ trust: role().trust, inline: role().inlinePolicies }).toEqual(before)
    expect(mayRead(await enter(keyId))).toBe(true)
  })

  it('is not enabled with a trust that somebody changed meanwhile', async () => {
    const { external, keyId } = await issued()
    await provider.disable(external, keyId, callWith())
    const RoleName = role().roleName
    const PolicyDocument = role().trust.replace(sub, 'repo:evil/fork:environment:production')
    await admin.updateAssumeRolePolicy({ RoleName, PolicyDocument })
    // Exact still, so it could be restored; the boundary of trust is whom it names.
    await admin.updateAssumeRolePolicy({
      RoleName,
      PolicyDocument: PolicyDocument.replace('StringEquals', 'StringLike'),
    })

    const error = await providerErrorFrom(provider.enable(external, keyId, callWith()))

    expect([error.kind, error.outcome]).toEqual(['conflict', 'notApplied'])
  })

  it('is told when it trusts or may more than was granted, and is put back as it was', async () => {
    const {
      external,
      credential: want,
      keyId,
    } = await issued([...consumer, ...rights, `policy:${managed}`])
    const RoleName = keyId.split('/').at(-1)!
    const before = role()
    const wanted = [{ ...want, keyId }]
    const drifts = async () => (await provider.driftOf!(external, wanted, callWith())).items
    const inBulk = async () => {
      const asked: unknown[] = []
      const page = await provider.driftPage!(
        null,
        async (principals) => {
          asked.push(...principals)
          return new Map([[external, wanted]])
        },
        callWith(),
      )
      expect(asked).toEqual([{ external, account: want.account }])
      return page.principals[0]!.items
    }
    expect(await drifts()).toEqual([])
    const PolicyDocument = before.trust.replace(sub, 'repo:evil/b:ref:refs/heads/main')
    await admin.updateAssumeRolePolicy({ RoleName, PolicyDocument })
    await admin.deleteRolePermissionsBoundary({ RoleName })

    const found = await drifts()

    expect(found.map(({ what, reach }) => [what, reach])).toEqual([
      ['boundary', 'more'],
      ['trust', 'more'],
    ])
    expect(await inBulk()).toEqual(found)
    for (const drift of found) await provider.revertDrift!(external, wanted, drift, callWith())
    expect(role()).toEqual(before)
    const narrower = want.scopes.filter((scope) => !scope.startsWith('policy:'))
    await provider.rescope!(external, { ...wanted[0]!, scopes: narrower }, callWith())
    expect(role()).toMatchObject({ trust: before.trust, attachedPolicies: [] })
    const other = narrower.map((s) =>
      s.startsWith('subject:') ? 'subject:repo:acme/b:environment:x' : s,
    )
    const refused = provider.rescope!(external, { ...wanted[0]!, scopes: other }, callWith())
    await expect(refused).rejects.toMatchObject({ kind: 'invalid' })
  })

  it('says nothing about a role when there is no fresh token of its consumer', async () => {
    const { external, keyId } = await issued()
    await provider.disable(external, keyId, callWith())
    const answers = []

    for (const claims of [
      { seconds: -1 },
      { sub: 'repo:acme/other:environment:x' },
      { aud: 'x' },
    ]) {
      under.write(claims)
      answers.push(await provider.probeKey!(external, keyId, callWith()))
    }

    expect(new Set(answers)).toEqual(new Set(['untestable']))
  })

  it('is told from a stranger’s of the same name, which is left alone', async () => {
    const { external, keyId } = await issued()
    const { roleName, path, trust } = role()
    await provider.revoke(external, keyId, callWith())
    await admin.createRole({ RoleName: roleName, Path: path, AssumeRolePolicyDocument: trust })

    const error = await providerErrorFrom(provider.revoke(external, keyId, callWith()))
    await provider.shutOff(external, callWith())
    await provider.deletePrincipal(external, callWith())

    expect(error.kind).toBe('conflict')
    expect(under.sandbox.world.roles().map((r) => r.inlinePolicies)).toEqual([{}])
  })

  it('goes with everything that hangs on it, however often that is cut', async () => {
    const { external, keyId } = await issued([...consumer, `policy:${managed}`, ...rights])
    const RoleName = role().roleName
    await admin.createInstanceProfile({ InstanceProfileName: 'p' })
    await admin.addRoleToInstanceProfile({ InstanceProfileName: 'p', RoleName })
    let calls = 0
    let cuts = 0
    // Each run gets one call further than the run before, and its answer is lost.
    under.sandbox.faults.take = () => (++calls > cuts ? { kind: 'lostResponse' } : null)

    for (; cuts < 40; cuts++) {
      calls = 0
      if (
        await provider.revoke(external, keyId, callWith()).then(
          () => true,
          () => false,
        )
      )
        break
    }

    expect(under.sandbox.world.roles()).toEqual([])
    expect(cuts).toBeGreaterThan(5)
    expect(cuts).toBeLessThan(40)
  })

  it('lives beside keys of the same account, whichever came first', async () => {
    for (const kinds of [
      ['federated-role', 'access-key'],
      ['access-key', 'federated-role'],
    ] as const) {
      const want = wantPrincipal(under.clock, `bot-${kinds[0]}`)
      const made = []
      let external = ''
      for (const kind of kinds) {
        ;({ external } = await provider.ensurePrincipal({ ...want, kind }, callWith()))
        const scopes = kind === 'access-key' ? [] : consumer
        const credential = wantCredential(want, kind, under.clock, { scopes })
        made.push((await provider.issue(external, credential, callWith())).keyId)
      }

      const { items } = await provider.list(external, callWith())
      expect(items.map((i) => i.keyId).sort()).toEqual(made.sort())
      await provider.shutOff(external, callWith())
      expect(role().inlinePolicies).toHaveProperty('custody-shut-off')
      await provider.turnOn(external, callWith())
      expect(role().inlinePolicies).not.toHaveProperty('custody-shut-off')
      await provider.deletePrincipal(external, callWith())
      expect([under.sandbox.world.roles(), under.sandbox.world.users()]).toEqual([[], []])
    }
  })

  it('is handed back with the user beside, both without tags and boundary, as often as asked', async () => {
    const want = wantPrincipal(under.clock)
    let external = ''
    for (const kind of ['access-key', 'federated-role'] as const) {
      ;({ external } = await provider.ensurePrincipal({ ...want, kind }, callWith()))
      const scopes = kind === 'access-key' ? [] : consumer
      const credential = wantCredential(want, kind, under.clock, { scopes })
      await provider.issue(external, credential, callWith())
    }
    await provider.shutOff(external, callWith())
    const { trust } = role()

    const first = await provider.release!(external, callWith())
    const second = await provider.release!(external, callWith())

    expect([first.removed.length, second.removed]).toEqual([6, []])
    const bare = { tags: {}, boundary: null, inlinePolicies: {} }
    expect(under.sandbox.world.users()).toMatchObject([bare])
    expect(role()).toMatchObject({ ...bare, trust })
  })

  it('does not hide a key whose user was made while its principal was stored', async () => {
    const want = wantPrincipal(under.clock)
    const key = await provider.ensurePrincipal({ ...want, kind: 'access-key' }, callWith())
    const stale = JSON.stringify({ account: want.account })
    const credential = wantCredential(want, 'access-key', under.clock)

    const { keyId } = await provider.issue(stale, credential, callWith())
    const wanted = wantCredential(want, under.kind, under.clock, { scopes: consumer })
    const { keyId: roleArn } = await provider.issue(stale, wanted, callWith())
    const listed = [
      await provider.list(stale, callWith()),
      await provider.list(key.external, callWith()),
    ]
    await provider.disable(stale, keyId, callWith())

    for (const { items } of listed) {
      expect(items.map((i) => i.keyId)).toEqual([keyId, roleArn])
    }
    expect(under.sandbox.world.wouldAccept(keyId)).toBe(false)
  })

  it('asks for the identity provider by the very command, or makes it where it may', async () => {
    await restart({ registered: false })
    const error = await providerErrorFrom(issued())
    await restart({ registered: false, federation: { createProviders: true } })
    const { keyId } = await issued()
    const other = await issued([consumer[0]!, consumer[1]!, 'audience:other'])

    expect([error.kind, error.outcome]).toEqual(['invalid', 'notApplied'])
    expect(error.message).toContain(
      `aws iam create-open-id-connect-provider --url https://${issuer} --client-id-list ${aud}`,
    )
    expect(await enter(keyId)).toMatch(/^ASIA/)
    expect(other.keyId).toMatch(/:role\/custody\//)
  })
})

describe('the scopes of a federated role', () => {
  const rules = { allowedPolicies: [], allowPullRequests: false }
  const refusal = (scopes: readonly string[], more = {}) => {
    const parsed = parseFederatedScopes(scopes, { ...rules, ...more })
    return 'reason' in parsed ? parsed.reason : null
  }
  const withSubject = (subject: string) => [consumer[0]!, `subject:${subject}`, consumer[2]!]
  const elsewhere = (subject: string) => [
    'issuer:oidc.eks.eu-central-1.amazonaws.com/id/ABC',
    `subject:${subject}`,
    consumer[2]!,
  ]

  it.each([
    ['repo:acme/shop:ref:refs/heads/main'],
    ['repo:acme/shop.js:ref:refs/tags/v1.2.3'],
    ['repo:acme/shop:environment:prod-eu'],
  ])('takes the subject %s of GitHub', (subject) => {
    expect(refusal(withSubject(subject))).toBeNull()
  })

  it.each([
    ['repo:acme/*:ref:refs/heads/main', 'not exact'],
    ['repo:acme/shop:*', 'not exact'],
    ['repo:acme/sho?:environment:prod', 'not exact'],
    ['repo:acme/${aws:username}:environment:prod', 'not exact'],
    ['repo:acme/shop', 'A subject of GitHub Actions is'],
    ['acme/shop:ref:refs/heads/main', 'A subject of GitHub Actions is'],
    ['repo:acme/shop:ref:main', 'is none of'],
    ['repo:acme/shop:ref:refs/pull/7/merge', 'is none of'],
    ['repo:acme/shop:pull_request', 'federation.allowPullRequests'],
    ['', '1 to 255 visible characters'],
    [`repo:acme/shop:environment:${'x'.repeat(250)}`, '1 to 255 visible characters'],
    ['repo:acme/shop:environment:a b', '1 to 255 visible characters'],
  ])('refuses the subject %s of GitHub', (subject, reason) => {
    expect(refusal(withSubject(subject))).toContain(reason)
  })

  it.each([
    ['nothing', [], 'needs its issuer, subject, audience'],
    ['no audience', consumer.slice(0, 2), 'needs its audience'],
    ['two subjects', [...consumer, 'subject:other'], 'one subject'],
    ['an URL', ['issuer:https://x.example', ...consumer.slice(1)], 'without https://'],
    ['no host', ['issuer:X Y', ...consumer.slice(1)], 'visible characters'],
    ['a bad host', ['issuer:-x', ...consumer.slice(1)], 'is no issuer'],
    ['a wide right', [...consumer, 's3:*'], 'grants everything in s3'],
    ['half a pod', elsewhere('system:serviceaccount:shop'), 'A subject of Kubernetes'],
  ])('refuses %s', (_what, scopes, reason) => {
    expect(refusal(scopes)).toContain(reason)
  })

  it('takes pods, any exact subject of other issuers, and pull requests where the operator says so', () => {
    expect(refusal(elsewhere('system:serviceaccount:shop:web'))).toBeNull()
    expect(refusal(elsewhere('organization:acme:project:x'))).toBeNull()
    const pull = withSubject('repo:acme/shop:pull_request')
    expect(refusal(pull, { allowPullRequests: true })).toBeNull()
  })
})
