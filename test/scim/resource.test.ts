import { describe, expect, it } from 'vitest'
import type { Dialect } from '../../src/domain/client.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'
import type { AccountWrite, PersonWrite } from '../../src/domain/want.ts'
import {
  assertSameClass,
  checkImmutable,
  isAccount,
  readCredential,
  readDocument,
  readUser,
} from '../../src/scim/resource.ts'
import {
  credentialSchema,
  credentialUrn,
  enterpriseUrn,
  nhiUrn,
  userSchema,
  userUrn,
} from '../../src/scim/schema.ts'
import { failure } from './outcome.ts'

const lenient = { dialect: 'lenient' } as const
const dialects: readonly Dialect[] = ['lenient', 'rfc', 'interop']

function person(body: unknown, dialect: Dialect = 'lenient'): PersonWrite {
  const write = readUser(body, { dialect })
  if (write.type === 'person') return write
  throw new Error('read as an account')
}

function account(nhi: Json, more: JsonObject = {}, dialect: Dialect = 'lenient'): AccountWrite {
  const body = { schemas: [userUrn, nhiUrn], userName: 'ci', [nhiUrn]: nhi, ...more }
  const write = readUser(body, { dialect })
  if (write.type === 'account') return write
  throw new Error('read as a person')
}

const least = { kind: 'bot', owner: { value: 'u1' }, purpose: 'p' } as const

describe('people as identity providers send them', () => {
  it('Okta: create with groups, password and id', () => {
    const write = person({
      schemas: [userUrn],
      id: 'ignored',
      userName: 'nora@x.test',
      name: { givenName: 'Nora', familyName: 'Ek' },
      emails: [{ primary: true, value: 'nora@x.test', type: 'work' }],
      displayName: 'Nora Ek',
      locale: 'en-US',
      externalId: '00u1',
      groups: [],
      password: 'Xy12',
      active: true,
    })

    expect(write).toEqual({
      type: 'person',
      userName: 'nora@x.test',
      externalId: '00u1',
      active: true,
      attributes: {
        schemas: [userUrn],
        name: { familyName: 'Ek', givenName: 'Nora' },
        displayName: 'Nora Ek',
        locale: 'en-US',
        emails: [{ value: 'nora@x.test', type: 'work', primary: true }],
      },
    })
  })

  it('Entra: create with meta, empty roles and an extension that schemas forgot', () => {
    const write = person({
      schemas: [userUrn],
      userName: 'n@x.test',
      meta: { resourceType: 'User' },
      roles: [],
      active: 'True',
      [enterpriseUrn]: { employeeNumber: 77, manager: 'u2' },
    })

    expect(write.active).toBe(true)
    expect(write.attributes).toEqual({
      schemas: [userUrn, enterpriseUrn],
      [enterpriseUrn]: { employeeNumber: '77', manager: { value: 'u2' } },
    })
  })

  it('Entra: a schema URN nobody here knows', () => {
    const schemas = [
      userUrn,
      'http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group',
    ]

    expect(person({ schemas, userName: 'n' }).attributes).toEqual({ schemas: [userUrn] })
    expect(person({ schemas, userName: 'n' }, 'rfc').userName).toBe('n')
    expect(failure(() => person({ schemas, userName: 'n' }, 'interop')).scimType).toBe(
      'invalidSyntax',
    )
  })

  it('MS collection: attribute names in any case', () => {
    const write = person({
      SCHEMAS: [userUrn],
      UserName: 'n',
      Active: 'FALSE',
      Emails: [{ Primary: 'true', VALUE: 'a@b' }],
      [enterpriseUrn.toUpperCase()]: { Department: 'd' },
    })

    expect(write).toMatchObject({
      userName: 'n',
      active: false,
      attributes: {
        emails: [{ value: 'a@b', primary: true }],
        [enterpriseUrn]: { department: 'd' },
      },
    })
  })

  it('OneLogin: SCIM 1 schema, one e-mail instead of a list, empty texts', () => {
    const write = person({
      schemas: ['urn:scim:schemas:core:1.0'],
      userName: 'nora',
      name: { givenName: 'Nora', familyName: 'Ek', formatted: 'Nora Ek' },
      emails: { value: 'nora@x.test' },
      title: '',
    })

    expect(write.attributes).toEqual({
      schemas: [userUrn],
      name: { formatted: 'Nora Ek', familyName: 'Ek', givenName: 'Nora' },
      emails: [{ value: 'nora@x.test' }],
    })
  })

  it('Ping: the same address twice, both primary', () => {
    const body = {
      schemas: [userUrn],
      userName: 'nora',
      emails: [
        { type: 'work', value: 'n@x.test', primary: true },
        { type: 'home', value: 'n@x.test', primary: true },
        { type: 'home', value: 'n@x.test' },
      ],
    }

    expect(person(body).attributes['emails']).toEqual([
      { value: 'n@x.test', type: 'work', primary: true },
      { value: 'n@x.test', type: 'home', primary: false },
    ])
    expect(failure(() => person(body, 'rfc')).message).toContain('only one element may be primary')
  })

  it.each(['False', 'FALSE', 'false', false])('%j deactivates in every dialect', (active) => {
    for (const dialect of dialects) {
      expect(person({ schemas: [userUrn], userName: 'n', active }, dialect).active).toBe(false)
    }
  })

  it('tells an omitted active from a given one', () => {
    expect(person({ userName: 'n' }).active).toBeUndefined()
    expect(person({ userName: 'n', active: null }).active).toBeUndefined()
  })

  it('treats null, [] and {} as not there', () => {
    const write = person({ userName: 'n', title: null, emails: [], name: {}, [enterpriseUrn]: {} })

    expect(write.attributes).toEqual({ schemas: [userUrn] })
  })
})

describe('what is refused', () => {
  it.each<[string, unknown, string, Dialect]>([
    ['a body that is no object', [], 'invalidSyntax', 'lenient'],
    ['no userName', {}, 'userName is required', 'lenient'],
    ['an empty userName', { userName: '' }, 'userName is required', 'lenient'],
    ['no schemas', { userName: 'n' }, 'schemas must be a list', 'rfc'],
    [
      'extension data without its URN',
      { schemas: [userUrn], userName: 'n', [enterpriseUrn]: { department: 'd' } },
      'schemas does not list',
      'rfc',
    ],
    [
      'an unknown attribute',
      { schemas: [userUrn], userName: 'n', titel: 'x' },
      'did you mean "title"?',
      'rfc',
    ],
    [
      'an unknown sub-attribute',
      { schemas: [userUrn], userName: 'n', name: { famlyName: 'x' } },
      'did you mean "name.familyName"?',
      'rfc',
    ],
    [
      'a password outside lenient',
      { schemas: [userUrn], userName: 'n', password: 'x' },
      'password is not an attribute',
      'rfc',
    ],
    ['a number as userName', { schemas: [userUrn], userName: 5 }, 'must be text', 'rfc'],
    ['an object as text', { userName: {} }, 'must be text', 'lenient'],
    [
      'text as a boolean',
      { schemas: [userUrn], userName: 'n', roles: [{ value: 'a', primary: 'True' }] },
      'must be true or false',
      'rfc',
    ],
    [
      'one element instead of a list',
      { schemas: [userUrn], userName: 'n', emails: { value: 'x' } },
      'must be a list',
      'rfc',
    ],
    ['a list for one value', { userName: ['a', 'b'] }, 'takes one value', 'lenient'],
    ['text as an object', { userName: 'n', name: 'Nora' }, 'must be an object', 'lenient'],
    ['no base64', { userName: 'n', x509Certificates: [{ value: '§' }] }, 'base64', 'lenient'],
    [
      'a type nobody published',
      { schemas: [userUrn], userName: 'n', emails: [{ value: 'a', type: 'wrk' }] },
      'did you mean "work"?',
      'interop',
    ],
  ])('%s', (_, body, says, dialect) => {
    const error = failure(() => readUser(body, { dialect }))

    expect(`${error.scimType} ${error.message}`).toContain(says)
  })

  it('lets lenient clients invent types and attributes, and stores only known ones', () => {
    const write = person({ userName: 'n', shoe: 44, emails: [{ value: 'a', type: 'sms', x: 1 }] })

    expect(write.attributes).toEqual({ schemas: [userUrn], emails: [{ value: 'a', type: 'sms' }] })
  })

  it('never lets a body reach a prototype', () => {
    const attack = '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}'
    const body = JSON.parse(
      `{"userName":"n","name":${attack},"emails":[${attack}],"toString":"x",${attack.slice(1)}`,
    ) as JsonObject
    const write = person(body)

    expect(write.attributes).toEqual({ schemas: [userUrn] })
    expect(Object.getPrototypeOf(write.attributes)).toBe(Object.prototype)
    expect(({} as JsonObject)['admin']).toBeUndefined()
    expect(failure(() => account(JSON.parse(attack) as Json)).code).toBe('unknownAttribute')
    expect(failure(() => person({ ...body, schemas: [userUrn] }, 'rfc')).code).toBe(
      'unknownAttribute',
    )
  })
})

describe('service accounts', () => {
  it('are read with everything the extension has', () => {
    const write = account(
      {
        kind: 'serviceAccount',
        owner: { value: 'g1', type: 'Group', display: 'Ops', $ref: '../Groups/g1' },
        backupOwners: [{ value: 'u2' }, 'u3'],
        purpose: 'deploys',
        environment: 'prod',
        labels: ['team=ops', 'team=ops'],
        consumers: [{ name: 'ci', kind: 'job', cacheTtl: 'PT5M', reloadHook: 'https://x.test/r' }],
        expiresAt: '2027-01-01T01:00:00+01:00',
        protected: 'true',
        credentials: [
          { provider: 'aws', kind: 'access-key', scopes: ['s3'], deliverTo: 'files:ci/token' },
          {
            value: 'c1',
            provider: 'tokens',
            kind: 'api-token',
            deliverTo: { sink: 'files' },
            status: 'active',
          },
          {
            provider: 'tokens',
            kind: 'api-token',
            deliverTo: ':only/path',
            expiresAt: '2026-12-01T00:00:00Z',
          },
          { provider: 'tokens', kind: 'api-token', display: 'bare' },
        ],
        status: 'retired',
      },
      { displayName: 'CI', externalId: 'x' },
    )

    expect(write).toEqual({
      type: 'account',
      userName: 'ci',
      externalId: 'x',
      active: undefined,
      kind: 'serviceAccount',
      owner: { type: 'Group', id: 'g1' },
      backupOwners: [
        { type: 'User', id: 'u2' },
        { type: 'User', id: 'u3' },
      ],
      purpose: 'deploys',
      environment: 'prod',
      labels: ['team=ops'],
      expiresAt: '2027-01-01T00:00:00.000Z',
      protected: true,
      credentials: [
        {
          provider: 'aws',
          kind: 'access-key',
          scopes: ['s3'],
          deliverTo: { sink: 'files', path: 'ci/token' },
        },
        {
          value: 'c1',
          provider: 'tokens',
          kind: 'api-token',
          scopes: [],
          keepsScopes: true,
          deliverTo: { sink: 'files' },
        },
        {
          provider: 'tokens',
          kind: 'api-token',
          scopes: [],
          deliverTo: { path: 'only/path' },
          expiresAt: '2026-12-01T00:00:00.000Z',
        },
        {
          provider: 'tokens',
          kind: 'api-token',
          scopes: [],
          deliverTo: undefined,
          display: 'bare',
        },
      ],
      attributes: {
        schemas: [userUrn, nhiUrn],
        displayName: 'CI',
        [nhiUrn]: {
          consumers: [
            { name: 'ci', kind: 'job', cacheTtl: 'PT5M', reloadHook: 'https://x.test/r' },
          ],
        },
      },
    })
  })

  it('tell what was omitted from what was emptied', () => {
    const omitted = account(least)
    const emptied = account({
      ...least,
      environment: null,
      Labels: [],
      backupOwners: null,
      credentials: [],
    })

    expect(omitted).toMatchObject({
      environment: undefined,
      labels: undefined,
      backupOwners: undefined,
      credentials: undefined,
    })
    expect(emptied).toMatchObject({
      environment: null,
      labels: [],
      backupOwners: [],
      credentials: [],
    })
    expect(account({ ...least, credentials: null }).credentials).toBeUndefined()
  })

  it('are recognised by data without the URN and by the URN without data', () => {
    const byData = readUser({ userName: 'ci', [nhiUrn.toUpperCase()]: least }, lenient)

    expect(byData.type).toBe('account')
    expect(
      failure(() => readUser({ schemas: [userUrn, nhiUrn], userName: 'ci' }, lenient)).message,
    ).toBe(`${nhiUrn}:kind is required; add it to the request.`)
    expect(readUser({ userName: 'ci', [nhiUrn]: null }, lenient).type).toBe('person')
  })

  it.each<[string, JsonObject, string]>([
    ['an unknown attribute', { expireAt: 'x' }, `did you mean "${nhiUrn}:expiresAt"?`],
    ['an unknown sub-attribute', { owner: { value: 'u', typ: 'User' } }, 'owner.type"?'],
    ['an unknown kind', { kind: 'robot' }, 'did you mean "bot"?'],
    [
      'an unknown credential kind',
      { credentials: [{ provider: 'a', kind: 'api-tokens' }] },
      '"api-token"?',
    ],
    ['no kind', { kind: null }, 'kind is required'],
    ['no owner', { owner: null }, 'owner is required'],
    ['an owner without an id', { owner: { type: 'User' } }, 'owner.value is required'],
    ['an empty purpose', { purpose: '' }, 'purpose is required'],
    [
      'a credential without provider',
      { credentials: [{ kind: 'manual' }] },
      'credentials.provider is required',
    ],
    ['a label without "="', { labels: ['prod'] }, 'key=value'],
    [
      'a date that does not exist',
      { expiresAt: '2026-02-30T00:00:00Z' },
      'must be a date and time',
    ],
    ['a month as a duration', { consumers: [{ name: 'a', cacheTtl: 'P1M' }] }, 'is not a duration'],
    [
      'a path that climbs',
      { credentials: [{ provider: 'a', kind: 'manual', deliverTo: 'files:a/../b' }] },
      'deliverTo.path "a/../b"',
    ],
    [
      'a path from the root',
      { credentials: [{ provider: 'a', kind: 'manual', deliverTo: { path: '/etc' } }] },
      'deliverTo.path "/etc"',
    ],
    [
      'a path that is too long',
      { credentials: [{ provider: 'a', kind: 'manual', deliverTo: `:${'a'.repeat(202)}` }] },
      'is not allowed',
    ],
    [
      'a path that is no text',
      { credentials: [{ provider: 'a', kind: 'manual', deliverTo: { path: 1 } }] },
      'deliverTo.path',
    ],
  ])('refuse %s in every dialect', (_, nhi, says) => {
    for (const dialect of dialects) {
      expect(failure(() => account({ ...least, ...nhi }, {}, dialect)).message).toContain(says)
    }
  })

  it('spell a kind as published where the client is lenient', () => {
    expect(account({ ...least, kind: 'SERVICEACCOUNT' }).kind).toBe('serviceAccount')
    expect(failure(() => account({ ...least, kind: 'BOT' }, {}, 'rfc')).scimType).toBe(
      'invalidValue',
    )
  })

  it('stay service accounts, and people stay people', () => {
    const one = { schemas: [userUrn, nhiUrn], [nhiUrn]: least }
    const other = { schemas: [userUrn] }

    expect(isAccount(one)).toBe(true)
    expect(failure(() => assertSameClass(one, other)).code).toBe('mutability')
    expect(failure(() => assertSameClass(other, one)).code).toBe('mutability')
    expect(() => assertSameClass(one, one)).not.toThrow()
    expect(() => assertSameClass(other, other)).not.toThrow()
  })

  it('keep what is immutable', () => {
    const document = (nhi: JsonObject): JsonObject =>
      readDocument({ userName: 'ci', [nhiUrn]: { ...least, ...nhi } }, userSchema, lenient)
    const before = document({
      credentials: [{ value: 'c1', provider: 'a', kind: 'manual', deliverTo: 'f:x' }],
    })
    const check = (nhi: JsonObject) => () => checkImmutable(before, document(nhi), userSchema)

    expect(failure(check({ kind: 'agent' })).message).toContain(`${nhiUrn}:kind`)
    expect(
      failure(check({ credentials: [{ value: 'c1', provider: 'b', kind: 'manual' }] })).message,
    ).toContain('credentials.provider')
    expect(check({ owner: 'u9', credentials: [{ provider: 'b', kind: 'manual' }] })).not.toThrow()
    expect(check({ credentials: [{ value: 'c1', provider: 'a', kind: 'manual' }] })).not.toThrow()
  })
})

describe('readCredential', () => {
  const body = {
    schemas: [credentialUrn],
    serviceAccount: { value: 'a1' },
    provider: 'tokens',
    kind: 'api-token',
  }

  it('reads all a client may write', () => {
    const write = readCredential(
      {
        ...body,
        displayName: 'CI',
        scopes: ['read', 'write'],
        scopesFrom: [{ group: 'g1', scopes: ['deploy'] }, { group: 'g2' }],
        entitlement: 'ci-token',
        readers: ['ops'],
        deliverTo: { sink: 'files', path: 'ci' },
        expiresAt: '2027-01-01T00:00:00Z',
        rotateEvery: 'P30D',
        overlap: 'PT1H',
        generation: 99,
        secretRef: 'file:///etc/shadow',
      },
      { dialect: 'rfc' },
    )

    expect(write).toEqual({
      serviceAccount: 'a1',
      provider: 'tokens',
      kind: 'api-token',
      displayName: 'CI',
      scopes: ['read', 'write'],
      scopesFrom: [
        { group: 'g1', scopes: ['deploy'] },
        { group: 'g2', scopes: null },
      ],
      entitlement: 'ci-token',
      readers: ['ops'],
      deliverTo: { sink: 'files', path: 'ci' },
      expiresAt: '2027-01-01T00:00:00.000Z',
      rotateEvery: 2_592_000,
      overlap: 3_600,
    })
  })

  it('leaves open what the engine decides', () => {
    expect(readCredential(body, lenient)).toEqual({
      serviceAccount: 'a1',
      provider: 'tokens',
      kind: 'api-token',
      displayName: null,
      scopes: [],
      scopesFrom: [],
      entitlement: null,
      readers: [],
      deliverTo: undefined,
      expiresAt: undefined,
      rotateEvery: undefined,
      overlap: undefined,
    })
  })

  it('reads the short forms', () => {
    const write = readCredential({ ...body, serviceAccount: 'a2', deliverTo: 'files:ci' }, lenient)

    expect(write).toMatchObject({ serviceAccount: 'a2', deliverTo: { sink: 'files', path: 'ci' } })
  })

  it.each<[string, JsonObject, string]>([
    ['an unknown attribute', { rotateEvry: 'P1D' }, 'did you mean "rotateEvery"?'],
    ['no account', { serviceAccount: null }, 'serviceAccount is required'],
    ['no provider', { provider: '' }, 'provider is required'],
    ['a duration with months', { rotateEvery: 'P1M' }, 'rotateEvery'],
    ['a path that climbs', { deliverTo: { path: 'a..b' } }, 'deliverTo.path'],
  ])('refuses %s in every dialect', (_, more, says) => {
    for (const dialect of dialects) {
      expect(failure(() => readCredential({ ...body, ...more }, { dialect })).message).toContain(
        says,
      )
    }
  })

  it('keeps account, provider, kind and target, part by part', () => {
    const document = (more: JsonObject): JsonObject =>
      readDocument({ ...body, ...more }, credentialSchema, lenient)
    const before = document({ deliverTo: { sink: 'files', path: 'ci' } })
    const check = (more: JsonObject) => () =>
      checkImmutable(before, document(more), credentialSchema)

    expect(failure(check({ serviceAccount: 'a2' })).message).toContain('serviceAccount.value')
    expect(failure(check({ deliverTo: { sink: 'other' } })).message).toContain('deliverTo.sink')
    expect(check({ deliverTo: { sink: 'files' }, scopes: ['x'] })).not.toThrow()
  })
})
