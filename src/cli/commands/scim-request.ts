import type { Command } from 'commander'
import { apiCommand, type Cli, column, idColumn, printList, printRecord } from '../command.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

interface ReplayOptions {
  readonly client?: string
  readonly dryRun?: boolean
  readonly force?: boolean
}

interface Rerun {
  readonly id: string
  readonly status: number
  readonly detail: string | null
  readonly overtaken: boolean
}

interface Reruns {
  readonly accepted: number
  readonly refused: number
  readonly items: readonly Rerun[]
  readonly cursor: string | null
}

const base = '/api/v1/scim-requests/failed'

export function registerScimRequest(program: Command, cli: Cli): void {
  const noun = program
    .command('scim-request')
    .description('writes of a connection that failed: look at them, run them again, sign them off')

  apiCommand<{ client?: string; state?: string; limit?: string }>(
    noun
      .command('list')
      .description('what failed, in the order in which it failed')
      .option('--client <id>', 'of one connection')
      .option('--state <state>', 'open (default), settled, replayed or signedOff')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: base,
        query: { client: session.options.client, state: session.options.state },
        columns: [
          idColumn,
          column('method'),
          column('route'),
          column('status'),
          column('times'),
          column('last', 'lastAt'),
          column('error'),
        ],
        none: 'Nothing failed.',
      }),
  )
  apiCommand(
    noun.command('show <id>').description('one of them, with what was sent (masked)'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('GET', `${base}/${encodeURIComponent(id)}`)
      printRecord(body, options, terminal)
    },
  )
  apiCommand<ReplayOptions>(
    noun
      .command('replay [id]')
      .description('run it again as the client that sent it, once the cause is gone')
      .option('--client <id>', 'everything of this connection that is open, oldest first')
      .option('--dry-run', 'say what would be answered, and keep nothing')
      .option('--force', 'also what was written since by somebody else'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { client, dryRun, force } = options
      if ((id === undefined) === (client === undefined)) {
        const sentence = 'Name one request, or a connection with --client.'
        throw new CommandFailure(exitCodes.usage, sentence)
      }
      const query = dryRun ? '?dryRun=true' : ''
      const wish = force ? { force } : {}
      if (client === undefined) {
        const route = `${base}/${encodeURIComponent(id)}/replay${query}`
        const { body } = await api.send('POST', route, wish)
        printRecord(body, options, terminal)
        return (body as Rerun).detail === null ? exitCodes.ok : exitCodes.failed
      }
      const all: Rerun[] = []
      for (let after: string | null = null; ;) {
        const page: Reruns = (
          await api.send('POST', `${base}/replay${query}`, {
            client,
            ...wish,
            ...(after === null ? {} : { after }),
          })
        ).body as Reruns
        all.push(...page.items)
        after = page.cursor
        if (after === null) break
      }
      const refused = all.filter((item) => item.detail !== null)
      if (options.json) terminal.stdout(`${JSON.stringify(all)}\n`)
      else {
        for (const { id: one, status, detail } of all) {
          terminal.stdout(`${one}  ${status}  ${detail ?? (dryRun ? 'would be accepted' : 'ok')}\n`)
        }
      }
      const verb = dryRun ? 'would be accepted' : 'accepted'
      terminal.stderr(`${all.length - refused.length} ${verb}, ${refused.length} refused again.\n`)
      return refused.length === 0 ? exitCodes.ok : exitCodes.partial
    },
  )
  apiCommand<{ reason: string }>(
    noun
      .command('sign-off <id>')
      .description('it need not be run again; say why')
      .requiredOption('--reason <text>', 'kept in the audit log'),
    cli,
    async ({ api, options, terminal }, id) => {
      const route = `${base}/${encodeURIComponent(id)}/sign-off`
      const { body } = await api.send('POST', route, { reason: options.reason })
      printRecord(body, options, terminal)
      if (!options.json) terminal.stderr(`Request ${id} is signed off.\n`)
    },
  )
}
