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
import { cellText, type Row } from '../terminal.ts'
import { reportQueued } from './operation.ts'

export function registerCredential(program: Command, cli: Cli): void {
  const noun = program.command('credential').description('what accounts authenticate with')

  apiCommand<{ limit?: string; account?: string; status?: string }>(
    noun
      .command('list')
      .description('credentials, revoked ones included; never their secrets')
      .option('--account <account>', 'only those of this account')
      .option('--status <status>', 'only those in this status')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) => {
      const { account, status } = session.options
      await printList(session, {
        route: '/api/v1/credentials',
        query: {
          account:
            account === undefined ? undefined : await resolveId('account', account, session.api),
          status,
        },
        columns: [
          idColumn,
          column('account', 'serviceAccount', 'account'),
          column('provider'),
          column('kind'),
          column('status'),
          column('generation'),
          column('key', 'keyId'),
          column('last used', 'lastUsedAt'),
          column('refused', 'refusedAt'),
          column('expires', 'expiresAt'),
        ],
        none: 'No credentials.',
      })
    },
  )
  apiCommand(
    noun.command('show <id>').description('one credential; never its secret'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('GET', `/api/v1/credentials/${encodeURIComponent(id)}`)
      printRecord(body, options, terminal)
    },
  )
  apiCommand<{ wait?: boolean }>(
    noun
      .command('rotate <id>')
      .description('issue the next generation now; the old key works until the overlap ends')
      .option('--wait', 'wait until the new key works; the old one ends after the overlap'),
    cli,
    async (session, id) => {
      const { api, options } = session
      const route = `/api/v1/credentials/${encodeURIComponent(id)}`
      const read = async () => (await api.send('GET', route)).body as Row
      // Known before the rotation is asked for: what is newer than this is its work.
      const before = options.wait ? Number((await read())['generation']) : null
      const { body } = await api.send('POST', `${route}/rotate`, {})
      return reportQueued(body, session, async () => {
        const { generation, status, keyId, previousKeyId } = await read()
        const isNew = before !== null && Number(generation) > before && status === 'active'
        if (!isNew) return null
        const old = previousKeyId ? ` The old key ${cellText(previousKeyId)} ends later.` : ''
        return `The new key ${cellText(keyId)} works (generation ${cellText(generation)}).${old}`
      })
    },
  )
  apiCommand<{ wait?: boolean }>(
    noun
      .command('rehearse <id>')
      .description('rotate, wait until the consumers have moved, and give them the old key back')
      .option('--wait', 'wait until it is over, which takes two overlaps'),
    cli,
    async (session, id) => {
      const route = `/api/v1/credentials/${encodeURIComponent(id)}/rehearse`
      const { body } = await session.api.send('POST', route, {})
      return reportQueued(body, session)
    },
  )
  apiCommand<{ wait?: boolean; reason?: string }>(
    noun
      .command('revoke <id>')
      .description('end it for good and prove it dead by trying it')
      .option('--reason <text>', 'kept in the audit log')
      .option('--wait', 'wait until it is done'),
    cli,
    async (session, id) => {
      const { api, options } = session
      const { body } = await api.send(
        'POST',
        `/api/v1/credentials/${encodeURIComponent(id)}/revoke`,
        options.reason ? { reason: options.reason } : {},
      )
      return reportQueued(body, session)
    },
  )
}
