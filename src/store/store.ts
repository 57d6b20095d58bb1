import type { ServiceAccount } from '../domain/account.ts'
import type { AuditRow } from '../domain/audit.ts'
import type { Client, ClientToken } from '../domain/client.ts'
import type { Credential, IssuedKey, Principal } from '../domain/credential.ts'
import type { Group, GroupState, Member, MemberType } from '../domain/group.ts'
import type {
  AccountId,
  ClientId,
  CredentialId,
  GroupId,
  OperationId,
  PersonId,
  TenantId,
} from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { AttributeSighting, Replay, ScimRequest } from '../domain/ledger.ts'
import type { Failure, Operation, OperationKind, OperationStatus } from '../domain/operation.ts'
import type { Person } from '../domain/owner.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import type { IssuedToken } from '../provider/contract.ts'
import type { BoundAttribute, BoundFilter } from '../scim/filter.ts'
import type { EntitlementReads } from './entitlements.ts'
import type { AuditChange, AuditReads } from './store-audit.ts'
import type { DirectoryCheckChange, DirectoryCheckReads } from './directory-store.ts'
import type { HoldChange, HoldReads } from './holds.ts'
import type { MoveChange, MoveReads } from './move-store.ts'
import type { FailedRequestChange, FailedRequestReads } from './failed-request-store.ts'
import type { StoreFacts } from './fence.ts'
import type { FindingChange, FindingReads } from './finding-store.ts'
import type { ImportReads } from './import-store.ts'
import type { SealedChange, SealedReads } from './sealed-store.ts'
import type { ConsumerChange, ConsumerReads } from './consumer-store.ts'
import type { ShadowChange, ShadowReads } from './shadow-store.ts'
import type { DepartureChange, DepartureReads } from './departure-store.ts'
import type { ReplicaChange, ReplicaReads } from './replica-store.ts'
import type { ReportReads } from './report-store.ts'
import type { Signals } from './sql.ts'
import type { TaskChange, TaskReads } from './task-store.ts'

/**
 * One write, as data. A `commit` applies a list of them or none. `expectedVersion` null means
 * insert; the stored version must equal it otherwise, and the stored row becomes version + 1
 * (callers pass the entity as they read it; the store sets the new version).
 */
export type Change =
  | { readonly type: 'person'; readonly person: Person; readonly expectedVersion: number | null }
  | {
      readonly type: 'account'
      readonly account: ServiceAccount
      readonly expectedVersion: number | null
    }
  | {
      readonly type: 'credential'
      readonly credential: Credential
      readonly expectedVersion: number | null
    }
  /** Everything of a group but its members and `emptiedAt`, which follows from them. */
  | { readonly type: 'group'; readonly group: Group; readonly expectedVersion: number | null }
  /**
   * Changes membership rows: with `replace` all go first, then `remove`, then `add`; one that is
   * there already stays as it is. The group's version moves when any row did. `emptiedAt` of the
   * group and of all groups around it is brought up to date. With `expectedVersion` null two
   * clients may add at the same time. Conflict `missing` for an unknown group.
   */
  | {
      readonly type: 'members'
      readonly tenant: TenantId
      readonly group: GroupId
      readonly expectedVersion: number | null
      readonly replace: boolean
      readonly add: readonly Member[]
      readonly remove: readonly string[]
      readonly at: Instant
    }
  /**
   * A person or group turned active or inactive, as earlier changes of the same commit have written
   * it: brings `emptiedAt` of the groups around it up to date. With `gone` it leaves them all.
   */
  | {
      readonly type: 'memberSwitched'
      readonly tenant: TenantId
      readonly member: string
      readonly gone: boolean
      readonly at: Instant
    }
  /** Upsert by (credential, generation). */
  | { readonly type: 'key'; readonly key: IssuedKey }
  /** Upsert by (account, provider). */
  | { readonly type: 'principal'; readonly principal: Principal }
  /**
   * Inserts an open operation. `preempt` first cancels (code `preempted`, fence + 1) the open
   * operations on the same subject, and, for subject type account, all below that account, whose
   * rank is not higher. Conflict `busy` when an open operation remains on the subject, or when an
   * account-level one of higher rank is open above a credential-level newcomer.
   */
  | { readonly type: 'enqueue'; readonly operation: Operation; readonly preempt: boolean }
  /**
   * Writes an operation's progress; conflict `fence` unless the stored fence equals `fence`.
   * Setting `cancelled` is a pre-emption: the fence moves on, so that the worker holding the
   * operation cannot write over it. Conflict `busy` when it would open an operation again beside
   * another open one of its subject.
   */
  | {
      readonly type: 'advance'
      readonly id: OperationId
      readonly fence: number
      readonly set: Partial<
        Pick<
          Operation,
          'cursor' | 'attempt' | 'status' | 'runAt' | 'memo' | 'failure' | 'finishedAt'
        >
      >
      /** True gives the lease back. */
      readonly release: boolean
      readonly at: Instant
    }
  | AuditChange
  /** Conflict `slot` when (job, slot) was taken before. */
  | {
      readonly type: 'slot'
      readonly job: string
      readonly slot: Instant
      readonly worker: string
      readonly at: Instant
    }
  /**
   * An event has told that something ends within so many days. Conflict `version` when it ends at
   * another time by now, or was told of already; another end starts anew. No version moves.
   */
  | {
      readonly type: 'expiryWarned'
      readonly tenant: TenantId
      readonly subjectType: 'account' | 'credential'
      readonly id: string
      readonly expiresAt: Instant
      readonly days: number
    }
  /** Clients and tokens are written whole, by id; conflict `missing` without their client or credential. */
  | { readonly type: 'client'; readonly client: Client }
  | { readonly type: 'clientToken'; readonly token: ClientToken }
  /** What follows is written only while this claim on an operation holds: else `fence`. */
  | { readonly type: 'claimed'; readonly operation: string; readonly fence: number }
  | { readonly type: 'issuedToken'; readonly token: IssuedToken }
  /** Conflict `missing` for an unknown token; removing and noting a use are silent about one. */
  | { readonly type: 'issuedTokenActive'; readonly id: string; readonly active: boolean }
  | { readonly type: 'issuedTokenScopes'; readonly id: string; readonly scopes: readonly string[] }
  | { readonly type: 'issuedTokenRemoved'; readonly id: string }
  | { readonly type: 'issuedTokenUsed'; readonly id: string; readonly at: Instant }
  | { readonly type: 'clientTokenUsed'; readonly id: string; readonly at: Instant }
  | { readonly type: 'meta'; readonly key: string; readonly value: string }
  /** Conflict `slot` while the same scope is held or answered; abandoned and expired ones give way. */
  | { readonly type: 'replayClaim'; readonly replay: Replay; readonly now: Instant }
  /** Both silent when the claim is not this request's any more. */
  | { readonly type: 'replayAnswer'; readonly replay: Replay }
  | { readonly type: 'replayRelease'; readonly replay: Replay }
  /** Appends to the request log and forgets what happened before `before`. */
  | {
      readonly type: 'scimRequests'
      readonly requests: readonly ScimRequest[]
      readonly before: Instant
    }
  /** Adds to what was counted before, and forgets what was last seen before `before`. */
  | {
      readonly type: 'sightings'
      readonly sightings: readonly AttributeSighting[]
      readonly before: Instant
    }
  | HoldChange
  | FindingChange
  | TaskChange
  | ConsumerChange
  | DepartureChange
  | SealedChange
  | FailedRequestChange
  | MoveChange
  | ShadowChange
  | DirectoryCheckChange
  | ReplicaChange

/** Why nothing of a commit was written. */
export interface Conflict {
  readonly change: number
  readonly reason:
    | 'version'
    | 'fence'
    | 'busy'
    | 'slot'
    | 'userName'
    | 'externalId'
    | 'displayName'
    | 'path'
    | 'missing'
    | 'braked'
  /** The other row's id where one is known. */
  readonly with: string | null
}

export type CommitResult = 'saved' | Conflict

/** What a caller may see; compiled from its role, applied in SQL. */
export interface Visibility {
  readonly people: 'all' | 'none' | { readonly directory: string }
  readonly accounts:
    | 'all'
    | 'none'
    | { readonly client: ClientId; readonly owners: readonly string[] }
}

/**
 * The order of a list (RFC 7644 §3.4.2.3): missing values come last ascending and first descending;
 * of several values the primary one counts, else the first. Equal ones are ordered by id.
 */
export interface Sort {
  readonly attribute: BoundAttribute
  readonly descending: boolean
}

export interface ListQuery {
  readonly tenant: TenantId
  readonly visibility: Visibility
  readonly filter: BoundFilter | null
  /** By id when null or absent. */
  readonly sort?: Sort | null
  /** Starts after this `Page.next` of the same query instead of at `startIndex`. */
  readonly after?: string | null
  /** 1-based (RFC 7644 §3.4.2.4). */
  readonly startIndex: number
  /** At most `pageMax`; 0 asks for the total only. */
  readonly count: number
}

/** A resource as stored: its own attributes as JSON text, to be spliced and sent without parsing. */
export interface StoredDocument {
  readonly id: string
  readonly type: 'person' | 'account' | 'credential' | 'group' | 'entitlement'
  /** JSON object text; of an account without `nhi.credentials`; without `meta`. */
  readonly text: string
  /** JSON array text of an account's credential summaries, null for the other types. */
  readonly credentials: string | null
  /** JSON array text of a person's groups; null or omitted when there are none. */
  readonly groups?: string | null
  /** JSON array text of a group's members; null or omitted when there are none or nobody asked. */
  readonly members?: string | null
  readonly createdAt: Instant
  readonly updatedAt: Instant
  /** The weak ETag's opaque part; changes with any visible change, credentials included. */
  readonly etag: string
}

/** With the directory of a person, null for an account, which tells who may see it. */
export interface StoredUser extends StoredDocument {
  readonly directory: string | null
}

export interface GroupListQuery extends ListQuery {
  /** False spares reading the members, which may be many. */
  readonly members: boolean
}

/** Something that may become a member. */
export interface MemberTarget {
  readonly id: string
  readonly type: MemberType
  /** Null of a service account, which belongs to no directory. */
  readonly directory: string | null
}

export interface Page<T> {
  readonly total: number
  readonly rows: readonly T[]
  /**
   * Where the next page starts, for `after`: in a list by id, the id of the last row; null at the
   * end of the list and for `count` 0.
   */
  readonly next: string | null
  /** Of a sorted list: where each row stands in it. */
  readonly places?: readonly SortPlace[]
}

export interface SortPlace {
  /** What the row is sorted by, as the database compares it. */
  readonly key: string | number | null
  /** What starts a list behind the row. */
  readonly after: string
}

export interface OperationQuery {
  readonly tenant: TenantId
  readonly subject?: string
  readonly account?: AccountId
  readonly cause?: string
  readonly status?: OperationStatus
  readonly kind?: OperationKind
  /** Keyset cursor: the id of the last row seen (newest first). */
  readonly after: string | null
  readonly limit: number
}

export interface ScimRequestQuery {
  readonly tenant: TenantId
  readonly client?: string
  readonly status?: number
  /** Only what was answered with 400 or more. */
  readonly failed?: boolean
  /** Keyset cursor: the id of the last row seen (newest first). */
  readonly after: string | null
  readonly limit: number
}

/** All that introspection and minting ask about one issued token, in one read. */
export interface TokenState {
  readonly token: IssuedToken
  readonly account: ServiceAccount
  readonly credential: Credential
  readonly key: IssuedKey | null
}

/** Something that a sweep has to look at; whoever acts reads the rows and decides anew. */
export interface Due {
  readonly tenant: TenantId
  readonly id: string
}

export interface DuePage {
  readonly rows: readonly Due[]
  /** Where the next page starts; null = this was the last one. */
  readonly next: string | null
}

export interface ExpiringQuery {
  readonly of: 'account' | 'credential'
  /** The days of the last warning; null = there was none. */
  readonly warned: number | null
  /** It ends after `from` and not after `until`. */
  readonly from: Instant
  readonly until: Instant
}

export interface Reads
  extends
    AuditReads,
    EntitlementReads,
    HoldReads,
    FindingReads,
    ImportReads,
    TaskReads,
    SealedReads,
    FailedRequestReads,
    MoveReads,
    ConsumerReads,
    ShadowReads,
    DepartureReads,
    DirectoryCheckReads,
    ReplicaReads,
    ReportReads {
  person(tenant: TenantId, id: string): Promise<Person | null>
  account(tenant: TenantId, id: string): Promise<ServiceAccount | null>
  credential(tenant: TenantId, id: string): Promise<Credential | null>
  credentialsOf(tenant: TenantId, account: AccountId): Promise<readonly Credential[]>
  keysOf(tenant: TenantId, credential: CredentialId): Promise<readonly IssuedKey[]>
  keysOfAccount(tenant: TenantId, account: AccountId): Promise<readonly IssuedKey[]>
  principal(tenant: TenantId, account: AccountId, provider: string): Promise<Principal | null>
  principalsOf(tenant: TenantId, account: AccountId): Promise<readonly Principal[]>
  /** Accounts owned by `owner`, not retired, ordered by id, strictly after `after`. */
  accountsOwnedBy(
    tenant: TenantId,
    owner: string,
    after: string | null,
    limit: number,
  ): Promise<readonly ServiceAccount[]>
  /** As `accountsOwnedBy`, those that are retired. */
  retiredAccountsOf(
    tenant: TenantId,
    owner: string,
    after: string | null,
    limit: number,
  ): Promise<readonly ServiceAccount[]>
  credentialsAfter(
    tenant: TenantId,
    after: string | null,
    limit: number,
  ): Promise<readonly Credential[]>
  /** Every account, retired and deleted ones included, ordered by id; likewise `peopleAfter`. */
  accountsAfter(
    tenant: TenantId,
    after: string | null,
    limit: number,
  ): Promise<readonly ServiceAccount[]>
  peopleAfter(tenant: TenantId, after: string | null, limit: number): Promise<readonly Person[]>

  /** Deleted groups included, as with people. */
  group(tenant: TenantId, id: string): Promise<Group | null>
  groupState(tenant: TenantId, id: string): Promise<GroupState | null>
  /** Ordered by member id, strictly after `after`. */
  members(
    tenant: TenantId,
    group: string,
    after: string | null,
    limit: number,
  ): Promise<readonly Member[]>
  /** Those of `ids` that are members, by id. */
  membersAmong(tenant: TenantId, group: string, ids: readonly string[]): Promise<readonly Member[]>
  /** The people, service accounts and groups among `ids` that are there (not deleted). */
  memberTargets(tenant: TenantId, ids: readonly string[]): Promise<readonly MemberTarget[]>
  /** The groups that name the person directly, as `User.groups` shows them. */
  groupsOf(
    tenant: TenantId,
    person: string,
  ): Promise<readonly { readonly id: string; readonly displayName: string }[]>
  /** Ids of all groups around the person, nested ones included: what it owns through them. */
  groupsAround(tenant: TenantId, person: string): Promise<readonly string[]>
  groupDocument(
    tenant: TenantId,
    id: string,
    options: { readonly members: boolean },
  ): Promise<StoredDocument | null>
  listGroups(query: GroupListQuery): Promise<Page<StoredDocument>>

  /** Null once the resource was deleted; credentials are never deleted, they end as `revoked`. */
  userDocument(tenant: TenantId, id: string): Promise<StoredUser | null>
  credentialDocument(tenant: TenantId, id: string): Promise<StoredDocument | null>
  listUsers(query: ListQuery): Promise<Page<StoredDocument>>
  listCredentials(query: ListQuery): Promise<Page<StoredDocument>>

  operation(tenant: TenantId, id: string): Promise<Operation | null>
  operations(query: OperationQuery): Promise<readonly Operation[]>
  /** Open operations on the account or on anything below it. */
  openOperations(tenant: TenantId, account: AccountId): Promise<readonly Operation[]>
  /** The latest lease still running on cancelled work below the account; null = nothing in flight. */
  inFlightUntil(tenant: TenantId, account: AccountId, now: Instant): Promise<Instant | null>
  /** Workers that hold a lease on running work, dead ones included. */
  leaseHolders(): Promise<readonly string[]>
  /**
   * When anything becomes claimable, by its `runAt` or by the end of a lease; the worker sleeps until
   * then. What a running operation of the same account blocks is left out.
   */
  nextRunAt(): Promise<Instant | null>

  /**
   * Accounts in an open status whose `disableAt` has come, or whose owner has no row, is inactive
   * or deleted, or is a group without an active member, while no account-level operation is open.
   * Orphaned ones are among them as long as they wait: their heir may have left, too. A page looks at
   * `limit` open accounts and may be empty. This and what follows look at all tenants.
   */
  orphans(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Accounts in an open status whose `disableAt` has come. */
  overdue(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** People who were written while gone, and groups that were left empty or deleted, in that time. */
  gone(
    of: 'people' | 'groups',
    range: { readonly from: Instant; readonly until: Instant },
    after: string | null,
    limit: number,
  ): Promise<DuePage>
  /** Active people whose `leavesAt` is not after `until`, the first to go first. */
  leaving(until: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Accounts in an open status, without open work of their own, that one of them owns, or is offered. */
  accountsOf(
    of: 'ownedBy' | 'waitingFor',
    tenant: TenantId,
    owners: readonly string[],
    after: string | null,
    limit: number,
  ): Promise<DuePage>
  /** Accounts past `expiresAt` in an open status. */
  expired(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** What ends within a time and was last warned of so many days before; see `expiryWarned`. */
  expiring(want: ExpiringQuery, after: string | null, limit: number): Promise<DuePage>
  /** Accounts switched off (disabled, expired, retired) whose `deleteAt` has come, with no open operation on the account itself. */
  deletable(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Working credentials of open accounts past their own `expiresAt`. */
  expiredCredentials(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Active credentials of open accounts past `rotateAfter` that nothing is done about yet. */
  rotationDue(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Active credentials, without open work, with a superseded key that nobody switched off. */
  leftBehind(now: Instant, after: string | null, limit: number): Promise<DuePage>
  /** Credentials that have a `rotateAfter`, by id. */
  planned(after: string | null, limit: number): Promise<DuePage>
  /** The latest slot of a job that anybody took. */
  lastSlot(job: string): Promise<Instant | null>

  client(id: string): Promise<Client | null>
  clients(tenant: TenantId): Promise<readonly Client[]>
  clientToken(id: string): Promise<{ readonly token: ClientToken; readonly client: Client } | null>
  clientTokensOf(client: ClientId): Promise<readonly ClientToken[]>
  issuedToken(id: string): Promise<IssuedToken | null>
  issuedTokensOf(account: AccountId, provider: string): Promise<readonly IssuedToken[]>
  tokenState(id: string): Promise<TokenState | null>

  meta(key: string): Promise<string | null>
  replay(tenant: TenantId, client: ClientId, scope: string): Promise<Replay | null>
  /** Newest first. */
  scimRequests(query: ScimRequestQuery): Promise<readonly ScimRequest[]>
  /** By resource, path and form. */
  sightings(tenant: TenantId, client: ClientId): Promise<readonly AttributeSighting[]>
}

export interface Store {
  readonly read: Reads
  /** All or nothing and durable when it resolves; a conflict is re-planned by the caller, never patched. */
  commit(changes: readonly Change[]): Promise<CommitResult>
  /**
   * Hands due operations (queued or waiting with `runAt` ≤ now, or running with a lapsed lease) to
   * this worker, at most one open operation per subject and none whose account has another running:
   * a compare-and-set statement each for what is urgent and for the rest. Each comes back `running`,
   * fence + 1, leased for `lease`; urgent ones first, then in the order in which they fell due.
   * @param others at most so many that are not urgent; `limit` when omitted
   * @param except providers: what could do nothing but wait for one of them is left
   */
  claim(
    worker: string,
    now: Instant,
    lease: Seconds,
    limit: number,
    others?: number,
    except?: readonly string[],
  ): Promise<readonly Operation[]>
  /** Prolongs a lease; false when the fence moved on. */
  heartbeat(id: OperationId, fence: number, until: Instant): Promise<boolean>
  /**
   * A worker tells that it has stopped work on an operation that was cancelled under it: no call of
   * its is in flight any more, so `inFlightUntil` need not wait for the lease, which ends with `at`.
   */
  letGo(id: OperationId, worker: string, at: Instant): Promise<void>
  /**
   * Why nothing can be written at present: asks the database again once a write has failed, so that
   * it notices by itself when all is well.
   * @returns null when the last write was kept
   */
  unwritable(): Promise<string | null>
  /** Ends the leases of a worker that is known to be dead, so that its work need not wait for them. */
  releaseLeases(worker: string, at: Instant): Promise<number>
  /** What was found when it was opened: the engine, and whether it keeps tenants apart by itself. */
  facts(): StoreFacts
  /** To the other processes on this database, soon; a word may be lost, and carries no data. */
  announce: Signals['announce']
  /**
   * Hears what others announce, and each topic once whenever a word may have been missed. Where
   * nobody else can announce anything nothing is heard. Returns the end of it.
   */
  listen: Signals['listen']
  /** The database's own time, in milliseconds since 1970; null where it has none but the machine's. */
  time(): Promise<number | null>
  /** Null of a store without a pool. */
  connections(): { readonly total: number; readonly idle: number; readonly waiting: number } | null
  close(): Promise<void>
}

/** Turns entities into the SCIM text that is stored and served; `main` passes the SCIM renderer in. */
export interface DocumentCodec {
  person(person: Person): string
  account(account: ServiceAccount): string
  credential(credential: Credential): string
  /** One element of the account's `credentials` attribute. */
  credentialSummary(credential: Credential): string
  group(group: Group): string
  /** One element of a group's `members`. */
  member(member: Member): string
  /** One element of a person's `groups`. */
  groupSummary(group: Group): string
  /** The attributes object back from a stored person, account or group text. */
  attributes(text: string): JsonObject
}

export type { Topic } from './sql.ts'
export { isIndexed } from './sources.ts'
export type { AuditHead, AuditQuery, Vitals } from './store-audit.ts'
export type { Fence, StoreFacts } from './fence.ts'
export type { LiveKey } from './finding-store.ts'
export type { VendorCount } from './import-store.ts'
export type { Sealed } from './sealed-store.ts'
export type { FailedRequestQuery } from './failed-request-store.ts'
export type { Departure } from './departure-store.ts'
export type { TaskQuery } from './task-store.ts'
export type { AccountQuery, PersonQuery, ReportCounts, StateCounts } from './report-store.ts'
export { reportCountMax } from './report-store.ts'
export type { AuditRow, Failure, PersonId }
