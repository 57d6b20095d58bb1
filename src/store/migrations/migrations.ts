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
import { shadow } from './0016-shadow.ts'
import { signals } from './0017-signals.ts'
import { directoryChecks } from './0018-directory-checks.ts'
import { failedRequests } from './0019-failed-requests.ts'
import { directoryMoves } from './0020-directory-moves.ts'

/** One numbered step of the schema; once released it is never edited, its checksum is stored. */
export interface Migration {
  readonly number: number
  readonly name: string
  readonly statements: (
    dialect: Pick<Dialect, 'name' | 'text' | 'real' | 'tableSuffix' | 'statistics'>,
  ) => readonly string[]
}

export interface AppliedMigration {
  readonly number: number
  readonly name: string
  readonly checksum: string
}

export interface PendingMigration extends AppliedMigration {
  readonly statements: readonly string[]
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
 * @throws databaseNewer, migrationChanged
 */
export function pendingMigrations(
  known: readonly Migration[],
  applied: readonly AppliedMigration[],
  dialect: Dialect,
): readonly PendingMigration[] {
  const newest = known.at(-1)?.number ?? 0
  const found = Math.max(0, ...applied.map((a) => a.number))
  if (found > newest) throw errors.databaseNewer({ found, known: newest })
  return known.flatMap((migration) => {
    const statements = migration.statements(dialect)
    const checksum = createHash('sha256').update(statements.join(';\n')).digest('hex')
    const before = applied.find((a) => a.number === migration.number)
    if (before === undefined) {
      return [{ number: migration.number, name: migration.name, checksum, statements }]
    }
    if (before.checksum !== checksum) throw errors.migrationChanged({ name: before.name })
    return []
  })
}

/** A store that only reads does not migrate; it waits for one that writes to have done so. */
export function missingMigration(name: string): Error {
  return errors.notReady({
    reason: `the database lacks migration ${name}; start the server once to apply it`,
  })
}
