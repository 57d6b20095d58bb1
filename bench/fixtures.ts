import { createHash } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { cp, mkdir, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { ServiceAccount } from '../src/domain/account.ts'
import type { AccountId, ClientId, PersonId } from '../src/domain/ids.ts'
import { defaultTenant } from '../src/domain/ids.ts'
import type { JsonObject } from '../src/domain/json.ts'
import type { Person } from '../src/domain/owner.ts'
import type { Instant } from '../src/domain/time.ts'
import { instantOf } from '../src/domain/time.ts'
import { openHome } from '../src/host/home.ts'
import { documentCodec } from '../src/scim/codec.ts'
import { openStore } from '../src/store/open.ts'
import type { Change } from '../src/store/store.ts'

/** Every resource follows from its index alone: each eleventh is a person, who owns the next ten. */
const family = 11
/** What a stored document weighs in bytes, about: a person as a large directory sends it. */
const documentBytes = 1_700
const firstDay = Date.UTC(2026, 0, 1)
/** Far enough for the fixtures never to fall due; each a minute after the one before it. */
export const expiresAt = (index: number): Instant =>
  instantOf(Date.UTC(2099, 0, 1) + index * 60_000)
const client = '01900000-0000-7000-8000-000000000001' as ClientId

export const nhiUrn = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** The id at an index: a UUIDv7 that grows with it. */
export function idAt(index: number): string {
  const time = (firstDay + index).toString(16).padStart(12, '0')
  const rest = Math.imul(index + 1, 0x9e3779b1) >>> 0
  const tail = rest.toString(16).padStart(8, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${tail.slice(0, 3)}-8${tail.slice(3, 6)}-${tail}${tail.slice(0, 4)}`
}

export function isPerson(index: number): boolean {
  return index % family === 0
}

/** The index of the person that owns an account. */
export function ownerIndex(index: number): number {
  return index - (index % family)
}

export const userNameAt = (index: number): string =>
  `${isPerson(index) ? 'person' : 'service'}.${number(index)}@bench.example`

export const externalIdAt = (index: number): string => `ext-${number(index)}`

const number = (index: number): string => String(index).padStart(9, '0')

/** A body for `POST /Users`, of a person or of an account of that person. */
export function bodyAt(index: number, owner: string | null): JsonObject {
  const own = {
    userName: `new.${number(index)}@bench.example`,
    externalId: `new-${number(index)}`,
  }
  const schemas = ['urn:ietf:params:scim:schemas:core:2.0:User']
  if (owner === null) return { schemas, ...own, ...personAttributes(index) }
  return {
    schemas: [...schemas, nhiUrn],
    ...own,
    ...accountAttributes(index),
    [nhiUrn]: {
      kind: 'serviceAccount',
      owner: { value: owner },
      purpose: purposeOf(index),
      environment: 'production',
      labels: ['team=payments', `shard=${index % 16}`],
    },
  }
}

export function personAttributes(index: number): JsonObject {
  const n = number(index)
  return padded({
    name: { formatted: `Given ${n} Family`, familyName: 'Family', givenName: `Given ${n}` },
    displayName: `Given ${n} Family`,
    title: 'Senior Engineer',
    preferredLanguage: 'en-GB',
    locale: 'en-GB',
    timezone: 'Europe/Berlin',
    emails: [
      { value: `person.${n}@bench.example`, type: 'work', primary: true },
      { value: `person.${n}@home.example`, type: 'home' },
    ],
    phoneNumbers: [{ value: `tel:+49-30-${n}`, type: 'work' }],
    addresses: [
      {
        type: 'work',
        streetAddress: `${index % 200} Example Street`,
        locality: 'Berlin',
        postalCode: '10115',
        country: 'DE',
      },
    ],
  })
}

export function accountAttributes(index: number): JsonObject {
  return padded({ displayName: `Service ${number(index)}` })
}

function purposeOf(index: number): string {
  return `Writes the settlement files of shard ${index % 512} to the archive each night.`
}

/** Entitlements up to the weight of a document. */
function padded(attributes: JsonObject): JsonObject {
  const entitlements: JsonObject[] = []
  let room = documentBytes - 700 - JSON.stringify(attributes).length
  for (let i = 0; room > 0; i++) {
    const entitlement = { value: `role-${i}`, display: `Reads and writes partition ${i}` }
    entitlements.push(entitlement)
    room -= JSON.stringify(entitlement).length + 1
  }
  return { ...attributes, entitlements }
}

export function personAt(index: number): Person {
  const at = instantOf(firstDay + index)
  return {
    tenant: defaultTenant,
    id: idAt(index) as PersonId,
    directory: 'default',
    client,
    userName: userNameAt(index),
    externalId: externalIdAt(index),
    active: true,
    leftAt: null,
    leftCause: null,
    heldBy: null,
    releasedAt: null,
    deletedAt: null,
    attributes: personAttributes(index),
    createdAt: at,
    updatedAt: at,
    version: 1,
  }
}

export function accountAt(index: number): ServiceAccount {
  const at = instantOf(firstDay + index)
  return {
    tenant: defaultTenant,
    id: idAt(index) as AccountId,
    client,
    userName: userNameAt(index),
    externalId: externalIdAt(index),
    kind: 'serviceAccount',
    imported: false,
    owner: { type: 'User', id: idAt(ownerIndex(index)) },
    pendingOwner: null,
    backups: [],
    purpose: purposeOf(index),
    environment: 'production',
    labels: ['team=payments', `shard=${index % 16}`],
    protected: false,
    status: 'active',
    statusReason: null,
    expiresAt: expiresAt(index),
    orphanedAt: null,
    disabledAt: null,
    disableAt: null,
    deleteAt: null,
    certifiedAt: null,
    certifyBy: null,
    retiredAt: null,
    deletedAt: null,
    attributes: accountAttributes(index),
    createdAt: at,
    updatedAt: at,
    version: 1,
  }
}

function changeAt(index: number): Change {
  return isPerson(index)
    ? { type: 'person', person: personAt(index), expectedVersion: null }
    : { type: 'account', account: accountAt(index), expectedVersion: null }
}

/** The stored text at an index: what the raw reference sends. */
export function textAt(index: number): string {
  return isPerson(index)
    ? documentCodec.person(personAt(index))
    : documentCodec.account(accountAt(index))
}

export function cacheRoot(): string {
  return process.env['CUSTODY_BENCH_CACHE'] ?? path.join(tmpdir(), 'custody-bench')
}

/** Large databases live here between runs; a change of what is stored gives them another name. */
export function fixturesFingerprint(): string {
  return createHash('sha256')
    .update([0, 1].map((index) => JSON.stringify(changeAt(index)) + textAt(index)).join())
    .digest('hex')
    .slice(0, 8)
}

function cacheDirectory(): string {
  return path.join(cacheRoot(), fixturesFingerprint())
}

/** A home with `size` resources in its database, loaded once and then kept. */
export async function homeOf(size: number, say: (text: string) => void): Promise<string> {
  const home = path.join(cacheDirectory(), String(size))
  if (existsSync(home)) {
    // A version that has migrations of its own finds them done, also where it only reads.
    await (
      await openStore({ url: `sqlite:${path.join(home, 'custody.db')}`, codec: documentCodec })
    ).close()
    forgetRequests(home)
    return home
  }
  // Under its final name only when it is whole.
  const unfinished = `${home}.${process.pid}`
  await mkdir(unfinished, { recursive: true, mode: 0o700 })
  await openHome({ path: unfinished, masterKey: null })
  await load(`sqlite:${path.join(unfinished, 'custody.db')}`, size, say)
  await rename(unfinished, home)
  return home
}

/** A copy of a home that no server has open, for writing into; it goes with this process. */
export async function scratchHome(home: string, name: string): Promise<string> {
  const copy = path.join(cacheDirectory(), `scratch-${process.pid}-${name}`)
  await rm(copy, { recursive: true, force: true })
  process.once('exit', () => rmSync(copy, { recursive: true, force: true }))
  const isOwn = (file: string): boolean => !/server\.|reference/.test(path.basename(file))
  await cp(home, copy, { recursive: true, filter: isOwn })
  return copy
}

/** Fills an empty database. */
export async function load(url: string, size: number, say: (text: string) => void): Promise<void> {
  const batch = 1_000
  const since = performance.now()
  const store = await openStore({ url, codec: documentCodec })
  for (let from = 0; from < size; from += batch) {
    const count = Math.min(batch, size - from)
    const result = await store.commit(Array.from({ length: count }, (_, i) => changeAt(from + i)))
    if (result !== 'saved') throw new Error(`loading: ${JSON.stringify(result)}`)
    if (from > 0 && from % 100_000 === 0) say(`loaded ${from} of ${size}`)
  }
  await store.close()
  say(`loaded ${size} resources in ${((performance.now() - since) / 1_000).toFixed(1)} s`)
}

/** Earlier runs have left their lists in the request log. */
function forgetRequests(home: string): void {
  const db = new Database(path.join(home, 'custody.db'))
  db.exec('delete from scim_request')
  db.close()
}
