import { AppError, errors } from '../domain/errors.ts'
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
import { resourceRoom } from './resources.ts'
import type { Database, Query, Refusal, Sql, Steps } from './sql.ts'
import { migrateSqlite, SqliteDatabase } from './sqlite.ts'
import type { Change, CommitResult, DocumentCodec, Reads, Store } from './store.ts'
import { departureRoom } from './departures.ts'
import { sweepRoom } from './sweeps.ts'
import { replicaRoom } from './replicas.ts'
import { vitalsRoom } from './vitals.ts'

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
      return buildStore(await migrated(database, known, readonly), sqliteDialect, options.codec)
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
  return buildStore(database, sqliteDialect, codec)
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

function buildStore(database: Database, dialect: Dialect, codec: DocumentCodec): Store {
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
  const query: Query = database.query.bind(database)

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
    person: (tenant, id) => resources.person(query, tenant, id),
    account: (tenant, id) => resources.account(query, tenant, id),
    credential: (tenant, id) => resources.credential(query, tenant, id),
    credentialsOf: (tenant, account) => resources.credentialsOf(query, tenant, account),
    keysOf: (tenant, credential) => resources.keysOf(query, tenant, credential),
    keysOfAccount: (tenant, account) => resources.keysOfAccount(query, tenant, account),
    principal: (tenant, account, provider) => resources.principal(query, tenant, account, provider),
    principalsOf: (tenant, account) => resources.principalsOf(query, tenant, account),
    retiredAccountsOf: (tenant, owner, after, limit) =>
      resources.retiredAccountsOf(query, tenant, owner, after, limit),
    accountsOwnedBy: (tenant, owner, after, limit) =>
      resources.accountsOwnedBy(query, tenant, owner, after, limit),
    accountsAfter: (tenant, after, limit) => resources.accountsAfter(query, tenant, after, limit),
    credentialsAfter: (tenant, after, limit) =>
      resources.credentialsAfter(query, tenant, after, limit),
    peopleAfter: (tenant, after, limit) => resources.peopleAfter(query, tenant, after, limit),

    userDocument: (tenant, id) => documents.userDocument(query, tenant, id),
    credentialDocument: (tenant, id) => documents.credentialDocument(query, tenant, id),
    listUsers: (want) => documents.listUsers(query, want),
    listCredentials: (want) => documents.listCredentials(query, want),

    group: (tenant, id) => groups.group(query, tenant, id),
    groupState: (tenant, id) => groups.groupState(query, tenant, id),
    members: (tenant, group, after, limit) => groups.members(query, tenant, group, after, limit),
    membersAmong: (tenant, group, ids) => groups.membersAmong(query, tenant, group, ids),
    memberTargets: (tenant, ids) => groups.memberTargets(query, tenant, ids),
    groupsOf: (tenant, person) => groups.groupsOf(query, tenant, person),
    groupsAround: (tenant, person) => groups.groupsAround(query, tenant, person),
    groupDocument: (tenant, id, options) => documents.groupDocument(query, tenant, id, options),
    listGroups: (want) => documents.listGroups(query, want),

    operation: (tenant, id) => journal.get(query, tenant, id),
    operations: (want) => journal.list(query, want),
    openOperations: (tenant, account) => journal.openOf(query, tenant, account),
    inFlightUntil: (tenant, account, now) => journal.inFlightUntil(query, tenant, account, now),
    leaseHolders: () => journal.leaseHolders(query),
    nextRunAt: () => journal.nextRunAt(query),

    orphans: (...want) => sweeps.orphans(query, ...want),
    overdue: (...want) => sweeps.overdue(query, ...want),
    gone: (...want) => sweeps.gone(query, ...want),
    departure: (...want) => departures.one(query, ...want),
    departuresOf: (...want) => departures.of(query, ...want),
    movedFrom: (...want) => departures.movedFrom(query, ...want),
    departuresDue: (...want) => departures.due(query, ...want),
    readBy: (...want) => departures.readBy(query, ...want),
    leaving: (...want) => sweeps.leaving(query, ...want),
    accountsOf: (...want) => sweeps.accountsOf(query, ...want),
    expired: (...want) => sweeps.expired(query, ...want),
    expiring: (...want) => sweeps.expiring(query, ...want),
    deletable: (...want) => sweeps.deletable(query, ...want),
    expiredCredentials: (...want) => sweeps.expiredCredentials(query, ...want),
    rotationDue: (...want) => sweeps.rotationDue(query, ...want),
    leftBehind: (...want) => sweeps.leftBehind(query, ...want),
    planned: (...want) => sweeps.planned(query, ...want),
    lastSlot: (job) => sweeps.lastSlot(query, job),

    client: (id) => clients.client(query, id),
    clients: (tenant) => clients.clients(query, tenant),
    clientToken: (id) => clients.clientToken(query, id),
    clientTokensOf: (client) => clients.clientTokensOf(query, client),
    issuedToken: (id) => clients.issuedToken(query, id),
    issuedTokensOf: (account, provider) => clients.issuedTokensOf(query, account, provider),
    issuedTokensAfter: (provider, after, limit) =>
      clients.issuedTokensAfter(query, provider, after, limit),
    tokenState: (id) => clients.tokenState(query, id),

    audit: (tenant, want) => audit.list(query, tenant, want),
    auditEntries: (tenant, want) => audit.entries(query, tenant, want),
    auditFrom: (tenant, from, limit) => audit.from(query, tenant, from, limit),
    auditEntry: (tenant, id) => audit.entry(query, tenant, id),
    auditPending: (after) => tree.pending(query, after),
    auditUnsequenced: (tenant, limit) => tree.unsequenced(query, tenant, limit),
    auditHead: (tenant) => tree.head(query, tenant),
    auditHeads: () => tree.heads(query),
    auditNodes: (tenant, level, place, limit) => tree.nodes(query, tenant, level, place, limit),
    checkpoint: (tenant, size) => tree.checkpoint(query, tenant, size),
    vitals: (now) => vitals(query, now),
    meta: (key) => clients.meta(query, key),
    brakes: () => brakes.all(query),
    leaveCounts: (tenant, directory, who) => approvals.counts(query, tenant, directory, who),
    approval: (tenant, id) => approvals.approval(query, tenant, id),
    formingApproval: (tenant, kind, subject) => approvals.forming(query, tenant, kind, subject),
    approvals: (tenant, want) => approvals.list(query, tenant, want),
    approvalItems: (tenant, id, after, limit) => approvals.items(query, tenant, id, after, limit),
    approvalItem: (tenant, id, subject) => approvals.item(query, tenant, id, subject),
    finding: (tenant, id) => findings.one(query, tenant, id),
    findings: (want) => findings.list(query, want),
    unresolvedFindings: (provider, subjects) => findings.unresolved(query, provider, subjects),
    findingsNotSeen: (provider, run, after, limit) =>
      findings.notSeen(query, provider, run, after, limit),
    keysById: (provider, keyIds) => findings.keysById(query, provider, keyIds),
    keysByFingerprint: (provider, prints) => findings.keysByFingerprint(query, provider, prints),
    principalsByExternal: (provider, externals) =>
      findings.principalsByExternal(query, provider, externals),
    liveKeysAt: (provider, after, limit) => findings.liveKeys(query, provider, after, limit),
    liveKeysTally: (...of) => findings.tally(query, ...of),
    keysDeletedSince: (provider, since) => findings.deletedSince(query, provider, since),
    groupsHolding: (tenant, member) => entitlements.groupsHolding(query, tenant, member),
    grantedThrough: (tenant, groups, after, limit) =>
      entitlements.grantedThrough(query, tenant, groups, after, limit),
    groupGranted: (after, limit) => entitlements.groupGranted(query, after, limit),
    peopleNamed: (tenant, names) => imports.peopleNamed(query, tenant, names),
    peopleAtLogin: (tenant, login, limit) => imports.peopleAtLogin(query, tenant, login, limit),
    accountsOfVendor: (tenant, vendor, after, limit) =>
      imports.accountsOfVendor(query, tenant, vendor, after, limit),
    vendors: (tenant, after, limit) => imports.vendors(query, tenant, after, limit),
    sealed: (tenant, credential, keyId) => sealed.one(query, tenant, credential, keyId),
    allSealed: (after, limit) => sealed.page(query, after, limit),
    task: (tenant, id) => tasks.one(query, tenant, id),
    tasks: (want) => tasks.list(query, want),
    tasksOfAccount: (tenant, account) => tasks.ofAccount(query, tenant, account),
    tasksAt: (provider, after, limit) => tasks.atProvider(query, provider, after, limit),
    consumerReports: (tenant, account) => consumers.ofAccount(query, tenant, account),
    keyProbe: (tenant, credential, generation) =>
      consumers.probeOf(query, tenant, credential, generation),
    taskEvidence: (tenant, task) => tasks.evidence(query, tenant, task),
    shadow: (tenant, account) => shadows.one(query, tenant, account),
    shadowsDue: (now, after, limit) => shadows.due(query, now, after, limit),
    shadowActs: (want) => shadows.acts(query, want),
    shadowCounts: (tenant, from, until) => shadows.counts(query, tenant, from, until),
    consent: (tenant, account, act) => shadows.waiting(query, tenant, account, act),
    directoryCheck: (tenant, name) => directoryChecks.one(query, tenant, name),
    directoryChecks: () => directoryChecks.heads(query),
    replay: (tenant, client, scope) => ledger.replay(query, tenant, client, scope),
    scimRequests: (want) => ledger.scimRequests(query, want),
    failedRequest: (tenant, id) => failedRequests.one(query, tenant, id),
    failedRequests: (want) => failedRequests.list(query, want),
    openFailures: (...of) => failedRequests.count(query, ...of),
    openFailure: (...of) => failedRequests.open(query, ...of),
    move: (tenant, id) => moves.one(query, tenant, id),
    openMove: (tenant) => moves.open(query, tenant),
    moves: (tenant) => moves.all(query, tenant),
    movedOne: (...of) => moves.movedOne(query, ...of),
    movedByKey: (...of) => moves.byKey(query, ...of),
    movedAfter: (...of) => moves.movedAfter(query, ...of),
    peopleOfDirectory: (...of) => moves.people(query, ...of),
    groupsOfDirectory: (...of) => moves.groups(query, ...of),
    sightings: (tenant, client) => ledger.sightings(query, tenant, client),
    replicas: () => replicas.replicas(query),
    leader: (job) => replicas.leader(query, job),
  }

  let trouble: string | null = null
  const commit = async (changes: readonly Change[]): Promise<CommitResult> => {
    const prepared = changes.map(work)
    try {
      const result = await database.write(
        () => inOrder(prepared),
        (kept) => kept === 'saved',
        changes.flatMap(lockOf),
      )
      trouble = null
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
      if (trouble === null) return null
      await commit([{ type: 'meta', key: 'writeProbe', value: 'kept' }]).catch(() => undefined)
      return trouble
    },
    claim: (worker, now, lease, limit, others = limit, except = []) =>
      database.write(
        () => journal.claim(worker, now, lease, limit, others, except),
        () => true,
        // A second claim has to see what the first made running.
        ['claim'],
      ),
    heartbeat: (id, fence, until) =>
      database.write(
        () => journal.heartbeat(id, fence, until),
        () => true,
      ),
    letGo: (id, worker, at) =>
      database.write(
        () => journal.letGo(id, worker, at),
        () => true,
      ),
    releaseLeases: (worker, at) =>
      database.write(
        () => journal.releaseLeases(worker, at),
        () => true,
      ),
    announce: (topic) => database.signals?.announce(topic),
    listen: async (heard) => (await database.signals?.listen(heard)) ?? (() => undefined),
    time: () => database.time(),
    close: () => database.close(),
  }
}

function* inOrder(work: readonly (() => Steps<Refusal | null>)[]): Steps<CommitResult> {
  for (const [change, steps] of work.entries()) {
    const refusal = yield* steps()
    if (refusal !== null) return { change, ...refusal }
  }
  return 'saved'
}

/**
 * The account whose summaries or open operations a change has to find as they were: its row alone
 * does not guard them. Resources are named too: commits that touch the same ones in different
 * orders then queue, where PostgreSQL would wait a second and break one off.
 */
function lockOf(change: Change): readonly string[] {
  switch (change.type) {
    case 'person':
      return [change.person.id]
    case 'account':
      return [change.account.id]
    case 'credential':
      return [change.credential.account]
    case 'group':
      return [change.group.id]
    // Whether a group has anybody active follows from the rows of many people and groups: what two
    // commits change side by side, neither would see.
    case 'members':
      return [change.group, `members:${change.tenant}`]
    case 'memberSwitched':
    case 'departed':
      return [`members:${change.tenant}`]
    case 'moveOpened':
      return [`members:${change.move.tenant}`]
    // How many left, and which batch they wait in, follows from the rows of many people.
    case 'leaving':
      return [`leavers:${change.tenant}:${change.directory}`]
    case 'held':
      return [`leavers:${change.approval.tenant}:${change.approval.subject}`]
    case 'approvalFrozen':
      return [`leavers:${change.tenant}:${change.directory}`]
    case 'approvalDecided':
      return [`leavers:${change.item.tenant}:${change.directory}`]
    case 'enqueue':
      return [change.operation.account ?? change.operation.subject]
    default:
      return []
  }
}
