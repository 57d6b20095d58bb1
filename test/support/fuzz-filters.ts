import type { FuzzRequest } from './fuzz.ts'
import type { Source } from './fuzz-source.ts'

const core = 'urn:ietf:params:scim:schemas:core:2.0'
const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

const attributes: readonly string[] = [
  ['userName', 'USERNAME', 'id', 'externalId', 'active', 'title', 'displayName', 'meta.created'],
  [
    'emails',
    'emails.value',
    'emails.primary',
    'name.familyName',
    'name',
    'groups',
    'members.value',
  ],
  ['meta.resourceType', 'meta.lastModified', `${nhi}:owner.value`, `${nhi}:credentials.provider`],
  [`${nhi}:labels`, `${nhi}:expiresAt`, `${nhi}:status`, `${enterprise}:manager`, nhi, 'schemas'],
  [
    `${core}:User:userName`,
    `${enterprise}:department`,
    `${nhi}.owner`,
    'provider',
    'kind',
    'scopes',
  ],
  ['__proto__', 'constructor', 'toString', 'colour', 'a.b.c', '$ref', 'emails.$ref', 'manager'],
].flat()
const operators = ['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le', 'EQ', 'Co'] as const
const values: readonly string[] = [
  [
    '"a"',
    '"A"',
    '""',
    '"ü"',
    '"\\u00fc"',
    '"😀"',
    '"\\ud800"',
    '"\\u0000"',
    '"%"',
    '"_"',
    '"\\\\"',
  ],
  [
    'true',
    'false',
    'null',
    'TRUE',
    '0',
    '-0',
    '1',
    '1.5',
    '1e999',
    '1e-400',
    '12345678901234567890',
  ],
  ['"2027-01-31T12:00:00Z"', '"2027-13-31T12:00:00Z"', "'a'", 'word', '"', '"\\x"', '"a\u0001b"'],
  [
    `"${'x'.repeat(1_000)}"`,
    '"true"',
    '"0"',
    '"*"',
    '"a\\"b"',
    '"\\n"',
    'NaN',
    'Infinity',
    '[]',
    '{}',
  ],
].flat()
const noise = [
  '(',
  ')',
  '[',
  ']',
  '"',
  "'",
  '.',
  ':',
  ' ',
  'and',
  'or',
  'not',
  'eq',
  '\\',
  '\0',
  '😀',
]

/** A list asked for by a filter that is right, nearly right or nothing of the kind. */
export function oddFilter(source: Source): FuzzRequest {
  const type = source.pick(['/Users', '/Users', '/Groups', '/Credentials', ''])
  const filter = filterText(source)
  const sort = source.chance(0.15) ? source.pick(attributes) : null
  // Beyond what an HTTP parser takes for a URL there is POST.
  if (source.chance(0.3) || filter.length > 2_000) {
    const body = {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:SearchRequest'],
      filter,
      count: source.int(4),
      ...(sort === null ? {} : { sortBy: sort }),
    }
    return {
      method: 'POST',
      path: `/scim/v2${type}/.search`,
      headers: { 'content-type': 'application/scim+json' },
      body: Buffer.from(JSON.stringify(body)),
    }
  }
  const sorted = sort === null ? '' : `&sortBy=${encodeURIComponent(sort)}`
  const encoded = encodeURIComponent(filter.toWellFormed())
  const query = `filter=${encoded}&count=${source.int(4)}${sorted}`
  return { method: 'GET', path: `/scim/v2${type}?${query}`, headers: {}, body: null }
}

function filterText(source: Source): string {
  const kind = source.int(20)
  if (kind === 0) return source.pick(huge)(source)
  const text = disjunction(source, 3)
  if (kind < 12) return text
  let bent = text
  for (let i = source.int(3); i >= 0; i--) {
    const at = source.int(bent.length + 1)
    const cut = source.chance(0.5) ? source.int(4) : 0
    const put = source.chance(0.6) ? source.pick(noise) : ''
    bent = bent.slice(0, at) + put + bent.slice(at + cut)
  }
  return bent
}

const huge: readonly ((source: Source) => string)[] = [
  () => '('.repeat(64_000),
  () => 'not ('.repeat(800),
  (s) => Array.from({ length: 110 }, () => comparison(s)).join(' or '),
  (s) => `title eq "${'x'.repeat(s.pick([4_000, 64_000]))}"`,
  () => `${'('.repeat(19)}title pr${')'.repeat(19)}`,
  () => 'a'.repeat(64_000),
  () => 'emails[type eq "a" and '.repeat(30),
  (s) => Array.from({ length: 40 }, () => `emails[${comparison(s)}]`).join(' and '),
  () => '"'.repeat(3_000),
  () => ' '.repeat(4_000),
]

function disjunction(source: Source, depth: number): string {
  const terms = Array.from({ length: 1 + source.int(3) }, () => factor(source, depth))
  return terms.join(source.pick([' and ', ' or ', ' AND ', ' Or ']))
}

function factor(source: Source, depth: number): string {
  if (depth === 0) return comparison(source)
  switch (source.int(6)) {
    case 0:
      return `(${disjunction(source, depth - 1)})`
    case 1:
      return `not (${disjunction(source, depth - 1)})`
    case 2: {
      const inner = source.pick(['type', 'value', 'primary', 'display', 'x', '$ref'])
      const test = `${inner} ${source.pick(operators)} ${source.pick(values)}`
      const list = source.pick(['emails', 'groups', 'members', `${nhi}:credentials`, 'title'])
      return `${list}[${test}]${source.chance(0.2) ? '.value pr' : ''}`
    }
    default:
      return comparison(source)
  }
}

function comparison(source: Source): string {
  const attribute = source.pick(attributes)
  if (source.chance(0.2)) return `${attribute} pr`
  return `${attribute} ${source.pick(operators)} ${source.pick(values)}`
}
