import { dialects, roles } from '../../domain/client.ts'
import { failedRequestStates } from '../../domain/failed-request.ts'
import type { ApiRoutes } from './route.ts'
import { gone, ok } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
  amount,
  count,
  flag,
  id,
  instant,
  list,
  named,
  orNull,
  page,
  record,
  said,
  text,
  words,
} from './schema.ts'

const client = {
  id,
  name: text,
  role: words(roles),
  dialect: words(dialects),
  directory: orNull(text),
  person: orNull(id),
  createdAt: instant,
  revokedAt: orNull(instant),
}

const failedRequest = {
  id,
  client: id,
  method: text,
  route: text,
  target: orNull(text),
  firstAt: instant,
  lastAt: instant,
  times: count,
  status: count,
  error: orNull(text),
  scimType: orNull(text),
  obstacle: said(orNull(text), 'Why it cannot be run again; null = it can.'),
  state: words(failedRequestStates),
  decidedAt: orNull(instant),
  decidedBy: orNull(text),
  note: orNull(text),
  replayable: flag,
}

const watchers = ['security', 'auditor', 'admin'] as const
const deciders = ['security', 'admin'] as const
export const administrationSchemas: Readonly<Record<string, ApiSchema>> = {
  FailedRequest: record(failedRequest),
  Rerun: record({
    id,
    status: count,
    scimType: orNull(text),
    detail: orNull(text),
    operations: list(record({ id: orNull(id), kind: text })),
    overtaken: flag,
  }),
  Session: record({
    client: orNull(record({ id, name: text, role: words(roles), person: orNull(id) })),
    tenant: orNull(text),
    expiresAt: orNull(instant),
    now: instant,
    version: orNull(text),
    demo: flag,
  }),
}

export const administrationRoutes: ApiRoutes = {
  'GET /clients': {
    tag: 'administration',
    effect: 'Who may call Custody.',
    roles: watchers,
    action: 'client.read',
    answers: ok(
      page(
        record({
          ...client,
          tokens: list(
            record({
              id: text,
              createdAt: instant,
              expiresAt: orNull(instant),
              lastUsedAt: orNull(instant),
              revokedAt: orNull(instant),
            }),
          ),
        }),
      ),
    ),
  },
  'POST /clients': {
    tag: 'administration',
    effect: 'Makes a client; its token is shown once.',
    roles: ['admin'],
    action: 'client.create',
    body: record({
      name: text,
      role: words(roles),
      'dialect?': orNull(words(dialects)),
      'tenant?': orNull(text),
      'directory?': orNull(text),
      'person?': orNull(text),
    }),
    answers: {
      201: { says: 'The client and its token.', body: record({ ...client, token: text }) },
    },
  },
  'DELETE /clients/:id': {
    tag: 'administration',
    effect: 'Ends a client and its tokens.',
    roles: ['admin'],
    action: 'client.revoke',
    answers: gone,
  },
  'GET /clients/:id/attributes': {
    tag: 'administration',
    effect: 'What a connection really sends, and what becomes of it.',
    roles: watchers,
    action: 'audit.read',
    answers: ok(
      record({
        client: record({ id, name: text, dialect: words(dialects) }),
        attributes: list(
          record({
            resource: text,
            path: text,
            expected: orNull(text),
            forms: list(
              record({
                form: text,
                treatment: words(['accepted', 'repaired', 'ignored', 'refused']),
                count,
                firstAt: instant,
                lastAt: instant,
                operation: text,
              }),
            ),
          }),
        ),
        neverSent: list(record({ resource: text, path: text, why: text })),
      }),
    ),
  },
  'GET /scim-requests': {
    tag: 'administration',
    effect: 'What clients sent to SCIM and got; masked, for 30 days.',
    roles: watchers,
    action: 'audit.read',
    query: {
      client: said(text, 'Only of this client.'),
      status: said(text, 'An HTTP status, or `failed`.'),
    },
    answers: ok(
      page(
        record({
          id,
          client: id,
          at: instant,
          method: text,
          route: text,
          target: orNull(text),
          query: orNull(text),
          agent: orNull(text),
          status: count,
          error: orNull(text),
          scimType: orNull(text),
          body: orNull(text),
          milliseconds: amount,
        }),
      ),
    ),
  },
  'GET /scim-requests/failed': {
    tag: 'administration',
    effect: 'Writes that were refused or failed, until somebody dealt with them.',
    roles: watchers,
    action: 'audit.read',
    query: {
      client: said(text, 'Only of this client.'),
      state: said(words(failedRequestStates), 'Open ones if omitted.'),
    },
    answers: ok(page(named('FailedRequest'))),
  },
  'GET /scim-requests/failed/:id': {
    tag: 'administration',
    effect: 'One of them, with its masked body.',
    roles: watchers,
    action: 'audit.read',
    answers: ok(record({ ...failedRequest, body: orNull(text) })),
  },
  'POST /scim-requests/failed/:id/replay': {
    tag: 'administration',
    effect: 'Runs it again, as the client that sent it.',
    roles: deciders,
    action: 'scimRequest.replay',
    body: record({ 'force?': said(orNull(flag), 'Although it was overtaken.') }),
    isBodyOptional: true,
    answers: ok(named('Rerun')),
  },
  'POST /scim-requests/failed/replay': {
    tag: 'administration',
    effect: 'Runs again what failed of one client.',
    roles: deciders,
    action: 'scimRequest.replay',
    body: record({ client: text, 'after?': orNull(text), 'force?': orNull(flag) }),
    answers: ok(
      record({
        accepted: count,
        refused: count,
        items: list(named('Rerun')),
        cursor: orNull(text),
      }),
    ),
  },
  'POST /scim-requests/failed/:id/sign-off': {
    tag: 'administration',
    effect: 'Says why it may rest.',
    roles: deciders,
    action: 'scimRequest.signOff',
    body: record({ reason: text }),
    answers: ok(named('FailedRequest')),
  },
  'GET /replicas': {
    tag: 'administration',
    effect: 'The processes on this database.',
    roles: ['auditor', 'admin'],
    answers: ok(
      page(
        record({
          id: text,
          version: text,
          roles: list(text),
          policy: text,
          startedAt: instant,
          seenAt: instant,
          clockOffset: amount,
          live: flag,
          sequences: flag,
        }),
      ),
    ),
  },
  'POST /seal/rotate': {
    tag: 'administration',
    effect: 'Seals kept secrets under a new key.',
    roles: ['admin'],
    action: 'seal.rotate',
    body: record({ reason: text }),
    answers: ok(record({ wrapped: count })),
  },
  'POST /session': {
    tag: 'administration',
    effect: 'Logs in to the console with a client token, or with the code of a link.',
    roles: 'public',
    body: record({ 'token?': orNull(text), 'code?': orNull(text) }),
    answers: { 200: { says: 'Logged in.', body: named('Session'), headers: ['Set-Cookie'] } },
    refusals: [401, 403],
  },
  'POST /session/link': {
    tag: 'administration',
    effect: 'A link that logs in to the console once; made with a client token only.',
    roles: 'any',
    answers: { 201: { says: 'The link.', body: record({ url: text, expiresAt: instant }) } },
  },
  'GET /session': {
    tag: 'administration',
    effect: 'Who is logged in; nobody is an answer, too.',
    roles: 'public',
    answers: { 200: { says: 'The session.', body: named('Session'), headers: ['Set-Cookie'] } },
    refusals: [401],
  },
  'DELETE /session': {
    tag: 'administration',
    effect: 'Logs out.',
    roles: 'public',
    answers: { 204: { says: 'Logged out.', body: null, headers: ['Set-Cookie'] } },
  },
}
