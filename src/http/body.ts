import type { FastifyInstance } from 'fastify'
import { errors } from '../domain/errors.ts'

export const bodyBytesMax = 1_048_576
export const jsonDepthMax = 32

/**
 * Reads JSON bodies for every route. `__proto__` and `constructor.prototype` are refused by the
 * framework's own parser; depth is bounded before parsing, since 400 kB of brackets would recurse
 * through every later walk over the value.
 */
export function acceptJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    ['application/json', 'application/scim+json'],
    { parseAs: 'string', bodyLimit: bodyBytesMax },
    (request, body, done) => {
      const text = body as string
      if (depthOf(text) > jsonDepthMax) {
        done(errors.tooDeep({ limit: jsonDepthMax }))
        return
      }
      // A DELETE or an action may say that it sends JSON and then send nothing.
      if (text.trim() === '') {
        done(null, undefined)
        return
      }
      void parse(request, text, (error, value) =>
        error
          ? done(errors.malformedJson({ reason: reasonOf(error) }, { cause: error }))
          : isStorable(text, value)
            ? done(null, value)
            : done(
                errors.invalidSyntax({
                  reason:
                    'A text in the body holds NUL or half of a surrogate pair, which no database keeps; remove it.',
                }),
              ),
      )
    },
  )
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: 65_536 },
    (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body as string))),
  )
}

/** Only escapes can smuggle these in, so bodies without such escapes, nearly all, are not walked. */
function isStorable(text: string, value: unknown): boolean {
  if (!/\\u(?:0000|d[89a-f])/i.test(text)) return true
  const queue: unknown[] = [value]
  for (let item = queue.pop(); item !== undefined; item = queue.pop()) {
    if (typeof item === 'string' && (!item.isWellFormed() || item.includes('\0'))) return false
    if (typeof item === 'object' && item !== null)
      queue.push(...Object.keys(item), ...Object.values(item))
  }
  return true
}

/** V8 quotes the body around the fault; it may hold anything, so only the kind of fault is passed on. */
function reasonOf(error: Error): string {
  if (/prototype/i.test(error.message)) return 'it uses a forbidden name (__proto__ or constructor)'
  const at = /position (\d+)/.exec(error.message)
  return at ? `syntax error at character ${Number(at[1]) + 1}` : 'syntax error'
}

/** Nesting of brackets outside strings; one pass, no recursion. */
export function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inString) {
      if (c === 0x5c) i++
      else if (c === 0x22) inString = false
    } else if (c === 0x22) inString = true
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > deepest) deepest = depth
    } else if (c === 0x7d || c === 0x5d) depth--
  }
  return deepest
}
