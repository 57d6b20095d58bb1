import { parseInstant, seconds, secondsBetween, type Seconds } from '../../src/domain/time.ts'
import {
  ProviderError,
  type Call,
  type Discovered,
  type DiscoveryPage,
  type EnsuredPrincipal,
  type ExternalCredential,
  type Issued,
  type KindCapabilities,
  type Listing,
  type WantedPrincipal,
} from '../../src/provider/contract.ts'
import { pageSize } from './client.ts'
import { durationOf } from './config.ts'
import type { Attempt } from './errors.ts'
import type { GithubKind, GithubKit } from './kind.ts'
import { adoptedOf, writeAdopting, type ScopeRefusal } from './names.ts'
import { Organization } from './organization.ts'
import { isKind, refusal } from './refusals.ts'

/** As GitHub lists it. */
interface Grant {
  readonly id: number
  readonly owner: { readonly login: string }
  readonly repository_selection: 'none' | 'all' | 'subset'
  readonly permissions: Readonly<Record<string, Readonly<Record<string, string>> | undefined>>
  readonly access_granted_at: string
  readonly token_id: number
  readonly token_name: string
  readonly token_expired: boolean
  readonly token_expires_at: string | null
  readonly token_last_used_at: string | null
}

const reads = { organization_personal_access_tokens: 'read' } as const
const governs = { organization_personal_access_tokens: 'write' } as const

/** Above this many, one asynchronous request ends what single ones would take minutes for. */
const singlyMax = 10
/** GitHub's limit for one bulk request. */
const bulkMax = 100
/** A bulk request answers 202 and is carried out later; how soon is nowhere promised. */
const bulkSeconds = 10

/**
 * What fine-grained tokens of people may do in the organisation. Custody can neither make such a
 * token nor end it: it lists, owns and ends the grant.
 */
export class PatGrants implements GithubKind {
  readonly kind = 'pat-grant'
  readonly permissions = governs
  readonly capabilities: KindCapabilities
  readonly #kit: GithubKit
  readonly #organization: Organization
  /** Older ones are pointed out by `discover`; null = age alone is no matter. */
  readonly #maxAge: Seconds | null

  constructor(kit: GithubKit) {
    this.#kit = kit
    this.#organization = new Organization(kit.client)
    const { maxAge } = kit.config.patGrants ?? {}
    this.#maxAge = maxAge === undefined ? null : durationOf('patGrants.maxAge', maxAge, seconds(0))
    this.capabilities = {
      canCreate: false,
      canRevoke: true,
      canList: true,
      maxLive: null,
      canDisable: false,
      canRescope: false,
      canProbe: false,
      canLastUsed: true,
      // How late GitHub tells of a use is not documented; an hour is our guess.
      lastUsedLag: seconds(3_600),
      mint: 'none',
      lease: null,
      keepsSecret: false,
      settleMin: seconds(0),
      settleMax: kit.settle,
      quota: { calls: 5_000, per: seconds(3_600) },
      probe: { count: 1, every: seconds(0) },
      cannot: [
        'Be made over the API: people make these tokens themselves, and they are adopted.',
        'End the token itself: only its access to this organisation ends; other organisations and the own repositories of its holder stay reachable.',
        'Be switched off and on again: the holder has to ask for the access anew.',
        'Be tried: Custody never sees the token; the end is proven by a complete listing.',
        'Govern classic tokens (ghp_…): no listing shows them; forbid them in the organisation.',
      ],
    }
  }

  ownsKey(keyId: string): boolean {
    return readGrantId(keyId) !== null
  }

  checkScopes(): ScopeRefusal {
    return {
      scope: '',
      reason:
        'a grant of a personal token cannot be requested; it is found by discovery and adopted.',
    }
  }

  issue(): Promise<Issued> {
    return Promise.reject(
      refusal('invalid', 'Personal tokens are made by people; adopt the grant instead.'),
    )
  }

  /** 404 also means "not yours to see", so an absence counts only after a complete listing. */
  async revoke(_principal: string, keyId: string, call: Call): Promise<void> {
    const id = readGrantId(keyId)
    if (id === null) throw refusal('invalid', `"${keyId}" is not the id of a token's grant.`)
    if (await this.#endOne(id, call)) return
    const { items, complete } = await this.all(call)
    if (!complete) throw cut()
    if (items.some((g) => g.id === id)) {
      throw refusal(
        'denied',
        `Grant ${id} is listed but cannot be ended: the App needs organization_personal_access_tokens=write.`,
      )
    }
  }

  /**
   * Ends several at once and reads again until none of them is there.
   * @throws ProviderError `unavailable` while GitHub has not carried it out
   */
  async endAll(ids: readonly number[], call: Call): Promise<void> {
    if (ids.length <= singlyMax) {
      for (const id of ids) await this.revoke('', writeGrantId(id), call)
      return
    }
    const org = await this.#organization.login(call)
    const attempt: Attempt = {
      request: `POST /orgs/${org}/personal-access-tokens`,
      writes: true,
      ends: true,
      needs: governs,
    }
    for (let at = 0; at < ids.length; at += bulkMax) {
      const some = ids.slice(at, at + bulkMax)
      await this.#kit.client.asInstallation(attempt, call, (octokit, options) =>
        octokit.rest.orgs.updatePatAccesses({ org, action: 'revoke', pat_ids: some, ...options }),
      )
    }
    const { items, complete } = await this.all(call)
    if (!complete) throw cut()
    const left = items.filter((g) => ids.includes(g.id)).length
    if (left === 0) return
    throw new ProviderError(
      'unavailable',
      `${attempt.request}: GitHub has accepted to end ${ids.length} grants and still lists ${left}; they are looked at again.`,
      { outcome: 'unknown', retryAfter: seconds(bulkSeconds) },
    )
  }

  /** Those that were adopted for the account; nothing is asked when there are none. */
  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const adopted = adoptedOf(principal).filter((keyId) => this.ownsKey(keyId))
    if (adopted.length === 0) return { items: [], complete: true }
    const { items, complete } = await this.all(call)
    return { items: items.map(keyOf).filter((key) => adopted.includes(key.keyId)), complete }
  }

  async discover(from: string | null, call: Call): Promise<DiscoveryPage> {
    const page = from === null ? 1 : Number(from)
    if (!Number.isInteger(page) || page < 1) {
      throw refusal('invalid', 'This is no place in a listing of grants.')
    }
    const { items, isLast } = await this.#page(page, call)
    return {
      items: items.map((grant) => this.#discovered(grant)),
      next: isLast ? null : String(page + 1),
      complete: true,
      total: null,
    }
  }

  adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> | null {
    const id = readGrantId(external)
    return id === null ? null : this.#adopt(id, want, call)
  }

  /** Every grant in the organisation. */
  async all(call: Call): Promise<Listing<Grant>> {
    const org = await this.#organization.login(call)
    const attempt: Attempt = {
      request: `GET /orgs/${org}/personal-access-tokens`,
      writes: false,
      needs: reads,
    }
    return this.#kit.client.pages<Grant>(attempt, call, (octokit, page, options) =>
      octokit.rest.orgs.listPatGrants({ org, per_page: pageSize, page, ...options }),
    )
  }

  async #adopt(id: number, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const { items, complete } = await this.all(call)
    if (!items.some((g) => g.id === id)) {
      if (!complete) throw cut()
      throw refusal('notFound', `The organisation has no grant ${id} any more.`)
    }
    const external = writeAdopting(this.#kit.installationId, want, writeGrantId(id))
    return { external, created: false }
  }

  async #page(
    page: number,
    call: Call,
  ): Promise<{ readonly items: readonly Grant[]; readonly isLast: boolean }> {
    const org = await this.#organization.login(call)
    const attempt: Attempt = {
      request: `GET /orgs/${org}/personal-access-tokens`,
      writes: false,
      needs: reads,
    }
    const reply = await this.#kit.client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.orgs.listPatGrants({ org, per_page: pageSize, page, ...options }),
    )
    return { items: reply.data, isLast: !/rel="next"/.test(String(reply.headers['link'] ?? '')) }
  }

  /** False when GitHub answers 404. */
  async #endOne(id: number, call: Call): Promise<boolean> {
    const org = await this.#organization.login(call)
    const attempt: Attempt = {
      request: `POST /orgs/${org}/personal-access-tokens/${id}`,
      writes: true,
      ends: true,
      needs: governs,
    }
    return this.#kit.client
      .asInstallation(attempt, call, (octokit, options) =>
        octokit.rest.orgs.updatePatAccess({ org, pat_id: id, action: 'revoke', ...options }),
      )
      .then(
        () => true,
        (error: unknown) => {
          if (isKind(error, 'notFound')) return false
          throw error
        },
      )
  }

  #discovered(grant: Grant): Discovered {
    const key = keyOf(grant)
    return {
      external: key.keyId,
      name: `${grant.token_name} (token ${grant.token_id} of ${grant.owner.login})`,
      kind: 'pat-grant',
      createdAt: key.createdAt,
      keys: [key],
      owners: [{ hint: grant.owner.login, from: 'holder' }],
      vendor: null,
      account: null,
      obstacle: null,
      notes: this.#notesOn(grant),
    }
  }

  #notesOn(grant: Grant): readonly string[] {
    const granted = parseInstant(grant.access_granted_at)
    const age = granted === null ? 0 : secondsBetween(granted, this.#kit.host.clock.now())
    const days = (length: number) => Math.floor(length / 86_400)
    return [
      grant.token_expired
        ? 'The token has expired.'
        : grant.token_expires_at === null
          ? 'The token never expires.'
          : `The token expires at ${grant.token_expires_at}.`,
      ...(this.#maxAge !== null && age > this.#maxAge
        ? [`Granted ${days(age)} days ago; the configuration allows ${days(this.#maxAge)}.`]
        : []),
      ...(grant.token_last_used_at === null ? ['The token was never used.'] : []),
      `Reaches ${reachOf(grant)}.`,
    ]
  }
}

function reachOf({ repository_selection, permissions }: Grant): string {
  const granted = ['organization', 'repository', 'other'].flatMap((of) =>
    Object.entries(permissions[of] ?? {}).map(([name, level]) => `${name}=${level}`),
  )
  const where = { none: 'no repository', all: 'all repositories', subset: 'some repositories' }
  return `${where[repository_selection]} with ${granted.join(', ') || 'no permission'}`
}

function keyOf(grant: Grant): ExternalCredential {
  return {
    keyId: writeGrantId(grant.id),
    fingerprint: null,
    kind: 'pat-grant',
    active: !grant.token_expired,
    createdAt: parseInstant(grant.access_granted_at),
    lastUsedAt: parseInstant(grant.token_last_used_at ?? ''),
  }
}

/** The login that holds the token behind a grant, compared as GitHub does. */
export function isHeldBy(grant: Grant, login: string): boolean {
  return grant.owner.login.toLowerCase() === login.toLowerCase()
}

function writeGrantId(id: number): string {
  return `pat#${id}`
}

function readGrantId(keyId: string): number | null {
  const m = /^pat#(\d{1,15})$/.exec(keyId)
  return m && Number(m[1])
}

function cut(): ProviderError {
  return refusal('unavailable', 'The listing of grants is cut, absence proves nothing.')
}
