import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { homeDirectory, readSecretFile, readServer } from '../host/home.ts'
import { visible } from '../host/visible.ts'
import { CommandFailure, exitCodeOfStatus, exitCodes, type Row, type Terminal } from './terminal.ts'

/** Options every command that talks to a server knows. */
export interface Connection {
  readonly server?: string
  readonly tokenFile?: string
}

export interface Answer {
  readonly status: number
  /** The JSON it answered with; null when it was none. */
  readonly body: unknown
  readonly text: string
  readonly headers: Headers
  /** The operation a SCIM write queued. */
  readonly operation: string | null
}

export interface ApiClient {
  readonly server: string
  /**
   * One request below the server's base, e.g. `/api/v1/accounts`.
   * @throws CommandFailure with the server's own sentence and the exit code of its status
   */
  send(method: string, route: string, body?: unknown): Promise<Answer>
  /** The rows of a paged list (`{ items, cursor }`), page after page; all of them without a limit. */
  list(route: string, query: Query, limit: number | null): Promise<Listing>
}

export interface Listing {
  readonly rows: readonly Row[]
  /** The limit left some out. */
  readonly isCut: boolean
}

export type Query = Readonly<Record<string, string | undefined>>

const timeoutMilliseconds = 30_000
const pageMax = 200

/**
 * Finds server and token: options, then CUSTODY_SERVER and CUSTODY_TOKEN, then what the local
 * server left in `.custody`.
 * @throws CommandFailure (usage) when either is missing
 */
export async function connect(connection: Connection, terminal: Terminal): Promise<ApiClient> {
  const home = homeDirectory(terminal)
  const local = await readServer(home)
  const server = connection.server || terminal.env['CUSTODY_SERVER'] || local?.url
  if (!server) {
    throw new CommandFailure(
      exitCodes.usage,
      `No server is running here (${path.join(home, 'server.json')} is missing). Start one with "custody serve", or name one with --server or CUSTODY_SERVER.`,
    )
  }
  if (!URL.canParse(server) || !/^https?:/.test(server)) {
    throw new CommandFailure(exitCodes.usage, `"${server}" is not an http or https address.`)
  }
  const base = server.replace(/\/+$/, '')
  const token = await findToken(connection, terminal, home, base)
  return createClient(base, token)
}

async function findToken(
  { tokenFile }: Connection,
  terminal: Terminal,
  home: string,
  server: string,
): Promise<string> {
  const fromEnvironment = terminal.env['CUSTODY_TOKEN']
  if (tokenFile) {
    // Not held to mode 0600: a mounted secret is often readable by the group.
    return (await readFile(path.resolve(terminal.cwd, tokenFile), 'utf8').catch(noToken)).trim()
  }
  if (fromEnvironment) return fromEnvironment.trim()
  // The local administrator's token opens everything here; another machine must not be shown it.
  if (!isLoopback(new URL(server).hostname)) {
    throw new CommandFailure(
      exitCodes.usage,
      `A token for ${server} is needed: name its file with --token-file, or set CUSTODY_TOKEN.`,
    )
  }
  const secret = await readSecretFile(path.join(home, 'admin-token')).catch(noToken)
  return secret.use((bytes) => bytes.toString('utf8'))
}

function noToken(cause: Error & { code?: string }): never {
  const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
  throw new CommandFailure(
    exitCodes.usage,
    `The token cannot be read (${reason}). Name its file with --token-file, or set CUSTODY_TOKEN.`,
    cause,
  )
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
}

function createClient(server: string, token: string): ApiClient {
  async function send(method: string, route: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${server}${route}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        accept:
          'application/json, application/scim+json, application/problem+json, text/plain;q=0.5',
        ...(body === undefined ? {} : { 'content-type': contentTypeOf(route) }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      // A redirect would carry the token to wherever it points.
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMilliseconds),
    }).catch((cause: unknown) => {
      throw unreachable(server, cause)
    })
    const text = await response.text()
    const answer = parseBody(text)
    if (!response.ok) throw failureOf(response.status, answer, response.statusText)
    return {
      status: response.status,
      body: answer,
      text,
      headers: response.headers,
      operation: response.headers.get('custody-operation'),
    }
  }

  return {
    server,
    send,
    async list(route, query, limit) {
      const rows: Row[] = []
      // One more than asked for: a cursor after the last row does not say that rows follow.
      const wanted = limit === null ? Infinity : limit + 1
      let cursor: string | null = null
      do {
        const parameters = new URLSearchParams(
          Object.entries({ ...query, cursor: cursor ?? undefined }).filter(
            (entry): entry is [string, string] => entry[1] !== undefined,
          ),
        )
        parameters.set('limit', String(Math.min(wanted - rows.length, pageMax)))
        const { body } = await send('GET', `${route}?${parameters.toString()}`)
        const page = body as { readonly items: readonly Row[]; readonly cursor?: string | null }
        if (!Array.isArray(page?.items)) {
          throw new CommandFailure(exitCodes.failed, `${route} did not answer with a list.`)
        }
        rows.push(...page.items)
        cursor = page.cursor ?? null
      } while (cursor !== null && rows.length < wanted)
      return limit === null
        ? { rows, isCut: false }
        : { rows: rows.slice(0, limit), isCut: rows.length > limit }
    },
  }
}

function contentTypeOf(route: string): string {
  return route.startsWith('/scim/') ? 'application/scim+json' : 'application/json'
}

function parseBody(text: string): unknown {
  if (text === '') return null
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

/** The server's own sentence: `detail` in RFC 9457 and in SCIM errors alike. */
function failureOf(status: number, body: unknown, statusText: string): CommandFailure {
  const problem = (body ?? {}) as { readonly detail?: unknown; readonly title?: unknown }
  const sentence = [problem.detail, problem.title].find((t) => typeof t === 'string')
  return new CommandFailure(
    exitCodeOfStatus(status),
    visible(
      typeof sentence === 'string' ? sentence : `The server answered ${status} ${statusText}.`,
    ),
  )
}

function unreachable(server: string, cause: unknown): CommandFailure {
  const error = cause as Error & { readonly cause?: { readonly code?: string } }
  const reason =
    error.name === 'TimeoutError'
      ? `did not answer within ${timeoutMilliseconds / 1_000} s`
      : `cannot be reached (${error.cause?.code ?? error.message})`
  return new CommandFailure(
    exitCodes.failed,
    `${server} ${reason}. Is it running? Start it with "custody serve".`,
    cause,
  )
}
