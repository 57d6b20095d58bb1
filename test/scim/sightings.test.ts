import { describe, expect, it } from 'vitest'
import { dialects } from '../../src/domain/client.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'
import { applyPatch, parsePatch, patchUrn } from '../../src/scim/patch.ts'
import { readUser } from '../../src/scim/resource.ts'
import { enterpriseUrn, groupSchema, nhiUrn, userSchema, userUrn } from '../../src/scim/schema.ts'
import {
  bulkParts,
  expectedAt,
  neverSent,
  patchSightingsOf,
  sightingsOf,
  treatmentOf,
} from '../../src/scim/sightings.ts'

const lines = (body: unknown) =>
  sightingsOf(body, userSchema).map(({ path, form }) => `${path}: ${form}`)
const person = (more: JsonObject): JsonObject => ({ schemas: [userUrn], userName: 'nora', ...more })

describe('what is seen of a body', () => {
  it('is the name as published and the form, in any spelling', () => {
    expect(
      lines({
        UserName: 'nora',
        Active: 'True',
        NAME: { GivenName: '', familyName: 'Ek' },
        emails: [{ value: 'a@x.test', PRIMARY: 'true' }, 'b@x.test'],
        [enterpriseUrn.toUpperCase()]: { Manager: 'id', employeeNumber: 7 },
        title: null,
        roles: [],
      }),
    ).toEqual([
      'userName: text',
      'active: boolean as text',
      'name: object',
      'name.givenName: empty text',
      'name.familyName: text',
      'emails: list',
      'emails[].value: text',
      'emails[].primary: boolean as text',
      'emails[]: text',
      `${enterpriseUrn}:manager: text`,
      `${enterpriseUrn}:employeeNumber: integer`,
      'title: null',
      'roles: empty list',
    ])
  })

  it('names what nobody knows as it was sent', () => {
    expect(
      lines({ colour: 'red', emails: { value: 'x', mood: {} }, meta: { created: 'x' } }),
    ).toEqual([
      'colour: text',
      'emails: object',
      'emails[].value: text',
      'emails[].mood: object',
      'meta: object',
    ])
  })

  it('is the target of each operation of a PATCH, without what a filter holds', () => {
    const seen = patchSightingsOf(
      {
        operations: [
          { OP: 'Add', path: 'emails[type eq "secret"].value', value: 'n@x.test' },
          { op: 'replace', path: `${enterpriseUrn}:manager`, value: { value: '' } },
          { op: 'Replace', value: { active: false, 'name.givenName': 'N' } },
          { op: 'remove', path: 'title' },
          { op: 'add', path: 'colour[shade eq "secret"]', value: 1 },
          { path: 'active', value: 'no' },
        ],
      },
      userSchema,
    )

    expect(seen.map((s) => `${s.op}${s.hasPath ? '' : ' -'} ${s.path}: ${s.form}`)).toEqual([
      'add emails[].value: text',
      `replace ${enterpriseUrn}:manager: object`,
      `replace ${enterpriseUrn}:manager.value: empty text`,
      'replace - active: boolean',
      'replace - name.givenName: text',
      'remove title: removed',
      'add colour[]: integer',
      'other active: text',
    ])
    expect(JSON.stringify(seen)).not.toContain('secret')
  })

  it('is nothing where there is no object, and never more than a bound', () => {
    for (const body of [null, 'x', [], 5]) {
      expect(sightingsOf(body, userSchema)).toEqual([])
      expect(patchSightingsOf(body, userSchema)).toEqual([])
      expect(bulkParts(body)).toEqual([])
    }
    const members = Array.from({ length: 5_000 }, (_, i) => ({ value: String(i) }))
    expect(sightingsOf({ members }, groupSchema).length).toBeLessThan(50)
    const Operations = Array.from({ length: 5_000 }, () => ({ op: 'add', value: { title: 'x' } }))
    expect(patchSightingsOf({ Operations }, userSchema).length).toBeLessThanOrEqual(1_000)
  })
})

/** Each attribute alone in a body, in every form. */
const places: readonly [string, (value: Json) => JsonObject][] = [
  ['active', (value) => ({ active: value })],
  ['title', (value) => ({ title: value })],
  ['id', (value) => ({ id: value })],
  ['groups', (value) => ({ groups: value })],
  ['profileUrl', (value) => ({ profileUrl: value })],
  ['colour', (value) => ({ colour: value })],
  ['name', (value) => ({ name: value })],
  ['name.givenName', (value) => ({ name: { givenName: value, familyName: 'x' } })],
  ['name.colour', (value) => ({ name: { colour: value, familyName: 'x' } })],
  ['emails', (value) => ({ emails: value })],
  ['emails[].value', (value) => ({ emails: [{ value, display: 'x' }] })],
  ['emails[].type', (value) => ({ emails: [{ value: 'a', type: value }] })],
  ['emails[].primary', (value) => ({ emails: [{ value: 'a', primary: value }] })],
  ['x509Certificates[].value', (value) => ({ x509Certificates: [{ value, display: 'x' }] })],
  ['enterprise', (value) => ({ schemas: [userUrn, enterpriseUrn], [enterpriseUrn]: value })],
  [
    'manager',
    (value) => ({ schemas: [userUrn, enterpriseUrn], [enterpriseUrn]: { manager: value } }),
  ],
  ...['expiresAt', 'protected', 'labels', 'environment', 'status', 'colour'].map(
    (name): [string, (value: Json) => JsonObject] => [
      `nhi ${name}`,
      (value) => ({
        schemas: [userUrn, nhiUrn],
        [nhiUrn]: { kind: 'bot', owner: { value: 'o' }, purpose: 'p', [name]: value },
      }),
    ],
  ),
]
const values: readonly Json[] = [
  null,
  '',
  'abcd',
  'a=b',
  'work',
  true,
  'True',
  7,
  1.5,
  '2027-01-01T00:00:00Z',
  [],
  ['a=b'],
  ['a=b', 'c=d'],
  [null],
  {},
  { value: 'abcd' },
  [{ value: 'abcd' }],
  [{ value: 'abcd' }, { value: 'b' }],
]

describe('what a report says becomes of it', () => {
  const refuses = (work: () => unknown): string | null => {
    try {
      work()
      return null
    } catch (error) {
      return (error as Error).message
    }
  }

  it.each(places)('agrees with what reading a body does: %s', (_name, bodyOf) => {
    for (const value of values) {
      const body = person(bodyOf(value))
      // An extension with nothing but nulls in it is left out whole, before its parts are read.
      if (JSON.stringify(value) === '[null]' && Object.hasOwn(body, enterpriseUrn)) continue
      for (const dialect of dialects) {
        const said = sightingsOf(body, userSchema).filter(
          (s) => treatmentOf({ ...s, operation: 'PUT' }, userSchema, dialect) === 'refused',
        )
        const refusal = refuses(() => readUser(body, { dialect }))
        // A label needs the form key=value, which is no matter of JSON.
        if (refusal?.includes('key=value')) continue
        const context = `${dialect} ${JSON.stringify(value)}: ${refusal} / ${JSON.stringify(said)}`
        expect(said.length > 0, context).toBe(refusal !== null)
      }
    }
  })

  const paths = [
    'title',
    'active',
    'id',
    'groups',
    'colour',
    'name',
    'name.givenName',
    'emails',
    `${enterpriseUrn}:manager`,
    `${enterpriseUrn}.manager`,
    'emails[type eq "work"].value',
    'emails[type eq "work"].primary',
    'emails[type eq "work"].colour',
  ]
  const stored = readUser(
    person({ emails: [{ type: 'work', value: 'a' }], name: { familyName: 'Ek' } }),
    { dialect: 'rfc' },
  )
  const resource = {
    schemas: [userUrn],
    id: 'u1',
    userName: 'nora',
    ...stored.attributes,
  } as JsonObject

  it.each(paths)('agrees with what a PATCH does: %s', (path) => {
    for (const value of values) {
      const body = { schemas: [patchUrn], Operations: [{ op: 'add', path, value }] }
      for (const dialect of dialects) {
        const said = patchSightingsOf(body, userSchema).filter(
          (s) => treatmentOf({ ...s, operation: 'PATCH add' }, userSchema, dialect) === 'refused',
        )
        const refusal = refuses(() =>
          applyPatch(resource, parsePatch(body, dialect), userSchema, { dialect }),
        )
        const context = `${dialect} ${JSON.stringify(value)}: ${refusal} / ${JSON.stringify(said)}`
        expect(said.length > 0, context).toBe(refusal !== null)
      }
    }
  })

  it('tells what is mended from what is taken as it is', () => {
    const said = (path: string, form: 'boolean as text' | 'text' | 'empty text' | 'object') =>
      dialects.map((dialect) => treatmentOf({ path, form, operation: 'POST' }, userSchema, dialect))

    expect(said('active', 'boolean as text')).toEqual(['repaired', 'repaired', 'repaired'])
    expect(said('emails[].primary', 'boolean as text')).toEqual(['repaired', 'refused', 'refused'])
    expect(said('colour', 'text')).toEqual(['ignored', 'refused', 'refused'])
    expect(said('title', 'empty text')).toEqual(['repaired', 'accepted', 'accepted'])
    expect(said('emails', 'object')).toEqual(['repaired', 'refused', 'refused'])
    const dotted = {
      path: `${enterpriseUrn}.manager`,
      form: 'text',
      operation: 'PATCH add',
    } as const
    expect(dialects.map((dialect) => treatmentOf(dotted, userSchema, dialect))).toEqual([
      'repaired',
      'refused',
      'refused',
    ])
  })
})

it('says that the displayName of a member is read as its display', () => {
  const sighting = { path: 'members[].displayName', form: 'text', operation: 'POST' } as const

  expect(dialects.map((dialect) => treatmentOf(sighting, groupSchema, dialect))).toEqual([
    'repaired',
    'refused',
    'refused',
  ])
})

describe('what is expected', () => {
  it.each([
    ['userName', 'string'],
    ['active', 'boolean'],
    ['emails', 'list of object'],
    ['emails[]', 'object'],
    ['emails[].primary', 'boolean'],
    [`${enterpriseUrn}:manager`, 'object'],
    [`${nhiUrn}:expiresAt`, 'dateTime'],
    [enterpriseUrn, 'object'],
    ['id', 'string, read-only'],
    ['colour', null],
  ])('at %s is %s', (path, expected) => {
    expect(expectedAt(path, userSchema)).toBe(expected)
  })

  it('is missed when it matters', () => {
    const missing = (...paths: string[]) => neverSent('User', new Set(paths)).map((m) => m.path)

    expect(missing('userName', 'active')).toEqual([
      'externalId',
      'emails[].value',
      'displayName',
      `${enterpriseUrn}:manager`,
    ])
    expect(neverSent('Credential', new Set(['kind']))).toEqual([])
  })
})
