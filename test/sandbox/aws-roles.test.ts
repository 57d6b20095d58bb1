import * as iam from '@aws-sdk/client-iam'
import * as sts from '@aws-sdk/client-sts'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { ManualClock } from '../support/manual-clock.ts'

const clock = new ManualClock()
const github = 'token.actions.githubusercontent.com'
const sub = 'repo:acme/shop:ref:refs/heads/main'
const aud = 'sts.amazonaws.com'
let sandbox: AwsSandbox
let admin: iam.IAM
let count = 0
const unique = (prefix: string): string => `${prefix}-${++count}`

interface Credentials {
  readonly AccessKeyId?: string | undefined
  readonly SecretAccessKey?: string | undefined
  readonly SessionToken?: string | undefined
}

function config(by?: Credentials) {
  const { accessKeyId, secretAccessKey } = sandbox.world.admin
  return {
    region: 'eu-central-1',
    endpoint: sandbox.url,
    maxAttempts: 1,
    credentials: {
      accessKeyId: by?.AccessKeyId ?? accessKeyId,
      secretAccessKey: by?.SecretAccessKey ?? secretAccessKey,
      ...(by?.SessionToken === undefined ? {} : { sessionToken: by.SessionToken }),
    },
  }
}

/** Resolves to what the SDK throws, so that name and status can be compared in one assertion. */
async function refusal(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'nothing',
    (error: Error & { $metadata?: { httpStatusCode?: number } }) =>
      `${error.name} ${error.$metadata?.httpStatusCode}`,
  )
}

const document = (...Statement: object[]) => JSON.stringify({ Version: '2012-10-17', Statement })
const allow = (...Action: string[]) => document({ Effect: 'Allow', Action, Resource: '*' })
const providerArn = () => `arn:aws:iam::${sandbox.world.accountId}:oidc-provider/${github}`
const trustIn = (AWS: string, Condition: object = {}) =>
  document({ Effect: 'Allow', Principal: { AWS }, Action: 'sts:AssumeRole', Condition })
const trustGithub = (Condition: object = { StringEquals: { [`${github}:sub`]: sub } }) =>
  document({
    Effect: 'Allow',
    Principal: { Federated: providerArn() },
    Action: 'sts:AssumeRoleWithWebIdentity',
    Condition,
  })

async function role(trust: string, policy = allow('iam:ListUsers')): Promise<iam.Role> {
  const RoleName = unique('role')
  const { Role } = await admin.createRole({ RoleName, AssumeRolePolicyDocument: trust })
  await admin.putRolePolicy({ RoleName, PolicyName: 'does', PolicyDocument: policy })
  return Role!
}

const assume = (by: Credentials | undefined, RoleArn: string, more: object = {}) =>
  new sts.STS(config(by)).assumeRole({ RoleArn, RoleSessionName: 'op-1', ...more })

const assumeWeb = (RoleArn: string, WebIdentityToken: string, more: object = {}) =>
  new sts.STS({
    region: 'eu-central-1',
    endpoint: sandbox.url,
    maxAttempts: 1,
  }).assumeRoleWithWebIdentity({ RoleArn, RoleSessionName: 'run', WebIdentityToken, ...more })

beforeAll(async () => {
  sandbox = await startAwsSandbox({ clock })
  admin = new iam.IAM(config())
  await admin.createOpenIDConnectProvider({ Url: `https://${github}`, ClientIDList: [aud] })
})
afterAll(() => sandbox.close())
afterEach(() => {
  sandbox.world.propagationSeconds = 0
  sandbox.world.lagSeconds = 0
})

describe('assuming a role with a key', () => {
  it('opens a session that acts as the role until it ends', async () => {
    const { Arn, RoleId, RoleName } = await role(trustIn(sandbox.world.accountId))

    const { Credentials: own, AssumedRoleUser } = await assume(undefined, Arn!, {
      DurationSeconds: 900,
    })
    const me = await new sts.STS(config(own)).getCallerIdentity({})
    const permitted = await refusal(new iam.IAM(config(own)).listUsers({}))
    const beyond = await refusal(new iam.IAM(config(own)).listRoles({}))
    clock.advance(900)
    const later = await refusal(new iam.IAM(config(own)).listUsers({}))
    const stsLater = await refusal(new sts.STS(config(own)).getCallerIdentity({}))

    expect(own!.AccessKeyId).toMatch(/^ASIA/)
    expect(AssumedRoleUser!.AssumedRoleId).toBe(`${RoleId}:op-1`)
    expect(me.Arn).toBe(`arn:aws:sts::123456789012:assumed-role/${RoleName}/op-1`)
    expect([permitted, beyond]).toEqual(['nothing', 'AccessDenied 403'])
    expect([later, stsLater]).toEqual(['ExpiredToken 403', 'ExpiredToken 403'])
  })

  it('takes a session only with its token', async () => {
    const { Arn } = await role(trustIn(sandbox.world.accountId))
    const { Credentials: own } = await assume(undefined, Arn!)

    const { SessionToken: _token, ...bare } = own!
    const without = await refusal(new iam.IAM(config(bare)).listUsers({}))
    const wrong = await refusal(
      new iam.IAM(config({ ...own, SessionToken: 'x'.repeat(40) })).listUsers({}),
    )

    expect([without, wrong]).toEqual(['InvalidClientTokenId 403', 'InvalidClientTokenId 403'])
  })

  it('lets a user in by name without a policy, and by account only with one', async () => {
    const UserName = unique('caller')
    const { User } = await admin.createUser({ UserName })
    const { AccessKey: key } = await admin.createAccessKey({ UserName })
    const byName = await role(trustIn(User!.Arn!))
    const byAccount = await role(trustIn(`arn:aws:iam::${sandbox.world.accountId}:root`))

    const named = await refusal(assume(key, byName.Arn!))
    const without = await refusal(assume(key, byAccount.Arn!))
    await admin.putUserPolicy({
      UserName,
      PolicyName: 'may',
      PolicyDocument: allow('sts:AssumeRole'),
    })
    const withPolicy = await refusal(assume(key, byAccount.Arn!))
    await admin.putUserPolicy({
      UserName,
      PolicyName: 'not',
      PolicyDocument: document({ Effect: 'Deny', Action: '*', Resource: '*' }),
    })
    const denied = await refusal(assume(key, byName.Arn!))

    expect([named, without, withPolicy, denied]).toEqual([
      'nothing',
      'AccessDenied 403',
      'nothing',
      'AccessDenied 403',
    ])
  })

  it('asks for the external id and for the right to set a source identity', async () => {
    const condition = { StringEquals: { 'sts:ExternalId': 'tenant-7' } }
    const { Arn } = await role(trustIn(sandbox.world.accountId, condition))

    const answers = [
      await refusal(assume(undefined, Arn!)),
      await refusal(assume(undefined, Arn!, { ExternalId: 'tenant-8' })),
      await refusal(assume(undefined, Arn!, { ExternalId: 'tenant-7' })),
      await refusal(assume(undefined, Arn!, { ExternalId: 'tenant-7', SourceIdentity: 'op' })),
      await refusal(assume(undefined, Arn!, { ExternalId: 'tenant-7', DurationSeconds: 7_200 })),
    ]

    expect(answers).toEqual([
      'AccessDenied 403',
      'AccessDenied 403',
      'nothing',
      'AccessDenied 403',
      'ValidationError 400',
    ])
  })

  it('stops live sessions by the time their token was issued, and only those', async () => {
    const { Arn, RoleName } = await role(trustIn(sandbox.world.accountId))
    const { Credentials: before } = await assume(undefined, Arn!)
    clock.advance(1)
    const until = clock.now()
    await admin.putRolePolicy({
      RoleName,
      PolicyName: 'ended',
      PolicyDocument: document({
        Effect: 'Deny',
        Action: '*',
        Resource: '*',
        Condition: { DateLessThan: { 'aws:TokenIssueTime': until } },
      }),
    })
    const { Credentials: after } = await assume(undefined, Arn!)

    const answers = [
      await refusal(new iam.IAM(config(before)).listUsers({})),
      await refusal(new iam.IAM(config(after)).listUsers({})),
    ]

    expect(answers).toEqual(['AccessDenied 403', 'nothing'])
  })
})

describe('assuming a role with an identity token', () => {
  it('needs no signature, and tells what is wrong with a token from what is wrong with the trust', async () => {
    const { world } = sandbox
    const { Arn } = await role(trustGithub())
    const route = `/_sandbox/id-token?sub=${encodeURIComponent(sub)}&audience=${aud}`
    const answer = (await (await fetch(`${sandbox.url}${route}`)).json()) as { value: string }
    const good = answer.value
    const incomplete = await fetch(`${sandbox.url}/_sandbox/id-token?sub=x`)
    const { issuers } = world
    const forged = `${good.slice(0, good.lastIndexOf('.'))}.${Buffer.alloc(64).toString('base64url')}`
    const elsewhere = issuers.issue({ iss: 'https://evil.example', sub, aud, exp: 9e9 })

    const opened = await assumeWeb(Arn!, good)
    const answers = {
      otherSubject: await refusal(
        assumeWeb(Arn!, world.issueWebIdentity({ sub: 'repo:acme/shop:ref:refs/heads/x', aud })),
      ),
      otherAudience: await refusal(assumeWeb(Arn!, world.issueWebIdentity({ sub, aud: 'other' }))),
      expired: await refusal(assumeWeb(Arn!, world.issueWebIdentity({ sub, aud, seconds: -1 }))),
      forged: await refusal(assumeWeb(Arn!, forged)),
      unknownIssuer: await refusal(assumeWeb(Arn!, elsewhere)),
      noToken: await refusal(assumeWeb(Arn!, 'not.a.token')),
      noSuchRole: await refusal(assumeWeb(`${Arn!}-other`, good)),
    }

    expect(incomplete.status).toBe(400)
    expect(opened.SubjectFromWebIdentityToken).toBe(sub)
    expect(opened.Provider).toBe(providerArn())
    expect(await refusal(new iam.IAM(config(opened.Credentials)).listUsers({}))).toBe('nothing')
    expect(answers).toEqual({
      otherSubject: 'AccessDenied 403',
      otherAudience: 'InvalidIdentityTokenException 400',
      expired: 'ExpiredTokenException 400',
      forged: 'InvalidIdentityTokenException 400',
      unknownIssuer: 'InvalidIdentityTokenException 400',
      noToken: 'InvalidIdentityTokenException 400',
      noSuchRole: 'AccessDenied 403',
    })
  })

  it('sees a new trust, and the loss of one, as late as changes spread', async () => {
    const { world } = sandbox
    const { Arn, RoleName } = await role(trustGithub())
    const enter = async () => refusal(assumeWeb(Arn!, world.issueWebIdentity({ sub, aud })))
    clock.advance(10)
    world.propagationSeconds = 10
    await admin.updateAssumeRolePolicy({
      RoleName,
      PolicyDocument: document({ Effect: 'Deny', Principal: '*', Action: 'sts:*' }),
    })

    const early = await enter()
    clock.advance(10)
    const late = await enter()

    expect([early, late]).toEqual(['nothing', 'AccessDenied 403'])
  })
})

describe('roles in IAM', () => {
  it('refuses a trust it could not decide by, or that everybody at GitHub would pass', async () => {
    const create = (AssumeRolePolicyDocument: string) =>
      refusal(admin.createRole({ RoleName: unique('bad'), AssumeRolePolicyDocument }))

    const answers = [
      await create('{'),
      await create(allow('sts:AssumeRole')),
      await create(trustIn('arn:aws:iam::123456789012:user/nobody')),
      await create(trustGithub({ StringEquals: { [`${github}:aud`]: aud } })),
      await create(trustGithub({ StringLike: { [`${github}:sub`]: '*' } })),
      await create(trustGithub({ 'ForAnyValue:StringLike': { [`${github}:sub`]: sub } })),
    ]

    expect(new Set(answers)).toEqual(new Set(['MalformedPolicyDocumentException 400']))
  })

  it('deletes a role only when nothing hangs on it, and lists it as late as it lags', async () => {
    const { RoleName, Path } = await role(trustIn(sandbox.world.accountId))
    const PolicyArn = 'arn:aws:iam::aws:policy/ReadOnlyAccess'
    const InstanceProfileName = unique('profile')
    await admin.attachRolePolicy({ RoleName, PolicyArn })
    await admin.createInstanceProfile({ InstanceProfileName })
    await admin.addRoleToInstanceProfile({ RoleName, InstanceProfileName })
    const remove = () => refusal(admin.deleteRole({ RoleName }))
    clock.advance(20)
    sandbox.world.lagSeconds = 10
    const isListed = async () =>
      (await admin.listRoles({ PathPrefix: Path })).Roles!.some((r) => r.RoleName === RoleName)

    const answers = [await remove()]
    await admin.deleteRolePolicy({ RoleName, PolicyName: 'does' })
    answers.push(await remove())
    await admin.detachRolePolicy({ RoleName, PolicyArn })
    answers.push(await remove())
    await admin.removeRoleFromInstanceProfile({ RoleName, InstanceProfileName })
    answers.push(await remove())
    const listed = [await isListed()]
    clock.advance(10)
    listed.push(await isListed())

    expect(answers).toEqual([
      'DeleteConflictException 409',
      'DeleteConflictException 409',
      'DeleteConflictException 409',
      'nothing',
    ])
    expect(listed).toEqual([true, false])
  })
})
