import { IAM } from '@aws-sdk/client-iam'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import {
  credentialUrn,
  eventually,
  nhiUrn,
  patchUrn,
  startTestCustody,
  userUrn,
} from '../support/custody.ts'

const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'

let custody: TestCustody
beforeAll(async () => {
  custody = await startTestCustody({ sandboxes: true })
})
afterAll(() => custody.close())

const call: TestCustody['call'] = (...args) => custody.call(...args)

async function group(displayName: string, ...members: readonly string[]): Promise<string> {
  const reply = await call('POST', '/scim/v2/Groups', {
    schemas: [groupUrn],
    displayName,
    members: members.map((value) => ({ value })),
  })
  expect(reply.status).toBe(201)
  return reply.body.id
}

const patch = (path: string, ...operations: readonly Json[]) =>
  call('PATCH', `/scim/v2/${path}`, { schemas: [patchUrn], Operations: operations })

const leaves = (id: string, member: string) =>
  patch(`Groups/${id}`, { op: 'remove', path: `members[value eq "${member}"]` })
const joins = (id: string, member: string) =>
  patch(`Groups/${id}`, { op: 'add', path: 'members', value: [{ value: member }] })

const credential = async (id: string): Promise<Json> =>
  (await call('GET', `/scim/v2/Credentials/${id}`)).body

/** Requests a credential and waits until it is up. */
async function request(account: string, more: Json): Promise<Json> {
  const reply = await call('POST', '/scim/v2/Credentials', {
    schemas: [credentialUrn],
    serviceAccount: { value: account },
    ...more,
  })
  expect(reply.text).toContain('"status"')
  return eventually(
    () => credential(reply.body.id),
    ({ status }) => status === 'active',
  )
}

async function account(userName: string, owner: string, nhi: Json = {}): Promise<string> {
  const reply = await custody.requestAccount(userName, owner, { credentials: [], ...nhi })
  expect(reply.status).toBe(201)
  return reply.body.id
}

const granted = (id: string, scopes: readonly string[]) =>
  eventually(
    () => credential(id),
    ({ grantedScopes = [] }) =>
      grantedScopes.length === scopes.length && scopes.every((s) => grantedScopes.includes(s)),
  )

describe('scopes that groups grant', () => {
  it('are refused by a real call within 5 s of leaving the group, and come back, under the same key', async () => {
    const owner = await custody.createPerson('ada')
    const team = await group('Readers of IAM', owner)
    const id = await account('reader', owner)
    const { id: held, keyId } = await request(id, {
      provider: 'aws-prod',
      kind: 'access-key',
      scopes: ['iam:GetUser'],
      scopesFrom: [{ group: team, scopes: ['iam:ListUsers'] }],
      deliverTo: { sink: 'files', path: 'reader/key' },
    })
    const credentials = JSON.parse((await custody.secretAt('reader/key'))!)
    const iam = new IAM({
      region: 'us-east-1',
      endpoint: custody.aws!.url,
      credentials,
      maxAttempts: 1,
    })
    const may = () =>
      iam.listUsers({}).then(
        () => true,
        (error: Error) => (error.name === 'AccessDenied' ? false : Promise.reject(error)),
      )
    expect(await may()).toBe(true)

    const started = performance.now()
    expect((await leaves(team, owner)).status).toBeLessThan(300)
    await eventually(may, (allowed) => !allowed, 5_000)
    expect(performance.now() - started).toBeLessThan(5_000)
    await expect(iam.getUser({})).resolves.toBeDefined()
    expect(await granted(held, ['iam:GetUser'])).toMatchObject({ keyId, generation: 1 })

    await joins(team, owner)
    await eventually(may, (allowed) => allowed, 5_000)
    expect(await granted(held, ['iam:GetUser', 'iam:ListUsers'])).toMatchObject({ keyId })
    iam.destroy()
  })

  it('follow nested groups, circles among them, the account itself, and the deletion of a group', async () => {
    const owner = await custody.createPerson('bob')
    const id = await account('nested', owner)
    const inner = await group('Inner', owner)
    const middle = await group('Middle', inner)
    const outer = await group('Outer', middle)
    // A circle grants no more and ends no walk.
    await joins(inner, outer)
    const own = await group('Accounts', id)
    const { id: held, keyId } = await request(id, {
      provider: 'tokens',
      kind: 'api-token',
      scopes: ['read'],
      scopesFrom: [
        { group: outer, scopes: ['outer'] },
        { group: own, scopes: ['own'] },
      ],
      deliverTo: { sink: 'files', path: 'nested/token' },
    })
    const token = (await custody.secretAt('nested/token'))!
    const scope = async () => (await custody.introspect(token)).scope.split(' ').sort().join(' ')
    expect(await scope()).toBe('outer own read')

    await leaves(outer, middle)
    await eventually(scope, (now) => now === 'own read', 5_000)
    await joins(outer, middle)
    await eventually(scope, (now) => now === 'outer own read', 5_000)
    await call('DELETE', `/scim/v2/Groups/${middle}`)
    await eventually(scope, (now) => now === 'own read', 5_000)
    await leaves(own, id)
    await eventually(scope, (now) => now === 'read', 5_000)
    expect(await granted(held, ['read'])).toMatchObject({ keyId, generation: 1 })
  })
})

describe('scopes that a client changes', () => {
  it('change under the same key, on the credential and on the element of the account', async () => {
    const owner = await custody.createPerson('cleo')
    const id = await account('changed', owner)
    const { id: held, keyId } = await request(id, {
      provider: 'tokens',
      kind: 'api-token',
      scopes: ['a', 'b'],
      deliverTo: { sink: 'files', path: 'changed/token' },
    })
    const reply = await patch(`Credentials/${held}`, {
      op: 'replace',
      path: 'scopes',
      value: ['b', 'c'],
    })
    expect(reply.status).toBe(200)
    expect(reply.headers.get('custody-operation')).toMatch(/^[0-9a-f-]{36}$/)
    expect(await granted(held, ['b', 'c'])).toMatchObject({ keyId, generation: 1 })

    const element = `${nhiUrn}:credentials[value eq "${held}"].scopes`
    expect(
      (await patch(`Users/${id}`, { op: 'replace', path: element, value: ['c'] })).status,
    ).toBe(200)
    expect(await granted(held, ['c'])).toMatchObject({ keyId, scopes: ['c'] })
    expect((await custody.introspect((await custody.secretAt('changed/token'))!)).scope).toBe('c')
  })
})

describe('the request vocabulary', () => {
  it('is listed as Entitlements, with filter, order and pages, and cannot be written', async () => {
    const list = (query: string) => call('GET', `/scim/v2/Entitlements${query}`)

    const all = await list('')
    expect(all.body).toMatchObject({ totalResults: 2, itemsPerPage: 2 })
    expect(all.body.Resources.map((r: Json) => r.name)).toEqual(['ci-token', 'ops-read'])
    const one = await list('?filter=scopes eq "logs:read"')
    expect(one.body.Resources).toMatchObject([{ id: 'ops-read', longestLife: 'P30D' }])
    const last = await list('?sortBy=name&sortOrder=descending&count=1')
    expect(last.body).toMatchObject({ totalResults: 2, Resources: [{ name: 'ops-read' }] })
    expect((await list('/ci-token')).body.meta.resourceType).toBe('Entitlement')
    expect((await list('/nobody')).status).toBe(404)
    expect((await call('DELETE', '/scim/v2/Entitlements/ci-token')).status).toBe(405)
    const verifier = await custody.createClient('verifier')
    const unseen = await call('GET', '/scim/v2/Entitlements', undefined, { token: verifier.token })
    expect(unseen.body?.totalResults ?? 0).toBe(0)
  })

  it('is named by a request: it stands for provider, kind and scopes, and caps the end', async () => {
    const owner = await custody.createPerson('eve')
    const id = await account('named', owner, { environment: 'dev' })
    const made = await request(id, {
      entitlement: 'ci-token',
      deliverTo: { sink: 'files', path: 'named/token' },
    })
    expect(made).toMatchObject({
      entitlement: 'ci-token',
      provider: 'tokens',
      kind: 'api-token',
      scopes: ['packages:read', 'builds:report'],
    })
    const days = (Date.parse(made.expiresAt) - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(89)
    expect(days).toBeLessThanOrEqual(90)

    const element = await call('POST', '/scim/v2/Users', {
      schemas: [userUrn, nhiUrn],
      userName: 'by-element',
      [nhiUrn]: {
        kind: 'serviceAccount',
        owner: { value: owner },
        purpose: 'testing',
        environment: 'prod',
        credentials: [{ entitlement: 'ci-token', deliverTo: 'files:element/token' }],
      },
    })
    expect(element.body[nhiUrn].credentials).toMatchObject([
      { entitlement: 'ci-token', provider: 'tokens', scopes: ['packages:read', 'builds:report'] },
    ])
  })

  it.each([
    ['an environment that is not allowed', 'stage', { entitlement: 'ci-token' }, 'dev, test, prod'],
    [
      'no environment where some are named',
      null,
      { entitlement: 'ci-token' },
      'of this one is none',
    ],
    ['a misspelt name', 'dev', { entitlement: 'ci-tokn' }, 'did you mean "ci-token"?'],
    [
      'another scope beside it',
      'dev',
      { entitlement: 'ci-token', scopes: ['admin'] },
      '"admin" is not what',
    ],
    ['neither name nor provider', 'dev', { kind: 'api-token' }, 'provider is required'],
  ])('refuses %s', async (_, environment, asked, said) => {
    const owner = await custody.createPerson(`owner of ${said}`)
    const id = await account(`asks ${said}`, owner, environment === null ? {} : { environment })
    const reply = await call('POST', '/scim/v2/Credentials', {
      schemas: [credentialUrn],
      serviceAccount: { value: id },
      deliverTo: { sink: 'files' },
      ...asked,
    })

    expect(reply.status).toBe(400)
    expect(reply.body.detail).toContain(said)
  })
})
