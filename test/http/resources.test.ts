import { request as httpRequest } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { credentialUrn, nhiUrn, patchUrn, startTestCustody, userUrn } from '../support/custody.ts'
import type { Send } from '../support/scim.ts'
import {
  enterpriseUrn,
  outcomeOf,
  refusal,
  filter,
  groupUrn,
  patch,
  person,
  scimAs,
  unique,
} from '../support/scim.ts'

type Dialect = 'lenient' | 'rfc' | 'interop'
const dialects: readonly Dialect[] = ['lenient', 'rfc', 'interop']

describe('resources and their writes (RFC 7643 §2, §3; RFC 7644 §3.3 to §3.6)', () => {
  let custody: TestCustody
  const as = {} as Record<Dialect, Send>
  let lenient: Send
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    for (const dialect of dialects) {
      const { token } = await custody.createClient('admin', { dialect })
      as[dialect] = scimAs(custody, token)
    }
    lenient = as.lenient
  })
  afterAll(() => custody.close())

  const make = async (more: Json = {}, send = as.lenient): Promise<Json> => {
    const reply = await send('POST', '/Users', person(unique('p'), more))
    expect(reply.status, reply.text).toBe(201)
    return reply.body
  }
  const group = async (more: Json = {}): Promise<Json> =>
    (await lenient('POST', '/Groups', { schemas: [groupUrn], displayName: unique('g'), ...more }))
      .body

  describe('what every resource has', () => {
    it('keeps schemas, and id, however narrow the answer', async () => {
      const { id } = await make({ name: { givenName: 'N' }, [enterpriseUrn]: { department: 'IT' } })

      for (const query of ['attributes=name.givenName', 'excludedAttributes=schemas,id']) {
        const { body } = await lenient('GET', `/Users/${id}?${query}`)
        expect(body, query).toMatchObject({ id, schemas: [userUrn, enterpriseUrn] })
      }
    })

    it('takes no id and no meta from a client', async () => {
      const meta = { resourceType: 'Robot', created: '1999-01-01T00:00:00Z', version: 'W/"x"' }
      const made = await make({ id: 'bulkId', meta })

      expect(made.id).toMatch(/^[0-9a-f-]{36}$/)
      expect(made.meta).toMatchObject({ resourceType: 'User' })
      expect(made.meta.created > '2020').toBe(true)
      const put = await lenient('PUT', `/Users/${made.id}`, { ...made, id: 'other', meta })
      expect(put.body.id).toBe(made.id)
      expect(put.body.meta).toMatchObject({ created: made.meta.created, resourceType: 'User' })
    })

    it('shows one location and one version, in meta and in headers', async () => {
      const made = await lenient('POST', '/Users', person(unique('p')))
      const { location, version } = made.body.meta
      const got = await lenient('GET', `/Users/${made.body.id}`)

      expect(location).toBe(`${custody.url}/scim/v2/Users/${made.body.id}`)
      expect(version).toMatch(/^W\/"[^"]+"$/)
      expect(made.headers.get('location')).toBe(location)
      expect(got.headers.get('content-location')).toBe(location)
      expect(made.headers.get('etag')).toBe(version)
      expect(got.headers.get('etag')).toBe(version)
    })

    it('keeps lastModified and version through writes that change nothing', async () => {
      const made = await make({
        displayName: 'Nora',
        emails: [{ type: 'work', value: 'n@x.test' }],
      })
      const same = [
        patch({ op: 'replace', path: 'displayName', value: 'Nora' }),
        patch({ op: 'add', path: 'emails', value: [{ type: 'work', value: 'n@x.test' }] }),
        patch({ op: 'add', value: { displayName: 'Nora' } }),
      ]

      for (const body of same) {
        expect((await lenient('PATCH', `/Users/${made.id}`, body)).body.meta).toEqual(made.meta)
      }
      expect((await lenient('PUT', `/Users/${made.id}`, made)).body.meta).toEqual(made.meta)
    })

    it('scopes externalId to the client that issued it', async () => {
      const externalId = unique('ext')
      await make({ externalId })

      expect(
        outcomeOf(await lenient('POST', '/Users', person(unique('p'), { externalId }))),
      ).toEqual(refusal(409, 'uniqueness'))
      expect((await make({ externalId }, as.rfc)).externalId).toBe(externalId)
      const other = await make({ externalId: externalId.toUpperCase() })
      expect(other.externalId).toBe(externalId.toUpperCase())
    })

    it.each([
      ['POST', null],
      ['PUT', null],
      ['PATCH', null],
    ])('refuses a userName that differs in case only, by %s', async (method) => {
      const { userName } = await make()
      const { id } = await make()
      const taken = userName.toUpperCase()
      const reply =
        method === 'POST'
          ? await lenient('POST', '/Users', person(taken))
          : method === 'PUT'
            ? await lenient('PUT', `/Users/${id}`, person(taken))
            : await lenient(
                'PATCH',
                `/Users/${id}`,
                patch({ op: 'replace', path: 'userName', value: taken }),
              )

      expect(outcomeOf(reply)).toEqual(refusal(409, 'uniqueness'))
    })

    it.each([
      ['null', null],
      ['an empty list', []],
      ['empty elements', [{}]],
      ['nulls in a list', [null]],
    ])('takes %s as unassigned and leaves it out', async (_name, value) => {
      const { id } = await make({ emails: value, nickName: null })
      const body = (await lenient('GET', `/Users/${id}`)).body

      expect(body).not.toHaveProperty('emails')
      expect(body).not.toHaveProperty('nickName')
    })
  })

  describe('extensions (RFC 7643 §3.3)', () => {
    it('lists a URN while the extension has a value, and drops it with the last one', async () => {
      const { id, schemas } = await make({ [enterpriseUrn]: { department: 'IT' } })
      expect(schemas).toEqual([userUrn, enterpriseUrn])

      const gone = await lenient(
        'PATCH',
        `/Users/${id}`,
        patch({ op: 'remove', path: `${enterpriseUrn}:department` }),
      )
      expect(gone.body.schemas).toEqual([userUrn])
      expect(gone.body).not.toHaveProperty([enterpriseUrn])
    })

    it('is removed by a PATCH of schemas', async () => {
      const { id } = await make({ [enterpriseUrn]: { department: 'IT' } })
      const body = patch({ op: 'remove', path: `schemas[value eq "${enterpriseUrn}"]` })

      expect((await as.rfc('PATCH', `/Users/${id}`, body)).body).not.toHaveProperty([enterpriseUrn])
    })

    it('names what is missing of the one that a body says it has', async () => {
      const { id } = await make()
      const account = { ...person(unique('svc')), schemas: [userUrn, nhiUrn] }
      const reply = await lenient('POST', '/Users', account)

      expect(outcomeOf(reply)).toEqual(refusal(400, 'invalidValue'))
      expect(reply.body.detail).toContain('kind')
      const owned = { ...account, [nhiUrn]: { kind: 'bot', owner: { value: id } } }
      expect((await lenient('POST', '/Users', owned)).body.detail).toContain('purpose')
    })

    it.each([
      ['data whose URN schemas lacks', { [enterpriseUrn]: { department: 'IT' } }, [201, 400, 400]],
      ['a URN nobody knows', { schemas: [userUrn, 'urn:x:y'] }, [201, 201, 400]],
      ['no schemas at all', { schemas: undefined }, [201, 400, 400]],
      ['an attribute nobody knows', { colour: 'red' }, [201, 400, 400]],
    ])('with %s answer lenient, rfc and interop each in its way', async (_name, more, statuses) => {
      for (const [i, dialect] of dialects.entries()) {
        const reply = await as[dialect]('POST', '/Users', person(unique('p'), more))
        expect(reply.status, `${dialect}: ${reply.text}`).toBe(statuses[i])
      }
    })

    it.each([
      [
        'add',
        { department: 'B', division: 'D' },
        { department: 'B', division: 'D', costCenter: '1' },
      ],
      ['replace', { department: 'B' }, { department: 'B', costCenter: '1' }],
      ['remove', undefined, undefined],
    ])('as a whole is the path of %s', async (op, value, expected) => {
      const { id } = await make({ [enterpriseUrn]: { department: 'A', costCenter: '1' } })

      const { status, body } = await lenient(
        'PATCH',
        `/Users/${id}`,
        patch({ op, path: enterpriseUrn, value }),
      )

      expect(status).toBe(200)
      expect(body[enterpriseUrn]).toEqual(expected)
    })
  })

  describe('characteristics (RFC 7643 §2.2, §7)', () => {
    it('ignores read-only input of POST and PUT, and refuses it in a PATCH path', async () => {
      const made = await make({ groups: [{ value: 'g' }] })
      expect(made).not.toHaveProperty('groups')

      const put = await as.rfc('PUT', `/Users/${made.id}`, { ...made, groups: [{ value: 'g' }] })
      expect(put.body).not.toHaveProperty('groups')
      for (const dialect of dialects) {
        const send = as[dialect]
        for (const path of ['groups', 'id', 'meta.created']) {
          const body = patch({ op: 'replace', path, value: 'x' })
          expect(outcomeOf(await send('PATCH', `/Users/${made.id}`, body))).toEqual(
            refusal(400, 'mutability'),
          )
        }
      }
    })

    it('sets what is immutable once, and takes the same value again', async () => {
      const owner = await make()
      const nhi = { kind: 'bot', owner: { value: owner.id }, purpose: 'x' }
      const { body } = await lenient('POST', '/Users', { ...person(unique('svc')), [nhiUrn]: nhi })

      expect((await lenient('PUT', `/Users/${body.id}`, body)).status).toBe(200)
      const other = { ...body, [nhiUrn]: { ...body[nhiUrn], kind: 'agent' } }
      expect(outcomeOf(await lenient('PUT', `/Users/${body.id}`, other))).toEqual(
        refusal(400, 'mutability'),
      )
      const set = (value: string) => patch({ op: 'replace', path: `${nhiUrn}:kind`, value })
      expect((await lenient('PATCH', `/Users/${body.id}`, set('bot'))).status).toBe(200)
      expect(outcomeOf(await lenient('PATCH', `/Users/${body.id}`, set('agent')))).toEqual(
        refusal(400, 'mutability'),
      )
    })

    it('never shows a password, and has nothing write-only to show', async () => {
      const { id } = await make({ password: 'Xy12-Xy12' })
      const reply = await lenient('GET', `/Users/${id}?attributes=password,userName`)

      expect(reply.text).not.toContain('Xy12')
      expect(reply.body).not.toHaveProperty('password')
    })
  })

  describe('values (RFC 7643 §2.3, §2.4)', () => {
    const dated = (expiresAt: unknown, owner: string): Json => ({
      ...person(unique('svc')),
      [nhiUrn]: { kind: 'bot', owner: { value: owner }, purpose: 'x', expiresAt },
    })
    const soon = new Date(Date.now() + 20 * 86_400_000).toISOString().slice(0, 19)

    it.each([
      ['UTC', `${soon}Z`, `${soon}.000Z`],
      ['seven digits of a second', `${soon}.1234567Z`, `${soon}.123Z`],
      ['an offset', `${soon}+00:00`, `${soon}.000Z`],
      ['no zone', soon, `${soon}.000Z`],
    ])('reads a date with %s', async (_name, text, instant) => {
      const { id } = await make()
      const { status, body } = await lenient('POST', '/Users', dated(text, id))

      expect(status, JSON.stringify(body)).toBe(201)
      expect(body[nhiUrn].expiresAt).toBe(instant)
    })

    it.each(['tomorrow', '2027-02-30T00:00:00Z', '2027-01-01', 5, true])(
      'refuses %j as a date',
      async (value) => {
        const { id } = await make()
        expect(outcomeOf(await lenient('POST', '/Users', dated(value, id)))).toEqual(
          refusal(400, 'invalidValue'),
        )
      },
    )

    it('compares dates of the year 1 with seven digits', async () => {
      const { userName } = await make()
      const where = `userName eq "${userName}" and meta.lastModified ge "0001-01-03T00:00:00.0000000Z"`

      expect((await lenient('GET', `/Users?${filter(where)}`)).body.totalResults).toBe(1)
    })

    it('reads base64 and refuses what is none', async () => {
      const certificate = (value: unknown) => ({ x509Certificates: [{ value }] })

      expect((await make(certificate('TUlJQg=='))).x509Certificates).toEqual([
        { value: 'TUlJQg==' },
      ])
      for (const value of ['not base64!', 5]) {
        const reply = await lenient('POST', '/Users', person(unique('p'), certificate(value)))
        expect(outcomeOf(reply)).toEqual(refusal(400, 'invalidValue'))
      }
    })

    it('keeps one primary element: a new one clears the old one', async () => {
      const { id } = await make({
        emails: [
          { value: 'a@x.test', type: 'work', primary: true },
          { value: 'b@x.test', type: 'home' },
        ],
      })
      const primary = async (body: Json): Promise<string[]> =>
        (await as.rfc('PATCH', `/Users/${id}`, body)).body.emails
          .filter((e: Json) => e.primary === true)
          .map((e: Json) => e.value)

      const mark = { op: 'replace', path: 'emails[type eq "home"].primary', value: true }
      expect(await primary(patch(mark))).toEqual(['b@x.test'])
      const added = { op: 'add', path: 'emails', value: [{ value: 'c@x.test', primary: true }] }
      expect(await primary(patch(added))).toEqual(['c@x.test'])
    })

    it('lets two primary elements in one body pass in lenient alone, where the first wins', async () => {
      const emails = ['a', 'b'].map((n) => ({ value: `${n}@x.test`, primary: true }))

      expect((await make({ emails })).emails.map((e: Json) => e.primary)).toEqual([true, false])
      for (const send of [as.rfc, as.interop]) {
        expect(outcomeOf(await send('POST', '/Users', person(unique('p'), { emails })))).toEqual(
          refusal(400, 'invalidValue'),
        )
      }
    })

    it('keeps a pair of type and value once', async () => {
      const email = { value: 'a@x.test', type: 'work' }

      expect(
        (await make({ emails: [email, email, { ...email, type: 'home' }] })).emails,
      ).toHaveLength(2)
    })

    it('shows members with value, $ref, type and display, and derives User.groups', async () => {
      const { id } = await make()
      const made = await group({ members: [{ value: id, display: 'Nora', $ref: null }] })

      expect(made.members).toEqual([
        { value: id, $ref: expect.stringMatching(/Users\//), type: 'User', display: 'Nora' },
      ])
      expect((await lenient('GET', `/Users/${id}`)).body.groups).toMatchObject([
        { value: made.id, display: made.displayName },
      ])
    })
  })

  describe('creating (RFC 7644 §3.3)', () => {
    it.each([
      ['/Users', () => person(unique('p'))],
      ['/Groups', () => ({ schemas: [groupUrn], displayName: unique('g') })],
    ])('answers 201 with the whole resource, its place and its version: %s', async (path, body) => {
      const made = await as.rfc('POST', path, body())
      const got = await as.rfc('GET', `${path}/${made.body.id}`)

      expect(made.status).toBe(201)
      expect(made.body).toEqual(got.body)
      expect(made.headers.get('location')).toBe(got.body.meta.location)
    })

    it.each([
      ['a missing userName', { schemas: [userUrn] }, 'invalidValue'],
      ['an empty userName', person(''), 'invalidValue'],
      ['half an object', '{"userName": ', 'invalidSyntax'],
      ['nothing', '', 'invalidSyntax'],
      ['a list', [], 'invalidSyntax'],
    ])('refuses %s', async (_name, body, scimType) => {
      for (const dialect of dialects) {
        expect(outcomeOf(await as[dialect]('POST', '/Users', body))).toEqual(refusal(400, scimType))
      }
    })

    it.each(['POST', 'PUT', 'PATCH'])('narrows the answer to %s as asked', async (method) => {
      const made = await make({ displayName: 'Nora', title: 'Dr' })
      const path = method === 'POST' ? '/Users' : `/Users/${made.id}`
      const body =
        method === 'PATCH'
          ? patch({ op: 'replace', path: 'title', value: 'Prof' })
          : person(unique('p'), { displayName: 'Nora', title: 'Prof' })

      const narrow = await lenient(method, `${path}?attributes=title`, body, { accept: '*/*' })
      expect(narrow.status).toBe(method === 'POST' ? 201 : 200)
      expect(Object.keys(narrow.body).toSorted()).toEqual(['id', 'schemas', 'title'])
      if (method === 'POST') return
      const without = await lenient(method, `${path}?excludedAttributes=title`, body)
      expect(without.body).not.toHaveProperty('title')
      expect(without.body).toMatchObject({ displayName: 'Nora' })
    })
  })

  describe('deleting (RFC 7644 §3.6)', () => {
    it('leaves nothing: 404 for every method, no place in lists, the name free', async () => {
      const { id, userName } = await make()

      const gone = await lenient('DELETE', `/Users/${id}`)
      expect([gone.status, gone.text]).toEqual([204, ''])
      for (const [method, body] of [
        ['GET', undefined],
        ['PUT', person(userName)],
        ['PATCH', patch({ op: 'replace', path: 'active', value: true })],
        ['DELETE', undefined],
      ] as const) {
        expect(outcomeOf(await lenient(method, `/Users/${id}`, body))).toEqual(refusal(404))
      }
      const where = filter(`userName eq "${userName}"`)
      expect((await lenient('GET', `/Users?${where}`)).body).toMatchObject({ totalResults: 0 })
      const again = await lenient('POST', '/Users', person(userName))
      expect(again.status).toBe(201)
      expect(again.body.id).not.toBe(id)
    })
  })

  describe('replacing (RFC 7644 §3.5.1)', () => {
    it('never creates', async () => {
      expect(outcomeOf(await lenient('PUT', '/Users/nobody', person(unique('p'))))).toEqual(
        refusal(404),
      )
      expect(outcomeOf(await lenient('PUT', '/Groups/none', { displayName: unique('g') }))).toEqual(
        refusal(404),
      )
    })

    it('clears what is left out and keeps active', async () => {
      const made = await make({ displayName: 'N', title: 'Dr', active: false })
      const { status, body } = await as.rfc('PUT', `/Users/${made.id}`, person(made.userName))

      expect(status).toBe(200)
      expect(body).not.toHaveProperty('displayName')
      expect(body.active).toBe(false)
    })

    it.each([false, 'False', 'false'])('deactivates as a PATCH does: active %j', async (active) => {
      const { id, userName } = await make()
      const { body } = await lenient('PUT', `/Users/${id}`, person(userName, { active }))

      expect(body.active).toBe(false)
      expect((await custody.call('GET', `/api/v1/owners/${id}`)).body.active).toBe(false)
    })

    it('needs what is required', async () => {
      const { id } = await make()
      expect(outcomeOf(await lenient('PUT', `/Users/${id}`, { schemas: [userUrn] }))).toEqual(
        refusal(400, 'invalidValue'),
      )
    })
  })

  describe('versions (RFC 7644 §3.14)', () => {
    it('answers 304 to who has it, and 412 to who missed a change', async () => {
      const { id, userName, meta } = await make()
      const get = (tag: string) =>
        lenient('GET', `/Users/${id}`, undefined, { 'if-none-match': tag })

      for (const tag of [meta.version, '*', `W/"other", ${meta.version}`]) {
        expect((await get(tag)).status, tag).toBe(304)
      }
      expect((await get('W/"other"')).status).toBe(200)
      for (const [method, body] of [
        ['PUT', person(userName)],
        ['PATCH', patch({ op: 'replace', path: 'title', value: 'x' })],
        ['DELETE', undefined],
      ] as const) {
        const reply = await lenient(method, `/Users/${id}`, body, { 'if-match': 'W/"0"' })
        expect(outcomeOf(reply)).toEqual(refusal(412, 'invalidVers'))
      }
      const title = (value: string, tag: string) =>
        lenient('PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'title', value }), {
          'if-match': tag,
        })
      expect((await title('a', '*')).status).toBe(200)
      const { version } = (await lenient('GET', `/Users/${id}`)).body.meta
      expect((await title('b', `"9", ${version}`)).status).toBe(200)
      expect((await title('c', version)).status).toBe(412)
    })

    it('demands no version of anybody', async () => {
      const { id, userName } = await make()

      expect((await as.rfc('PUT', `/Users/${id}`, person(userName, { title: 'x' }))).status).toBe(
        200,
      )
      expect((await as.rfc('DELETE', `/Users/${id}`)).status).toBe(204)
    })
  })

  /** How a PATCH is answered is decided by what the client accepts (RFC 7644 §3.5.2). */
  describe('the answer to a PATCH', () => {
    const raw = (path: string, accept: string | null): Promise<{ status?: number; text: string }> =>
      new Promise((resolve, reject) => {
        const call = httpRequest(
          `${custody.url}/scim/v2${path}`,
          {
            method: 'PATCH',
            headers: {
              authorization: `Bearer ${custody.adminToken}`,
              'content-type': 'application/scim+json',
              ...(accept === null ? {} : { accept }),
            },
          },
          (answer) => {
            let text = ''
            answer.setEncoding('utf8').on('data', (part: string) => (text += part))
            answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
          },
        )
        call.on('error', reject)
        call.end(
          JSON.stringify({
            schemas: [patchUrn],
            Operations: [{ op: 'replace', path: 'displayName', value: unique('d') }],
          }),
        )
      })

    it.each([
      [null, 204],
      ['*/*', 204],
      ['text/html, */*;q=0.8', 204],
      ['application/scim+json', 200],
      ['application/json, text/plain, */*', 200],
      ['application/vnd.github.v3+json', 200],
    ])('with Accept %j is %i for users, groups and credentials', async (accept, status) => {
      const owner = await make()
      const account = await custody.requestAccount(unique('svc'), owner.id)
      const credential = account.body[nhiUrn].credentials[0].value
      const team = await group({ members: [{ value: owner.id }] })

      for (const path of [
        `/Users/${owner.id}`,
        `/Users/${account.body.id}`,
        `/Groups/${team.id}`,
        `/Credentials/${credential}`,
      ]) {
        const reply = await raw(path, accept)
        expect(reply.status, `${path} ${reply.text}`).toBe(status)
        expect(reply.text === '', path).toBe(status === 204)
        const narrow = await raw(`${path}?attributes=displayName`, accept)
        expect(narrow.status, `${path} with attributes`).toBe(200)
      }
    })
  })

  it('knows a Credential as a resource of its own', async () => {
    const owner = await make()
    const account = await custody.requestAccount(unique('svc'), owner.id)
    const { value } = account.body[nhiUrn].credentials[0]
    const { status, body } = await as.rfc('GET', `/Credentials/${value}`)

    expect(status).toBe(200)
    expect(body).toMatchObject({ schemas: [credentialUrn], meta: { resourceType: 'Credential' } })
  })
})
