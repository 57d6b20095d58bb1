import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { postgres } from '../../providers/postgres/index.ts'
import type { Credential } from '../../src/domain/credential.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine } from '../support/engine.ts'

describe('credentials of a real PostgreSQL', () => {
  let test: TestEngine
  let admin: Client
  let place: { readonly host: string; readonly port: number; readonly database: string }
  const prefix = `e${process.pid}_`

  beforeAll(async () => {
    const url = new URL(await (await fetch(inject('postgres'))).text())
    place = { host: url.hostname, port: Number(url.port), database: 'postgres' }
    const config = { ...place, user: 'custody', password: 'custody', prefix }
    admin = new Client(config)
    await admin.connect()
    const entry = { name: 'orders-db', type: 'postgres', config }
    test = await startTestEngine({ more: [{ entry, module: postgres }], start: systemClock.now() })
  })
  afterAll(async () => {
    await test.close()
    await admin.end()
  })

  async function one() {
    const owner = await test.person()
    const path = `orders/${owner}`
    const account = await test.request(owner, {
      credentials: [
        {
          provider: 'orders-db',
          kind: 'password',
          scopes: [],
          deliverTo: { sink: 'files', path },
        },
      ],
    })
    const [credential] = await test.credentials(account.id)
    return { owner, account, credential: credential! }
  }

  /** A consumer as it comes up: reads its file, signs in. */
  async function consumer(credential: Credential): Promise<Client> {
    const secret = await test.served(credential)
    const { username: user, password } = JSON.parse(secret!) as Record<string, string>
    const client = new Client({ ...place, user, password: password! })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  const answers = async (client: Client): Promise<unknown> =>
    (await client.query('select session_user as name')).rows[0]
  const logins = async (credential: Credential) => {
    const { rows } = await admin.query<{ name: string; on: boolean }>(
      `select rolname as name, rolcanlogin as on from pg_roles where rolname ~ $1 order by 1`,
      [`^${prefix}${credential.id.replaceAll('-', '')}_g`],
    )
    return rows
  }

  it('are rotated without a moment in which nobody can sign in', async () => {
    const { credential } = await one()
    const before = await consumer(credential)

    await test.engine.rotateCredential(test.admin, credential.id)
    await test.pass(1)
    const rotated = await test.credential(credential.id)
    const after = await consumer(rotated)
    const both = [await answers(before), await answers(after)]
    await test.pass(days(8), hours(12))
    const waiting = (await test.operations(credential.id)).find((o) => o.kind === 'rotate')
    const stillOpen = await answers(before)
    await before.end()
    await test.pass(days(16), hours(12))

    expect(both).toEqual([{ name: credential.keyId }, { name: rotated.keyId }])
    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'oldKeyInUse' } })
    expect(stillOpen).toEqual({ name: credential.keyId })
    expect(await logins(credential)).toEqual([{ name: rotated.keyId, on: true }])
    expect(await answers(after)).toEqual({ name: rotated.keyId })
    await after.end()
  })

  it('are dead when the owner left: sessions ended, the password tried and refused', async () => {
    const { owner, account, credential } = await one()
    const session = await consumer(credential)
    const ended = new Promise((resolve) => session.once('end', resolve))

    await test.leave(owner)
    await test.pass(5)
    await ended

    expect((await test.keys(credential.id)).map((k) => k.outcome)).toEqual(['refused'])
    expect((await test.account(account.id)).status).toBe('disabled')
    await expect(consumer(credential)).rejects.toThrow('not permitted to log in')
    expect(await logins(credential)).toEqual([{ name: credential.keyId, on: false }])

    test.clock.advance(days(91))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(5)
    expect(await logins(credential)).toEqual([])
  })
})
