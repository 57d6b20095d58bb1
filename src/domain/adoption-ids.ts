import { createHash } from 'node:crypto'
import type { AccountId, TenantId } from './ids.ts'

/** Accounts of earlier adoptions of the same thing that may have ended. */
export const livesMax = 5

/**
 * The ids that adopting something may give its account, in the order in which they are used: made of
 * what it is, so that an adoption cut off between the mark and the commit converges when repeated.
 * The next one is used when the account of the one before has ended.
 */
export function adoptionIds(thing: {
  readonly tenant: TenantId
  readonly provider: string
  readonly external: string
}): readonly AccountId[] {
  return Array.from({ length: livesMax }, (_, life) => {
    const text = JSON.stringify([thing.tenant, thing.provider, thing.external, life])
    const h = createHash('sha256').update(text).digest('hex')
    // Version 8 of RFC 9562: made from a hash of our own.
    const variant = ((Number.parseInt(h[16]!, 16) & 3) | 8).toString(16)
    return [
      h.slice(0, 8),
      h.slice(8, 12),
      `8${h.slice(13, 16)}`,
      variant + h.slice(17, 20),
      h.slice(20, 32),
    ].join('-') as AccountId
  })
}
