import { describe, expect, it } from 'vitest'
import type { StatusReason } from '../../src/domain/account.ts'
import { accountKinds, accountTransitions } from '../../src/domain/account.ts'
import type { CredentialKind, CredentialStatus } from '../../src/domain/credential.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { resourceTypes, schemas, serviceProviderConfig } from '../../src/scim/discovery.ts'
import type { Schema, SchemaAttribute } from '../../src/scim/schema.ts'
import {
  credentialSchema,
  enterpriseUrn,
  findAttribute,
  findSub,
  nhiUrn,
  resolvePath,
  resourceSchemas,
  userSchema,
  userUrn,
} from '../../src/scim/schema.ts'

const base = 'https://c.test/scim/v2'

function every(
  attributes: readonly SchemaAttribute[],
  prefix: string,
): [string, SchemaAttribute][] {
  return attributes.flatMap((attribute) => {
    const path = `${prefix}.${attribute.name}`
    return [[path, attribute], ...every(attribute.subAttributes ?? [], path)]
  })
}

const parts: readonly Schema[] = [
  userSchema.common,
  ...resourceSchemas.flatMap((resource) => [resource.core, ...resource.extensions]),
]
const all = parts.flatMap((part) => every(part.attributes, part.name))
const nhi = userSchema.extensions.find((part) => part.id === nhiUrn)!
const ofNhi = (name: string): SchemaAttribute => findAttribute(nhi.attributes, name)!
const ofCredential = (name: string): SchemaAttribute =>
  findAttribute(credentialSchema.core.attributes, name)!

describe('the schema documents', () => {
  it.each(all)('give %s every characteristic', (_, attribute) => {
    expect(attribute).toMatchObject({
      name: expect.stringMatching(/^(?:\$ref|[A-Za-z][A-Za-z0-9_-]*)$/),
      type: expect.stringMatching(
        /^(?:string|boolean|decimal|integer|dateTime|binary|reference|complex)$/,
      ),
      multiValued: expect.any(Boolean),
      description: expect.stringMatching(/\S/),
      required: expect.any(Boolean),
      caseExact: expect.any(Boolean),
      mutability: expect.stringMatching(/^(?:readOnly|readWrite|immutable|writeOnly)$/),
      returned: expect.stringMatching(/^(?:always|never|default|request)$/),
      uniqueness: expect.stringMatching(/^(?:none|server|global)$/),
    })
    expect(attribute.subAttributes !== undefined).toBe(attribute.type === 'complex')
    expect(attribute.referenceTypes !== undefined).toBe(attribute.type === 'reference')
  })

  it('nest no complex attribute in another and hold nothing write-only', () => {
    const nested = all.filter(([, a]) => a.subAttributes?.some((sub) => sub.type === 'complex'))
    const hidden = all.filter(([, a]) => a.mutability === 'writeOnly' || a.returned === 'never')

    expect(nested).toEqual([])
    expect(hidden).toEqual([])
    expect(findAttribute(userSchema.core.attributes, 'password')).toBeNull()
  })

  it('publish the words of the domain', () => {
    const kinds: Record<CredentialKind, true> = {
      'api-token': true,
      'access-key': true,
      'federated-role': true,
      'deploy-key': true,
      'app-token': true,
      'pat-grant': true,
      'app-installation': true,
      password: true,
      manual: true,
    }
    const statuses: Record<CredentialStatus, true> = {
      pending: true,
      issuing: true,
      active: true,
      superseded: true,
      disabled: true,
      revoking: true,
      revoked: true,
      failed: true,
      released: true,
    }
    const reasons: Record<StatusReason, true> = {
      ownerLeft: true,
      ownerMissing: true,
      expired: true,
      operator: true,
      retired: true,
      leak: true,
      provisionFailed: true,
      providerDenied: true,
      providerUnavailable: true,
      providerThrottled: true,
      providerRefused: true,
      offerPending: true,
      contained: true,
      ejected: true,
    }
    const sorted = (words: readonly string[] | undefined): readonly string[] => [...words!].sort()

    expect(ofNhi('kind').canonicalValues).toEqual(accountKinds)
    expect(sorted(ofNhi('status').canonicalValues)).toEqual(sorted(Object.keys(accountTransitions)))
    expect(sorted(ofNhi('statusReason').canonicalValues)).toEqual(sorted(Object.keys(reasons)))
    for (const [kind, status] of [
      [ofCredential('kind'), ofCredential('status')],
      [findSub(ofNhi('credentials'), 'kind')!, findSub(ofNhi('credentials'), 'status')!],
    ] as const) {
      expect(sorted(kind.canonicalValues)).toEqual(sorted(Object.keys(kinds)))
      expect(sorted(status.canonicalValues)).toEqual(sorted(Object.keys(statuses)))
    }
  })

  it('say of the extension what the contract promises', () => {
    const by = (mutability: string): readonly string[] =>
      nhi.attributes.filter((a) => a.mutability === mutability).map((a) => a.name)

    expect(by('immutable')).toEqual(['kind'])
    expect(by('readOnly')).toEqual([
      'status',
      'statusReason',
      'pendingOwner',
      'orphanedAt',
      'disabledAt',
      'certifiedAt',
      'certifyBy',
    ])
    expect(nhi.attributes.filter((a) => a.required).map((a) => a.name)).toEqual([
      'kind',
      'owner',
      'purpose',
    ])
  })
})

describe('resolvePath', () => {
  it.each([
    ['USERNAME', 'userName'],
    ['Name.FAMILYname', 'name.familyName'],
    ['meta.LASTMODIFIED', 'meta.lastModified'],
    [`${userUrn}:emails.value`, 'emails.value'],
    [enterpriseUrn, enterpriseUrn],
    [`${enterpriseUrn.toLowerCase()}:Manager.$REF`, `${enterpriseUrn}:manager.$ref`],
    [`${nhiUrn}:labels`, `${nhiUrn}:labels`],
  ])('spells %s as %s', (path, canonical) => {
    expect(resolvePath(userSchema, path, false)).toMatchObject({ found: true, path: canonical })
  })

  it('reads a dot after a URN only where slips are expected', () => {
    const path = `${enterpriseUrn}.manager`

    expect(resolvePath(userSchema, path, true)).toMatchObject({ path: `${enterpriseUrn}:manager` })
    expect(resolvePath(userSchema, path, false).found).toBe(false)
  })

  it.each([
    ['userNam', 'userName'],
    ['purpose', `${nhiUrn}:purpose`],
    ['name.givnName', 'name.givenName'],
    [`${nhiUrn}:ownr`, `${nhiUrn}:owner`],
    ['urn:example:x', null],
    ['zzzzzzzz', null],
    ['', null],
  ])('hints from %j to %j', (path, nearest) => {
    const unknown = resolvePath(userSchema, path, false)

    expect(unknown.found ? 'found' : unknown.nearest()).toBe(nearest)
  })
})

describe('discovery', () => {
  it('promises only what is there', () => {
    expect(serviceProviderConfig(base)).toMatchObject({
      documentationUri: 'https://c.test/openapi.json',
      patch: { supported: true },
      bulk: { supported: true, maxOperations: 500, maxPayloadSize: 4_194_304 },
      filter: { supported: true, maxResults: 200 },
      changePassword: { supported: false },
      sort: { supported: true },
      etag: { supported: true },
      authenticationSchemes: [
        { type: 'oauthbearertoken', primary: true },
        { type: 'oauth2', primary: false },
      ],
      meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
    })
    expect(serviceProviderConfig('https://c.test/base/scim')['documentationUri']).toBe(
      'https://c.test/base/openapi.json',
    )
  })

  it('publishes every schema that a resource type names, and each once', () => {
    const published = schemas(base).map((schema) => schema['id'])
    const named = resourceTypes(base).flatMap((type) => [
      type['schema'],
      ...((type['schemaExtensions'] ?? []) as JsonObject[]).map((extension) => extension['schema']),
    ])

    expect(published).toEqual(named)
    expect(new Set(published).size).toBe(published.length)
  })

  it('gives resource types their name as id and as the end of their location', () => {
    expect(resourceTypes(base)).toMatchObject([
      {
        id: 'User',
        endpoint: '/Users',
        meta: { location: `${base}/ResourceTypes/User` },
      },
      {
        id: 'Group',
        endpoint: '/Groups',
        meta: { location: `${base}/ResourceTypes/Group` },
      },
      {
        id: 'Credential',
        endpoint: '/Credentials',
        meta: { location: `${base}/ResourceTypes/Credential` },
      },
      {
        id: 'Entitlement',
        endpoint: '/Entitlements',
        meta: { location: `${base}/ResourceTypes/Entitlement` },
      },
    ])
  })

  it('holds no null', () => {
    const text = JSON.stringify([serviceProviderConfig(base), resourceTypes(base), schemas(base)])

    expect(text).not.toMatch(/[[:,]null/)
  })
})
