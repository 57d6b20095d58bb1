import { parseInstant, seconds } from '../../src/domain/time.ts'
import type {
  Call,
  Discovered,
  DiscoveryPage,
  EnsuredPrincipal,
  ExternalCredential,
  Issued,
  KindCapabilities,
  Listing,
  ProviderError,
  WantedPrincipal,
} from '../../src/provider/contract.ts'
import { pageSize } from './client.ts'
import type { Attempt } from './errors.ts'
import type { GithubKind, GithubKit } from './kind.ts'
import { adoptedOf, writeAdopting, type ScopeRefusal } from './names.ts'
import { Organization } from './organization.ts'
import { isKind, refusal } from './refusals.ts'

/** As GitHub lists it. */
interface Installation {
  readonly id: number
  readonly app_slug: string
  readonly repository_selection: 'all' | 'selected'
  readonly permissions: object
  readonly created_at: string
  readonly suspended_at: string | null
}

const reads = { organization_administration: 'read' } as const

/** Where a person ends one; no API of GitHub's lets an organisation do it. */
function settingsPage(org: string, id: number): string {
  return `https://github.com/organizations/${org}/settings/installations/${id}`
}

/** Apps of other publishers that are installed in the organisation: owned and watched, never made. */
export class AppInstallations implements GithubKind {
  readonly kind = 'app-installation'
  readonly permissions = reads
  readonly capabilities: KindCapabilities
  readonly #kit: GithubKit
  readonly #organization: Organization
  readonly #publishers = new Map<string, string | null>()

  constructor(kit: GithubKit) {
    this.#kit = kit
    this.#organization = new Organization(kit.client)
    this.capabilities = {
      canCreate: false,
      canRevoke: false,
      canList: true,
      maxLive: null,
      canDisable: false,
      canRescope: false,
      canProbe: false,
      canLastUsed: false,
      lastUsedLag: seconds(0),
      mint: 'none',
      lease: null,
      keepsSecret: false,
      settleMin: seconds(0),
      settleMax: kit.settle,
      quota: { calls: 5_000, per: seconds(3_600) },
      probe: { count: 1, every: seconds(0) },
      cannot: [
        'Be made over the API: an organisation owner installs it, and it is adopted.',
        'Be suspended or uninstalled over the API by anybody but its publisher: an organisation owner does it under Settings, GitHub Apps, Configure; the end is proven by a complete listing.',
        'Tell when it was used last: GitHub shows that to its publisher only.',
      ],
    }
  }

  ownsKey(keyId: string): boolean {
    return readInstallationId(keyId) !== null
  }

  checkScopes(): ScopeRefusal {
    return {
      scope: '',
      reason: 'an app of a third party is installed by an organisation owner, and then adopted.',
    }
  }

  issue(): Promise<Issued> {
    return Promise.reject(
      refusal('invalid', 'Apps are installed by organisation owners; adopt the installation.'),
    )
  }

  /** Says where to click, unless somebody did already. */
  async revoke(_principal: string, keyId: string, call: Call): Promise<void> {
    const id = readInstallationId(keyId)
    if (id === null) throw refusal('invalid', `"${keyId}" is not the id of an app's installation.`)
    const { items, complete } = await this.#all(call)
    const found = items.find((i) => i.id === id)
    if (!found) {
      if (complete) return
      throw cut()
    }
    const org = await this.#organization.login(call)
    throw refusal(
      'denied',
      `GitHub lets nobody but its publisher end the app "${found.app_slug}" over the API; an owner of ${org} uninstalls it at ${settingsPage(org, id)}.`,
    )
  }

  /** Those that were adopted for the account; nothing is asked when there are none. */
  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const adopted = adoptedOf(principal).filter((keyId) => this.ownsKey(keyId))
    if (adopted.length === 0) return { items: [], complete: true }
    const { items, complete } = await this.#all(call)
    return { items: items.map(keyOf).filter((key) => adopted.includes(key.keyId)), complete }
  }

  async discover(from: string | null, call: Call): Promise<DiscoveryPage> {
    const page = from === null ? 1 : Number(from)
    if (!Number.isInteger(page) || page < 1) {
      throw refusal('invalid', 'This is no place in a listing of installations.')
    }
    const { items, total, isLast } = await this.#page(page, call)
    const discovered: Discovered[] = []
    for (const item of items) discovered.push(await this.#discovered(item, call))
    return { items: discovered, next: isLast ? null : String(page + 1), complete: true, total }
  }

  adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> | null {
    const id = readInstallationId(external)
    return id === null ? null : this.#adopt(id, want, call)
  }

  async #adopt(id: number, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const { items, complete } = await this.#all(call)
    if (!items.some((i) => i.id === id)) {
      if (!complete) throw cut()
      throw refusal('notFound', `The organisation has no installation ${id} any more.`)
    }
    const external = writeAdopting(this.#kit.installationId, want, writeInstallationId(id))
    return { external, created: false }
  }

  async #all(call: Call): Promise<Listing<Installation>> {
    const items: Installation[] = []
    for (let page = 1; ; page++) {
      const read = await this.#page(page, call)
      items.push(...read.items)
      if (read.isLast) return { items, complete: true }
    }
  }

  /** Custody's own installation is left out: it is no third party's. */
  async #page(
    page: number,
    call: Call,
  ): Promise<{
    readonly items: readonly Installation[]
    readonly total: number
    readonly isLast: boolean
  }> {
    const org = await this.#organization.login(call)
    const attempt: Attempt = {
      request: `GET /orgs/${org}/installations`,
      writes: false,
      needs: reads,
    }
    const reply = await this.#kit.client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.orgs.listAppInstallations({ org, per_page: pageSize, page, ...options }),
    )
    const items = reply.data.installations.filter((i) => i.id !== this.#kit.installationId)
    return {
      items,
      total: reply.data.total_count - 1,
      isLast: !/rel="next"/.test(String(reply.headers['link'] ?? '')),
    }
  }

  async #discovered(item: Installation, call: Call): Promise<Discovered> {
    const key = keyOf(item)
    const granted = Object.entries(item.permissions).map(
      ([name, level]) => `${name}=${String(level)}`,
    )
    const where = item.repository_selection === 'all' ? 'all repositories' : 'selected repositories'
    return {
      external: key.keyId,
      name: item.app_slug,
      kind: 'app-installation',
      createdAt: key.createdAt,
      keys: [key],
      owners: [],
      vendor: (await this.#publisherOf(item.app_slug, call)) ?? item.app_slug,
      account: null,
      obstacle: null,
      notes: [
        `Reaches ${where} with ${granted.sort().join(', ') || 'no permission'}.`,
        ...(item.suspended_at === null ? [] : [`Suspended since ${item.suspended_at}.`]),
      ],
    }
  }

  /** Null for a private app, which only its own organisation is shown. */
  async #publisherOf(slug: string, call: Call): Promise<string | null> {
    const known = this.#publishers.get(slug)
    if (known !== undefined) return known
    const attempt: Attempt = { request: `GET /apps/${slug}`, writes: false }
    const publisher = await this.#kit.client
      .asInstallation(attempt, call, (octokit, options) =>
        octokit.rest.apps.getBySlug({ app_slug: slug, ...options }),
      )
      .then(
        ({ data }) => (data && 'login' in data.owner ? data.owner.login : null),
        (error: unknown) => {
          if (isKind(error, 'notFound')) return null
          throw error
        },
      )
    this.#publishers.set(slug, publisher)
    return publisher
  }
}

function keyOf(item: Installation): ExternalCredential {
  return {
    keyId: writeInstallationId(item.id),
    fingerprint: null,
    kind: 'app-installation',
    active: item.suspended_at === null,
    createdAt: parseInstant(item.created_at),
    lastUsedAt: null,
    lastUsedUnknown: true,
  }
}

function writeInstallationId(id: number): string {
  return `app#${id}`
}

function readInstallationId(keyId: string): number | null {
  const m = /^app#(\d{1,15})$/.exec(keyId)
  return m && Number(m[1])
}

function cut(): ProviderError {
  return refusal('unavailable', 'The listing of installations is cut, absence proves nothing.')
}
