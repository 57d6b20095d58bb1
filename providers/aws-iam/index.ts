import type { AccessKeyMetadata, User } from '@aws-sdk/client-iam'
import { IAM, paginateListAccessKeys, paginateListUsers } from '@aws-sdk/client-iam'
import { STS } from '@aws-sdk/client-sts'
import type { CredentialKind } from '../../src/domain/credential.ts'
import { isJsonObject } from '../../src/domain/json.ts'
import { Secret } from '../../src/domain/secret.ts'
import { instantOf, seconds } from '../../src/domain/time.ts'
import type {
  Call,
  Capabilities,
  EnsuredPrincipal,
  ExternalCredential,
  HostContext,
  InventoryPage,
  Issued,
  Listing,
  ProbeAnswer,
  Provider,
  ProviderErrorKind,
  ProviderModule,
  WantedCredential,
  WantedPrincipal,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { AwsConnection, ClientSettings } from '../aws/client.ts'
import { clientSettings, connectionProperties, durationOf, durationPattern } from '../aws/client.ts'
import { deleteUser } from './deletion.ts'
import { inventoryPage } from './inventory.ts'
import { mapErrors, providerErrorOf, unlessGone } from '../aws/errors.ts'
import type { Scope } from './policies.ts'
import {
  boundaryDocument,
  boundaryPolicyName,
  parseScope,
  refusedScope,
  scopesDocument,
  scopesPolicyName,
  shutOffDocument,
  shutOffPolicyName,
} from './policies.ts'

interface Config extends AwsConnection {
  readonly path?: string
  readonly settle?: string
  readonly lastUsedLag?: string
  readonly probe?: { readonly count?: number; readonly every?: string }
  readonly boundaryArn?: string
  readonly allowedPolicies?: readonly string[]
  readonly adopt?: readonly string[]
}

const configSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['region'],
  properties: {
    ...connectionProperties,
    path: { type: 'string', pattern: '^/([\\u0021-\\u007E]+/)?$', maxLength: 512 },
    settle: { type: 'string', pattern: durationPattern },
    lastUsedLag: { type: 'string', pattern: durationPattern },
    probe: {
      type: 'object',
      additionalProperties: false,
      properties: {
        count: { type: 'integer', minimum: 1, maximum: 100 },
        every: { type: 'string', pattern: durationPattern },
      },
    },
    boundaryArn: { type: 'string', pattern: '^arn:[a-z-]+:iam::(\\d{12}|aws):policy/.+$' },
    allowedPolicies: { type: 'array', uniqueItems: true, items: { type: 'string', minLength: 1 } },
    adopt: {
      type: 'array',
      uniqueItems: true,
      items: { type: 'string', pattern: '^[\\w+=,.@-]{1,64}$' },
    },
  },
} as const

/**
 * IAM users and their access keys. One service account is one IAM user under a path of Custody's;
 * a credential is an access key of it.
 */
export const awsIam: ProviderModule = {
  type: 'aws-iam',
  role: 'provider',
  configSchema,
  create: (host, config) => new AwsIam(host, config as unknown as Config),
}

const tagAccount = 'custody:id'
const tagTenant = 'custody:tenant'
const tagOperation = 'custody:operation'
const tagGeneration = 'custody:generation'
const tagAdopted = 'custody:adopted'
const userNameMax = 64

/** What later calls need: the name to address the user, the id to be sure it is still that user. */
interface Principal {
  readonly userName: string
  readonly userId: string
}

interface KeyPair {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

class AwsIam implements Provider {
  readonly name: string
  readonly type = 'aws-iam'
  readonly capabilities: Capabilities
  readonly #settings: ClientSettings
  readonly #path: string
  readonly #boundaryArn: string | null
  readonly #allowedPolicies: readonly string[]
  readonly #adopt: readonly string[]
  readonly #iam: IAM
  readonly #sts: STS
  #account: Promise<{ readonly id: string; readonly partition: string }> | null = null
  #boundary: Promise<string> | null = null

  constructor(host: HostContext, config: Config) {
    this.name = host.name
    this.#path = config.path ?? '/custody/'
    this.#boundaryArn = config.boundaryArn ?? null
    this.#allowedPolicies = config.allowedPolicies ?? []
    this.#adopt = config.adopt ?? []
    this.#settings = clientSettings(host, config)
    this.#iam = mapErrors(new IAM(this.#settings), host.sawDate)
    this.#sts = mapErrors(new STS(this.#settings), host.sawDate)
    this.capabilities = {
      'access-key': {
        canCreate: true,
        canRevoke: true,
        canList: true,
        maxLive: 2,
        canDisable: true,
        canRescope: false,
        canProbe: true,
        canLastUsed: true,
        lastUsedLag: durationOf(config.lastUsedLag ?? 'PT4H'),
        mint: 'server',
        lease: null,
        keepsSecret: false,
        settleMin: seconds(0),
        settleMax: durationOf(config.settle ?? 'PT15S'),
        // AWS publishes no rate for IAM; throttling answers set the pace.
        quota: null,
        probe: {
          count: config.probe?.count ?? 5,
          every: durationOf(config.probe?.every ?? 'PT2S'),
        },
        cannot: [
          'More than one credential per account: a user has two keys, and rotation needs one slot.',
          'Tell whether a key that STS used last was used by its consumer: our probes are such uses.',
          'End sessions of roles that were assumed with the key.',
        ],
      },
    }
  }

  checkScopes(
    kind: CredentialKind,
    scopes: readonly string[],
  ): { readonly scope: string; readonly reason: string } | null {
    if (kind !== 'access-key') {
      return { scope: scopes[0] ?? '', reason: `Provider ${this.name} issues no ${kind}.` }
    }
    return refusedScope(scopes, this.#allowedPolicies)
  }

  async ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const adopted = this.#adopt.includes(want.userName)
    const userName = adopted ? want.userName : userNameFor(want)
    const existing = await this.#get(userName, call)
    if (existing) return this.#take(existing, want, call)
    if (adopted) {
      throw refuse('notFound', `IAM user "${userName}" is listed under adopt but does not exist.`)
    }
    const boundary = await this.#ensureBoundary(call)
    try {
      const { User: created } = await this.#iam.createUser(
        {
          UserName: userName,
          Path: this.#path,
          PermissionsBoundary: boundary,
          Tags: [
            { Key: tagAccount, Value: want.account },
            { Key: tagTenant, Value: want.tenant },
            { Key: tagOperation, Value: want.operation },
          ],
        },
        within(call),
      )
      return { external: externalOf(created!), created: true }
    } catch (error) {
      if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
      // Someone was faster, perhaps our own call whose answer was lost: its tags tell.
      const other = await this.#get(userName, call)
      if (!other) throw error
      return this.#take(other, want, call)
    }
  }

  /** Takes an existing user: ours by its tags, or one the operator listed; anyone else's is refused. */
  async #take(user: User, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const account = tagOf(user, tagAccount)
    if (account === want.account && tagOf(user, tagTenant) === want.tenant) {
      await this.#keepBoundary(user, call)
      const operation = tagOf(user, tagOperation)
      const mark = operation === null ? {} : { operation }
      return { external: externalOf(user), created: true, ...mark }
    }
    if (account !== null) throw notOurs(user, `belongs to account ${account}`)
    if (!this.#adopt.includes(user.UserName!)) throw notOurs(user, 'was not made by Custody')
    await this.#adoptFor(user, want, call)
    return { external: externalOf(user), created: false }
  }

  async #keepBoundary({ UserName, PermissionsBoundary }: User, call: Call): Promise<void> {
    const boundary = await this.#ensureBoundary(call)
    if (PermissionsBoundary?.PermissionsBoundaryArn === boundary) return
    await this.#iam.putUserPermissionsBoundary(
      { UserName, PermissionsBoundary: boundary },
      within(call),
    )
  }

  /** One adopted user serves one account: the same name asked for by another tenant is refused. */
  async #adoptFor(user: User, want: WantedPrincipal, call: Call): Promise<void> {
    const mine = `${want.tenant}/${want.account}`
    const holder = tagOf(user, tagAdopted)
    if (holder === mine) return
    if (holder !== null) throw notOurs(user, `is adopted for ${holder}`)
    await this.#iam.tagUser(
      { UserName: user.UserName, Tags: [{ Key: tagAdopted, Value: mine }] },
      within(call),
    )
  }

  async issue(principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    const refused = this.checkScopes(want.kind, want.scopes)
    if (refused) throw refuse('invalid', refused.reason)
    const user = await this.#locate(principal, call)
    if (!user) throw refuse('notFound', `IAM user of ${want.account} is gone; ensure it again.`)
    await this.#prepareUser(user, want, call)
    if (!(await call.fence())) {
      throw refuse('fenced', 'Minting was pre-empted before the key was created.')
    }
    if (call.signal.aborted) throw refuse('unavailable', 'Aborted before the key was created.')
    const { AccessKey: made } = await this.#iam.createAccessKey(
      { UserName: user.UserName },
      within(call),
    )
    const pair: KeyPair = {
      accessKeyId: made!.AccessKeyId!,
      secretAccessKey: made!.SecretAccessKey!,
    }
    const secret = Secret.ofText(JSON.stringify(pair))
    return { keyId: pair.accessKeyId, secret, fingerprint: secret.fingerprint(), expiresAt: null }
  }

  /** Marks the user with what is about to be minted and gives it exactly the scopes wanted. */
  async #prepareUser(user: User, want: WantedCredential, call: Call): Promise<void> {
    const UserName = user.UserName!
    const ours = tagOf(user, tagAccount) !== null
    if (ours) {
      const Tags = [
        { Key: tagGeneration, Value: String(want.generation) },
        { Key: tagOperation, Value: want.operation },
      ]
      await this.#iam.tagUser({ UserName, Tags }, within(call))
    }
    const scopes = want.scopes.map((s) => parseScope(s, this.#allowedPolicies) as Scope)
    const PolicyDocument = scopesDocument(scopes)
    const inline = { UserName, PolicyName: scopesPolicyName }
    if (PolicyDocument === null) await unlessGone(this.#iam.deleteUserPolicy(inline, within(call)))
    else await this.#iam.putUserPolicy({ ...inline, PolicyDocument }, within(call))
    await this.#attachExactly(UserName, scopes, ours, call)
  }

  /** Attaches the managed policies wanted and, on users of ours, detaches the allowed others. */
  async #attachExactly(
    UserName: string,
    scopes: readonly Scope[],
    ours: boolean,
    call: Call,
  ): Promise<void> {
    if (this.#allowedPolicies.length === 0) return
    const arns = new Map<string, string>()
    for (const policy of this.#allowedPolicies)
      arns.set(policy, await this.#policyArn(policy, call))
    const wanted = new Set(
      scopes.flatMap((s) => (s.type === 'managed' ? [arns.get(s.policy)!] : [])),
    )
    for (const PolicyArn of wanted) {
      await this.#iam.attachUserPolicy({ UserName, PolicyArn }, within(call))
    }
    if (!ours) return
    for (const PolicyArn of arns.values()) {
      if (wanted.has(PolicyArn)) continue
      await unlessGone(this.#iam.detachUserPolicy({ UserName, PolicyArn }, within(call)))
    }
  }

  async disable(principal: string, keyId: string, call: Call): Promise<void> {
    await this.#setStatus(principal, keyId, 'Inactive', call)
  }

  async enable(principal: string, keyId: string, call: Call): Promise<void> {
    if ((await this.#setStatus(principal, keyId, 'Active', call)) === null) {
      throw refuse('notFound', `Access key ${keyId} no longer exists; issue a new one.`)
    }
  }

  async revoke(principal: string, keyId: string, call: Call): Promise<void> {
    // Inactive first: if the deletion fails half-way, the key is dead already.
    const UserName = await this.#setStatus(principal, keyId, 'Inactive', call)
    if (UserName === null) return
    await unlessGone(this.#iam.deleteAccessKey({ UserName, AccessKeyId: keyId }, within(call)))
  }

  /** @returns the name of the user that holds the key; null when user or key are gone */
  async #setStatus(
    principal: string,
    AccessKeyId: string,
    Status: 'Active' | 'Inactive',
    call: Call,
  ): Promise<string | null> {
    const set = (UserName: string) =>
      this.#iam.updateAccessKey({ UserName, AccessKeyId, Status }, within(call))
    const { userName } = principalOf(principal)
    try {
      // The key id must belong to the named user, so the common case needs no look-up before it.
      await set(userName)
      return userName
    } catch (error) {
      // For a name that no user has, rights limited to a path answer "denied", not "not found".
      const isAbsence = error instanceof ProviderError && /^(notFound|denied)$/.test(error.kind)
      if (!isAbsence) throw error
      const user = await this.#locate(principal, call)
      if (user?.UserName === userName && error.kind === 'denied') throw error
      if (!user || user.UserName === userName) return null
      return (await unlessGone(set(user.UserName!))) ? user.UserName! : null
    }
  }

  async shutOff(principal: string, call: Call): Promise<void> {
    const user = await this.#locate(principal, call)
    if (!user) return
    await this.#iam.putUserPolicy(
      {
        UserName: user.UserName,
        PolicyName: shutOffPolicyName,
        PolicyDocument: shutOffDocument,
      },
      within(call),
    )
  }

  async turnOn(principal: string, call: Call): Promise<void> {
    const user = await this.#locate(principal, call)
    if (!user) throw refuse('notFound', 'The IAM user is gone and cannot be turned on.')
    const shutOff = { UserName: user.UserName, PolicyName: shutOffPolicyName }
    await unlessGone(this.#iam.deleteUserPolicy(shutOff, within(call)))
  }

  /**
   * GetCallerIdentity needs no permission and no policy denies it, so it tries the key alone.
   * A signature that does not match says nothing about the key: it is no refusal.
   */
  async probe(secret: Secret, kind: CredentialKind, call: Call): Promise<ProbeAnswer> {
    if (kind !== 'access-key') return 'untestable'
    const client = new STS({ ...this.#settings, credentials: keyPairOf(secret) })
    try {
      await client.getCallerIdentity({}, within(call))
      return 'accepted'
    } catch (error) {
      const name = error instanceof Error ? error.name : ''
      if (name === 'InvalidClientTokenId' || name === 'UnrecognizedClientException')
        return 'refused'
      if (name === 'SignatureDoesNotMatch' || name === 'InvalidSignatureException') {
        throw refuse(
          'invalid',
          'The probe was signed with a secret that is not the one of this key, or clocks differ.',
        )
      }
      throw providerErrorOf(error, 'GetCallerIdentity')
    } finally {
      client.destroy()
    }
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const user = await this.#locate(principal, call)
    if (!user) return { items: [], complete: true }
    const items: ExternalCredential[] = []
    let pages = 0
    try {
      const input = { UserName: user.UserName }
      const options = { client: this.#iam, stopOnSameToken: true }
      for await (const page of paginateListAccessKeys(options, input, within(call))) {
        pages++
        for (const key of page.AccessKeyMetadata ?? []) items.push(await this.#shown(key, call))
      }
      return { items, complete: true }
    } catch (error) {
      if (pages === 0) throw error
      return { items, complete: false }
    }
  }

  async #shown(key: AccessKeyMetadata, call: Call): Promise<ExternalCredential> {
    return {
      keyId: key.AccessKeyId!,
      // The secret, and so its fingerprint, is only ever known to whoever saw it being made.
      fingerprint: null,
      kind: 'access-key',
      active: key.Status === 'Active',
      createdAt: key.CreateDate ? instantOf(key.CreateDate.getTime()) : null,
      ...(await this.#lastUsed(key.AccessKeyId!, call)),
    }
  }

  /**
   * AWS lags by up to hours (`lastUsedLag`). A last use of STS is not reported, since our own probes
   * are such uses and would pass for a consumer's.
   */
  async #lastUsed(
    AccessKeyId: string,
    call: Call,
  ): Promise<Pick<ExternalCredential, 'lastUsedAt' | 'lastUsedUnknown'>> {
    try {
      const answer = await this.#iam.getAccessKeyLastUsed({ AccessKeyId }, within(call))
      const { LastUsedDate, ServiceName } = answer.AccessKeyLastUsed ?? {}
      const byConsumer = LastUsedDate && ServiceName !== 'sts'
      return { lastUsedAt: byConsumer ? instantOf(LastUsedDate.getTime()) : null }
    } catch {
      // No reason for a listing to fail: revocations need it, and not this.
      return { lastUsedAt: null, lastUsedUnknown: true }
    }
  }

  inventory(from: string | null, call: Call): Promise<InventoryPage> {
    const reach = { iam: this.#iam, path: this.#path, adopt: this.#adopt }
    const lastUseOf = this.#lastUsed.bind(this)
    return inventoryPage(reach, { externalOf, accountOf, lastUseOf }, from, call)
  }

  async marksOf(principal: string, call: Call): Promise<string | null> {
    const user = await this.#locate(principal, call)
    return user && accountOf(user)
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    const user = await this.#locate(principal, call)
    if (user) await deleteUser(this.#iam, user.UserName!, call)
  }

  async close(): Promise<void> {
    this.#iam.destroy()
    this.#sts.destroy()
  }

  /**
   * The user behind a principal, by its immutable id: a user may have been renamed, and the old
   * name may belong to a stranger by now. Null when it is gone.
   */
  async #locate(principal: string, call: Call): Promise<User | null> {
    const { userName, userId } = principalOf(principal)
    const user = await this.#get(userName, call)
    if (user?.UserId === userId) return user
    const options = { client: this.#iam, pageSize: 1_000 }
    for await (const page of paginateListUsers(options, {}, within(call))) {
      const renamed = page.Users?.find((u) => u.UserId === userId)
      if (renamed) return this.#get(renamed.UserName!, call)
    }
    return null
  }

  async #get(UserName: string, call: Call): Promise<User | null> {
    const answer = await unlessGone(this.#iam.getUser({ UserName }, within(call)))
    return answer?.User ?? null
  }

  async #policyArn(policy: string, call: Call): Promise<string> {
    if (policy.startsWith('arn:')) return policy
    const { id, partition } = await this.#ownAccount(call)
    return `arn:${partition}:iam::${id}:policy/${policy}`
  }

  #ownAccount(call: Call): Promise<{ readonly id: string; readonly partition: string }> {
    this.#account ??= this.#sts.getCallerIdentity({}, within(call)).then(
      (me) => ({ id: me.Account!, partition: me.Arn!.split(':')[1]! }),
      (error: unknown) => {
        this.#account = null
        throw error
      },
    )
    return this.#account
  }

  #ensureBoundary(call: Call): Promise<string> {
    if (this.#boundaryArn !== null) return Promise.resolve(this.#boundaryArn)
    this.#boundary ??= this.#createBoundary(call).catch((error: unknown) => {
      this.#boundary = null
      throw error
    })
    return this.#boundary
  }

  async #createBoundary(call: Call): Promise<string> {
    const { id, partition } = await this.#ownAccount(call)
    const arn = `arn:${partition}:iam::${id}:policy${this.#path}${boundaryPolicyName}`
    if (await unlessGone(this.#iam.getPolicy({ PolicyArn: arn }, within(call)))) return arn
    try {
      await this.#iam.createPolicy(
        {
          PolicyName: boundaryPolicyName,
          Path: this.#path,
          Description: 'Users made by Custody cannot re-arm themselves.',
          PolicyDocument: boundaryDocument(this.#path),
        },
        within(call),
      )
    } catch (error) {
      // Another process of ours was faster.
      if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
    }
    return arn
  }
}

function within(call: Call): { readonly abortSignal: AbortSignal } {
  return { abortSignal: call.signal }
}

function refuse(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}

function notOurs(user: User, reason: string): ProviderError {
  return refuse('conflict', `IAM user "${user.UserName}" ${reason}; it is left alone.`)
}

/** Readable, and unique by the random end of the account's id, so that it never depends on luck. */
function userNameFor(want: WantedPrincipal): string {
  const suffix = `-${want.account.slice(-12)}`
  const readable = want.userName.replaceAll(/[^\w+=,.@-]+/g, '-')
  return readable.slice(0, userNameMax - suffix.length) + suffix
}

function tagOf(user: User, key: string): string | null {
  return user.Tags?.find((tag) => tag.Key === key)?.Value ?? null
}

/** By its tags, which `GetUser` shows and `ListUsers` does not. */
function accountOf(user: User): string | null {
  return tagOf(user, tagAccount) ?? tagOf(user, tagAdopted)?.split('/')[1] ?? null
}

function externalOf(user: User): string {
  return JSON.stringify({ userName: user.UserName, userId: user.UserId })
}

function principalOf(external: string): Principal {
  const value = parsed(external)
  const { userName, userId } = value
  if (typeof userName !== 'string' || typeof userId !== 'string') {
    throw refuse('invalid', 'The stored principal does not name an IAM user.')
  }
  return { userName, userId }
}

function keyPairOf(secret: Secret): KeyPair {
  const { accessKeyId, secretAccessKey } = secret.use((bytes) => parsed(bytes.toString('utf8')))
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string') {
    throw refuse('invalid', 'The secret is not an access key pair and cannot be tried.')
  }
  return { accessKeyId, secretAccessKey }
}

/** An empty object for anything else, so that no part of a malformed secret reaches an error. */
function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : {}
  } catch {
    return {}
  }
}
