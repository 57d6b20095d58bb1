/** Members whose value is a secret, or says nothing about behaviour, whatever it looks like. */
const hidden: Readonly<Record<string, string>> = {
  SecretAccessKey: '<secret>',
  token: '<secret>',
  RequestId: '<request>',
  verified: '<verified>',
  documentation_url: '<link>',
}
const date = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)/g
/** What differs between two runs, and the word that stands for it. */
const kinds: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, 'uuid'],
  [/\b(?:AKIA|ASIA)[A-Z2-7]{16}\b/g, 'access key'],
  [/\b(?:AIDA|AROA|ANPA|AGPA)[A-Z0-9]{16,17}\b/g, 'unique id'],
]

/**
 * Replaces what is different each time by words, numbered in the order of their appearance, so that
 * which values are the same is still seen. One mask serves one transcript.
 */
export function createMask(run: string): (value: unknown) => unknown {
  const known = new Map<string, string>()
  const counts = new Map<string, number>()
  const name = (kind: string, value: string): string => {
    const before = known.get(value)
    if (before !== undefined) return before
    const n = (counts.get(kind) ?? 0) + 1
    counts.set(kind, n)
    known.set(value, `<${kind} ${n}>`)
    return `<${kind} ${n}>`
  }
  const inText = (text: string): string => {
    let masked = text.replaceAll(run, '<run>').replaceAll(date, '<date>')
    for (const [pattern, kind] of kinds) masked = masked.replaceAll(pattern, (v) => name(kind, v))
    return masked
      .replaceAll(/(arn:aws[a-z-]*:[a-z]+:[a-z0-9-]*:)\d{12}\b/g, '$1<account>')
      .replaceAll(/(:secret:\S+?)-[A-Za-z0-9_-]{6}(?=["\s]|$)/g, '$1-<suffix>')
      .replaceAll(/https?:\/\/[^/\s"]+(?:\/api\/v3)?/g, '<host>')
      .replaceAll(/\/keys\/\d+/g, '/keys/<id>')
  }
  const mask = (value: unknown, member: string): unknown => {
    if (value === null || value === undefined) return value
    if (hidden[member] !== undefined) return hidden[member]
    if (value instanceof Date) return '<date>'
    if (value instanceof Uint8Array) return `<${value.length} bytes>`
    if (typeof value === 'string') return /^\d{12}$/.test(value) ? '<account>' : inText(value)
    if (typeof value === 'number')
      return /(^|[_.])id$/.test(member) ? name('id', String(value)) : value
    if (Array.isArray(value)) return value.map((item) => mask(item, member))
    if (typeof value !== 'object') return value
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key, item]) => key !== '$metadata' && item !== undefined)
        // Versions of a secret are members of an object by their ids.
        .map(([key, item]) => [inText(key), mask(item, key)] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    )
  }
  return (value) => mask(value, '')
}
