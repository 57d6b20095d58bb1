/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect -- the flags decide what is expected, and the rig expects */
import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import type { Discovered, LeftPerson } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { callWith, providerErrorFrom, storyOf, textOf, type Rig } from './provider-rig.ts'

const sentence = /^\S.*[.!?]$/s
const stranger: LeftPerson = {
  id: '0193a7c0-0000-7000-8000-0000000000ff',
  userName: 'nobody.here@example.com',
  externalId: null,
  emails: ['nobody.here@example.com'],
}

/** Methods that a provider may have: discovery and adoption, checks, kill switches, leavers. */
export function optionsSuite(rig: () => Rig): void {
  /** All pages; fails unless the walk comes to an end. */
  async function discovered(): Promise<readonly Discovered[]> {
    const items: Discovered[] = []
    let from: string | null = null
    for (let pages = 0; pages < 100; pages++) {
      const page = await rig().provider.discover!(from, callWith())
      items.push(...page.items)
      expect(page.complete).toBe(true)
      expect(page.total ?? items.length).toBeGreaterThanOrEqual(page.items.length)
      if (page.next === null) return items
      expect(page.next).not.toBe(from)
      from = page.next
    }
    throw new Error('discover did not come to an end within 100 pages')
  }
  const unmanaged = (items: readonly Discovered[]) => items.filter((i) => i.account === null)

  it('discovers to the end what nobody manages, each thing once, and changes nothing', async () => {
    const r = rig()
    if (!r.provider.discover) return
    const name = await r.under.plantUnmanaged?.()

    const items = await r.unchanged(discovered)

    expect(new Set(items.map((item) => item.external)).size).toBe(items.length)
    if (name !== undefined) expect(unmanaged(items).map((item) => item.name)).toContain(name)
    for (const item of items) {
      expect(r.provider.capabilities, item.name).toHaveProperty([item.kind])
      if (item.obstacle !== null) expect(item.obstacle).toMatch(sentence)
      for (const { hint } of item.owners) expect(hint).not.toBe('')
    }
  })

  it('does not take for unmanaged what it issued itself', async () => {
    const r = rig()
    if (!r.provider.discover) return
    const before = unmanaged(await discovered()).length
    const made = await r.mint()

    const items = await discovered()

    expect(unmanaged(items)).toHaveLength(before)
    const text = textOf(made)
    if (text !== null) expect(JSON.stringify(items)).not.toContain(text)
  })

  it('adopts what it discovered once, for one account', async () => {
    const r = rig()
    if (!r.provider.adopt || !r.under.plantUnmanaged) return
    const name = await r.under.plantUnmanaged()
    const found = (await discovered()).find((item) => item.name === name)!
    const want = r.person()

    const first = await r.provider.adopt(found.external, want, callWith())
    const second = await r.provider.adopt(found.external, want, callWith())
    r.settle()

    expect(second.external).toBe(first.external)
    expect(first.created).toBe(false)
    if (r.provider.capabilities[found.kind]!.canList) {
      const { items, complete } = await r.provider.list(first.external, callWith())
      expect(complete).toBe(true)
      expect(items.map((key) => key.keyId).sort()).toEqual(
        found.keys.map((key) => key.keyId).sort(),
      )
    }
    expect(unmanaged(await discovered()).map((item) => item.name)).not.toContain(name)
  })

  it('does not adopt what another account has, nor what is not there', async () => {
    const r = rig()
    if (!r.provider.adopt || !r.under.plantUnmanaged) return
    const name = await r.under.plantUnmanaged()
    const found = (await discovered()).find((item) => item.name === name)!
    await r.provider.adopt(found.external, r.person(), callWith())
    r.settle()

    const taken = await storyOf(r.provider.adopt(found.external, r.person(), callWith()))
    const nonsense = await storyOf(r.provider.adopt('{"nowhere":true}', r.person(), callWith()))

    expect(taken).toBe('conflict/notApplied')
    expect(nonsense).toMatch(/^(notFound|invalid)\/notApplied$/)
  })

  it('finds nothing wrong with itself when nothing is, and changes nothing', async () => {
    const r = rig()
    if (!r.provider.check) return
    await r.mint()

    const { findings } = await r.unchanged(() => r.provider.check!(callWith()))

    expect(findings.length).toBeGreaterThan(0)
    expect(findings.filter((finding) => finding.state === 'failed')).toEqual([])
    expect(new Set(findings.map((finding) => finding.name)).size).toBe(findings.length)
    for (const finding of findings) expect(finding.message).toMatch(sentence)
  })

  it('reports what is wrong with its configuration instead of failing', async () => {
    const r = rig()
    if (!r.provider.check) return
    for (const [label, connect] of Object.entries(r.under.misconfigured ?? {})) {
      const broken = await connect()

      const report = await broken.check!(callWith()).finally(() => void broken.close())

      const failed = report.findings.filter((finding) => finding.state !== 'ok')
      expect(failed, label).not.toEqual([])
      for (const { message, remedy } of failed) {
        expect(message, label).toMatch(sentence)
        if (remedy !== null) expect(remedy, label).toMatch(sentence)
      }
    }
  })

  it('stops all it can at once, and gives it back, each as often as asked', async () => {
    const r = rig()
    expect(Reflect.get(r.provider, 'resume')).toEqual(
      r.provider.suspend ? expect.any(Function) : undefined,
    )
    if (!r.provider.suspend || !r.provider.resume || !r.abilities.canCreate) return
    const { want, external } = await r.principal()

    await r.provider.suspend(callWith())
    await r.provider.suspend(callWith())
    r.settle()
    const stopped = await r.attemptIssue(external, r.credentialFor(want))
    await r.provider.resume(callWith())
    await r.provider.resume(callWith())
    r.settle()

    expect(stopped).toMatch(/\/notApplied$/)
    expect(await r.attemptIssue(external, r.credentialFor(want))).toBe('issued')
  })

  it('ends what a person who left holds here, and nothing for one it does not know', async () => {
    const { provider, under } = rig()
    if (!provider.removePerson) return
    const known = await under.knownPerson?.()

    const nothing = await provider.removePerson(stranger, callWith())
    const ended = known ? await provider.removePerson(known, callWith()) : ['(nobody is known)']
    const again = known ? await provider.removePerson(known, callWith()) : []

    expect(nothing).toEqual([])
    expect(ended.length).toBeGreaterThan(0)
    expect(ended.filter((line) => line === '' || line.includes('\n'))).toEqual([])
    expect(again).toEqual([])
  })

  it('fails with ProviderErrors or reports when its optional methods are aborted', async () => {
    const { provider } = rig()
    const stop = new AbortController()
    stop.abort()
    const call = callWith({ signal: stop.signal })

    const outcomes = await Promise.allSettled([
      provider.discover?.(null, call),
      provider.inventory?.(null, call),
      provider.check?.(call),
      provider.removePerson?.(stranger, call),
    ])

    const failures = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as unknown] : []))
    expect(failures.filter((e) => !(e instanceof ProviderError)).map((e) => inspect(e))).toEqual([])
    if (provider.check) expect(outcomes[2].status).toBe('fulfilled')
    if (!provider.suspend) return
    expect((await providerErrorFrom(provider.suspend(call))).kind).toBe('unavailable')
  })
}
