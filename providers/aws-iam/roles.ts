import type { Role, User } from '@aws-sdk/client-iam'
import { paginateListRoles } from '@aws-sdk/client-iam'
import type { Clock } from '../../src/domain/time.ts'
import { instantOf } from '../../src/domain/time.ts'
import type {
  Call,
  EnsuredPrincipal,
  ExternalCredential,
  InventoryEntry,
  InventoryPage,
  ListedKey,
  Listing,
  WantedPrincipal,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Config } from './config.ts'
import type { Boundary } from './boundary.ts'
import { defaultPath } from './config.ts'
import type { Beside } from './identity.ts'
import { accountOf, ownTags, parsed, refuse, tagAccount, tagOf, tagRoles } from './marks.ts'
import { shutOffDocument, shutOffPolicyName } from './policies.ts'
import { deleteRole } from './role-deletion.ts'
import { switchOffRole, trustOf } from './role-switch.ts'
import type { Consumer } from './trust.ts'
import { consumerOf, grants } from './trust.ts'
import type { Users } from './users.ts'
import { externalOf } from './users.ts'

const kind = 'federated-role'
const rolesPerPage = 100
const rememberedMax = 1_000
const accountPattern = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A role as a listing shows it, its trust readable. */
export interface ListedRole {
  readonly name: string
  readonly arn: string
  readonly roleId: string
  readonly path: string
  readonly createdAt: ReturnType<typeof instantOf> | null
  readonly trust: string
}

/**
 * Roles of service accounts. Those of one account lie in a path of their own below Custody's, so that
 * one listing shows them all. An account without a user needs none: its principal is its id. Where
 * there is a user too, the user is the principal, and a tag on it says that there are roles beside.
 */
export class Roles implements Beside {
  readonly #account: AwsAccount
  readonly #users: Users
  readonly #boundary: Boundary
  readonly path: string
  readonly #clock: Clock
  /** Of the roles deleted last, so that they can still be tried. */
  readonly #consumers = new Map<string, Consumer>()

  constructor(
    parts: { readonly account: AwsAccount; readonly users: Users; readonly boundary: Boundary },
    config: Config,
    clock: Clock,
  ) {
    const { account, users } = parts
    this.#boundary = parts.boundary
    this.#clock = clock
    this.#account = account
    this.#users = users
    this.path = config.path ?? defaultPath
  }

  pathOf(account: string): string {
    return `${this.path}${account}/`
  }

  /** Makes nothing but, on a user that is there already, the mark that roles lie beside. */
  async ensure(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const user = await this.#users.existing(want, call)
    if (!user) return { external: rolesExternal(want.account), created: true }
    await this.#mark(user, call)
    return { external: externalOf(user), created: tagOf(user, tagAccount) !== null }
  }

  /**
   * The user of an account whose principal was stored when it had roles only; null = there is none.
   * Two requests at once, for a key and for a role, may come to that.
   */
  async userBeside(principal: string, call: Call): Promise<string | null> {
    const { account } = rolesPrincipal(principal)
    const user = account === null ? null : await this.#users.ofAccount(account, call)
    return user && externalOf(user)
  }

  /**
   * Just before a role is made: the user of the account, where it has one, says that there are roles.
   * `ensure` did so already unless both were asked for at the same time.
   */
  async markUser(principal: string, call: Call): Promise<void> {
    const stored = isRolesPrincipal(parsed(principal))
      ? await this.userBeside(principal, call)
      : principal
    const user = stored === null ? null : await this.#users.locate(stored, call)
    if (user) await this.#mark(user, call)
  }

  async #mark(user: User, call: Call): Promise<void> {
    if (tagOf(user, tagRoles) !== null) return
    const Tags = [{ Key: tagRoles, Value: 'yes' }]
    await this.#account.iam(call).tagUser({ UserName: user.UserName, Tags }, within(call))
  }

  /** The tags that a user of this account is to be born with. */
  async birthMarks(
    account: string,
    call: Call,
  ): Promise<readonly { Key: string; Value: string }[]> {
    try {
      const input = { PathPrefix: this.pathOf(account), MaxItems: 1 }
      const { Roles: found } = await this.#account.iam(call).listRoles(input, within(call))
      return (found ?? []).length > 0 ? [{ Key: tagRoles, Value: 'yes' }] : []
    } catch (error) {
      // Who grants Custody users only has no roles of Custody's.
      if (error instanceof ProviderError && error.kind === 'denied') return []
      throw error
    }
  }

  async listBeside(user: User, call: Call): Promise<Listing<ExternalCredential>> {
    const account = accountBeside(user)
    return account === null ? { items: [], complete: true } : this.list(account, call)
  }

  async shutOffBeside(user: User, call: Call): Promise<void> {
    const account = accountBeside(user)
    if (account !== null) await this.shutOff(account, call)
  }

  async turnOnBeside(user: User, call: Call): Promise<void> {
    const account = accountBeside(user)
    if (account !== null) await this.turnOn(account, call)
  }

  async deleteBeside(user: User, call: Call): Promise<void> {
    const account = accountBeside(user)
    if (account !== null) await this.delete(account, call)
  }

  async releaseBeside(user: User, call: Call): Promise<readonly string[]> {
    const account = accountBeside(user)
    return account === null ? [] : this.release(account, call)
  }

  /** Takes boundary, denial and tags off; trust and what ended old sessions stay as they are. */
  async release(account: string, call: Call): Promise<readonly string[]> {
    const iam = this.#account.iam(call)
    const removed: string[] = []
    for (const role of await this.#own(account, call)) {
      const { RoleName } = role
      const arn = role.PermissionsBoundary?.PermissionsBoundaryArn
      if (this.#boundary.isOurs(arn)) {
        await unlessGone(iam.deleteRolePermissionsBoundary({ RoleName }, within(call)))
        removed.push(`permissions boundary ${arn} of role ${RoleName}`)
      }
      const denial = { RoleName, PolicyName: shutOffPolicyName }
      if (await unlessGone(iam.deleteRolePolicy(denial, within(call)))) {
        removed.push(`inline policy ${shutOffPolicyName} of role ${RoleName}`)
      }
      const TagKeys = ownTags(role)
      await unlessGone(iam.untagRole({ RoleName, TagKeys }, within(call)))
      removed.push(`tags ${TagKeys.join(', ')} of role ${RoleName}`)
    }
    return removed
  }

  async list(account: string, call: Call): Promise<Listing<ExternalCredential>> {
    const { items: listed, complete } = await this.#all(account, call)
    const items: ExternalCredential[] = []
    for (const role of listed) items.push({ ...keyOf(role), ...(await this.#lastUse(role, call)) })
    return { items, complete }
  }

  /** Denies everything to every session; trusts stay, so that each role is what it was afterwards. */
  async shutOff(account: string, call: Call): Promise<void> {
    for (const { RoleName } of await this.#own(account, call)) {
      const policy = { PolicyName: shutOffPolicyName, PolicyDocument: shutOffDocument }
      await unlessGone(this.#account.iam(call).putRolePolicy({ RoleName, ...policy }, within(call)))
    }
  }

  async turnOn(account: string, call: Call): Promise<void> {
    for (const { RoleName } of await this.#own(account, call)) {
      const policy = { RoleName, PolicyName: shutOffPolicyName }
      await unlessGone(this.#account.iam(call).deleteRolePolicy(policy, within(call)))
    }
  }

  async delete(account: string, call: Call): Promise<void> {
    for (const role of await this.#own(account, call)) await this.remove(role, call)
  }

  /** Off first: if the deletion fails half-way, nobody gets in and no session can act. */
  async remove(role: Role, call: Call): Promise<void> {
    await switchOffRole(this.#account, role, this.#clock.now(), call)
    const consumer = consumerOf(trustOf(role))
    if (consumer) this.#remember(role.Arn!, consumer)
    await deleteRole(this.#account.iam(call), role.RoleName!, call)
  }

  #remember(arn: string, consumer: Consumer): void {
    this.#consumers.set(arn, consumer)
    const [oldest] = this.#consumers.keys()
    if (this.#consumers.size > rememberedMax && oldest !== undefined) this.#consumers.delete(oldest)
  }

  /** Whom a role let in that this process deleted; null when it does not know any more. */
  consumerOfGone(arn: string): Consumer | null {
    return this.#consumers.get(arn) ?? null
  }

  /** The account whose marks a role bears, by what `entryOf` named it; null = nobody's. */
  async marksOf(principal: string, call: Call): Promise<string | null> {
    const { account, role } = rolesPrincipal(principal)
    if (role === null) return account
    const found = await this.get(role, call)
    return found && accountOf(found)
  }

  async get(RoleName: string, call: Call): Promise<Role | null> {
    const iam = this.#account.iam(call)
    const answer = await unlessGone(iam.getRole({ RoleName }, within(call)))
    return answer?.Role ?? null
  }

  /** One page of the roles below Custody's path; an account's may come on several pages. */
  async inventory(from: string | null, call: Call): Promise<InventoryPage> {
    const marker = markerOf(from)
    let answer
    try {
      answer = await this.#account.iam(call).listRoles(
        {
          PathPrefix: this.path,
          MaxItems: rolesPerPage,
          ...(marker === null ? {} : { Marker: marker }),
        },
        within(call),
      )
    } catch (error) {
      // Who grants Custody users only: the users' inventory stands, and roles are not told of.
      if (!(error instanceof ProviderError && error.kind === 'denied')) throw error
      return { entries: [], next: null, complete: false }
    }
    const byPath = Map.groupBy((answer.Roles ?? []).map(listedRole), ({ path }) => path)
    const entries = [...byPath].flatMap(([path, roles]) => this.#entries(path, roles))
    if (answer.IsTruncated !== true) return { entries, next: null, complete: true }
    if (answer.Marker === undefined || answer.Marker === marker) {
      throw new ProviderError(
        'unavailable',
        'AWS ListRoles: the listing is cut without a marker.',
        {
          outcome: 'notApplied',
        },
      )
    }
    return { entries, next: JSON.stringify({ marker: answer.Marker }), complete: true }
  }

  #entries(path: string, roles: readonly ListedRole[]): readonly InventoryEntry[] {
    const account = path.slice(this.path.length, -1)
    if (accountPattern.test(account)) {
      const external = rolesExternal(account)
      const keys = roles.map(keyOf)
      return [{ external, name: path, account, createdAt: null, keys }]
    }
    return roles.map((role) => ({
      external: JSON.stringify({ role: role.name }),
      name: `${path}${role.name}`,
      account: null,
      createdAt: role.createdAt,
      keys: [keyOf(role)],
    }))
  }

  async #all(account: string, call: Call): Promise<Listing<ListedRole>> {
    const items: ListedRole[] = []
    let pages = 0
    try {
      const options = { client: this.#account.iam(call), stopOnSameToken: true }
      const input = { PathPrefix: this.pathOf(account) }
      for await (const page of paginateListRoles(options, input, within(call))) {
        pages++
        items.push(...(page.Roles ?? []).map(listedRole))
      }
      return { items, complete: true }
    } catch (error) {
      if (pages === 0) throw error
      return { items, complete: false }
    }
  }

  /** Those that bear the account's mark: what somebody else put into the path is left alone. */
  async #own(account: string, call: Call): Promise<readonly Role[]> {
    const { items, complete } = await this.#all(account, call)
    if (!complete) {
      throw new ProviderError('unavailable', 'AWS ListRoles: the listing broke off; list again.', {
        outcome: 'notApplied',
      })
    }
    const own: Role[] = []
    for (const { name } of items) {
      const role = await this.get(name, call)
      if (role && tagOf(role, tagAccount) === account) own.push(role)
    }
    return own
  }

  /** A role counts as used when a session of it called AWS: opening one, as probes do, is no use. */
  async #lastUse(
    { name }: ListedRole,
    call: Call,
  ): Promise<Pick<ExternalCredential, 'lastUsedAt' | 'lastUsedUnknown'>> {
    try {
      const used = (await this.get(name, call))?.RoleLastUsed?.LastUsedDate
      return { lastUsedAt: used ? instantOf(used.getTime()) : null }
    } catch {
      return { lastUsedAt: null, lastUsedUnknown: true }
    }
  }
}

function accountBeside(user: User): string | null {
  return tagOf(user, tagRoles) === null ? null : accountOf(user)
}

function listedRole(role: Role): ListedRole {
  return {
    name: role.RoleName!,
    arn: role.Arn!,
    roleId: role.RoleId!,
    path: role.Path!,
    createdAt: role.CreateDate ? instantOf(role.CreateDate.getTime()) : null,
    trust: trustOf(role),
  }
}

function keyOf(role: ListedRole): ListedKey {
  return {
    keyId: role.arn,
    // A role made anew under the same name has another id, and is another role.
    fingerprint: role.roleId,
    kind,
    active: grants(role.trust),
    createdAt: role.createdAt,
  }
}

/** What an account's roles are found by: the path that bears its id. */
export function rolesExternal(account: string): string {
  return JSON.stringify({ account })
}

export function isRolesPrincipal(members: Readonly<Record<string, unknown>>): boolean {
  const { account, role, userId } = members
  return userId === undefined && (typeof account === 'string' || typeof role === 'string')
}

/** @throws ProviderError `invalid` for what names no roles */
export function rolesPrincipal(external: string): {
  readonly account: string | null
  readonly role: string | null
} {
  const members = parsed(external)
  if (!isRolesPrincipal(members)) {
    throw refuse('invalid', 'The stored principal does not name roles of an account.')
  }
  const textOf = (value: unknown) => (typeof value === 'string' ? value : null)
  return {
    account: textOf(members['account']),
    role: textOf(members['role']),
  }
}

function markerOf(from: string | null): string | null {
  if (from === null) return null
  const { marker } = parsed(from)
  if (typeof marker === 'string') return marker
  throw refuse('invalid', 'This is no place in an inventory of IAM roles.')
}
