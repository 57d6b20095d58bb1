import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  printJson,
  printList,
  printRecord,
  resolveId,
} from '../command.ts'
import type { Row } from '../terminal.ts'

export function registerConsumer(program: Command, cli: Cli): void {
  const noun = program.command('consumer').description('who uses the secrets of an account')

  apiCommand<{ account: string; limit?: string }>(
    noun
      .command('list')
      .description('the consumers of an account, and how far each is with each credential')
      .requiredOption('--account <account>', 'the account that names them')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/consumers',
        query: { account: await resolveId('account', session.options.account, session.api) },
        columns: [
          column('name'),
          column('kind'),
          column('caches', 'cacheTtl'),
          { title: 'state', value: (row) => statesOf(row).join(', ') },
          column('id'),
        ],
        none: 'No consumers.',
      }),
  )
  apiCommand<{ credential: string; generation: string }>(
    noun
      .command('seen <id>')
      .description('report that a consumer has read a generation; <id> is account:name')
      .requiredOption('--credential <id>', 'the credential it has read')
      .requiredOption('--generation <n>', 'the generation it has read'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { credential, generation } = options
      const route = `/api/v1/consumers/${encodeURIComponent(id)}/seen`
      const { body } = await api.send('POST', route, {
        credential,
        generation: Number(generation),
      })
      printRecord(body, options, terminal)
    },
  )
  apiCommand(
    noun
      .command('hook-secret')
      .description('make a new signing key of reload hooks and show it, this once'),
    cli,
    async ({ api, options, terminal }) => {
      const { body } = await api.send('POST', '/api/v1/consumers/hook-secret', {})
      if (options.json) printJson(body, terminal)
      else {
        terminal.stdout(`${String((body as Row)['secret'])}\n`)
        terminal.stderr('Messages are signed with it and with the one before it.\n')
      }
    },
  )
}

function statesOf(row: Row): readonly string[] {
  const states = row['credentials']
  if (!Array.isArray(states)) return []
  return states.map((s: Row) => `${String(s['state'])} (generation ${String(s['generation'])})`)
}
