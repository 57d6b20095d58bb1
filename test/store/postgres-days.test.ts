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

/** The n-th COMMIT from now on, whichever connection it comes by. */
function atCommit(fate: 'cut before' | 'cut after'): () => boolean {
  let isOver = false
  network.fate = (said) => {
    if (isOver || !/(^|\0|[^a-z])commit\0/.test(said)) return 'forward'
    isOver = true
    return fate
  }
  return () => isOver
}

describe('a commit whose answer is lost', () => {
  it.each(['cut before', 'cut after'] as const)(
    'is answered as it came out: %s the server heard of it',
    async (fate) => {
      for (let i = 0; i < 5; i++) {
        const wasCut = atCommit(fate)
        const { person, write } = put(`unheard-${fate}-${i}`)
        // One that was not kept is made again, since its row was not there.
        expect(await write).toBe('saved')
        expect(await isThere(person)).toBe(true)
        expect(wasCut()).toBe(true)
      }
    },
  )

  it('is answered truly for each of many that shared it', async () => {
    for (const fate of ['cut before', 'cut after'] as const) {
      const wasCut = atCommit(fate)
      const all = Array.from({ length: 12 }, (_, i) => put(`together-${fate}-${i}`))
      for (const { person, write } of all) {
        expect(await write).toBe('saved')
        expect(await isThere(person)).toBe(true)
      }
      expect(wasCut()).toBe(true)
    }
  })
})

describe('a database in trouble', () => {
  it('that is read-only says so, and is written again afterwards', async () => {
    await administrator.query(`alter database ${name()} set default_transaction_read_only = on`)
    network.cut()
    expect(await reasonOf(put('read-only').write)).toBe('the database is read-only')
    expect(await store.unwritable()).toBe('the database is read-only')
    await administrator.query(`alter database ${name()} reset default_transaction_read_only`)
    network.cut()
    await expect.poll(() => store.unwritable()).toBeNull()
    expect(await put('writable again').write).toBe('saved')
  })

  it('that has no connection left says so', async () => {
    await administrator.query(`alter role ${role} connection limit 0`)
    network.cut()
    await expect
      .poll(() => store.unwritable())
      .toMatch(/no connection left|refuses the user|cannot be reached/)
    await administrator.query(`alter role ${role} connection limit -1`)
    await expect.poll(() => store.unwritable()).toBeNull()
  })

  it('whose administrator ends sessions in the middle of everything loses nothing', async () => {
    const writes = Array.from({ length: 60 }, (_, i) => put(`terminated-${i}`))
    const ended = (async () => {
      for (let i = 0; i < 6; i++) {
        await administrator.query(
          'select pg_terminate_backend(pid) from pg_stat_activity where usename = $1',
          [role],
        )
      }
    })()
    const answers = await Promise.all(
      writes.map(async ({ person, write }) => ({
        person,
        answer: await write.catch((error: unknown) => error),
      })),
    )
    await ended
    const lies = []
    for (const { person, answer } of answers) {
      const kept = await isThere(person)
      const reason = answer instanceof AppError ? String(answer.facts['reason']) : null
      const isTrue =
        answer === 'saved'
          ? kept
          : reason !== null && (!kept || reason.includes('may have been kept'))
      if (!isTrue) lies.push({ kept, answer })
    }
    expect(lies).toEqual([])
    await expect.poll(() => store.unwritable()).toBeNull()
    expect(await put('afterwards').write).toBe('saved')
  })

  it('whose connections break in the middle of a read or a write comes back by itself', async () => {
    const writes = Array.from({ length: 20 }, (_, i) => put(`broken-${i}`))
    network.cut()
    await Promise.allSettled(writes.map(({ write }) => write))
    const lies = []
    for (const { person, write } of writes) {
      const answer = await write.catch(() => null)
      if (answer === 'saved' && !(await isThere(person))) lies.push(person.userName)
    }
    expect(lies).toEqual([])
    expect(await put('whole again').write).toBe('saved')
    expect(network.open).toBeLessThanOrEqual(4)
  })
})
