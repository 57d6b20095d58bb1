import { errors } from '../domain/errors.ts'
import type { Clock } from '../domain/time.ts'

export interface RateLimit {
  readonly perSecond: number
  readonly burst: number
}

export const standardRate: RateLimit = { perSecond: 50, burst: 200 }

/**
 * A token bucket per client, in this process's memory: one directory in a loop must not take the
 * service from the others. `null` counts nothing.
 * @returns a function that takes one from the client's bucket. @throws tooManyRequests
 */
export function createRateLimit(limit: RateLimit | null, clock: Clock): (client: string) => void {
  if (limit === null) return () => undefined
  const buckets = new Map<string, { level: number; at: number }>()
  return (client) => {
    const now = clock.monotonic()
    const bucket = buckets.get(client) ?? { level: limit.burst, at: now }
    buckets.set(client, bucket)
    bucket.level = Math.min(
      limit.burst,
      bucket.level + ((now - bucket.at) / 1_000) * limit.perSecond,
    )
    bucket.at = now
    if (bucket.level < 1) {
      const seconds = Math.max(1, Math.ceil((1 - bucket.level) / limit.perSecond))
      throw errors.tooManyRequests({ seconds })
    }
    bucket.level -= 1
  }
}
