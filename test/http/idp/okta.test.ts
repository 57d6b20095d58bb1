import { expect, it } from 'vitest'
import type { Json } from '../../support/custody.ts'
import { userUrn } from '../../support/custody.ts'
import { outcomeOf, refusal, filter, groupUrn, patch } from '../../support/scim.ts'
import type { Shape } from '../../support/shapes.ts'
import { playShapes } from '../../support/shapes.ts'

const oktaHeaders = {
  'user-agent': 'Okta SCIM Client 1.0.0',
  'content-type': 'application/scim+json; charset=utf-8',
  'accept-charset': 'utf-8',
}
const okta: readonly Shape[] = [
  {
    name: 'looks for a user that is not there, before creating it',
    method: 'GET',
    path: `/Users?${filter('userName eq "nobody@x.test"')}&startIndex=1&count=100`,
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
  {
    name: 'imports the first page of users by index',
    method: 'GET',
    path: '/Users?startIndex=1&count=100',
    status: 200,
    says: () => ({ startIndex: 1, totalResults: expect.any(Number) }),
  },
  {
    name: 'reactivates by a PATCH without a path',
    method: 'PATCH',
    path: '/Users/:id',
    body: () => patch({ op: 'replace', value: { active: true } }),
    status: 200,
    says: () => ({ active: true }),
  },
  {
    name: 'looks for a group by its name',
    method: 'GET',
    path: ({ groupName }) =>
      `/Groups?${filter(`displayName eq "${groupName}"`)}&startIndex=1&count=100`,
    status: 200,
    total: 1,
  },
  {
    name: 'creates a group without members',
    method: 'POST',
    path: '/Groups',
    body: ({ groupName }) => ({
      schemas: [groupUrn],
      displayName: `new ${groupName}`,
      members: [],
    }),
    status: 201,
    says: ({ groupName }) => ({ displayName: `new ${groupName}` }),
    lacks: ['members'],
  },
  {
    name: 'renames a group without a path, its id in the value, before each push',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ group, groupName }) =>
      patch({ op: 'replace', value: { id: group, displayName: `renamed ${groupName}` } }),
    status: 200,
    says: ({ group, groupName }) => ({ id: group, displayName: `renamed ${groupName}` }),
    members: ({ id, boss }) => [id, boss],
  },
  {
    name: 'takes one member out by filter and puts it back with a display',
    method: 'PATCH',
    path: '/Groups/:group',
    body: ({ id }) =>
      patch(
        { op: 'remove', path: `members[value eq "${id}"]` },
        { op: 'add', path: 'members', value: [{ value: id, display: 'nora@x.test' }] },
      ),
    status: 200,
    members: ({ id, boss }) => [id, boss],
  },
  {
    name: 'empties a group with a list without elements (Push now)',
    method: 'PATCH',
    path: '/Groups/:group',
    body: () => patch({ op: 'replace', path: 'members', value: [] }),
    status: 200,
    members: () => [],
  },
  {
    name: 'puts a whole group (AIW)',
    method: 'PUT',
    path: '/Groups/:group',
    body: ({ id, group, groupName }) => ({
      schemas: [groupUrn],
      id: group,
      displayName: groupName,
      members: [{ value: id, display: 'nora@x.test' }],
    }),
    status: 200,
    members: ({ id }) => [id],
  },
  {
    name: 'deletes a group',
    method: 'DELETE',
    path: '/Groups/:group',
    status: 204,
  },
  {
    name: 'hears 409 for a user that is there',
    method: 'POST',
    path: '/Users',
    body: ({ userName }) => ({ schemas: [userUrn], userName }),
    status: 409,
    says: () => ({ status: '409', scimType: 'uniqueness' }),
  },
  {
    name: 'reads resource types for entitlements',
    method: 'GET',
    path: '/ResourceTypes',
    status: 200,
    says: () => ({ totalResults: 4 }),
  },
]

playShapes([{ name: 'Okta', shapes: okta, headers: oktaHeaders }], (custody) => {
  it('Okta asserts 401 with a SCIM body for Authorization: non-token', async () => {
    const reply = await custody().call('GET', '/scim/v2/Users', undefined, {
      token: null,
      headers: { ...oktaHeaders, authorization: 'non-token' },
    })

    expect(outcomeOf(reply)).toEqual(refusal(401))
  })

  it('Okta re-reads pages and finds the same order and integer counters', async () => {
    const page = (start: number) =>
      custody().call('GET', `/scim/v2/Users?startIndex=${start}&count=3`)
    const [first, again, second] = [await page(1), await page(1), await page(4)]

    expect(again.body.Resources).toEqual(first.body.Resources)
    const ids = [...first.body.Resources, ...second.body.Resources].map((r: Json) => r.id)
    expect(new Set(ids).size).toBe(6)
    for (const name of ['totalResults', 'startIndex', 'itemsPerPage']) {
      expect(Number.isInteger(first.body[name]), name).toBe(true)
    }
  })
})
