import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CredentialKind } from '../../src/domain/credential.ts'
import type { Secret } from '../../src/domain/secret.ts'
import { parseDuration, seconds, type Seconds } from '../../src/domain/time.ts'
import {
  ProviderError,
  type Call,
  type Capabilities,
  type EnsuredPrincipal,
  type ExternalCredential,
  type HostContext,
  type InventoryPage,
  type Issued,
  type Listing,
  type Prepared,
  type ProbeAnswer,
  type Provider,
  type ProviderErrorKind,
  type ProviderModule,
  type WantedCredential,
  type WantedPrincipal,
} from '../../src/provider/contract.ts'
import { GithubClient, pageSize } from './client.ts'
import { inventoryPage } from './inventory.ts'
import { externalOf, type DeployKey } from './keys.ts'
import {
  accountPrefix,
  parseScopes,
  readKeyId,
  readPrincipal,
  titlePrefix,
  writeKeyId,
  writePrincipal,
  type DeployKeyScope,
  type Place,
  type ScopeRefusal,
} from './names.ts'
import { fingerprintOfLine, generateSshKeyPair } from './openssh.ts'

const duration = { type: 'string', pattern: '^P' }

/**
 * Deploy keys of GitHub repositories, managed by a GitHub App. The key pair is made here and only
 * its public half leaves, so issuing is idempotent by fingerprint; there is no switched-off state,
 * no expiry and no way to try a key over the API: see README.md for what follows from that.
 */
export const github: ProviderModule = {
  type: 'github',
  role: 'provider',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['appId', 'installationId', 'privateKeyFile'],
    properties: {
      // Tokens travel in a header: in clear only on the loopback, where the sandbox is.
      baseUrl: {
        type: 'string',
        pattern: '^(https://|http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:|/|$))',
      },
      appId: { anyOf: [{ type: 'integer' }, { type: 'string' }] },
      installationId: { type: 'integer', minimum: 1 },
      privateKeyFile: { type: 'string', minLength: 1 },
      settle: duration,
      timeout: duration,
    },
  },
  create(host, config) {
    const { appId, installationId, ...options } = config as unknown as Config
    const client = new GithubClient({
      baseUrl: options.baseUrl ?? 'https://api.github.com',
      appId: String(appId),
      installationId,
      privateKey: readKey(host, options.privateKeyFile),
      timeout: durationOf('timeout', options.timeout, seconds(10)),
      clock: host.clock,
      ...(host.sawDate ? { sawDate: host.sawDate } : {}),
      ...(host.transport ? { transport: host.transport } : {}),
    })
    const settle = durationOf('settle', options.settle, seconds(5))
    return new DeployKeys(host, client, installationId, settle)
  },
}

/** `configSchema` as a type; the registry has checked it. */
interface Config {
  readonly baseUrl?: string
  readonly appId: number | string
  readonly installationId: number
  readonly privateKeyFile: string
  readonly settle?: string
  readonly timeout?: string
}

interface FoundRepository extends Place {
  readonly id: number
}

/** Repositories whose keys are read at the same time; GitHub allows 100 concurrent requests. */
const listConcurrency = 4

class DeployKeys implements Provider {
  readonly name: string
  readonly type = github.type
  readonly capabilities: Capabilities
  readonly #host: HostContext
  readonly #client: GithubClient
  readonly #installationId: number
  /** Where repositories were last seen, so that a revocation usually needs one request. */
  readonly #places = new Map<number, Place>()

  constructor(host: HostContext, client: GithubClient, installationId: number, settle: Seconds) {
    this.name = host.name
    this.#host = host
    this.#client = client
    this.#installationId = installationId
    this.capabilities = {
      'deploy-key': {
        canCreate: true,
        canRevoke: true,
        canList: true,
        maxLive: null,
        canDisable: false,
        canRescope: false,
        canProbe: false,
        canLastUsed: true,
        lastUsedLag: seconds(0),
        mint: 'client',
        lease: null,
        keepsSecret: false,
        settleMin: seconds(0),
        settleMax: settle,
        // Of an installation; content-creating requests 80 a minute and 500 an hour (GitHub docs).
        quota: { calls: 5_000, per: seconds(3_600) },
        probe: { count: 1, every: seconds(0) },
        cannot: [
          'Be switched off and on again: a deploy key works until it is deleted.',
          'Expire by itself.',
          'Be tried over the API: its death is proven by a complete listing.',
        ],
      },
    }
  }

  checkScopes(kind: CredentialKind, scopes: readonly string[]): ScopeRefusal | null {
    if (kind !== 'deploy-key') return { scope: '', reason: `kind "${kind}" is not issued here.` }
    const parsed = parseScopes(scopes)
    return 'reason' in parsed ? parsed : null
  }

  /** Creates nothing: the principal is the account at this installation, if that can be used. */
  async ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const id = this.#installationId
    const attempt = { request: `GET /app/installations/${id}`, writes: false }
    const { data } = await this.#client.asApp(attempt, call, (octokit, options) =>
      octokit.rest.apps.getInstallation({ installation_id: id, ...options }),
    )
    // A suspended installation still lists fine and fails only at the first write.
    if (data.suspended_at) {
      throw refusal('denied', `Installation ${id} is suspended; unsuspend it first.`)
    }
    const { administration = 'none' } = data.permissions
    if (administration !== 'write') {
      throw refusal(
        'denied',
        `Installation ${id} grants administration=${administration}; deploy keys need administration=write.`,
      )
    }
    // True because all that is ever listed for it carries the account's id.
    return { external: writePrincipal(id, want.account), created: true }
  }

  prepare(want: WantedCredential): Prepared {
    const comment = `custody/${want.credential}/g${want.generation}`
    const pair = generateSshKeyPair(comment, this.#host.random)
    return { secret: pair.privateKey, publicPart: pair.publicKey, fingerprint: pair.fingerprint }
  }

  async issue(_principal: string, credential: WantedCredential, call: Call): Promise<Issued> {
    const want = readWanted(credential)
    const at = await this.#repository(want, call).catch(deniedIfNotFound)
    this.#places.set(at.id, at)
    const attempt = { request: `POST /repos/${at.owner}/${at.repo}/keys`, writes: true }
    if (!(await call.fence())) {
      throw refusal('fenced', `${attempt.request}: overtaken before sending.`)
    }
    const created = this.#client.asInstallation(attempt, call, (octokit, options) =>
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
        isKind(error, 'conflict')
          ? this.#adopt(at, want, error as ProviderError, call)
          : deniedIfNotFound(error),
    )
    return {
      keyId: writeKeyId({ repositoryId: at.id, id }),
      secret: null,
      fingerprint: want.fingerprint,
      expiresAt: null,
    }
  }

  disable(): Promise<void> {
    return Promise.reject(unsupported('switched off'))
  }

  enable(): Promise<void> {
    return Promise.reject(unsupported('switched on again'))
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
    const { items, complete } = await this.#keysAt(at, call)
    if (!complete) throw incomplete(`GET /repos/${at.owner}/${at.repo}/keys`)
    if (items.some((k) => k.id === id)) {
      throw refusal(
        'denied',
        `Deploy key ${id} of ${at.owner}/${at.repo} is listed but cannot be deleted: the App needs administration=write.`,
      )
    }
  }

  // Nothing at GitHub stands above a deploy key that could deny it reversibly: suspending the
  // installation would stop Custody itself and leave every deploy key working.
  async shutOff(): Promise<void> {}

  async turnOn(): Promise<void> {}

  probe(_secret: Secret): Promise<ProbeAnswer> {
    return Promise.resolve('untestable')
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const account = readPrincipal(principal)
    if (!account) throw refusal('invalid', `"${principal}" is not a principal of this provider.`)
    const prefix = accountPrefix(account)
    const reachable = await this.#repositories(call)
    let { complete } = reachable
    const items: ExternalCredential[] = []
    const queue = [...reachable.items]
    const drain = async (): Promise<void> => {
      for (let at = queue.shift(); at; at = queue.shift()) {
        const found = await this.#keysAt(at, call).catch(nullIfOutOfReach)
        complete &&= found?.complete ?? false
        for (const key of found?.items ?? []) {
          if (key.title.startsWith(prefix)) items.push(externalOf(at.id, key))
        }
      }
    }
    await Promise.all(Array.from({ length: listConcurrency }, drain))
    return { items: items.sort((a, b) => (a.keyId < b.keyId ? -1 : 1)), complete }
  }

  inventory(from: string | null, call: Call): Promise<InventoryPage> {
    return inventoryPage(
      {
        client: this.#client,
        installationId: this.#installationId,
        keysAt: (at) => this.#keysAt(at, call).catch(nullIfOutOfReach),
      },
      from,
      call,
    )
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    const { items, complete } = await this.list(principal, call)
    for (const item of items) await this.revoke(principal, item.keyId, call)
    if (!complete) throw incomplete('listing the deploy keys')
  }

  close(): Promise<void> {
    return this.#client.close()
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
    const { items, complete } = await this.#repositories(call)
    for (const found of items) this.#places.set(found.id, found)
    const found = items.find((r) => r.id === repositoryId)
    if (!found && !complete) throw incomplete('GET /installation/repositories')
    return found ?? null
  }

  async #repository(at: Place, call: Call): Promise<FoundRepository> {
    const attempt = { request: `GET /repos/${at.owner}/${at.repo}`, writes: false }
    const { data } = await this.#client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.repos.get({ owner: at.owner, repo: at.repo, ...options }),
    )
    return { id: data.id, owner: data.owner.login, repo: data.name }
  }

  #repositories(call: Call): Promise<Listing<FoundRepository>> {
    const attempt = { request: 'GET /installation/repositories', writes: false }
    return this.#client.pages(attempt, call, async (octokit, page, options) => {
      const query = { per_page: pageSize, page }
      const reply = await octokit.rest.apps.listReposAccessibleToInstallation({
        ...query,
        ...options,
      })
      const found = reply.data.repositories.map((r) => ({
        id: r.id,
        owner: r.owner.login,
        repo: r.name,
      }))
      return { status: reply.status, headers: reply.headers, data: found }
    })
  }

  #keysAt(at: Place, call: Call): Promise<Listing<DeployKey>> {
    const attempt = { request: `GET /repos/${at.owner}/${at.repo}/keys`, writes: false }
    return this.#client.pages(attempt, call, (octokit, page, options) => {
      const query = { owner: at.owner, repo: at.repo, per_page: pageSize, page }
      return octokit.rest.repos.listDeployKeys({ ...query, ...options })
    })
  }

  /** False when GitHub answers 404. */
  async #remove(at: Place, id: number, call: Call): Promise<boolean> {
    const attempt = { request: `DELETE /repos/${at.owner}/${at.repo}/keys/${id}`, writes: true }
    const sent = this.#client.asInstallation(attempt, call, (octokit, options) => {
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

function readKey(host: HostContext, path: string): KeyObject {
  const file = host.resolvePath(path)
  try {
    return createPrivateKey(readFileSync(file))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'not a private key'
    // The cause is left out: a parse error may quote the key.
    throw refusal(
      'invalid',
      `Provider "${host.name}": privateKeyFile ${file} cannot be used (${code}).`,
    )
  }
}

function durationOf(name: string, text: string | undefined, fallback: Seconds): Seconds {
  if (text === undefined) return fallback
  const parsed = parseDuration(text)
  if (parsed === null) {
    throw refusal('invalid', `${name}: "${text}" is not a duration such as PT5S.`)
  }
  return parsed
}

function refusal(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}

function unsupported(what: string): ProviderError {
  return refusal(
    'invalid',
    `A deploy key cannot be ${what}: GitHub only knows present and deleted.`,
  )
}

function incomplete(request: string): ProviderError {
  return refusal('unavailable', `${request}: the listing is cut, absence proves nothing.`)
}

function isKind(error: unknown, ...kinds: readonly ProviderErrorKind[]): boolean {
  return error instanceof ProviderError && kinds.includes(error.kind)
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

/** Before a key exists, 404 means that the App may not, or that the scope names nothing. */
function deniedIfNotFound(error: unknown): never {
  if (isKind(error, 'notFound')) throw refusal('denied', (error as ProviderError).message)
  throw error
}
