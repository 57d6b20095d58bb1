import type { ApiRoutes } from './route.ts'
import { accepted, ok, reason } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
  count,
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
  words,
} from './schema.ts'

/** What is shown of one wherever it is shown. */
export const credential = {
  id,
  account: id,
  provider: text,
  kind: named('CredentialKind'),
  displayName: orNull(text),
  scopes: list(text),
  scopesFrom: list(record({ group: text, scopes: orNull(list(text)) })),
  grantedScopes: said(orNull(list(text)), 'What the current key was last given there.'),
  entitlement: orNull(text),
  readers: list(text),
  deliverTo: record({ sink: text, path: text }),
  status: named('CredentialStatus'),
  generation: said(count, 'Counts the keys that were ever made.'),
  keyId: orNull(text),
  previousKeyId: orNull(text),
  fingerprint: orNull(text),
  secretRef: said(orNull(text), 'Where consumers read the secret.'),
  expiresAt: instant,
  rotateEvery: orNull(seconds),
  overlap: orNull(seconds),
  issuedAt: orNull(instant),
  rotateAfter: orNull(instant),
  lastRotatedAt: orNull(instant),
  lastUsedAt: orNull(instant),
  refusedAt: said(orNull(instant), 'First refusal after it was switched off.'),
  settledAt: said(orNull(instant), 'Last complete listing with nothing alive in it.'),
  lastError: orNull(text),
  createdAt: instant,
  updatedAt: instant,
}

const key = record({
  provider: text,
  generation: count,
  keyId: text,
  fingerprint: text,
  sinkVersion: orNull(text),
  status: words(['issuing', 'active', 'superseded', 'disabled', 'revoked', 'failed', 'released']),
  issuedAt: instant,
  activatedAt: orNull(instant),
  supersededAt: orNull(instant),
  disabledAt: orNull(instant),
  refusedAt: orNull(instant),
  settledAt: orNull(instant),
  outcome: orNull(named('ProbeOutcome')),
  deletedAt: orNull(instant),
})

export const credentialSchemas: Readonly<Record<string, ApiSchema>> = {
  Credential: record(credential),
  Key: key,
  CredentialDetail: record({
    ...credential,
    keys: list(named('Key')),
    waitsFor: said(orNull(text), 'What a rotation waits for, in a sentence.'),
    frozen: orNull(record({ window: text, until: instant })),
  }),
  Consumer: record({
    id: said(text, '`<account id>:<name>`'),
    account: id,
    name: text,
    kind: orNull(text),
    cacheTtl: orNull(text),
    reloadHook: orNull(text),
    credentials: list(
      record({
        credential: id,
        generation: count,
        seen: orNull(count),
        seenAt: orNull(instant),
        state: words(['seen', 'waived', 'reread', 'keyInUse', 'behind', 'settled']),
        behindSince: orNull(instant),
      }),
    ),
  }),
}

const keepers = ['requester', 'security', 'admin'] as const

export const credentialRoutes: ApiRoutes = {
  'GET /credentials': {
    tag: 'credentials',
    effect: 'Lists credentials.',
    roles: 'any',
    query: {
      account: said(text, 'Only of this account.'),
      status: named('CredentialStatus'),
    },
    answers: ok(page(named('Credential'))),
  },
  'GET /credentials/:id': {
    tag: 'credentials',
    effect: 'One credential with its keys and what a rotation waits for.',
    roles: 'any',
    answers: ok(named('CredentialDetail')),
  },
  'POST /credentials/:id/rotate': {
    tag: 'credentials',
    effect: 'Makes a new key now; the old one overlaps.',
    roles: keepers,
    action: 'credential.rotate',
    answers: accepted,
  },
  'POST /credentials/:id/revoke': {
    tag: 'credentials',
    effect: 'Ends it for good, and proves it dead.',
    roles: keepers,
    action: 'credential.revoke',
    body: record(reason),
    isBodyOptional: true,
    answers: accepted,
  },
  'POST /credentials/:id/rehearse': {
    tag: 'credentials',
    effect: 'Switches its key off for a moment, to see who still uses it.',
    roles: keepers,
    action: 'credential.rotate',
    answers: accepted,
  },
  'GET /consumers': {
    tag: 'credentials',
    effect: 'Who uses an account’s secrets, and how far they are.',
    roles: 'any',
    query: { account: { ...text, description: 'Of this account; required.' } },
    answers: ok(page(named('Consumer'))),
    refusals: [404],
  },
  'POST /consumers/:id/seen': {
    tag: 'credentials',
    effect: 'Says that a consumer has read a generation.',
    roles: ['requester', 'owner', 'admin'],
    action: 'consumer.seen',
    body: record({ credential: text, generation: { type: 'integer', minimum: 1 } }),
    answers: ok(named('Consumer')),
  },
  'POST /consumers/hook-secret': {
    tag: 'credentials',
    effect: 'A new key for the caller’s own reload hooks; shown once.',
    roles: ['admin'],
    action: 'hook.secret',
    answers: ok(record({ secret: text })),
  },
}
