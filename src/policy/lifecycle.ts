import { createHash } from 'node:crypto'
import {
  checkShape,
  describeProblems,
  type Problem,
  readYaml,
  type YamlText,
} from '../document/document.ts'
import { errors } from '../domain/errors.ts'
import { formatDuration, seconds, type Seconds } from '../domain/time.ts'
import { freezeProblems } from './freeze-problems.ts'
import {
  brakeOf,
  documentSchema,
  type RawDocument,
  readDefaults,
  readRule,
  type Rule,
  type TermsChange,
} from './lifecycle-document.ts'
import type { FreezeWindow } from './windows.ts'

/** How long, and what then: the terms one account or credential lives under. */
export interface LifecycleTerms {
  readonly expiry: { readonly default: Seconds; readonly cap: Seconds }
  readonly rotation: {
    readonly every: Seconds
    readonly overlap: Seconds
    readonly soak: Seconds
    readonly maxAge: Seconds
    /**
     * An old key that reaches its maximum age before its consumers have moved: `ask` lets it work and
     * a person decide, `end` switches it off.
     */
    readonly atMaxAge: 'ask' | 'end'
    /** How often those are reminded whom an overlap waits for; a third reminder goes a rank higher. */
    readonly remindEvery: Seconds
  }
  readonly leaver: {
    /** With an active backup: how long the leaver's keys may live beside the new ones. */
    readonly overlap: Seconds
    readonly acceptWithin: Seconds
    /** A nomination younger than this counts only once accepted. */
    readonly backupMinAge: Seconds
    /** How long a group without an active member still counts as an owner. */
    readonly groupGrace: Seconds
    /** How long a leaving waits before it counts, by what the directory said; a security event never. */
    readonly deletedGrace: Seconds
    readonly deactivatedGrace: Seconds
    readonly leaveDateGrace: Seconds
    /** Offers to the heirs start this long before a leave date that is known. */
    readonly planAhead: Seconds
    /** `rotate`: a member who leaves an owning group, or the company, may have read what it could. */
    readonly onMemberLeft: 'nothing' | 'rotate'
    /** Who changes groups or managers is not taken for gone from the old place before this. */
    readonly moverDebounce: Seconds
    readonly contain: boolean
    readonly containFor: Seconds
    readonly containWhenUsedWithin: Seconds
  }
  readonly hold: Seconds
  readonly enforcement: 'observe' | 'enforce'
  /** The only kinds that may be asked for at a provider that issues one of them; empty = any. */
  readonly require: readonly string[]
  /** When nothing planned is done; omitted: there is no such time. */
  readonly freeze?: readonly FreezeWindow[]
}

export interface LifecycleSubject {
  /** Omitted or null for an account as a whole: rules that name a provider or kind do not match. */
  readonly provider?: string | null
  readonly kind?: string | null
  readonly environment: string | null
  readonly labels: readonly string[]
  readonly imported: boolean
  /** The kinds of those who use its credentials, as the account says. Omitted: it says none. */
  readonly consumers?: readonly string[]
}

/** How many people of one directory may leave before the rest is held; shares are of its people. */
export interface BrakeTerms {
  /** Never held: so many in an hour, however small the directory is. */
  readonly least: number
  readonly hourly: number
  readonly daily: number
}

export interface LifecyclePolicy {
  /** The first 12 characters of the text's SHA-256: which policy a decision was made under. */
  readonly version: string
  readonly brake: BrakeTerms
  termsFor(subject: LifecycleSubject): LifecycleTerms
  /** The shortest and the longest grace that any account may have for a group left empty. */
  readonly groupGrace: { readonly least: Seconds; readonly most: Seconds }
  /** The longest grace that any account may have for the leaving of a person. */
  readonly leaveGrace: Seconds
  /** The longest time ahead of a leave date that offers start for any account. */
  readonly planAhead: Seconds
  /** The shortest time that any account may give somebody who moved; groups wait for the longest. */
  readonly moverDebounce: Seconds
  /** The names of the rules that match, in the order they apply. */
  rulesFor(subject: LifecycleSubject): readonly string[]
  /** What the policy may only watch at all: `imported` saves looking at all the others. */
  readonly watches: 'none' | 'imported' | 'any'
  /** The rule that says whether the subject is enforced or only watched; null = the defaults do. */
  enforcementBy(subject: LifecycleSubject): string | null
}

/** Checking all combinations doubles with each label or consumer named beside a span of time. */
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
    const defaults = readDefaults(raw.defaults)
    const rules = (raw.rules ?? []).map(readRule)
    problems = [
      ...duplicateNames(rules, yaml),
      ...contradictions(defaults, rules, yaml),
      ...brakeProblems(brakeOf(raw.defaults), yaml),
      ...freezeProblems(raw, yaml),
    ]
    if (problems.length === 0) return policyOf(text, brakeOf(raw.defaults), defaults, rules)
  }
  throw errors.policyInvalid({ problems: describeProblems(fileName, problems) })
}

function policyOf(
  text: string,
  brake: BrakeTerms,
  defaults: LifecycleTerms,
  rules: readonly Rule[],
): LifecyclePolicy {
  const graces = [
    defaults.leaver.groupGrace,
    ...rules.flatMap(({ set }) => set.leaver?.groupGrace ?? []),
  ].sort((a, b) => a - b)
  const debounces = [
    defaults.leaver.moverDebounce,
    ...rules.flatMap(({ set }) => set.leaver?.moverDebounce ?? []),
  ]
  return {
    // Of a group whose last member moved the debounce counts as well.
    groupGrace: { least: graces[0]!, most: longer(graces.at(-1)!, debounces) },
    leaveGrace: longestGrace(defaults, rules),
    planAhead: longer(
      defaults.leaver.planAhead,
      rules.flatMap(({ set }) => set.leaver?.planAhead ?? []),
    ),
    moverDebounce: seconds(Math.min(...debounces)),
    version: createHash('sha256').update(text).digest('hex').slice(0, 12),
    brake,
    termsFor: (subject) => applyRules(defaults, rules, subject),
    rulesFor: (subject) => rules.filter((r) => matches(r, subject)).map((r) => r.name),
    watches: watchesOf(defaults, rules),
    enforcementBy: (subject) =>
      rules.findLast((r) => r.set.enforcement && matches(r, subject))?.name ?? null,
  }
}

function watchesOf(defaults: LifecycleTerms, rules: readonly Rule[]): LifecyclePolicy['watches'] {
  if (defaults.enforcement === 'observe') return 'any'
  const watching = rules.filter(({ set }) => set.enforcement === 'observe')
  if (watching.length === 0) return 'none'
  return watching.every(({ imported }) => imported === true) ? 'imported' : 'any'
}

const longer = (one: Seconds, more: readonly Seconds[]): Seconds => seconds(Math.max(one, ...more))

function longestGrace(defaults: LifecycleTerms, rules: readonly Rule[]): Seconds {
  const all = [defaults, ...rules.map(({ set }) => set)].flatMap(({ leaver }) => [
    leaver?.deletedGrace ?? 0,
    leaver?.deactivatedGrace ?? 0,
    leaver?.leaveDateGrace ?? 0,
  ])
  return seconds(Math.max(...all))
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
    require: by.require ?? terms.require,
    ...((by.freeze ?? terms.freeze) ? { freeze: by.freeze ?? terms.freeze! } : {}),
  }
}

function matches(rule: Rule, subject: LifecycleSubject): boolean {
  const among = (allowed: readonly string[] | null, actual: string | null | undefined) =>
    allowed === null || (typeof actual === 'string' && allowed.includes(actual))
  return (
    among(rule.provider, subject.provider) &&
    among(rule.kind, subject.kind) &&
    among(rule.environment, subject.environment) &&
    (rule.consumer === null || rule.consumer.some((c) => subject.consumers?.includes(c))) &&
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
  const consumers = distinct(timed.flatMap((r) => r.consumer ?? []))
  const selectors = labels.length + consumers.length
  if (selectors > checkedLabelsMax) {
    return [
      {
        path: 'rules',
        line: yaml.lineOf(['rules']),
        message: `at most ${checkedLabelsMax} different labels and consumers may select rules that set expiry or rotation (${selectors} do); group them under one label.`,
      },
    ]
  }
  const problems: Problem[] = []
  for (const subject of subjectsOf(timed, { labels, consumers })) {
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

function brakeProblems(brake: BrakeTerms, yaml: YamlText): readonly Problem[] {
  const problems: Problem[] = []
  const add = (field: keyof BrakeTerms, message: string) =>
    problems.push({
      path: `defaults.brake.${field}`,
      line: yaml.lineOf(['defaults', 'brake', field]),
      message,
    })
  if (brake.daily < brake.hourly) {
    add('daily', 'is a smaller share than hourly: the hour could never be used up.')
  }
  if (brake.hourly > 1 || brake.daily > 1) add('hourly', 'shares go up to 100%.')
  return problems
}

function* subjectsOf(
  rules: readonly Rule[],
  { labels, consumers }: Required<Pick<LifecycleSubject, 'labels' | 'consumers'>>,
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
        for (let set = 0; set < 2 ** (labels.length + consumers.length); set++) {
          const carried = {
            labels: labels.filter((_, i) => set & (1 << i)),
            consumers: consumers.filter((_, i) => set & (1 << (labels.length + i))),
          }
          yield { provider, kind, environment, ...carried, imported: false }
          yield { provider, kind, environment, ...carried, imported: true }
        }
      }
    }
  }
}

function distinct(values: readonly string[]): readonly string[] {
  return [...new Set(values)]
}
