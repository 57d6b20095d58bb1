import type { ServiceAccount } from '../domain/account.ts'
import { cacheMarginSeconds, consumersOf } from '../domain/consumer.ts'
import { errors } from '../domain/errors.ts'
import type { Seconds } from '../domain/time.ts'
import { formatDuration, seconds } from '../domain/time.ts'
import type { CredentialWrite } from '../domain/want.ts'
import type { LifecycleTerms } from '../policy/lifecycle.ts'

/**
 * While a consumer reads from its cache it uses the old key, so both have to work for longer than
 * it caches (R25).
 * @param path what the request has to change, if anything
 * @throws invalidValue
 */
export function checkOverlap(
  account: Pick<ServiceAccount, 'attributes'>,
  overlap: Seconds,
  path: 'overlap' | 'consumers.cacheTtl',
): void {
  for (const { name, cacheTtl: cached } of consumersOf(account)) {
    if (cached === null || overlap >= cached + cacheMarginSeconds) continue
    throw errors.invalidValue({
      path,
      reason: `consumer "${name}" caches for ${formatDuration(cached)}, but after a rotation the old key goes on working for ${formatDuration(overlap)} only; it has to be ${formatDuration(seconds(cached + cacheMarginSeconds))} at least.`,
    })
  }
}

/** A store of secrets keeps every version for a day: more than one in ten minutes piles up (R27). */
const rotateEveryLeastSeconds = 600

/**
 * A credential may rotate sooner than policy asks, never so late that a key outgrows its age (R03),
 * nor with an overlap that a consumer's cache outlasts.
 * @throws invalidValue
 */
export function checkRotation(
  terms: LifecycleTerms,
  account: Pick<ServiceAccount, 'attributes'>,
  { rotateEvery, overlap }: Partial<Pick<CredentialWrite, 'rotateEvery' | 'overlap'>>,
): void {
  if (rotateEvery !== undefined && rotateEvery < rotateEveryLeastSeconds) {
    const reason = `must be at least ${formatDuration(seconds(rotateEveryLeastSeconds))}.`
    throw errors.invalidValue({ path: 'rotateEvery', reason })
  }
  const overlapped = overlap ?? terms.rotation.overlap
  checkOverlap(account, overlapped, overlap === undefined ? 'consumers.cacheTtl' : 'overlap')
  const total = (rotateEvery ?? terms.rotation.every) + overlapped + soakOf(terms, overlap)
  if (total <= terms.rotation.maxAge) return
  const reason = `together with ${rotateEvery === undefined ? 'the rotation period' : 'overlap'} and soak it exceeds the longest life of a key, ${formatDuration(terms.rotation.maxAge)}.`
  throw errors.invalidValue({ path: rotateEvery === undefined ? 'overlap' : 'rotateEvery', reason })
}

/** Whoever asks for a short overlap does not want a long soak either. */
export function soakOf({ rotation }: LifecycleTerms, overlap: Seconds | null | undefined): Seconds {
  return seconds(Math.min(rotation.soak, overlap ?? rotation.soak))
}
