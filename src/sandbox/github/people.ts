import { createHmac } from 'node:crypto'
import { addSeconds, type Clock, type Instant } from '../../domain/time.ts'
import type { Installation, Permissions } from './state.ts'

export interface Member {
  readonly login: string
  readonly role: 'admin' | 'member'
  /** `pending`: invited, and has not answered. */
  readonly state: 'active' | 'pending'
}

export interface PersonalToken {
  readonly id: number
  /** `github_pat_…`, `ghp_…`: what leaks. */
  readonly text: string
  readonly owner: string
  readonly name: string
  readonly expiresAt: Instant | null
  readonly lastUsedAt: Instant | null
  revokedAt: Instant | null
}

/** What a fine-grained token may do in the organisation; ending it leaves the token alive elsewhere. */
export interface PatGrant {
  readonly id: number
  readonly token: PersonalToken
  readonly repositorySelection: 'none' | 'all' | 'subset'
  readonly permissions: {
    readonly organization?: Permissions
    readonly repository?: Permissions
  }
  readonly grantedAt: Instant
}

/** An app of somebody else's that is installed in the organisation. */
export interface ForeignInstallation extends Installation {
  readonly publisher: string
}

/** GitHub: requests without authentication, per address. */
const anonymousPerHour = 60
/** Kinds that `POST /credentials/revoke` ends; `ghs_` is none of them. */
const revocable = /^(ghp|gho|ghu|ghr)_[A-Za-z0-9_]+$|^github_pat_\w+$/

/**
 * The people of the sandbox's organisation and what they brought along: memberships, outside
 * collaborators, personal tokens and their grants, apps of third parties. State and rules only.
 */
export class GithubPeople {
  readonly #clock: Clock
  readonly #organization: string
  readonly #nextId: () => number
  readonly #seed: string
  /** How long a bulk revocation (202) takes until listings show it. */
  revokeDelaySeconds = 0
  readonly members = new Map<string, Member>()
  readonly outsideCollaborators = new Map<string, ReadonlySet<string>>()
  readonly tokens: PersonalToken[] = []
  readonly foreignInstallations: ForeignInstallation[] = []
  readonly #grants = new Map<number, PatGrant>()
  #ending: { readonly id: number; readonly at: Instant }[] = []
  #anonymous: { readonly since: Instant; used: number } | null = null

  constructor(world: {
    readonly clock: Clock
    readonly organization: string
    readonly seed: string
    readonly nextId: () => number
  }) {
    this.#clock = world.clock
    this.#organization = world.organization
    this.#seed = world.seed
    this.#nextId = world.nextId
  }

  addMember(
    login: string,
    role: Member['role'] = 'member',
    state: Member['state'] = 'active',
  ): void {
    this.members.set(keyOf(login), { login, role, state })
  }

  addOutsideCollaborator(login: string, repositories: readonly string[]): void {
    this.outsideCollaborators.set(keyOf(login), new Set(repositories))
  }

  /** A token that somebody made in the web interface, with or without access to the organisation. */
  addToken(token: {
    readonly owner: string
    readonly name: string
    readonly expiresAt?: Instant | null
    readonly lastUsedAt?: Instant | null
    readonly prefix?: 'github_pat' | 'ghp' | 'gho'
    readonly grant?: Partial<Pick<PatGrant, 'repositorySelection' | 'permissions'>> | null
  }): { readonly token: PersonalToken; readonly grant: PatGrant | null } {
    const id = this.#nextId()
    const mac = createHmac('sha256', this.#seed).update(`personal:${id}`).digest('hex')
    const added: PersonalToken = {
      id,
      text: `${token.prefix ?? 'github_pat'}_${mac.slice(0, 40)}`,
      owner: token.owner,
      name: token.name,
      expiresAt: token.expiresAt ?? null,
      lastUsedAt: token.lastUsedAt ?? null,
      revokedAt: null,
    }
    this.tokens.push(added)
    if (token.grant === null) return { token: added, grant: null }
    const grant: PatGrant = {
      id: this.#nextId(),
      token: added,
      repositorySelection: token.grant?.repositorySelection ?? 'all',
      permissions: token.grant?.permissions ?? { repository: { contents: 'read' } },
      grantedAt: this.#clock.now(),
    }
    this.#grants.set(grant.id, grant)
    return { token: added, grant }
  }

  installForeignApp(app: {
    readonly slug: string
    readonly publisher: string
    readonly permissions?: Permissions
    readonly repositoryIds?: ReadonlySet<number> | null
  }): ForeignInstallation {
    const installed: ForeignInstallation = {
      id: this.#nextId(),
      appId: this.#nextId(),
      appSlug: app.slug,
      publisher: app.publisher,
      account: this.#organization,
      repositoryIds: app.repositoryIds ?? null,
      permissions: app.permissions ?? { contents: 'read', metadata: 'read' },
      suspendedAt: null,
      createdAt: this.#clock.now(),
    }
    this.foreignInstallations.push(installed)
    return installed
  }

  /** The grants as the API shows them now: what is being ended is still there until it has ended. */
  grants(): readonly PatGrant[] {
    const now = this.#clock.now()
    for (const { id } of this.#ending.filter(({ at }) => at <= now)) this.#grants.delete(id)
    this.#ending = this.#ending.filter(({ at }) => at > now)
    return [...this.#grants.values()].filter(({ token }) => token.revokedAt === null)
  }

  /** @returns false when there is no such grant */
  endGrant(id: number): boolean {
    return this.grants().some((g) => g.id === id) && this.#grants.delete(id)
  }

  /** Unknown ids are passed over, as in a request that is carried out later. */
  endGrantsLater(ids: readonly number[]): void {
    const at = addSeconds(this.#clock.now(), this.revokeDelaySeconds)
    this.#ending.push(...ids.map((id) => ({ id, at })))
  }

  /** Whether removing `login` would leave the organisation without an owner. */
  isLastOwner(login: string): boolean {
    const owners = [...this.members.values()].filter(
      ({ role, state }) => role === 'admin' && state === 'active',
    )
    return owners.length === 1 && keyOf(owners[0]!.login) === keyOf(login)
  }

  member(login: string): Member | null {
    return this.members.get(keyOf(login)) ?? null
  }

  /** Ends a membership or an invitation; what the person's tokens may do here ends with it. */
  removeMember(login: string): boolean {
    this.#endGrantsOf(login)
    return this.members.delete(keyOf(login))
  }

  removeOutsideCollaborator(login: string): void {
    this.#endGrantsOf(login)
    this.outsideCollaborators.delete(keyOf(login))
  }

  /** Counts one request without authentication; below 0 means refuse. */
  spendAnonymous(): { readonly remaining: number; readonly resetAt: Instant } {
    const now = this.#clock.now()
    if (!this.#anonymous || addSeconds(this.#anonymous.since, 3_600) <= now) {
      this.#anonymous = { since: now, used: 0 }
    }
    this.#anonymous.used += 1
    return {
      remaining: anonymousPerHour - this.#anonymous.used,
      resetAt: addSeconds(this.#anonymous.since, 3_600),
    }
  }

  /** Ends the tokens among `texts` for good, everywhere; says nothing about which there were. */
  revokeLeaked(texts: readonly string[]): void {
    const now = this.#clock.now()
    const meant = new Set(texts.filter((text) => revocable.test(text)))
    for (const token of this.tokens) if (meant.has(token.text)) token.revokedAt ??= now
  }

  #endGrantsOf(login: string): void {
    for (const { id, token } of this.#grants.values()) {
      if (keyOf(token.owner) === keyOf(login)) this.#grants.delete(id)
    }
  }
}

/** GitHub compares logins without regard to case. */
function keyOf(login: string): string {
  return login.toLowerCase()
}
