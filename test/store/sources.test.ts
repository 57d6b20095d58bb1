import { describe, expect, it } from 'vitest'
import type { BoundNode } from '../../src/scim/filter.ts'
import { isIndexed } from '../../src/store/store.ts'
import { attribute, bound, compare } from '../conformance/store-filters.ts'
import { nhi } from '../support/json-codec.ts'

const exact = { caseExact: true } as const
const userName = compare('userName', 'eq', 'a')
const title = compare('title', 'eq', 'a')
const not = (node: BoundNode): BoundNode => ({ op: 'not', node })
const join = (op: 'and' | 'or', ...nodes: BoundNode[]): BoundNode => ({ op, nodes })

describe('isIndexed', () => {
  it.each<[string, BoundNode, boolean]>([
    ['userName eq', userName, true],
    ['userName sw', compare('userName', 'sw', 'a'), true],
    ['userName sw ""', compare('userName', 'sw', ''), false],
    ['userName co', compare('userName', 'co', 'a'), false],
    ['userName ne', compare('userName', 'ne', 'a'), false],
    ['not userName ne', not(compare('userName', 'ne', 'a')), true],
    ['not userName eq', not(userName), false],
    ['exact userName gt', compare(attribute('userName', exact), 'gt', 'a'), false],
    ['owner', compare(attribute(`${nhi} owner value`, exact), 'eq', 'x'), true],
    ['owner, folded at each row', compare(`${nhi} owner value`, 'eq', 'x'), false],
    ['an attribute of the document', title, false],
    ['absence', compare('userName', 'eq', null), false],
    ['and with one of them', join('and', title, userName), true],
    ['or with one of them', join('or', title, userName), false],
    ['or of both', join('or', userName, compare('id', 'eq', 'x')), true],
    ['not over and', not(join('and', not(userName), title)), false],
    ['not over or', not(join('or', not(userName), title)), true],
    ['never', { op: 'never' }, true],
    ['a value path', { op: 'valuePath', attribute: attribute('emails[]'), element: title }, false],
  ])('%s', (_, root, expected) => {
    expect(isIndexed(bound(root))).toBe(expected)
  })

  it('knows the indexes of credentials', () => {
    const account = bound(compare('serviceAccount value', 'eq', 'x'))

    expect(isIndexed(account, 'credentials')).toBe(true)
    expect(isIndexed(account)).toBe(false)
  })
})
