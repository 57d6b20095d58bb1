import { createHash } from 'node:crypto'
import { silentAfterSeconds } from '../domain/replica.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'
import type { CopySide, TableShape } from './copy-side.ts'
import { isUnkeepableText, openSide } from './copy-side.ts'
import type { Row } from './sql.ts'

/** Rows per statement; a document weighs 2 KB, so that a page is some megabytes. */
const pageRows = 1_000
const progressKey = 'copy.unfinished'

/** What is not copied, and why. */
export const leftOut: Readonly<Record<string, string>> = {
  migration: 'the target has its own, from its own migration',
  counter: 'kept by triggers of the target while rows arrive, and compared afterwards',
  replica: 'about running processes',
  leader: 'about running processes',
}

export interface CopyProgress {
  readonly table: string
  readonly rows: number
}

export interface TableReport {
  readonly table: string
  readonly rows: number
  /** SHA-256 over all rows in the order of their keys. */
  readonly digest: string
}

export interface CopyReport {
  /** `copied` now, or `same` as before: nothing was left to do. */
  readonly outcome: 'copied' | 'same'
  readonly resumed: boolean
  readonly tables: readonly TableReport[]
}

/** Why a copy was not made or not finished; the message says what to do. */
export class CopyRefused extends Error {
  override readonly name = 'CopyRefused'
  readonly reason: 'busy' | 'notEmpty' | 'schema' | 'changed' | 'text' | 'differs'

  constructor(reason: CopyRefused['reason'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.reason = reason
  }
}

export interface CopyOptions {
  /** Both are migrated to the version of this program. */
  readonly from: string
  readonly to: string
  readonly now: Instant
  readonly onProgress?: (progress: CopyProgress) => void
  /** Compares only. */
  readonly check?: boolean
}

/**
 * Copies every row of one database into another, table by table in the order of their keys, and
 * compares both afterwards. Cut off anywhere, it goes on behind the last row that arrived.
 * @throws CopyRefused
 */
export async function copyStore(options: CopyOptions): Promise<CopyReport> {
  const from = await openSide(options.from, true)
  try {
    const to = await openSide(options.to, options.check ?? false)
    try {
      return await copyBetween(from, to, options)
    } finally {
      await to.close()
    }
  } finally {
    await from.close()
  }
}

async function copyBetween(
  from: CopySide,
  to: CopySide,
  options: CopyOptions,
): Promise<CopyReport> {
  const tables = inOrder(await sameTables(from, to))
  if (options.check)
    return { outcome: 'same', resumed: false, tables: await compare(from, to, tables, options) }
  await quiet(from, options.now)
  const mark = await markOf(from)
  const unfinished = await to.meta(progressKey)
  if (unfinished === null && !(await isEmpty(to, tables))) {
    const same = (await isFinished(from, to))
      ? await compare(from, to, tables, options).catch(ifDifferent)
      : null
    if (same !== null) return { outcome: 'same', resumed: false, tables: same }
    throw new CopyRefused(
      'notEmpty',
      'The target holds data already, and not an unfinished copy of this source; copy into an empty database.',
    )
  }
  if (unfinished !== null && unfinished !== mark) {
    throw new CopyRefused(
      'changed',
      'The target holds part of a copy of another source, or of this one before it changed; drop the target, make it anew, and copy again.',
    )
  }
  await to.setMeta(progressKey, mark)
  for (const table of tables) await copyTable(from, to, table, options)
  if ((await markOf(from)) !== mark) {
    throw new CopyRefused(
      'changed',
      'The source was written while it was copied; stop every process that uses it, drop the target, and copy again.',
    )
  }
  // Last, so that whoever starts on the target before finds it unfinished.
  const found = await compare(from, to, tables, options)
  await to.setMeta(progressKey, null)
  return { outcome: 'copied', resumed: unfinished !== null, tables: found }
}

/** A finished copy that has been used since is nobody's target any more. */
function ifDifferent(error: unknown): null {
  if (error instanceof CopyRefused && error.reason === 'differs') return null
  throw error
}

async function copyTable(
  from: CopySide,
  to: CopySide,
  table: TableShape,
  { onProgress }: CopyOptions,
): Promise<void> {
  let after = await to.last(table)
  // Meta has a row of this copy itself: few rows, all of which are offered again.
  if (table.name === 'meta') after = null
  let rows = 0
  for (;;) {
    const page = await from.page(table, after, pageRows)
    const own = page.filter((row) => !isOwnNote(table, row))
    if (own.length > 0) {
      await to.write(table, own).catch((error: unknown) => {
        if (!isUnkeepableText(error)) throw error
        throw new CopyRefused(
          'text',
          `A text of table ${table.name} holds U+0000, which PostgreSQL does not keep (rows after ${keyText(table, after)}); mend it in the source.`,
          error,
        )
      })
    }
    rows += own.length
    onProgress?.({ table: table.name, rows })
    if (page.length < pageRows) return
    after = page.at(-1)!
  }
}

function keyText(table: TableShape, row: Row | null): string {
  return row === null ? 'the beginning' : table.key.map((name) => String(row[name])).join(' ')
}

const isOwnNote = (table: TableShape, row: Row): boolean =>
  table.name === 'meta' && row['key'] === progressKey

async function sameTables(from: CopySide, to: CopySide): Promise<readonly TableShape[]> {
  const [ours, theirs] = await Promise.all([from.tables(), to.tables()])
  const text = (tables: readonly TableShape[]): string =>
    JSON.stringify(
      tables
        .map((t) => [t.name, t.columns, t.key])
        .sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1)),
    )
  const [applied, wanted] = await Promise.all(
    [from, to].map(async (side) =>
      Number((await side.ask('select max(number) as n from migration'))[0]!['n']),
    ),
  )
  if (applied !== wanted || text(ours) !== text(theirs)) {
    throw new CopyRefused(
      'schema',
      `The source is at migration ${applied}, the target at ${wanted}; run custody db migrate on both, then copy.`,
    )
  }
  return ours.filter(({ name }) => !(name in leftOut))
}

/** Parents before their children. */
function inOrder(tables: readonly TableShape[]): readonly TableShape[] {
  const placed: TableShape[] = []
  let left = [...tables]
  while (left.length > 0) {
    const ready = left.filter((t) =>
      t.parents.every((p) => p === t.name || !left.some((l) => l.name === p)),
    )
    if (ready.length === 0) throw new Error('tables refer to each other in a circle')
    placed.push(...ready.sort((a, b) => (a.name < b.name ? -1 : 1)))
    left = left.filter((t) => !ready.includes(t))
  }
  return placed
}

/** @throws CopyRefused while a process uses the database, or one that died might be taken for alive */
async function quiet(from: CopySide, now: Instant): Promise<void> {
  const since = addSeconds(now, -silentAfterSeconds)
  // One after the other: a side is one connection, and its driver warns of a second question.
  const replicas = await from.ask(`select id from replica where seen_at > '${since}' order by id`)
  const leases = await from.ask(
    `select distinct lease_worker as id from operation where status = 'running' and lease_until > '${now}'`,
  )
  const users = [...new Set([...replicas, ...leases].map((row) => String(row['id'])))]
  if (users.length === 0) return
  throw new CopyRefused(
    'busy',
    `The source is in use by ${users.join(', ')}; stop them. One that was killed counts as gone after a minute.`,
  )
}

/** What moves with every write that matters: the audit log above all, since no change goes without. */
async function markOf(side: CopySide): Promise<string> {
  const parts: [number, unknown][] = []
  for (const question of [
    'select count(*) as n, max(id) as last from audit',
    'select count(*) as n, max(updated_at) as last from operation',
    'select count(*) as n, max(modified_at) as last from resource',
    'select count(*) as n, max(last_used_at) as last from client_token',
    'select count(*) as n, max(at) as last from slot',
  ]) {
    const [row] = await side.ask(question)
    parts.push([Number(row!['n']), row!['last'] ?? null])
  }
  const text = JSON.stringify(parts)
  return createHash('sha256').update(text).digest('hex')
}

async function isEmpty(to: CopySide, tables: readonly TableShape[]): Promise<boolean> {
  for (const table of tables) if ((await to.last(table)) !== null) return false
  return true
}

async function isFinished(from: CopySide, to: CopySide): Promise<boolean> {
  return (await markOf(from)) === (await markOf(to))
}

async function compare(
  from: CopySide,
  to: CopySide,
  tables: readonly TableShape[],
  { onProgress }: CopyOptions,
): Promise<readonly TableReport[]> {
  const reports: TableReport[] = []
  const different: string[] = []
  for (const table of tables) {
    const [ours, theirs] = [await digestOf(from, table), await digestOf(to, table)]
    if (ours.digest !== theirs.digest)
      different.push(`${table.name} (${ours.rows} rows, ${theirs.rows} there)`)
    reports.push({ table: table.name, ...theirs })
    onProgress?.({ table: `${table.name} compared`, rows: theirs.rows })
  }
  const [counted, arrived] = await Promise.all([countersOf(from), countersOf(to)])
  if (counted !== arrived) different.push('counter')
  if (different.length > 0) {
    throw new CopyRefused(
      'differs',
      `The two databases differ in ${different.join(', ')}; drop the target and copy again.`,
    )
  }
  return reports
}

async function digestOf(
  side: CopySide,
  table: TableShape,
): Promise<{ rows: number; digest: string }> {
  const hash = createHash('sha256')
  let rows = 0
  let after: Row | null = null
  for (;;) {
    const page: readonly Row[] = await side.page(table, after, pageRows)
    for (const row of page) {
      if (isOwnNote(table, row)) continue
      hash.update(JSON.stringify(table.columns.map((name) => row[name])))
      hash.update('\n')
      rows += 1
    }
    if (page.length < pageRows) return { rows, digest: hash.digest('hex') }
    after = page.at(-1)!
  }
}

async function countersOf(side: CopySide): Promise<string> {
  const rows = await side.ask(
    'select tenant, type, directory, sum(total) as n from counter group by tenant, type, directory having sum(total) <> 0',
  )
  const lines = rows.map((row) => [row['tenant'], row['type'], row['directory'], Number(row['n'])])
  return JSON.stringify(lines.map((line) => JSON.stringify(line)).sort())
}
