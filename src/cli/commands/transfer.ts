import type { Command } from 'commander'
import { apiCommand, type Cli, column, idColumn, printList, printRecord } from '../command.ts'

export function registerTransfer(program: Command, cli: Cli): void {
  const noun = program.command('transfer').description('accounts offered to a new owner')

  apiCommand<{ limit?: string }>(
    noun
      .command('list')
      .description('open offers')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/transfers',
        columns: [
          idColumn,
          column('account', 'userName', 'account'),
          column('from', 'from', 'owner'),
          column('to', 'to', 'pendingOwner'),
          column('offered', 'offeredAt', 'createdAt'),
          column('until', 'acceptBy', 'disableAt'),
        ],
        none: 'No open transfers.',
      }),
  )
  for (const verb of ['accept', 'decline'] as const) {
    apiCommand(
      noun
        .command(`${verb} <id>`)
        .description(verb === 'accept' ? 'become the owner' : 'refuse to become the owner'),
      cli,
      async ({ api, options, terminal }, id) => {
        const route = `/api/v1/transfers/${encodeURIComponent(id)}/${verb}`
        const { body } = await api.send('POST', route, {})
        if (body) printRecord(body, options, terminal)
        if (!options.json) {
          terminal.stderr(`Transfer ${id} is ${verb === 'accept' ? 'accepted' : 'declined'}.\n`)
        }
      },
    )
  }
}
