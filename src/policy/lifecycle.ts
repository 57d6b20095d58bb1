import { createHash } from 'node:crypto'
import {
  checkShape,
  describeProblems,
  type Problem,
  readYaml,
  type YamlText,
} from '../document/document.ts'
import { errors } from '../domain/errors.ts'
import { formatDuration, parseDuration, type Seconds } from '../domain/time.ts'

/** How long, and what then: the terms one account or credential lives under. */
export interface LifecycleTerms {
  readonly expiry: { readonly default: Seconds; readonly cap: Seconds }
  readonly rotation: {
    readonly every: Seconds
    readonly overlap: Seconds
    readonly soak: Seconds
    readonly maxAge: Seconds
  }
  readonly leaver: {
    /** With an active backup: how long the leaver's keys may live beside the new ones. */
    readonly overlap: Seconds
    readonly acceptWithin: Seconds
    /** A nomination younger than this counts only once accepted. */
    readonly backupMinAge: Seconds
    /** How long a group without an active member still counts as an owner. */
    readonly groupGrace: Seconds
    readonly contain: boolean
    readonly containFor: Seconds
    readonly containWhenUsedWithin: Seconds
  }
  readonly hold: Seconds
  readonly enforcement: 'observe' | 'enforce'
}

export interface LifecycleSubject {
  /** Omitted or null for an account as a whole: rules that name a provider or kind do not match. */
  readonly provider?: string | null
  readonly kind?: string | null
  readonly environment: string | null
  readonly labels: readonly string[]
  readonly imported: boolean
}

export interface LifecyclePolicy {
  /** The first 12 characters of the text's SHA-256: which policy a decision was made under. */
  readonly version: string
  termsFor(subject: LifecycleSubject): LifecycleTerms
  /** The shortest and the longest grace that any account may have for a group left empty. */
  readonly groupGrace: { readonly least: Seconds; readonly most: Seconds }
  /** The names of the rules that match, in the order they apply. */
  rulesFor(subject: LifecycleSubject): readonly string[]
}

type Section = 'expiry' | 'rotation' | 'leaver'
type Partially<T> = { readonly [K in keyof T]?: T[K] }
type TermsChange = {
  readonly [S in Section]?: Partially<LifecycleTerms[S]>
} & Partially<Pick<LifecycleTerms, 'hold' | 'enforcement'>>

interface Rule {
  readonly name: string
  readonly provider: readonly string[] | null
  readonly kind: readonly string[] | null
  readonly environment: readonly string[] | null
  readonly label: readonly string[] | null
  readonly imported: boolean | null
  readonly set: TermsChange
}

/** Checking all combinations of labels doubles with each label named beside a span of time. */
const checkedLabelsMax = 8

/**
 * Compiles `lifecycle.yaml`: defaults, then rules in order, later ones override field by field.
 * Every combination of selectors that can meet is checked here, so `termsFor` never fails.
 * @throws policyInvalid naming every problem with its line
 */
export function compileLifecycle(text: string, fileName: string): LifecyclePolicy {
  const yaml = readYaml(text)
  let problems = yaml.problems
  if (problems.length === 0) problems = checkShape(yaml.value, documentSchema, yaml.lineOf)
  if (problems.length === 0) {
    const raw = yaml.value as RawDocument
    const defaults = readChange(raw.defaults) as LifecycleTerms
    const rules = (raw.rules ?? []).map(readRule)
    problems = [...duplicateNames(rules, yaml), ...contradictions(defaults, rules, yaml)]
    if (problems.length === 0) return policyOf(text, defaults, rules)
  }
  throw errors.policyInvalid({ problems: describeProblems(fileName, problems) })
}

function policyOf(text: string, defaults: LifecycleTerms, rules: readonly Rule[]): LifecyclePolicy {
  const graces = [
    defaults.leaver.groupGrace,
    ...rules.flatMap(({ set }) => set.leaver?.groupGrace ?? []),
  ].sort((a, b) => a - b)
  return {
    groupGrace: { least: graces[0]!, most: graces.at(-1)! },
    version: createHash('sha256').update(text).digest('hex').slice(0, 12),
    termsFor: (subject) => applyRules(defaults, rules, subject),
    rulesFor: (subject) => rules.filter((r) => matches(r, subject)).map((r) => r.name),
  }
}

function applyRules(
  defaults: LifecycleTerms,
  rules: readonly Rule[],
  subject: LifecycleSubject,
): LifecycleTerms {
  let terms = defaults
  for (const rule of rules) if (matches(rule, subject)) terms = override(terms, rule.set)
  return terms
}

function override(terms: LifecycleTerms, by: TermsChange): LifecycleTerms {
  return {
    expiry: { ...terms.expiry, ...by.expiry },
    rotation: { ...terms.rotation, ...by.rotation },
    leaver: { ...terms.leaver, ...by.leaver },
    hold: by.hold ?? terms.hold,
    enforcement: by.enforcement ?? terms.enforcement,
  }
}

function matches(rule: Rule, subject: LifecycleSubject): boolean {
  const among = (allowed: readonly string[] | null, actual: string | null | undefined) =>
    allowed === null || (typeof actual === 'string' && allowed.includes(actual))
  return (
    among(rule.provider, subject.provider) &&
    among(rule.kind, subject.kind) &&
    among(rule.environment, subject.environment) &&
    (rule.label === null || rule.label.some((l) => carries(subject.labels, l))) &&
    (rule.imported === null || rule.imported === subject.imported)
  )
}

function carries(labels: readonly string[], wanted: string): boolean {
  return labels.some((l) => l === wanted || (!wanted.includes('=') && l.startsWith(`${wanted}=`)))
}

// Checking what rules do together

function duplicateNames(rules: readonly Rule[], yaml: YamlText): readonly Problem[] {
  return rules.flatMap((rule, i) =>
    rules.findIndex((r) => r.name === rule.name) === i
      ? []
      : [
          {
            path: `rules[${i}].name`,
            line: yaml.lineOf(['rules', i, 'name']),
            message: `"${rule.name}" names an earlier rule too; a reader must be able to tell them apart.`,
          },
        ],
  )
}

/**
 * Tries every subject the rules can tell apart. Rules checked one by one would miss a period set by
 * one rule and a maximum age set by another; checked in all subsets they would refuse pairs that
 * can never meet (two environments).
 */
function contradictions(
  defaults: LifecycleTerms,
  rules: readonly Rule[],
  yaml: YamlText,
): readonly Problem[] {
  const timed = rules.filter((r) => r.set.expiry || r.set.rotation)
  const labels = distinct(timed.flatMap((r) => r.label ?? []))
  if (labels.length > checkedLabelsMax) {
    return [
      {
        path: 'rules',
        line: yaml.lineOf(['rules']),
        message: `at most ${checkedLabelsMax} different labels may select rules that set expiry or rotation (${labels.length} do); group them under one label.`,
      },
    ]
  }
  const problems: Problem[] = []
  for (const subject of subjectsOf(timed, labels)) {
    const terms = applyRules(defaults, timed, subject)
    for (const section of ['rotation', 'expiry'] as const) {
      const message = section === 'rotation' ? rotationProblem(terms) : expiryProblem(terms)
      if (message === null) continue
      const last = timed.findLast((r) => r.set[section] && matches(r, subject))
      const at = last ? ['rules', rules.indexOf(last), 'set', section] : ['defaults', section]
      const problem = { path: section, line: yaml.lineOf(at), message }
      if (!problems.some((p) => p.line === problem.line && p.message === message)) {
        problems.push(problem)
      }
    }
  }
  return problems
}

function rotationProblem({ rotation }: LifecycleTerms): string | null {
  const total = (rotation.every + rotation.overlap + rotation.soak) as Seconds
  return total <= rotation.maxAge
    ? null
    : `every + overlap + soak is ${formatDuration(total)}, longer than maxAge ${formatDuration(rotation.maxAge)}: a key would outlive its maximum age on every rotation.`
}

function expiryProblem({ expiry }: LifecycleTerms): string | null {
  return expiry.default <= expiry.cap
    ? null
    : `default ${formatDuration(expiry.default)} lies beyond cap ${formatDuration(expiry.cap)}.`
}

function* subjectsOf(
  rules: readonly Rule[],
  labels: readonly string[],
): Generator<LifecycleSubject> {
  const named = (selector: 'provider' | 'kind' | 'environment') => [
    null,
    ...distinct(rules.flatMap((r) => r[selector] ?? [])),
  ]
  const providers = named('provider')
  const kinds = named('kind')
  for (const environment of named('environment')) {
    for (const provider of providers) {
      for (const kind of kinds) {
        for (let set = 0; set < 2 ** labels.length; set++) {
          const carried = labels.filter((_, i) => set & (1 << i))
          yield { provider, kind, environment, labels: carried, imported: false }
          yield { provider, kind, environment, labels: carried, imported: true }
        }
      }
    }
  }
}

function distinct(values: readonly string[]): readonly string[] {
  return [...new Set(values)]
}

// The file's shape

interface RawDocument {
  readonly defaults: RawChange
  readonly rules?: readonly RawRule[] | null
}

type RawChange = Readonly<Record<string, string | Readonly<Record<string, string | boolean>>>>

interface RawRule {
  readonly name: string
  readonly when: {
    readonly provider?: string | readonly string[]
    readonly kind?: string | readonly string[]
    readonly environment?: string | readonly string[]
    readonly label?: string | readonly string[]
    readonly imported?: boolean
  }
  readonly set: RawChange
}

function readRule(raw: RawRule): Rule {
  const list = (value: string | readonly string[] | undefined) =>
    value === undefined ? null : typeof value === 'string' ? [value] : value
  return {
    name: raw.name,
    provider: list(raw.when.provider),
    kind: list(raw.when.kind),
    environment: list(raw.when.environment),
    label: list(raw.when.label),
    imported: raw.when.imported ?? null,
    set: readChange(raw.set),
  }
}

/** Durations become seconds wherever they stand; the schema has already said where they may. */
function readChange(raw: RawChange): TermsChange {
  const read = (value: unknown): unknown => {
    if (typeof value === 'string') return parseDuration(value) ?? value
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, read(v)]))
  }
  return read(raw) as TermsChange
}

const duration = { type: 'string', format: 'duration' }
const positive = { type: 'string', format: 'positive-duration' }

const sections: Readonly<Record<Section, Readonly<Record<string, object>>>> = {
  expiry: { default: positive, cap: positive },
  rotation: { every: positive, overlap: duration, soak: duration, maxAge: positive },
  leaver: {
    overlap: duration,
    acceptWithin: positive,
    backupMinAge: duration,
    groupGrace: duration,
    contain: { type: 'boolean' },
    containFor: positive,
    containWhenUsedWithin: duration,
  },
}

/** `defaults` must say everything; a rule's `set` must say something. */
function changeSchema(complete: boolean): Readonly<Record<string, unknown>> {
  const all = [...Object.keys(sections), 'hold', 'enforcement']
  return {
    type: 'object',
    additionalProperties: false,
    minProperties: 1,
    required: complete ? all : [],
    properties: {
      ...Object.fromEntries(
        Object.entries(sections).map(([name, properties]) => [
          name,
          {
            type: 'object',
            additionalProperties: false,
            minProperties: 1,
            required: complete ? Object.keys(properties) : [],
            properties,
          },
        ]),
      ),
      hold: duration,
      enforcement: { enum: ['observe', 'enforce'] },
    },
  }
}

const text = { type: 'string', minLength: 1 }
const oneOrMore = { type: ['string', 'array'], minLength: 1, minItems: 1, items: text }

const documentSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['defaults'],
  properties: {
    defaults: changeSchema(true),
    rules: {
      type: ['array', 'null'],
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['name', 'when', 'set'],
        properties: {
          name: text,
          when: {
            type: 'object',
            additionalProperties: false,
            minProperties: 1,
            properties: {
              provider: oneOrMore,
              kind: oneOrMore,
              environment: oneOrMore,
              label: oneOrMore,
              imported: { type: 'boolean' },
            },
          },
          set: changeSchema(false),
        },
      },
    },
  },
}
