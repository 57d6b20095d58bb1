/**
 * A small evaluator of IAM policy documents: Effect, Action/NotAction, Resource/NotResource with
 * wildcards and policy variables, and a few condition operators. What it does not understand it
 * refuses when the document is stored, so that no test passes on a rule that was silently skipped.
 * Source: IAM user guide, "Policy evaluation logic" and "JSON policy elements".
 */
export interface Statement {
  readonly effect: 'Allow' | 'Deny'
  readonly actions: Patterns
  readonly resources: Patterns
  readonly conditions: readonly Condition[]
}

interface Patterns {
  readonly negated: boolean
  readonly patterns: readonly string[]
}

export interface Condition {
  readonly operator: string
  readonly key: string
  readonly values: readonly string[]
}

/** What a request brings to its decision. */
export interface RequestContext {
  /** `iam:CreateUser` */
  readonly action: string
  readonly resource: string
  /** Condition keys in lower case. A long-term key has no `aws:tokenissuetime`. */
  readonly keys: Readonly<Record<string, string>>
}

export class MalformedPolicy extends Error {
  override readonly name = 'MalformedPolicy'
}

const operators: Readonly<Record<string, (actual: string, wanted: string) => boolean>> = {
  StringEquals: (a, b) => a === b,
  StringNotEquals: (a, b) => a !== b,
  StringLike: (a, b) => matches(b, a),
  'ForAllValues:StringEquals': (a, b) => a === b,
  ArnEquals: (a, b) => matches(b, a),
  ArnLike: (a, b) => matches(b, a),
  Bool: (a, b) => a === b,
  DateLessThan: (a, b) => Date.parse(a) < Date.parse(b),
  DateGreaterThan: (a, b) => Date.parse(a) > Date.parse(b),
}

const statementMembers = new Set([
  'Sid',
  'Effect',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
])

/** @throws MalformedPolicy */
export function parsePolicy(text: string): readonly Statement[] {
  return statementsOf(text).map(parseStatement)
}

/** The raw statements of any policy document. @throws MalformedPolicy */
export function statementsOf(text: string): readonly unknown[] {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw new MalformedPolicy('Syntax errors in policy.')
  }
  const { Version, Statement: statements } = (document ?? {}) as Record<string, unknown>
  if (Version !== '2012-10-17') throw new MalformedPolicy('Policy version must be 2012-10-17.')
  const list = Array.isArray(statements) ? statements : [statements]
  if (list.length === 0) throw new MalformedPolicy('A policy needs a statement.')
  return list
}

function parseStatement(raw: unknown): Statement {
  if (typeof raw !== 'object' || raw === null) throw new MalformedPolicy('A statement is missing.')
  const statement = raw as Record<string, unknown>
  const unknown = Object.keys(statement).find((key) => !statementMembers.has(key))
  if (unknown !== undefined) throw new MalformedPolicy(`Unknown statement element ${unknown}.`)
  const effect = statement['Effect']
  if (effect !== 'Allow' && effect !== 'Deny') throw new MalformedPolicy('Effect is missing.')
  return {
    effect,
    actions: parsePatterns(statement, 'Action'),
    resources: parsePatterns(statement, 'Resource'),
    conditions: Object.entries(statement['Condition'] ?? {}).flatMap(parseConditions),
  }
}

function parsePatterns(statement: Record<string, unknown>, name: 'Action' | 'Resource'): Patterns {
  const negated = statement[`Not${name}`] !== undefined
  const value = statement[negated ? `Not${name}` : name]
  const patterns = Array.isArray(value) ? value : [value]
  if (patterns.length === 0 || patterns.some((p) => typeof p !== 'string')) {
    throw new MalformedPolicy(`A statement needs ${name} or Not${name}.`)
  }
  return { negated, patterns: patterns as string[] }
}

/** One operator with its keys, as `Object.entries` of a `Condition` gives it. @throws MalformedPolicy */
export function parseConditions([operator, keys]: [string, unknown]): readonly Condition[] {
  if (!operators[operator]) {
    throw new MalformedPolicy(`The sandbox does not evaluate the condition operator ${operator}.`)
  }
  return Object.entries(keys as Record<string, string | readonly string[]>).map(
    ([key, values]) => ({
      operator,
      key: key.toLowerCase(),
      values: typeof values === 'string' ? [values] : values,
    }),
  )
}

/**
 * Decides as IAM does for a user: an explicit deny anywhere wins; an identity policy must allow;
 * a permissions boundary, where there is one, must allow as well.
 */
export function isAllowed(
  identity: readonly (readonly Statement[])[],
  boundary: readonly Statement[] | null,
  context: RequestContext,
): boolean {
  const mine = identity.flat()
  const applies = (effect: Statement['effect']) => (s: Statement) =>
    s.effect === effect && covers(s, context)
  if ([...mine, ...(boundary ?? [])].some(applies('Deny'))) return false
  return mine.some(applies('Allow')) && (boundary === null || boundary.some(applies('Allow')))
}

/** Whether some statement denies explicitly, which no grant of a resource's own policy overrides. */
export function isDenied(
  policies: readonly (readonly Statement[])[],
  context: RequestContext,
): boolean {
  return policies.flat().some((s) => s.effect === 'Deny' && covers(s, context))
}

function covers(statement: Statement, context: RequestContext): boolean {
  return (
    anyMatches(statement.actions, context.action.toLowerCase(), (p) => p.toLowerCase()) &&
    anyMatches(statement.resources, context.resource, (p) => substitute(p, context.keys)) &&
    statement.conditions.every((c) => holds(c, context.keys))
  )
}

function anyMatches(set: Patterns, text: string, prepare: (p: string) => string): boolean {
  return set.patterns.some((p) => matches(prepare(p), text)) !== set.negated
}

/** A condition on a key that the request lacks does not hold: so DateLessThan aws:TokenIssueTime
 * never touches a long-term key. The negated operators hold then, as in IAM. */
export function holds(condition: Condition, keys: Readonly<Record<string, string>>): boolean {
  const actual = keys[condition.key]
  if (condition.operator === 'ForAllValues:StringEquals') {
    // Several values come a line each; none at all meet it, as in IAM.
    const all = actual === undefined || actual === '' ? [] : actual.split('\n')
    return all.every((value) => condition.values.includes(value))
  }
  if (actual === undefined) return condition.operator === 'StringNotEquals'
  const test = operators[condition.operator]!
  return condition.operator === 'StringNotEquals'
    ? condition.values.every((value) => test(actual, substitute(value, keys)))
    : condition.values.some((value) => test(actual, substitute(value, keys)))
}

function substitute(pattern: string, keys: Readonly<Record<string, string>>): string {
  return pattern.replaceAll(/\$\{([^}]+)\}/g, (whole, key: string) => {
    return keys[key.toLowerCase()] ?? whole
  })
}

/** `*` is any run of characters, `?` one; linear, since a hostile pattern must not hang a test. */
export function matches(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let mark = 0
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++
      mark = t
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++mark
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
