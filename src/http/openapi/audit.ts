import { shadowActKinds } from '../../domain/shadow.ts'
import type { ApiRoutes } from './route.ts'
import { ok, reason } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
  amount,
  count,
  facts,
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

const date: ApiSchema = { type: 'string', format: 'date' }
const ofKey = { credential: id, account: id, userName: text, provider: text }

const posture = record({
  at: instant,
  accounts: record({
    total: count,
    byStatus: map(count),
    open: count,
    withActiveOwner: count,
    orphaned: count,
    watched: count,
  }),
  coverage: said(
    orNull({ type: 'number', minimum: 0, maximum: 1 }),
    '`withActiveOwner` of `open`; null while nothing is open.',
  ),
  credentials: record({ total: count, byStatus: map(count), byProvider: map(count) }),
  expiring: list(record({ withinDays: count, accounts: count, credentials: count })),
  expired: count,
  expiredStillUp: record({ accounts: count, credentials: count }),
  oldestActiveKeys: list(record({ ...ofKey, issuedAt: instant, ageDays: amount })),
  rotationsOverdue: record({
    count,
    first: list(record({ ...ofKey, rotateAfter: instant, overdueDays: amount })),
  }),
  operations: record({
    queued: count,
    running: count,
    waiting: count,
    needsOperator: count,
    oldestWaiting: orNull(instant),
  }),
  revocations: list(
    record({
      day: date,
      count,
      p50Seconds: orNull(amount),
      p95Seconds: orNull(amount),
      worstSeconds: orNull(amount),
    }),
  ),
  brakes: list(record({ name: text, subject: text, since: instant })),
  approvalsWaiting: count,
  restored: flag,
  leavers: record({ open: count, complete: count }),
  atLeast: said(list(text), 'Figures that stop at a bound: there are at least so many.'),
})

const frameworks = ['owasp-nhi', 'nist-csf', 'soc2', 'pci-dss', 'iso27001']
const verdicts = ['holds', 'partly', 'exceptions', 'notCovered']

export const auditSchemas: Readonly<Record<string, ApiSchema>> = {
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
  Posture: posture,
  EvidenceReport: record({
    framework: words(frameworks),
    at: instant,
    tenant: text,
    policies: record({ lifecycle: text, authorisation: text }),
    audit: said(facts, 'The log that all of it can be traced in, as far as it is signed.'),
    atLeast: list(text),
    summary: record(Object.fromEntries(verdicts.map((verdict) => [verdict, count]))),
    controls: list(
      record({
        control: text,
        title: text,
        claim: said(orNull(text), 'Null where Custody does nothing for it.'),
        figures: map({ type: ['number', 'string', 'null'] }),
        found: list(record({ figure: text, query: text })),
        verdict: words(verdicts),
        exceptions: list(text),
        gaps: list(text),
      }),
    ),
  }),
  UndoItem: record({
    account: id,
    userName: text,
    act: words(['enable', 'withdraw', 'none', 'cannot']),
    why: orNull(text),
    keys: list(record({ credential: id, keyId: orNull(text), same: flag })),
  }),
}

export const auditRoutes: ApiRoutes = {
  'GET /audit': {
    tag: 'audit',
    effect: 'The tamper-evident log.',
    roles: watchers,
    action: 'audit.read',
    query: {
      target: said(text, 'Only about this.'),
      operation: said(text, 'Only of this operation.'),
      action: said(text, 'Only of this action.'),
      order: said(
        words(['seq', 'newest']),
        'seq: by place, from the first to the last. newest: by id, the last one first. Otherwise by id, the first one first.',
      ),
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
  'GET /reports/posture': {
    tag: 'audit',
    effect: 'How accounts and credentials are at this moment.',
    roles: watchers,
    action: 'report.read',
    answers: ok(named('Posture')),
  },
  'GET /reports/expiry': {
    tag: 'audit',
    effect: 'What ends on which day.',
    roles: watchers,
    action: 'report.read',
    query: { from: said(text, 'The first day; today if omitted.'), days: said(count, 'How many.') },
    answers: ok(
      record({
        from: date,
        until: said(date, 'The day after the last.'),
        days: count,
        total: record({ accounts: count, credentials: count }),
        items: list(record({ day: date, accounts: count, credentials: count })),
      }),
    ),
  },
  'GET /reports/evidence': {
    tag: 'audit',
    effect: 'Evidence by the controls of a framework, measured now.',
    roles: watchers,
    action: 'report.read',
    query: { framework: said(words(frameworks), 'Required.') },
    answers: ok(named('EvidenceReport')),
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
}
