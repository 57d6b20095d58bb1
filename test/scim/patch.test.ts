import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Dialect } from '../../src/domain/client.ts'
import { AppError } from '../../src/domain/errors.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'
import type { PatchResult } from '../../src/scim/patch.ts'
import { applyPatch, parsePatch, patchOperationsMax, patchUrn } from '../../src/scim/patch.ts'
import { readDocument, readUser } from '../../src/scim/resource.ts'
import { enterpriseUrn, nhiUrn, userSchema, userUrn } from '../../src/scim/schema.ts'
import { elementsMax } from '../../src/scim/value.ts'
import { attempt, failure } from './outcome.ts'

const person: JsonObject = {
  schemas: [userUrn, enterpriseUrn],
  id: 'u1',
  externalId: 'x1',
  userName: 'nora@x.test',
  name: { familyName: 'Ek', givenName: 'Nora' },
  displayName: 'Nora Ek',
  active: true,
  emails: [
    { value: 'n@x.test', type: 'work', primary: true },
    { value: 'n@home.test', type: 'home' },
  ],
  [enterpriseUrn]: { department: 'Ops', manager: { value: 'u2', $ref: '../Users/u2' } },
}

const account: JsonObject = {
  schemas: [userUrn, nhiUrn],
  id: 'a1',
  userName: 'ci-deploy',
  active: true,
  [nhiUrn]: {
    kind: 'serviceAccount',
    owner: { value: 'u1', $ref: '../Users/u1', type: 'User' },
    purpose: 'deploys',
    environment: 'prod',
    labels: ['team=ops', 'tier=1'],
    expiresAt: '2027-01-01T00:00:00.000Z',
    credentials: [
      {
        value: 'c1',
        $ref: '../Credentials/c1',
        provider: 'aws-prod',
        kind: 'access-key',
        scopes: ['s3'],
        deliverTo: 'files:ci',
        status: 'active',
      },
    ],
    status: 'active',
  },
}

function patch(resource: JsonObject, operations: Json, dialect: Dialect = 'lenient'): PatchResult {
  const body = { schemas: [patchUrn], Operations: operations }
  return applyPatch(resource, parsePatch(body, dialect), userSchema, { dialect })
}

const emails = (result: PatchResult): Json | undefined => result.resource['emails']
const extension = (result: PatchResult, urn: string): JsonObject =>
  result.resource[urn] as JsonObject

describe('parsePatch', () => {
  it('reads keys and operators in any case and ignores what no operation has', () => {
    const body = {
      SCHEMAS: [patchUrn],
      operations: [{ OP: 'Add', Path: 'title', VALUE: 'x', name: 1 }],
    }

    expect(parsePatch(body, 'rfc')).toEqual([{ op: 'add', path: 'title', value: 'x' }])
  })

  it.each<[string, unknown, string]>([
    ['no object', [], 'invalidSyntax'],
    ['no Operations', { schemas: [patchUrn] }, 'invalidSyntax'],
    ['no operation', { schemas: [patchUrn], Operations: [] }, 'invalidSyntax'],
    ['an operation that is no object', { schemas: [patchUrn], Operations: [1] }, 'invalidSyntax'],
    ['an unknown op', { schemas: [patchUrn], Operations: [{ op: 'set' }] }, 'invalidSyntax'],
    [
      'a path that is no text',
      { schemas: [patchUrn], Operations: [{ op: 'remove', path: 1 }] },
      'invalidPath',
    ],
    ['remove without a path', { schemas: [patchUrn], Operations: [{ op: 'remove' }] }, 'noTarget'],
    [
      'add without a value',
      { schemas: [patchUrn], Operations: [{ op: 'add', path: 'title' }] },
      'invalidValue',
    ],
    [
      'no path and no object',
      { schemas: [patchUrn], Operations: [{ op: 'add', value: 'x' }] },
      'invalidValue',
    ],
    [
      'too many operations',
      {
        schemas: [patchUrn],
        Operations: Array.from({ length: patchOperationsMax + 1 }, () => ({
          op: 'remove',
          path: 'title',
        })),
      },
      'tooMany',
    ],
  ])('refuses %s', (_, body, scimType) => {
    expect(failure(() => parsePatch(body, 'lenient')).scimType).toBe(scimType)
  })

  it('wants the PatchOp schema from all but lenient clients', () => {
    const body = { Operations: [{ op: 'remove', path: 'title' }] }

    expect(parsePatch(body, 'lenient')).toHaveLength(1)
    expect(failure(() => parsePatch(body, 'rfc')).scimType).toBe('invalidSyntax')
  })
})

describe('what identity providers send for users', () => {
  it('Okta: path-less deactivation', () => {
    const result = patch(person, [{ op: 'replace', value: { active: false } }])

    expect(result.resource['active']).toBe(false)
    expect(result.changed).toEqual(['active'])
  })

  it('Okta, authentik: path-less replace with id and schemas leaves both alone', () => {
    const result = patch(person, [
      { op: 'replace', value: { schemas: [userUrn], id: 'other', displayName: 'N' } },
    ])

    expect(result.resource).toEqual({ ...person, displayName: 'N' })
    expect(result.changed).toEqual(['displayName'])
  })

  it('Entra: capital operators and booleans as text', () => {
    const result = patch(person, [{ op: 'Replace', path: 'active', value: 'False' }])

    expect(result.resource['active']).toBe(false)
  })

  it('Entra: value path, dotted path and extension path in one request', () => {
    const result = patch(person, [
      { op: 'Add', path: 'emails[type eq "work"].value', value: 'new@x.test' },
      { op: 'Replace', path: 'name.familyName', value: 'Lund' },
      { op: 'Replace', path: `${enterpriseUrn}:employeeNumber`, value: '77' },
    ])

    expect(emails(result)).toEqual([
      { value: 'new@x.test', type: 'work', primary: true },
      { value: 'n@home.test', type: 'home' },
    ])
    expect(result.resource['name']).toEqual({ familyName: 'Lund', givenName: 'Nora' })
    expect(extension(result, enterpriseUrn)['employeeNumber']).toBe('77')
    expect(result.changed).toEqual(['emails', 'name', `${enterpriseUrn}:employeeNumber`])
  })

  it('Entra: add through a filter that matches nothing creates the element', () => {
    const result = patch(person, [
      { op: 'Add', path: 'emails[type eq "other" and primary eq true].value', value: 'o@x.test' },
    ])

    expect(emails(result)).toEqual([
      { value: 'n@x.test', type: 'work', primary: false },
      { value: 'n@home.test', type: 'home' },
      { value: 'o@x.test', type: 'other', primary: true },
    ])
  })

  it('Entra with the 2020 flag: dotted and URN keys in a path-less value', () => {
    const result = patch(person, [
      { op: 'replace', path: 'emails[type eq "work"].value', value: 'z@x.test' },
      {
        op: 'replace',
        value: {
          displayName: 'N',
          'name.givenName': 'Nor',
          [`${enterpriseUrn}:employeeNumber`]: '77',
          'emails[type eq "home"].value': 'h@x.test',
        },
      },
    ])

    expect(result.resource).toMatchObject({
      displayName: 'N',
      name: { familyName: 'Ek', givenName: 'Nor' },
      emails: [{ value: 'z@x.test' }, { value: 'h@x.test' }],
      [enterpriseUrn]: { employeeNumber: '77', department: 'Ops' },
    })
  })

  it('Entra: manager as bare text, and the old $ref goes with the old manager', () => {
    const result = patch(person, [{ op: 'Add', path: `${enterpriseUrn}:manager`, value: 'u3' }])

    expect(extension(result, enterpriseUrn)['manager']).toEqual({ value: 'u3' })
  })

  it.each<[string, Json]>([
    ['an empty value', { value: '' }],
    ['empty text', ''],
    ['null', null],
  ])('Entra: manager replaced with %s is unassigned', (_, value) => {
    const result = patch(person, [{ op: 'replace', path: `${enterpriseUrn}:manager`, value }])

    expect(extension(result, enterpriseUrn)).toEqual({ department: 'Ops' })
  })

  it('Entra: a partial name leaves the other parts untouched', () => {
    const result = patch(person, [{ op: 'Replace', path: 'name', value: { familyName: 'Z' } }])

    expect(result.resource['name']).toEqual({ familyName: 'Z', givenName: 'Nora' })
  })

  it('Entra: a multi-valued attribute replaced with null is emptied', () => {
    const result = patch(person, [{ op: 'Replace', path: 'emails', value: null }])

    expect(emails(result)).toEqual([])
    expect(result.changed).toEqual(['emails'])
  })

  it('Entra: one attribute removed, added and replaced in turn', () => {
    const result = patch(person, [
      { op: 'remove', path: 'preferredLanguage' },
      { op: 'add', path: 'externalId', value: 'a' },
      { op: 'replace', path: 'externalId', value: 'b' },
    ])

    expect(result.resource['externalId']).toBe('b')
    expect(result.changed).toEqual(['externalId'])
  })

  it('Entra: roles with primary as text', () => {
    const result = patch(person, [
      { op: 'Add', path: 'roles', value: [{ primary: 'True', value: 'admin' }] },
    ])

    expect(result.resource['roles']).toEqual([{ value: 'admin', primary: true }])
  })

  it('Entra, JumpCloud, authentik: remove with a list of values removes only those', () => {
    const result = patch(person, [
      { op: 'Remove', path: 'emails', value: [{ value: 'N@home.test' }, { value: 'nobody' }] },
    ])

    expect(emails(result)).toEqual([{ value: 'n@x.test', type: 'work', primary: true }])
  })

  it('MS collection: a bare value or one object instead of a list', () => {
    const added = patch(person, [
      { op: 'add', path: 'roles', value: 'reader' },
      { op: 'add', path: 'roles', value: { value: 'writer' } },
    ])

    expect(added.resource['roles']).toEqual([{ value: 'reader' }, { value: 'writer' }])
  })

  it('MS collection: the dot after a URN is read as the colon it should be', () => {
    const result = patch(person, [
      { op: 'replace', path: `${enterpriseUrn}.manager`, value: { value: 'u9' } },
    ])

    expect(extension(result, enterpriseUrn)['manager']).toEqual({ value: 'u9' })
  })

  it('JumpCloud: one operation per attribute, and adds repeated', () => {
    const operations = [
      { op: 'replace', path: 'name.givenName', value: 'John' },
      { op: 'replace', path: 'active', value: false },
      { op: 'add', path: 'emails', value: [{ value: 'n@x.test' }] },
    ]
    const once = patch(person, operations)
    const twice = patch(once.resource, operations)

    expect(once.changed).toEqual(['active', 'name'])
    expect(twice.changed).toEqual([])
    expect(twice.resource).toEqual(once.resource)
  })
})

describe('applyPatch', () => {
  it('is all or nothing and leaves its input untouched', () => {
    const before = structuredClone(person)
    const run = (): PatchResult =>
      patch(person, [
        { op: 'replace', path: 'displayName', value: 'changed' },
        { op: 'replace', path: 'emails[type eq "x"].value', value: 'y' },
      ])

    expect(failure(run).scimType).toBe('noTarget')
    expect(person).toEqual(before)
  })

  it.each<[string, Json, string]>([
    ['a read-only attribute', { op: 'replace', path: 'id', value: 'x' }, 'mutability'],
    [
      'a read-only sub-attribute',
      { op: 'replace', path: 'meta.created', value: 'x' },
      'mutability',
    ],
    ['groups', { op: 'add', path: 'groups', value: [{ value: 'g' }] }, 'mutability'],
    ['the removal of userName', { op: 'remove', path: 'userName' }, 'mutability'],
    ['a path that cannot be read', { op: 'remove', path: 'emails[' }, 'invalidPath'],
    ['a path with a comparison', { op: 'remove', path: 'title eq "x"' }, 'invalidPath'],
    ['a filter on one value', { op: 'remove', path: 'name[familyName eq "x"]' }, 'invalidPath'],
    ['a wrong type', { op: 'replace', path: 'active', value: 'maybe' }, 'invalidValue'],
    ['a list for one value', { op: 'replace', path: 'title', value: ['a', 'b'] }, 'invalidValue'],
    [
      'a replace that matches nothing',
      { op: 'replace', path: 'emails[type eq "other"]', value: {} },
      'noTarget',
    ],
  ])('refuses %s', (_, operation, scimType) => {
    expect(failure(() => patch(person, [operation])).scimType).toBe(scimType)
  })

  it('creates no element from a filter that leaves it open', () => {
    const operation = { op: 'add', path: 'emails[type sw "x"].value', value: 'x' }

    expect(failure(() => patch(person, [operation])).scimType).toBe('noTarget')
  })

  it('demotes the primary element when another becomes primary', () => {
    const byFilter = patch(person, [
      { op: 'replace', path: 'emails[type eq "home"].primary', value: true },
    ])
    const byAdd = patch(person, [
      { op: 'add', path: 'emails', value: [{ value: 'a@b', primary: true }] },
    ])
    const primaries = (result: PatchResult): unknown =>
      (emails(result) as JsonObject[]).filter((e) => e['primary']).map((e) => e['value'])

    expect(primaries(byFilter)).toEqual(['n@home.test'])
    expect(primaries(byAdd)).toEqual(['a@b'])
  })

  it('lets the last of several new primary elements win', () => {
    const result = patch(person, [{ op: 'replace', path: 'emails[value pr].primary', value: true }])

    expect((emails(result) as JsonObject[]).map((e) => e['primary'])).toEqual([false, true])
  })

  it('drops what is left of an element that lost its value', () => {
    const result = patch(person, [{ op: 'remove', path: 'emails[type eq "home"].value' }])

    expect(emails(result)).toEqual([{ value: 'n@x.test', type: 'work', primary: true }])
  })

  it('removes selected elements, one sub-attribute of all, and a whole attribute', () => {
    const selected = patch(person, [{ op: 'remove', path: 'emails[value ew "home.test"]' }])
    const everywhere = patch(person, [{ op: 'remove', path: 'emails.type' }])
    const whole = patch(person, [{ op: 'remove', path: 'emails' }])

    expect(emails(selected)).toEqual([{ value: 'n@x.test', type: 'work', primary: true }])
    expect(emails(everywhere)).toEqual([
      { value: 'n@x.test', primary: true },
      { value: 'n@home.test' },
    ])
    expect(emails(whole)).toEqual([])
  })

  it('merges, adds and removes an extension as a whole, and keeps schemas in step', () => {
    const merged = patch(person, [
      { op: 'add', path: enterpriseUrn, value: { costCenter: '9', Manager: { value: 'u5' } } },
    ])
    const removed = patch(merged.resource, [{ op: 'remove', path: enterpriseUrn }])
    const again = patch(removed.resource, [
      { op: 'replace', path: enterpriseUrn.toLowerCase(), value: { division: 'D' } },
    ])

    expect(extension(merged, enterpriseUrn)).toEqual({
      costCenter: '9',
      department: 'Ops',
      manager: { value: 'u5' },
    })
    expect(removed.resource['schemas']).toEqual([userUrn])
    expect(removed.resource).not.toHaveProperty([enterpriseUrn])
    expect(again.resource['schemas']).toEqual([userUrn, enterpriseUrn])
    expect(extension(again, enterpriseUrn)).toEqual({ division: 'D' })
  })

  it('drops an extension with its last value or its URN', () => {
    const lastValue = patch(person, [
      { op: 'remove', path: `${enterpriseUrn}:department` },
      { op: 'remove', path: `${enterpriseUrn}:manager` },
    ])
    const urn = patch(person, [{ op: 'remove', path: `schemas[value eq "${enterpriseUrn}"]` }])
    const listed = patch(person, [{ op: 'remove', path: 'schemas', value: [enterpriseUrn] }])

    for (const { resource } of [lastValue, urn, listed]) {
      expect(resource['schemas']).toEqual([userUrn])
      expect(resource).not.toHaveProperty([enterpriseUrn])
    }
  })

  it('ignores unknown paths of lenient clients, prototypes among them, and refuses others', () => {
    const value = JSON.parse(
      '{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}},"shoe":1,"http://x/y":2}',
    ) as Json
    const result = patch(person, [
      { op: 'replace', value },
      { op: 'replace', path: 'constructor.prototype', value: 1 },
      { op: 'replace', path: 'shoeSize', value: 1 },
    ])

    expect(result).toEqual({ resource: person, changed: [] })
    expect(({} as JsonObject)['admin']).toBeUndefined()
    expect(
      failure(() => patch(person, [{ op: 'replace', path: 'displayNam', value: 'x' }], 'rfc'))
        .message,
    ).toContain('did you mean "displayName"?')
    expect(
      failure(() => patch(person, [{ op: 'replace', path: '__proto__.x', value: 1 }])).scimType,
    ).toBe('invalidPath')
  })

  it('bounds the work of one request: values per attribute, and members as operations', () => {
    const some = (count: number): Json =>
      Array.from({ length: count }, (_, i) => ({ value: `${i}@x.test` }))
    const keys = Object.fromEntries(
      Array.from({ length: patchOperationsMax + 1 }, (_, i) => [
        `emails[type eq "${i}"].value`,
        'x',
      ]),
    )
    const add = (count: number) => (): PatchResult =>
      patch(person, [{ op: 'add', path: 'emails', value: some(count) }])

    expect(emails(add(elementsMax - 2)())).toHaveLength(elementsMax)
    expect(failure(add(elementsMax - 1)).scimType).toBe('tooMany')
    expect(failure(add(elementsMax + 1)).scimType).toBe('tooMany')
    expect(failure(() => patch(person, [{ op: 'add', value: keys }])).scimType).toBe('tooMany')
    expect(
      failure(() => patch(person, [{ op: 'add', value: { [enterpriseUrn]: keys } }])).code,
    ).toBe('tooMany')
  })

  it('removes elements without a value by what is given of them', () => {
    const addresses = [
      { locality: 'Lund', type: 'home' },
      { locality: 'Malmö', type: 'work' },
    ]
    const result = patch({ ...person, addresses }, [
      { op: 'remove', path: 'addresses', value: [{ locality: 'Lund' }, { type: 'other' }] },
    ])

    expect(result.resource['addresses']).toEqual([{ locality: 'Malmö', type: 'work' }])
  })

  it('tells elements of one value apart by type, and takes a missing type as any', () => {
    const home = patch(person, [
      { op: 'add', path: 'emails', value: [{ value: 'N@X.test', type: 'home' }] },
    ])
    const gone = patch(home.resource, [
      { op: 'remove', path: 'emails', value: [{ value: 'n@x.test', type: 'home' }] },
    ])
    const none = patch(home.resource, [{ op: 'remove', path: 'emails', value: ['n@x.test'] }])

    expect(emails(home)).toHaveLength(3)
    expect(gone.resource).toEqual(person)
    expect(emails(none)).toEqual([{ value: 'n@home.test', type: 'home' }])
  })

  it('tells noTarget from a harmless repeat by dialect', () => {
    const operations = [{ op: 'remove', path: 'emails[type eq "other"]' }]

    expect(patch(person, operations, 'lenient').changed).toEqual([])
    expect(failure(() => patch(person, operations, 'rfc')).scimType).toBe('noTarget')
  })

  it('follows the interop profile: explicit paths to one sub-attribute, complex replaced whole', () => {
    const interop = (operation: Json): PatchResult => patch(person, [operation], 'interop')

    expect(failure(() => interop({ op: 'replace', value: { title: 'x' } })).scimType).toBe(
      'invalidSyntax',
    )
    expect(failure(() => interop({ op: 'remove', path: 'emails[type eq "work"]' })).scimType).toBe(
      'invalidPath',
    )
    expect(
      failure(() => interop({ op: 'replace', path: 'emails[value pr].type', value: 'other' }))
        .scimType,
    ).toBe('invalidFilter')
    expect(
      interop({ op: 'replace', path: 'name', value: { familyName: 'Z' } }).resource['name'],
    ).toEqual({ familyName: 'Z' })
  })
})

describe('PATCH of a service account', () => {
  it.each<[string, Json]>([
    ['its extension', { op: 'remove', path: nhiUrn }],
    ['its URN', { op: 'remove', path: 'schemas', value: [nhiUrn] }],
    ['its URN by replacing the list', { op: 'replace', path: 'schemas', value: [userUrn] }],
    ['its kind', { op: 'remove', path: `${nhiUrn}:kind` }],
    ['its owner', { op: 'remove', path: `${nhiUrn}:owner` }],
    ["its owner's id", { op: 'replace', path: `${nhiUrn}:owner.value`, value: '' }],
  ])('never loses %s', (_, operation) => {
    for (const dialect of ['lenient', 'rfc', 'interop'] as const) {
      expect(failure(() => patch(account, [operation], dialect)).scimType).toBe('mutability')
    }
  })

  it('never turns a person into one', () => {
    const value = { kind: 'bot', owner: 'u1', purpose: 'p' }

    expect(failure(() => patch(person, [{ op: 'add', path: nhiUrn, value }])).scimType).toBe(
      'mutability',
    )
  })

  it.each<[string, Json]>([
    ['kind', { op: 'replace', path: `${nhiUrn}:kind`, value: 'bot' }],
    ['status', { op: 'replace', path: `${nhiUrn}:status`, value: 'retired' }],
    [
      'where a credential goes',
      { op: 'replace', path: `${nhiUrn}:credentials[value eq "c1"].deliverTo`, value: 'files:x' },
    ],
    [
      'the provider of a credential',
      { op: 'replace', path: `${nhiUrn}:credentials[value eq "c1"]`, value: { provider: 'x' } },
    ],
    ['the id of a credential', { op: 'remove', path: `${nhiUrn}:credentials.value` }],
  ])('cannot change %s', (_, operation) => {
    expect(failure(() => patch(account, [operation])).scimType).toBe('mutability')
  })

  it('refuses an unknown attribute in every dialect and names the nearest', () => {
    for (const dialect of ['lenient', 'rfc'] as const) {
      const run = (): PatchResult =>
        patch(account, [{ op: 'replace', path: `${nhiUrn}:expireAt`, value: 'x' }], dialect)
      expect(failure(run).message).toContain(`did you mean "${nhiUrn}:expiresAt"?`)
    }
    expect(
      failure(() => patch(account, [{ op: 'replace', value: { [nhiUrn]: { ownr: 'x' } } }]))
        .message,
    ).toContain(`did you mean "${nhiUrn}:owner"?`)
  })

  it('passes the account on and forgets the reference to the old owner', () => {
    const bySub = patch(account, [{ op: 'replace', path: `${nhiUrn}:owner.value`, value: 'u7' }])
    const whole = patch(account, [{ op: 'replace', path: `${nhiUrn}:owner`, value: 'u7' }])

    expect(extension(bySub, nhiUrn)['owner']).toEqual({ value: 'u7', type: 'User' })
    expect(extension(whole, nhiUrn)['owner']).toEqual({ value: 'u7' })
    expect(whole.changed).toEqual([`${nhiUrn}:owner`])
  })

  it('works on plain lists by value', () => {
    const result = patch(account, [
      { op: 'add', path: `${nhiUrn}:labels`, value: ['tier=1', 'new=1'] },
      { op: 'remove', path: `${nhiUrn}:labels[value eq "team=ops"]` },
    ])

    expect(extension(result, nhiUrn)['labels']).toEqual(['tier=1', 'new=1'])
  })

  it('requests a second credential like the first one', () => {
    const value = [
      { provider: 'aws-prod', kind: 'access-key', deliverTo: { sink: 'files', path: 'b' } },
    ]
    const result = patch(account, [{ op: 'add', path: `${nhiUrn}:credentials`, value }])
    const write = readUser(result.resource, { dialect: 'lenient' })

    expect(
      write.type === 'account' && write.credentials?.map((c) => [c.value, c.deliverTo]),
    ).toEqual([
      ['c1', { sink: 'files', path: 'ci' }],
      [undefined, { sink: 'files', path: 'b' }],
    ])
  })

  it.each<[string, Json]>([
    ['by filter', { op: 'remove', path: `${nhiUrn}:credentials[value eq "c1"]` }],
    ['by value', { op: 'remove', path: `${nhiUrn}:credentials`, value: [{ value: 'c1' }] }],
    ['all at once', { op: 'replace', path: `${nhiUrn}:credentials`, value: [] }],
  ])(
    'revokes the last credential %s: the reader sees an empty list, not an omission',
    (_, operation) => {
      const write = readUser(patch(account, [operation]).resource, { dialect: 'lenient' })

      expect(write.type === 'account' && write.credentials).toEqual([])
    },
  )

  it('takes a list of credentials without what is derived as unchanged', () => {
    const [first] = extension({ resource: account, changed: [] }, nhiUrn)[
      'credentials'
    ] as JsonObject[]
    const { $ref: _, status: __, ...sent } = first!
    const result = patch(account, [{ op: 'replace', path: `${nhiUrn}:credentials`, value: [sent] }])

    expect(result.changed).toEqual([])
  })
})

const texts = fc.constantFrom('a', 'b', 'A', '', 'True')
const values: fc.Arbitrary<Json> = fc.oneof(
  texts,
  fc.boolean(),
  fc.constant(null),
  fc.integer(),
  fc.dictionary(
    fc.constantFrom('value', 'Type', 'primary', 'givenName', '$ref', '__proto__'),
    texts,
    { maxKeys: 3 },
  ),
  fc.array(fc.dictionary(fc.constantFrom('value', 'type', 'primary'), texts, { maxKeys: 3 }), {
    maxLength: 3,
  }),
) as fc.Arbitrary<Json>
const paths = fc.constantFrom(
  'displayName',
  'name',
  'name.givenName',
  'emails',
  'emails.type',
  'emails[type eq "work"]',
  'emails[type eq "a"].value',
  'roles',
  'active',
  'schemas',
  'id',
  'unknown',
  'userName',
  'bad[',
  enterpriseUrn,
  `${enterpriseUrn}:manager`,
  `${enterpriseUrn}:department`,
  `${nhiUrn}:labels`,
)
const operations = fc.array(
  fc.oneof(
    fc.record({ op: fc.constantFrom('add', 'replace', 'Remove'), path: paths, value: values }),
    fc.record({
      op: fc.constantFrom('add', 'replace'),
      value: fc.dictionary(paths, values, { maxKeys: 3 }),
    }),
  ),
  { minLength: 1, maxLength: 5 },
) as fc.Arbitrary<Json>

describe('any patch at all', () => {
  const anyDialect = fc.constantFrom<Dialect>('lenient', 'rfc', 'interop')

  it('never modifies its input', () => {
    const frozen = JSON.stringify(person)

    fc.assert(
      fc.property(operations, anyDialect, (list, dialect) => {
        attempt(() => patch(person, list, dialect))

        expect(JSON.stringify(person)).toBe(frozen)
      }),
      { numRuns: 500 },
    )
  })

  it('yields a canonical resource or a catalogue error', () => {
    let applied = 0

    fc.assert(
      fc.property(operations, anyDialect, (list, dialect) => {
        const outcome = attempt(() => patch(person, list, dialect))
        if (outcome instanceof AppError) return
        applied += 1
        const { id: _, ...read } = outcome.resource
        const kept = Object.entries(read).filter(([, v]) => !(Array.isArray(v) && v.length === 0))

        expect(readDocument(outcome.resource, userSchema, { dialect })).toEqual(
          Object.fromEntries(kept),
        )
      }),
      { numRuns: 1_000 },
    )

    expect(applied).toBeGreaterThan(50)
  })

  it('yields the same resource when it says that nothing changed', () => {
    let unchanged = 0

    fc.assert(
      fc.property(operations, (list) => {
        const outcome = attempt(() => patch(person, list))
        if (outcome instanceof AppError || outcome.changed.length > 0) return
        unchanged += 1

        expect(outcome.resource).toEqual(person)
      }),
      { numRuns: 500 },
    )

    expect(unchanged).toBeGreaterThan(20)
  })
})
