import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { probeRegions } from '../../providers/aws-iam/regions.ts'
import type { CheckFinding } from '../../src/provider/contract.ts'
import type { AwsAccountUnderTest } from '../support/aws-account.ts'
import { awsAccount } from '../support/aws-account.ts'
import type { AwsRequest } from '../support/aws-wire.ts'
import { awsRefusal, awsTransport } from '../support/aws-wire.ts'
import {
  callWith,
  providerErrorFrom,
  wantCredential,
  wantPrincipal,
} from '../conformance/provider.ts'

const operation = '01890000-0000-7000-8000-00000000000a'

async function leastPolicyOf(account: AwsAccountUnderTest, config = {}): Promise<string> {
  return (await account.connect(config).check!(callWith())).leastPolicy!
}

async function findingsOf(
  account: AwsAccountUnderTest,
  config: Record<string, unknown>,
  ...wire: Parameters<typeof account.connect> extends [unknown?, (infer T)?] ? T[] : never
): Promise<Record<string, CheckFinding>> {
  const { findings } = await account.connect(config, ...wire).check!(callWith())
  return Object.fromEntries(findings.map((finding) => [finding.name, finding]))
}

describe('checking an aws-iam provider', () => {
  it('prints the least policy that its README shows, small enough for a managed policy', async () => {
    const file = new URL('../../providers/aws-iam/README.md', import.meta.url)
    const shown = /```json\n(.+?)```/s.exec(readFileSync(file, 'utf8'))![1]!

    const policy = await leastPolicyOf(awsAccount())

    expect(JSON.parse(policy)).toEqual(JSON.parse(shown))
    expect(policy.replaceAll(/\s/g, '').length).toBeLessThan(6_144)
  })

  it('asks for no more than the configuration needs, and for what it adds', async () => {
    const account = awsAccount()
    const boundaryArn = 'arn:aws:iam::aws:policy/ReadOnlyAccess'

    const less = await leastPolicyOf(account, { discovery: false, boundaryArn, path: '/nhi/' })
    const more = await leastPolicyOf(account, {
      adopt: ['legacy'],
      federation: { createProviders: true },
    })

    expect(less).not.toMatch(/CreatePolicy"|CustodyAdoption|user\/custody/)
    expect(less).toContain('arn:aws:iam::*:user/nhi/*')
    expect(more).toContain('arn:aws:iam::*:user/*/legacy')
    expect(more).toContain('iam:CreateOpenIDConnectProvider')
  })

  it('finds nothing wrong under exactly that policy, and everything works under it', async () => {
    const account = awsAccount()
    const credentials = account.userWith('custody', await leastPolicyOf(account))
    account.admin('CreateUser', { UserName: 'legacy', Path: '/teams/' })
    const custody = account.connect({ credentials })

    const findings = await findingsOf(account, { credentials })
    const found = (await custody.discover!(null, callWith())).items
    const legacy = found.find((item) => item.name === '/teams/legacy')!
    const want = wantPrincipal(account.clock)
    const { external } = await custody.adopt!(legacy.external, want, callWith())
    const credential = wantCredential(want, 'access-key', account.clock)
    const { keyId } = await custody.issue(external, credential, callWith())
    await custody.shutOff(external, callWith())
    await custody.revoke(external, keyId, callWith())
    const other = wantPrincipal(account.clock)
    const made = await custody.ensurePrincipal(other, callWith())
    await custody.issue(
      made.external,
      wantCredential(other, 'access-key', account.clock),
      callWith(),
    )
    await custody.shutOff(made.external, callWith())
    await custody.deletePrincipal(made.external, callWith())

    expect(Object.values(findings).filter((f) => f.state === 'failed')).toEqual([])
    expect(findings['credentials']!.message).toBe(
      'Custody is arn:aws:iam::123456789012:user/custody in account 123456789012, partition aws.',
    )
    expect(findings['permissions']).toMatchObject({ state: 'ok' })
    expect(account.world.users().map((user) => user.userName)).toEqual(['custody', 'legacy'])
    expect(account.world.keysOf('legacy')).toEqual([])
  })

  it('may not touch a user that was not adopted', async () => {
    const account = awsAccount()
    const credentials = account.userWith('custody', await leastPolicyOf(account))
    account.admin('CreateUser', { UserName: 'victim' })
    const { userId } = account.world.users().find((user) => user.userName === 'victim')!
    const external = JSON.stringify({ userName: 'victim', userId })

    const error = await providerErrorFrom(
      account.connect({ credentials }).shutOff(external, callWith()),
    )

    expect([error.kind, error.message]).toEqual([
      'denied',
      expect.stringContaining('iam:PutUserPolicy'),
    ])
  })

  it.each([
    ['iam:CreateAccessKey', 'CustodyUsers', 'no policy allows it'],
    ['iam:GetAccountAuthorizationDetails', 'CustodyReads', 'no policy allows it'],
  ])('names the missing %s, and the statement that grants it', async (action, sid, why) => {
    const account = awsAccount()
    const policy = (await leastPolicyOf(account)).replaceAll(`"${action}"`, '"iam:GetGroup"')
    const credentials = account.userWith('custody', policy)

    const finding = (await findingsOf(account, { credentials }))[action]

    expect(finding).toMatchObject({ state: 'failed' })
    expect(finding!.message).toContain(why)
    expect(finding!.remedy).toContain(`statement ${sid}`)
  })

  it('says unknown where it cannot be told without changing something', async () => {
    const account = awsAccount()
    const policy = (await leastPolicyOf(account))
      .replace('iam:SimulatePrincipalPolicy', 'iam:GetGroup')
      .replace('"iam:ListUsers"', '"iam:GetGroup"')
    const credentials = account.userWith('custody', policy)

    const findings = await findingsOf(account, { credentials })

    expect(findings['permissions']).toMatchObject({ state: 'unknown' })
    expect(findings['permissions']!.remedy).toContain('iam:SimulatePrincipalPolicy')
    expect(findings['iam:ListUsers']).toMatchObject({ state: 'failed' })
    expect(findings['iam:GetUser']).toMatchObject({ state: 'ok' })
  })

  it('tells a boundary that somebody changed by its statements', async () => {
    const account = awsAccount()
    const provider = account.connect()
    const before = (await findingsOf(account, {}))['boundary']
    await provider.ensurePrincipal(wantPrincipal(account.clock), callWith())
    const made = (await findingsOf(account, {}))['boundary']
    const changed = awsTransport(account.world, ({ operation: asked }, answer) => {
      const given = answer()
      return asked === 'GetPolicyVersion'
        ? { ...given, body: given.body.replace('GetSessionToken', 'GetSessionTok%20en') }
        : given
    })

    const drifted = (await findingsOf(account, {}, changed))['boundary']

    expect([before!.message, made!.state]).toEqual([expect.stringContaining('not there yet'), 'ok'])
    expect(drifted).toMatchObject({ state: 'failed' })
    expect(drifted!.message).toMatch(/other than it: NoSessionsThatOutliveTheKey\.$/)
  })

  it('compares the clocks', async () => {
    const account = awsAccount()
    const dated = (seconds: number) =>
      awsTransport(account.world, (_, answer) => {
        const given = answer()
        const date = new Date(Date.parse(account.clock.now()) + seconds * 1_000).toUTCString()
        return { ...given, headers: { ...given.headers, date } }
      })

    const clocks = await Promise.all(
      [0, -90].map(async (s) => (await findingsOf(account, {}, dated(s)))['clock']),
    )

    expect(clocks).toMatchObject([
      { state: 'ok' },
      { state: 'failed', message: "The clock here is 90 s ahead of AWS's." },
    ])
  })

  it.each([
    ['a refusal', () => awsRefusal(403, 'InvalidClientTokenId'), /access key/],
    ['an error', () => awsRefusal(500, 'InternalFailure'), /can be reached/],
    [
      'a page of a proxy',
      () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Hello</html>' }),
      /that it is AWS that answers/,
    ],
  ])('makes a finding of %s, with what to do', async (_what, answer, remedy) => {
    const account = awsAccount()

    const { findings, leastPolicy } = await account.connect({}, awsTransport(account.world, answer))
      .check!(callWith())

    expect(findings).toMatchObject([{ name: 'credentials', state: 'failed' }])
    expect(findings[0]!.remedy).toMatch(remedy)
    expect(findings[0]!.message).not.toContain('Hello')
    expect(leastPolicy).toContain('CustodyUsers')
  })
})

describe('acting in an assumed role', () => {
  const externalId = 'custody-7'

  async function assuming(more: Record<string, unknown> = {}) {
    const account = awsAccount()
    const policy = await leastPolicyOf(account)
    const { Role } = account.admin('CreateRole', {
      RoleName: 'custody',
      Path: '/automation/',
      AssumeRolePolicyDocument: JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Principal: { AWS: 'arn:aws:iam::123456789012:root' },
            Action: 'sts:AssumeRole',
            Condition: { StringEquals: { 'sts:ExternalId': externalId } },
          },
        ],
      }),
    })
    const { Arn: roleArn } = Role as { readonly Arn: string }
    account.admin('CreatePolicy', { PolicyName: 'least', PolicyDocument: policy })
    const PolicyArn = 'arn:aws:iam::123456789012:policy/least'
    account.admin('AttachRolePolicy', { RoleName: 'custody', PolicyArn })
    const credentials = account.userWith('base', {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 'sts:AssumeRole', Resource: roleArn }],
    })
    const requests: AwsRequest[] = []
    const transport = awsTransport(account.world, (request, answer) => {
      requests.push(request)
      return answer()
    })
    const config = { credentials, assumeRole: { roleArn, externalId, ...more } }
    const sessions = () =>
      requests
        .filter((request) => request.operation === 'AssumeRole')
        .map((request) => request.input.get('RoleSessionName'))
    return { account, config, transport, requests, sessions }
  }

  it('has one session for each operation, named by it', async () => {
    const { account, config, transport, requests, sessions } = await assuming()
    const provider = account.connect(config, transport)
    const want = wantPrincipal(account.clock)

    const { external } = await provider.ensurePrincipal(want, callWith({ operation }))
    await provider.list(external, callWith({ operation }))
    await provider.list(external, callWith())

    expect(sessions()).toEqual([operation, 'custody'])
    const created = requests.find((request) => request.operation === 'CreateUser')!
    expect(created.headers['x-amz-security-token']).toBeDefined()
    expect(created.headers['authorization']).toContain('Credential=ASIA')
  })

  it('renews a session before it ends', async () => {
    const { account, config, transport, sessions } = await assuming({ duration: 'PT15M' })
    const provider = account.connect(config, transport)
    const look = () => provider.discover!(null, callWith({ operation }))

    await look()
    account.clock.advance(12 * 60)
    await look()
    account.clock.advance(2 * 60)
    await look()

    expect(sessions()).toEqual([operation, operation])
  })

  it('calls nothing unknown when the role cannot be assumed: nothing was sent', async () => {
    const { account, config } = await assuming({ externalId: 'another' })
    const provider = account.connect(config)

    const error = await providerErrorFrom(
      provider.ensurePrincipal(wantPrincipal(account.clock), callWith()),
    )
    const { findings } = await provider.check!(callWith())

    expect([error.kind, error.outcome]).toEqual(['denied', 'notApplied'])
    expect(error.message).toContain('AWS AssumeRole: AccessDenied')
    expect(findings).toMatchObject([{ name: 'credentials', state: 'failed' }])
    expect(findings[0]!.remedy).toContain('with the external id')
  })

  it('is checked as the role, by the permissions of the role', async () => {
    const { account, config } = await assuming()

    const findings = await findingsOf(account, config)

    expect(findings['credentials']!.message).toContain(':assumed-role/custody/custody')
    expect(findings['permissions']).toMatchObject({ state: 'ok' })
  })

  it('refuses a duration that STS would not take', () => {
    const assumeRole = { roleArn: 'arn:aws:iam::123456789012:role/r', duration: 'PT5M' }

    expect(() => awsAccount().connect({ assumeRole })).toThrow('between PT15M and PT12H')
  })
})

describe('probing a key', () => {
  async function probes(config: Record<string, unknown>, times: number) {
    const account = awsAccount()
    const requests: AwsRequest[] = []
    const provider = account.connect(
      config,
      awsTransport(account.world, (request, answer) => {
        if (request.operation === 'GetCallerIdentity') requests.push(request)
        return answer()
      }),
    )
    const want = wantPrincipal(account.clock)
    const { external } = await provider.ensurePrincipal(want, callWith())
    const credential = wantCredential(want, 'access-key', account.clock)
    const issued = await provider.issue(external, credential, callWith())
    requests.length = 0
    for (let i = 0; i < times; i++) {
      expect(await provider.probe(issued.secret!, 'access-key', callWith({ operation }))).toBe(
        'accepted',
      )
    }
    return requests
  }

  it('asks two regions in turn, and says in its user agent that it is a probe', async () => {
    const requests = await probes({}, 3)

    expect(requests.map((request) => request.host)).toEqual([
      'sts.eu-central-1.amazonaws.com',
      'sts.eu-west-1.amazonaws.com',
      'sts.eu-central-1.amazonaws.com',
    ])
    for (const { headers } of requests) {
      expect(headers['user-agent']).toContain(`custody-probe/${operation}`)
    }
  })

  it('asks where the configuration says, and one endpoint for everything as it is', async () => {
    const chosen = await probes({ probe: { regions: ['sa-east-1'] } }, 2)
    const local = await probes({ endpoint: 'http://127.0.0.1:4566' }, 2)

    expect(new Set(chosen.map((r) => r.host))).toEqual(new Set(['sts.sa-east-1.amazonaws.com']))
    expect(new Set(local.map((r) => r.host))).toEqual(new Set(['127.0.0.1:4566']))
  })

  it.each([
    ['eu-central-1', ['eu-central-1', 'eu-west-1']],
    ['eu-west-3', ['eu-west-3', 'eu-central-1']],
    ['us-east-1', ['us-east-1', 'us-west-2']],
    ['sa-east-1', ['sa-east-1', 'us-east-1']],
    ['cn-north-1', ['cn-north-1', 'cn-northwest-1']],
    ['us-gov-east-1', ['us-gov-east-1', 'us-gov-west-1']],
    ['us-iso-east-1', ['us-iso-east-1']],
  ])('of %s asks %j', (region, regions) => {
    expect(probeRegions(region)).toEqual(regions)
  })
})
