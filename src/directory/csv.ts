import { readFile } from 'node:fs/promises'
import { CsvError, readCsv } from '../document/csv.ts'
import type { DirectoryListing, DirectoryPerson, DirectoryState } from '../domain/directory.ts'
import { parseInstant } from '../domain/time.ts'
import type { DirectoryHost } from './calls.ts'

export interface CsvConfig {
  readonly file: string
}

const optional = [
  'id',
  'email',
  'externalId',
  'employeeNumber',
  'active',
  'manager',
  'leavesAt',
  'changedAt',
]

const words: Readonly<Record<string, DirectoryState>> = {
  '': 'active',
  true: 'active',
  yes: 'active',
  active: 'active',
  1: 'active',
  false: 'left',
  no: 'left',
  inactive: 'left',
  left: 'left',
  0: 'left',
}

/**
 * A list of people that somebody exported: `userName` and what else is known. All or nothing: a file
 * with one bad line, or with a name twice, is no listing at all.
 */
export async function readCsvDirectory(
  name: string,
  config: CsvConfig,
  host: DirectoryHost,
): Promise<DirectoryListing> {
  const file = host.resolvePath(config.file)
  const refused = (why: string): DirectoryListing => ({
    people: [],
    complete: false,
    trouble: `${name}: ${file}: ${why}`,
  })
  try {
    const bytes = await readFile(file)
    const { header, rows } = readCsv(bytes, { required: ['userName'], optional, others: 'ignore' })
    const people: DirectoryPerson[] = []
    const seen = new Map<string, number>()
    for (const { line, cells } of rows) {
      const cell = (column: string) => cells[header.indexOf(column)] ?? ''
      const date = (column: string) => (cell(column) === '' ? null : parseInstant(cell(column)))
      const userName = cell('userName')
      const id = cell('id') || cell('externalId') || userName
      const state = words[cell('active').toLowerCase()]
      if (userName === '') return refused(`line ${line}: userName is empty.`)
      if (seen.has(id)) return refused(`line ${line}: is the same person as line ${seen.get(id)}.`)
      if (state === undefined) return refused(`line ${line}: active must be true or false.`)
      for (const column of ['leavesAt', 'changedAt']) {
        if (cell(column) !== '' && date(column) === null) {
          return refused(`line ${line}: ${column} must be a date such as 2027-01-31T00:00:00Z.`)
        }
      }
      seen.set(id, line)
      people.push({
        id,
        userName,
        email: cell('email') || null,
        externalId: cell('externalId') || null,
        employeeNumber: cell('employeeNumber') || null,
        state,
        deleted: false,
        ...(header.includes('manager') ? { manager: cell('manager') || null } : {}),
        leavesAt: date('leavesAt'),
        changedAt: date('changedAt'),
      })
    }
    return { people, complete: true, trouble: null }
  } catch (error) {
    if (error instanceof CsvError) return refused(error.message.replaceAll('\n', ' '))
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return refused(`cannot be read (${code}).`)
  }
}
