import type { Server } from 'node:http'
import { fastify } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { streamRoutes } from '../../src/http/console/stream.ts'
import type { HttpHost } from '../../src/http/server.ts'
import type { Caller } from '../../src/lifecycle/engine.ts'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'

let custody: TestCustody

beforeAll(async () => {
  custody = await startTestCustody()
})
afterAll(() => custody.close())

const own = { 'custody-console': '1' }

async function ask(
  method: string,
  path: string,
  { cookie, headers = {}, body }: { cookie?: string; headers?: object; body?: unknown } = {},
): Promise<Response> {
  return fetch(custody.url + path, {
    method,
    redirect: 'manual',
    headers: {
      ...(cookie ? { cookie } : {}),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
}

async function logIn(token = custody.adminToken): Promise<string> {
  const answer = await ask('POST', '/api/v1/session', { body: { token } })
  expect(answer.status).toBe(200)
  return answer.headers.get('set-cookie')!.split(';')[0]!
}

describe('the session of the console', () => {
  it('begins with a client token, which neither the answer nor the cookie holds', async () => {
    const answer = await ask('POST', '/api/v1/session', { body: { token: custody.adminToken } })
    const cookie = answer.headers.get('set-cookie')!
    const text = await answer.text()

    expect(JSON.parse(text)).toMatchObject({ client: { role: 'admin' }, tenant: 'default' })
    expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Strict$/)
    for (const part of [text, cookie]) expect(part).not.toContain(custody.adminToken.slice(-40))
  })

  it('reads and writes for the console itself', async () => {
    const cookie = await logIn()

    expect((await ask('GET', '/api/v1/accounts', { cookie })).status).toBe(200)
    expect((await ask('GET', '/scim/v2/Users', { cookie })).status).toBe(200)
    const swept = await ask('POST', '/api/v1/sweeps/expiry?dryRun=true', { cookie, headers: own })
    expect(swept.status).toBe(200)
  })

  it.each([
    ['a form of another page, which cannot add the header', {}],
    ['a page of another site', { ...own, 'sec-fetch-site': 'cross-site' }],
    ['a page on another port', { ...own, 'sec-fetch-site': 'same-site' }],
  ])('is not accepted from %s', async (_what, headers) => {
    const cookie = await logIn()
    const answer = await ask('POST', '/api/v1/sweeps/expiry', { cookie, headers })

    expect(answer.status).toBe(401)
    expect(await answer.text()).toContain("the console's own requests")
  })

  it('is no bearer token, and an access token is no session', async () => {
    const cookie = await logIn()
    const session = cookie.slice(cookie.indexOf('=') + 1)
    const asBearer = await custody.call('GET', '/api/v1/accounts', undefined, { token: session })
    expect(asBearer.status).toBe(401)
    const forged = cookie.replace('=ccs_', '=cat_')
    expect((await ask('GET', '/api/v1/accounts', { cookie: forged })).status).toBe(401)
    const wrong = `${cookie.slice(0, -2)}xx`
    expect((await ask('GET', '/api/v1/accounts', { cookie: wrong })).status).toBe(401)
  })

  it('ends with the token it was begun with, and by logging out', async () => {
    const { id, token } = await custody.createClient('auditor')
    const cookie = await logIn(token)
    expect((await ask('GET', '/api/v1/audit', { cookie })).status).toBe(200)
    await custody.call('DELETE', `/api/v1/clients/${id}`)

    expect((await ask('GET', '/api/v1/audit', { cookie })).status).toBe(401)
    const session = await ask('GET', '/api/v1/session', { cookie })
    expect([session.status, await session.json()]).toMatchObject([200, { client: null }])
    const out = await ask('DELETE', '/api/v1/session', { cookie, headers: own })
    expect(out.headers.get('set-cookie')).toContain('Max-Age=0')
  })

  it('begins once with a link, which whoever holds the token makes', async () => {
    const made = await custody.call('POST', '/api/v1/session/link')
    const code = made.body.url.split('#login=')[1]
    const first = await ask('POST', '/api/v1/session', { body: { code } })
    const again = await ask('POST', '/api/v1/session', { body: { code } })

    expect([made.status, first.status, again.status]).toEqual([201, 200, 401])
    const cookie = first.headers.get('set-cookie')!.split(';')[0]!
    const own = await ask('POST', '/api/v1/session/link', {
      cookie,
      headers: { 'custody-console': '1' },
    })
    expect(own.status).toBe(401)
    const bearer = await custody.call('GET', '/api/v1/accounts', undefined, { token: code })
    expect(bearer.status).toBe(401)
  })

  it('begins once with a link, also when two come at once, or its text is written otherwise', async () => {
    const made = await custody.call('POST', '/api/v1/session/link')
    const code: string = made.body.url.split('#login=')[1]
    // 43 characters of base64url have two bits more than 32 bytes: four texts decode to the same.
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = digits.indexOf(code.at(-1)!)
    const others = [1, 2, 3].map((n) => code.slice(0, -1) + digits[last ^ n])
    const all = [code, code, ...others]
    const answers = await Promise.all(
      all.map((each) => ask('POST', '/api/v1/session', { body: { code: each } })),
    )

    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200, 401, 401, 401, 401,
    ])
  })

  it('is found beside one of an address before, which the browser still sends', async () => {
    const { id, token } = await custody.createClient('auditor')
    const old = (await logIn(token)).replace(/^[^=]+/, 'custody-session-1')
    await custody.call('DELETE', `/api/v1/clients/${id}`)
    const both = `${old}; ${await logIn()}`

    expect((await ask('GET', '/api/v1/accounts', { cookie: both })).status).toBe(200)
  })

  it.each([
    ['no token', {}, 400],
    ['a token nobody has', { token: 'cst_x' }, 401],
    ['a field that is none', { token: 'x', more: 1 }, 400],
  ])('does not begin with %s', async (_what, body, status) => {
    expect((await ask('POST', '/api/v1/session', { body })).status).toBe(status)
  })

  it.each(['directory', 'verifier'])(
    'is not for the role %s, to whom it shows nothing',
    async (role) => {
      const directory = role === 'directory' ? { directory: 'default' } : {}
      const { token } = await custody.createClient(role, directory)

      expect((await ask('POST', '/api/v1/session', { body: { token } })).status).toBe(403)
    },
  )
})

describe('the page of the console', () => {
  it('is served with a policy that runs nothing but its own files', async () => {
    for (const path of ['/console/', '/console/accounts/x', '/console/leaver?person=1']) {
      const page = await ask('GET', path)
      const policy = page.headers.get('content-security-policy')!
      expect(page.status).toBe(200)
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("require-trusted-types-for 'script'; trusted-types 'none'")
      expect(policy).not.toContain('unsafe')
    }
    const door = await ask('GET', '/', { headers: { accept: 'text/html,*/*;q=0.8' } })
    expect([door.status, door.headers.get('location')]).toEqual([302, '/console/'])
    // A SCIM client with a base address that lacks its end reads why, not a page.
    const client = await ask('GET', '/', { headers: { accept: 'application/scim+json' } })
    expect([client.status, client.headers.get('content-type')?.split(';')[0]]).toEqual([
      404,
      'application/problem+json',
    ])
    const bare = await ask('GET', '/console')
    expect([bare.status, bare.headers.get('location')]).toEqual([308, '/console/'])
  })

  it('finds each of its modules, which may be kept for ever', async () => {
    const html = await (await ask('GET', '/console/')).text()
    const found = [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map((m) => m[1]!)
    const map = JSON.parse(/<script type="importmap">(.*?)<\/script>/.exec(html)![1]!)
    const all = new Set([...found, ...Object.values<string>(map.imports)])
    expect(all.size).toBeGreaterThan(20)
    for (const path of all) {
      const asset = await ask('GET', path)
      expect([path, asset.status]).toEqual([path, 200])
      expect(asset.headers.get('cache-control')).toContain('immutable')
    }
  })

  it.each(['..%2f..%2f..%2fpackage.json', 'vendor/../main.js', 'tsconfig.json', 'x.js'])(
    'serves no file but its own: %s',
    async (name) => {
      const html = await (await ask('GET', '/console/')).text()
      const base = /src="(\/console\/assets\/[^/]+)\//.exec(html)![1]!
      const answer = await ask('GET', `${base}/${name}`)

      expect(answer.status).toBe(name === 'vendor/../main.js' ? 200 : 404)
      expect((await ask('GET', `/console/assets/other/main.js`)).status).toBe(404)
    },
  )

  it('takes what browsers report of it, and tells the operator which rule it was', async () => {
    const report = { 'csp-report': { 'violated-directive': 'script-src-elem', 'blocked-uri': 'x' } }
    const answer = await fetch(`${custody.url}/console/csp-report`, {
      method: 'POST',
      headers: { 'content-type': 'application/csp-report' },
      body: JSON.stringify(report),
    })

    expect(answer.status).toBe(204)
    expect(custody.log.join('\n')).toContain('a part of the console: script-src-elem')
  })
})

describe('the stream of changes', () => {
  it('tells what happens, to each reader what it may read, and goes on where it ended', async () => {
    const cookie = await logIn()
    const { token } = await custody.createClient('requester')
    const [all, few] = await Promise.all([listen(cookie), listen(await logIn(token))])
    await custody.createPerson('streamed@example.com')
    await custody.running.sequencer!.round()
    const [heard, counted] = await Promise.all([all.next('changes'), few.next('changes')])

    expect(heard.data.items.map((i: { type: string }) => i.type)).toContain('person.created')
    expect(counted.data).toEqual({ count: heard.data.count, items: [] })

    await Promise.all([all.end(), few.end()])
    await custody.createPerson('missed@example.com')
    await custody.running.sequencer!.round()
    const again = await listen(cookie, heard.id)
    expect((await again.next('changes')).data.items).not.toEqual([])
    await again.end()
    const tooOld = await listen(cookie, '999999')
    expect((await tooOld.next('reset')).data.newest).toBeGreaterThan(0)
    await tooOld.end()
  })

  it('counts those who come together, and not those who went before it began', async () => {
    const slow = Promise.withResolvers<null>()
    const host = { engine: { authorise() {} }, store: { read: { auditHead: () => slow.promise } } }
    const caller = { tenant: 'default', client: { id: 'one' } } as unknown as Caller
    const app = fastify({ forceCloseConnections: true })
    await app.register(streamRoutes(host as unknown as HttpHost, async () => caller))
    const at = `${await app.listen({ port: 0 })}/stream`
    const gone = new AbortController()
    const left = Array.from({ length: 16 }, () => fetch(at, { signal: gone.signal }).catch(() => 0))
    await vi.waitUntil(() => connections(app) === 16)
    gone.abort()
    await Promise.all(left)
    await vi.waitUntil(() => connections(app) === 0)
    const together = Array.from({ length: 20 }, () => fetch(at))
    await vi.waitUntil(() => connections(app) === 20)
    slow.resolve(null)
    const statuses = (await Promise.all(together)).map((a) => a.status)

    expect(statuses.filter((s) => s === 200)).toHaveLength(16)
    await app.close()
  })

  it('is for those who are logged in', async () => {
    expect((await ask('GET', '/api/v1/stream')).status).toBe(401)
  })
})

function connections({ server }: { readonly server: Server }): number {
  return (server as Server & { readonly _connections: number })._connections
}

interface Told {
  readonly id: string
  readonly data: { items: { type: string }[]; count: number; newest: number }
}

async function listen(cookie: string, lastEventId?: string) {
  const ending = new AbortController()
  const answer = await fetch(`${custody.url}/api/v1/stream`, {
    headers: { cookie, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) },
    signal: ending.signal,
  })
  expect(answer.headers.get('content-type')).toContain('text/event-stream')
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    async next(event: string): Promise<Told> {
      for (;;) {
        const found = new RegExp(`id: (-?\\d+)\\nevent: ${event}\\ndata: (.*)\\n\\n`).exec(text)
        if (found) {
          text = text.slice(found.index + found[0].length)
          return { id: found[1]!, data: JSON.parse(found[2]!) }
        }
        const { value, done } = await reader.read()
        if (done) throw new Error(`the stream ended: ${text}`)
        text += value
      }
    },
    async end() {
      ending.abort()
      await reader.closed.catch(() => undefined)
    },
  }
}
