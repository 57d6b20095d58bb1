import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { CredentialEntry } from '../../src/domain/want.ts'
import { Secret } from '../../src/domain/secret.ts'
import { sealKeyIdOf } from '../../src/domain/seal.ts'
import { AppError } from '../../src/domain/errors.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Sealer } from '../../src/lifecycle/engine.ts'
import { createSealer } from '../../src/lifecycle/engine.ts'
import { days, hours, minutes, wants } from '../support/engine.ts'
import {
  forgetEarlier,
  isLive,
  keyOf,
  leased,
  live,
  liveOn,
  retire,
  sealedRows,
  start,
  stop,
  test,
  world,
} from '../support/leases.ts'

beforeAll(() => start())
afterAll(stop)
beforeEach(forgetEarlier)

describe('a lease', () => {
  it('is served, renewed ten minutes before its end with an overlap, and then exactly one is left', async () => {
    const up = await leased()
    const before = await test.credential(up.credential.id)
    expect(isLive(up.token)).toBe(true)
    expect(before.rotateAfter).toBe(
      new Date(Date.parse(before.issuedAt!) + 3_000_000).toISOString(),
    )

    await liveOn(minutes(49), minutes(49))
    expect(await test.served(up.credential)).toBe(up.token)
    await liveOn(minutes(2))
    const second = await test.served(up.credential)

    expect(second).not.toBe(up.token)
    expect([isLive(up.token), isLive(second)]).toEqual([true, true])
    expect(await sealedRows(up.credential)).toHaveLength(2)
    await liveOn(minutes(12), minutes(3))
    expect([isLive(up.token), isLive(second)]).toEqual([false, true])
    expect(await sealedRows(up.credential)).toHaveLength(1)
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
    await retire(up)
  })

  it.each([{ rotateEvery: 86_400 }, { overlap: 600 }])(
    'has no period of its own: %j is refused with why',
    async (entry) => {
      const owner = await test.person()
      const asked = test.request(owner, {
        credentials: [wants.appToken(entry as Partial<CredentialEntry>)],
      })
      const error: unknown = await asked.catch((e: unknown) => e)

      expect(error).toBeInstanceOf(AppError)
      expect(error).toMatchObject({ status: 400 })
      const { message } = error as Error
      expect(message).toContain(Object.keys(entry)[0])
      expect(message).toContain('PT1H')
      const up = await leased()
      const { displayName, scopes, readers } = up.credential
      const change = { type: 'credential', displayName, scopes, readers, ...entry } as never
      const current = await test.credential(up.credential.id)
      await expect(test.engine.updateCredential(test.admin, current, change)).rejects.toMatchObject(
        {
          status: 400,
        },
      )
      await retire(up)
    },
  )

  it('is refused to a consumer that caches for longer than two tokens work both', async () => {
    const owner = await test.person()
    const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
    const caching = (cacheTtl: string) =>
      test.request(owner, {
        credentials: [wants.appToken()],
        drain: false,
        attributes: { [nhi]: { consumers: [{ name: 'ci', cacheTtl }] } },
      })

    await expect(caching('PT15M')).rejects.toMatchObject({ status: 400 })
    const { id } = await caching('PT5M')
    await test.engine.switchAccount(test.admin, id, 'retire', null)
    await test.pass(2)
  })

  it('is had anew at once after the service was down for three hours', async () => {
    const up = await leased()
    test.clock.advance(hours(3))
    expect(isLive(await test.served(up.credential))).toBe(false)

    await test.engine.runSweep(test.admin, 'rotation')
    await test.pass(2)

    expect(isLive(await test.served(up.credential))).toBe(true)
    await liveOn(minutes(15), minutes(5))
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
    await retire(up)
  })

  it('is renewed by itself when GitHub was down for an hour, or its installation suspended', async () => {
    const up = await leased()
    for (const outage of ['down', 'suspended']) {
      await liveOn(minutes(45), minutes(45))
      if (outage === 'down') test.github.faults.arm('*', { kind: 'reset' }, 1_000_000)
      else world().suspend()
      await liveOn(minutes(60), minutes(12))
      expect((await test.credential(up.credential.id)).status).toBe('active')
      if (outage === 'down') test.github.faults.release()
      else world().unsuspend()
      await liveOn(minutes(7), minutes(3))
      expect(isLive(await test.served(up.credential)), outage).toBe(true)
      await liveOn(minutes(20), minutes(10))
      expect(isLive(await test.served(up.credential)), outage).toBe(true)
    }
    await retire(up)
  })

  it('is made anew when somebody ended the new one during the overlap', async () => {
    const up = await leased()
    await liveOn(minutes(51), minutes(51))
    const second = await test.served(up.credential)
    const truth = world()
      .installationTokens()
      .find((t) => t.token === second)!
    truth.revokedAt = test.clock.now()

    await liveOn(minutes(8), minutes(2))

    const third = await test.served(up.credential)
    expect(third).not.toBe(second)
    expect(isLive(third)).toBe(true)
    await retire(up)
  })
})

describe('an owner who leaves', () => {
  it.each([true, false])('takes the token along within one pass (file there: %s)', async (kept) => {
    const up = await leased()
    const file = path.join(test.home, 'secrets', 'default', up.credential.deliverTo.path)
    if (!kept) await rm(file)

    await test.leave(up.owner)
    await test.pass(1)

    expect(isLive(up.token)).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ outcome: 'refused' })
    expect((await test.account(up.account)).status).toBe('disabled')
    expect((await test.engine.offboarding(test.admin, up.owner)).verdict).toBe('complete')
  })

  it('with a backup: another at once, the old one ended within the hour, renewed until the deadline', async () => {
    const heir = await test.person()
    const up = await leased({ backupOwners: [{ type: 'User', id: heir }] })
    test.clock.advance(days(8))
    await liveOn(60)
    const known = await test.served(up.credential)
    expect(isLive(known)).toBe(true)

    await test.leave(up.owner)
    await test.pass(2)
    const next = await test.served(up.credential)
    expect(next).not.toBe(known)
    expect(isLive(next)).toBe(true)
    expect((await test.account(up.account)).status).toBe('orphaned')
    await liveOn(hours(1), minutes(20))
    expect(isLive(known)).toBe(false)
    const { disableAt } = await test.account(up.account)
    await liveOn(hours(2), minutes(20))
    expect(isLive(await test.served(up.credential))).toBe(true)

    test.clock.set(disableAt!)
    await test.engine.runSweep(test.admin, 'orphans')
    await test.pass(2)
    expect(live()).toEqual([])
  })
})

describe('an operator', () => {
  it('switches an account off and on: another generation', async () => {
    const up = await leased()
    await test.engine.switchAccount(test.admin, up.account, 'disable', 'a pause')
    await test.pass(2)
    expect(isLive(up.token)).toBe(false)
    await test.engine.switchAccount(test.admin, up.account, 'enable', null)
    await test.pass(2)

    const now = await test.served(up.credential)
    expect(now).not.toBe(up.token)
    expect(isLive(now)).toBe(true)
    expect((await test.credential(up.credential.id)).generation).toBe(2)
    await retire(up)
  })

  it('revokes: refused at once, and the bytes are forgotten', async () => {
    const up = await leased()
    await test.engine.revokeCredential(test.admin, up.credential.id)
    await test.pass(2)

    expect(isLive(up.token)).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
    expect((await test.credential(up.credential.id)).status).toBe('revoked')
    expect(await sealedRows(up.credential)).toEqual([])
    expect(await test.served(up.credential)).toBeNull()
  })

  it('waits for a suspended installation, and the token is refused after it is resumed', async () => {
    const up = await leased()
    world().suspend()
    const operation = await test.engine.revokeCredential(test.admin, up.credential.id)
    await test.pass(minutes(4), 60)
    const waiting = await test.operation(operation.id)
    world().unsuspend()
    expect(isLive(up.token)).toBe(true)
    await test.pass(minutes(6), 60)

    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'revokeBlocked' } })
    expect(isLive(up.token)).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
  })

  it('rotates the seal key: every token can still be ended', async () => {
    const up = await leased()
    const [before] = await sealedRows(up.credential)
    const { wrapped } = await test.engine.rotateSealKey(test.admin, 'a backup was lost')
    const [after] = await sealedRows(up.credential)
    await test.leave(up.owner)
    await test.pass(2)

    expect(wrapped).toBeGreaterThan(0)
    expect(sealKeyIdOf(after!.envelope)).not.toBe(sealKeyIdOf(before!.envelope))
    expect(await keyOf(up, 1)).toMatchObject({ outcome: 'refused' })
    expect(live()).toEqual([])
  })

  it('rotates the seal key for all processes, those started before and after', async () => {
    const root = randomBytes(32)
    const process = () =>
      createSealer({ store: test.store, root: Secret.of(Buffer.from(root)), random: randomBytes })
    const of = { tenant: test.admin.tenant, credential: 'c' as never, keyId: 'k' }
    const put = async (sealer: Sealer, text: string) => {
      const change = await sealer.seal(Secret.ofText(text), of, addSeconds(test.clock.now(), 60))
      expect(await test.store.commit([change])).toBe('saved')
      return sealKeyIdOf((await test.store.read.sealed(of.tenant, of.credential, 'k'))!.envelope)
    }
    const [one, two] = [process(), process()]
    const old = await put(one, 'first')

    await one.rotate()

    const read = await two.held(of)
    expect(read?.use((bytes) => bytes.toString())).toBe('first')
    const keys = [await put(one, 'a'), await put(two, 'b'), await put(process(), 'c')]
    expect(keys).not.toContain(old)
    expect(new Set(keys).size).toBe(1)
    await test.store.commit([{ type: 'unsealed', ...of }])
    expect(await one.held(of)).toBeNull()
  })
})
