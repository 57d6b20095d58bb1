import { checkListNames } from '../../domain/directory.ts'
import { matchKeys } from '../../domain/directory-move.ts'
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

const deciders = ['security', 'admin'] as const
const watchers = ['security', 'auditor', 'admin'] as const

const checkState = record({
  running: orNull(record({ id, startedAt: instant })),
  check: orNull(named('DirectoryCheck')),
})

export const directorySchemas: Readonly<Record<string, ApiSchema>> = {
  DirectoryCheck: check,
  DirectoryMove: record(move),
}

export const directoryRoutes: ApiRoutes = {
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
