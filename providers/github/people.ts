import { ProviderError, type Call, type LeftPerson } from '../../src/provider/contract.ts'
import { pageSize, type GithubClient } from './client.ts'
import type { Attempt } from './errors.ts'
import type { Organization } from './organization.ts'
import { isHeldBy, type PatGrants } from './pat-grants.ts'

/** `people` of the configuration: what ends at GitHub when a person leaves. All off by default. */
export interface PeopleConfig {
  readonly logins?: {
    /** Where a login is read from, of people that `map` does not name; absent: from `map` alone. */
    readonly from?: 'userName' | 'externalId' | 'emailLocalPart'
    /** Logins by userName. */
    readonly map?: Readonly<Record<string, string>>
  }
  readonly removeMembership?: boolean
  readonly removeOutsideCollaborator?: boolean
  readonly revokeGrants?: boolean
}

export const peopleSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['logins'],
  properties: {
    logins: {
      type: 'object',
      additionalProperties: false,
      minProperties: 1,
      properties: {
        from: { enum: ['userName', 'externalId', 'emailLocalPart'] },
        map: { type: 'object', additionalProperties: { type: 'string', minLength: 1 } },
      },
    },
    removeMembership: { type: 'boolean' },
    removeOutsideCollaborator: { type: 'boolean' },
    revokeGrants: { type: 'boolean' },
  },
} as const

// GitHub: letters, digits and single inner hyphens; managed users have `_` and a short code behind.
const loginPattern = /^[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}(?:_[A-Za-z0-9]+)?$/

/** @returns null when the person has no login that could be told from what the directory says */
export function loginOf(person: LeftPerson, logins: PeopleConfig['logins'] = {}): string | null {
  const named = Object.entries(logins.map ?? {}).find(
    ([userName]) => userName.toLowerCase() === person.userName.toLowerCase(),
  )
  const login = named ? named[1] : readFrom(person, logins.from)
  return login !== null && loginPattern.test(login) ? login : null
}

function readFrom(
  person: LeftPerson,
  from: 'userName' | 'externalId' | 'emailLocalPart' | undefined,
): string | null {
  switch (from) {
    case undefined:
      return null
    case 'userName':
      return person.userName
    case 'externalId':
      return person.externalId
    case 'emailLocalPart':
      return person.emails[0]?.split('@')[0] ?? null
  }
}

const reads = { members: 'read' } as const
const governs = { members: 'write' } as const

/** What a person who left has of their own in the organisation, and how it ends. */
export class LeavingPeople {
  readonly #client: GithubClient
  readonly #organization: Organization
  readonly #grants: PatGrants
  readonly #config: PeopleConfig

  constructor(options: {
    readonly client: GithubClient
    readonly organization: Organization
    readonly grants: PatGrants
    readonly config: PeopleConfig
  }) {
    this.#client = options.client
    this.#organization = options.organization
    this.#grants = options.grants
    this.#config = options.config
  }

  /**
   * Ends grants first: they are what a program of the person's goes on using. What was ended is told
   * even when something behind it cannot be: asked again, nothing is left but the reason.
   * @throws ProviderError `denied` for the last owner of the organisation, and for a missing right
   */
  async remove(person: LeftPerson, call: Call): Promise<readonly string[]> {
    const login = loginOf(person, this.#config.logins)
    if (login === null) return []
    const org = await this.#organization.login(call)
    const lines: string[] = []
    const acts = [
      ...(this.#config.revokeGrants ? [() => this.#endGrants(org, login, call)] : []),
      ...(this.#config.removeOutsideCollaborator
        ? [() => this.#removeCollaborator(org, login, call)]
        : []),
      ...(this.#config.removeMembership ? [() => this.#removeMember(org, login, call)] : []),
    ]
    for (const act of acts) {
      try {
        lines.push(...(await act()))
      } catch (error) {
        if (lines.length > 0) return lines
        throw error
      }
    }
    return lines
  }

  async #endGrants(org: string, login: string, call: Call): Promise<readonly string[]> {
    const { items, complete } = await this.#grants.all(call)
    const held = items.filter((grant) => isHeldBy(grant, login))
    if (held.length === 0 && !complete) {
      throw new ProviderError(
        'unavailable',
        `The listing of the grants in ${org} is cut; what ${login} holds is not known.`,
        { outcome: 'notApplied' },
      )
    }
    try {
      await this.#grants.endAll(
        held.map(({ id }) => id),
        call,
      )
    } catch (error) {
      // Perhaps carried out, perhaps not yet: asked again, the listing tells.
      if (!(error instanceof ProviderError) || error.outcome !== 'unknown') throw error
    }
    return held.map(
      ({ id, token_name }) =>
        `Grant ${id} of ${login}'s token "${token_name}" in ${org} was ended; the token itself lives on outside of it.`,
    )
  }

  async #removeMember(org: string, login: string, call: Call): Promise<readonly string[]> {
    const attempt: Attempt = {
      request: `GET /orgs/${org}/memberships/${login}`,
      writes: false,
      needs: reads,
    }
    const membership = await this.#client
      .asInstallation(attempt, call, (octokit, options) =>
        octokit.rest.orgs.getMembershipForUser({ org, username: login, ...options }),
      )
      .then(({ data }) => data, nullIfNotFound)
    if (membership === null) return []
    const { role, state } = membership
    if (role === 'admin' && state === 'active' && (await this.#isLastOwner(org, login, call))) {
      throw new ProviderError(
        'denied',
        `${login} is the last owner of ${org} and was not removed: make somebody else an owner there; it is tried again by itself.`,
        { outcome: 'notApplied' },
      )
    }
    const removal: Attempt = {
      request: `DELETE /orgs/${org}/memberships/${login}`,
      writes: true,
      ends: true,
      needs: governs,
    }
    const removed = await this.#client
      .asInstallation(removal, call, (octokit, options) =>
        octokit.rest.orgs.removeMembershipForUser({ org, username: login, ...options }),
      )
      .then(() => true, nullIfNotFound)
    if (!removed) return []
    return [
      state === 'pending'
        ? `The invitation of ${login} to ${org} was withdrawn.`
        : `${login} was removed from ${org}, where the role was ${role === 'admin' ? 'owner' : role}.`,
    ]
  }

  async #isLastOwner(org: string, login: string, call: Call): Promise<boolean> {
    const attempt: Attempt = {
      request: `GET /orgs/${org}/members?role=admin`,
      writes: false,
      needs: reads,
    }
    const { data } = await this.#client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.orgs.listMembers({ org, role: 'admin', per_page: 2, ...options }),
    )
    return !data.some((owner) => owner.login.toLowerCase() !== login.toLowerCase())
  }

  async #removeCollaborator(org: string, login: string, call: Call): Promise<readonly string[]> {
    const attempt: Attempt = {
      request: `GET /orgs/${org}/outside_collaborators`,
      writes: false,
      needs: reads,
    }
    const { items, complete } = await this.#client.pages(attempt, call, (octokit, page, options) =>
      octokit.rest.orgs.listOutsideCollaborators({ org, per_page: pageSize, page, ...options }),
    )
    // GitHub answers 204 for anybody who is no member, so only the list tells whether there was one.
    const isOne = items.some((user) => user.login.toLowerCase() === login.toLowerCase())
    if (!isOne && complete) return []
    const removal: Attempt = {
      request: `DELETE /orgs/${org}/outside_collaborators/${login}`,
      writes: true,
      ends: true,
      needs: governs,
    }
    await this.#client.asInstallation(removal, call, (octokit, options) =>
      octokit.rest.orgs.removeOutsideCollaborator({ org, username: login, ...options }),
    )
    return [`${login} was removed as an outside collaborator of ${org}.`]
  }
}

function nullIfNotFound(error: unknown): null {
  if (error instanceof ProviderError && error.kind === 'notFound') return null
  throw error
}
