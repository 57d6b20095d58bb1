import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { replanned } from '../lifecycle/engine.ts'
import { finishDocument, weakTag } from '../scim/render.ts'
import type { ResourceSchema } from '../scim/schema.ts'
import type { ListQuery, Page, StoredDocument } from '../store/store.ts'

export type ScimMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Whether the answer will show an attribute; one that is dear to read is then left unread. */
export type Shows = (attribute: string) => boolean

/** One operation on one resource type, wherever it comes from: a request of its own, /Me or /Bulk. */
export interface ScimCall {
  readonly caller: Caller
  readonly method: ScimMethod
  /** Null for POST. */
  readonly id: string | null
  readonly data: unknown
  /** ETags to be met, as in `If-Match`; null = any. */
  readonly version: string | null
  readonly shows: Shows
  /** False where a PATCH may be answered without a body (RFC 7644 §3.5.2). */
  readonly bodyWanted: boolean
}

export interface ScimOutcome {
  readonly status: 200 | 201 | 204
  /** Null after a DELETE; with 204 only what identifies it is of use. */
  readonly document: StoredDocument | null
  /** What the write queued. */
  readonly operations: readonly Operation[]
}

/** One resource type over HTTP. All rules of its writes are behind `perform`. */
export interface ScimEndpoint {
  readonly schema: ResourceSchema
  list(query: ListQuery, shows: Shows): Promise<Page<StoredDocument>>
  /** @throws errors of the catalogue */
  perform(call: ScimCall): Promise<ScimOutcome>
}

/** What writing one type of resource takes; `endpointOf` makes the rest of it. */
export interface ScimWrites {
  readonly schema: ResourceSchema
  list(query: ListQuery, shows: Shows): Promise<Page<StoredDocument>>
  /** @throws notFound also when the caller may not see it */
  read(caller: Caller, id: string, shows: Shows): Promise<StoredDocument>
  create(caller: Caller, data: unknown): Promise<Written>
  /** Called anew with a fresh document when somebody else wrote in between. */
  update(
    caller: Caller,
    before: StoredDocument,
    change: { readonly method: 'PUT' | 'PATCH'; readonly data: unknown; readonly guarded: boolean },
  ): Promise<readonly Operation[]>
  remove(caller: Caller, before: StoredDocument): Promise<readonly Operation[]>
}

export interface Written {
  readonly id: string
  readonly operations: readonly Operation[]
}

const nothing: Shows = () => false

export function endpointOf(writes: ScimWrites): ScimEndpoint {
  const turns = new Map<string, Promise<unknown>>()
  const perform = async (call: ScimCall): Promise<ScimOutcome> => {
    const { caller, method, data, version, shows } = call
    if (method === 'POST') {
      const { id, operations } = await writes.create(caller, data)
      return { status: 201, document: await writes.read(caller, id, shows), operations }
    }
    const id = call.id ?? ''
    if (method === 'GET') {
      return { status: 200, document: await writes.read(caller, id, shows), operations: [] }
    }
    const write = async (): Promise<readonly Operation[]> => {
      const before = await writes.read(caller, id, nothing)
      checkVersion(version, before)
      return method === 'DELETE'
        ? writes.remove(caller, before)
        : writes.update(caller, before, { method, data, guarded: version !== null })
    }
    // Who asked for a version wants to hear that it lost a race; any other write is planned anew.
    const operations =
      version === null
        ? await inTurn(turns, `${caller.tenant}\0${id}`, () => replanned(write))
        : await write()
    if (method === 'DELETE') return { status: 204, document: null, operations }
    const isTerse = method === 'PATCH' && !call.bodyWanted
    const document = await writes.read(caller, id, isTerse ? nothing : shows)
    return { status: isTerse ? 204 : 200, document, operations }
  }
  return { schema: writes.schema, list: (query, shows) => writes.list(query, shows), perform }
}

/**
 * Writes of one resource in the order they came: of 20 PATCHes of one person at once, 14 lost every
 * race they were planned anew for. Other processes are what the planning anew is left for.
 */
async function inTurn<T>(
  turns: Map<string, Promise<unknown>>,
  key: string,
  write: () => Promise<T>,
): Promise<T> {
  const before = turns.get(key) ?? Promise.resolve()
  const mine = before.then(write, write)
  turns.set(key, mine)
  try {
    return await mine
  } finally {
    if (turns.get(key) === mine) turns.delete(key)
  }
}

/** RFC 9110 §13.1.1 with weak comparison, as RFC 7644 §3.14 wants for weak tags. @throws preconditionFailed */
function checkVersion(version: string | null, document: StoredDocument): void {
  if (version !== null && !tagListed(version, document.etag)) {
    throw errors.preconditionFailed({ etag: weakTag(document.etag) })
  }
}

/**
 * What a write is planned on has to be what its document showed: it is read a second time, as a row,
 * and somebody may have written in between.
 * @throws changedMeanwhile
 */
export function sameAs<T extends { readonly version: number }>(
  before: StoredDocument,
  row: T,
  what: string,
): T {
  // Behind the row's version an ETag counts what is kept beside the row.
  if (before.etag.split('.')[0] === String(row.version)) return row
  throw errors.changedMeanwhile({ what, id: before.id })
}

/** Whether a list of ETags, as in If-Match and If-None-Match, has this one. */
export function tagListed(header: string, etag: string): boolean {
  return header.split(',').some((tag) => {
    const trimmed = tag.trim()
    return trimmed === '*' || trimmed.replace(/^W\//, '') === `"${etag}"`
  })
}

/** A stored document as the client would see it whole. */
export function parsedDocument(document: StoredDocument, baseUrl: string): JsonObject {
  return JSON.parse(finishDocument({ ...document, baseUrl })) as JsonObject
}
