import { systemClock } from '../../../host/clock.ts'
import type { DatabaseFacts, Examined, PostgresFacts } from '../../../store/examine.ts'
import { examineDatabase } from '../../../store/examine.ts'
import { migrationState } from '../../../store/migration-state.ts'
import type { Check } from './check.ts'
import { ok, problem, sentenceOf, warning, within } from './check.ts'

const answerMs = 5_000
const databaseMs = 20_000
const MiB = 1024 * 1024
/** A second or two from a cold disk. */
const readWholeMax = 512 * MiB
/** 10 of its pool, one that listens, and what sweeps take in threads of their own. */
export const connectionsPerProcess = 20
/** Leases are judged by the database's clock, so this is for logs and other programs. */
const clockMsMax = 5_000
/** docs/reference/postgresql.md says which were run. */
const oldestTried = 150_000

export interface FoundDatabase {
  readonly checks: readonly Check[]
  /** null when it is not there, or cannot be looked into. Closed last. */
  readonly examined: Examined | null
  /** Whether this version can read the rooms of the store. */
  readonly isReadable: boolean
}

/** Whether it answers, of which version and schema it is. @param deep reads a large file whole */
export async function checkDatabase(url: string, deep: boolean): Promise<FoundDatabase> {
  const file = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : null
  const none = { examined: null, isReadable: false }
  let examined: Examined | null
  try {
    const options = { clock: systemClock, answerMs, readWholeMax: deep ? Infinity : readWholeMax }
    examined = await within(databaseMs, () => examineDatabase(url, options))
  } catch (error) {
    const next =
      file === null
        ? 'See that it runs, that its address is right and that it lets this user in (store.url).'
        : 'See who owns the file and what the disk says; if it is damaged, restore a backup.'
    return { ...none, checks: [problem('database', sentenceOf(error, file), next)] }
  }
  if (examined === null) {
    const says = `${file} is not there yet`
    const next = 'The first custody serve makes it; if there was one, see store.url.'
    return { ...none, checks: [warning('database', says, next)] }
  }
  const checks = [...judgeDatabase(examined.facts)]
  const { applied, pending, unknown } = await migrationState(url)
  // Rows of a damaged file are not worth reading, and may end the process.
  const isDamaged = checks.some(({ check, state }) => check === 'damage' && state === 'problem')
  const isReadable =
    pending.length + unknown.length === 0 && !examined.isUnfinishedCopy && !isDamaged
  if (unknown.length > 0) {
    const says = `${unknown.join(', ')} ${unknown.length === 1 ? 'is' : 'are'} of a newer version than this one`
    checks.push(problem('schema', says, 'Run the newer version; an old one does not start on it.'))
  } else if (pending.length > 0) {
    const says = `${pending.length} of ${applied.length + pending.length} migrations are still to be applied`
    checks.push(warning('schema', says, 'The next start applies them; or: custody db migrate'))
  } else checks.push(ok('schema', `${applied.length} migrations, none missing`))
  checks.push(
    examined.isUnfinishedCopy
      ? problem(
          'copy',
          'holds part of a copy that was not finished; no server starts on it',
          'Run the same custody db copy again.',
        )
      : ok('copy', 'none is unfinished'),
  )
  return { checks, examined, isReadable }
}

export function judgeDatabase(facts: DatabaseFacts): readonly Check[] {
  if (facts.engine === 'PostgreSQL') return judgePostgres(facts)
  const { bytes, journalMode, damage } = facts
  const size = `${(bytes / MiB).toFixed(1)} MiB`
  return [
    ok('database', `SQLite, ${size}`),
    journalMode === 'wal'
      ? ok('durability', 'write-ahead log')
      : warning(
          'durability',
          `journal mode ${journalMode}, where Custody keeps a write-ahead log`,
          'The next start sets it; see which other program changed it.',
        ),
    damage === null
      ? ok('damage', `not looked for: ${size} is read whole with --deep only`)
      : damage === 'ok'
        ? ok('damage', 'quick_check finds none')
        : problem('damage', `quick_check: ${damage}`, 'Stop the service; restore a backup.'),
  ]
}

function judgePostgres(facts: PostgresFacts): readonly Check[] {
  const { version, versionNumber, encoding, isReadOnly, clockOffset, isPooled } = facts
  const says = `PostgreSQL ${version}, ${encoding}`
  const offset = `${(Math.abs(clockOffset) / 1_000).toFixed(1)} s ${clockOffset > 0 ? 'behind' : 'ahead of'} the database’s`
  return [
    encoding !== 'UTF8'
      ? problem('database', says, 'Make a database with encoding UTF8, and copy into it.')
      : isReadOnly
        ? problem(
            'database',
            `${says}, read-only`,
            'Connect to the primary, or end read-only mode.',
          )
        : versionNumber < oldestTried
          ? warning('database', says, 'Custody was run with 15 and 18; upgrade the server.')
          : ok('database', says),
    durability(facts),
    isPooled
      ? problem(
          'pooler',
          'sessions share connections of the server: a pooler in transaction mode is in between',
          'Connect to the server itself, or set the pooler to session mode.',
        )
      : ok('pooler', 'a session keeps its connection'),
    Math.abs(clockOffset) > clockMsMax
      ? warning('clock', `this machine’s is ${offset}`, 'Let both be set by NTP.')
      : ok('clock', `this machine’s is ${offset}`),
  ]
}

function durability({ settings }: PostgresFacts): Check {
  const { fsync, synchronous_commit: commit, full_page_writes: pages } = settings
  const says = `fsync ${fsync}, full_page_writes ${pages}, synchronous_commit ${commit}`
  if (fsync === 'off' || pages === 'off') {
    const next = 'Switch both on: a crash of the machine can leave a database that cannot be read.'
    return problem('durability', says, next)
  }
  if (commit === 'off') {
    const next = 'Switch it on: a crash loses what was answered, such as keys that were issued.'
    return problem('durability', says, next)
  }
  return ok('durability', says)
}

/** @param replicas live ones; one that starts now counts, too */
export function judgeConnections({ connectionsMax }: PostgresFacts, replicas: number): Check {
  const wanted = connectionsPerProcess * Math.max(1, replicas)
  const says = `${connectionsMax} allowed, ${wanted} wanted by ${Math.max(1, replicas)} process${replicas > 1 ? 'es' : ''}`
  return connectionsMax < wanted
    ? warning('connections', says, 'Raise max_connections, or the limit of database or role.')
    : ok('connections', says)
}
