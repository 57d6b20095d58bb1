import type { AuditRow } from '../domain/audit.ts'
import type { Refusal, Steps } from './sql.ts'
import type { Change, CommitResult } from './store.ts'

type Advance = Extract<Change, { type: 'advance' }>
/** Which one of several was refused, and why. */
type Refused = readonly [number, Refusal]

/** What one or several changes of a commit do. */
export interface Work {
  /** Where they stand in the commit. */
  readonly places: readonly number[]
  readonly steps: () => Steps<Refused | null>
}

/** The rooms of the store, as far as a commit is made of them. */
export interface WorkRooms {
  work(change: Change): () => Steps<Refusal | null>
  advanceAll(changes: readonly Advance[]): () => Steps<Refused | null>
  appendAll(rows: readonly AuditRow[]): () => Steps<Refused | null>
}

/**
 * The changes of a commit in their order, but for two sorts that become one statement each: nothing
 * reads what an audit row says, so these come last; and advances of different operations that follow
 * each other do not see each other.
 */
export function worksOf(changes: readonly Change[], rooms: WorkRooms): readonly Work[] {
  const works: Work[] = []
  const rows: AuditRow[] = []
  const rowPlaces: number[] = []
  let advances = new Map<string, readonly [Advance, number]>()
  const endAdvances = (): void => {
    const all = [...advances.values()]
    advances = new Map()
    if (all.length === 0) return
    const steps = rooms.advanceAll(all.map(([change]) => change))
    works.push({ places: all.map(([, place]) => place), steps })
  }
  for (const [place, change] of changes.entries()) {
    if (change.type === 'audit') {
      rows.push(change.row)
      rowPlaces.push(place)
    } else if (change.type === 'advance' && !advances.has(change.id)) {
      advances.set(change.id, [change, place])
    } else {
      endAdvances()
      works.push(alone(rooms.work(change), place))
    }
  }
  endAdvances()
  if (rows.length > 0) works.push({ places: rowPlaces, steps: rooms.appendAll(rows) })
  return works
}

function alone(steps: () => Steps<Refusal | null>, place: number): Work {
  return {
    places: [place],
    steps: function* one() {
      const refusal = yield* steps()
      return refusal === null ? null : [0, refusal]
    },
  }
}

/** Until one is refused. */
export function* inOrder(works: readonly Work[]): Steps<CommitResult> {
  for (const { places, steps } of works) {
    const refused = yield* steps()
    if (refused === null) continue
    const [i, refusal] = refused
    return { change: places[i]!, ...refusal }
  }
  return 'saved'
}

/** All that such a change reads is what its lock, version or fence guards. */
export function isGuarded({ type }: Change): boolean {
  return guarded.includes(type)
}
const guarded: readonly Change['type'][] = [
  'person',
  'account',
  'credential',
  'key',
  'principal',
  'enqueue',
  'advance',
  'audit',
]
