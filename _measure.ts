import { documentCodec } from './src/scim/codec.ts'
import { openStore } from './src/store/open.ts'
import { makePerson, makeAccount } from './test/support/entities.ts'
import { attribute, bound, compare } from './test/conformance/store-filters.ts'
import { nhi } from './test/support/json-codec.ts'
import { defaultTenant as tenant } from './src/domain/ids.ts'
import pgServer from './test/support/postgres-server.ts'
import { rmSync } from 'node:fs'
const N = Number(process.argv[2] ?? 100_000)
let door = ''
const stop = await pgServer({ provide: (_: string, u: string) => (door = u) } as never)
const url = await (await fetch(door)).text()
rmSync('/tmp/pgpk/m.db', { force: true }); rmSync('/tmp/pgpk/m.db-wal', { force: true }); rmSync('/tmp/pgpk/m.db-shm', { force: true })
const pad = 'x'.repeat(1200)
const exact = { caseExact: true } as const
for (const [label, u] of [['sqlite', 'sqlite:/tmp/pgpk/m.db'], ['postgres', url]] as const) {
  const store = await openStore({ url: u, codec: documentCodec })
  const t0 = performance.now()
  const owners: string[] = []
  for (let i = 0; i < N; i += 100) {
    await store.commit(Array.from({ length: 100 }, (_, k) => {
      const n = i + k
      if (n < N / 10 || owners.length === 0) {
        const person = makePerson({ userName: `User-${n}`, externalId: `ext-${n}`, attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], title: `T${n % 1000}`, nickName: pad } })
        owners.push(person.id)
        return { type: 'person', person, expectedVersion: null } as const
      }
      const account = makeAccount({ userName: `User-${n}`, externalId: `ext-${n}`, owner: { type: 'User', id: owners[n % owners.length]! }, attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], title: `T${n % 1000}`, nickName: pad } })
      return { type: 'account', account, expectedVersion: null } as const
    }))
  }
  console.log(label, 'load s', ((performance.now() - t0) / 1000).toFixed(1), 'rows/s', (N / (performance.now() - t0) * 1000) | 0)
  const q = { tenant, visibility: { people: 'all', accounts: 'all' }, startIndex: 1, count: 100, filter: null } as const
  const time = async (name: string, reps: number, run: (i: number) => Promise<unknown>) => {
    for (let i = 0; i < Math.min(reps, 50); i++) await run(i)
    const ts: number[] = []
    for (let i = 0; i < reps; i++) { const t = performance.now(); await run((i * 7919) % N); ts.push(performance.now() - t) }
    ts.sort((a, b) => a - b)
    console.log(label, name, 'median us', (ts[ts.length >> 1]! * 1000).toFixed(0), 'p99', (ts[(ts.length * 0.99) | 0]! * 1000).toFixed(0))
  }
  if (label === 'postgres') { const pg = await import('pg'); const c = new pg.Client({ connectionString: u }); await c.connect(); await c.query('vacuum analyze'); await c.end() }
  await time('userName eq', 2000, (i) => store.read.listUsers({ ...q, filter: bound(compare('userName', 'eq', `user-${i}`)) }))
  await time('externalId eq', 2000, (i) => store.read.listUsers({ ...q, filter: bound(compare(attribute('externalId', exact), 'eq', `ext-${i}`)) }))
  await time('owner eq', 1000, (i) => store.read.listUsers({ ...q, filter: bound(compare(attribute(`${nhi} owner value`, exact), 'eq', owners[i % owners.length]!)) }))
  await time('get', 2000, (i) => store.read.userDocument(tenant, owners[i % owners.length]!))
  const first = await store.read.listUsers(q)
  await time('first page', 200, () => store.read.listUsers(q))
  const deep = await store.read.listUsers({ ...q, startIndex: N * 0.9 })
  await time('cursor at 0.9N', 200, () => store.read.listUsers({ ...q, after: deep.next }))
  await time('startIndex 0.9N', 20, () => store.read.listUsers({ ...q, startIndex: N * 0.9 }))
  await time('sort userName first page', 5, () => store.read.listUsers({ ...q, sort: { attribute: attribute('userName'), descending: false } }))
  await time('title eq (scan)', 3, () => store.read.listUsers({ ...q, filter: bound(compare('title', 'eq', 't7')) }).catch((e: Error) => console.log(e.message.slice(0, 60))))
  console.log(label, 'total', first.total)
  await store.close()
}
await stop()
process.exit(0)
