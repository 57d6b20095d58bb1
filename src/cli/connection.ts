import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { homeDirectory, readSecretFile, readServer } from '../host/home.ts'
import { visible } from '../host/visible.ts'
import { type Answer, createClient, CustodyError } from './client.ts'
import { CommandFailure, exitCodeOfStatus, exitCodes, type Row, type Terminal } from './terminal.ts'

/** Options every command that talks to a server knows. */
export interface Connection {
  readonly server?: string
  readonly tokenFile?: string
}

export interface ApiClient {
  readonly server: string
  /**
   * One request below the server's base, e.g. `/api/v1/accounts`.
   * @param idempotencyKey the same again does nothing twice, for a day
   * @throws CommandFailure with the server's own sentence and the exit code of its status
   */
  send(method: string, route: string, body?: unknown, idempotencyKey?: string): Promise<Answer>
  /** The rows of a paged list (`{ items, cursor }`), page after page; all of them without a limit. */
  list(route: string, query: Query, limit: number | null): Promise<Listing>
  /** The same page by page, holding one page at a time: a list may have a million rows. */
  pages(route: string, query: Query, limit: number | null): AsyncIterable<Page>
}

export interface Page {
  readonly rows: readonly Row[]
  /** Pages follow, or rows that the limit left out. */
  readonly isFollowed: boolean
}

export interface Listing {
  readonly rows: readonly Row[]
  /** The limit left some out. */
  readonly isCut: boolean
}

export type Query = Readonly<Record<string, string | undefined>>

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
  return clientFor(base, token)
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

function clientFor(server: string, token: string): ApiClient {
  const client = createClient({ server, token })

  const send: ApiClient['send'] = async (method, route, body, idempotencyKey) => {
    try {
      return await client.send(method, route, {
        body,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      })
    } catch (error) {
      throw error instanceof CustodyError ? failureOf(error) : error
    }
  }

  async function* pages(route: string, query: Query, limit: number | null): AsyncGenerator<Page> {
    // One more than asked for: a cursor after the last row does not say that rows follow.
    let wanted = limit === null ? Infinity : limit + 1
    let cursor: string | null = null
    do {
      const parameters = new URLSearchParams(
        Object.entries({ ...query, cursor: cursor ?? undefined }).filter(
          (entry): entry is [string, string] => entry[1] !== undefined,
        ),
      )
      parameters.set('limit', String(Math.min(wanted, pageMax)))
      const { body } = await send('GET', `${route}?${parameters.toString()}`)
      const page = body as { readonly items: readonly Row[]; readonly cursor?: string | null }
      if (!Array.isArray(page?.items)) {
        throw new CommandFailure(exitCodes.failed, `${route} did not answer with a list.`)
      }
      cursor = page.cursor ?? null
      const isCut = page.items.length >= wanted
      yield {
        rows: isCut ? page.items.slice(0, wanted - 1) : page.items,
        isFollowed: isCut || cursor !== null,
      }
      wanted -= page.items.length
    } while (cursor !== null && wanted > 0)
  }

  return {
    server,
    send,
    pages,
    async list(route, query, limit) {
      const rows: Row[] = []
      let isCut = false
      for await (const page of pages(route, query, limit)) {
        rows.push(...page.rows)
        isCut = page.isFollowed
      }
      return { rows, isCut }
    },
  }
}

/** The server's own sentence; without an answer, what to do about that. */
function failureOf(error: CustodyError): CommandFailure {
  const { status, message } = error
  return status === null
    ? new CommandFailure(
        exitCodes.failed,
        `${message}. Is it running? Start it with "custody serve".`,
        error,
      )
    : new CommandFailure(exitCodeOfStatus(status), visible(message))
}
