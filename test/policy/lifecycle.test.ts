import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import type { CredentialKind } from '../../src/domain/credential.ts'
import { checkRequired } from '../../src/lifecycle/required-kind.ts'
import { describe, expect, it } from 'vitest'
import { AppError } from '../../src/domain/errors.ts'
import { day, hour } from '../../src/domain/time.ts'
import {
  compileLifecycle,
  type LifecycleSubject,
  type LifecycleTerms,
} from '../../src/policy/lifecycle.ts'

const shippedText = readFileSync(new URL('../../policies/lifecycle.yaml', import.meta.url), 'utf8')
const shipped = compileLifecycle(shippedText, 'lifecycle.yaml')
const plain: LifecycleSubject = { environment: null, labels: [], imported: false }

/** The shipped defaults with other rules below them. */
function withRules(rules: string): string {
  return `${shippedText.slice(0, shippedText.indexOf('\nrules:'))}\nrules:\n${rules}`
}

function problemsOf(text: string): string[] {
  try {
    compileLifecycle(text, 'lifecycle.yaml')
    return []
  } catch (error) {
    if (error instanceof AppError && error.code === 'policyInvalid') {
      return error.message.split('\n')
    }
    throw error
  }
}

function lineOf(text: string, part: string): number {
  return text.slice(0, text.indexOf(part)).split('\n').length
}

describe('the shipped lifecycle policy', () => {
  it('gives an ordinary account the published defaults', () => {
    expect(shipped.termsFor(plain)).toEqual({
      expiry: { default: 90 * day, cap: 365 * day },
      rotation: {
        every: 30 * day,
        overlap: 7 * day,
        soak: 7 * day,
        maxAge: 90 * day,
        atMaxAge: 'ask',
        remindEvery: day,
      },
      leaver: {
        overlap: hour,
        acceptWithin: 3 * day,
        backupMinAge: 0,
        groupGrace: hour,
        deletedGrace: 0,
        deactivatedGrace: 0,
        leaveDateGrace: 0,
        planAhead: 14 * day,
        onMemberLeft: 'nothing',
        moverDebounce: 14 * day,
        contain: false,
        containFor: 4 * hour,
        containWhenUsedWithin: 24 * hour,
      },
      hold: 90 * day,
      enforcement: 'enforce',
      require: [],
      freeze: [],
    })
  })

  it('contains production accounts and lets their nominations mature for a week', () => {
    const { leaver } = shipped.termsFor({ ...plain, environment: 'prod' })

    expect(leaver).toMatchObject({ contain: true, backupMinAge: 7 * day, overlap: hour })
  })

  it('only observes imported accounts, and says by which rule', () => {
    const imported = { ...plain, imported: true }

    expect(shipped.termsFor(imported).enforcement).toBe('observe')
    expect(shipped.rulesFor(imported)).toEqual(['imported accounts are watched first'])
  })

  it('carries a version that changes with any change of the text', () => {
    expect(shipped.version).toMatch(/^[0-9a-f]{12}$/)
    expect(compileLifecycle(`${shippedText}\n# note`, 'x').version).not.toBe(shipped.version)
  })
})

describe('selectors', () => {
  const cases: readonly (readonly [string, Partial<LifecycleSubject>, boolean])[] = [
    ['{ provider: aws }', { provider: 'aws' }, true],
    ['{ provider: aws }', { provider: 'github' }, false],
    ['{ provider: aws }', {}, false],
    ['{ provider: [aws, github] }', { provider: 'github' }, true],
    ['{ kind: access-key }', { kind: 'access-key' }, true],
    ['{ kind: access-key }', { kind: null }, false],
    ['{ environment: [dev, test] }', { environment: 'test' }, true],
    ['{ environment: dev }', { environment: null }, false],
    ['{ label: team=core }', { labels: ['team=core'] }, true],
    ['{ label: team=core }', { labels: ['team=core2'] }, false],
    ['{ label: team }', { labels: ['team=web'] }, true],
    ['{ label: team }', { labels: ['teams=web'] }, false],
    ['{ label: [a=1, b=2] }', { labels: ['b=2'] }, true],
    ['{ consumer: [oidc, github-actions] }', { consumers: ['x', 'github-actions'] }, true],
    ['{ consumer: github-actions }', { consumers: ['kubernetes'] }, false],
    ['{ consumer: github-actions }', {}, false],
    ['{ imported: false }', { imported: false }, true],
    ['{ imported: false }', { imported: true }, false],
    ['{ environment: dev, imported: true }', { environment: 'dev', imported: true }, true],
    ['{ environment: dev, imported: true }', { environment: 'dev' }, false],
  ]
  it.each(cases)('%s against %o is %s', (when, subject, expected) => {
    const policy = compileLifecycle(
      withRules(`  - { name: r, when: ${when}, set: { hold: P1D } }`),
      'x',
    )

    expect(policy.termsFor({ ...plain, ...subject }).hold === day).toBe(expected)
  })
})

describe('kinds that policy insists on', () => {
  const insist = (require: string) =>
    withRules(`  - { name: r, when: { consumer: github-actions }, set: { require: ${require} } }`)
  const required = (text: string) =>
    compileLifecycle(text, 'x').termsFor({ ...plain, consumers: ['github-actions'] }).require

  it('are one or several, and none as shipped', () => {
    expect(required(shippedText)).toEqual([])
    expect(required(insist('federated-role'))).toEqual(['federated-role'])
    expect(required(insist('[federated-role, app-token]'))).toEqual(['federated-role', 'app-token'])
  })

  it('are what the commented example of the shipped file says', () => {
    const uncommented = shippedText.replaceAll(/^ {2}# (- name: GitHub| {2})/gm, '  $1')

    const policy = compileLifecycle(uncommented, 'x')

    const subject = { ...plain, provider: 'aws-prod', consumers: ['github-actions'] }
    expect(policy.termsFor(subject).require).toEqual(['federated-role'])
    expect(policy.termsFor({ ...subject, consumers: ['kubernetes'] }).require).toEqual([])
  })

  it('bind only where one of them can be had', () => {
    const provider = (...kinds: string[]) => ({
      name: 'p',
      capabilities: Object.fromEntries(kinds.map((kind) => [kind, {}])),
    })
    const check = (offered: string[], kind: CredentialKind) => () =>
      checkRequired({ require: ['federated-role'] }, provider(...offered), { kind })

    expect(check(['access-key', 'federated-role'], 'federated-role')).not.toThrow()
    expect(check(['deploy-key'], 'deploy-key')).not.toThrow()
    expect(check(['access-key', 'federated-role'], 'access-key')).toThrow(
      'Policy takes no "access-key" of provider "p" for consumers of this kind; ask for: "federated-role".',
    )
  })

  it('are refused when nobody issues them', () => {
    expect(problemsOf(insist('federated-rule'))[0]).toContain('must be one of: api-token')
  })
})

describe('a policy with mistakes', () => {
  it.each(['P1Y', 'P1M', 'P1Y2M', '90', 'P', 'soon', 'P-1D'])('refuses the span %s', (span) => {
    const text = shippedText.replace('hold: P90D', `hold: ${span}`)

    const [problem] = problemsOf(text)

    expect(problem).toMatch(/^lifecycle\.yaml:\d+: defaults\.hold: must be /)
    expect(problem).toContain(`:${lineOf(text, `hold: ${span}`)}:`)
  })

  it('names every problem at once, with its line and the nearest key', () => {
    const text = shippedText
      .replace('cap: P365D', 'cpa: P365D')
      .replace('soak: P7D', 'soak: P1M')
      .replace('enforcement: enforce #', 'enforcement: forced #')
      .replace('{ imported: true }', '{ importd: true }')

    const problems = problemsOf(text)

    expect(problems).toEqual([
      expect.stringMatching(/defaults\.expiry\.cap: is required/),
      expect.stringMatching(/defaults\.expiry\.cpa: unknown key; did you mean "cap"\?/),
      expect.stringMatching(/defaults\.rotation\.soak: must be a duration/),
      expect.stringMatching(/defaults\.enforcement: must be one of: observe, enforce/),
      expect.stringMatching(/rules\[1\]\.when\.importd: unknown key; did you mean "imported"\?/),
    ])
    expect(problems[4]).toContain(`lifecycle.yaml:${lineOf(text, '{ importd')}:`)
  })

  it.each([
    ['not a map', '- a\n- b', /must be a map/],
    ['empty', '', /must be a map/],
    ['broken YAML', 'defaults: {', /lifecycle\.yaml:1: /],
    ['a key twice', shippedText.replace('cap: P365D', 'default: P365D'), /unique/],
  ])('refuses a file that is %s', (_, text, expected) => {
    expect(problemsOf(text).join('\n')).toMatch(expected)
  })

  it('refuses a rotation that cannot fit into the maximum age', () => {
    const text = shippedText.replace('every: P30D', 'every: P77D')

    const [problem] = problemsOf(text)

    expect(problem).toContain('every + overlap + soak is P91D, longer than maxAge P90D')
    expect(problem).toContain(`:${lineOf(text, 'rotation:\n')}:`)
  })

  it('finds a period and a maximum age that only clash when two rules meet', () => {
    const text =
      withRules(`  - { name: slow, when: { environment: prod }, set: { rotation: { every: P70D } } }
  - { name: strict, when: { kind: access-key }, set: { rotation: { maxAge: P45D } } }`)

    const problems = problemsOf(text)

    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(`:${lineOf(text, 'name: strict')}:`)
  })

  it('accepts rules that would clash but can never meet', () => {
    const text =
      withRules(`  - { name: slow, when: { environment: prod }, set: { rotation: { every: P70D } } }
  - { name: strict, when: { environment: dev }, set: { rotation: { maxAge: P45D } } }`)

    expect(problemsOf(text)).toEqual([])
  })

  it('refuses a default end date beyond the cap, and two rules of one name', () => {
    const text =
      withRules(`  - { name: a, when: { environment: x }, set: { expiry: { cap: P10D } } }
  - { name: a, when: { environment: y }, set: { hold: P1D } }`)

    expect(problemsOf(text)).toEqual([
      expect.stringContaining('default P90D lies beyond cap P10D'),
      expect.stringContaining('names an earlier rule too'),
    ])
  })

  it('limits how many labels it has to combine', () => {
    const rules = Array.from(
      { length: 9 },
      (_, i) => `  - { name: r${i}, when: { label: l${i} }, set: { rotation: { every: P1D } } }`,
    )

    expect(problemsOf(withRules(rules.join('\n')))[0]).toContain('at most 8 different labels')
  })
})

describe('the order of rules', () => {
  const environments = ['dev', 'test', 'prod'] as const
  const field = fc.constantFrom('hold', 'leaver.overlap', 'leaver.containFor', 'enforcement')
  const rule = fc.record({
    environment: fc.option(fc.constantFrom(...environments)),
    imported: fc.option(fc.boolean()),
    label: fc.option(fc.constantFrom('a=1', 'b=2')),
    field,
    days: fc.integer({ min: 1, max: 900 }),
  })
  const subject = fc.record({
    environment: fc.option(fc.constantFrom(...environments, 'other')),
    imported: fc.boolean(),
    labels: fc.subarray(['a=1', 'b=2', 'c=3']),
  })
  type Rule = typeof rule extends fc.Arbitrary<infer T> ? T : never

  function valueOf(r: Rule): string | number {
    if (r.field === 'enforcement') return r.days % 2 ? 'observe' : 'enforce'
    return r.days * day
  }

  function yamlOf(r: Rule, index: number): string {
    const when = [
      ...(r.environment ? [`environment: ${r.environment}`] : []),
      ...(r.imported === null ? [] : [`imported: ${r.imported}`]),
      ...(r.label ? [`label: ${r.label}`] : []),
    ]
    const value = r.field === 'enforcement' ? valueOf(r) : `P${r.days}D`
    const [outer, inner] = r.field.split('.')
    const set = inner ? `${outer}: { ${inner}: ${value} }` : `${outer}: ${value}`
    return `  - { name: r${index}, when: { ${when.join(', ')} }, set: { ${set} } }`
  }

  function get(terms: LifecycleTerms, name: string): unknown {
    return name.split('.').reduce<unknown>((v, k) => (v as Record<string, unknown>)[k], terms)
  }

  it('lets the last matching rule decide each field, and leaves the others alone', () => {
    fc.assert(
      fc.property(
        fc.array(
          rule.filter((r) => r.environment !== null || r.imported !== null || r.label !== null),
          { minLength: 1, maxLength: 8 },
        ),
        subject,
        (rules, who) => {
          const policy = compileLifecycle(withRules(rules.map(yamlOf).join('\n')), 'x')
          const terms = policy.termsFor(who)
          const base = shipped.termsFor(plain)
          const hit = (r: Rule) =>
            (r.environment === null || r.environment === who.environment) &&
            (r.imported === null || r.imported === who.imported) &&
            (r.label === null || who.labels.includes(r.label))

          for (const name of ['hold', 'leaver.overlap', 'leaver.containFor', 'enforcement']) {
            const last = rules.findLast((r) => r.field === name && hit(r))
            expect(get(terms, name)).toBe(last ? valueOf(last) : get(base, name))
          }
          expect(terms.rotation).toEqual(base.rotation)
          expect(policy.rulesFor(who)).toHaveLength(rules.filter(hit).length)
        },
      ),
      { numRuns: 150 },
    )
  })
})

describe('the mass-leave brake', () => {
  const section = shippedText.slice(
    shippedText.indexOf('  brake:\n'),
    shippedText.indexOf('\nrules:'),
  )
  const withBrake = (brake: string) => shippedText.replace(section, brake)

  it('is what the contract says, also of a policy that was written before there was one', () => {
    const published = { least: 5, hourly: 0.01, daily: 0.03 }

    expect(shipped.brake).toEqual(published)
    expect(compileLifecycle(withBrake(''), 'x').brake).toEqual(published)
  })

  it('takes a share as it is written, and the rest from the standard', () => {
    const text = withBrake('  brake: { hourly: 0.5%, daily: 20% }\n')

    expect(compileLifecycle(text, 'x').brake).toEqual({ least: 5, hourly: 0.005, daily: 0.2 })
  })

  it.each([
    ['  brake: { least: 0 }\n', 'defaults.brake.least'],
    ['  brake: { least: 2.5 }\n', 'defaults.brake.least'],
    ['  brake: { hourly: 1 }\n', 'defaults.brake.hourly'],
    ['  brake: { hourly: 1 percent }\n', 'must be a share such as 1%'],
    ['  brake: { hourly: 200%, daily: 300% }\n', 'shares go up to 100%'],
    ['  brake: { hourly: 5%, daily: 4% }\n', 'smaller share than hourly'],
    ['  brake: { weekly: 4% }\n', 'unknown key'],
    ['  brake: {}\n', 'defaults.brake'],
  ])('refuses %j', (brake, problem) => {
    expect(problemsOf(withBrake(brake)).join('\n')).toContain(problem)
  })

  it('cannot be changed by a rule, which knows accounts and no directories', () => {
    const rule = '  - { name: x, when: { environment: dev }, set: { brake: { least: 9 } } }'

    expect(problemsOf(withRules(rule)).join('\n')).toContain('brake: unknown key')
  })
})
