import { seconds } from '../../src/domain/time.ts'
import type {
  Call,
  CheckFinding,
  DiscoveryPage,
  Drift,
  EnsuredPrincipal,
  ExternalCredential,
  InventoryPage,
  Issued,
  KindCapabilities,
  Listing,
  Prepared,
  ProviderError,
  WantedCredential,
  WantedPrincipal,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { pageSize } from './client.ts'
import type { Attempt } from './errors.ts'
import { foreignKeysPage, inventoryPage } from './inventory.ts'
import { externalOf, type DeployKey } from './keys.ts'
import type { GithubKind, GithubKit } from './kind.ts'
import {
  accountOfTitle,
  accountPrefix,
  parseScopes,
  readKeyId,
  readNote,
  titlePrefix,
  writeAdopting,
  writeKeyId,
  type DeployKeyScope,
  type KeyId,
  type Place,
  type ScopeRefusal,
} from './names.ts'
import { fingerprintOfLine, generateSshKeyPair } from './openssh.ts'
import { deniedIfNotFound, isKind, refusal } from './refusals.ts'
import { findRepository, reachableRepositories } from './repositories.ts'

/** Repositories whose keys are read at the same time; GitHub allows 100 concurrent requests. */
const listConcurrency = 4
/** Repositories that a check looks into for a key; each costs a request. */
const lookedInto = 10
const needs = { administration: 'write' } as const

/**
 * Deploy keys of repositories. The key pair is made here and only its public half leaves, so issuing
 * is idempotent by fingerprint; there is no switched-off state, no expiry and no way to try a key
 * over the API: see README.md for what follows from that.
 */
export class DeployKeys implements GithubKind {
  readonly kind = 'deploy-key'
  readonly capabilities: KindCapabilities
  readonly permissions = needs
  readonly #kit: GithubKit
  /** Where repositories were last seen, so that a revocation usually needs one request. */
  readonly #places = new Map<number, Place>()

  constructor(kit: GithubKit) {
    this.#kit = kit
    this.capabilities = {
      canCreate: true,
      canRevoke: true,
      canList: true,
      maxLive: null,
      canDisable: false,
      canRescope: 'newKey',
      canProbe: false,
      canLastUsed: true,
      lastUsedLag: seconds(0),
      mint: 'client',
      lease: null,
      keepsSecret: false,
      settleMin: seconds(0),
      settleMax: kit.settle,
      // Of an installation; content-creating requests 80 a minute and 500 an hour (GitHub docs).
      quota: { calls: 5_000, per: seconds(3_600) },
      probe: { count: 1, every: seconds(0) },
      cannot: [
        'Be switched off and on again: a deploy key works until it is deleted.',
        'Expire by itself.',
        'Be tried over the API: its death is proven by a complete listing.',
      ],
    }
  }

  ownsKey(keyId: string): boolean {
    return readKeyId(keyId) !== null
  }

  checkScopes(scopes: readonly string[]): ScopeRefusal | null {
    const parsed = parseScopes(scopes)
    return 'reason' in parsed ? parsed : null
  }

  prepare(want: WantedCredential): Prepared {
    const comment = `custody/${want.credential}/g${want.generation}`
    const pair = generateSshKeyPair(comment, this.#kit.host.random)
    return { secret: pair.privateKey, publicPart: pair.publicKey, fingerprint: pair.fingerprint }
  }

  async issue(_principal: string, credential: WantedCredential, call: Call): Promise<Issued> {
    const want = readWanted(credential)
    const at = await findRepository(this.#kit.client, want, needs, call).catch(deniedIfNotFound)
    this.#places.set(at.id, at)
    const attempt: Attempt = {
      request: `POST /repos/${at.owner}/${at.repo}/keys`,
      writes: true,
      creates: true,
      needs,
    }
    if (!(await call.fence())) {
      throw refusal('fenced', `${attempt.request}: overtaken before sending.`)
    }
    const created = this.#kit.client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.repos.createDeployKey({
        owner: at.owner,
        repo: at.repo,
        title: `${want.titlePrefix}${credential.operation}`,
        key: want.publicKey,
        read_only: want.readOnly,
        ...options,
      }),
    )
    const { id } = await created.then(
      (reply): DeployKey => reply.data,
      (error: unknown) =>
        isKind(error, 'conflict') ? this.#adopt(at, want, error, call) : deniedIfNotFound(error),
    )
    return {
      keyId: writeKeyId({ repositoryId: at.id, id }),
      secret: null,
      fingerprint: want.fingerprint,
      expiresAt: null,
    }
  }

  async revoke(_principal: string, keyId: string, call: Call): Promise<void> {
    const key = readKeyId(keyId)
    if (!key) throw refusal('invalid', `"${keyId}" is not the id of a deploy key.`)
    const { repositoryId, id } = key
    const seen = this.#places.get(repositoryId)
    // Key ids are unique on all of GitHub: a repository that took over the name has no such key.
    if (seen && (await this.#remove(seen, id, call))) return
    // 404 also means "moved" and "not yours to see": absence counts only after a full listing.
    const at = await this.#locate(repositoryId, call)
    if (!at) {
      throw refusal(
        'denied',
        `Repository ${repositoryId} is out of the App's reach, so nobody can tell whether deploy key ${id} still works; give the App access, or confirm that the repository was deleted.`,
      )
    }
    if (await this.#remove(at, id, call)) return
    const { items, complete } = await this.#keysAt(at, call, { ends: true })
    if (!complete) throw incomplete(`GET /repos/${at.owner}/${at.repo}/keys`)
    if (items.some((k) => k.id === id)) {
      throw refusal(
        'denied',
        `Deploy key ${id} of ${at.owner}/${at.repo} is listed but cannot be deleted: the App needs administration=write.`,
      )
    }
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const note = readNote(principal)
    if (!note) throw refusal('invalid', `"${principal}" is not a principal of this provider.`)
    const adopted = note.adopted.filter((id) => this.ownsKey(id))
    // Nothing was ever made for an account that only adopted other things: nothing is there to find.
    if (!note.issues && adopted.length === 0) return { items: [], complete: true }
    const prefix = accountPrefix(note.account)
    const reachable = await reachableRepositories(this.#kit.client, needs, call)
    let { complete } = reachable
    const items: ExternalCredential[] = []
    const queue = [...reachable.items]
    const drain = async (): Promise<void> => {
      for (let at = queue.shift(); at; at = queue.shift()) {
        const found = await this.#keysAt(at, call).catch(nullIfOutOfReach)
        complete &&= found?.complete ?? false
        for (const key of found?.items ?? []) {
          const external = externalOf(at, key)
          // The title of an adopted key cannot be changed, so it is known by its id.
          const isAdopted = adopted.includes(external.keyId)
          if (isAdopted || key.title.startsWith(prefix)) items.push(external)
        }
      }
    }
    await Promise.all(Array.from({ length: listConcurrency }, drain))
    return { items: items.sort((a, b) => (a.keyId < b.keyId ? -1 : 1)), complete }
  }

  /** Whether the key opens what it was made for, and no more: GitHub shows both beside the key. */
  async driftOf({ keyId, scopes }: WantedScopes, call: Call): Promise<readonly Drift[]> {
    const key = readKeyId(keyId)
    const scope = parseScopes(scopes)
    // What was adopted without scopes was granted nothing to compare with.
    if (!key || 'reason' in scope) return []
    const seen = this.#places.get(key.repositoryId) ?? (await this.#locate(key.repositoryId, call))
    const name = `${scope.owner}/${scope.repo}`
    const gone: Drift = {
      what: 'repository',
      name,
      keyId,
      granted: name,
      actual: null,
      reach: 'less',
    }
    if (!seen) return [gone]
    this.#places.set(key.repositoryId, seen)
    const found = await this.#keysAt(seen, call).catch(nullIfOutOfReach)
    if (!found) {
      this.#places.delete(key.repositoryId)
      return [gone]
    }
    const item = found.items.find(({ id }) => id === key.id)
    // A key that is not there is the inventory's business.
    if (!item || item.read_only === scope.readOnly) return []
    const granted = scope.readOnly ? 'read-only' : 'write'
    const actual = scope.readOnly ? 'write' : 'read-only'
    const reach = scope.readOnly ? 'more' : 'less'
    const asScopes = scope.readOnly
      ? { add: ['write'], remove: [] }
      : { add: [], remove: ['write'] }
    return [{ what: 'readOnly', name, keyId, granted, actual, reach, asScopes }]
  }

  inventory(from: string | null, call: Call): Promise<InventoryPage> {
    return inventoryPage(this.#reach(call), from, call)
  }

  discover(from: string | null, call: Call): Promise<DiscoveryPage> {
    return foreignKeysPage(this.#reach(call), from, call)
  }

  adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> | null {
    const key = readKeyId(external)
    return key && this.#adoptForeign(key, want, call)
  }

  async #adoptForeign(key: KeyId, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const at = await this.#locate(key.repositoryId, call)
    if (!at) throw refusal('notFound', `Repository ${key.repositoryId} is out of the App's reach.`)
    const { items, complete } = await this.#keysAt(at, call)
    const found = items.find(({ id }) => id === key.id)
    if (!found) {
      const request = `GET /repos/${at.owner}/${at.repo}/keys`
      throw complete
        ? refusal('notFound', `${at.owner}/${at.repo} has no deploy key ${key.id} any more.`)
        : incomplete(request)
    }
    if (accountOfTitle(found.title) !== null) {
      throw refusal('conflict', `Deploy key ${key.id} of ${at.owner}/${at.repo} is Custody's own.`)
    }
    const external = writeAdopting(this.#kit.installationId, want, writeKeyId(key))
    return { external, created: false }
  }

  #reach(call: Call) {
    return {
      client: this.#kit.client,
      installationId: this.#kit.installationId,
      keysAt: (at: Place) => this.#keysAt(at, call).catch(nullIfOutOfReach),
    }
  }

  /** Whether the organisation allows deploy keys shows only on keys that are there already. */
  async check(call: Call): Promise<readonly CheckFinding[]> {
    const { items } = await reachableRepositories(this.#kit.client, needs, call)
    let seen = 0
    for (const at of items.filter((r) => !r.archived).slice(0, lookedInto)) {
      const keys = (await this.#keysAt(at, call).catch(nullIfOutOfReach))?.items ?? []
      seen += keys.length
      if (keys.some((key) => key.enabled === false)) {
        return [
          {
            name: 'deploy keys',
            state: 'failed',
            message: `The organisation forbids deploy keys: those of ${at.owner}/${at.repo} are switched off.`,
            remedy: 'Allow deploy keys in the organisation settings; they work again then.',
          },
        ]
      }
    }
    if (seen > 0) {
      return [
        { name: 'deploy keys', state: 'ok', message: 'Deploy keys are allowed.', remedy: null },
      ]
    }
    return [
      {
        name: 'deploy keys',
        state: 'unknown',
        message: 'No deploy key was found to tell whether the organisation allows them.',
        remedy: 'New organisations forbid them; look into the organisation settings.',
      },
    ]
  }

  /** The key that a lost answer left behind, if GitHub's "already in use" means ours. */
  async #adopt(at: Place, want: Wanted, conflict: ProviderError, call: Call): Promise<DeployKey> {
    const { items } = await this.#keysAt(at, call)
    const same = items.find((k) => fingerprintOfLine(k.key) === want.fingerprint)
    // Under another title no listing would ever count the key as ours.
    const isOurs = same?.title.startsWith(want.titlePrefix) && same.read_only === want.readOnly
    if (same && isOurs) return same
    throw refusal(
      'conflict',
      same
        ? `The public key is registered at ${at.owner}/${at.repo} as "${same.title}", which this credential did not create; delete it there.`
        : `${conflict.message} It is not among the keys of ${at.owner}/${at.repo}; issue a new generation.`,
    )
  }

  /** Where the repository is now; null when this App does not see it any more. */
  async #locate(repositoryId: number, call: Call): Promise<Place | null> {
    const { items, complete } = await reachableRepositories(this.#kit.client, needs, call, {
      ends: true,
    })
    for (const found of items) this.#places.set(found.id, found)
    const found = items.find((r) => r.id === repositoryId)
    if (!found && !complete) throw incomplete('GET /installation/repositories')
    return found ?? null
  }

  #keysAt(at: Place, call: Call, ends: Pick<Attempt, 'ends'> = {}): Promise<Listing<DeployKey>> {
    const attempt = {
      request: `GET /repos/${at.owner}/${at.repo}/keys`,
      writes: false,
      needs,
      ...ends,
    }
    return this.#kit.client.pages(attempt, call, (octokit, page, options) => {
      const query = { owner: at.owner, repo: at.repo, per_page: pageSize, page }
      return octokit.rest.repos.listDeployKeys({ ...query, ...options })
    })
  }

  /** False when GitHub answers 404. */
  async #remove(at: Place, id: number, call: Call): Promise<boolean> {
    const attempt: Attempt = {
      request: `DELETE /repos/${at.owner}/${at.repo}/keys/${id}`,
      writes: true,
      ends: true,
      needs,
    }
    const sent = this.#kit.client.asInstallation(attempt, call, (octokit, options) => {
      const key = { owner: at.owner, repo: at.repo, key_id: id }
      return octokit.rest.repos.deleteDeployKey({ ...key, ...options })
    })
    return sent.then(() => true, falseIfNotFound)
  }
}

interface Wanted extends DeployKeyScope {
  readonly publicKey: string
  readonly fingerprint: string
  readonly titlePrefix: string
}

function readWanted(want: WantedCredential): Wanted {
  const scope = parseScopes(want.scopes)
  if ('reason' in scope) {
    throw refusal('invalid', `Scope "${scope.scope}" is refused: ${scope.reason}`)
  }
  const publicKey = want.publicPart ?? ''
  const fingerprint = fingerprintOfLine(publicKey)
  if (fingerprint === null) {
    throw refusal('invalid', 'A deploy key is issued from a public key that was prepared before.')
  }
  return { ...scope, publicKey, fingerprint, titlePrefix: titlePrefix(want) }
}

function incomplete(request: string): ProviderError {
  return refusal('unavailable', `${request}: the listing is cut, absence proves nothing.`)
}

function falseIfNotFound(error: unknown): false {
  if (isKind(error, 'notFound')) return false
  throw error
}

/** One repository out of reach makes a listing incomplete; it does not hide the others. */
function nullIfOutOfReach(error: unknown): null {
  if (isKind(error, 'notFound', 'denied')) return null
  throw error
}
