import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TestEngine } from '../support/engine.ts'
import { hours, startTestEngine } from '../support/engine.ts'
import { throttle } from '../support/throttle.ts'

const users = 5_000
let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

it(`goes through ${users} users of an account that throttles, without a failed run`, async () => {
  const { world } = test.aws
  const { accessKeyId } = world.admin
  const iam = (operation: string, input: Record<string, unknown>) =>
    world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' })
  for (let i = 0; i < users; i++) {
    const UserName = `shadow-${i}`
    iam('CreateUser', { UserName, Path: '/custody/' })
    if (i % 10 === 0) iam('CreateAccessKey', { UserName })
  }
  // IAM answers some 20 reads a second per account, in bursts of a few hundred.
  const refused = throttle(test, { burst: 200, perSecond: 20 })
  test.clock.advance(hours(1))
  await test.engine.runSweep(test.admin, 'reconcile')
  const last = async () => (await test.operations('aws-prod'))[0]!

  const began = test.clock.now()
  while ((await last()).finishedAt === null) await test.pass(1)

  const seconds = (Date.parse(test.clock.now()) - Date.parse(began)) / 1_000
  expect((await last()).status).toBe('succeeded')
  expect(refused()).toBeGreaterThan(100)
  expect(seconds).toBeLessThan(600)
  let found = 0
  for (let after: string | null = null; ;) {
    const { tenant } = test.admin
    const page = await test.store.read.findings({ tenant, after, limit: 500 })
    found += page.length
    after = page.at(-1)?.id ?? null
    if (after === null) break
  }
  expect(found).toBe(users)
}, 300_000)
