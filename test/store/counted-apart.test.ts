import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { Client } from 'pg'
import { expect, it } from 'vitest'
import { defaultTenant } from '../../src/domain/ids.ts'
import { documentCodec as codec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import { makeAccount, makeCredential, makePerson } from '../support/entities.ts'
import { createDatabase } from '../support/postgres.ts'

it('PostgreSQL: writers of different accounts never wait for each other in a circle', async () => {
  const database = await createDatabase()
  const store = await openStore({ url: database.url, codec })
  const [a, b] = [makeAccount(), makeAccount()]
  const [c, d] = [makeCredential({ account: a.id }), makeCredential({ account: b.id })]
  for (const account of [a, b]) {
    await store.commit([{ type: 'account', account, expectedVersion: null }])
  }
  for (const credential of [c, d]) {
    await store.commit([{ type: 'credential', credential, expectedVersion: null }])
  }
  await store.close()
  // Of so many, two share what the session's number once chose, and choose now first.
  const all: Client[] = []
  const byShard = new Map<number, Client>()
  let pair: readonly [Client, Client] | null = null
  while (pair === null) {
    const client = new Client({ connectionString: database.url })
    await client.connect()
    all.push(client)
    const shard = (client as unknown as { processID: number }).processID % 32
    const other = byShard.get(shard)
    if (other) pair = [other, client]
    byShard.set(shard, client)
  }
  const [one, two] = pair
  const off = (table: string, id: string) =>
    `update ${table} set status = 'disabled' where id = '${id}'`
  await one.query(`begin; ${off('credential', c.id)}`)
  await two.query(`begin; ${off('resource', b.id)}`)
  const ended = await Promise.allSettled([
    one.query(`${off('resource', a.id)}; commit`),
    two.query(`${off('credential', d.id)}; commit`),
  ])
  const counts = await all[0]!.query<{ type: string; part: string; n: string }>(
    `select type, directory as part, sum(total) as n from counter
      where type in ('accountStatus', 'credentialStatus') group by 1, 2 having sum(total) <> 0 order by 1`,
  )
  for (const client of all) await client.end()
  await database.drop()
  expect(ended.flatMap((e) => (e.status === 'rejected' ? [String(e.reason)] : []))).toEqual([])
  expect(counts.rows.map(({ type, n }) => [type, Number(n)])).toEqual([
    ['accountStatus', 2],
    ['credentialStatus', 2],
  ])
})

it('SQLite: names beyond ASCII that an older version wrote are found after the upgrade', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'custody-names-'))
  const file = path.join(folder, 'custody.db')
  const url = `sqlite:${file}`
  const before = await openStore({ url, codec })
  const schemas = ['urn:ietf:params:scim:schemas:core:2.0:User']
  for (const displayName of ['Émile Durand', 'Åsa Öberg', 'Ada Plain']) {
    const person = makePerson({ attributes: { schemas, displayName } })
    await before.commit([{ type: 'person', person, expectedVersion: null }])
  }
  await before.close()
  const db = new Database(file)
  // As migration 25 left them.
  db.exec(`update resource set display_norm = lower(json_extract(doc, '$.displayName'))
    where type = 'person'; delete from migration where number = 26`)
  db.close()
  const store = await openStore({ url, codec })
  const found: unknown[] = []
  for (const prefix of ['Émile', 'åsa', 'ada']) {
    const want = { tenant: defaultTenant, prefix, after: null, limit: 9 }
    for (const person of await store.read.peopleWhere(want)) {
      found.push(person.attributes['displayName'])
    }
  }
  await store.close()
  await rm(folder, { recursive: true })
  expect(found).toEqual(['Émile Durand', 'Åsa Öberg', 'Ada Plain'])
})
