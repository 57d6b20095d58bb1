import type { Command } from 'commander'
import { apiCommand, type Cli, column, idColumn, printList, printRecord } from '../command.ts'

interface ListOptions {
  readonly limit?: string
  readonly kind?: string
  readonly provider?: string
  readonly status?: string
}

export function registerFinding(program: Command, cli: Cli): void {
  const noun = program
    .command('finding')
    .description('where providers hold something else than Custody believes')

  apiCommand<ListOptions>(
    noun
      .command('list')
      .description('findings, newest first')
      .option('--kind <kind>', 'such as foreign, vanished, entitlement-drift')
      .option('--provider <name>', 'of one provider')
      .option('--status <status>', 'open, accepted or resolved')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) => {
      const { kind, provider, status } = session.options
      return printList(session, {
        route: '/api/v1/findings',
        query: { kind, provider, status },
        columns: [
          idColumn,
          column('kind'),
          column('provider'),
          column('about', 'keyId', 'subject'),
          column('account'),
          column('status'),
          column('first seen', 'firstSeenAt'),
          column('last seen', 'lastSeenAt'),
        ],
        none: 'No findings.',
      })
    },
  )
  apiCommand(
    noun.command('show <id>').description('one finding, with what was seen'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('GET', `/api/v1/findings/${encodeURIComponent(id)}`)
      printRecord(body, options, terminal)
    },
  )
  const decisions = [
    ['adopt', 'what is there becomes what is granted'],
    ['revert', 'put back what was granted'],
  ] as const
  for (const [verb, description] of decisions) {
    apiCommand<{ reason: string }>(
      noun
        .command(`${verb} <id>`)
        .description(`of an entitlement-drift: ${description}`)
        .requiredOption('--reason <text>', 'kept in the audit log'),
      cli,
      async ({ api, options, terminal }, id) => {
        const route = `/api/v1/findings/${encodeURIComponent(id)}/${verb}`
        const { body } = await api.send('POST', route, { reason: options.reason })
        printRecord(body, options, terminal)
        if (options.json) return
        const { operation } = body as { readonly operation?: string }
        terminal.stderr(
          verb === 'adopt'
            ? `Finding ${id} is adopted: the credential's scopes are what the provider shows.\n`
            : `Finding ${id} is being reverted: custody operation show ${operation}.\n`,
        )
      },
    )
  }
  apiCommand<{ reason: string; until: string }>(
    noun
      .command('accept <id>')
      .description('let it be as it is, until a date')
      .requiredOption('--reason <text>', 'kept in the audit log')
      .requiredOption('--until <date>', 'such as 2027-01-31T00:00:00Z; at most a year ahead'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { reason, until } = options
      const route = `/api/v1/findings/${encodeURIComponent(id)}/accept`
      const { body } = await api.send('POST', route, { reason, until })
      printRecord(body, options, terminal)
      if (!options.json) terminal.stderr(`Finding ${id} is accepted until ${until}.\n`)
    },
  )
}
