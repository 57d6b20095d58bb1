import { createPrivateKey, randomBytes, sign } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateSshKeyPair } from '../../providers/github/openssh.ts'
import { githubContract } from '../../src/sandbox/github-contract.ts'
import {
  generateAppKey,
  GithubWorld,
  startGithubSandbox,
  type GithubSandbox,
  type GithubWorldOptions,
} from '../../src/sandbox/github.ts'
import contractFile from '../../src/sandbox/contract/github.json' with { type: 'json' }
import { ManualClock } from '../support/manual-clock.ts'

/** One RSA key for all tests: making one takes longer than most of them. */
const appKey = generateAppKey()

let clock: ManualClock
let sandbox: GithubSandbox
let world: GithubWorld

async function start(options: Partial<GithubWorldOptions> = {}): Promise<void> {
  await sandbox?.close()
  clock = new ManualClock()
  world = new GithubWorld({ clock, privateKeyPem: appKey, ...options })
  sandbox = await startGithubSandbox({ clock, world })
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

async function ask(
  method: string,
  path: string,
  authorization: string | null,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(sandbox.url + path, {
    method,
    headers: authorization === null ? {} : { authorization },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  }
}

function jwt(
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  key: string = world.app.privateKeyPem,
): string {
  const now = Math.floor(Date.parse(clock.now()) / 1_000)
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const payload = { iss: String(world.app.id), iat: now - 60, exp: now + 540, ...claims }
  const body = `${encode({ alg: 'RS256', typ: 'JWT', ...header })}.${encode(payload)}`
  return `Bearer ${body}.${sign('sha256', Buffer.from(body), createPrivateKey(key)).toString('base64url')}`
}

async function mint(body?: unknown): Promise<Answer> {
  return ask('POST', `/app/installations/${world.app.installationId}/access_tokens`, jwt(), body)
}

async function installationToken(body?: unknown): Promise<string> {
  return `token ${String((await mint(body)).body['token'])}`
}

const publicKey = () => generateSshKeyPair('test', randomBytes).publicKey
const keysPath = '/repos/acme/website/keys'

beforeEach(() => start())
afterEach(() => sandbox.close())

describe('the contract file', () => {
  it('is the version of GitHub’s description that its README names', () => {
    expect(contractFile.info.version).toBe('23.0.2')
    expect(contractFile.openapi).toBe('3.0.3')
    const operations = Object.values(contractFile.paths).flatMap((path) => Object.keys(path))
    expect(operations).toHaveLength(47)
  })

  it.each(Object.keys(contractFile.paths))('can be compiled at %s', (path) => {
    const contract = githubContract()
    const methods = contractFile.paths[path as keyof typeof contractFile.paths]
    for (const [method, operation] of Object.entries(methods)) {
      const name = `${method.toUpperCase()} ${path}`
      const statuses = Object.keys((operation as { responses: object }).responses)

      expect(() => contract.checkRequest(name, new URLSearchParams(), {})).not.toThrow()
      for (const status of statuses) {
        expect(() => contract.checkResponse(name, Number(status), {})).not.toThrow()
      }
    }
  })

  it.each([
    ['a missing attribute', 200, [{ id: 1 }]],
    ['a wrong type', 200, { id: 1 }],
    ['a status that is not described', 202, undefined],
  ])('finds %s in an answer', (_what, status, body) => {
    const problem = githubContract().checkResponse('GET /repos/{owner}/{repo}/keys', status, body)

    expect(problem).toContain('GET /repos/{owner}/{repo}/keys')
  })

  it('reads nullable as an alternative, with and without a type', () => {
    const check = (lastUsed: unknown) =>
      githubContract().checkResponse('GET /repos/{owner}/{repo}/keys/{key_id}', 200, {
        id: 1,
        key: 'k',
        url: 'u',
        title: 't',
        verified: true,
        created_at: 'c',
        read_only: true,
        last_used: lastUsed,
      })

    expect(check(null)).toBeNull()
    expect(check('2026-11-22T09:00:00Z')).toBeNull()
    expect(check(7)).toContain('last_used')
  })
})

describe('App authentication', () => {
  it('accepts a JWT of the App by app id and by client id', async () => {
    expect(await ask('GET', '/app', jwt())).toMatchObject({
      status: 200,
      body: { id: world.app.id, slug: 'custody' },
    })
    expect((await ask('GET', '/app', jwt({ iss: world.app.clientId }))).status).toBe(200)
  })

  const other = new GithubWorld({ clock: new ManualClock() })
  const at = Math.floor(Date.parse('2026-11-22T09:00:00.000Z') / 1_000)
  it.each([
    ['an expired JWT', () => jwt({ exp: at })],
    ['a life of more than ten minutes', () => jwt({ exp: at + 601 })],
    ['an issue time in the future', () => jwt({ iat: at + 1 })],
    ['another key', () => jwt({}, {}, other.app.privateKeyPem)],
    ['another algorithm', () => jwt({}, { alg: 'none' })],
    ['a text that is no JWT', () => 'Bearer abc'],
    ['no header', () => null],
  ])('refuses %s', async (_what, authorization) => {
    const answer = await ask('GET', '/app', authorization())

    expect(answer.status).toBe(401)
    expect(answer.body['message']).not.toContain('drift')
  })

  it('knows no App of another issuer', async () => {
    const answer = await ask('GET', '/app', jwt({ iss: '1' }))

    expect([answer.status, answer.body['message']]).toEqual([404, 'Integration not found'])
  })

  it('takes the longest life GitHub allows', async () => {
    expect((await ask('GET', '/app', jwt({ exp: at + 600 }))).status).toBe(200)
  })

  it('refuses an installation token where the App itself must speak', async () => {
    expect((await ask('GET', '/app', await installationToken())).status).toBe(401)
  })
})

describe('installation tokens', () => {
  it('are minted anew by every call and live one hour', async () => {
    const [one, two] = [await mint(), await mint()]

    expect(one.status).toBe(201)
    expect(one.body['expires_at']).toBe('2026-11-22T10:00:00Z')
    expect(one.body['token']).not.toBe(two.body['token'])
    expect(world.installationTokens()).toHaveLength(2)
    clock.advance(3_600)
    const late = await ask(
      'GET',
      '/installation/repositories',
      `token ${String(one.body['token'])}`,
    )
    expect(late.status).toBe(401)
  })

  it.each([
    ['opaque', /^ghs_[0-9a-f]{36}$/],
    ['stateless', /^ghs_\d+_[\w-]+\.[\w-]{350,}\.[\w-]+$/],
  ] as const)('come in the %s format', async (tokenFormat, pattern) => {
    await start({ tokenFormat })

    const token = String((await mint()).body['token'])

    expect(token).toMatch(pattern)
    expect((await ask('GET', '/installation/repositories', `token ${token}`)).status).toBe(200)
  })

  it('are the same for the same seed', async () => {
    const first = (await mint()).body['token']
    await start()

    expect((await mint()).body['token']).toBe(first)
  })

  it('can be narrowed to repositories and permissions', async () => {
    const token = await installationToken({
      repositories: ['website'],
      permissions: { administration: 'read' },
    })

    const listed = await ask('GET', '/installation/repositories', token)
    expect(listed.body).toMatchObject({ total_count: 1, repositories: [{ name: 'website' }] })
    expect((await ask('GET', keysPath, token)).status).toBe(200)
    expect((await ask('GET', '/repos/acme/deploy/keys', token)).status).toBe(404)
    const write = await ask('POST', keysPath, token, { key: publicKey() })
    expect(write.status).toBe(403)
    expect(write.headers.get('x-accepted-github-permissions')).toBe('administration=write')
  })

  it.each([
    ['a permission that was not granted', { permissions: { members: 'read' } }],
    ['a level above the granted one', { permissions: { contents: 'write' } }],
    ['a repository that does not exist', { repositories: ['nothing'] }],
    ['an id that does not exist', { repository_ids: [1] }],
    ['a permission that GitHub does not know', { permissions: { administration: 'all' } }],
  ])('are refused with 422 for %s', async (_what, body) => {
    expect((await mint(body)).status).toBe(422)
  })

  it('are refused for unknown and for suspended installations', async () => {
    expect((await ask('POST', '/app/installations/1/access_tokens', jwt())).status).toBe(404)
    const token = await installationToken()

    const path = `/app/installations/${world.app.installationId}/suspended`
    expect((await ask('PUT', path, jwt())).status).toBe(204)
    expect((await mint()).status).toBe(403)
    expect((await ask('GET', keysPath, token)).status).toBe(403)

    expect((await ask('DELETE', path, jwt())).status).toBe(204)
    expect((await ask('GET', keysPath, token)).status).toBe(200)
  })

  it('die by their own hand', async () => {
    const token = await installationToken()

    expect((await ask('DELETE', '/installation/token', token)).status).toBe(204)

    expect((await ask('GET', keysPath, token)).status).toBe(401)
    expect(world.installationTokens().filter((t) => world.isAlive(t))).toEqual([])
  })

  it('run into the hourly limit', async () => {
    await start({ rateLimit: 2 })
    const token = await installationToken()
    await ask('GET', keysPath, token)
    await ask('GET', keysPath, token)

    const third = await ask('GET', keysPath, token)

    expect(third.status).toBe(403)
    expect(third.headers.get('x-ratelimit-remaining')).toBe('0')
    clock.advance(3_599)
    expect((await ask('GET', keysPath, token)).status).toBe(403)
  })
})

describe('deploy keys', () => {
  it('are created, read, listed and deleted', async () => {
    const token = await installationToken()
    const body = { title: 'custody/x', key: `${publicKey()} a comment`, read_only: true }

    const created = await ask('POST', keysPath, token, body)
    const id = Number(created.body['id'])

    expect(created.status).toBe(201)
    expect(created.body).toMatchObject({ title: 'custody/x', read_only: true, enabled: true })
    expect(String(created.body['key']).split(' ')).toHaveLength(2)
    expect((await ask('GET', `${keysPath}/${id}`, token)).body['id']).toBe(id)
    expect(world.deployKeys('acme', 'website')).toHaveLength(1)
    expect((await ask('DELETE', `${keysPath}/${id}`, token)).status).toBe(204)
    expect((await ask('DELETE', `${keysPath}/${id}`, token)).status).toBe(404)
    expect((await ask('GET', `${keysPath}/${id}`, token)).status).toBe(404)
  })

  it('may write unless asked not to, as GitHub has it', async () => {
    const created = await ask('POST', keysPath, await installationToken(), { key: publicKey() })

    expect(created.body['read_only']).toBe(false)
  })

  it('are unique across all repositories', async () => {
    const token = await installationToken()
    const key = publicKey()
    await ask('POST', keysPath, token, { key })

    for (const path of [keysPath, '/repos/acme/deploy/keys']) {
      const again = await ask('POST', path, token, { key: `${key} other comment` })
      expect(again.status).toBe(422)
      expect(JSON.stringify(again.body)).toContain('key is already in use')
    }
  })

  it.each(['nonsense', 'ssh-ed25519 AAAA', 'ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA', ''])(
    'are refused when the key reads %j',
    async (key) => {
      const answer = await ask('POST', keysPath, await installationToken(), { key })

      expect(answer.status).toBe(422)
      expect(JSON.stringify(answer.body)).toContain('key is invalid')
    },
  )

  it('come in pages with Link headers that can be followed', async () => {
    const token = await installationToken()
    for (let n = 0; n < 5; n++) world.addDeployKeyByHand('acme', 'website', `k${n}`, publicKey())

    const titles: string[] = []
    let next: string | null = `${keysPath}?per_page=2`
    while (next) {
      const response: Response = await fetch(new URL(next, sandbox.url), {
        headers: { authorization: token },
      })
      titles.push(...((await response.json()) as { title: string }[]).map((k) => k.title))
      next = /<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1] ?? null
    }

    expect(titles).toEqual(['k0', 'k1', 'k2', 'k3', 'k4'])
  })

  it('can be forbidden, which switches existing ones off', async () => {
    const token = await installationToken()
    world.addDeployKeyByHand('acme', 'website', 'old', publicKey())
    world.findRepository('acme', 'website')!.deployKeysEnabled = false

    expect((await ask('POST', keysPath, token, { key: publicKey() })).status).toBe(422)
    const listed = (await ask('GET', keysPath, token)).body as unknown as { enabled: boolean }[]
    expect(listed.map((k) => k.enabled)).toEqual([false])
  })

  it('stay reachable under the old name of a renamed repository', async () => {
    const token = await installationToken()
    const { id } = world.addDeployKeyByHand('acme', 'website', 'k', publicKey())
    world.renameRepository('acme', 'website', 'site')

    expect((await ask('GET', keysPath, token)).status).toBe(200)
    expect((await ask('DELETE', `${keysPath}/${id}`, token)).status).toBe(204)
    expect(world.deployKeys('acme', 'site')).toEqual([])
  })
})

describe('Actions secrets', () => {
  it('take a value sealed for the current key only', async () => {
    const token = await installationToken()
    const base = '/repos/acme/website/actions/secrets'
    const { key_id } = (await ask('GET', `${base}/public-key`, token)).body
    const encrypted_value = Buffer.from('sealed').toString('base64')

    expect((await ask('PUT', `${base}/api_key`, token, { encrypted_value, key_id })).status).toBe(
      201,
    )
    expect((await ask('PUT', `${base}/API_KEY`, token, { encrypted_value, key_id })).status).toBe(
      204,
    )
    const stale = await ask('PUT', `${base}/API_KEY`, token, { encrypted_value, key_id: '1' })
    expect(stale).toMatchObject({ status: 422, body: { message: 'Public key ID is invalid' } })
    expect((await ask('GET', `${base}/API_KEY`, token)).body).not.toHaveProperty('encrypted_value')
    expect((await ask('DELETE', `${base}/API_KEY`, token)).status).toBe(204)
    expect((await ask('DELETE', `${base}/API_KEY`, token)).status).toBe(404)
  })
})

describe('strangers and mistakes', () => {
  it('answers an unknown token with 401, never as somebody', async () => {
    for (const token of ['token ghs_unknown', 'token ghp_abc', 'Bearer x.y.z', 'Basic abc']) {
      expect((await ask('GET', keysPath, token)).status).toBe(401)
    }
  })

  it.each([
    ['a body without a required attribute', '/repos/acme/website/keys', {}],
    ['an attribute of the wrong type', '/repos/acme/website/keys', { key: 7 }],
    [
      'a query parameter that is not described',
      '/repos/acme/website/keys?page_size=3',
      { key: 'k' },
    ],
  ])('refuses %s and names it', async (_what, path, body) => {
    const answer = await ask('POST', path, await installationToken(), body)

    expect(answer.status).toBe(422)
    expect(answer.body['message']).toContain('POST /repos/{owner}/{repo}/keys')
  })

  it('says 400 to what is no JSON and 404 to what is no route', async () => {
    const response = await fetch(sandbox.url + keysPath, {
      method: 'POST',
      headers: { authorization: await installationToken() },
      body: '{"key":',
    })

    expect(response.status).toBe(400)
    expect((await ask('GET', '/nothing/here', jwt())).status).toBe(404)
  })

  it('says so when it does not play an operation that GitHub has', async () => {
    const answer = await ask('GET', '/orgs/acme/secret-scanning/alerts', await installationToken())

    expect(answer).toMatchObject({ status: 501 })
  })

  it('hides private repositories out of reach and refuses public ones', async () => {
    world.addRepository('open', { private: false })
    world.selectRepositories(['website'])
    const token = await installationToken()

    expect((await ask('GET', '/repos/acme/deploy/keys', token)).status).toBe(404)
    expect((await ask('GET', '/repos/acme/open/keys', token)).status).toBe(403)
  })
})

describe('faults', () => {
  const create = 'POST /repos/{owner}/{repo}/keys'

  it.each([
    ['lostResponse', 1],
    ['reset', 0],
  ] as const)('%s cuts the connection and leaves %i key', async (kind, keys) => {
    const token = await installationToken()
    sandbox.faults.arm(create, { kind })

    await expect(ask('POST', keysPath, token, { key: publicKey() })).rejects.toThrow('fetch failed')

    expect(world.deployKeys('acme', 'website')).toHaveLength(keys)
  })

  it.each([
    [true, 1],
    [false, 0],
  ])('serverError with effect %s leaves %i key', async (effect, keys) => {
    const token = await installationToken()
    sandbox.faults.arm(create, { kind: 'serverError', effect })

    expect((await ask('POST', keysPath, token, { key: publicKey() })).status).toBe(502)

    expect(world.deployKeys('acme', 'website')).toHaveLength(keys)
  })

  it('throttle answers with retry-after, once, without effect', async () => {
    const token = await installationToken()
    sandbox.faults.arm(create, { kind: 'throttle', retryAfterSeconds: 7 })

    const answer = await ask('POST', keysPath, token, { key: publicKey() })

    expect(answer.status).toBe(403)
    expect(answer.headers.get('retry-after')).toBe('7')
    expect(world.deployKeys('acme', 'website')).toEqual([])
    expect((await ask('POST', keysPath, token, { key: publicKey() })).status).toBe(201)
  })

  it('hold keeps the answer back after the effect', async () => {
    const token = await installationToken()
    sandbox.faults.arm(create, { kind: 'hold' })

    const pending = ask('POST', keysPath, token, { key: publicKey() })
    await sandbox.faults.whenHolding()

    expect(world.deployKeys('acme', 'website')).toHaveLength(1)
    sandbox.faults.release()
    expect((await pending).status).toBe(201)
  })

  it('delay answers all the same', async () => {
    const token = await installationToken()
    sandbox.faults.arm('*', { kind: 'delay', milliseconds: 5 })

    expect((await ask('GET', keysPath, token)).status).toBe(200)
  })
})
