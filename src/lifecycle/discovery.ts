import type { ServiceAccount } from '../domain/account.ts'
import { adoptionIds } from '../domain/adoption-ids.ts'
import { errors } from '../domain/errors.ts'
import type { IssuedKey } from '../domain/credential.ts'
import type { TenantId } from '../domain/ids.ts'
import { isJsonObject } from '../domain/json.ts'
import type { Person } from '../domain/owner.ts'
import { normalise } from '../domain/text.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { timeoutOf } from '../domain/time.ts'
import type { Call, Discovered, Provider } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'

/** Somebody who may own what was found, and why we think so. */
export interface OwnerSuggestion {
  readonly id: string
  readonly userName: string
  /** False: it is theirs, most likely, and they have left. */
  readonly active: boolean
  readonly reason: string
}

/** Something at a provider, with who might own it. */
export interface FoundThing extends Pick<
  Discovered,
  'external' | 'name' | 'kind' | 'createdAt' | 'vendor' | 'obstacle'
> {
  readonly lastUsedAt: Instant | null
  readonly keys: readonly {
    readonly keyId: string
    readonly kind: string
    readonly active: boolean
    readonly createdAt: Instant | null
    readonly lastUsedAt: Instant | null
  }[]
  readonly managed: boolean
  /** Null also where another tenant manages it. */
  readonly account: string | null
  readonly owners: readonly OwnerSuggestion[]
  /** What else a reviewer should know, a sentence each. */
  readonly notes: readonly string[]
}

export interface FoundPage {
  readonly items: readonly FoundThing[]
  /** The provider's own; null after the last page. */
  readonly next: string | null
  /** False when something that belongs on this page could not be read. */
  readonly complete: boolean
  readonly total: number | null
  /** The provider asks for patience: the same page again, after so many seconds. */
  readonly retryAfter: Seconds | null
}

/** Below the 30 s that the command line waits for an answer. */
export const importMilliseconds = 25_000
const loginsMax = 50
const suggestionsMax = 3

/** A call that no operation asks for; nobody takes it over. */
export function looseCall(life: Lifecycle): Call {
  const signal = timeoutOf(life.clock, importMilliseconds)
  return { key: life.ids.next(), operation: null, signal, fence: () => Promise.resolve(true) }
}

/** @throws notFound, notDiscoverable */
export function importable(
  life: Lifecycle,
  name: string,
): Provider & Required<Pick<Provider, 'discover' | 'adopt'>> {
  const provider = life.providers.get(name)
  if (!provider) throw errors.notFound({ what: 'Provider', id: name })
  if (provider.discover && provider.adopt) {
    return provider as Provider & Required<Pick<Provider, 'discover' | 'adopt'>>
  }
  const able = [...life.providers.values()].filter((p) => 'discover' in p && 'adopt' in p)
  throw errors.notDiscoverable({ provider: name, can: able.map((p) => p.name).join(', ') })
}

/** Only the words of a `ProviderError` are fit to be read: anything else may quote what it met. */
export function providerFailure(provider: string, cause: unknown): Error {
  const reason = cause instanceof ProviderError ? cause.message : 'its module failed; see the log.'
  return errors.providerFailed({ provider, reason }, { cause })
}

/**
 * One page of what is there, managed or not. Reads only: nothing changes, there or here.
 * @param from `next` of the page before; null for the first
 * @throws forbidden, notFound, notDiscoverable, invalidCursor, providerFailed
 */
export async function discoverPage(
  life: Lifecycle,
  caller: Caller,
  name: string,
  from: string | null,
): Promise<FoundPage> {
  authorise(life, caller, 'provider.discover', { type: 'provider', id: name })
  const provider = importable(life, name)
  const page = await provider
    .discover(from, looseCall(life))
    .catch((cause: unknown) => asPatience(name, from, cause))
  if ('retryAfter' in page) {
    const { retryAfter } = page
    return { items: [], next: from, complete: false, total: null, retryAfter }
  }
  const people = await suggestions(life, caller.tenant, page.items)
  const items: FoundThing[] = []
  for (const item of page.items) {
    items.push(await found(life, caller.tenant, name, item, people(item)))
  }
  const { next, complete, total } = page
  return { items, next, complete, total, retryAfter: null }
}

const patienceSeconds = 5 as Seconds

function asPatience(
  provider: string,
  from: string | null,
  cause: unknown,
): { readonly retryAfter: Seconds } {
  if (cause instanceof ProviderError && cause.kind === 'throttled') {
    return { retryAfter: cause.retryAfter ?? patienceSeconds }
  }
  // The contract keeps this word, in listings, for a place that is not known any more.
  if (from !== null && cause instanceof ProviderError && cause.kind === 'invalid') {
    throw errors.invalidCursor({}, { cause })
  }
  throw providerFailure(provider, cause)
}

async function found(
  life: Lifecycle,
  tenant: TenantId,
  provider: string,
  item: Discovered,
  owners: readonly OwnerSuggestion[],
): Promise<FoundThing> {
  const { external, name, kind, createdAt, vendor } = item
  const keys = item.keys.map((k) => ({
    keyId: k.keyId,
    kind: k.kind,
    active: k.active,
    createdAt: k.createdAt,
    lastUsedAt: k.lastUsedAt ?? null,
  }))
  const manager = await managerOf(life, tenant, provider, item)
  return {
    external,
    name,
    kind,
    createdAt,
    vendor,
    lastUsedAt: latest(keys.map((k) => k.lastUsedAt)),
    keys,
    managed: manager !== null,
    account: manager?.account ?? null,
    obstacle: item.obstacle ?? manager?.obstacle ?? null,
    owners: manager === null ? owners : [],
    notes: item.notes ?? [],
  }
}

/** Whose it is already, by its mark and by our journal; null = nobody's. */
async function managerOf(
  life: Lifecycle,
  tenant: TenantId,
  provider: string,
  item: Discovered,
): Promise<{ readonly account: string | null; readonly obstacle: string | null } | null> {
  const { read } = life.store
  const journalled = await read.keysById(
    provider,
    item.keys.map((k) => k.keyId),
  )
  const isOver = (k: IssuedKey) => k.status === 'failed' || k.status === 'released'
  const [key] = journalled.filter((k) => !isOver(k) && k.deletedAt === null)
  const elsewhere = 'It is managed in another tenant.'
  if (key) {
    return key.tenant === tenant
      ? { account: key.account, obstacle: null }
      : { account: null, obstacle: elsewhere }
  }
  if (item.account === null) return null
  if (await read.account(tenant, item.account)) return { account: item.account, obstacle: null }
  // The mark of an adoption that was cut off before its commit: adopting it again completes it.
  const own = adoptionIds({ tenant, provider, external: item.external })
  if (own.includes(item.account as ServiceAccount['id'])) return null
  const obstacle = `It bears the mark of account ${item.account}, which is not known here.`
  return { account: null, obstacle }
}

function latest(instants: readonly (Instant | null)[]): Instant | null {
  return instants.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null)
}

/** Who the hints of a page mean: one read for all of them, and one for each login without an address. */
async function suggestions(
  life: Lifecycle,
  tenant: TenantId,
  items: readonly Discovered[],
): Promise<(item: Discovered) => readonly OwnerSuggestion[]> {
  const hints = [...new Set(items.flatMap((i) => i.owners.map((o) => o.hint)))]
  const named = hints.length === 0 ? [] : await life.store.read.peopleNamed(tenant, hints)
  const exact = new Map(hints.map((hint) => [hint, named.flatMap((p) => matchOf(p, hint))]))
  const logins = hints.filter((h) => !h.includes('@') && exact.get(h)!.length === 0)
  for (const login of logins.slice(0, loginsMax)) {
    const people = await life.store.read.peopleAtLogin(tenant, login, suggestionsMax)
    const how = 'is the first part of their userName'
    exact.set(
      login,
      people.map((person) => ({ person, how })),
    )
  }
  return (item) => {
    const found = new Map<string, OwnerSuggestion>()
    for (const { hint, from } of item.owners) {
      for (const { person, how } of exact.get(hint) ?? []) {
        if (found.has(person.id)) continue
        const { id, userName } = person
        const active = person.active && person.deletedAt === null
        const left = active ? '' : '; they have left'
        found.set(id, { id, userName, active, reason: `${from} "${hint}" ${how}${left}` })
      }
    }
    // Who has left cannot be the owner any more, however sure the hint is.
    const all = [...found.values()]
    return [...all.filter((s) => s.active), ...all.filter((s) => !s.active)].slice(
      0,
      suggestionsMax,
    )
  }
}

function matchOf(person: Person, hint: string): { person: Person; how: string }[] {
  const folded = normalise(hint)
  if (normalise(person.userName) === folded) return [{ person, how: 'is their userName' }]
  if (person.externalId === hint) return [{ person, how: 'is their externalId' }]
  const { emails } = person.attributes
  const addresses = (Array.isArray(emails) ? emails : []).filter(isJsonObject)
  const isIt = (value: unknown) => typeof value === 'string' && normalise(value) === folded
  return addresses.some((e) => isIt(e['value'])) ? [{ person, how: 'is their address' }] : []
}
