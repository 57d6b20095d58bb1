import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  idColumn,
  printJson,
  printList,
  printRecord,
  printRows,
  resolveId,
} from '../command.ts'
import type { Row } from '../terminal.ts'
import { registerOwnerMove } from './owner-move.ts'
import { reportQueued } from './operation.ts'

/** What `owner impact` answers: what would be decided now, by the deciding function itself. */
const impactColumns = [
  column('account', 'userName', 'account'),
  column('last used', 'lastUsedAt'),
  column('decision'),
  column('rule'),
  column('until', 'disableAt'),
  column('grace until', 'graceUntil'),
  // Their next call may fail once the leaver's keys end: a longer leaver.overlap avoids it.
  {
    title: 'still cached by',
    value: (row: Row) => ((row['stillCachedBy'] ?? []) as readonly string[]).join(', '),
  },
  // Of somebody held back: what letting them go would do.
  {
    title: 'once let go',
    value: (row: Row) => (row['whenReleased'] as Row | undefined)?.['decision'],
  },
]

export function registerOwner(program: Command, cli: Cli): void {
  const noun = program.command('owner').description('people, and what hangs on them')
  registerOwnerMove(noun, cli)

  apiCommand<{ limit?: string }>(
    noun
      .command('list')
      .description('people, those who left included')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/owners',
        columns: [
          idColumn,
          column('userName'),
          column('name', 'displayName'),
          column('active'),
          column('accounts'),
          column('directory'),
          column('left', 'leftAt'),
        ],
        none: 'No people.',
      }),
  )
  apiCommand(
    noun.command('show <owner>').description('one person, by userName or id'),
    cli,
    async ({ api, options, terminal }, name) => {
      const id = await resolveId('owner', name, api)
      printRecord((await api.send('GET', `/api/v1/owners/${id}`)).body, options, terminal)
    },
  )
  apiCommand(
    noun.command('impact <owner>').description('what would happen if this person left now'),
    cli,
    async ({ api, options, terminal }, name) => {
      const id = await resolveId('owner', name, api)
      const { body } = await api.send('GET', `/api/v1/owners/${id}/impact`)
      if (options.json) return printJson(body, terminal)
      const rows = ((body as Row | null)?.['items'] ?? []) as readonly Row[]
      printRows(rows, { columns: impactColumns, none: `${name} owns nothing.` }, options, terminal)
    },
  )
  apiCommand<{
    wait?: boolean
    reason?: string
    since?: string
    security?: boolean
  }>(
    noun
      .command('leave <owner>')
      .description('declare that this person left; never held back')
      .option('--reason <text>', 'kept in the audit log')
      .option('--since <instant>', 'when they left, e.g. 2026-11-02T17:00:00Z; for the report')
      .option('--security', 'a security event: no grace counts, and the audit says so')
      .option('--wait', 'wait until all of it is done'),
    cli,
    async (session, name) => {
      const { api, options } = session
      const id = await resolveId('owner', name, api)
      const { body } = await api.send('POST', `/api/v1/owners/${id}/leave`, {
        ...(options.reason ? { reason: options.reason } : {}),
        ...(options.since ? { since: options.since } : {}),
        ...(options.security ? { class: 'security' } : {}),
      })
      return reportQueued(body, session)
    },
  )
}
