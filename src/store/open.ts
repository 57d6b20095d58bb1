import { randomBytes } from 'node:crypto'
import { AppError, errors } from '../domain/errors.ts'
import type { TenantId } from '../domain/ids.ts'
import { assertNever } from '../domain/json.ts'
import { approvalRoom } from './approvals.ts'
import { auditRoom } from './audit.ts'
import { auditTreeRoom } from './audit-tree.ts'
import { brakeRoom } from './brakes.ts'
import { clientRoom } from './clients.ts'
import { sqliteDialect, type Dialect } from './dialect.ts'
import { postgresDialect } from './dialect-postgres.ts'
import { documentRoom } from './documents.ts'
import { moveRoom } from './moves.ts'
import { failedRequestRoom } from './failed-requests.ts'
import { everyTenant, scopeOf, sqliteFacts, tenantMemory } from './fence.ts'
import { findingRoom } from './findings.ts'
import { entitlementRoom } from './entitlements.ts'
import { importRoom } from './imports.ts'
import { sealedRoom } from './sealed.ts'
import { consumerRoom } from './consumers.ts'
import { shadowRoom } from './shadows.ts'
import { taskRoom } from './tasks.ts'
import { directoryCheckRoom } from './directory-checks.ts'
import { groupRoom } from './groups.ts'
import { journalRoom } from './journal.ts'
import { ledgerRoom } from './ledger.ts'
import { migrations, type Migration } from './migrations/migrations.ts'
import { PostgresDatabase } from './postgres.ts'
import { lockOf, scopeOfCommit } from './reach.ts'
import { resourceRoom } from './resources.ts'
import type { Database, Query, Refusal, Sql, Steps } from './sql.ts'
import { migrateSqlite, SqliteDatabase } from './sqlite.ts'
import type { Change, CommitResult, DocumentCodec, Reads, Store } from './store.ts'
import { departureRoom } from './departures.ts'
import { sweepRoom } from './sweeps.ts'
import { replicaRoom } from './replicas.ts'
import { listingRoom } from './listings.ts'
import { reportRoom } from './reports.ts'
import { vitalsRoom } from './vitals.ts'
import { inOrder, isGuarded, worksOf, type WorkRooms } from './works.ts'

export interface StoreOptions {
  /** `sqlite:<path>`, `sqlite::memory:` or `postgres://user:password@host:port/database`. */
  readonly url: string
  readonly codec: DocumentCodec
  /** For sweeps and local commands beside a running server: nothing is written, migrations neither. */
  readonly readonly?: boolean
  /** PostgreSQL: at most so many connections (10); with one, writes keep the order of their calls. */
  readonly connections?: number
  /** Other than the ones this version ships; for tests of migrating itself. */
  readonly migrations?: readonly Migration[]
}

/**
 * Opens the store, creating and migrating the database as needed.
 * @throws configInvalid for a URL of another kind or refused credentials; databaseNewer,
 *   migrationChanged; notReady when a read-only store meets a database that was not migrated, when
 *   the file stays locked or the server cannot be reached. None repeats the URL.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const readonly = options.readonly ?? false
  const known = options.migrations ?? migrations
  const [scheme] = options.url.split(':')
  switch (scheme) {
    case 'sqlite': {
      const path = options.url.slice('sqlite:'.length)
      const database = await SqliteDatabase.open(path, { readonly })
      return storeOver(await migrated(database, known, readonly), options.codec)
    }
    case 'postgres':
    case 'postgresql': {
      const { connections } = options
      const limit = connections === undefined ? {} : { connections }
      const database = await PostgresDatabase.open(options.url, {
        readonly,
        migrations: known,
        ...limit,
      })
      return buildStore(database, postgresDialect, options.codec)
    }
    default:
      throw errors.configInvalid({
        problems: `store.url "${scheme}:…" is not supported; use sqlite:<path> or postgres://….`,
      })
  }
}

/** A store over a SQLite database that the caller opened, migrated and will close. */
export function storeOver(database: SqliteDatabase, codec: DocumentCodec): Store {
  const query: Query = database.query.bind(database)
  const unfenced: Database = {
    facts: sqliteFacts,
    within: () => query,
    write: (_, steps, keep) => database.write(steps, keep),
    time: () => database.time(),
    close: () => database.close(),
  }
  return buildStore(unfenced, sqliteDialect, codec)
}

async function migrated(
  database: SqliteDatabase,
  known: readonly Migration[],
  readonly: boolean,
): Promise<SqliteDatabase> {
  try {
    await migrateSqlite(database, known, readonly)
    return database
  } catch (error) {
    await database.close()
    throw error
  }
}

/** Several pages that no compression makes smaller. */
const bulk = (): string => randomBytes(65_536).toString('base64')

/** A store whose statements run on that database. */
export function buildStore(database: Database, dialect: Dialect, codec: DocumentCodec): Store {
  const sql: Sql = { db: dialect.compiler(), dialect }
  const resources = resourceRoom(sql, codec)
  const documents = documentRoom(sql)
  const groups = groupRoom(sql, codec)
  const journal = journalRoom(sql)
  const sweeps = sweepRoom(sql)
  const clients = clientRoom(sql, codec)
  const audit = auditRoom(sql)
  const tree = auditTreeRoom(sql)
  const vitals = vitalsRoom(sql)
  const ledger = ledgerRoom(sql)
  const brakes = brakeRoom(sql)
  const approvals = approvalRoom(sql)
  const findings = findingRoom(sql)
  const imports = importRoom(sql, codec)
  const entitlements = entitlementRoom(sql)
  const tasks = taskRoom(sql)
  const consumers = consumerRoom(sql)
  const shadows = shadowRoom(sql)
  const sealed = sealedRoom(sql)
  const failedRequests = failedRequestRoom(sql)
  const moves = moveRoom(sql, codec)
  const departures = departureRoom(sql)
  const directoryChecks = directoryCheckRoom(sql)
  const replicas = replicaRoom(sql)
  const reports = reportRoom(sql, codec)
  const listings = listingRoom(sql, codec)
  const within = (tenant: TenantId): Query => database.within(scopeOf(tenant))
  const everywhere = database.within(everyTenant)
  const ofToken = tenantMemory()

  function work(change: Change): () => Steps<Refusal | null> {
    switch (change.type) {
      case 'person':
        return resources.putPerson(change.person, change.expectedVersion)
      case 'account':
        return resources.putAccount(change.account, change.expectedVersion)
      case 'credential':
        return resources.putCredential(change.credential, change.expectedVersion)
      case 'group':
        return groups.putGroup(change.group, change.expectedVersion)
      case 'members':
        return groups.changeMembers(change)
      case 'memberSwitched':
        return groups.memberSwitched(change)
      case 'key':
        return resources.putKey(change.key)
      case 'principal':
        return resources.putPrincipal(change.principal)
      case 'enqueue':
        return journal.enqueue(change.operation, change.preempt)
      case 'advance':
        return journal.advance(change)
      case 'claimed':
        return journal.claimed(change.operation, change.fence)
      case 'audit':
        return audit.append(change.row)
      case 'auditSequenced':
        return tree.sequenced(change)
      case 'auditSigned':
        return tree.signed(change)
      case 'slot':
        return clients.takeSlot(change)
      case 'expiryWarned':
        return sweeps.warned(change)
      case 'client':
        return clients.putClient(change.client)
      case 'clientToken':
        return clients.putClientToken(change.token)
      case 'issuedToken':
        return clients.putIssuedToken(change.token)
      case 'issuedTokenActive':
        return clients.issuedTokenActive(change.id, change.active)
      case 'issuedTokenScopes':
        return clients.issuedTokenScopes(change.id, change.scopes)
      case 'issuedTokenRemoved':
        return clients.issuedTokenRemoved(change.id)
      case 'issuedTokenUsed':
        return clients.issuedTokenUsed(change.id, change.at)
      case 'clientTokenUsed':
        return clients.clientTokenUsed(change.id, change.at)
      case 'meta':
        return clients.putMeta(change.key, change.value)
      case 'replayClaim':
        return ledger.claimReplay(change.replay, change.now)
      case 'replayAnswer':
        return ledger.answerReplay(change.replay)
      case 'replayRelease':
        return ledger.releaseReplay(change.replay)
      case 'scimRequests':
        return ledger.logRequests(change.requests, change.before)
      case 'sightings':
        return ledger.count(change.sightings, change.before)
      case 'brakeEngaged':
        return brakes.engage(change.brake)
      case 'brakeReleased':
        return brakes.release(change)
      case 'urgentDue':
        return brakes.urgentDue(change)
      case 'leaving':
        return approvals.leaving(change)
      case 'held':
        return approvals.hold(change)
      case 'approvalFrozen':
        return approvals.freeze(change)
      case 'approvalDecided':
        return approvals.decide(change)
      case 'finding':
        return findings.put(change.finding, change.expectedVersion)
      case 'keysSeen':
        return findings.seen(change)
      case 'keyMissed':
        return findings.missed(change)
      case 'sealed':
        return sealed.put(change.sealed)
      case 'unsealed':
        return sealed.drop(change)
      case 'sealedSwept':
        return sealed.sweep(change.before)
      case 'task':
        return tasks.put(change.task, change.expectedVersion)
      case 'requestFailed':
        return failedRequests.failed(change)
      case 'requestSettled':
        return failedRequests.settled(change)
      case 'failureDecided':
        return failedRequests.decided(change)
      case 'moveOpened':
        return moves.opened(change)
      case 'moved':
        return moves.moved(change)
      case 'moveAdvanced':
        return moves.advanced(change)
      case 'movedConfirmed':
        return moves.confirmed(change)
      case 'movedOldWord':
        return moves.oldWord(change)
      case 'taskEvidence':
        return tasks.putEvidence(change)
      case 'consumerReport':
        return consumers.report(change.report)
      case 'keyProbe':
        return consumers.probe(change.probe)
      case 'shadow':
        return shadows.put(change)
      case 'shadowEnded':
        return shadows.end(change)
      case 'shadowAct':
        return shadows.addAct(change)
      case 'consent':
        return shadows.consent(change)
      case 'consentUsed':
        return shadows.consentUsed(change)
      case 'departed':
        return departures.depart(change)
      case 'handedOver':
        return departures.handOver(change)
      case 'departureSeen':
        return departures.seen(change)
      case 'directoryCheck':
        return directoryChecks.put(change.check)
      case 'replicaSeen':
        return replicas.seen(change)
      case 'replicaGone':
        return replicas.gone(change)
      case 'lead':
        return replicas.lead(change)
      case 'led':
        return replicas.led(change)
      default:
        return assertNever(change)
    }
  }

  const read: Reads = {
    person: (tenant, id) => resources.person(within(tenant), tenant, id),
    account: (tenant, id) => resources.account(within(tenant), tenant, id),
    credential: (tenant, id) => resources.credential(within(tenant), tenant, id),
    credentialsOf: (tenant, account) => resources.credentialsOf(within(tenant), tenant, account),
    keysOf: (tenant, credential) => resources.keysOf(within(tenant), tenant, credential),
    keysOfAccount: (tenant, account) => resources.keysOfAccount(within(tenant), tenant, account),
    principal: (tenant, account, provider) =>
      resources.principal(within(tenant), tenant, account, provider),
    principalsOf: (tenant, account) => resources.principalsOf(within(tenant), tenant, account),
    retiredAccountsOf: (tenant, owner, after, limit) =>
      resources.retiredAccountsOf(within(tenant), tenant, owner, after, limit),
    accountsOwnedBy: (tenant, owner, after, limit) =>
      resources.accountsOwnedBy(within(tenant), tenant, owner, after, limit),
    accountsAfter: (tenant, after, limit) =>
      resources.accountsAfter(within(tenant), tenant, after, limit),
    credentialsAfter: (tenant, after, limit) =>
      resources.credentialsAfter(within(tenant), tenant, after, limit),
    peopleAfter: (tenant, after, limit) =>
      resources.peopleAfter(within(tenant), tenant, after, limit),

    userDocument: (tenant, id) => documents.userDocument(within(tenant), tenant, id),
    credentialDocument: (tenant, id) => documents.credentialDocument(within(tenant), tenant, id),
    listUsers: (want) => documents.listUsers(within(want.tenant), want),
    listCredentials: (want) => documents.listCredentials(within(want.tenant), want),

    group: (tenant, id) => groups.group(within(tenant), tenant, id),
    groupState: (tenant, id) => groups.groupState(within(tenant), tenant, id),
    members: (tenant, group, after, limit) =>
      groups.members(within(tenant), tenant, group, after, limit),
    membersAmong: (tenant, group, ids) => groups.membersAmong(within(tenant), tenant, group, ids),
    memberTargets: (tenant, ids) => groups.memberTargets(within(tenant), tenant, ids),
    groupsOf: (tenant, person) => groups.groupsOf(within(tenant), tenant, person),
    groupsAround: (tenant, person) => groups.groupsAround(within(tenant), tenant, person),
    groupDocument: (tenant, id, options) =>
      documents.groupDocument(within(tenant), tenant, id, options),
    listGroups: (want) => documents.listGroups(within(want.tenant), want),

    operation: (tenant, id) => journal.get(within(tenant), tenant, id),
    operations: (want) => journal.list(within(want.tenant), want),
    openOperations: (tenant, account) => journal.openOf(within(tenant), tenant, account),
    inFlightUntil: (tenant, account, now) =>
      journal.inFlightUntil(within(tenant), tenant, account, now),
    leaseHolders: () => journal.leaseHolders(everywhere),
    nextRunAt: () => journal.nextRunAt(everywhere),

    orphans: (...want) => sweeps.orphans(everywhere, ...want),
    overdue: (...want) => sweeps.overdue(everywhere, ...want),
    gone: (...want) => sweeps.gone(everywhere, ...want),
    departure: (...want) => departures.one(within(want[0]), ...want),
    departuresOf: (...want) => departures.of(within(want[0]), ...want),
    movedFrom: (...want) => departures.movedFrom(within(want[0]), ...want),
    departuresDue: (...want) => departures.due(everywhere, ...want),
    readBy: (...want) => departures.readBy(within(want[0]), ...want),
    leaving: (...want) => sweeps.leaving(everywhere, ...want),
    accountsOf: (...want) => sweeps.accountsOf(within(want[1]), ...want),
    expired: (...want) => sweeps.expired(everywhere, ...want),
    expiring: (...want) => sweeps.expiring(everywhere, ...want),
    deletable: (...want) => sweeps.deletable(everywhere, ...want),
    expiredCredentials: (...want) => sweeps.expiredCredentials(everywhere, ...want),
    rotationDue: (...want) => sweeps.rotationDue(everywhere, ...want),
    leftBehind: (...want) => sweeps.leftBehind(everywhere, ...want),
    planned: (...want) => sweeps.planned(everywhere, ...want),
    lastSlot: (job) => sweeps.lastSlot(everywhere, job),

    client: (id) => clients.client(everywhere, id),
    clients: (tenant) => clients.clients(within(tenant), tenant),
    clientToken: (id) =>
      ofToken(
        id,
        (scope) => clients.clientToken(database.within(scope), id),
        ({ client }) => client.tenant,
      ),
    clientTokensOf: (client) => clients.clientTokensOf(everywhere, client),
    issuedToken: (id) =>
      ofToken(
        id,
        (scope) => clients.issuedToken(database.within(scope), id),
        ({ tenant }) => tenant,
      ),
    issuedTokensOf: (account, provider) => clients.issuedTokensOf(everywhere, account, provider),
    issuedTokensAfter: (provider, after, limit) =>
      clients.issuedTokensAfter(everywhere, provider, after, limit),
    tokenState: (id) =>
      ofToken(
        id,
        (scope) => clients.tokenState(database.within(scope), id),
        ({ token }) => token.tenant,
      ),

    audit: (tenant, want) => audit.list(within(tenant), tenant, want),
    auditEntries: (tenant, want) => audit.entries(within(tenant), tenant, want),
    auditFrom: (tenant, from, limit) => audit.from(within(tenant), tenant, from, limit),
    auditEntry: (tenant, id) => audit.entry(within(tenant), tenant, id),
    auditPending: (after) => tree.pending(everywhere, after),
    auditUnsequenced: (tenant, limit) => tree.unsequenced(within(tenant), tenant, limit),
    auditHead: (tenant) => tree.head(within(tenant), tenant),
    auditHeads: () => tree.heads(everywhere),
    auditNodes: (tenant, level, place, limit) =>
      tree.nodes(within(tenant), tenant, level, place, limit),
    checkpoint: (tenant, size) => tree.checkpoint(within(tenant), tenant, size),
    vitals: (now, providers) => vitals(everywhere, now, providers),
    meta: (key) => clients.meta(everywhere, key),
    brakes: () => brakes.all(everywhere),
    leaveCounts: (tenant, directory, who) =>
      approvals.counts(within(tenant), tenant, directory, who),
    approval: (tenant, id) => approvals.approval(within(tenant), tenant, id),
    formingApproval: (tenant, kind, subject) =>
      approvals.forming(within(tenant), tenant, kind, subject),
    approvals: (tenant, want) => approvals.list(within(tenant), tenant, want),
    approvalItems: (tenant, id, after, limit) =>
      approvals.items(within(tenant), tenant, id, after, limit),
    approvalItem: (tenant, id, subject) => approvals.item(within(tenant), tenant, id, subject),
    finding: (tenant, id) => findings.one(within(tenant), tenant, id),
    findings: (want) => findings.list(within(want.tenant), want),
    unresolvedFindings: (provider, subjects) => findings.unresolved(everywhere, provider, subjects),
    findingsNotSeen: (provider, run, after, limit) =>
      findings.notSeen(everywhere, provider, run, after, limit),
    keysById: (provider, keyIds) => findings.keysById(everywhere, provider, keyIds),
    keysByFingerprint: (provider, prints) =>
      findings.keysByFingerprint(everywhere, provider, prints),
    principalsByExternal: (provider, externals) =>
      findings.principalsByExternal(everywhere, provider, externals),
    liveKeysAt: (provider, after, limit) => findings.liveKeys(everywhere, provider, after, limit),
    liveKeysTally: (...of) => findings.tally(everywhere, ...of),
    keysDeletedSince: (provider, since) => findings.deletedSince(everywhere, provider, since),
    groupsHolding: (tenant, member) => entitlements.groupsHolding(within(tenant), tenant, member),
    grantedThrough: (tenant, groups, after, limit) =>
      entitlements.grantedThrough(within(tenant), tenant, groups, after, limit),
    groupGranted: (after, limit) => entitlements.groupGranted(everywhere, after, limit),
    peopleNamed: (tenant, names) => imports.peopleNamed(within(tenant), tenant, names),
    peopleAtLogin: (tenant, login, limit) =>
      imports.peopleAtLogin(within(tenant), tenant, login, limit),
    accountsOfVendor: (tenant, vendor, after, limit) =>
      imports.accountsOfVendor(within(tenant), tenant, vendor, after, limit),
    vendors: (tenant, after, limit) => imports.vendors(within(tenant), tenant, after, limit),
    sealed: (tenant, credential, keyId) => sealed.one(within(tenant), tenant, credential, keyId),
    allSealed: (after, limit) => sealed.page(everywhere, after, limit),
    task: (tenant, id) => tasks.one(within(tenant), tenant, id),
    tasks: (want) => tasks.list(within(want.tenant), want),
    tasksOfAccount: (tenant, account) => tasks.ofAccount(within(tenant), tenant, account),
    tasksAt: (provider, after, limit) => tasks.atProvider(everywhere, provider, after, limit),
    consumerReports: (tenant, account) => consumers.ofAccount(within(tenant), tenant, account),
    keyProbe: (tenant, credential, generation) =>
      consumers.probeOf(within(tenant), tenant, credential, generation),
    taskEvidence: (tenant, task) => tasks.evidence(within(tenant), tenant, task),
    shadow: (tenant, account) => shadows.one(within(tenant), tenant, account),
    shadowsDue: (now, after, limit) => shadows.due(everywhere, now, after, limit),
    shadowActs: (want) => shadows.acts(within(want.tenant), want),
    shadowCounts: (tenant, from, until) => shadows.counts(within(tenant), tenant, from, until),
    consent: (tenant, account, act) => shadows.waiting(within(tenant), tenant, account, act),
    directoryCheck: (tenant, name) => directoryChecks.one(within(tenant), tenant, name),
    directoryChecks: () => directoryChecks.heads(everywhere),
    replay: (tenant, client, scope) => ledger.replay(within(tenant), tenant, client, scope),
    scimRequests: (want) => ledger.scimRequests(within(want.tenant), want),
    failedRequest: (tenant, id) => failedRequests.one(within(tenant), tenant, id),
    failedRequests: (want) => failedRequests.list(within(want.tenant), want),
    openFailures: (...of) => failedRequests.count(within(of[0]), ...of),
    openFailure: (...of) => failedRequests.open(within(of[0]), ...of),
    move: (tenant, id) => moves.one(within(tenant), tenant, id),
    openMove: (tenant) => moves.open(within(tenant), tenant),
    moves: (tenant) => moves.all(within(tenant), tenant),
    movedOne: (...of) => moves.movedOne(within(of[0]), ...of),
    movedByKey: (...of) => moves.byKey(within(of[0]), ...of),
    movedAfter: (...of) => moves.movedAfter(within(of[0]), ...of),
    peopleOfDirectory: (...of) => moves.people(within(of[0]), ...of),
    groupsOfDirectory: (...of) => moves.groups(within(of[0]), ...of),
    sightings: (tenant, client) => ledger.sightings(within(tenant), tenant, client),
    replicas: () => replicas.replicas(everywhere),
    leader: (job) => replicas.leader(everywhere, job),

    stateCounts: (tenant) => reports.states(within(tenant), tenant),
    endsByDay: (...of) => reports.endsByDay(within(of[0]), ...of),
    reportCounts: (...of) => reports.counts(within(of[0]), ...of),
    oldestKeysOf: (...of) => reports.oldestKeys(within(of[0]), ...of),
    overdueRotations: (...of) => reports.overdue(within(of[0]), ...of),
    revokedSince: (...of) => reports.revokedSince(within(of[0]), ...of),
    leavingsSince: (...of) => reports.leavingsSince(within(of[0]), ...of),
    openAccounts: (...of) => reports.openAccounts(within(of[0]), ...of),
    accountsWhere: (want) => listings.accounts(within(want.tenant), want),
    credentialsWhere: (want) => listings.credentials(within(want.tenant), want),
    peopleWhere: (want) => listings.people(within(want.tenant), want),
  }

  const rooms: WorkRooms = {
    work,
    advanceAll: (advances) => journal.advanceAll(advances),
    appendAll: (rows) => audit.appendAll(rows),
  }
  let trouble: string | null = null
  const commit = async (changes: readonly Change[]): Promise<CommitResult> => {
    const prepared = worksOf(changes, rooms)
    try {
      const result = await database.write(
        scopeOfCommit(changes),
        () => inOrder(prepared),
        (kept) => kept === 'saved',
        changes.flatMap(lockOf),
        changes.every(isGuarded) ? 'shared' : 'alone',
      )
      return result
    } catch (error) {
      if (error instanceof AppError && error.code === 'notReady') {
        trouble = String(error.facts['reason'])
      }
      throw error
    }
  }

  return {
    read,
    commit,
    async unwritable() {
      const known = (await database.health?.()) ?? null
      if (known !== null) return known
      if (trouble === null) return null
      // On a full disk what is small still finds room: only what needs some shows that there is some.
      const isWritten = await commit([{ type: 'meta', key: 'writeProbe', value: bulk() }])
        .then(() => commit([{ type: 'meta', key: 'writeProbe', value: 'kept' }]))
        .then(
          () => true,
          () => false,
        )
      if (isWritten) trouble = null
      return trouble
    },
    claim: (worker, now, lease, limit, others = limit, except = []) =>
      database.write(
        everyTenant,
        () => journal.claim(worker, now, lease, limit, others, except),
        () => true,
        // A second claim has to see what the first made running: with clocks apart, or something
        // urgent queued in between, each would find another operation of an account to be its first.
        ['claim'],
        'planned',
      ),
    heartbeat: (id, fence, until) =>
      database.write(
        everyTenant,
        () => journal.heartbeat(id, fence, until),
        () => true,
        [],
        'shared',
      ),
    letGo: (id, worker, at) =>
      database.write(
        everyTenant,
        () => journal.letGo(id, worker, at),
        () => true,
      ),
    releaseLeases: (worker, at) =>
      database.write(
        everyTenant,
        () => journal.releaseLeases(worker, at),
        () => true,
      ),
    announce: (topic) => database.signals?.announce(topic),
    listen: async (heard) => (await database.signals?.listen(heard)) ?? (() => undefined),
    time: () => database.time(),
    facts: () => database.facts,
    connections: () => database.connections?.() ?? null,
    close: () => database.close(),
  }
}
