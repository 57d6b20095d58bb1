import { errors } from '../domain/errors.ts'
import { assertNever } from '../domain/json.ts'
import { auditRoom } from './audit.ts'
import { clientRoom } from './clients.ts'
import { sqliteDialect } from './dialect.ts'
import { documentRoom } from './documents.ts'
import { journalRoom } from './journal.ts'
import { ledgerRoom } from './ledger.ts'
import {
  ledgerTable,
  migrations,
  pendingMigrations,
  type AppliedMigration,
  type Migration,
} from './migrations/migrations.ts'
import { resourceRoom } from './resources.ts'
import type { Refusal, Sql, Steps } from './sql.ts'
import { SqliteDatabase } from './sqlite.ts'
import type { Change, CommitResult, DocumentCodec, Reads, Store } from './store.ts'
import { sweepRoom } from './sweeps.ts'

export interface StoreOptions {
  /** `sqlite:<path>` or `sqlite::memory:`. */
  readonly url: string
  readonly codec: DocumentCodec
  /** For sweeps and local commands beside a running server: nothing is written, migrations neither. */
  readonly readonly?: boolean
  /** Other than the ones this version ships; for tests of migrating itself. */
  readonly migrations?: readonly Migration[]
}

/**
 * Opens the store, creating and migrating the database as needed.
 * @throws configInvalid for a URL of another kind; databaseNewer, migrationChanged; notReady when a
 *   read-only store meets a database that was not migrated, or the file stays locked
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const path = /^sqlite:(.+)$/.exec(options.url)?.[1]
  if (path === undefined) {
    const problems = `store.url "${options.url.split(':')[0]}:…" is not supported; use sqlite:<path>.`
    throw errors.configInvalid({ problems })
  }
  const database = await SqliteDatabase.open(path, { readonly: options.readonly ?? false })
  try {
    await migrate(database, options)
    return buildStore(database, options.codec)
  } catch (error) {
    await database.close()
    throw error
  }
}

async function migrate(database: SqliteDatabase, options: StoreOptions): Promise<void> {
  await database.migrate((db) => {
    if (options.readonly !== true) db.exec(ledgerTable(sqliteDialect))
    const ledger = db.prepare("select 1 from sqlite_schema where name = 'migration'").get()
    const applied =
      ledger === undefined
        ? []
        : db.prepare<[], AppliedMigration>('select number, name, checksum from migration').all()
    const pending = pendingMigrations(options.migrations ?? migrations, applied, sqliteDialect)
    if (options.readonly === true && pending.length > 0) {
      throw errors.notReady({
        reason: `the database lacks migration ${pending[0]!.name}; start the server once to apply it`,
      })
    }
    const record =
      pending.length > 0
        ? db.prepare('insert into migration (number, name, checksum) values (?, ?, ?)')
        : null
    for (const { number, name, checksum, statements } of pending) {
      for (const text of statements) db.exec(text)
      record?.run(number, name, checksum)
    }
  })
}

function buildStore(database: SqliteDatabase, codec: DocumentCodec): Store {
  const sql: Sql = { db: sqliteDialect.compiler(), dialect: sqliteDialect }
  const resources = resourceRoom(sql, codec)
  const documents = documentRoom(sql)
  const journal = journalRoom(sql)
  const sweeps = sweepRoom(sql, codec)
  const clients = clientRoom(sql, codec)
  const audit = auditRoom(sql)
  const ledger = ledgerRoom(sql)
  const query = database.query.bind(database)

  function work(change: Change): () => Steps<Refusal | null> {
    switch (change.type) {
      case 'person':
        return resources.putPerson(change.person, change.expectedVersion)
      case 'account':
        return resources.putAccount(change.account, change.expectedVersion)
      case 'credential':
        return resources.putCredential(change.credential, change.expectedVersion)
      case 'key':
        return resources.putKey(change.key)
      case 'principal':
        return resources.putPrincipal(change.principal)
      case 'enqueue':
        return journal.enqueue(change.operation, change.preempt)
      case 'advance':
        return journal.advance(change)
      case 'audit':
        return audit.append(change.row)
      case 'slot':
        return clients.takeSlot(change)
      case 'client':
        return clients.putClient(change.client)
      case 'clientToken':
        return clients.putClientToken(change.token)
      case 'issuedToken':
        return clients.putIssuedToken(change.token)
      case 'issuedTokenActive':
        return clients.issuedTokenActive(change.id, change.active)
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

    operation: (tenant, id) => journal.get(query, tenant, id),
    operations: (want) => journal.list(query, want),
    openOperations: (tenant, account) => journal.openOf(query, tenant, account),
    inFlightUntil: (tenant, account, now) => journal.inFlightUntil(query, tenant, account, now),
    leaseHolders: () => journal.leaseHolders(query),
    nextRunAt: () => journal.nextRunAt(query),

    orphans: (now, after, limit) => sweeps.orphans(query, now, after, limit),
    expired: (now, after, limit) => sweeps.expired(query, now, after, limit),
    deletable: (now, after, limit) => sweeps.deletable(query, now, after, limit),
    expiredCredentials: (now, after, limit) => sweeps.expiredCredentials(query, now, after, limit),
    rotationDue: (now, after, limit) => sweeps.rotationDue(query, now, after, limit),

    client: (id) => clients.client(query, id),
    clients: (tenant) => clients.clients(query, tenant),
    clientToken: (id) => clients.clientToken(query, id),
    clientTokensOf: (client) => clients.clientTokensOf(query, client),
    issuedToken: (id) => clients.issuedToken(query, id),
    issuedTokensOf: (account, provider) => clients.issuedTokensOf(query, account, provider),
    tokenState: (id) => clients.tokenState(query, id),

    audit: (tenant, want) => audit.list(query, tenant, want),
    meta: (key) => clients.meta(query, key),
    replay: (tenant, client, scope) => ledger.replay(query, tenant, client, scope),
    scimRequests: (want) => ledger.scimRequests(query, want),
  }

  return {
    read,
    async commit(changes) {
      const prepared = changes.map(work)
      return database.write(
        () => inOrder(prepared),
        (result) => result === 'saved',
      )
    },
    claim: (worker, now, lease, limit) =>
      database.write(
        () => journal.claim(worker, now, lease, limit),
        () => true,
      ),
    heartbeat: (id, fence, until) =>
      database.write(
        () => journal.heartbeat(id, fence, until),
        () => true,
      ),
    releaseLeases: (worker, at) =>
      database.write(
        () => journal.releaseLeases(worker, at),
        () => true,
      ),
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
