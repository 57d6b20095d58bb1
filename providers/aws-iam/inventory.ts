import type { IAM, User } from '@aws-sdk/client-iam'
import { paginateListAccessKeys } from '@aws-sdk/client-iam'
import { isJsonObject } from '../../src/domain/json.ts'
import { instantOf } from '../../src/domain/time.ts'
import type { Call, InventoryEntry, InventoryPage, ListedKey } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import { userDetails } from './details.ts'
import type { AskLastUse } from './last-use.ts'
import { accountOf, tagAdopted, tagOf } from './marks.ts'
import { externalOf } from './users.ts'

/** What belongs to Custody in the account: a path, and users of others that the operator named. */
export interface Reach {
  readonly iam: IAM
  readonly path: string
  readonly adopt: readonly string[]
  /** Whether users that were adopted by what was discovered may be anywhere. */
  readonly findsAdopted: boolean
  readonly lastUseOf: AskLastUse
}

/** What listings and details of users both show. */
type Listed = Pick<Partial<User>, 'UserName' | 'UserId' | 'Path' | 'CreateDate' | 'Tags'>

/**
 * Where a page starts: in a listing of users behind one of them (`after`, by its immutable id), in
 * the list of adopted names, or among all users with their tags (`tagged`, a marker of that listing).
 */
type Cursor =
  | { readonly marker: string | null; readonly after: string | null }
  | { readonly adopted: number }
  | { readonly tagged: string | null; readonly after: string | null }

/**
 * Each user costs a call of its own (ListAccessKeys) and each key in use another one, and a page has
 * 20 s: a call takes some 100 ms of AWS, so 25 users with two keys leave room for slow days.
 */
const usersPerPage = 25

/**
 * One page of users and their keys: first those under the path, then those that the configuration
 * adopts, then those elsewhere whose tags say that they were adopted.
 */
export async function inventoryPage(
  reach: Reach,
  from: string | null,
  call: Call,
): Promise<InventoryPage> {
  const cursor = cursorOf(from)
  if ('adopted' in cursor) return adoptedPage(reach, cursor.adopted, call)
  return 'tagged' in cursor ? taggedPage(reach, cursor, call) : usersPage(reach, cursor, call)
}

function place(cursor: Cursor): string {
  return JSON.stringify(cursor)
}

/** Where to go on after the users under the path, and after the adopted names. */
function following(reach: Reach, afterNames: boolean): string | null {
  if (!afterNames && reach.adopt.length > 0) return place({ adopted: 0 })
  return reach.findsAdopted ? place({ tagged: null, after: null }) : null
}

async function usersPage(
  reach: Reach,
  { marker, after }: Extract<Cursor, { readonly marker: string | null }>,
  call: Call,
): Promise<InventoryPage> {
  const listed = await reach.iam.listUsers(
    {
      PathPrefix: reach.path,
      MaxItems: usersPerPage,
      ...(marker === null ? {} : { Marker: marker }),
    },
    { abortSignal: call.signal },
  )
  const users = listed.Users ?? []
  // Not found: it was deleted since, and the page is read again from its start.
  const rest = users.slice(users.findIndex((user) => user.UserId === after) + 1)
  const read = await readAll(rest, (user) => entryOf(reach, user, call))
  if (read.stoppedAt !== null) {
    const last = read.stoppedAt === 0 ? after : rest[read.stoppedAt - 1]!.UserId!
    return { ...read.page, next: place({ marker, after: last }) }
  }
  if (listed.IsTruncated !== true) {
    return { ...read.page, next: following(reach, false) }
  }
  if (listed.Marker === undefined || listed.Marker === marker) {
    throw new ProviderError('unavailable', 'AWS ListUsers: the listing is cut without a marker.', {
      outcome: 'notApplied',
    })
  }
  const next = place({ marker: listed.Marker, after: null })
  return { ...read.page, next }
}

async function adoptedPage(reach: Reach, start: number, call: Call): Promise<InventoryPage> {
  const names = reach.adopt.slice(start, start + usersPerPage)
  const read = await readAll(names, async (UserName) => {
    const answer = await unlessGone(reach.iam.getUser({ UserName }, { abortSignal: call.signal }))
    const user = answer?.User
    // Under the path it was listed before.
    if (!user || user.Path?.startsWith(reach.path)) return null
    return entryOf(reach, user, call)
  })
  const done = start + (read.stoppedAt ?? names.length)
  const next = done < reach.adopt.length ? place({ adopted: done }) : following(reach, true)
  return { ...read.page, next }
}

/**
 * A listing of users shows no tags; the account's details do, in bulk. Where Custody may not read
 * them nobody was adopted by what was discovered, for that needs them too.
 */
async function taggedPage(
  reach: Reach,
  { tagged, after }: Extract<Cursor, { readonly tagged: string | null }>,
  call: Call,
): Promise<InventoryPage> {
  const details = await userDetails(reach.iam, tagged, call).catch((error: unknown) => {
    if (error instanceof ProviderError && error.kind === 'denied') return null
    throw error
  })
  if (!details) return { entries: [], next: null, complete: true }
  const rest = details.users
    .slice(details.users.findIndex((user) => user.UserId === after) + 1)
    .filter((user) => tagOf(user, tagAdopted) !== null && !user.Path?.startsWith(reach.path))
    .filter((user) => !reach.adopt.includes(user.UserName!))
  const read = await readAll(rest, (user) => entryOf(reach, user, call))
  if (read.stoppedAt !== null) {
    const last = read.stoppedAt === 0 ? after : rest[read.stoppedAt - 1]!.UserId!
    return { ...read.page, next: place({ tagged, after: last }) }
  }
  const next = details.next === null ? null : place({ tagged: details.next, after: null })
  return { ...read.page, next }
}

/**
 * Reads one after the other, since IAM throttles by the account. Throttled half-way, the page ends
 * there and the next one goes on: repeating it as a whole might never get through.
 */
async function readAll<T>(
  items: readonly T[],
  read: (item: T) => Promise<InventoryEntry | null>,
): Promise<{
  readonly page: Pick<InventoryPage, 'entries' | 'complete'>
  readonly stoppedAt: number | null
}> {
  const entries: InventoryEntry[] = []
  let complete = true
  for (const [i, item] of items.entries()) {
    try {
      const entry = await read(item)
      if (entry) entries.push(entry)
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error
      if (error.kind === 'denied') {
        // One user that may not be read hides none of the others, but nothing is absent any more.
        complete = false
        continue
      }
      if (i === 0) throw error
      return { page: { entries, complete }, stoppedAt: i }
    }
  }
  return { page: { entries, complete }, stoppedAt: null }
}

/** @returns null for a user that was deleted since it was listed */
async function entryOf(
  { iam, lastUseOf }: Reach,
  user: Listed,
  call: Call,
): Promise<InventoryEntry | null> {
  const keys: ListedKey[] = []
  try {
    const options = { client: iam, stopOnSameToken: true }
    const input = { UserName: user.UserName }
    for await (const page of paginateListAccessKeys(options, input, {
      abortSignal: call.signal,
    })) {
      for (const key of page.AccessKeyMetadata ?? []) {
        const keyId = key.AccessKeyId!
        const active = key.Status === 'Active'
        keys.push({
          keyId,
          fingerprint: null,
          kind: 'access-key',
          active,
          createdAt: key.CreateDate ? instantOf(key.CreateDate.getTime()) : null,
          lastUsedAt: active ? (await lastUseOf(keyId, call)).lastUsedAt : null,
        })
      }
    }
  } catch (error) {
    if (error instanceof ProviderError && error.kind === 'notFound') return null
    throw error
  }
  return {
    external: externalOf(user),
    name: `${user.Path ?? '/'}${user.UserName!}`,
    account: accountOf(user),
    createdAt: user.CreateDate ? instantOf(user.CreateDate.getTime()) : null,
    keys,
  }
}

function cursorOf(from: string | null): Cursor {
  if (from === null) return { marker: null, after: null }
  try {
    const value: unknown = JSON.parse(from)
    if (isJsonObject(value)) {
      const { marker, after, adopted, tagged } = value
      if (typeof adopted === 'number') return { adopted }
      if (isTextOrNull(tagged) && isTextOrNull(after)) return { tagged, after }
      if (isTextOrNull(marker) && isTextOrNull(after)) return { marker, after }
    }
  } catch {
    // Falls through to the same refusal.
  }
  throw new ProviderError('invalid', 'This is no place in an inventory of IAM users.', {
    outcome: 'notApplied',
  })
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}
