// (P) scimmy-routers, a SCIM server for Express, over the same resources in memory.
//   node scimmy.ts <size> <indexed | documented>
// `documented`: handlers as its documentation shows them, one resource found by its id and a list by
// `filter.match`. `indexed`: with a map besides for each attribute that is asked for by `eq`. Pages
// are not asked for: it ignores `startIndex` and `count` of a GET, and answers the first 20.
import { createRequire } from 'node:module'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { randomUUID } from 'node:crypto'
import { Resources, Types } from 'scimmy'
import { SCIMMYRouters } from 'scimmy-routers'
import { externalIdAt, idAt, isPerson, textAt, userNameAt } from '../fixtures.ts'
import { referenceToken } from './bearer.ts'

interface Stored {
  readonly id: string
  readonly userName: string
  readonly externalId?: string
}

interface Asked {
  readonly id?: string
  readonly filter?: readonly Record<string, readonly unknown[]>[] & {
    match(all: readonly Stored[]): readonly Stored[]
  }
}

interface App {
  use(path: string, router: unknown): void
  listen(port: number, host: string, then: () => void): Server
}

const [size, style] = process.argv.slice(2) as [string, 'indexed' | 'documented']
const byId = new Map<string, Stored>()
const byUserName = new Map<string, Stored>()
const byExternalId = new Map<string, Stored>()
/** In the order of creation. */
const all: Stored[] = []
for (let i = 0; i < Number(size); i++) {
  const document = JSON.parse(textAt(i)) as object
  add({ ...document, id: idAt(i), userName: userNameAt(i), externalId: externalIdAt(i) })
  if (isPerson(i)) Object.assign(byId.get(idAt(i))!, { active: true })
}

function add(stored: Stored): void {
  const before = byId.get(stored.id)
  if (before === undefined) all.push(stored)
  else Object.assign(before, stored)
  const now = before ?? stored
  byId.set(now.id, now)
  byUserName.set(now.userName.toLowerCase(), now)
  if (now.externalId !== undefined) byExternalId.set(now.externalId, now)
}

/** The one resource that `userName eq "…"` or `externalId eq "…"` asks for. */
function lookUp({ filter }: Asked): readonly Stored[] | null {
  const [only] = filter ?? []
  if (only === undefined || filter!.length !== 1) return null
  const [name, condition] = Object.entries(only)[0]!
  if (Object.keys(only).length !== 1 || condition[0] !== 'eq') return null
  const value = String(condition[1])
  const index = { username: byUserName, externalid: byExternalId }[name.toLowerCase()]
  if (index === undefined) return null
  const found = index.get(index === byUserName ? value.toLowerCase() : value)
  return found === undefined ? [] : [found]
}

function egress(asked: Asked): Stored | readonly Stored[] {
  if (asked.id !== undefined) {
    const found = byId.get(asked.id)
    if (found === undefined) throw new Error('Not Found')
    return found
  }
  const one = style === 'indexed' ? lookUp(asked) : null
  return one ?? asked.filter?.match(all) ?? all
}

function ingress(asked: Asked, data: object): Stored {
  const sent = { ...data } as Stored
  const stored = { ...sent, id: asked.id ?? randomUUID() }
  const holder = byUserName.get(stored.userName.toLowerCase())
  if (holder !== undefined && holder.id !== stored.id) {
    throw new Types.Error(409, 'uniqueness', 'userName is not unique')
  }
  add(stored)
  return byId.get(stored.id)!
}

function degress(asked: Asked): void {
  const found = byId.get(asked.id ?? '')
  if (found === undefined) throw new Error('Not Found')
  byId.delete(found.id)
  byUserName.delete(found.userName.toLowerCase())
  if (found.externalId !== undefined) byExternalId.delete(found.externalId)
  all.splice(all.indexOf(found), 1)
}

Resources.declare(Resources.User, {
  egress: egress as never,
  ingress: ingress as never,
  degress: degress as never,
})
const express = createRequire(import.meta.url)('express') as () => App
const app = express()
app.use(
  '/scim/v2',
  new SCIMMYRouters({
    type: 'bearer',
    handler: (request: { header(name: string): string | undefined }) => {
      if (request.header('Authorization') !== `Bearer ${referenceToken}`) {
        throw new Error('Authorization not detected!')
      }
      return 'admin'
    },
  }),
)
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening http://127.0.0.1:${(server.address() as AddressInfo).port}\n`)
})
process.on('SIGTERM', () => process.exit(0))
