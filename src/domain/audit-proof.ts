import type { AuditRow } from './audit.ts'
import { leafHash } from './audit.ts'
import { openCheckpoint, type Checkpoint, type VerifierKey } from './checkpoint.ts'
import { isJsonObject, type Json } from './json.ts'
import { type Hash, hashPattern, rootFromInclusion } from './merkle.ts'

/** One entry with its path to a signed root: what the console hands out as evidence of one act. */
export const proofScheme = 'custody-proof/1'

export type ProofVerdict =
  | {
      readonly ok: true
      /** Counted from 0. */
      readonly place: number
      readonly row: AuditRow
      readonly checkpoint: Checkpoint
    }
  | { readonly ok: false; readonly reason: string }

/** Whether a JSON value says of itself that it is such a proof. */
export function isProof(value: Json): boolean {
  return isJsonObject(value) && value['proof'] === proofScheme
}

/**
 * Recomputes leaf and root of one entry and checks the signature on the root.
 * @param key pinned by whoever verifies; the one in the file proves nothing
 * @param known trees known from elsewhere, which a signed one of the same size must equal
 */
export function verifyProof(
  value: Json,
  key: VerifierKey,
  known: readonly { readonly size: number; readonly root: Hash }[] = [],
): ProofVerdict {
  const no = (reason: string): ProofVerdict => ({ ok: false, reason })
  if (!isJsonObject(value) || !isProof(value)) return no(`it is no proof of ${proofScheme}`)
  const { id, seq, leaf, path, checkpoint: note, row } = value
  if (typeof note !== 'string' || typeof seq !== 'number' || !isJsonObject(row)) {
    return no('a part of it is missing')
  }
  if (!Array.isArray(path) || !path.every(isHash)) return no('its path holds no hashes')
  const made = leafHash(row as unknown as AuditRow)
  if (leaf !== made || id !== row['id']) return no('its leaf is not the hash of its row')
  const checkpoint = openCheckpoint(note, key)
  if (typeof checkpoint === 'string') return no(`the checkpoint: ${checkpoint}`)
  const { size, root } = checkpoint
  if (rootFromInclusion(made, seq, size, path) !== root) {
    return no('the entry does not lead to the signed root')
  }
  if (known.some((tree) => tree.size === size && tree.root !== root)) {
    return no(`the first ${size} entries are not those that were anchored`)
  }
  return { ok: true, place: seq, row: row as unknown as AuditRow, checkpoint }
}

function isHash(value: Json): value is Hash {
  return typeof value === 'string' && hashPattern.test(value)
}
