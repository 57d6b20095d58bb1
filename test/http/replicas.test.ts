import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/domain/time.ts'
import { instantOf } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody } from '../support/custody.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

const aheadBy = (seconds: number): Clock => ({
  ...systemClock,
  now: () => instantOf(Date.now() + seconds * 1_000),
})

let database: TestDatabase
let homes: readonly string[]
let fast: TestCustody
let slow: TestCustody
let worker: TestCustody
const running = new Set<TestCustody>()
beforeAll(async () => {
  database = await createDatabase()
  const made = [0, 1, 2].map(() => mkdtemp(path.join(tmpdir(), 'custody-replica-')))
  homes = await Promise.all(made)
  const [one, two, three] = homes as [string, string, string]
  const storeUrl = database.url
  fast = await startTestCustody({ storeUrl, home: one, roles: ['http'], clock: aheadBy(120) })
  for (const home of [two, three]) {
    await copyFile(path.join(one, 'master.key'), path.join(home, 'master.key'))
  }
  slow = await startTestCustody({ storeUrl, home: two, roles: ['http'], clock: aheadBy(-120) })
  worker = await startTestCustody({ storeUrl, home: three, roles: ['worker', 'scheduler'] })
  for (const replica of [fast, slow, worker]) running.add(replica)
})
afterAll(async () => {
  for (const replica of running) await replica.close()
  await database.drop()
  for (const home of homes) await rm(home, { recursive: true, force: true })
})

describe('replicas on one PostgreSQL', () => {
  it('go by the time of the database, whatever their machines say', async () => {
    const created = async (by: TestCustody, name: string): Promise<number> => {
      const { body } = await by.call('GET', `/scim/v2/Users/${await by.createPerson(name)}`)
      return Date.parse(body.meta.created) - Date.now()
    }
    expect(Math.abs(await created(fast, 'from the fast one'))).toBeLessThan(5_000)
    expect(Math.abs(await created(slow, 'from the slow one'))).toBeLessThan(5_000)
  })

  it('let a login link in once, whichever of them is asked', async () => {
    const { body } = await fast.call('POST', '/api/v1/session/link')
    const code = body.url.split('#login=')[1]
    const logIn = async (at: TestCustody): Promise<number> =>
      (await at.call('POST', '/api/v1/session', { code }, { token: null })).status
    const statuses = await Promise.all([fast, slow, slow, fast].map(logIn))

    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 401, 401, 401])
    expect(await logIn(slow)).toBe(401)
  })

  it('hear of work at once: the worker does not wait for its next look', async () => {
    const began = performance.now()
    for (let i = 0; i < 4; i++) {
      const owner = await fast.createPerson(`owner-${i}`)
      await fast.requestAccount(`heard-${i}`, owner)
      await eventually(
        () => worker.secretAt(`heard-${i}/token`),
        (secret) => secret !== null,
      )
    }
    // Each look of its own would come five seconds after the one before.
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  it('refuse on the others what one has revoked, from its answer on', async () => {
    for (let i = 0; i < 25; i++) {
      const client = await fast.createClient('auditor')
      const { token } = client
      expect(
        (await slow.call('GET', '/api/v1/accounts?limit=1', undefined, { token })).status,
      ).toBe(200)
      await fast.call('DELETE', `/api/v1/clients/${client.id}`)
      expect(
        (await slow.call('GET', '/api/v1/accounts?limit=1', undefined, { token })).status,
      ).toBe(401)
    }
  })

  it('refuse a token on the others once its owner has left', async () => {
    const owner = await fast.createPerson('leaver')
    await fast.requestAccount('left-bot', owner)
    const secret = await eventually(
      () => worker.secretAt('left-bot/token'),
      (found) => found !== null,
    )
    expect(await slow.introspect(secret!.trim())).toMatchObject({ active: true })
    await fast.call('DELETE', `/scim/v2/Users/${owner}`)
    expect(await slow.introspect(secret!.trim())).toEqual({ active: false })
  })

  it('are listed with what they run, and one of them sequences', async () => {
    const rows = await eventually(
      async () => (await slow.call('GET', '/api/v1/replicas')).body.items,
      (items) => items.some((r: { sequences: boolean }) => r.sequences),
    )
    expect(rows).toHaveLength(3)
    expect(new Set(rows.map((r: { policy: string }) => r.policy)).size).toBe(1)
    expect(rows.every((r: { live: boolean }) => r.live)).toBe(true)
    // Plus nothing: a little below zero would be -0.
    const offsets = rows.map((r: { clockOffset: number }) => Math.round(r.clockOffset / 10_000) + 0)
    expect(offsets.toSorted((a: number, b: number) => a - b)).toEqual([-12, 0, 12])
    const { token } = await fast.createClient('requester')
    expect((await slow.call('GET', '/api/v1/replicas', undefined, { token })).status).toBe(403)
  })

  it('read their policies again when one of them is told to', async () => {
    await slow.running.reloadPolicies()

    for (const other of [fast, worker]) {
      await eventually(
        () => other.log.filter((line) => line.includes('policies read again')).length,
        (times) => times === 1,
      )
    }
    expect(slow.log.join('\n')).not.toContain('policies read again')
  })

  it('are gone from the list once they have stopped', async () => {
    await worker.close()
    running.delete(worker)

    const { body } = await fast.call('GET', '/api/v1/replicas')
    expect(body.items).toHaveLength(2)
  })
})
