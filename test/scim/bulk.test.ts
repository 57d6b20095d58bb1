import { describe, expect, it } from 'vitest'
import type { Json } from '../../src/domain/json.ts'
import {
  bulkRequestUrn,
  completionOf,
  parseBulk,
  planBulk,
  referencesIn,
  resolveReferences,
  withoutDeferred,
} from '../../src/scim/bulk.ts'

const envelope = (Operations: Json, more: Record<string, Json> = {}): Json => ({
  schemas: [bulkRequestUrn],
  Operations,
  ...more,
})
const post = (bulkId: string, data: Json, path = '/Users'): Json => ({
  method: 'POST',
  path,
  bulkId,
  data,
})

describe('parseBulk', () => {
  it.each<readonly [string, Json, string]>([
    ['a list', [], 'invalidSyntax'],
    ['no schemas', { Operations: [post('a', {})] }, 'invalidSyntax'],
    ['no operations', envelope([]), 'invalidSyntax'],
    ['operations that are no list', envelope({}), 'invalidSyntax'],
    ['failOnErrors 0', envelope([post('a', {})], { failOnErrors: 0 }), 'invalidValue'],
    ['failOnErrors as text', envelope([post('a', {})], { failOnErrors: '1' }), 'invalidValue'],
    ['501 operations', envelope(Array.from({ length: 501 }, () => ({}))), 'tooManyOperations'],
  ])('refuses %s as a whole', (_name, body, code) => {
    expect(() => parseBulk(body)).toThrow(expect.objectContaining({ code }))
  })

  it.each<readonly [string, Json, RegExp]>([
    ['no method', { path: '/Users', bulkId: 'a', data: {} }, /method/],
    ['an unknown method', { method: 'GET', path: '/Users/1' }, /method/],
    ['no path', { method: 'DELETE' }, /path/],
    ['a POST without bulkId', { method: 'POST', path: '/Users', data: {} }, /bulkId/],
    ['a POST to an id', { method: 'POST', path: '/Users/1', bulkId: 'a', data: {} }, /id/],
    ['a PUT without id', { method: 'PUT', path: '/Users', data: {} }, /id/],
    ['a PATCH without data', { method: 'PATCH', path: '/Users/1' }, /data/],
    ['a nested Bulk', post('a', {}, '/Bulk'), /no place/],
    ['/Me', { method: 'PATCH', path: '/me', data: {} }, /no place/],
    ['a path that goes on', { method: 'DELETE', path: '/Users/1/more' }, /Endpoint/],
    ['no object', 7, /object/],
  ])('finds fault with %s, in that operation alone', (_name, operation, message) => {
    const { operations } = parseBulk(envelope([operation, post('ok', {})]))

    expect(operations[0]!.fault?.message).toMatch(message)
    expect(operations[1]!.fault).toBeNull()
  })

  it('reads names and methods in any case, and paths with a base in front', () => {
    const { operations, failOnErrors } = parseBulk({
      SCHEMAS: [bulkRequestUrn],
      operations: [{ METHOD: 'delete', Path: '/scim/v2/Users/1', version: 'W/"3"' }],
      failonerrors: 2,
    })

    expect(failOnErrors).toBe(2)
    expect(operations[0]).toMatchObject({
      method: 'DELETE',
      endpoint: '/Users',
      id: '1',
      version: 'W/"3"',
      fault: null,
    })
  })

  it('lets a bulkId stand for one operation only', () => {
    const { operations } = parseBulk(envelope([post('a', {}), post('a', {})]))

    expect(operations.map((o) => o.fault?.code ?? null)).toEqual([null, 'invalidValue'])
  })
})

describe('planBulk', () => {
  const plan = (...items: Json[]) =>
    planBulk(parseBulk(envelope(items)).operations).map((step) =>
      step.type === 'run'
        ? `run ${step.index}${step.deferred.length > 0 ? ` without ${step.deferred.map((d) => d.path).join()}` : ''}${step.fault ? ` ${step.fault.code}` : ''}`
        : `complete ${step.index}`,
    )
  const ref = (bulkId: string): Json => ({ value: `bulkId:${bulkId}` })

  it('keeps the order where nothing refers to anything', () => {
    expect(plan(post('a', {}), { method: 'DELETE', path: '/Users/1' }, post('b', {}))).toEqual([
      'run 0',
      'run 1',
      'run 2',
    ])
  })

  it('puts what is referred to first, in values and in paths', () => {
    expect(
      plan(
        { method: 'PATCH', path: '/Users/bulkId:b', data: {} },
        post('a', { manager: ref('c') }),
        post('b', {}),
        post('c', {}),
      ),
    ).toEqual(['run 2', 'run 0', 'run 3', 'run 1'])
  })

  it('breaks a circle of two where it closes, and completes it as soon as it can', () => {
    expect(plan(post('a', { x: ref('b') }), post('b', { y: [ref('a')], z: 1 }))).toEqual([
      'run 1 without y',
      'run 0',
      'complete 1',
    ])
  })

  it('breaks a circle of three, and one with itself inside an extension', () => {
    expect(
      plan(post('a', { x: ref('b') }), post('b', { x: ref('c') }), post('c', { x: ref('a') })),
    ).toEqual(['run 2 without x', 'run 1', 'run 0', 'complete 2'])
    expect(plan(post('a', { 'urn:e': { manager: ref('a'), other: 1 } }))).toEqual([
      'run 0 without urn:e:manager',
      'complete 0',
    ])
  })

  it('names a reference that nothing can resolve', () => {
    expect(plan(post('a', { x: ref('nobody') }))).toEqual(['run 0 bulkIdUnresolved'])
  })

  it('does not recurse without end through a chain of 500', () => {
    const chain = Array.from({ length: 500 }, (_, i) =>
      post(`o${i}`, i < 499 ? { x: ref(`o${i + 1}`) } : {}),
    )

    expect(plan(...chain).at(0)).toBe('run 499')
  })
})

describe('references', () => {
  it('are whole values anywhere, and nothing else', () => {
    expect(
      referencesIn({ a: 'bulkId:x', b: [{ c: 'bulkId:y' }, 'see bulkId:z'], d: 'bulkId:x' }),
    ).toEqual(['x', 'y'])
  })

  it('are replaced by ids; what is unknown stays', () => {
    const ids = new Map([['x', '1']])

    expect(resolveReferences({ a: ['bulkId:x', 'bulkId:y', 'bulkId:xx'] }, ids)).toEqual({
      a: ['1', 'bulkId:y', 'bulkId:xx'],
    })
  })

  it('that were left out come back as a PATCH', () => {
    const data = { name: 'n', members: ['bulkId:a'], 'urn:e': { manager: 'bulkId:a', x: 1 } }
    const deferred = [
      { keys: ['members'], path: 'members' },
      { keys: ['urn:e', 'manager'], path: 'urn:e:manager' },
    ]

    expect(withoutDeferred(data, deferred)).toEqual({ name: 'n', 'urn:e': { x: 1 } })
    expect(completionOf(data, deferred)['Operations']).toEqual([
      { op: 'add', path: 'members', value: ['bulkId:a'] },
      { op: 'add', path: 'urn:e:manager', value: 'bulkId:a' },
    ])
  })
})
