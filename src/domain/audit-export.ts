import { type AuditEntry, type AuditRow, leafHash } from './audit.ts'
import {
  type Checkpoint,
  openCheckpoint,
  parseVerifierKey,
  type VerifierKey,
} from './checkpoint.ts'
import { canonicalJson, isJsonObject, type Json, type JsonObject } from './json.ts'
import { emptyFrontier, grow, type Hash, rootOf } from './merkle.ts'

/**
 * An export of the audit log as lines of canonical JSON: a header, entries in their order, and
 * signed checkpoints behind the entries they cover, the last of which covers all. Only this scheme
 * is read: a file that claims an older one has to be refused, not believed.
 */
export const exportScheme = 'custody-audit/1'

export function headerLine(origin: string, verifierKey: string): string {
  return canonicalJson({ export: exportScheme, key: verifierKey, origin })
}

export function entryLine({ seq, leaf, row }: AuditEntry): string {
  return canonicalJson({ leaf, row: row as unknown as JsonObject, seq })
}

export function checkpointLine(note: string): string {
  return canonicalJson({ checkpoint: note })
}

export type Verdict =
  | { readonly ok: true; readonly checkpoint: Checkpoint; readonly checkpoints: number }
  | {
      readonly ok: false
      /** Where the first wrong entry is, from `index` to `last`; null when it is no entry. */
      readonly index: number | null
      readonly last: number | null
      /** 1-based. */
      readonly line: number
      readonly reason: string
    }

export interface ExportVerifier {
  /** One line without its end. After the first wrong one the rest is passed over. */
  line(text: string): void
  end(): Verdict
}

/** A size and a root known from elsewhere: an anchor, or a checkpoint that somebody kept. */
export interface KnownTree {
  readonly size: number
  readonly root: Hash
}

/**
 * Recomputes every leaf, every place and every root, line by line, in constant memory.
 * @param key pinned by whoever verifies; the one in the file proves nothing
 */
export function verifyExport(key: VerifierKey, known: readonly KnownTree[] = []): ExportVerifier {
  let tree = emptyFrontier
  let lines = 0
  let covered: Checkpoint | null = null
  let checkpoints = 0
  let tenant: Json | undefined
  let failure: (Verdict & { readonly ok: false }) | null = null

  const fail = (reason: string, index: number | null, last = index): void => {
    failure ??= { ok: false, index, last, line: lines, reason }
  }
  /** Every leaf was as its line says, so the roots alone tell: since the last one that agreed. */
  const failSince = (reason: string): void => {
    const from = covered?.size ?? 0
    if (tree.size > from) fail(reason, from, tree.size - 1)
    else fail(reason, null)
  }

  const entry = ({ leaf, row, seq }: JsonObject): void => {
    const place = tree.size
    if (seq !== place) return fail(`it says place ${JSON.stringify(seq)}`, place)
    const made = leafHash(row as unknown as AuditRow)
    if (leaf !== made) return fail('its leaf is not the hash of its row', place)
    const owner = isJsonObject(row) ? row['tenant'] : undefined
    tenant ??= owner
    if (owner !== tenant) return fail('it belongs to another tenant', place)
    tree = grow(tree, [made]).frontier
    if (known.some(({ size, root }) => size === tree.size && root !== rootOf(tree))) {
      failSince(`the first ${tree.size} entries are not those that were anchored`)
    }
  }

  const checkpoint = (note: Json | undefined): void => {
    const opened = typeof note === 'string' ? openCheckpoint(note, key) : 'it is no text'
    if (typeof opened === 'string') return fail(`a checkpoint: ${opened}`, null)
    if (opened.size > tree.size) {
      const reason = `${opened.size - tree.size} entries are missing: ${opened.size} were signed`
      return fail(reason, covered?.size ?? 0, opened.size - 1)
    }
    if (opened.size < tree.size)
      return fail('a checkpoint stands behind entries it says nothing about', opened.size)
    if (opened.root !== rootOf(tree)) return failSince('the entries do not lead to the signed root')
    covered = opened
    checkpoints++
  }

  return {
    line(text) {
      if (failure) return
      lines++
      const value = parsed(text)
      if (value === null) return fail('a line is not canonical JSON', lines > 1 ? tree.size : null)
      const members = Object.keys(value).join()
      if (lines === 1) {
        if (members !== 'export,key,origin' || value['export'] !== exportScheme) {
          fail(`the file is no export of the scheme ${exportScheme}`, null)
        } else if (!names(value, key)) {
          fail(`the export is not of the log ${key.name}, which the key is for`, null)
        }
      } else if (members === 'leaf,row,seq') entry(value)
      else if (members === 'checkpoint') checkpoint(value['checkpoint'])
      else fail('a line is neither an entry nor a checkpoint', tree.size)
    },
    end() {
      if (!failure) {
        const beyond = known.find(({ size }) => size > tree.size)
        if (lines === 0) fail('the file is empty', null)
        else if (beyond) {
          fail(`entries are missing: ${beyond.size} were anchored`, tree.size, beyond.size - 1)
        } else if (covered?.size !== tree.size || !covered) {
          fail('no checkpoint covers the last entries', covered?.size ?? 0, tree.size - 1)
        }
      }
      return failure ?? { ok: true, checkpoint: covered!, checkpoints }
    },
  }
}

/** An object in exactly the bytes that it would be written in; anything else is null. */
function parsed(text: string): JsonObject | null {
  try {
    const value = JSON.parse(text) as Json
    return isJsonObject(value) && canonicalJson(value) === text ? value : null
  } catch {
    return null
  }
}

function names(header: JsonObject, { name, id }: VerifierKey): boolean {
  const { origin, key } = header
  const own = typeof key === 'string' ? parseVerifierKey(key) : null
  return origin === name && own?.name === name && own.id === id
}
