import type { ServiceAccount } from '../domain/account.ts'
import { errors } from '../domain/errors.ts'
import type { Seconds } from '../domain/time.ts'
import { formatDuration, parseDuration, seconds } from '../domain/time.ts'

const nhiUrn = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** On top of what a consumer says it caches: a refresh takes its time, and clocks differ. */
const marginSeconds = 300

interface Consumer {
  readonly name: string
  readonly cacheTtl?: string
}

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
  const nhi = account.attributes[nhiUrn] as { readonly consumers?: readonly Consumer[] } | undefined
  for (const { name, cacheTtl } of nhi?.consumers ?? []) {
    const cached = cacheTtl === undefined ? null : parseDuration(cacheTtl)
    if (cached === null || overlap >= cached + marginSeconds) continue
    throw errors.invalidValue({
      path,
      reason: `consumer "${name}" caches for ${formatDuration(cached)}, but after a rotation the old key goes on working for ${formatDuration(overlap)} only; it has to be ${formatDuration(seconds(cached + marginSeconds))} at least.`,
    })
  }
}
