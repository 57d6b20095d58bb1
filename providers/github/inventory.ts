import { isJsonObject } from '../../src/domain/json.ts'
import type {
  Call,
  Discovered,
  DiscoveryPage,
  InventoryEntry,
  InventoryPage,
  ListedKey,
  Listing,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { GithubClient } from './client.ts'
import { pageSize } from './client.ts'
import { externalOf, type DeployKey } from './keys.ts'
import { accountOfTitle, writePrincipal, type Place } from './names.ts'

interface Found extends Place {
  readonly id: number
}

interface Reach {
  readonly client: GithubClient
  readonly installationId: number
  /** Null when the repository is out of the App's reach. */
  readonly keysAt: (at: Found) => Promise<Listing<DeployKey> | null>
}

/** Page `page` of the repositories, behind the one with the id `after`. */
interface Cursor {
  readonly page: number
  readonly after: number | null
}

/** Each costs a request of its own; GitHub allows 100 at a time, and a page has 20 s. */
const repositoriesPerPage = 20
const concurrency = 4

/**
 * One page of the deploy keys that bear Custody's title, in the repositories that the App sees. Keys
 * under other titles are their teams' business and not listed.
 */
export async function inventoryPage(
  reach: Reach,
  from: string | null,
  call: Call,
): Promise<InventoryPage> {
  const { read, complete, next } = await keysPage(reach, from, call)
  const entries = read.flatMap(({ at, keys }) => entriesOf(reach.installationId, at, keys))
  return { entries, complete, next }
}

/** One page of the deploy keys that are not Custody's, with whoever added them as the likely owner. */
export async function foreignKeysPage(
  reach: Reach,
  from: string | null,
  call: Call,
): Promise<DiscoveryPage> {
  const { read, complete, next } = await keysPage(reach, from, call)
  const items = read.flatMap(({ at, keys }) =>
    keys.filter(({ title }) => accountOfTitle(title) === null).map((key) => foreignKey(at, key)),
  )
  return { items, complete, next, total: null }
}

interface KeysPage {
  readonly read: readonly { readonly at: Found; readonly keys: readonly DeployKey[] }[]
  readonly complete: boolean
  readonly next: string | null
}

async function keysPage(reach: Reach, from: string | null, call: Call): Promise<KeysPage> {
  const { page, after } = cursorOf(from)
  const { found, isLast } = await repositories(reach.client, page, call)
  // Not found: it is gone since, and the page is read again from its start.
  const rest = found.slice(found.findIndex((r) => r.id === after) + 1)
  const all: { readonly at: Found; readonly keys: readonly DeployKey[] }[] = []
  let complete = true
  let done = 0
  for (const most = Math.min(rest.length, repositoriesPerPage); done < most;) {
    const some = rest.slice(done, Math.min(done + concurrency, most))
    const read = await Promise.all(some.map((at) => reach.keysAt(at))).catch((error: unknown) => {
      // What was read stands; the next page goes on from there.
      if (done === 0) throw error
      return null
    })
    if (read === null) break
    for (const [i, keys] of read.entries()) {
      complete &&= keys?.complete ?? false
      all.push({ at: some[i]!, keys: keys?.items ?? [] })
    }
    done += some.length
  }
  const next: Cursor | null =
    done < rest.length
      ? { page, after: rest[done - 1]?.id ?? after }
      : isLast
        ? null
        : { page: page + 1, after: null }
  return { read: all, complete, next: next && JSON.stringify(next) }
}

function foreignKey(at: Found, key: DeployKey): Discovered {
  const listed = externalOf(at.id, key)
  return {
    external: listed.keyId,
    name: `${at.owner}/${at.repo}: ${key.title}`,
    kind: 'deploy-key',
    createdAt: listed.createdAt,
    keys: [listed],
    owners: key.added_by ? [{ hint: key.added_by, from: 'creator' }] : [],
    vendor: null,
    account: null,
    obstacle: null,
    notes: [
      key.read_only
        ? 'It may read the repository.'
        : 'It may push to every branch whose rules do not protect it.',
      'It never expires.',
      ...(listed.lastUsedAt === null ? ['It was never used.'] : []),
    ],
  }
}

async function repositories(
  client: GithubClient,
  page: number,
  call: Call,
): Promise<{ readonly found: readonly Found[]; readonly isLast: boolean }> {
  const attempt = { request: 'GET /installation/repositories', writes: false }
  const reply = await client.asInstallation(attempt, call, (octokit, options) =>
    octokit.rest.apps.listReposAccessibleToInstallation({ per_page: pageSize, page, ...options }),
  )
  return {
    found: reply.data.repositories.map((r) => ({ id: r.id, owner: r.owner.login, repo: r.name })),
    isLast: !/rel="next"/.test(String(reply.headers['link'] ?? '')),
  }
}

/** The keys of one repository by the account that their titles name. */
function entriesOf(
  installation: number,
  at: Found,
  keys: readonly DeployKey[],
): readonly InventoryEntry[] {
  const accounts = new Map<string, ListedKey[]>()
  for (const key of keys) {
    const account = accountOfTitle(key.title)
    if (account === null) continue
    accounts.set(account, [...(accounts.get(account) ?? []), externalOf(at.id, key)])
  }
  return [...accounts].map(([account, own]) => ({
    external: writePrincipal(installation, account),
    name: `${at.owner}/${at.repo}`,
    account,
    createdAt: own.reduce<InventoryEntry['createdAt']>(
      (first, { createdAt }) =>
        first === null || (createdAt ?? first) < first ? createdAt : first,
      null,
    ),
    keys: own,
  }))
}

function cursorOf(from: string | null): Cursor {
  if (from === null) return { page: 1, after: null }
  try {
    const value: unknown = JSON.parse(from)
    if (isJsonObject(value)) {
      const { page, after } = value
      if (typeof page === 'number' && (after === null || typeof after === 'number')) {
        return { page, after }
      }
    }
  } catch {
    // Falls through to the same refusal.
  }
  throw new ProviderError('invalid', 'This is no place in an inventory of deploy keys.', {
    outcome: 'notApplied',
  })
}
