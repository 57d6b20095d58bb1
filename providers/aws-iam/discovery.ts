import type { IAM, Tag, UserDetail } from '@aws-sdk/client-iam'
import { paginateListAccessKeys } from '@aws-sdk/client-iam'
import { instantOf } from '../../src/domain/time.ts'
import type {
  Call,
  Discovered,
  DiscoveryPage,
  ListedKey,
  Provider,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Config } from './config.ts'
import { standardOwnerTags } from './config.ts'
import { userDetails } from './details.ts'
import type { AskLastUse } from './last-use.ts'
import { lastUseOf, untilRefused } from './last-use.ts'
import { accountOf, parsed, refuse } from './marks.ts'

interface Reach {
  readonly account: AwsAccount
  readonly path: string
  /** In lower case. */
  readonly ownerTags: readonly string[]
  readonly lastUseOf: AskLastUse
}

/** In a listing of all users, behind one of them by its immutable id. */
interface Cursor {
  readonly marker: string | null
  readonly after: string | null
}

/** Each costs two calls and one more per key, some 100 ms each; a page has 20 s. */
const usersPerPage = 20

/** @returns the walk over all users that Custody did not make */
export function discovery(
  account: AwsAccount,
  path: string,
  config: Config,
): NonNullable<Provider['discover']> {
  const ownerTags = (config.ownerTags ?? standardOwnerTags).map((name) => name.toLowerCase())
  const lastUse = lastUseOf(account, false)
  return (from, call) =>
    discoverUsers({ account, path, ownerTags, lastUseOf: untilRefused(lastUse) }, from, call)
}

/**
 * One page of users. Throttled half-way, it ends there and the next goes on behind the last user
 * read, so that a long walk gets through (F16).
 */
async function discoverUsers(
  reach: Reach,
  from: string | null,
  call: Call,
): Promise<DiscoveryPage> {
  const { marker, after } = cursorOf(from)
  const { users, next } = await userDetails(reach.account.iam(call), marker, call)
  // Not found: it was deleted since, and the listing is read again from its start.
  const rest = users.slice(users.findIndex((user) => user.UserId === after) + 1)
  const items: Discovered[] = []
  let complete = true
  let read: string | null = null
  const upTo = (last: string | null): DiscoveryPage => ({
    items,
    complete,
    total: null,
    next: place({ marker, after: last }),
  })
  for (const user of rest) {
    // What lies under the path is ours, or the inventory finds fault with it.
    const isOurs = user.Path?.startsWith(reach.path) === true
    if (!isOurs && items.length === usersPerPage) return upTo(read)
    try {
      const item = isOurs ? null : await shown(reach, user, call)
      if (item) items.push(item)
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error
      // A user that may not be read hides none of the others.
      if (error.kind === 'denied') complete = false
      else if (read === null) throw error
      else return upTo(read)
    }
    read = user.UserId!
  }
  const then = next === null ? null : place({ marker: next, after: null })
  return { items, complete, total: null, next: then }
}

/** @returns null for a user that was deleted since it was listed */
async function shown(
  { account, ownerTags, lastUseOf }: Reach,
  user: UserDetail,
  call: Call,
): Promise<Discovered | null> {
  const iam = account.iam(call)
  const { UserName, UserId } = user
  const keys: ListedKey[] = []
  try {
    const paging = { client: iam, stopOnSameToken: true }
    for await (const page of paginateListAccessKeys(paging, { UserName }, within(call))) {
      for (const { AccessKeyId, Status, CreateDate } of page.AccessKeyMetadata ?? []) {
        keys.push({
          keyId: AccessKeyId!,
          fingerprint: null,
          kind: 'access-key',
          active: Status === 'Active',
          createdAt: CreateDate ? instantOf(CreateDate.getTime()) : null,
          ...(await useOf(AccessKeyId!, lastUseOf, call)),
        })
      }
    }
    return {
      // Without its name, by which it may be called otherwise when it is adopted.
      external: JSON.stringify({ userId: UserId }),
      name: `${user.Path ?? '/'}${UserName!}`,
      kind: 'access-key',
      createdAt: user.CreateDate ? instantOf(user.CreateDate.getTime()) : null,
      keys,
      owners: ownersOf(user.Tags ?? [], ownerTags),
      vendor: null,
      account: accountOf(user),
      obstacle: await obstacleOf(iam, UserName!, call),
    }
  } catch (error) {
    if (error instanceof ProviderError && error.kind === 'notFound') return null
    throw error
  }
}

/** Without `lastUsedAt` it could not be told: then nothing says that the key is not in use. */
async function useOf(
  keyId: string,
  lastUseOf: AskLastUse,
  call: Call,
): Promise<Pick<ListedKey, 'lastUsedAt'>> {
  const { lastUsedAt, lastUsedUnknown } = await lastUseOf(keyId, call)
  return lastUsedUnknown ? {} : { lastUsedAt }
}

async function obstacleOf(iam: IAM, userName: string, call: Call): Promise<string | null> {
  try {
    return (await isPerson(iam, userName, call)) ? personObstacle : null
  } catch (error) {
    if (!(error instanceof ProviderError && error.kind === 'denied')) throw error
    return 'Whether a person signs in as it cannot be told: Custody may not iam:GetLoginProfile.'
  }
}

/** Whoever has a console password is taken for a person. */
export async function isPerson(iam: IAM, UserName: string, call: Call): Promise<boolean> {
  return (await unlessGone(iam.getLoginProfile({ UserName }, within(call)))) !== null
}

export const personObstacle =
  'It has a console password, so a person signs in as it. Delete its login profile first.'

/** In the order of `ownerTags`, each hint once; one tag may name several. */
function ownersOf(tags: readonly Tag[], ownerTags: readonly string[]): Discovered['owners'] {
  const hints = ownerTags.flatMap((name) =>
    tags
      .filter((tag) => tag.Key?.toLowerCase() === name)
      .flatMap((tag) => (tag.Value ?? '').split(/[\s,;/]+/))
      .map((hint) => hint.replace(/^mailto:/i, ''))
      .filter((hint) => hint !== ''),
  )
  return [...new Set(hints)].map((hint) => ({ hint, from: 'tag' }))
}

function place(cursor: Cursor): string {
  return JSON.stringify(cursor)
}

/** @throws ProviderError `invalid` */
function cursorOf(from: string | null): Cursor {
  if (from === null) return { marker: null, after: null }
  const { marker = null, after = null } = parsed(from)
  const isText = (value: unknown): value is string | null =>
    value === null || typeof value === 'string'
  if (!isText(marker) || !isText(after) || (marker === null && after === null)) {
    throw refuse('invalid', 'This is no place in a listing of IAM users.')
  }
  return { marker, after }
}
