import { parentPort, workerData } from 'node:worker_threads'
import type { Row, SqlValue } from './sql.ts'
import { Connection } from './sqlite-connection.ts'

/** What the thread is started with. */
export interface ThreadOrder {
  readonly path: string
  /** Not 0: the query under way is to stop. */
  readonly stop: Int32Array
}

export type ThreadAsk =
  | { readonly type: 'query'; readonly text: string; readonly values: readonly SqlValue[] }
  | { readonly type: 'checkpoint' }

export type ThreadReply =
  /** Said once, before any query. */
  | { readonly type: 'ready' }
  | { readonly type: 'rows'; readonly rows: readonly Row[] }
  | { readonly type: 'stopped' }
  /** `code` is SQLite's where it has one. */
  | { readonly type: 'failed'; readonly code: string; readonly message: string }

const foldsMax = 4

/** What SQLite says of a checkpoint: whether somebody was in its way, and pages of the WAL. */
interface Folded {
  readonly busy: number
  readonly log: number
  readonly checkpointed: number
}

const { path, stop } = workerData as ThreadOrder
const port = parentPort!
const connection = new Connection(path, { readonly: true, stop })
connection.tuneForReading()

/** Of the writer's own kind: a handle for reading cannot write to the file. */
let folder: Connection | null = null

port.on('message', (want: ThreadAsk) => port.postMessage(answer(want)))

port.postMessage({ type: 'ready' } satisfies ThreadReply)

function answer(want: ThreadAsk): ThreadReply {
  try {
    if (want.type === 'checkpoint') {
      folder ??= new Connection(path, { readonly: false })
      foldUp(folder)
      return { type: 'rows', rows: [] }
    }
    return { type: 'rows', rows: connection.execute({}, want.text, want.values).rows }
  } catch (error) {
    if (Atomics.load(stop, 0) !== 0) return { type: 'stopped' }
    const { code, message } = error as Error & { readonly code?: string }
    return { type: 'failed', code: code ?? '', message }
  }
}

/** What a busy writer appends meanwhile is less each time: only a WAL that was folded up whole is begun anew. */
function foldUp({ db }: Connection): void {
  for (let i = 0; i < foldsMax; i++) {
    const [found] = db.pragma('wal_checkpoint(passive)') as Folded[]
    if (found?.busy === 0 && found.log === found.checkpointed) return
  }
}
