import { execFile } from 'node:child_process'
import { createPrivateKey, randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { inspect } from 'node:util'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { github } from '../../providers/github/index.ts'
import { fromAnswer } from '../../providers/github/errors.ts'
import { fingerprintOfLine, generateSshKeyPair } from '../../providers/github/openssh.ts'
import { checkShape } from '../../src/document/document.ts'
import type { AccountId, CredentialId, OperationId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Call, HostContext, Provider, WantedCredential } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import {
  generateAppKey,
  GithubWorld,
  keyFingerprint,
  startGithubSandbox,
  type GithubSandbox,
  type GithubWorldOptions,
  type InstallationToken,
} from '../../src/sandbox/github.ts'
import { providerConformance } from '../conformance/provider.ts'
import { refusalOf } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

const createKey = 'POST /repos/{owner}/{repo}/keys'
const mintToken = 'POST /app/installations/{installation_id}/access_tokens'
const deleteKey = 'DELETE /repos/{owner}/{repo}/keys/{key_id}'

/** One RSA key for all tests: making one takes longer than most of them. */
const appKey = generateAppKey()

let home: string
let clock: ManualClock
let world: GithubWorld
let sandbox: GithubSandbox
let provider: Provider
let principal: string
const account = '0193a7c0-0000-7000-8000-00000000000a' as AccountId

function hostOf(): HostContext {
  return {
    name: 'github-acme',
    clock,
    random: (n) => randomBytes(n),
    resolvePath: (path) => join(home, path),
    tokens: null as never,
    pepper: Secret.ofText('unused'),
  }
}

function connect(config: Readonly<Record<string, unknown>> = {}): Provider {
  return github.create(hostOf(), {
    baseUrl: sandbox.url,
    appId: world.app.id,
    installationId: world.app.installationId,
    privateKeyFile: 'app.pem',
    settle: 'PT0S',
    ...config,
  })
}

async function start(
  options: Partial<GithubWorldOptions> = {},
  throttleStatus: 403 | 429 = 403,
): Promise<void> {
  await provider?.close()
  await sandbox?.close()
  clock = new ManualClock()
  world = new GithubWorld({ clock, privateKeyPem: appKey, ...options })
  sandbox = await startGithubSandbox({ clock, world, throttleStatus })
  await writeFile(join(home, 'app.pem'), world.app.privateKeyPem, { mode: 0o600 })
  provider = connect()
  principal = JSON.stringify({ installation: world.app.installationId, account })
}

function callOf(options: Partial<Call> = {}): Call {
  return {
    key: randomUUID(),
    operation: null,
    signal: new AbortController().signal,
    fence: () => Promise.resolve(true),
    ...options,
  }
}

function wanted(options: Partial<WantedCredential> = {}): WantedCredential {
  const want: WantedCredential = {
    tenant: defaultTenant,
    account,
    credential: '0193a7c0-0000-7000-8000-00000000000c' as CredentialId,
    kind: 'deploy-key',
    generation: 1,
    scopes: ['repo:acme/website'],
    expiresAt: addSeconds(clock.now(), 86_400),
    operation: '0193a7c0-0000-7000-8000-00000000000f' as OperationId,
    publicPart: null,
    ...options,
  }
  return want.publicPart === null && !('publicPart' in options)
    ? { ...want, publicPart: provider.prepare!(want).publicPart }
    : want
}

const issue = (want: WantedCredential = wanted(), call: Call = callOf()) =>
  provider.issue(principal, want, call)
const listed = async () => (await provider.list(principal, callOf())).items
const keys = (repo = 'website') => world.deployKeys('acme', repo)

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'custody-github-'))
  await start()
})
afterEach(async () => {
  await provider.close()
  await sandbox.close()
  await rm(home, { recursive: true })
})

describe('what a key may do at GitHub', () => {
  const drifts = async (keyId: string, want: WantedCredential) =>
    (await provider.driftOf!(principal, [{ ...want, keyId }], callOf())).items

  it('is compared with what it was made for, and with what the App still reaches', async () => {
    const want = wanted()
    const { keyId } = await issue(want)
    const repository = world.findRepository('acme', 'website')!
    const [id, key] = [...repository.keys][0]!

    const before = await drifts(keyId, want)
    repository.keys.set(id, { ...key, readOnly: false })
    const wider = await drifts(keyId, want)
    repository.keys.delete(id)
    const gone = await drifts(keyId, want)

    expect(before).toEqual([])
    expect(wider).toEqual([
      {
        what: 'readOnly',
        name: 'acme/website',
        keyId,
        granted: 'read-only',
        actual: 'write',
        reach: 'more',
        asScopes: { add: ['write'], remove: [] },
      },
    ])
    expect(gone).toEqual([])
    expect(provider).not.toHaveProperty('revertDrift')
  })

  it('of an app token is less once the App lost a permission or a repository', async () => {
    const scopes = ['repository:acme/website', 'repository:acme/gone', 'permission:contents=read']
    const want = wanted({ kind: 'app-token', scopes, publicPart: null })
    world.setPermissions({ metadata: 'read', administration: 'write' })

    const found = await drifts('1@2026-01-01T00:00:00.000Z', want)

    expect(found.map(({ what, name, reach }) => [what, name, reach])).toEqual([
      ['permission', 'contents', 'less'],
      ['repository', 'acme/gone', 'less'],
    ])
  })
})

describe('a generated key pair', () => {
  const sshKeygen = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((directory) => join(directory, 'ssh-keygen'))
    .find((path) => existsSync(path))

  /** Reads openssh-key-v1 field by field (PROTOCOL.key), as an independent check of the writer. */
  function parse(pem: string) {
    const lines = pem.split('\n')
    const bytes = Buffer.from(lines.slice(1, -2).join(''), 'base64')
    let at = 15
    const number = () => {
      at += 4
      return bytes.readUInt32BE(at - 4)
    }
    const string = () => {
      const length = number()
      at += length
      return bytes.subarray(at - length, at)
    }
    const head = {
      magic: bytes.subarray(0, 15).toString(),
      cipher: string().toString(),
      kdf: string().toString(),
      options: string().length,
      count: number(),
      blob: string(),
    }
    const length = number()
    const end = at + length
    const checks = [number(), number()]
    const type = string().toString()
    const publicBytes = string()
    const privateBytes = string()
    const comment = string().toString()
    const padding = [...bytes.subarray(at, end)]
    return { lines, head, length, checks, type, publicBytes, privateBytes, comment, padding }
  }

  it('is an openssh-key-v1 file, whatever the comment', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9/-]{0,60}$/), (comment) => {
        const pair = generateSshKeyPair(comment, randomBytes)
        const key = parse(pair.privateKey.use((bytes) => bytes.toString()))
        const seed = key.privateBytes.subarray(0, 32)
        const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
        const jwk = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({
          format: 'jwk',
        })

        expect(key.lines[0]).toBe('-----BEGIN OPENSSH PRIVATE KEY-----')
        expect(key.lines.slice(-2)).toEqual(['-----END OPENSSH PRIVATE KEY-----', ''])
        expect(key.head).toMatchObject({
          magic: 'openssh-key-v1\0',
          cipher: 'none',
          kdf: 'none',
          options: 0,
          count: 1,
        })
        expect(key.checks[0]).toBe(key.checks[1])
        expect(key.type).toBe('ssh-ed25519')
        expect(key.comment).toBe(comment)
        expect(key.length % 8).toBe(0)
        expect(key.padding).toEqual(key.padding.map((_, i) => i + 1))
        expect(Buffer.from(jwk.x!, 'base64url')).toEqual(key.publicBytes)
        expect(pair.publicKey).toBe(`ssh-ed25519 ${key.head.blob.toString('base64')} ${comment}`)
        expect(pair.fingerprint).toBe(keyFingerprint(pair.publicKey))
      }),
      { numRuns: 40 },
    )
  })

  it.runIf(sshKeygen)('is read by ssh-keygen, which derives the same public half', async () => {
    const pair = generateSshKeyPair('custody/c/g1', randomBytes)
    const path = join(home, 'id')
    await writeFile(
      path,
      pair.privateKey.use((bytes) => Buffer.from(bytes)),
      { mode: 0o600 },
    )
    await writeFile(`${path}.pub`, `${pair.publicKey}\n`)
    const run = promisify(execFile)

    const derived = await run(sshKeygen!, ['-y', '-f', path])
    const shown = await run(sshKeygen!, ['-l', '-f', `${path}.pub`])

    expect(derived.stdout.trim()).toBe(pair.publicKey)
    expect(shown.stdout).toContain(pair.fingerprint)
  })

  it('is told apart by its fingerprint, and text that is no key has none', () => {
    expect(fingerprintOfLine(generateSshKeyPair('a', randomBytes).publicKey)).not.toBe(
      fingerprintOfLine(generateSshKeyPair('a', randomBytes).publicKey),
    )
    for (const text of ['', 'ssh-ed25519', 'ssh-ed25519 AAAA', 'ssh-rsa AAAAC3NzaC1lZDI1NTE5']) {
      expect(fingerprintOfLine(text)).toBeNull()
    }
  })
})

describe('scopes of a deploy key', () => {
  it.each([
    [['repo:acme/website']],
    [['repo:acme/website', 'write']],
    [['write', 'repo:a-b/x.y_z-1']],
  ])('accepts %j', (scopes) => {
    expect(provider.checkScopes('deploy-key', scopes)).toBeNull()
  })

  it.each([
    [[], '', 'exactly one'],
    [['write'], 'write', 'exactly one'],
    [['repo:acme/a', 'repo:acme/b'], 'repo:acme/b', 'exactly one'],
    [['repo:acme'], 'repo:acme', 'no repository'],
    [['repo:acme/..'], 'repo:acme/..', 'no repository'],
    [['repo:-acme/x'], 'repo:-acme/x', 'no repository'],
    [['repo:acme/a/b'], 'repo:acme/a/b', 'no repository'],
    [['repo:acme/a', 'admin'], 'admin', '"write" only'],
    [['repo:acme/a', 'write', 'write'], 'write', 'twice'],
  ])('refuses %j and says why', (scopes, scope, why) => {
    const refusal = provider.checkScopes('deploy-key', scopes)

    expect(refusal?.scope).toBe(scope)
    expect(refusal?.reason).toContain(why)
  })

  it('is of no other kind, and only where the configuration serves it', () => {
    expect(provider.checkScopes('access-key', ['repo:acme/a'])).not.toBeNull()
    expect(Object.keys(connect({ kinds: ['deploy-key'] }).capabilities)).toEqual(['deploy-key'])
  })
})

describe('a deploy key', () => {
  it('is registered read-only, titled with account, credential, generation and operation', async () => {
    const want = wanted()

    const issued = await issue(want)

    expect(keys()).toHaveLength(1)
    expect(keys()[0]).toMatchObject({
      title: `custody/${account}/${want.credential}/g1/${want.operation}`,
      readOnly: true,
    })
    expect(issued).toMatchObject({
      secret: null,
      expiresAt: null,
      fingerprint: keyFingerprint(keys()[0]!.key),
    })
    expect(want.publicPart).toMatch(/^ssh-ed25519 \S+ custody\/0193a7c0-.*\/g1$/)
  })

  it('may write only when that was asked for', async () => {
    await issue(wanted({ scopes: ['repo:acme/website', 'write'] }))

    expect(keys()[0]!.readOnly).toBe(false)
  })

  it('is listed with its fingerprint, beside nothing that is not the account’s', async () => {
    const issued = await issue()
    await issue(wanted({ account: randomUUID() as AccountId, scopes: ['repo:acme/deploy'] }))
    const foreign = generateSshKeyPair('x', randomBytes).publicKey
    world.addDeployKeyByHand('acme', 'website', 'custody of mona', foreign)

    const { items, complete } = await provider.list(principal, callOf())

    expect(complete).toBe(true)
    expect(items).toEqual([
      {
        keyId: issued.keyId,
        fingerprint: issued.fingerprint,
        kind: 'deploy-key',
        active: true,
        createdAt: clock.now(),
        lastUsedAt: null,
        scopes: ['repo:acme/website'],
        operation: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      },
    ])
  })

  it('shows as inactive while the organisation forbids deploy keys', async () => {
    await issue()
    world.findRepository('acme', 'website')!.deployKeysEnabled = false

    expect((await listed()).map((item) => item.active)).toEqual([false])
    expect((await refusalOf(issue())).kind).toBe('denied')
  })

  it('is deleted by revoke, and gone already is success', async () => {
    const { keyId } = await issue()

    await provider.revoke(principal, keyId, callOf())
    await provider.revoke(principal, keyId, callOf())

    expect(keys()).toEqual([])
  })

  it('is deleted by a process that never saw its repository', async () => {
    const { keyId } = await issue()
    const other = connect()

    await other.revoke(principal, keyId, callOf())
    await other.close()

    expect(keys()).toEqual([])
  })

  it('leaves keys of others alone when the principal is deleted', async () => {
    await issue()
    await issue(wanted({ generation: 2, scopes: ['repo:acme/deploy'] }))
    const foreign = generateSshKeyPair('x', randomBytes).publicKey
    world.addDeployKeyByHand('acme', 'website', 'mona’s', foreign)

    await provider.deletePrincipal(principal, callOf())
    await provider.deletePrincipal(principal, callOf())

    expect(keys().map((k) => k.title)).toEqual(['mona’s'])
    expect(keys('deploy')).toEqual([])
  })

  it('cannot be switched off, tried or shut off, and says so', async () => {
    const { keyId } = await issue()

    const off = await refusalOf(provider.disable(principal, keyId, callOf()))
    const on = await refusalOf(provider.enable(principal, keyId, callOf()))
    await provider.shutOff(principal, callOf())
    await provider.turnOn(principal, callOf())

    expect([off.kind, on.kind]).toEqual(['invalid', 'invalid'])
    expect(await provider.probe(Secret.ofText('x'), 'deploy-key', callOf())).toBe('untestable')
    expect(keys()).toHaveLength(1)
  })

  it('is found again after the repository was renamed', async () => {
    const { keyId } = await issue()
    world.renameRepository('acme', 'website', 'site')

    expect((await listed()).map((item) => item.keyId)).toEqual([keyId])
    await provider.revoke(principal, keyId, callOf())

    expect(keys('site')).toEqual([])
  })

  it('is found again after another repository took over the name', async () => {
    const { keyId } = await issue()
    world.renameRepository('acme', 'website', 'site')
    world.addRepository('website')

    await provider.revoke(principal, keyId, callOf())

    expect(keys('site')).toEqual([])
  })

  it('is not called revoked while it is still listed', async () => {
    const { keyId } = await issue()
    // GitHub says 404, not 403, where an App may read a resource and not change it.
    world.findRepository('acme', 'website')!.keys.delete = () => false

    const error = await refusalOf(provider.revoke(principal, keyId, callOf()))

    expect(error).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect(error.message).toContain('administration=write')
  })

  it('is not called revoked when the repository went out of reach', async () => {
    const { keyId } = await issue()
    world.selectRepositories(['deploy'])

    const error = await refusalOf(provider.revoke(principal, keyId, callOf()))

    expect(error).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect(error.message).toContain('out of the App’s reach'.replace('’', "'"))
    expect(keys()).toHaveLength(1)
  })
})

describe('an answer that got lost', () => {
  it('leaves the outcome unknown, and the repeated call adopts the key', async () => {
    const want = wanted()
    sandbox.faults.arm(createKey, { kind: 'lostResponse' })

    const error = await refusalOf(issue(want))
    const issued = await issue(want)

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    expect(keys()).toHaveLength(1)
    expect((await listed()).map((item) => item.keyId)).toEqual([issued.keyId])
  })

  it.each([
    ['reset', { kind: 'reset' }, 'unknown', 0],
    ['a 5xx before the effect', { kind: 'serverError', effect: false }, 'unknown', 0],
    ['a 5xx after the effect', { kind: 'serverError', effect: true }, 'unknown', 1],
    ['an answer that is none of GitHub’s', { kind: 'garbage' }, 'unknown', 1],
    ['throttling', { kind: 'throttle', retryAfterSeconds: 9 }, 'notApplied', 0],
  ] as const)(
    'by %s is told as it is, and repeating mends it',
    async (_what, fault, outcome, n) => {
      const want = wanted()
      sandbox.faults.arm(createKey, fault)

      const error = await refusalOf(issue(want))

      expect(error.outcome).toBe(outcome)
      expect(keys()).toHaveLength(n)
      await issue(want)
      expect(keys()).toHaveLength(1)
    },
  )

  it('by a timeout leaves the outcome unknown', async () => {
    await provider.close()
    provider = connect({ timeout: 'PT0.2S' })
    const want = wanted()
    sandbox.faults.arm(createKey, { kind: 'hold' })

    const pending = refusalOf(issue(want))
    await sandbox.faults.whenHolding()
    clock.advance(0.2)
    const error = await pending
    sandbox.faults.release()

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    expect(error.message).toContain('timeout')
  })

  it('by giving up leaves the outcome unknown only after sending', async () => {
    const controller = new AbortController()
    const want = wanted()
    sandbox.faults.arm(createKey, { kind: 'hold' })
    const pending = refusalOf(issue(want, callOf({ signal: controller.signal })))
    await sandbox.faults.whenHolding()
    controller.abort()

    expect(await pending).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    const before = await refusalOf(issue(want, callOf({ signal: AbortSignal.abort() })))
    expect(before).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
  })

  it('of the management token does not concern the key: nothing was sent', async () => {
    sandbox.faults.arm(mintToken, { kind: 'lostResponse' })

    const error = await refusalOf(issue())

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
    expect(keys()).toEqual([])
  })

  it('of a deletion is mended by repeating it', async () => {
    const { keyId } = await issue()
    sandbox.faults.arm(deleteKey, { kind: 'lostResponse' })

    const error = await refusalOf(provider.revoke(principal, keyId, callOf()))
    await provider.revoke(principal, keyId, callOf())

    expect(error.outcome).toBe('unknown')
    expect(keys()).toEqual([])
  })

  it('is not repeated behind the journal’s back', async () => {
    sandbox.faults.arm(createKey, { kind: 'serverError', effect: false })

    await refusalOf(issue())

    expect(sandbox.requests.filter((r) => r.startsWith(createKey))).toHaveLength(1)
  })
})

describe('a public key that is registered already', () => {
  it('in another repository is a conflict, and nothing is adopted', async () => {
    const want = wanted()
    world.addDeployKeyByHand('acme', 'deploy', 'elsewhere', want.publicPart!)

    const error = await refusalOf(issue(want))

    expect(error).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
    expect(keys()).toEqual([])
  })

  it('under a title that is not ours is a conflict: no listing would find it', async () => {
    const want = wanted()
    world.addDeployKeyByHand('acme', 'website', 'by hand', want.publicPart!)

    const error = await refusalOf(issue(want))

    expect(error).toMatchObject({ kind: 'conflict', outcome: 'notApplied' })
    expect(error.message).toContain('by hand')
  })

  it('with other rights is not adopted', async () => {
    const want = wanted()
    await issue(want)

    const error = await refusalOf(issue({ ...want, scopes: ['repo:acme/website', 'write'] }))

    expect(error.kind).toBe('conflict')
  })
})

describe('issuing', () => {
  it('asks the fence just before the key is sent', async () => {
    const error = await refusalOf(issue(wanted(), callOf({ fence: () => Promise.resolve(false) })))

    expect(error).toMatchObject({ kind: 'fenced', outcome: 'notApplied' })
    expect(keys()).toEqual([])
  })

  it.each([
    ['without a prepared key', { publicPart: null }],
    ['with a text that is no key', { publicPart: 'ssh-ed25519 AAAA x' }],
    ['for a scope it would not grant', { scopes: ['admin'] }],
  ])('is refused %s', async (_what, options) => {
    expect(await refusalOf(issue(wanted(options)))).toMatchObject({
      kind: 'invalid',
      outcome: 'notApplied',
    })
  })

  it('for a repository the App does not see is denied and names the permission', async () => {
    const error = await refusalOf(issue(wanted({ scopes: ['repo:acme/nothing'] })))

    expect(error).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect(error.message).toContain('metadata=read')
  })

  it('in an archived repository is denied with the reason', async () => {
    clock.advance(60)
    await listed()
    clock.advance(60)
    world.findRepository('acme', 'website')!.archived = true

    const error = await refusalOf(issue())

    expect(error.kind).toBe('denied')
    expect(error.message).toContain('archived')
  })
})

describe('a refusal of GitHub', () => {
  it.each([403, 429] as const)('with %i and retry-after is throttling', async (status) => {
    await start({}, status)
    sandbox.faults.arm(createKey, { kind: 'throttle', retryAfterSeconds: 37 })

    expect(await refusalOf(issue())).toMatchObject({
      kind: 'throttled',
      outcome: 'notApplied',
      retryAfter: 37,
    })
  })

  it('at the hourly limit waits until the limit is reset', async () => {
    await start({ rateLimit: 1 })
    await listed().catch(() => null)
    clock.advance(600)

    expect(await refusalOf(issue())).toMatchObject({ kind: 'throttled', retryAfter: 3_000 })
  })

  it('for a missing permission is denied and names it, once the token has settled', async () => {
    await start({ permissions: { administration: 'read', metadata: 'read' } })

    const error = await refusalOf(issue())

    expect(error.kind).toBe('denied')
    expect(error.message).toContain('administration=write')
  })

  it('in the first seconds of a token is retried, later it is final', async () => {
    await issue()
    // A token keeps the permissions it was minted with; a suspension takes effect at once.
    world.suspend()
    clock.advance(5)
    const early = await refusalOf(provider.list(principal, callOf()))
    clock.advance(15)
    const late = await refusalOf(provider.list(principal, callOf()))

    expect(early).toMatchObject({ kind: 'unavailable', retryAfter: 2, outcome: 'notApplied' })
    expect(late).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect(late.message).toContain('suspended')
  })

  it('of a management token that was revoked leads to a new one', async () => {
    await issue()
    clock.advance(60)
    for (const token of world.installationTokens()) token.revokedAt = clock.now()

    const error = await refusalOf(provider.list(principal, callOf()))

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
    expect(await listed()).toHaveLength(1)
  })

  it('of the App’s JWT names the difference between the clocks, and is not repeated (R52)', async () => {
    const theirs = clock
    clock = new ManualClock(addSeconds(theirs.now(), 300))
    const ahead = connect()
    const list = () => ahead.list(principal, callOf())

    const error = await refusalOf(list())

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'notApplied', retryAfter: 1 })
    expect(error.message).toContain('-300 s')
    expect((await list()).complete).toBe(true)
    await ahead.close()
  })

  it.each([-60, 60])('does not come from a clock that is %i s off (R52)', async (off) => {
    const theirs = clock
    clock = new ManualClock(addSeconds(theirs.now(), off))
    const ours = connect()

    const { items } = await ours.list(principal, callOf())

    expect(items).toEqual([])
    await ours.close()
  })

  it.each([
    [500, {}, 'unavailable', 'unknown', null],
    [503, {}, 'unavailable', 'unknown', null],
    [403, { 'x-ratelimit-remaining': '12' }, 'denied', 'notApplied', null],
    [429, {}, 'throttled', 'notApplied', 60],
    [403, { 'retry-after': '5' }, 'throttled', 'notApplied', 5],
    [404, {}, 'notFound', 'notApplied', null],
    [409, {}, 'conflict', 'notApplied', null],
    [422, {}, 'invalid', 'notApplied', null],
    [418, {}, 'invalid', 'notApplied', null],
  ] as const)('with %i %j is %s, %s', (status, headers, kind, outcome, retryAfter) => {
    const attempt = { request: 'POST /x', writes: true }

    expect(fromAnswer({ status, headers, message: 'no' }, attempt, clock)).toMatchObject({
      kind,
      outcome,
      retryAfter,
    })
  })
})

describe('the principal', () => {
  const ensure = () =>
    provider.ensurePrincipal(
      { tenant: defaultTenant, account, userName: 'svc', operation: randomUUID() as OperationId },
      callOf(),
    )

  it('is the account at this installation; asking twice changes nothing', async () => {
    const one = await ensure()

    expect(await ensure()).toEqual(one)
    expect(JSON.parse(one.external)).toEqual({ installation: world.app.installationId, account })
    expect(world.installationTokens()).toEqual([])
  })

  it.each([
    ['a suspended installation', () => world.suspend(), 'suspended'],
    ['an installation that is gone', () => world.installations.clear(), 'it was uninstalled'],
  ])('is refused at %s, in words an operator can act on', async (_what, happen, words) => {
    happen()

    const error = await refusalOf(ensure())

    expect(error.message).toContain(words)
  })

  it('of another provider is refused', async () => {
    for (const text of ['', '{}', 'arn:aws:iam::1:user/x']) {
      expect((await refusalOf(provider.list(text, callOf()))).kind).toBe('invalid')
    }
    expect((await refusalOf(provider.revoke(principal, 'AKIA', callOf()))).kind).toBe('invalid')
  })
})

describe('a listing', () => {
  it('reads all pages of repositories and keys', async () => {
    for (let n = 0; n < 105; n++) world.addRepository(`r${n}`)
    for (let n = 0; n < 104; n++) {
      const key = generateSshKeyPair('x', randomBytes).publicKey
      world.addDeployKeyByHand('acme', 'website', `k${n}`, key)
    }
    const a = await issue()
    const b = await issue(wanted({ generation: 2, scopes: ['repo:acme/r104'] }))

    const { items, complete } = await provider.list(principal, callOf())

    expect(complete).toBe(true)
    expect(items.map((item) => item.keyId).toSorted()).toEqual([a.keyId, b.keyId].toSorted())
  })

  it('says it is incomplete when one repository could not be read', async () => {
    await issue()
    const read = world.findRepository.bind(world)
    // GitHub answers so for a repository that is being deleted while the list is read.
    world.findRepository = (owner, name) => (name === 'billing' ? null : read(owner, name))

    const { items, complete } = await provider.list(principal, callOf())

    expect(complete).toBe(false)
    expect(items).toHaveLength(1)
    const error = await refusalOf(provider.deletePrincipal(principal, callOf()))
    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
  })

  it('fails as a whole when GitHub throttles in the middle', async () => {
    await issue()
    sandbox.faults.arm('GET /repos/{owner}/{repo}/keys', { kind: 'throttle', retryAfterSeconds: 3 })

    expect(await refusalOf(provider.list(principal, callOf()))).toMatchObject({
      kind: 'throttled',
      retryAfter: 3,
    })
  })
})

describe('the management token', () => {
  it('is shared by calls that come together and renewed after fifty minutes', async () => {
    await Promise.all([listed(), listed(), listed()])
    expect(world.installationTokens()).toHaveLength(1)

    clock.advance(2_990)
    await listed()
    expect(world.installationTokens()).toHaveLength(1)

    clock.advance(20)
    await listed()
    expect(world.installationTokens()).toHaveLength(2)
  })

  it('has no more rights than deploy keys need', async () => {
    await listed()

    expect(world.installationTokens()[0]!.permissions).toEqual({
      administration: 'write',
      metadata: 'read',
    })
  })

  it('is revoked when the provider closes', async () => {
    await listed()

    await provider.close()

    expect(world.installationTokens().filter((t) => world.isAlive(t))).toEqual([])
  })

  it.each([
    ['was revoked', (token: InstallationToken) => void (token.revokedAt = clock.now())],
    ['has expired', () => clock.advance(3_700)],
  ])('that %s already does not hold up the closing (R47)', async (_what, happen) => {
    await listed()
    happen(world.installationTokens()[0]!)

    await provider.close()

    expect(world.installationTokens().filter((t) => world.isAlive(t))).toEqual([])
  })

  it('works in the long stateless format as well', async () => {
    await start({ tokenFormat: 'stateless' })

    await issue()

    expect(keys()).toHaveLength(1)
  })
})

describe('configuration', () => {
  it.each([
    ['missing', 'nowhere.pem', 'ENOENT'],
    ['no key', 'text.pem', 'cannot be used'],
  ])('whose key file is %s is refused at start', async (_what, privateKeyFile, words) => {
    await writeFile(join(home, 'text.pem'), 'canary-not-a-key')

    expect(() => connect({ privateKeyFile })).toThrow(words)
    expect(() => connect({ privateKeyFile })).toThrow(ProviderError)
  })

  it('with a duration that is none is refused', () => {
    expect(() => connect({ settle: 'PT' })).toThrow('settle')
  })

  it.each([
    ['https://api.github.com', true],
    ['https://github.acme.example/api/v3', true],
    ['http://127.0.0.1:4010', true],
    ['http://localhost', true],
    ['http://[::1]:80/', true],
    ['http://api.github.com', false],
    ['http://127.0.0.1.evil.example', false],
    ['http://localhost.evil.example', false],
    ['ftp://127.0.0.1', false],
  ])('takes %s as base URL: %s', (baseUrl, isFine) => {
    const config = { baseUrl, appId: 1, installationId: 2, privateKeyFile: 'app.pem' }

    expect(checkShape(config, github.configSchema, null).length === 0).toBe(isFine)
  })

  it('settles after five seconds unless told otherwise', () => {
    const { settle: _, ...config } = {
      settle: '',
      appId: world.app.id,
      installationId: world.app.installationId,
      privateKeyFile: 'app.pem',
    }

    expect(github.create(hostOf(), config).capabilities['deploy-key']?.settleMax).toBe(5)
  })
})

describe('secrets', () => {
  it('appear in no error, whatever GitHub echoes', async () => {
    // A server that repeats everything it was sent is the worst case for a log.
    const seen: string[] = []
    const echo = createServer((request, response) => {
      const authorization = String(request.headers.authorization)
      seen.push(authorization.split(' ')[1]!)
      response.writeHead(500, { 'content-type': 'application/json' })
      response.end('{"message":"boom"}')
    })
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
    const { port } = echo.address() as { port: number }
    const there = connect({ baseUrl: `http://127.0.0.1:${port}` })

    const error = await refusalOf(there.list(principal, callOf()))

    echo.close()
    expect(seen).toHaveLength(1)
    const text = inspect(error, { depth: 20, showHidden: true })
    expect(text).not.toContain(seen[0])
    expect(text).not.toContain(seen[0]!.split('.')[2])
    expect(error.cause).toBeUndefined()
  })

  it('say nothing happened when GitHub cannot be reached', async () => {
    const { url } = sandbox
    await sandbox.close()

    const error = await refusalOf(issue())

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
    expect(error.message).toContain('ECONNREFUSED')
    expect(url).toContain('127.0.0.1')
  })
})

providerConformance('github deploy keys', async () => {
  await start()
  await provider.close()
  provider = connect({ kinds: ['deploy-key'] })
  return {
    provider,
    kind: 'deploy-key',
    clock,
    scopes: ['repo:acme/website'],
    refusedScope: 'everything',
    armLostIssue: () => sandbox.faults.arm(createKey, { kind: 'lostResponse' }),
    armThrottledIssue: () =>
      sandbox.faults.arm(createKey, { kind: 'throttle', retryAfterSeconds: 3 }),
    armBrokenInventory: () =>
      sandbox.faults.arm('GET /repos/{owner}/{repo}/keys', { kind: 'reset' }, 99),
    dispose: () => Promise.resolve(),
  }
})
