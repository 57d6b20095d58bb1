import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import { errors } from '../domain/errors.ts'
import { isStorableText } from '../domain/text.ts'

export const bodyBytesMax = 1_048_576
/** Of OAuth requests, which carry a token or two. */
export const formBytesMax = 65_536
export const jsonDepthMax = 32
/** Values in one body: what a megabyte of the smallest ones costs is far more than its bytes. */
export const jsonValuesMax = 100_000
/** Members of one object; no resource has more than some dozens of attributes. */
export const jsonMembersMax = 1_000

/**
 * Reads JSON bodies for every route. `__proto__` and `constructor.prototype` are refused by the
 * framework's own parser; the shape is bounded before parsing, since 400 kB of brackets would recurse
 * through every later walk over the value, and 1 MiB of empty objects or of short unknown names
 * held everybody up for 110 and 180 ms.
 */
export function acceptJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    ['application/json', 'application/scim+json'],
    { parseAs: 'buffer', bodyLimit: bodyBytesMax },
    (request, body, done) => {
      const encoding = request.headers['content-encoding'] ?? 'identity'
      if (encoding.toLowerCase() !== 'identity') {
        done(errors.unsupportedEncoding({ encoding: encoding.slice(0, 40) }))
        return
      }
      // Read as text, bytes that are none would be kept as U+FFFD, and nobody would be told.
      if (!isUtf8(body as Buffer)) {
        done(errors.malformedJson({ reason: 'it is not UTF-8' }))
        return
      }
      const text = body.toString()
      const shape = shapeOf(text)
      const fault = faultOf(shape)
      if (fault !== null) {
        done(fault)
        return
      }
      // A DELETE or an action may say that it sends JSON and then send nothing.
      if (text.trim() === '') {
        done(null, undefined)
        return
      }
      void parse(request, text, (error, value) =>
        error
          ? done(errors.malformedJson({ reason: reasonOf(text) }, { cause: error }))
          : done(contentFaultOf(text, value, shape), value),
      )
    },
  )
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: formBytesMax },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body as string))),
  )
}

/** What is wrong with a body that is JSON; null when nothing is. */
function contentFaultOf(text: string, value: unknown, { names }: JsonShape): Error | null {
  if (!isStorable(text, value)) {
    const reason =
      'A text in the body holds NUL or half of a surrogate pair, which no database keeps; remove it.'
    return errors.invalidSyntax({ reason })
  }
  if (!isGivenOnce(value, names)) {
    const reason =
      'A member of an object in the body is given more than once (case makes no other name of it); give it once.'
    return errors.invalidSyntax({ reason })
  }
  return null
}

/**
 * Of two members of one name, JSON.parse keeps the last and SCIM, to which `Active` and `active` are
 * one (RFC 7643 §2.1), whichever comes first: a body that says two things says nothing.
 * @param names members in the text
 */
function isGivenOnce(value: unknown, names: number): boolean {
  let found = 0
  const queue: unknown[] = [value]
  while (queue.length > 0) {
    const item = queue.pop()
    if (typeof item !== 'object' || item === null) continue
    if (!Array.isArray(item)) {
      const keys = Object.keys(item)
      found += keys.length
      if (new Set(keys.map((key) => key.toLowerCase())).size < keys.length) return false
    }
    queue.push(...Object.values(item))
  }
  return found === names
}

/** Only escapes can smuggle these in, so bodies without such escapes, nearly all, are not walked. */
function isStorable(text: string, value: unknown): boolean {
  if (!/\\u(?:0000|d[89a-f])/i.test(text)) return true
  const queue: unknown[] = [value]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    if (typeof item === 'string' && !isStorableText(item)) return false
    if (typeof item === 'object' && item !== null)
      queue.push(...Object.keys(item), ...Object.values(item))
  }
  return true
}

/**
 * The framework's parser says only that it refused; what JSON itself reads was refused for a name.
 * V8 quotes the body around a fault; it may hold anything, so only the place is passed on.
 */
function reasonOf(text: string): string {
  try {
    JSON.parse(text.replace(/^\uFEFF/, ''))
    return 'it uses a forbidden name (__proto__ or constructor)'
  } catch (error) {
    const at = /position (\d+)/.exec((error as Error).message)
    return at ? `syntax error at character ${Number(at[1]) + 1}` : 'syntax error'
  }
}

function faultOf({ depth, values, members }: JsonShape): Error | null {
  if (depth > jsonDepthMax) return errors.tooDeep({ limit: jsonDepthMax })
  const tooMany = (count: number, limit: number, what: string): Error =>
    errors.tooMany({ reason: `${what} ${count}; at most ${limit} fit, so split the request.` })
  if (members > jsonMembersMax) {
    return tooMany(members, jsonMembersMax, 'The members of one object in the body number')
  }
  return values > jsonValuesMax
    ? tooMany(values, jsonValuesMax, 'The values in the body number')
    : null
}

export interface JsonShape {
  /** Nesting of brackets. */
  readonly depth: number
  /** Of the whole text, the names of members not counted; never too few. */
  readonly values: number
  /** Of the object that has most. */
  readonly members: number
  /** Names of members in the whole text. */
  readonly names: number
}

/** The shape of what may be JSON, by what stands outside its strings; one pass, no recursion. */
export function shapeOf(text: string): JsonShape {
  let depth = 0
  let deepest = 0
  let values = 1
  let members = 0
  let names = 0
  const open: number[] = [0]
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22:
        i = endOfString(text, i)
        break
      case 0x7b:
      case 0x5b:
        values += 1
        deepest = Math.max(deepest, ++depth)
        if (depth > jsonDepthMax) return { depth, values, members, names }
        open[depth] = 0
        break
      case 0x7d:
      case 0x5d:
        depth = Math.max(0, depth - 1)
        break
      case 0x3a:
        names += 1
        members = Math.max(members, (open[depth] = (open[depth] ?? 0) + 1))
        break
      case 0x2c:
        values += 1
        break
      default:
    }
  }
  return { depth: deepest, values, members, names }
}

/** The place of the closing quote; the search for one is the engine's and fast. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes += 1
    if (slashes % 2 === 0) return end
  }
  return text.length
}
