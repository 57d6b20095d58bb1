import type { FastifyInstance } from 'fastify'
import { errors, nearest } from '../domain/errors.ts'
import { isJsonObject } from '../domain/json.ts'
import { isStorableText } from '../domain/text.ts'

interface Accepts {
  readonly query?: readonly string[]
  /** Absent: its fields narrow nothing, so that an unknown one may stay unread. */
  readonly body?: readonly string[]
}

const page = ['cursor', 'limit']
const decision: Accepts = { query: [], body: ['hash', 'subjects', 'reason'] }

/** By route below `/api/v1`. A GET that is not named takes no parameters. */
const accepts: Readonly<Record<string, Accepts>> = {
  'POST /session': { query: [], body: ['token', 'code'] },
  'POST /session/link': { query: [], body: [] },
  'GET /accounts': {
    query: ['owner', 'status', 'q', 'expiresAfter', 'expiresBefore', ...page],
  },
  'GET /credentials': { query: ['account', 'status', ...page] },
  'GET /owners': { query: ['q', ...page] },
  'GET /owners/:id/impact': { query: page },
  'POST /leave-dates': { query: [], body: ['key', 'zone', 'entries', 'apply', 'pastToo'] },
  'GET /transfers': { query: page },
  'GET /operations': { query: ['subject', 'status', 'cause', ...page] },
  'GET /approvals': { query: ['status', ...page] },
  'GET /brakes': { query: page },
  'GET /findings': { query: ['kind', 'provider', 'status', ...page] },
  'GET /providers': { query: page },
  'GET /providers/:name': { query: ['role'] },
  'POST /providers/:name/check': { query: ['role'], body: [] },
  'GET /providers/:name/discovery': { query: ['cursor'] },
  'POST /providers/:name/adopt': {
    query: [],
    body: [
      'entries',
      'external',
      'owner',
      'userName',
      'purpose',
      'kind',
      'environment',
      'labels',
      'vendor',
      'expiresAt',
      'deliverTo',
    ],
  },
  'GET /vendors': { query: page },
  'POST /vendors/:name/close': { query: ['dryRun'], body: ['reason'] },
  'GET /tasks': { query: ['status', 'assignee', 'account', ...page] },
  'POST /tasks/:id/evidence': {
    query: [],
    body: ['note', 'name', 'contentType', 'sha256', 'content', 'removed'],
  },
  'POST /tasks/:id/reopen': { query: [], body: ['reason'] },
  'GET /consumers': { query: ['account', ...page] },
  'POST /consumers/:id/seen': { query: [], body: ['credential', 'generation'] },
  'POST /credentials/:id/rehearse': { query: [], body: [] },
  'POST /consumers/hook-secret': { query: [], body: [] },
  'POST /operations/:id/waive': { query: [], body: ['consumer', 'reason'] },
  'GET /reports/evidence': { query: ['framework'] },
  'GET /reports/expiry': { query: ['from', 'days'] },
  'GET /reports/shadow': { query: ['days', ...page] },
  'GET /audit': { query: ['target', 'operation', 'action', 'order', ...page] },
  'GET /audit/checkpoint': { query: ['size'] },
  'GET /audit/consistency': { query: ['from', 'to'] },
  'GET /events': { query: ['after', 'cursor', 'limit'] },
  'POST /directories/:name/check': { query: ['wait'], body: [] },
  'POST /directories/:name/check/apply': {
    query: [],
    body: ['check', 'people', 'reason', 'confirmCount'],
  },
  'GET /clients': { query: page },
  'GET /scim-requests': { query: ['client', 'status', ...page] },
  'POST /events/:id/undo': { query: ['dryRun'], body: ['reason'] },
  'POST /accounts/:id/eject': { query: ['dryRun'], body: ['reason', 'includeTokens'] },
  'POST /owners/:id/move': {
    query: ['dryRun'],
    body: ['to', 'atOnce', 'reason', 'after'],
  },
  'POST /directories/moves': { query: ['dryRun'], body: ['from', 'to', 'match'] },
  'GET /directories/moves/:id/people': { query: ['cursor', 'limit', 'state'] },
  'POST /directories/moves/:id/finish': { query: [], body: ['force'] },
  'GET /scim-requests/failed': { query: ['client', 'state', ...page] },
  'POST /scim-requests/failed/:id/replay': { query: ['dryRun'], body: ['force'] },
  'POST /scim-requests/failed/replay': {
    query: ['dryRun'],
    body: ['client', 'after', 'force'],
  },
  'POST /scim-requests/failed/:id/sign-off': { query: [], body: ['reason'] },
  'POST /sweeps/:name': { query: ['dryRun', 'full'] },
  'POST /accounts/:id/certify': { query: ['extend'], body: ['extend', 'reason'] },
  'POST /accounts/:id/transfer': { query: [], body: ['owner', 'atOnce', 'reason'] },
  'POST /accounts/:id/backup/accept': { query: [], body: ['backup'] },
  'POST /approvals/:id/approve': decision,
  'POST /approvals/:id/deny': decision,
  'POST /brakes/:name/release': { query: [], body: ['subject', 'reason'] },
  // The body is checked where a refusal cannot repeat a part of it.
  'POST /leaks': { query: [] },
  'POST /findings/:id/accept': { query: [], body: ['reason', 'until'] },
  'POST /findings/:id/adopt': { query: [], body: ['reason'] },
  'POST /findings/:id/revert': { query: [], body: ['reason'] },
  'GET /exceptions': { query: page },
  'POST /exceptions': { query: [], body: ['finding', 'reason', 'until'] },
  'POST /clients': {
    query: [],
    body: ['name', 'role', 'dialect', 'tenant', 'directory', 'person'],
  },
}

/**
 * Refuses what a route does not know: `subject` instead of `subjects` would approve the leaving of
 * everybody, and a misspelt filter would list everything as if it matched.
 */
export function refuseUnknown(api: FastifyInstance, prefix: string): void {
  api.addHook('preHandler', (request, _reply, done) => {
    const { method, routeOptions } = request
    const verb = method === 'HEAD' ? 'GET' : method
    const known = accepts[`${verb} ${routeOptions.url?.slice(prefix.length)}`]
    const query = known?.query ?? (verb === 'GET' ? [] : null)
    done(
      unknownIn(request.query, query, 'parameter') ??
        noObjectIn(request.body, known?.body) ??
        unknownIn(request.body, known?.body, 'field') ??
        unstorableIn(request.query) ??
        unstorableIn(request.params),
    )
  })
}

/** SQLite looks for a NUL and finds nothing; PostgreSQL refuses the statement, which would be a 500. */
function unstorableIn(sent: unknown): Error | undefined {
  if (!isJsonObject(sent)) return undefined
  // What a cursor is, whoever made it says.
  const odd = Object.entries(sent).find(
    ([name, v]) => name !== 'cursor' && typeof v === 'string' && !isStorableText(v),
  )
  if (odd === undefined) return undefined
  const reason = 'holds a NUL, or half a character, which no database keeps.'
  return errors.invalidValue({ path: odd[0], reason })
}

/** A list with the right fields in it would count as no fields at all. */
function noObjectIn(sent: unknown, known: readonly string[] | undefined): Error | undefined {
  if (!known || sent === undefined || sent === null || isJsonObject(sent)) return undefined
  const wanted = known.length === 0 ? 'empty' : `with ${known.join(', ')}`
  return errors.invalidSyntax({ reason: `The body must be one JSON object, ${wanted}.` })
}

const shown = 64

function unknownIn(
  sent: unknown,
  known: readonly string[] | null | undefined,
  what: 'parameter' | 'field',
): Error | undefined {
  if (!known || !isJsonObject(sent)) return undefined
  const name = Object.keys(sent).find((n) => !known.includes(n))
  if (name === undefined) return undefined
  const close = nearest(name.slice(0, shown), known)
  const all = known.length === 0 ? 'there is none' : `there are ${known.join(', ')}`
  const hint = close === null ? all : `did you mean "${close}"?`
  const reason = `is no ${what} here; ${hint}${close === null ? '.' : ''}`
  return errors.invalidValue({ path: name.slice(0, shown), reason })
}
