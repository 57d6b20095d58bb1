import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { apiCommand, type Cli, column, idColumn, printList, printRecord } from '../command.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

interface DoneOptions {
  readonly evidence?: string
  readonly note?: string
  readonly removed?: boolean
}

/** What the server takes. */
const evidenceBytesMax = 256 * 1_024

const mediaTypes: Readonly<Record<string, string>> = {
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.pdf': 'application/pdf',
  '.txt': 'text/plain',
  '.json': 'application/json',
}

export function registerTask(program: Command, cli: Cli): void {
  const noun = program
    .command('task')
    .description('what only people can do, and the evidence they show')

  apiCommand<{ status?: string; assignee?: string; limit?: string }>(
    noun
      .command('list')
      .description('tasks, newest first')
      .option('--status <status>', 'open, done or cancelled')
      .option('--assignee <id>', 'asked of one person')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) => {
      const { status, assignee } = session.options
      return printList(session, {
        route: '/api/v1/tasks',
        query: { status, assignee },
        columns: [
          idColumn,
          column('action'),
          column('provider'),
          column('key', 'keyId'),
          column('assignee'),
          column('due', 'dueAt'),
          {
            title: 'status',
            value: (row) => (row['overdue'] === true ? 'overdue' : row['status']),
          },
        ],
        none: 'No tasks.',
      })
    },
  )
  apiCommand(
    noun.command('show <id>').description('one task: what to do, and where'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('GET', `/api/v1/tasks/${encodeURIComponent(id)}`)
      printRecord(body, options, terminal)
    },
  )
  apiCommand<DoneOptions>(
    noun
      .command('done <id>')
      .description('show that it is done; what waited for it goes on')
      .option('--evidence <file>', 'a screenshot or an export, at most 256 KiB; kept as it is')
      .option('--note <text>', 'what was done')
      .option('--removed', 'it is gone for good, not only switched off'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { evidence, note, removed } = options
      if (evidence === undefined && note === undefined) {
        const sentence = 'Show something: --evidence FILE, --note TEXT, or both.'
        throw new CommandFailure(exitCodes.usage, sentence)
      }
      const { body } = await api.send('POST', `/api/v1/tasks/${encodeURIComponent(id)}/evidence`, {
        ...(note === undefined ? {} : { note }),
        ...(removed ? { removed } : {}),
        ...(evidence === undefined ? {} : await fileOf(path.resolve(terminal.cwd, evidence))),
      })
      printRecord(body, options, terminal)
      if (!options.json) terminal.stderr(`Task ${id} is done.\n`)
    },
  )
  apiCommand<{ reason: string }>(
    noun
      .command('reopen <id>')
      .description('the evidence is not good enough')
      .requiredOption('--reason <text>', 'kept in the audit log'),
    cli,
    async ({ api, options, terminal }, id) => {
      const route = `/api/v1/tasks/${encodeURIComponent(id)}/reopen`
      const { body } = await api.send('POST', route, { reason: options.reason })
      printRecord(body, options, terminal)
    },
  )
}

async function fileOf(file: string) {
  const bytes = await readFile(file).catch((cause: Error) => {
    throw new CommandFailure(exitCodes.usage, `${file} cannot be read: ${cause.message}.`, cause)
  })
  if (bytes.length === 0 || bytes.length > evidenceBytesMax) {
    const sentence = `${file} has ${bytes.length} bytes; evidence has 1 to ${evidenceBytesMax}.`
    throw new CommandFailure(exitCodes.usage, sentence)
  }
  const type = mediaTypes[path.extname(file).toLowerCase()]
  return {
    name: path.basename(file),
    ...(type ? { contentType: type } : {}),
    sha256: createHash('sha256').update(bytes).digest('hex'),
    content: bytes.toString('base64'),
  }
}
