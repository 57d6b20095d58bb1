import { describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { Death } from './engine.ts'
import { anotherWorker, hours, interrupted, minutes, mortal, wants } from './engine.ts'
import { actions, isLive, leased, live, test } from './leases.ts'

/**
 * Kills a worker at its calls while it issues, renews and ends app tokens, and lets the owner leave there.
 * Over the engine of `leases.ts`, which the suite's file starts.
 * @param stride every how many places are tried; 1 = all of them
 */
export function leaseCrashSuite(stride: number): void {
  describe('at every place', () => {
    const everywhere = async (attempt: (death: Death | null) => Promise<number>) => {
      const places = await attempt(null)
      for (let place = 0; place < places * 2; place += stride) {
        await attempt({ call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' })
      }
    }
    /** All that may live on is what an answer made that nobody heard, and that is told. */
    const onlyTold = async (credential: Credential, kept: readonly string[], where: string) => {
      const others = live().filter((token) => !kept.includes(token))
      expect(others.length, where).toBeLessThanOrEqual(
        (await actions(credential.id, 'key.exposed')).length,
      )
    }
    const lapse = async () => {
      await test.pass(65, 33)
      await test.pass(2)
    }

    it('a worker that dies while issuing, renewing or leaving: one token works, or none, and no more', async () => {
      await everywhere(async (death) => {
        const owner = await test.person()
        const { id } = await test.request(owner, { credentials: [wants.appToken()], drain: false })
        const issuing = mortal(death)
        await anotherWorker(test, issuing.around).drain()
        await lapse()
        const [credential] = await test.credentials(id)
        const where = `issue ${death?.when} ${issuing.calls[death?.call ?? 0]}`
        const token = await test.served(credential!)
        expect(isLive(token), where).toBe(true)
        await onlyTold(credential!, [token!], where)

        test.clock.advance(minutes(50))
        await test.engine.runSweep(test.admin, 'rotation')
        const renewing = mortal(death)
        await anotherWorker(test, renewing.around).drain()
        await lapse()
        const renewed = await test.served(credential!)
        const then = `renewal ${death?.when} ${renewing.calls[death?.call ?? 0]}`
        expect(renewed === token, then).toBe(false)
        expect(isLive(renewed), then).toBe(true)
        await onlyTold(credential!, [token!, renewed!], then)

        await test.leave(owner)
        const leaving = mortal(death)
        await anotherWorker(test, leaving.around).drain()
        await lapse()
        const last = `leave ${death?.when} ${leaving.calls[death?.call ?? 0]}`
        await test.pass(65, 33)
        expect((await test.account(id)).status, last).toBe('disabled')
        await onlyTold(credential!, [], last)
        expect((await actions(credential!.id, 'key.exposed')).length, last).toBeLessThanOrEqual(2)
        test.clock.advance(hours(1))
        return Math.max(issuing.calls.length, renewing.calls.length, leaving.calls.length)
      })
    })

    it('an owner who leaves in the middle of a renewal, at each of its calls, leaves nothing alive', async () => {
      const attempt = async (at: Death | null) => {
        const up = await leased()
        test.clock.advance(minutes(51))
        await test.engine.runSweep(test.admin, 'rotation')
        const life = interrupted(at, () => test.leave(up.owner))
        await anotherWorker(test, life.around).drain()
        if (at === null) await test.leave(up.owner)
        await test.pass(minutes(3), 20)
        const where = `${at?.when} ${life.calls[at?.call ?? 0]}`
        expect((await test.account(up.account)).status, where).toBe('disabled')
        expect(live(), where).toEqual([])
        const keys = await test.keys(up.credential.id)
        const ended = keys.filter(({ status }) => status !== 'failed')
        expect(new Set(ended.map(({ outcome }) => outcome)), where).toEqual(new Set(['refused']))
        return life.calls.length
      }
      const places = await attempt(null)
      expect(places).toBeGreaterThan(10)
      for (let call = 0; call < places; call += stride) await attempt({ call, when: 'after' })
    })
  })
}
