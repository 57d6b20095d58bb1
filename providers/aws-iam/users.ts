import type { User } from '@aws-sdk/client-iam'
import { paginateListUsers } from '@aws-sdk/client-iam'
import type { Call, EnsuredPrincipal, WantedPrincipal } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Boundary } from './boundary.ts'
import type { Config } from './config.ts'
import { defaultPath } from './config.ts'
import { isPerson, personObstacle } from './discovery.ts'
import type { Beside } from './identity.ts'
import {
  accountOf,
  nameEnd,
  nameFor,
  ownTags,
  parsed,
  refuse,
  tagAccount,
  tagAdopted,
  tagOf,
  tagOperation,
  tagTenant,
} from './marks.ts'
import { shutOffPolicyName } from './policies.ts'

/** What later calls need: the name to address the user, the id to be sure it is still that user. */
export interface UserPrincipal {
  readonly userName: string
  readonly userId: string
}

/** IAM users as principals: made, found again by their immutable id, taken only when ours. */
export class Users {
  readonly #account: AwsAccount
  readonly #boundary: Boundary
  readonly #path: string
  readonly #adopt: readonly string[]

  constructor(account: AwsAccount, boundary: Boundary, config: Config) {
    this.#account = account
    this.#boundary = boundary
    this.#path = config.path ?? defaultPath
    this.#adopt = config.adopt ?? []
  }

  /** The account's user, where there is one already; someone else's of that name is not it. */
  async existing(want: WantedPrincipal, call: Call): Promise<User | null> {
    const known = isUserPrincipal(parsed(want.external ?? ''))
      ? await this.locate(want.external!, call)
      : null
    if (known) return accountOf(known) === want.account ? known : null
    const adopted = this.#adopt.includes(want.userName)
    const user =
      (await this.#known(want, call)) ??
      (await this.get(adopted ? want.userName : nameFor(want), call))
    return user && accountOf(user) === want.account ? user : null
  }

  /** By the end of its name, which is the account's; adopted users are not found so. */
  async ofAccount(account: string, call: Call): Promise<User | null> {
    const options = { client: this.#account.iam(call), pageSize: 1_000 }
    const input = { PathPrefix: this.#path }
    for await (const page of paginateListUsers(options, input, within(call))) {
      for (const { UserName } of page.Users ?? []) {
        if (!UserName?.endsWith(nameEnd(account))) continue
        const user = await this.get(UserName, call)
        if (user && accountOf(user) === account) return user
      }
    }
    return null
  }

  /** @param beside tells what a user that is made is to be marked with */
  async ensure(
    want: WantedPrincipal,
    call: Call,
    beside: Pick<Beside, 'birthMarks'>,
  ): Promise<EnsuredPrincipal> {
    const known = await this.#known(want, call)
    if (known) return this.#take(known, want, call)
    const adopted = this.#adopt.includes(want.userName)
    const userName = adopted ? want.userName : nameFor(want)
    const existing = await this.get(userName, call)
    if (existing) return this.#take(existing, want, call)
    if (adopted) {
      throw refuse('notFound', `IAM user "${userName}" is listed under adopt but does not exist.`)
    }
    const boundary = await this.#boundary.ensure(call)
    const marks = await beside.birthMarks(want.account, call)
    try {
      const { User: created } = await this.#account.iam(call).createUser(
        {
          UserName: userName,
          Path: this.#path,
          PermissionsBoundary: boundary,
          Tags: [
            { Key: tagAccount, Value: want.account },
            { Key: tagTenant, Value: want.tenant },
            { Key: tagOperation, Value: want.operation },
            ...marks,
          ],
        },
        within(call),
      )
      return { external: externalOf(created!), created: true }
    } catch (error) {
      if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
      // Someone was faster, perhaps our own call whose answer was lost: its tags tell.
      const other = await this.get(userName, call)
      if (!other) throw error
      return this.#take(other, want, call)
    }
  }

  /**
   * The user that this account has already, wherever it is by now.
   * @throws ProviderError `notFound` for one that was adopted and is gone: none is made in its stead
   */
  async #known(want: WantedPrincipal, call: Call): Promise<User | null> {
    const stored = parsed(want.external ?? '')
    if (!isUserPrincipal(stored)) return null
    const user = await this.locate(want.external!, call)
    if (user || stored.userName === nameFor(want)) return user
    throw refuse(
      'notFound',
      `IAM user "${stored.userName}", adopted for this account, is gone; retire the account.`,
    )
  }

  /**
   * Makes a user that was discovered the principal of an account.
   * @throws ProviderError `notFound`, `conflict`
   */
  async adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const user = await this.locate(external, call)
    if (!user) throw refuse('notFound', 'The IAM user is gone; there is nothing to adopt.')
    const account = tagOf(user, tagAccount)
    if (account !== null) throw notOurs(user, `belongs to account ${account}`)
    if (user.Path?.startsWith(this.#path)) throw notOurs(user, `lies under ${this.#path}`)
    if (await isPerson(this.#account.iam(call), user.UserName!, call)) {
      throw refuse('conflict', `IAM user "${user.UserName}": ${personObstacle}`)
    }
    await this.#adoptFor(user, want, call)
    return { external: externalOf(user), created: false }
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
    const isAdopted = tagOf(user, tagAdopted) === `${want.tenant}/${want.account}`
    if (!isAdopted && !this.#adopt.includes(user.UserName!))
      throw notOurs(user, 'was not made by Custody')
    await this.#adoptFor(user, want, call)
    return { external: externalOf(user), created: false }
  }

  async #keepBoundary({ UserName, PermissionsBoundary }: User, call: Call): Promise<void> {
    const boundary = await this.#boundary.ensure(call)
    if (PermissionsBoundary?.PermissionsBoundaryArn === boundary) return
    await this.#account
      .iam(call)
      .putUserPermissionsBoundary({ UserName, PermissionsBoundary: boundary }, within(call))
  }

  /** Takes off what is Custody's: the boundary, a denial, the tags. The marks go last. */
  async release(user: User, call: Call): Promise<readonly string[]> {
    const { UserName, PermissionsBoundary } = user
    const iam = this.#account.iam(call)
    const removed: string[] = []
    const arn = PermissionsBoundary?.PermissionsBoundaryArn
    if (this.#boundary.isOurs(arn)) {
      await unlessGone(iam.deleteUserPermissionsBoundary({ UserName }, within(call)))
      removed.push(`permissions boundary ${arn} of user ${UserName}`)
    }
    const denial = { UserName, PolicyName: shutOffPolicyName }
    if (await unlessGone(iam.deleteUserPolicy(denial, within(call)))) {
      removed.push(`inline policy ${shutOffPolicyName} of user ${UserName}`)
    }
    const TagKeys = ownTags(user)
    if (TagKeys.length > 0) {
      await unlessGone(iam.untagUser({ UserName, TagKeys }, within(call)))
      removed.push(`tags ${TagKeys.join(', ')} of user ${UserName}`)
    }
    return removed
  }

  /** One adopted user serves one account: the same name asked for by another tenant is refused. */
  async #adoptFor(user: User, want: WantedPrincipal, call: Call): Promise<void> {
    const mine = `${want.tenant}/${want.account}`
    const holder = tagOf(user, tagAdopted)
    if (holder === mine) return
    if (holder !== null) throw notOurs(user, `is adopted for ${holder}`)
    if ((await this.#account.selves(call)).includes(user.UserId!)) {
      throw notOurs(user, 'is the one that Custody runs as, which would end itself with it')
    }
    await this.#account
      .iam(call)
      .tagUser({ UserName: user.UserName, Tags: [{ Key: tagAdopted, Value: mine }] }, within(call))
  }

  /**
   * The user behind a principal, by its immutable id: a user may have been renamed, and the old
   * name may belong to a stranger by now. Null when it is gone.
   */
  async locate(principal: string, call: Call): Promise<User | null> {
    const { userId, userName } = parsed(principal)
    if (typeof userId !== 'string') throw nobody()
    const user = typeof userName === 'string' ? await this.get(userName, call) : null
    if (user?.UserId === userId) return user
    const options = { client: this.#account.iam(call), pageSize: 1_000 }
    for await (const page of paginateListUsers(options, {}, within(call))) {
      const renamed = page.Users?.find((u) => u.UserId === userId)
      if (renamed) return this.get(renamed.UserName!, call)
    }
    return null
  }

  async get(UserName: string, call: Call): Promise<User | null> {
    const iam = this.#account.iam(call)
    const answer = await unlessGone(iam.getUser({ UserName }, within(call)))
    return answer?.User ?? null
  }
}

function notOurs(user: User, reason: string): ProviderError {
  return refuse('conflict', `IAM user "${user.UserName}" ${reason}; it is left alone.`)
}

export function externalOf(user: Pick<Partial<User>, 'UserName' | 'UserId'>): string {
  return JSON.stringify({ userName: user.UserName, userId: user.UserId })
}

/** @throws ProviderError `invalid` for what names no user */
export function principalOf(external: string): UserPrincipal {
  const value = parsed(external)
  if (!isUserPrincipal(value)) {
    throw nobody()
  }
  return value
}

function nobody(): ProviderError {
  return refuse('invalid', 'The stored principal does not name an IAM user.')
}

export function isUserPrincipal(
  value: Readonly<Record<string, unknown>>,
): value is Readonly<Record<string, unknown>> & UserPrincipal {
  return typeof value['userName'] === 'string' && typeof value['userId'] === 'string'
}
