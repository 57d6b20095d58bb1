import type { IssuedKey } from '../domain/credential.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, earlier, later } from '../domain/time.ts'
import type { Lifecycle } from './context.ts'

/** IAM tells last uses in steps of 15 minutes, and no provider known is coarser. */
const grainSeconds = 900

/**
 * Up to when a use of a key may have been our own: what was tried before consumers had it, and the
 * last time we tried it since.
 */
export async function oursUntil(
  { store }: Pick<Lifecycle, 'store'>,
  key: Pick<IssuedKey, 'tenant' | 'credential' | 'generation' | 'activatedAt' | 'issuedAt'>,
): Promise<Instant> {
  const probe = await store.read.keyProbe(key.tenant, key.credential, key.generation)
  const known = key.activatedAt ?? key.issuedAt
  return probe === null ? known : later(known, addSeconds(probe.at, grainSeconds))
}

/**
 * Notes on the credential that a provider saw its key in use. Without an audit row: it is a look, not
 * an act. Silent about a row that somebody writes at this moment: the next look tells it again.
 */
export async function noteUse(
  { store, clock }: Pick<Lifecycle, 'store' | 'clock'>,
  key: Pick<IssuedKey, 'tenant' | 'credential' | 'generation' | 'activatedAt' | 'issuedAt'>,
  usedAt: Instant,
): Promise<void> {
  if (key.activatedAt === null || usedAt <= key.activatedAt) return
  const credential = await store.read.credential(key.tenant, key.credential)
  const at = earlier(usedAt, clock.now())
  if (!credential || (credential.lastUsedAt !== null && at <= credential.lastUsedAt)) return
  if (usedAt <= (await oursUntil({ store }, key))) return
  await store.commit([
    {
      type: 'credential',
      credential: { ...credential, lastUsedAt: at },
      expectedVersion: credential.version,
    },
  ])
}

/** Noted before a key that consumers have is tried: what the provider tells then may be this. */
export async function noteProbe(
  { store, clock }: Pick<Lifecycle, 'store' | 'clock'>,
  { tenant, credential, generation, activatedAt }: IssuedKey,
): Promise<void> {
  if (activatedAt === null) return
  const probe = { tenant, credential, generation, at: clock.now() }
  await store.commit([{ type: 'keyProbe', probe }])
}
