import { dialects, roles } from '../../domain/client.ts'
import { failedRequestStates } from '../../domain/failed-request.ts'
import { shadowActKinds } from '../../domain/shadow.ts'
import { reason } from './accounts.ts'
import type { ApiRoutes } from './route.ts'
import { gone, ok } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
  amount,
  count,
  facts,
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

const actor = record({
  type: words(['client', 'system', 'sweep', 'cli']),
  id: text,
  name: text,
})

/** What cannot be read any more is shown all the same: somebody tampered with it. */
const unreadable = record({ unreadable: text })

const auditRow = {
  tenant: text,
  id: text,
  at: instant,
  actor: { anyOf: [actor, unreadable] },
  action: said(text, '`<noun>.<verb>`'),
  targetType: text,
  target: text,
  decision: orNull({
    anyOf: [record({ effect: words(['permit', 'forbid']), reasons: list(text) }), unreadable],
  }),
  operation: orNull(id),
  facts,
}

const place = said(orNull(count), 'Its place in the tree; null until it has one.')

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

const byHand = record({
  task: id,
  status: words(['open', 'done', 'cancelled']),
  assignee: orNull(text),
  dueAt: instant,
  overdue: flag,
  note: orNull(text),
  sha256: orNull(text),
  doneAt: orNull(instant),
  doneBy: orNull(text),
})

const offboardingKey = record({
  credential: id,
  account: id,
  userName: text,
  provider: text,
  kind: text,
  generation: count,
  keyId: text,
  receivedAt: instant,
  acceptedAt: orNull(instant),
  switchedOffAt: orNull(instant),
  refusedAt: orNull(instant),
  settledAt: orNull(instant),
  outcome: orNull(named('ProbeOutcome')),
  tries: orNull(count),
  switchedOffSeconds: orNull(amount),
  provenDeadSeconds: orNull(amount),
  byHand: orNull(byHand),
})

export const recordSchemas: Readonly<Record<string, ApiSchema>> = {
  AuditEntry: record({ seq: place, leaf: said(text, 'SHA-256 of its leaf.'), ...auditRow }),
  Event: record({
    id: text,
    seq: place,
    at: instant,
    type: text,
    subject: record({ type: text, id: text }),
    actor: { anyOf: [actor, unreadable] },
    operation: orNull(id),
    facts,
  }),
  OffboardingReport: record({
    owner: id,
    userName: text,
    receivedAt: orNull(instant),
    leftClass: orNull(named('LeaveClass')),
    notices: list(record({ class: named('LeaveClass'), at: instant })),
    signal: orNull(record({ receivedAt: instant, sentAt: instant, ageSeconds: amount })),
    heldBy: orNull(id),
    releasedAt: orNull(instant),
    keys: list(offboardingKey),
    removals: list(record({ provider: text, lines: list(text), done: flag, reason: orNull(text) })),
    handedBack: list(record({ account: id, userName: text, at: orNull(instant) })),
    open: said(count, 'Keys that are not proven dead.'),
    verdict: words(['complete', 'incomplete', 'notLeft', 'held']),
  }),
  Client: record(client),
  FailedRequest: record(failedRequest),
  Rerun: record({
    id,
    status: count,
    scimType: orNull(text),
    detail: orNull(text),
    operations: list(record({ id: orNull(id), kind: text })),
    overtaken: flag,
  }),
  UndoItem: record({
    account: id,
    userName: text,
    act: words(['enable', 'withdraw', 'none', 'cannot']),
    why: orNull(text),
    keys: list(record({ credential: id, keyId: orNull(text), same: flag })),
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

const watchers = ['security', 'auditor', 'admin'] as const
const deciders = ['security', 'admin'] as const
const hashes = list(text)

const undone = record({
  dryRun: flag,
  causes: list(record({ cause: text, kind: text, person: orNull(record({ id, userName: text })) })),
  accounts: count,
  sameKeys: count,
  newKeys: count,
  cannot: list(named('UndoItem')),
  items: list(named('UndoItem')),
  operations: list(named('Operation')),
})

const sweepRow = {
  anyOf: [
    record({ act: text, tenant: text, id: text, rule: text }),
    record({ act: text, id: text, operations: list(id), error: orNull(text) }),
  ],
}

export const recordRoutes: ApiRoutes = {
  'GET /audit': {
    tag: 'audit',
    effect: 'The tamper-evident log.',
    roles: watchers,
    action: 'audit.read',
    query: {
      target: said(text, 'Only about this.'),
      operation: said(text, 'Only of this operation.'),
      action: said(text, 'Only of this action.'),
      order: said(words(['seq']), 'By place, from the first to the last.'),
    },
    answers: ok(page(named('AuditEntry'))),
  },
  'GET /audit/checkpoint': {
    tag: 'audit',
    effect: 'The newest signed checkpoint (C2SP tlog-checkpoint).',
    roles: watchers,
    action: 'audit.read',
    refusals: [404],
    query: { size: said(count, 'One that covers at least so many rows.') },
    answers: {
      200: {
        says: 'A signed note.',
        body: text,
        type: 'text/plain',
        headers: ['Custody-Audit-Key'],
      },
    },
  },
  'GET /audit/proof/:id': {
    tag: 'audit',
    effect: 'Proof that a row is in the log.',
    roles: watchers,
    action: 'audit.read',
    answers: ok(
      record({
        id: text,
        seq: count,
        leaf: text,
        size: count,
        path: hashes,
        checkpoint: text,
        row: record(auditRow),
      }),
    ),
  },
  'GET /audit/consistency': {
    tag: 'audit',
    effect: 'Proof that one state of the log contains another.',
    roles: watchers,
    action: 'audit.read',
    refusals: [404],
    query: { from: said(count, 'Size of the older one.'), to: said(count, 'Of the newer one.') },
    answers: ok(record({ from: count, to: count, path: hashes, checkpoint: text })),
  },
  'GET /events': {
    tag: 'audit',
    effect: 'Everything that happened, in one order.',
    roles: watchers,
    action: 'audit.read',
    query: {
      after: said(text, 'The cursor of the page before.'),
      cursor: { ...text, deprecated: true, description: 'Refused: it is called `after` here.' },
    },
    answers: ok(
      record({
        items: list(named('Event')),
        cursor: orNull(text),
        more: flag,
        newest: orNull(count),
      }),
    ),
  },
  'GET /stream': {
    tag: 'audit',
    effect: 'The same as it happens, as server-sent events.',
    roles: 'any',
    answers: {
      200: {
        says: 'Events `hello`, `changes`, `reset` and `over`; ends only with the connection.',
        body: text,
        type: 'text/event-stream',
      },
    },
  },
  'POST /events/:id/undo': {
    tag: 'audit',
    effect: 'Takes back what one event did, within the hold.',
    roles: deciders,
    action: 'event.undo',
    body: record(reason),
    isBodyOptional: true,
    answers: {
      200: { says: 'The plan, or there is nothing to take back.', body: undone },
      202: { says: 'It is being taken back.', body: undone, headers: ['Custody-Operation'] },
    },
  },
  'GET /reports/offboarding/:id': {
    tag: 'audit',
    effect: 'What became of every key that a leaver may have known.',
    roles: watchers,
    action: 'report.read',
    answers: ok(named('OffboardingReport')),
  },
  'GET /reports/shadow': {
    tag: 'audit',
    effect: 'What enforcing would have done.',
    roles: watchers,
    action: 'report.read',
    query: { days: said(count, 'How far back.') },
    answers: ok(
      record({
        days: count,
        from: instant,
        until: instant,
        counts: record(
          Object.fromEntries(
            shadowActKinds.map((act) => [act, record({ acts: count, accounts: count })]),
          ),
        ),
        summary: list(text),
        items: list(
          record({
            id,
            at: instant,
            act: words(shadowActKinds),
            rule: text,
            account: id,
            userName: text,
            owner: text,
            credential: orNull(id),
            cause: text,
            facts,
          }),
        ),
        cursor: orNull(text),
      }),
    ),
  },
  'POST /sweeps/:name': {
    tag: 'operations',
    effect: 'Runs a sweep now, or shows what it would do.',
    roles: deciders,
    action: 'sweep.run',
    query: { full: said(flag, 'Looks at every account, not at recent changes only.') },
    parameters: { name: words(['orphans', 'expiry', 'rotation', 'reconcile']) },
    answers: ok(
      record({
        sweep: words(['orphans', 'expiry', 'rotation', 'reconcile']),
        dryRun: flag,
        items: list(sweepRow),
      }),
    ),
  },
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
    effect: 'Logs in to the console with a client token.',
    roles: 'public',
    body: record({ token: text }),
    answers: { 200: { says: 'Logged in.', body: named('Session'), headers: ['Set-Cookie'] } },
    refusals: [401, 403],
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
