import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  confirm,
  printJson,
  printList,
  printRecord,
} from '../command.ts'
import { exitCodes, type Row, table } from '../terminal.ts'

interface Closing {
  readonly closed: number
  readonly byHand: number
  readonly cause: string | null
  readonly items: readonly Row[]
}

export function registerVendor(program: Command, cli: Cli): void {
  const noun = program
    .command('vendor')
    .description('what belongs to another company (label vendor=<name>)')

  apiCommand<{ limit?: string }>(
    noun.command('list').description('vendors, and how many accounts they have here'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/vendors',
        columns: [{ ...column('vendor'), whole: true }, column('accounts')],
        none: 'No account bears a label vendor=<name>.',
      }),
  )
  apiCommand(
    noun.command('show <name>').description('what there is of a vendor, and what is still open'),
    cli,
    async ({ api, options, terminal }, name) => {
      const { body } = await api.send('GET', `/api/v1/vendors/${encodeURIComponent(name)}`)
      printRecord(body, options, terminal)
    },
  )
  apiCommand<{ reason: string; dryRun?: boolean; yes?: boolean }>(
    noun
      .command('close <name>')
      .description('retire everything of a vendor; never held back')
      .requiredOption('--reason <text>', 'kept in the audit log')
      .option('--dry-run', 'show what would be retired')
      .option('--yes', 'do not ask'),
    cli,
    async ({ api, options, terminal }, name) => {
      const { reason } = options
      const route = `/api/v1/vendors/${encodeURIComponent(name)}/close`
      const send = async (dryRun: boolean) =>
        (await api.send('POST', `${route}?dryRun=${dryRun}`, { reason })).body as Closing
      const plan = options.dryRun || !options.yes ? await send(true) : null
      if (!options.dryRun) {
        const asked = plan
          ? `${plan.closed} account(s) of ${name} are retired now, ${plan.byHand} key(s) of them by hand.`
          : ''
        await confirm(asked, options, terminal)
      }
      const closing = options.dryRun ? plan! : await send(false)
      if (options.json) printJson(closing, terminal)
      else {
        const columns = [
          column('userName'),
          column('act'),
          column('status'),
          column('by hand', 'byHand'),
          column('operation'),
        ]
        terminal.stdout(table(columns, closing.items, terminal))
        const would = options.dryRun ? 'would be retired' : 'retired'
        terminal.stderr(`${closing.closed} account(s) ${would}.\n`)
        if (closing.byHand > 0) {
          terminal.stderr(
            `${closing.byHand} key(s) no API ends: see "custody task list --status open".\n`,
          )
        }
      }
      return exitCodes.ok
    },
  )
}
