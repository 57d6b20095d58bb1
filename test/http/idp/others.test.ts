import { expect, it } from 'vitest'
import { userUrn } from '../../support/custody.ts'
import { enterpriseUrn, filter, groupUrn, patch } from '../../support/scim.ts'
import type { Shape } from '../../support/shapes.ts'
import { playShapes } from '../../support/shapes.ts'

const jumpCloud: readonly Shape[] = [
  {
    name: 'lists users when it is switched on',
    method: 'GET',
    path: `/Users?count=1&${filter('userName eq "nobody"')}`,
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
  { name: 'lists groups when it is switched on', method: 'GET', path: '/Groups', status: 200 },
  {
    name: 'adds a member who is there',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ id }) => patch({ op: 'add', path: 'members', value: [{ value: id }] }),
    status: 200,
    members: ({ id, boss }) => [id, boss],
  },
  {
    name: 'removes members by a list of values',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ id }) => patch({ op: 'remove', path: 'members', value: [{ value: id }] }),
    status: 200,
    members: ({ boss }) => [boss],
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
      [enterpriseUrn]: { department: 'IT', division: '' },
    }),
    status: 200,
    says: () => ({ schemas: [userUrn, enterpriseUrn], [enterpriseUrn]: { department: 'IT' } }),
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
  {
    name: 'reads the configuration when the connector is enabled',
    method: 'GET',
    path: '/ServiceProviderConfig',
    status: 200,
    says: () => ({ patch: { supported: true } }),
  },
  { name: 'refreshes entitlements from all groups', method: 'GET', path: '/Groups', status: 200 },
  {
    name: 'deactivates by PUT',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ userName }) => ({ schemas: ['urn:scim:schemas:core:1.0'], userName, active: false }),
    status: 200,
    says: () => ({ active: false }),
  },
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
  {
    name: 'finds groups by reading all of them',
    method: 'GET',
    path: '/Groups?startIndex=1&count=200',
    status: 200,
    says: () => ({ totalResults: expect.any(Number) }),
  },
  {
    name: 'changes a group by PATCH',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ boss }) => patch({ op: 'remove', path: `members[value eq "${boss}"]` }),
    status: 200,
    members: ({ id }) => [id],
  },
  {
    name: 'leaves special characters of a group name as they are in a filter',
    method: 'GET',
    path: '/Groups?filter=displayName eq "R&D (all)"',
    status: 400,
    says: () => ({ scimType: 'invalidFilter' }),
  },
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
  {
    name: 'finds the name of a group taken, and looks for it',
    method: 'GET',
    path: ({ groupName }) => `/Groups?${filter(`displayName eq "${groupName}"`)}`,
    status: 200,
    total: 1,
  },
  {
    name: 'replaces a whole group without a path, which leaves its members',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ group, groupName }) =>
      patch({
        op: 'replace',
        value: { schemas: [groupUrn], id: group, externalId: `ak ${groupName}`, displayName: 'ak' },
      }),
    status: 200,
    says: ({ groupName }) => ({ externalId: `ak ${groupName}`, displayName: 'ak' }),
    members: ({ id, boss }) => [id, boss],
  },
  {
    name: 'changes members by one operation each',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ id, boss }) =>
      patch(
        { op: 'add', path: 'members', value: [{ value: id }] },
        { op: 'remove', path: 'members', value: [{ value: boss }] },
      ),
    status: 200,
    members: ({ id }) => [id],
  },
]

const google: readonly Shape[] = [
  {
    name: 'looks a user up by e-mail',
    method: 'GET',
    path: `/Users?${filter('emails.value eq "BOSS@x.test"')}`,
    status: 200,
    total: 1,
  },
  {
    name: 'sends a PATCH without op, which nobody can read',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ path: 'active', value: false }),
    status: 400,
    says: () => ({ scimType: 'invalidSyntax' }),
  },
  {
    name: 'takes an e-mail for an id',
    method: 'GET',
    path: '/Users/boss@x.test',
    status: 404,
    says: () => ({ status: '404' }),
  },
]

playShapes(
  [
    { name: 'JumpCloud', shapes: jumpCloud },
    { name: 'OneLogin', shapes: oneLogin, headers: { 'content-type': 'application/json' } },
    { name: 'Ping', shapes: ping },
    { name: 'authentik', shapes: authentik },
    { name: 'Google Workspace', shapes: google },
  ],
  (custody) => {
    it('authentik reads from the configuration how large its chunks may be', async () => {
      const { body } = await custody().call('GET', '/scim/v2/ServiceProviderConfig')

      expect(body.patch.supported).toBe(true)
      expect(body.bulk.maxOperations).toBe(500)
    })
  },
)
