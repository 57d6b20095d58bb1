import type { AuditRow } from '../domain/audit.ts'
import type { Credential } from '../domain/credential.ts'
import type { Instant } from '../domain/time.ts'
import type { Lifecycle } from './context.ts'

/** What the audit log says of one key's two trials. */
export interface KeyEvidence {
  /** When its secret was used and accepted, last before consumers got it; null where it was only listed. */
  readonly acceptedAt: Instant | null
  /** How often in a row it was refused when it was proven dead; null when it was not tried. */
  readonly tries: number | null
}

const pageSize = 200
const nothing: KeyEvidence = { acceptedAt: null, tries: null }

/**
 * The evidence of a credential's keys, by key id. It walks the rows of the credential alone: told the
 * action as well, the database might rather walk that action's rows of everybody.
 */
export async function evidenceOf(
  { store }: Pick<Lifecycle, 'store'>,
  { tenant, id: target }: Credential,
): Promise<(keyId: string) => KeyEvidence> {
  const found = new Map<string, KeyEvidence>()
  for (let after: string | null = null; ;) {
    const rows: readonly AuditRow[] = await store.read.audit(tenant, {
      target,
      after,
      limit: pageSize,
    })
    for (const row of rows) {
      const { keyId } = row.facts
      if (typeof keyId !== 'string') continue
      found.set(keyId, { ...(found.get(keyId) ?? nothing), ...toldBy(row) })
    }
    const last = rows.at(-1)
    if (!last || rows.length < pageSize) return (keyId) => found.get(keyId) ?? nothing
    after = last.id
  }
}

function toldBy({ action, at, facts }: AuditRow): Partial<KeyEvidence> {
  if (action === 'key.activated' && facts['proof'] === 'used') return { acceptedAt: at }
  const { tries } = facts
  return action === 'key.refused' && typeof tries === 'number' ? { tries } : {}
}
