import type { Clock } from '../../domain/time.ts'
import { AwsError } from './error.ts'
import type { Statement } from './policy.ts'
import { MalformedPolicy, parsePolicy } from './policy.ts'

export type KeyStatus = 'Active' | 'Inactive'

export interface AccessKey {
  readonly id: string
  readonly secret: string
  readonly userId: string
  readonly createdAt: number
  /** In order of time; the first entry is the creation. */
  readonly history: { readonly at: number; readonly status: KeyStatus }[]
  deletedAt: number | null
  lastUsed: { readonly at: number; readonly service: string; readonly region: string } | null
}

/** Whatever hangs on a user and must be removed by hand before the user can be. */
export interface Attachment {
  readonly id: string
  readonly createdAt: number
  readonly detail: string
}

export interface IamUser {
  name: string
  path: string
  readonly userId: string
  readonly createdAt: number
  readonly tags: Map<string, string>
  readonly inline: Map<string, string>
  readonly attached: Set<string>
  boundary: string | null
  readonly groups: Set<string>
  loginProfile: Attachment | null
  readonly mfaDevices: Map<string, Attachment>
  readonly certificates: Map<string, Attachment>
  readonly sshKeys: Map<string, Attachment>
  readonly serviceCredentials: Map<string, Attachment>
}

export interface ManagedPolicy {
  readonly arn: string
  readonly name: string
  readonly path: string
  readonly id: string
  readonly document: string
  readonly createdAt: number
}

/** A change that reaches readers late: each entry holds from its instant on. */
type History<T> = { readonly at: number; readonly value: T }[]

export interface IamRole {
  readonly name: string
  readonly path: string
  readonly roleId: string
  readonly createdAt: number
  deletedAt: number | null
  description: string | undefined
  maxSessionSeconds: number
  /** In order of time, never empty. */
  readonly trust: History<string>
  readonly tags: Map<string, string>
  readonly inline: Map<string, string>
  readonly attached: Set<string>
  boundary: string | null
  readonly instanceProfiles: Set<string>
  lastUsed: { readonly at: number; readonly region: string } | null
}

/** An issuer of identity tokens whose word the account takes. */
export interface OidcProvider {
  readonly arn: string
  /** Without `https://`, as IAM shows it and as condition keys begin. */
  readonly url: string
  readonly audiences: Set<string>
  readonly thumbprints: readonly string[]
  readonly createdAt: number
  readonly tags: Map<string, string>
}

/** Of a user, a role or an OIDC provider. */
const tagsMax = 50
const namePattern = /^[\w+=,.@-]+$/
const pathPattern = /^\/(?:[\u0021-\u007E]+\/)?$/
const base32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const awsManaged: Readonly<Record<string, readonly string[]>> = {
  AdministratorAccess: ['*'],
  ReadOnlyAccess: ['*:Get*', '*:List*', '*:Describe*'],
  SecurityAudit: ['iam:Get*', 'iam:List*'],
  AmazonS3ReadOnlyAccess: ['s3:Get*', 's3:List*'],
  AWSDenyAll: ['*'],
}

/** The tables of one account's IAM and the look-ups all actions share. */
export class IamState {
  readonly clock: Clock
  readonly accountId: string
  readonly users = new Map<string, IamUser>()
  readonly keys = new Map<string, AccessKey>()
  readonly policies = new Map<string, ManagedPolicy>()
  readonly groups = new Map<string, Attachment>()
  readonly roles = new Map<string, IamRole>()
  /** Deleted ones, which a listing that lags behind still shows. */
  readonly goneRoles: IamRole[] = []
  readonly oidcProviders = new Map<string, OidcProvider>()
  readonly instanceProfiles = new Map<string, Attachment>()
  readonly virtualMfaDevices = new Map<string, Attachment>()
  /** A page never holds more, whatever MaxItems says. */
  pageSizeMax = 1_000
  /** How far ListUsers, ListAccessKeys and ListRoles lag behind writes. */
  lagSeconds = 0
  readonly #random: (length: number) => Uint8Array
  readonly #keysByUser = new Map<string, AccessKey[]>()
  readonly #usersById = new Map<string, IamUser>()
  #gone: { readonly user: IamUser; readonly at: number }[] = []

  constructor(clock: Clock, accountId: string, random: (length: number) => Uint8Array) {
    this.clock = clock
    this.accountId = accountId
    this.#random = random
    for (const [name, actions] of Object.entries(awsManaged)) {
      const arn = `arn:aws:iam::aws:policy/${name}`
      const document = JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          {
            Effect: name === 'AWSDenyAll' ? 'Deny' : 'Allow',
            Action: actions,
            Resource: '*',
          },
        ],
      })
      const id = this.newId('ANPA')
      this.policies.set(arn, { arn, name, path: '/', id, document, createdAt: 0 })
    }
  }

  now(): number {
    return Date.parse(this.clock.now())
  }

  /** `AKIA`, `AIDA`, `ANPA` … and 16 or 17 letters, as IAM's unique identifiers read. */
  newId(prefix: string): string {
    const bytes = this.#random(16)
    return prefix + [...bytes].map((b) => base32[b & 31]).join('')
  }

  /** 40 characters, as AWS's secret access keys have. */
  newSecret(): string {
    return Buffer.from(this.#random(30)).toString('base64')
  }

  arnOf(
    kind: 'user' | 'group' | 'policy' | 'mfa' | 'role' | 'instance-profile' | 'oidc-provider',
    path: string,
    name: string,
  ): string {
    return `arn:aws:iam::${this.accountId}:${kind}${path}${name}`
  }

  user(name: string): IamUser {
    const user = this.users.get(name)
    if (!user) {
      throw new AwsError('NoSuchEntity', `The user with name ${name} cannot be found.`)
    }
    return user
  }

  role(name: string): IamRole {
    const role = this.roles.get(name)
    if (!role) throw new AwsError('NoSuchEntity', `The role with name ${name} cannot be found.`)
    return role
  }

  userById(userId: string): IamUser | null {
    const known = this.#usersById.get(userId)
    if (known && this.users.get(known.name) === known) return known
    for (const user of this.users.values()) {
      if (user.userId !== userId) continue
      this.#usersById.set(userId, user)
      return user
    }
    return null
  }

  removeUser(user: IamUser): void {
    this.users.delete(user.name)
    this.#gone.push({ user, at: this.now() })
  }

  /** As a listing that lags shows them: the newest are missing, those just deleted still there. */
  listedUsers(): readonly IamUser[] {
    const seenAt = this.now() - this.lagSeconds * 1_000
    this.#gone = this.#gone.filter(({ at }) => at > seenAt)
    const seen = [...this.users.values(), ...this.#gone.map(({ user }) => user)]
    return seen.filter((user) => user.createdAt <= seenAt)
  }

  addKey(key: AccessKey): void {
    this.keys.set(key.id, key)
    const others = this.#keysByUser.get(key.userId)
    if (others) others.push(key)
    else this.#keysByUser.set(key.userId, [key])
  }

  policy(arn: string): ManagedPolicy {
    const policy = this.policies.get(arn)
    if (!policy) {
      throw new AwsError('NoSuchEntity', `Policy ${arn} does not exist or is not attachable.`)
    }
    return policy
  }

  keysOf(user: IamUser): readonly AccessKey[] {
    return this.everyKeyOf(user).filter((key) => key.deletedAt === null)
  }

  /** Deleted ones, too. */
  everyKeyOf(user: IamUser): readonly AccessKey[] {
    return this.#keysByUser.get(user.userId) ?? []
  }

  checkName(name: string, longest: number): void {
    if (name.length < 1 || name.length > longest || !namePattern.test(name)) {
      throw new AwsError(
        'ValidationError',
        `The specified value for a name is invalid: at most ${longest} of [\\w+=,.@-].`,
      )
    }
  }

  checkPath(path: string): void {
    if (path.length > 512 || !pathPattern.test(path)) {
      throw new AwsError('ValidationError', 'The specified value for path is invalid.')
    }
  }

  /** @throws AwsError MalformedPolicyDocument */
  parse(document: string): readonly Statement[] {
    return wellFormed(() => parsePolicy(document))
  }
}

/** @throws AwsError MalformedPolicyDocument for what a parser calls malformed */
export function wellFormed<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof MalformedPolicy)) throw error
    throw new AwsError('MalformedPolicyDocument', error.message)
  }
}

/** What a reader who lags behind sees of a role's trust; null when the role is not there. */
export function trustAt(role: IamRole, at: number): string | null {
  if (role.deletedAt !== null && role.deletedAt <= at) return null
  return role.trust.findLast((entry) => entry.at <= at)?.value ?? null
}

/** What a reader who lags behind sees of a key; null when it is not there (yet, or any more). */
export function statusAt(key: AccessKey, at: number): KeyStatus | null {
  if (key.deletedAt !== null && key.deletedAt <= at) return null
  return key.history.findLast((entry) => entry.at <= at)?.status ?? null
}

/** @throws AwsError InvalidInput, LimitExceeded */
export function setTags(
  holder: { readonly tags: Map<string, string> },
  tags: readonly { readonly Key: string | undefined; readonly Value: string | undefined }[],
): void {
  for (const { Key, Value } of tags) {
    if (!Key || Key.length > 128 || (Value ?? '').length > 256 || Key.startsWith('aws:')) {
      throw new AwsError('InvalidInput', 'A tag is not valid.')
    }
    holder.tags.set(Key, Value ?? '')
  }
  if (holder.tags.size > tagsMax) {
    throw new AwsError('LimitExceeded', `The number of tags has reached ${tagsMax}.`)
  }
}
