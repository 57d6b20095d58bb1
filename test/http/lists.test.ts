import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { startTestCustody, userUrn } from '../support/custody.ts'
import type { Send } from '../support/scim.ts'
import { enterpriseUrn, outcomeOf, refusal, filter, person, scimAs } from '../support/scim.ts'

type Dialect = 'lenient' | 'rfc' | 'interop'
const dialects: readonly Dialect[] = ['lenient', 'rfc', 'interop']

/** Four people; every filter below is about them. */
const people: Readonly<Record<string, Json>> = {
  nora: {
    displayName: 'Nora Ek',
    externalId: 'Ext-1',
    name: { givenName: 'Nora', familyName: 'Ek' },
    emails: [
      { type: 'work', value: 'nora@x.test', primary: true },
      { type: 'home', value: 'ek@home.test' },
    ],
    title: 'Dr',
    [enterpriseUrn]: { employeeNumber: '77', department: 'IT' },
  },
  otto: {
    displayName: 'Otto O',
    externalId: 'ext-2',
    emails: [{ type: 'home', value: 'otto@home.test' }],
    active: false,
  },
  paul: { displayName: 'O"Paul \\ Ü', title: 'dr', [enterpriseUrn]: { department: 'HR' } },
  rita: { displayName: 'Rita', emails: [{ type: 'work', value: 'rita@x.test' }] },
}

describe('lists (RFC 7644 §3.4, RFC 9865)', () => {
  let custody: TestCustody
  const as = {} as Record<Dialect, Send>
  const names = new Map<string, string>()
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    for (const dialect of dialects) {
      const { token } = await custody.createClient('admin', { dialect })
      as[dialect] = scimAs(custody, token)
    }
    for (const [name, more] of Object.entries(people)) {
      const { body } = await as.lenient('POST', '/Users', person(`${name}@x.test`, more))
      names.set(body.id, name)
    }
  })
  afterAll(() => custody.close())

  const found = ({ body }: { readonly body: Json }): string =>
    body.Resources.map((r: Json) => names.get(r.id) ?? '?').join(' ')

  it.each([
    ['userName eq "NORA@x.test"', 'nora'],
    ['USERNAME EQ "nora@x.test"', 'nora'],
    ['externalId eq "Ext-1"', 'nora'],
    ['externalId eq "ext-1"', ''],
    [`${userUrn}:userName sw "O"`, 'otto'],
    ['displayName co "ek"', 'nora'],
    ['displayName ew "O"', 'otto'],
    ['displayName eq "O\\"Paul \\\\ \\u00dc"', 'paul'],
    ['displayName ne "Rita"', 'nora otto paul'],
    ['title eq "DR"', 'nora paul'],
    ['title pr', 'nora paul'],
    ['title eq null', 'otto rita'],
    ['title ne "dr"', 'otto rita'],
    ['not (title pr)', 'otto rita'],
    ['active eq true', 'nora paul rita'],
    ['active eq false', 'otto'],
    ['name.familyName eq "ek"', 'nora'],
    [`${enterpriseUrn}:department eq "it"`, 'nora'],
    [`${enterpriseUrn}:employeeNumber gt "70"`, 'nora'],
    ['emails co "home.test"', 'nora otto'],
    ['emails.value ew "x.test"', 'nora rita'],
    ['emails[type eq "work"]', 'nora rita'],
    ['emails[type eq "work" and value co "rita"]', 'rita'],
    ['emails[type eq "home" and value co "x.test"]', ''],
    ['emails[type eq "work"].value eq "nora@x.test"', 'nora'],
    ['emails[not (type eq "work")]', 'nora otto'],
    ['userName sw "n" or userName sw "o" and active eq true', 'nora'],
    ['(userName sw "n" or userName sw "o") and active eq false', 'otto'],
    ['not (userName sw "n" or userName sw "o")', 'paul rita'],
    ['userName gt "otto@x.test"', 'paul rita'],
    ['userName le "otto@x.test"', 'nora otto'],
    ['meta.created lt "2000-01-01T00:00:00Z"', ''],
    ['meta.created gt "2000-01-01T02:00:00+02:00"', 'nora otto paul rita'],
    ['meta.resourceType eq "User"', 'nora otto paul rita'],
  ])('finds by %s: %s', async (text, expected) => {
    for (const dialect of dialects) {
      const reply = await as[dialect]('GET', `/Users?${filter(text)}`)
      expect(reply.status, `${dialect} ${reply.text}`).toBe(200)
      expect(found(reply), dialect).toBe(expected)
    }
  })

  it.each([
    ['userName is "x"'],
    ['userName eq'],
    ['userName eq "x" and'],
    ['(userName eq "x"'],
    ['not userName eq "x"'],
    ['active gt true'],
    ['x509Certificates.value gt "a"'],
    ['userName pr "x"'],
    ['emails[type eq "work"'],
    [' '],
  ])('refuses %j in every dialect', async (text) => {
    for (const dialect of dialects) {
      expect(outcomeOf(await as[dialect]('GET', `/Users?${filter(text)}`))).toEqual(
        refusal(400, 'invalidFilter'),
      )
    }
  })

  it.each([
    ['an unknown attribute', 'colour eq "red"', ''],
    ['a bare word', 'userName sw Otto', 'otto'],
    ['a bare word as boolean', 'active eq False', 'otto'],
    ['single quotes', "userName eq 'rita@x.test'", 'rita'],
    ['a bare word among others', 'name.FamilyName eq Ek and (emails.Value co x.test)', 'nora'],
  ])('absorbs %s in lenient alone: %s', async (_name, text, expected) => {
    expect(found(await as.lenient('GET', `/Users?${filter(text)}`))).toBe(expected)
    if (text.includes('False')) return
    for (const send of [as.rfc, as.interop]) {
      expect(outcomeOf(await send('GET', `/Users?${filter(text)}`))).toEqual(
        refusal(400, 'invalidFilter'),
      )
    }
  })

  it('answers nothing found as an empty list', async () => {
    const { status, body } = await as.rfc('GET', `/Users?${filter('userName eq "nobody"')}`)

    expect(status).toBe(200)
    expect(body).toMatchObject({ totalResults: 0, itemsPerPage: 0, startIndex: 1, Resources: [] })
  })

  it.each([
    ['', 1, 'nora otto paul rita'],
    ['startIndex=2&count=2', 2, 'otto paul'],
    ['startIndex=0&count=1', 1, 'nora'],
    ['startIndex=-5&count=1', 1, 'nora'],
    ['startindex=3', 3, 'paul rita'],
    ['startIndex=9', 9, ''],
    ['count=0', 1, ''],
    ['count=-1', 1, ''],
    ['count=100000', 1, 'nora otto paul rita'],
  ])('pages by index: %s', async (query, startIndex, expected) => {
    const where = filter('displayName pr')
    const { body } = await as.rfc('GET', `/Users?${where}&${query}`)

    expect(found({ body })).toBe(expected)
    const itemsPerPage = expected === '' ? 0 : expected.split(' ').length
    expect(body).toMatchObject({ totalResults: 4, startIndex, itemsPerPage })
  })

  it('clamps a page to the maximum that the configuration names', async () => {
    const { body } = await as.rfc('GET', '/ServiceProviderConfig')

    expect(body.pagination.maxPageSize).toBe(body.filter.maxResults)
    expect((await as.rfc('GET', '/Users?count=201')).status).toBe(200)
  })

  it.each([
    ['attributes=userName', ['userName']],
    ['attributes=USERNAME, displayName', ['displayName', 'userName']],
    ['attributes=name.givenName', ['name']],
    [`attributes=${userUrn}:userName`, ['userName']],
    [`attributes=${enterpriseUrn}:department`, [enterpriseUrn]],
    ['attributes=emails[type eq "work"]', ['emails']],
    ['attributes=nothing', []],
  ])('shows with %s only that and what is always returned', async (query, expected) => {
    const where = filter('userName eq "nora@x.test"')
    const { status, body } = await as.rfc('GET', `/Users?${where}&${encodeURI(query)}`)

    expect(status).toBe(200)
    const [nora] = body.Resources
    expect(Object.keys(nora).toSorted()).toEqual([...expected, 'id', 'schemas'].toSorted())
  })

  it('narrows inside a complex attribute and an extension, too', async () => {
    const where = filter('userName eq "nora@x.test"')
    const names = `name.givenName,${enterpriseUrn}:department`
    const { body } = await as.rfc('GET', `/Users?${where}&attributes=${names}`)

    expect(body.Resources[0]).toMatchObject({
      name: { givenName: 'Nora' },
      [enterpriseUrn]: { department: 'IT' },
    })
    expect(body.Resources[0].name).not.toHaveProperty('familyName')
    expect(body.Resources[0][enterpriseUrn]).not.toHaveProperty('employeeNumber')
  })

  it('leaves out what is excluded, sub-attributes too, and refuses both lists at once', async () => {
    const where = filter('userName eq "nora@x.test"')
    const { body } = await as.rfc(
      'GET',
      `/Users?${where}&excludedAttributes=emails,name.familyName,${enterpriseUrn}:department`,
    )

    expect(body.Resources[0]).not.toHaveProperty('emails')
    expect(body.Resources[0].name).toEqual({ givenName: 'Nora' })
    expect(body.Resources[0][enterpriseUrn]).toEqual({ employeeNumber: '77' })
    const both = await as.rfc('GET', '/Users?attributes=userName&excludedAttributes=title')
    expect(outcomeOf(both)).toEqual(refusal(400, 'invalidValue'))
  })

  it('keeps a total order: any page again is the same page', async () => {
    const page = () => as.rfc('GET', '/Users?startIndex=2&count=2')

    expect((await page()).body).toEqual((await page()).body)
  })

  it('says so when there is more than one answer can hold, by totalResults', async () => {
    const { body } = await as.rfc('GET', '/Users?count=1')

    expect(body.totalResults).toBeGreaterThan(body.itemsPerPage)
  })
})
