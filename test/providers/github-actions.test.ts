import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { githubActions } from '../../providers/github-actions/index.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext, PeerConfig, SecretSink } from '../../src/provider/contract.ts'
import {
  generateAppKey,
  GithubWorld,
  startGithubSandbox,
  type GithubSandbox,
  type GithubWorldOptions,
} from '../../src/sandbox/github.ts'
import { refusalOf, sinkCall, sinkConformance, sinkTarget } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

const appKey = generateAppKey()
const path = 'acme/website/DEPLOY_KEY'
const put = 'PUT /repos/{owner}/{repo}/actions/secrets/{secret_name}'

let home = ''
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'custody-actions-'))
  await writeFile(join(home, 'app.pem'), appKey, { mode: 0o600 })
})
afterAll(() => rm(home, { recursive: true }))

async function connect(options: Partial<GithubWorldOptions> = {}) {
  const clock = new ManualClock()
  const world = new GithubWorld({ clock, privateKeyPem: appKey, ...options })
  const sandbox = await startGithubSandbox({ clock, world })
  const { id: appId, installationId } = world.app
  const config = { baseUrl: sandbox.url, appId, installationId, privateKeyFile: 'app.pem' }
  const open = (peer: PeerConfig | null = { type: 'github', config }): SecretSink => {
    const host: HostContext = {
      name: 'github-actions',
      clock,
      random: (n) => randomBytes(n),
      resolvePath: (file) => join(home, file),
      tokens: null as never,
      pepper: Secret.ofText('unused'),
      peer: (name) => (name === 'github-acme' ? peer : null),
    }
    return githubActions.create(host, { provider: 'github-acme' })
  }
  return { clock, world, sandbox, open, config, repo: world.findRepository('acme', 'website')! }
}

describe.each([
  ['a repository', path, (w: GithubWorld) => w.findRepository('acme', 'website')!.actions],
  [
    'an environment',
    'acme/website/environments/prod/DEPLOY_KEY',
    (w: GithubWorld) => w.findRepository('acme', 'website')!.environments.get('prod')!,
  ],
  ['an organisation', 'acme/DEPLOY_KEY', (w: GithubWorld) => w.actions],
])('the github-actions sink, secrets of %s', (label, place, vaultOf) => {
  sinkConformance(`the github-actions sink at ${label}`, async () => {
    const { world, sandbox, open, config } = await connect()
    return {
      sink: open(),
      path: place,
      currentBytes: () => vaultOf(world).open('DEPLOY_KEY'),
      misconfigured: {
        'another App': () => open({ type: 'github', config: { ...config, appId: 1 } }),
        'nobody there': () =>
          open({ type: 'github', config: { ...config, baseUrl: 'http://127.0.0.1:9' } }),
      },
      dispose: () => sandbox.close(),
    }
  })
})

describe('the github-actions sink', () => {
  let sandbox: GithubSandbox
  let world: GithubWorld
  let clock: ManualClock
  let sink: SecretSink
  let open: Awaited<ReturnType<typeof connect>>['open']
  let repo: NonNullable<ReturnType<GithubWorld['findRepository']>>
  const target = sinkTarget(path)

  beforeEach(async () => {
    ;({ sandbox, world, clock, open, repo } = await connect())
    sink = open()
  })
  afterEach(async () => {
    await sink.close()
    await sandbox.close()
  })

  const deliver = (text: string) => sink.deliver(target, Secret.ofText(text), sinkCall())
  const promote = (version: string, from: string | null = null) =>
    sink.promote(target, version, from, sinkCall())
  const value = async () => (await repo.actions.open('DEPLOY_KEY'))?.toString('utf8') ?? null
  const names = () => [...repo.actions.secrets.keys()].sort()

  it('writes nothing before a version is promoted, not even in another process', async () => {
    const version = await deliver('first')
    const before = names()
    await sink.close()
    sink = open()

    const ref = await promote(version)

    expect(before).toEqual([])
    expect(ref).toBe('github-actions://acme/website/DEPLOY_KEY')
    expect(await value()).toBe('first')
    expect(names()).toEqual(['DEPLOY_KEY', expect.stringMatching(/^DEPLOY_KEY__CUSTODY_/)])
  })

  it('asks once for the public key that it knew, when that has changed', async () => {
    await deliver('warms the key up')
    const [version] = [await deliver('one')]
    await promote(version)
    const second = await deliver('two')
    clock.advance(60)
    const asked = () => sandbox.requests.filter((r) => r.includes('public-key')).length
    const before = asked()
    repo.actions.rotateKey()

    const stale = await refusalOf(promote(second, version))

    expect(stale).toMatchObject({ kind: 'invalid', outcome: 'notApplied' })
    expect(stale.message).toContain('rotate again')
    expect(asked() - before).toBe(1)
    expect(await value()).toBe('one')
    await promote(await deliver('three'), version)
    expect(await value()).toBe('three')
  })

  it('never overwrites what somebody wrote by hand, and never removes it', async () => {
    const version = await deliver('ours')
    await promote(version)
    clock.advance(5)
    await repo.actions.putByHand('DEPLOY_KEY', 'theirs')

    const errors = [
      await refusalOf(sink.check(target, sinkCall())),
      await refusalOf(deliver('next')),
      await refusalOf(promote(version)),
      await refusalOf(sink.current!(target, sinkCall())),
    ]
    await sink.remove(target, sinkCall())

    for (const error of errors) expect(error).toMatchObject({ kind: 'conflict' })
    expect(await value()).toBe('theirs')
    expect(names()).toEqual(['DEPLOY_KEY'])
  })

  it.each([1, 2, 3, 4, 5])('finishes a promotion that was cut at write %i', async (nth) => {
    const one = await deliver('one')
    await promote(one)
    clock.advance(300)
    const two = await deliver('two')
    const writes = [put, put, put, 'DELETE', 'DELETE'].map((o) =>
      o === 'DELETE' ? put.replace('PUT', 'DELETE') : o,
    )
    const operation = writes[nth - 1]!
    const passed = writes.slice(0, nth - 1).filter((o) => o === operation).length
    if (passed > 0) sandbox.faults.arm(operation, { kind: 'delay', milliseconds: 0 }, passed)
    sandbox.faults.arm(operation, { kind: 'lostResponse' })

    const error = await refusalOf(promote(two, one))
    await promote(two, one)

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    expect(await value()).toBe('two')
    expect(names()).toHaveLength(2)
    expect(await sink.current!(target, sinkCall())).toBe(two.split('~')[0])
  })

  it('writes again what somebody deleted', async () => {
    const one = await deliver('one')
    await promote(one)
    repo.actions.secrets.delete('DEPLOY_KEY')

    expect(await sink.current!(target, sinkCall())).toBeNull()
    await promote(await deliver('two'), one)

    expect(await value()).toBe('two')
  })

  it('leaves an organisation secret for selected repositories alone', async () => {
    const org = sinkTarget('acme/TOKEN')
    const version = await sink.deliver(org, Secret.ofText('x'), sinkCall())
    await sink.promote(org, version, null, sinkCall())
    const created = world.actions.secrets.get('TOKEN')!.visibility
    world.actions.put('TOKEN', 'AAAA', 'selected')

    const error = await refusalOf(sink.check(org, sinkCall()))

    expect(created).toBe('private')
    expect(error.message).toContain('selected repositories')
  })

  it.each([
    'NAME',
    'acme/website/x/NAME',
    'acme/website/environments/prod/more/NAME',
    'acme/website/GITHUB_TOKEN',
    'acme/website/1ST',
    'acme/web site/A-B',
    'acme//NAME',
  ])('does not take the path %s', async (wrong) => {
    const error = await refusalOf(sink.check(sinkTarget(wrong), sinkCall()))

    expect(error).toMatchObject({ kind: 'invalid', outcome: 'notApplied' })
  })

  it('refuses a secret too large to be carried, and a provider that is not GitHub', async () => {
    const error = await refusalOf(deliver('x'.repeat(8_193)))

    expect(error.message).toContain('8192')
    expect(() => open(null)).toThrow('"github-acme" is not a configured provider of type github.')
    expect(() => open({ type: 'token', config: {} })).toThrow('type github')
  })

  it('tells which permission is missing before a key is made', async () => {
    world.setPermissions({ metadata: 'read', administration: 'write' })

    const error = await refusalOf(sink.check(target, sinkCall(randomUUID())))
    const report = await sink.examine!(sinkCall())

    expect(error).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect(error.message).toContain('secrets=write')
    expect(report.findings.map((f) => f.state)).toEqual(['unknown', 'unknown', 'unknown'])
  })
})
