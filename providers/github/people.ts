import { ProviderError, type Call, type LeftPerson } from '../../src/provider/contract.ts'
import { pageSize, type GithubClient } from './client.ts'
import type { Attempt } from './errors.ts'
import type { GithubKit } from './kind.ts'
import { Organization } from './organization.ts'
import { isHeldBy, PatGrants } from './pat-grants.ts'
import { loginOf, type PeopleConfig } from './people-config.ts'
import { isKind, refusal } from './refusals.ts'

const reads = { members: 'read' } as const
const governs = { members: 'write' } as const

/** What a person who left has of their own in the organisation, and how it ends. */
export class LeavingPeople {
  readonly #client: GithubClient
  readonly #organization: Organization
  readonly #grants: PatGrants
  readonly #config: PeopleConfig

  constructor(kit: GithubKit, config: PeopleConfig) {
    this.#client = kit.client
    this.#organization = new Organization(kit.client)
    this.#grants = new PatGrants(kit)
    this.#config = config
  }

  /**
   * Ends grants first: they are what a program of the person's goes on using. One that cannot be
   * ended keeps nothing behind it from ending, and what was ended is told: asked again, nothing is
   * left but the reason.
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
    const failures: unknown[] = []
    for (const act of acts) {
      try {
        lines.push(...(await act()))
      } catch (error) {
        failures.push(error)
      }
    }
    if (lines.length === 0 && failures.length > 0) throw failures[0]
    return lines
  }

  async #endGrants(org: string, login: string, call: Call): Promise<readonly string[]> {
    const { items, complete } = await this.#grants.all(call)
    const held = items.filter((grant) => isHeldBy(grant, login))
    if (held.length === 0 && !complete) {
      throw refusal(
        'unavailable',
        `The listing of the grants in ${org} is cut; what ${login} holds is not known.`,
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
      throw refusal(
        'denied',
        `${login} is the last owner of ${org} and was not removed: make somebody else an owner there; it is tried again by itself.`,
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
    // Told only of whom the list showed: whoever stands behind its cut may have been none at all.
    return isOne ? [`${login} was removed as an outside collaborator of ${org}.`] : []
  }
}

function nullIfNotFound(error: unknown): null {
  if (isKind(error, 'notFound')) return null
  throw error
}
