// Custody as it is served, on a home that is there already, without the limit of requests per client
// and with its log going nowhere.
//   node custody.ts <home> <grouped | single | dry> [url of another database]
import { loadConfig } from '../src/host/config.ts'
import { createLog } from '../src/host/log.ts'
import { checkConfig, startCustody } from '../src/main.ts'
import { documentCodec } from '../src/scim/codec.ts'
import type { Change, Reads, Store, StoredUser } from '../src/store/store.ts'

type Writing = 'grouped' | 'single' | 'dry'
const [home, writes, url] = process.argv.slice(2) as [string, Writing, string?]
const env = {
  CUSTODY_HOME: home,
  CUSTODY_LISTEN: '127.0.0.1:0',
  ...(url === undefined ? {} : { CUSTODY_STORE_URL: url }),
}
const config = await loadConfig({ env, cwd: home }, checkConfig)
const stores = { grouped: (store: Store) => store, single: oneCommitEach, dry: nothingWritten }
const custody = await startCustody({
  config,
  roles: ['http'],
  rateLimit: null,
  log: createLog({ level: 'info', write: () => undefined }),
  store: stores[writes],
})
process.once('SIGTERM', () => void custody.close().then(() => process.exit(0)))
process.stdout.write(`listening ${custody.url}\n`)

/** Each commit waits for the one before it, and so has a transaction and an fsync of its own. */
function oneCommitEach(store: Store): Store {
  let last: Promise<unknown> = Promise.resolve()
  return {
    ...store,
    commit(changes) {
      const mine = last.then(() => store.commit(changes))
      last = mine.catch(() => undefined)
      return mine
    },
  }
}

/** New people and accounts are rendered and read back, and never written. */
function nothingWritten(store: Store): Store {
  const created = new Map<string, StoredUser>()
  const keep = (change: Change): boolean => {
    if (change.type === 'person' && change.expectedVersion === null) {
      const { id, directory, createdAt, updatedAt } = change.person
      const text = documentCodec.person(change.person)
      const document = { text, credentials: null, createdAt, updatedAt, etag: '1' } as const
      created.set(id, { id, type: 'person', directory, ...document })
      return true
    }
    if (change.type === 'account' && change.expectedVersion === null) {
      const { id, createdAt, updatedAt } = change.account
      const text = documentCodec.account(change.account)
      const document = { text, credentials: '[]', createdAt, updatedAt, etag: '1.0' } as const
      created.set(id, { id, type: 'account', directory: null, ...document })
      return true
    }
    return change.type === 'audit' || change.type === 'scimRequests'
  }
  const read: Reads = {
    ...store.read,
    async userDocument(tenant, id) {
      const document = created.get(id)
      if (document === undefined) return store.read.userDocument(tenant, id)
      created.delete(id)
      return document
    },
  }
  return {
    ...store,
    read,
    async commit(changes) {
      const dry = changes.map(keep)
      return dry.includes(false) ? store.commit(changes) : 'saved'
    },
  }
}
