import { createRenderer, wholeSeconds, type Renderer } from './github-bodies.ts'
import { githubContract } from './github-contract.ts'
import type {
  Caller,
  GithubWorld,
  Installation,
  InstallationToken,
  Permissions,
  Repository,
} from './github-world.ts'

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

interface Context {
  readonly world: GithubWorld
  readonly render: Renderer
  readonly base: string
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
}

interface Route {
  readonly auth: 'app' | 'installation'
  /** `administration=write`; metadata is granted to every installation. */
  readonly needs?: string
  run(context: Context, token: InstallationToken | null): GithubResponse
}

/** Ends a request early with GitHub's answer. */
class Refusal extends Error {
  readonly response: GithubResponse
  constructor(response: GithubResponse) {
    super(`refused with ${response.status}`)
    this.response = response
  }
}

const docs = 'https://docs.github.com/rest'

function json(status: number, body: unknown, headers: Record<string, string> = {}): GithubResponse {
  return { status, headers, body }
}

function refuse(status: number, message: string, headers: Record<string, string> = {}): never {
  const body = { message, documentation_url: docs, status: String(status) }
  throw new Refusal(json(status, body, headers))
}

/** GitHub's 422 for one field: `errors[0].message` carries the words clients match on. */
function invalidField(resource: string, field: string, message: string): never {
  throw new Refusal(
    json(422, {
      message: 'Validation Failed',
      errors: [{ resource, code: 'custom', field, message }],
      documentation_url: docs,
      status: '422',
    }),
  )
}

const noContent: GithubResponse = { status: 204, headers: {}, body: undefined }

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
    const token = admit(world, route, caller, limits)
    const problem = contract.checkRequest(operation.name, url.searchParams, request.body)
    if (problem) refuse(422, `Invalid request.\n\n${problem}`)
    response = route.run(
      {
        world,
        render: createRenderer(() => base),
        base,
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
  if (caller.type === 'nobody') refuse(401, caller.reason)
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
  if (route.needs && !allows(token.permissions, route.needs)) {
    refuse(403, 'Resource not accessible by integration', {
      'x-accepted-github-permissions': route.needs,
    })
  }
  return token
}

function allows(granted: Permissions, need: string): boolean {
  const [name, level] = need.split('=') as [string, string]
  return name === 'metadata' || granted[name] === 'write' || granted[name] === level
}

/** The repository of the path, if the token reaches it; private ones out of reach are 404. */
function reach({ world, params, base, path }: Context, token: InstallationToken): Repository {
  const { owner, repo } = params as { owner: string; repo: string }
  const found = world.findRepository(owner, repo)
  if (!found) {
    const moved = world.findFormer(owner, repo)
    if (moved) {
      const rest = path.split('/').slice(4).join('/')
      const location = `${base}/repositories/${moved.id}${rest && `/${rest}`}`
      throw new Refusal(
        json(
          307,
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
  return found
}

/** One page and its Link header (RFC 8288), as GitHub writes it. */
function page<T>(
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

function findInstallation({ world, params }: Context): Installation {
  return (
    world.installations.get(Number(params['installation_id'])) ??
    refuse(404, 'Integration not found')
  )
}

function mint(context: Context): GithubResponse {
  const { world, render, body } = context
  const installation = findInstallation(context)
  if (installation.suspendedAt) refuse(403, 'This installation has been suspended')
  const wanted = (body['permissions'] ?? installation.permissions) as Permissions
  for (const [name, level] of Object.entries(wanted)) {
    if (!installation.permissions[name] || !allows(installation.permissions, `${name}=${level}`)) {
      refuse(422, 'The permissions requested are not granted to this installation.')
    }
  }
  const reachable = world.repositoriesOf(installation)
  const names = body['repositories'] as readonly string[] | undefined
  const ids = body['repository_ids'] as readonly number[] | undefined
  const picked = [
    ...(names ?? []).map((name) => reachable.find((r) => r.name === name)),
    ...(ids ?? []).map((id) => reachable.find((r) => r.id === id)),
  ]
  if (picked.includes(undefined)) {
    refuse(
      422,
      'There is at least one repository that does not exist or is not accessible to the parent installation.',
    )
  }
  const chosen = names || ids ? (picked as Repository[]) : null
  const minted = world.mintToken(
    installation,
    { metadata: 'read', ...wanted },
    chosen && new Set(chosen.map((r) => r.id)),
  )
  return json(201, {
    token: minted.token,
    expires_at: wholeSeconds(minted.expiresAt),
    permissions: minted.permissions,
    repository_selection: chosen ? 'selected' : installation.repositoryIds ? 'selected' : 'all',
    ...(chosen ? { repositories: chosen.map(render.repository) } : {}),
  })
}

const installationOf =
  (pick: (context: Context) => Installation | undefined): Route['run'] =>
  (context) =>
    json(200, context.render.installation(pick(context) ?? refuse(404, 'Not Found')))

const routes: Readonly<Record<string, Route>> = {
  'GET /app': {
    auth: 'app',
    run: ({ world, render }) => {
      const { permissions } = world.installations.get(world.app.installationId)!
      return json(200, render.app({ ...world.app, permissions }, world.installations.size))
    },
  },
  'GET /app/installations': {
    auth: 'app',
    run: (context) => {
      const { items, headers } = page(context, [...context.world.installations.values()])
      return json(200, items.map(context.render.installation), headers)
    },
  },
  'GET /app/installations/{installation_id}': {
    auth: 'app',
    run: installationOf(findInstallation),
  },
  'GET /orgs/{org}/installation': {
    auth: 'app',
    run: installationOf(({ world, params }) =>
      [...world.installations.values()].find((i) => i.account === params['org']),
    ),
  },
  'GET /repos/{owner}/{repo}/installation': {
    auth: 'app',
    run: installationOf(({ world, params }) => {
      const repository = world.findRepository(params['owner']!, params['repo']!)
      return [...world.installations.values()].find(
        (i) => repository && world.repositoriesOf(i).includes(repository),
      )
    }),
  },
  'POST /app/installations/{installation_id}/access_tokens': { auth: 'app', run: mint },
  'PUT /app/installations/{installation_id}/suspended': {
    auth: 'app',
    run: (context) => {
      context.world.suspend(findInstallation(context).id)
      return noContent
    },
  },
  'DELETE /app/installations/{installation_id}/suspended': {
    auth: 'app',
    run: (context) => {
      context.world.unsuspend(findInstallation(context).id)
      return noContent
    },
  },
  'DELETE /installation/token': {
    auth: 'installation',
    run: ({ world }, token) => {
      token!.revokedAt = world.clock.now()
      return noContent
    },
  },
  'GET /installation/repositories': {
    auth: 'installation',
    needs: 'metadata=read',
    run: (context, token) => {
      const installation = context.world.installations.get(token!.installationId)!
      const all = context.world
        .repositoriesOf(installation)
        .filter((r) => token!.repositoryIds === null || token!.repositoryIds.has(r.id))
      const { items, headers } = page(context, all)
      const body = {
        total_count: all.length,
        repository_selection: installation.repositoryIds ? 'selected' : 'all',
        repositories: items.map(context.render.repository),
      }
      return json(200, body, headers)
    },
  },
  'GET /repos/{owner}/{repo}': {
    auth: 'installation',
    needs: 'metadata=read',
    run: (context, token) => json(200, context.render.fullRepository(reach(context, token!))),
  },
  'GET /repos/{owner}/{repo}/keys': {
    auth: 'installation',
    needs: 'administration=read',
    run: (context, token) => {
      const repository = reach(context, token!)
      const { items, headers } = page(context, [...repository.keys.values()])
      const bodies = items.map((key) => context.render.deployKey(repository, key))
      return json(200, bodies, headers)
    },
  },
  'POST /repos/{owner}/{repo}/keys': {
    auth: 'installation',
    needs: 'administration=write',
    run: (context, token) => {
      const repository = reach(context, token!)
      if (repository.archived) {
        refuse(403, 'Repository was archived so is read-only.')
      }
      const {
        title = '',
        key,
        read_only = false,
      } = context.body as {
        title?: string
        key: string
        read_only?: boolean
      }
      const added = context.world.addDeployKey(
        repository,
        title,
        key,
        read_only,
        `${context.world.app.slug}[bot]`,
      )
      if (typeof added === 'string') invalidField('PublicKey', 'key', added)
      const body = context.render.deployKey(repository, added)
      return json(201, body, { location: String(body['url']) })
    },
  },
  'GET /repos/{owner}/{repo}/keys/{key_id}': {
    auth: 'installation',
    needs: 'administration=read',
    run: (context, token) => {
      const repository = reach(context, token!)
      const key = repository.keys.get(Number(context.params['key_id']))
      return json(200, context.render.deployKey(repository, key ?? refuse(404, 'Not Found')))
    },
  },
  'DELETE /repos/{owner}/{repo}/keys/{key_id}': {
    auth: 'installation',
    needs: 'administration=write',
    run: (context, token) => {
      const deleted = reach(context, token!).keys.delete(Number(context.params['key_id']))
      return deleted ? noContent : refuse(404, 'Not Found')
    },
  },
  'GET /repos/{owner}/{repo}/actions/secrets/public-key': {
    auth: 'installation',
    needs: 'secrets=read',
    run: (context, token) => {
      const { id, publicKey } = reach(context, token!).secretsKey
      return json(200, { key_id: id, key: publicKey })
    },
  },
  'GET /repos/{owner}/{repo}/actions/secrets/{secret_name}': {
    auth: 'installation',
    needs: 'secrets=read',
    run: (context, token) => {
      const { secrets } = reach(context, token!)
      const secret = secrets.get(secretName(context)) ?? refuse(404, 'Not Found')
      return json(200, {
        name: secret.name,
        created_at: wholeSeconds(secret.createdAt),
        updated_at: wholeSeconds(secret.updatedAt),
      })
    },
  },
  'PUT /repos/{owner}/{repo}/actions/secrets/{secret_name}': {
    auth: 'installation',
    needs: 'secrets=write',
    run: (context, token) => {
      const repository = reach(context, token!)
      const { encrypted_value, key_id } = context.body as {
        encrypted_value: string
        key_id: string
      }
      if (key_id !== repository.secretsKey.id) refuse(422, 'Public key ID is invalid')
      const name = secretName(context)
      const before = repository.secrets.get(name)
      const now = context.world.clock.now()
      repository.secrets.set(name, {
        name,
        encryptedValue: encrypted_value,
        createdAt: before?.createdAt ?? now,
        updatedAt: now,
      })
      return before ? noContent : json(201, {})
    },
  },
  'DELETE /repos/{owner}/{repo}/actions/secrets/{secret_name}': {
    auth: 'installation',
    needs: 'secrets=write',
    run: (context, token) => {
      const deleted = reach(context, token!).secrets.delete(secretName(context))
      return deleted ? noContent : refuse(404, 'Not Found')
    },
  },
}

/** GitHub stores secret names in upper case. */
function secretName({ params }: Context): string {
  return params['secret_name']!.toUpperCase()
}
