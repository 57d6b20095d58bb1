import type { AccountId, CredentialId, TenantId } from './ids.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'
import type { Instant, Seconds } from './time.ts'
import { parseDuration, seconds } from './time.ts'

/** Who uses an account's secrets, as the account says (contract §3). */
export interface Consumer {
  readonly name: string
  /** One of `consumerKinds`, or a word of the company's own. */
  readonly kind: string | null
  /** How long it may go on with a secret before it reads again; null = nobody knows. */
  readonly cacheTtl: Seconds | null
  readonly reloadHook: string | null
}

/** Kinds that Custody knows; any other word is taken for one that nothing is known about. */
export const consumerKinds = [
  'external-secrets',
  'secrets-manager-client',
  'github-actions',
  'restart-only',
  'manual',
] as const

/** On top of what a consumer says it caches: a refresh takes its time, and clocks differ. */
export const cacheMarginSeconds = 300

export const consumersMax = 100
const wordMax = 100
const hookMax = 500

const nhiUrn = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** The consumers of an account's attributes, as they were checked when they were written. */
export function consumersOf(account: { readonly attributes: JsonObject }): readonly Consumer[] {
  const nhi = account.attributes[nhiUrn]
  const list: Json | undefined = isJsonObject(nhi) ? nhi['consumers'] : undefined
  if (!Array.isArray(list)) return []
  const text = (value: Json | undefined): string | null =>
    typeof value === 'string' ? value : null
  return list.flatMap((entry: Json) => {
    if (!isJsonObject(entry)) return []
    const ttl = text(entry['cacheTtl'])
    return {
      name: text(entry['name']) ?? '',
      kind: text(entry['kind']),
      cacheTtl: ttl === null ? null : parseDuration(ttl),
      reloadHook: text(entry['reloadHook']),
    }
  })
}

/**
 * Reads its secret only when it is started, or when a person hands it over: that nothing was heard
 * of the old key says nothing, for it holds the old key in memory.
 */
export function mustReport({ kind }: Pick<Consumer, 'kind'>): boolean {
  return kind === 'restart-only' || kind === 'manual'
}

/** How long after a promotion a consumer that re-reads has the new secret; null = it may never have. */
export function movedAfter(consumer: Consumer): Seconds | null {
  if (mustReport(consumer) || consumer.cacheTtl === null) return null
  return seconds(consumer.cacheTtl + cacheMarginSeconds)
}

/** A consumer by which a request names it: `<account id>:<name>`. */
export function consumerId(account: AccountId, name: string): string {
  return `${account}:${name}`
}

/** @returns null when it is not of the form `<account id>:<name>` */
export function parseConsumerId(id: string): { readonly account: string; name: string } | null {
  const at = id.indexOf(':')
  return at < 1 || at === id.length - 1
    ? null
    : { account: id.slice(0, at), name: id.slice(at + 1) }
}

/** What stands for whoever uses a secret undeclared. */
export const anyone = '*'

/** What is wrong with a list of consumers as written; the first problem, or null. */
export function consumerProblem(
  consumers: readonly Readonly<Record<'name' | 'kind' | 'reloadHook', string | undefined>>[],
): { readonly attribute: 'name' | 'kind' | 'reloadHook'; readonly reason: string } | null {
  if (consumers.length > consumersMax) {
    return { attribute: 'name', reason: `an account may name ${consumersMax} consumers at most.` }
  }
  const names = new Set<string>()
  for (const { name = '', kind, reloadHook } of consumers) {
    const problem = (attribute: 'name' | 'kind', reason: string) => ({ attribute, reason })
    if (!isWord(name) || name === anyone) {
      const reason = `must be 1 to ${wordMax} characters without control characters, and not "*".`
      return problem('name', reason)
    }
    if (names.has(name)) {
      return problem('name', `"${name}" is there twice; reports could not tell the two apart.`)
    }
    names.add(name)
    if (kind !== undefined && !isWord(kind)) {
      return problem('kind', `must be 1 to ${wordMax} characters without control characters.`)
    }
    const bad = reloadHook === undefined ? null : hookProblem(reloadHook)
    if (bad !== null) return { attribute: 'reloadHook', reason: `of "${name}" ${bad}` }
  }
  return null
}

function isWord(text: string): boolean {
  return text.trim() === text && text !== '' && text.length <= wordMax && !/\p{Cc}/u.test(text)
}

/**
 * A hook's address stands where everybody who sees the account reads it: no secret may be in it.
 * Where it leads is checked when it is called, for a name may lead elsewhere by then. The address
 * itself is not repeated in what is said of it.
 */
function hookProblem(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || text.length > hookMax || /[\s\p{Cc}]/u.test(text)) {
    return `must be an address of at most ${hookMax} characters, such as "https://hooks.example/reload".`
  }
  if (url.username !== '' || url.password !== '') {
    return 'must carry neither user name nor password; calls are signed instead.'
  }
  if (url.search !== '' || url.hash !== '') {
    return 'must have no query and no fragment, where secrets like to hide; calls are signed instead.'
  }
  const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback)) return null
  return 'must begin with https://; http:// is for loopback, and only where `hooks.allow` names it.'
}

/** What somebody said about one consumer and one credential: that it has a generation, or need not. */
export interface ConsumerReport {
  readonly tenant: TenantId
  readonly account: AccountId
  readonly credential: CredentialId
  /** A name, or `anyone`. */
  readonly consumer: string
  readonly kind: 'seen' | 'waived'
  readonly generation: number
  readonly at: Instant
  /** The client that said so. */
  readonly by: string
}

/** When we ourselves last tried a key while it was in use: a use up to then may have been ours. */
export interface KeyProbe {
  readonly tenant: TenantId
  readonly credential: CredentialId
  readonly generation: number
  readonly at: Instant
}
