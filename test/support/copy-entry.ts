import { instantOf } from '../../src/domain/time.ts'
import { copyStore } from '../../src/store/copy.ts'

/** Copies one database into another, says so at the second page, and waits to be killed there. */
const [from, to] = process.argv.slice(2)
let pages = 0
await copyStore({
  from: from!,
  to: to!,
  now: instantOf(Date.now() + 120_000),
  onProgress() {
    if (++pages !== 2) return
    process.send!('copying')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  },
})
