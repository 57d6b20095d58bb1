import type { AccountId, CredentialId, OperationId, TenantId } from '../domain/ids.ts'
import type { CredentialKind } from '../domain/credential.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock, Instant, Seconds } from '../domain/time.ts'
import type { Claim, TaskBook, TokenBook } from './books.ts'
import type { CheckReport, DiscoveryPage } from './findings.ts'
import type { Drift, DriftPage, WantedOf, WantedScopes } from './rights.ts'

// One door: what providers meet beside the calls lies in files of its own.
export type { AskedTask, Claim, IssuedToken, TaskBook, TokenBook } from './books.ts'
export type { CheckFinding, CheckReport, Discovered, DiscoveryPage } from './findings.ts'
export type { Drift, DriftPage, PrincipalDrift, WantedOf, WantedScopes } from './rights.ts'

/** What one kind of credential can do at one provider. The engine plans by these, never by name. */
export interface KindCapabilities {
  /** `issue` makes one. False: it can only be found there and adopted. */
  readonly canCreate: boolean
  /** `revoke` ends one. False: somebody has to do that by hand; the engine asks them. */
  readonly canRevoke: boolean
  /** `list` shows every key there is. False: what we lose sight of nobody finds; it dies with its lease. */
  readonly canList: boolean
  /** Keys a principal may hold at once, switched-off ones included; null = no limit. */
  readonly maxLive: number | null
  /** `disable` is reversible by `enable`. False: `disable` is unsupported and `revoke` is the only way. */
  readonly canDisable: boolean
  /**
   * How what a live credential may do is changed. `inPlace`: `rescope`, the same key goes on.
   * `newKey`: by a new key with the new scopes, the old one overlaps. `nextLease`: the next renewal
   * brings them, and one is started at once. False: never; a new credential has to be asked for.
   */
  readonly canRescope: false | 'inPlace' | 'newKey' | 'nextLease'
  /** `probe` really tries the secret. False: it answers `untestable` and death is proven by `list`. */
  readonly canProbe: boolean
  /** A listing tells when a key was used last. */
  readonly canLastUsed: boolean
  /** How late a use may show in a listing: before that, "not used" is no evidence. */
  readonly lastUsedLag: Seconds
  /**
   * `server`: the provider makes the secret and shows it once, so mint, then store.
   * `client`: we make it (`prepare`), store it first, then register the public part (`issue`).
   * `none`: there is no secret that Custody would see; `issue` makes what works without one, or a
   * task for a person. Nothing is delivered, `probeKey` stands in for `probe`.
   */
  readonly mint: 'server' | 'client' | 'none'
  /**
   * What the provider ends by itself after a fixed time, whatever was asked: it is renewed
   * `renewBefore` its end, and one that nobody can list or revoke any more is dead at its end.
   * null = it lives until somebody ends it.
   */
  readonly lease: { readonly lifetime: Seconds; readonly renewBefore: Seconds } | null
  /** `revoke` and the proof of death need the secret: the engine keeps it sealed until the key's end. */
  readonly keepsSecret: boolean
  /**
   * Its listing is what people said, so neither presence nor absence proves anything: a key ends as
   * `untestable`, with the evidence they showed, and never as `refused` or `absent`.
   */
  readonly attested?: true
  /** How soon and how late a write shows in listings; absence is no evidence before `settleMax`. */
  readonly settleMin: Seconds
  readonly settleMax: Seconds
  /** Calls that this provider allows in a period, where it says so: for planning, not for pacing. */
  readonly quota: { readonly calls: number; readonly per: Seconds } | null
  /** A key counts as working, or dead, after `count` equal answers spaced by `every`. */
  readonly probe: { readonly count: number; readonly every: Seconds }
  /** What nobody should expect of it, a sentence each: printed in docs/reference/providers.md. */
  readonly cannot: readonly string[]
}

export type Capabilities = Readonly<Partial<Record<CredentialKind, KindCapabilities>>>

export interface Call {
  /** A UUID, stable for one attempt of one step: use it as the provider's idempotency token. */
  readonly key: string
  /** The operation that asks, for user agents and session names; null outside of one. */
  readonly operation: string | null
  readonly signal: AbortSignal
  /** Ask just before a send that mints: false means a newer claim or a revocation took over. */
  readonly fence: () => Promise<boolean>
  /** The claim under which it is called; for what is kept in Custody's own database. */
  readonly claim?: Claim
  /**
   * For an inventory: which of these key ids the journal holds. What was adopted where there is no
   * room for a mark is shown by it, and what is nobody's is left out. Absent: nothing is known.
   */
  readonly journalled?: (keyIds: readonly string[]) => Promise<ReadonlySet<string>>
}

export interface WantedPrincipal {
  readonly tenant: TenantId
  readonly account: AccountId
  readonly userName: string
  readonly operation: OperationId
  /** What is to live on it, for providers whose kinds live on principals of different sorts. */
  readonly kind?: CredentialKind
  /** Where the account lives there already, as stored; what was adopted or renamed is found by it. */
  readonly external?: string | null
}

export interface WantedCredential {
  readonly tenant: TenantId
  readonly account: AccountId
  readonly credential: CredentialId
  readonly kind: CredentialKind
  readonly generation: number
  readonly scopes: readonly string[]
  readonly expiresAt: Instant
  readonly operation: OperationId
  /** For `mint: 'client'`: what `prepare` returned, possibly in an earlier process. */
  readonly publicPart: string | null
}

export interface Prepared {
  readonly secret: Secret
  /** What `issue` needs later; stored in the journal, so never secret. */
  readonly publicPart: string
  readonly fingerprint: string
}

export interface Issued {
  readonly keyId: string
  /** The bytes to deliver (contract §3: bare token, access-key JSON, PEM); null when made by `prepare`. */
  readonly secret: Secret | null
  readonly fingerprint: string
  /** When the provider itself ends it; null = never by itself. */
  readonly expiresAt: Instant | null
}

export interface EnsuredPrincipal {
  /** Opaque to the engine: all that later calls need to find the principal again, by immutable id. */
  readonly external: string
  /** False when it was there before Custody: strays on it may be someone else's. */
  readonly created: boolean
  /** The operation that minted there last, as the principal's own mark says; absent = no mark. */
  readonly operation?: string
}

export interface ExternalCredential {
  readonly keyId: string
  readonly fingerprint: string | null
  readonly kind: CredentialKind
  readonly active: boolean
  readonly createdAt: Instant | null
  readonly lastUsedAt: Instant | null
  /** The operation whose mark the key bears, where a provider has room for one. */
  readonly operation?: string
  /** What it reaches, in the words of `checkScopes`, where a listing tells: then it can be rotated. */
  readonly scopes?: readonly string[]
  /** True when the last use could not be asked for: then null does not mean unused. */
  readonly lastUsedUnknown?: true
}

/** `complete` is false when a page failed or was cut: then absence proves nothing. */
export interface Listing<T> {
  readonly items: readonly T[]
  readonly complete: boolean
}

/** A key as a walk over everything shows it; its last use only where that could be told. */
export type ListedKey = Omit<ExternalCredential, 'lastUsedAt' | 'lastUsedUnknown'> & {
  readonly lastUsedAt?: Instant | null
}

/** A principal with its keys; one that has many may come in several entries. */
export interface InventoryEntry {
  /** As `ensurePrincipal` would answer it. */
  readonly external: string
  /** What people call it there. */
  readonly name: string
  /** The account whose marks it bears; null when none, or where a listing does not show them. */
  readonly account: string | null
  readonly createdAt: Instant | null
  readonly keys: readonly ListedKey[]
}

export interface InventoryPage {
  readonly entries: readonly InventoryEntry[]
  /** Where the next page starts, in this process or a later one; null after the last. Never secret. */
  readonly next: string | null
  /** False when something that belongs on this page could not be read. */
  readonly complete: boolean
}

/** What handing a principal back took away there, and what of Custody's is left; a line each. */
export interface Released {
  readonly removed: readonly string[]
  readonly stays: readonly string[]
}

export type ProbeAnswer = 'accepted' | 'refused' | 'untestable'

/** Leaked secrets in one request: what GitHub takes at once, and more than a paste ever has. */
export const leakedMax = 1_000

/** A person who left, as far as a provider may know them. */
export interface LeftPerson {
  readonly id: string
  readonly userName: string
  readonly externalId: string | null
  readonly emails: readonly string[]
}

/**
 * One place where credentials live. Every method is safe to repeat; all but `issue` of kinds with
 * `mint: 'server'` are idempotent. Failures are `ProviderError`s and nothing else.
 */
export interface Provider {
  readonly name: string
  readonly type: string
  readonly capabilities: Capabilities
  /** Refuses a scope it would not grant, with the sentence a requester reads; null = acceptable. */
  checkScopes(
    kind: CredentialKind,
    scopes: readonly string[],
  ): { readonly scope: string; readonly reason: string } | null
  ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal>
  /** Only with `mint: 'client'`; no call leaves the process. */
  prepare?(want: WantedCredential): Prepared
  issue(principal: string, want: WantedCredential, call: Call): Promise<Issued>
  /**
   * Makes what lives on the principal reach what `want` says and nothing more: same key, same
   * boundary, no moment in which neither the old nor the new scopes hold. What is taken away is
   * taken before what is new is added only where both cannot be one write. Repeating is harmless.
   * Only for kinds that claim `canRescope: 'inPlace'`.
   */
  rescope?(principal: string, want: WantedScopes, call: Call): Promise<void>
  /**
   * What the provider lets a principal and its keys do, compared with what was granted. Reads only.
   * Absent: nothing there can drift, or nothing tells.
   */
  driftOf?(principal: string, want: readonly WantedScopes[], call: Call): Promise<Listing<Drift>>
  /**
   * As `driftOf` for all principals, page by page, where they can be read in bulk. It may look at
   * less of each than `driftOf` does, so that what it does not tell proves nothing.
   * @param wantedOf what is granted to the principals of a page, by `external`; those that it leaves
   *   out are not to be judged
   * @param from `next` of the page before; null for the first
   */
  driftPage?(from: string | null, wantedOf: WantedOf, call: Call): Promise<DriftPage>
  /**
   * Puts back what drifted, and nothing else; keys stay. Repeating is harmless.
   * @returns what was done, a line each, for the audit
   */
  revertDrift?(
    principal: string,
    want: readonly WantedScopes[],
    drift: Drift,
    call: Call,
  ): Promise<readonly string[]>
  disable(principal: string, keyId: string, call: Call): Promise<void>
  enable(principal: string, keyId: string, call: Call): Promise<void>
  /**
   * Deletes the key for good; already gone is success. Of a kind that claims `canRevoke: false` it
   * fails as `denied`, with the sentence where a person goes and clicks, unless the key is gone.
   * @param held the secret, for kinds that claim `keepsSecret`; null when it is not kept any more
   */
  revoke(principal: string, keyId: string, call: Call, held?: Secret | null): Promise<void>
  /** Denies everything for the principal: account disable and leaver only, never for one credential. */
  shutOff(principal: string, call: Call): Promise<void>
  /** Takes `shutOff` back. */
  turnOn(principal: string, call: Call): Promise<void>
  /** Really uses the secret. `untestable` when this kind cannot be tried from here. */
  probe(secret: Secret, kind: CredentialKind, call: Call): Promise<ProbeAnswer>
  /** As `probe`, for kinds with `mint: 'none'`: what is tried is not in our hands. Absent: untestable. */
  probeKey?(principal: string, keyId: string, call: Call): Promise<ProbeAnswer>
  list(principal: string, call: Call): Promise<Listing<ExternalCredential>>
  /**
   * One page of all that lies where only Custody should make things (a path, a title, the own book),
   * whoever made it, and of what the configuration adopts. A page that fails may be asked for again;
   * one that got somewhere before it was throttled ends there instead of failing. The inventory is
   * complete when the last page has been read and every page was complete. Absent: nothing is listed.
   * @param from `next` of the page before; null for the first
   * @throws ProviderError `invalid` for a `from` that is not known any more: start again
   */
  inventory?(from: string | null, call: Call): Promise<InventoryPage>
  /** The account whose marks a principal bears, where its inventory does not show them. */
  marksOf?(principal: string, call: Call): Promise<string | null>
  /** Removes the principal and all that is attached to it; already gone is success. */
  deletePrincipal(principal: string, call: Call): Promise<void>
  /**
   * One page of everything there that somebody should own, managed or not. Reads only. Absent: this
   * provider has nothing to discover.
   * @param from `next` of the page before; null for the first
   */
  discover?(from: string | null, call: Call): Promise<DiscoveryPage>
  /**
   * Makes what was discovered the principal of an account, with a mark of ours where there is room
   * for one; nothing else about it changes. Repeating is harmless.
   * @throws ProviderError `conflict` when it is somebody else's by now, `notFound` when it is gone
   */
  adopt?(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal>
  /**
   * The inverse of `adopt`: takes off the principal what marks and confines it as Custody's, and
   * nothing else; every key stays what it is. Repeating is harmless. Absent: nothing marks it.
   */
  release?(principal: string, call: Call): Promise<Released>
  /** Tries what it was configured with, and says what is missing. Changes nothing. */
  check?(call: Call): Promise<CheckReport>
  /**
   * The kill switch of everything at this provider, Custody's own access included where it cannot be
   * spared: reversible by `resume`. Absent: there is none.
   */
  suspend?(call: Call): Promise<void>
  resume?(call: Call): Promise<void>
  /**
   * Ends what a person who left holds here themselves, as configured (membership, grants of personal
   * tokens). Repeating is harmless, and done until nothing is left to end.
   * @returns what was ended, a line each, for the audit; empty when nothing is left, or they are not
   *   known here. A failure behind something that was ended is thrown when asked again.
   */
  removePerson?(person: LeftPerson, call: Call): Promise<readonly string[]>
  /** The leaked secrets, of those given, that this provider can end without knowing them as its own. */
  endsLeaked?(text: string): boolean
  /**
   * Ends secrets that somebody found and that are not Custody's: for good, everywhere. What was no
   * live secret is silently passed over, so nothing is learned from success.
   * @param leaked such as `endsLeaked` says yes to, at most `leakedMax` of them
   */
  revokeLeaked?(leaked: readonly Secret[], call: Call): Promise<void>
  close(): Promise<void>
}

export interface SinkTarget {
  readonly tenant: TenantId
  readonly credential: CredentialId
  /** As in the contract (`deliverTo.path`), already checked against its pattern. */
  readonly path: string
  /** Of the version that `promote` makes current: for a mark that people can read. */
  readonly generation?: number
}

/**
 * Where consumers read. A secret is delivered staged and becomes current by `promote`, so a
 * consumer never reads a key that was not verified. An object that Custody did not create for this
 * credential is never overwritten: `conflict`, outcome `notApplied`.
 */
export interface SecretSink {
  readonly name: string
  readonly type: string
  readonly canRead: boolean
  /**
   * `kept`, also when absent: the store holds what is staged. `carried`: it can hold nothing that is
   * not current, so `deliver` changes nothing there and answers a version in which the secret is
   * sealed for the store alone; `find` then knows no delivery, and a lost version is minted anew.
   */
  readonly staging?: 'kept' | 'carried'
  /** What nobody should expect of it, a sentence each: printed in docs/reference/providers.md. */
  readonly cannot?: readonly string[]
  /** Fails unless a secret could be stored at the target right now; runs before a key is minted. */
  check(target: SinkTarget, call: Call): Promise<void>
  /** Stores staged; returns the version. Repeating with the same `call.key` and bytes is harmless. */
  deliver(target: SinkTarget, secret: Secret, call: Call): Promise<string>
  /**
   * Makes `version` current if `from` still is (null: if nothing is). Repeating is harmless.
   * @returns the `secretRef` URI consumers use
   */
  promote(target: SinkTarget, version: string, from: string | null, call: Call): Promise<string>
  /** Whether the delivery made with `key` arrived, and as which version. */
  find(target: SinkTarget, key: string, call: Call): Promise<string | null>
  /** For the death probe: read just before disabling. null = that version is not there any more. */
  read(target: SinkTarget, version: string, call: Call): Promise<Secret | null>
  /**
   * The version that consumers read now; null when there is none. Absent: it cannot be told.
   * @throws ProviderError `conflict` when they read what Custody did not put there
   */
  current?(target: SinkTarget, call: Call): Promise<string | null>
  /**
   * Forgets a staged or superseded version; the current one stays. Already gone is success. A
   * store that cannot delete one version takes its labels off and prunes it in its own time.
   */
  discard(target: SinkTarget, version: string, call: Call): Promise<void>
  /** Removes everything at the target, only after the proof of death. Already gone is success. */
  remove(target: SinkTarget, call: Call): Promise<void>
  /** As `check` of a provider: tries what it was configured with, changes nothing. */
  examine?(call: Call): Promise<CheckReport>
  close(): Promise<void>
}

/**
 * What may be shown of a sink's version: all before the first tilde. Behind it stands, in versions of
 * sinks with `staging: 'carried'`, what only the store can open.
 */
export function shownVersion(version: string): string {
  return version.split('~', 1)[0]!
}

export type ProviderErrorKind =
  | 'throttled'
  | 'unavailable'
  | 'denied'
  | 'notFound'
  | 'conflict'
  | 'limit'
  | 'invalid'
  | 'fenced'

/**
 * The only error a provider or sink may throw. `unknown` = the effect may have happened: the
 * engine then lists and compares instead of repeating. The message never carries a secret.
 */
export class ProviderError extends Error {
  override readonly name = 'ProviderError'
  readonly kind: ProviderErrorKind
  readonly outcome: 'notApplied' | 'unknown'
  readonly retryAfter: Seconds | null

  constructor(
    kind: ProviderErrorKind,
    message: string,
    options: {
      readonly outcome: 'notApplied' | 'unknown'
      readonly retryAfter?: Seconds | null
      readonly cause?: unknown
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.outcome = options.outcome
    this.retryAfter = options.retryAfter ?? null
  }
}

/** One HTTP exchange; header names in lower case. */
export interface WireRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface WireAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Rejects when no answer came, and when `signal` aborts. */
export type Transport = (request: WireRequest, signal: AbortSignal | null) => Promise<WireAnswer>

/** What a provider or sink gets from its host. */
export interface HostContext {
  readonly name: string
  readonly clock: Clock
  readonly random: (length: number) => Uint8Array
  /** Resolves a path of the configuration (contract §2: against the config file, else CUSTODY_HOME). */
  readonly resolvePath: (path: string) => string
  readonly tokens: TokenBook
  /** Absent where nobody could be asked: in tests of providers that do not ask. */
  readonly tasks?: TaskBook
  readonly pepper: Secret
  /** Tells the host the `Date` of each answer, to check its own clock by. */
  readonly sawDate?: (date: Instant) => void
  /** How HTTP leaves the process where that is not by the network: in a simulation. */
  readonly transport?: Transport
  /** How a configured provider is connected, for a sink that uses its connection; null: no such. */
  readonly peer?: (name: string) => PeerConfig | null
}

/** A provider as configured, its configuration already checked. */
export interface PeerConfig {
  readonly type: string
  readonly config: Readonly<Record<string, unknown>>
}

/** A JSON Schema; the registry checks `config` against it and names every problem at once. */
export type ConfigSchema = Readonly<Record<string, unknown>>

export interface ProviderModule {
  readonly type: string
  readonly role: 'provider'
  readonly configSchema: ConfigSchema
  create(host: HostContext, config: Readonly<Record<string, unknown>>): Provider
}

export interface SinkModule {
  readonly type: string
  readonly role: 'sink'
  readonly configSchema: ConfigSchema
  create(host: HostContext, config: Readonly<Record<string, unknown>>): SecretSink
}
