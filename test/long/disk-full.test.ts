import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { instantOf } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody, userUrn } from '../support/custody.ts'
import { unique } from '../support/entities.ts'
import type { SmallDisk } from '../support/small-disk.ts'
import { mountSmallDisk } from '../support/small-disk.ts'

const disk = mountSmallDisk(6 * 2 ** 20)
if (typeof disk === 'string') console.log(`skipped: ${disk}`)

describe.skipIf(typeof disk === 'string')('when the disk of the database is full', () => {
  const small = disk as SmallDisk
  let custody: TestCustody
  let owner: string
  let credential: string
  /** How far Custody's clock runs ahead, in milliseconds: a lease is over when a test says so. */
  let ahead = 0

  beforeAll(async () => {
    const storeUrl = `sqlite:${path.join(small.directory, 'custody.db')}`
    const clock = { ...systemClock, now: () => instantOf(Date.now() + ahead) }
    custody = await startTestCustody({ sandboxes: true, storeUrl, clock })
    owner = await custody.createPerson('owner')
    const account = await requestKey('deployer')
    const listed = await eventually(
      () => custody.call('GET', `/api/v1/credentials?account=${account}`),
      (reply) => reply.body.items[0]?.status === 'active',
    )
    credential = listed.body.items[0].id
    await fillUp()
  })
  afterAll(async () => {
    await custody.close()
    small.unmount()
  })

  const requestKey = async (userName: string): Promise<string> => {
    const scopes = ['s3:GetObject on arn:aws:s3:::x/*']
    const entry = { provider: 'aws-prod', kind: 'access-key', scopes }
    const reply = await custody.requestAccount(userName, owner, {
      credentials: [{ ...entry, deliverTo: `aws-secrets:${userName}` }],
    })
    return reply.body.id
  }
  const hire = (userName: string) =>
    custody.call('POST', '/scim/v2/Users', { schemas: [userUrn], userName })
  /** The log has room of its own, which is used up first. */
  const fillUp = async (): Promise<void> => {
    small.fill()
    for (let n = 0; (await hire(unique('filler'))).status === 201; n++) {
      if (n > 1_000) throw new Error('the disk does not fill up')
    }
  }
  const keys = (): number => {
    const { world } = custody.aws!
    return world.users().reduce((sum, user) => sum + world.keysOf(user.userName).length, 0)
  }

  it('a write is refused as not possible now, with when to try again', async () => {
    const reply = await hire('late')

    expect(reply.status).toBe(503)
    expect(reply.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(reply.body.detail).toContain('disk is full')
  })

  it('reads are answered, and readiness says why writes are not', async () => {
    expect((await custody.call('GET', `/scim/v2/Users/${owner}`)).status).toBe(200)
    const ready = await custody.call('GET', '/readyz')
    expect(ready.status).toBe(503)
    expect(ready.body.detail).toContain('disk is full')
    expect((await custody.call('GET', '/livez')).status).toBe(200)
  })

  it('nothing is begun at a provider', async () => {
    const reply = await custody.call('POST', `/api/v1/credentials/${credential}/rotate`)

    expect(reply.status).toBe(503)
    expect(keys()).toBe(1)
  })

  it('all goes on by itself as soon as there is space', async () => {
    small.free()

    expect((await custody.call('GET', '/readyz')).status).toBe(200)
    expect((await hire('in time')).status).toBe(201)
    const rotate = await custody.call('POST', `/api/v1/credentials/${credential}/rotate`)
    expect(rotate.status).toBe(202)
    await eventually(
      () => custody.call('GET', `/api/v1/credentials/${credential}`),
      (c) => c.body.generation === 2 && c.body.status === 'active',
    )
    expect(keys()).toBe(2)
  })
  it('a key whose making could not be written down is removed, and another one made', async () => {
    const { world, faults } = custody.aws!
    const ids = () =>
      world
        .users()
        .filter((u) => u.userName.startsWith('builder'))
        .flatMap((u) => world.keysOf(u.userName).map((k) => k.accessKeyId))
    faults.arm('CreateAccessKey', { kind: 'hold' })
    const account = await requestKey('builder')
    await faults.whenHolding()
    const [lost] = ids()

    await fillUp()
    faults.release()
    // The answer arrives, and what it says cannot be kept.
    await eventually(
      () => custody.log.filter((line) => line.includes('disk is full')).length,
      (lines) => lines > 0,
    )
    small.free()
    ahead += 61_000

    const issued = await eventually(
      () => custody.call('GET', `/api/v1/credentials?account=${account}`),
      (reply) => reply.body.items[0]?.status === 'active',
    )
    expect(ids()).toEqual([issued.body.items[0].keyId])
    expect(ids()).not.toContain(lost)
  })
})
