import type { PoolClient } from 'pg'
import type { Scope } from './fence.ts'
import type { SetForms } from './postgres-sets.ts'
import type { Outcome, Row, Run, Statement, Steps } from './sql.ts'

/** A write that waits for its transaction. */
export interface Member {
  readonly steps: () => Steps<unknown>
  /** False when the result says that nothing is to be kept. */
  readonly keep: (result: unknown) => boolean
  /** What no other write may touch meanwhile; of two members with one in common, one waits. */
  readonly locks: readonly string[]
  /** Of what its transaction may see: those of one group have the same. */
  readonly scope: Scope
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * Bounds one transaction: the rows it has changed are locked until its end, and one that fails is
 * run again in halves.
 */
const groupMax = 100
/** While one waits for the disk, another reads and writes; more would make the groups smaller. */
const groupsMax = 2

/**
 * Writes that wait at the same time share a transaction, and what several of them ask next is one
 * statement over lists. One alone runs at once, and as ever.
 *
 * Within a group members take their steps side by side, as transactions at READ COMMITTED do, but
 * see what the others have done before it is certain: it all becomes so at once, or none of it. Those
 * that share a lock never meet in a group, nor in two.
 */
export class WriteGroups {
  readonly #together: (group: readonly Member[]) => Promise<readonly unknown[] | null>
  readonly #alone: (member: Member) => Promise<unknown>
  readonly #held = new Set<string>()
  #queue: Member[] = []
  #running = 0
  #planned = false

  /**
   * @param together runs a group in one transaction; null when nothing of it was kept, because of one
   *   of them
   */
  constructor(
    together: (group: readonly Member[]) => Promise<readonly unknown[] | null>,
    alone: (member: Member) => Promise<unknown>,
  ) {
    this.#together = together
    this.#alone = alone
  }

  add(member: Member): void {
    this.#queue.push(member)
    this.#plan()
  }

  #plan(): void {
    if (this.#planned || this.#running >= groupsMax || this.#queue.length === 0) return
    this.#planned = true
    // Not a microtask: all requests that this turn of the event loop reads shall join.
    setImmediate(() => {
      this.#planned = false
      const group = this.#take()
      if (group.length === 0) return
      this.#running += 1
      void this.#run(group).finally(() => {
        this.#running -= 1
        for (const member of group) for (const lock of member.locks) this.#held.delete(lock)
        this.#plan()
      })
      this.#plan()
    })
  }

  /** In their order, but for those that have to wait for one before them. */
  #take(): readonly Member[] {
    const group: Member[] = []
    const left: Member[] = []
    // Whoever waits keeps those behind it that want the same from going first.
    const awaited = new Set<string>()
    for (const member of this.#queue) {
      const { locks, scope } = member
      if (
        group.length >= groupMax ||
        (group.length > 0 && group[0]!.scope !== scope) ||
        locks.some((lock) => this.#held.has(lock) || awaited.has(lock))
      ) {
        left.push(member)
        for (const lock of locks) awaited.add(lock)
        continue
      }
      for (const lock of locks) this.#held.add(lock)
      group.push(member)
    }
    this.#queue = left
    return group
  }

  async #run(group: readonly Member[]): Promise<void> {
    if (group.length === 1) {
      const [member] = group
      await this.#alone(member!).then(member!.resolve, member!.reject)
      return
    }
    let results: readonly unknown[] | null
    try {
      results = await this.#together(group)
    } catch (error) {
      for (const member of group) member.reject(error)
      return
    }
    if (results !== null) {
      for (const [i, member] of group.entries()) member.resolve(results[i])
      return
    }
    const middle = group.length >> 1
    await this.#run(group.slice(0, middle))
    await this.#run(group.slice(middle))
  }
}

interface Strand {
  readonly steps: Steps<unknown>
  step: IteratorResult<Run, unknown>
}

/**
 * Drives the members to their ends, each as far as its next statement, then all of these together.
 * @throws what any statement throws: the transaction is of no use any more
 */
export async function driveTogether(
  client: PoolClient,
  members: readonly Member[],
  sets: SetForms,
  execute: (client: PoolClient, statement: Statement, args: Row) => Promise<Outcome>,
): Promise<readonly unknown[]> {
  const strands = members.map((member): Strand => {
    const steps = member.steps()
    return { steps, step: advanced(() => steps.next()) }
  })
  for (;;) {
    const waiting = strands.flatMap(({ step }) => (step.done === true ? [] : [step.value]))
    if (waiting.length === 0) break
    const answers = await answerAll(client, waiting, sets, execute)
    for (const strand of strands) {
      if (strand.step.done === true) continue
      const answer = answers.get(strand.step.value)!
      strand.step = advanced(() => strand.steps.next(answer))
    }
  }
  return strands.map(({ step }) => step.value)
}

/** A member's own code threw: the others are well. */
export class MemberFailed extends Error {
  override readonly name = 'MemberFailed'
}

function advanced<T>(step: () => T): T {
  try {
    return step()
  } catch (cause) {
    throw new MemberFailed('one of a group failed', { cause })
  }
}

/** The answers to runs that do not depend on each other. */
export async function answerAll(
  client: PoolClient,
  runs: readonly Run[],
  sets: SetForms,
  execute: (client: PoolClient, statement: Statement, args: Row) => Promise<Outcome>,
): Promise<ReadonlyMap<Run, Outcome>> {
  const outcomes = new Map<Row, Outcome>()
  for (const [statement, list] of byStatement(runs)) {
    for (const part of sets.allows(statement) ? withDifferentIds(list) : list.map((one) => [one])) {
      if (part.length === 1) {
        outcomes.set(part[0]!, await execute(client, statement, part[0]!))
        continue
      }
      const found = await sets.run(client, statement, part)
      for (const [i, args] of part.entries()) outcomes.set(args, found[i]!)
    }
  }
  return new Map(
    runs.map((run): [Run, Outcome] => {
      const own = outcomes.get(run.args)!
      if (run.more === undefined) return [run, own]
      const each = [own, ...run.more.map((args) => outcomes.get(args)!)]
      return [run, { rows: [], changes: 0, each }]
    }),
  )
}

function byStatement(runs: readonly Run[]): ReadonlyMap<Statement, readonly Row[]> {
  const lists = new Map<Statement, Row[]>()
  for (const { statement, args, more = [] } of runs) {
    const list = lists.get(statement)
    if (list === undefined) lists.set(statement, [args, ...more])
    else list.push(args, ...more)
  }
  return lists
}

/** Lists in which no id stands twice: of two updates of the same row PostgreSQL would apply one. */
function withDifferentIds(list: readonly Row[]): readonly (readonly Row[])[] {
  const parts: { readonly ids: Set<unknown>; readonly rows: Row[] }[] = []
  for (const args of list) {
    const id = args['id'] ?? args
    let part = parts.find(({ ids }) => !ids.has(id))
    if (part === undefined) parts.push((part = { ids: new Set(), rows: [] }))
    part.ids.add(id)
    part.rows.push(args)
  }
  return parts.map(({ rows }) => rows)
}
