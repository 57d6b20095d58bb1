import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, Reply, TestCustody } from '../support/custody.ts'
import { patchUrn, startTestCustody, userUrn } from '../support/custody.ts'

const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

/** A resource as it stands before the request under test. */
interface Setting {
  readonly id: string
  readonly userName: string
  readonly boss: string
}

interface Shape {
  readonly name: string
  readonly method: string
  /** Below the SCIM base; `:id` stands for the person of the setting. */
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: (setting: Setting) => Json
  readonly status: number
  /** What the answer, or for a list its first resource, then says. */
  readonly says?: (setting: Setting) => Json
  /** Members that must not be there. */
  readonly lacks?: readonly string[]
  readonly total?: number
}

const patch = (...Operations: Json[]): Json => ({ schemas: [patchUrn], Operations })
const oktaHeaders = {
  'user-agent': 'Okta SCIM Client 1.0.0',
  'content-type': 'application/scim+json; charset=utf-8',
  'accept-charset': 'utf-8',
}
const list = (filter: string): string => encodeURIComponent(filter)

const okta: readonly Shape[] = [
  {
    name: 'looks for a user that is not there, before creating it',
    method: 'GET',
    path: `/Users?filter=${list('userName eq "nobody@x.test"')}&startIndex=1&count=100`,
    status: 200,
    total: 0,
  },
  {
    name: 'creates a user with a password and groups, and gets neither back',
    method: 'POST',
    path: '/Users',
    body: ({ userName }) => ({
      schemas: [userUrn],
      userName: `new-${userName}`,
      name: { givenName: 'Nora', familyName: 'Ek' },
      emails: [{ primary: true, value: 'nora@x.test', type: 'work' }],
      displayName: 'Nora Ek',
      locale: 'en-US',
      externalId: `00u-${userName}`,
      groups: [],
      password: 'Xy12',
      active: true,
    }),
    status: 201,
    says: ({ userName }) => ({
      userName: `new-${userName}`,
      externalId: `00u-${userName}`,
      name: { givenName: 'Nora', familyName: 'Ek' },
      emails: [{ value: 'nora@x.test', type: 'work', primary: true }],
      active: true,
    }),
    lacks: ['password', 'groups'],
  },
  {
    name: 'deactivates by a PATCH without a path (OIN template)',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ op: 'replace', value: { active: false } }),
    status: 200,
    says: () => ({ active: false }),
  },
  {
    name: 'sets a password, which is not kept',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ op: 'replace', value: { password: 'Xy34' } }),
    status: 200,
    lacks: ['password'],
  },
  {
    name: 'puts the whole user with its id and no groups (AIW)',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ id, userName }) => ({
      schemas: [userUrn],
      id,
      userName,
      name: { givenName: 'N', familyName: 'E' },
      groups: [],
      active: true,
    }),
    status: 200,
    says: ({ id }) => ({ id, name: { givenName: 'N', familyName: 'E' }, active: true }),
    lacks: ['displayName'],
  },
  {
    name: 'deactivates by PUT (AIW)',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ id, userName }) => ({ schemas: [userUrn], id, userName, active: false }),
    status: 200,
    says: () => ({ active: false }),
  },
]

const entra: readonly Shape[] = [
  {
    name: 'tests the connection with a random user',
    method: 'GET',
    path: `/Users?filter=${list('userName eq "0f5b6f0c-ab1d-4f7e-9d0b-random"')}`,
    status: 200,
    total: 0,
  },
  {
    name: 'creates a user with meta and roles',
    method: 'POST',
    path: '/Users',
    body: ({ userName }) => ({
      schemas: [userUrn, enterprise],
      externalId: `object-${userName}`,
      userName: `entra-${userName}`,
      active: true,
      emails: [{ primary: true, type: 'work', value: 'e@x.test' }],
      meta: { resourceType: 'User' },
      name: { formatted: 'g f', familyName: 'f', givenName: 'g' },
      roles: [],
    }),
    status: 201,
    says: ({ userName }) => ({ externalId: `object-${userName}`, active: true }),
    lacks: ['roles', enterprise],
  },
  {
    name: 'deactivates with a capital Replace and "False" as text',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ op: 'Replace', path: 'active', value: 'False' }),
    status: 200,
    says: () => ({ active: false }),
  },
  {
    name: 'adds an e-mail through a filter that matches nothing yet, dotted and URN paths beside it',
    method: 'PATCH',
    path: '/Users/:id',
    body: () =>
      patch(
        { op: 'Add', path: 'emails[type eq "work"].value', value: 'n@x.test' },
        { op: 'Replace', path: 'name.familyName', value: 'Ek' },
        { op: 'Replace', path: `${enterprise}:employeeNumber`, value: '77' },
      ),
    status: 200,
    says: () => ({
      emails: [{ value: 'n@x.test', type: 'work' }],
      name: { familyName: 'Ek' },
      [enterprise]: { employeeNumber: '77' },
    }),
  },
  {
    name: 'adds a manager as a bare id',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ boss }) => patch({ op: 'Add', path: `${enterprise}:manager`, value: boss }),
    status: 200,
    says: ({ boss }) => ({ [enterprise]: { manager: { value: boss } } }),
  },
  {
    name: 'clears the manager with an empty value',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ boss }) =>
      patch(
        { op: 'Add', path: `${enterprise}:manager`, value: boss },
        { op: 'replace', path: `${enterprise}:manager`, value: { value: '' } },
      ),
    status: 200,
    lacks: [enterprise],
  },
  {
    name: 'replaces a complex name in part',
    method: 'PATCH',
    path: '/Users/:id',
    body: () =>
      patch(
        { op: 'Add', path: 'name', value: { givenName: 'A', familyName: 'B' } },
        { op: 'Replace', path: 'name', value: { familyName: 'Z' } },
      ),
    status: 200,
    says: () => ({ name: { givenName: 'A', familyName: 'Z' } }),
  },
  {
    name: 'removes what is not there, and sets externalId twice in a row',
    method: 'PATCH',
    path: '/Users/:id',
    body: () =>
      patch(
        { op: 'remove', path: 'preferredLanguage' },
        { op: 'add', path: 'externalId', value: 'a' },
        { op: 'replace', path: 'externalId', value: 'b' },
      ),
    status: 200,
    says: () => ({ externalId: 'b' }),
  },
  {
    name: 'sends primary as text in roles',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ op: 'Add', path: 'roles', value: [{ primary: 'True', value: 'admin' }] }),
    status: 200,
    says: () => ({ roles: [{ primary: true, value: 'admin' }] }),
  },
  {
    name: 'searches by the value of a typed e-mail',
    method: 'GET',
    path: `/Users?filter=${list('emails[type eq "work"].value eq "boss@x.test"')}`,
    status: 200,
    total: 1,
  },
  {
    name: 'probes a manager with two equalities',
    method: 'GET',
    path: `/Users?filter=${list('userName eq "boss@x.test" and manager eq "x"')}`,
    status: 200,
    total: 0,
  },
  {
    name: 'reads changes of active users by date, seven digits of a second and startindex 0',
    method: 'GET',
    path: `/Users?filter=${list('(ActiVe eq true) and (meta.lastmodified ge "0001-01-03T00:00:00.0000000Z" and userName eq "boss@x.test")')}&count=5&startindex=0`,
    status: 200,
    total: 1,
  },
  {
    name: 'uses a dot behind the URN',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ boss }) => patch({ op: 'add', path: `${enterprise}.manager`, value: boss }),
    status: 200,
    says: ({ boss }) => ({ [enterprise]: { manager: { value: boss } } }),
  },
]

const entraWithFlag: readonly Shape[] = [
  {
    name: 'deactivates with a boolean',
    method: 'PATCH',
    path: '/Users/:id?aadOptscim062020',
    body: () => patch({ op: 'replace', path: 'active', value: false }),
    status: 200,
    says: () => ({ active: false }),
  },
  {
    name: 'merges dotted and URN keys without a path',
    method: 'PATCH',
    path: '/Users/:id?aadOptscim062020=true',
    body: () =>
      patch(
        { op: 'add', path: 'emails[type eq "work"].value', value: 'n@x.test' },
        { op: 'replace', path: 'emails[type eq "work"].value', value: 'm@x.test' },
        {
          op: 'replace',
          value: {
            displayName: 'N',
            'name.givenName': 'Nora',
            [`${enterprise}:employeeNumber`]: '77',
          },
        },
      ),
    status: 200,
    says: () => ({
      displayName: 'N',
      name: { givenName: 'Nora' },
      emails: [{ value: 'm@x.test', type: 'work' }],
      [enterprise]: { employeeNumber: '77' },
    }),
  },
  {
    name: 'searches',
    method: 'GET',
    path: `/Users?aadOptscim062020&filter=${list('userName eq "boss@x.test"')}`,
    status: 200,
    total: 1,
  },
]

const jumpCloud: readonly Shape[] = [
  {
    name: 'lists users when it is switched on',
    method: 'GET',
    path: `/Users?count=1&filter=${list('userName eq "nobody"')}`,
    status: 200,
    total: 0,
  },
  {
    name: 'changes one attribute per operation',
    method: 'PATCH',
    path: '/Users/:id',
    body: () =>
      patch(
        { op: 'replace', path: 'name.givenName', value: 'John' },
        { op: 'replace', path: 'name.familyName', value: 'Ek' },
        { op: 'replace', path: 'active', value: false },
      ),
    status: 200,
    says: () => ({ name: { givenName: 'John', familyName: 'Ek' }, active: false }),
  },
]

const oneLogin: readonly Shape[] = [
  {
    name: 'creates with a SCIM 1 schema, one e-mail as an object and empty text',
    method: 'POST',
    path: '/Users',
    body: ({ userName }) => ({
      schemas: ['urn:scim:schemas:core:1.0'],
      userName: `onelogin-${userName}`,
      name: { givenName: 'Nora', familyName: 'Ek', formatted: 'Nora Ek' },
      emails: { value: 'nora@x.test' },
      title: '',
    }),
    status: 201,
    says: () => ({ schemas: [userUrn], emails: [{ value: 'nora@x.test' }] }),
    lacks: ['title'],
  },
  {
    name: 'sends an extension that schemas does not list',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ userName }) => ({
      schemas: ['urn:scim:schemas:core:1.0'],
      userName,
      [enterprise]: { department: 'IT', division: '' },
    }),
    status: 200,
    says: () => ({ schemas: [userUrn, enterprise], [enterprise]: { department: 'IT' } }),
  },
  {
    name: 'deactivates by PATCH',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ op: 'replace', path: 'active', value: false }),
    status: 200,
    says: () => ({ active: false }),
  },
  { name: 'deletes when set so', method: 'DELETE', path: '/Users/:id', status: 204 },
]

const ping: readonly Shape[] = [
  {
    name: 'puts the same e-mail twice, both primary: the first keeps the mark',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ userName }) => ({
      schemas: [userUrn],
      id: 'u1',
      userName,
      active: true,
      emails: [
        { type: 'work', value: 'n@x.test', primary: true },
        { type: 'home', value: 'n@x.test', primary: true },
      ],
    }),
    status: 200,
    says: () => ({
      emails: [
        { type: 'work', value: 'n@x.test', primary: true },
        { type: 'home', value: 'n@x.test', primary: false },
      ],
    }),
  },
  {
    name: 'disables by PUT',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ userName }) => ({ schemas: [userUrn], userName, active: false }),
    status: 200,
    says: () => ({ active: false }),
  },
  { name: 'deletes', method: 'DELETE', path: '/Users/:id', status: 204 },
]

const authentik: readonly Shape[] = [
  {
    name: 'puts a user, an omitted active staying as it was',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ userName }) => ({
      schemas: [userUrn],
      userName,
      externalId: `ak-${userName}`,
      displayName: 'Nora',
      emails: [{ value: 'n@x.test', type: 'other', primary: true }],
    }),
    status: 200,
    says: ({ userName }) => ({ externalId: `ak-${userName}`, active: true, displayName: 'Nora' }),
  },
  {
    name: 'learns by 404 that a user is truly gone, and only then',
    method: 'PUT',
    path: '/Users/never-was',
    body: ({ userName }) => ({ schemas: [userUrn], userName }),
    status: 404,
  },
  {
    name: 'replaces without a path, id and schemas included',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ id }) =>
      patch({ op: 'replace', value: { schemas: [userUrn], id, displayName: 'Renamed' } }),
    status: 200,
    says: ({ id }) => ({ id, displayName: 'Renamed' }),
  },
  {
    name: 'discovers page by page with startIndex alone',
    method: 'GET',
    path: '/Users?startIndex=1',
    status: 200,
  },
]

describe('what identity providers really send', () => {
  let custody: TestCustody
  let boss: string
  let count = 0
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    boss = await custody.createPerson('boss@x.test', {
      emails: [{ type: 'work', value: 'boss@x.test' }],
    })
  })
  afterAll(() => custody.close())

  const play = async (shape: Shape, headers: Record<string, string>): Promise<Reply> => {
    count += 1
    const userName = `person-${count}@x.test`
    const id = await custody.createPerson(userName)
    const setting: Setting = { id, userName, boss }

    const reply: Reply = await custody.call(
      shape.method,
      `/scim/v2${shape.path.replace(':id', id)}`,
      shape.body?.(setting),
      { headers: { ...headers, ...shape.headers } },
    )

    if (shape.status === 204) {
      expect(reply.text).toBe('')
      expect((await custody.call('GET', `/scim/v2/Users/${id}`)).status).toBe(404)
      return reply
    }
    expect(reply.headers.get('content-type')).toContain('application/scim+json')
    if (shape.total !== undefined) {
      expect(reply.body).toMatchObject({ totalResults: shape.total, startIndex: 1 })
      expect(reply.body.Resources).toHaveLength(shape.total)
    }
    if (shape.says) expect(reply.body).toMatchObject(shape.says(setting))
    for (const name of shape.lacks ?? []) expect(reply.body).not.toHaveProperty([name])
    return reply
  }

  describe('Okta', () => {
    it.each(okta)('$name', async (shape) => {
      expect((await play(shape, oktaHeaders)).status).toBe(shape.status)
    })

    it('asserts 401 with a SCIM body for Authorization: non-token', async () => {
      const reply = await custody.call('GET', '/scim/v2/Users', undefined, {
        token: null,
        headers: { ...oktaHeaders, authorization: 'non-token' },
      })

      expect(reply.status).toBe(401)
      expect(reply.body).toMatchObject({
        schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'],
        status: '401',
        detail: expect.stringMatching(/./),
      })
    })

    it('re-reads pages and finds the same order and integer counters', async () => {
      const page = (start: number) =>
        custody.call('GET', `/scim/v2/Users?startIndex=${start}&count=3`)
      const [first, again, second] = [await page(1), await page(1), await page(4)]

      expect(again.body.Resources).toEqual(first.body.Resources)
      const ids = [...first.body.Resources, ...second.body.Resources].map((r: Json) => r.id)
      expect(new Set(ids).size).toBe(6)
      for (const name of ['totalResults', 'startIndex', 'itemsPerPage']) {
        expect(Number.isInteger(first.body[name]), name).toBe(true)
      }
    })
  })
  describe('Microsoft Entra ID', () => {
    it.each(entra)('$name', async (shape) => {
      expect((await play(shape, {})).status).toBe(shape.status)
    })
  })
  describe('Microsoft Entra ID with aadOptscim062020', () => {
    it.each(entraWithFlag)('$name', async (shape) => {
      expect((await play(shape, {})).status).toBe(shape.status)
    })
  })
  describe('JumpCloud', () => {
    it.each(jumpCloud)('$name', async (shape) => {
      expect((await play(shape, {})).status).toBe(shape.status)
    })
  })
  describe('OneLogin', () => {
    it.each(oneLogin)('$name', async (shape) => {
      expect((await play(shape, { 'content-type': 'application/json' })).status).toBe(shape.status)
    })
  })
  describe('Ping', () => {
    it.each(ping)('$name', async (shape) => {
      expect((await play(shape, {})).status).toBe(shape.status)
    })
  })
  describe('authentik', () => {
    it.each(authentik)('$name', async (shape) => {
      expect((await play(shape, {})).status).toBe(shape.status)
    })

    it('reads from the configuration how large its chunks may be', async () => {
      const { body } = await custody.call('GET', '/scim/v2/ServiceProviderConfig')

      expect(body.patch.supported).toBe(true)
      expect(body.bulk.maxOperations).toBe(500)
    })
  })
})
