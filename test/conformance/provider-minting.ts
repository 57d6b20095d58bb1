/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect -- the flags decide what is expected, and the rig expects */
import { expect, it } from 'vitest'
import { addSeconds } from '../../src/domain/time.ts'
import { callWith, cleanRefusal, type Rig } from './provider-rig.ts'

/** Principals, and how keys come to be: by the provider, by us, or without a secret at all. */
export function mintingSuite(rig: () => Rig): void {
  it('claims numbers the engine can plan by', () => {
    const { abilities, provider } = rig()

    expect(abilities.settleMin).toBeGreaterThanOrEqual(0)
    expect(abilities.settleMax).toBeGreaterThanOrEqual(abilities.settleMin)
    expect(abilities.lastUsedLag).toBeGreaterThanOrEqual(0)
    expect(abilities.probe.count).toBeGreaterThanOrEqual(1)
    expect(abilities.probe.every).toBeGreaterThanOrEqual(0)
    expect(abilities.maxLive ?? 1).toBeGreaterThanOrEqual(1)
    expect(abilities.quota?.calls ?? 1).toBeGreaterThanOrEqual(1)
    expect(abilities.quota?.per ?? 1).toBeGreaterThan(0)
    expect(abilities.lease?.renewBefore ?? 0).toBeLessThan(abilities.lease?.lifetime ?? 1)
    for (const sentence of abilities.cannot) expect(sentence).toMatch(/^[A-Z`].*\.$/s)
    // Who makes secrets has a way to make them; who has none has no use for a kept one.
    if (abilities.mint === 'client') expect(provider).toHaveProperty('prepare')
    expect(abilities.mint === 'none' && abilities.keepsSecret).toBe(false)
  })

  it('finds the same principal again instead of making a second one', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const want = r.person()

    const first = await r.provider.ensurePrincipal(want, callWith())
    const second = await r.provider.ensurePrincipal(want, callWith())

    // Only a principal that was there before can bear the mark of an operation.
    expect(second).toMatchObject(first)
  })

  it('keeps two accounts of the same name apart', async () => {
    if (!rig().abilities.canCreate) return
    const first = await rig().principal()
    const second = await rig().principal()

    expect(second.external).not.toBe(first.external)
  })

  it('issues what works, or refuses to issue because it cannot', async () => {
    const r = rig()
    const made = await r.mint()
    const refusal = r.abilities.canCreate
      ? 'invalid/notApplied'
      : await r.attemptIssue(made.principal, made.want)

    expect(refusal).toMatch(cleanRefusal)
    expect(await r.probe(made)).toBe(r.working)
  })

  it('fingerprints what it issued, differently for every key', async () => {
    if (!rig().abilities.canCreate) return
    const first = await rig().mint()
    const second = await rig().mint()

    expect(first.fingerprint).not.toBe('')
    expect(second.fingerprint).not.toBe(first.fingerprint)
    expect(second.keyId).not.toBe(first.keyId)
  })

  it('says who makes the secret, and holds to it', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const base = r.credentialFor(want)
    const publicPart = r.prepare(base)?.publicPart ?? null

    const issued = await r.provider.issue(external, { ...base, publicPart }, callWith())

    expect(issued.secret === null).toBe(r.abilities.mint !== 'server')
  })

  it('does not let a key live longer than asked, as far as the provider ends keys itself', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const base = r.credentialFor(want)
    const publicPart = r.prepare(base)?.publicPart ?? null

    const { expiresAt } = await r.provider.issue(external, { ...base, publicPart }, callWith())

    const { lease } = r.abilities
    const end = lease ? addSeconds(r.under.clock.now(), lease.lifetime) : base.expiresAt
    expect((expiresAt ?? end) <= end).toBe(true)
    // A lease that does not tell its end could not be renewed before it.
    expect(lease !== null && expiresAt === null).toBe(false)
  })

  it('ends a lease by itself at the end that it told', async () => {
    const r = rig()
    const { lease, canCreate, canProbe } = r.abilities
    if (!lease || !canCreate || !canProbe || !r.under.pass) return
    const made = await r.mint()

    r.under.pass(lease.lifetime)

    expect(await r.probe(made)).toBe('refused')
  })

  it('keeps the old key working while there is room for a new one beside it', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const old = await r.mintOn(external, r.credentialFor(want))

    const outcome = await r.attemptIssue(external, r.credentialFor(want, { generation: 2 }))

    expect(outcome).toBe(r.abilities.maxLive === 1 ? 'limit/notApplied' : 'issued')
    expect(await r.probe(old)).toBe(r.working)
  })

  it('makes one key of one want, however often it is issued, unless the provider makes secrets', async () => {
    const r = rig()
    if (!r.abilities.canCreate || r.abilities.mint === 'server') return
    const made = await r.mint()

    const again = await r.provider.issue(made.principal, made.want, callWith())

    expect(again.keyId).toBe(made.keyId)
    await r.expectKeys(made.principal, [made.keyId])
  })

  it('refuses one key more than it claims, switched-off ones included', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const allowed = r.abilities.maxLive ?? 3
    for (let generation = 1; generation <= allowed; generation++) {
      const made = await r.mintOn(external, r.credentialFor(want, { generation }))
      if (r.abilities.canDisable) await r.provider.disable(external, made.keyId, callWith())
    }

    const one = r.credentialFor(want, { generation: allowed + 1 })

    expect(await r.attemptIssue(external, one)).toBe(
      r.abilities.maxLive === null ? 'issued' : 'limit/notApplied',
    )
  })

  it('mints nothing when the fence says that someone else took over', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const fence = () => Promise.resolve(false)

    const outcome = await r.attemptIssue(external, r.credentialFor(want), callWith({ fence }))

    expect(outcome).toBe('fenced/notApplied')
    await r.expectKeys(external, [])
  })

  it('asks the fence before it mints, not after', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const base = r.credentialFor(want)
    const publicPart = r.prepare(base)?.publicPart ?? null
    let asked = 0
    const fence = async () => {
      r.settle()
      asked++
      await r.expectKeys(external, [])
      return true
    }

    await r.provider.issue(external, { ...base, publicPart }, callWith({ fence }))

    expect(asked).toBeGreaterThan(0)
  })

  it('grants the scopes it accepts and refuses others with a sentence', () => {
    const { under, provider } = rig()
    const refused = under.refusedScope
      ? provider.checkScopes(under.kind, [under.refusedScope])
      : { scope: '', reason: 'This provider takes any scope.' }

    expect(provider.checkScopes(under.kind, under.scopes ?? [])).toBeNull()
    expect(refused?.scope).toBe(under.refusedScope ?? '')
    expect(refused?.reason).toMatch(/^\S.*[.!]$/s)
  })
}
