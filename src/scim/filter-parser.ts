import type { Dialect } from '../domain/client.ts'
import type { AppError } from '../domain/errors.ts'
import { errors } from '../domain/errors.ts'
import { does } from './dialects.ts'
import type { CompareOperator, FilterNode, FilterValue } from './filter.ts'

export const filterLengthMax = 4_096
export const filterDepthMax = 20
export const filterTermsMax = 100

const operators: ReadonlySet<string> = new Set([
  'eq',
  'ne',
  'co',
  'sw',
  'ew',
  'gt',
  'ge',
  'lt',
  'le',
])

/** A PATCH path or an entry of `attributes`: `emails[type eq "work"].value` in its three parts. */
export interface PathExpression {
  readonly path: string
  readonly filter: FilterNode | null
  readonly sub: string | null
}

/**
 * Parses a filter (RFC 7644 §3.4.2.2): names and operators in any case, `[]` before `not` before
 * `and` before `or`. A sub-attribute after a bracket, as Entra writes it, folds into the bracket.
 * @param dialect lenient also reads values in single quotes and bare words, as deployed clients send
 * @throws invalidFilter with the position of the first character that cannot be read
 */
export function parseFilter(text: string, dialect: Dialect = 'rfc'): FilterNode {
  const parser = new Parser(text, dialect)
  return parser.filter()
}

/**
 * Parses the path of a PATCH operation (RFC 7644 §3.5.2).
 * @throws invalidPath
 */
export function parsePath(text: string, dialect: Dialect = 'rfc'): PathExpression {
  const parser = new Parser(text, dialect)
  parser.fail = (reason, _position, cause) => errors.invalidPath({ path: text, reason }, { cause })
  return parser.pathExpression()
}

/** Recursive descent, one pass, no regular expression ever sees more than one short token. */
class Parser {
  readonly #text: string
  readonly #loose: boolean
  #at = 0
  #depth = 0
  #terms = 0
  fail: (reason: string, position: number, cause?: unknown) => AppError = (
    reason,
    position,
    cause,
  ) => errors.invalidFilter({ reason, position }, { cause })

  constructor(text: string, dialect: Dialect) {
    this.#text = text
    this.#loose = does(dialect, 'readsLooseValues')
  }

  filter(): FilterNode {
    this.#checkLength()
    const node = this.#disjunction(false)
    this.#end()
    return node
  }

  pathExpression(): PathExpression {
    this.#checkLength()
    this.#spaces()
    const path = this.#path()
    const filter = this.#peek() === '[' ? this.#bracket() : null
    let sub: string | null = null
    if (filter && this.#peek() === '.') {
      this.#at += 1
      sub = this.#name()
    }
    this.#end()
    return { path, filter, sub }
  }

  #disjunction(inElement: boolean): FilterNode {
    return this.#chain('or', () => this.#chain('and', () => this.#factor(inElement)))
  }

  #end(): void {
    this.#spaces()
    if (this.#at < this.#text.length) {
      throw this.#failHere(`expected the end, found "${this.#text[this.#at]}".`)
    }
  }

  #checkLength(): void {
    if (Buffer.byteLength(this.#text) > filterLengthMax) {
      throw this.fail(`it is longer than ${filterLengthMax} bytes.`, filterLengthMax)
    }
  }

  #chain(op: 'and' | 'or', next: () => FilterNode): FilterNode {
    const first = next()
    const nodes = [first]
    while (this.#keyword(op)) nodes.push(next())
    return nodes.length === 1 ? first : { op, nodes }
  }

  #factor(inElement: boolean): FilterNode {
    this.#spaces()
    if (this.#peek() === '(') return this.#group(inElement)
    const at = this.#at
    if (this.#word(at).toLowerCase() === 'not') {
      this.#at += 3
      this.#spaces()
      if (this.#peek() !== '(') throw this.#failHere('expected "(" after "not".')
      return { op: 'not', node: this.#group(inElement) }
    }
    const path = this.#path()
    if (this.#peek() !== '[') return this.#expression(path, at)
    if (inElement) throw this.#failHere('brackets cannot be nested.')
    const node = this.#bracket()
    if (this.#peek() !== '.') return { op: 'valuePath', path, node, at }
    this.#at += 1
    const subAt = this.#at
    const rest = this.#expression(this.#name(), subAt)
    return { op: 'valuePath', path, node: { op: 'and', nodes: [node, rest] }, at }
  }

  #group(inElement: boolean): FilterNode {
    this.#enter('(')
    const node = this.#disjunction(inElement)
    this.#leave(')')
    return node
  }

  #bracket(): FilterNode {
    this.#enter('[')
    const node = this.#disjunction(true)
    this.#leave(']')
    return node
  }

  #enter(open: string): void {
    if (this.#depth === filterDepthMax) {
      throw this.#failHere(`it nests deeper than ${filterDepthMax} levels.`)
    }
    this.#depth += 1
    this.#at += open.length
  }

  #leave(close: string): void {
    this.#spaces()
    if (this.#peek() !== close) throw this.#failHere(`expected "${close}".`)
    this.#at += 1
    this.#depth -= 1
  }

  #expression(path: string, at: number): FilterNode {
    if (this.#terms === filterTermsMax) {
      throw this.fail(`it has more than ${filterTermsMax} terms.`, at)
    }
    this.#terms += 1
    if (!this.#spaces()) throw this.#failHere('expected a space and an operator.')
    const operatorAt = this.#at
    const word = this.#word(operatorAt)
    const operator = word.toLowerCase()
    this.#at += word.length
    if (operator === 'pr') return { op: 'present', path, at }
    if (!operators.has(operator)) {
      throw this.fail(
        `"${word}" is not an operator; use eq, ne, co, sw, ew, pr, gt, ge, lt or le.`,
        operatorAt,
      )
    }
    if (!this.#spaces()) throw this.#failHere('expected a space and a value.')
    const value = this.#value()
    if (!this.#atDelimiter(this.#at)) throw this.#failHere('expected a space after the value.')
    return { op: 'compare', path, operator: operator as CompareOperator, value, at }
  }

  #value(): FilterValue {
    const quote = this.#peek()
    if (quote === '"' || (quote === "'" && this.#loose)) return this.#quoted(quote)
    const at = this.#at
    let end = at
    while (!this.#atDelimiter(end)) end += 1
    const word = this.#text.slice(at, end)
    this.#at = end
    if (word === 'true') return true
    if (word === 'false') return false
    if (word === 'null') return null
    if (isNumber(word)) return Number(word)
    if (this.#loose && word !== '') return word
    throw this.fail('expected a value: text in double quotes, a number, true, false or null.', at)
  }

  #quoted(quote: string): string {
    const start = this.#at
    let end = start + 1
    while (end < this.#text.length && this.#text[end] !== quote) {
      end += this.#text[end] === '\\' ? 2 : 1
    }
    if (end >= this.#text.length) throw this.fail('the text that starts here has no end.', start)
    this.#at = end + 1
    if (quote === "'") return this.#text.slice(start + 1, end)
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string
    } catch (cause) {
      throw this.fail('the text is not a valid JSON string.', start, cause)
    }
  }

  #keyword(word: 'and' | 'or'): boolean {
    const before = this.#at
    this.#spaces()
    if (this.#word(this.#at).toLowerCase() === word) {
      const after = this.#at + word.length
      if (this.#text[after] === ' ' || this.#text[after] === '(') {
        this.#at = after
        return true
      }
    }
    this.#at = before
    return false
  }

  /** `[URN:]name[.sub]`; which colons belong to the URN is decided when it meets a schema. */
  #path(): string {
    const start = this.#at
    while (isPathCharacter(this.#text.charCodeAt(this.#at))) this.#at += 1
    const path = this.#text.slice(start, this.#at)
    const parts = path.slice(path.lastIndexOf(':') + 1).split('.')
    if (path === '') throw this.fail('expected an attribute name.', start)
    if (parts.length > 3 || !parts.every(isName)) {
      throw this.fail(`"${path}" is not an attribute path.`, start)
    }
    return path
  }

  #name(): string {
    const start = this.#at
    const word = this.#word(start)
    if (!isName(word)) throw this.fail('expected a sub-attribute name.', start)
    this.#at += word.length
    return word
  }

  #word(at: number): string {
    let end = at
    while (isNameCharacter(this.#text.charCodeAt(end))) end += 1
    return this.#text.slice(at, end)
  }

  #spaces(): boolean {
    const before = this.#at
    while (this.#text[this.#at] === ' ') this.#at += 1
    return this.#at > before
  }

  #peek(): string | undefined {
    return this.#text[this.#at]
  }

  #atDelimiter(at: number): boolean {
    const c = this.#text[at]
    return c === undefined || c === ' ' || c === ')' || c === ']'
  }

  #failHere(reason: string): AppError {
    return this.fail(reason, this.#at)
  }
}

function isLetter(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
}

/** Letters, digits, "-", "_" and the "$" of `$ref`. */
function isNameCharacter(code: number): boolean {
  return isLetter(code) || (code >= 48 && code <= 57) || code === 45 || code === 95 || code === 36
}

function isPathCharacter(code: number): boolean {
  return isNameCharacter(code) || code === 46 || code === 58
}

function isName(word: string): boolean {
  const first = word.charCodeAt(0)
  return isLetter(first) || (first === 36 && word.length > 1)
}

/** A JSON number (RFC 8259 §6) that a double can hold. */
function isNumber(word: string): boolean {
  return /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(word) && Number.isFinite(Number(word))
}
