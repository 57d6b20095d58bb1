import { createHash } from 'node:crypto'
import type { SinkTarget } from '../../src/provider/contract.ts'

/** A secret as a listing shows it: never its value. Times have whole seconds. */
export interface ListedSecret {
  readonly name: string
  readonly created_at: string
  readonly updated_at: string
  /** Of an organisation's secrets. */
  readonly visibility?: string
}

/** What lies at one target, as far as names and times tell. */
export interface Seen {
  /** The secret that consumers read; null when there is none. */
  readonly secret: ListedSecret | null
  /** Our marks beside it, of this credential. */
  readonly marks: readonly Mark[]
  /** Another credential's marks are there. */
  readonly isMarkedByOther: boolean
}

interface Mark {
  readonly name: string
  readonly version: string
  /** An intent: this version is about to be written. */
  readonly isNext: boolean
  readonly updatedAt: string
}

/** Whose value it is that consumers read: a version's, nobody's, or not ours. */
export type Holder = { readonly version: string } | 'nothing' | 'foreign'

/** A write of ours follows its intent within a claim; later, it was somebody else's. */
const intentSeconds = 120

/** Half a UUID tells credentials of one name apart; the name of a mark has to stay short. */
const credentialOf = (target: SinkTarget): string =>
  target.credential.replaceAll('-', '').slice(-12).toUpperCase()

/** A version's public half, from the key of the delivery that made it. */
export const versionOf = (key: string): string =>
  createHash('sha256').update(key).digest('hex').slice(0, 12).toUpperCase()

/**
 * Secrets have neither tags nor descriptions, and no value can be read back: whose a secret is, and
 * which version, stands in the name of a second one beside it.
 */
export function markName(
  secret: string,
  target: SinkTarget,
  version: string,
  step: '' | '_NEXT' = '',
): string {
  return `${secret}__CUSTODY_${credentialOf(target)}_${version}${step}`
}

export function readSeen(name: string, target: SinkTarget, all: readonly ListedSecret[]): Seen {
  const own = credentialOf(target)
  const prefix = `${name}__CUSTODY_`
  const marks: Mark[] = []
  let isMarkedByOther = false
  for (const secret of all) {
    if (!secret.name.startsWith(prefix)) continue
    const m = /^([0-9A-F]{12})_([0-9A-F]{12})(_NEXT)?$/.exec(secret.name.slice(prefix.length))
    if (!m) continue
    if (m[1] !== own) isMarkedByOther = true
    else {
      const isNext = m[3] !== undefined
      marks.push({ name: secret.name, version: m[2]!, isNext, updatedAt: secret.updated_at })
    }
  }
  return { secret: all.find((s) => s.name === name) ?? null, marks, isMarkedByOther }
}

/**
 * A mark is written after the secret, so a secret that is younger than its mark was written by
 * somebody else; in the second of the mark itself that cannot be told.
 */
export function holderOf({ secret, marks }: Seen): Holder {
  if (!secret) return 'nothing'
  const written = Date.parse(secret.updated_at)
  const age = (mark: Mark): number => (written - Date.parse(mark.updatedAt)) / 1_000
  const current = marks
    .filter((mark) => !mark.isNext && age(mark) <= 0)
    // Two, when the old mark is not taken away yet: the new one still has its intent beside it.
    .toSorted((a, b) => Number(hasIntent(marks, b)) - Number(hasIntent(marks, a)))[0]
  if (current) return { version: current.version }
  const intended = marks.find((mark) => mark.isNext && age(mark) >= 0 && age(mark) <= intentSeconds)
  return intended ? { version: intended.version } : 'foreign'
}

function hasIntent(marks: readonly Mark[], { version }: Mark): boolean {
  return marks.some((mark) => mark.isNext && mark.version === version)
}
