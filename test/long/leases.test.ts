import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { days, hours, minutes } from '../support/engine.ts'
import {
  forgetEarlier,
  isLive,
  leased,
  live,
  liveOn,
  retire,
  start,
  stop,
  test,
} from '../support/leases.ts'
import { leaseCrashSuite } from '../support/lease-crash-suite.ts'

beforeAll(() => start())
afterAll(stop)
beforeEach(forgetEarlier)

leaseCrashSuite(1)

describe('a lease', () => {
  it('costs 28 operations and a known number of audit rows a day', async () => {
    const up = await leased()
    const rows = async () => {
      let [count, after] = [0, null as string | null]
      for (;;) {
        const page = await test.store.read.audit(test.admin.tenant, { after, limit: 200 })
        count += page.length
        after = page.at(-1)?.id ?? null
        if (page.length < 200) return count
      }
    }
    const [rowsBefore, opsBefore] = [await rows(), (await test.operations(up.credential.id)).length]
    const served = new Set<string>()

    for (let left = days(1); left > 0; left -= minutes(50)) {
      await liveOn(Math.min(left, minutes(40)), minutes(40))
      await liveOn(Math.max(0, Math.min(left - minutes(40), minutes(10))), minutes(10))
      const now = await test.served(up.credential)
      expect(isLive(now)).toBe(true)
      served.add(now!)
    }

    const operations = (await test.operations(up.credential.id)).length - opsBefore
    const perDay = { operations, rows: (await rows()) - rowsBefore, tokens: served.size }
    expect(perDay).toEqual({ operations: 28, rows: 168, tokens: 28 })
    await retire(up)
  })

  it('survives an outage that outlasts both of an overlap', async () => {
    const up = await leased()
    await liveOn(minutes(51), minutes(51))
    const second = await test.served(up.credential)
    test.github.faults.arm('*', { kind: 'reset' }, 1_000_000)
    await liveOn(minutes(70), minutes(10))
    expect(isLive(second)).toBe(false)
    test.github.faults.release()

    await liveOn(minutes(8), minutes(2))

    expect(isLive(await test.served(up.credential))).toBe(true)
    await retire(up)
  })

  it('ends with its account, and is not renewed any more', async () => {
    const up = await leased({
      expiresAt: new Date(Date.parse(test.clock.now()) + hours(2) * 1_000).toISOString() as never,
    })
    await liveOn(hours(2), minutes(20))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    const operations = await test.operations(up.credential.id)
    await liveOn(hours(2), minutes(20))

    expect((await test.account(up.account)).status).toBe('expired')
    expect(isLive(await test.served(up.credential))).toBe(false)
    expect(await test.operations(up.credential.id)).toHaveLength(operations.length)
    expect(live()).toEqual([])
  })
})
