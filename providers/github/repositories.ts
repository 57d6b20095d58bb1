import type { Call, Listing } from '../../src/provider/contract.ts'
import { pageSize, type GithubClient } from './client.ts'
import type { Attempt, Permissions } from './errors.ts'
import type { Place } from './names.ts'

export interface FoundRepository extends Place {
  readonly id: number
  readonly archived: boolean
}

interface AsGithubWrites {
  readonly id: number
  readonly name: string
  readonly owner: { readonly login: string }
  readonly archived?: boolean
}

const foundOf = (r: AsGithubWrites): FoundRepository => ({
  id: r.id,
  owner: r.owner.login,
  repo: r.name,
  archived: r.archived === true,
})

/**
 * The repository of that name; a former name leads to where it is now.
 * @throws ProviderError `notFound` when the App does not see it
 */
export async function findRepository(
  client: GithubClient,
  at: Place,
  needs: Permissions,
  call: Call,
): Promise<FoundRepository> {
  const attempt = { request: `GET /repos/${at.owner}/${at.repo}`, writes: false, needs }
  const { data } = await client.asInstallation(attempt, call, (octokit, options) =>
    octokit.rest.repos.get({ owner: at.owner, repo: at.repo, ...options }),
  )
  return foundOf(data)
}

/** All repositories that the installation reaches. */
export function reachableRepositories(
  client: GithubClient,
  needs: Permissions,
  call: Call,
  ends: Pick<Attempt, 'ends'> = {},
): Promise<Listing<FoundRepository>> {
  const attempt = { request: 'GET /installation/repositories', writes: false, needs, ...ends }
  return client.pages(attempt, call, async (octokit, page, options) => {
    const reply = await octokit.rest.apps.listReposAccessibleToInstallation({
      per_page: pageSize,
      page,
      ...options,
    })
    return { ...reply, data: reply.data.repositories.map(foundOf) }
  })
}
