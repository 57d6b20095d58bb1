import type { Command } from 'commander'
import { apiCommand, type Cli, column, printJson, printRecord, printRows } from '../command.ts'
import type { Row } from '../terminal.ts'

const planColumns = [
  column('subject', 'userName', 'subject', 'id'),
  column('type', 'subjectType', 'type'),
  column('action', 'action', 'kind', 'decision'),
  column('rule', 'rule', 'reason'),
  column('operation'),
]

/** Named here too, so that `--help` need not load the engine; a test holds both to each other. */
const sweeps = ['orphans', 'expiry', 'rotation', 'reconcile']

export function registerSweep(program: Command, cli: Cli): void {
  const noun = program.command('sweep').description('what runs by itself, now')

  apiCommand<{ dryRun?: boolean; full?: boolean }>(
    noun
      .command('run <name>')
      .description(`do now what ${sweeps.join(', ')} would do by itself`)
      .option('--dry-run', 'only say what would be done')
      .option('--full', 'look at every account, not only at those whose owner changed lately'),
    cli,
    async ({ api, options, terminal }, name) => {
      const query = [options.dryRun && 'dryRun=true', options.full && 'full=true'].filter(Boolean)
      const asked = query.length > 0 ? `?${query.join('&')}` : ''
      const route = `/api/v1/sweeps/${encodeURIComponent(name)}${asked}`
      const { body } = await api.send('POST', route, {})
      if (options.json) return printJson(body, terminal)
      const { items, ...facts } = (body ?? {}) as Row & { readonly items?: readonly Row[] }
      if (!items) return printRecord(facts, options, terminal)
      const none = 'Nothing to do.'
      printRows(items, { columns: planColumns, none }, options, terminal)
      if (items.length > 0) {
        const did = options.dryRun ? 'would be done; nothing was' : 'started'
        terminal.stderr(`${items.length} ${did}.\n`)
      }
    },
  )
}
