import { findingKinds, findingStatuses } from '../../domain/finding.ts'
import type { ApiRoutes } from './route.ts'
import { gone, ok } from './route.ts'
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
  words,
} from './schema.ts'

const finding = {
  id,
  kind: words(findingKinds),
  provider: text,
  subject: text,
  account: orNull(id),
  credential: orNull(id),
  keyId: orNull(text),
  facts,
  status: words(findingStatuses),
  firstSeenAt: instant,
  lastSeenAt: instant,
  resolvedAt: orNull(instant),
  acceptance: orNull(record({ by: text, at: instant, reason: text, until: instant })),
  operation: said(text, 'The reconciliation that saw it last, or what puts it back.'),
}

const deciders = ['security', 'admin'] as const

export const findingSchemas: Readonly<Record<string, ApiSchema>> = {
  Finding: record(finding),
  Exception: record({
    id,
    finding: id,
    kind: words(findingKinds),
    provider: text,
    subject: text,
    account: orNull(id),
    credential: orNull(id),
    keyId: orNull(text),
    facts,
    owner: orNull(text),
    reason: orNull(text),
    approver: orNull(text),
    since: orNull(instant),
    until: orNull(instant),
  }),
}

export const findingRoutes: ApiRoutes = {
  'GET /findings': {
    tag: 'findings',
    effect: 'Where providers and journal disagree.',
    roles: 'any',
    query: {
      kind: words(findingKinds),
      provider: said(text, 'Only at this provider.'),
      status: words(findingStatuses),
    },
    answers: ok(page(named('Finding'))),
  },
  'GET /findings/:id': {
    tag: 'findings',
    effect: 'One finding.',
    roles: 'any',
    answers: ok(named('Finding')),
  },
  'POST /findings/:id/accept': {
    tag: 'findings',
    effect: 'Lets it be until a date.',
    roles: deciders,
    action: 'finding.accept',
    body: record({ reason: text, until: instant }),
    answers: ok(named('Finding')),
  },
  'POST /findings/:id/adopt': {
    tag: 'findings',
    effect: 'Takes the rights that were found over as granted.',
    roles: deciders,
    action: 'finding.adopt',
    body: record({ reason: text }),
    answers: ok(named('Finding')),
  },
  'POST /findings/:id/revert': {
    tag: 'findings',
    effect: 'Puts the rights back to what was granted.',
    roles: deciders,
    action: 'finding.revert',
    body: record({ reason: text }),
    answers: { 202: { says: 'Accepted; `operation` does it.', body: named('Finding') } },
  },
  'GET /exceptions': {
    tag: 'findings',
    effect: 'What was let be, by whom and until when.',
    roles: 'any',
    answers: ok(page(named('Exception'))),
  },
  'POST /exceptions': {
    tag: 'findings',
    effect: 'Lets a finding be until a date.',
    roles: deciders,
    action: 'finding.accept',
    body: record({ finding: text, reason: text, until: instant }),
    answers: { 201: { says: 'It is let be.', body: named('Exception') } },
  },
  'DELETE /exceptions/:id': {
    tag: 'findings',
    effect: 'Takes an exception back.',
    roles: deciders,
    action: 'finding.accept',
    answers: gone,
  },
  'POST /leaks': {
    tag: 'findings',
    effect: 'Ends what somebody found; never repeats any of it.',
    roles: deciders,
    action: 'leak.report',
    body: record({
      credentials: { type: 'array', items: text, minItems: 1, maxItems: 1_000 },
      'source?': orNull(text),
      'revokeForeign?': said(orNull(flag), 'Also what is not Custody’s: for good, everywhere.'),
      'provider?': orNull(text),
    }),
    answers: {
      202: {
        says: 'What became of each.',
        body: record({
          report: id,
          items: list(
            record({
              index: count,
              fingerprint: text,
              outcome: words([
                'revoking',
                'ended',
                'alreadyEnded',
                'submitted',
                'needsConfirmation',
                'unknown',
                'failed',
              ]),
              kind: orNull(text),
              provider: orNull(text),
              account: orNull(id),
              credential: orNull(id),
              operation: orNull(id),
              message: text,
            }),
          ),
        }),
      },
    },
  },
}
