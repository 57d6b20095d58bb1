import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CallOptions, Json, Reply, TestCustody } from '../support/custody.ts'
import { nhiUrn, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'
import { unique } from '../support/entities.ts'

const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'
const scimJson = { accept: 'application/scim+json' }

describe('SCIM groups', () => {
  let custody: TestCustody
  /** Three people of directory `default`. */
  let u: readonly [string, string, string]
  const as = {} as Record<
    'lenient' | 'rfc' | 'interop' | 'abroad' | 'auditor' | 'verifier',
    CallOptions
  >

  beforeAll(async () => {
    custody = await startTestCustody()
    const client = async (role: string, more = {}) => ({
      token: (await custody.createClient(role, more)).token,
    })
    as.lenient = await client('directory')
    as.rfc = await client('directory', { dialect: 'rfc' })
    as.interop = await client('directory', { dialect: 'interop' })
    as.abroad = await client('directory', { directory: 'abroad' })
    as.auditor = await client('auditor')
    as.verifier = await client('verifier')
    const person = () => custody.createPerson(`${unique('p')}@x.test`)
    u = [await person(), await person(), await person()]
  })
  afterAll(() => custody.close())

  const call = (
    method: string,
    path: string,
    body?: unknown,
    who: CallOptions = as.lenient,
    headers: Record<string, string> = scimJson,
  ): Promise<Reply> => custody.call(method, `/scim/v2${path}`, body, { ...who, headers })
  const create = async (members: readonly string[] = [], more: Json = {}): Promise<Json> => {
    const reply = await call('POST', '/Groups', {
      schemas: [groupUrn],
      displayName: unique('ops'),
      members: members.map((value) => ({ value })),
      ...more,
    })
    expect(reply.status).toBe(201)
    return reply.body
  }
  const patch = (
    id: string,
    operations: readonly Json[],
    who: CallOptions = as.lenient,
    headers?: Record<string, string>,
  ) => call('PATCH', `/Groups/${id}`, { schemas: [patchUrn], Operations: operations }, who, headers)
  const get = async (id: string, query = ''): Promise<Json> =>
    (await call('GET', `/Groups/${id}${query}`)).body
  const membersOf = async (id: string): Promise<readonly string[]> =>
    ((await get(id)).members ?? []).map((m: Json) => m.value)
  const list = async (query: string, who?: CallOptions): Promise<Reply> =>
    call('GET', `/Groups?${query}`, undefined, who)
  const eq = (path: string, value: string) => encodeURIComponent(`${path} eq "${value}"`)

  describe('in Bulk, .search and the root query', () => {
    const named = (bulkId: string, ...members: readonly string[]): Json => ({
      method: 'POST',
      path: '/Groups',
      bulkId,
      data: {
        schemas: [groupUrn],
        displayName: unique(bulkId),
        members: members.map((value) => ({ value })),
      },
    })

    it('are created around each other, changed and deleted', async () => {
      const bulk = async (...operations: readonly Json[]): Promise<readonly Json[]> => {
        const schemas = ['urn:ietf:params:scim:api:messages:2.0:BulkRequest']
        const reply = await call('POST', '/Bulk', { schemas, Operations: operations })
        expect(reply.status).toBe(200)
        return reply.body.Operations
      }
      const made = await bulk(named('a', 'bulkId:b', u[0]), named('b', 'bulkId:a'))
      expect(made.map((o) => o.status)).toEqual(['201', '201'])
      const [a, b] = made.map((o) => o.location.split('/').at(-1) as string)
      expect(new Set(await membersOf(a!))).toEqual(new Set([b, u[0]]))
      expect(await membersOf(b!)).toEqual([a])
      expect((await get(b!)).meta.version).toBe(made[1]!.version)

      const remove = { op: 'remove', path: 'members' }
      const patched = { schemas: [patchUrn], Operations: [remove] }
      const changed = await bulk(
        { method: 'PATCH', path: `/Groups/${a}`, data: patched },
        { method: 'DELETE', path: `/Groups/${b}`, version: 'W/"999"' },
        { method: 'DELETE', path: `/Groups/${b}` },
      )
      expect(changed.map((o) => o.status)).toEqual(['200', '412', '204'])
      expect(changed[0]!.version).toBe((await get(a!)).meta.version)
      expect(await membersOf(a!)).toEqual([])
    })

    it('are found, and walked by cursor across the types', async () => {
      const { id, displayName } = await create([u[0], u[1]])
      const schemas = ['urn:ietf:params:scim:api:messages:2.0:SearchRequest']
      const filter = `displayName eq "${displayName}"`
      const found = await call('POST', '/Groups/.search', { schemas, filter })
      expect(found.body.Resources).toMatchObject([{ id, members: [{}, {}] }])
      const bare = await call('POST', '/.search', { schemas, filter, attributes: 'displayName' })
      expect(bare.body.Resources).toEqual([{ schemas: [groupUrn], id, displayName }])

      const types: string[] = []
      const ids = new Set<string>()
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const page = await call('GET', `/?count=1&attributes=meta&cursor=${cursor}`)
        expect(page.body.Resources).toHaveLength(1)
        ids.add(page.body.Resources[0].id)
        types.push(page.body.Resources[0].meta.resourceType)
        cursor = page.body.nextCursor
      }
      const { totalResults } = (await call('GET', '/?count=0')).body
      expect([types.length, ids.size]).toEqual([totalResults, totalResults])
      const order = ['User', 'Group', 'Credential']
      expect(types).toEqual(types.toSorted((a, b) => order.indexOf(a) - order.indexOf(b)))
      expect(types).toContain('Group')
    })

    it('answer a condition without reading on, and a miss with the whole group', async () => {
      const { id } = await create([u[0]])
      const version = (await get(id)).meta.version as string
      const known = (tag: string) =>
        call('GET', `/Groups/${id}`, undefined, as.lenient, { 'if-none-match': tag })
      expect((await known(version)).status).toBe(304)
      expect((await known('W/"999"')).body.members).toHaveLength(1)
    })
  })

  describe('resources', () => {
    it('are created with members that are resolved, and read back the same', async () => {
      const inner = await create()
      const sent = {
        schemas: [groupUrn],
        externalId: unique('x'),
        displayName: unique('Ops'),
        members: [{ value: u[0], display: 'Nora' }, { value: inner.id }],
      }

      const made = await call('POST', '/Groups', sent)

      expect(made.status).toBe(201)
      expect(made.headers.get('location')).toBe(made.body.meta.location)
      expect(made.body).toMatchObject({
        schemas: [groupUrn],
        displayName: sent.displayName,
        externalId: sent.externalId,
        meta: { resourceType: 'Group', location: `${custody.url}/scim/v2/Groups/${made.body.id}` },
      })
      expect(made.body.members).toEqual([
        { value: u[0], $ref: `../Users/${u[0]}`, type: 'User', display: 'Nora' },
        { value: inner.id, $ref: `../Groups/${inner.id}`, type: 'Group' },
      ])
      const read = await call('GET', `/Groups/${made.body.id}`)
      expect(read.body).toEqual(made.body)
      expect(read.headers.get('etag')).toBe(made.body.meta.version)
      expect(
        (await custody.call('GET', `/scim/Groups/${made.body.id}`, undefined, as.lenient)).status,
      ).toBe(200)
    })

    it('need a displayName that nobody in the directory has, whatever its case', async () => {
      const { displayName, id } = await create()

      expect(await call('POST', '/Groups', { schemas: [groupUrn] })).toMatchObject({
        status: 400,
        body: { scimType: 'invalidValue' },
      })
      const same = { schemas: [groupUrn], displayName: displayName.toUpperCase() }
      const refused = await call('POST', '/Groups', same)
      expect(refused).toMatchObject({ status: 409, body: { scimType: 'uniqueness' } })
      expect(refused.body.detail).toContain(id)
      expect((await call('POST', '/Groups', same, as.abroad)).status).toBe(201)
      const other = await create()
      const renamed = await patch(other.id, [
        { op: 'replace', path: 'displayName', value: displayName },
      ])
      expect(renamed).toMatchObject({ status: 409, body: { scimType: 'uniqueness' } })

      expect((await call('DELETE', `/Groups/${id}`)).status).toBe(204)
      expect((await call('POST', '/Groups', same)).status).toBe(201)
    })

    it('are replaced by PUT; without members they are emptied', async () => {
      const group = await create([u[0], u[1]])
      const put = (body: Json) =>
        call('PUT', `/Groups/${group.id}`, { schemas: [groupUrn], ...body })

      const replaced = await put({ displayName: group.displayName, members: [{ value: u[2] }] })
      expect(replaced.body.members.map((m: Json) => m.value)).toEqual([u[2]])
      const renamed = await put({ displayName: unique('new') })
      expect(renamed).toMatchObject({ status: 200 })
      expect(renamed.body.members).toBeUndefined()
      expect(await membersOf(group.id)).toEqual([])
      expect((await call('PUT', '/Groups/none', { displayName: 'x' })).status).toBe(404)
    })

    it('stay as they are, lastModified too, under a write that changes nothing', async () => {
      const group = await create([u[0]], { externalId: unique('x') })
      const { meta: _, ...body } = group

      expect((await call('PUT', `/Groups/${group.id}`, body)).body).toEqual(group)
      await patch(group.id, [{ op: 'add', path: 'members', value: [{ value: u[0] }] }])
      await patch(group.id, [{ op: 'replace', value: { displayName: group.displayName } }])
      expect(await get(group.id)).toEqual(group)
    })

    it('change only under the version of If-Match, and answer 304 to the same', async () => {
      const group = await create()
      const was = group.meta.version
      const add = [{ op: 'add', path: 'members', value: [{ value: u[0] }] }]
      const when = (tag: string) =>
        patch(group.id, add, as.lenient, { ...scimJson, 'if-match': tag })

      expect((await when('W/"99"')).status).toBe(412)
      expect((await when(was)).status).toBe(200)
      expect((await when(was)).status).toBe(412)
      const now = (await get(group.id)).meta.version
      expect(now).not.toBe(was)
      const again = await call('GET', `/Groups/${group.id}`, undefined, as.lenient, {
        'if-none-match': now,
      })
      expect(again.status).toBe(304)
      const remove = await call('DELETE', `/Groups/${group.id}`, undefined, as.lenient, {
        'if-match': was,
      })
      expect(remove.status).toBe(412)
    })

    it('are gone after DELETE, for members and lists too', async () => {
      const group = await create([u[0]])
      const outer = await create([group.id])

      expect((await call('DELETE', `/Groups/${group.id}`)).status).toBe(204)

      expect((await call('GET', `/Groups/${group.id}`)).status).toBe(404)
      expect((await call('DELETE', `/Groups/${group.id}`)).status).toBe(404)
      expect((await list(`filter=${eq('id', group.id)}`)).body.totalResults).toBe(0)
      expect(await membersOf(outer.id)).toEqual([])
      const person = (await call('GET', `/Users/${u[0]}`)).body
      expect((person.groups ?? []).map((g: Json) => g.value)).not.toContain(group.id)
    })

    it('lose a member that is deleted', async () => {
      const person = await custody.createPerson(`${unique('gone')}@x.test`)
      const group = await create([person, u[0]])

      await call('DELETE', `/Users/${person}`)

      expect(await membersOf(group.id)).toEqual([u[0]])
    })

    it('show in User.groups, alone and in lists, and cannot be changed there', async () => {
      const userName = `${unique('member')}@x.test`
      const person = await custody.createPerson(userName)
      expect((await call('GET', `/Users/${person}`)).body.groups).toBeUndefined()
      const group = await create([person])
      const groups = [
        {
          value: group.id,
          $ref: `../Groups/${group.id}`,
          display: group.displayName,
          type: 'direct',
        },
      ]

      expect((await call('GET', `/Users/${person}`)).body.groups).toEqual(groups)
      const found = await call('GET', `/Users?filter=${eq('userName', userName)}`)
      expect(found.body.Resources[0].groups).toEqual(groups)
      const byGroup = await call('GET', `/Users?filter=${eq('groups.value', group.id)}`)
      expect(byGroup.body.Resources.map((r: Json) => r.id)).toEqual([person])
      const put = { schemas: [userUrn], userName, displayName: 'N', groups: [] }
      expect((await call('PUT', `/Users/${person}`, put)).body.groups).toEqual(groups)
      const operation = { op: 'remove', path: 'groups' }
      const body = { schemas: [patchUrn], Operations: [operation] }
      expect(await call('PATCH', `/Users/${person}`, body)).toMatchObject({
        status: 400,
        body: { scimType: 'mutability' },
      })
    })
  })

  describe('who sees them', () => {
    it('is the directory, and whoever reads all; others get 404, 403 or nothing', async () => {
      const group = await create([u[0]])
      const path = `/Groups/${group.id}`

      expect((await call('GET', path, undefined, as.abroad)).status).toBe(404)
      expect(
        (await patch(group.id, [{ op: 'replace', path: 'members', value: [] }], as.abroad)).status,
      ).toBe(404)
      expect((await list(`filter=${eq('id', group.id)}`, as.abroad)).body.totalResults).toBe(0)
      expect((await call('GET', path, undefined, as.auditor)).status).toBe(200)
      expect((await call('DELETE', path, undefined, as.auditor)).status).toBe(403)
      expect(
        (await call('POST', '/Groups', { displayName: unique('no') }, as.auditor)).status,
      ).toBe(403)
      expect((await call('GET', path, undefined, as.verifier)).status).toBe(404)
      expect((await call('GET', path, undefined, { token: null })).status).toBe(401)
      expect(await membersOf(group.id)).toEqual([u[0]])
    })

    it('does not include people of another directory, whom a group cannot reveal or use', async () => {
      const made = await call(
        'POST',
        '/Users',
        { schemas: [userUrn], userName: unique('far') },
        as.abroad,
      )
      const foreign = made.body.id
      const group = await create([foreign])

      expect(
        (await call('GET', `/Users/${foreign}`, undefined, as.abroad)).body.groups,
      ).toBeUndefined()
      const refused = await patch(
        group.id,
        [{ op: 'add', path: 'members', value: [{ value: foreign }, { value: 'x' }] }],
        as.rfc,
      )
      expect(refused).toMatchObject({ status: 400, body: { scimType: 'invalidValue' } })
      const account = await custody.requestAccount(unique('svc'), group.id, {
        owner: { value: group.id, type: 'Group' },
      })
      expect(account.status).toBe(400)
    })

    it('lets a member look after the accounts its group owns', async () => {
      const inner = await create([u[1]])
      const outer = await create([inner.id])
      const reply = await custody.requestAccount(unique('svc'), outer.id, {
        owner: { value: outer.id, type: 'Group' },
      })
      expect(reply.status).toBe(201)
      expect(reply.body[nhiUrn].owner).toMatchObject({ value: outer.id, type: 'Group' })
      const linked = async (person: string) => ({
        token: (await custody.createClient('requester', { person })).token,
      })
      const path = `/Users/${reply.body.id}`

      const member = await linked(u[1])
      expect((await call('GET', path, undefined, member)).status).toBe(200)
      expect((await call('GET', path, undefined, await linked(u[2]))).status).toBe(404)
      await patch(inner.id, [{ op: 'remove', path: `members[value eq "${u[1]}"]` }])
      expect((await call('GET', path, undefined, member)).status).toBe(404)
    })
  })

  describe('lists', () => {
    it.each([
      [
        'Okta: by displayName with paging',
        (g: Json) => `filter=${eq('displayName', g.displayName)}&startIndex=1&count=100`,
      ],
      [
        'Entra: by displayName without members',
        (g: Json) => `excludedAttributes=members&filter=${eq('displayName', g.displayName)}`,
      ],
      ['by externalId', (g: Json) => `filter=${eq('externalId', g.externalId)}`],
      ['by id', (g: Json) => `filter=${eq('id', g.id)}`],
      ['by URN', (g: Json) => `filter=${eq(`${groupUrn}:displayName`, g.displayName)}`],
      [
        'IPSIE: by members[value eq]',
        (_: Json, m: string) => `filter=${encodeURIComponent(`members[value eq "${m}"]`)}`,
      ],
      ['by members.value', (_: Json, m: string) => `filter=${eq('members.value', m)}`],
      [
        'Entra: membership probe',
        (g: Json, m: string) =>
          `attributes=id&filter=${encodeURIComponent(`id eq "${g.id}" and members eq "${m}"`)}`,
      ],
    ])('find a group %s', async (_, query) => {
      const member = await custody.createPerson(`${unique('m')}@x.test`)
      const group = await create([member], { externalId: unique('x') })
      await create([u[0]])

      const found = await list(query(group, member))

      expect(found.status).toBe(200)
      expect(found.body.totalResults).toBe(1)
      expect(found.body.Resources.map((r: Json) => r.id)).toEqual([group.id])
    })

    it('answer an empty list and not 404 when nothing matches', async () => {
      const none = await list(`filter=${eq('displayName', 'nobody')}`)

      expect(none.body).toMatchObject({ totalResults: 0, itemsPerPage: 0, Resources: [] })
    })

    it('leave members out where nobody wants them', async () => {
      const { id } = await create([u[0]])

      expect(await get(id, '?excludedAttributes=members')).not.toHaveProperty('members')
      expect(await get(id, '?excludedAttributes=Members')).not.toHaveProperty('members')
      expect(await get(id, '?attributes=displayName')).not.toHaveProperty('members')
      expect((await get(id, '?attributes=members.value')).members).toEqual([{ value: u[0] }])
      expect((await get(id, '?excludedAttributes=members.$ref')).members).toEqual([
        { value: u[0], type: 'User' },
      ])
      expect((await get(id, `?attributes=${groupUrn}:members`)).members).toHaveLength(1)
    })
  })

  /** Every shape of an identity provider, sent to a group with the members u0 and u1. */
  describe('PATCH as it is sent', () => {
    type Expected = readonly (0 | 1 | 2)[]
    const shapes: readonly [
      string,
      (ids: readonly [string, string, string], group: Json) => readonly Json[],
      Expected,
    ][] = [
      [
        'Okta: path-less rename with id',
        (_, g) => [{ op: 'replace', value: { id: g.id, displayName: unique('ops') } }],
        [0, 1],
      ],
      [
        'Okta: remove by filter, then add',
        ([a, , c]) => [
          { op: 'remove', path: `members[value eq "${a}"]` },
          { op: 'add', path: 'members', value: [{ value: c, display: 'nora@x.test' }] },
        ],
        [1, 2],
      ],
      [
        'Okta: push now of an empty group',
        () => [{ op: 'replace', path: 'members', value: [] }],
        [],
      ],
      [
        'Entra: Add with $ref null',
        ([, , c]) => [{ op: 'Add', path: 'members', value: [{ $ref: null, value: c }] }],
        [0, 1, 2],
      ],
      [
        'Entra: Remove with a list of values',
        ([a, b]) => [{ op: 'Remove', path: 'members', value: [{ value: a }, { value: b }] }],
        [],
      ],
      [
        'Entra: Remove with one value leaves the others',
        ([a]) => [{ op: 'Remove', path: 'members', value: [{ value: a }] }],
        [1],
      ],
      [
        'Entra with the flag: remove by filter',
        ([a]) => [{ op: 'remove', path: `members[value eq "${a}"]` }],
        [1],
      ],
      [
        'Entra validator: Replace with null',
        () => [{ op: 'Replace', path: 'members', value: null }],
        [],
      ],
      [
        'JumpCloud: remove with a list of values',
        ([a]) => [{ op: 'remove', path: 'members', value: [{ value: a }] }],
        [1],
      ],
      [
        'JumpCloud: adds a member again',
        ([a]) => [{ op: 'add', path: 'members', value: [{ value: a }] }],
        [0, 1],
      ],
      [
        'JumpCloud: removes a member again',
        ([, , c]) => [{ op: 'remove', path: 'members', value: [{ value: c }] }],
        [0, 1],
      ],
      [
        'authentik: path-less replace of the whole group',
        (_, g) => [
          {
            op: 'replace',
            value: {
              schemas: [groupUrn],
              id: g.id,
              externalId: unique('7c'),
              displayName: unique('ops'),
            },
          },
        ],
        [0, 1],
      ],
      [
        'authentik: one operation each',
        ([, b, c]) => [
          { op: 'add', path: 'members', value: [{ value: c }] },
          { op: 'remove', path: 'members', value: [{ value: b }] },
        ],
        [0, 2],
      ],
      [
        'Microsoft collection: a bare string as value',
        ([, , c]) => [{ op: 'add', path: 'members', value: c }],
        [0, 1, 2],
      ],
      [
        'Microsoft collection: bare strings in a list',
        ([, , c]) => [{ op: 'add', path: 'members', value: [c] }],
        [0, 1, 2],
      ],
      [
        'Microsoft collection: one object as value',
        ([, , c]) => [{ op: 'add', path: 'members', value: { value: c } }],
        [0, 1, 2],
      ],
      ['a removal with a bare string', ([a]) => [{ op: 'remove', path: 'members', value: a }], [1]],
      [
        'replace with a list',
        ([a, , c]) => [{ op: 'replace', path: 'members', value: [{ value: a }, { value: c }] }],
        [0, 2],
      ],
      [
        'remove without value empties (RFC 7644 §3.5.2.2)',
        () => [{ op: 'remove', path: 'members' }],
        [],
      ],
      [
        'path-less add of members',
        ([, , c]) => [{ op: 'add', value: { members: [{ value: c }] } }],
        [0, 1, 2],
      ],
      [
        'path-less replace of members and name',
        ([, , c]) => [
          { op: 'replace', value: { Members: [{ value: c }], displayName: unique('ops') } },
        ],
        [2],
      ],
      [
        'members by URN',
        ([, , c]) => [{ op: 'add', path: `${groupUrn}:members`, value: [{ value: c }] }],
        [0, 1, 2],
      ],
      [
        'two values in one filter',
        ([a, b]) => [{ op: 'remove', path: `members[value eq "${a}" or value eq "${b}"]` }],
        [],
      ],
      ['a filter on the type', () => [{ op: 'remove', path: 'members[type eq "User"]' }], []],
      [
        'a filter on value and type',
        ([a]) => [{ op: 'remove', path: `members[value eq "${a}" and type eq "Group"]` }],
        [0, 1],
      ],
      [
        'add and remove of the same member',
        ([, , c]) => [
          { op: 'add', path: 'members', value: [{ value: c }] },
          { op: 'remove', path: `members[value eq "${c}"]` },
        ],
        [0, 1],
      ],
      [
        'remove and add of the same member',
        ([a]) => [
          { op: 'remove', path: `members[value eq "${a}"]` },
          { op: 'add', path: 'members', value: [{ value: a }] },
        ],
        [0, 1],
      ],
      [
        'replace, then add and remove',
        ([a, b, c]) => [
          { op: 'replace', path: 'members', value: [{ value: c }] },
          { op: 'add', path: 'members', value: [{ value: a }, { value: b }] },
          { op: 'remove', path: `members[value eq "${c}"]` },
        ],
        [0, 1],
      ],
    ]

    it.each(shapes)('%s', async (_, operations, expected) => {
      const group = await create([u[0], u[1]])

      const reply = await patch(group.id, operations(u, group))

      expect(reply.status).toBe(200)
      expect(await membersOf(group.id)).toEqual(expected.map((i) => u[i]).toSorted())
    })

    it('renames by path, and takes externalId', async () => {
      const group = await create()
      const [displayName, externalId] = [unique('new'), unique('x')]

      const reply = await patch(group.id, [
        { op: 'Replace', path: 'DisplayName', value: displayName },
        { op: 'Add', path: 'externalId', value: externalId },
      ])

      expect(reply.body).toMatchObject({ displayName, externalId })
      expect((await call('GET', `/Users/${u[0]}`)).status).toBe(200)
    })

    it('PingFederate: groups by PATCH, found by reading all of them', async () => {
      const group = await create([u[0]])
      const { totalResults } = (await list('count=0')).body
      const all: Json[] = []
      for (let at = 1; at <= totalResults; at += 200) {
        all.push(...(await list(`startIndex=${at}&count=200`)).body.Resources)
      }

      expect(all.find((g) => g.displayName === group.displayName)?.members).toHaveLength(1)
      const done = await patch(group.id, [{ op: 'add', path: 'members', value: [{ value: u[1] }] }])
      expect(done.body).toMatchObject({ id: group.id, displayName: group.displayName })
      expect(done.body).not.toHaveProperty('members')
      expect(await membersOf(group.id)).toHaveLength(2)
    })

    it('Entra: creates with a URN nobody knows, meta and without members', async () => {
      const reply = await call('POST', '/Groups', {
        schemas: [
          groupUrn,
          'http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group',
        ],
        externalId: unique('8aa1'),
        displayName: unique('ops'),
        meta: { resourceType: 'Group' },
      })

      expect(reply.status).toBe(201)
      expect(reply.body.schemas).toEqual([groupUrn])
      expect(reply.body).not.toHaveProperty('members')
    })

    it('Microsoft collection: keeps members nobody knows, and their displayName as display', async () => {
      const group = await create()
      const value = [{ value: 'nobody-yet', displayName: 'new User' }]

      await patch(group.id, [{ op: 'add', path: 'members', value }])

      expect((await get(group.id)).members).toEqual([
        { value: 'nobody-yet', $ref: '../Users/nobody-yet', type: 'User', display: 'new User' },
      ])
    })

    it('OneLogin: a template with an old URN and an empty text', async () => {
      const reply = await call('POST', '/Groups', {
        schemas: ['urn:scim:schemas:core:1.0'],
        displayName: unique('ops'),
        externalId: '',
        members: '',
      })

      expect(reply.status).toBe(201)
    })

    it.each([
      [{ accept: '*/*' }, 204],
      [{ accept: 'application/scim+json' }, 200],
      [{ accept: 'application/json, text/plain, */*' }, 200],
    ])('answers Accept %j with %i', async (headers, status) => {
      const group = await create()
      const add = [{ op: 'add', path: 'members', value: [{ value: u[0] }] }]

      const reply = await patch(group.id, add, as.lenient, headers)

      expect(reply.status).toBe(status)
      expect(reply.body?.members?.length ?? 1).toBe(1)
    })

    it('answers with a body when attributes are asked for, and without members when excluded', async () => {
      const group = await create([u[0]])
      const body = {
        schemas: [patchUrn],
        Operations: [{ op: 'add', path: 'members', value: [u[1]] }],
      }

      const narrow = await call(
        'PATCH',
        `/Groups/${group.id}?attributes=displayName`,
        body,
        as.lenient,
        {},
      )
      expect(Object.keys(narrow.body)).toEqual(['schemas', 'id', 'displayName'])
      const bare = await call('PATCH', `/Groups/${group.id}?excludedAttributes=members`, body)
      expect(bare.body).not.toHaveProperty('members')
    })
  })

  describe('strict dialects', () => {
    const missing = [{ op: 'remove', path: 'members[value eq "nobody"]' }]
    const unknown = [{ op: 'add', path: 'members', value: [{ value: 'nobody' }] }]
    const bare = [{ op: 'add', path: 'members', value: 'nobody' }]
    const listed = [{ op: 'remove', path: 'members', value: [{ value: 'nobody' }] }]
    const part = [{ op: 'replace', path: 'members.display', value: 'x' }]

    it.each([
      ['rfc', 'a removal that finds nothing', missing, 'noTarget'],
      ['interop', 'a filter that does not end in a sub-attribute', missing, 'invalidPath'],
      ['rfc', 'a listed removal that finds nothing', listed, 'noTarget'],
      ['rfc', 'members nobody knows', unknown, 'invalidValue'],
      ['interop', 'members nobody knows', unknown, 'invalidValue'],
      ['rfc', 'a bare string', bare, 'invalidValue'],
      ['rfc', 'a change of a member', part, 'mutability'],
      ['lenient', 'a change of a member', part, 'mutability'],
      [
        'rfc',
        'a member without value',
        [{ op: 'add', path: 'members', value: [{ display: 'x' }] }],
        'invalidValue',
      ],
      ['rfc', 'a removal of the name', [{ op: 'remove', path: 'displayName' }], 'mutability'],
      ['rfc', 'a change of the id', [{ op: 'replace', path: 'id', value: 'x' }], 'mutability'],
      ['interop', 'no path', [{ op: 'replace', value: { displayName: 'x' } }], 'invalidSyntax'],
      ['rfc', 'an unknown path', [{ op: 'replace', path: 'colour', value: 'x' }], 'invalidPath'],
    ] as const)(
      '%s refuses %s, and nothing of the request is kept',
      async (dialect, _, operations, scimType) => {
        const group = await create([u[0]])
        const first = { op: 'add', path: 'members', value: [{ value: u[1] }] }

        const reply = await patch(group.id, [first, ...operations], as[dialect])

        expect(reply).toMatchObject({ status: 400, body: { scimType } })
        expect(await membersOf(group.id)).toEqual([u[0]])
      },
    )

    it('refuse a member of another type than it says, which lenient corrects', async () => {
      const group = await create()
      const wrong = [{ op: 'add', path: 'members', value: [{ value: u[0], type: 'Group' }] }]

      expect(await patch(group.id, wrong, as.rfc)).toMatchObject({
        status: 400,
        body: { scimType: 'invalidValue' },
      })
      expect((await patch(group.id, wrong)).status).toBe(200)
      expect((await get(group.id)).members[0].type).toBe('User')
    })
  })

  describe('many members', () => {
    it('go in by up to 5 000 a request; one more is refused', async () => {
      const group = await create()
      const some = (count: number) =>
        Array.from({ length: count }, (_, i) => ({ value: `m-${String(i).padStart(5, '0')}` }))
      const add = (count: number) =>
        patch(group.id, [{ op: 'add', path: 'members', value: some(count) }])

      expect(await add(5_001)).toMatchObject({ status: 400, body: { scimType: 'tooMany' } })
      expect((await add(5_000)).status).toBe(200)
      expect((await get(group.id)).members).toHaveLength(5_000)
      const halves = [0, 1].map(() => ({ op: 'add', path: 'members', value: some(2_501) }))
      expect(await patch(group.id, halves)).toMatchObject({
        status: 400,
        body: { scimType: 'tooMany' },
      })
      await patch(group.id, [{ op: 'remove', path: 'members' }])
      expect(await membersOf(group.id)).toEqual([])
    })

    it('are looked through a few times a request, no more', async () => {
      const group = await create([u[0]])
      const times = (length: number) =>
        Array.from({ length }, () => ({ op: 'remove', path: 'members[display eq "x"]' }))

      expect((await patch(group.id, times(5))).status).toBe(200)
      expect(await patch(group.id, times(6))).toMatchObject({
        status: 400,
        body: { scimType: 'tooMany' },
      })
    })

    it('are added by two clients at the same time without either being lost', async () => {
      const group = await create()

      const replies = await Promise.all(
        u.map((value) => patch(group.id, [{ op: 'add', path: 'members', value: [{ value }] }])),
      )

      expect(replies.map((r) => r.status)).toEqual([200, 200, 200])
      expect(await membersOf(group.id)).toEqual([...u].toSorted())
    })
  })

  it('are discovered', async () => {
    const types = (await call('GET', '/ResourceTypes')).body.Resources.map((r: Json) => r.id)
    const schema = await call('GET', `/Schemas/${groupUrn}`)

    expect(types).toEqual(['User', 'Group', 'Credential', 'Entitlement'])
    expect(schema.body.attributes.map((a: Json) => a.name)).toEqual(['displayName', 'members'])
  })
})
