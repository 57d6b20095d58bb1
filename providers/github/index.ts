import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AccountId, CredentialId } from '../../src/domain/ids.ts'
import { parseDuration, parseInstant, seconds, type Seconds } from '../../src/domain/time.ts'
import {
  ProviderError,
  type Call,
  type Capabilities,
  type ExternalCredential,
  type HostContext,
  type Issued,
  type Listing,
  type Prepared,
  type Provider,
  type ProviderModule,
  type WantedCredential,
} from '../../src/provider/contract.ts'
import { GithubClient, pageSize } from './client.ts'
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
      baseUrl: { type: 'string', pattern: '^https?://' },
      appId: { type: ['integer', 'string'] },
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
    })
    const settle = durationOf('settle', options.settle, seconds(5))
    return createProvider(host, client, installationId, settle)
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

interface Place {
  readonly owner: string
  readonly repo: string
}

/** `<repository id>#<key id>`: stays the same when the repository is renamed or moved. */
interface KeyId {
  readonly repositoryId: number
  readonly id: number
}

interface DeployKey {
  readonly id: number
  readonly key: string
  readonly title: string
  readonly read_only: boolean
  readonly created_at: string
  readonly last_used?: string | null
  readonly enabled?: boolean
}

/** Repositories whose keys are read at the same time; GitHub allows 100 concurrent requests. */
const listConcurrency = 4

function createProvider(
  host: HostContext,
  client: GithubClient,
  installationId: number,
  settle: Seconds,
): Provider {
  const capabilities: Capabilities = {
    'deploy-key': {
      maxLive: null,
      canDisable: false,
      canRescope: false,
      canProbe: false,
      reportsLastUsed: true,
      mint: 'client',
      settle,
      probe: { count: 1, every: seconds(0) },
    },
  }

  const repository = async (at: Place, call: Call) => {
    const attempt = { request: `GET /repos/${at.owner}/${at.repo}`, writes: false }
    const { data } = await client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.repos.get({ owner: at.owner, repo: at.repo, ...options }),
    )
    return { id: data.id, owner: data.owner.login, repo: data.name }
  }

  const repositories = (call: Call) =>
    client.pages(
      { request: 'GET /installation/repositories', writes: false },
      call,
      (octokit, page, options) =>
        octokit.rest.apps
          .listReposAccessibleToInstallation({ per_page: pageSize, page, ...options })
          .then((reply) => ({
            ...reply,
            data: reply.data.repositories.map((r) => ({
              id: r.id,
              owner: r.owner.login,
              repo: r.name,
            })),
          })),
    )

  const keysAt = (at: Place, call: Call): Promise<Listing<DeployKey>> =>
    client.pages(
      { request: `GET /repos/${at.owner}/${at.repo}/keys`, writes: false },
      call,
      (octokit, page, options) =>
        octokit.rest.repos.listDeployKeys({
          owner: at.owner,
          repo: at.repo,
          per_page: pageSize,
          page,
          ...options,
        }),
    )

  const remove = async (at: Place, id: number, call: Call): Promise<void> => {
    const attempt = { request: `DELETE /repos/${at.owner}/${at.repo}/keys/${id}`, writes: true }
    await client.asInstallation(attempt, call, (octokit, options) =>
      octokit.rest.repos.deleteDeployKey({
        owner: at.owner,
        repo: at.repo,
        key_id: id,
        ...options,
      }),
    )
  }

  /** Where repositories were last seen, so that a revocation usually needs one request. */
  const places = new Map<number, Place>()

  /** Where the repository is now; null when this App does not see it any more. */
  const locate = async (repositoryId: number, call: Call): Promise<Place | null> => {
    const { items, complete } = await repositories(call)
    for (const { id, owner, repo } of items) places.set(id, { owner, repo })
    const found = items.find((r) => r.id === repositoryId)
    if (!found && !complete) throw incomplete('GET /installation/repositories')
    return found ?? null
  }

  const revoke = async (keyId: string, call: Call): Promise<void> => {
    const { repositoryId, id } = readKeyId(keyId)
    const seen = places.get(repositoryId)
    // Key ids are unique on all of GitHub: a repository that took over the name has no such key.
    if (seen && (await remove(seen, id, call).then(() => true, falseIfNotFound))) return
    // 404 also means "moved" and "not yours to see": absence counts only after a full listing.
    const at = await locate(repositoryId, call)
    if (!at) {
      throw refusal(
        `Repository ${repositoryId} is out of the App's reach, so nobody can tell whether deploy key ${id} still works; give the App access, or confirm that the repository was deleted.`,
      )
    }
    if (await remove(at, id, call).then(() => true, falseIfNotFound)) return
    const { items, complete } = await keysAt(at, call)
    if (!complete) throw incomplete(`GET /repos/${at.owner}/${at.repo}/keys`)
    if (items.some((k) => k.id === id)) {
      throw refusal(
        `Deploy key ${id} of ${at.owner}/${at.repo} is listed but cannot be deleted: the App needs administration=write.`,
      )
    }
  }

  const list = async (principal: string, call: Call): Promise<Listing<ExternalCredential>> => {
    const prefix = `custody/${readPrincipal(principal).account}/`
    const reachable = await repositories(call)
    let complete = reachable.complete
    const items: ExternalCredential[] = []
    const queue = [...reachable.items]
    const drain = async (): Promise<void> => {
      for (let at = queue.shift(); at; at = queue.shift()) {
        const found = await keysAt(at, call).catch(nullIfDenied)
        complete &&= found?.complete ?? false
        for (const key of found?.items ?? []) {
          if (key.title.startsWith(prefix)) items.push(external(at.id, key))
        }
      }
    }
    await Promise.all(Array.from({ length: listConcurrency }, drain))
    return { items: items.sort((a, b) => (a.keyId < b.keyId ? -1 : 1)), complete }
  }

  const adopt = async (
    at: Place & { readonly id: number },
    want: Wanted,
    conflict: ProviderError,
    call: Call,
  ): Promise<DeployKey> => {
    const { items } = await keysAt(at, call)
    const same = items.find((k) => fingerprintOfLine(k.key) === want.fingerprint)
    const isOurs = same?.title.startsWith(want.titlePrefix) && same.read_only === want.readOnly
    if (same && isOurs) return same
    throw new ProviderError(
      'conflict',
      same
        ? `The public key is registered at ${at.owner}/${at.repo} as "${same.title}", which this credential did not create; delete it there.`
        : `${conflict.message} It is not among the keys of ${at.owner}/${at.repo}; issue a new generation.`,
      { outcome: 'notApplied' },
    )
  }

  return {
    name: host.name,
    type: github.type,
    capabilities,
    checkScopes: (kind, scopes) => {
      if (kind !== 'deploy-key') return { scope: '', reason: `kind "${kind}" is not issued here.` }
      const parsed = parseScopes(scopes)
      return 'reason' in parsed ? parsed : null
    },
    async ensurePrincipal(want, call) {
      const attempt = { request: `GET /app/installations/${installationId}`, writes: false }
      const { data } = await client.asApp(attempt, call, (octokit, options) =>
        octokit.rest.apps.getInstallation({ installation_id: installationId, ...options }),
      )
      // A suspended installation still lists fine and fails only at the first write.
      if (data.suspended_at) {
        throw refusal(`Installation ${installationId} is suspended; unsuspend it first.`)
      }
      if (data.permissions.administration !== 'write') {
        throw refusal(
          `Installation ${installationId} grants administration=${data.permissions.administration ?? 'none'}; deploy keys need administration=write.`,
        )
      }
      const external = JSON.stringify({ installation: installationId, account: want.account })
      // Nothing is created, yet all that is ever listed for it carries the account's id.
      return { external, created: true }
    },
    prepare(want): Prepared {
      const comment = `custody/${want.credential}/g${want.generation}`
      const pair = generateSshKeyPair(comment, host.random)
      return {
        secret: pair.privateKey,
        publicPart: pair.publicKey,
        fingerprint: pair.fingerprint,
      }
    },
    async issue(_principal, credential, call): Promise<Issued> {
      const want = readWanted(credential)
      const at = await repository(want, call).catch(deniedIfNotFound)
      const attempt = { request: `POST /repos/${at.owner}/${at.repo}/keys`, writes: true }
      places.set(at.id, { owner: at.owner, repo: at.repo })
      if (!(await call.fence())) {
        throw new ProviderError('fenced', `${attempt.request}: overtaken before sending.`, {
          outcome: 'notApplied',
        })
      }
      const key: DeployKey = await client
        .asInstallation(attempt, call, (octokit, options) =>
          octokit.rest.repos.createDeployKey({
            owner: at.owner,
            repo: at.repo,
            title: `${want.titlePrefix}${credential.operation}`,
            key: want.publicKey,
            read_only: want.readOnly,
            ...options,
          }),
        )
        .then(
          (reply) => reply.data,
          (error: unknown) => {
            const isTaken = error instanceof ProviderError && error.kind === 'conflict'
            if (isTaken) return adopt(at, want, error, call)
            return deniedIfNotFound(error)
          },
        )
      return {
        keyId: writeKeyId({ repositoryId: at.id, id: key.id }),
        secret: null,
        fingerprint: want.fingerprint,
        expiresAt: null,
      }
    },
    disable: () => Promise.reject(unsupported('switched off')),
    enable: () => Promise.reject(unsupported('switched on again')),
    revoke: (_principal, keyId, call) => revoke(keyId, call),
    // Nothing at GitHub stands above a deploy key that could deny it reversibly: suspending the
    // installation would stop Custody itself and leave every deploy key working.
    shutOff: () => Promise.resolve(),
    turnOn: () => Promise.resolve(),
    probe: () => Promise.resolve('untestable'),
    list,
    async deletePrincipal(principal, call) {
      const { items, complete } = await list(principal, call)
      for (const item of items) await revoke(item.keyId, call)
      if (!complete) throw incomplete('listing the deploy keys')
    },
    close: () => client.close(),
  }
}

interface Wanted extends Place {
  readonly readOnly: boolean
  readonly publicKey: string
  readonly fingerprint: string
  readonly titlePrefix: string
}

function readWanted(want: WantedCredential): Wanted {
  const scopes = parseScopes(want.scopes)
  if ('reason' in scopes) throw invalid(`Scope "${scopes.scope}" is refused: ${scopes.reason}`)
  const fingerprint = want.publicPart === null ? null : fingerprintOfLine(want.publicPart)
  if (want.publicPart === null || fingerprint === null) {
    throw invalid('A deploy key is issued from a public key that was prepared before.')
  }
  return {
    ...scopes,
    publicKey: want.publicPart,
    fingerprint,
    titlePrefix: titlePrefix(want.account, want.credential, want.generation),
  }
}

function titlePrefix(account: AccountId, credential: CredentialId, generation: number): string {
  return `custody/${account}/${credential}/g${generation}/`
}

// GitHub: logins have letters, digits and single inner hyphens; names add `.` and `_`.
const repositoryScope = /^repo:([A-Za-z0-9](?:-?[A-Za-z0-9]){0,38})\/([A-Za-z0-9._-]{1,100})$/

function parseScopes(
  scopes: readonly string[],
): (Place & { readonly readOnly: boolean }) | { readonly scope: string; readonly reason: string } {
  const repos = scopes.filter((scope) => scope.startsWith('repo:'))
  const other = scopes.find((scope) => !scope.startsWith('repo:') && scope !== 'write')
  if (other !== undefined) {
    return { scope: other, reason: 'a deploy key knows "repo:<owner>/<name>" and "write" only.' }
  }
  if (repos.length !== 1) {
    return {
      scope: repos[1] ?? scopes[0] ?? '',
      reason: 'a deploy key opens exactly one repository; name it as "repo:<owner>/<name>".',
    }
  }
  const m = repositoryScope.exec(repos[0]!)
  if (!m || m[2] === '.' || m[2] === '..') {
    return { scope: repos[0]!, reason: 'this is no repository; write "repo:<owner>/<name>".' }
  }
  if (scopes.length !== new Set(scopes).size) {
    return { scope: 'write', reason: 'it is given twice.' }
  }
  return { owner: m[1]!, repo: m[2]!, readOnly: !scopes.includes('write') }
}

function external(repositoryId: number, key: DeployKey): ExternalCredential {
  return {
    keyId: writeKeyId({ repositoryId, id: key.id }),
    fingerprint: fingerprintOfLine(key.key),
    kind: 'deploy-key',
    // False when the organisation forbids deploy keys; it comes back when that is lifted.
    active: key.enabled !== false,
    createdAt: parseInstant(key.created_at),
    lastUsedAt: parseInstant(key.last_used ?? ''),
  }
}

function writeKeyId(key: KeyId): string {
  return `${key.repositoryId}#${key.id}`
}

function readKeyId(text: string): KeyId {
  const m = /^(\d+)#(\d+)$/.exec(text)
  if (!m) throw invalid(`"${text}" is not the id of a deploy key.`)
  return { repositoryId: Number(m[1]), id: Number(m[2]) }
}

function readPrincipal(external: string): { readonly account: string } {
  try {
    const { account } = JSON.parse(external) as { account?: unknown }
    if (typeof account === 'string' && account !== '') return { account }
  } catch {
    // Falls through to the same refusal.
  }
  throw invalid(`"${external}" is not a principal of this provider.`)
}

function readKey(host: HostContext, path: string): KeyObject {
  const file = host.resolvePath(path)
  try {
    return createPrivateKey(readFileSync(file))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'not a private key'
    // The cause is left out: a parse error may quote the key.
    throw invalid(`Provider "${host.name}": privateKeyFile ${file} cannot be used (${code}).`)
  }
}

function durationOf(name: string, text: string | undefined, fallback: Seconds): Seconds {
  if (text === undefined) return fallback
  const parsed = parseDuration(text)
  if (parsed === null) throw invalid(`${name}: "${text}" is not a duration such as PT5S.`)
  return parsed
}

function invalid(message: string): ProviderError {
  return new ProviderError('invalid', message, { outcome: 'notApplied' })
}

function refusal(message: string): ProviderError {
  return new ProviderError('denied', message, { outcome: 'notApplied' })
}

function unsupported(what: string): ProviderError {
  return invalid(`A deploy key cannot be ${what}: GitHub only knows present and deleted.`)
}

function incomplete(request: string): ProviderError {
  return new ProviderError(
    'unavailable',
    `${request}: the listing is cut, absence proves nothing.`,
    {
      outcome: 'notApplied',
    },
  )
}

const isKind = (error: unknown, ...kinds: readonly string[]): boolean =>
  error instanceof ProviderError && kinds.includes(error.kind)

function falseIfNotFound(error: unknown): false {
  if (isKind(error, 'notFound')) return false
  throw error
}

function nullIfDenied(error: unknown): null {
  if (isKind(error, 'notFound', 'denied')) return null
  throw error
}

/** Before a key exists, 404 means that the App may not, or that the scope names nothing. */
function deniedIfNotFound(error: unknown): never {
  if (isKind(error, 'notFound')) throw refusal((error as ProviderError).message)
  throw error
}
