import { createRenderer } from './github-bodies.ts'
import { githubContract } from './github-contract.ts'
import type { Caller, GithubWorld, InstallationToken } from './github-world.ts'
import { secretRoutes } from './github/actions-secrets.ts'
import { appRoutes } from './github/apps.ts'
import { keyRoutes } from './github/keys.ts'
import { peopleRoutes } from './github/people-routes.ts'
import { repositoryRoutes } from './github/repositories.ts'
import {
  allows,
  docs,
  json,
  Refusal,
  refuse,
  type GithubRequest,
  type GithubResponse,
  type Route,
  type Routes,
} from './github/route.ts'

export type { GithubRequest, GithubResponse } from './github/route.ts'

/** Every route that is played; an area of GitHub's is a file in `github/`. */
const routes: Routes = {
  ...appRoutes,
  ...repositoryRoutes,
  ...keyRoutes,
  ...secretRoutes,
  ...peopleRoutes,
}

/**
 * Answers one request as GitHub would, and checks both sides against GitHub's own description: a
 * request that does not fit is refused with 422, an answer of ours that does not fit is a 500 that
 * says `sandbox drift`. Pure in its inputs and the world's state and clock.
 * @param base the address clients use, for links
 */
export function answer(world: GithubWorld, request: GithubRequest, base: string): GithubResponse {
  const contract = githubContract()
  const url = new URL(request.target, 'http://sandbox.invalid')
  const path = presentPath(world, url.pathname)
  const operation = contract.match(request.method, path)
  if (!operation) return json(404, { message: 'Not Found', documentation_url: docs })
  const route = routes[operation.name]
  if (!route) {
    return json(501, { message: `The sandbox does not play ${operation.name}` })
  }
  let response: GithubResponse
  const limits: Record<string, string> = {}
  try {
    const caller = world.authenticate(request.authorization)
    if (world.secondary && !world.secondary.admit(request.method)) {
      refuse(403, 'You have exceeded a secondary rate limit. Please wait a few minutes.')
    }
    const token = admit(world, route, caller, limits)
    const problem = contract.checkRequest(operation.name, url.searchParams, request.body)
    if (problem) refuse(422, `Invalid request.\n\n${problem}`)
    response = route.run(
      {
        world,
        render: createRenderer(() => base),
        base,
        method: request.method,
        params: operation.params,
        query: url.searchParams,
        path: url.pathname,
        body: (request.body ?? {}) as Record<string, unknown>,
      },
      token,
    )
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    response = error.response
  }
  const drift = contract.checkResponse(operation.name, response.status, response.body)
  if (drift && response.status !== 301 && response.status !== 307) {
    return json(500, { message: `sandbox drift: ${drift}` })
  }
  const accepted = route.needs ? { 'x-accepted-github-permissions': route.needs } : {}
  return { ...response, headers: { ...limits, ...accepted, ...response.headers } }
}

/** The operation name a fault is armed for; null for an unknown route. */
export function operationOf(world: GithubWorld, method: string, target: string): string | null {
  const { pathname } = new URL(target, 'http://sandbox.invalid')
  return githubContract().match(method, presentPath(world, pathname))?.name ?? null
}

/** `/repositories/{id}/…`, where redirects of renamed repositories lead, is not described: map it back. */
function presentPath(world: GithubWorld, path: string): string {
  const m = /^\/repositories\/(\d+)(\/.*)?$/.exec(path)
  const repository = m && world.repositories.get(Number(m[1]))
  return repository ? `/repos/${repository.owner}/${repository.name}${m[2] ?? ''}` : path
}

function admit(
  world: GithubWorld,
  route: Route,
  caller: Caller,
  headers: Record<string, string>,
): InstallationToken | null {
  if (route.auth === 'nobody') {
    if (caller.type !== 'nobody' || caller.hasCredentials) {
      refuse(403, 'This endpoint must be called without credentials.')
    }
    return null
  }
  if (caller.type === 'nobody') refuse(caller.status, caller.reason)
  if (route.auth === 'app') {
    if (caller.type !== 'app') refuse(401, 'A JSON web token could not be decoded')
    return null
  }
  if (caller.type !== 'installation') {
    refuse(403, 'Resource not accessible by integration')
  }
  const { token } = caller
  const { remaining, resetAt } = world.spend(token.installationId)
  headers['x-ratelimit-limit'] = String(world.rateLimit)
  headers['x-ratelimit-remaining'] = String(Math.max(0, remaining))
  headers['x-ratelimit-reset'] = String(Math.ceil(Date.parse(resetAt) / 1_000))
  headers['x-ratelimit-resource'] = 'core'
  if (remaining < 0) {
    const id = token.installationId
    refuse(403, `API rate limit exceeded for installation ID ${id}.`, headers)
  }
  if (world.installations.get(token.installationId)!.suspendedAt) {
    refuse(403, 'This installation has been suspended')
  }
  if (route.needs && !(caller.hasPermissions && allows(token.permissions, route.needs))) {
    refuse(403, 'Resource not accessible by integration', {
      'x-accepted-github-permissions': route.needs,
    })
  }
  return token
}
