import type { Command } from 'commander'
import { accountKinds } from '../../domain/account.ts'
import { nearest } from '../../domain/errors.ts'
import {
  apiCommand,
  type Cli,
  column,
  idColumn,
  nhiSchema,
  printList,
  printRecord,
  resolveId,
  suggest,
} from '../command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Row } from '../terminal.ts'
import { reportQueued } from './operation.ts'

interface RequestOptions {
  readonly owner: string
  readonly purpose: string
  readonly kind: string
  readonly backup?: readonly string[]
  readonly environment?: string
  readonly label?: readonly string[]
  readonly expires?: string
  readonly credential?: readonly string[]
  readonly wait?: boolean
}

interface EffectOptions {
  readonly reason?: string
  readonly wait?: boolean
}

const coreSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'

export function registerAccount(program: Command, cli: Cli): void {
  const noun = program.command('account').description('service accounts')
  registerReading(noun, cli)
  registerRequest(noun, cli)
  registerEffect(noun, cli, 'disable', 'switch off all credentials; nothing is deleted')
  registerEffect(noun, cli, 'enable', 'switch on again')
  registerEffect(noun, cli, 'retire', 'switch off now and delete after the hold')

  apiCommand<{ to: string; now?: boolean; reason?: string }>(
    noun
      .command('transfer <account>')
      .description('offer the account to another owner, who must accept')
      .requiredOption('--to <owner>', 'userName or id of the person')
      .option(
        '--now',
        'pass it at once, without asking the new owner; needs --reason (security, admin)',
      )
      .option('--reason <text>', 'kept in the audit log'),
    cli,
    async ({ api, options, terminal }, name) => {
      if (options.now && !options.reason) {
        throw new CommandFailure(exitCodes.usage, '--now needs a --reason, for the audit log.')
      }
      const [account, owner] = await Promise.all([
        resolveId('account', name, api),
        resolveId('owner', options.to, api),
      ])
      const { body } = await api.send('POST', `/api/v1/accounts/${account}/transfer`, {
        owner,
        ...(options.now ? { atOnce: true } : {}),
        ...(options.reason ? { reason: options.reason } : {}),
      })
      printRecord(body ?? { account, owner }, options, terminal)
    },
  )

  apiCommand<{ extend?: boolean; reason?: string }>(
    noun
      .command('certify <account>')
      .description('confirm that the account is still needed')
      .option('--extend', 'move its end to the latest that policy allows, counted from now')
      .option('--reason <text>', 'kept in the audit log'),
    cli,
    async ({ api, options, terminal }, name) => {
      const id = await resolveId('account', name, api)
      const { body } = await api.send('POST', `/api/v1/accounts/${id}/certify`, {
        extend: options.extend === true,
        ...(options.reason ? { reason: options.reason } : {}),
      })
      printRecord(body ?? { id }, options, terminal)
    },
  )
}

function registerReading(noun: Command, cli: Cli): void {
  apiCommand<{ limit?: string; owner?: string; status?: string }>(
    noun
      .command('list')
      .description('accounts, retired ones included')
      .option('--owner <owner>', 'only those of this person')
      .option('--status <status>', 'only those in this status')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) => {
      const { owner, status } = session.options
      await printList(session, {
        route: '/api/v1/accounts',
        query: {
          owner: owner === undefined ? undefined : await resolveId('owner', owner, session.api),
          status,
        },
        columns: [
          idColumn,
          column('userName'),
          column('status'),
          column('reason', 'statusReason'),
          column('owner'),
          column('environment'),
          column('expires', 'expiresAt'),
        ],
        none: 'No accounts.',
      })
    },
  )
  apiCommand(
    noun.command('show <account>').description('one account, by userName or id'),
    cli,
    async ({ api, options, terminal }, name) => {
      const id = await resolveId('account', name, api)
      const { body } = await api.send('GET', `/api/v1/accounts/${id}`)
      if (options.json) return printRecord(body, options, terminal)
      const { accountCard } = await import('./account-card.ts')
      terminal.stdout(await accountCard(body as Row, api, terminal))
    },
  )
}

function registerRequest(noun: Command, cli: Cli): void {
  const collect = (value: string, earlier: readonly string[] = []) => [...earlier, value]
  apiCommand<RequestOptions>(
    suggest(
      noun
        .command('request <userName>')
        .description('ask for a new account')
        .requiredOption('--owner <owner>', 'userName or id of the person who answers for it')
        .requiredOption('--purpose <text>', 'what it is for')
        .option('--kind <kind>', 'what it is', 'serviceAccount')
        .option('--backup <owner>', 'heir; repeat in order', collect)
        .option('--environment <name>', 'selects policy, e.g. prod')
        .option('--label <key=value>', 'selects policy; repeatable', collect)
        .option('--expires <dateTime>', 'end date (default: by policy)')
        .option(
          '--credential <list>',
          'provider=NAME,kind=KIND[,scope=…][,sink=NAME][,path=PATH]; repeatable',
          collect,
        )
        .option('--wait', 'wait until it is provisioned'),
      { '--kind': accountKinds },
    ),
    cli,
    async (session, userName) => {
      const { api, options, terminal } = session
      const body = await requestBody(userName, options, (name) => resolveId('owner', name, api))
      const answer = await api.send('POST', '/scim/v2/Users', body)
      const account = answer.body as Row
      if (!options.json) terminal.stderr(`Account ${String(account['id'])} is requested.\n`)
      if (options.wait && answer.operation) {
        return reportQueued({ id: answer.operation }, session)
      }
      printRecord(options.json ? account : summary(account, answer.operation), options, terminal)
      return exitCodes.ok
    },
  )
}

function summary(account: Row, operation: string | null): Row {
  const nhi = account[nhiSchema] as Row | undefined
  return {
    id: account['id'],
    userName: account['userName'],
    status: nhi?.['status'],
    expiresAt: nhi?.['expiresAt'],
    operation,
  }
}

async function requestBody(
  userName: string,
  options: RequestOptions,
  ownerId: (name: string) => Promise<string>,
): Promise<Row> {
  const credentials = (options.credential ?? []).map(parseCredential)
  const [owner, ...backups] = await Promise.all(
    [options.owner, ...(options.backup ?? [])].map(ownerId),
  )
  return {
    schemas: [coreSchema, nhiSchema],
    userName,
    [nhiSchema]: {
      kind: options.kind,
      owner: { value: owner, type: 'User' },
      purpose: options.purpose,
      ...(backups.length
        ? { backupOwners: backups.map((value) => ({ value, type: 'User' })) }
        : {}),
      ...(options.environment ? { environment: options.environment } : {}),
      ...(options.label ? { labels: options.label } : {}),
      ...(options.expires ? { expiresAt: options.expires } : {}),
      ...(credentials.length ? { credentials } : {}),
    },
  }
}

const credentialKeys = ['provider', 'kind', 'scope', 'sink', 'path']

/** `provider=aws-prod,kind=access-key,scope=a,scope=b,sink=files,path=x/y` */
function parseCredential(text: string): Row {
  const values = new Map<string, string[]>()
  for (const part of text.split(',')) {
    const [key = '', ...rest] = part.split('=')
    if (!credentialKeys.includes(key) || rest.join('=') === '') {
      const hint = nearest(key, credentialKeys)
      throw new CommandFailure(
        exitCodes.usage,
        `--credential: "${part}" is not understood${hint ? `; did you mean "${hint}=…"?` : '.'} Use ${credentialKeys.map((k) => `${k}=…`).join(', ')}.`,
      )
    }
    values.set(key, [...(values.get(key) ?? []), rest.join('=')])
  }
  const [provider, kind, sink, path] = ['provider', 'kind', 'sink', 'path'].map(
    (key) => values.get(key)?.[0],
  )
  if (!provider || !kind) {
    throw new CommandFailure(exitCodes.usage, '--credential needs provider=… and kind=….')
  }
  return {
    provider,
    kind,
    ...(values.has('scope') ? { scopes: values.get('scope') } : {}),
    ...(sink || path
      ? { deliverTo: { ...(sink ? { sink } : {}), ...(path ? { path } : {}) } }
      : {}),
  }
}

function registerEffect(
  noun: Command,
  cli: Cli,
  verb: 'disable' | 'enable' | 'retire',
  description: string,
): void {
  const command = noun
    .command(`${verb} <account>`)
    .description(description)
    .option('--reason <text>', 'kept in the audit log')
    .option('--wait', 'wait until it is done')
  apiCommand<EffectOptions>(command, cli, async (session, name): Promise<ExitCode> => {
    const { api, options } = session
    const id = await resolveId('account', name, api)
    const { body } = await api.send(
      'POST',
      `/api/v1/accounts/${id}/${verb}`,
      options.reason ? { reason: options.reason } : {},
    )
    return reportQueued(body, session)
  })
}
