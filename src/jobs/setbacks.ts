import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import type { Applied, Proposal } from '../lifecycle/engine.ts'

const backoff = { firstSeconds: 60, mostSeconds: 3_600 }
/** So many are remembered; what is forgotten is found again by the next full look. */
const rememberedMax = 10_000

interface Setback {
  readonly proposal: Proposal
  readonly failures: number
  readonly notBefore: Instant
}

/**
 * What failed in a sweep, and when to try it again. An item that fails each time would otherwise be
 * tried each minute for ever; one that is no longer among the recent changes would be forgotten.
 */
export class Setbacks {
  readonly #known = new Map<string, Setback>()

  get size(): number {
    return this.#known.size
  }

  /** Those of a batch that need not wait. */
  ready(batch: readonly Proposal[], now: Instant): readonly Proposal[] {
    return batch.filter((proposal) => {
      const known = this.#known.get(keyOf(proposal))
      return known === undefined || known.notBefore <= now
    })
  }

  /** Those whose wait is over. */
  due(now: Instant): readonly Proposal[] {
    return [...this.#known.values()]
      .filter(({ notBefore }) => notBefore <= now)
      .map(({ proposal }) => proposal)
  }

  note(applied: readonly Applied[], now: Instant): void {
    for (const { proposal, error } of applied) {
      const key = keyOf(proposal)
      const failures = (this.#known.get(key)?.failures ?? 0) + 1
      // Deleted first: the one that failed last goes to the end of the line.
      this.#known.delete(key)
      if (error === null) continue
      const seconds = Math.min(backoff.mostSeconds, backoff.firstSeconds * 2 ** (failures - 1))
      this.#known.set(key, { proposal, failures, notBefore: addSeconds(now, seconds) })
      if (this.#known.size > rememberedMax) this.#known.delete(this.#known.keys().next().value!)
    }
  }
}

function keyOf({ act, tenant, id }: Proposal): string {
  return `${act} ${tenant} ${id}`
}
