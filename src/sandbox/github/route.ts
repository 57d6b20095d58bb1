import type { Renderer } from '../github-bodies.ts'
import type { GithubWorld, InstallationToken, Permissions, Repository } from '../github-world.ts'

export interface GithubRequest {
  readonly method: string
  /** Path and query, as in a request line. */
  readonly target: string
  readonly authorization: string | undefined
  /** The parsed JSON body; undefined when there is none. */
  readonly body: unknown
}

export interface GithubResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Undefined: no body. */
  readonly body: unknown
}

export interface Context {
  readonly world: GithubWorld
  readonly render: Renderer
  readonly method: string
  readonly base: string
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
}

export interface Route {
  /** `nobody`: only without credentials; GitHub refuses such a request with any. */
  readonly auth: 'app' | 'installation' | 'nobody'
  /** `administration=write`; metadata is granted to every installation. */
  readonly needs?: string
  /** @param token of the caller; null unless `auth` is `installation` */
  run(context: Context, token: InstallationToken | null): GithubResponse
}

/** By the names of GitHub's own description: `POST /repos/{owner}/{repo}/keys`. */
export type Routes = Readonly<Record<string, Route>>

/** Ends a request early with GitHub's answer. */
export class Refusal extends Error {
  readonly response: GithubResponse
  constructor(response: GithubResponse) {
    super(`refused with ${response.status}`)
    this.response = response
  }
}

export const docs = 'https://docs.github.com/rest'

export function json(
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): GithubResponse {
  return { status, headers, body }
}

export function refuse(
  status: number,
  message: string,
  headers: Record<string, string> = {},
): never {
  const body = { message, documentation_url: docs, status: String(status) }
  throw new Refusal(json(status, body, headers))
}

/** GitHub's 422 for one field: `errors[0].message` carries the words clients match on. */
export function invalidField(resource: string, field: string, message: string): never {
  throw new Refusal(
    json(422, {
      message: 'Validation Failed',
      errors: [{ resource, code: 'custom', field, message }],
      documentation_url: docs,
      status: '422',
    }),
  )
}

export const noContent: GithubResponse = { status: 204, headers: {}, body: undefined }

const levels: readonly string[] = ['read', 'write', 'admin']

export function allows(granted: Permissions, need: string): boolean {
  const [name, level] = need.split('=') as [string, string]
  return name === 'metadata' || levels.indexOf(granted[name] ?? '') >= levels.indexOf(level)
}

/** The repository of the path, if the token reaches it; private ones out of reach are 404. */
export function reach(
  { world, params, base, path, method }: Context,
  token: InstallationToken,
): Repository {
  const { owner, repo } = params as { owner: string; repo: string }
  const found = world.findRepository(owner, repo)
  if (!found) {
    const moved = world.findFormer(owner, repo)
    if (moved) {
      const rest = path.split('/').slice(4).join('/')
      const location = `${base}/repositories/${moved.id}${rest && `/${rest}`}`
      throw new Refusal(
        json(
          method === 'GET' ? 301 : 307,
          { message: 'Moved Permanently', url: location, documentation_url: docs },
          { location },
        ),
      )
    }
    refuse(404, 'Not Found')
  }
  const installation = world.installations.get(token.installationId)!
  const inReach =
    world.repositoriesOf(installation).includes(found) &&
    (token.repositoryIds === null || token.repositoryIds.has(found.id))
  if (!inReach) {
    if (found.private) refuse(404, 'Not Found')
    refuse(403, 'Resource not accessible by integration')
  }
  if (found.archived && method !== 'GET') refuse(403, 'Repository was archived so is read-only.')
  return found
}

/** One page and its Link header (RFC 8288), as GitHub writes it. */
export function page<T>(
  { query, base, path }: Context,
  all: readonly T[],
): { readonly items: readonly T[]; readonly headers: Record<string, string> } {
  const number = (name: string, fallback: number) => {
    const n = Number(query.get(name) ?? fallback)
    return Number.isInteger(n) && n > 0 ? n : fallback
  }
  const size = Math.min(number('per_page', 30), 100)
  const at = number('page', 1)
  const last = Math.max(1, Math.ceil(all.length / size))
  const link = (n: number, rel: string) => {
    const params = new URLSearchParams(query)
    params.set('page', String(n))
    return `<${base}${path}?${params.toString()}>; rel="${rel}"`
  }
  const links = [
    ...(at > 1 ? [link(at - 1, 'prev'), link(1, 'first')] : []),
    ...(at < last ? [link(at + 1, 'next'), link(last, 'last')] : []),
  ]
  return {
    items: all.slice((at - 1) * size, at * size),
    headers: links.length > 0 ? { link: links.join(', ') } : {},
  }
}
