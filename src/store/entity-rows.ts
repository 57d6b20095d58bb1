import { isOpen, type ServiceAccount, vendorOf } from '../domain/account.ts'
import type { Credential, IssuedKey, Principal } from '../domain/credential.ts'
import { isJsonObject } from '../domain/json.ts'
import type { Person } from '../domain/owner.ts'
import { normalise } from '../domain/text.ts'
import { flag, json, mapping } from './mapping.ts'
import type { Row } from './sql.ts'
import type { DocumentCodec } from './store.ts'

/** How people, accounts, credentials and keys lie in their tables. */

/** What both people and accounts keep in columns under the same name. */
const shared = {
  tenant: 'tenant',
  id: 'id',
  client: 'client',
  userName: 'user_name',
  externalId: 'external_id',
  deletedAt: 'deleted_at',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
  version: 'version',
} as const

type PersonFacts = Pick<Person, 'leftAt' | 'leftCause' | 'releasedAt' | 'leftClass' | 'notices'>
const people = mapping<Omit<Person, keyof PersonFacts | 'attributes'>>({
  ...shared,
  directory: 'directory',
  active: flag('active'),
  heldBy: 'held_by',
  leavesAt: 'leaves_at',
})

type AccountFacts = Pick<
  ServiceAccount,
  | 'kind'
  | 'imported'
  | 'pendingOwner'
  | 'plannedFor'
  | 'backups'
  | 'purpose'
  | 'labels'
  | 'protected'
  | 'statusReason'
  | 'orphanedAt'
  | 'disabledAt'
  | 'certifiedAt'
  | 'certifyBy'
  | 'retiredAt'
>
const accounts = mapping<Omit<ServiceAccount, keyof AccountFacts | 'attributes' | 'owner'>>({
  ...shared,
  status: 'status',
  environment: 'environment',
  expiresAt: 'expires_at',
  disableAt: 'disable_at',
  deleteAt: 'delete_at',
})

type CredentialFields = Omit<Credential, 'deliverTo'>
const credentials = mapping<CredentialFields>({
  tenant: 'tenant',
  id: 'id',
  account: 'account',
  provider: 'provider',
  kind: 'kind',
  displayName: 'display_name',
  scopes: json('scopes'),
  scopesFrom: json('scopes_from'),
  grantedScopes: json('granted_scopes'),
  entitlement: 'entitlement',
  readers: json('readers'),
  status: 'status',
  generation: 'generation',
  keyId: 'key_id',
  previousKeyId: 'previous_key_id',
  fingerprint: 'fingerprint',
  secretRef: 'secret_ref',
  expiresAt: 'expires_at',
  rotateEvery: 'rotate_every',
  overlap: 'overlap',
  issuedAt: 'issued_at',
  rotateAfter: 'rotate_after',
  lastRotatedAt: 'last_rotated_at',
  lastUsedAt: 'last_used_at',
  refusedAt: 'refused_at',
  settledAt: 'settled_at',
  lastError: 'last_error',
  createdAt: 'created_at',
  updatedAt: 'updated_at',
  version: 'version',
})

export const keys = mapping<IssuedKey>({
  tenant: 'tenant',
  credential: 'credential',
  account: 'account',
  provider: 'provider',
  generation: 'generation',
  keyId: 'key_id',
  fingerprint: 'fingerprint',
  sinkVersion: 'sink_version',
  status: 'status',
  issuedAt: 'issued_at',
  activatedAt: 'activated_at',
  supersededAt: 'superseded_at',
  disabledAt: 'disabled_at',
  refusedAt: 'refused_at',
  settledAt: 'settled_at',
  outcome: 'outcome',
  deletedAt: 'deleted_at',
})

export const principals = mapping<Principal>({
  tenant: 'tenant',
  account: 'account',
  provider: 'provider',
  external: 'external',
  state: 'state',
  created: flag('created'),
  updatedAt: 'updated_at',
})

export const keyColumns = keys.columns
export const keyFromRow = (row: Row, prefix?: string) => keys.fromRow(row, prefix)
export const principalFromRow = (row: Row) => principals.fromRow(row)

export const resourceColumns = [
  ...new Set([...people.columns, ...accounts.columns]),
  'type',
  'user_name_norm',
  'owner_type',
  'owner_id',
  'pending_owner_id',
  'modified_at',
  'doc',
  'facts',
  'credentials',
  'email_norm',
  'vendor',
  'display_norm',
  'imported',
]
/** What an account is read back from. */
export const accountColumns = [
  ...accounts.columns,
  'owner_type',
  'owner_id',
  'doc',
  'facts',
] as const
export const credentialColumns = [
  ...credentials.columns,
  'sink',
  'path',
  'provider_norm',
  'doc',
  'summary',
]
export const credentialEntityColumns = [...credentials.columns, 'sink', 'path'] as const

const unset: Row = {
  ...Object.fromEntries(resourceColumns.map((column) => [column, null])),
  imported: 0,
}

export function personRow(person: Person, codec: DocumentCodec): Row {
  const { leftAt, leftCause, releasedAt, leftClass = null, notices = [] } = person
  const facts: PersonFacts = { leftAt, leftCause, releasedAt, leftClass, notices }
  return {
    ...unset,
    ...people.toRow({ ...person, leavesAt: person.leavesAt ?? null }),
    type: 'person',
    user_name_norm: normalise(person.userName),
    email_norm: addressOf(person),
    display_norm: displayNameOf(person),
    modified_at: person.updatedAt,
    doc: codec.person(person),
    facts: JSON.stringify(facts),
  }
}

function displayNameOf({ attributes }: Person): string | null {
  const { displayName } = attributes
  return typeof displayName === 'string' ? normalise(displayName) : null
}

/** The primary address, else the first: by what an import recognises people. */
function addressOf({ attributes }: Person): string | null {
  const { emails } = attributes
  const all = (Array.isArray(emails) ? emails : []).filter(isJsonObject)
  const value = (all.find((e) => e['primary'] === true) ?? all[0])?.['value']
  return typeof value === 'string' ? normalise(value) : null
}

export function personFromRow(row: Row, codec: DocumentCodec): Person {
  return {
    ...people.fromRow(row),
    // Rows of earlier versions have no such facts.
    releasedAt: null,
    leftClass: null,
    notices: [],
    ...(JSON.parse(row['facts'] as string) as Omit<
      PersonFacts,
      'releasedAt' | 'leftClass' | 'notices'
    >),
    attributes: codec.attributes(row['doc'] as string),
  }
}

export function accountRow(account: ServiceAccount, codec: DocumentCodec): Row {
  const facts: AccountFacts = {
    kind: account.kind,
    imported: account.imported,
    pendingOwner: account.pendingOwner,
    ...(account.plannedFor ? { plannedFor: account.plannedFor } : {}),
    backups: account.backups,
    purpose: account.purpose,
    labels: account.labels,
    protected: account.protected,
    statusReason: account.statusReason,
    orphanedAt: account.orphanedAt,
    disabledAt: account.disabledAt,
    certifiedAt: account.certifiedAt,
    certifyBy: account.certifyBy,
    retiredAt: account.retiredAt,
  }
  return {
    ...unset,
    ...accounts.toRow(account),
    type: 'account',
    active: Number(isOpen(account.status)),
    user_name_norm: normalise(account.userName),
    owner_type: account.owner.type,
    owner_id: account.owner.id,
    pending_owner_id: account.pendingOwner?.id ?? null,
    modified_at: account.updatedAt,
    vendor: vendorOf(account.labels),
    imported: Number(account.imported),
    doc: codec.account(account),
    facts: JSON.stringify(facts),
    credentials: '[]',
  }
}

export function accountFromRow(row: Row, codec: DocumentCodec, prefix = ''): ServiceAccount {
  const owner = { type: row[`${prefix}owner_type`], id: row[`${prefix}owner_id`] }
  return {
    ...accounts.fromRow(row, prefix),
    // Rows of earlier versions have no such fact.
    imported: false,
    ...(JSON.parse(row[`${prefix}facts`] as string) as Omit<AccountFacts, 'imported'>),
    owner: owner as ServiceAccount['owner'],
    attributes: codec.attributes(row[`${prefix}doc`] as string),
  }
}

export function credentialRow(credential: Credential, codec: DocumentCodec): Row {
  return {
    ...credentials.toRow(credential),
    sink: credential.deliverTo.sink,
    path: credential.deliverTo.path,
    provider_norm: normalise(credential.provider),
    doc: codec.credential(credential),
    summary: codec.credentialSummary(credential),
  }
}

export function credentialFromRow(row: Row, prefix = ''): Credential {
  return {
    ...credentials.fromRow(row, prefix),
    deliverTo: {
      sink: row[`${prefix}sink`] as string,
      path: row[`${prefix}path`] as string,
    },
  }
}
