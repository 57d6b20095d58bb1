import { awsIam } from '../../providers/aws-iam/index.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext, Provider, TokenBook, Transport } from '../../src/provider/contract.ts'
import { AwsWorld } from '../../src/sandbox/aws.ts'
import { awsTransport } from './aws-wire.ts'
import { ManualClock } from './manual-clock.ts'

export interface AwsAccountUnderTest {
  readonly world: AwsWorld
  readonly clock: ManualClock
  /** A provider in this account; Custody's own rights are the administrator's unless told otherwise. */
  connect(more?: Record<string, unknown>, transport?: Transport): Provider
  /** Acts as the account's administrator. */
  admin(operation: string, input?: Record<string, unknown>): Record<string, unknown>
  /** The key pair of a new user that may do what a policy says. */
  userWith(userName: string, policy: object | string): Record<string, string>
}

/** An AWS account without sockets, so that a test may make thousands of calls. */
export function awsAccount(): AwsAccountUnderTest {
  const clock = new ManualClock()
  const world = new AwsWorld({ clock })
  const { accessKeyId } = world.admin
  const admin: AwsAccountUnderTest['admin'] = (operation, input = {}) =>
    (world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' }) ??
      {}) as Record<string, unknown>
  return {
    world,
    clock,
    admin,
    connect(more = {}, transport = awsTransport(world)) {
      const host: HostContext = {
        name: 'aws-test',
        clock,
        random: (length) => new Uint8Array(length),
        resolvePath: (path) => path,
        tokens: {} as TokenBook,
        pepper: Secret.ofText('unused'),
        transport,
      }
      const credentials = world.admin
      const every = { count: 1, every: 'PT0S' }
      const config = { region: 'eu-central-1', credentials, settle: 'PT0S', probe: every, ...more }
      return awsIam.create(host, config)
    },
    userWith(userName, policy) {
      const PolicyDocument = typeof policy === 'string' ? policy : JSON.stringify(policy)
      admin('CreateUser', { UserName: userName })
      const { Policy } = admin('CreatePolicy', { PolicyName: userName, PolicyDocument })
      const { Arn } = Policy as { readonly Arn: string }
      admin('AttachUserPolicy', { UserName: userName, PolicyArn: Arn })
      const made = admin('CreateAccessKey', { UserName: userName })['AccessKey']
      const { AccessKeyId, SecretAccessKey } = made as Record<string, string>
      return { accessKeyId: AccessKeyId!, secretAccessKey: SecretAccessKey! }
    },
  }
}
