import type { Command } from 'commander'
import { apiCommand, type Cli, column, confirm, printJson, printRows } from '../command.ts'
import type { Row } from '../terminal.ts'

/** `leavers` stops no kind of act: the people above the limit are held, one by one. */
function stopsOf(row: Row): string {
  const stops = (row['stops'] ?? []) as readonly string[]
  return stops.length === 0 ? 'what the held people own is decided later' : stops.join(', ')
}

export function registerBrake(program: Command, cli: Cli): void {
  const noun = program.command('brake').description('what Custody has stopped doing by itself')

  apiCommand(
    noun.command('list').description('brakes that are on, and what each of them stops'),
    cli,
    async ({ api, options, terminal }) => {
      const { body } = await api.send('GET', '/api/v1/brakes')
      const rows = ((body as Row | null)?.['items'] ?? []) as readonly Row[]
      const columns = [
        column('brake', 'name'),
        column('of', 'subject'),
        column('since'),
        { title: 'stops', value: stopsOf },
        column('facts'),
      ]
      printRows(rows, { columns, none: 'No brake is on.' }, options, terminal)
      if (!options.json && rows.some((row) => row['name'] === 'leavers')) {
        terminal.stderr('People are held; decide with: custody approval list\n')
      }
    },
  )
  apiCommand<{ subject?: string; reason?: string; yes?: boolean }>(
    noun
      .command('release <name>')
      .description('things are in order again: clock, restored or listing')
      .option('--subject <subject>', 'of a listing: the provider')
      .requiredOption('--reason <text>', 'kept in the audit log')
      .option('--yes', 'do not ask'),
    cli,
    async ({ api, options, terminal }, name) => {
      await confirm(`What the brake "${name}" stopped is done again.`, options, terminal)
      const { body } = await api.send(
        'POST',
        `/api/v1/brakes/${encodeURIComponent(name)}/release`,
        {
          reason: options.reason,
          ...(options.subject === undefined ? {} : { subject: options.subject }),
        },
      )
      if (options.json) printJson(body, terminal)
      else terminal.stderr(`Brake ${name} is released.\n`)
    },
  )
}
