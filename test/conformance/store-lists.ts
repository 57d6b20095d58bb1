import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { isJsonObject, type Json, type JsonObject } from '../../src/domain/json.ts'
import { compareText, normalise } from '../../src/domain/text.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds, parseInstant } from '../../src/domain/time.ts'
import type { BoundAttribute } from '../../src/scim/filter.ts'
import type { ListQuery, Sort, Store, Visibility } from '../../src/store/store.ts'
import { makeAccount, makeCredential, makePerson, t0 } from '../support/entities.ts'
import { nhi } from '../support/json-codec.ts'
import { attribute, bound, compare } from './store-filters.ts'

const everything: Visibility = { people: 'all', accounts: 'all' }
const query: ListQuery = {
  tenant,
  visibility: everything,
  filter: null,
  startIndex: 1,
  count: 200,
}

const word = fc.constantFrom('a', 'B', 'b', 'É', 'é', 'z', '😀', '\uffee')
const attributes: fc.Arbitrary<JsonObject> = fc.record(
  {
    title: word,
    tags: fc.array(word, { maxLength: 2 }),
    emails: fc.array(
      fc.record({ value: word, primary: fc.boolean() }, { requiredKeys: ['value'] }),
      { maxLength: 3 },
    ),
    level: fc.integer({ min: -2, max: 11 }),
    on: fc.boolean(),
    hired: fc.constantFrom(
      '2026-01-01T00:00:00Z',
      '2026-01-01T01:00:00+02:00',
      '2025-01-01T00:00:00',
    ),
  },
  { requiredKeys: [] },
)
const orders: readonly BoundAttribute[] = [
  attribute('userName'),
  attribute('userName', { caseExact: true }),
  attribute('externalId', { caseExact: true }),
  attribute('id', { caseExact: true }),
  attribute('meta created', { type: 'dateTime', caseExact: true }),
  attribute('meta resourceType'),
  attribute('title'),
  attribute('title', { caseExact: true }),
  attribute('tags[]'),
  attribute('emails[] value'),
  attribute('level', { type: 'integer', caseExact: true }),
  attribute('on', { type: 'boolean', caseExact: true }),
  attribute('hired', { type: 'dateTime', caseExact: true }),
]

type Key = string | number | null

/** What RFC 7644 §3.4.2.3 sorts by, the slow and obvious way. */
function keyOf({ keys, multiValued, type, caseExact }: BoundAttribute, document: JsonObject): Key {
  let value: Json = document
  for (const [i, key] of keys.entries()) {
    value = isJsonObject(value) ? (value[key] ?? null) : null
    if (multiValued[i] !== true) continue
    const all: readonly Json[] = Array.isArray(value) ? value : []
    value = all.find((v) => isJsonObject(v) && v['primary'] === true) ?? all[0] ?? null
  }
  if (typeof value === 'boolean') return Number(value)
  if (typeof value !== 'string') return typeof value === 'number' ? value : null
  if (type === 'dateTime') return parseInstant(value)
  return caseExact ? value : normalise(value)
}

function compareKeys(a: Key, b: Key): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null)
  return typeof a === 'number' && typeof b === 'number' ? a - b : compareText(String(a), String(b))
}

/** Order, positions and totals of lists. */
export function listConformance(store: () => Store): void {
  const walk = async (want: ListQuery): Promise<string[]> => {
    const ids: string[] = []
    let after: string | null = null
    do {
      const page = await store().read.listUsers({ ...want, after })
      ids.push(...page.rows.map((row) => row.id))
      after = page.next
    } while (after !== null)
    return ids
  }
  const total = async (visibility: Visibility): Promise<number> =>
    (await store().read.listUsers({ ...query, visibility, count: 0 })).total

  describe('lists', () => {
    it('are in the order asked for, page by page, either way of paging', async () => {
      const people = fc.sample(attributes, { numRuns: 30, seed: 20_261_122 }).map((attributes, i) =>
        makePerson({
          attributes,
          userName: `${'aBcÄ'[i % 4]}${i}`,
          externalId: i % 3 === 0 ? null : `x${i}`,
          createdAt: addSeconds(t0, i % 7),
        }),
      )
      await store().commit(
        people.map((person) => ({ type: 'person', person, expectedVersion: null }) as const),
      )

      for (const sorted of orders) {
        for (const descending of [false, true]) {
          const sign = descending ? -1 : 1
          const expected = people
            .map((p) => {
              const meta = { created: p.createdAt, resourceType: 'User' }
              const { id, userName, externalId } = p
              return { id, key: keyOf(sorted, { ...p.attributes, id, userName, externalId, meta }) }
            })
            .sort((a, b) => sign * (compareKeys(a.key, b.key) || compareText(a.id, b.id)))
            .map((p) => p.id)
          const sort: Sort = { attribute: sorted, descending }
          const label = `${sorted.path} ${sorted.caseExact} ${descending}`

          expect({ label, ids: await walk({ ...query, sort, count: 7 }) }).toEqual({
            label,
            ids: expected,
          })
          const page = await store().read.listUsers({ ...query, sort, startIndex: 6, count: 9 })
          expect(page.rows.map((row) => row.id)).toEqual(expected.slice(5, 14))
          expect(page.total).toBe(30)
          const { after } = page.places![3]!
          const rest = await store().read.listUsers({ ...query, sort, after, count: 3 })
          expect(rest.rows.map((row) => row.id)).toEqual(expected.slice(9, 12))
        }
      }
      expect(await walk({ ...query, count: 7 })).toEqual(people.map((p) => p.id).sort())
      const filter = bound(compare('title', 'ge', 'b'))
      const found = await store().read.listUsers({ ...query, filter })
      expect(found.total).toBeGreaterThan(4)
      expect(await walk({ ...query, filter, count: 2 })).toEqual(found.rows.map((r) => r.id))
    })

    it('number the same rows far from the start as near to it', async () => {
      const people = Array.from({ length: 2_110 }, () => makePerson())
      for (let i = 0; i < people.length; i += 200) {
        await store().commit(
          people
            .slice(i, i + 200)
            .map((person) => ({ type: 'person', person, expectedVersion: null }) as const),
        )
      }
      const ids = people.map((p) => p.id).sort()

      for (const startIndex of [1, 1_001, 1_060, 1_900, 2_101, 2_110, 2_111, 9_999]) {
        const page = await store().read.listUsers({ ...query, startIndex, count: 20 })
        const expected = ids.slice(startIndex - 1, startIndex + 19)
        expect(page.rows.map((row) => row.id)).toEqual(expected)
        expect(page.total).toBe(2_110)
        expect(page.next).toBe(startIndex + 19 < 2_110 ? expected.at(-1) : null)
      }
    })

    it('sort by attributes of the extension and by credentials kept beside the document', async () => {
      const [a, b] = ['2027-01-01', '2026-12-01'].map((day) =>
        makeAccount({ expiresAt: `${day}T00:00:00.000Z` as Instant }),
      ) as [ReturnType<typeof makeAccount>, ReturnType<typeof makeAccount>]
      const person = makePerson()
      await store().commit([
        { type: 'account', account: a, expectedVersion: null },
        { type: 'account', account: b, expectedVersion: null },
        { type: 'person', person, expectedVersion: null },
        {
          type: 'credential',
          credential: makeCredential({ account: a.id, provider: 'Zeta' }),
          expectedVersion: null,
        },
        {
          type: 'credential',
          credential: makeCredential({ account: b.id, provider: 'alpha' }),
          expectedVersion: null,
        },
      ])
      const by = (sorted: BoundAttribute, descending: boolean) =>
        walk({ ...query, sort: { attribute: sorted, descending }, count: 1 })
      const expiry = attribute(`${nhi} expiresAt`, { type: 'dateTime', caseExact: true })

      expect(await by(expiry, false)).toEqual([b.id, a.id, person.id])
      expect(await by(expiry, true)).toEqual([person.id, a.id, b.id])
      expect(await by(attribute(`${nhi} credentials[] provider`), false)).toEqual([
        b.id,
        a.id,
        person.id,
      ])
    })

    it('are ordered by as much of a text as fits into a cursor', async () => {
      const long = 'é'.repeat(254)
      const people = ['b2', 'a2', 'a1'].map((end) =>
        makePerson({ attributes: { title: `${long}${end}` } }),
      )
      await store().commit(
        people.map((person) => ({ type: 'person', person, expectedVersion: null }) as const),
      )
      const sort = { attribute: attribute('title'), descending: false }
      const beyond = makePerson({ attributes: { title: `${long}a20` } })
      await store().commit([{ type: 'person', person: beyond, expectedVersion: null }])

      expect(await walk({ ...query, sort, count: 1 })).toEqual(
        [people[2]!, people[1]!, beyond, people[0]!].map((person) => person.id),
      )
    })

    it('refuse a position of a list in another order', async () => {
      const sort = { attribute: attribute('title'), descending: false }

      for (const after of ['018f', '[1]', '{"a":1}', '[{},"x"]']) {
        await expect(store().read.listUsers({ ...query, sort, after })).rejects.toMatchObject({
          code: 'invalidValue',
        })
      }
    })

    it('know their totals through every change of a resource', async () => {
      const inDirectory: Visibility = { people: { directory: 'd' }, accounts: 'none' }
      const totals = async () => [
        await total(everything),
        await total(inDirectory),
        await total({ people: 'none', accounts: 'all' }),
        (await store().read.listCredentials({ ...query, count: 0 })).total,
      ]
      const person = makePerson({ directory: 'd' })
      const account = makeAccount()
      const credential = makeCredential({ account: account.id })
      await store().commit([
        { type: 'person', person, expectedVersion: null },
        { type: 'account', account, expectedVersion: null },
        { type: 'credential', credential, expectedVersion: null },
      ])
      expect(await totals()).toEqual([2, 1, 1, 1])

      // What is refused counts nothing.
      await store().commit([
        { type: 'person', person: makePerson({ directory: 'd' }), expectedVersion: null },
        { type: 'person', person, expectedVersion: 9 },
      ])
      expect(await totals()).toEqual([2, 1, 1, 1])

      const write = (change: Partial<typeof person>, expectedVersion: number) =>
        store().commit([{ type: 'person', person: { ...person, ...change }, expectedVersion }])
      await write({ active: false }, 1)
      expect(await totals()).toEqual([2, 1, 1, 1])
      await write({ directory: 'other' }, 2)
      expect(await totals()).toEqual([2, 0, 1, 1])
      await write({ directory: 'd', deletedAt: t0 }, 3)
      expect(await totals()).toEqual([1, 0, 1, 1])
      await write({ directory: 'd', deletedAt: null }, 4)
      expect(await totals()).toEqual([2, 1, 1, 1])
    })
  })
}
