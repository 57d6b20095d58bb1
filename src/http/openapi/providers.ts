import { taskStatuses } from '../../domain/task.ts'
import type { ApiRoutes } from './route.ts'
import { ok } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
  amount,
  count,
  flag,
  id,
  instant,
  list,
  map,
  named,
  orNull,
  page,
  record,
  said,
  seconds,
  text,
  words,
} from './schema.ts'

const kindAbilities = record({
  kind: named('CredentialKind'),
  canCreate: flag,
  canRevoke: flag,
  canList: flag,
  maxLive: orNull(count),
  canDisable: flag,
  canRescope: { enum: [false, 'inPlace', 'newKey', 'nextLease'] },
  canProbe: flag,
  canLastUsed: flag,
  lastUsedLag: seconds,
  mint: words(['server', 'client', 'none']),
  lease: orNull(record({ lifetime: seconds, renewBefore: seconds })),
  keepsSecret: flag,
  'attested?': flag,
  settleMin: seconds,
  settleMax: seconds,
  quota: orNull(record({ calls: amount, per: seconds })),
  probe: record({ count, every: seconds }),
  cannot: list(text),
})

const role = words(['provider', 'sink'])

const vendorItem = record({
  account: id,
  userName: text,
  status: named('AccountStatus'),
  act: words(['retire', 'askAnother', 'none']),
  operation: orNull(id),
  byHand: count,
})

const watchers = ['security', 'auditor', 'admin'] as const
const deciders = ['security', 'admin'] as const

const switched = ok(
  record({ name: text, type: text, state: words(['suspended', 'resumed']), at: instant }),
)

/** What is said of one thing that is to be adopted; alone as the body itself. */
const adoption = {
  owner: text,
  'userName?': orNull(text),
  purpose: text,
  'kind?': orNull(words(['serviceAccount', 'workload', 'agent', 'bot'])),
  'environment?': orNull(text),
  'labels?': orNull(list(text)),
  'vendor?': orNull(text),
  'expiresAt?': orNull(instant),
  'deliverTo?': orNull({
    anyOf: [text, record({ sink: text, 'path?': text })],
  }),
}

export const providerSchemas: Readonly<Record<string, ApiSchema>> = {
  Provider: record({
    name: text,
    type: text,
    role,
    kinds: list(kindAbilities),
    can: map(flag),
    gate: orNull(
      record({
        state: words(['open', 'slowed', 'resting']),
        restsUntil: orNull(instant),
        callsPerSecond: orNull(amount),
        waiting: count,
      }),
    ),
  }),
  FoundThing: record({
    external: text,
    name: text,
    kind: named('CredentialKind'),
    createdAt: orNull(instant),
    vendor: orNull(text),
    obstacle: said(orNull(text), 'Why it cannot be adopted; null = it can.'),
    lastUsedAt: orNull(instant),
    keys: list(
      record({
        keyId: text,
        kind: text,
        active: flag,
        createdAt: orNull(instant),
        lastUsedAt: orNull(instant),
      }),
    ),
    managed: flag,
    account: orNull(id),
    owners: list(record({ id, userName: text, active: flag, reason: text })),
    notes: list(text),
  }),
  Task: record({
    id,
    provider: text,
    account: id,
    credential: orNull(id),
    keyId: text,
    action: words(['create', 'disable', 'enable', 'remove', 'decide']),
    status: words(taskStatuses),
    assignee: orNull(text),
    instructions: text,
    dueAt: instant,
    operation: orNull(id),
    createdAt: instant,
    updatedAt: instant,
    doneAt: orNull(instant),
    doneBy: orNull(text),
    note: orNull(text),
    removed: flag,
    evidence: orNull(
      record({ sha256: text, bytes: count, name: orNull(text), contentType: orNull(text) }),
    ),
    overdue: flag,
  }),
  VendorClosing: record({
    vendor: text,
    dryRun: flag,
    cause: orNull(id),
    closed: count,
    byHand: count,
    items: list(vendorItem),
  }),
}

export const providerRoutes: ApiRoutes = {
  'GET /providers': {
    tag: 'providers',
    effect: 'Providers and sinks, and what they can do.',
    roles: watchers,
    action: 'provider.read',
    answers: ok(page(named('Provider'))),
  },
  'GET /providers/:name': {
    tag: 'providers',
    effect: 'One provider or sink.',
    roles: watchers,
    action: 'provider.read',
    answers: ok(named('Provider')),
  },
  'POST /providers/:name/check': {
    tag: 'providers',
    effect: 'Has it try what it was configured with; changes nothing.',
    roles: watchers,
    action: 'provider.check',
    answers: ok(
      record({
        name: text,
        type: text,
        role,
        checkedAt: instant,
        state: words(['ok', 'failed', 'unknown']),
        findings: list(
          record({
            name: text,
            state: words(['ok', 'failed', 'unknown']),
            message: text,
            remedy: orNull(text),
          }),
        ),
        leastPolicy: said(orNull(text), 'The least that has to be granted there.'),
      }),
    ),
  },
  'GET /providers/:name/discovery': {
    tag: 'providers',
    effect: 'What is there that somebody made.',
    roles: watchers,
    action: 'provider.discover',
    query: { cursor: said(text, 'Of the page before.') },
    answers: ok(
      record({
        provider: text,
        items: list(named('FoundThing')),
        cursor: orNull(text),
        complete: flag,
        total: orNull(count),
        retryAfter: orNull(seconds),
      }),
    ),
    refusals: [502],
  },
  'POST /providers/:name/adopt': {
    tag: 'providers',
    effect: 'Puts what was found under an owner and an end date.',
    roles: deciders,
    action: 'provider.adopt',
    body: {
      anyOf: [
        record({ external: text, ...adoption }),
        record({
          entries: {
            type: 'array',
            minItems: 1,
            maxItems: 20,
            items: record({ external: text, ...adoption }),
          },
        }),
      ],
    },
    answers: ok(
      record({
        provider: text,
        items: list(
          record({
            external: text,
            status: words(['adopted', 'already', 'later', 'failed']),
            account: orNull(id),
            credentials: list(id),
            error: orNull(record({ code: text, message: text })),
            retryAfter: orNull(seconds),
          }),
        ),
      }),
    ),
    refusals: [502],
  },
  'POST /providers/:name/suspend': {
    tag: 'providers',
    effect: 'The kill switch: nothing that Custody made works there any more.',
    roles: deciders,
    action: 'provider.suspend',
    body: record({ reason: text }),
    answers: switched,
    refusals: [501, 502],
  },
  'POST /providers/:name/resume': {
    tag: 'providers',
    effect: 'Takes the kill switch back.',
    roles: deciders,
    action: 'provider.resume',
    body: record({ reason: text }),
    answers: switched,
    refusals: [501, 502],
  },
  'GET /vendors': {
    tag: 'providers',
    effect: 'Companies behind accounts, by the label `vendor=`.',
    roles: watchers,
    action: 'report.read',
    answers: ok(page(record({ vendor: text, accounts: count }))),
  },
  'GET /vendors/:name': {
    tag: 'providers',
    effect: 'What one company still has.',
    roles: watchers,
    action: 'report.read',
    answers: ok(
      record({
        vendor: text,
        verdict: words(['open', 'incomplete', 'complete']),
        open: count,
        accounts: list(
          record({
            account: id,
            userName: text,
            status: named('AccountStatus'),
            statusReason: orNull(named('StatusReason')),
            owner: named('Owner'),
            keys: count,
            open: count,
            tasks: list(
              record({
                task: id,
                keyId: text,
                assignee: orNull(text),
                dueAt: instant,
                overdue: flag,
                instructions: text,
              }),
            ),
          }),
        ),
      }),
    ),
  },
  'POST /vendors/:name/close': {
    tag: 'providers',
    effect: 'Retires everything of one company.',
    roles: deciders,
    action: 'vendor.close',
    body: record({ reason: text }),
    answers: {
      200: { says: 'The plan, or nothing was left to close.', body: named('VendorClosing') },
      202: { says: 'It is being closed.', body: named('VendorClosing') },
    },
  },
  'GET /tasks': {
    tag: 'providers',
    effect: 'What only people can do.',
    roles: 'any',
    query: {
      status: words(taskStatuses),
      assignee: said(text, 'Only of this person.'),
      account: said(text, 'Only about this account.'),
    },
    answers: ok(page(named('Task'))),
  },
  'GET /tasks/:id': {
    tag: 'providers',
    effect: 'One task.',
    roles: 'any',
    answers: ok(named('Task')),
  },
  'POST /tasks/:id/evidence': {
    tag: 'providers',
    effect: 'Shows that a task is done.',
    roles: ['owner', 'security', 'admin'],
    action: 'task.evidence',
    body: record({
      'note?': orNull(text),
      'name?': orNull(text),
      'contentType?': orNull(text),
      'sha256?': orNull(text),
      'content?': said(orNull(text), 'Base64 of at most 256 KiB.'),
      'removed?': said(orNull(flag), 'It is gone for good, not only off.'),
    }),
    answers: ok(named('Task')),
  },
  'GET /tasks/:id/evidence': {
    tag: 'providers',
    effect: 'The bytes that were shown.',
    roles: 'any',
    answers: {
      200: {
        says: 'The bytes, as a download.',
        body: text,
        type: 'application/octet-stream',
        headers: ['Content-Disposition'],
      },
    },
  },
  'POST /tasks/:id/reopen': {
    tag: 'providers',
    effect: 'Opens it again: what was shown is not good enough.',
    roles: deciders,
    action: 'task.reopen',
    body: record({ reason: text }),
    answers: ok(named('Task')),
  },
}
