import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  idColumn,
  printJson,
  printRecord,
  printRows,
  suggest,
} from '../command.ts'
import { exitCodes, type Row } from '../terminal.ts'

const planColumns = [
  idColumn,
  column('act'),
  column('rule'),
  {
    title: 'operations',
    value: (row: Row) => ((row['operations'] ?? []) as readonly string[]).join(', '),
    whole: true,
  },
  column('error'),
]

/** Named here too, so that `--help` need not load the engine; a test holds both to each other. */
const sweeps = ['orphans', 'expiry', 'rotation', 'reconcile']

export function registerSweep(program: Command, cli: Cli): void {
  const noun = program.command('sweep').description('what runs by itself, now')

  apiCommand<{ dryRun?: boolean; full?: boolean }>(
    suggest(
      noun
        .command('run <name>')
        .description(`do now what ${sweeps.join(', ')} would do by itself`)
        .option('--dry-run', 'only say what would be done')
        .option('--full', 'look at every account, not only at those whose owner changed lately'),
      { name: sweeps },
    ),
    cli,
    async ({ api, options, terminal }, name) => {
      const query = [options.dryRun && 'dryRun=true', options.full && 'full=true'].filter(Boolean)
      const asked = query.length > 0 ? `?${query.join('&')}` : ''
      const route = `/api/v1/sweeps/${encodeURIComponent(name)}${asked}`
      const { body } = await api.send('POST', route, {})
      const { items, ...facts } = (body ?? {}) as Row & { readonly items?: readonly Row[] }
      const failed = (items ?? []).filter((item) => (item['error'] ?? null) !== null).length
      const code = failed === 0 ? exitCodes.ok : exitCodes.partial
      if (options.json) {
        printJson(body, terminal)
        return code
      }
      if (!items) {
        printRecord(facts, options, terminal)
        return code
      }
      const none = 'Nothing to do.'
      printRows(items, { columns: planColumns, none }, options, terminal)
      if (items.length > 0) {
        const did = options.dryRun ? 'would be done; nothing was' : 'started'
        terminal.stderr(`${items.length - failed} ${did}.\n`)
      }
      if (failed > 0) terminal.stderr(`${failed} could not be started; they stay due.\n`)
      return code
    },
  )
}
