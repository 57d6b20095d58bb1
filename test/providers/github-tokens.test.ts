import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Budget } from '../../providers/github/budget.ts'
import { fromAnswer } from '../../providers/github/errors.ts'
import { github } from '../../providers/github/index.ts'
import type { AccountId, CredentialId, OperationId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type {
  Call,
  Provider,
  Transport,
  WantedCredential,
  WantedPrincipal,
  WireAnswer,
  WireRequest,
} from '../../src/provider/contract.ts'
import { SecondaryCounter } from '../../src/sandbox/github/limits.ts'
import {
  generateAppKey,
  GithubWorld,
  startGithubSandbox,
  type GithubSandbox,
  type GithubWorldOptions,
  type InstallationToken,
} from '../../src/sandbox/github.ts'
import { callWith } from '../conformance/provider-rig.ts'
import { providerConformance } from '../conformance/provider.ts'
import { refusalOf } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

const mintToken = 'POST /app/installations/{installation_id}/access_tokens'
const account = '0193a7c0-0000-7000-8000-00000000000a' as AccountId
const scopes = ['repository:acme/website', 'permission:contents=read']
/** Making one takes longer than most of these tests. */
const appKey = generateAppKey()

let home: string
let clock: ManualClock
let world: GithubWorld
let sandbox: GithubSandbox
let provider: Provider
let principal: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'custody-github-tokens-'))
  await writeFile(join(home, 'app.pem'), appKey, { mode: 0o600 })
  await writeFile(join(home, 'other.pem'), generateAppKey(), { mode: 0o600 })
})
afterAll(() => rm(home, { recursive: true }))
beforeEach(() => start())
afterEach(stop)

async function start(options: Partial<GithubWorldOptions> = {}): Promise<void> {
  await stop()
  clock = new ManualClock()
  const permissions = { administration: 'write', contents: 'write', metadata: 'read' } as const
  world = new GithubWorld({ clock, privateKeyPem: appKey, permissions, ...options })
  sandbox = await startGithubSandbox({ clock, world })
  provider = connect()
  principal = JSON.stringify({ installation: world.app.installationId, account })
}

async function stop(): Promise<void> {
  await provider?.close()
  await sandbox?.close()
}

function connect(config: Readonly<Record<string, unknown>> = {}, transport?: Transport): Provider {
  return github.create(
    {
      name: 'github-acme',
      clock,
      random: (n) => randomBytes(n),
      resolvePath: (path) => join(home, path),
      tokens: null as never,
      pepper: Secret.ofText('unused'),
      ...(transport ? { transport } : {}),
    },
    {
      baseUrl: sandbox.url,
      appId: world.app.id,
      installationId: world.app.installationId,
      privateKeyFile: 'app.pem',
      settle: 'PT0S',
      kinds: ['app-token'],
      ...config,
    },
  )
}

/** Passes everything on; `change` may alter an answer. */
function wire(
  seen: WireRequest[],
  change: (request: WireRequest, answer: WireAnswer) => WireAnswer = (_r, answer) => answer,
): Transport {
  return async (request, signal) => {
    seen.push(request)
    const { method, headers, body } = request
    const reply = await fetch(request.url, { method, headers, body: body || null, signal })
    const answer = {
      status: reply.status,
      headers: Object.fromEntries(reply.headers),
      body: await reply.text(),
    }
    return change(request, answer)
  }
}

function wanted(options: Partial<WantedCredential> = {}): WantedCredential {
  return {
    tenant: defaultTenant,
    account,
    credential: '0193a7c0-0000-7000-8000-00000000000c' as CredentialId,
    kind: 'app-token',
    generation: 1,
    scopes,
    expiresAt: addSeconds(clock.now(), 86_400),
    operation: '0193a7c0-0000-7000-8000-00000000000f' as OperationId,
    publicPart: null,
    ...options,
  }
}

const person = (): WantedPrincipal => ({
  tenant: defaultTenant,
  account,
  userName: 'svc',
  operation: randomUUID() as OperationId,
  kind: 'app-token',
})

async function issue(options: Partial<WantedCredential> = {}, call: Call = callWith()) {
  const issued = await provider.issue(principal, wanted(options), call)
  return { ...issued, secret: issued.secret! }
}

/** GitHub's own record of a token. */
function truthOf(secret: Secret): InstallationToken {
  const text = secret.use((bytes) => bytes.toString('utf8'))
  return world.installationTokens().find((token) => token.token === text)!
}
const isAlive = (secret: Secret) => world.isAlive(truthOf(secret))
const probe = (secret: Secret, call: Call = callWith()) => provider.probe(secret, 'app-token', call)
const handedOut = () =>
  world.installationTokens().filter((token) => token.permissions['contents'] !== undefined)

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
    provider = connect(
      {},
      wire([], (request, answer) =>
        answer.body.includes('"contents"') && request.method === 'POST'
          ? { ...answer, body: answer.body.replace('"contents":"read"', '"contents":"write"') }
          : answer,
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

describe('trying an app token', () => {
  it('says who tries, for the owner of GitHub’s log', async () => {
    const { secret } = await issue()
    const seen: WireRequest[] = []
    provider = connect({}, wire(seen))

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
        provider = connect({ appToken: { permissions: ['contents=write'] } })
        return reach(() => (world.findRepository('acme', 'website')!.archived = true), {
          scopes: [scopes[0]!, 'permission:contents=write'],
        })
      },
      denied,
      'archived',
    ],
    ['a suspended installation', () => reach(() => world.suspend()), {}, 'suspended'],
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
        provider = connect({}, page(200))
        return provider.ensurePrincipal(person(), callWith())
      },
      { kind: 'unavailable', outcome: 'notApplied' },
      'not JSON',
    ],
    [
      'an error page instead of GitHub',
      () => {
        provider = connect({}, page(404))
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
    provider = connect({ kinds: ['deploy-key', 'app-token'] })

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
    provider = connect({ appToken: { permissions: ['contents=read'] } })

    expect(await states()).toMatchObject({ [name]: 'failed' })
  })

  it('finds wrong credentials, and goes no further', async () => {
    expect(await states(connect({ privateKeyFile: 'other.pem' }))).toEqual({
      credentials: 'failed',
      clock: 'ok',
    })
  })

  it('finds deploy keys that the organisation forbids', async () => {
    provider = connect({ kinds: ['deploy-key'] })
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
