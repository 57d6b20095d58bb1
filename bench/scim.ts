import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { bodyAt, externalIdAt, homeOf, idAt, isPerson, nhiUrn, ownerIndex } from './fixtures.ts'
import { scratchHome, userNameAt } from './fixtures.ts'
import type { Ask, Load, Sample } from './measure.ts'
import { drain, measure, probe } from './measure.ts'
import type { Server } from './process.ts'
import { referenceToken } from './reference/bearer.ts'
import { startServer } from './process.ts'

/** One thing to time: a server, and what is asked of it. */
export interface Case {
  readonly name: string
  /** `1k`, `1m` or empty where the size of the database does not matter. */
  readonly size: string
  readonly server: Server
  readonly load: Load
  readonly check: (body: string, status: number) => void
}

/** `of` compared with `to`, in the same round. */
export interface Goal {
  readonly text: string
  readonly of: string
  readonly to: string
  readonly by: 'perSecond' | 'cpu'
  readonly atLeast?: number
  readonly atMost?: number
}

export interface Options {
  readonly sizes: readonly { readonly name: string; readonly count: number }[]
  readonly rounds: number
  readonly seconds: number
  /** Beginnings of names; empty = all. */
  readonly only: readonly string[]
  /** Where profiles of Custody go; null = none. */
  readonly profile: string | null
  readonly say: (text: string) => void
}

const connections = 50
const pageConnections = 10
/** Per connection: all parts of a large database are touched, and again and again within a warm-up. */
const asksPerConnection = 100
/**
 * Before each timing of a large case: some hosts take file pages from whoever does not use them right
 * now. Where this was written, a quarter of a file just read was gone after 20 s, and all of it later.
 */
const rewarmSeconds = 3
const deep = 0.9
const pageSize = 100
const pageNames = [
  'page by cursor, first',
  'page by cursor, 0.9 N',
  'page by index, first',
  'page by index, 0.9 N',
] as const

type PagePaths = {
  readonly first: string
  readonly far: string
  readonly skip: number
}

/** Runs the cases in interleaved rounds. @returns samples by case, one a round */
export async function runScim(options: Options): Promise<{
  readonly cases: readonly Case[]
  readonly samples: ReadonlyMap<string, readonly Sample[]>
}> {
  const { say, rounds, seconds } = options
  const servers: Server[] = []
  const start: typeof startServer = async (...args) => {
    const server = await startServer(...args)
    servers.push(server)
    return server
  }
  try {
    const cases = (await prepare(options, start)).filter((c) => isWanted(options, c.name))
    for (const { name, size, server, load, check } of cases) {
      await probe(server, load.asks(0)[0]!, load.token, check)
      say(`warming ${title(name, size)}`)
      await measure(server, load, Math.min(seconds * 2, isLarge(size) ? 8 : 4))
      await drain(server)
    }
    const samples = new Map<string, Sample[]>(cases.map((c) => [title(c.name, c.size), []]))
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`)
      for (const { name, size, server, load } of cases) {
        if (isLarge(size)) await measure(server, load, rewarmSeconds)
        samples.get(title(name, size))!.push(await measure(server, load, seconds))
        await drain(server)
      }
    }
    return { cases, samples }
  } finally {
    for (const server of servers) await server.stop()
  }
}

export function isWanted({ only }: Options, name: string): boolean {
  return only.length === 0 || only.some((prefix) => name.startsWith(prefix))
}

export function title(name: string, size: string): string {
  return size === '' ? name : `${name} @${size}`
}

const isLarge = (size: string): boolean => size.endsWith('m')

async function prepare(options: Options, start: typeof startServer): Promise<readonly Case[]> {
  const { say, profile } = options
  const flags = profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const cases: Case[] = []
  // First of all, while nobody has the database that is copied open.
  const writing = await writes(options.sizes[0]!.count, options, start, flags)
  for (const { name: size, count } of options.sizes) {
    const home = await homeOf(count, say)
    const custody = await start('custody.ts', [home, 'grouped'], flags)
    const token = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
    const raw = await start('reference/read.ts', [path.join(home, 'reference.db'), String(count)])
    if (cases.length === 0) cases.push(await bareCase(start))
    cases.push(...pointReads({ size, count, custody, raw, token }))
    // Walking to a far page takes thousands of requests.
    if (!pageNames.some((name) => isWanted(options, name))) continue
    const paths = await pagePaths(custody, token, count)
    cases.push(...pages({ size, count, custody, token, paths }))
  }
  return [...cases, ...writing]
}

async function bareCase(start: typeof startServer): Promise<Case> {
  return {
    name: 'bare Fastify',
    size: '',
    server: await start('reference/bare.ts', []),
    load: { connections, token: referenceToken, asks: (c) => spreadOver(1_000, c, (i) => user(i)) },
    check: () => undefined,
  }
}

const user = (index: number): Ask => ({ method: 'GET', path: `/scim/v2/Users/${idAt(index)}` })
const list = (query: Readonly<Record<string, string>>): Ask => ({
  method: 'GET',
  path: `/scim/v2/Users?${new URLSearchParams(query).toString()}`,
})

/** Indexes all over a database, other ones for each connection. */
function spreadOver(count: number, connection: number, ask: (index: number) => Ask): Ask[] {
  return Array.from({ length: asksPerConnection }, (_, i) => {
    const at = Math.imul(connection * asksPerConnection + i + 1, 0x9e3779b1) >>> 0
    return ask(at % count)
  })
}

function pointReads(of: {
  readonly size: string
  readonly count: number
  readonly custody: Server
  readonly raw: Server
  readonly token: string
}): readonly Case[] {
  const { size, count, custody, raw, token } = of
  const over = (ask: (index: number) => Ask): Load => ({
    connections,
    token,
    asks: (connection) => spreadOver(count, connection, ask),
  })
  const filtered = (filter: (index: number) => string): Load =>
    over((index) => list({ filter: filter(index) }))
  const found = (total: (n: number) => boolean) => (body: string) => {
    const { totalResults } = JSON.parse(body) as { readonly totalResults: number }
    if (!total(totalResults)) throw new Error(`found ${totalResults}: ${body.slice(0, 200)}`)
  }
  const isOne = found((n) => n === 1)
  const owner = (index: number) =>
    `${nhiUrn}:owner.value eq "${idAt(ownerIndex(index - (index % 11 === count - 1 ? 11 : 0)))}"`
  const id = (body: string): void => {
    if (!body.includes('"id":"')) throw new Error(body)
  }
  return [
    {
      name: 'raw read',
      size,
      server: raw,
      load: { ...over(user), token: referenceToken },
      check: id,
    },
    { name: 'get', size, server: custody, load: over(user), check: id },
    {
      name: 'userName eq',
      size,
      server: custody,
      load: filtered((i) => `userName eq "${userNameAt(i)}"`),
      check: isOne,
    },
    {
      name: 'externalId eq',
      size,
      server: custody,
      load: filtered((i) => `externalId eq "${externalIdAt(i)}"`),
      check: isOne,
    },
    {
      name: 'owner eq',
      size,
      server: custody,
      load: filtered(owner),
      check: found((n) => n > 5 && n <= 10),
    },
  ]
}

/** Walks to the cursor of the page at 0.9 N, as any client has to. */
async function pagePaths(server: Server, token: string, count: number): Promise<PagePaths> {
  const skip = Math.floor((count * deep) / pageSize) * pageSize
  const page = async (cursor: string): Promise<string> => {
    const answer = await fetch(`${server.url}${cursorPath(cursor)}`, {
      headers: { authorization: `Bearer ${token}` },
    })
    const body = await answer.text()
    if (!answer.ok) throw new Error(body)
    return /"nextCursor":"([^"]*)"/.exec(body)?.[1] ?? ''
  }
  let cursor = ''
  for (let passed = 0; passed < skip; passed += pageSize) cursor = await page(cursor)
  return { first: cursorPath(''), far: cursorPath(cursor), skip }
}

function cursorPath(cursor: string): string {
  return `/scim/v2/Users?cursor=${cursor}&count=${pageSize}`
}

function pages(of: {
  readonly size: string
  readonly count: number
  readonly custody: Server
  readonly token: string
  readonly paths: PagePaths
}): readonly Case[] {
  const { size, count, custody, token, paths } = of
  const { first, far, skip } = paths
  const holds = (from: number) => (body: string) => {
    const { Resources, totalResults } = JSON.parse(body) as {
      readonly totalResults: number
      readonly Resources: readonly { readonly id: string }[]
    }
    const expected = Array.from({ length: pageSize }, (_, i) => idAt(from + i))
    const right = totalResults === count && expected.every((id, i) => Resources[i]?.id === id)
    if (!right || Resources.length !== pageSize) throw new Error(`not the page from ${from}`)
  }
  const one = (
    name: (typeof pageNames)[number],
    ask: Ask,
    from: number,
    connections: number,
  ): Case => ({
    name,
    size,
    server: custody,
    load: { connections, token, asks: () => [ask] },
    check: holds(from),
  })
  const index = (startIndex: number): Ask =>
    list({ startIndex: String(startIndex), count: String(pageSize) })
  return [
    one('page by cursor, first', { method: 'GET', path: first }, 0, pageConnections),
    one('page by cursor, 0.9 N', { method: 'GET', path: far }, skip, pageConnections),
    one('page by index, first', index(1), 0, pageConnections),
    one('page by index, 0.9 N', index(skip + 1), skip, 1),
  ]
}

/** Writes go to copies of the smallest database. */
async function writes(
  count: number,
  { say }: Options,
  start: typeof startServer,
  flags: readonly string[],
): Promise<readonly Case[]> {
  const home = await homeOf(count, say)
  const token = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  const own = async (mode: 'grouped' | 'single' | 'dry'): Promise<Server> => {
    return start('custody.ts', [await scratchHome(home, mode), mode], flags)
  }
  const servers = {
    grouped: await own('grouped'),
    single: await own('single'),
    dry: await own('dry'),
    none: await start('reference/write.ts', ['none']),
    insert: await start('reference/write.ts', [
      path.join(await scratchHome(home, 'reference'), 'write.db'),
    ]),
  }
  // Each connection takes the next number: no two requests of a run have the same body.
  let made = 0
  const person = (): string => JSON.stringify(bodyAt(made++, null))
  const account = (): string => JSON.stringify(bodyAt(made++, idAt(0)))
  const post = (body: () => string): Load => ({
    connections,
    token,
    asks: () => [{ method: 'POST', path: '/scim/v2/Users', body }],
  })
  const created = (body: string, status: number): void => {
    if (status !== 201 || !body.includes('"id":"')) throw new Error(`${status} ${body}`)
  }
  const one = (name: string, server: Server, load: Load): Case => ({
    name,
    size: '',
    server,
    load,
    check: created,
  })
  return [
    one('create, bare: no insert', servers.none, { ...post(person), token: referenceToken }),
    one('create, bare: group commit', servers.insert, { ...post(person), token: referenceToken }),
    one('create person', servers.grouped, post(person)),
    one('create person, nothing written', servers.dry, post(person)),
    one('create person, one commit each', servers.single, post(person)),
    one('create account', servers.grouped, post(account)),
    one('create account, nothing written', servers.dry, post(account)),
    {
      name: 'PATCH active',
      size: '',
      server: servers.grouped,
      load: { connections, token, asks: (connection) => leaving(count, connection) },
      check: (body) => {
        if (!body.includes('"active":false')) throw new Error(body)
      },
    },
  ]
}

/** A person of this connection's own leaves and returns. */
function leaving(count: number, connection: number): readonly Ask[] {
  // The first person owns what is created meanwhile.
  const people = Array.from({ length: count }, (_, i) => i).filter((i) => i > 0 && isPerson(i))
  const path = `/scim/v2/Users/${idAt(people[connection % people.length]!)}`
  return [false, true].map((active) => ({
    method: 'PATCH',
    path,
    body: () =>
      JSON.stringify({
        schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
        Operations: [{ op: 'replace', path: 'active', value: active }],
      }),
  }))
}

/** The goals between cases, for the sizes that were run. */
export function goalsOf(sizes: readonly string[]): readonly Goal[] {
  const [small, large] = [sizes[0]!, sizes.at(-1)!]
  const goals: Goal[] = [
    {
      text: 'raw read ≥ 0.70 × the CPU of get',
      of: title('raw read', small),
      to: title('get', small),
      by: 'cpu',
      atLeast: 0.7,
    },
    {
      text: 'create ≥ 0.5 × nothing written (person)',
      of: 'create person',
      to: 'create person, nothing written',
      by: 'perSecond',
      atLeast: 0.5,
    },
    {
      text: 'create ≥ 0.5 × nothing written (account)',
      of: 'create account',
      to: 'create account, nothing written',
      by: 'perSecond',
      atLeast: 0.5,
    },
    {
      text: 'create ≥ 1.8 × one commit each',
      of: 'create person',
      to: 'create person, one commit each',
      by: 'perSecond',
      atLeast: 1.8,
    },
    {
      text: 'cursor page at 0.9 N ≤ 1.2 × the first',
      of: title('page by cursor, 0.9 N', large),
      to: title('page by cursor, first', large),
      by: 'cpu',
      atMost: 1.2,
    },
  ]
  if (small === large) return goals
  const grown = (name: string): Goal => ({
    text: `${name}: CPU at ${large} ≤ 1.35 × ${small}`,
    of: title(name, large),
    to: title(name, small),
    by: 'cpu',
    atMost: 1.35,
  })
  return [
    ...goals,
    {
      text: `get at ${small} ≥ 0.75 × the CPU of ${large}`,
      of: title('get', small),
      to: title('get', large),
      by: 'cpu',
      atLeast: 0.75,
    },
    ...['userName eq', 'externalId eq', 'owner eq'].map(grown),
  ]
}
