import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AuditEntry } from '../domain/audit.ts'
import { errors } from '../domain/errors.ts'
import { isId, type TenantId } from '../domain/ids.ts'
import { consistencyProof, inclusionProof } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import { pageOf } from './fields.ts'
import type { HttpHost } from './server.ts'

type Parameters = Readonly<Record<string, string | undefined>>

/** The public key a checkpoint is checked with. Pin it from elsewhere: a header proves nothing. */
const keyHeader = 'custody-audit-key'

/** The tamper-evident log and the change feed, for those who may read the audit log. */
export function auditRoutes(
  app: FastifyInstance,
  host: HttpHost,
  authenticate: Authenticate,
): void {
  const { engine, signer } = host
  const { read } = host.store

  const tenantOf = async (request: FastifyRequest): Promise<TenantId> => {
    const caller = await authenticate(request)
    engine.authorise(caller, 'audit.read', { type: 'audit', id: 'any' })
    return caller.tenant
  }

  app.get('/audit', async (request) => {
    const tenant = await tenantOf(request)
    const query = request.query as Parameters
    // By place the cursor is a number, which `placeOf` reads.
    const { after, limit } = pageOf(query, query['order'] === 'seq' ? () => true : isId)
    const { target, operation, action, order } = query
    if (order === 'seq') return byPlace(tenant, query, after, limit)
    if (order !== undefined && order !== 'newest') {
      throw errors.invalidValue({ path: 'order', reason: 'can only be "seq" or "newest".' })
    }
    const found = await read.auditEntries(tenant, {
      ...(target === undefined ? {} : { target }),
      ...(operation === undefined ? {} : { operation }),
      ...(action === undefined ? {} : { action }),
      ...(order === 'newest' ? { newestFirst: true } : {}),
      after,
      limit,
    })
    const cursor = found.length === limit ? (found.at(-1)?.row.id ?? null) : null
    return { items: found.map(entryView), cursor }
  })

  /** `order=seq`: only rows that have their place; what a verifier reads from the first to the last. */
  const byPlace = async (
    tenant: TenantId,
    query: Parameters,
    after: string | null,
    limit: number,
  ) => {
    const other = ['target', 'operation', 'action'].find((name) => query[name] !== undefined)
    if (other !== undefined) {
      const reason = 'cannot be combined with order=seq, which lists every row.'
      throw errors.invalidValue({ path: other, reason })
    }
    const found = await read.auditFrom(tenant, after === null ? 0 : placeOf(after) + 1, limit)
    const cursor = found.length === limit ? String(found.at(-1)!.seq) : null
    return { items: found.map(entryView), cursor }
  }

  app.get('/audit/checkpoint', async (request, reply) => {
    const tenant = await tenantOf(request)
    const { size } = request.query as Parameters
    const wanted = size === undefined ? null : sizeOf('size', size)
    const found = await read.checkpoint(tenant, wanted)
    if (found === null) {
      const id = wanted === null ? 'for this tenant yet' : `of at least ${wanted} rows`
      throw errors.notFound({ what: 'A signed checkpoint', id })
    }
    return reply
      .header(keyHeader, signer.verifierKeyOf(tenant))
      .type('text/plain; charset=utf-8')
      .send(found.note)
  })

  app.get<{ Params: { id: string } }>('/audit/proof/:id', async (request) => {
    const tenant = await tenantOf(request)
    const { id } = request.params
    const [entry, checkpoint] = await Promise.all([
      read.auditEntry(tenant, id),
      read.checkpoint(tenant, null),
    ])
    if (entry === null) throw errors.notFound({ what: 'Audit row', id })
    const { seq, leaf, row } = entry
    if (seq === null || checkpoint === null || seq >= checkpoint.size) {
      throw errors.notReady({ reason: `no signed checkpoint covers audit row ${id} yet` })
    }
    const { size, note } = checkpoint
    const path = await inclusionProof({ tenant, read }, seq, size)
    return { id, seq, leaf, size, path, checkpoint: note, row }
  })

  app.get('/audit/consistency', async (request) => {
    const tenant = await tenantOf(request)
    const query = request.query as Parameters
    const checkpoint = await read.checkpoint(tenant, null)
    if (checkpoint === null) {
      throw errors.notFound({ what: 'A signed checkpoint', id: 'for this tenant yet' })
    }
    const from = sizeOf('from', query['from'])
    const to = query['to'] === undefined ? checkpoint.size : sizeOf('to', query['to'])
    if (from > to || to > checkpoint.size) {
      const reason = `must be sizes in order, up to the newest signed one, ${checkpoint.size}.`
      throw errors.invalidValue({ path: 'from, to', reason })
    }
    const path = await consistencyProof({ tenant, read }, from, to)
    return { from, to, path, checkpoint: checkpoint.note }
  })

  /**
   * Everything that happened, in the one order that the sequencer gave it. `cursor` is what the next
   * request sends as `after`, also at the end of the feed.
   */
  app.get('/events', async (request) => {
    const tenant = await tenantOf(request)
    const query = request.query as Parameters
    const { limit } = pageOf({ limit: query['limit'] })
    if (query['cursor'] !== undefined) {
      const reason = 'is called "after" here: send the cursor of the page before as after.'
      throw errors.invalidValue({ path: 'cursor', reason })
    }
    const after = query['after'] === undefined ? -1 : placeOf(query['after'])
    // Before the page, so that what is placed in between cannot make it look incomplete.
    const newest = ((await read.auditHead(tenant))?.frontier.size ?? 0) - 1
    // Beyond the end means that events this reader has seen are gone: silence would hide it.
    if (after > newest) throw errors.invalidCursor({ after, newest })
    const found = await read.auditFrom(tenant, after + 1, limit)
    const last = found.at(-1)?.seq ?? after
    return {
      items: found.map(eventView),
      cursor: last < 0 ? null : String(last),
      more: last < newest,
      newest: newest < 0 ? null : newest,
    }
  })
}

/** The place before the last that the column of a database holds: PostgreSQL fails beyond. */
const placeMax = 2 ** 31 - 2

/** The place of a row, as a cursor has it. @throws invalidCursor */
function placeOf(cursor: string): number {
  const place = wholeOf(cursor)
  if (place === null) throw errors.invalidCursor({})
  return place
}

function wholeOf(text: string): number | null {
  return /^(0|[1-9]\d{0,14})$/.test(text) && Number(text) <= placeMax ? Number(text) : null
}

/** @throws requiredMissing, invalidValue */
function sizeOf(name: string, text: string | undefined): number {
  if (text === undefined) throw errors.requiredMissing({ path: name })
  const size = wholeOf(text)
  if (size === null) {
    throw errors.invalidValue({ path: name, reason: 'must be a number of audit rows.' })
  }
  return size
}

function entryView({ seq, leaf, row }: AuditEntry) {
  return { seq, leaf, ...row }
}

export function eventView({ seq, row }: AuditEntry) {
  const { id, at, action, targetType, target, actor, operation, facts } = row
  return {
    id,
    seq,
    at,
    type: action,
    subject: { type: targetType, id: target },
    actor,
    operation,
    facts,
  }
}
