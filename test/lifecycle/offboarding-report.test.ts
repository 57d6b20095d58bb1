import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addSeconds } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import { consumedBy, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

describe('the offboarding report', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine({ probe: { count: 2, every: 'PT1S' } })
  })
  afterAll(() => test.close())

  const leaver = async () => {
    const owner = await test.person()
    const credentials = [wants.accessKey(), wants.deployKey(), wants.token()]
    const account = await test.request(owner, { credentials, drain: false })
    await test.pass(minutes(1), 5)
    return { owner, account }
  }
  const reportOf = (owner: string) => test.engine.offboarding(test.admin, owner)

  it('tells of each key when it was used to prove that it works, and how often that it is dead', async () => {
    const { owner } = await leaver()
    const madeBy = test.clock.now()
    await test.pass(minutes(5), 60)
    const leftAt = test.clock.now()
    await test.leave(owner)
    await test.pass(minutes(2), 1)

    const { keys, verdict } = await reportOf(owner)

    expect(verdict).toBe('complete')
    const of = (kind: string) => keys.find((key) => key.kind === kind)!
    for (const [kind, tries] of [
      ['access-key', 2],
      ['api-token', 1],
    ] as const) {
      const key = of(kind)
      expect(key).toMatchObject({ outcome: 'refused', tries })
      expect(key.acceptedAt! <= madeBy && key.refusedAt! >= leftAt).toBe(true)
    }
    // A deploy key cannot be used from here: that GitHub listed it is no proof that it works.
    expect(of('deploy-key')).toMatchObject({ acceptedAt: null, refusedAt: null, outcome: 'absent' })
  })

  it('tells how old the word was, where whoever declared the leaving said when it was true', async () => {
    const { owner } = await leaver()
    const since = addSeconds(test.clock.now(), -hours(3))
    const receivedAt = test.clock.now()

    await test.engine.declareLeave(test.admin, owner, { reason: 'HR called', since })
    await test.pass(minutes(1), 1)

    expect((await reportOf(owner)).signal).toEqual({
      receivedAt,
      sentAt: since,
      ageSeconds: hours(3),
    })
  })

  it('does not guess it from a directory, which says what is and not since when', async () => {
    const { owner } = await leaver()
    expect((await reportOf(owner)).signal).toBeNull()

    await test.leave(owner)
    await test.pass(minutes(1), 1)

    expect((await reportOf(owner)).signal).toBeNull()
  })

  it('is preceded by a preview that names who caches for longer than the old key will live', async () => {
    const [owner, heir] = [await test.person(), await test.person()]
    const consumers = [
      { name: 'daily', cacheTtl: 'P1D' },
      { name: 'quick', cacheTtl: 'PT5M' },
      { name: 'daemon', kind: 'restart-only' },
    ]
    await test.request(owner, {
      drain: false,
      backupOwners: [{ type: 'User', id: heir }],
      attributes: consumedBy(...consumers),
    })
    const [row] = await test.engine.impact(test.admin, owner)
    expect(row).toMatchObject({ decision: 'offer', stillCachedBy: ['daily', 'daemon'] })
  })

  it('takes no word from the future', async () => {
    const { owner } = await leaver()
    const since = addSeconds(test.clock.now(), 1)

    const declared = test.engine.declareLeave(test.admin, owner, { reason: null, since })

    await expect(declared).rejects.toMatchObject({ code: 'invalidValue' })
    expect((await reportOf(owner)).verdict).toBe('notLeft')
  })
})
