import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Clock } from '../../src/domain/time.ts'
import { loadConfig } from '../../src/host/config.ts'
import { systemClock } from '../../src/host/clock.ts'
import { createLog } from '../../src/host/log.ts'
import type { Role, Running } from '../../src/main.ts'
import { startCustody } from '../../src/main.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { startGithubSandbox } from '../../src/sandbox/github.ts'
import { sandboxConfig } from '../../src/cli/local/sandbox.ts'

export const nhiUrn = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
export const userUrn = 'urn:ietf:params:scim:schemas:core:2.0:User'
export const credentialUrn = 'urn:custody:scim:schemas:core:1.0:Credential'
export const patchUrn = 'urn:ietf:params:scim:api:messages:2.0:PatchOp'

export interface Reply<T = Json> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
  readonly text: string
}

// Bodies under test are read as what they claim to be; the assertions are the check.
// oxlint-disable-next-line no-explicit-any -- answers are probed field by field in tests
export type Json = any

export interface TestCustody {
  readonly running: Running
  readonly url: string
  readonly home: string
  readonly aws: Awaited<ReturnType<typeof startAwsSandbox>> | null
  readonly github: Awaited<ReturnType<typeof startGithubSandbox>> | null
  readonly adminToken: string
  /** Log lines at trace level, as an operator would see them. */
  readonly log: readonly string[]
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Reply>
  createPerson(userName: string, more?: Record<string, unknown>): Promise<string>
  /** Requests an account; credentials default to one token to the `files` sink. */
  requestAccount(userName: string, owner: string, nhi?: Record<string, unknown>): Promise<Reply>
  createClient(role: string, more?: Record<string, unknown>): Promise<{ id: string; token: string }>
  /** The bytes in the `files` sink at `path`; null when there is no such file. */
  secretAt(path: string): Promise<string | null>
  introspect(token: string): Promise<Json>
  close(): Promise<void>
}

export interface CallOptions {
  readonly token?: string | null
  readonly headers?: Record<string, string>
}

/** A whole Custody on a free port with a home of its own, with the sandboxes when asked. */
export async function startTestCustody(
  options: {
    readonly sandboxes?: boolean
    readonly roles?: readonly Role[]
    readonly home?: string
    /** Reads the custody.yaml that a test wrote into `home`. */
    readonly config?: true
    readonly storeUrl?: string
    /** The machine's own when omitted; the sandboxes always have that. */
    readonly clock?: Clock
    /** Unlimited unless a test is about it. */
    readonly rateLimit?: { readonly perSecond: number; readonly burst: number }
    /** Logs errors alone, for tests of many thousand requests. */
    readonly quiet?: true
  } = {},
): Promise<TestCustody> {
  const home = options.home ?? (await mkdtemp(path.join(tmpdir(), 'custody-test-')))
  const aws = options.sandboxes ? await startAwsSandbox({ clock: systemClock }) : null
  const github = options.sandboxes ? await startGithubSandbox({ clock: systemClock }) : null
  if (aws && github) {
    await writeFile(path.join(home, 'app.pem'), github.world.app.privateKeyPem, { mode: 0o600 })
    await writeFile(path.join(home, 'custody.yaml'), sandboxConfig(aws, github, 'app.pem'))
  }
  const env = {
    CUSTODY_HOME: home,
    CUSTODY_LISTEN: '127.0.0.1:0',
    CUSTODY_STORE_URL: options.storeUrl ?? `sqlite:${path.join(home, 'custody.db')}`,
  }
  const file = aws || options.config ? path.join(home, 'custody.yaml') : null
  const config = await loadConfig({ file, env, cwd: home })
  const log: string[] = []
  const running = await startCustody({
    config,
    roles: options.roles ?? ['http', 'worker'],
    rateLimit: options.rateLimit ?? null,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    log: createLog({ level: options.quiet ? 'error' : 'trace', write: (line) => log.push(line) }),
  })
  const adminToken = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()

  const call: TestCustody['call'] = async (
    method,
    route,
    body,
    { token = adminToken, headers = {} } = {},
  ) => {
    const response = await fetch(`${running.url}${route}`, {
      method,
      headers: {
        // Else fetch sends */*, to which a PATCH is answered without a body.
        accept: route.startsWith('/scim') ? 'application/scim+json' : '*/*',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/scim+json' }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? null : JSON.parse(text),
      text,
    }
  }

  return {
    running,
    url: running.url,
    home,
    aws,
    github,
    adminToken,
    log,
    call,
    async createPerson(userName, more = {}) {
      const reply = await call('POST', '/scim/v2/Users', {
        schemas: [userUrn],
        userName,
        displayName: userName,
        active: true,
        ...more,
      })
      if (reply.status !== 201) throw new Error(`person refused: ${reply.text}`)
      return reply.body.id
    },
    requestAccount: (userName, owner, nhi = {}) =>
      call('POST', '/scim/v2/Users', {
        schemas: [userUrn, nhiUrn],
        userName,
        [nhiUrn]: {
          kind: 'serviceAccount',
          owner: { value: owner },
          purpose: 'testing',
          credentials: [
            {
              provider: 'tokens',
              kind: 'api-token',
              scopes: ['read'],
              deliverTo: `files:${userName}/token`,
            },
          ],
          ...nhi,
        },
      }),
    async createClient(role, more = {}) {
      const reply = await call('POST', '/api/v1/clients', { name: `${role} client`, role, ...more })
      if (reply.status !== 201) throw new Error(`client refused: ${reply.text}`)
      return reply.body as { id: string; token: string }
    },
    async secretAt(relative) {
      const directory = aws ? path.join(home, 'secrets') : path.join(home, 'secrets')
      return readFile(path.join(directory, 'default', relative), 'utf8').catch(() => null)
    },
    async introspect(token) {
      const reply = await call('POST', '/oauth2/introspect', `token=${encodeURIComponent(token)}`, {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      })
      return reply.body
    },
    async close() {
      await running.close()
      await aws?.close()
      await github?.close()
      if (options.home === undefined) await rm(home, { recursive: true, force: true })
    },
  }
}

/** Asks until the answer satisfies; for what happens in the background of a real server. */
export async function eventually<T>(
  ask: () => Promise<T> | T,
  satisfies: (value: T) => boolean,
  withinMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const value = await ask()
    if (satisfies(value)) return value
    if (performance.now() > deadline)
      throw new Error(`not within ${withinMs} ms; last: ${JSON.stringify(value)}`)
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}
