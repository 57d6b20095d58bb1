import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import type { ApiClient } from '../connection.ts'
import {
  apiCommand,
  type Cli,
  column,
  confirm,
  printJson,
  printRows,
  resolveId,
} from '../command.ts'
import type { ExitCode, Row } from '../terminal.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

interface EjectOptions {
  readonly provider?: string
  readonly account?: readonly string[]
  readonly includeTokens?: boolean
  readonly reason?: string
  readonly dryRun?: boolean
  readonly output?: string
  readonly yes?: boolean
}

interface HandOver {
  readonly account: string
  readonly userName: string
  readonly owner: { readonly type: string; readonly id: string }
  readonly state: string
  readonly handedBackAt: string | null
  readonly credentials: readonly {
    readonly credential: string
    readonly provider: string
    readonly kind: string
    readonly keyIds: readonly string[]
    readonly secretAt: string | null
    readonly secretRef: string | null
    readonly expiresAt: string
    readonly endsWithCustody: boolean
  }[]
  readonly principals: readonly {
    readonly provider: string
    readonly principal: string | null
    readonly removed: readonly string[]
    readonly stays: readonly string[]
  }[]
  readonly operation: { readonly id: string } | null
}

interface Refused {
  readonly account: string
  readonly userName: string
  readonly why: string
}

/** `custody eject`: leaves Custody; every account is a request of its own, so a second run goes on. */
export function registerEject(program: Command, cli: Cli): void {
  apiCommand<EjectOptions>(
    program
      .command('eject')
      .description('hand every credential back as it is; Custody does not manage it any more')
      .option('--provider <name>', 'only accounts with something at this provider')
      .option('--account <account...>', 'only these, by userName or id')
      .option('--include-tokens', 'also accounts with tokens that live only in Custody')
      .option('--reason <text>', 'kept in the audit log')
      .option('--dry-run', 'only say what would be handed back')
      .option('--output <file>', 'write the hand-over there, as .json or .csv')
      .option('--yes', 'do not ask'),
    cli,
    async ({ api, options, terminal }): Promise<ExitCode> => {
      const { dryRun = false, output } = options
      const file = output === undefined ? null : path.resolve(terminal.cwd, output)
      const write = file === null ? null : writerFor(file)
      if (!dryRun && !options.reason) {
        throw new CommandFailure(exitCodes.usage, 'Say why: --reason "we are leaving".')
      }
      const refused: Refused[] = []
      const planned: HandOver[] = []
      for (const account of await accountsOf(api, options)) {
        const handOver = await orRefused(refused, account, () => send(api, account.id, {}, true))
        const isThere = (at: string) =>
          handOver!.credentials.some(({ provider }) => provider === at) ||
          handOver!.principals.some(({ provider }) => provider === at)
        if (!handOver || (options.provider && !isThere(options.provider))) continue
        planned.push(handOver)
      }
      terminal.stderr(`${summary(planned)}\n`)
      const answers = dryRun ? planned : await acted()
      async function acted(): Promise<readonly HandOver[]> {
        const warning = 'Custody will not rotate, expire or end any of these keys again.'
        await confirm(warning, options, terminal)
        // Before anything is handed back: afterwards the list is all that tells where keys lie.
        if (file !== null) await orUnwritable(file, writeFile(file, '', { flag: 'a', mode: 0o600 }))
        const { reason, includeTokens = false } = options
        const done: HandOver[] = []
        for (const plan of planned) {
          const of = { id: plan.account, userName: plan.userName }
          const body = { reason, includeTokens }
          const handOver = await orRefused(refused, of, () => handBack(api, plan.account, body))
          if (handOver) done.push(handOver)
        }
        return done
      }
      if (write) await write(answers)
      if (options.json) printJson({ handedBack: answers, refused }, terminal)
      else {
        const columns = [
          column('account', 'userName'),
          ...['state', 'provider', 'keys', 'secret', 'ends', 'removed'].map((c) => column(c, c)),
        ]
        printRows(answers.flatMap(shown), { columns, none: 'Nothing.' }, options, terminal)
      }
      for (const { userName, why } of refused) terminal.stderr(`${userName}: ${why}\n`)
      return refused.length === 0 ? exitCodes.ok : exitCodes.partial
    },
  )
}

async function accountsOf(
  api: ApiClient,
  { account }: EjectOptions,
): Promise<readonly { readonly id: string; readonly userName: string }[]> {
  if (account) {
    // All of them before the first is handed back: a typo must not be found half-way.
    const ids = await Promise.all(account.map((name) => resolveId('account', name, api)))
    const named = new Map(ids.map((id, at) => [id, account[at]!]))
    return [...named].map(([id, userName]) => ({ id, userName }))
  }
  const { rows } = await api.list('/api/v1/accounts', {}, null)
  return (
    rows
      // Nothing is left of what was retired, but what was handed back belongs in the list.
      .filter((row) => row['status'] !== 'retired' || row['statusReason'] === 'ejected')
      .map((row) => ({ id: String(row['id']), userName: String(row['userName']) }))
  )
}

async function send(api: ApiClient, id: string, body: object, dryRun: boolean): Promise<HandOver> {
  const route = `/api/v1/accounts/${encodeURIComponent(id)}/eject${dryRun ? '?dryRun=true' : ''}`
  return (await api.send('POST', route, body)).body as HandOver
}

const pollMilliseconds = 250

async function handBack(api: ApiClient, id: string, body: object): Promise<HandOver> {
  const { operation } = await send(api, id, body, false)
  while (operation !== null) {
    const now = (await api.send('GET', `/api/v1/operations/${operation.id}`)).body as Row
    const status = String(now['status'])
    if (status === 'succeeded') break
    if (status === 'needsOperator' || status === 'failed' || status === 'cancelled') {
      const why = (now['failure'] as { readonly message?: string } | null)?.message ?? status
      throw new CommandFailure(exitCodes.providerFailed, `operation ${operation.id}: ${why}`)
    }
    await new Promise((resolve) => setTimeout(resolve, pollMilliseconds))
  }
  return send(api, id, {}, true)
}

const ofOneAccount: ReadonlySet<ExitCode> = new Set([
  exitCodes.conflict,
  exitCodes.notFound,
  exitCodes.providerFailed,
])

/** One account that cannot be handed back does not keep the others. */
async function orRefused(
  refused: Refused[],
  { id, userName }: { readonly id: string; readonly userName: string },
  act: () => Promise<HandOver>,
): Promise<HandOver | null> {
  try {
    return await act()
  } catch (error) {
    const isOfOne = error instanceof CommandFailure && ofOneAccount.has(error.exitCode)
    if (!isOfOne) throw error
    refused.push({ account: id, userName, why: error.message })
    return null
  }
}

function summary(answers: readonly HandOver[]): string {
  const credentials = answers.flatMap((answer) => answer.credentials)
  const tokens = credentials.filter((credential) => credential.endsWithCustody).length
  const keys = credentials.reduce((n, { keyIds }) => n + keyIds.length, 0)
  return `${answers.length} accounts with ${keys} keys; ${tokens} credentials live only in Custody and end with it.`
}

/** One row per credential: what whoever goes on has to know. */
function shown(handOver: HandOver): readonly Record<string, string>[] {
  return handOver.credentials.map((credential) => {
    const at = handOver.principals.find(({ provider }) => provider === credential.provider)
    return {
      account: handOver.account,
      userName: handOver.userName,
      owner: `${handOver.owner.type} ${handOver.owner.id}`,
      state: credential.endsWithCustody ? 'ends with Custody' : handOver.state,
      provider: credential.provider,
      kind: credential.kind,
      principal: at?.principal ?? '',
      keys: credential.keyIds.join(' '),
      secret: credential.secretRef ?? credential.secretAt ?? '',
      ends: `${credential.expiresAt} (not enforced)`,
      removed: at?.removed.join('; ') ?? '',
      stays: at?.stays.join('; ') ?? '',
    }
  })
}

const csvColumns = [
  'account',
  'userName',
  'owner',
  'state',
  'provider',
  'kind',
  'principal',
  'keys',
  'secret',
  'ends',
  'removed',
  'stays',
]

function writerFor(file: string): (answers: readonly HandOver[]) => Promise<void> {
  const save = (text: string) => orUnwritable(file, writeFile(file, text, { mode: 0o600 }))
  if (file.endsWith('.json')) return (answers) => save(`${JSON.stringify(answers, null, 2)}\n`)
  if (file.endsWith('.csv')) {
    return (answers) =>
      save(
        [csvColumns, ...answers.flatMap(shown).map((row) => csvColumns.map((c) => row[c] ?? ''))]
          .map((cells) => `${cells.map(csvCell).join(',')}\r\n`)
          .join(''),
      )
  }
  throw new CommandFailure(exitCodes.usage, '--output takes a file that ends in .json or .csv.')
}

async function orUnwritable(file: string, written: Promise<void>): Promise<void> {
  await written.catch((error: Error) => {
    throw new CommandFailure(exitCodes.usage, `${file} cannot be written: ${error.message}`, error)
  })
}

/** A spreadsheet runs what begins like a formula, whoever named the account. RFC 4180 otherwise. */
export function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
