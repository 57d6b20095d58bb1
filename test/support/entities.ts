import { randomBytes } from 'node:crypto'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { AuditRow } from '../../src/domain/audit.ts'
import type { Client, ClientToken } from '../../src/domain/client.ts'
import type { Group } from '../../src/domain/group.ts'
import type { Credential, IssuedKey, Principal } from '../../src/domain/credential.ts'
import {
  createIdSource,
  defaultTenant,
  type AccountId,
  type ClientId,
  type CredentialId,
  type GroupId,
  type OperationId,
  type PersonId,
} from '../../src/domain/ids.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { Person } from '../../src/domain/owner.ts'
import type { Instant } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import type { IssuedToken } from '../../src/provider/contract.ts'
import { ManualClock } from './manual-clock.ts'

const ids = createIdSource(new ManualClock(), randomBytes)

/** When everything below was made, unless a test says otherwise. */
export const t0 = '2026-11-22T09:00:00.000Z' as Instant

/** A fresh id of whatever kind the caller needs; ids made later sort later. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the brand is the caller's choice
export function makeId<T extends string>(): T {
  return ids.next() as T
}

/** Short, unique within a run: for names and paths that must not collide. */
export function unique(prefix: string): string {
  return `${prefix}-${ids.next().replaceAll('-', '').slice(8, 24)}`
}

export function makePerson(overrides: Partial<Person> = {}): Person {
  return {
    tenant: defaultTenant,
    id: makeId<PersonId>(),
    directory: 'default',
    client: 'client-hr' as ClientId,
    userName: unique('person'),
    externalId: null,
    active: true,
    leftAt: null,
    leftCause: null,
    leftClass: null,
    notices: [],
    leavesAt: null,
    heldBy: null,
    releasedAt: null,
    deletedAt: null,
    attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'] },
    createdAt: t0,
    updatedAt: t0,
    version: 1,
    ...overrides,
  }
}

export function makeGroup(overrides: Partial<Group> = {}): Group {
  return {
    tenant: defaultTenant,
    id: makeId<GroupId>(),
    directory: 'default',
    client: 'client-hr' as ClientId,
    displayName: unique('group'),
    externalId: null,
    emptiedAt: t0,
    deletedAt: null,
    attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'] },
    createdAt: t0,
    updatedAt: t0,
    version: 1,
    ...overrides,
  }
}

export function makeAccount(overrides: Partial<ServiceAccount> = {}): ServiceAccount {
  return {
    tenant: defaultTenant,
    id: makeId<AccountId>(),
    client: 'client-it' as ClientId,
    userName: unique('account'),
    externalId: null,
    kind: 'serviceAccount',
    imported: false,
    owner: { type: 'User', id: 'nobody' },
    pendingOwner: null,
    backups: [],
    purpose: 'tests',
    environment: null,
    labels: [],
    protected: false,
    status: 'active',
    statusReason: null,
    expiresAt: '2027-02-20T09:00:00.000Z' as Instant,
    orphanedAt: null,
    disabledAt: null,
    disableAt: null,
    deleteAt: null,
    certifiedAt: null,
    certifyBy: null,
    retiredAt: null,
    deletedAt: null,
    attributes: {
      schemas: [
        'urn:ietf:params:scim:schemas:core:2.0:User',
        'urn:custody:scim:schemas:extension:nhi:1.0:User',
      ],
    },
    createdAt: t0,
    updatedAt: t0,
    version: 1,
    ...overrides,
  }
}

export function makeCredential(overrides: Partial<Credential> = {}): Credential {
  return {
    tenant: defaultTenant,
    id: makeId<CredentialId>(),
    account: makeId<AccountId>(),
    provider: 'tokens',
    kind: 'api-token',
    displayName: null,
    scopes: [],
    readers: [],
    deliverTo: { sink: 'files', path: unique('path') },
    status: 'active',
    generation: 1,
    keyId: null,
    previousKeyId: null,
    fingerprint: null,
    secretRef: null,
    expiresAt: '2027-02-20T09:00:00.000Z' as Instant,
    rotateEvery: seconds(30 * 86_400),
    overlap: seconds(7 * 86_400),
    issuedAt: null,
    scopesFrom: [],
    grantedScopes: null,
    entitlement: null,
    rotateAfter: null,
    lastRotatedAt: null,
    lastUsedAt: null,
    refusedAt: null,
    settledAt: null,
    lastError: null,
    createdAt: t0,
    updatedAt: t0,
    version: 1,
    ...overrides,
  }
}

export function makeKey(credential: Credential, overrides: Partial<IssuedKey> = {}): IssuedKey {
  return {
    tenant: credential.tenant,
    credential: credential.id,
    account: credential.account,
    provider: credential.provider,
    generation: 1,
    keyId: unique('key'),
    fingerprint: 'f'.repeat(64),
    sinkVersion: null,
    status: 'active',
    issuedAt: t0,
    activatedAt: null,
    supersededAt: null,
    disabledAt: null,
    refusedAt: null,
    settledAt: null,
    outcome: null,
    deletedAt: null,
    ...overrides,
  }
}

export function makePrincipal(
  account: ServiceAccount,
  overrides: Partial<Principal> = {},
): Principal {
  return {
    tenant: account.tenant,
    account: account.id,
    provider: 'tokens',
    external: null,
    state: 'live',
    created: true,
    updatedAt: t0,
    ...overrides,
  }
}

/** Queued and due at `t0`; give `account` for anything that is not about a person. */
export function makeOperation(overrides: Partial<Operation> = {}): Operation {
  return {
    tenant: defaultTenant,
    id: makeId<OperationId>(),
    kind: 'issue',
    subjectType: 'credential',
    subject: makeId(),
    account: makeId<AccountId>(),
    provider: 'tokens',
    steps: ['ensure-account', 'issue-and-deliver', 'verify'],
    cursor: 0,
    attempt: 0,
    status: 'queued',
    runAt: t0,
    leaseWorker: null,
    leaseUntil: null,
    fence: 0,
    memo: {},
    actor: { type: 'system', id: 'tests', name: 'tests' },
    cause: makeId(),
    failure: null,
    createdAt: t0,
    updatedAt: t0,
    finishedAt: null,
    ...overrides,
  }
}

export function makeAudit(overrides: Partial<AuditRow> = {}): AuditRow {
  return {
    tenant: defaultTenant,
    id: makeId(),
    at: t0,
    actor: { type: 'system', id: 'tests', name: 'tests' },
    action: 'account.requested',
    targetType: 'account',
    target: makeId(),
    decision: null,
    operation: null,
    facts: {},
    ...overrides,
  }
}

export function makeClient(overrides: Partial<Client> = {}): Client {
  return {
    tenant: defaultTenant,
    id: makeId<ClientId>(),
    name: unique('client'),
    role: 'requester',
    dialect: 'lenient',
    directory: null,
    person: null,
    createdAt: t0,
    revokedAt: null,
    ...overrides,
  }
}

export function makeClientToken(client: Client, overrides: Partial<ClientToken> = {}): ClientToken {
  return {
    id: unique('cst'),
    client: client.id,
    hash: 'a'.repeat(64),
    createdAt: t0,
    expiresAt: null,
    lastUsedAt: null,
    revokedAt: null,
    ...overrides,
  }
}

export function makeIssuedToken(
  credential: Credential,
  overrides: Partial<IssuedToken> = {},
): IssuedToken {
  return {
    tenant: credential.tenant,
    id: unique('csk'),
    provider: credential.provider,
    account: credential.account,
    credential: credential.id,
    generation: 1,
    hash: 'b'.repeat(64),
    scopes: ['read'],
    active: true,
    createdAt: t0,
    expiresAt: credential.expiresAt,
    lastUsedAt: null,
    ...overrides,
  }
}
