/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect -- the flags decide what is expected, and the rig expects */
import { expect, it } from 'vitest'
import { callWith, cleanRefusal, storyOf, type Minted, type Rig } from './provider-rig.ts'

/** Switching off and on, revoking, and what happens to a whole principal. */
export function endingSuite(rig: () => Rig): void {
  /** Off and on again, each twice; stops at the first refusal. */
  async function offAndOn(made: Minted): Promise<readonly string[]> {
    const r = rig()
    const { principal, keyId } = made
    const story: string[] = []
    const tell = async (): Promise<void> => {
      r.settle()
      const active = r.abilities.canList ? (await r.listed(principal))[0]?.active : null
      story.push(`${active} ${await r.probe(made)}`)
    }
    const refusal = await storyOf(
      (async () => {
        await r.provider.disable(principal, keyId, callWith())
        await r.provider.disable(principal, keyId, callWith())
        await tell()
        await r.provider.enable(principal, keyId, callWith())
        await r.provider.enable(principal, keyId, callWith())
        await tell()
      })(),
    )
    return refusal === 'done' ? story : [...story, refusal.split('/')[1]!]
  }

  it('disables a key reversibly, or refuses because it cannot', async () => {
    const { abilities, working } = rig()
    const shown = (active: boolean) => (abilities.canList ? active : null)

    const story = await offAndOn(await rig().mint())

    const off = `${shown(false)} ${abilities.canProbe ? 'refused' : 'untestable'}`
    expect(story).toEqual(
      abilities.canDisable ? [off, `${shown(true)} ${working}`] : ['notApplied'],
    )
  })

  it('revokes for good, and again without complaint, or refuses because it cannot', async () => {
    const r = rig()
    const made = await r.mint()

    const stories = [await storyOf(r.revoke(made)), await storyOf(r.revoke(made))]
    r.settle()

    if (!r.abilities.canRevoke) {
      expect(stories.join()).toMatch(/^(invalid|denied)\/notApplied,(invalid|denied)\/notApplied$/)
      return expect(await r.probe(made)).toBe(r.working)
    }
    expect(stories).toEqual(['done', 'done'])
    if (r.canProve) expect(await r.isDead(made)).toBe(true)
    await r.expectKeys(made.principal, [])
  })

  it('never says that it revoked a key whose kept secret is gone, unless it did', async () => {
    const r = rig()
    if (!r.abilities.keepsSecret) return
    const made = await r.mint()

    const story = await storyOf(r.provider.revoke(made.principal, made.keyId, callWith(), null))

    if (story === 'done') expect(await r.isDead(made)).toBe(true)
    else expect(story).toMatch(/\/notApplied$/)
  })

  it('revokes a disabled key', async () => {
    const r = rig()
    if (!r.abilities.canRevoke) return
    const made = await r.mint()
    if (r.abilities.canDisable) await r.provider.disable(made.principal, made.keyId, callWith())

    await r.revoke(made)
    r.settle()

    if (r.canProve) expect(await r.isDead(made)).toBe(true)
  })

  it('leaves other keys alone when one is revoked', async () => {
    const r = rig()
    if (!r.abilities.canRevoke) return
    const first = await r.mint()
    const second = await r.mint()

    await r.revoke(first)
    r.settle()

    expect(await r.probe(second)).toBe(r.working)
    await r.expectKeys(second.principal, [second.keyId])
  })

  it('stops everything of a principal, and takes it back', async () => {
    const r = rig()
    const made = await r.mint()
    const { principal } = made
    const usable = async (otherwise: boolean): Promise<boolean> => {
      r.settle()
      return r.under.isUsable && made.secret ? r.under.isUsable(made.secret) : otherwise
    }

    const first = await storyOf(r.provider.shutOff(principal, callWith()))
    // What was not made here can be a thing that has no such switch.
    if (!r.abilities.canCreate && first !== 'done') return expect(first).toMatch(cleanRefusal)
    await r.provider.shutOff(principal, callWith())
    const off = await usable(false)
    await r.provider.turnOn(principal, callWith())
    await r.provider.turnOn(principal, callWith())
    const on = await usable(true)

    expect([first, off, on]).toEqual(['done', false, true])
    expect(await r.probe(made)).toBe(r.working)
    await r.expectKeys(principal, [made.keyId])
  })

  it('deletes a principal with all its keys, and again without complaint', async () => {
    const r = rig()
    const made = await r.mint()
    await storyOf(r.provider.shutOff(made.principal, callWith()))

    const first = await storyOf(r.provider.deletePrincipal(made.principal, callWith()))
    const second = await storyOf(r.provider.deletePrincipal(made.principal, callWith()))
    r.settle()

    if (!r.abilities.canRevoke || (!r.abilities.canCreate && first !== 'done')) {
      return expect([first, second].join()).toMatch(
        /^(done|(invalid|denied)\/notApplied),(done|(invalid|denied)\/notApplied)$/,
      )
    }
    expect([first, second]).toEqual(['done', 'done'])
    // A key that only its own bearer can end dies with its lease.
    if (r.canProve && !r.abilities.keepsSecret) expect(await r.isDead(made)).toBe(true)
    await r.expectKeys(made.principal, [])
  })

  it('treats revoking and shutting off a deleted principal as done', async () => {
    const r = rig()
    if (!r.abilities.canRevoke || !r.abilities.canCreate) return
    const made = await r.mint()
    await r.provider.deletePrincipal(made.principal, callWith())
    r.settle()

    await r.provider.shutOff(made.principal, callWith())
    await r.revoke(made)

    await r.expectKeys(made.principal, [])
  })
}
