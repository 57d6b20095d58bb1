/* oxlint-disable vitest/no-standalone-expect -- what several tests expect in the same words */
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { CredentialKind } from '../../src/domain/credential.ts'
import type { AccountId, CredentialId, OperationId } from '../../src/domain/ids.ts'
import { createIdSource, defaultTenant } from '../../src/domain/ids.ts'
import type { Secret } from '../../src/domain/secret.ts'
import type { Clock, Seconds } from '../../src/domain/time.ts'
import { addSeconds, day } from '../../src/domain/time.ts'
import type {
  Call,
  ExternalCredential,
  KindCapabilities,
  LeftPerson,
  Prepared,
  ProbeAnswer,
  Provider,
  WantedCredential,
  WantedPrincipal,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/**
 * One provider under test, connected to a fresh world. What is optional makes tests sharper; a
 * claim that cannot be tried without its hook is only checked for its shape.
 */
export interface ProviderUnderTest {
  readonly provider: Provider
  /** Which of its kinds the suite exercises. */
  readonly kind: CredentialKind
  /** The clock the provider and its world live by; expiry of what is issued counts from it. */
  readonly clock: Clock
  /** Scopes that `checkScopes` accepts. Default: none. */
  readonly scopes?: readonly string[]
  /** Scopes that a key issued with `scopes` can be given in place. Default: the same. */
  readonly otherScopes?: readonly string[]
  /** Changes by hand what a key may do, past Custody: for `driftOf` and `revertDrift`. */
  plantDrift?(made: Minted): void | Promise<void>
  /** A scope that `checkScopes` must refuse, if the provider refuses any. */
  readonly refusedScope?: string
  /** Lets time pass until a write is visible everywhere. Absent: it is at once. */
  settle?(): void
  /** Lets this much time pass: with it, a lease is watched to its end. */
  pass?(time: Seconds): void
  /** Makes the next `issue` take effect and its answer get lost. Absent: that cannot happen. */
  armLostIssue?(): void
  /**
   * Whether the secret lets its bearer do anything beyond authenticating, asked of the world and
   * not of the provider. Absent: `shutOff` is only checked for being repeatable and reversible.
   */
  isUsable?(secret: Secret): boolean | Promise<boolean>
  /** Makes the next `issue` be refused for asking too often. */
  armThrottledIssue?(): void
  /** Cuts every further answer of what an inventory asks for below its first list. */
  armBrokenInventory?(): void
  /** Uses a secret as its consumer would, so that a listing can tell it. */
  use?(secret: Secret): void | Promise<void>
  /** Needed where `canCreate` is false: puts one there by hand, and tells its adopted principal. */
  plant?(want: WantedPrincipal): Promise<{ readonly external: string; readonly keyId: string }>
  /** Puts something there that nobody manages, for `discover` and `adopt`; answers its name. */
  plantUnmanaged?(): string | Promise<string>
  /** All that the world holds, in any shape: what only reads must leave it as it was. */
  snapshot?(): unknown
  /** The same provider with something wrong (a label, and how it is then connected). */
  readonly misconfigured?: Readonly<Record<string, () => Provider | Promise<Provider>>>
  /** Somebody whose personal access the provider would end. */
  knownPerson?(): LeftPerson | Promise<LeftPerson>
  dispose(): Promise<void>
}

/** A call nobody interrupts; override what a test is about. */
export function callWith(overrides: Partial<Call> = {}): Call {
  return {
    key: randomUUID(),
    operation: null,
    signal: new AbortController().signal,
    fence: () => Promise.resolve(true),
    ...overrides,
  }
}

export function wantPrincipal(clock: Clock, userName = 'deploy-bot'): WantedPrincipal {
  const ids = createIdSource(clock, randomBytes)
  return {
    tenant: defaultTenant,
    account: ids.next() as AccountId,
    userName,
    operation: ids.next() as OperationId,
  }
}

export function wantCredential(
  principal: WantedPrincipal,
  kind: CredentialKind,
  clock: Clock,
  overrides: Partial<WantedCredential> = {},
): WantedCredential {
  const ids = createIdSource(clock, randomBytes)
  return {
    tenant: principal.tenant,
    account: principal.account,
    credential: ids.next() as CredentialId,
    kind,
    generation: 1,
    scopes: [],
    expiresAt: addSeconds(clock.now(), 30 * day),
    operation: ids.next() as OperationId,
    publicPart: null,
    ...overrides,
  }
}

/** The error of a call that must fail as the contract says; anything else fails the test. */
export async function providerErrorFrom(call: Promise<unknown>): Promise<ProviderError> {
  const outcome = await call.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if (!('error' in outcome)) throw new Error('expected a ProviderError, but the call succeeded')
  if (!(outcome.error instanceof ProviderError)) {
    throw new Error('expected a ProviderError', { cause: outcome.error })
  }
  return outcome.error
}

/** `done`, or how a call failed in the words of the contract, e.g. `limit/notApplied`. */
export async function storyOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'done',
    (error: unknown) => {
      if (!(error instanceof ProviderError)) throw error
      return `${error.kind}/${error.outcome}`
    },
  )
}

/** A refusal of what was never claimed: nothing happened, and it says so. */
export const cleanRefusal = /^(invalid|denied)\/notApplied$/

/** What exists after one credential was issued, by whichever minting class. */
export interface Minted {
  readonly principal: string
  readonly want: WantedCredential
  readonly keyId: string
  /** Null where Custody never sees one. */
  readonly secret: Secret | null
  readonly fingerprint: string
}

/** What the tests of one provider share: it plays the engine, step by step. */
export class Rig {
  readonly under: ProviderUnderTest
  readonly provider: Provider
  readonly abilities: KindCapabilities

  constructor(label: string, under: ProviderUnderTest) {
    this.under = under
    this.provider = under.provider
    const claimed = under.provider.capabilities[under.kind]
    if (!claimed) throw new Error(`${label} does not claim the kind ${under.kind}`)
    this.abilities = claimed
  }

  settle(): void {
    this.under.settle?.()
  }

  person(): WantedPrincipal {
    return { ...wantPrincipal(this.under.clock), kind: this.under.kind }
  }

  credentialFor(
    principal: WantedPrincipal,
    overrides: Partial<WantedCredential> = {},
  ): WantedCredential {
    return wantCredential(principal, this.under.kind, this.under.clock, {
      scopes: this.under.scopes ?? [],
      ...overrides,
    })
  }

  /** A new account at the provider, without keys. */
  async principal(): Promise<{ readonly want: WantedPrincipal; readonly external: string }> {
    const want = this.person()
    const { external } = await this.provider.ensurePrincipal(want, callWith())
    return { want, external }
  }

  prepare(want: WantedCredential): Prepared | null {
    if (this.abilities.mint !== 'client') return null
    if (!this.provider.prepare) throw new Error('mint "client" is claimed without prepare()')
    return this.provider.prepare(want)
  }

  /** `prepare` (where secrets are made here) and then `issue`, as the engine does. */
  async mintOn(principal: string, base: WantedCredential): Promise<Minted> {
    const prepared = this.prepare(base)
    const want = prepared ? { ...base, publicPart: prepared.publicPart } : base
    const issued = await this.provider.issue(principal, want, callWith())
    this.settle()
    const secret = issued.secret ?? prepared?.secret ?? null
    if (this.abilities.mint !== 'none' && !secret) {
      throw new Error('neither prepare nor issue gave a secret')
    }
    return { principal, want, keyId: issued.keyId, secret, fingerprint: issued.fingerprint }
  }

  /** One key on a principal of its own: issued where that can be done, else put there by hand. */
  async mint(overrides: Partial<WantedCredential> = {}): Promise<Minted> {
    const person = this.person()
    const want = this.credentialFor(person, overrides)
    if (this.abilities.canCreate) {
      const { external } = await this.provider.ensurePrincipal(person, callWith())
      return this.mintOn(external, want)
    }
    if (!this.under.plant) throw new Error('canCreate is false, so the suite needs plant()')
    const { external, keyId } = await this.under.plant(person)
    this.settle()
    return { principal: external, want, keyId, secret: null, fingerprint: '' }
  }

  /** `issued`, or how it failed in the words of the contract. */
  async attemptIssue(
    principal: string,
    base: WantedCredential,
    call = callWith(),
  ): Promise<string> {
    const want = { ...base, publicPart: this.prepare(base)?.publicPart ?? null }
    const story = await storyOf(this.provider.issue(principal, want, call))
    this.settle()
    return story === 'done' ? 'issued' : story
  }

  /** Tries the key: by its secret, or by its name where there is none. */
  async probe({ secret, principal, keyId }: Minted): Promise<ProbeAnswer> {
    if (secret) return this.provider.probe(secret, this.under.kind, callWith())
    return (await this.provider.probeKey?.(principal, keyId, callWith())) ?? 'untestable'
  }

  /** What `probe` answers while the key works. */
  get working(): 'accepted' | 'untestable' {
    return this.abilities.canProbe ? 'accepted' : 'untestable'
  }

  revoke({ principal, keyId, secret }: Minted, call = callWith()): Promise<void> {
    const held = this.abilities.keepsSecret ? secret : null
    return this.provider.revoke(principal, keyId, call, held)
  }

  /** The complete listing. Only where `canList` is claimed. */
  async listed(principal: string): Promise<readonly ExternalCredential[]> {
    const listing = await this.provider.list(principal, callWith())
    if (!listing.complete) throw new Error('the listing is not complete')
    return listing.items
  }

  /** Expects exactly these keys in the listing, where there is one. */
  async expectKeys(principal: string, keyIds: readonly string[]): Promise<void> {
    if (!this.abilities.canList) return
    const items = await this.listed(principal)
    expect(items.map((key) => key.keyId)).toEqual(keyIds)
  }

  /** Dead by trying where that is possible, else by a complete listing. */
  async isDead(made: Minted): Promise<boolean> {
    if (this.abilities.canProbe) return (await this.probe(made)) === 'refused'
    return (await this.listed(made.principal)).every((key) => key.keyId !== made.keyId)
  }

  /** Whether the death of a key can be shown at all. */
  get canProve(): boolean {
    return this.abilities.canProbe || this.abilities.canList
  }

  /** Runs what must not change anything, and compares the world before and after. */
  async unchanged<T>(run: () => Promise<T>): Promise<T> {
    const before = structuredClone(this.under.snapshot?.())
    const answer = await run()
    expect(this.under.snapshot?.()).toEqual(before)
    return answer
  }
}

/** The secret of a key as text; null where there is none. */
export function textOf({ secret }: Minted): string | null {
  return secret?.use((bytes) => bytes.toString('utf8')) ?? null
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}
