import { describe, expect, it } from 'vitest'
import type { WantedScopes } from '../../src/provider/contract.ts'
import { awsAccount } from '../support/aws-account.ts'
import type { AwsRequest } from '../support/aws-wire.ts'
import { awsTransport } from '../support/aws-wire.ts'
import {
  callWith,
  providerErrorFrom,
  wantCredential,
  wantPrincipal,
} from '../conformance/provider.ts'

const policy = (name: string) => `arn:aws:iam::aws:policy/${name}`
const readOnly = `policy:${policy('ReadOnlyAccess')}`
const audit = `policy:${policy('SecurityAudit')}`
const allowedPolicies = [policy('ReadOnlyAccess'), policy('SecurityAudit')]

/** A user with one key, and what that key may do as AWS judges its calls. */
async function granted(scopes: readonly string[], config: Record<string, unknown> = {}) {
  const account = awsAccount()
  const seen: { readonly operation: string; readonly may: readonly string[] }[] = []
  let keyId = ''
  const asked = ['iam:ListUsers', 'iam:GetUser', 's3:GetObject', 's3:PutObject']
  const may = () => asked.filter((action) => allows(action))
  const watch = ({ operation }: AwsRequest, answer: () => never) => {
    const answered = answer()
    if (keyId !== '') seen.push({ operation, may: may() })
    return answered
  }
  const provider = account.connect(
    { allowedPolicies, ...config },
    awsTransport(account.world, watch as never),
  )
  const person = wantPrincipal(account.clock)
  const { external } = await provider.ensurePrincipal(person, callWith())
  const want = wantCredential(person, 'access-key', account.clock, { scopes })
  const issued = await provider.issue(external, want, callWith())
  const { userName } = JSON.parse(external) as { readonly userName: string }
  const allows = (action: string): boolean => {
    const answer = account.admin('SimulatePrincipalPolicy', {
      PolicySourceArn: (account.admin('GetUser', { UserName: userName })['User'] as { Arn: string })
        .Arn,
      ActionNames: [action],
    })
    const [result] = answer['EvaluationResults'] as readonly { readonly EvalDecision: string }[]
    return result!.EvalDecision === 'allowed'
  }
  keyId = issued.keyId
  const user = () => account.world.users().find((u) => u.userName === userName)!
  const asKey = (operation: string) =>
    account.world.call({
      service: 'iam',
      operation,
      input: {},
      accessKeyId: keyId,
      region: 'us-east-1',
    })
  const rescope = (to: readonly string[], more: Partial<WantedScopes> = {}) =>
    provider.rescope!(external, { ...want, keyId, scopes: to, ...more }, callWith())
  return { account, provider, external, userName, keyId, user, seen, may, asKey, rescope }
}

describe('changing the scopes of an access key', () => {
  it('refuses the same key what was taken away, from the next call on, and keeps the boundary', async () => {
    const { asKey, rescope, user, account, userName, keyId } = await granted([
      'iam:ListUsers',
      'iam:GetUser',
    ])
    const { boundary, tags } = user()
    asKey('ListUsers')

    await rescope(['iam:GetUser'])

    expect(() => asKey('ListUsers')).toThrow(/not authorized to perform: iam:ListUsers/)
    expect(asKey('GetUser')).toBeDefined()
    expect(account.world.keysOf(userName).map((key) => key.accessKeyId)).toEqual([keyId])
    expect(user()).toMatchObject({ boundary, tags })
  })

  it.each([
    ['an action for a policy that allows it', ['iam:ListUsers', 's3:PutObject'], [audit]],
    ['a policy for an action that it allowed', [audit], ['iam:ListUsers', 's3:PutObject']],
    ['one policy for another', [readOnly, 's3:PutObject'], [audit, 's3:GetObject']],
    ['everything for nothing', [audit, 's3:GetObject'], []],
  ])('exchanging %s never takes what both grant', async (_, from, to) => {
    const before = await granted(from)
    const after = await granted(to)
    const both = before.may().filter((action) => after.may().includes(action))

    await before.rescope(to)

    expect(before.seen.length).toBeGreaterThan(1)
    for (const { may } of before.seen) expect(may).toEqual(expect.arrayContaining(both))
    expect(before.may()).toEqual(after.may())
    expect(before.user().attachedPolicies).toEqual(after.user().attachedPolicies)
    expect(before.user().inlinePolicies).toEqual(after.user().inlinePolicies)
  })

  it('leaves what somebody else attached, and takes back what the configuration granted once', async () => {
    const { account, userName, rescope, user } = await granted([])
    account.admin('AttachUserPolicy', {
      UserName: userName,
      PolicyArn: policy('AdministratorAccess'),
    })
    account.admin('AttachUserPolicy', {
      UserName: userName,
      PolicyArn: policy('AmazonS3ReadOnlyAccess'),
    })

    const once = `policy:${policy('AmazonS3ReadOnlyAccess')}`
    await rescope([audit], { before: [once] })

    expect(user().attachedPolicies.toSorted()).toEqual([
      policy('AdministratorAccess'),
      policy('SecurityAudit'),
    ])
  })

  it('makes room first when ten policies are attached', async () => {
    const { account, userName, rescope, user } = await granted([readOnly])
    for (let i = 0; i < 9; i++) {
      const PolicyDocument = JSON.stringify({
        Version: '2012-10-17',
        Statement: { Effect: 'Allow', Action: 'sqs:SendMessage', Resource: '*' },
      })
      const { Policy } = account.admin('CreatePolicy', { PolicyName: `full-${i}`, PolicyDocument })
      const { Arn } = Policy as { readonly Arn: string }
      account.admin('AttachUserPolicy', { UserName: userName, PolicyArn: Arn })
    }

    await rescope([audit])

    expect(user().attachedPolicies).toHaveLength(10)
    expect(user().attachedPolicies).toContain(policy('SecurityAudit'))
  })

  it('refuses what it would not grant, and the user of another account', async () => {
    const { provider, external, keyId, rescope, user, account } = await granted([readOnly])
    const before = user()

    const denied = await providerErrorFrom(rescope(['iam:*']))
    const stranger = wantCredential(wantPrincipal(account.clock), 'access-key', account.clock)
    const other = await providerErrorFrom(
      provider.rescope!(external, { ...stranger, keyId }, callWith()),
    )

    expect([denied.kind, other.kind]).toEqual(['invalid', 'conflict'])
    expect(user()).toEqual(before)
  })
})
