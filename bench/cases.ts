import { bodyAt, expiresAt, externalIdAt, idAt, isPerson, nhiUrn, ownerIndex } from './fixtures.ts'
import { userNameAt } from './fixtures.ts'
import type { Ask, Load } from './measure.ts'
import type { Servers, Target } from './servers.ts'

/** One thing to time: what is asked, and of whom. */
export interface Case {
  readonly what: string
  /** The server, by the name that tables give it. */
  readonly by: string
  /** `1k`, `1m` or empty where the size of the database does not matter. */
  readonly size: string
  readonly target: Target
  readonly load: Load
  readonly check: Check
}

type Check = (body: string, status: number) => void

export interface Size {
  readonly name: string
  readonly count: number
}

export const sqlite = 'Custody, SQLite'
export const postgres = 'Custody, PostgreSQL'
export const indexed = 'scimmy-routers, indexed'
export const documented = 'scimmy-routers, as documented'
export const bare = 'bare Fastify'
export const raw = 'raw read'
export const noInsert = 'JSON in and out, no insert'
export const groupCommit = 'one insert in a group commit'
export const nothingWritten = 'Custody, nothing written'
export const oneCommitEach = 'Custody, one commit each'

/** Larger ones are measured on SQLite alone: elsewhere they would take too long to load. */
const largestElsewhere = 100_000
const connections = 50
/** Of ranges, which Custody runs aside, in one thread, and refuses when too many wait. */
const rangeConnections = 4
const pageConnections = 10
/** Per connection: all parts of a large database are touched, and again and again within a warm-up. */
const asksPerConnection = 100
const deep = 0.9
const pageSize = 100
const bulkOperations = 20

export interface Choice {
  readonly servers: Servers
  readonly sizes: readonly Size[]
  readonly isWanted: (what: string, by: string, size: string) => boolean
}

type Start = () => Promise<Target>
type Add = (of: {
  readonly what: string
  readonly by: string
  readonly size: string
  readonly start: Start
  readonly load: (token: string) => Load
  readonly check: Check
}) => Promise<void>

/** Builds the cases that are wanted and starts the servers that they need. */
export async function casesOf(choice: Choice): Promise<readonly Case[]> {
  const cases: Case[] = []
  const add: Add = async ({ what, by, size, start, load, check }) => {
    if (!choice.isWanted(what, by, size)) return
    const target = await start()
    cases.push({ what, by, size, target, load: load(target.token), check })
  }
  // First of all, while nobody has the database that is copied open.
  await addWrites(choice, add)
  const writing = cases.splice(0)
  await addBare(choice, add)
  for (const size of choice.sizes) await addReads(choice, size, add)
  for (const size of choice.sizes) await addPages(choice, size, add)
  return [...cases, ...writing]
}

const user = (index: number): Ask => ({ method: 'GET', path: `/scim/v2/Users/${idAt(index)}` })
const list = (query: Readonly<Record<string, string>>): Ask => ({
  method: 'GET',
  path: `/scim/v2/Users?${new URLSearchParams(query).toString()}`,
})

/** Indexes all over a database, other ones for each connection. */
export function spreadOver(count: number, connection: number, ask: (index: number) => Ask): Ask[] {
  return Array.from({ length: asksPerConnection }, (_, i) => {
    const at = Math.imul(connection * asksPerConnection + i + 1, 0x9e3779b1) >>> 0
    return ask(at % count)
  })
}

async function addBare({ servers }: Choice, add: Add): Promise<void> {
  await add({
    what: 'get',
    by: bare,
    size: '',
    start: () => servers.bare(),
    load: (token) => ({ connections, token, asks: (c) => spreadOver(1_000, c, user) }),
    check: () => undefined,
  })
}

interface Read {
  readonly what: string
  readonly ask: (index: number) => Ask
  readonly check: Check
  /** Whether the peers answer it, whose schema has no extension. */
  readonly isCore: boolean
}

function readsOf(count: number): readonly Read[] {
  const filtered = (filter: (index: number) => string) => (index: number) =>
    list({ filter: filter(index) })
  // The last family is not whole.
  const person = (index: number): number =>
    ownerIndex(index - (index >= count - (count % 11) ? 11 : 0))
  const owned = (index: number): string => `${nhiUrn}:owner.value eq "${idAt(person(index))}"`
  const ten = found((n) => n === 10)
  return [
    { what: 'get', ask: user, check: holdsOne, isCore: true },
    {
      what: 'filter userName',
      ask: filtered((i) => `userName eq "${userNameAt(i)}"`),
      check: found((n) => n === 1),
      isCore: true,
    },
    {
      what: 'filter externalId',
      ask: filtered((i) => `externalId eq "${externalIdAt(i)}"`),
      check: found((n) => n === 1),
      isCore: true,
    },
    { what: 'filter owner', ask: filtered(owned), check: ten, isCore: false },
    {
      what: 'filter expiresAt range',
      ask: filtered((i) => {
        const [from, to] = [expiresAt(person(i)), expiresAt(person(i) + 11)]
        return `${nhiUrn}:expiresAt gt "${from}" and ${nhiUrn}:expiresAt lt "${to}"`
      }),
      check: ten,
      isCore: false,
    },
    {
      what: 'filter complex',
      ask: filtered(
        (i) =>
          `${owned(i)} and (${nhiUrn}:status eq "active" or ${nhiUrn}:status eq "disabled") and not (userName co "legacy") and meta.created gt "2025-01-01T00:00:00Z"`,
      ),
      check: ten,
      isCore: false,
    },
  ]
}

const holdsOne: Check = (body) => {
  if (!body.includes('"id":"')) throw new Error(body)
}

function found(isRight: (total: number) => boolean): Check {
  return (body) => {
    const { totalResults } = JSON.parse(body) as { readonly totalResults: number }
    if (!isRight(totalResults)) throw new Error(`found ${totalResults}: ${body.slice(0, 200)}`)
  }
}

async function addReads({ servers }: Choice, { name, count }: Size, add: Add): Promise<void> {
  const over = (ask: Read['ask'], connections: number) => (token: string) => ({
    connections,
    token,
    asks: (connection: number) => spreadOver(count, connection, ask),
  })
  for (const { what, ask, check, isCore } of readsOf(count)) {
    const load = over(ask, what.endsWith('range') ? rangeConnections : connections)
    const one = (by: string, start: Start): Promise<void> =>
      add({ what, by, size: name, start, load, check })
    if (what === 'get') await one(raw, () => servers.readReference(count))
    await one(sqlite, () => servers.sqlite(count))
    if (count > largestElsewhere) continue
    await one(postgres, () => servers.onPostgres(count, 'reads'))
    if (!isCore) continue
    await one(indexed, () => servers.peer(count, 'indexed', 'reads'))
    const start: Start = () => servers.peer(count, 'documented', 'reads')
    if (what === 'get') await one(documented, start)
    // Goes through all resources, some 0.4 s at 100k: one filter tells it all.
    if (what !== 'filter userName') continue
    const slow = (token: string) => ({ ...over(ask, 1)(token), leastSeconds: 3 })
    await add({ what, by: documented, size: name, start, load: slow, check })
  }
}

/** Walks to the cursor of the page at 0.9 N, as any client has to. */
async function cursorAt({ server, token }: Target, skip: number): Promise<string> {
  let cursor = ''
  for (let passed = 0; passed < skip; passed += pageSize) {
    const answer = await fetch(`${server.url}${cursorPath(cursor)}`, {
      headers: { authorization: `Bearer ${token}` },
    })
    const body = await answer.text()
    if (!answer.ok) throw new Error(body)
    cursor = /"nextCursor":"([^"]*)"/.exec(body)?.[1] ?? ''
  }
  return cursor
}

function cursorPath(cursor: string): string {
  return `/scim/v2/Users?cursor=${cursor}&count=${pageSize}`
}

async function addPages(choice: Choice, { name, count }: Size, add: Add): Promise<void> {
  const { servers } = choice
  const skip = Math.floor((count * deep) / pageSize) * pageSize
  const holds =
    (from: number): Check =>
    (body) => {
      const { Resources, totalResults } = JSON.parse(body) as {
        readonly totalResults: number
        readonly Resources: readonly { readonly id: string }[]
      }
      const expected = Array.from({ length: pageSize }, (_, i) => idAt(from + i))
      const isRight = totalResults === count && expected.every((id, i) => Resources[i]?.id === id)
      if (!isRight || Resources.length !== pageSize) throw new Error(`not the page from ${from}`)
    }
  const stores: readonly (readonly [string, Start])[] = [
    [sqlite, () => servers.sqlite(count)],
    [postgres, () => servers.onPostgres(count, 'reads')],
  ]
  for (const [by, start] of stores) {
    if (by === postgres && count > largestElsewhere) continue
    const one = (what: string, path: string, from: number, connections: number): Promise<void> =>
      add({
        what,
        by,
        size: name,
        start,
        load: (token) => ({ connections, token, asks: () => [{ method: 'GET', path }] }),
        check: holds(from),
      })
    const index = (startIndex: number): string =>
      list({ startIndex: String(startIndex), count: String(pageSize) }).path
    await one('page by cursor, first', cursorPath(''), 0, pageConnections)
    // Walking to a far page takes thousands of requests.
    if (choice.isWanted('page by cursor, 0.9 N', by, name)) {
      const cursor = cursorPath(await cursorAt(await start(), skip))
      await one('page by cursor, 0.9 N', cursor, skip, pageConnections)
    }
    await one('page by index, first', index(1), 0, pageConnections)
    await one('page by index, 0.9 N', index(skip + 1), skip, 1)
  }
}

/** Writes go to copies of the smallest database. */
async function addWrites({ servers, sizes }: Choice, add: Add): Promise<void> {
  const { count, name: size } = sizes[0]!
  const grouped: Start = () => servers.sqliteWriting(count, 'grouped')
  const dry: Start = () => servers.sqliteWriting(count, 'dry')
  const single: Start = () => servers.sqliteWriting(count, 'single')
  const isSmall = count <= largestElsewhere
  const pg: Start = () => servers.onPostgres(count, 'writes')
  const peer: Start = () => servers.peer(count, 'indexed', 'writes')
  // Each connection takes the next number: no two requests of a run have the same body.
  let made = 0
  const bodyOf = (owner: string | null): string => JSON.stringify(bodyAt(made++, owner))
  const post = (path: string, body: () => string) => (token: string) => ({
    connections,
    token,
    asks: () => [{ method: 'POST', path, body }] as const,
  })
  const person = post('/scim/v2/Users', () => bodyOf(null))
  const account = post('/scim/v2/Users', () => bodyOf(idAt(0)))
  const created: Check = (body, status) => {
    if (status !== 201 || !body.includes('"id":"')) throw new Error(`${status} ${body}`)
  }
  const one = (what: string, by: string, start: Start, load: typeof person): Promise<void> =>
    add({ what, by, size, start, load, check: created })
  const reference = (insert: boolean) => servers.writeReference({ insert, size: count })
  await one('create person', noInsert, () => reference(false), person)
  await one('create person', groupCommit, () => reference(true), person)
  await one('create person', nothingWritten, dry, person)
  await one('create person', sqlite, grouped, person)
  await one('create person', oneCommitEach, single, person)
  if (isSmall) await one('create person', postgres, pg, person)
  if (isSmall) await one('create person', indexed, peer, person)
  await one('create account', nothingWritten, dry, account)
  await one('create account', sqlite, grouped, account)
  if (isSmall) await one('create account', postgres, pg, account)

  const patched = (by: string, start: Start): Promise<void> =>
    add({
      what: 'PATCH active',
      by,
      size,
      start,
      load: (token) => ({ connections, token, asks: (c) => leaving(count, c) }),
      check: (body) => {
        if (!body.includes('"active":false')) throw new Error(body)
      },
    })
  const bulk = (by: string, start: Start): Promise<void> =>
    add({
      what: `bulk of ${bulkOperations} creates`,
      by,
      size,
      start,
      load: (token) => ({
        ...post('/scim/v2/Bulk', () => bulkBody(() => bodyAt(made++, null)))(token),
        connections: pageConnections,
      }),
      check: (body) => {
        const { Operations } = JSON.parse(body) as {
          readonly Operations: readonly { readonly status: string }[]
        }
        const isRight = Operations.every(({ status }) => status === '201')
        if (!isRight || Operations.length !== bulkOperations) throw new Error(body.slice(0, 500))
      },
    })
  await patched(sqlite, grouped)
  if (isSmall) await patched(postgres, pg)
  if (isSmall) await patched(indexed, peer)
  await bulk(sqlite, grouped)
  if (isSmall) await bulk(postgres, pg)
}

function bulkBody(body: () => object): string {
  return JSON.stringify({
    schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
    Operations: Array.from({ length: bulkOperations }, (_, i) => ({
      method: 'POST',
      path: '/Users',
      bulkId: `b${i}`,
      data: body(),
    })),
  })
}

/** A person of this connection's own leaves and returns. */
export function leaving(count: number, connection: number): readonly Ask[] {
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
