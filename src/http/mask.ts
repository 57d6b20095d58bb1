import type { Json } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'

const masked = '[masked]'

const sensitiveWords =
  'passw|pass.?(?:phrase|code)|secret|token|(?:private|api).?key|credential.?value|assertion|x509|certificate'

/** Attributes and parameters whose values are nobody's business, whatever they hold. */
const sensitive = new RegExp(`${sensitiveWords}|^(?:pwd|pin|otp)$`, 'i')

/** Whether an attribute's name says that its value is a secret. */
export function isSensitiveName(name: string): boolean {
  return sensitive.test(name)
}

/** What a filter compares such an attribute with: `password eq "…"`. */
const sensitiveComparison = new RegExp(
  String.raw`((?:${sensitiveWords}|\b(?:pwd|pin|otp)\b)[\w.:\]-]{0,64} {1,8}` +
    String.raw`(?:eq|ne|co|sw|ew|gt|ge|lt|le) {1,8})("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s)\]]+)`,
  'gi',
)

/** What gives itself away as a secret wherever it stands. */
const secretShapes = [
  /c(?:st|sk)_[0-9A-Za-z]{6,}(?:_[0-9A-Za-z]+)?/g,
  /cat_[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)?/g,
  /gh[a-z]_[0-9A-Za-z]{16,}|github_pat_\w{16,}/g,
  /(?:AKIA|ASIA)[0-9A-Z]{12,}/g,
  // Bounded, for `eyJeyJeyJ…` would be searched to its end from each of its letters.
  /eyJ[A-Za-z0-9_-]{8,512}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?/g,
  /-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)/g,
  /(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi,
  // Long runs of letters and digits in mixed case with no word in them: keys of systems unknown here.
  /(?<![A-Za-z0-9+/_-])(?=[A-Za-z0-9+/_-]*[a-z])(?=[A-Za-z0-9+/_-]*[A-Z])(?=[A-Za-z0-9+/_-]*\d)[A-Za-z0-9+/_-]{36,}={0,2}/g,
]

/** Text without what looks like a secret in it. */
export function maskText(text: string): string {
  // The shortest of the shapes has ten characters: most names and many values need no look.
  const shapeless =
    text.length < 10
      ? text
      : secretShapes.reduce((rest, shape) => rest.replace(shape, masked), text)
  return shapeless.replace(sensitiveComparison, `$1${masked}`)
}

/** A query string as a person reads it, without the values of parameters like `access_token`. */
export function maskQuery(query: string): string {
  return query
    .split('&')
    .map((pair) => {
      const [name = '', ...rest] = pair.split('=')
      const shown = readable(name)
      if (rest.length === 0) return maskText(shown)
      return `${maskText(shown)}=${sensitive.test(shown) ? masked : maskText(readable(rest.join('=')))}`
    })
    .join('&')
}

function readable(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    return part
  }
}

/** The masked beginning of a text of any length: no more than is kept is searched. */
export function maskStart(text: string, limit: number): string {
  // A little more than is kept: a secret cut in two would not be recognised.
  return maskText(text.slice(0, limit + 512)).slice(0, limit)
}

/**
 * A body as JSON text for the request log: sensitive attributes and everything that looks like a
 * secret replaced, cut at `limit` characters. Only as much is walked as is kept.
 */
export function maskBody(body: unknown, limit: number): string | null {
  if (body === undefined || body === null) return null
  let room = limit * 2
  const walk = (value: Json): Json => {
    if (room <= 0) return '…'
    if (typeof value === 'string') {
      room -= value.length + 2
      return maskStart(value, limit)
    }
    if (Array.isArray(value)) {
      const items: Json[] = []
      for (const item of value as readonly Json[]) {
        if (room <= 0) break
        items.push(walk(item))
      }
      return items
    }
    if (!isJsonObject(value)) {
      room -= 6
      return value
    }
    // Names are read in any case (RFC 7643 §2.1), so `Path` names what `value` holds as well.
    const isCall = Object.entries(value).some(
      ([key, path]) =>
        key.toLowerCase() === 'path' && typeof path === 'string' && sensitive.test(path),
    )
    const entries: [string, Json][] = []
    for (const [key, member] of Object.entries(value)) {
      if (room <= 0) break
      room -= key.length + 4
      const hidden = sensitive.test(key) || (isCall && key.toLowerCase() === 'value')
      entries.push([maskStart(key, limit), hidden ? masked : walk(member)])
    }
    return Object.fromEntries(entries)
  }
  const text = JSON.stringify(walk(body as Json))
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text
}
