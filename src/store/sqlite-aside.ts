import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { errors } from '../domain/errors.ts'
import type { Row, SqlValue } from './sql.ts'
import { scanDeadlineMs, tooSlow } from './sql.ts'
import type { ThreadAsk, ThreadOrder, ThreadReply } from './sqlite-thread.ts'

/** Each may take the whole deadline: whoever would wait longer than a client does is sent away. */
const waitingMax = 16

/**
 * A reader in a thread of its own, one query after the other, each under a deadline: at 1 M rows a
 * filter that no index serves holds whoever runs it for 1.3–4.8 s.
 */
export class SqliteAside {
  readonly #path: string
  readonly #deadlineMs: number
  readonly #stop = new Int32Array(new SharedArrayBuffer(4))
  #worker: Worker | null = null
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #closed = false

  constructor(path: string, deadlineMs = scanDeadlineMs) {
    this.#path = path
    this.#deadlineMs = deadlineMs
  }

  /** @throws tooMany after the deadline, notReady when too many wait already */
  async query(text: string, values: readonly SqlValue[]): Promise<readonly Row[]> {
    if (this.#waiting >= waitingMax) {
      throw errors.notReady({ reason: 'too many searches are under way' })
    }
    this.#waiting += 1
    try {
      return await this.#next(() => this.#run({ type: 'query', text, values }))
    } finally {
      this.#waiting -= 1
    }
  }

  /**
   * Folds what the WAL holds into the file, which takes 5–20 ms and two fsyncs; neither readers nor
   * the writer wait for it. One that fails is made up for by the next, or by the writer itself.
   */
  async checkpoint(): Promise<void> {
    await this.#next(() => this.#run({ type: 'checkpoint' })).catch(() => undefined)
  }

  async close(): Promise<void> {
    this.#closed = true
    Atomics.store(this.#stop, 0, 1)
    await this.#last
    await this.#worker?.terminate()
    this.#worker = null
  }

  #next(run: () => Promise<readonly Row[]>): Promise<readonly Row[]> {
    const mine = this.#last.then(run)
    this.#last = mine.catch(() => undefined)
    return mine
  }

  async #run(want: ThreadAsk): Promise<readonly Row[]> {
    if (this.#closed) throw new Error('the store is closed')
    // The thread's start, a tenth of a second, is not the query's fault.
    const worker = this.#worker ?? (await this.#start())
    if (!this.#closed) Atomics.store(this.#stop, 0, 0)
    const timer = setTimeout(() => Atomics.store(this.#stop, 0, 1), this.#deadlineMs)
    worker.ref()
    try {
      const reply = await this.#reply(worker, () => worker.postMessage(want))
      switch (reply.type) {
        case 'rows':
          return reply.rows
        case 'stopped':
          throw tooSlow(new Error(`stopped after ${this.#deadlineMs} ms`))
        case 'failed':
          throw Object.assign(new Error(reply.message), { code: reply.code })
        default:
          throw new Error(`the reading thread said "${reply.type}" to a query`)
      }
    } finally {
      clearTimeout(timer)
      worker.unref()
    }
  }

  async #start(): Promise<Worker> {
    const entry = new URL(`./sqlite-thread${path.extname(import.meta.url)}`, import.meta.url)
    const order: ThreadOrder = { path: this.#path, stop: this.#stop }
    const worker = new Worker(entry, { workerData: order })
    // Between queries nobody listens; a thread that ends then is replaced by the next.
    const forget = (): void => {
      if (this.#worker === worker) this.#worker = null
    }
    worker.on('error', forget)
    worker.on('exit', forget)
    this.#worker = worker
    await this.#reply(worker, () => undefined)
    return worker
  }

  #reply(worker: Worker, ask: () => void): Promise<ThreadReply> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        worker.off('message', onMessage)
        worker.off('error', onEnd)
        worker.off('exit', onEnd)
      }
      const onMessage = (reply: ThreadReply): void => {
        done()
        resolve(reply)
      }
      const onEnd = (cause: unknown): void => {
        done()
        reject(new Error('the reading thread ended', { cause }))
      }
      worker.on('message', onMessage)
      worker.on('error', onEnd)
      worker.on('exit', onEnd)
      ask()
    })
  }
}
