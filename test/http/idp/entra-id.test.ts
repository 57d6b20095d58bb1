import { expect, it } from 'vitest'
import { userUrn } from '../../support/custody.ts'
import { enterpriseUrn, filter, groupUrn, patch } from '../../support/scim.ts'
import type { Shape } from '../../support/shapes.ts'
import { playShapes } from '../../support/shapes.ts'

const entra: readonly Shape[] = [
  {
    name: 'tests the connection with a random user',
    method: 'GET',
    path: `/Users?${filter('userName eq "0f5b6f0c-ab1d-4f7e-9d0b-random"')}`,
    status: 200,
    total: 0,
  },
  {
    name: 'creates a user with meta and roles',
    method: 'POST',
    path: '/Users',
    body: ({ userName }) => ({
      schemas: [userUrn, enterpriseUrn],
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
    lacks: ['roles', enterpriseUrn],
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
        { op: 'Replace', path: `${enterpriseUrn}:employeeNumber`, value: '77' },
      ),
    status: 200,
    says: () => ({
      emails: [{ value: 'n@x.test', type: 'work' }],
      name: { familyName: 'Ek' },
      [enterpriseUrn]: { employeeNumber: '77' },
    }),
  },
  {
    name: 'adds a manager as a bare id',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ boss }) => patch({ op: 'Add', path: `${enterpriseUrn}:manager`, value: boss }),
    status: 200,
    says: ({ boss }) => ({ [enterpriseUrn]: { manager: { value: boss } } }),
  },
  {
    name: 'clears the manager with an empty value',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ boss }) =>
      patch(
        { op: 'Add', path: `${enterpriseUrn}:manager`, value: boss },
        { op: 'replace', path: `${enterpriseUrn}:manager`, value: { value: '' } },
      ),
    status: 200,
    lacks: [enterpriseUrn],
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
    path: `/Users?${filter('emails[type eq "work"].value eq "boss@x.test"')}`,
    status: 200,
    total: 1,
  },
  {
    name: 'probes a manager with two equalities',
    method: 'GET',
    path: `/Users?${filter('userName eq "boss@x.test" and manager eq "x"')}`,
    status: 200,
    total: 0,
  },
  {
    name: 'reads changes of active users by date, seven digits of a second and startindex 0',
    method: 'GET',
    path: `/Users?${filter('(ActiVe eq true) and (meta.lastmodified ge "0001-01-03T00:00:00.0000000Z" and userName eq "boss@x.test")')}&count=5&startindex=0`,
    status: 200,
    total: 1,
  },
  {
    name: 'uses a dot behind the URN',
    method: 'PATCH',
    path: '/Users/:id',
    body: ({ boss }) => patch({ op: 'add', path: `${enterpriseUrn}.manager`, value: boss }),
    status: 200,
    says: ({ boss }) => ({ [enterpriseUrn]: { manager: { value: boss } } }),
  },
  {
    name: 'searches by externalId',
    method: 'GET',
    path: `/Users?${filter('externalId eq "no-such-object"')}`,
    status: 200,
    total: 0,
  },
  {
    name: 'looks for a group without its members',
    method: 'GET',
    path: ({ groupName }) =>
      `/Groups?excludedAttributes=members&${filter(`displayName eq "${groupName}"`)}`,
    status: 200,
    total: 1,
  },
  {
    name: 'reads one group without its members',
    method: 'GET',
    path: '/Groups/:group?excludedAttributes=members',
    status: 200,
    lacks: ['members'],
  },
  {
    name: 'probes a membership with two equalities',
    method: 'GET',
    path: ({ id, group }) =>
      `/Groups?attributes=id&${filter(`id eq "${group}" and members eq "${id}"`)}`,
    status: 200,
    total: 1,
  },
  {
    name: 'creates a group with a URN of its own',
    method: 'POST',
    path: '/Groups',
    body: ({ groupName }) => ({
      schemas: [
        groupUrn,
        'http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group',
      ],
      externalId: `object-${groupName}`,
      displayName: `entra ${groupName}`,
      meta: { resourceType: 'Group' },
    }),
    status: 201,
    says: ({ groupName }) => ({ schemas: [groupUrn], externalId: `object-${groupName}` }),
  },
  {
    name: 'finds the name of a group taken',
    method: 'POST',
    path: '/Groups',
    body: ({ groupName }) => ({ schemas: [groupUrn], displayName: groupName.toUpperCase() }),
    status: 409,
    says: () => ({ scimType: 'uniqueness' }),
  },
  {
    name: 'adds a member with $ref null, and gets no list of members back',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ boss }) => patch({ op: 'Add', path: 'members', value: [{ $ref: null, value: boss }] }),
    status: 200,
    lacks: ['members'],
    members: ({ id, boss }) => [id, boss],
  },
  {
    name: 'gets 204 for a group when it names no media type',
    method: 'PATCH',
    path: '/Groups/:group',
    headers: { accept: '*/*' },
    body: ({ boss }) => patch({ op: 'Remove', path: 'members', value: [{ value: boss }] }),
    status: 204,
    members: ({ id }) => [id],
  },
  {
    name: 'removes the members it lists and no others',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ id }) =>
      patch({ op: 'Remove', path: 'members', value: [{ value: id }, { value: 'u2' }] }),
    status: 200,
    members: ({ boss }) => [boss],
  },
  {
    name: 'empties a group by Replace with null (validator)',
    method: 'PATCH',
    path: '/Groups/:group',
    body: () => patch({ op: 'Replace', path: 'members', value: null }),
    status: 200,
    members: () => [],
  },
  {
    name: 'adds an attribute nobody knows, which is left out (validator)',
    method: 'PATCH',
    path: '/Users/:id',
    body: () =>
      patch(
        { op: 'Add', path: 'extensionAttribute1', value: 'x' },
        { op: 'Replace', path: 'displayName', value: 'Kept' },
      ),
    status: 200,
    says: () => ({ displayName: 'Kept' }),
    lacks: ['extensionAttribute1'],
  },
  {
    name: 'reads the first five of the active users by date and index (inbound)',
    method: 'GET',
    path: `/Users?${filter('active eq true and (meta.lastModified ge "0001-01-03T00:00:00.0000000Z" and meta.lastModified le "2000-01-01T00:00:00Z")')}&count=5&startIndex=1`,
    status: 200,
    total: 0,
  },
  {
    name: 'asks for typed e-mails as an attribute (collection)',
    method: 'GET',
    path: `/Users?${filter('userName eq "boss@x.test"')}&attributes=${encodeURIComponent('emails[type eq "work"]')}`,
    status: 200,
    total: 1,
    says: () => ({ Resources: [{ emails: [{ value: 'boss@x.test' }] }] }),
  },
  {
    name: 'filters with bare words and another case (collection)',
    method: 'GET',
    path: `/Users?${filter('userName sw boss and (emails.Value co x.test or emails.Value co y.test)')}`,
    status: 200,
    total: 1,
  },
  {
    name: 'puts a misspelled attribute (collection)',
    method: 'PUT',
    path: '/Users/:id',
    body: ({ userName }) => ({ schemas: [userUrn], UserName: userName, Active: 'True', emial: 1 }),
    status: 200,
    says: () => ({ active: true }),
    lacks: ['emial'],
  },
  {
    name: 'adds members nobody knows, as a bare string (collection)',
    method: 'PATCH',
    path: '/Groups/:group',
    headers: { accept: '*/*' },
    body: () => patch({ op: 'add', path: 'members', value: 'string id 1' }),
    status: 204,
    members: ({ id, boss }) => [id, boss, 'string id 1'],
  },
  {
    name: 'deletes a user for good, 30 days after it went',
    method: 'DELETE',
    path: '/Users/:id',
    status: 204,
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
            [`${enterpriseUrn}:employeeNumber`]: '77',
          },
        },
      ),
    status: 200,
    says: () => ({
      displayName: 'N',
      name: { givenName: 'Nora' },
      emails: [{ value: 'm@x.test', type: 'work' }],
      [enterpriseUrn]: { employeeNumber: '77' },
    }),
  },
  {
    name: 'searches',
    method: 'GET',
    path: `/Users?aadOptscim062020&${filter('userName eq "boss@x.test"')}`,
    status: 200,
    total: 1,
  },
  {
    name: 'removes a member by filter',
    method: 'PATCH',
    path: '/Groups/:group?aadOptscim062020',
    body: ({ id }) => patch({ op: 'remove', path: `members[value eq "${id}"]` }),
    status: 200,
    members: ({ boss }) => [boss],
  },
  {
    name: 'creates as without it',
    method: 'POST',
    path: '/Users?aadOptscim062020',
    body: ({ userName }) => ({ schemas: [userUrn], userName: `flag-${userName}`, active: true }),
    status: 201,
    says: () => ({ active: true }),
  },
]

playShapes(
  [
    { name: 'Microsoft Entra ID', shapes: entra },
    { name: 'Microsoft Entra ID with aadOptscim062020', shapes: entraWithFlag },
  ],
  (custody) => {
    it('Microsoft Entra ID finds and reads users who are inactive', async () => {
      const id = await custody().createPerson('inactive@x.test', { active: false })
      const where = filter('userName eq "inactive@x.test"')

      const found = await custody().call('GET', `/scim/v2/Users?${where}`)
      expect(found.body.Resources).toMatchObject([{ id, active: false }])
      expect((await custody().call('GET', `/scim/v2/Users/${id}`)).status).toBe(200)
    })
  },
)
