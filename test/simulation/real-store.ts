import { Client } from 'pg'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Reads, Store } from '../../src/store/store.ts'
import type { BlankStore } from './blank-store.ts'
import { awaited } from './in-flight.ts'

/** A row goes without its references being looked at, so any order will do. */
const tables = `select string_agg(format('delete from %I', relname), '; ') as text from pg_class
  where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'migration'`

/**
 * One database of this process on a running PostgreSQL, emptied between lives. Each call of the
 * store counts as one step of the simulation, however long the socket takes.
 */
export async function openRealStore(server: string): Promise<BlankStore> {
  const name = `simulation_${process.pid}`
  const url = new URL(server)
  url.pathname = `/${name}`
  const maker = new Client({ connectionString: server })
  await maker.connect()
  await maker.query(`create database ${name}`)
  await maker.end()
  const store = await openStore({ url: url.href, codec: documentCodec, connections: 1 })
  const cleaner = new Client({ connectionString: url.href })
  await cleaner.connect()
  await cleaner.query('set session_replication_role = replica')
  const clearing = (await cleaner.query<{ text: string }>(tables)).rows[0]!.text
  return {
    store: stepwise(store),
    async giveBack() {
      await cleaner.query(clearing)
    },
    async close() {
      await cleaner.end()
      await store.close()
    },
  }
}

function stepwise(store: Store): Store {
  const wrap = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (typeof value !== 'function') return value
        return (...args: readonly unknown[]): unknown => {
          const answer: unknown = Reflect.apply(value, object, args)
          return answer instanceof Promise ? awaited(answer) : answer
        }
      },
    })
  const read: Reads = wrap(store.read)
  return new Proxy(wrap(store), {
    get: (object, property, receiver) =>
      property === 'read' ? read : (Reflect.get(object, property, receiver) as unknown),
  })
}
