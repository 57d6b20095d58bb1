import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Dialect } from '../../src/domain/client.ts'
import { AppError } from '../../src/domain/errors.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { BoundNode, CompareOperator, FilterNode } from '../../src/scim/filter.ts'
import {
  bindFilter,
  bindSort,
  filterDepthMax,
  filterLengthMax,
  filterTermsMax,
  matchFilter,
  parseFilter,
  printFilter,
} from '../../src/scim/filter.ts'
import { credentialSchema, enterpriseUrn, nhiUrn, userSchema } from '../../src/scim/schema.ts'
import { attempt, failure } from './outcome.ts'

const bind = (text: string, dialect: Dialect = 'rfc'): BoundNode =>
  bindFilter(parseFilter(text, dialect), userSchema, { dialect }).root

const matches = (text: string, document: JsonObject, dialect: Dialect = 'rfc'): boolean =>
  matchFilter(bindFilter(parseFilter(text, dialect), userSchema, { dialect }), document)

/** Positions are where a term stood in one spelling; trees are compared without them. */
function withoutPositions(node: FilterNode): unknown {
  return JSON.parse(
    JSON.stringify(node, (key, value: unknown) => (key === 'at' ? undefined : value)),
  )
}

describe('parseFilter', () => {
  it.each([
    ['userName eq "a"', { op: 'compare', path: 'userName', operator: 'eq', value: 'a' }],
    ['USERNAME EQ "a"', { op: 'compare', path: 'USERNAME', operator: 'eq', value: 'a' }],
    ['  title   pr  ', { op: 'present', path: 'title' }],
    ['active eq true', { op: 'compare', path: 'active', operator: 'eq', value: true }],
    ['title eq null', { op: 'compare', path: 'title', operator: 'eq', value: null }],
    ['n gt -1.5e3', { op: 'compare', path: 'n', operator: 'gt', value: -1500 }],
    ['a eq "q\\"\\u0041\\n"', { op: 'compare', path: 'a', operator: 'eq', value: 'q"A\n' }],
    ['not (a pr)', { op: 'not', node: { op: 'present', path: 'a' } }],
    ['NOT(a pr)', { op: 'not', node: { op: 'present', path: 'a' } }],
    ['((a pr))', { op: 'present', path: 'a' }],
    ['notes pr', { op: 'present', path: 'notes' }],
    [
      `${enterpriseUrn}:manager.value eq "1"`,
      { op: 'compare', path: `${enterpriseUrn}:manager.value`, operator: 'eq', value: '1' },
    ],
    ['m.$ref pr', { op: 'present', path: 'm.$ref' }],
  ])('reads %s', (text, tree) => {
    expect(withoutPositions(parseFilter(text))).toEqual(tree)
  })

  it.each([
    ['a pr or b pr and c pr', 'a pr or b pr and c pr'],
    ['(a pr or b pr) and c pr', '(a pr or b pr) and c pr'],
    ['not (a pr) and b pr', 'not (a pr) and b pr'],
    ['not (a pr and b pr) or c pr', 'not (a pr and b pr) or c pr'],
    ['(a pr)and(b pr)', 'a pr and b pr'],
    ['e[type eq "w" and not (v co "x")]', 'e[type eq "w" and not (v co "x")]'],
    ['e[type eq "w"].value eq "x"', 'e[type eq "w" and value eq "x"]'],
    ['e[a pr or b pr].value pr', 'e[(a pr or b pr) and value pr]'],
  ])('gives %s the precedence of %s', (text, printed) => {
    expect(printFilter(parseFilter(text))).toBe(printed)
  })

  it.each([
    ['', 0],
    ['userName', 8],
    ['userName ', 9],
    ['userName eq', 11],
    ['userName eq ', 12],
    ['userName is "a"', 9],
    ['userName eq "a', 12],
    ['userName eq "a\\x"', 12],
    ['userName eq "a"b', 15],
    ['userName eq "a" and', 16],
    ['userName eq "a" userName eq "b"', 16],
    ['(userName eq "a"', 16],
    ['userName eq "a")', 15],
    ['not userName pr', 4],
    ['emails[type eq "w"', 18],
    ['emails[a[b pr] pr]', 8],
    ['1a pr', 0],
    ['a..b pr', 0],
    ['a. pr', 0],
    ['a.b.c.d pr', 0],
    ['a eq 01', 5],
    ['a eq 1e999', 5],
    ['a eq tru', 5],
    ["a eq 'x'", 5],
    ['a eq True', 5],
    ['ä pr', 0],
  ])('refuses %j at character %i', (text, position) => {
    const error = failure(() => parseFilter(text))

    expect(error.scimType).toBe('invalidFilter')
    expect(error.facts['position']).toBe(position)
  })

  it.each([
    ['userName sw O', 'O'],
    ['name.FamilyName eq Employee', 'Employee'],
    ["userName eq 'it is'", 'it is'],
    ['employeeNumber eq 007', '007'],
    ['active eq True', 'True'],
  ])('reads the loose value of %s in the lenient dialect only', (text, value) => {
    expect(parseFilter(text, 'lenient')).toMatchObject({ value })
    expect(failure(() => parseFilter(text, 'interop')).scimType).toBe('invalidFilter')
  })

  it('stops at the length, depth and term limits and not before', () => {
    const filling = filterLengthMax - 'a eq ""'.length
    const deep = (n: number): string => `${'('.repeat(n)}a pr${')'.repeat(n)}`
    const wide = (n: number): string => Array.from({ length: n }, () => 'a pr').join(' and ')

    expect(() => parseFilter(`a eq "${'x'.repeat(filling)}"`)).not.toThrow()
    expect(() => parseFilter(deep(filterDepthMax))).not.toThrow()
    expect(() => parseFilter(wide(filterTermsMax))).not.toThrow()
    for (const text of [
      `a eq "${'x'.repeat(filling + 1)}"`,
      `a eq "${'ä'.repeat(filling / 2 + 1)}"`,
      deep(filterDepthMax + 1),
      wide(filterTermsMax + 1),
    ]) {
      expect(failure(() => parseFilter(text)).scimType).toBe('invalidFilter')
    }
  })

  it('answers garbage with a catalogue error and nothing else', () => {
    const pieces =
      'userName|emails|emails[|]|(|)|not|and|or|eq|pr|co|"a"|"|\\|true|null|1e9|-|.value|:| |  |\0|💥'
        .split('|')
        .concat(nhiUrn, '__proto__', 'constructor', 'schemas', 'meta.created', '\ud800')
    const garbage = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join('')),
      fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join(' ')),
    )

    fc.assert(
      fc.property(
        garbage,
        fc.constantFrom<Dialect>('lenient', 'rfc', 'interop'),
        (text, dialect) => {
          const outcome = attempt(() => matches(text, { userName: 'a' }, dialect))

          expect(typeof outcome === 'boolean' ? 'invalidFilter' : outcome.code).toBe(
            'invalidFilter',
          )
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

const names = fc.constantFrom('userName', 'title', 'name.familyName', `${nhiUrn}:purpose`, 'id')
const compare = (path: fc.Arbitrary<string>): fc.Arbitrary<FilterNode> =>
  fc.record({
    op: fc.constant('compare' as const),
    path,
    operator: fc.constantFrom<CompareOperator>(
      'eq',
      'ne',
      'co',
      'sw',
      'ew',
      'gt',
      'ge',
      'lt',
      'le',
    ),
    value: fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 4 }),
      fc.constantFrom('a', 'A', 'b', 'ä', ''),
    ),
    at: fc.constant(0),
  })
const present = (path: fc.Arbitrary<string>): fc.Arbitrary<FilterNode> =>
  fc.record({ op: fc.constant('present' as const), path, at: fc.constant(0) })

function trees(leaf: fc.Arbitrary<FilterNode>): fc.Arbitrary<FilterNode> {
  const { tree } = fc.letrec<{ tree: FilterNode }>((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small', maxDepth: 4, withCrossShrink: true },
      leaf,
      fc.record({ op: fc.constant('not' as const), node: tie('tree') }),
      fc.record({
        op: fc.constantFrom('and' as const, 'or' as const),
        nodes: fc.array(tie('tree'), { minLength: 2, maxLength: 3 }),
      }),
    ),
  }))
  return tree
}

const element = fc.constantFrom('value', 'type', 'display')
const valuePath: fc.Arbitrary<FilterNode> = fc.record({
  op: fc.constant('valuePath' as const),
  path: fc.constantFrom('emails', 'roles'),
  node: trees(fc.oneof(compare(element), present(element))),
  at: fc.constant(0),
})
const filters = trees(fc.oneof(compare(names), present(names), valuePath))

const word = fc.constantFrom('a', 'A', 'b', 'ab', 'ä', 'Ä', '')
const elements = fc.array(
  fc.record({ value: word, type: word, display: word }, { requiredKeys: [] }),
  { maxLength: 3 },
)
const documents = fc.record(
  {
    id: word,
    userName: word,
    title: fc.oneof(word, fc.constant(null)),
    name: fc.record({ familyName: word }, { requiredKeys: [] }),
    emails: elements,
    roles: elements,
    [nhiUrn]: fc.record({ purpose: word }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>

describe('printFilter', () => {
  it('is read back by parseFilter as the same tree', () => {
    fc.assert(
      fc.property(filters, (node) => {
        expect(withoutPositions(parseFilter(printFilter(node)))).toEqual(withoutPositions(node))
      }),
    )
  })
})

describe('bindFilter', () => {
  it('binds a bare complex multi-valued attribute to its value', () => {
    expect(bind('emails co "X"')).toEqual({
      op: 'compare',
      operator: 'co',
      value: 'x',
      attribute: {
        path: 'emails.value',
        keys: ['emails', 'value'],
        multiValued: [true, false],
        type: 'string',
        caseExact: false,
      },
    })
  })

  it('binds a comparison after a bracket into the element', () => {
    expect(bind('EMAILS[Type eq "Work"].Value eq "X"')).toMatchObject({
      op: 'valuePath',
      attribute: { path: 'emails', keys: ['emails'], multiValued: [true] },
      element: {
        op: 'and',
        nodes: [
          { attribute: { path: 'emails.type', keys: ['type'] }, value: 'work' },
          { attribute: { path: 'emails.value', keys: ['value'] }, value: 'x' },
        ],
      },
    })
  })

  it.each([
    ['username eq "A"', 'userName', ['userName'], 'a'],
    ['externalId eq "A"', 'externalId', ['externalId'], 'A'],
    ['id eq "A"', 'id', ['id'], 'A'],
    [
      'meta.lastmodified ge "2026-01-01T01:00:00+01:00"',
      'meta.lastModified',
      ['meta', 'lastModified'],
      '2026-01-01T00:00:00.000Z',
    ],
    ['urn:IETF:params:scim:schemas:core:2.0:user:USERNAME eq "A"', 'userName', ['userName'], 'a'],
    [
      `${nhiUrn.toUpperCase()}:OWNER.VALUE eq "A"`,
      `${nhiUrn}:owner.value`,
      [nhiUrn, 'owner', 'value'],
      'A',
    ],
    [
      `${nhiUrn}:credentials.scopes eq "A"`,
      `${nhiUrn}:credentials.scopes`,
      [nhiUrn, 'credentials', 'scopes'],
      'A',
    ],
    [`${nhiUrn}:protected eq true`, `${nhiUrn}:protected`, [nhiUrn, 'protected'], true],
  ])('binds %s to %s', (text, path, keys, value) => {
    expect(bind(text)).toMatchObject({ value, attribute: { path, keys } })
  })

  it('asks for the presence of a whole extension and of a complex attribute', () => {
    expect(bind(`${nhiUrn} pr`)).toMatchObject({ attribute: { keys: [nhiUrn] } })
    expect(bind('name pr')).toMatchObject({ attribute: { keys: ['name'] } })
  })

  it.each([
    ['active gt true', 'gt'],
    ['active co "t"', 'co'],
    ['active eq "true"', 'true or false'],
    ['active eq 1', 'true or false'],
    ['userName eq 1', 'text in double quotes'],
    ['userName eq true', 'text in double quotes'],
    ['userName gt null', 'null'],
    ['x509Certificates.value gt "AA"', 'binary'],
    ['meta.created eq "yesterday"', 'date and time'],
    ['meta.created sw "2026"', 'dateTime'],
    ['name eq "x"', 'sub-attributes'],
    ['name[familyName eq "x"]', 'multi-valued'],
    [`${nhiUrn}:labels[value eq "x"]`, 'multi-valued'],
    [`${nhiUrn} eq "x"`, 'sub-attributes'],
    ['userNam eq "x"', 'did you mean "userName"?'],
    ['owner.value eq "x"', `did you mean "${nhiUrn}:owner"?`],
    ['emails.valu eq "x"', 'did you mean "emails.value"?'],
    ['emails[kind eq "x"]', 'emails.kind'],
    ['urn:x:User:userName eq "x"', 'not an attribute'],
    ['password eq "x"', 'not an attribute'],
    ['__proto__ pr', 'not an attribute path'],
    ['constructor pr', 'not an attribute'],
  ])('refuses %s, saying "%s"', (text, says) => {
    const error = failure(() => bind(text))

    expect(error.scimType).toBe('invalidFilter')
    expect(error.message).toContain(says)
  })

  it('lets an unknown attribute match nothing in the lenient dialect', () => {
    expect(bind('shoeSize eq 44', 'lenient')).toEqual({ op: 'never' })
    expect(bind('emails[shoe eq "x"]', 'lenient')).toMatchObject({ element: { op: 'never' } })
  })

  it.each([
    ['active eq "True"', { active: true }],
    ['active eq False', { active: false }],
    [`${enterpriseUrn}:employeeNumber eq 77`, { [enterpriseUrn]: { employeeNumber: '77' } }],
    [`${enterpriseUrn}.manager eq "u1"`, { [enterpriseUrn]: { manager: { value: 'u1' } } }],
  ])('absorbs %s in the lenient dialect', (text, document) => {
    expect(matches(text, document, 'lenient')).toBe(true)
    expect(() => matches(text, document, 'rfc')).toThrow(AppError)
  })

  it('knows the attributes of a credential', () => {
    const filter = bindFilter(
      parseFilter('serviceAccount.value eq "a" and generation ge 2'),
      credentialSchema,
      { dialect: 'rfc' },
    )

    expect(matchFilter(filter, { serviceAccount: { value: 'a' }, generation: 2 })).toBe(true)
    expect(matchFilter(filter, { serviceAccount: { value: 'a' }, generation: 1 })).toBe(false)
  })
})

describe('matchFilter', () => {
  const nora: JsonObject = {
    id: 'N1',
    userName: 'Nora@x.test',
    active: true,
    name: { familyName: 'Ek' },
    emails: [
      { type: 'work', value: 'n@x.test', primary: true },
      { type: 'home', value: 'n@home.test' },
    ],
    roles: [],
    photos: [{}],
    title: null,
    meta: { lastModified: '2026-11-22T09:00:00.000Z' },
  }

  it.each([
    ['userName eq "nora@X.test"', true],
    ['id eq "n1"', false],
    ['id eq "N1"', true],
    ['userName sw "NORA" and userName ew ".TEST" and userName co "@"', true],
    ['emails eq "n@home.test"', true],
    ['emails[type eq "home" and value co "x.test"]', false],
    ['emails[type eq "home"].value eq "n@home.test"', true],
    ['emails.type eq "home" and emails.value eq "n@x.test"', true],
    ['emails[primary eq true]', true],
    ['emails[primary eq false]', false],
    ['emails[primary ne true]', true],
    ['emails pr', true],
    ['roles pr', false],
    ['photos pr', false],
    ['title pr', false],
    ['name pr', true],
    ['title eq null', true],
    ['title ne null', false],
    ['name.familyName ne null', true],
    ['title ne "x"', true],
    ['not (title eq "x")', true],
    ['not (title pr)', true],
    ['title gt "a"', false],
    ['name.familyName gt "EA" and name.familyName lt "el"', true],
    ['active eq true', true],
    ['active ne true', false],
    ['meta.lastModified gt "2026-11-22T09:59:59+01:00"', true],
    ['meta.lastModified le "2026-11-22T10:00:00+01:00"', true],
    ['meta.lastModified ge "0001-01-03T00:00:00.0000000Z"', true],
    ['userName eq "x" or title eq null and active eq false', false],
    [`${nhiUrn} pr`, false],
  ])('%s → %s', (text, expected) => {
    expect(matches(text, nora)).toBe(expected)
  })

  it('orders text as the databases do, by UTF-8 bytes', () => {
    expect(matches('id gt "\uffff"', { id: '😀' })).toBe(true)
  })

  it('reads no inherited member', () => {
    expect(matches('constructor pr or not (constructor pr)', {}, 'lenient')).toBe(true)
    expect(matches('constructor pr', {}, 'lenient')).toBe(false)
  })

  const rule = (node: FilterNode, document: JsonObject): boolean =>
    matchFilter(bindFilter(node, userSchema, { dialect: 'rfc' }), document)

  it('obeys not and the laws of De Morgan', () => {
    fc.assert(
      fc.property(filters, filters, documents, (a, b, document) => {
        const both: FilterNode = { op: 'and', nodes: [a, b] }
        const neither: FilterNode = {
          op: 'or',
          nodes: [
            { op: 'not', node: a },
            { op: 'not', node: b },
          ],
        }

        expect(rule({ op: 'not', node: both }, document)).toBe(rule(neither, document))
        expect(rule({ op: 'not', node: { op: 'not', node: a } }, document)).toBe(rule(a, document))
      }),
    )
  })

  it('finds a document without an attribute by ne, by not eq and by eq null alike', () => {
    fc.assert(
      fc.property(documents, (document) => {
        const missing = matches('title eq null', document)
        const isA = matches('title eq "a"', document)

        expect(matches('not (title pr)', document)).toBe(missing)
        expect(matches('title ne "a"', document)).toBe(!isA)
        expect(missing && isA).toBe(false)
      }),
    )
  })
})

describe('bindSort', () => {
  const sortable = (path: string, dialect: Dialect = 'rfc') =>
    bindSort(path, userSchema, { dialect })?.path ?? null

  it.each([
    ['USERNAME', 'userName'],
    ['emails', 'emails.value'],
    ['emails.Type', 'emails.type'],
    [`${nhiUrn}:owner`, `${nhiUrn}:owner.value`],
    [`${enterpriseUrn.toUpperCase()}:Department`, `${enterpriseUrn}:department`],
    ['meta.created', 'meta.created'],
  ])('resolves %s', (path, found) => {
    expect(sortable(path)).toBe(found)
  })

  it.each(['name', 'colour', 'userName.x', '', nhiUrn, 'emails[type eq "work"]', '__proto__'])(
    'finds nothing to order by in "%s"',
    (path) => {
      expect(sortable(path)).toBeNull()
      expect(sortable(path, 'lenient')).toBeNull()
    },
  )

  it('never orders by what is never shown', () => {
    const hidden = (change: object) => {
      const [first, ...rest] = userSchema.core.attributes
      const core = { ...userSchema.core, attributes: [{ ...first!, ...change }, ...rest] }
      return bindSort(first!.name, { ...userSchema, core }, { dialect: 'rfc' })
    }

    expect(hidden({})).not.toBeNull()
    expect(hidden({ returned: 'never' })).toBeNull()
    expect(hidden({ mutability: 'writeOnly' })).toBeNull()
  })
})
