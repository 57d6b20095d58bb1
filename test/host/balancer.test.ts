import { expect, it } from 'vitest'
import { seconds } from '../../src/domain/time.ts'
import { watchBalancer } from '../../src/host/balancer.ts'
import { ManualClock } from '../support/manual-clock.ts'

it.each([
  ['nobody ever asked', null, null, 0],
  ['somebody asked a minute ago', 60, null, 2],
  ['somebody asked longer ago', 61, null, 0],
  ['nobody asked and a time is configured', null, 5, 5],
  ['somebody asked and none is wanted', 1, 0, 0],
])('goes on serving when %s', async (_, askedAgo, configured, wanted) => {
  const clock = new ManualClock()
  const balancer = watchBalancer(clock)
  if (askedAgo !== null) {
    balancer.asked()
    clock.advance(askedAgo)
  }
  let isOver = false
  const drained = balancer
    .drained(configured === null ? null : seconds(configured))
    .then(() => (isOver = true))

  clock.advance(Math.max(0, wanted - 0.001))
  await Promise.resolve()
  await Promise.resolve()
  expect(isOver).toBe(wanted === 0)
  clock.advance(0.001)
  await drained
})
