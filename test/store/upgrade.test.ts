import path from 'node:path'
import Database from 'better-sqlite3'
import { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSigner } from '../../src/domain/checkpoint.ts'
import { openStatuses } from '../../src/domain/operation.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { Engine, Worker } from '../../src/lifecycle/engine.ts'
import { createEngine, createSequencer, createWorker } from '../../src/lifecycle/engine.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, minutes, startTestEngine, unbraked, wants } from '../support/engine.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

/** What the version before the audit tree, brakes, findings and the new sweeps had. */
const older = migrations.slice(0, 6)

type Row = Record<string, string | number | null>

/** The tables and rows of a database as the older version would have written them. */
function asOlder(source: string, shape: string): ReadonlyMap<string, readonly Row[]> {
  const db = new Database(source, { readonly: true })
  db.prepare('attach ? as old').run(shape)
  const names = db
    .prepare(`select name from old.sqlite_master where type = 'table' and name not like 'sqlite_%'`)
    .pluck()
    .all() as string[]
  const tables = new Map<string, readonly Row[]>()
  for (const name of names.filter((n) => n !== 'migration')) {
    const columns = db.prepare(`select name from pragma_table_info(?, 'old')`).pluck().all(name)
    const rows = db.prepare(`select ${columns.join(', ')} from main.${name}`).all() as Row[]
    tables.set(name, rows.filter((row) => row['type'] !== 'activePerson').map(unheardOf))
  }
  db.close()
  return tables
}

/** Without the facts that came later. */
function unheardOf(row: Row): Row {
  const without = (text: Row[string] | undefined, ...keys: readonly string[]) =>
    text == null
      ? null
      : JSON.stringify(JSON.parse(String(text)), (key, value: unknown) =>
          keys.includes(key) ? undefined : value,
        )
  if ('memo' in row) return { ...row, memo: without(row['memo'], 'maxAgeSeconds', 'since') }
  return row['type'] === 'person' && 'facts' in row
    ? { ...row, facts: without(row['facts'], 'releasedAt') }
    : { ...row }
}

async function makeSqlite(file: string, rows: ReadonlyMap<string, readonly Row[]>): Promise<void> {
  await (
    await openStore({ url: `sqlite:${file}`, codec: documentCodec, migrations: older })
  ).close()
  const db = new Database(file)
  db.pragma('foreign_keys = off')
  const put = (table: string, row: Row) => {
    const names = Object.keys(row)
    db.prepare(
      `insert into ${table} (${names.join(', ')}) values (${names.map(() => '?').join(', ')})`,
    ).run(...Object.values(row))
  }
  for (const [table, all] of rows) for (const row of all) if (table !== 'counter') put(table, row)
  // Triggers have counted by now, into shards of their own.
  db.prepare('delete from counter').run()
  for (const row of rows.get('counter')!) put('counter', row)
  db.close()
}

async function makePostgres(database: TestDatabase, rows: ReadonlyMap<string, readonly Row[]>) {
  await (await openStore({ url: database.url, codec: documentCodec, migrations: older })).close()
  const client = new Client({ connectionString: database.superuserUrl })
  await client.connect()
  await client.query('set session_replication_role = replica')
  for (const [table, all] of rows) {
    for (const row of all) {
      const names = Object.keys(row)
      const places = names.map((_, i) => `$${i + 1}`)
      const text = `insert into ${table} (${names.join(', ')}) values (${places.join(', ')})`
      await client.query(text, Object.values(row))
    }
  }
  await client.end()
}

describe.each(['SQLite', 'PostgreSQL'])('a database of the previous version on %s', (kind) => {
  let test: TestEngine
  const ends: (() => Promise<unknown>)[] = []
  beforeEach(async () => {
    test = await startTestEngine()
  })
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end()
    await test.close()
  })

  const upgraded = async (): Promise<{ store: Store; engine: Engine; worker: Worker }> => {
    const shape = path.join(test.home, 'shape.db')
    await makeSqlite(shape, new Map([['counter', []]]))
    const rows = asOlder(path.join(test.home, 'custody.db'), shape)
    let url = `sqlite:${path.join(test.home, 'older.db')}`
    if (kind === 'SQLite') await makeSqlite(url.slice('sqlite:'.length), rows)
    else {
      const database = await createDatabase()
      ends.push(() => database.drop())
      url = database.url
      await makePostgres(database, rows)
    }
    const store = await openStore({ url, codec: documentCodec })
    ends.push(() => store.close())
    const life = { ...test.life, store }
    const worker = createWorker(life, { name: 'newer', concurrency: 8, log: () => undefined })
    return { store, engine: createEngine(life), worker }
  }
  const passOn = async (worker: Worker, seconds: number, step: number) => {
    await worker.drain()
    for (let left = seconds; left > 0; left -= step) {
      test.clock.advance(step)
      await worker.drain()
    }
  }

  it('keeps what it promised, and finishes what was under way', async () => {
    const people = [await test.person(), await test.person(), await test.person()] as const
    const credentials = () => [wants.accessKey(), wants.deployKey()]
    const [rotating, offered, closing] = [
      await test.request(people[0], { credentials: credentials() }),
      await test.request(people[1], {
        credentials: credentials(),
        backupOwners: [{ type: 'User', id: people[0] }],
      }),
      await test.request(people[2], { credentials: credentials() }),
    ]
    for (const { id } of await test.credentials(rotating.id)) {
      await test.engine.rotateCredential(test.admin, id)
    }
    await test.pass(minutes(5), 30)
    await test.leave(people[1])
    await test.pass(1)
    await test.leave(people[2])
    const minting = await test.request(people[0], {
      drain: false,
      credentials: [wants.accessKey()],
    })
    test.aws.faults.arm('CreateAccessKey', { kind: 'lostResponse' })
    await test.worker.drain()
    const open = (
      await Promise.all(
        [rotating, offered, closing, minting].map(({ id }) =>
          test.store.read.openOperations(test.admin.tenant, id),
        ),
      )
    ).flat()
    expect(new Set(open.map((o) => o.kind)).size).toBeGreaterThan(1)

    const { store, engine, worker } = await upgraded()
    const { tenant } = test.admin
    const account = async (id: string) => (await store.read.account(tenant, id))!
    expect(await account(offered.id)).toEqual(await test.account(offered.id))
    expect(await store.read.person(tenant, people[1])).toEqual(
      await test.store.read.person(tenant, people[1]),
    )
    const now = test.clock.now()
    const who = { person: people[0], hourAgo: now, dayAgo: now }
    expect((await store.read.leaveCounts(tenant, 'default', who)).active).toBe(1)

    await passOn(worker, minutes(10), 10)
    await passOn(worker, days(20), hours(12))

    expect((await account(minting.id)).status).toBe('active')
    expect((await account(closing.id)).status).toBe('disabled')
    expect(await test.liveAtProviders(closing.id)).toEqual([])
    expect(await test.liveAtProviders(rotating.id)).toHaveLength(2)
    expect(await test.liveAtProviders(minting.id)).toHaveLength(1)
    for (const { id } of open) {
      const operation = (await store.read.operation(tenant, id))!
      expect(openStatuses, `${operation.kind}: ${operation.failure?.message}`).not.toContain(
        operation.status,
      )
    }

    await engine.runSweep(test.admin, 'orphans')
    await passOn(worker, minutes(2), 10)
    expect((await account(offered.id)).status).toBe('disabled')
    expect(await test.liveAtProviders(offered.id)).toEqual([])

    const sequencer = createSequencer(
      { store, clock: test.clock },
      { signer: createSigner(Secret.of(Buffer.alloc(32, 7))), anchor: null, log: () => undefined },
    )
    await sequencer.round()
    const [head] = await store.read.auditHeads()
    const last = await store.read.auditFrom(tenant, head!.frontier.size - 1, 2)
    expect(last).toHaveLength(1)
    expect(await store.read.auditPending(null)).toBeNull()
    expect(head!.signedSize).toBe(head!.frontier.size)
  })

  it('holds a mass leaving from the first one on', async () => {
    const people: string[] = []
    for (let i = 0; i < 8; i++) people.push(await test.person())
    const policy = test.life.policy()
    expect(policy.brake).toEqual(unbraked)
    const brake = { least: 5, hourly: 0.01, daily: 0.03 }
    Object.assign(test.life, { policy: () => ({ ...policy, brake }) })
    const { engine, store } = await upgraded()

    for (const id of people) {
      await engine.deletePerson(test.admin, await engine.person(test.admin, id))
    }

    const rows = await Promise.all(people.map((id) => store.read.person(test.admin.tenant, id)))
    expect(rows.filter((p) => p!.heldBy !== null)).toHaveLength(3)
  })
})
