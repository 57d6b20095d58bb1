import { approvalStatuses } from '../../domain/approval.ts'
import { brakeNames } from '../../domain/brake.ts'
import { leaveClasses } from './accounts.ts'
import type { ApiRoutes } from './route.ts'
import { accepted, ok, reason } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
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
  whole,
  words,
} from './schema.ts'

const person = {
  id,
  userName: text,
  displayName: orNull(text),
  externalId: orNull(text),
  directory: text,
  active: flag,
  leftAt: orNull(instant),
  leftCause: said(orNull(text), 'The operation that handles the leaving.'),
  leftClass: orNull(named('LeaveClass')),
  leavesAt: said(orNull(instant), 'The day after which they are gone.'),
  heldBy: said(orNull(id), 'The batch in which the leaving waits for a word.'),
  releasedAt: orNull(instant),
  createdAt: instant,
  updatedAt: instant,
}

const impactRow = record({
  account: id,
  userName: text,
  status: named('AccountStatus'),
  environment: orNull(text),
  decision: words(['none', 'offer', 'disable']),
  rule: said(text, 'What decided so.'),
  graceUntil: orNull(instant),
  offeredTo: orNull(text),
  plannedOffer: orNull(text),
  disableAt: orNull(instant),
  stillCachedBy: list(text),
  lastUsedAt: orNull(instant),
  whenReleased: orNull(record({ decision: text, rule: text })),
  credentials: list(
    record({ id, provider: text, kind: text, status: text, lastUsedAt: orNull(instant) }),
  ),
})

const batch = {
  id,
  kind: words(['leavers']),
  subject: said(text, 'The directory.'),
  status: words(approvalStatuses),
  hash: said(orNull(text), 'Of the frozen plan; what is approved must bear it.'),
  policyVersion: orNull(text),
  facts,
  createdAt: instant,
  frozenAt: orNull(instant),
  closedAt: orNull(instant),
  people: count,
}

const heldPerson = record({
  subject: id,
  userName: orNull(text),
  action: words(['leave']),
  since: instant,
  ageSeconds: count,
  outcome: orNull(words(['approved', 'denied', 'returned', 'declared', 'moot'])),
  reason: orNull(text),
  decidedBy: orNull(text),
  decidedAt: orNull(instant),
  operation: orNull(id),
})

const deciders = ['security', 'admin'] as const
const watchers = ['security', 'auditor', 'admin'] as const

const decision = record({
  hash: said(text, 'Of the plan as it was shown.'),
  'subjects?': said(
    orNull({ type: 'array', items: text, minItems: 1, maxItems: 500 }),
    'Only these; without it all that is undecided.',
  ),
  ...reason,
})

const decided = ok(
  record({
    approval: id,
    status: words(approvalStatuses),
    items: list(
      record({
        subject: id,
        outcome: words(['approved', 'denied', 'moot']),
        operation: orNull(id),
        reason: orNull(text),
      }),
    ),
  }),
)

export const peopleSchemas: Readonly<Record<string, ApiSchema>> = {
  LeaveClass: words(leaveClasses),
  Person: record(person),
  ImpactRow: impactRow,
  Approval: record(batch),
  Brake: record({
    tenant: said(orNull(text), 'Null: of the whole installation.'),
    name: words(brakeNames),
    subject: text,
    since: instant,
    facts,
    stops: said(list(text), 'What does not happen while it is on.'),
  }),
}

export const peopleRoutes: ApiRoutes = {
  'GET /owners': {
    tag: 'owners',
    effect: 'Lists people.',
    roles: 'any',
    answers: ok(page(named('Person'))),
  },
  'GET /owners/:id': {
    tag: 'owners',
    effect: 'One person and the accounts that are theirs.',
    roles: 'any',
    answers: ok(
      record({
        ...person,
        accounts: list(named('Account')),
        hasMore: { ...flag, description: 'There are more: `/accounts?owner=` has all.' },
      }),
    ),
  },
  'GET /owners/:id/impact': {
    tag: 'owners',
    effect: 'What their leaving would do now, account by account.',
    roles: watchers,
    action: 'owner.impact',
    answers: ok(
      record({
        owner: id,
        leavesAt: orNull(instant),
        items: list(named('ImpactRow')),
        cursor: orNull(text),
      }),
    ),
  },
  'POST /owners/:id/leave': {
    tag: 'owners',
    effect: 'Declares that a person has left; never braked.',
    roles: deciders,
    action: 'owner.leave',
    body: record({
      ...reason,
      'since?': said(orNull(instant), 'Since when it is true.'),
      'class?': orNull(words(['declared', 'security'])),
    }),
    isBodyOptional: true,
    answers: accepted,
  },
  'POST /owners/:id/move': {
    tag: 'owners',
    effect: 'Offers all that a person owns to another, or passes it at once.',
    roles: 'any',
    body: record({
      to: {
        anyOf: [text, record({ value: text, 'type?': words(['User', 'Group']) })],
      },
      'atOnce?': orNull(flag),
      ...reason,
      'after?': orNull(text),
    }),
    answers: ok(
      record({
        dryRun: flag,
        items: list(
          record({
            account: id,
            userName: text,
            outcome: words(['passed', 'offered', 'there', 'refused']),
            reason: orNull(text),
          }),
        ),
        cursor: orNull(text),
      }),
    ),
  },
  'POST /leave-dates': {
    tag: 'owners',
    effect: 'Takes over when people leave, from a list; only looks without `apply`.',
    roles: deciders,
    action: 'owner.leave',
    body: record({
      key: words(['userName', 'email', 'externalId', 'employeeNumber']),
      'zone?': orNull(text),
      entries: {
        type: 'array',
        maxItems: 2_000,
        items: record({ line: whole, who: text, date: text }),
      },
      'apply?': orNull(flag),
      'pastToo?': orNull(flag),
    }),
    answers: ok(
      record({
        items: list(
          record({
            line: whole,
            owner: id,
            userName: text,
            before: orNull(instant),
            after: orNull(instant),
            past: flag,
          }),
        ),
      }),
    ),
  },
  'GET /approvals': {
    tag: 'approvals',
    effect: 'Lists held batches.',
    roles: watchers,
    action: 'approval.read',
    query: { status: words(approvalStatuses) },
    answers: ok(page(named('Approval'))),
  },
  'GET /approvals/:id': {
    tag: 'approvals',
    effect: 'One batch with its people; freezes it for whoever may decide.',
    roles: watchers,
    action: 'approval.read',
    answers: ok(record({ ...batch, items: list(heldPerson) })),
  },
  'POST /approvals/:id/approve': {
    tag: 'approvals',
    effect: 'Lets the leavings happen.',
    roles: deciders,
    action: 'approval.decide',
    body: decision,
    answers: decided,
  },
  'POST /approvals/:id/deny': {
    tag: 'approvals',
    effect: 'Says that these people have not left.',
    roles: deciders,
    action: 'approval.decide',
    body: decision,
    answers: decided,
  },
  'GET /brakes': {
    tag: 'approvals',
    effect: 'The brakes that are on.',
    roles: watchers,
    action: 'brake.read',
    answers: ok(page(named('Brake'))),
  },
  'POST /brakes/:name/release': {
    tag: 'approvals',
    effect: 'Lets a brake go.',
    roles: ['admin'],
    action: 'brake.release',
    body: record({ 'subject?': orNull(text), reason: text }),
    answers: ok(record({ released: named('Brake') })),
  },
}
