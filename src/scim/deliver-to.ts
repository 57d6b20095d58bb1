import { errors } from '../domain/errors.ts'
import type { Json } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'

/** Where a client wants a secret; what it left out, the engine decides. */
export interface WantedDelivery {
  readonly sink?: string
  readonly path?: string
}

const pathPattern = /^[A-Za-z0-9_-][A-Za-z0-9._/-]{0,200}$/

/**
 * Reads `sink:path`, `sink` or `:path`: inside the extension's `credentials` the target has to be
 * plain text, because SCIM nests no complex attribute in another (RFC 7643 §2.3.8).
 * @throws badPath
 */
export function parseDelivery(text: string): WantedDelivery {
  const colon = text.indexOf(':')
  const sink = colon < 0 ? text : text.slice(0, colon)
  const path = colon < 0 ? '' : text.slice(colon + 1)
  return deliveryOf(sink, path)
}

/** @throws badPath */
export function deliveryOf(sink: string | undefined, path: string | undefined): WantedDelivery {
  if (path) checkPath(path)
  return { ...(sink ? { sink } : {}), ...(path ? { path } : {}) }
}

export function formatDelivery(target: WantedDelivery): string {
  return target.path === undefined ? (target.sink ?? '') : `${target.sink ?? ''}:${target.path}`
}

/**
 * `..` is refused as text, not as a path segment: sinks differ in what separates segments. Empty
 * and `.` segments name the same place twice.
 */
function checkPath(path: string): void {
  const odd = path.split('/').some((segment) => segment === '' || segment === '.')
  if (!pathPattern.test(path) || path.includes('..') || odd) throw errors.badPath({ path })
}

/** The text form of `{sink, path}`; anything else comes back as it was. */
export function deliveryAsText(value: Json): Json {
  if (!isJsonObject(value)) return value
  const { sink, path } = fieldsOf(value)
  return formatDelivery(deliveryOf(sink, path))
}

/** The object form of `sink:path`; anything else comes back as it was. */
export function deliveryAsObject(value: Json): Json {
  return typeof value === 'string' ? { ...parseDelivery(value) } : value
}

function fieldsOf(value: { readonly [key: string]: Json }): {
  readonly sink: string | undefined
  readonly path: string | undefined
} {
  const found = new Map(Object.entries(value).map(([key, v]) => [key.toLowerCase(), v]))
  const text = (name: string): string | undefined => {
    const field = found.get(name) ?? ''
    if (typeof field === 'string') return field
    throw errors.invalidValue({ path: `deliverTo.${name}`, reason: 'must be text.' })
  }
  return { sink: text('sink'), path: text('path') }
}
