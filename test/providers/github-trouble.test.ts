import { rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Budget } from '../../providers/github/budget.ts'
import { fromAnswer } from '../../providers/github/errors.ts'
import type { Provider, WantedCredential } from '../../src/provider/contract.ts'
import { SecondaryCounter } from '../../src/sandbox/github/limits.ts'
import { callWith } from '../conformance/provider-rig.ts'
import { refusalOf } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'
import {
  clock,
  connect,
  home,
  isAlive,
  issue,
  makeHome,
  mintToken,
  person,
  principal,
  provider,
  sandbox,
  scopes,
  start,
  stop,
  use,
  wanted,
  wire,
  world,
} from '../support/github-tokens.ts'

beforeAll(makeHome)
afterAll(() => rm(home, { recursive: true }))
beforeEach(() => start())
afterEach(stop)

/** What an operator got wrong, or GitHub's owner changed; and what Custody says to it. */
describe('bad input', () => {
  type Case = readonly [string, () => Promise<unknown>, object, string]
  const ensure = (config: Readonly<Record<string, unknown>> = {}) =>
    connect(config).ensurePrincipal(person(), callWith())
  const reach = async (change: () => void, options: Partial<WantedCredential> = {}) => {
    await provider.check!(callWith())
    clock.advance(60)
    change()
    return issue(options)
  }
  const page = (status: number) =>
    wire([], () => ({ status, headers: { 'content-type': 'text/html' }, body: '<html>no</html>' }))
  const denied = { kind: 'denied', outcome: 'notApplied' }
  const cases: readonly Case[] = [
    ['a wrong private key', () => ensure({ privateKeyFile: 'other.pem' }), denied, 'privateKey'],
    ['a wrong app id', () => ensure({ appId: 7 }), denied, 'check appId and installationId'],
    ['a wrong installation', () => ensure({ installationId: 7 }), denied, 'installationId'],
    [
      'an App that was uninstalled',
      async () => {
        world.uninstall()
        return ensure()
      },
      denied,
      'uninstalled',
    ],
    [
      'a permission the installation lacks',
      () => reach(() => world.setPermissions({ metadata: 'read' })),
      denied,
      'must grant contents=read',
    ],
    [
      'a repository the App is not installed on',
      () => reach(() => world.selectRepositories(['deploy'])),
      denied,
      'does not exist',
    ],
    [
      'a deleted repository',
      () => reach(() => world.deleteRepository('acme', 'website')),
      denied,
      'does not exist',
    ],
    [
      'an archived repository to write to',
      () => {
        use(connect({ appToken: { permissions: ['contents=write'] } }))
        return reach(() => (world.findRepository('acme', 'website')!.archived = true), {
          scopes: [scopes[0]!, 'permission:contents=write'],
        })
      },
      denied,
      'archived',
    ],
    ['a suspended installation', () => reach(() => world.suspend()), {}, 'suspended'],
    [
      'an organisation that forbids deploy keys',
      () => {
        use(connect({ kinds: ['deploy-key'] }))
        const want = wanted({ kind: 'deploy-key', scopes: ['repo:acme/website'] })
        const { publicPart } = provider.prepare!(want)
        return reach(() => world.allowDeployKeys(false), { ...want, publicPart })
      },
      denied,
      'allow them in its settings',
    ],
    [
      'a scope that slipped through',
      () => issue({ scopes: ['everything'] }),
      { kind: 'invalid', outcome: 'notApplied' },
      'refused',
    ],
    [
      'an endpoint where nobody is',
      () => ensure({ baseUrl: closedPort }),
      { kind: 'unavailable', outcome: 'notApplied' },
      'check baseUrl',
    ],
    [
      'a page instead of GitHub',
      () => {
        use(connect({}, page(200)))
        return provider.ensurePrincipal(person(), callWith())
      },
      { kind: 'unavailable', outcome: 'notApplied' },
      'not JSON',
    ],
    [
      'an error page instead of GitHub',
      () => {
        use(connect({}, page(404)))
        return provider.ensurePrincipal(person(), callWith())
      },
      { kind: 'unavailable' },
      'no answer from GitHub',
    ],
    [
      'a proxy’s page in the answer to a mint',
      () =>
        reach(() => {
          sandbox.faults.arm(mintToken, { kind: 'garbage' })
        }),
      { kind: 'unavailable', outcome: 'unknown' },
      'not JSON',
    ],
  ]
  let closedPort: string

  beforeAll(async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    closedPort = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    await new Promise((resolve) => server.close(resolve))
  })

  it.each(cases)('%s is a typed error that says what to do', async (_what, run, shape, words) => {
    const error = await refusalOf(run())

    expect(error).toMatchObject(shape)
    expect(error.message).toContain(words)
  })

  it('a key file that is none stops the start', () => {
    expect(() => connect({ privateKeyFile: 'none.pem' })).toThrow(/privateKeyFile .*ENOENT/)
  })
})

describe('an answer of GitHub', () => {
  const attempt = { request: 'POST /x', writes: true }
  const permission = { 'x-accepted-github-permissions': 'contents=write' }

  it.each([
    ['a secondary limit without a time', 403, {}, 'You have exceeded a secondary rate limit', 60],
    ['429 without a time', 429, {}, 'no', 60],
    ['retry-after', 403, { 'retry-after': '7' }, 'no', 7],
    ['a retry-after of days', 429, { 'retry-after': '999999' }, 'no', 3_600],
    [
      'an hour that is used up, by GitHub’s clock',
      403,
      {
        'x-ratelimit-remaining': '0',
        'x-ratelimit-reset': '1000000120',
        date: new Date(1_000_000_000_000).toUTCString(),
      },
      'API rate limit exceeded',
      120,
    ],
  ])('with %s is throttling', (_what, status, headers, message, retryAfter) => {
    expect(fromAnswer({ status, headers, message }, attempt, clock)).toMatchObject({
      kind: 'throttled',
      outcome: 'notApplied',
      retryAfter,
    })
  })

  it('with a real denial is one, even with the last request of the hour (R53)', () => {
    const headers = { ...permission, 'x-ratelimit-remaining': '0', 'retry-after': '60' }
    const message = 'Resource not accessible by integration'

    const error = fromAnswer({ status: 403, headers, message }, attempt, clock)

    expect(error).toMatchObject({ kind: 'denied', retryAfter: null })
    expect(error.message).toContain('contents=write')
  })

  it('that forbids deploy keys by policy says where to allow them', () => {
    const message = 'Validation Failed; Deploy keys are disabled for this repository'

    const error = fromAnswer({ status: 422, headers: {}, message }, attempt, clock)

    expect(error.kind).toBe('denied')
    expect(error.message).toContain('allow them in its settings')
  })
})

describe('the budget of an App', () => {
  const send = { writes: true, creates: true }

  it('never exceeds GitHub’s limits, whatever the arrivals, and always lets in again', async () => {
    const arrival = fc.record({
      after: fc.integer({ min: 0, max: 5_000 }),
      times: fc.integer({ min: 1, max: 60 }),
      creates: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(arrival, { maxLength: 60 }), async (arrivals) => {
        const time = new ManualClock()
        const limits = { creationsPerMinute: 12, creationsPerHour: 100, pointsPerMinute: 90 }
        const budget = new Budget(time, limits)
        const githubs = new SecondaryCounter(time, limits)
        for (const { after, times, creates } of arrivals) {
          time.advance(after / 100)
          for (let i = 0; i < times; i++) {
            const cost = creates ? send : { writes: false }
            const admitted = await budget
              .run(cost, 'x', () => Promise.resolve(githubs.admit(creates ? 'POST' : 'GET')))
              .catch(() => true)
            expect(admitted).toBe(true)
          }
        }
        const told = await refusalOrDone(budget.run(send, 'x', () => Promise.resolve()))
        if (told === 'done') return
        time.advance(told as number)
        await budget.run(send, 'x', () => Promise.resolve())
      }),
      { numRuns: 30 },
    )
  })

  it('tells those it sends away different times, and never holds a revocation back', async () => {
    const budget = new Budget(clock, { creationsPerMinute: 8 })
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, () =>
        refusalOrDone(budget.run(send, 'x', () => Promise.resolve())),
      ),
    )

    expect(outcomes).toEqual(['done', 'done', 10, 20, 30, 40])
    await budget.run({ writes: true, ends: true }, 'x', () => Promise.resolve())
  })

  it('is shared by all that speak as the App, and revoking goes on when it is used up', async () => {
    await start({ secondaryLimits: {} })
    const second = connect()
    const issued: Awaited<ReturnType<typeof issue>>[] = []
    const refusals: unknown[] = []
    for (let i = 0; i < 30; i++) {
      const from = i % 2 === 0 ? provider : second
      await from.issue(principal, wanted(), callWith()).then(
        (one) => issued.push({ ...one, secret: one.secret! }),
        (error: unknown) => refusals.push(error),
      )
    }

    expect(issued).toHaveLength(20)
    expect(refusals[0]).toMatchObject({ kind: 'throttled', outcome: 'notApplied', retryAfter: 1 })
    for (const { keyId, secret } of issued) {
      await provider.revoke(principal, keyId, callWith(), secret)
    }
    expect(issued.filter(({ secret }) => isAlive(secret))).toEqual([])
    expect(sandbox.requests.filter((r) => r.endsWith(' 403'))).toEqual([])
    await second.close()
  })

  async function refusalOrDone(run: Promise<unknown>): Promise<unknown> {
    return run.then(
      () => 'done',
      (error: { retryAfter: number }) => error.retryAfter,
    )
  }
})

describe('the check', () => {
  const states = async (of: Provider = provider) => {
    const { findings } = await of.check!(callWith())
    return Object.fromEntries(findings.map((f) => [f.name, f.state]))
  }

  it('finds everything in order, and prints the permissions that are needed', async () => {
    use(connect({ kinds: ['deploy-key', 'app-token'] }))

    const { findings, leastPolicy } = await provider.check!(callWith())

    expect(findings.map((f) => [f.name, f.state])).toEqual([
      ['clock', 'ok'],
      ['installation', 'ok'],
      ['administration', 'ok'],
      ['metadata', 'ok'],
      ['requests', 'ok'],
      ['deploy keys', 'unknown'],
    ])
    expect(leastPolicy).toMatch(/^administration: write .*deploy-key\nmetadata: read/)
  })

  it.each([
    ['a permission that is missing', () => world.setPermissions({ metadata: 'read' }), 'contents'],
    ['a suspension', () => world.suspend(), 'installation'],
    ['an App that is gone', () => world.uninstall(), 'installation'],
    ['a clock that is off', () => (world.skew = 45), 'clock'],
  ])('finds %s', async (_what, happen, name) => {
    happen()
    use(connect({ appToken: { permissions: ['contents=read'] } }))

    expect(await states()).toMatchObject({ [name]: 'failed' })
  })

  it('finds wrong credentials, and goes no further', async () => {
    expect(await states(connect({ privateKeyFile: 'other.pem' }))).toEqual({
      credentials: 'failed',
      clock: 'ok',
    })
  })

  it('finds deploy keys that the organisation forbids', async () => {
    use(connect({ kinds: ['deploy-key'] }))
    const line = `ssh-ed25519 ${Buffer.concat([
      Buffer.from([0, 0, 0, 11]),
      Buffer.from('ssh-ed25519'),
      Buffer.alloc(36),
    ]).toString('base64')}`
    world.addDeployKeyByHand('acme', 'website', 'by hand', line)

    const before = await states()
    world.allowDeployKeys(false)

    expect(before['deploy keys']).toBe('ok')
    expect((await states())['deploy keys']).toBe('failed')
  })
})
