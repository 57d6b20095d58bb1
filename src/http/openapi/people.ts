import { approvalStatuses } from '../../domain/approval.ts'
import { brakeNames } from '../../domain/brake.ts'
import { checkListNames } from '../../domain/directory.ts'
import { matchKeys } from '../../domain/directory-move.ts'
import { accepted, leaveClasses, reason } from './accounts.ts'
import type { ApiRoutes } from './route.ts'
import { ok } from './route.ts'
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
  seconds,
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

const known = { id: text, userName: text }
const matchedBy = words(['externalId', 'userName', 'email'])

const heard = list(
  record({
    client: id,
    name: text,
    lastHeardAt: orNull(instant),
    ageSeconds: orNull(amount),
    silent: flag,
  }),
)

const checkHead = {
  directory: text,
  id,
  at: instant,
  complete: flag,
  agreeing: count,
  all: count,
}

const check = record({
  ...checkHead,
  accuracy: said(orNull({ type: 'number', minimum: 0, maximum: 1 }), 'Null when incomplete.'),
  report: record({
    type: text,
    trouble: orNull(text),
    listed: count,
    known: count,
    unsettled: count,
    counts: record(Object.fromEntries(checkListNames.map((name) => [name, count]))),
    lag: orNull(record({ people: count, median: amount, worst: amount })),
    heard,
    missed: list(
      record({ ...known, version: whole, by: matchedBy, since: orNull(instant), deleted: flag }),
    ),
    ghosts: list(record(known)),
    missing: list(record({ ...known, email: orNull(text) })),
    returned: list(record({ ...known, leftAt: orNull(instant), since: orNull(instant) })),
    differences: list(
      record({
        ...known,
        attribute: words(['userName', 'email', 'manager']),
        here: orNull(text),
        there: orNull(text),
      }),
    ),
    ambiguous: list(
      record({ by: matchedBy, here: list(record(known)), there: list(record(known)) }),
    ),
  }),
})

const move = {
  id,
  from: text,
  to: text,
  match: words(matchKeys),
  status: words(['open', 'finished']),
  stage: words(['groups', 'accounts', 'credentials', 'doubles', 'done']),
  facts,
  openedAt: instant,
  openedBy: text,
  finishedAt: orNull(instant),
}

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
  DirectoryCheck: check,
  DirectoryMove: record(move),
}

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

const checkState = record({
  running: orNull(record({ id, startedAt: instant })),
  check: orNull(named('DirectoryCheck')),
})

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
    answers: ok(record({ ...person, accounts: list(named('Account')) })),
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
  'GET /directories': {
    tag: 'directories',
    effect: 'Directories that can be asked, and when they were last.',
    roles: watchers,
    action: 'directory.check',
    answers: ok(
      record({
        items: list(
          record({
            name: text,
            type: text,
            cycleSeconds: seconds,
            lastCheck: orNull(record(checkHead)),
            heard,
          }),
        ),
      }),
    ),
  },
  'GET /directories/:name/check': {
    tag: 'directories',
    effect: 'The last comparison with the directory itself.',
    roles: watchers,
    action: 'directory.check',
    answers: ok(checkState),
  },
  'POST /directories/:name/check': {
    tag: 'directories',
    effect: 'Compares with the directory now.',
    roles: watchers,
    action: 'directory.check',
    query: { wait: said(flag, 'Answers with the result when it comes in time; true if omitted.') },
    answers: {
      ...ok(checkState),
      202: { says: 'It is running; ask for it later.', body: checkState },
    },
    refusals: [502],
  },
  'POST /directories/:name/check/apply': {
    tag: 'directories',
    effect: 'Declares gone whom the check found to have left.',
    roles: deciders,
    action: 'directory.apply',
    body: record({
      check: said(text, 'The check that was reviewed.'),
      'people?': orNull({ type: 'array', items: text, maxItems: 10_000 }),
      ...reason,
      'confirmCount?': orNull(count),
    }),
    answers: ok(
      record({
        directory: text,
        check: id,
        items: list(
          record({
            ...known,
            outcome: words(['left', 'already', 'changed', 'failed']),
            operation: orNull(id),
            error: orNull(text),
          }),
        ),
      }),
    ),
  },
  'POST /directories/moves': {
    tag: 'directories',
    effect: 'Begins the move of people to another directory.',
    roles: ['admin'],
    action: 'directory.move',
    body: record({ from: text, to: text, match: words(matchKeys) }),
    answers: {
      200: {
        says: 'What it would do.',
        body: record({
          from: text,
          to: text,
          match: words(matchKeys),
          people: count,
          groups: count,
          twins: count,
          groupTwins: count,
          ambiguous: list(record({ key: text, people: list(text) })),
          keyless: record({ count, people: list(text) }),
        }),
      },
      201: { says: 'It is open.', body: named('DirectoryMove') },
    },
  },
  'GET /directories/moves': {
    tag: 'directories',
    effect: 'Moves between directories.',
    roles: watchers,
    action: 'report.read',
    answers: ok(page(named('DirectoryMove'))),
  },
  'GET /directories/moves/:id': {
    tag: 'directories',
    effect: 'One move.',
    roles: watchers,
    action: 'report.read',
    answers: ok(named('DirectoryMove')),
  },
  'GET /directories/moves/:id/people': {
    tag: 'directories',
    effect: 'Whom the new directory has recognised, and whom not yet.',
    roles: watchers,
    action: 'report.read',
    query: { state: words(['waiting', 'confirmed', 'merged']) },
    answers: ok(
      page(
        record({
          id,
          key: orNull(text),
          state: words(['waiting', 'confirmed', 'merged']),
          twin: orNull(text),
          oldWordAt: orNull(instant),
        }),
      ),
    ),
  },
  'POST /directories/moves/:id/advance': {
    tag: 'directories',
    effect: 'Carries a move one stretch further.',
    roles: ['admin'],
    action: 'directory.move',
    answers: ok(named('DirectoryMove')),
  },
  'POST /directories/moves/:id/finish': {
    tag: 'directories',
    effect: 'Ends a move.',
    roles: ['admin'],
    action: 'directory.move',
    body: record({ 'force?': orNull(flag) }),
    isBodyOptional: true,
    answers: ok(record({ ...move, waiting: count, waitingOwners: list(text) })),
  },
  'GET /doctor/directory': {
    tag: 'directories',
    effect: 'What is odd about people’s data, and what to do about it.',
    roles: watchers,
    action: 'directory.check',
    answers: ok(
      record({
        items: list(
          record({
            check: words([
              'thin-group',
              'no-manager',
              'many-accounts',
              'silent-connection',
              'name-changed',
              'never-checked',
              'disagreement',
              'attribute-format',
            ]),
            subject: text,
            id: text,
            found: text,
            fix: text,
          }),
        ),
      }),
    ),
  },
}
