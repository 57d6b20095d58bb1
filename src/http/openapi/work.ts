import type { ApiRoutes } from './route.ts'
import { accepted, ok } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
  count,
  facts,
  id,
  instant,
  named,
  orNull,
  page,
  record,
  said,
  text,
  words,
} from './schema.ts'

const operationKinds = [
  'issue',
  'rotate',
  'revoke',
  'disable',
  'enable',
  'retire',
  'leave',
  'delete',
  'reconcile',
  'undo',
  'rescope',
  'revertDrift',
  'reload',
  'eject',
]

const operationStatuses = [
  'queued',
  'running',
  'waiting',
  'succeeded',
  'failed',
  'needsOperator',
  'cancelled',
]

const deciders = ['security', 'admin'] as const

export const workSchemas: Readonly<Record<string, ApiSchema>> = {
  OperationStatus: words(operationStatuses),
  Operation: record({
    id,
    kind: words(operationKinds),
    subject: text,
    account: orNull(id),
    cause: said(text, 'One leave, one cause, many operations.'),
    status: named('OperationStatus'),
    step: orNull(text),
    attempt: count,
    runAt: instant,
    createdAt: instant,
    finishedAt: orNull(instant),
    failure: orNull(
      record({
        code: said(text, 'A stable word such as `preempted` or `revokeBlocked`.'),
        message: said(text, 'What happened and what to decide.'),
      }),
    ),
    'result?': said(facts, 'What it found out, of the few that do.'),
  }),
}

export const workRoutes: ApiRoutes = {
  'GET /operations': {
    tag: 'operations',
    effect: 'Lists the journal, newest last.',
    roles: 'any',
    query: {
      subject: said(text, 'Only about this person, account or credential.'),
      status: named('OperationStatus'),
      cause: said(text, 'Only what this event caused.'),
    },
    answers: ok(page(named('Operation'))),
  },
  'GET /operations/:id': {
    tag: 'operations',
    effect: 'One operation.',
    roles: 'any',
    answers: ok(named('Operation')),
  },
  'POST /operations/:id/retry': {
    tag: 'operations',
    effect: 'Tries again what needs an operator.',
    roles: ['requester', 'security', 'admin'],
    action: 'operation.retry',
    answers: accepted,
  },
  'POST /operations/:id/cancel': {
    tag: 'operations',
    effect: 'Gives up what has not finished.',
    roles: deciders,
    action: 'operation.cancel',
    answers: ok(named('Operation')),
  },
  'POST /operations/:id/waive': {
    tag: 'operations',
    effect: 'Answers for a consumer that a rotation waits for.',
    roles: ['owner', 'security', 'admin'],
    action: 'consumer.waive',
    body: record({ consumer: text, reason: text }),
    answers: ok(named('Operation')),
  },
}
