import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'
import { isJsonObject } from '../../src/domain/json.ts'
import { normalise } from '../../src/domain/text.ts'
import type { Instant } from '../../src/domain/time.ts'
import { parseInstant } from '../../src/domain/time.ts'
import type {
  BoundAttribute,
  BoundFilter,
  BoundNode,
  CompareOperator,
  FilterValue,
} from '../../src/scim/filter.ts'
import type { Store } from '../../src/store/store.ts'
import { makeAccount, makeCredential, makePerson, t0 } from '../support/entities.ts'
import { nhi } from '../support/json-codec.ts'

type Options = Partial<Pick<BoundAttribute, 'type' | 'caseExact'>>

/** `a[]` marks an array, ` ` separates keys, since URNs contain dots. */
export function attribute(spec: string, options: Options = {}): BoundAttribute {
  const parts = spec.split(' ')
  const keys = parts.map((p) => p.replace('[]', ''))
  return {
    path: keys.join('.'),
    keys,
    multiValued: parts.map((p) => p.endsWith('[]')),
    type: 'string',
    caseExact: false,
    ...options,
  }
}

export function compare(
  spec: string | BoundAttribute,
  operator: CompareOperator,
  value: FilterValue,
): BoundNode {
  const bound = typeof spec === 'string' ? attribute(spec) : spec
  const folds = bound.type === 'string' && !bound.caseExact && typeof value === 'string'
  return { op: 'compare', attribute: bound, operator, value: folds ? normalise(value) : value }
}

const present = (spec: string): BoundNode => ({ op: 'present', attribute: attribute(spec) })
const not = (node: BoundNode): BoundNode => ({ op: 'not', node })
const and = (...nodes: BoundNode[]): BoundNode => ({ op: 'and', nodes })
const or = (...nodes: BoundNode[]): BoundNode => ({ op: 'or', nodes })
const path = (spec: string, element: BoundNode): BoundNode => ({
  op: 'valuePath',
  attribute: attribute(spec),
  element,
})
export const bound = (root: BoundNode) => ({ root }) as BoundFilter

const bool: Options = { type: 'boolean' }
const date: Options = { type: 'dateTime' }
const number: Options = { type: 'integer' }
const exact: Options = { caseExact: true }

const anna = makePerson({
  userName: 'Anna',
  externalId: 'E-1',
  attributes: {
    name: { familyName: 'Ängström', givenName: 'Anna' },
    title: 'Head of "Ops"',
    emails: [
      { value: 'anna@work.example', type: 'work', primary: true },
      { value: 'anna@home.example', type: 'home' },
    ],
    hired: '2026-01-01T00:00:00Z',
    level: 7,
    tags: ['red', 'Blue'],
    'urn:x:2.0:User': { costCenter: 'C.1' },
  },
})
const bob = makePerson({
  userName: 'bob_100%',
  active: false,
  attributes: {
    name: { familyName: 'Berg' },
    emails: [],
    hired: '2026-01-01T02:00:00+01:00',
    level: 12,
    nothing: {},
    title: null,
  },
})
const bot = makeAccount({
  userName: 'deploy-bot',
  owner: { type: 'User', id: anna.id },
  environment: 'Prod',
  labels: ['team=a', 'tier=1'],
  expiresAt: '2027-01-01T00:00:00.000Z' as Instant,
})
const old = makeAccount({
  userName: 'old-bot',
  owner: { type: 'Group', id: 'g' },
  status: 'disabled',
  expiresAt: '2026-12-01T00:00:00.000Z' as Instant,
})
const credentials = [
  makeCredential({ account: bot.id, provider: 'AWS-Prod', kind: 'access-key', scopes: ['read'] }),
  makeCredential({ account: bot.id, status: 'revoked' }),
  makeCredential({ account: old.id, scopes: ['read', 'write'] }),
]
const users = [anna, bob, bot, old]

const cases: readonly (readonly [string, BoundNode, readonly { readonly id: string }[]])[] = [
  ['userName eq, whatever its case', compare('userName', 'eq', 'ANNA'), [anna]],
  ['userName ne', compare('userName', 'ne', 'anna'), [bob, bot, old]],
  ['userName co', compare('userName', 'co', 'BOT'), [bot, old]],
  ['userName sw', compare('userName', 'sw', 'de'), [bot]],
  ['userName ew', compare('userName', 'ew', '-bot'), [bot, old]],
  ['percent and underscore as themselves', compare('userName', 'co', 'b_1'), [bob]],
  ['no wildcard', compare('userName', 'co', 'b%1'), []],
  ['userName gt', compare('userName', 'gt', 'bob_100%'), [bot, old]],
  ['userName in exact case', compare(attribute('userName', exact), 'eq', 'anna'), []],
  ['externalId', compare(attribute('externalId', exact), 'eq', 'E-1'), [anna]],
  ['externalId in the wrong case', compare(attribute('externalId', exact), 'eq', 'e-1'), []],
  [
    'externalId ne, missing included',
    compare(attribute('externalId', exact), 'ne', 'E-1'),
    [bob, bot, old],
  ],
  ['id', compare(attribute('id', exact), 'eq', bot.id), [bot]],
  ['active', compare(attribute('active', bool), 'eq', true), [anna, bot]],
  ['active ne', compare(attribute('active', bool), 'ne', true), [bob, old]],
  ['owner', compare(`${nhi} owner value`, 'eq', anna.id), [bot]],
  ['not owner', not(compare(`${nhi} owner value`, 'eq', anna.id)), [anna, bob, old]],
  [
    'expiresAt lt',
    compare(attribute(`${nhi} expiresAt`, date), 'lt', '2027-01-01T00:00:00.000Z'),
    [old],
  ],
  [
    'expiresAt le',
    compare(attribute(`${nhi} expiresAt`, date), 'le', '2027-01-01T00:00:00.000Z'),
    [bot, old],
  ],
  [
    'not expiresAt lt',
    not(compare(attribute(`${nhi} expiresAt`, date), 'lt', '2027-01-01T00:00:00.000Z')),
    [anna, bob, bot],
  ],
  ['status', compare(`${nhi} status`, 'eq', 'Disabled'), [old]],
  ['environment', compare(`${nhi} environment`, 'eq', 'prod'), [bot]],
  ['kind, from the document', compare(`${nhi} kind`, 'eq', 'serviceaccount'), [bot, old]],
  ['an extension as a whole', present(nhi), [bot, old]],
  ['no extension', not(present(nhi)), [anna, bob]],
  ['a dot in an extension URN', compare('urn:x:2.0:User costCenter', 'eq', 'c.1'), [anna]],
  ['a nested attribute beyond ASCII', compare('name familyName', 'eq', 'ÄNGSTRÖM'), [anna]],
  ['quotes in a value', compare('title', 'co', '"ops"'), [anna]],
  ['a missing attribute with ne', compare('title', 'ne', 'x'), [anna, bob, bot, old]],
  ['eq null as absent', compare('title', 'eq', null), [bob, bot, old]],
  ['ne null as present', compare('title', 'ne', null), [anna]],
  ['gt null as nothing', compare('title', 'gt', null), []],
  ['an empty object as absent', present('nothing'), []],
  ['an empty array as absent', present('emails[]'), [anna]],
  ['not present', not(present('emails[]')), [bob, bot, old]],
  ['any element', compare('emails[] type', 'eq', 'HOME'), [anna]],
  ['a bare complex attribute by its value', compare('emails[]', 'co', 'home.example'), [anna]],
  [
    'a bare complex attribute with value spelt out',
    compare('emails[] value', 'co', 'home.example'),
    [anna],
  ],
  ['ne on elements', compare('emails[] type', 'ne', 'home'), [anna, bob, bot, old]],
  ['not eq on elements', not(compare('emails[] type', 'eq', 'home')), [bob, bot, old]],
  ['a sub-attribute some element has', present('emails[] primary'), [anna]],
  ['a boolean in an element', compare(attribute('emails[] primary', bool), 'eq', true), [anna]],
  ['simple elements', compare('tags[]', 'eq', 'blue'), [anna]],
  ['simple elements of a value path', path('tags[]', compare('value', 'sw', 'bl')), [anna]],
  ['present simple elements', present('tags[]'), [anna]],
  ['labels inside the extension', compare(`${nhi} labels[]`, 'eq', 'team=a'), [bot]],
  ['numbers as numbers', compare(attribute('level', number), 'gt', 8), [bob]],
  ['dates as moments', compare(attribute('hired', date), 'gt', '2026-01-01T00:30:00.000Z'), [bob]],
  [
    'dates in any spelling',
    compare(attribute('hired', date), 'eq', '2026-01-01T00:00:00.000Z'),
    [anna],
  ],
  [
    'a value path that one element fulfils',
    path('emails[]', and(compare('type', 'eq', 'work'), compare('value', 'co', 'work'))),
    [anna],
  ],
  [
    'a value path that no single element fulfils',
    path('emails[]', and(compare('type', 'eq', 'work'), compare('value', 'co', 'home'))),
    [],
  ],
  ['a negation inside a value path', path('emails[]', not(present('primary'))), [anna]],
  ['a negated value path', not(path('emails[]', compare('type', 'eq', 'work'))), [bob, bot, old]],
  ['a value path on one complex value', path('name', compare('familyName', 'sw', 'b')), [bob]],
  [
    'no value path where there is no value',
    path('name', compare('familyName', 'ne', 'x')),
    [anna, bob],
  ],
  [
    'a negated value path on one complex value',
    not(path('name', compare('familyName', 'sw', 'b'))),
    [anna, bot, old],
  ],
  [
    'credentials kept beside the document',
    compare(`${nhi} credentials[] provider`, 'eq', 'aws-prod'),
    [bot],
  ],
  [
    'a value path into them',
    path(
      `${nhi} credentials[]`,
      and(compare('kind', 'eq', 'access-key'), compare('status', 'eq', 'active')),
    ),
    [bot],
  ],
  ['revoked ones are not there', compare(`${nhi} credentials[] status`, 'eq', 'revoked'), []],
  ['whether there are any', present(`${nhi} credentials[]`), [bot, old]],
  ['meta.created', compare(attribute('meta created', date), 'le', t0), [anna, bob, bot, old]],
  [
    'meta.resourceType',
    compare(attribute('meta resourceType', exact), 'eq', 'User'),
    [anna, bob, bot, old],
  ],
  [
    'meta.resourceType of others',
    compare(attribute('meta resourceType', exact), 'eq', 'Group'),
    [],
  ],
  [
    'and',
    and(compare('userName', 'co', 'bot'), compare(attribute('active', bool), 'eq', true)),
    [bot],
  ],
  ['or', or(compare('userName', 'eq', 'anna'), compare('userName', 'eq', 'old-bot')), [anna, old]],
  [
    'not over and',
    not(and(compare('userName', 'co', 'bot'), compare(attribute('active', bool), 'eq', true))),
    [anna, bob, old],
  ],
  [
    'not over or',
    not(or(compare('userName', 'eq', 'anna'), compare(attribute('active', bool), 'eq', false))),
    [bot],
  ],
  ['never', { op: 'never' }, []],
  ['not never', not({ op: 'never' }), [anna, bob, bot, old]],
  ['the empty text in everything', compare('title', 'co', ''), [anna]],
]

const credentialCases: readonly (readonly [string, BoundNode, readonly number[]])[] = [
  ['the account', compare('serviceAccount value', 'eq', bot.id), [0, 1]],
  ['the provider, whatever its case', compare('provider', 'eq', 'aws-PROD'), [0]],
  ['the provider in exact case', compare(attribute('provider', exact), 'eq', 'aws-prod'), []],
  ['the kind', compare('kind', 'eq', 'api-token'), [1, 2]],
  ['the status', compare('status', 'ne', 'revoked'), [0, 2]],
  ['a scope', compare('scopes[]', 'eq', 'write'), [2]],
  ['the sink', compare('deliverTo sink', 'eq', 'files'), [0, 1, 2]],
]

/** The same semantics over a parsed document, the slow and obvious way. */
function matches(node: BoundNode, document: Json): boolean {
  switch (node.op) {
    case 'and':
      return node.nodes.every((n) => matches(n, document))
    case 'or':
      return node.nodes.some((n) => matches(n, document))
    case 'not':
      return !matches(node.node, document)
    case 'never':
      return false
    case 'present':
      return values(node.attribute, document).some(isPresent)
    case 'valuePath':
      return values(node.attribute, document)
        .filter(isPresent)
        .some((element) => matches(node.element, element))
    default: {
      const { attribute, operator, value } = node
      const found = values(attribute, document)
      const there = found.filter(isPresent)
      if (value === null) {
        return operator === 'eq' ? there.length === 0 : operator === 'ne' && there.length > 0
      }
      if (operator === 'ne' && there.length === 0) return true
      return found.some((one) => holds(plain(one, attribute), operator, value))
    }
  }
}

function values({ keys, multiValued }: BoundAttribute, root: Json): readonly Json[] {
  let found: readonly Json[] = [root]
  for (const [i, key] of keys.entries()) {
    found = found.flatMap((v) => {
      const next = isJsonObject(v) ? (v[key] ?? null) : null
      return multiValued[i] === true ? (Array.isArray(next) ? next : []) : [next]
    })
  }
  return found
}

function isPresent(value: Json): boolean {
  if (Array.isArray(value)) return value.length > 0
  return isJsonObject(value) ? Object.keys(value).length > 0 : value !== null
}

function plain(value: Json, attribute: BoundAttribute): Json {
  const own = isJsonObject(value) ? (value['value'] ?? null) : value
  if (typeof own !== 'string') return own
  if (attribute.type === 'dateTime') return parseInstant(own)
  return attribute.caseExact ? own : normalise(own)
}

function holds(left: Json, operator: CompareOperator, right: string | number | boolean): boolean {
  if (left === null) return operator === 'ne'
  const l = left as string
  const r = right as string
  switch (operator) {
    case 'eq':
      return left === right
    case 'ne':
      return left !== right
    case 'gt':
      return l > r
    case 'ge':
      return l >= r
    case 'lt':
      return l < r
    case 'le':
      return l <= r
    case 'co':
      return l.includes(r)
    case 'sw':
      return l.startsWith(r)
    default:
      return l.endsWith(r)
  }
}

const word = fc.constantFrom('', 'a', 'ab', 'b', 'É', '%', '"', 'aé')
const operator = fc.constantFrom<CompareOperator>(
  'eq',
  'ne',
  'co',
  'sw',
  'ew',
  'gt',
  'ge',
  'lt',
  'le',
)
const anyDocument: fc.Arbitrary<JsonObject> = fc.record(
  {
    title: fc.option(word),
    name: fc.record({ familyName: word }, { requiredKeys: [] }),
    tags: fc.array(word, { maxLength: 3 }),
    emails: fc.array(
      fc
        .record({ value: word, type: word }, { requiredKeys: [] })
        .filter((e) => 'value' in e || 'type' in e),
      { maxLength: 3 },
    ),
    level: fc.integer({ min: 0, max: 3 }),
    on: fc.boolean(),
  },
  { requiredKeys: [] },
)

function comparison(specs: readonly string[]): fc.Arbitrary<BoundNode> {
  return fc
    .tuple(fc.constantFrom(...specs), fc.boolean(), operator, fc.option(word, { freq: 8 }))
    .map(([spec, caseExact, op, value]) => compare(attribute(spec, { caseExact }), op, value))
}

const leaves = fc.oneof(
  comparison(['title', 'name familyName', 'tags[]', 'emails[]', 'emails[] type']),
  fc
    .constantFrom('title', 'name', 'name familyName', 'tags[]', 'emails[]', 'emails[] type')
    .map(present),
  fc
    .tuple(fc.constantFrom<CompareOperator>('eq', 'gt', 'le'), fc.integer({ min: 0, max: 3 }))
    .map(([op, n]) => compare(attribute('level', number), op, n)),
  fc.boolean().map((b) => compare(attribute('on', bool), 'eq', b)),
)
const { element } = fc.letrec<{ element: BoundNode }>((tie) => ({
  element: fc.oneof(
    { maxDepth: 2 },
    comparison(['value', 'type']),
    tie('element').map(not),
    fc.array(tie('element'), { minLength: 1, maxLength: 2 }).map((n) => and(...n)),
  ),
}))
const { filter } = fc.letrec<{ filter: BoundNode }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 4 },
    leaves,
    element.map((e) => path('emails[]', e)),
    comparison(['familyName']).map((e) => path('name', e)),
    tie('filter').map(not),
    fc.array(tie('filter'), { minLength: 1, maxLength: 3 }).map((n) => and(...n)),
    fc.array(tie('filter'), { minLength: 1, maxLength: 3 }).map((n) => or(...n)),
  ),
}))

/** Filters of lists: the table above and the law that SQL finds what a plain matcher finds. */
export function filterConformance(store: () => Store, effort: number): void {
  const everything = { people: 'all', accounts: 'all' } as const
  const list = async (root: BoundNode) => {
    const page = await store().read.listUsers({
      tenant,
      visibility: everything,
      filter: bound(root),
      startIndex: 1,
      count: 200,
    })
    expect(page.total).toBe(page.rows.length)
    return page.rows.map((r) => r.id)
  }

  describe('filters', () => {
    it('finds exactly what each filter asks for', async () => {
      const saved = await store().commit([
        ...[anna, bob].map(
          (person) => ({ type: 'person', person, expectedVersion: null }) as const,
        ),
        ...[bot, old].map(
          (account) => ({ type: 'account', account, expectedVersion: null }) as const,
        ),
        ...credentials.map(
          (credential) => ({ type: 'credential', credential, expectedVersion: null }) as const,
        ),
      ])
      expect(saved).toBe('saved')
      const name = (id: string) => users.find((u) => u.id === id)?.userName

      for (const [label, root, expected] of cases) {
        const found = (await list(root)).map(name)
        expect({ label, found }).toEqual({ label, found: expected.map((e) => name(e.id)) })
      }
      for (const [label, root, expected] of credentialCases) {
        const page = await store().read.listCredentials({
          tenant,
          visibility: everything,
          filter: bound(root),
          startIndex: 1,
          count: 200,
        })
        const found = page.rows.map((r) => credentials.findIndex((c) => c.id === r.id))
        expect({ label, found, total: page.total }).toEqual({
          label,
          found: expected,
          total: expected.length,
        })
      }
    })

    it('finds what a plain matcher finds, for any filter and documents', async () => {
      const people = fc
        .sample(anyDocument, { numRuns: 40, seed: 20_261_122 })
        .map((attributes) => makePerson({ attributes }))
      await store().commit(
        people.map((person) => ({ type: 'person', person, expectedVersion: null }) as const),
      )

      await fc.assert(
        fc.asyncProperty(filter, async (root) => {
          const expected = people.filter((p) => matches(root, p.attributes)).map((p) => p.id)
          expect(await list(root)).toEqual(expected)
        }),
        { numRuns: 300 * effort },
      )
    })
  })
}
