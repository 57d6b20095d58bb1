import type { Command } from 'commander'
import { dialects, roles } from '../../domain/client.ts'
import {
  apiCommand,
  type Cli,
  column,
  idColumn,
  printJson,
  printList,
  printRecord,
  printRows,
  suggest,
} from '../command.ts'
import { CommandFailure, exitCodes, type Row } from '../terminal.ts'

interface CreateOptions {
  readonly name: string
  readonly role: string
  readonly dialect?: string
  readonly tenant?: string
  readonly directory?: string
  readonly person?: string
}

interface AttributeReport {
  readonly attributes: readonly {
    readonly resource: string
    readonly path: string
    readonly expected: string | null
    readonly forms: readonly Row[]
  }[]
  readonly neverSent: readonly {
    readonly resource: string
    readonly path: string
    readonly why: string
  }[]
}

export function registerClient(program: Command, cli: Cli): void {
  const noun = program.command('client').description('who may call the API, and as what')

  apiCommand<CreateOptions>(
    suggest(
      noun
        .command('create')
        .description('create a client and print its token, once')
        .requiredOption('--name <name>', 'what people call it')
        .requiredOption('--role <role>', 'what it may do')
        .option('--dialect <dialect>', 'how it speaks SCIM (default: lenient)')
        .option('--tenant <tenant>', 'tenant it belongs to; only default in this version')
        .option('--directory <name>', 'role directory: the directory it keeps')
        .option('--person <id>', 'the person it acts for'),
      { '--role': roles, '--dialect': dialects },
    ),
    cli,
    async ({ api, options, terminal }) => {
      oneOf('--role', options.role, roles)
      if (options.dialect) oneOf('--dialect', options.dialect, dialects)
      if ((options.role === 'directory') !== (options.directory !== undefined)) {
        throw new CommandFailure(
          exitCodes.usage,
          '--directory is required for role directory, and for no other.',
        )
      }
      const { name, role, dialect, tenant, directory, person } = options
      const { body } = await api.send('POST', '/api/v1/clients', {
        name,
        role,
        ...(dialect ? { dialect } : {}),
        ...(tenant ? { tenant } : {}),
        ...(directory ? { directory } : {}),
        ...(person ? { person } : {}),
      })
      const { id, token } = body as { readonly id: string; readonly token: string }
      printRecord({ id, token }, options, terminal)
      terminal.stderr(
        'The token is shown this once and is not stored; keep it in a secret store.\n',
      )
    },
  )
  apiCommand<{ limit?: string }>(
    noun
      .command('list')
      .description('clients of the tenant')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/clients',
        columns: [
          idColumn,
          column('name'),
          column('role'),
          column('dialect'),
          column('directory'),
          column('person'),
          column('last used', 'lastUsedAt'),
          column('revoked', 'revokedAt'),
        ],
        none: 'No clients.',
      }),
  )
  apiCommand(
    noun
      .command('attributes <id>')
      .description('what a client sends of each attribute, beside what is expected'),
    cli,
    async ({ api, options, terminal }, id) => {
      const { body } = await api.send('GET', `/api/v1/clients/${encodeURIComponent(id)}/attributes`)
      if (options.json) return printJson(body, terminal)
      const report = body as AttributeReport
      const rows = report.attributes.flatMap(({ forms, ...attribute }) =>
        forms.map((form) => ({ ...attribute, ...form, expected: attribute.expected ?? 'unknown' })),
      )
      const columns = [
        column('resource'),
        column('attribute', 'path'),
        column('expected'),
        column('sent as', 'form'),
        column('count'),
        column('treatment'),
        column('last', 'lastAt'),
        column('by', 'operation'),
      ]
      printRows(rows, { columns, none: 'This client has sent nothing yet.' }, options, terminal)
      for (const { resource, path, why } of report.neverSent) {
        terminal.stderr(`Never sent: ${resource} ${path} (${why}).\n`)
      }
    },
  )
  apiCommand(
    noun.command('revoke <id>').description('end a client and all its tokens'),
    cli,
    async ({ api, terminal }, id) => {
      await api.send('DELETE', `/api/v1/clients/${encodeURIComponent(id)}`)
      terminal.stderr(`Client ${id} is revoked.\n`)
    },
  )
}

function oneOf(option: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return
  throw new CommandFailure(exitCodes.usage, `${option} must be one of: ${allowed.join(', ')}.`)
}
