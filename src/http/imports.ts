import type { FastifyPluginAsync } from 'fastify'
import { accountKinds, type AccountKind } from '../domain/account.ts'
import { errors, nearest } from '../domain/errors.ts'
import type { Json } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'
import { isStorableText } from '../domain/text.ts'
import type { AdoptionEntry } from '../lifecycle/engine.ts'
import { adoptionsMax } from '../lifecycle/engine.ts'
import { deliveryAsText, parseDelivery } from '../scim/deliver-to.ts'
import type { Authenticate } from './auth.ts'
import type { Field } from './fields.ts'
import { instant, onOff, optional, pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ByName {
  Params: { name: string }
}

/** The provider's own place in its listing, as text that survives a URL. */
function writeCursor(next: string | null): string | null {
  return next === null ? null : Buffer.from(next).toString('base64url')
}

function readCursor(query: unknown): string | null {
  const { cursor } = query as { readonly cursor?: string }
  if (cursor === undefined) return null
  if (!/^[A-Za-z0-9_-]{1,4096}$/.test(cursor)) throw errors.invalidCursor({})
  const place = Buffer.from(cursor, 'base64url').toString('utf8')
  if (!isStorableText(place)) throw errors.invalidCursor({})
  return place
}

const entryFields = [
  'external',
  'owner',
  'userName',
  'purpose',
  'kind',
  'environment',
  'labels',
  'vendor',
  'expiresAt',
  'deliverTo',
]

const labels: Field<readonly string[]> = {
  read: (value) =>
    Array.isArray(value) && value.length <= 50 && value.every(isLabel) ? value : null,
  wants: 'a list of labels such as "team=ops"',
}

function isLabel(value: unknown): value is string {
  return typeof value === 'string' && /^[^\s=]{1,100}=.{0,200}$/.test(value)
}

const accountKind: Field<AccountKind> = {
  read: (value) => accountKinds.find((k) => k === value) ?? null,
  wants: `one of ${accountKinds.join(', ')}`,
}

const vendorName: Field<string> = {
  read: (value) =>
    typeof value === 'string' && /^[^\p{Cc}]{1,200}$/u.test(value) && value.trim() === value
      ? value
      : null,
  wants: 'a name of 1 to 200 characters without line breaks',
}

function entryOf(body: unknown): AdoptionEntry {
  if (!isJsonObject(body)) {
    throw errors.invalidValue({ path: 'entries', reason: 'must hold objects.' })
  }
  const odd = Object.keys(body).find((name) => !entryFields.includes(name))
  if (odd !== undefined) {
    throw errors.unknownAttribute({ path: odd.slice(0, 64), nearest: nearest(odd, entryFields) })
  }
  const deliverTo = body['deliverTo'] ?? null
  const external = required(body, 'external', external4k)
  return {
    external,
    owner: required(body, 'owner', text),
    userName: optional(body, 'userName', text) ?? external.slice(0, 200).toWellFormed(),
    purpose: required(body, 'purpose', text),
    kind: optional(body, 'kind', accountKind),
    environment: optional(body, 'environment', text),
    labels: optional(body, 'labels', labels),
    vendor: optional(body, 'vendor', vendorName),
    expiresAt: optional(body, 'expiresAt', instant),
    deliverTo: deliverTo === null ? null : deliveryFrom(deliverTo),
  }
}

/** `sink:path`, or an object of both. */
function deliveryFrom(value: Json): ReturnType<typeof parseDelivery> {
  const text = deliveryAsText(value)
  if (typeof text === 'string') return parseDelivery(text)
  throw errors.invalidValue({ path: 'deliverTo', reason: 'must be "sink:path".' })
}

const external4k: Field<string> = {
  read: (value) =>
    typeof value === 'string' && value !== '' && value.length <= 4_096 ? value : null,
  wants: 'what the discovery called it, as it came',
}

/** What nobody manages yet: to be looked at, adopted, and, of one vendor, closed as a whole. */
export function importRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get<ByName>('/providers/:name/discovery', async (request) => {
      const caller = await authenticate(request)
      const { name } = request.params
      const page = await engine.discover(caller, name, readCursor(request.query))
      const { items, next, complete, total, retryAfter } = page
      return { provider: name, items, cursor: writeCursor(next), complete, total, retryAfter }
    })

    app.post<ByName>('/providers/:name/adopt', async (request) => {
      const caller = await authenticate(request)
      const { name } = request.params
      const { body } = request
      const many = isJsonObject(body) ? body['entries'] : undefined
      const entries = many === undefined ? [body] : many
      if (!Array.isArray(entries) || entries.length === 0 || entries.length > adoptionsMax) {
        const reason = `must be a list of 1 to ${adoptionsMax} things to adopt.`
        throw errors.invalidValue({ path: 'entries', reason })
      }
      return { provider: name, items: await engine.adopt(caller, name, entries.map(entryOf)) }
    })

    app.get('/vendors', async (request) => {
      const caller = await authenticate(request)
      const { after, limit } = pageOf(request.query, () => true)
      const from = after === null ? null : readCursor(request.query)
      const items = await engine.vendors(caller, { after: from, limit })
      const last = items.length === limit ? (items.at(-1)?.vendor ?? null) : null
      return { items, cursor: writeCursor(last) }
    })
    app.get<ByName>('/vendors/:name', async (request) => {
      const caller = await authenticate(request)
      return engine.vendor(caller, request.params.name)
    })
    app.post<ByName>('/vendors/:name/close', async (request, reply) => {
      const caller = await authenticate(request)
      const dryRun = onOff(request.query, 'dryRun') ?? false
      const reason = required(request.body, 'reason', text)
      const closing = await engine.closeVendor(caller, request.params.name, { reason, dryRun })
      return reply.status(closing.closed > 0 && !dryRun ? 202 : 200).send(closing)
    })
  }
}
