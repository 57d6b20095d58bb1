import { accountKinds, accountTransitions } from '../../domain/account.ts'
import { credentialTransitions } from '../../domain/credential.ts'
import type { ApiAnswer, ApiRoutes } from './route.ts'
import { ok } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
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
  seconds,
  text,
  words,
} from './schema.ts'

export const accountStatuses = Object.keys(accountTransitions)
export const credentialStatuses = Object.keys(credentialTransitions)

const credentialKinds = [
  'api-token',
  'access-key',
  'federated-role',
  'deploy-key',
  'app-token',
  'pat-grant',
  'app-installation',
  'password',
  'manual',
]

const statusReasons = [
  'ownerLeft',
  'ownerMissing',
  'expired',
  'operator',
  'retired',
  'leak',
  'provisionFailed',
  'providerDenied',
  'providerUnavailable',
  'providerThrottled',
  'providerRefused',
  'offerPending',
  'contained',
  'ejected',
]

const account = {
  id,
  client: said(id, 'The client that asked for it.'),
  userName: text,
  externalId: orNull(text),
  kind: words(accountKinds),
  imported: said(flag, 'It was there before Custody and was adopted.'),
  owner: named('Owner'),
  pendingOwner: orNull(named('Owner')),
  'plannedFor?': orNull(instant),
  backups: list(
    record({
      type: words(['User', 'Group']),
      id: text,
      nominatedAt: instant,
      acceptedAt: orNull(instant),
    }),
  ),
  purpose: text,
  environment: orNull(text),
  labels: list(text),
  protected: flag,
  status: named('AccountStatus'),
  statusReason: orNull(named('StatusReason')),
  expiresAt: instant,
  orphanedAt: orNull(instant),
  disabledAt: orNull(instant),
  disableAt: said(orNull(instant), 'Switched off then, unless an heir accepts.'),
  deleteAt: said(orNull(instant), 'What was switched off is deleted then.'),
  certifiedAt: orNull(instant),
  certifyBy: orNull(instant),
  retiredAt: orNull(instant),
  deletedAt: said(orNull(instant), 'Since then SCIM shows it no more.'),
  createdAt: instant,
  updatedAt: instant,
}

const credential = {
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

const principal = record({
  provider: text,
  external: orNull(text),
  state: words(['absent', 'live', 'off', 'released']),
  created: flag,
})

const asked = record({
  act: words(['disable', 'retire', 'unprotect']),
  by: text,
  reason: orNull(text),
  at: instant,
  expiresAt: instant,
})

export const accountSchemas: Readonly<Record<string, ApiSchema>> = {
  AccountStatus: words(accountStatuses),
  StatusReason: words(statusReasons),
  CredentialKind: words(credentialKinds),
  CredentialStatus: words(credentialStatuses),
  ProbeOutcome: said(
    words(['refused', 'absent', 'untestable']),
    'Tried and refused; absent from a complete listing; cannot be tried.',
  ),
  Owner: record({ type: words(['User', 'Group']), id: text }),
  Account: record(account),
  AccountDetail: record({
    ...account,
    why: named('Why'),
    next: list(
      record({
        at: instant,
        act: words([
          'notice',
          'rotate',
          'expire',
          'disable',
          'delete',
          'decide',
          'ownerLeaves',
          'certify',
          'continue',
        ]),
        what: text,
        rule: said(text, 'The clause that decides it.'),
        subject: record({ type: words(['account', 'credential', 'operation']), id: text }),
        effect: words(['does', 'says', 'watches']),
        heldBy: said(orNull(text), 'The brake that stops it at present.'),
      }),
    ),
    asked: said(list(asked), 'First words of two people about a protected account.'),
    enforcement: words(['observe', 'enforce']),
    credentials: list(
      record({ ...credential, keys: list(named('Key')), why: orNull(named('Why')) }),
    ),
    principals: list(principal),
  }),
  Credential: record(credential),
  Key: key,
  Why: record({
    sentence: said(text, 'Why its state is what it is.'),
    since: instant,
    cause: orNull(
      record({
        event: said(text, 'What `GET /operations?cause=` takes.'),
        operation: text,
        kind: text,
        actor: record({ type: text, name: text }),
      }),
    ),
  }),
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
  HandOver: record({
    dryRun: flag,
    account: id,
    userName: text,
    owner: named('Owner'),
    state: words(['planned', 'handingOver', 'handedBack']),
    handedBackAt: orNull(instant),
    credentials: list(
      record({
        credential: id,
        provider: text,
        kind: text,
        status: named('CredentialStatus'),
        keyIds: list(text),
        secretAt: orNull(text),
        secretRef: orNull(text),
        expiresAt: instant,
        endsWithCustody: flag,
      }),
    ),
    principals: list(
      record({
        provider: text,
        principal: orNull(text),
        removed: list(text),
        stays: list(text),
      }),
    ),
    operation: orNull(named('Operation')),
  }),
}

/** The answer to everything that queues one operation. */
export const accepted: { readonly 202: ApiAnswer } = {
  202: {
    says: 'Accepted: this operation does it.',
    body: named('Operation'),
    headers: ['Custody-Operation'],
  },
}

export const reason = { 'reason?': orNull(text) }

const keepers = ['requester', 'security', 'admin'] as const

export const accountRoutes: ApiRoutes = {
  'GET /accounts': {
    tag: 'accounts',
    effect: 'Lists accounts, also those that SCIM shows no more.',
    roles: 'any',
    query: {
      owner: said(text, 'Only of this person or group.'),
      status: named('AccountStatus'),
      expiresAfter: said(text, 'A date or an instant: only those that end later.'),
      expiresBefore: said(text, 'A date or an instant: only those that end before.'),
    },
    answers: ok(page(named('Account'))),
  },
  'GET /accounts/:id': {
    tag: 'accounts',
    effect: 'One account with its credentials, keys and principals.',
    roles: 'any',
    answers: ok(named('AccountDetail')),
  },
  'POST /accounts/:id/disable': {
    tag: 'accounts',
    effect: 'Switches everything of it off; an operator’s word never deletes.',
    roles: keepers,
    action: 'account.disable',
    body: record(reason),
    isBodyOptional: true,
    answers: accepted,
  },
  'POST /accounts/:id/enable': {
    tag: 'accounts',
    effect: 'Switches it on again; refused while there is no active owner.',
    roles: keepers,
    action: 'account.enable',
    body: record(reason),
    isBodyOptional: true,
    answers: accepted,
  },
  'POST /accounts/:id/retire': {
    tag: 'accounts',
    effect: 'Ends it: switched off now, deleted after the hold.',
    roles: keepers,
    action: 'account.retire',
    body: record(reason),
    isBodyOptional: true,
    answers: accepted,
  },
  'POST /accounts/:id/transfer': {
    tag: 'accounts',
    effect: 'Offers it to another owner, or passes it at once.',
    roles: keepers,
    action: 'account.transfer',
    body: record({
      owner: said(text, 'The id of a person or a group.'),
      'atOnce?': said(orNull(flag), 'Without their word; for security and admin, with a reason.'),
      ...reason,
    }),
    answers: ok(named('Account')),
  },
  'POST /accounts/:id/backup/accept': {
    tag: 'accounts',
    effect: 'A backup owner accepts the nomination.',
    roles: ['owner', 'admin'],
    action: 'transfer.accept',
    body: record({ 'backup?': orNull(text) }),
    isBodyOptional: true,
    answers: ok(named('Account')),
  },
  'POST /accounts/:id/certify': {
    tag: 'accounts',
    effect: 'Confirms that it is still needed.',
    roles: ['owner', 'admin'],
    action: 'account.certify',
    query: { extend: said(flag, 'Moves the end date to the cap.') },
    body: record({ 'extend?': orNull(flag), ...reason }),
    isBodyOptional: true,
    answers: ok(named('Account')),
  },
  'POST /accounts/:id/eject': {
    tag: 'accounts',
    effect: 'Hands it back as it is: Custody manages it no more.',
    roles: ['admin'],
    action: 'account.eject',
    body: record({ ...reason, 'includeTokens?': orNull(flag) }),
    isBodyOptional: true,
    answers: {
      200: { says: 'What would be handed over, or was before.', body: named('HandOver') },
      202: {
        says: 'It is being handed over.',
        body: named('HandOver'),
        headers: ['Custody-Operation'],
      },
    },
  },
  'GET /transfers': {
    tag: 'accounts',
    effect: 'Accounts on offer.',
    roles: 'any',
    answers: ok(
      page(
        record({
          id,
          account: id,
          userName: text,
          from: named('Owner'),
          to: named('Owner'),
          orphanedAt: orNull(instant),
          deadline: orNull(instant),
        }),
      ),
    ),
  },
  'POST /transfers/:id/accept': {
    tag: 'accounts',
    effect: 'Accepts an account that is on offer.',
    roles: ['owner', 'admin'],
    action: 'transfer.accept',
    answers: ok(named('Account')),
  },
  'POST /transfers/:id/decline': {
    tag: 'accounts',
    effect: 'Declines an account that is on offer.',
    roles: ['owner', 'admin'],
    action: 'transfer.decline',
    answers: ok(named('Account')),
  },
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

export const leaveClasses = [
  'deactivated',
  'deleted',
  'leaveDate',
  'groupEmptied',
  'declared',
  'security',
]
