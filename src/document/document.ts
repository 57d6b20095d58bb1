import { Ajv, type ErrorObject } from 'ajv'
import ajvFormats from 'ajv-formats'
import { type Document, isMap, isScalar, LineCounter, type Pair, parseDocument, visit } from 'yaml'
import { nearest } from '../domain/errors.ts'
import { parseDuration } from '../domain/time.ts'

/**
 * Files an operator writes: read as YAML, checked against a JSON Schema, and every problem named at
 * once with its line and, for a misspelt key, the nearest one that exists.
 */
export interface Problem {
  /** Dotted place in the document, e.g. `providers[0].name`; empty for the document itself. */
  readonly path: string
  /** 1-based; null when the problem is not in a file (an environment variable). */
  readonly line: number | null
  readonly message: string
}

export type Step = string | number

type Range = readonly [number, number, number]

export interface YamlText {
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** The line of the node at `path`, or of the deepest part of the path that exists. */
  readonly lineOf: (path: readonly Step[]) => number
}

/**
 * Reads YAML 1.2; duplicate keys are problems, and aliases are bounded by the parser. What the parser
 * says is cut before it repeats what stood there: a password that begins with `*` is an alias to it.
 */
export function readYaml(text: string): YamlText {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const problems = [...document.errors, ...document.warnings].map((e) => ({
    path: '',
    line: lines.linePos(e.pos[0]).line,
    message: `${e.message.replace(/:.*$/s, '')}.`.replace(/\.\.$/, '.'),
  }))
  let value: unknown = null
  if (problems.length === 0) {
    try {
      value = document.toJS()
    } catch {
      const at = unresolved(document)
      const message =
        at === null
          ? 'its aliases stand for too much.'
          : 'a value that begins with "*" stands for an anchor, and there is none of its name; put it in quotes.'
      problems.push({ path: '', line: at === null ? 1 : lines.linePos(at).line, message })
    }
  }
  return {
    value,
    problems,
    lineOf(path) {
      for (let length = path.length; length > 0; length--) {
        const node = keyOf(document.getIn(path.slice(0, length - 1), true), path[length - 1]!)
        if (node?.range) return lines.linePos(node.range[0]).line
      }
      return 1
    },
  }
}

/** Where the first alias stands whose anchor is not there. */
function unresolved(document: Document): number | null {
  let at: number | null = null
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document) !== undefined) return
      at = alias.range?.[0] ?? 0
      return visit.BREAK
    },
  })
  return at
}

/** The key's own node where there is one: a problem belongs to the line that names it. */
function keyOf(parent: unknown, step: Step): { range?: Range | null } | null {
  if (isMap(parent)) {
    const pair = parent.items.find(
      (p: Pair) => (isScalar(p.key) ? String(p.key.value) : String(p.key)) === String(step),
    )
    return pair?.key ?? null
  }
  if (typeof parent === 'object' && parent !== null && 'items' in parent) {
    return (parent.items as { range?: Range }[])[Number(step)] ?? null
  }
  return null
}

/** One sentence per problem, `file:line: path: message`, in the order of the lines. */
export function describeProblems(fileName: string | null, problems: readonly Problem[]): string {
  return [...problems]
    .sort((a, b) => (a.line ?? 0) - (b.line ?? 0))
    .map((p) => {
      const place = p.line !== null && fileName !== null ? `${fileName}:${p.line}: ` : ''
      return `${place}${p.path ? `${p.path}: ` : ''}${p.message}`
    })
    .filter((line, i, all) => all.indexOf(line) === i)
    .join('\n')
}

/** Foreign provider modules bring schemas of their own, so ajv's strictness about style is off. */
const ajv = new Ajv({
  allErrors: true,
  useDefaults: true,
  strict: false,
  verbose: true,
  logger: false,
})
ajvFormats.default(ajv)
ajv.addFormat('duration', (text: string) => parseDuration(text) !== null)
ajv.addFormat('positive-duration', (text: string) => (parseDuration(text) ?? 0) > 0)

/**
 * Checks `value` against a JSON Schema and fills in its defaults (in place).
 * Besides the usual formats it knows `duration` and `positive-duration`: ISO 8601 without years
 * and months.
 * @returns the problems, each also with the steps of its `path`
 */
export function checkShape(
  value: unknown,
  schema: Readonly<Record<string, unknown>>,
  lineOf: ((path: readonly Step[]) => number) | null,
  prefix: readonly Step[] = [],
): readonly (Problem & { readonly steps: readonly Step[] })[] {
  const validate = ajv.compile(schema)
  if (validate(value)) return []
  const found = validate.errors ?? []
  return found
    .filter((e) => !isEcho(e, found))
    .map((e) => {
      const at = [...prefix, ...pointerSteps(e.instancePath), ...extraStep(e)]
      return { path: dotted(at), steps: at, line: lineOf ? lineOf(at) : null, message: sentence(e) }
    })
}

/** `anyOf` and `oneOf` repeat what their branches already said, and `if` says nothing at all. */
function isEcho(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  if (error.keyword === 'if') return true
  const isUnion = error.keyword === 'anyOf' || error.keyword === 'oneOf'
  return isUnion && all.some((e) => e !== error && e.instancePath.startsWith(error.instancePath))
}

function pointerSteps(pointer: string): Step[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part))
}

function extraStep(error: ErrorObject): Step[] {
  if (error.keyword === 'additionalProperties') {
    return [String(error.params['additionalProperty'])]
  }
  if (error.keyword === 'required') return [String(error.params['missingProperty'])]
  return []
}

export function dotted(path: readonly Step[]): string {
  return path
    .map((step, i) => (typeof step === 'number' ? `[${step}]` : `${i ? '.' : ''}${step}`))
    .join('')
}

function sentence(error: ErrorObject): string {
  switch (error.keyword) {
    case 'additionalProperties': {
      const known = Object.keys((error.parentSchema?.['properties'] ?? {}) as object)
      const hint = nearest(String(error.params['additionalProperty']), known)
      return hint
        ? `unknown key; did you mean "${hint}"?`
        : `unknown key; known here: ${known.join(', ') || 'none'}.`
    }
    case 'required':
      return 'is required.'
    case 'type':
      return `must be ${article(String(error.params['type']))}.`
    case 'enum':
      return `must be one of: ${(error.params['allowedValues'] as unknown[]).join(', ')}.`
    case 'const':
      return `must be ${JSON.stringify(error.params['allowedValue'])}.`
    case 'pattern':
      return String(
        error.parentSchema?.['description'] ?? `must match ${String(error.params['pattern'])}.`,
      )
    case 'format':
      return formatSentence(String(error.params['format']))
    default:
      return `${error.message ?? 'is not valid'}.`
  }
}

function article(type: string): string {
  const name = { object: 'a map', array: 'a list', string: 'text', boolean: 'true or false' }[type]
  return name ?? (type === 'integer' ? 'a whole number' : `a ${type}`)
}

function formatSentence(format: string): string {
  switch (format) {
    case 'duration':
      return 'must be a duration of weeks, days, hours, minutes and seconds such as P30D or PT1H; years and months have no fixed length.'
    case 'positive-duration':
      return 'must be a duration above zero of weeks, days, hours, minutes and seconds such as P30D or PT1H; years and months have no fixed length.'
    default:
      return `must be a valid ${format}.`
  }
}
