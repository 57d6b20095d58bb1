import { hostname } from 'node:os'
import { isRunning } from '../../src/host/lock.ts'
import { createEngine, createWorker } from '../../src/lifecycle/engine.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'
import type { ClaimOrder } from './claims.ts'
import { aheadBy, claimer, lifeOver, workerName } from './claims.ts'

/** One of several processes over one database: sweeps what is due, and works on it until it is killed. */
const order = JSON.parse(process.env['CUSTODY_CLAIM']!) as ClaimOrder
const clock = aheadBy(() => order.aheadMs)
const store = await openStore({ url: order.storeUrl, codec: documentCodec })
const life = await lifeOver(store, clock, order)
const engine = createEngine(life)
const worker = createWorker(life, {
  name: workerName(1),
  concurrency: 16,
  pollSeconds: 1,
  log: ({ error }) => {
    if (error !== null) console.error(error)
  },
})

for (const holder of await store.read.leaseHolders()) {
  const [host, pid] = holder.split('/')
  if (host === hostname() && !isRunning(Number(pid))) {
    await store.releaseLeases(holder, clock.now())
  }
}
worker.start()
await engine.runSweep(claimer, 'rotation')
