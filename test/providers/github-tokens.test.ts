import { rm } from 'node:fs/promises'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addSeconds } from '../../src/domain/time.ts'
import type { WireRequest } from '../../src/provider/contract.ts'
import { callWith } from '../conformance/provider-rig.ts'
import { providerConformance } from '../conformance/provider.ts'
import { refusalOf } from '../conformance/sink.ts'
import {
  clock,
  connect,
  handedOut,
  home,
  isAlive,
  issue,
  makeHome,
  mintToken,
  person,
  principal,
  probe,
  provider,
  sandbox,
  scopes,
  start,
  stop,
  truthOf,
  use,
  wire,
  world,
} from '../support/github-tokens.ts'

beforeAll(makeHome)
afterAll(() => rm(home, { recursive: true }))
beforeEach(() => start())
afterEach(stop)

describe('scopes of an app token', () => {
  it.each([
    [[], '', 'at least one repository'],
    [['permission:contents=read'], 'permission:contents=read', 'at least one repository'],
    [['repository:acme/website'], 'repository:acme/website', 'at least one permission'],
    [['repository:acme'], 'repository:acme', 'no repository'],
    [['repository:acme/..'], 'repository:acme/..', 'no repository'],
    [['repo:acme/website'], 'repo:acme/website', 'knows "repository:'],
    [[...scopes, 'repository:ACME/Website'], 'repository:ACME/Website', 'given twice'],
    [[...scopes, 'repository:other/x'], 'repository:other/x', 'one owner'],
    [[...scopes, 'permission:contents=write'], 'permission:contents=write', 'given twice'],
    [[scopes[0]!, 'permission:contents=write'], 'permission:contents=write', 'hands out'],
    [[scopes[0]!, 'permission:administration=read'], 'permission:administration=read', 'operator'],
    [[scopes[0]!, 'permission:contents=all'], 'permission:contents=all', 'knows'],
    [
      [...Array.from({ length: 51 }, (_, i) => `repository:acme/r${i}`), scopes[1]!],
      scopes[1]!,
      '50 repositories',
    ],
  ])('%j are refused, naming %s', (asked, scope, why) => {
    const refusal = provider.checkScopes('app-token', asked)

    expect(refusal?.scope).toBe(scope)
    expect(refusal?.reason).toContain(why)
  })

  it('are those the configuration lists, and what is less of the same', () => {
    const wide = connect({ appToken: { permissions: ['contents=write', 'secrets=write'] } })
    const ask = (permission: string) =>
      wide.checkScopes('app-token', [scopes[0]!, `permission:${permission}`])

    expect([ask('contents=write'), ask('contents=read'), ask('secrets=write')]).toEqual([
      null,
      null,
      null,
    ])
    expect(ask('issues=read')?.reason).toContain('contents=write, secrets=write')
  })
})

describe.each(['opaque', 'stateless'] as const)('an app token in %s format', (tokenFormat) => {
  it('works for what was asked and nothing else, until it is revoked', async () => {
    await start({ tokenFormat })
    const issued = await issue()

    const truth = truthOf(issued.secret)
    expect(truth.permissions).toEqual({ contents: 'read', metadata: 'read' })
    expect([...truth.repositoryIds!]).toEqual([world.findRepository('acme', 'website')!.id])
    expect(issued.expiresAt).toBe(addSeconds(clock.now(), 3_600))
    expect(await probe(issued.secret)).toBe('accepted')

    await provider.revoke(principal, issued.keyId, callWith(), issued.secret)

    expect(isAlive(issued.secret)).toBe(false)
    expect(await probe(issued.secret)).toBe('refused')
  })

  it('leaves no trace of itself in its id, in errors or in a printed result', async () => {
    await start({ tokenFormat })
    const issued = await issue()
    const text = issued.secret.use((bytes) => bytes.toString('utf8'))
    world.suspend()

    const error = await refusalOf(probe(issued.secret))

    expect(issued.keyId).toMatch(/^it_[0-9a-f]{16}_\d{10}$/)
    expect(issued.fingerprint).toBe(issued.secret.fingerprint())
    for (const shown of [inspect(issued, { depth: 9 }), inspect(error, { depth: 9 })]) {
      expect(shown).not.toContain(text.slice(4, 20))
    }
  })
})

describe('issuing an app token', () => {
  it('makes a new one each time, apart from Custody’s own', async () => {
    const [one, two] = [await issue(), await issue({ generation: 2 })]

    expect(one.keyId).not.toBe(two.keyId)
    expect(world.installationTokens().filter((t) => !handedOut().includes(t))).toHaveLength(1)
    await provider.close()
    expect([isAlive(one.secret), isAlive(two.secret)]).toEqual([true, true])
  })

  it('follows a renamed repository by its id', async () => {
    world.renameRepository('acme', 'website', 'site')

    const { secret } = await issue()

    expect([...truthOf(secret).repositoryIds!]).toEqual([world.findRepository('acme', 'site')!.id])
  })

  it('asks the fence just before it mints', async () => {
    const error = await refusalOf(issue({}, callWith({ fence: () => Promise.resolve(false) })))

    expect(error).toMatchObject({ kind: 'fenced', outcome: 'notApplied' })
    expect(handedOut()).toEqual([])
  })

  it('ends a token that GitHub made wider than was asked, and gives it to nobody', async () => {
    use(
      connect(
        {},
        wire([], (request, answer) =>
          answer.body.includes('"contents"') && request.method === 'POST'
            ? { ...answer, body: answer.body.replace('"contents":"read"', '"contents":"write"') }
            : answer,
        ),
      ),
    )

    const error = await refusalOf(issue())

    expect(error).toMatchObject({ kind: 'invalid', outcome: 'notApplied' })
    expect(error.message).toContain('contents=write')
    expect(handedOut().filter((token) => world.isAlive(token))).toEqual([])
  })

  it('tells its end by our clock when GitHub’s differs', async () => {
    await start({ skew: 300 })

    expect((await issue()).expiresAt).toBe(addSeconds(clock.now(), 3_600))
  })

  it('leaves what a lost answer made unknown: it dies with its hour', async () => {
    await provider.check!(callWith())
    sandbox.faults.arm(mintToken, { kind: 'lostResponse' })

    const error = await refusalOf(issue())

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    expect(handedOut().map((token) => world.isAlive(token))).toEqual([true])
    clock.advance(3_600)
    expect(handedOut().map((token) => world.isAlive(token))).toEqual([false])
  })
})

describe('the lease of an app token', () => {
  it('is renewed ten minutes before its end, both work meanwhile, and then one is left (R50)', async () => {
    const { lifetime, renewBefore } = provider.capabilities['app-token']!.lease!
    const first = await issue()
    clock.advance(lifetime - renewBefore)

    const second = await issue({ generation: 2 })
    const meanwhile = [await probe(first.secret), await probe(second.secret)]
    await provider.revoke(principal, first.keyId, callWith(), first.secret)
    const after = [await probe(first.secret), await probe(second.secret)]
    clock.advance(renewBefore)

    expect(meanwhile).toEqual(['accepted', 'accepted'])
    expect(after).toEqual(['refused', 'accepted'])
    expect([isAlive(first.secret), isAlive(second.secret)]).toEqual([false, true])
    clock.advance(lifetime - renewBefore)
    expect(isAlive(second.secret)).toBe(false)
  })
})

describe('trying an app token', () => {
  it('says who tries, for the owner of GitHub’s log', async () => {
    const { secret } = await issue()
    const seen: WireRequest[] = []
    use(connect({}, wire(seen)))

    await probe(secret, callWith({ operation: 'op-1' }))

    expect(seen.map((r) => r.headers['user-agent'])).toEqual(['custody-probe/op-1'])
    expect(seen[0]!.url.search).toBe('?per_page=1')
  })

  it('is refused, then unclear, then accepted while a new one spreads (R49)', async () => {
    const { secret } = await issue()
    world.tokenLag.birth = 14

    const young = await probe(secret)
    clock.advance(8)
    const withoutRights = await refusalOf(probe(secret))
    clock.advance(6)

    expect(young).toBe('refused')
    expect(withoutRights).toMatchObject({ kind: 'unavailable', retryAfter: 2 })
    expect(await probe(secret)).toBe('accepted')
  })

  it('proves nothing while the installation is suspended: a resumed one gives it back', async () => {
    const { secret, keyId } = await issue()
    await provider.suspend!(callWith())

    const tried = await refusalOf(probe(secret))
    const ended = await refusalOf(provider.revoke(principal, keyId, callWith(), secret))
    await provider.resume!(callWith())

    expect(tried).toMatchObject({ kind: 'unavailable', retryAfter: 60 })
    expect(tried.message).toContain('suspended')
    expect(ended.kind).toBe('unavailable')
    expect(await probe(secret)).toBe('accepted')
  })
})

describe('revoking an app token', () => {
  it('is done when it was revoked already', async () => {
    const { secret, keyId } = await issue()
    clock.advance(60)
    world.endToken(truthOf(secret))

    await provider.revoke(principal, keyId, callWith(), secret)

    expect(isAlive(secret)).toBe(false)
  })

  it('is done at its end, with the token (R47) and without', async () => {
    const { secret, keyId } = await issue()
    clock.advance(3_590)
    world.endToken(truthOf(secret))
    await provider.revoke(principal, keyId, callWith(), secret)
    clock.advance(60)
    const before = sandbox.requests.length

    await provider.revoke(principal, keyId, callWith(), null)

    expect(sandbox.requests).toHaveLength(before)
  })

  it('is not done while GitHub may not know the token everywhere yet', async () => {
    const { secret, keyId } = await issue()
    world.tokenLag.birth = 10

    const error = await refusalOf(provider.revoke(principal, keyId, callWith(), secret))
    clock.advance(20)
    await provider.revoke(principal, keyId, callWith(), secret)

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'unknown', retryAfter: 2 })
    expect(isAlive(secret)).toBe(false)
  })

  it('needs the very token, and says what else helps', async () => {
    const [one, two] = [await issue(), await issue()]

    const lost = await refusalOf(provider.revoke(principal, one.keyId, callWith(), null))
    const mixedUp = await refusalOf(provider.revoke(principal, one.keyId, callWith(), two.secret))

    expect([lost.kind, mixedUp.kind]).toEqual(['invalid', 'invalid'])
    expect(lost.message).toContain('suspending the installation')
    expect([isAlive(one.secret), isAlive(two.secret)]).toEqual([true, true])
  })

  it('is repeated when its answer gets lost', async () => {
    const { secret, keyId } = await issue()
    clock.advance(60)
    sandbox.faults.arm('DELETE /installation/token', { kind: 'lostResponse' })

    const error = await refusalOf(provider.revoke(principal, keyId, callWith(), secret))
    await provider.revoke(principal, keyId, callWith(), secret)

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    expect(isAlive(secret)).toBe(false)
  })
})

describe('the kill switch', () => {
  it('stops all tokens and minting, and can be taken back; twice is as good as once', async () => {
    const { secret } = await issue()

    await provider.suspend!(callWith())
    await provider.suspend!(callWith())
    const asked = await refusalOf(provider.ensurePrincipal(person(), callWith()))
    const minted = await refusalOf(issue())
    await provider.resume!(callWith())
    await provider.resume!(callWith())

    expect(asked).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect([asked.message, minted.message].every((m) => m.includes('suspended'))).toBe(true)
    expect(await probe(secret)).toBe('accepted')
  })
})

providerConformance('github app tokens', async () => {
  await start()
  // Custody's own token is there already: the next mint is one that is handed out.
  await provider.check!(callWith())
  return {
    provider,
    kind: 'app-token',
    clock,
    scopes,
    refusedScope: 'permission:administration=write',
    pass: (time) => clock.advance(time),
    armLostIssue: () => sandbox.faults.arm(mintToken, { kind: 'lostResponse' }),
    armThrottledIssue: () =>
      sandbox.faults.arm(mintToken, { kind: 'throttle', retryAfterSeconds: 3 }),
    dispose: () => Promise.resolve(),
  }
})
