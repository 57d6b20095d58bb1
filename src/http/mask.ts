import type { Json } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'

const masked = '[masked]'

/** Attributes whose values are nobody's business, whatever they hold. */
const sensitive = /passw|secret|token|private.?key|credential.?value|assertion|x509|certificate/i

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
  return secretShapes.reduce((rest, shape) => rest.replace(shape, masked), text)
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
    const isCall = typeof value['path'] === 'string' && sensitive.test(value['path'])
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
