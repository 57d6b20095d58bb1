import { leafHash } from '../domain/audit.ts'
import type { Hash } from '../domain/merkle.ts'
import { emptyFrontier, grow, rootOf } from '../domain/merkle.ts'
import { entryOf } from './audit.ts'
import type { CopySide } from './copy-side.ts'
import { recountedFacets } from './migrations/0025-console.ts'

/** The audit log of one tenant as its rows say it. */
export interface AuditRoot {
  readonly tenant: string
  readonly size: number
  readonly root: Hash
}

export interface SideCheck {
  /** What does not hold, in words; empty when all does. */
  readonly wrong: readonly string[]
  readonly roots: readonly AuditRoot[]
}

const pageRows = 1_000

/**
 * What a database says of itself beside its rows, computed from the rows: counters that triggers
 * keep, foreign keys, and the root of each tenant's audit log. Reads only.
 */
export async function checkSide(side: CopySide): Promise<SideCheck> {
  const broken = await side.brokenReferences()
  const wrong = broken.map((name) => `a row of ${name} refers to one that is not there`)
  if ((await linesOf(side, counted)) !== (await linesOf(side, recounted))) {
    wrong.push('the counters are not the numbers of rows')
  }
  const roots: AuditRoot[] = []
  for (const head of await side.ask('select tenant, size, frontier from audit_head')) {
    const [tenant, nodes] = [String(head['tenant']), String(head['frontier'])]
    const root = await rootFromRows(side, tenant, Number(head['size']))
    const said = rootOf({ size: root.size, nodes: nodes === '' ? [] : nodes.split(',') })
    if (root.size !== Number(head['size']) || root.root !== said) {
      wrong.push(`the audit log of ${tenant} does not have the root that its head tells`)
    }
    roots.push(root)
  }
  return { wrong, roots: roots.sort((a, b) => (a.tenant < b.tenant ? -1 : 1)) }
}

const counted = `select tenant, type, directory, sum(total) as n from counter
  group by tenant, type, directory having sum(total) <> 0`
/** As migrations 0003, 0008 and 0025 count. */
const recounted = `select tenant, type, coalesce(directory, '') as directory, count(*) as n
    from resource where deleted_at is null group by tenant, type, coalesce(directory, '')
  union all select tenant, 'credential', '', count(*) from credential group by tenant
  union all select tenant, 'activePerson', coalesce(directory, ''), count(*) from resource
    where type = 'person' and active = 1 and deleted_at is null
    group by tenant, coalesce(directory, '')
  union all ${recountedFacets}`

async function linesOf(side: CopySide, text: string): Promise<string> {
  const rows = await side.ask(text)
  const lines = rows.map((row) => [row['tenant'], row['type'], row['directory'], Number(row['n'])])
  return JSON.stringify(lines.map((line) => JSON.stringify(line)).sort())
}

/** From the text of each row, not from the leaf that is stored beside it. */
async function rootFromRows(side: CopySide, tenant: string, size: number): Promise<AuditRoot> {
  const literal = `'${tenant.replaceAll("'", "''")}'`
  let frontier = emptyFrontier
  while (frontier.size < size) {
    const rows = await side.ask(
      `select * from audit where tenant = ${literal} and seq >= ${frontier.size} and seq < ${size} order by seq limit ${pageRows}`,
    )
    // A place that is missing would let all after it move up, and is told by the root.
    if (rows.length === 0) break
    frontier = grow(
      frontier,
      rows.map((row) => leafHash(entryOf(row).row)),
    ).frontier
  }
  return { tenant, size: frontier.size, root: rootOf(frontier) }
}
