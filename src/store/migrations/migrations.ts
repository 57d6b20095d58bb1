import { createHash } from 'node:crypto'
import { errors } from '../../domain/errors.ts'
import type { Dialect } from '../dialect.ts'
import { initial } from './0001-initial.ts'
import { groups } from './0002-groups.ts'
import { counters } from './0003-counters.ts'
import { ledger } from './0004-ledger.ts'
import { sightings } from './0005-sightings.ts'
import { urgent } from './0006-urgent.ts'
import { auditTree } from './0007-audit-tree.ts'
import { brakes } from './0008-brakes.ts'
import { findings } from './0009-findings.ts'
import { sweeps } from './0010-sweeps.ts'
import { sealed } from './0011-sealed.ts'
import { imported } from './0012-imported.ts'
import { tasks } from './0013-tasks.ts'
import { entitlements } from './0014-entitlements.ts'
import { consumers } from './0015-consumers.ts'
import { replicas } from './0021-replicas.ts'
import { tenantFence } from './0022-tenant-fence.ts'
import { vitalSigns } from './0023-vitals.ts'
import { readable } from './0024-readable.ts'
import { consoleReads } from './0025-console.ts'
import { countedApart } from './0026-counted-apart.ts'
import { shadow } from './0016-shadow.ts'
import { signals } from './0017-signals.ts'
import { directoryChecks } from './0018-directory-checks.ts'
import { failedRequests } from './0019-failed-requests.ts'
import { directoryMoves } from './0020-directory-moves.ts'

/** One numbered step of the schema; once released it is never edited, its checksum is stored. */
export interface Migration {
  readonly number: number
  readonly name: string
  /**
   * A version that knows all migrations up to this number, and not this one, may still read the
   * database: nothing it asks for has changed. Absent: only versions that know this one may.
   */
  readonly readableFrom?: number
  readonly statements: (
    dialect: Pick<Dialect, 'name' | 'text' | 'real' | 'tableSuffix' | 'statistics'>,
  ) => readonly string[]
}

/** A row of the ledger. */
export interface AppliedMigration {
  readonly number: number
  readonly name: string
  readonly checksum: string
  /** As the migration says; a ledger from before it could be said has no such column. */
  readonly readable_from?: number | null
}

export interface PendingMigration {
  readonly number: number
  readonly name: string
  readonly statements: readonly string[]
  /** The row of the ledger that says it is done. */
  readonly record: { readonly columns: string; readonly values: readonly (string | number)[] }
}

export const migrations: readonly Migration[] = [
  initial,
  groups,
  counters,
  ledger,
  sightings,
  urgent,
  auditTree,
  brakes,
  findings,
  sweeps,
  sealed,
  imported,
  tasks,
  entitlements,
  consumers,
  shadow,
  signals,
  directoryChecks,
  failedRequests,
  directoryMoves,
  replicas,
  tenantFence,
  vitalSigns,
  readable,
  consoleReads,
  countedApart,
]

/** The ledger itself; it exists before the first migration. */
export function ledgerTable({ text, tableSuffix }: Dialect): string {
  return `create table if not exists migration (
    number integer not null primary key,
    name ${text} not null,
    checksum ${text} not null
  )${tableSuffix}`
}

/**
 * What is still to be applied, in order.
 * @param reading nothing will be written: what is unknown and leaves everything readable is no matter
 * @throws databaseNewer, migrationChanged
 */
export function pendingMigrations(
  known: readonly Migration[],
  applied: readonly AppliedMigration[],
  dialect: Dialect,
  reading = false,
): readonly PendingMigration[] {
  const newest = known.at(-1)?.number ?? 0
  const isInTheWay = ({ number, readable_from: from }: AppliedMigration): boolean =>
    number > newest && !(reading && typeof from === 'number' && from <= newest)
  if (applied.some(isInTheWay)) {
    const found = Math.max(...applied.map((a) => a.number))
    throw errors.databaseNewer({ found, known: newest })
  }
  return known.flatMap((migration) => {
    const { number, name } = migration
    const statements = migration.statements(dialect)
    const checksum = createHash('sha256').update(statements.join(';\n')).digest('hex')
    const before = applied.find((a) => a.number === number)
    if (before === undefined) {
      return [{ number, name, statements, record: recordOf(migration, checksum) }]
    }
    if (before.checksum !== checksum) throw errors.migrationChanged({ name: before.name })
    return []
  })
}

function recordOf(
  { number, name, readableFrom }: Migration,
  checksum: string,
): PendingMigration['record'] {
  const values = [number, name, checksum]
  if (readableFrom === undefined) return { columns: 'number, name, checksum', values }
  return {
    columns: 'number, name, checksum, readable_from',
    values: [...values, readableFrom],
  }
}

/** A store that only reads does not migrate; it waits for one that writes to have done so. */
export function missingMigration(name: string): Error {
  return errors.notReady({
    reason: `the database lacks migration ${name}; start the server once to apply it`,
  })
}
