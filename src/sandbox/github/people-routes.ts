import { wholeSeconds } from '../github-bodies.ts'
import type { PatGrant } from './people.ts'
import { docs, json, noContent, page, Refusal, refuse, type Context, type Routes } from './route.ts'

/** Members, what their own tokens may do, apps of third parties, and the way to end leaked tokens. */
export const peopleRoutes: Routes = {
  'GET /orgs/{org}/members': {
    auth: 'installation',
    needs: 'members=read',
    run: (context) => {
      inOrganization(context)
      const role = context.query.get('role') ?? 'all'
      // Who is invited only is no member yet.
      const all = [...context.world.people.members.values()].filter(
        (m) => m.state === 'active' && (role === 'all' || m.role === role),
      )
      const { items, headers } = page(context, all)
      return json(
        200,
        items.map(({ login }) => context.render.user(login)),
        headers,
      )
    },
  },
  'GET /orgs/{org}/memberships/{username}': {
    auth: 'installation',
    needs: 'members=read',
    run: (context) => {
      const { world, render, base } = context
      inOrganization(context)
      const member = world.people.member(loginOf(context)) ?? refuse(404, 'Not Found')
      return json(200, {
        url: `${base}/orgs/${world.organization}/memberships/${member.login}`,
        state: member.state,
        role: member.role,
        direct_membership: true,
        enterprise_teams_providing_indirect_membership: [],
        organization_url: `${base}/orgs/${world.organization}`,
        organization: render.organization(world.organization),
        user: render.user(member.login),
      })
    },
  },
  'DELETE /orgs/{org}/memberships/{username}': {
    auth: 'installation',
    needs: 'members=write',
    run: (context) => {
      inOrganization(context)
      const { people } = context.world
      const login = loginOf(context)
      if (people.isLastOwner(login)) refuse(403, "You can't remove the last owner")
      return people.removeMember(login) ? noContent : refuse(404, 'Not Found')
    },
  },
  'GET /orgs/{org}/outside_collaborators': {
    auth: 'installation',
    needs: 'members=read',
    run: (context) => {
      inOrganization(context)
      const { items, headers } = page(context, [
        ...context.world.people.outsideCollaborators.keys(),
      ])
      return json(200, items.map(context.render.user), headers)
    },
  },
  'DELETE /orgs/{org}/outside_collaborators/{username}': {
    auth: 'installation',
    needs: 'members=write',
    run: (context) => {
      inOrganization(context)
      const { people } = context.world
      const login = loginOf(context)
      if (people.member(login)) {
        const message = `You cannot specify an organization member to remove as an outside collaborator.`
        throw new Refusal(json(422, { message, documentation_url: docs }))
      }
      people.removeOutsideCollaborator(login)
      return noContent
    },
  },
  'GET /orgs/{org}/personal-access-tokens': {
    auth: 'installation',
    needs: 'organization_personal_access_tokens=read',
    run: (context) => {
      inOrganization(context)
      const owners = context.query.getAll('owner').map((o) => o.toLowerCase())
      const all = context.world.people
        .grants()
        .filter(({ token }) => owners.length === 0 || owners.includes(token.owner.toLowerCase()))
      const { items, headers } = page(context, all)
      return json(
        200,
        items.map((grant) => grantBody(context, grant)),
        headers,
      )
    },
  },
  'POST /orgs/{org}/personal-access-tokens': {
    auth: 'installation',
    needs: 'organization_personal_access_tokens=write',
    run: (context) => {
      inOrganization(context)
      context.world.people.endGrantsLater(context.body['pat_ids'] as readonly number[])
      return json(202, {})
    },
  },
  'POST /orgs/{org}/personal-access-tokens/{pat_id}': {
    auth: 'installation',
    needs: 'organization_personal_access_tokens=write',
    run: (context) => {
      inOrganization(context)
      const ended = context.world.people.endGrant(Number(context.params['pat_id']))
      return ended ? noContent : refuse(404, 'Not Found')
    },
  },
  'GET /orgs/{org}/installations': {
    auth: 'installation',
    needs: 'organization_administration=read',
    run: (context) => {
      inOrganization(context)
      const { world, render } = context
      const all = [
        ...[...world.installations.values()].filter((i) => i.account === world.organization),
        ...world.people.foreignInstallations,
      ]
      const { items, headers } = page(context, all)
      return json(
        200,
        { total_count: all.length, installations: items.map(render.installation) },
        headers,
      )
    },
  },
  'GET /apps/{app_slug}': {
    auth: 'installation',
    needs: 'metadata=read',
    run: ({ world, render, params }) => {
      const slug = params['app_slug']!
      if (slug === world.app.slug) {
        const { permissions } = world.installations.get(world.app.installationId)!
        return json(200, render.app({ ...world.app, permissions }, world.installations.size))
      }
      const found = world.people.foreignInstallations.find((i) => i.appSlug === slug)
      if (!found) refuse(404, 'Not Found')
      const app = {
        id: found.appId,
        slug,
        clientId: `Iv23li${found.appId}`,
        permissions: found.permissions,
        createdAt: found.createdAt,
      }
      return json(200, {
        ...render.app(app, 1),
        owner: render.organizationAccount(found.publisher),
      })
    },
  },
  'POST /credentials/revoke': {
    auth: 'nobody',
    run: ({ world, body }) => {
      const { remaining, resetAt } = world.people.spendAnonymous()
      const headers = {
        'x-ratelimit-limit': '60',
        'x-ratelimit-remaining': String(Math.max(0, remaining)),
        'x-ratelimit-reset': String(Math.ceil(Date.parse(resetAt) / 1_000)),
        'x-ratelimit-resource': 'credential_revocation',
      }
      if (remaining < 0) refuse(403, 'API rate limit exceeded for 127.0.0.1.', headers)
      world.people.revokeLeaked(body['credentials'] as readonly string[])
      return json(202, {}, headers)
    },
  },
}

/** Organisations that are not ours answer as if they were not there. */
function inOrganization({ world, params }: Context): void {
  if (params['org']!.toLowerCase() !== world.organization.toLowerCase()) refuse(404, 'Not Found')
}

function loginOf({ params }: Context): string {
  return params['username']!
}

function grantBody({ render, base, world }: Context, grant: PatGrant): Record<string, unknown> {
  const { token } = grant
  const now = world.clock.now()
  return {
    id: grant.id,
    owner: render.user(token.owner),
    repository_selection: grant.repositorySelection,
    repositories_url: `${base}/orgs/${world.organization}/personal-access-tokens/${grant.id}/repositories`,
    permissions: grant.permissions,
    access_granted_at: wholeSeconds(grant.grantedAt),
    token_id: token.id,
    token_name: token.name,
    token_expired: token.expiresAt !== null && token.expiresAt <= now,
    token_expires_at: token.expiresAt && wholeSeconds(token.expiresAt),
    token_last_used_at: token.lastUsedAt && wholeSeconds(token.lastUsedAt),
  }
}
