import type { Answer, Asked, DirectoryFace } from './face.ts'
import { serveFace } from './face.ts'
import type { DirectoryWorld, WorldPerson } from './world.ts'

export const graphApp = {
  tenantId: '11111111-2222-4333-8444-555555555555',
  clientId: '66666666-7777-4888-8999-000000000000',
  clientSecret: 'sandbox~graph~secret',
} as const

const accessToken = 'sandbox.graph.access'
const binPath = '/v1.0/directory/deletedItems/microsoft.graph.user'

/**
 * Microsoft Graph as far as a reader of people needs it: the token endpoint of Entra ID for client
 * credentials, `users/delta` in pages that end in a `deltaLink`, changes since one with `@removed`,
 * the recycle bin, 410 for a place that is forgotten (https://learn.microsoft.com/graph/api/user-delta).
 */
export function startGraphSandbox(world: DirectoryWorld, port = 0): Promise<DirectoryFace> {
  return serveFace(world, (asked) => answer(world, asked), port)
}

function answer(world: DirectoryWorld, asked: Asked): Answer {
  const { method, url, authorization, body } = asked
  if (url.pathname === `/${graphApp.tenantId}/oauth2/v2.0/token`) return signIn(method, body)
  if (authorization !== `Bearer ${accessToken}`) {
    return refusal(401, 'InvalidAuthenticationToken', 'Access token is empty or invalid.')
  }
  const hindered = world.hinder()
  if (hindered) {
    const { status, headers } = hindered
    return { ...refusal(status, 'TooManyRequests', 'Too many requests.'), headers }
  }
  if (method === 'GET' && url.pathname === '/v1.0/users/delta') return delta(world, url)
  if (method === 'GET' && url.pathname === binPath) return bin(world, url)
  return refusal(404, 'Request_ResourceNotFound', 'Resource not found.')
}

function signIn(method: string, body: string): Answer {
  const form = new URLSearchParams(body)
  const known =
    method === 'POST' &&
    form.get('grant_type') === 'client_credentials' &&
    form.get('client_id') === graphApp.clientId &&
    form.get('client_secret') === graphApp.clientSecret &&
    (form.get('scope') ?? '').endsWith('/.default')
  if (!known) {
    const error_description = 'AADSTS7000215: Invalid client secret provided.'
    return { status: 401, body: { error: 'invalid_client', error_description } }
  }
  const token = { token_type: 'Bearer', expires_in: 3599, access_token: accessToken }
  return { status: 200, body: token }
}

/** What a token holds: where the page begins, what was selected, and since when. */
interface Place {
  readonly from: number
  readonly select: readonly string[]
  readonly since: string | null
}

function delta(world: DirectoryWorld, url: URL): Answer {
  const token = url.searchParams.get('$skiptoken') ?? url.searchParams.get('$deltatoken')
  if (token !== null && world.forgetsPlace()) {
    return refusal(410, 'syncStateNotFound', 'The sync state generation is not found.')
  }
  const place = token === null ? first(url) : placeOf(token)
  if (place === null) return refusal(400, 'BadRequest', 'Badly formed token.')
  const { from, select, since } = place
  const rows =
    since === null
      ? world.all().filter((p) => p.deletedAt === null)
      : world.all().filter((p) => p.changedAt > since)
  const link = (name: string, to: Place) => {
    const target = new URL(url.origin + url.pathname)
    target.searchParams.set(name, Buffer.from(JSON.stringify(to)).toString('base64url'))
    return target.href
  }
  const until = from + world.pageMax
  const cut = world.faults.truncateAfter
  if (cut !== null && until >= cut * world.pageMax && until < rows.length) {
    return { status: 200, body: { value: rows.slice(from, until).map((p) => userOf(p, select)) } }
  }
  const end =
    until < rows.length
      ? { '@odata.nextLink': link('$skiptoken', { from: until, select, since }) }
      : { '@odata.deltaLink': link('$deltatoken', { from: 0, select, since: world.clock.now() }) }
  return {
    status: 200,
    body: {
      '@odata.context': `${url.origin}/v1.0/$metadata#users(${select.join(',')})`,
      ...end,
      value: rows.slice(from, until).map((p) => userOf(p, select)),
    },
  }
}

function first(url: URL): Place {
  const select = (url.searchParams.get('$select') ?? 'displayName').split(',')
  return { from: 0, select, since: null }
}

function placeOf(token: string): Place | null {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString()) as Place
  } catch {
    return null
  }
}

function userOf(person: WorldPerson, select: readonly string[]) {
  if (person.deletedAt !== null) return { id: person.id, '@removed': { reason: 'changed' } }
  const all: Readonly<Record<string, unknown>> = {
    userPrincipalName: person.login,
    mail: person.email,
    employeeId: person.employeeNumber,
    accountEnabled: person.status !== 'DEPROVISIONED' && person.status !== 'SUSPENDED',
  }
  const shown = Object.entries(all).filter(([name]) => select.includes(name))
  const type = '#microsoft.graph.user'
  const manager =
    person.managerId === null || !select.includes('manager')
      ? {}
      : { 'manager@delta': [{ '@odata.type': type, id: person.managerId }] }
  return { id: person.id, ...Object.fromEntries(shown), ...manager }
}

function bin(world: DirectoryWorld, url: URL): Answer {
  const from = Number(url.searchParams.get('$skiptoken') ?? 0)
  const rows = world.all().filter((p) => p.deletedAt !== null)
  const until = from + world.pageMax
  const next = new URL(url)
  next.searchParams.set('$skiptoken', String(until))
  return {
    status: 200,
    body: {
      ...(until < rows.length ? { '@odata.nextLink': next.href } : {}),
      value: rows.slice(from, until).map((p) => ({
        id: p.id,
        userPrincipalName: p.id.replaceAll('-', '') + p.login,
        mail: p.email,
        employeeId: p.employeeNumber,
        deletedDateTime: p.deletedAt,
      })),
    },
  }
}

function refusal(status: number, code: string, message: string): Answer {
  return { status, body: { error: { code, message, innerError: { date: '2026-01-01T00:00:00' } } } }
}
