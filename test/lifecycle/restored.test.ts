import { rm } from 'node:fs/promises'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Engine, Lifecycle, Worker } from '../../src/lifecycle/engine.ts'
import {
  createEngine,
  createWorker,
  enterRestored,
  releaseByOperator,
} from '../../src/lifecycle/engine.ts'
import type { Provider } from '../../src/provider/contract.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, days, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
const opened: Store[] = []
beforeEach(async () => {
  test = await startTestEngine()
})
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
  await test.close()
})

/** A backup of the database as it is now, to be brought back later. */
async function backUp(): Promise<string> {
  const copy = path.join(test.home, `backup-${opened.length}.db`)
  await rm(copy, { force: true })
  const db = new Database(path.join(test.home, 'custody.db'), { readonly: true })
  await db.backup(copy)
  db.close()
  return copy
}

/** Custody on that backup, while the providers have moved on. */
async function restore(copy: string): Promise<{ engine: Engine; worker: Worker; store: Store }> {
  const store = await openStore({ url: `sqlite:${copy}`, codec: documentCodec })
  opened.push(store)
  const life: Lifecycle = { ...test.life, store }
  const worker = createWorker(life, { name: 'restored', concurrency: 8, log: () => undefined })
  return { engine: createEngine(life), worker, store }
}

/** Its calls to make a key never leave the process. */
const unable = (provider: Provider): Provider =>
  new Proxy(provider, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target)
      if (name === 'issue') return () => Promise.reject(new Error('killed before the call'))
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })

const pass = async (worker: Worker, seconds: number) => {
  await worker.drain()
  for (let left = seconds; left > 0; left -= 5) {
    test.clock.advance(5)
    await worker.drain()
  }
}

describe('R61 a database that was restored from an old copy', () => {
  it.each([
    ['an access key', wants.accessKey],
    ['a deploy key', wants.deployKey],
  ])('is noticed before it mints: %s bears what the journal does not know', async (_, want) => {
    const account = await test.request(await test.person(), { credentials: [want()] })
    const [credential] = await test.credentials(account.id)
    const copy = await backUp()
    await test.pass(minutes(10), 60)
    await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(minutes(2), 5)
    const before = await test.liveAtProviders(account.id)

    const old = await restore(copy)
    const again = await old.engine.rotateCredential(test.admin, credential!.id)
    await pass(old.worker, minutes(3))

    expect(await old.store.read.brakes()).toMatchObject([
      { name: 'restored', facts: { reason: 'unknownOperation' } },
    ])
    expect(await test.liveAtProviders(account.id)).toEqual(before)
    expect((await old.store.read.operation(test.admin.tenant, again.id))?.failure).toMatchObject({
      code: 'braked',
    })
  })

  it('takes the operator’s word once, and goes on', async () => {
    const account = await test.request(await test.person(), { credentials: [wants.accessKey()] })
    const [credential] = await test.credentials(account.id)
    const copy = await backUp()
    await test.pass(minutes(10), 60)
    await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(minutes(2), 5)
    const old = await restore(copy)
    const again = await old.engine.rotateCredential(test.admin, credential!.id)
    await pass(old.worker, minutes(1))

    test.clock.advance(60)
    const wish = { name: 'restored', subject: '', reason: 'compared with AWS' }
    await releaseByOperator(old.engine.life, test.admin, wish)
    await pass(old.worker, minutes(2))

    expect(await old.store.read.brakes()).toEqual([])
    // The key it does not know is still there: what happens to it is a person's to say (R44).
    expect((await old.store.read.operation(test.admin.tenant, again.id))?.failure?.code).toBe(
      'foreignKey',
    )
  })

  it('mints, rotates, expires and deletes nothing, and sweeps no orphans', async () => {
    const owner = await test.person()
    const account = await test.request(owner)
    const [credential] = await test.credentials(account.id)
    await enterRestored(test.life, { reason: 'audit anchor behind' })

    const wanted = await test.request(owner, { drain: false, credentials: [wants.token()] })
    test.clock.advance(days(120))
    for (const sweep of ['orphans', 'expiry', 'rotation'] as const) {
      await test.engine.runSweep(test.admin, sweep)
    }
    await test.pass(minutes(2), 10)

    expect((await test.account(account.id)).status).toBe('active')
    expect((await test.credential(credential!.id)).generation).toBe(1)
    expect(await test.liveAtProviders(wanted.id)).toEqual([])

    const wish = { name: 'restored', subject: '', reason: 'compared' }
    await releaseByOperator(test.life, test.admin, wish)
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(minutes(2), 10)
    expect((await test.account(account.id)).status).toBe('expired')
  })

  it('goes on with no key that was prepared and not yet known to the provider', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { drain: false, credentials: [wants.deployKey()] })
    const unheard = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers].map(([name, provider]) => [name, unable(provider)])),
    }))
    await unheard.drain()
    await enterRestored(test.life, { reason: 'audit anchor behind' })

    await test.pass(minutes(3), 10)

    expect(await test.liveAtProviders(account.id)).toEqual([])
  })

  it('takes leaver events, confirmed disables and revocations as ever', async () => {
    const leaver = await test.person()
    const left = await test.request(leaver, { credentials: [wants.accessKey()] })
    const other = await test.request(await test.person())
    const [credential] = await test.credentials(other.id)
    await enterRestored(test.life, { reason: 'audit anchor behind' })

    await test.leave(leaver)
    await test.engine.revokeCredential(test.admin, credential!.id)
    await test.pass(minutes(1), 5)

    expect((await test.account(left.id)).status).toBe('disabled')
    expect(await test.liveAtProviders(left.id)).toEqual([])
    expect((await test.credential(credential!.id)).status).toBe('revoked')
  })
})
