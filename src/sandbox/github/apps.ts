import { wholeSeconds } from '../github-bodies.ts'
import type { Installation, Permissions, Repository } from '../github-world.ts'
import {
  allows,
  json,
  noContent,
  page,
  refuse,
  type Context,
  type GithubResponse,
  type Route,
  type Routes,
} from './route.ts'

/** The App, its installations and their tokens. */
export const appRoutes: Routes = {
  'GET /app': {
    auth: 'app',
    run: ({ world, render }) => {
      const permissions = world.installations.get(world.app.installationId)?.permissions ?? {}
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
      world.endToken(token!)
      return noContent
    },
  },
}

function findInstallation({ world, params }: Context): Installation {
  return world.installations.get(Number(params['installation_id'])) ?? refuse(404, 'Not Found')
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

function installationOf(pick: (context: Context) => Installation | undefined): Route['run'] {
  return (context) =>
    json(200, context.render.installation(pick(context) ?? refuse(404, 'Not Found')))
}
