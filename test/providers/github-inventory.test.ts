import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { github } from '../../providers/github/index.ts'
import { generateSshKeyPair } from '../../providers/github/openssh.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { InventoryEntry, Provider } from '../../src/provider/contract.ts'
import type { GithubSandbox } from '../../src/sandbox/github.ts'
import { generateAppKey, GithubWorld, startGithubSandbox } from '../../src/sandbox/github.ts'
import { callWith, providerErrorFrom } from '../conformance/provider.ts'
import { ManualClock } from '../support/manual-clock.ts'

describe('the inventory of deploy keys', () => {
  let home: string
  let world: GithubWorld
  let sandbox: GithubSandbox
  let provider: Provider
  const appKey = generateAppKey()
  const clock = new ManualClock()

  const start = async (repositories: readonly string[]): Promise<void> => {
    world = new GithubWorld({ clock, privateKeyPem: appKey, repositories })
    sandbox = await startGithubSandbox({ clock, world })
    provider = github.create(
      {
        name: 'github-acme',
        clock,
        random: (n) => randomBytes(n),
        resolvePath: (path) => join(home, path),
        tokens: null as never,
        pepper: Secret.ofText('unused'),
      },
      {
        baseUrl: sandbox.url,
        appId: world.app.id,
        installationId: world.app.installationId,
        privateKeyFile: 'app.pem',
      },
    )
  }
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'custody-github-'))
    await writeFile(join(home, 'app.pem'), appKey, { mode: 0o600 })
  })
  afterAll(() => rm(home, { recursive: true, force: true }))
  afterEach(async () => {
    await provider.close()
    await sandbox.close()
  })

  const add = (repo: string, title: string): void => {
    const { publicKey } = generateSshKeyPair('by hand', randomBytes)
    world.addDeployKeyByHand('acme', repo, title, publicKey)
  }
  async function walk() {
    const entries: InventoryEntry[] = []
    let complete = true
    let pages = 0
    for (let next: string | null = null; ;) {
      const page = await provider.inventory!(next, callWith())
      pages++
      entries.push(...page.entries)
      complete &&= page.complete
      next = page.next
      if (next === null) return { entries, complete, pages }
    }
  }

  it('shows what bears our title, by account and repository', async () => {
    await start(['website', 'deploy'])
    add('website', 'custody/a1/c1/g1/o1')
    add('website', 'custody/a1/c1/g2/o2')
    add('website', 'custody/a2/c2/g1/o3')
    add('deploy', 'custody/a1/c3/g1/o4')
    add('deploy', 'laptop of mona')
    add('deploy', 'custody')

    const { entries, complete } = await walk()

    const shown = entries.map(({ account, name, keys }) => `${account} ${name} ${keys.length}`)
    expect(shown.sort()).toEqual(['a1 acme/deploy 1', 'a1 acme/website 2', 'a2 acme/website 1'])
    expect(complete).toBe(true)
  })

  it('goes through many repositories in pages', async () => {
    const names = Array.from({ length: 130 }, (_, i) => `r${String(i).padStart(3, '0')}`)
    await start(names)
    for (const name of names) add(name, `custody/a/c/${name}/o`)

    const { entries, complete, pages } = await walk()

    expect(new Set(entries.map((e) => e.name)).size).toBe(130)
    expect([complete, pages]).toEqual([true, 7])
  })

  it('is incomplete while a repository cannot be read', async () => {
    await start(['website', 'deploy'])
    add('website', 'custody/a1/c1/g1/o1')
    const installation = world.installations.get(world.app.installationId)!
    const own = installation.permissions
    world.setPermissions({ metadata: 'read' })
    const refused = await provider.inventory!(null, callWith()).catch(() => null)
    world.setPermissions(own)

    expect(refused?.complete ?? false).toBe(false)
    expect((await walk()).complete).toBe(true)
  })

  it('fails as a whole when the list of repositories does', async () => {
    await start(['website'])
    sandbox.faults.arm('GET /installation/repositories', { kind: 'reset' })

    const error = await providerErrorFrom(provider.inventory!(null, callWith()))

    expect(error).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
  })

  it('keeps what was read before a refusal, and goes on from there', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `r${String(i).padStart(2, '0')}`)
    await start(names)
    for (const name of names) add(name, `custody/a/c/${name}/o`)
    let calls = 0
    sandbox.faults.take = (operation) =>
      operation.endsWith('/keys') && ++calls === 6
        ? { kind: 'throttle', retryAfterSeconds: 1 }
        : null

    const { entries, pages, complete } = await walk()

    expect(entries.map((e) => e.name).sort()).toEqual(names.map((n) => `acme/${n}`))
    expect([pages, complete]).toEqual([2, true])
  })
})
