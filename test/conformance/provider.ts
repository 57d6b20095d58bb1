import { randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CredentialKind } from '../../src/domain/credential.ts'
import type { AccountId, CredentialId, OperationId } from '../../src/domain/ids.ts'
import { createIdSource, defaultTenant } from '../../src/domain/ids.ts'
import type { Secret } from '../../src/domain/secret.ts'
import type { Clock } from '../../src/domain/time.ts'
import { addSeconds, day } from '../../src/domain/time.ts'
import type {
  Call,
  InventoryEntry,
  KindCapabilities,
  Prepared,
  Provider,
  WantedCredential,
  WantedPrincipal,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/** One provider under test, connected to a fresh world. */
export interface ProviderUnderTest {
  readonly provider: Provider
  /** Which of its kinds the suite exercises. */
  readonly kind: CredentialKind
  /** The clock the provider and its world live by; expiry of what is issued counts from it. */
  readonly clock: Clock
  /** Scopes that `checkScopes` accepts. Default: none. */
  readonly scopes?: readonly string[]
  /** A scope that `checkScopes` must refuse, if the provider refuses any. */
  readonly refusedScope?: string
  /** Lets time pass until a write is visible everywhere. Absent: it is at once. */
  settle?(): void
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

/** What exists after one credential was issued, by either minting class. */
interface Minted {
  readonly principal: string
  readonly want: WantedCredential
  readonly keyId: string
  readonly secret: Secret
  readonly fingerprint: string
}

/**
 * What every provider must do, whatever it is connected to. The suite reads `capabilities` and
 * tests what is claimed; what is not claimed must be refused cleanly.
 */
export function providerConformance(label: string, make: () => Promise<ProviderUnderTest>): void {
  describe(`${label} conforms to the provider contract`, () => {
    let under: ProviderUnderTest
    let provider: Provider
    let abilities: KindCapabilities

    beforeEach(async () => {
      under = await make()
      provider = under.provider
      const claimed = provider.capabilities[under.kind]
      if (!claimed) throw new Error(`${label} does not claim the kind ${under.kind}`)
      abilities = claimed
    })
    afterEach(async () => {
      await provider.close()
      await under.dispose()
    })

    const settle = (): void => under.settle?.()
    const person = (): WantedPrincipal => wantPrincipal(under.clock)
    const credentialFor = (
      principal: WantedPrincipal,
      overrides: Partial<WantedCredential> = {},
    ): WantedCredential =>
      wantCredential(principal, under.kind, under.clock, {
        scopes: under.scopes ?? [],
        ...overrides,
      })

    /** `prepare` (where secrets are made here) and then `issue`, as the engine does. */
    async function mintOn(principal: string, base: WantedCredential): Promise<Minted> {
      const prepared = prepare(base)
      const want = prepared ? { ...base, publicPart: prepared.publicPart } : base
      const issued = await provider.issue(principal, want, callWith())
      settle()
      const secret = issued.secret ?? prepared?.secret
      if (!secret) throw new Error('neither prepare nor issue gave a secret')
      return { principal, want, keyId: issued.keyId, secret, fingerprint: issued.fingerprint }
    }

    function prepare(want: WantedCredential): Prepared | null {
      if (abilities.mint !== 'client') return null
      if (!provider.prepare) throw new Error('mint "client" is claimed without prepare()')
      return provider.prepare(want)
    }

    async function mint(overrides: Partial<WantedCredential> = {}): Promise<Minted> {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      return mintOn(external, credentialFor(principal, overrides))
    }

    const probe = (secret: Secret) => provider.probe(secret, under.kind, callWith())
    const listed = async (principal: string) => {
      const listing = await provider.list(principal, callWith())
      if (!listing.complete) throw new Error('the listing is not complete')
      return listing.items
    }

    /** Dead by trying where that is possible, else by a complete listing. */
    async function isDead({ secret, principal, keyId }: Minted): Promise<boolean> {
      if (abilities.canProbe) return (await probe(secret)) === 'refused'
      return (await listed(principal)).every((key) => key.keyId !== keyId)
    }

    /** `issued`, or how it failed in the words of the contract. */
    async function attemptIssue(
      principal: string,
      base: WantedCredential,
      call = callWith(),
    ): Promise<string> {
      const want = { ...base, publicPart: prepare(base)?.publicPart ?? null }
      try {
        await provider.issue(principal, want, call)
        return 'issued'
      } catch (error) {
        if (!(error instanceof ProviderError)) throw error
        return `${error.kind}/${error.outcome}`
      } finally {
        settle()
      }
    }

    const working = (): 'accepted' | 'untestable' =>
      abilities.canProbe ? 'accepted' : 'untestable'

    it('claims numbers the engine can plan by', () => {
      expect(abilities.settleMax).toBeGreaterThanOrEqual(0)
      expect(abilities.probe.count).toBeGreaterThanOrEqual(1)
      expect(abilities.probe.every).toBeGreaterThanOrEqual(0)
      expect(abilities.maxLive ?? 1).toBeGreaterThanOrEqual(1)
    })

    it('finds the same principal again instead of making a second one', async () => {
      const want = person()

      const first = await provider.ensurePrincipal(want, callWith())
      const second = await provider.ensurePrincipal(want, callWith())

      // Only a principal that was there before can bear the mark of an operation.
      expect(second).toMatchObject(first)
    })

    it('keeps two accounts of the same name apart', async () => {
      const first = await provider.ensurePrincipal(person(), callWith())
      const second = await provider.ensurePrincipal(person(), callWith())

      expect(second.external).not.toBe(first.external)
    })

    it('issues a secret that works', async () => {
      const made = await mint()

      const answer = await probe(made.secret)

      expect(answer).toBe(working())
    })

    it('fingerprints what it issued, differently for every key', async () => {
      const first = await mint()
      const second = await mint()

      expect(first.fingerprint).not.toBe('')
      expect(second.fingerprint).not.toBe(first.fingerprint)
      expect(second.keyId).not.toBe(first.keyId)
    })

    it('says who makes the secret, and holds to it', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      const base = credentialFor(principal)
      const prepared = prepare(base)

      const issued = await provider.issue(
        external,
        prepared ? { ...base, publicPart: prepared.publicPart } : base,
        callWith(),
      )

      expect(issued.secret === null).toBe(abilities.mint === 'client')
    })

    it('does not let a key live longer than asked, as far as the provider ends keys itself', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      const base = credentialFor(principal)
      const want = { ...base, publicPart: prepare(base)?.publicPart ?? null }

      const { expiresAt } = await provider.issue(external, want, callWith())

      expect((expiresAt ?? want.expiresAt) <= want.expiresAt).toBe(true)
    })

    it('keeps the old key working while there is room for a new one beside it', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      const old = await mintOn(external, credentialFor(principal))

      const next = credentialFor(principal, { generation: 2 })
      const outcome = await attemptIssue(external, next)

      expect(outcome).toBe(abilities.maxLive === 1 ? 'limit/notApplied' : 'issued')
      expect(await probe(old.secret)).toBe(working())
    })

    it('lists what it issued, completely and as active', async () => {
      const { principal, keyId } = await mint()

      const items = await listed(principal)

      expect(items).toHaveLength(1)
      expect(items[0]).toMatchObject({ keyId, kind: under.kind, active: true })
    })

    it('lists nothing for a principal without keys', async () => {
      const { external } = await provider.ensurePrincipal(person(), callWith())

      expect(await listed(external)).toEqual([])
    })

    it('registers a prepared secret once, however often it is issued', async () => {
      const made = await mint()

      const again =
        abilities.mint === 'client'
          ? await provider.issue(made.principal, made.want, callWith())
          : made

      expect(again.keyId).toBe(made.keyId)
      expect(await listed(made.principal)).toHaveLength(1)
    })

    /** Off and on again, each twice; stops at the first refusal. */
    async function offAndOn(made: Minted): Promise<readonly string[]> {
      const { principal, keyId, secret } = made
      const story: string[] = []
      const tell = async (): Promise<void> => {
        settle()
        const [key] = await listed(principal)
        story.push(`${key?.active ? 'active' : 'inactive'} ${await probe(secret)}`)
      }
      try {
        await provider.disable(principal, keyId, callWith())
        await provider.disable(principal, keyId, callWith())
        await tell()
        await provider.enable(principal, keyId, callWith())
        await provider.enable(principal, keyId, callWith())
        await tell()
      } catch (error) {
        if (!(error instanceof ProviderError)) throw error
        story.push(error.outcome)
      }
      return story
    }

    it('disables a key reversibly, or refuses because it cannot', async () => {
      const made = await mint()

      const story = await offAndOn(made)

      const off = abilities.canProbe ? 'inactive refused' : 'inactive untestable'
      expect(story).toEqual(abilities.canDisable ? [off, `active ${working()}`] : ['notApplied'])
    })

    it('revokes for good, and again without complaint', async () => {
      const made = await mint()

      await provider.revoke(made.principal, made.keyId, callWith())
      await provider.revoke(made.principal, made.keyId, callWith())
      settle()

      expect(await isDead(made)).toBe(true)
      expect(await listed(made.principal)).toEqual([])
    })

    it('revokes a disabled key', async () => {
      const made = await mint()
      if (abilities.canDisable) await provider.disable(made.principal, made.keyId, callWith())

      await provider.revoke(made.principal, made.keyId, callWith())
      settle()

      expect(await isDead(made)).toBe(true)
    })

    it('leaves other keys alone when one is revoked', async () => {
      const first = await mint()
      const second = await mint()

      await provider.revoke(first.principal, first.keyId, callWith())
      settle()

      expect((await listed(second.principal)).map((key) => key.keyId)).toEqual([second.keyId])
    })

    it('refuses one key more than it claims, switched-off ones included', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      const allowed = abilities.maxLive ?? 3
      for (let generation = 1; generation <= allowed; generation++) {
        const made = await mintOn(external, credentialFor(principal, { generation }))
        if (abilities.canDisable) await provider.disable(external, made.keyId, callWith())
      }

      const one = credentialFor(principal, { generation: allowed + 1 })

      expect(await attemptIssue(external, one)).toBe(
        abilities.maxLive === null ? 'issued' : 'limit/notApplied',
      )
    })

    it('mints nothing when the fence says that someone else took over', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      const fence = () => Promise.resolve(false)

      const outcome = await attemptIssue(external, credentialFor(principal), callWith({ fence }))

      expect(outcome).toBe('fenced/notApplied')
      expect(await listed(external)).toEqual([])
    })

    it('asks the fence before it mints, not after', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      const base = credentialFor(principal)
      const want = { ...base, publicPart: prepare(base)?.publicPart ?? null }
      const seen: number[] = []
      const fence = async () => {
        settle()
        seen.push((await listed(external)).length)
        return true
      }

      await provider.issue(external, want, callWith({ fence }))

      expect(seen.length).toBeGreaterThan(0)
      expect(new Set(seen)).toEqual(new Set([0]))
    })

    it('stops everything of a principal, and takes it back', async () => {
      const { principal, keyId, secret } = await mint()
      const usable = async (otherwise: boolean): Promise<boolean> => {
        settle()
        return under.isUsable ? under.isUsable(secret) : otherwise
      }

      await provider.shutOff(principal, callWith())
      await provider.shutOff(principal, callWith())
      const off = await usable(false)
      await provider.turnOn(principal, callWith())
      await provider.turnOn(principal, callWith())
      const on = await usable(true)

      expect([off, on]).toEqual([false, true])
      expect((await listed(principal)).map((key) => key.keyId)).toEqual([keyId])
      expect(await probe(secret)).toBe(working())
    })

    it('deletes a principal with all its keys, and again without complaint', async () => {
      const made = await mint()
      await provider.shutOff(made.principal, callWith())

      await provider.deletePrincipal(made.principal, callWith())
      await provider.deletePrincipal(made.principal, callWith())
      settle()

      expect(await isDead(made)).toBe(true)
      expect(await listed(made.principal)).toEqual([])
    })

    it('treats revoking and shutting off a deleted principal as done', async () => {
      const made = await mint()
      await provider.deletePrincipal(made.principal, callWith())
      settle()

      await provider.shutOff(made.principal, callWith())
      await provider.revoke(made.principal, made.keyId, callWith())

      expect(await listed(made.principal)).toEqual([])
    })

    it('grants the scopes it accepts and refuses others with a sentence', () => {
      const refused = under.refusedScope
        ? provider.checkScopes(under.kind, [under.refusedScope])
        : { scope: '', reason: 'This provider takes any scope.' }

      expect(provider.checkScopes(under.kind, under.scopes ?? [])).toBeNull()
      expect(refused?.scope).toBe(under.refusedScope ?? '')
      expect(refused?.reason).toMatch(/^\S.*[.!]$/s)
    })

    /** All pages; throws what a page throws. */
    async function inventory(call = callWith()) {
      const entries: InventoryEntry[] = []
      let complete = true
      let pages = 0
      let from: string | null = null
      do {
        const page = await provider.inventory!(from, call)
        entries.push(...page.entries)
        complete &&= page.complete
        from = page.next
      } while (++pages < 100 && from !== null)
      return { entries, complete, pages, end: from }
    }

    it('shows all it issued in a complete inventory, by the principal’s own handle', async () => {
      if (!provider.inventory) return
      const made = [await mint(), await mint(), await mint()]
      if (abilities.canDisable)
        await provider.disable(made[0]!.principal, made[0]!.keyId, callWith())
      settle()

      const { entries, complete, end } = await inventory()

      const shown = entries.flatMap((entry) =>
        entry.keys.map(({ keyId, kind, active }) => ({
          principal: entry.external,
          keyId,
          kind,
          active,
        })),
      )
      expect([complete, end]).toEqual([true, null])
      expect(shown).toHaveLength(3)
      expect(shown).toEqual(
        expect.arrayContaining(
          made.map(({ principal, keyId }, i) => ({
            principal,
            keyId,
            kind: under.kind,
            active: i > 0 || !abilities.canDisable,
          })),
        ),
      )
    })

    it('lists the same in its inventory as for each principal', async () => {
      if (!provider.inventory) return
      const { principal } = await mint()
      await mint()

      const { entries } = await inventory()

      const own = entries.filter((entry) => entry.external === principal)
      const alone = await listed(principal)
      // A last use may be left out, for it may cost a call each; where it is told, it is the same.
      const told = own.flatMap((entry) => entry.keys)
      expect(told).toEqual(
        alone.map(({ lastUsedAt, ...key }, i) =>
          told[i]?.lastUsedAt === undefined ? key : { ...key, lastUsedAt },
        ),
      )
    })

    it('shows no key that was revoked', async () => {
      if (!provider.inventory) return
      const made = await mint()
      await provider.revoke(made.principal, made.keyId, callWith())
      settle()

      const { entries } = await inventory()

      expect(entries.flatMap((entry) => entry.keys)).toEqual([])
    })

    it('never calls an inventory complete of which a part could not be read', async () => {
      if (!provider.inventory || !under.armBrokenInventory) return
      await mint()
      await mint()
      under.armBrokenInventory()

      const outcome = await inventory().then(
        ({ complete, end }) => complete && end === null,
        (error: unknown) => (error instanceof ProviderError ? error.outcome : error),
      )

      expect(['notApplied', 'unknown', false]).toContain(outcome)
    })

    it('refuses to go on from a place it never named', async () => {
      if (!provider.inventory) return

      const outcome = await provider.inventory('{"nowhere":true}', callWith()).then(
        ({ entries }) => entries.length,
        (error: unknown) => (error instanceof ProviderError ? error.kind : error),
      )

      expect(['invalid', 0]).toContain(outcome)
    })

    it('never lets a secret show when an answer is printed', async () => {
      const { secret, principal } = await mint()
      const text = secret.use((bytes) => bytes.toString('utf8'))

      const shown = inspect({ provider, secret, principal }, { depth: 10, showHidden: true })

      expect(shown).not.toContain(text)
      expect(JSON.stringify({ secret, principal })).not.toContain(text)
    })

    it('reports a lost answer of issue as unknown, and the key can be found and removed', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      under.armLostIssue?.()

      const outcome = await attemptIssue(external, credentialFor(principal))
      const strays = await listed(external)
      for (const stray of strays) await provider.revoke(external, stray.keyId, callWith())
      settle()

      expect(outcome).toBe(under.armLostIssue ? 'unavailable/unknown' : 'issued')
      expect(strays).toHaveLength(1)
      expect(await listed(external)).toEqual([])
    })

    it('mints nothing when the provider throttles', async () => {
      const principal = person()
      const { external } = await provider.ensurePrincipal(principal, callWith())
      under.armThrottledIssue?.()

      const outcome = await attemptIssue(external, credentialFor(principal))

      expect(outcome).toBe(under.armThrottledIssue ? 'throttled/notApplied' : 'issued')
      expect(await listed(external)).toHaveLength(under.armThrottledIssue ? 0 : 1)
    })

    it('fails, when aborted, with ProviderErrors that do not carry a secret', async () => {
      const { principal, secret, want, keyId } = await mint()
      const text = secret.use((bytes) => bytes.toString('utf8'))
      const stop = new AbortController()
      stop.abort()
      const call = callWith({ signal: stop.signal })

      const outcomes = await Promise.allSettled([
        provider.probe(secret, under.kind, call),
        provider.issue(principal, want, call),
        provider.list(principal, call),
        provider.revoke(principal, keyId, call),
      ])

      const failures = outcomes.flatMap((o) =>
        o.status === 'rejected' ? [o.reason as unknown] : [],
      )
      expect(failures.filter((error) => !(error instanceof ProviderError))).toEqual([])
      expect(inspect(failures, { depth: 10, showHidden: true })).not.toContain(text)
    })
  })
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}
