import type { IssuedKey } from '../domain/credential.ts'
import type { Instant } from '../domain/time.ts'
import { earlier } from '../domain/time.ts'
import type { Lifecycle } from './context.ts'

/**
 * Notes on the credential that a provider saw its key in use. Without an audit row: it is a look, not
 * an act. Silent about a row that somebody writes at this moment: the next look tells it again.
 */
export async function noteUse(
  { store, clock }: Pick<Lifecycle, 'store' | 'clock'>,
  key: Pick<IssuedKey, 'tenant' | 'credential' | 'activatedAt'>,
  usedAt: Instant,
): Promise<void> {
  // What was tried before consumers had it were our own probes.
  if (key.activatedAt === null || usedAt <= key.activatedAt) return
  const credential = await store.read.credential(key.tenant, key.credential)
  const at = earlier(usedAt, clock.now())
  if (!credential || (credential.lastUsedAt !== null && at <= credential.lastUsedAt)) return
  await store.commit([
    {
      type: 'credential',
      credential: { ...credential, lastUsedAt: at },
      expectedVersion: credential.version,
    },
  ])
}
