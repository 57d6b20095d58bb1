import { once } from 'node:events'
import { parentPort } from 'node:worker_threads'
// Not by the door of its floor: that brings the whole engine, 0.3 s of processor time a run.
import { findDue } from '../../lifecycle/due.ts'
import { documentCodec } from '../../scim/codec.ts'
import { openStore } from '../../store/open.ts'
import type { SweepMessage, SweepOrder, SweepReply } from '../scheduler.ts'

/** What the thread of a sweep does: looks for what is due, and hands it over batch by batch. */
export async function look(order: SweepOrder): Promise<void> {
  const port = parentPort!
  const ask = async (message: SweepMessage): Promise<SweepReply> => {
    const reply = once(port, 'message')
    port.postMessage(message)
    return ((await reply) as [SweepReply])[0]
  }

  const store = await openStore({ url: order.storeUrl, codec: documentCodec, readonly: true })
  try {
    const slot = await ask({ type: 'take' })
    if (slot.type === 'slot' && slot.order !== null) {
      const { now, scope } = slot.order
      let found = 0
      for await (const batch of findDue(store.read, order.sweep, now, scope)) {
        found += batch.length
        // One batch in flight: a sweep never fills the main thread's queue.
        await ask({ type: 'batch', batch })
      }
      await ask({ type: 'finished', found })
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : 'unknown'
    port.postMessage({ type: 'failed', message } satisfies SweepMessage)
  } finally {
    await store.close()
    port.postMessage('done')
  }
}
