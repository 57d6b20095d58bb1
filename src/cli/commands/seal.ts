import type { Command } from 'commander'
import { apiCommand, type Cli, printJson } from '../command.ts'
import type { Row } from '../terminal.ts'

export function registerSeal(program: Command, cli: Cli): void {
  const noun = program
    .command('seal')
    .description('secrets kept sealed, since ending their keys needs them')

  apiCommand<{ reason?: string }>(
    noun
      .command('rotate')
      .description('seal under a new key, and wrap what is kept anew')
      .requiredOption('--reason <text>', 'kept in the audit log'),
    cli,
    async ({ api, options, terminal }) => {
      const { reason } = options
      const { body } = await api.send('POST', '/api/v1/seal/rotate', { reason })
      if (options.json) printJson(body, terminal)
      else terminal.stderr(`A new seal key; wrapped anew: ${String((body as Row)['wrapped'])}.\n`)
    },
  )
}
