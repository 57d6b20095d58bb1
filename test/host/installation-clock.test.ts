import { expect, it } from 'vitest'
import { addSeconds } from '../../src/domain/time.ts'
import { createInstallationClock } from '../../src/host/clock.ts'
import { ManualClock } from '../support/manual-clock.ts'

/** A database whose clock is ahead by some seconds, and that answers after some more. */
function installation(of: { ahead: number; trip: number }) {
  const machine = new ManualClock()
  const time = createInstallationClock(machine, async () => {
    machine.advance(of.trip / 2)
    const now = Date.parse(machine.now()) + of.ahead * 1_000
    machine.advance(of.trip / 2)
    return now
  })
  return { machine, time }
}

it('is the time of the database, whatever the machine says', async () => {
  const { machine, time } = installation({ ahead: 120, trip: 0.02 })

  expect(await time.measure()).toBe(true)

  expect(time.clock.now()).toBe(addSeconds(machine.now(), 120))
})

it('does not go back by a correction', async () => {
  const of = { ahead: 1, trip: 0 }
  const { machine, time } = installation(of)
  await time.measure()
  const before = time.clock.now()
  of.ahead = 0

  await time.measure()
  expect(time.clock.now()).toBe(before)

  machine.advance(3)
  expect(time.clock.now()).toBe(machine.now())
})

it('believes a slow answer no further than it can be believed', async () => {
  const of = { ahead: 10, trip: 0.02 }
  const { time } = installation(of)
  await time.measure()
  of.trip = 4

  // Two seconds to either side: what is known already is better.
  of.ahead = 11
  await time.measure()
  expect(time.offset()).toBe(10_000)
})

it('follows a clock that was set, also where every answer is slow', async () => {
  const of = { ahead: 0, trip: 4 }
  const { machine, time } = installation(of)
  await time.measure()
  machine.set(addSeconds(machine.now(), 120))
  of.ahead = -120

  await time.measure()

  expect(Math.abs(time.offset() + 120_000)).toBeLessThanOrEqual(2_000)
})
