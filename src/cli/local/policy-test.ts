import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { checkShape, describeProblems, readYaml } from '../../document/document.ts'
import type { ServiceAccount } from '../../domain/account.ts'
import { errors } from '../../domain/errors.ts'
import type { LeaveClass, OwnerState } from '../../domain/owner.ts'
import type { Instant, Seconds } from '../../domain/time.ts'
import { addSeconds, formatDuration, parseDuration, secondsBetween } from '../../domain/time.ts'
import type { LeaverDecision } from '../../lifecycle/leaver.ts'
import { decideLeaver } from '../../lifecycle/leaver.ts'
import type { LifecyclePolicy, LifecycleSubject } from '../../policy/lifecycle.ts'
import type { PolicyOptions } from '../commands/local.ts'
import { CommandFailure, type ExitCode, exitCodes, type Terminal } from '../terminal.ts'
import { findPolicies, readable, readLifecycle } from './policy.ts'

/** One promise of the rules, as an operator writes it. */
interface Case {
  readonly name: string
  readonly account?: {
    readonly environment?: string
    readonly labels?: readonly string[]
    readonly consumers?: readonly string[]
    readonly imported?: boolean
    readonly protected?: boolean
  } | null
  readonly credential?: { readonly provider: string; readonly kind: string }
  readonly terms?: Readonly<Record<string, string | boolean>>
  readonly leaves?: {
    readonly class: LeaveClass
    readonly after?: string
    readonly lastUsed?: string
    readonly backup?: string
    readonly accepted?: boolean
  }
  readonly expect?: {
    readonly decision: 'none' | 'offer' | 'disable'
    readonly rule?: string
    readonly disableAfter?: string
    readonly oldKeysFor?: string
  }
}

const text = { type: 'string', minLength: 1 }
const texts = { type: 'array', items: text }
const duration = { type: 'string', pattern: '^P' }
const shape = (
  properties: object,
  required: readonly string[] = [],
): Readonly<Record<string, unknown>> => ({
  type: 'object',
  additionalProperties: false,
  properties,
  required,
})
const schema = shape(
  {
    cases: {
      type: 'array',
      minItems: 1,
      items: shape(
        {
          name: text,
          account: shape({
            environment: text,
            labels: texts,
            consumers: texts,
            imported: { type: 'boolean' },
            protected: { type: 'boolean' },
          }),
          credential: shape({ provider: text, kind: text }, ['provider', 'kind']),
          terms: { type: 'object', additionalProperties: { type: ['string', 'boolean'] } },
          leaves: shape(
            {
              class: {
                enum: [
                  'deactivated',
                  'deleted',
                  'leaveDate',
                  'groupEmptied',
                  'declared',
                  'security',
                ],
              },
              after: duration,
              lastUsed: duration,
              backup: duration,
              accepted: { type: 'boolean' },
            },
            ['class'],
          ),
          expect: shape(
            {
              decision: { enum: ['none', 'offer', 'disable'] },
              rule: text,
              disableAfter: duration,
              oldKeysFor: duration,
            },
            ['decision'],
          ),
        },
        ['name'],
      ),
    },
  },
  ['cases'],
)

interface Outcome {
  readonly file: string
  readonly name: string
  /** What differs, a line each; empty when the promise is kept. */
  readonly differs: readonly string[]
}

/**
 * Holds the rules to the cases beside them (`tests/*.yaml`), by the functions that decide in the
 * service. @throws policyInvalid, CommandFailure (not found) where there are no cases
 */
export async function test(
  directory: string | null,
  options: PolicyOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const policies = await findPolicies(directory, options, terminal)
  const policy = await readLifecycle(policies)
  const outcomes: Outcome[] = []
  for (const { file, cases } of await casesIn(path.join(policies, 'tests'))) {
    for (const one of cases) {
      outcomes.push({ file: path.basename(file), name: one.name, differs: outcomeOf(policy, one) })
    }
  }
  const failed = outcomes.filter(({ differs }) => differs.length > 0)
  if (options.json) {
    const result = { policy: policy.version, cases: outcomes.length, failed }
    terminal.stdout(`${JSON.stringify(result, null, 2)}\n`)
  } else {
    for (const { file, name, differs } of outcomes) {
      terminal.stdout(`${differs.length === 0 ? 'ok    ' : 'FAILED'}  ${name}\n`)
      for (const line of differs) terminal.stdout(`        ${line}  (${file})\n`)
    }
  }
  const kept = outcomes.length - failed.length
  terminal.stderr(`${kept} of ${outcomes.length} cases are kept by policy ${policy.version}.\n`)
  return failed.length === 0 ? exitCodes.ok : exitCodes.failed
}

async function casesIn(directory: string) {
  const names = await readdir(directory).catch(() => [])
  const files = names.filter((name) => /\.ya?ml$/.test(name)).toSorted((a, b) => (a < b ? -1 : 1))
  if (files.length === 0) {
    const sentence = `There are no cases: ${directory} holds no .yaml file. docs/how-to/write-a-policy.md shows one.`
    throw new CommandFailure(exitCodes.notFound, sentence)
  }
  return Promise.all(files.map((name) => readCases(path.join(directory, name))))
}

async function readCases(file: string) {
  const { value, lineOf, problems } = readYaml(await readFile(file, 'utf8'))
  const found = problems.length > 0 ? problems : checkShape(value, schema, lineOf)
  const cases = ((value as { cases?: unknown } | null)?.cases ?? []) as readonly Case[]
  const more = found.length > 0 ? [] : oddities(cases, lineOf)
  const all = [...found, ...more]
  if (all.length > 0) throw errors.policyInvalid({ problems: describeProblems(file, all) })
  return { file, cases }
}

/** A case that asks nothing, or asks about a leaving without one, could not fail. */
function oddities(
  cases: readonly Case[],
  lineOf: (at: readonly (string | number)[]) => number | null,
) {
  return cases.flatMap((one, i) => {
    const at = (...more: readonly string[]) => ({
      path: ['cases', i, ...more].join('.'),
      line: lineOf(['cases', i, ...more]),
    })
    const durations = { ...one.leaves, ...one.expect }
    const odd = (['after', 'lastUsed', 'backup', 'disableAfter', 'oldKeysFor'] as const).filter(
      (name) => durations[name] !== undefined && parseDuration(durations[name]) === null,
    )
    return [
      ...odd.map((name) => ({ ...at(), message: `${name} is no duration of weeks to seconds.` })),
      ...(!one.expect && !one.terms ? [{ ...at(), message: 'expects nothing.' }] : []),
      ...(one.expect && !one.leaves
        ? [{ ...at('expect'), message: 'needs "leaves": nobody leaves here.' }]
        : []),
    ]
  })
}

function outcomeOf(policy: LifecyclePolicy, one: Case): readonly string[] {
  return [...differingTerms(policy, one), ...differingDecision(policy, one)]
}

function subjectOf({ account, credential }: Case): LifecycleSubject {
  return {
    provider: credential?.provider ?? null,
    kind: credential?.kind ?? null,
    environment: account?.environment ?? null,
    labels: account?.labels ?? [],
    consumers: account?.consumers ?? [],
    imported: account?.imported ?? false,
  }
}

function differingTerms(policy: LifecyclePolicy, one: Case): readonly string[] {
  const terms = readable(policy.termsFor(subjectOf(one)), now)
  return Object.entries(one.terms ?? {}).flatMap(([name, wanted]) => {
    const found = terms[name]
    if (found === undefined) return [`${name}: there is no such term`]
    return found === wanted ? [] : [`${name}: expected ${wanted}, is ${found}`]
  })
}

/** Cases are about durations; any moment does. */
const now = '2026-06-01T12:00:00.000Z' as Instant
const ids = { owner: 'owner', backup: 'backup', manager: 'manager' }

function differingDecision(policy: LifecyclePolicy, one: Case): readonly string[] {
  const { leaves, expect: wanted } = one
  if (leaves === undefined || wanted === undefined) return []
  const leftAt = before(now, leaves.after)
  const decision = decideLeaver({
    owner: leaver(leaves.class, leftAt),
    account: accountOf(one, leftAt),
    backups: leaves.backup === undefined ? [] : [state(ids.backup, true, null)],
    lastUsedAt: leaves.lastUsed === undefined ? null : before(leftAt, leaves.lastUsed),
    terms: policy.termsFor({ ...subjectOf(one), provider: null, kind: null }),
    now,
  })
  const found = said(decision, leftAt)
  return Object.entries(wanted).flatMap(([name, value]) => {
    const is = found[name as keyof typeof found] ?? 'never'
    return is === value ? [] : [`${name}: expected ${value}, is ${is}`]
  })
}

function said(decision: LeaverDecision, leftAt: Instant) {
  const offer = decision.action === 'offer' ? decision : null
  const since = (at: Instant | null | undefined) =>
    at ? formatDuration(secondsBetween(leftAt, at) as Seconds) : null
  return {
    decision: decision.action,
    rule: decision.rule,
    disableAfter: since(offer?.disableAt),
    oldKeysFor: since(offer?.oldKeysUntil),
  }
}

function before(instant: Instant, length: string | undefined): Instant {
  const by = length === undefined ? 0 : parseDuration(length)!
  return addSeconds(instant, 0 - by)
}

function leaver(word: LeaveClass, leftAt: Instant): OwnerState {
  const left = state(ids.owner, false, leftAt)
  return { ...left, notices: [{ class: word, at: leftAt }], manager: ids.manager }
}

function state(id: string, active: boolean, leftAt: Instant | null): OwnerState {
  const ref = { type: 'User', id } as const
  return { ref, active, held: false, leftAt, notices: [], displayName: id, manager: null }
}

/** Of an account only what the decision looks at. */
function accountOf({ account, leaves }: Case, leftAt: Instant): ServiceAccount {
  const nominatedAt = before(leftAt, leaves?.backup)
  const acceptedAt = leaves?.accepted ? nominatedAt : null
  const backups =
    leaves?.backup === undefined
      ? []
      : [{ type: 'User', id: ids.backup, nominatedAt, acceptedAt } as const]
  const looked: Partial<ServiceAccount> = {
    status: 'active',
    protected: account?.protected ?? false,
    backups,
    orphanedAt: null,
    owner: { type: 'User', id: ids.owner },
  }
  return looked as ServiceAccount
}
