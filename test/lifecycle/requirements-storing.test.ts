import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, interrupted, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

describe('a delivery', () => {
  it('goes to a place that bears the credential’s own id, unless told otherwise (R23)', async () => {
    const owner = await test.person()
    const entry = wants.token({ deliverTo: { sink: 'files' } })
    const account = await test.request(owner, { credentials: [entry, entry] })

    const credentials = await test.credentials(account.id)

    expect(credentials.map((c) => c.deliverTo.path)).toEqual(
      credentials.map((c) => `${account.userName}/${c.id}`),
    )
  })

  it('of the private half is over before GitHub hears of the public one (R57)', async () => {
    const owner = await test.person()
    await test.request(owner, { credentials: [wants.deployKey()], drain: false })
    const life = interrupted(null, () => Promise.resolve())

    await anotherWorker(test, life.around).drain()

    const calls = life.calls.filter((name) => !name.startsWith('store'))
    expect(calls.slice(0, 4)).toEqual([
      'github-acme.ensurePrincipal',
      'files.check',
      'files.deliver',
      'github-acme.issue',
    ])
  })
})

describe('a token that is used (R81)', () => {
  it('leaves a date in its row, and nothing else of the row moves', async () => {
    const owner = await test.person()
    const { id } = await test.request(owner)
    const [credential] = await test.credentials(id)
    const secret = (await test.served(credential!))!
    const [before] = await test.store.read.issuedTokensOf(id, 'tokens')
    test.clock.advance(61)

    expect((await test.tokens.introspect(secret, test.admin.tenant)).active).toBe(true)

    const [after] = await test.store.read.issuedTokensOf(id, 'tokens')
    expect(after).toEqual({ ...before, lastUsedAt: test.clock.now() })
    expect(after!.hash).toMatch(/^[0-9a-f]{64}$/)
    expect((await test.tokens.introspect(secret, test.admin.tenant)).active).toBe(true)
  })
})

describe('the report about a leaver (R75)', () => {
  it('is as far as its slowest provider, and says of each key how far that is', async () => {
    const owner = await test.person()
    await test.request(owner, {
      credentials: [wants.accessKey(), wants.deployKey(), wants.token()],
    })
    test.aws.faults.arm('*', { kind: 'serverError', effect: false }, 100_000)
    test.clock.advance(5)

    await test.leave(owner)
    await test.pass(5)
    const half = await test.engine.offboarding(test.admin, owner)
    test.aws.faults.release()
    await test.pass(310, 30)
    const whole = await test.engine.offboarding(test.admin, owner)

    expect(half).toMatchObject({ verdict: 'incomplete', open: 1 })
    expect(Object.fromEntries(half.keys.map((k) => [k.provider, k.outcome]))).toEqual({
      'aws-prod': null,
      'github-acme': 'absent',
      tokens: 'refused',
    })
    expect(whole).toMatchObject({ verdict: 'complete', open: 0 })
  })
})
