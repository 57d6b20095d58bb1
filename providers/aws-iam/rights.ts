import type { IAM, PolicyDetail, Role, RoleDetail, User, UserDetail } from '@aws-sdk/client-iam'
import { createHash } from 'node:crypto'
import type { Clock } from '../../src/domain/time.ts'
import type {
  Call,
  Drift,
  DriftPage,
  Listing,
  PrincipalDrift,
  WantedOf,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Boundary } from './boundary.ts'
import type { Config } from './config.ts'
import { defaultPath } from './config.ts'
import type { Granted, Holder } from './drift.ts'
import { driftsOf } from './drift.ts'
import { revertOnRole, revertOnUser } from './drift-revert.ts'
import { accountOf, parsed, refuse, tagAccount } from './marks.ts'
import type { Roles } from './roles.ts'
import { isRolesPrincipal, rolesExternal } from './roles.ts'
import { attachedToRole, attachedToUser, managedArns, rightsOf } from './scopes.ts'
import { denyAll } from './switch.ts'
import { parseFederatedScopes, trustDocument } from './trust.ts'
import type { Users } from './users.ts'
import { externalOf } from './users.ts'

/**
 * One call shows policies, groups, boundary and marks of this many; whether each user has a console
 * password costs a call of its own, some 100 ms, and a page has 20 s.
 */
const holdersPerPage = 50
/** Where no more than these are on a page, the rarer ways in are looked for every time. */
const fewHolders = 10
const hoursPerRound = 24

/** What users and roles of Custody's may do, against what was granted. */
export class Rights {
  readonly #account: AwsAccount
  readonly #boundary: Boundary
  readonly #users: Users
  readonly #roles: Roles
  readonly #path: string
  readonly #allowedPolicies: readonly string[]
  readonly #clock: Clock

  constructor(
    parts: {
      readonly account: AwsAccount
      readonly boundary: Boundary
      readonly users: Users
      readonly roles: Roles
    },
    config: Config,
    clock: Clock,
  ) {
    this.#account = parts.account
    this.#boundary = parts.boundary
    this.#users = parts.users
    this.#roles = parts.roles
    this.#path = config.path ?? defaultPath
    this.#allowedPolicies = config.allowedPolicies ?? []
    this.#clock = clock
  }

  async driftOf(
    principal: string,
    want: readonly WantedScopes[],
    call: Call,
  ): Promise<Listing<Drift>> {
    const items: Drift[] = []
    try {
      const user = await this.#userOf(principal, want, call)
      if (user) {
        const holder = await readUser(this.#account, user, call)
        items.push(...driftsOf(holder, await this.#grantedToUser(user, want, call)))
      }
      for (const one of want.filter(isRoleWant)) {
        const role = await this.#roleOf(one, call)
        if (!role) continue
        const holder = await readRole(this.#account, role, call)
        items.push(...driftsOf(holder, await this.#grantedToRole(one, call)))
      }
      return { items, complete: true }
    } catch (error) {
      if (!(error instanceof ProviderError && error.kind === 'denied')) throw error
      return { items, complete: false }
    }
  }

  /** Users and roles in bulk: AWS shows their policies, groups, boundary and marks in one listing. */
  async page(from: string | null, wantedOf: WantedOf, call: Call): Promise<DriftPage> {
    const iam = this.#account.iam(call)
    const listed = await iam.getAccountAuthorizationDetails(
      {
        Filter: ['User', 'Role'],
        MaxItems: holdersPerPage,
        ...(from === null ? {} : { Marker: from }),
      },
      within(call),
    )
    const users = (listed.UserDetailList ?? []).filter(
      (user) => user.Path?.startsWith(this.#path) || accountOf(user) !== null,
    )
    const roles = (listed.RoleDetailList ?? []).flatMap((role) => {
      const account = this.#accountOfPath(role.Path ?? '')
      return account === null ? [] : [{ role, account, external: rolesExternal(account) }]
    })
    const wanted = await wantedOf([
      ...users.map((user) => ({ external: externalOf(user), account: accountOf(user) })),
      ...roles.map(({ external, account }) => ({ external, account })),
    ])
    const principals: PrincipalDrift[] = []
    for (const user of users) {
      const external = externalOf(user)
      const want = wanted.get(external) ?? []
      if (!want.some(isUserWant)) continue
      const isDeep = users.length <= fewHolders || this.#isDue(user.UserId ?? '')
      const ways = await waysInto(iam, user.UserName!, isDeep, call)
      const holder = { ...holderOf(user, user.UserPolicyList), groups: user.GroupList ?? [], ways }
      const items = driftsOf(holder, await this.#grantedToUser(user, want, call))
      principals.push({ external, account: accountOf(user), items })
    }
    for (const { role, account, external } of roles) {
      const want = (wanted.get(external) ?? []).find(({ keyId }) => keyId === role.Arn)
      if (!want) continue
      const trust = decoded(role.AssumeRolePolicyDocument)
      const holder = { ...holderOf(role, role.RolePolicyList), trust }
      const items = driftsOf(holder, await this.#grantedToRole(want, call))
      principals.push({ external, account, items })
    }
    if (listed.IsTruncated !== true) return { principals, next: null }
    if (listed.Marker === undefined || listed.Marker === from) {
      const what = 'AWS GetAccountAuthorizationDetails: the listing is cut without a marker.'
      throw refuse('unavailable', what)
    }
    return { principals, next: listed.Marker }
  }

  async revert(
    principal: string,
    want: readonly WantedScopes[],
    drift: Drift,
    call: Call,
  ): Promise<readonly string[]> {
    if (drift.keyId !== null) {
      const one = want.find(({ keyId }) => keyId === drift.keyId)
      const role = one && (await this.#roleOf(one, call))
      if (!role) return []
      return revertOnRole(this.#account, role, await this.#grantedToRole(one, call), drift, call)
    }
    const user = await this.#userOf(principal, want, call)
    if (!user) return []
    const granted = await this.#grantedToUser(user, want, call)
    return revertOnUser(this.#account, user, granted, drift, call)
  }

  async #userOf(
    principal: string,
    want: readonly WantedScopes[],
    call: Call,
  ): Promise<User | null> {
    if (!want.some(isUserWant)) return null
    const stored = isRolesPrincipal(parsed(principal))
      ? await this.#roles.userBeside(principal, call)
      : principal
    return stored === null ? null : this.#users.locate(stored, call)
  }

  async #roleOf({ keyId }: WantedScopes, call: Call): Promise<Role | null> {
    const role = await this.#roles.get(keyId.split('/').at(-1)!, call)
    return role?.Arn === keyId ? role : null
  }

  async #grantedToUser(
    user: Pick<UserDetail, 'Path' | 'Tags'>,
    all: readonly WantedScopes[],
    call: Call,
  ): Promise<Granted> {
    const wants = all.filter(isUserWant)
    const scopes = [...new Set(wants.flatMap((want) => want.scopes))]
    const ours =
      user.Path?.startsWith(this.#path) === true ||
      user.Tags?.some(({ Key }) => Key === tagAccount) === true
    return { ...(await this.#granted(scopes, call)), want: { ...wants[0]!, scopes }, ours }
  }

  async #grantedToRole(want: WantedScopes, call: Call): Promise<Granted> {
    const rules = { allowedPolicies: this.#allowedPolicies, allowPullRequests: true }
    const read = parseFederatedScopes(want.scopes, rules)
    if ('reason' in read) {
      throw refuse('invalid', `What was granted to ${want.keyId} cannot be read: ${read.reason}`)
    }
    const { consumer, rights } = read
    const provider = await this.#account.arnOf(`oidc-provider/${consumer.issuer}`, call)
    return {
      ...(await this.#granted(rights, call)),
      want: { ...want, scopes: rights },
      ours: true,
      trust: trustDocument(provider, consumer),
    }
  }

  async #granted(scopes: readonly string[], call: Call) {
    // What the configuration allowed once may still be granted: it is read all the same.
    const once = scopes.flatMap((s) => (s.startsWith('policy:') ? [s.slice('policy:'.length)] : []))
    const { document, managed } = rightsOf(scopes, [...this.#allowedPolicies, ...once])
    const arns = await managedArns(this.#account, this.#allowedPolicies, call)
    const { partition } = await this.#account.own(call)
    return {
      document,
      managed: await managedArns(this.#account, managed, call),
      boundary: await this.#boundary.arn(call),
      trust: null,
      vocabulary: new Map(arns.map((arn, i) => [arn, `policy:${this.#allowedPolicies[i]!}`])),
      allowedPolicies: this.#allowedPolicies,
      denyAll: denyAll(partition),
    }
  }

  #accountOfPath(path: string): string | null {
    if (!path.startsWith(this.#path)) return null
    const account = path.slice(this.#path.length, -1)
    return account === '' || account.includes('/') ? null : account
  }

  /** Each user in one hour of the day, so that a day's reconciliations look at all of them. */
  #isDue(userId: string): boolean {
    const slot = createHash('sha256').update(userId).digest()[0]! % hoursPerRound
    return slot === new Date(this.#clock.now()).getUTCHours()
  }
}

function isUserWant({ kind }: WantedScopes): boolean {
  return kind === 'access-key'
}

function isRoleWant({ kind }: WantedScopes): boolean {
  return kind === 'federated-role'
}

/** IAM answers with documents percent-encoded (RFC 3986). */
function decoded(document: string | undefined): string {
  try {
    return decodeURIComponent(document ?? '')
  } catch {
    return ''
  }
}

function holderOf(
  detail: UserDetail | RoleDetail,
  inline: readonly PolicyDetail[] | undefined,
): Holder {
  return {
    inline: new Map((inline ?? []).map((p) => [p.PolicyName!, decoded(p.PolicyDocument)])),
    attached: (detail.AttachedManagedPolicies ?? []).map((policy) => policy.PolicyArn!),
    groups: [],
    boundary: detail.PermissionsBoundary?.PermissionsBoundaryArn ?? null,
    tags: tagsOf(detail),
    trust: null,
    ways: [],
  }
}

function tagsOf({ Tags }: Pick<User, 'Tags'>): ReadonlyMap<string, string> {
  return new Map((Tags ?? []).map(({ Key, Value }) => [Key!, Value ?? '']))
}

async function readUser(account: AwsAccount, user: User, call: Call): Promise<Holder> {
  const iam = account.iam(call)
  const UserName = user.UserName!
  const inline = new Map<string, string>()
  const { PolicyNames } = await iam.listUserPolicies({ UserName }, within(call))
  for (const PolicyName of PolicyNames ?? []) {
    const found = await unlessGone(iam.getUserPolicy({ UserName, PolicyName }, within(call)))
    if (found) inline.set(PolicyName, decoded(found.PolicyDocument))
  }
  const { Groups } = await iam.listGroupsForUser({ UserName }, within(call))
  return {
    inline,
    attached: await attachedToUser(account, UserName, call),
    groups: (Groups ?? []).map((group) => group.GroupName!),
    boundary: user.PermissionsBoundary?.PermissionsBoundaryArn ?? null,
    tags: tagsOf(user),
    trust: null,
    ways: await waysInto(iam, UserName, true, call),
  }
}

async function readRole(account: AwsAccount, role: Role, call: Call): Promise<Holder> {
  const iam = account.iam(call)
  const RoleName = role.RoleName!
  const inline = new Map<string, string>()
  const { PolicyNames } = await iam.listRolePolicies({ RoleName }, within(call))
  for (const PolicyName of PolicyNames ?? []) {
    const found = await unlessGone(iam.getRolePolicy({ RoleName, PolicyName }, within(call)))
    if (found) inline.set(PolicyName, decoded(found.PolicyDocument))
  }
  return {
    inline,
    attached: await attachedToRole(account, RoleName, call),
    groups: [],
    boundary: role.PermissionsBoundary?.PermissionsBoundaryArn ?? null,
    tags: tagsOf(role),
    trust: decoded(role.AssumeRolePolicyDocument),
    ways: [],
  }
}

/** Ways to act as a user beside its access keys. No quota of IAM lets any of them fill a page. */
async function waysInto(
  iam: IAM,
  UserName: string,
  isDeep: boolean,
  call: Call,
): Promise<Holder['ways']> {
  const o = within(call)
  const login = await unlessGone(iam.getLoginProfile({ UserName }, o))
  const ways = login ? [{ what: 'loginProfile', name: UserName }] : []
  if (!isDeep) return ways
  const of = (what: string, names: readonly (string | undefined)[] = []) =>
    names.map((name) => ({ what, name: name! }))
  const { MFADevices } = await iam.listMFADevices({ UserName }, o)
  const { Certificates } = await iam.listSigningCertificates({ UserName }, o)
  const { SSHPublicKeys } = await iam.listSSHPublicKeys({ UserName }, o)
  const { ServiceSpecificCredentials } = await iam.listServiceSpecificCredentials({ UserName }, o)
  return [
    ...ways,
    ...of(
      'mfaDevice',
      MFADevices?.map((d) => d.SerialNumber),
    ),
    ...of(
      'certificate',
      Certificates?.map((c) => c.CertificateId),
    ),
    ...of(
      'sshKey',
      SSHPublicKeys?.map((k) => k.SSHPublicKeyId),
    ),
    ...of(
      'serviceCredential',
      ServiceSpecificCredentials?.map((c) => c.ServiceSpecificCredentialId),
    ),
  ]
}
