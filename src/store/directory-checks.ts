import type { DirectoryCheck } from '../domain/directory.ts'
import type { TenantId } from '../domain/ids.ts'
import type { DirectoryCheckHead } from './directory-store.ts'
import { flag, json, mapping } from './mapping.ts'
import { arg, gaps, run, statement, type Query, type Refusal, type Sql, type Steps } from './sql.ts'

const heads = {
  tenant: 'tenant',
  directory: 'directory',
  id: 'id',
  at: 'at',
  complete: flag('complete'),
  agreeing: 'agreeing',
  all: 'total',
} as const
const head = mapping<DirectoryCheckHead>(heads)
const whole = mapping<DirectoryCheck>({ ...heads, report: json('report') })

/** One row a directory: what was compared before is in the audit log. */
export function directoryCheckRoom({ db }: Sql) {
  const table = db.selectFrom('directory_check')
  const s = {
    put: statement(
      db
        .insertInto('directory_check')
        .values(gaps(whole.columns))
        .onConflict((c) =>
          c
            .columns(['tenant', 'directory'])
            .doUpdateSet(gaps(whole.columns.filter((n) => n !== 'tenant' && n !== 'directory'))),
        ),
    ),
    one: statement(
      table
        .selectAll()
        .where('tenant', '=', arg('tenant'))
        .where('directory', '=', arg('directory')),
    ),
    heads: statement(
      table
        .select(['tenant', 'directory', 'id', 'at', 'complete', 'agreeing', 'total'])
        .orderBy('tenant')
        .orderBy('directory'),
    ),
  }
  return {
    put: (check: DirectoryCheck) =>
      function* put(): Steps<Refusal | null> {
        yield* run(s.put, whole.toRow(check))
        return null
      },
    async one(query: Query, tenant: TenantId, directory: string): Promise<DirectoryCheck | null> {
      const [row] = await query(s.one, { tenant, directory })
      return row === undefined ? null : whole.fromRow(row)
    },
    async heads(query: Query): Promise<readonly DirectoryCheckHead[]> {
      return (await query(s.heads, {})).map((row) => head.fromRow(row))
    },
  }
}
