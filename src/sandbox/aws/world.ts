import { randomBytes } from 'node:crypto'
import type { Clock, Instant } from '../../domain/time.ts'
import { instantOf } from '../../domain/time.ts'
import type { Actor } from './actors.ts'
import { Actors } from './actors.ts'
import { AwsError } from './error.ts'
import { accountActions } from './iam-account.ts'
import { attachmentActions } from './iam-attachments.ts'
import type { AccessKey, KeyStatus } from './iam-state.ts'
import { IamState, statusAt } from './iam-state.ts'
import type { Action } from './iam.ts'
import { insightActions } from './iam-insight.ts'
import { roleActions } from './iam-roles.ts'
import { iamActions } from './iam.ts'
import { Issuers, oidcActions } from './oidc.ts'
import type { RequestContext } from './policy.ts'
import { AwsLimits } from './limits.ts'
import { SecretsState } from './secrets.ts'
import type { Service } from './shapes.ts'
import { StsState } from './sts.ts'

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

export interface RoleView {
  readonly roleName: string
  readonly roleId: string
  readonly arn: string
  readonly path: string
  readonly trust: string
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

const actions: Readonly<Record<string, Action>> = {
  ...iamActions,
  ...attachmentActions,
  ...accountActions,
  ...roleActions,
  ...oidcActions,
  ...insightActions,
}
const secretOperations = new Set([
  'CreateSecret',
  'PutSecretValue',
  'GetSecretValue',
  'DescribeSecret',
  'ListSecretVersionIds',
  'ListSecrets',
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
  /** Whose identity tokens AssumeRoleWithWebIdentity takes, once IAM knows the issuer. */
  readonly issuers = new Issuers()
  /** How many calls the account may make; none is refused until `limits.set` says so. */
  readonly limits = new AwsLimits()
  readonly #iam: IamState
  readonly #sts: StsState
  readonly #actors: Actors
  readonly #secrets: SecretsState

  constructor(options: AwsWorldOptions) {
    const random = options.random ?? ((length) => randomBytes(length))
    this.accountId = options.accountId ?? '123456789012'
    this.#iam = new IamState(options.clock, this.accountId, random)
    this.#sts = new StsState(this.#iam, this.issuers, random)
    this.#actors = new Actors(this.#iam, this.#sts)
    this.#secrets = new SecretsState(options.clock, this.accountId, random)
    this.admin = {
      accessKeyId: this.#iam.newId('AKIA'),
      secretAccessKey: this.#iam.newSecret(),
    }
  }

  /**
   * How long a new key is refused and a disabled or deleted one still works; how long a role's new
   * trust is not seen and its old one still counts.
   */
  get propagationSeconds(): number {
    return this.#sts.propagationSeconds
  }

  set propagationSeconds(seconds: number) {
    this.#sts.propagationSeconds = seconds
  }

  /** KMS keys, as secrets name them, that are switched off: what they would open or seal is refused. */
  get disabledKmsKeys(): Set<string> {
    return this.#secrets.disabledKmsKeys
  }

  /** How far ListUsers, ListAccessKeys, ListRoles and ListSecrets lag: what is new is missing, what is deleted still listed. */
  get lagSeconds(): number {
    return this.#iam.lagSeconds
  }

  set lagSeconds(seconds: number) {
    this.#iam.lagSeconds = seconds
    this.#secrets.lagSeconds = seconds
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
   * @param token of the session, as the request brings it; null for a long-term key
   * @throws AwsError InvalidClientTokenId when the key is unknown, inactive, deleted or too new;
   *   ExpiredToken when the session is over
   */
  secretAccessKeyOf(accessKeyId: string, token: string | null = null): string {
    if (accessKeyId === this.admin.accessKeyId) return this.admin.secretAccessKey
    const session = this.#sts.session(accessKeyId)
    if (session && session.token === token) {
      if (session.expiresAt > this.#iam.now()) return session.secretAccessKey
      throw new AwsError('ExpiredToken', 'The security token included in the request is expired')
    }
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
    this.limits.admit(call, this.#iam.now())
    const session = this.#sts.session(call.accessKeyId)
    this.secretAccessKeyOf(call.accessKeyId, session?.token ?? null)
    const actor = this.#actors.of(call.accessKeyId)
    const used = { at: this.#iam.now(), service: call.service, region: call.region }
    const key = this.#iam.keys.get(call.accessKeyId)
    if (key) key.lastUsed = used
    if (session) session.role.lastUsed = used
    // Assuming a role is decided together with the role's trust.
    const isAssuming = call.service === 'sts' && call.operation === 'AssumeRole'
    if (actor && !isAssuming && !this.#actors.may(actor, this.#contextOf(call, actor))) {
      throw new AwsError(
        'AccessDenied',
        `User: ${actor.arn} is not authorized to perform: ${call.service}:${call.operation}`,
      )
    }
    return this.#perform(call, actor)
  }

  /**
   * The one call that needs no key: its token speaks for the caller.
   * @throws AwsError as STS would
   */
  callUnsigned(operation: string, input: Readonly<Record<string, unknown>>): object {
    if (operation === 'AssumeRoleWithWebIdentity') {
      return this.#sts.assumeRoleWithWebIdentity(input as never)
    }
    throw new AwsError('MissingAuthenticationToken', 'The request is not signed.')
  }

  /**
   * Mints an identity token as a workload's platform would, of an issuer that the sandbox plays.
   * @param want.issuer default GitHub Actions'
   * @param want.seconds how long it holds; GitHub's hold for about 5 minutes. May be negative.
   */
  issueWebIdentity(want: {
    readonly sub: string
    readonly aud: string
    readonly issuer?: string
    readonly seconds?: number
  }): string {
    const iat = Math.floor(this.#iam.now() / 1_000)
    return this.issuers.issue({
      iss: want.issuer ?? 'https://token.actions.githubusercontent.com',
      sub: want.sub,
      aud: want.aud,
      iat,
      nbf: iat,
      exp: iat + (want.seconds ?? 300),
    })
  }

  #perform(call: AwsCall, actor: Actor | null): object | undefined {
    const { service, operation } = call
    const input = call.input as never
    const action =
      service === 'iam' && Object.hasOwn(actions, operation) ? actions[operation] : null
    if (action) return action(this.#iam, input, actor?.userName ?? null)
    if (service === 'sts' && operation === 'GetCallerIdentity') return this.#identity(actor)
    if (service === 'sts' && operation === 'AssumeRole') {
      return this.#sts.assumeRole(
        input,
        this.#actors.assumer(actor, (by) => this.#contextOf(call, by)),
      )
    }
    if (service === 'secretsmanager' && secretOperations.has(operation)) {
      const perform = this.#secrets[operation as keyof SecretsState] as SecretOperation
      return perform.call(this.#secrets, input, call.region)
    }
    throw new AwsError('InvalidAction', `The sandbox does not play ${service}:${operation}.`)
  }

  #identity(actor: Actor | null): object {
    return actor
      ? { UserId: actor.userId, Account: this.accountId, Arn: actor.arn }
      : { UserId: this.accountId, Account: this.accountId, Arn: this.#actors.rootArn }
  }

  #workingKey(accessKeyId: string): AccessKey | null {
    const key = this.#iam.keys.get(accessKeyId)
    const seenAt = this.#iam.now() - this.propagationSeconds * 1_000
    return key && statusAt(key, seenAt) === 'Active' ? key : null
  }

  #contextOf(call: AwsCall, actor: Actor): RequestContext {
    return {
      action: `${call.service}:${call.operation}`,
      resource: this.#resourceOf(call),
      keys: { ...actor.keys, 'aws:currenttime': instantOf(this.#iam.now()) },
    }
  }

  #resourceOf({ service, input, region }: AwsCall): string {
    if (service === 'secretsmanager') {
      const id = textOf(input, 'SecretId') ?? textOf(input, 'Name') ?? ''
      const prefix = `arn:aws:secretsmanager:${region}:${this.accountId}:secret:`
      return this.#secrets.find(region, id)?.arn ?? `${prefix}${id}`
    }
    const name = textOf(input, 'UserName')
    const roleName = textOf(input, 'RoleName')
    if (roleName !== null) {
      const path = this.#iam.roles.get(roleName)?.path ?? textOf(input, 'Path') ?? '/'
      return this.#iam.arnOf('role', path, roleName)
    }
    if (name === null) {
      const policyName = textOf(input, 'PolicyName')
      if (policyName !== null) {
        return this.#iam.arnOf('policy', textOf(input, 'Path') ?? '/', policyName)
      }
      return (
        textOf(input, 'PolicyArn') ??
        textOf(input, 'SerialNumber') ??
        textOf(input, 'RoleArn') ??
        textOf(input, 'OpenIDConnectProviderArn') ??
        '*'
      )
    }
    const path = this.#iam.users.get(name)?.path ?? textOf(input, 'Path') ?? '/'
    return this.#iam.arnOf('user', path, name)
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

  roles(): readonly RoleView[] {
    return [...this.#iam.roles.values()].map((role) => ({
      roleName: role.name,
      roleId: role.roleId,
      arn: this.#iam.arnOf('role', role.path, role.name),
      path: role.path,
      trust: role.trust.at(-1)!.value,
      tags: Object.fromEntries(role.tags),
      boundary: role.boundary,
      inlinePolicies: Object.fromEntries(role.inline),
      attachedPolicies: [...role.attached],
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

  /** Whether a call signed with this key (and its session's token) would authenticate right now. */
  wouldAccept(accessKeyId: string): boolean {
    const session = this.#sts.session(accessKeyId)
    if (session) return session.expiresAt > this.#iam.now()
    return accessKeyId === this.admin.accessKeyId || this.#workingKey(accessKeyId) !== null
  }

  /** Whether a call signed with this key would authenticate and be permitted right now. */
  wouldAllow(accessKeyId: string, action: string, resource = '*'): boolean {
    const actor = this.#actors.of(accessKeyId)
    if (!this.wouldAccept(accessKeyId)) return false
    if (!actor) return true
    const [service, operation] = action.split(':') as [Service, string]
    const call = { service, operation, input: {}, accessKeyId, region: 'us-east-1' }
    return this.#actors.may(actor, { ...this.#contextOf(call, actor), resource })
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
