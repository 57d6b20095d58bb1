import * as iam from '@aws-sdk/client-iam'
import * as sm from '@aws-sdk/client-secrets-manager'
import { STS } from '@aws-sdk/client-sts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { realisticAwsLimits } from '../../src/sandbox/aws/limits.ts'
import { ManualClock } from '../support/manual-clock.ts'

type Pair = { readonly accessKeyId: string; readonly secretAccessKey: string }

/** What general-purpose emulators of AWS get wrong; each row would let a bug of ours through. */
describe('what other emulators get wrong, and AWS and the sandbox do not', () => {
  const clock = new ManualClock()
  let sandbox: AwsSandbox
  let users: iam.IAM
  let secrets: sm.SecretsManager
  let count = 0
  const opened: { destroy(): void }[] = []
  beforeAll(async () => {
    sandbox = await startAwsSandbox({ clock })
    users = new iam.IAM(settings())
    secrets = new sm.SecretsManager(settings())
    opened.push(users, secrets)
  })
  afterAll(async () => {
    for (const client of opened) client.destroy()
    await sandbox.close()
  })

  const settings = (credentials: Pair = sandbox.world.admin) => ({
    region: 'eu-central-1',
    endpoint: sandbox.url,
    maxAttempts: 1,
    credentials,
  })
  const answerOf = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => 'ok',
      (error: Error & { $metadata?: { httpStatusCode?: number } }) =>
        `${error.name} ${error.$metadata?.httpStatusCode}`,
    )
  const user = async (): Promise<string> => {
    const UserName = `user-${++count}`
    await users.createUser({ UserName })
    return UserName
  }
  const keyOf = async (UserName: string): Promise<Pair> => {
    const { AccessKey } = await users.createAccessKey({ UserName })
    return { accessKeyId: AccessKey!.AccessKeyId!, secretAccessKey: AccessKey!.SecretAccessKey! }
  }
  const whoAmI = async (pair: Pair): Promise<string> => {
    const client = new STS(settings(pair))
    opened.push(client)
    return answerOf(client.getCallerIdentity({}))
  }
  const secret = async (): Promise<string> => {
    const Name = `secret-${++count}`
    await secrets.createSecret({ Name, SecretString: 'one' })
    return Name
  }

  const rows: readonly (readonly [string, () => Promise<unknown>, unknown])[] = [
    [
      'an inactive key is refused, by Secrets Manager in a word of its own',
      async () => {
        const UserName = await user()
        const pair = await keyOf(UserName)
        await users.updateAccessKey({
          UserName,
          AccessKeyId: pair.accessKeyId,
          Status: 'Inactive',
        })
        const other = new sm.SecretsManager(settings(pair))
        opened.push(other)
        return [await whoAmI(pair), await answerOf(other.describeSecret({ SecretId: 'x' }))]
      },
      ['InvalidClientTokenId 403', 'UnrecognizedClientException 400'],
    ],
    [
      'a third access key is refused',
      async () => {
        const UserName = await user()
        await keyOf(UserName)
        await keyOf(UserName)
        return answerOf(users.createAccessKey({ UserName }))
      },
      'LimitExceededException 409',
    ],
    [
      'ListUsers pages by MaxItems and Marker',
      async () => {
        for (const name of ['a', 'b', 'c']) {
          await users.createUser({ UserName: `paged-${name}`, Path: '/paged/' })
        }
        const names: string[][] = []
        let Marker: string | undefined
        do {
          const page: iam.ListUsersResponse = await users.listUsers({
            PathPrefix: '/paged/',
            MaxItems: 2,
            ...(Marker === undefined ? {} : { Marker }),
          })
          names.push(page.Users!.map((u) => u.UserName!))
          Marker = page.Marker
        } while (Marker !== undefined)
        return names
      },
      [['paged-a', 'paged-b'], ['paged-c']],
    ],
    [
      'permissions boundaries can be put on users',
      async () => {
        const UserName = await user()
        const PermissionsBoundary = 'arn:aws:iam::aws:policy/ReadOnlyAccess'
        await users.putUserPermissionsBoundary({ UserName, PermissionsBoundary })
        const { User } = await users.getUser({ UserName })
        return User!.PermissionsBoundary!.PermissionsBoundaryArn
      },
      'arn:aws:iam::aws:policy/ReadOnlyAccess',
    ],
    [
      'IAM tells which services a user used',
      async () => {
        const UserName = await user()
        await whoAmI(await keyOf(UserName))
        const { User } = await users.getUser({ UserName })
        const { JobId } = await users.generateServiceLastAccessedDetails({ Arn: User!.Arn! })
        const told = await users.getServiceLastAccessedDetails({ JobId: JobId! })
        return [told.JobStatus, told.ServicesLastAccessed!.map((s) => s.ServiceNamespace)]
      },
      ['COMPLETED', ['sts']],
    ],
    [
      'SimulatePrincipalPolicy tells what a user may do',
      async () => {
        const UserName = await user()
        const PolicyDocument = JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            { Effect: 'Allow', Action: 's3:*', Resource: '*' },
            { Effect: 'Deny', Action: 's3:Put*', Resource: '*' },
          ],
        })
        await users.putUserPolicy({ UserName, PolicyName: 'p', PolicyDocument })
        const { User } = await users.getUser({ UserName })
        const { EvaluationResults } = await users.simulatePrincipalPolicy({
          PolicySourceArn: User!.Arn!,
          ActionNames: ['s3:GetObject', 's3:PutObject', 'iam:CreateUser'],
        })
        return EvaluationResults!.map((r) => r.EvalDecision)
      },
      ['allowed', 'explicitDeny', 'implicitDeny'],
    ],
    [
      'service-specific credentials can be made, and are listed',
      async () => {
        const UserName = await user()
        const ServiceName = 'codecommit.amazonaws.com'
        await users.createServiceSpecificCredential({ UserName, ServiceName })
        const listed = await users.listServiceSpecificCredentials({ UserName })
        return listed.ServiceSpecificCredentials!.map((c) => c.ServiceName)
      },
      ['codecommit.amazonaws.com'],
    ],
    [
      'PutSecretValue refuses other content under the same token, and serves what it served',
      async () => {
        const SecretId = await secret()
        const ClientRequestToken = crypto.randomUUID()
        await secrets.putSecretValue({ SecretId, SecretString: 'two', ClientRequestToken })
        const again = await answerOf(
          secrets.putSecretValue({ SecretId, SecretString: 'three', ClientRequestToken }),
        )
        return [again, (await secrets.getSecretValue({ SecretId })).SecretString]
      },
      ['ResourceExistsException 400', 'two'],
    ],
    [
      'the name of a secret that is scheduled for deletion is blocked by an invalid request',
      async () => {
        const Name = await secret()
        await secrets.deleteSecret({ SecretId: Name })
        return answerOf(secrets.createSecret({ Name, SecretString: 'new' }))
      },
      'InvalidRequestException 400',
    ],
    [
      'a secret that is not there is 400, not 404',
      () => answerOf(secrets.getSecretValue({ SecretId: 'nothing' })),
      'ResourceNotFoundException 400',
    ],
    [
      'a new key is refused for seconds',
      async () => {
        sandbox.world.propagationSeconds = 5
        const pair = await keyOf(await user())
        const early = await whoAmI(pair)
        clock.advance(5)
        const later = await whoAmI(pair)
        sandbox.world.propagationSeconds = 0
        return [early, later]
      },
      ['InvalidClientTokenId 403', 'ok'],
    ],
    [
      'listings are stale: what is new is missing, what is deleted still there',
      async () => {
        sandbox.world.lagSeconds = 10
        const Path = '/lag/'
        const seen = async () => [
          (await users.listUsers({ PathPrefix: Path })).Users!.length,
          (await secrets.listSecrets({ Filters: [{ Key: 'name', Values: ['lag'] }] })).SecretList!
            .length,
        ]
        await users.createUser({ UserName: 'lagging', Path })
        await secrets.createSecret({ Name: 'lagging', SecretString: 'x' })
        const young = await seen()
        clock.advance(10)
        const old = await seen()
        await users.deleteUser({ UserName: 'lagging' })
        const deleted = await seen()
        clock.advance(11)
        const gone = await seen()
        sandbox.world.lagSeconds = 0
        return [young, old, deleted, gone]
      },
      [
        [0, 0],
        [1, 1],
        [1, 1],
        [0, 1],
      ],
    ],
    [
      'calls that are too many are throttled, each service in its own word, until time passes',
      async () => {
        const { limits } = sandbox.world
        limits.set({
          ...realisticAwsLimits,
          iamReads: { perSecond: 1, burst: 2 },
          secretReads: { perSecond: 1, burst: 1 },
        })
        const list = () => answerOf(users.listUsers({}))
        const read = () => answerOf(secrets.describeSecret({ SecretId: 'nothing' }))
        const answers = [await list(), await list(), await list(), await read(), await read()]
        clock.advance(1)
        answers.push(await list(), await read())
        limits.set({})
        return answers
      },
      [
        'ok',
        'ok',
        'Throttling 400',
        'ResourceNotFoundException 400',
        'ThrottlingException 400',
        'ok',
        'ResourceNotFoundException 400',
      ],
    ],
    [
      'writes of values share one limit, by region',
      async () => {
        const SecretId = await secret()
        sandbox.world.limits.set({ secretWrites: { perSecond: 1, burst: 2 } })
        const put = () => {
          const ClientRequestToken = crypto.randomUUID()
          return answerOf(
            secrets.putSecretValue({ SecretId, SecretString: 'x', ClientRequestToken }),
          )
        }
        const move = answerOf(
          secrets.updateSecretVersionStage({
            SecretId,
            VersionStage: 'AWSPENDING',
            RemoveFromVersionId: crypto.randomUUID(),
          }),
        )
        const answers = [await move, await put(), await put()]
        sandbox.world.limits.set({})
        return answers
      },
      ['InvalidParameterException 400', 'ok', 'ThrottlingException 400'],
    ],
    [
      'a KMS key that is off seals and opens nothing',
      async () => {
        const Name = `secret-${++count}`
        await secrets.createSecret({ Name, SecretString: 'one', KmsKeyId: 'alias/off' })
        sandbox.world.disabledKmsKeys.add('alias/off')
        const answers = [
          await answerOf(secrets.putSecretValue({ SecretId: Name, SecretString: 'two' })),
          await answerOf(secrets.getSecretValue({ SecretId: Name })),
          await answerOf(secrets.describeSecret({ SecretId: Name })),
        ]
        sandbox.world.disabledKmsKeys.clear()
        return answers
      },
      ['EncryptionFailure 400', 'DecryptionFailure 400', 'ok'],
    ],
  ]

  it.each(rows)('%s', async (_name, run, expected) => {
    expect(await run()).toEqual(expected)
  })
})
