import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { AppError } from '../../src/domain/errors.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { BadNetwork } from '../support/bad-network.ts'
import { badNetwork } from '../support/bad-network.ts'
import { makePerson } from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let network: BadNetwork
let store: Store
let administrator: Client
const role = `custody_days_${process.pid}`
const name = (): string => new URL(database.url).pathname.slice(1)
beforeAll(async () => {
  database = await createDatabase()
  administrator = new Client({ connectionString: database.superuserUrl })
  await administrator.connect()
  // Of its own: other files' sessions are none of its business.
  await administrator.query(`create role ${role} login password 'days'`)
  await administrator.query(`alter database ${name()} owner to ${role}`)
  const own = new URL(database.url)
  own.username = role
  own.password = 'days'
  network = await badNetwork(own.href)
  store = await openStore({ url: network.url, codec, connections: 3 })
})
afterAll(async () => {
  await store.close()
  await network.close()
  await administrator.query(`alter database ${name()} owner to current_user`)
  await administrator.query(`drop owned by ${role} cascade`)
  await administrator.query(`drop role ${role}`)
  await administrator.end()
  await database.drop()
})
afterEach(() => {
  network.fate = () => 'forward'
  network.silent = false
})

const reasonOf = async (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => 'nothing is wrong',
    (error: unknown) => {
      if (error instanceof AppError) return String(error.facts['reason'] ?? error.message)
      throw error
    },
  )

const put = (userName: string) => {
  const person = makePerson({ userName })
  return { person, write: store.commit([{ type: 'person', person, expectedVersion: null }]) }
}
const isThere = async ({ tenant, id }: { tenant: string; id: string }): Promise<boolean> => {
  const { rowCount } = await administrator.query(
    'select 1 from resource where tenant = $1 and id = $2',
    [tenant, id],
  )
  return rowCount === 1
}

describe('a database that takes its time', () => {
  it('is called unknown where the server cannot be asked, and what was kept is kept', async () => {
    let isOver = false
    network.fate = (said) => {
      if (isOver) return 'cut before'
      if (!/(^|\0|[^a-z])commit\0/.test(said)) return 'forward'
      isOver = true
      return 'cut after'
    }
    const { person, write } = put('never-heard')
    expect(await reasonOf(write)).toMatch(/may have been kept/)
    expect(await isThere(person)).toBe(true)
  }, 20_000)

  it('held up by a lock of somebody else gives up in time and says why', async () => {
    await administrator.query('begin; lock table resource in access exclusive mode')
    const began = performance.now()
    expect(await reasonOf(put('locked out').write)).toBe(
      'the database is held up by a lock of somebody else',
    )
    expect(performance.now() - began).toBeLessThan(9_000)
    await administrator.query('rollback')
    expect(await put('let in').write).toBe('saved')
  }, 15_000)

  it('that a network swallows is given up in time, and asked again on new connections', async () => {
    network.silent = true
    const began = performance.now()
    expect(await reasonOf(put('silence').write)).toMatch(/does not answer|cannot be reached/)
    expect(performance.now() - began).toBeLessThan(25_000)
    expect(await store.unwritable()).not.toBeNull()
    network.silent = false
    await expect.poll(() => store.unwritable(), { timeout: 20_000 }).toBeNull()
    expect(await put('heard again').write).toBe('saved')
  }, 60_000)
})
