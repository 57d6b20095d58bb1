/* oxlint-disable vitest/no-conditional-expect, vitest/expect-expect -- the flags decide what is expected, and the rig expects */
import { inspect } from 'node:util'
import { expect, it } from 'vitest'
import { ProviderError } from '../../src/provider/contract.ts'
import { callWith, textOf, type Rig } from './provider-rig.ts'

/** Lost answers, throttling, aborted calls, and secrets that must not show. */
export function failingSuite(rig: () => Rig): void {
  it('never lets a secret show when an answer is printed', async () => {
    const { provider } = rig()
    const made = await rig().mint()
    const text = textOf(made)
    if (text === null) return

    const shown = inspect({ provider, made }, { depth: 10, showHidden: true })

    expect(shown).not.toContain(text)
    expect(JSON.stringify(made)).not.toContain(text)
  })

  it('reports a lost answer of issue as unknown, and the key can be found and removed', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    const credential = r.credentialFor(want)
    r.under.armLostIssue?.()

    const outcome = await r.attemptIssue(external, credential)

    expect(outcome).toBe(r.under.armLostIssue ? 'unavailable/unknown' : 'issued')
    // One that nobody can list dies with its lease.
    if (!r.abilities.canList) return expect(r.abilities.lease ?? r.abilities.mint).toBeTruthy()
    const strays = await r.listed(external)
    expect(strays).toHaveLength(1)
    if (!r.abilities.canRevoke || r.abilities.keepsSecret) return
    for (const stray of strays) await r.provider.revoke(external, stray.keyId, callWith())
    r.settle()
    await r.expectKeys(external, [])
  })

  it('mints nothing when the provider throttles', async () => {
    const r = rig()
    if (!r.abilities.canCreate) return
    const { want, external } = await r.principal()
    r.under.armThrottledIssue?.()

    const outcome = await r.attemptIssue(external, r.credentialFor(want))

    expect(outcome).toBe(r.under.armThrottledIssue ? 'throttled/notApplied' : 'issued')
    if (!r.abilities.canList) return
    expect(await r.listed(external)).toHaveLength(r.under.armThrottledIssue ? 0 : 1)
  })

  it('fails, when aborted, with ProviderErrors that do not carry a secret', async () => {
    const r = rig()
    const made = await r.mint()
    const stop = new AbortController()
    stop.abort()
    const call = callWith({ signal: stop.signal })

    const outcomes = await Promise.allSettled([
      ...(made.secret ? [r.provider.probe(made.secret, r.under.kind, call)] : []),
      r.provider.probeKey?.(made.principal, made.keyId, call),
      ...(r.abilities.canCreate ? [r.provider.issue(made.principal, made.want, call)] : []),
      r.provider.list(made.principal, call),
      r.revoke(made, call),
    ])

    const failures = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason as unknown] : []))
    expect(failures.filter((error) => !(error instanceof ProviderError))).toEqual([])
    const text = textOf(made)
    if (text === null) return
    expect(inspect(failures, { depth: 10, showHidden: true })).not.toContain(text)
  })
}
