import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody, userUrn } from '../support/custody.ts'
import type { SmallDisk } from '../support/small-disk.ts'
import { mountSmallDisk } from '../support/small-disk.ts'

const disk = mountSmallDisk(6 * 2 ** 20)
if (typeof disk === 'string') console.log(`skipped: ${disk}`)

describe.skipIf(typeof disk === 'string')('when the disk of the database is full', () => {
  const small = disk as SmallDisk
  let custody: TestCustody
  let owner: string
  let credential: string

  beforeAll(async () => {
    const storeUrl = `sqlite:${path.join(small.directory, 'custody.db')}`
    custody = await startTestCustody({ sandboxes: true, storeUrl })
    owner = await custody.createPerson('owner')
    const entry = {
      provider: 'aws-prod',
      kind: 'access-key',
      scopes: ['s3:GetObject on arn:aws:s3:::x/*'],
    }
    const account = await custody.requestAccount('deployer', owner, {
      credentials: [{ ...entry, deliverTo: 'aws-secrets:deployer' }],
    })
    const listed = await eventually(
      () => custody.call('GET', `/api/v1/credentials?account=${account.body.id}`),
      (reply) => reply.body.items[0]?.status === 'active',
    )
    credential = listed.body.items[0].id
    small.fill()
  })
  afterAll(async () => {
    await custody.close()
    small.unmount()
  })

  const hire = (userName: string) =>
    custody.call('POST', '/scim/v2/Users', { schemas: [userUrn], userName })
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
})
