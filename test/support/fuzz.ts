import { Agent, request } from 'node:http'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { Dialect, Role } from '../../src/domain/client.ts'
import { dialects } from '../../src/domain/client.ts'
import type { TestCustody } from './custody.ts'
import { startTestCustody } from './custody.ts'
import type { Source } from './fuzz-source.ts'
import { loopDelayOf } from './loop-delay.ts'

const errorUrn = 'urn:ietf:params:scim:api:messages:2.0:Error'
const writers: readonly Role[] = ['admin', 'admin', 'directory', 'requester', 'owner', 'security']

/** How long nothing else may run while one request is answered, in milliseconds. */
export const blockedMax = 50

export interface FuzzRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | null
}

export interface FuzzReply {
  readonly status: number
  readonly type: string
  readonly text: string
}

export interface Pool {
  readonly Users: string[]
  readonly Groups: string[]
  readonly Credentials: string[]
}

/** A server that is asked odd things, and judged after each. */
export class FuzzServer {
  readonly custody: TestCustody
  readonly pool: Pool = { Users: [], Groups: [], Credentials: [] }
  readonly #clients: { readonly token: string; readonly dialect: Dialect }[] = []
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  /** A handle of its own on a SQLite file, to see what a request wrote; null for PostgreSQL. */
  readonly #database: Database.Database | null
  readonly #prototypes = ownNames()
  #slowest: { readonly ms: number; readonly asked: FuzzRequest }[] = []
  readonly statuses = new Map<number, number>()

  private constructor(custody: TestCustody, file: string | null) {
    this.custody = custody
    this.#database = file === null ? null : new Database(file, { readonly: true })
  }

  static async start(storeUrl?: string): Promise<FuzzServer> {
    const store = storeUrl === undefined ? {} : { storeUrl }
    const started = await startTestCustody({ roles: ['http'], quiet: true, ...store })
    const file = storeUrl === undefined ? path.join(started.home, 'custody.db') : null
    const server = new FuzzServer(started, file)
    const { custody, pool } = server
    for (const name of ['ada', 'ben', 'cleo']) pool.Users.push(await custody.createPerson(name))
    for (const dialect of dialects) {
      for (const role of writers) {
        const person = role === 'owner' || role === 'requester' ? { person: pool.Users[0] } : {}
        const { token } = await custody.createClient(role, { dialect, ...person })
        server.#clients.push({ token, dialect })
      }
    }
    const account = await custody.requestAccount('svc', pool.Users[0]!)
    pool.Users.push(account.body.id)
    const made = await custody.call('GET', '/scim/v2/Credentials')
    pool.Credentials.push(made.body.Resources[0].id)
    for (const displayName of ['ops', 'dev']) {
      const group = await custody.call('POST', '/scim/v2/Groups', {
        schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'],
        displayName,
        members: [{ value: pool.Users[0] }],
      })
      pool.Groups.push(group.body.id)
    }
    return server
  }

  async close(): Promise<void> {
    this.#agent.destroy()
    this.#database?.close()
    await this.custody.close()
  }

  /** Sends what `make` comes up with as one of the clients. @throws what is wrong with the answer */
  async judge(source: Source, asked: FuzzRequest): Promise<void> {
    const { token } = source.pick(this.#clients)
    const sent = { ...asked, headers: { authorization: `Bearer ${token}`, ...asked.headers } }
    const watches = this.#database !== null && source.chance(1 / 10)
    const before = watches ? this.#digest() : ''
    const start = performance.now()
    const reply = await this.#send(sent)
    this.#noteTime(performance.now() - start, sent)
    this.statuses.set(reply.status, (this.statuses.get(reply.status) ?? 0) + 1)
    const fault =
      faultOf(reply) ??
      (ownNames() === this.#prototypes ? null : 'a prototype was changed') ??
      (watches && reply.status >= 400 && this.#digest() !== before ? 'refused, yet written' : null)
    if (fault !== null) throw new Error(`${fault}: ${describe(asked)} -> ${describeReply(reply)}`)
    if (reply.status === 201) this.#keep(asked.path, reply.text)
  }

  /** The longest standstills, each the least of three repeats: one alone may be a collection's. */
  async standstills(): Promise<readonly { readonly ms: number; readonly what: string }[]> {
    const found = []
    for (const { asked } of this.#slowest) {
      const times: number[] = []
      for (let i = 0; i < 3; i++) {
        times.push((await loopDelayOf(() => this.#send(asked))).blockedMs)
      }
      found.push({ ms: Math.min(...times), what: describe(asked) })
    }
    return found.sort((a, b) => b.ms - a.ms)
  }

  #keep(asked: string, text: string): void {
    const type = /\/(Users|Groups|Credentials)$/.exec(asked)?.[1] as keyof Pool | undefined
    if (type === undefined) return
    const ids = this.pool[type]
    ids.push((JSON.parse(text) as { id: string }).id)
    if (ids.length > 40) ids.splice(4, 20)
  }

  #noteTime(ms: number, asked: FuzzRequest): void {
    if (this.#slowest.length === 3 && ms <= this.#slowest[2]!.ms) return
    this.#slowest = [...this.#slowest, { ms, asked }].sort((a, b) => b.ms - a.ms).slice(0, 3)
  }

  /** Changes with every write to a resource; the audit has a row for each. */
  #digest(): string {
    const row = this.#database!.prepare(
      `select (select max(rowid) from audit where action not like 'scimRequest.%') as audit, (select count(*) from member) as members,
          (select sum(version) from resource) as users, (select sum(version) from grp) as groups,
          (select count(*) from operation) as operations`,
    ).get()
    return JSON.stringify(row)
  }

  #send({ method, path, headers, body }: FuzzRequest): Promise<FuzzReply> {
    return new Promise((resolve, reject) => {
      const length = body === null ? {} : { 'content-length': String(body.length) }
      const sent = request(
        `${this.custody.url}${path}`,
        { method, agent: this.#agent, headers: { ...headers, ...length } },
        (reply) => {
          const parts: Buffer[] = []
          reply.on('data', (part: Buffer) => parts.push(part))
          reply.on('end', () =>
            resolve({
              status: reply.statusCode ?? 0,
              type: reply.headers['content-type'] ?? '',
              text: Buffer.concat(parts).toString(),
            }),
          )
        },
      )
      sent.on('error', reject)
      sent.end(body ?? undefined)
    })
  }
}

function ownNames(): string {
  return [Object.prototype, Array.prototype, String.prototype]
    .map((prototype) => Reflect.ownKeys(prototype).length)
    .join()
}

function faultOf({ status, type, text }: FuzzReply): string | null {
  if (status >= 500 && status !== 501) return 'an error of ours'
  if (status === 204 || status === 304) return text === '' ? null : 'a body where none belongs'
  if (!type.startsWith('application/scim+json')) return 'another media type'
  const body = parsed(text)
  if (body === null) return 'no JSON object'
  if (status < 400) return nestedFault(body)
  return errorFault(body, status)
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

function errorFault(body: Record<string, unknown>, status: number): string | null {
  const { schemas, status: told, detail } = body
  const isError = Array.isArray(schemas) && schemas.includes(errorUrn)
  if (!isError) return 'no SCIM Error'
  if (told !== String(status)) return 'another status in the body'
  return typeof detail === 'string' && detail !== '' ? null : 'no detail'
}

/** What a Bulk answers for each of its operations. */
function nestedFault(body: Record<string, unknown>): string | null {
  const operations = Array.isArray(body['Operations']) ? body['Operations'] : []
  for (const operation of operations as { status: string; response?: unknown }[]) {
    const status = Number(operation.status)
    if (status >= 500 && status !== 501) return 'an error of ours in a Bulk'
    if (status < 400) continue
    const fault = errorFault((operation.response ?? {}) as Record<string, unknown>, status)
    if (fault !== null) return `${fault} in a Bulk`
  }
  return null
}

function describe({ method, path, headers, body }: FuzzRequest): string {
  const shown = body === null ? '' : JSON.stringify(body.toString('latin1').slice(0, 1_500))
  const { authorization: _, ...others } = headers
  return `${method} ${path.slice(0, 500)} ${JSON.stringify(others)} ${shown}`
}

function describeReply({ status, type, text }: FuzzReply): string {
  return `${status} ${type} ${text.slice(0, 500)}`
}
