import { enableCompileCache } from 'node:module'
import { workerData } from 'node:worker_threads'
import type { SweepOrder } from '../scheduler.ts'

// Bree wraps what a job is started with.
const order = (workerData as { job: { worker: { workerData: SweepOrder } } }).job.worker.workerData
// A thread does not take over where its process keeps compiled code, and compiles as much each run.
if (order.compiledCode !== null) enableCompileCache(order.compiledCode)
const { look } = await import('./look.ts')
await look(order)
