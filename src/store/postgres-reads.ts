import { Gap, type Row, type Statement } from './sql.ts'

/** Answers of one statement for several rows of arguments, in their order. */
type AskMany = (statement: Statement, list: readonly Row[]) => Promise<readonly (readonly Row[])[]>

interface Waiter {
  readonly resolve: (rows: readonly Row[]) => void
  readonly reject: (error: unknown) => void
}

/** One read that several wait for, since they ask the same. */
interface Asked {
  readonly args: Row
  readonly waiters: Waiter[]
}

/** Bounds how much one answer holds: a document has some 2 KB. */
const listMax = 50

/**
 * Reads of single rows that are asked while others are being asked: they become one statement over
 * lists, and the same question is put once. What is asked is sent after it was asked, never answered
 * from what was sent before: a revocation counts from its commit on, in whatever process it was made.
 *
 * One that meets no other is sent at once.
 */
export class SharedReads {
  readonly #ask: AskMany
  readonly #waiting = new Map<Statement, Map<string, Asked>>()
  readonly #running = new Map<Statement, number>()
  readonly #lanes: number

  /** @param lanes how many lists of one statement may be on their way at the same time */
  constructor(ask: AskMany, lanes: number) {
    this.#ask = ask
    this.#lanes = lanes
  }

  read(statement: Statement, args: Row): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      const key = keyOf(statement, args)
      let waiting = this.#waiting.get(statement)
      if (waiting === undefined) this.#waiting.set(statement, (waiting = new Map<string, Asked>()))
      const asked = waiting.get(key)
      if (asked === undefined) waiting.set(key, { args, waiters: [{ resolve, reject }] })
      else asked.waiters.push({ resolve, reject })
      if (waiting.size === 1 && asked === undefined) {
        // All requests that this turn of the event loop reads shall join.
        setImmediate(() => this.#send(statement))
      }
    })
  }

  #send(statement: Statement): void {
    const running = this.#running.get(statement) ?? 0
    const waiting = this.#waiting.get(statement)
    if (waiting === undefined || running >= this.#lanes) return
    this.#waiting.delete(statement)
    const all = [...waiting.values()]
    const list = all.slice(0, listMax)
    if (all.length > listMax) {
      const left = [...waiting].slice(listMax)
      this.#waiting.set(statement, new Map(left))
    }
    this.#running.set(statement, running + 1)
    void this.#answer(statement, list).finally(() => {
      this.#running.set(statement, this.#running.get(statement)! - 1)
      this.#send(statement)
    })
    if (all.length > listMax) this.#send(statement)
  }

  async #answer(statement: Statement, list: readonly Asked[]): Promise<void> {
    try {
      const answers = await this.#ask(
        statement,
        list.map(({ args }) => args),
      )
      for (const [i, { waiters }] of list.entries()) {
        for (const { resolve } of waiters) resolve(answers[i]!)
      }
    } catch (error) {
      // Which one of them was to blame shows when each is asked alone.
      if (list.length > 1) {
        await Promise.all(list.map((one) => this.#answer(statement, [one])))
        return
      }
      for (const { reject } of list[0]!.waiters) reject(error)
    }
  }
}

const keyed = new WeakMap<Statement, readonly string[]>()

function keyOf(statement: Statement, args: Row): string {
  let names = keyed.get(statement)
  if (names === undefined) {
    const gaps = statement.parameters.flatMap((p) => (p instanceof Gap ? [p.name] : []))
    keyed.set(statement, (names = [...new Set(gaps)]))
  }
  return names.map((name) => JSON.stringify(args[name])).join()
}

const single = new WeakMap<Statement, boolean>()

/** Whether it looks up a row by its id, so that many of it are no more work than each of them. */
export function isLookup(statement: Statement): boolean {
  let is = single.get(statement)
  if (is === undefined) {
    const { text, parameters } = statement
    const byId = parameters.some((p) => p instanceof Gap && p.name === 'id')
    is = byId && text.startsWith('select ') && !/ (limit|order by|union) /.test(text)
    single.set(statement, is)
  }
  return is
}
