import type { FuzzRequest, Pool } from './fuzz.ts'
import type { Source } from './fuzz-source.ts'

const core = 'urn:ietf:params:scim:schemas:core:2.0'
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const credentialUrn = 'urn:custody:scim:schemas:core:1.0:Credential'
const messages = 'urn:ietf:params:scim:api:messages:2.0'

/** JSON as text can have it: members in order and as often as one likes, values as raw text. */
type Node =
  | { readonly type: 'raw'; readonly text: string }
  | { readonly type: 'list'; items: Node[] }
  | { readonly type: 'object'; members: [string, Node][] }

const raw = (text: string): Node => ({ type: 'raw', text })

function treeOf(value: unknown): Node {
  if (Array.isArray(value)) return { type: 'list', items: value.map(treeOf) }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([k, v]): [string, Node] => [`"${k}"`, treeOf(v)])
    return { type: 'object', members }
  }
  return raw(JSON.stringify(value))
}

function textOf(node: Node): string {
  switch (node.type) {
    case 'raw':
      return node.text
    case 'list':
      return `[${node.items.map(textOf).join()}]`
    default:
      return `{${node.members.map(([key, value]) => `${key}:${textOf(value)}`).join()}}`
  }
}

const oddValues: readonly string[] = [
  ['null', 'true', 'false', '[]', '{}', '""', '" "', '0', '-0', '1.5', '"True"', '[null]', '[[]]'],
  ['1e999', '-1e999', '1e-400', '123456789012345678901234567890', '-9007199254740993', '1E2'],
  ['NaN', 'Infinity', 'undefined', "'x'", '01', '+1', '.5', '0x10', '"\\x"', '"\u0001"', '"\t"'],
  ['"\\ud800"', '"\\udc00x"', '"x\\ud83d"', '"\\u0000"', '"\\ud83d\\ude00"', '"\\u202e"'],
  ['"__proto__"', '"constructor"', '{"__proto__":{"polluted":1}}', '{"constructor":{"a":1}}'],
  ['{"constructor":{"prototype":{"polluted":1}}}', '{"toString":null}', '{"length":1e9}'],
  ['"bulkId:a"', '"bulkId:"', '"9999-99-99T00:00:00Z"', '"2027-01-31T12:00:00Z"', '"P400D"'],
  [`"${'x'.repeat(5_000)}"`, `"${'é'.repeat(600)}"`, `"${'\\n'.repeat(700)}"`, '"../../etc"'],
  ['['.repeat(40) + ']'.repeat(40), `${'{"a":'.repeat(31)}1${'}'.repeat(31)}`],
  [`[${'1,'.repeat(1_500)}1]`, `[${'{"value":"a"},'.repeat(1_100)}{}]`, '[{},{},null,7,"x"]'],
  ['[{"value":"a","primary":true},{"value":"b","primary":true}]', '{"value":{"value":"x"}}'],
].flat()

const oddNames: readonly string[] = [
  ['__proto__', 'constructor', 'prototype', 'hasOwnProperty', 'toString', 'valueOf', '', ' '],
  ['name.familyName', 'emails[type eq \\"work\\"].value', 'members[', '\\ud800', '\\u0000', '$ref'],
  ['schemas', 'SCHEMAS', 'id', 'meta', 'userName', 'USERNAME', 'active', 'members', 'groups'],
  [nhi, nhi.toUpperCase(), `${nhi}.owner`, `${nhi}:owner.value`, enterprise, `${core}:User`],
  [`${core}:User:userName`, `${enterprise}:manager`, `${enterprise}.manager`, 'value', 'display'],
  ['op', 'path', 'Operations', 'OPERATIONS', 'bulkId', 'data', 'x'.repeat(600), 'é', 'password'],
].flat()

const paths: readonly string[] = [
  ['userName', 'active', 'emails', 'emails.value', 'emails[type eq "work"].value', 'members'],
  ['emails[type eq "work"]', 'name.familyName', 'name', 'title', 'displayName', 'externalId'],
  [`${enterprise}:manager`, `${enterprise}:department`, enterprise, nhi, `${nhi}:labels`, 'id'],
  [`${nhi}:owner`, `${nhi}:owner.value`, `${nhi}:expiresAt`, `${nhi}:credentials`, 'meta.version'],
  ['members[value eq "x"]', 'members[value eq "x"].display', 'schemas', '', 'emails[', 'a.b.c.d'],
  ['__proto__', 'constructor.prototype', 'emails[__proto__ pr]', 'roles[primary eq true].value'],
  [
    '(',
    `emails[${'('.repeat(30)}`,
    'urn:x:y:z',
    'scopes',
    'readers',
    'expiresAt',
    'overlap',
    '\u0000',
  ],
].flat()

/** One well-formed request of any kind, its body broken in one or more places more often than not. */
export function oddRequest(source: Source, pool: Pool): FuzzRequest {
  const kind = source.pick(kinds)
  const { method, path, body } = kind(source, pool)
  const headers: Record<string, string> = {
    'content-type': source.chance(0.94) ? 'application/scim+json' : source.pick(contentTypes),
  }
  if (source.chance(0.04)) headers['if-match'] = source.pick(tags)
  if (source.chance(0.03))
    headers['idempotency-key'] = source.pick(['k', 'x'.repeat(300), 'ü', ' '])
  const query = source.chance(0.06) ? source.pick(queries) : ''
  if (body === undefined) return { method, path: path + query, headers: {}, body: null }
  const tree = treeOf(body)
  if (source.chance(0.75)) for (let i = source.int(2); i >= 0; i--) mutate(tree, source)
  const text = Buffer.from(textOf(tree))
  return {
    method,
    path: path + query,
    headers,
    body: source.chance(0.12) ? bend(text, source) : text,
  }
}

const contentTypes = [
  'application/json',
  'application/json; charset=utf-8',
  'application/scim+json;charset=latin1',
  'text/plain',
  'application/xml',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  '*/*',
  ';',
]
const tags = ['*', 'W/"1"', '"1"', 'W/"1.2"', '', ',', 'W/"x', '"'.repeat(50)]
const queries = [
  '?attributes=userName',
  '?attributes=__proto__,members',
  '?excludedAttributes=members',
  '?attributes=a&excludedAttributes=b',
  '?attributes=%00',
  '?a=%ud800',
  '?attributes=emails[type eq "work"]'.replaceAll(' ', '%20').replaceAll('"', '%22'),
]

type Kind = (
  source: Source,
  pool: Pool,
) => { readonly method: string; readonly path: string; readonly body: unknown }

const word = (source: Source): string => source.pick(['a', 'Work', 'ü', 'x y', '😀', 'svc', '7'])
const name = (source: Source): string => `${word(source)}${source.int(5_000)}`
const idOf = (source: Source, ids: readonly string[]): string =>
  source.chance(0.92) ? source.pick(ids) : source.pick(['x', '%00', '__proto__', '..', '0', 'Me'])

function person(source: Source): object {
  return {
    schemas: [`${core}:User`, enterprise],
    userName: name(source),
    externalId: source.chance(0.3) ? name(source) : null,
    active: source.chance(0.9),
    title: word(source),
    name: { familyName: word(source), givenName: word(source) },
    emails: source.times(3, () => ({ value: name(source), type: 'work', primary: false })),
    [enterprise]: { department: word(source), manager: { value: word(source) } },
  }
}

function account(source: Source, pool: Pool): object {
  return {
    schemas: [`${core}:User`, nhi],
    userName: name(source),
    [nhi]: {
      kind: source.pick(['bot', 'serviceAccount']),
      owner: { value: source.pick(pool.Users) },
      backupOwners: source.times(2, () => ({ value: source.pick(pool.Users) })),
      purpose: word(source),
      labels: source.times(2, () => `${word(source)}=x`),
      consumers: source.times(1, () => ({ name: word(source), cacheTtl: 'PT1H' })),
      expiresAt: '2027-01-31T12:00:00Z',
      credentials: source.times(1, () => ({
        provider: 'tokens',
        kind: 'api-token',
        scopes: ['read'],
        deliverTo: `files:${name(source)}`,
      })),
    },
  }
}

function group(source: Source, pool: Pool): object {
  return {
    schemas: [`${core}:Group`],
    displayName: name(source),
    members: source.times(3, () => ({
      value: source.pick(source.chance(0.8) ? pool.Users : pool.Groups),
      type: 'User',
    })),
  }
}

function credential(source: Source, pool: Pool): object {
  return {
    schemas: [credentialUrn],
    serviceAccount: { value: source.pick(pool.Users) },
    provider: source.pick(['tokens', 'nobody']),
    kind: 'api-token',
    displayName: word(source),
    scopes: ['read'],
    readers: source.times(2, () => word(source)),
    deliverTo: { sink: 'files', path: name(source) },
    expiresAt: '2027-01-31T12:00:00Z',
    rotateEvery: 'P30D',
    overlap: 'PT12H',
  }
}

function patch(source: Source, pool: Pool): object {
  const value = (): unknown =>
    source.pick<() => unknown>([
      () => word(source),
      () => source.chance(0.5),
      () => [{ value: source.pick(pool.Users) }],
      () => ({ value: word(source), type: 'work', primary: true }),
      () => person(source),
      () => null,
    ])()
  return {
    schemas: [`${messages}:PatchOp`],
    Operations: [0, ...source.times(3, () => 0)].map(() => ({
      op: source.pick(['add', 'replace', 'remove', 'Add', 'REPLACE']),
      ...(source.chance(0.8) ? { path: source.pick(paths) } : {}),
      ...(source.chance(0.85) ? { value: value() } : {}),
    })),
  }
}

function bulk(source: Source, pool: Pool): object {
  const operation = (i: number): object => {
    const kind = source.pick(kinds.slice(0, 9))
    const { method, path, body } = kind(source, pool)
    return { method, path: path.replace('/scim/v2', ''), bulkId: `b${i}`, data: body ?? {} }
  }
  return {
    schemas: [`${messages}:BulkRequest`],
    failOnErrors: source.chance(0.3) ? 1 : null,
    Operations: Array.from({ length: 1 + source.int(4) }, (_, i) => operation(i)),
  }
}

function search(source: Source): object {
  return {
    schemas: [`${messages}:SearchRequest`],
    filter: source.pick(['userName pr', 'title eq "a"', 'emails[type eq "work"]', 'x']),
    attributes: source.times(2, () => source.pick(oddNames)),
    sortBy: source.pick(paths),
    sortOrder: source.pick(['ascending', 'descending', 'up']),
    startIndex: source.pick([1, 0, -1, 1e9]),
    count: source.pick([1, 0, 5, 1e9]),
    ...(source.chance(0.3) ? { cursor: source.pick(['', 'x', 'AAAA']) } : {}),
  }
}

const base = '/scim/v2'
const kinds: readonly Kind[] = [
  (s) => ({ method: 'POST', path: `${base}/Users`, body: person(s) }),
  (s, p) => ({ method: 'POST', path: `${base}/Users`, body: account(s, p) }),
  (s, p) => ({ method: 'POST', path: `${base}/Groups`, body: group(s, p) }),
  (s, p) => ({ method: 'POST', path: `${base}/Credentials`, body: credential(s, p) }),
  (s, p) => ({
    method: 'PUT',
    path: `${base}/Users/${idOf(s, p.Users)}`,
    body: s.chance(0.6) ? person(s) : account(s, p),
  }),
  (s, p) => ({ method: 'PUT', path: `${base}/Groups/${idOf(s, p.Groups)}`, body: group(s, p) }),
  (s, p) => ({ method: 'PATCH', path: `${base}/Users/${idOf(s, p.Users)}`, body: patch(s, p) }),
  (s, p) => ({ method: 'PATCH', path: `${base}/Groups/${idOf(s, p.Groups)}`, body: patch(s, p) }),
  (s, p) => ({
    method: s.pick(['PUT', 'PATCH']),
    path: `${base}/Credentials/${idOf(s, p.Credentials)}`,
    body: s.chance(0.5) ? patch(s, p) : credential(s, p),
  }),
  (s, p) => ({ method: 'POST', path: `${base}/Bulk`, body: bulk(s, p) }),
  (s) => ({
    method: 'POST',
    path: `${base}${s.pick(['', '/Users', '/Groups', '/Credentials'])}/.search`,
    body: search(s),
  }),
  (s, p) => {
    const type = s.pick(['Users', 'Groups', 'Credentials'] as const)
    const method = s.pick(['GET', 'GET', 'GET', 'DELETE'])
    return {
      method,
      path: `${base}/${type}/${idOf(s, p[type])}`,
      body: method === 'DELETE' && s.chance(0.5) ? {} : undefined,
    }
  },
]

function mutate(root: Node, source: Source): void {
  const spots: Node[] = []
  const collect = (node: Node): void => {
    if (node.type === 'raw') return
    spots.push(node)
    for (const item of node.type === 'list' ? node.items : node.members.map(([, v]) => v)) {
      collect(item)
    }
  }
  collect(root)
  const spot = source.pick(spots)
  if (spot.type === 'list') mutateList(spot, source)
  else if (spot.type === 'object') mutateObject(spot, source)
}

function mutateList(list: Extract<Node, { type: 'list' }>, source: Source): void {
  const odd = raw(source.pick(oddValues))
  const at = source.int(list.items.length + 1)
  const act = source.int(4)
  if (act === 0) list.items.splice(at, 0, odd)
  else if (act === 1) list.items.splice(at, 1)
  else if (act === 2) list.items.splice(at, 1, odd)
  else list.items.push(...list.items.slice(0, 20))
}

function mutateObject(object: Extract<Node, { type: 'object' }>, source: Source): void {
  const { members } = object
  const at = source.int(Math.max(1, members.length))
  const odd = raw(source.pick(oddValues))
  const member = members[at]
  const oddName = `"${source.pick(oddNames)}"`
  if (member === undefined) {
    members.push([oddName, odd])
    return
  }
  const [key, value] = member
  const swapCase = key.replace(/[a-z]/gi, (letter) =>
    source.chance(0.5) ? letter.toUpperCase() : letter.toLowerCase(),
  )
  const acts: readonly (() => void)[] = [
    () => (members[at] = [key, odd]),
    () => (members[at] = [key, odd]),
    () => (members[at] = [swapCase, value]),
    () => (members[at] = [oddName, value]),
    () => members.splice(at, 1),
    () => members.push([key, odd]),
    () => members.push([swapCase, value]),
    () => members.push([oddName, odd]),
    () => (members[at] = [key, { type: 'list', items: [value] }]),
    () => (members[at] = [key, { type: 'object', members: [['"value"', value]] }]),
    () => (members[at] = [key, { type: 'object', members: [[oddName, value]] }]),
  ]
  source.pick(acts)()
}

/** Breaks the bytes themselves. */
function bend(text: Buffer, source: Source): Buffer {
  const at = source.int(text.length + 1)
  const inserted = (bytes: readonly number[]): Buffer =>
    Buffer.concat([text.subarray(0, at), Buffer.from(bytes), text.subarray(at)])
  return source.pick<() => Buffer>([
    () => Buffer.concat([Buffer.from('\ufeff'), text]),
    () => Buffer.concat([text, Buffer.from(source.pick(['x', '{}', ',', '\0', ' ', '\n\n']))]),
    () => text.subarray(0, at),
    () => Buffer.alloc(0),
    () => Buffer.from(`[${text.toString()}]`),
    () => inserted([0xff, 0xfe]),
    () => inserted([0xc3]),
    () => inserted([0xed, 0xa0, 0x80]),
    () => inserted([0x00]),
    () => inserted([0x01]),
    () => Buffer.from(text.toString().replaceAll('"', "'")),
    () => Buffer.from(source.pick(oddValues)),
  ])()
}
