import { parentPort, workerData } from 'node:worker_threads'
import type { Row, SqlValue } from './sql.ts'
import { Connection } from './sqlite-connection.ts'

/** What the thread is started with. */
export interface ThreadOrder {
  readonly path: string
  /** Not 0: the query under way is to stop. */
  readonly stop: Int32Array
}

export interface ThreadQuery {
  readonly text: string
  readonly values: readonly SqlValue[]
}

export type ThreadReply =
  /** Said once, before any query. */
  | { readonly type: 'ready' }
  | { readonly type: 'rows'; readonly rows: readonly Row[] }
  | { readonly type: 'stopped' }
  /** `code` is SQLite's where it has one. */
  | { readonly type: 'failed'; readonly code: string; readonly message: string }

const { path, stop } = workerData as ThreadOrder
const port = parentPort!
const connection = new Connection(path, { readonly: true, stop })
connection.tuneForReading()

port.on('message', (query: ThreadQuery) => port.postMessage(answer(query)))

port.postMessage({ type: 'ready' } satisfies ThreadReply)

function answer({ text, values }: ThreadQuery): ThreadReply {
  try {
    return { type: 'rows', rows: connection.execute({}, text, values).rows }
  } catch (error) {
    if (Atomics.load(stop, 0) !== 0) return { type: 'stopped' }
    const { code, message } = error as Error & { readonly code?: string }
    return { type: 'failed', code: code ?? '', message }
  }
}
