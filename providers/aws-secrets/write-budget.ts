import type { DescribeSecretResponse, SecretsManager } from '@aws-sdk/client-secrets-manager'
import { paginateListSecretVersionIds } from '@aws-sdk/client-secrets-manager'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds, seconds, secondsBetween } from '../../src/domain/time.ts'
import type { Call } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/**
 * Secrets Manager keeps about 100 versions of a secret and never prunes one younger than a day, so it
 * asks for no more than one value in 10 minutes in the long run (User Guide, "Secrets Manager
 * quotas"). A few at once are no harm: first delivery, a retry, an operator who rotates by hand.
 */
const writeEverySeconds = 600
const atOnce = 6
/** Below the quota: what must be written (a rotation because somebody left) still finds room. */
const youngMost = 90
const daySeconds = 86_400

/**
 * When the next value may be written, by the times of the values written before. A bucket of
 * `atOnce` writes that gains one each `writeEverySeconds`, and a cap on what cannot be pruned yet.
 * @returns null = now
 */
export function nextWrite(writtenAt: readonly number[], now: Instant): Instant | null {
  const at = Date.parse(now)
  const young = writtenAt.filter((t) => t > at - daySeconds * 1_000).sort((a, b) => a - b)
  if (young.length >= youngMost) {
    return addSeconds(now, (young[young.length - youngMost]! - at) / 1_000 + daySeconds)
  }
  let tokens: number = atOnce
  let filledAt = young[0] ?? at
  const fill = (t: number): void => {
    tokens = Math.min(atOnce, tokens + (t - filledAt) / (writeEverySeconds * 1_000))
    filledAt = t
  }
  for (const t of young) {
    fill(t)
    tokens -= 1
  }
  fill(at)
  return tokens >= 1
    ? null
    : addSeconds(now, Math.ceil(Math.round((1 - tokens) * writeEverySeconds * 1_000) / 1_000))
}

/** @throws ProviderError `throttled`, with how long to wait, when one more value would be too many now */
export async function keepBudget(
  client: SecretsManager,
  secret: DescribeSecretResponse,
  now: Instant,
  call: Call,
): Promise<void> {
  // Every value changes this date: an old one spares the question when they were written.
  const changed = secret.LastChangedDate?.getTime() ?? 0
  if (Date.parse(now) - changed > writeEverySeconds * 1_000) return
  const written: number[] = []
  const pages = { SecretId: secret.ARN, IncludeDeprecated: true, MaxResults: 100 }
  const within = { abortSignal: call.signal }
  const options = { client, stopOnSameToken: true }
  for await (const page of paginateListSecretVersionIds(options, pages, within)) {
    for (const { CreatedDate } of page.Versions ?? []) {
      if (CreatedDate) written.push(CreatedDate.getTime())
    }
  }
  const next = nextWrite(written, now)
  if (next === null) return
  throw new ProviderError(
    'throttled',
    `${secret.Name} was written too often: AWS keeps each of its ${written.length} values for a day, and 100 at most; the next one is written at ${next}. Rotate it less often.`,
    { outcome: 'notApplied', retryAfter: seconds(Math.max(1, secondsBetween(now, next))) },
  )
}
