import { describe, expect, it } from 'vitest'
import { indexed, sqlite } from '../../bench/cases.ts'
import type { Sample } from '../../bench/measure.ts'
import { judge } from '../../bench/scim.ts'
import { figure, isMet } from '../../bench/table.ts'

const sample = (perSecond: number): Sample => ({
  perSecond,
  cpu: 1e6 / perSecond,
  busy: 1,
  p50: 1,
  p99: 2,
  rssAnon: 100,
})
const get = (by: string, rates: readonly number[]) => ({
  what: 'get',
  by,
  size: '1k',
  samples: rates.map(sample),
})

describe('goals between cases', () => {
  it('are judged by the median of the ratios within the rounds, not by the ratio of medians', () => {
    const custody = get(sqlite, [100, 2_000, 3_000])
    const peer = get(indexed, [100, 100, 400])

    const [goal] = judge([custody, peer], ['1k'])

    expect(goal!.value.values).toEqual([1, 20, 7.5])
    expect(goal).toMatchObject({ name: 'get ≥ 10 × scimmy-routers, indexed', atLeast: 10 })
    expect(isMet(goal!)).toBe(false)
  })

  it('are left out where one of the two was not measured', () => {
    expect(judge([get(sqlite, [100])], ['1k'])).toEqual([])
  })
})

describe('a figure in a table', () => {
  it.each([
    [0.3456, '0.35'],
    [12.345, '12.3'],
    [1234.5, '1,235'],
    [1_234_567, '1,234,567'],
    [5, '5'],
  ])('%d is written %s', (value, text) => {
    expect(figure(value)).toBe(text)
  })
})
