import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { CsvError, readCsv } from '../../document/csv.ts'
import { apiCommand, type Cli, column, confirm, printJson, printRows } from '../command.ts'
import { CommandFailure, exitCodes, type Row } from '../terminal.ts'

/** What a list may call people by; one column of it must be there. */
const keys = ['userName', 'email', 'externalId', 'employeeNumber']

const columns = [
  column('line'),
  column('userName'),
  column('before'),
  column('leaves at', 'after'),
  column('past'),
]

/** `custody directory leave-dates`. */
export function registerLeaveDates(noun: Command, cli: Cli): void {
  apiCommand<{ dryRun?: boolean; yes?: boolean; zone?: string }>(
    noun
      .command('leave-dates <file>')
      .description('when people leave, from a CSV with one of ' + keys.join(', ') + ' and date')
      .option(
        '--zone <name>',
        'where a date without a time ends, e.g. Europe/Berlin (default: UTC)',
      )
      .option('--dry-run', 'only say what would be changed')
      .option('--yes', 'do not ask, and let those leave at once whose date has passed'),
    cli,
    async ({ api, options, terminal }, file) => {
      const { key, entries } = await listOf(path.resolve(terminal.cwd, file))
      const ask = async (apply: boolean) => {
        const want = { key, entries, apply, pastToo: options.yes === true }
        const body = { ...want, ...(options.zone ? { zone: options.zone } : {}) }
        return (await api.send('POST', '/api/v1/leave-dates', body)).body
      }
      let answer = await ask(false)
      if (!options.dryRun) {
        const count = entries.length
        await confirm(`${count} people get the dates of ${file}.`, options, terminal)
        answer = await ask(true)
      }
      if (options.json) {
        printJson(answer, terminal)
        return exitCodes.ok
      }
      const rows = ((answer as Row | null)?.['items'] ?? []) as readonly Row[]
      printRows(rows, { columns, none: 'Nobody is listed.' }, options, terminal)
      terminal.stderr(options.dryRun ? 'Nothing was changed.\n' : `${rows.length} dates are set.\n`)
      return exitCodes.ok
    },
  )
}

async function listOf(file: string) {
  try {
    const bytes = await readFile(file).catch((cause: Error) => {
      const sentence = `${file} cannot be read: ${cause.message}.`
      throw new CommandFailure(exitCodes.usage, sentence, cause)
    })
    const csv = readCsv(bytes, {
      required: ['date'],
      optional: keys,
      others: 'refuse',
    })
    const [key, ...more] = csv.header.filter((name) => name !== 'date')
    if (key === undefined || more.length > 0) {
      throw new CommandFailure(
        exitCodes.usage,
        `${file}: line 1: has to name people by exactly one of ${keys.join(', ')}. Nothing was changed.`,
      )
    }
    const [who, date] = [csv.header.indexOf(key), csv.header.indexOf('date')]
    const entries = csv.rows.map(({ line, cells }) => {
      return { line, who: cells[who]!, date: cells[date]! }
    })
    return { key, entries }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
    const lines = error.problems.map((p) => `${file}: line ${p.line}: ${p.message}`)
    throw new CommandFailure(exitCodes.usage, `${lines.join('\n')}\nNothing was changed.`)
  }
}
