import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AccountStatus, ServiceAccount } from '../../src/domain/account.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { AccountId, ClientId, CredentialId, PersonId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Person } from '../../src/domain/owner.ts'
import type { Instant } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import type { Finish } from '../../src/scim/render.ts'
import {
  attributesOf,
  finishDocument,
  listResponse,
  project,
  renderAccount,
  renderCredential,
  renderCredentialSummary,
  renderPerson,
} from '../../src/scim/render.ts'
import { readDocument, readUser } from '../../src/scim/resource.ts'
import {
  credentialSchema,
  enterpriseUrn,
  nhiUrn,
  userSchema,
  userUrn,
} from '../../src/scim/schema.ts'
import { failure } from './outcome.ts'

const at = '2026-11-22T09:00:00.000Z' as Instant
const later = '2027-01-01T00:00:00.000Z' as Instant

const person: Person = {
  tenant: defaultTenant,
  id: 'u1' as PersonId,
  directory: 'default',
  client: 'cl1' as ClientId,
  userName: 'nora@x.test',
  externalId: 'x1',
  active: true,
  leftAt: null,
  leftCause: null,
  heldBy: null,
  releasedAt: null,
  deletedAt: null,
  attributes: {
    schemas: [userUrn, enterpriseUrn],
    displayName: 'Nora "Ek"',
    emails: [
      { value: 'n@x.test', type: 'work', primary: true },
      { value: 'n@home.test', type: 'home' },
    ],
    [enterpriseUrn]: { department: 'Ops', manager: { value: 'u2' } },
  },
  createdAt: at,
  updatedAt: at,
  version: 1,
}

const account: ServiceAccount = {
  tenant: defaultTenant,
  id: 'a1' as AccountId,
  client: 'cl1' as ClientId,
  userName: 'ci',
  externalId: null,
  kind: 'bot',
  imported: false,
  owner: { type: 'User', id: 'u1' },
  pendingOwner: { type: 'Group', id: 'g1' },
  backups: [{ type: 'User', id: 'u2', nominatedAt: at, acceptedAt: null }],
  purpose: 'deploys',
  environment: 'prod',
  labels: ['team=ops'],
  protected: false,
  status: 'orphaned',
  statusReason: 'ownerLeft',
  expiresAt: later,
  orphanedAt: at,
  disabledAt: null,
  disableAt: later,
  deleteAt: null,
  certifiedAt: null,
  certifyBy: null,
  retiredAt: null,
  deletedAt: null,
  attributes: {
    schemas: [userUrn, nhiUrn],
    displayName: 'CI',
    [nhiUrn]: { consumers: [{ name: 'ci' }] },
  },
  createdAt: at,
  updatedAt: at,
  version: 1,
}

const credential: Credential = {
  tenant: defaultTenant,
  id: 'c1' as CredentialId,
  account: account.id,
  provider: 'aws',
  kind: 'access-key',
  displayName: null,
  scopes: ['s3'],
  readers: [],
  deliverTo: { sink: 'files', path: 'ci/c1' },
  status: 'active',
  generation: 2,
  keyId: 'AKIA',
  previousKeyId: null,
  fingerprint: 'f'.repeat(64),
  secretRef: 'file:///s/ci/c1',
  expiresAt: later,
  rotateEvery: seconds(2_592_000),
  overlap: null,
  issuedAt: at,
  scopesFrom: [],
  grantedScopes: null,
  entitlement: null,
  rotateAfter: null,
  lastRotatedAt: null,
  lastUsedAt: null,
  refusedAt: null,
  settledAt: null,
  lastError: null,
  createdAt: at,
  updatedAt: at,
  version: 1,
}

const parse = (text: string): JsonObject => JSON.parse(text) as JsonObject
const finish = (stored: Pick<Finish, 'id' | 'type' | 'text' | 'credentials'>): JsonObject =>
  parse(
    finishDocument({
      ...stored,
      createdAt: at,
      updatedAt: later,
      etag: '7',
      baseUrl: 'https://c.test/scim/v2',
    }),
  )

describe('stored text', () => {
  it('of a person is canonical, in order, without meta', () => {
    expect(Object.keys(parse(renderPerson(person)))).toEqual([
      'schemas',
      'id',
      'externalId',
      'userName',
      'displayName',
      'active',
      'emails',
      enterpriseUrn,
    ])
  })

  it('of an account shows its state and ends with the extension', () => {
    const document = parse(renderAccount(account))

    expect(Object.keys(document).at(-1)).toBe(nhiUrn)
    expect(document).toEqual({
      schemas: [userUrn, nhiUrn],
      id: 'a1',
      userName: 'ci',
      displayName: 'CI',
      active: true,
      [nhiUrn]: {
        kind: 'bot',
        owner: { value: 'u1', $ref: '../Users/u1', type: 'User' },
        backupOwners: [{ value: 'u2', $ref: '../Users/u2', type: 'User' }],
        purpose: 'deploys',
        environment: 'prod',
        labels: ['team=ops'],
        consumers: [{ name: 'ci' }],
        expiresAt: later,
        protected: false,
        status: 'orphaned',
        statusReason: 'ownerLeft',
        pendingOwner: { value: 'g1', $ref: '../Groups/g1', type: 'Group' },
        orphanedAt: at,
      },
    })
  })

  it.each<[AccountStatus, boolean]>([
    ['requested', false],
    ['provisioning', true],
    ['active', true],
    ['orphaned', true],
    ['disabling', false],
    ['expired', false],
    ['failed', false],
  ])('of an account that is %s shows active %s', (status, active) => {
    expect(parse(renderAccount({ ...account, status }))['active']).toBe(active)
  })

  it('of a credential never carries its fingerprint', () => {
    expect(parse(renderCredential(credential))).toEqual({
      schemas: [credentialSchema.core.id],
      id: 'c1',
      serviceAccount: { value: 'a1', $ref: '../Users/a1' },
      provider: 'aws',
      kind: 'access-key',
      scopes: ['s3'],
      deliverTo: { sink: 'files', path: 'ci/c1' },
      expiresAt: later,
      rotateEvery: 'P30D',
      status: 'active',
      keyId: 'AKIA',
      generation: 2,
      secretRef: 'file:///s/ci/c1',
      issuedAt: at,
    })
  })

  it('gives the attributes back, so that rendering again changes nothing', () => {
    const words = fc.string({ unit: 'grapheme', maxLength: 8 })
    const attributes = fc.record(
      {
        displayName: words,
        name: fc.record({ familyName: words, givenName: words }, { requiredKeys: [] }),
        emails: fc.array(fc.record({ value: words, type: words }, { requiredKeys: [] })),
        [enterpriseUrn]: fc.record({ department: words }, { requiredKeys: [] }),
        [nhiUrn]: fc.record({ consumers: fc.array(fc.record({ name: words })) }),
      },
      { requiredKeys: [] },
    ) as fc.Arbitrary<JsonObject>

    fc.assert(
      fc.property(attributes, ({ [nhiUrn]: nhi, ...plain }) => {
        const first = renderPerson({ ...person, attributes: plain })
        const mixed = nhi === undefined ? plain : { ...plain, [nhiUrn]: nhi }
        const second = renderAccount({ ...account, attributes: mixed })

        expect(renderPerson({ ...person, attributes: attributesOf(first) })).toBe(first)
        expect(renderAccount({ ...account, attributes: attributesOf(second) })).toBe(second)
      }),
    )
  })

  it('holds what readUser put into attributes', () => {
    const write = readUser(parse(renderAccount(account)), { dialect: 'rfc' })

    expect(write.attributes).toEqual(account.attributes)
    expect(attributesOf(renderAccount(account))).toEqual(account.attributes)
    expect(attributesOf(renderPerson(person))).toEqual(person.attributes)
  })

  it('is read back in the strictest dialect', () => {
    const text = renderCredential(credential)
    const { id: _, ...sent } = parse(text)

    expect(readDocument(parse(text), credentialSchema, { dialect: 'interop' })).toMatchObject({
      provider: sent['provider'],
      deliverTo: sent['deliverTo'],
    })
    expect(() => readUser(parse(renderPerson(person)), { dialect: 'interop' })).not.toThrow()
  })
})

describe('finishDocument', () => {
  it('splices meta in', () => {
    const document = finish({
      id: 'u1',
      type: 'person',
      text: renderPerson(person),
      credentials: null,
    })
    const { meta, ...rest } = document

    expect(rest).toEqual(parse(renderPerson(person)))
    expect(meta).toEqual({
      resourceType: 'User',
      created: at,
      lastModified: later,
      location: 'https://c.test/scim/v2/Users/u1',
      version: 'W/"7"',
    })
  })

  it('splices the credentials into the extension', () => {
    const credentials = `[${renderCredentialSummary(credential)}]`
    const document = finish({
      id: 'a1',
      type: 'account',
      text: renderAccount(account),
      credentials,
    })

    expect((document[nhiUrn] as JsonObject)['credentials']).toEqual([
      {
        value: 'c1',
        $ref: '../Credentials/c1',
        provider: 'aws',
        kind: 'access-key',
        scopes: ['s3'],
        deliverTo: 'files:ci/c1',
        status: 'active',
        expiresAt: later,
      },
    ])
    expect(document['meta']).toMatchObject({ resourceType: 'User' })
  })

  it('omits credentials where there are none', () => {
    for (const credentials of ['[]', null]) {
      const document = finish({
        id: 'a1',
        type: 'account',
        text: renderAccount(account),
        credentials,
      })
      expect(document[nhiUrn]).not.toHaveProperty('credentials')
    }
  })

  it('points credentials to their own endpoint', () => {
    const document = finish({
      id: 'c1',
      type: 'credential',
      text: renderCredential(credential),
      credentials: null,
    })

    expect(document['meta']).toMatchObject({
      resourceType: 'Credential',
      location: 'https://c.test/scim/v2/Credentials/c1',
    })
  })
})

describe('project', () => {
  const whole = finish({
    id: 'a1',
    type: 'account',
    text: renderAccount({
      ...account,
      attributes: { ...person.attributes, ...account.attributes },
    }),
    credentials: `[${renderCredentialSummary(credential)}]`,
  })
  const always = { schemas: whole['schemas'], id: 'a1' }

  it.each<[string, readonly string[], JsonObject]>([
    ['one attribute', ['displayname'], { displayName: 'CI' }],
    [
      'a sub-attribute of each element',
      ['emails.value'],
      { emails: [{ value: 'n@x.test' }, { value: 'n@home.test' }] },
    ],
    [
      'an attribute with a filter',
      ['emails[type eq "work"]'],
      { emails: person.attributes['emails']! },
    ],
    ['an attribute by URN', [`${userUrn}:userName`], { userName: 'ci' }],
    ['one of an extension', [`${nhiUrn}:purpose`], { [nhiUrn]: { purpose: 'deploys' } }],
    [
      'a sub-attribute of an extension',
      [`${nhiUrn}:owner.value`],
      { [nhiUrn]: { owner: { value: 'u1' } } },
    ],
    ['a whole extension', [enterpriseUrn], { [enterpriseUrn]: person.attributes[enterpriseUrn]! }],
    ['part of meta', ['meta.version'], { meta: { version: 'W/"7"' } }],
    ['nothing known', ['__proto__', 'shoe', 'emails['], {}],
  ])('shows %s and what is always returned', (_, attributes, expected) => {
    expect(project(whole, { attributes }, userSchema)).toEqual({ ...always, ...expected })
  })

  it('leaves out what is excluded, but never what is always returned', () => {
    const excludedAttributes = [
      'ID',
      'schemas',
      'emails.type',
      'meta',
      enterpriseUrn,
      `${nhiUrn}:credentials`,
    ]
    const result = project(whole, { excludedAttributes }, userSchema)

    expect(Object.keys(result)).toEqual([
      'schemas',
      'id',
      'userName',
      'displayName',
      'active',
      'emails',
      nhiUrn,
    ])
    expect(result['emails']).toEqual([
      { value: 'n@x.test', primary: true },
      { value: 'n@home.test' },
    ])
    expect(result[nhiUrn]).not.toHaveProperty('credentials')
    expect(result[nhiUrn]).toHaveProperty('kind', 'bot')
  })

  it('keeps everything when nothing is asked', () => {
    expect(project(whole, { attributes: [''] }, userSchema)).toEqual(whole)
  })

  it('refuses both lists at once', () => {
    const run = (): unknown =>
      project(whole, { attributes: ['a'], excludedAttributes: ['b'] }, userSchema)

    expect(failure(run).scimType).toBe('invalidValue')
  })
})

describe('listResponse', () => {
  it('counts what it carries', () => {
    expect(
      parse(listResponse({ total: 7, startIndex: 3, documents: ['{"id":"a"}', '{"id":"b"}'] })),
    ).toEqual({
      schemas: ['urn:ietf:params:scim:api:messages:2.0:ListResponse'],
      totalResults: 7,
      startIndex: 3,
      itemsPerPage: 2,
      Resources: [{ id: 'a' }, { id: 'b' }],
    })
  })

  it('is a list also when empty', () => {
    expect(parse(listResponse({ total: 0, startIndex: 1, documents: [] }))).toMatchObject({
      totalResults: 0,
      itemsPerPage: 0,
      Resources: [],
    })
  })
})
