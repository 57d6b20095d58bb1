import { randomBytes } from 'node:crypto'
import type { Clock, Instant } from '../../domain/time.ts'
import { instantOf } from '../../domain/time.ts'
import { AwsError } from './error.ts'
import { attachmentActions } from './iam-attachments.ts'
import type { AccessKey, IamUser, KeyStatus } from './iam-state.ts'
import { IamState, statusAt } from './iam-state.ts'
import type { Action } from './iam.ts'
import { iamActions } from './iam.ts'
import type { RequestContext, Statement } from './policy.ts'
import { isAllowed } from './policy.ts'
import { SecretsState } from './secrets.ts'
import type { Service } from './shapes.ts'

export interface AwsWorldOptions {
  readonly clock: Clock
  readonly accountId?: string
  /** Injected so that a simulation replays; default: the operating system's. */
  readonly random?: (length: number) => Uint8Array
}

/** One call as the services see it once the signature is verified. */
export interface AwsCall {
  readonly service: Service
  readonly operation: string
  readonly input: Readonly<Record<string, unknown>>
  readonly accessKeyId: string
  readonly region: string
}

export interface KeyView {
  readonly accessKeyId: string
  readonly status: KeyStatus
  readonly createdAt: Instant
  readonly lastUsed: { readonly at: Instant; readonly service: string } | null
}

export interface UserView {
  readonly userName: string
  readonly userId: string
  readonly path: string
  readonly tags: Readonly<Record<string, string>>
  readonly boundary: string | null
  readonly inlinePolicies: Readonly<Record<string, string>>
  readonly attachedPolicies: readonly string[]
}

export interface SecretView {
  readonly arn: string
  readonly name: string
  readonly tags: Readonly<Record<string, string>>
  readonly kmsKeyId: string | null
  /** Version id → labels; deprecated versions have none. */
  readonly stages: Readonly<Record<string, readonly string[]>>
  /** The text a consumer of AWSCURRENT reads; null when there is none. */
  readonly current: string | null
  readonly deleteAt: Instant | null
}

const actions: Readonly<Record<string, Action>> = { ...iamActions, ...attachmentActions }
const secretOperations = new Set([
  'CreateSecret',
  'PutSecretValue',
  'GetSecretValue',
  'DescribeSecret',
  'ListSecretVersionIds',
  'UpdateSecretVersionStage',
  'DeleteSecret',
  'RestoreSecret',
  'TagResource',
  'UntagResource',
])
type SecretOperation = (input: never, region: string) => object | undefined

/**
 * One AWS account with IAM, STS and Secrets Manager, in memory and without sockets: calls are
 * synchronous, time comes from the clock, so a simulation can drive it directly. The questions at
 * the end (`users`, `keysOf`, `wouldAccept`, `secret`) are the oracle of tests: the provider's own
 * truth, independent of what Custody believes.
 */
export class AwsWorld {
  readonly accountId: string
  /** A key pair that may do everything and belongs to no user, like an account's root. */
  readonly admin: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** How long a new key is refused and a disabled or deleted one still works. */
  propagationSeconds = 0
  readonly #iam: IamState
  readonly #secrets: SecretsState

  constructor(options: AwsWorldOptions) {
    const random = options.random ?? ((length) => randomBytes(length))
    this.accountId = options.accountId ?? '123456789012'
    this.#iam = new IamState(options.clock, this.accountId, random)
    this.#secrets = new SecretsState(options.clock, this.accountId, random)
    this.admin = {
      accessKeyId: this.#iam.newId('AKIA'),
      secretAccessKey: this.#iam.newSecret(),
    }
  }

  /** How far ListAccessKeys lags behind writes: a new key is missing, a deleted one still listed. */
  get lagSeconds(): number {
    return this.#iam.lagSeconds
  }

  set lagSeconds(seconds: number) {
    this.#iam.lagSeconds = seconds
  }

  /** The most a page of an IAM listing holds, whatever MaxItems asks for. */
  get pageSizeMax(): number {
    return this.#iam.pageSizeMax
  }

  set pageSizeMax(items: number) {
    this.#iam.pageSizeMax = items
  }

  /**
   * The secret to verify a signature with.
   * @throws AwsError InvalidClientTokenId when the key is unknown, inactive, deleted or too new
   */
  secretAccessKeyOf(accessKeyId: string): string {
    if (accessKeyId === this.admin.accessKeyId) return this.admin.secretAccessKey
    const key = this.#workingKey(accessKeyId)
    if (!key) {
      throw new AwsError(
        'InvalidClientTokenId',
        'The security token included in the request is invalid.',
      )
    }
    return key.secret
  }

  /**
   * Performs one authenticated call: notes the use of the key, asks its policies, acts.
   * @returns the members of the answer, undefined for operations without one
   * @throws AwsError as the service would
   */
  call(call: AwsCall): object | undefined {
    this.secretAccessKeyOf(call.accessKeyId)
    const user = this.#userOf(call.accessKeyId)
    const key = this.#iam.keys.get(call.accessKeyId)
    if (key) {
      key.lastUsed = { at: this.#iam.now(), service: call.service, region: call.region }
    }
    if (user && !this.#may(user, this.#contextOf(call, user))) {
      throw new AwsError(
        'AccessDenied',
        `User: ${this.#arnOf(user)} is not authorized to perform: ${call.service}:${call.operation}`,
      )
    }
    return this.#perform(call, user)
  }

  #perform(call: AwsCall, user: IamUser | null): object | undefined {
    const { service, operation } = call
    const input = call.input as never
    const action =
      service === 'iam' && Object.hasOwn(actions, operation) ? actions[operation] : null
    if (action) return action(this.#iam, input, user?.name ?? null)
    if (service === 'sts' && operation === 'GetCallerIdentity') return this.#identity(user)
    if (service === 'secretsmanager' && secretOperations.has(operation)) {
      const perform = this.#secrets[operation as keyof SecretsState] as SecretOperation
      return perform.call(this.#secrets, input, call.region)
    }
    throw new AwsError('InvalidAction', `The sandbox does not play ${service}:${operation}.`)
  }

  #identity(user: IamUser | null): object {
    return user
      ? { UserId: user.userId, Account: this.accountId, Arn: this.#arnOf(user) }
      : {
          UserId: this.accountId,
          Account: this.accountId,
          Arn: `arn:aws:iam::${this.accountId}:root`,
        }
  }

  #arnOf(user: IamUser): string {
    return this.#iam.arnOf('user', user.path, user.name)
  }

  #userOf(accessKeyId: string): IamUser | null {
    const key = this.#iam.keys.get(accessKeyId)
    return key ? this.#iam.userById(key.userId) : null
  }

  #workingKey(accessKeyId: string): AccessKey | null {
    const key = this.#iam.keys.get(accessKeyId)
    const seenAt = this.#iam.now() - this.propagationSeconds * 1_000
    return key && statusAt(key, seenAt) === 'Active' ? key : null
  }

  #contextOf(call: AwsCall, user: IamUser): RequestContext {
    return {
      action: `${call.service}:${call.operation}`,
      resource: this.#resourceOf(call),
      keys: {
        'aws:username': user.name,
        'aws:userid': user.userId,
        'aws:principalarn': this.#arnOf(user),
        'aws:currenttime': instantOf(this.#iam.now()),
      },
    }
  }

  #resourceOf({ service, input, region }: AwsCall): string {
    if (service === 'secretsmanager') {
      const id = textOf(input, 'SecretId') ?? textOf(input, 'Name') ?? ''
      const prefix = `arn:aws:secretsmanager:${region}:${this.accountId}:secret:`
      return this.#secrets.find(region, id)?.arn ?? `${prefix}${id}`
    }
    const name = textOf(input, 'UserName')
    if (name === null) {
      const policyName = textOf(input, 'PolicyName')
      if (policyName !== null) {
        return this.#iam.arnOf('policy', textOf(input, 'Path') ?? '/', policyName)
      }
      return textOf(input, 'PolicyArn') ?? textOf(input, 'SerialNumber') ?? '*'
    }
    const path = this.#iam.users.get(name)?.path ?? textOf(input, 'Path') ?? '/'
    return this.#iam.arnOf('user', path, name)
  }

  #may(user: IamUser, context: RequestContext): boolean {
    // Works with any credential that authenticates, even one that is denied everything.
    if (context.action === 'sts:GetCallerIdentity') return true
    const parse = (document: string): readonly Statement[] => this.#iam.parse(document)
    const managed = [...user.attached].map((arn) => this.#iam.policy(arn).document)
    const boundary = user.boundary === null ? null : this.#iam.policy(user.boundary).document
    return isAllowed(
      [...user.inline.values(), ...managed].map(parse),
      boundary === null ? null : parse(boundary),
      context,
    )
  }

  users(): readonly UserView[] {
    return [...this.#iam.users.values()].map((user) => ({
      userName: user.name,
      userId: user.userId,
      path: user.path,
      tags: Object.fromEntries(user.tags),
      boundary: user.boundary,
      inlinePolicies: Object.fromEntries(user.inline),
      attachedPolicies: [...user.attached],
    }))
  }

  /** The keys that exist now, without lag; none for an unknown user. */
  keysOf(userName: string): readonly KeyView[] {
    const user = this.#iam.users.get(userName)
    if (!user) return []
    return this.#iam.keysOf(user).map((key) => ({
      accessKeyId: key.id,
      status: key.history.at(-1)!.status,
      createdAt: instantOf(key.createdAt),
      lastUsed: key.lastUsed && { at: instantOf(key.lastUsed.at), service: key.lastUsed.service },
    }))
  }

  /** Whether a call signed with this key would authenticate right now. */
  wouldAccept(accessKeyId: string): boolean {
    return accessKeyId === this.admin.accessKeyId || this.#workingKey(accessKeyId) !== null
  }

  /** Whether a call signed with this key would authenticate and be permitted right now. */
  wouldAllow(accessKeyId: string, action: string, resource = '*'): boolean {
    const user = this.#userOf(accessKeyId)
    if (!this.wouldAccept(accessKeyId)) return false
    if (!user) return true
    const [service, operation] = action.split(':') as [Service, string]
    const call = { service, operation, input: {}, accessKeyId, region: 'us-east-1' }
    return this.#may(user, { ...this.#contextOf(call, user), resource })
  }

  /** By name or ARN in any region, pending deletion included; null when there is none. */
  secret(id: string): SecretView | null {
    const secret = this.#secrets.find(null, id)
    if (!secret) return null
    const versions = [...secret.versions.values()]
    return {
      arn: secret.arn,
      name: secret.name,
      tags: Object.fromEntries(secret.tags),
      kmsKeyId: secret.kmsKeyId,
      stages: Object.fromEntries(versions.map((v) => [v.id, [...v.stages]])),
      current: versions.find((v) => v.stages.has('AWSCURRENT'))?.text ?? null,
      deleteAt: secret.deleteAt === null ? null : instantOf(secret.deleteAt),
    }
  }

  secretNames(): readonly string[] {
    return this.#secrets.all().map((secret) => secret.name)
  }
}

function textOf(input: Readonly<Record<string, unknown>>, member: string): string | null {
  const value = input[member]
  return typeof value === 'string' ? value : null
}
