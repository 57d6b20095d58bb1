import type { Command } from 'commander'
import type { ApiClient } from '../client.ts'
import {
  apiCommand,
  type ApiOptions,
  type Cli,
  column,
  idColumn,
  printList,
  printRecord,
} from '../command.ts'
import { type ExitCode, exitCodes, type Row, type Terminal } from '../terminal.ts'

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
    noun.command('retry <id>').description('repeat what failed or waits for an operator'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('POST', `${route(id)}/retry`, {})
      printRecord(body, options, terminal)
    },
  )
  apiCommand(
    noun.command('watch <id>').description('wait until it has finished; the exit code tells how'),
    cli,
    async ({ api, options, terminal }, id) => watch(id, api, options, terminal),
  )
}

function route(id: string): string {
  return `/api/v1/operations/${encodeURIComponent(id)}`
}

/** Reports an effect that was only queued; with `--wait`, how it ended. */
export async function reportQueued(
  queued: unknown,
  session: {
    readonly api: ApiClient
    readonly options: ApiOptions & { readonly wait?: boolean }
    readonly terminal: Terminal
  },
): Promise<ExitCode> {
  const { api, options, terminal } = session
  const operation = queued as Row | null
  const id = operation?.['id']
  if (options.wait && typeof id === 'string') return watch(id, api, options, terminal)
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
): Promise<ExitCode> {
  let seen = ''
  for (
    let pause = pollMilliseconds.first;
    ;
    pause = Math.min(pause * 2, pollMilliseconds.longest)
  ) {
    const operation = (await api.send('GET', route(id))).body as Row
    const status = String(operation['status'])
    const now = [status, operation['step']].filter(Boolean).join(' · ')
    if (now !== seen) terminal.stderr(`${String(operation['kind'])}: ${now}\n`)
    if (now !== seen) pause = pollMilliseconds.first
    seen = now
    const code = exitCodeOfOperation(status, operation['failure'])
    if (code !== null) {
      printRecord(operation, options, terminal)
      return code
    }
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

const providerFailures = ['throttled', 'unavailable', 'denied', 'limit', 'invalid', 'conflict']

/** @returns null while it is still open */
function exitCodeOfOperation(status: string, failure: unknown): ExitCode | null {
  const code = (failure as Row | null)?.['code']
  switch (status) {
    case 'succeeded':
      return exitCodes.ok
    case 'failed':
      return providerFailures.includes(String(code)) ? exitCodes.providerFailed : exitCodes.failed
    case 'cancelled':
      return exitCodes.conflict
    case 'needsOperator':
      return exitCodes.waiting
    default:
      return null
  }
}
