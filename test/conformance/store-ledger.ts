import { describe, expect, it } from 'vitest'
import type { FailedRequest } from '../../src/domain/failed-request.ts'
import { defaultTenant as tenant, type ClientId } from '../../src/domain/ids.ts'
import type { AttributeSighting, Replay, ScimRequest } from '../../src/domain/ledger.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeId, t0, unique } from '../support/entities.ts'

const client = 'client' as ClientId
const later = addSeconds(t0, 60)

const makeReplay = (overrides: Partial<Replay> = {}): Replay => ({
  tenant,
  client,
  scope: unique('scope'),
  fingerprint: 'same',
  request: makeId(),
  status: null,
  headers: null,
  body: null,
  staleAt: addSeconds(t0, 30),
  expiresAt: addSeconds(t0, 90),
  ...overrides,
})
const claim = (replay: Replay, now = t0): Change => ({ type: 'replayClaim', replay, now })

const makeRequest = (overrides: Partial<ScimRequest> = {}): ScimRequest => ({
  tenant,
  id: makeId(),
  client,
  at: t0,
  method: 'POST',
  route: '/Users',
  target: null,
  query: null,
  agent: 'Okta',
  status: 201,
  error: null,
  scimType: null,
  body: '{}',
  milliseconds: 1.234567,
  ...overrides,
})

const makeSighting = (overrides: Partial<AttributeSighting> = {}): AttributeSighting => ({
  tenant,
  client,
  resource: 'User',
  path: 'active',
  form: 'boolean',
  count: 1,
  firstAt: t0,
  lastAt: t0,
  operation: 'POST',
  ...overrides,
})

/** Replays of answers by `Idempotency-Key`, and the log of SCIM requests. */
export function ledgerConformance(current: () => Store): void {
  describe('the ledger', () => {
    it('lets one of many claim a scope, until it is answered, released or abandoned', async () => {
      const scope = unique('scope')
      const rivals = Array.from({ length: 6 }, () => makeReplay({ scope }))
      const results = await Promise.all(rivals.map((r) => current().commit([claim(r)])))
      const [winner] = rivals.filter((_, i) => results[i] === 'saved')
      expect(results.filter((r) => r === 'saved')).toHaveLength(1)
      expect(results.filter((r) => r !== 'saved')).toEqual(
        Array.from({ length: 5 }, () => ({ change: 0, reason: 'slot', with: winner!.request })),
      )

      const answer = { ...winner!, status: 201, headers: { etag: 'W/"1"' }, body: '{"a":1}' }
      expect(await current().commit([{ type: 'replayAnswer', replay: answer }])).toBe('saved')
      expect(await current().read.replay(tenant, client, scope)).toEqual(answer)
      expect(await current().commit([claim(makeReplay({ scope }), later)])).toMatchObject({
        reason: 'slot',
      })
      const anew = makeReplay({ scope, expiresAt: addSeconds(t0, 300) })
      expect(await current().commit([claim(anew, addSeconds(t0, 90))])).toBe('saved')
      await current().commit([{ type: 'replayRelease', replay: anew }])
      expect(await current().read.replay(tenant, client, scope)).toBeNull()

      const abandoned = makeReplay({ scope })
      await current().commit([claim(abandoned)])
      expect(await current().commit([claim(makeReplay({ scope }), later)])).toBe('saved')
    })

    it('adds up what clients send, each form for itself, and forgets what nobody sends any more', async () => {
      const own = unique('counted') as ClientId
      const count = (sightings: readonly AttributeSighting[], before = addSeconds(t0, -90)) =>
        current().commit([{ type: 'sightings', sightings, before }])
      const read = () => current().read.sightings(tenant, own)
      const made = makeSighting({ client: own, count: 2 })
      const text = makeSighting({ client: own, form: 'boolean as text' })
      await count([made, text, makeSighting({ client: unique('other') as ClientId })])
      await count([
        makeSighting({ ...made, count: 3, firstAt: later, lastAt: later, operation: 'PUT' }),
      ])

      const sum = { ...made, count: 5, lastAt: later, operation: 'PUT' }
      expect(await read()).toEqual([sum, text])
      expect(await current().read.sightings(tenant, 'nobody' as ClientId)).toEqual([])
      await count([], later)
      expect(await read()).toEqual([sum])
    })

    it('counts the same failure once, until it is settled or decided', async () => {
      const own = unique('failing') as ClientId
      const make = (fingerprint: string, more: Partial<FailedRequest> = {}): FailedRequest => ({
        tenant,
        id: makeId(),
        client: own,
        fingerprint,
        method: 'PATCH',
        route: '/Users/:id',
        target: 'u1',
        firstAt: t0,
        lastAt: t0,
        times: 1,
        status: 404,
        error: 'no such',
        scimType: null,
        obstacle: null,
        state: 'open',
        decidedAt: null,
        decidedBy: null,
        note: null,
        ...more,
      })
      const fail = (failure: FailedRequest, before = addSeconds(t0, -90)) =>
        current().commit([{ type: 'requestFailed', failure, before }])
      const decide = (id: string, state: 'replayed' | 'signedOff') =>
        current().commit([
          { type: 'failureDecided', tenant, id, state, at: later, by: 'eve', note: 'n' },
        ])
      const list = (state: FailedRequest['state'] = 'open') =>
        current().read.failedRequests({ tenant, client: own, state, after: null, limit: 9 })
      const [a, b] = [make('a'), make('b')]
      await fail(a)
      await fail(b)
      await fail(make('a', { status: 409, error: 'taken', firstAt: later, lastAt: later }))
      const again = { ...a, times: 2, status: 409, error: 'taken', lastAt: later }
      expect(await list()).toEqual([again, b])
      expect(await current().read.openFailures(tenant, own)).toBe(2)
      expect(await current().read.openFailure(tenant, own, 'a')).toEqual(again)

      await current().commit([
        { type: 'requestSettled', tenant, client: own, fingerprint: 'a', at: later },
      ])
      expect(await list('settled')).toEqual([{ ...again, state: 'settled', decidedAt: later }])
      expect(await decide(a.id, 'replayed')).toMatchObject({ reason: 'version' })
      expect(await decide(b.id, 'signedOff')).toBe('saved')
      expect(await current().read.failedRequest(tenant, b.id)).toMatchObject({
        state: 'signedOff',
        decidedBy: 'eve',
        note: 'n',
      })
      // Settled once, it is a new failure when it fails again.
      await fail(make('a'))
      expect(await list()).toHaveLength(1)
      await fail(make('c', { lastAt: later }), later)
      expect((await list()).map((f) => f.fingerprint)).toEqual(['c'])
    })

    it('logs requests as they were, newest first, and forgets old ones', async () => {
      const old = makeRequest({ at: addSeconds(t0, -60) })
      const [fine, refused] = [makeRequest(), makeRequest({ status: 409, error: 'userNameTaken' })]
      const log = (requests: readonly ScimRequest[], before = addSeconds(t0, -90)) =>
        current().commit([{ type: 'scimRequests', requests, before }])
      const find = (more = {}) =>
        current().read.scimRequests({ tenant, after: null, limit: 10, ...more })
      await log([old, fine, refused])
      expect(await find()).toEqual([refused, fine, old])
      expect(await find({ failed: true })).toEqual([refused])
      expect(await find({ status: 201, client, after: fine.id })).toEqual([old])

      await log([], t0)
      expect(await find()).toEqual([refused, fine])
    })
  })
}
