import type { IAMClientConfig } from '@aws-sdk/client-iam'
import * as iam from '@aws-sdk/client-iam'
import * as sm from '@aws-sdk/client-secrets-manager'
import * as sts from '@aws-sdk/client-sts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { ManualClock } from '../support/manual-clock.ts'

const clock = new ManualClock()
const day = 86_400
let sandbox: AwsSandbox
let admin: iam.IAMClient
let secrets: sm.SecretsManagerClient
let count = 0
const unique = (prefix: string): string => `${prefix}-${++count}`
const token = (): string => crypto.randomUUID()

function config(key?: { AccessKeyId?: string | undefined; SecretAccessKey?: string | undefined }) {
  const { accessKeyId, secretAccessKey } = sandbox.world.admin
  return {
    region: 'eu-central-1',
    endpoint: sandbox.url,
    maxAttempts: 1,
    credentials: {
      accessKeyId: key?.AccessKeyId ?? accessKeyId,
      secretAccessKey: key?.SecretAccessKey ?? secretAccessKey,
    },
  } satisfies IAMClientConfig
}

async function userWithKey(): Promise<{ name: string; key: iam.AccessKey }> {
  const name = unique('user')
  await admin.send(new iam.CreateUserCommand({ UserName: name }))
  const made = await admin.send(new iam.CreateAccessKeyCommand({ UserName: name }))
  return { name, key: made.AccessKey! }
}

const whoAmI = (key: iam.AccessKey): Promise<sts.GetCallerIdentityCommandOutput> =>
  new sts.STSClient(config(key)).send(new sts.GetCallerIdentityCommand({}))

/** Resolves to what the SDK throws, so that name and status can be compared in one assertion. */
async function refusal(call: Promise<unknown>): Promise<{ name: string; status: number }> {
  const error = await call.then(
    () => null,
    (thrown: Error & { $metadata?: { httpStatusCode?: number } }) => thrown,
  )
  return { name: error?.name ?? 'nothing', status: error?.$metadata?.httpStatusCode ?? 0 }
}

const allow = (...actions: string[]): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action: actions, Resource: '*' }],
  })
const denyAll = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Deny', Action: '*', Resource: '*' }],
})

beforeAll(async () => {
  sandbox = await startAwsSandbox({ clock })
  admin = new iam.IAMClient(config())
  secrets = new sm.SecretsManagerClient(config())
})
afterAll(() => sandbox.close())

describe('signing in', () => {
  it('lets a created key sign in as its user', async () => {
    const { name, key } = await userWithKey()

    const identity = await whoAmI(key)

    expect(identity.Arn).toBe(`arn:aws:iam::123456789012:user/${name}`)
  })

  it('refuses an inactive key, and takes it again when it is active', async () => {
    const { name, key } = await userWithKey()
    const set = (Status: iam.StatusType) =>
      admin.send(
        new iam.UpdateAccessKeyCommand({ UserName: name, AccessKeyId: key.AccessKeyId, Status }),
      )

    await set('Inactive')
    const off = await refusal(whoAmI(key))
    await set('Active')
    const on = await refusal(whoAmI(key))

    expect(off).toEqual({ name: 'InvalidClientTokenId', status: 403 })
    expect(on.name).toBe('nothing')
  })

  it('refuses a deleted key', async () => {
    const { name, key } = await userWithKey()

    await admin.send(
      new iam.DeleteAccessKeyCommand({ UserName: name, AccessKeyId: key.AccessKeyId }),
    )

    expect(await refusal(whoAmI(key))).toEqual({ name: 'InvalidClientTokenId', status: 403 })
  })

  it('tells a wrong secret from an unknown key', async () => {
    const { key } = await userWithKey()

    const wrong = await refusal(whoAmI({ ...key, SecretAccessKey: 'x'.repeat(40) }))
    const unknown = await refusal(whoAmI({ ...key, AccessKeyId: 'AKIAUNKNOWNUNKNOWN12' }))

    expect(wrong).toEqual({ name: 'SignatureDoesNotMatch', status: 403 })
    expect(unknown).toEqual({ name: 'InvalidClientTokenId', status: 403 })
  })

  it('answers Secrets Manager in its own words for a bad key', async () => {
    const { name, key } = await userWithKey()
    const client = new sm.SecretsManagerClient(config(key))
    const list = () => client.send(new sm.DescribeSecretCommand({ SecretId: 'nothing' }))

    const denied = await refusal(list())
    await admin.send(
      new iam.DeleteAccessKeyCommand({ UserName: name, AccessKeyId: key.AccessKeyId }),
    )

    expect(denied).toEqual({ name: 'AccessDeniedException', status: 400 })
    expect(await refusal(list())).toEqual({ name: 'UnrecognizedClientException', status: 400 })
  })

  it('refuses a request whose body was changed after signing', async () => {
    const { name } = await userWithKey()
    const client = new iam.IAMClient(config())
    client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { body: string }
        request.body = request.body.replace(name, 'x'.repeat(name.length))
        return next(args)
      },
      { step: 'deserialize', priority: 'low' },
    )

    const answer = await refusal(client.send(new iam.GetUserCommand({ UserName: name })))

    expect(answer).toEqual({ name: 'SignatureDoesNotMatch', status: 403 })
  })

  it('remembers the last use of a key, and none before the first', async () => {
    const { name, key } = await userWithKey()
    const lastUsed = () =>
      admin.send(new iam.GetAccessKeyLastUsedCommand({ AccessKeyId: key.AccessKeyId }))

    const before = await lastUsed()
    await whoAmI(key)
    const after = await lastUsed()

    expect(before.AccessKeyLastUsed).toEqual({ ServiceName: 'N/A', Region: 'N/A' })
    expect(after.AccessKeyLastUsed).toEqual({
      LastUsedDate: new Date(clock.now()),
      ServiceName: 'sts',
      Region: 'eu-central-1',
    })
    expect(sandbox.world.keysOf(name)[0]!.lastUsed!.service).toBe('sts')
  })

  it('refuses a new key and keeps a disabled one for as long as writes take to spread', async () => {
    sandbox.world.propagationSeconds = 10
    const { name, key } = await userWithKey()

    const early = await refusal(whoAmI(key))
    clock.advance(10)
    const then = await refusal(whoAmI(key))
    await admin.send(
      new iam.UpdateAccessKeyCommand({
        UserName: name,
        AccessKeyId: key.AccessKeyId,
        Status: 'Inactive',
      }),
    )
    const stillOn = sandbox.world.wouldAccept(key.AccessKeyId!)
    clock.advance(10)
    const offAtLast = sandbox.world.wouldAccept(key.AccessKeyId!)
    sandbox.world.propagationSeconds = 0

    expect([early.name, then.name]).toEqual(['InvalidClientTokenId', 'nothing'])
    expect([stillOn, offAtLast]).toEqual([true, false])
  })
})

describe('IAM users and keys', () => {
  it('refuses a third key even when the others are inactive', async () => {
    const { name, key } = await userWithKey()
    const create = () => admin.send(new iam.CreateAccessKeyCommand({ UserName: name }))
    await create()
    await admin.send(
      new iam.UpdateAccessKeyCommand({
        UserName: name,
        AccessKeyId: key.AccessKeyId,
        Status: 'Inactive',
      }),
    )

    expect(await refusal(create())).toEqual({ name: 'LimitExceededException', status: 409 })
  })

  it('refuses a second user of the same name in another case', async () => {
    const { name } = await userWithKey()

    const answer = await refusal(
      admin.send(new iam.CreateUserCommand({ UserName: name.toUpperCase() })),
    )

    expect(answer).toEqual({ name: 'EntityAlreadyExistsException', status: 409 })
  })

  it('keeps path, tags and boundary, and shows tags only by GetUser', async () => {
    const boundary = await admin.send(
      new iam.CreatePolicyCommand({ PolicyName: unique('edge'), PolicyDocument: allow('s3:*') }),
    )
    const name = unique('user')
    await admin.send(
      new iam.CreateUserCommand({
        UserName: name,
        Path: '/custody/',
        Tags: [{ Key: 'a&b', Value: '<1>' }],
        PermissionsBoundary: boundary.Policy!.Arn!,
      }),
    )

    const { User } = await admin.send(new iam.GetUserCommand({ UserName: name }))
    const listed = await admin.send(new iam.ListUsersCommand({ PathPrefix: '/custody/' }))

    expect(User).toMatchObject({
      Arn: `arn:aws:iam::123456789012:user/custody/${name}`,
      Tags: [{ Key: 'a&b', Value: '<1>' }],
      PermissionsBoundary: { PermissionsBoundaryArn: boundary.Policy!.Arn },
    })
    expect(listed.Users!.map((u) => [u.UserName, u.Tags])).toEqual([[name, undefined]])
  })

  it('pages listings by marker', async () => {
    const path = `/${unique('paged')}/`
    for (let i = 0; i < 5; i++) {
      await admin.send(new iam.CreateUserCommand({ UserName: unique('p'), Path: path }))
    }

    const pages: number[] = []
    const input = { PathPrefix: path }
    for await (const page of iam.paginateListUsers({ client: admin, pageSize: 2 }, input)) {
      pages.push(page.Users!.length)
    }

    expect(pages).toEqual([2, 2, 1])
  })

  it('keeps keys with the user when it is renamed', async () => {
    const { name, key } = await userWithKey()

    await admin.send(new iam.UpdateUserCommand({ UserName: name, NewUserName: `${name}-new` }))
    const identity = await whoAmI(key)

    expect(identity.Arn).toContain(`user/${name}-new`)
    expect(sandbox.world.keysOf(name)).toEqual([])
  })

  it.each([
    ['NoSuchEntityException', 404, () => new iam.GetUserCommand({ UserName: 'nobody' })],
    ['ValidationError', 400, () => new iam.CreateUserCommand({ UserName: 'a b' })],
    ['ValidationError', 400, () => new iam.ListUsersCommand({ MaxItems: 0 })],
    ['ValidationError', 400, () => new iam.CreateAccessKeyCommand({})],
    ['InvalidAction', 400, () => new iam.GetAccountSummaryCommand({})],
  ])('answers %s with %i', async (name, status, command) => {
    const answer = await refusal(admin.send(command() as iam.GetUserCommand))

    expect(answer).toEqual({ name, status })
  })

  it('refuses a request that lacks a required member', async () => {
    const incomplete = new iam.CreateUserCommand({} as iam.CreateUserCommandInput)

    expect(await refusal(admin.send(incomplete))).toEqual({ name: 'ValidationError', status: 400 })
  })

  const hangers: readonly [string, (UserName: string) => Promise<unknown>][] = [
    ['access key', (UserName) => admin.send(new iam.CreateAccessKeyCommand({ UserName }))],
    [
      'inline policy',
      (UserName) =>
        admin.send(
          new iam.PutUserPolicyCommand({
            UserName,
            PolicyName: 'p',
            PolicyDocument: allow('s3:GetObject'),
          }),
        ),
    ],
    [
      'attached policy',
      (UserName) =>
        admin.send(
          new iam.AttachUserPolicyCommand({
            UserName,
            PolicyArn: 'arn:aws:iam::aws:policy/ReadOnlyAccess',
          }),
        ),
    ],
    [
      'login profile',
      (UserName) => admin.send(new iam.CreateLoginProfileCommand({ UserName, Password: 'x' })),
    ],
    [
      'group',
      async (UserName) => {
        const GroupName = unique('group')
        await admin.send(new iam.CreateGroupCommand({ GroupName }))
        await admin.send(new iam.AddUserToGroupCommand({ UserName, GroupName }))
      },
    ],
    [
      'MFA device',
      async (UserName) => {
        const made = await admin.send(
          new iam.CreateVirtualMFADeviceCommand({ VirtualMFADeviceName: unique('mfa') }),
        )
        await admin.send(
          new iam.EnableMFADeviceCommand({
            UserName,
            SerialNumber: made.VirtualMFADevice!.SerialNumber,
            AuthenticationCode1: '123456',
            AuthenticationCode2: '654321',
          }),
        )
      },
    ],
    [
      'signing certificate',
      (UserName) =>
        admin.send(new iam.UploadSigningCertificateCommand({ UserName, CertificateBody: 'c' })),
    ],
    [
      'SSH key',
      (UserName) =>
        admin.send(new iam.UploadSSHPublicKeyCommand({ UserName, SSHPublicKeyBody: 'ssh-rsa A' })),
    ],
    [
      'service-specific credential',
      (UserName) =>
        admin.send(
          new iam.CreateServiceSpecificCredentialCommand({
            UserName,
            ServiceName: 'codecommit.amazonaws.com',
          }),
        ),
    ],
  ]
  it.each(hangers)('refuses to delete a user that still has a %s', async (_what, attach) => {
    const UserName = unique('user')
    await admin.send(new iam.CreateUserCommand({ UserName }))
    const remove = () => admin.send(new iam.DeleteUserCommand({ UserName }))

    await attach(UserName)

    expect(await refusal(remove())).toEqual({ name: 'DeleteConflictException', status: 409 })
  })

  it('shows a key late and a deleted one for as long as lists lag', async () => {
    const { name, key } = await userWithKey()
    const { AccessKeyId } = key
    const listed = async () =>
      (await admin.send(new iam.ListAccessKeysCommand({ UserName: name }))).AccessKeyMetadata!.map(
        (k) => k.AccessKeyId,
      )
    sandbox.world.lagSeconds = 10

    const fresh = await listed()
    clock.advance(10)
    const seen = await listed()
    await admin.send(new iam.DeleteAccessKeyCommand({ UserName: name, AccessKeyId }))
    const stale = await listed()
    clock.advance(10)
    const gone = await listed()
    sandbox.world.lagSeconds = 0

    expect([fresh, seen, stale, gone]).toEqual([[], [AccessKeyId], [AccessKeyId], []])
  })
})

describe('policies', () => {
  const list = (key: iam.AccessKey) =>
    new iam.IAMClient(config(key)).send(new iam.ListUsersCommand({}))
  const put = (UserName: string, PolicyName: string, PolicyDocument: string) =>
    admin.send(new iam.PutUserPolicyCommand({ UserName, PolicyName, PolicyDocument }))

  it('lets a user do nothing but ask who it is until a policy allows more', async () => {
    const { name, key } = await userWithKey()

    const before = await refusal(list(key))
    await put(name, 'reader', allow('iam:List*'))
    const after = await refusal(list(key))

    expect(before).toEqual({ name: 'AccessDenied', status: 403 })
    expect(after.name).toBe('nothing')
    expect((await whoAmI(key)).UserId).toMatch(/^AIDA[A-Z2-7]{16}$/)
  })

  it('denies everything under a deny-all policy except GetCallerIdentity', async () => {
    const { name, key } = await userWithKey()
    await put(name, 'reader', allow('*'))

    await put(name, 'shut', denyAll)

    expect(await refusal(list(key))).toEqual({ name: 'AccessDenied', status: 403 })
    expect((await refusal(whoAmI(key))).name).toBe('nothing')
    expect(sandbox.world.wouldAllow(key.AccessKeyId!, 's3:GetObject')).toBe(false)
  })

  it('leaves long-term keys alone when a deny names aws:TokenIssueTime', async () => {
    const { name, key } = await userWithKey()
    await put(name, 'reader', allow('*'))

    const revokeOlderSessions = {
      Effect: 'Deny',
      Action: '*',
      Resource: '*',
      Condition: { DateLessThan: { 'aws:TokenIssueTime': '2030-01-01T00:00:00Z' } },
    }
    await put(
      name,
      'sessions',
      JSON.stringify({ Version: '2012-10-17', Statement: revokeOlderSessions }),
    )

    expect((await refusal(list(key))).name).toBe('nothing')
  })

  it('allows only what policy and boundary both allow', async () => {
    const { name, key } = await userWithKey()
    const edge = await admin.send(
      new iam.CreatePolicyCommand({ PolicyName: unique('edge'), PolicyDocument: allow('s3:*') }),
    )
    await put(name, 'all', allow('*'))

    await admin.send(
      new iam.PutUserPermissionsBoundaryCommand({
        UserName: name,
        PermissionsBoundary: edge.Policy!.Arn,
      }),
    )

    expect(sandbox.world.wouldAllow(key.AccessKeyId!, 's3:GetObject')).toBe(true)
    expect(sandbox.world.wouldAllow(key.AccessKeyId!, 'iam:ListUsers')).toBe(false)
  })

  it('limits a policy to its resources', async () => {
    const { name, key } = await userWithKey()

    await put(
      name,
      'own',
      JSON.stringify({
        Version: '2012-10-17',
        Statement: {
          Effect: 'Allow',
          Action: 'iam:GetUser',
          Resource: 'arn:aws:iam::*:user/${aws:username}',
        },
      }),
    )
    const client = new iam.IAMClient(config(key))
    const other = await userWithKey()

    expect((await refusal(client.send(new iam.GetUserCommand({ UserName: name })))).name).toBe(
      'nothing',
    )
    expect(
      (await refusal(client.send(new iam.GetUserCommand({ UserName: other.name })))).name,
    ).toBe('AccessDenied')
  })

  it('refuses a document it would not evaluate', async () => {
    const { name } = await userWithKey()
    const odd = {
      Effect: 'Allow',
      Action: 's3:*',
      Resource: '*',
      Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } },
    }

    const answer = await refusal(
      put(name, 'odd', JSON.stringify({ Version: '2012-10-17', Statement: odd })),
    )

    expect(answer).toEqual({ name: 'MalformedPolicyDocumentException', status: 400 })
  })

  it('refuses to delete a managed policy that is in use', async () => {
    const { name } = await userWithKey()
    const made = await admin.send(
      new iam.CreatePolicyCommand({ PolicyName: unique('p'), PolicyDocument: allow('s3:*') }),
    )
    const PolicyArn = made.Policy!.Arn
    const remove = () => admin.send(new iam.DeletePolicyCommand({ PolicyArn }))
    await admin.send(new iam.AttachUserPolicyCommand({ UserName: name, PolicyArn }))

    const used = await refusal(remove())
    await admin.send(new iam.DetachUserPolicyCommand({ UserName: name, PolicyArn }))
    const free = await refusal(remove())

    expect([used.name, free.name]).toEqual(['DeleteConflictException', 'nothing'])
  })
})

describe('Secrets Manager', () => {
  const stagesOf = async (SecretId: string) =>
    (await secrets.send(new sm.DescribeSecretCommand({ SecretId }))).VersionIdsToStages ?? {}
  const put = (SecretId: string, id: string, text: string, ...VersionStages: string[]) =>
    secrets.send(
      new sm.PutSecretValueCommand({
        SecretId,
        ClientRequestToken: id,
        SecretString: text,
        ...(VersionStages.length > 0 ? { VersionStages } : {}),
      }),
    )
  async function stored(): Promise<{ name: string; first: string }> {
    const name = unique('secret')
    const first = token()
    await secrets.send(
      new sm.CreateSecretCommand({ Name: name, SecretString: 'one', ClientRequestToken: first }),
    )
    return { name, first }
  }

  it('makes the very first version current even when it was put as pending', async () => {
    const name = unique('secret')
    await secrets.send(new sm.CreateSecretCommand({ Name: name }))
    const id = token()

    await put(name, id, 'one', 'AWSPENDING')

    expect(new Set((await stagesOf(name))[id])).toEqual(new Set(['AWSPENDING', 'AWSCURRENT']))
  })

  it('stages a version without touching the current one', async () => {
    const { name, first } = await stored()
    const id = token()

    await put(name, id, 'two', 'AWSPENDING')
    const read = await secrets.send(new sm.GetSecretValueCommand({ SecretId: name }))

    expect(await stagesOf(name)).toEqual({ [first]: ['AWSCURRENT'], [id]: ['AWSPENDING'] })
    expect(read.SecretString).toBe('one')
    expect(sandbox.world.secret(name)!.current).toBe('one')
  })

  it('ignores the same token with the same content and refuses other content', async () => {
    const { name } = await stored()
    const id = token()
    await put(name, id, 'two', 'AWSPENDING')

    const same = await put(name, id, 'two', 'AWSPENDING')
    const other = await refusal(put(name, id, 'three', 'AWSPENDING'))

    expect(same.VersionId).toBe(id)
    expect(other).toEqual({ name: 'ResourceExistsException', status: 400 })
  })

  it('moves AWSCURRENT only from the version that holds it, and AWSPREVIOUS with it', async () => {
    const { name, first } = await stored()
    const id = token()
    await put(name, id, 'two', 'AWSPENDING')
    const move = (from?: string) =>
      secrets.send(
        new sm.UpdateSecretVersionStageCommand({
          SecretId: name,
          VersionStage: 'AWSCURRENT',
          MoveToVersionId: id,
          RemoveFromVersionId: from,
        }),
      )

    const blind = await refusal(move())
    const wrong = await refusal(move(token()))
    await move(first)
    const again = await refusal(move(first))

    expect([blind.name, wrong.name, again.name]).toEqual(Array(3).fill('InvalidParameterException'))
    expect(await stagesOf(name)).toEqual({
      [first]: ['AWSPREVIOUS'],
      [id]: ['AWSPENDING', 'AWSCURRENT'],
    })
  })

  it('hides a version without labels except from ListSecretVersionIds', async () => {
    const { name, first } = await stored()
    const id = token()
    await put(name, id, 'two', 'AWSPENDING')

    await secrets.send(
      new sm.UpdateSecretVersionStageCommand({
        SecretId: name,
        VersionStage: 'AWSPENDING',
        RemoveFromVersionId: id,
      }),
    )
    const all = await secrets.send(
      new sm.ListSecretVersionIdsCommand({ SecretId: name, IncludeDeprecated: true }),
    )

    expect(Object.keys(await stagesOf(name))).toEqual([first])
    expect(all.Versions!.map((v) => v.VersionId)).toEqual([first, id])
  })

  it('blocks the name while a secret is scheduled for deletion, and restores it', async () => {
    const { name } = await stored()
    const read = () => secrets.send(new sm.GetSecretValueCommand({ SecretId: name }))
    await secrets.send(new sm.DeleteSecretCommand({ SecretId: name, RecoveryWindowInDays: 7 }))

    const create = await refusal(secrets.send(new sm.CreateSecretCommand({ Name: name })))
    const use = await refusal(read())
    await secrets.send(new sm.RestoreSecretCommand({ SecretId: name }))

    const blocked = { name: 'InvalidRequestException', status: 400 }
    expect([create, use]).toEqual([blocked, blocked])
    expect((await read()).SecretString).toBe('one')
  })

  it('forgets the secret when the recovery window is over', async () => {
    const { name } = await stored()
    await secrets.send(new sm.DeleteSecretCommand({ SecretId: name, RecoveryWindowInDays: 7 }))

    clock.advance(7 * day)

    const answer = await refusal(secrets.send(new sm.DescribeSecretCommand({ SecretId: name })))
    expect(answer).toEqual({ name: 'ResourceNotFoundException', status: 400 })
    expect(sandbox.world.secret(name)).toBeNull()
  })

  it('keeps bytes as bytes', async () => {
    const bytes = Uint8Array.from([0, 255, 10])
    const name = unique('secret')
    await secrets.send(new sm.CreateSecretCommand({ Name: name, SecretBinary: bytes }))

    const read = await secrets.send(new sm.GetSecretValueCommand({ SecretId: name }))

    expect(Buffer.from(read.SecretBinary!)).toEqual(Buffer.from(bytes))
  })
})

describe('faults', () => {
  const create = (UserName: string) => admin.send(new iam.CreateAccessKeyCommand({ UserName }))

  it.each([
    ['lostResponse', { kind: 'lostResponse' }, 1],
    ['reset', { kind: 'reset' }, 0],
    ['a server error after the effect', { kind: 'serverError', effect: true }, 1],
    ['a server error before it', { kind: 'serverError', effect: false }, 0],
    ['throttling', { kind: 'throttle', retryAfterSeconds: 1 }, 0],
  ] as const)('%s leaves %j with %i keys', async (_what, fault, keys) => {
    const UserName = unique('user')
    await admin.send(new iam.CreateUserCommand({ UserName }))
    sandbox.faults.arm('CreateAccessKey', fault)

    const answer = await refusal(create(UserName))

    expect(answer.name).not.toBe('nothing')
    expect(sandbox.world.keysOf(UserName)).toHaveLength(keys)
  })

  it('holds an answer after the effect until it is released', async () => {
    const UserName = unique('user')
    await admin.send(new iam.CreateUserCommand({ UserName }))
    sandbox.faults.arm('CreateAccessKey', { kind: 'hold' })

    const pending = create(UserName)
    await sandbox.faults.whenHolding()
    const during = sandbox.world.keysOf(UserName).length
    sandbox.faults.release()
    const answer = await pending

    expect(during).toBe(1)
    expect(answer.AccessKey!.AccessKeyId).toBe(sandbox.world.keysOf(UserName)[0]!.accessKeyId)
  })
})
