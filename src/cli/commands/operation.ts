import type { Command } from 'commander'
import type { ApiClient } from '../connection.ts'
import {
  apiCommand,
  type ApiOptions,
  type Cli,
  column,
  idColumn,
  printList,
  printRecord,
} from '../command.ts'
import { progress } from '../progress.ts'
import { cellText, type ExitCode, exitCodes, type Row, type Terminal } from '../terminal.ts'

const columns = [
  idColumn,
  column('kind'),
  column('status'),
  column('step'),
  column('subject'),
  column('attempt'),
  column('run at', 'runAt'),
  column('failure'),
]

const watchExits = `Exit codes, also of --wait: 0 it succeeded; 1 it failed; 5 it was cancelled; 6 it is done in part
and needs an operator; 8 a provider or sink refused, or could not be reached.`

const pollMilliseconds = { first: 100, longest: 2_000 }

export function registerOperation(program: Command, cli: Cli): void {
  const noun = program.command('operation').description('the journal of queued work')

  apiCommand<{ limit?: string; subject?: string; status?: string }>(
    noun
      .command('list')
      .description('operations, newest first')
      .option('--subject <id>', 'only those on this account, credential or person')
      .option('--status <status>', 'only those in this status')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/operations',
        query: { subject: session.options.subject, status: session.options.status },
        columns,
        none: 'No operations.',
      }),
  )
  apiCommand(
    noun.command('show <id>').description('one operation'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('GET', route(id))
      printRecord(body, options, terminal)
    },
  )
  apiCommand(
    noun.command('retry <id>').description('go on now with what needs an operator or waits'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('POST', `${route(id)}/retry`, {})
      printRecord(body, options, terminal)
    },
  )
  apiCommand(
    noun
      .command('cancel <id>')
      .description('give up an issue or a rotation; what takes access away is never given up'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('POST', `${route(id)}/cancel`, {})
      printRecord(body, options, terminal)
    },
  )
  apiCommand<{ consumer: string; reason: string }>(
    noun
      .command('waive <id>')
      .description('answer for a consumer that a rotation waits for')
      .requiredOption('--consumer <name>', 'its name, or "*" for everybody')
      .requiredOption('--reason <text>', 'kept in the audit log'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { consumer, reason } = options
      const { body } = await api.send('POST', `${route(id)}/waive`, { consumer, reason })
      printRecord(body, options, terminal)
    },
  )
  apiCommand(
    noun
      .command('watch <id>')
      .description('wait until it has finished or needs an operator; the exit code tells how')
      .addHelpText('after', `\n${watchExits}`),
    cli,
    async ({ api, options, terminal }, id) => watch(id, api, options, terminal),
  )
}

function route(id: string): string {
  return `/api/v1/operations/${encodeURIComponent(id)}`
}

/**
 * Reports an effect that was only queued; with `--wait`, how it ended.
 * @param enough says what was reached when waiting on would be for the operation's last steps only
 */
export async function reportQueued(
  queued: unknown,
  session: {
    readonly api: ApiClient
    readonly options: ApiOptions & { readonly wait?: boolean }
    readonly terminal: Terminal
  },
  enough?: () => Promise<string | null>,
): Promise<ExitCode> {
  const { api, options, terminal } = session
  const operation = queued as Row | null
  const id = operation?.['id']
  if (options.wait && typeof id === 'string') return watch(id, api, options, terminal, enough)
  printRecord(operation ?? {}, options, terminal)
  if (typeof id === 'string' && !options.json) {
    terminal.stderr(`Queued. Follow it with: custody operation watch ${id}\n`)
  }
  return exitCodes.ok
}

/** Polls until the operation has finished, one line on stderr per change. */
async function watch(
  id: string,
  api: ApiClient,
  options: ApiOptions,
  terminal: Terminal,
  enough: () => Promise<string | null> = () => Promise.resolve(null),
): Promise<ExitCode> {
  const line = progress(terminal, !options.json)
  let seen = ''
  for (
    let pause = pollMilliseconds.first;
    ;
    pause = Math.min(pause * 2, pollMilliseconds.longest)
  ) {
    const operation = (await api.send('GET', route(id))).body as Row
    const status = String(operation['status'])
    const now = [status, operation['step']].filter(Boolean).join(' · ')
    const text = `${cellText(operation['kind'])}: ${now}`
    if (now !== seen) {
      line.clear()
      terminal.stderr(`${text}\n`)
    }
    if (now !== seen) pause = pollMilliseconds.first
    seen = now
    const code = exitCodeOfOperation(status, operation['failure'])
    if (code !== null) {
      line.clear()
      printRecord(operation, options, terminal)
      return code
    }
    const reached = await enough()
    if (reached !== null) {
      line.clear()
      printRecord(operation, options, terminal)
      terminal.stderr(`${reached} Follow the rest with: custody operation watch ${id}\n`)
      return exitCodes.ok
    }
    line.tell(text)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

const providerFailures = [
  'throttled',
  'unavailable',
  'denied',
  'notFound',
  'conflict',
  'limit',
  'invalid',
]

/** @returns null while it is still open */
function exitCodeOfOperation(status: string, failure: unknown): ExitCode | null {
  const isProviders = providerFailures.includes(String((failure as Row | null)?.['code']))
  switch (status) {
    case 'succeeded':
      return exitCodes.ok
    case 'failed':
      return isProviders ? exitCodes.providerFailed : exitCodes.failed
    case 'cancelled':
      return exitCodes.conflict
    case 'needsOperator':
      return isProviders ? exitCodes.providerFailed : exitCodes.partial
    default:
      return null
  }
}
