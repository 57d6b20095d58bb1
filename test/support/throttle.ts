import { secondsBetween } from '../../src/domain/time.ts'
import type { TestEngine } from './engine.ts'

/**
 * Lets the AWS sandbox refuse what is more than a token bucket allows, as IAM does by the account.
 * @returns how many calls were refused so far
 */
export function throttle(
  { aws, clock }: Pick<TestEngine, 'aws' | 'clock'>,
  limit: { readonly burst: number; readonly perSecond: number },
): () => number {
  let tokens = limit.burst
  let filledAt = clock.now()
  let refused = 0
  aws.faults.take = () => {
    const now = clock.now()
    tokens = Math.min(limit.burst, tokens + secondsBetween(filledAt, now) * limit.perSecond)
    filledAt = now
    if (tokens >= 1) {
      tokens -= 1
      return null
    }
    refused += 1
    return { kind: 'throttle', retryAfterSeconds: 1 }
  }
  return () => refused
}
