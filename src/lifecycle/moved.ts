import type { Consumer, ConsumerReport } from '../domain/consumer.ts'
import { anyone, movedAfter, mustReport } from '../domain/consumer.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'

/**
 * How it is known that a consumer has the new secret. `seen`: it said so. `waived`: a person answers
 * for it. `reread`: it reads again within a time that is over. `keyInUse`: somebody other than us uses
 * the new key. `behind`: nothing says so.
 */
export type MoveState = 'seen' | 'waived' | 'reread' | 'keyInUse' | 'behind'

/** One promotion, and what was seen of it. */
export interface Promotion {
  readonly generation: number
  readonly activatedAt: Instant
  readonly now: Instant
  /** How late the provider tells of a use; nothing where it never does. */
  readonly lag: Seconds
  /** A use of the new key that was not ours. */
  readonly newKeyUsed: boolean
  /** Of this credential only. */
  readonly reports: readonly ConsumerReport[]
}

/** What is known of one declared consumer. */
export function moveOf(consumer: Consumer, promotion: Promotion): MoveState {
  const { activatedAt, now, lag, newKeyUsed } = promotion
  const said = saidOf(consumer.name, promotion) ?? saidOf(anyone, promotion)
  if (said !== null) return said
  const after = movedAfter(consumer)
  if (after !== null && addSeconds(activatedAt, after + lag) <= now) return 'reread'
  return newKeyUsed && after === null && !mustReport(consumer) ? 'keyInUse' : 'behind'
}

/** What is known of whoever uses a credential that declares nobody. */
export function moveOfAnyone(promotion: Promotion): MoveState {
  return saidOf(anyone, promotion) ?? (promotion.newKeyUsed ? 'keyInUse' : 'behind')
}

function saidOf(name: string, { reports, generation }: Promotion): 'seen' | 'waived' | null {
  const said = reports.filter((r) => r.consumer === name && r.generation >= generation)
  if (said.some((r) => r.kind === 'seen')) return 'seen'
  return said.length > 0 ? 'waived' : null
}

/** The names of those who block; `anyone` where nobody is declared. */
export function behindOf(consumers: readonly Consumer[], promotion: Promotion): readonly string[] {
  if (consumers.length === 0) return moveOfAnyone(promotion) === 'behind' ? [anyone] : []
  return consumers.filter((c) => moveOf(c, promotion) === 'behind').map((c) => c.name)
}
