import type { AuditRow } from '../../src/domain/audit.ts'
import type { Installation } from './installation.ts'
import { Violation } from './violation.ts'

const pageRows = 200

/** What must hold of what Custody writes down, judged by what a witness saw being done. */
export class Records {
  readonly #installation: Installation

  constructor(installation: Installation) {
    this.#installation = installation
  }

  nobodyWroteStale(): void {
    const { staleWrite } = this.#installation.witness
    if (staleWrite !== null) throw new Violation(`stale write: ${staleWrite}`)
  }

  /** A secret belongs into the sink alone: not into any row ever written, nor into any log. */
  async noSecretIsSpilled(): Promise<void> {
    const { witness, log } = this.#installation
    const spilled = witness.spill(log)
    if (spilled !== null) throw new Violation(`a secret was written down: ${spilled}`)
  }

  /** At rest: what was done at a provider is in the audit, and once. */
  async effectsAreAudited(): Promise<void> {
    const rows = await this.#auditByKey()
    const once = new Set<string>()
    for (const { what, keyId } of this.#installation.witness.effects) {
      if (once.has(`${what} ${keyId}`)) continue
      once.add(`${what} ${keyId}`)
      const of = rows.get(keyId) ?? []
      const count = (...actions: readonly string[]): number =>
        of.filter((row) => actions.includes(row.action)).length
      const strays = count('key.strayRemoved', 'key.strayDisabled')
      const [mints, deletions] = [count('key.issued'), count('key.deleted', 'key.strayRemoved')]
      // A mint whose answer was lost is known only from its removal, and a deletion whose answer was
      // lost, until it is repeated after the hold, only from the proof that the key is gone.
      const isWrong =
        what === 'mint'
          ? mints > 1 || (mints === 0 && strays === 0)
          : deletions > 1 || (deletions === 0 && count('key.absent', 'key.refused') === 0)
      if (isWrong) {
        const actions = of.map((row) => `${row.at} ${row.action}`).join(', ')
        throw new Violation(`the ${what} of ${keyId} is in the audit as: ${actions || 'nothing'}`)
      }
    }
  }

  async #auditByKey(): Promise<ReadonlyMap<string, readonly AuditRow[]>> {
    const { store, admin } = this.#installation
    const byKey = new Map<string, AuditRow[]>()
    let after: string | null = null
    for (;;) {
      const rows: readonly AuditRow[] = await store.read.audit(admin.tenant, {
        after,
        limit: pageRows,
      })
      for (const row of rows) {
        const keyId = row.facts['keyId']
        if (typeof keyId !== 'string') continue
        // Of a deploy key the provider's own number stands behind the repository.
        const own = keyId.slice(keyId.lastIndexOf('#') + 1)
        const list = byKey.get(own) ?? []
        byKey.set(own, [...list, row])
      }
      if (rows.length < pageRows) return byKey
      after = rows.at(-1)!.id
    }
  }
}
