import type { Answer, Asked, DirectoryFace } from './face.ts'
import { serveFace } from './face.ts'
import type { DirectoryWorld, WorldPerson } from './world.ts'

export const oktaToken = '00sandbox-okta-token'

/**
 * Okta's `GET /api/v1/users` as far as a reader of people needs it: SSWS and bearer tokens, pages
 * with an opaque `after` in `Link`, the plain list without who is DEPROVISIONED, `filter` by status,
 * and rate limits (https://developer.okta.com/docs/api/openapi/okta-management/).
 */
export function startOktaSandbox(world: DirectoryWorld, port = 0): Promise<DirectoryFace> {
  return serveFace(world, (asked) => answer(world, asked), port)
}

function answer(world: DirectoryWorld, { method, url, authorization }: Asked): Answer {
  if (authorization !== `SSWS ${oktaToken}` && authorization !== `Bearer ${oktaToken}`) {
    return refusal(401, 'E0000011', 'Invalid token provided')
  }
  if (method !== 'GET' || url.pathname !== '/api/v1/users') {
    return refusal(404, 'E0000007', 'Not found: Resource not found')
  }
  const hindered = world.hinder()
  if (hindered) {
    const { status, headers } = hindered
    return { ...refusal(status, 'E0000047', 'API call exceeded rate limit'), headers }
  }
  const filter = url.searchParams.get('filter')
  const wanted = filter === null ? null : /^status eq "([A-Z_]+)"$/.exec(filter)?.[1]
  if (wanted === undefined) return refusal(400, 'E0000031', 'Invalid search criteria.')
  const limit = Math.min(Number(url.searchParams.get('limit') ?? 200) || 200, world.pageMax)
  const place = url.searchParams.get('after')
  const from = place === null ? 0 : Number(Buffer.from(place, 'base64url').toString())
  if (place !== null && (!Number.isInteger(from) || world.forgetsPlace())) {
    return refusal(400, 'E0000031', 'Invalid paging request.')
  }
  const people = world
    .all()
    .filter((p) => p.deletedAt === null)
    .filter((p) => (wanted === null ? p.status !== 'DEPROVISIONED' : p.status === wanted))
  const rows = people.slice(from, from + limit)
  const end = world.faults.truncateAfter
  const isCut = end !== null && from + limit >= end * limit
  const link = (target: URL, rel: string) => `<${target.href}>; rel="${rel}"`
  const next = new URL(url)
  next.searchParams.set('after', Buffer.from(String(from + limit)).toString('base64url'))
  const goesOn = from + limit < people.length && !isCut
  return {
    status: 200,
    headers: { link: [link(url, 'self'), ...(goesOn ? [link(next, 'next')] : [])] },
    body: rows.map((person) => userOf(person, url.origin)),
  }
}

function refusal(status: number, errorCode: string, errorSummary: string): Answer {
  return { status, body: { errorCode, errorSummary, errorLink: errorCode, errorCauses: [] } }
}

function userOf(person: WorldPerson, origin: string) {
  const { id, login, email, employeeNumber, managerId, status, changedAt } = person
  return {
    id,
    status,
    created: changedAt,
    statusChanged: changedAt,
    lastUpdated: changedAt,
    profile: {
      login,
      email,
      ...(employeeNumber === null ? {} : { employeeNumber }),
      ...(managerId === null ? {} : { managerId }),
    },
    _links: { self: { href: `${origin}/api/v1/users/${id}` } },
  }
}
