import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { addSeconds, day, instantOf, type Instant } from '../../src/domain/time.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import { type FreezeWindow, frozenAt, frozenFor, readWindow } from '../../src/policy/windows.ts'

const at = (text: string) => text as Instant
const window = (raw: Parameters<typeof readWindow>[0]): FreezeWindow => {
  const read = readWindow(raw)
  if (!('kind' in read)) throw new Error(read.problem)
  return read
}
const zone = 'Europe/Berlin'
const weekend = window({ name: 'weekend', every: 'Fri 16:00 - Mon 06:00', zone })
const holidays = window({ name: 'holidays', from: '2026-12-21', until: '2027-01-04', zone })

describe('a freeze window', () => {
  it.each([
    ['in winter', '2026-11-27T14:59:59.000Z', null],
    ['from its first second', '2026-11-27T15:00:00.000Z', '2026-11-30T05:00:00.000Z'],
    ['to its last', '2026-11-30T04:59:59.000Z', '2026-11-30T05:00:00.000Z'],
    ['and no longer', '2026-11-30T05:00:00.000Z', null],
    ['in summer', '2026-07-03T14:00:00.000Z', '2026-07-06T04:00:00.000Z'],
    ['over the end of summer time', '2026-10-23T14:00:00.000Z', '2026-10-26T05:00:00.000Z'],
    ['over its beginning', '2026-03-27T15:00:00.000Z', '2026-03-30T04:00:00.000Z'],
  ])('holds by the clocks of its zone: %s', (_, now, until) => {
    const frozen = frozenAt([weekend], at(now))

    expect(frozen).toEqual(until === null ? null : { window: 'weekend', until })
  })

  it('follows one that ends in it without a gap, and is told of as one', () => {
    const now = at('2026-12-19T12:00:00.000Z')

    expect(frozenAt([holidays, weekend], now)).toEqual({
      window: 'weekend',
      until: '2027-01-04T05:00:00.000Z',
    })
  })

  it('ends in a moment that it does not hold, wherever the clocks are put forward (law)', () => {
    const moment = fc.integer({ min: Date.parse('2026-01-01'), max: Date.parse('2029-01-01') })
    const zones = fc.constantFrom('Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe')
    const ends = fc.constantFrom('Sun 02:30', 'Sun 01:59', 'Mon 00:00')
    fc.assert(
      fc.property(moment, zones, ends, (ms, where, end) => {
        const one = window({ name: 'w', every: `Sat 01:30 - ${end}`, zone: where })
        const now = instantOf(ms)
        const frozen = frozenAt([one], now)
        if (frozen === null) return
        expect(frozen.until > now && frozen.until <= addSeconds(now, 2 * day)).toBe(true)
        expect(frozenAt([one], frozen.until)).toBeNull()
      }),
      { numRuns: 200 },
    )
  })

  it('lets what waited go on one after the other within an hour, each always at its own time', () => {
    const now = at('2026-11-28T12:00:00.000Z')
    const ends = Array.from({ length: 60 }, (_, i) => frozenFor([weekend], `id-${i}`, now)!.until)

    expect(new Set(ends).size).toBeGreaterThan(50)
    expect(ends.every((e) => e >= '2026-11-30T05' && e < '2026-11-30T06')).toBe(true)
    for (const [i, end] of ends.entries()) {
      const just = addSeconds(end, -1)
      expect(frozenFor([weekend], `id-${i}`, just)).toEqual({ window: 'weekend', until: end })
      expect(frozenFor([weekend], `id-${i}`, end)).toBeNull()
    }
  })
})

const shipped = readFileSync(new URL('../../policies/lifecycle.yaml', import.meta.url), 'utf8')
const withFreeze = (freeze: string) =>
  `${shipped.slice(0, shipped.indexOf('\nrules:'))}\nrules:
  - name: production rests
    when: { environment: prod }
    set:
      freeze:
${freeze}`
const problemsOf = (freeze: string): string => {
  try {
    compileLifecycle(withFreeze(freeze), 'lifecycle.yaml')
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

describe('freeze windows in the policy', () => {
  it('hold for what the rule selects, and an empty list lifts them', () => {
    const policy = compileLifecycle(
      `${withFreeze('        - { name: year end, from: 2026-12-20, until: 2027-01-04T08:00:00Z }')}
  - name: this one does not rest
    when: { label: always }
    set: { freeze: [] }
`,
      'lifecycle.yaml',
    )
    const prod = { environment: 'prod', labels: [], imported: false }

    expect(policy.termsFor({ ...prod, environment: 'test' }).freeze).toEqual([])
    expect(policy.termsFor({ ...prod, labels: ['always'] }).freeze).toEqual([])
    expect(policy.termsFor(prod).freeze).toEqual([
      {
        kind: 'once',
        name: 'year end',
        from: '2026-12-20T00:00:00.000Z',
        until: '2027-01-04T08:00:00.000Z',
      },
    ])
  })

  it.each([
    ['{ name: a, from: 2027-01-04, until: 2026-12-20 }', /until: lies before from/],
    ['{ name: a, from: 2026-02-30, until: 2026-12-20 }', /from: must be a date such as/],
    ['{ name: a, from: "2026-12-20T10:00", until: 2026-12-21 }', /from: must be a date such as/],
    ['{ name: a, from: 2026-12-20 }', /name: needs until, or every and zone/],
    ['{ name: a, every: Fri 16:00 - Mon 06:00 }', /every: needs a zone/],
    [
      '{ name: a, every: Fri 16:00 - Mon 06:00, zone: Europe/Berln }',
      /zone: "Europe\/Berln" is no/,
    ],
    [
      '{ name: a, every: Fri 16:00 - Mon 06:00, zone: "+02:00" }',
      /zone: "\+02:00" is no time zone/,
    ],
    ['{ name: a, every: Fry 16:00 - Mon 06:00, zone: UTC }', /every: "Fry" is no weekday/],
    ['{ name: a, every: Fri 16:00 - Mon 24:00, zone: UTC }', /every: must be a part of the week/],
    [
      '{ name: a, every: Fri 16:00 - Fri 16:00, zone: UTC }',
      /every: .* an end other than its start/,
    ],
    [
      '{ name: a, every: Fri 16:00 - Mon 06:00, zone: UTC, from: 2026-12-20 }',
      /every: stands alone/,
    ],
    ['{ nam: a, from: 2026-12-20, until: 2026-12-21 }', /did you mean "name"/],
  ])('refuse %s with the line', (entry, problem) => {
    const text = withFreeze(`        - ${entry}`)
    const line = text.slice(0, text.indexOf(entry)).split('\n').length

    expect(problemsOf(`        - ${entry}`)).toMatch(problem)
    expect(problemsOf(`        - ${entry}`)).toContain(`lifecycle.yaml:${line}: `)
  })

  it('refuse two of one name, and a week that never opens', () => {
    const weekly = (name: string, every: string) =>
      `        - { name: ${name}, every: ${every}, zone: Europe/Berlin }`
    const first = 'Mon 00:00 - Fri 12:00'
    const second = 'Fri 11:00 - Mon 01:00'

    expect(
      problemsOf([weekly('a', first), weekly('a', 'Sat 00:00 - Sun 00:00')].join('\n')),
    ).toMatch(/names an earlier window too/)
    expect(problemsOf([weekly('a', first), weekly('b', second)].join('\n'))).toMatch(
      /lifecycle.yaml:\d+: .*freeze: leaves no moment of the week open/,
    )
    expect(problemsOf([weekly('a', first), weekly('b', 'Sat 00:00 - Mon 00:00')].join('\n'))).toBe(
      '',
    )
  })
})
