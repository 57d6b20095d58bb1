import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  idColumn,
  printList,
  printRecord,
  resolveId,
} from '../command.ts'

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
          column('orphaned', 'orphanedAt'),
          column('until', 'deadline'),
        ],
        none: 'No open transfers.',
      }),
  )
  for (const verb of ['accept', 'decline'] as const) {
    const command = noun
      .command(`${verb} <account>`)
      .description(verb === 'accept' ? 'become the owner' : 'refuse to become the owner')
    if (verb === 'accept') {
      command.option('--backup [person]', 'agree to stand in as a backup owner instead')
    }
    apiCommand<{ backup?: string | true }>(
      command,
      cli,
      async ({ api, options, terminal }, name) => {
        const id = encodeURIComponent(await resolveId('account', name, api))
        const { backup } = options
        const { body } =
          backup === undefined
            ? await api.send('POST', `/api/v1/transfers/${id}/${verb}`, {})
            : await api.send(
                'POST',
                `/api/v1/accounts/${id}/backup/accept`,
                backup === true ? {} : { backup: await resolveId('owner', backup, api) },
              )
        if (body) printRecord(body, options, terminal)
        if (!options.json) {
          const what = backup === undefined ? 'Transfer' : 'Nomination'
          terminal.stderr(`${what} ${name} is ${verb === 'accept' ? 'accepted' : 'declined'}.\n`)
        }
      },
    )
  }
}
