import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { ClockGuard } from '../../src/lifecycle/engine.ts'
import { createClockGuard, releaseByOperator } from '../../src/lifecycle/engine.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
let guard: ClockGuard
let end = (): void => undefined
beforeEach(async () => {
  test = await startTestEngine()
  guard = guardOf('first')
  end = await guard.start()
  Object.assign(test.life, { clockGuard: guard })
})
afterEach(async () => {
  end()
  await test.close()
})

const guardOf = (worker: string) => createClockGuard(test.life, { worker })
const names = async () => (await test.store.read.brakes()).map((b) => b.name)
/** Moves the wall clock alone, as a bad NTP server or an operator does. */
const jump = (seconds: number) => test.clock.set(addSeconds(test.clock.now(), seconds))
/** Lets real time pass, so that the guard's own timer looks. */
const settle = async (seconds: number) => {
  for (let left = seconds; left > 0; left -= 10) {
    test.clock.advance(Math.min(10, left))
    await new Promise((resolve) => setTimeout(resolve, 4))
  }
}
const release = (reason = 'checked') =>
  releaseByOperator(test.life, test.admin, { name: 'clock', subject: '', reason })

describe('R07 the clock guard', () => {
  it.each([
    ['an hour ahead', hours(1)],
    ['an hour back', -hours(1)],
    ['400 days ahead', days(400)],
    ['a day back', -days(1)],
    ['six minutes ahead', minutes(6)],
  ])('stops what time asks for when the clock jumps %s, and heals', async (_, seconds) => {
    jump(seconds)
    expect(await guard.check()).toBe(false)
    expect(await names()).toEqual(['clock'])

    jump(-seconds)
    await settle(90)

    expect(await guard.check()).toBe(true)
    expect(await names()).toEqual([])
  })

  it.each([
    ['a leap second', -1],
    ['a small correction', minutes(4)],
    ['a summer that begins', 0],
  ])('takes no notice of %s', async (_, seconds) => {
    jump(seconds)
    await settle(60)
    // 29 March 2026 and 25 October 2026 are days like all others in UTC.
    test.clock.advance(days(200))

    expect(await guard.check()).toBe(true)
    expect(await names()).toEqual([])
  })

  it('revokes nothing before its time, and misses nothing once the clock is right again', async () => {
    const account = await test.request(await test.person(), {
      expiresAt: addSeconds(test.clock.now(), days(10)),
      credentials: [wants.accessKey()],
    })
    const [credential] = await test.credentials(account.id)

    jump(days(400))
    for (const sweep of ['orphans', 'expiry', 'rotation'] as const) {
      await test.engine.runSweep(test.admin, sweep)
    }
    await test.worker.drain()
    expect((await test.account(account.id)).status).toBe('active')
    await expect(test.works(credential!)).resolves.toBe(true)

    jump(-days(400))
    await settle(90)
    test.clock.advance(days(11))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    expect((await test.account(account.id)).status).toBe('expired')
    await expect(test.works(credential!)).resolves.toBe(false)
  })

  it('waits with deletions after the hold, and with the end of an overlap', async () => {
    const account = await test.request(await test.person())
    const [credential] = await test.credentials(account.id)
    const rotation = await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(minutes(2), 5)

    jump(days(400))
    await guard.check()
    await test.worker.drain()

    const waiting = await test.operation(rotation.id)
    expect(waiting.failure).toMatchObject({ code: 'braked' })
    expect((await test.keys(credential!.id)).map((k) => k.status)).toEqual(['superseded', 'active'])
  })

  it('never delays a revocation, a disable or a leaving', async () => {
    const leaver = await test.person()
    const accounts = [
      await test.request(await test.person()),
      await test.request(await test.person()),
    ]
    const [credential] = await test.credentials(accounts[0]!.id)
    const left = await test.request(leaver)
    jump(hours(1))
    await guard.check()

    await test.engine.revokeCredential(test.admin, credential!.id)
    await test.engine.switchAccount(test.admin, accounts[1]!.id, 'disable', null)
    await test.leave(leaver)
    await test.pass(minutes(1), 5)

    expect(await names()).toEqual(['clock'])
    expect((await test.credential(credential!.id)).status).toBe('revoked')
    expect((await test.account(accounts[1]!.id)).status).toBe('disabled')
    expect((await test.account(left.id)).status).toBe('disabled')
  })

  it('goes on with what is in the journal when the clock is set back under it', async () => {
    const account = await test.request(await test.person())
    const [credential] = await test.credentials(account.id)
    await test.engine.revokeCredential(test.admin, credential!.id)

    jump(-days(1))
    await guard.check()
    await test.pass(minutes(1), 5)

    expect((await test.credential(credential!.id)).status).toBe('revoked')
  })

  it('goes on with what a process held that died just before the clock was set back', async () => {
    const account = await test.request(await test.person())
    const [credential] = await test.credentials(account.id)
    const { id } = await test.engine.revokeCredential(test.admin, credential!.id)
    const [held] = await test.store.claim('died', test.clock.now(), seconds(60), 1)
    expect(held!.id).toBe(id)

    jump(-days(1))
    await guard.check()
    await test.pass(minutes(3), 5)

    expect((await test.credential(credential!.id)).status).toBe('revoked')
  })

  it('believes the Date of a provider against its own clock', async () => {
    guard.sawDate('aws-prod', addSeconds(test.clock.now(), hours(2)))
    expect(await guard.check()).toBe(false)
    expect((await test.store.read.brakes())[0]?.facts).toMatchObject({
      reason: 'date',
      source: 'aws-prod',
    })

    guard.sawDate('aws-prod', test.clock.now())
    await settle(90)
    expect(await names()).toEqual([])
  })

  it('lets a Date confirm a new time: the old one, or a pause, was wrong', async () => {
    jump(days(3))
    await settle(30)
    expect(await names()).toEqual(['clock'])

    guard.sawDate('aws-prod', test.clock.now())
    await settle(90)

    expect(await names()).toEqual([])
    expect(await guard.check()).toBe(true)
  })

  it('stays on without a word from anybody, until an operator says the time is right', async () => {
    jump(hours(5))
    await settle(600)
    expect(await names()).toEqual(['clock'])

    await release()

    expect(await guard.check()).toBe(true)
    await settle(120)
    expect(await names()).toEqual([])
  })

  it('takes an operator’s word about one provider’s Date, and still asks the others', async () => {
    guard.sawDate('aws-prod', test.clock.now())
    guard.sawDate('github-acme', addSeconds(test.clock.now(), -minutes(20)))
    expect(await guard.check()).toBe(false)

    await release('its proxy answers from a cache')
    expect(await guard.check()).toBe(true)
    await settle(90)
    expect(await names()).toEqual([])

    guard.sawDate('aws-prod', addSeconds(test.clock.now(), minutes(20)))
    expect(await guard.check()).toBe(false)
  })

  it('notices a clock that was set back while Custody was off', async () => {
    await settle(120)
    end()
    jump(-hours(3))
    guard = guardOf('second')
    end = await guard.start()

    expect(await names()).toEqual(['clock'])
    jump(hours(3) + minutes(1))
    await settle(90)
    expect(await names()).toEqual([])
  })

  it('takes a long gap for a machine that was off, unless a provider disagrees', async () => {
    await settle(120)
    end()
    jump(days(500))
    guard = guardOf('second')
    end = await guard.start()
    expect(await names()).toEqual([])

    guard.sawDate('github-acme', addSeconds(test.clock.now(), -days(500)))
    expect(await guard.check()).toBe(false)
  })

  it('keeps the brake of a process that lives, and ends that of one that is gone', async () => {
    const other = guardOf('second')
    const endOther = await other.start()
    guard.sawDate('aws-prod', addSeconds(test.clock.now(), hours(2)))
    await guard.check()
    await settle(minutes(15))
    expect(await names()).toEqual(['clock'])

    end()
    await settle(minutes(11))

    expect(await names()).toEqual([])
    endOther()
  })

  it('is told of by the clients of AWS and GitHub', async () => {
    await test.request(await test.person(), {
      credentials: [wants.accessKey(), wants.deployKey()],
    })

    const sources = new Set(test.dates.map((d) => d.source))
    expect([...sources].sort()).toEqual(['aws-prod', 'aws-secrets', 'github-acme'])
  })
})
