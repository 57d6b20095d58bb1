import { setImmediate } from 'node:timers/promises'
import { AppError, errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { Caller } from '../lifecycle/engine.ts'
import type { BulkOperation, BulkStep } from '../scim/bulk.ts'
import {
  bulkResponseUrn,
  completionOf,
  parseBulk,
  planBulk,
  referencesIn,
  referencesOf,
  resolveReferences,
  withoutDeferred,
} from '../scim/bulk.ts'
import { locationOf, weakTag } from '../scim/render.ts'
import { scimError } from './errors.ts'
import type { WriteSeen } from './failure-log.ts'
import { maskText } from './mask.ts'
import type { ScimEndpoint, ScimMethod, ScimOutcome } from './scim-endpoint.ts'

export interface BulkOutcome {
  readonly body: string
  readonly operations: readonly Operation[]
  /** What became of each, for the list of what failed. */
  readonly writes: readonly WriteSeen[]
}

/**
 * Executes a Bulk request (RFC 7644 §3.7). Each operation goes through the same door as a request
 * of its own and is atomic; together they are not.
 * @param toError turns whatever was thrown into an error of the catalogue
 * @throws when the envelope cannot be read; errors of single operations are in the answer
 */
export async function performBulk(bulk: {
  readonly caller: Caller
  readonly endpoints: readonly ScimEndpoint[]
  readonly body: unknown
  readonly baseUrl: string
  readonly toError: (error: unknown) => AppError
}): Promise<BulkOutcome> {
  const request = parseBulk(bulk.body)
  const ids = new Map<string, string>()
  const results = new Map<number, AppError | Done>()
  const queued: Operation[] = []
  const endpointFor = (operation: BulkOperation): ScimEndpoint => {
    const wanted = operation.endpoint.toLowerCase()
    const found = bulk.endpoints.find((e) => e.schema.endpoint.toLowerCase() === wanted)
    if (!found) {
      throw errors.noSuchRoute({ method: operation.method ?? '', path: operation.endpoint })
    }
    return found
  }
  const perform = async (
    operation: BulkOperation,
    call: { readonly method: ScimMethod; readonly id: string | null; readonly data: unknown },
  ): Promise<ScimOutcome> => {
    const version = call.method === operation.method ? operation.version : null
    const outcome = await endpointFor(operation).perform({
      caller: bulk.caller,
      version,
      // Of each operation only its id and version are answered.
      shows: () => false,
      bodyWanted: true,
      ...call,
    })
    queued.push(...outcome.operations)
    return outcome
  }

  const run = async (step: BulkStep & { readonly type: 'run' }): Promise<Done> => {
    const operation = request.operations[step.index]!
    if (step.fault) throw step.fault
    endpointFor(operation)
    const data = withoutDeferred((operation.data ?? {}) as JsonObject, step.deferred)
    const needs = referencesOf({ ...operation, data })
    const missing = needs.find((bulkId) => !ids.has(bulkId))
    if (missing !== undefined) throw errors.bulkIdUnresolved({ bulkId: missing })
    const outcome = await perform(operation, {
      method: operation.method!,
      id: operation.id === null ? null : (resolveReferences(operation.id, ids) as string),
      data: operation.data === undefined ? undefined : resolveReferences(data, ids),
    })
    const made = outcome.document
    if (operation.method === 'POST' && made) ids.set(operation.bulkId!, made.id)
    return doneOf(operation, outcome, ids, bulk.baseUrl)
  }

  /** The second half of a create in a circle; without it the first half is taken back. */
  const complete = async (
    step: BulkStep & { readonly type: 'complete' },
    done: Done,
  ): Promise<Done> => {
    const operation = request.operations[step.index]!
    const id = ids.get(operation.bulkId!)!
    try {
      const patch = completionOf(operation.data as JsonObject, step.deferred)
      const missing = referencesIn(patch).find((bulkId) => !ids.has(bulkId))
      if (missing !== undefined) throw errors.bulkIdUnresolved({ bulkId: missing })
      const data = resolveReferences(patch, ids)
      const { document } = await perform(operation, { method: 'PATCH', id, data })
      return { ...done, version: document ? weakTag(document.etag) : null }
    } catch (error) {
      ids.delete(operation.bulkId!)
      await perform(operation, { method: 'DELETE', id, data: undefined })
      throw error
    }
  }

  const tooManyErrors = (): boolean =>
    request.failOnErrors !== null &&
    [...results.values()].filter((r) => r instanceof AppError).length >= request.failOnErrors
  // To read 4 MiB took 30 ms, and to look through them for references takes 20 more.
  await setImmediate()
  for (const step of planBulk(request.operations)) {
    const done = results.get(step.index)
    // What has begun is finished even when the rest is given up.
    if (step.type === 'run' ? tooManyErrors() : done === undefined || done instanceof AppError) {
      continue
    }
    try {
      results.set(
        step.index,
        step.type === 'run' ? await run(step) : await complete(step, done as Done),
      )
    } catch (error) {
      results.set(step.index, bulk.toError(error))
    }
  }
  const answered = [...results].sort(([a], [b]) => a - b)
  const answers = answered.map(([index, result]) =>
    answerOf(request.operations[index]!, result, ids, bulk.baseUrl),
  )
  return {
    body: JSON.stringify({ schemas: [bulkResponseUrn], Operations: answers }),
    operations: queued,
    writes: answered.map(([index, result]) => seenOf(request.operations[index]!, result)),
  }
}

function seenOf(operation: BulkOperation, result: AppError | Done): WriteSeen {
  const { method, endpoint, id, data } = operation
  const failed = result instanceof AppError ? result : null
  const refers = referencesOf({ ...operation, data: data ?? {} }).length > 0
  return {
    method: method ?? '',
    route: id === null ? endpoint : `${endpoint}/:id`,
    target: id,
    status: result.status,
    error: failed === null ? null : maskText(failed.message).slice(0, 1_024),
    scimType: failed?.scimType ?? null,
    body: data ?? null,
    obstacle: refers ? 'It names others of its bulk request; the client has to send that.' : null,
  }
}

interface Done {
  readonly status: number
  readonly location: string
  readonly version: string | null
}

function doneOf(
  operation: BulkOperation,
  { status, document }: ScimOutcome,
  ids: ReadonlyMap<string, string>,
  baseUrl: string,
): Done {
  return {
    status,
    location: document ? locationOf({ ...document, baseUrl }) : targetOf(operation, ids, baseUrl)!,
    version: document ? weakTag(document.etag) : null,
  }
}

/** Null for a POST that failed: there is nothing to be located. */
function targetOf(
  { method, endpoint, id }: BulkOperation,
  ids: ReadonlyMap<string, string>,
  baseUrl: string,
): string | null {
  if (method === 'POST' || id === null) return null
  return `${baseUrl}${endpoint}/${resolveReferences(id, ids) as string}`
}

function answerOf(
  operation: BulkOperation,
  result: AppError | Done,
  ids: ReadonlyMap<string, string>,
  baseUrl: string,
): JsonObject {
  const failed = result instanceof AppError
  const location = failed ? targetOf(operation, ids, baseUrl) : result.location
  const version = failed ? null : result.version
  return {
    ...(operation.method === null ? {} : { method: operation.method }),
    ...(operation.bulkId === null ? {} : { bulkId: operation.bulkId }),
    ...(version === null ? {} : { version }),
    ...(location === null ? {} : { location }),
    status: String(result.status),
    ...(failed ? { response: scimError(result) } : {}),
  }
}
