import { randomUUID } from 'node:crypto'
import { applicationSecret } from './consumer.ts'
import type { Stage } from './stage.ts'

/** A key that somebody else made: Custody must neither use, switch off nor delete it. */
export interface ForeignKey {
  readonly id: string
  readonly where: string
  isUntouched(): boolean
}

/** What the company had before Custody came: an application, a user and a deploy key made by hand. */
export function furnish(stage: Stage): readonly ForeignKey[] {
  asAdmin(stage, 'secretsmanager', 'CreateSecret', {
    Name: applicationSecret,
    ClientRequestToken: randomUUID(),
    SecretString: '{"greeting":"hello"}',
  })
  asAdmin(stage, 'iam', 'CreateUser', { UserName: 'legacy-backup' })
  const { world } = stage.github
  const byHand = world.addDeployKeyByHand(
    world.organization,
    'website',
    'made by hand in 2019',
    `ssh-ed25519 ${Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.alloc(32, 7))]).toString('base64')}`,
  )
  return [
    makeForeignKey(stage, 'legacy-backup'),
    {
      id: String(byHand.id),
      where: `${world.organization}/website`,
      isUntouched: () =>
        world.deployKeys(world.organization, 'website').some((k) => k.id === byHand.id),
    },
  ]
}

/** An access key made behind Custody's back, on any user. */
export function makeForeignKey(stage: Stage, userName: string): ForeignKey {
  const { AccessKey } = asAdmin(stage, 'iam', 'CreateAccessKey', { UserName: userName }) as {
    readonly AccessKey: { readonly AccessKeyId: string }
  }
  const id = AccessKey.AccessKeyId
  const { world } = stage.aws
  return {
    id,
    where: userName,
    isUntouched: () =>
      world.wouldAccept(id) &&
      world.keysOf(userName).some((k) => k.accessKeyId === id && k.lastUsed === null),
  }
}

/** A user with a key, as people made them before Custody. */
export function makeUserByHand(stage: Stage, userName: string): void {
  asAdmin(stage, 'iam', 'CreateUser', { UserName: userName })
  makeForeignKey(stage, userName)
}

/** Somebody gives a user more than was granted. */
export function widenByHand(stage: Stage, userName: string): void {
  const statement = { Effect: 'Allow', Action: 's3:*', Resource: '*' }
  asAdmin(stage, 'iam', 'PutUserPolicy', {
    UserName: userName,
    PolicyName: 'quick-fix',
    PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: [statement] }),
  })
}

function asAdmin(
  stage: Stage,
  service: 'iam' | 'secretsmanager',
  operation: string,
  input: Readonly<Record<string, unknown>>,
): object | undefined {
  const { world } = stage.aws
  const { accessKeyId } = world.admin
  return world.call({ service, operation, input, accessKeyId, region: 'us-east-1' })
}

function sshString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
