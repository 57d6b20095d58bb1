import { accountKinds, accountTransitions } from '../../domain/account.ts'
import { credentialTransitions } from '../../domain/credential.ts'
import type { ApiRoutes } from './route.ts'
import { credential } from './credentials.ts'
import { accepted, ok, reason } from './route.ts'
import type { ApiSchema } from './schema.ts'
import {
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
}

export const leaveClasses = [
  'deactivated',
  'deleted',
  'leaveDate',
  'groupEmptied',
  'declared',
  'security',
]
