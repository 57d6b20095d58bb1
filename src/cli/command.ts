import type { Command } from 'commander'
import { isId } from '../domain/ids.ts'
import { type ApiClient, connect, type Connection, type Query } from './connection.ts'
import {
  type Column,
  CommandFailure,
  type ExitCode,
  exitCodes,
  record,
  type Row,
  table,
  tablePages,
  type Terminal,
} from './terminal.ts'
import { type Mutation, mutations, wordsOf } from './mutations.ts'

/** What all commands share: where they write, and the code they end with. */
export interface Cli {
  readonly terminal: Terminal
  readonly exit: (code: ExitCode) => void
}

export interface ApiOptions extends Connection {
  readonly json?: boolean
}

/** A running command that talks to a server. */
export interface Session<O> {
  readonly api: ApiClient
  readonly options: O & ApiOptions
  readonly terminal: Terminal
}

/**
 * Adds the options every such command knows, and runs it connected. A verb that changes something
 * (see mutations.ts) can be written down instead, and asks before it takes something away.
 */
export function apiCommand<O>(
  command: Command,
  cli: Cli,
  run: (session: Session<O>, ...args: string[]) => Promise<ExitCode | void>,
): Command {
  const words = wordsOf(command)
  const mutation = mutations[words]
  if (mutation) addMutationOptions(command, mutation)
  const isWatchable = command.name() === 'list' || command.name() === 'show'
  if (isWatchable) {
    command
      .option('--watch', 'again and again until Ctrl-C; JSON lines of changes off a terminal')
      .option('--interval <seconds>', 'how often --watch asks', '2')
  }
  return command
    .option('--server <url>', 'address of the server (CUSTODY_SERVER; default: the local one)')
    .option('--token-file <file>', 'file with the token (CUSTODY_TOKEN; default: the local one)')
    .option('--json', 'print JSON')
    .action(async () => {
      const options = command.opts<O & ApiOptions>()
      const { terminal } = cli
      const api = await connect(options, terminal)
      const session = { api, options, terminal }
      const act = (as: Session<O>) => run(as, ...command.args)
      let code: ExitCode | void
      if (mutation) code = await runMutation(session, words, mutation, act)
      else if (isWatchable && (options as { watch?: boolean }).watch) {
        code = await (await import('./watch.ts')).watchCommand(session, act)
      } else code = await act(session)
      cli.exit(code ?? exitCodes.ok)
    })
}

function addMutationOptions(command: Command, { destroys, isPlannedByServer }: Mutation): void {
  const has = (name: string) => command.options.some(({ long }) => long === name)
  const add = (flags: string, description: string) => {
    if (!has(flags.split(' ')[0]!)) command.option(flags, description)
  }
  add('--dry-run', 'change nothing; write a plan for "custody apply"')
  const which = isPlannedByServer ? 'with --dry-run: write a plan' : 'the plan of --dry-run'
  add('--output <file>', `${which} ("-": stdout)`)
  if (destroys === undefined) return
  add('--yes', 'do not ask')
  add('--confirm-count <n>', 'refuse unless so many accounts are hit')
}

async function runMutation<O>(
  session: Session<O>,
  words: string,
  mutation: Mutation,
  run: (session: Session<O>) => Promise<ExitCode | void>,
): Promise<ExitCode | void> {
  // Loaded when something is changed: lists and --help start without it.
  const { guarded, Recorded, recording } = await import('./guard.ts')
  const { dryRun, output } = session.options as { dryRun?: boolean; output?: string }
  if (output !== undefined && !dryRun) {
    throw new CommandFailure(exitCodes.usage, '--output goes with --dry-run.')
  }
  if (!dryRun) return run({ ...session, api: guarded(session, words, mutation) })
  const record = recording(session.api)
  const quiet = output === '-' ? { ...session.terminal, stdout: session.terminal.stderr } : null
  let code: ExitCode | void = undefined
  try {
    // What only shows itself on the way to a confirmation is not needed here.
    const options = { ...session.options, yes: true, wait: false }
    code = await run({ api: record.api, options, terminal: quiet ?? session.terminal })
  } catch (error) {
    if (!(error instanceof Recorded)) throw error
  }
  if (mutation.isPlannedByServer && output === undefined) return code
  const { writeActionPlan } = await import('./action-plan.ts')
  return writeActionPlan(session as Session<{ output?: string }>, words, record)
}

/**
 * `list` of one noun: all rows from the server, or `--limit` of them, as a table or a JSON array.
 * Each page is printed before the next is asked for: a million rows need the memory of 200. An array
 * that a failure cuts short lacks its end, so that nobody takes it for the whole.
 */
export async function printList(
  { api, options, terminal }: Session<{ readonly limit?: string }>,
  list: {
    readonly route: string
    readonly query?: Query
    readonly columns: readonly Column[]
    readonly none: string
  },
): Promise<void> {
  const limit = options.limit === undefined ? null : Number(options.limit)
  if (limit !== null && (!Number.isInteger(limit) || limit < 1)) {
    throw new CommandFailure(exitCodes.usage, '--limit must be a whole number above zero.')
  }
  let count = 0
  let isCut = false
  let print: ((rows: readonly Row[]) => string) | null = null
  let name: ((rows: readonly Row[]) => Promise<readonly Row[]>) | null = null
  for await (const page of api.pages(list.route, list.query ?? {}, limit)) {
    isCut = page.isFollowed
    if (page.rows.length === 0) continue
    if (options.json) {
      const rows = page.rows.map((row) => JSON.stringify(row, null, 2).replaceAll('\n', '\n  '))
      terminal.stdout(`${count === 0 ? '[' : ','}\n  ${rows.join(',\n  ')}`)
    } else {
      name ??= (await import('./names.ts')).namesOf(api)
      const rows = await name(page.rows)
      print ??= tablePages(list.columns, { ...page, rows }, terminal)
      terminal.stdout(print(rows))
    }
    count += page.rows.length
  }
  if (options.json) terminal.stdout(count === 0 ? '[]\n' : '\n]\n')
  else if (count === 0) terminal.stderr(`${list.none}\n`)
  if (isCut)
    terminal.stderr(`Only the first ${count} are shown, as --limit asks; there are more.\n`)
}

export function printRows(
  rows: readonly Row[],
  list: { readonly columns: readonly Column[]; readonly none: string },
  options: ApiOptions,
  terminal: Terminal,
): void {
  if (options.json) printJson(rows, terminal)
  else if (rows.length === 0) terminal.stderr(`${list.none}\n`)
  else terminal.stdout(table(list.columns, rows, terminal))
}

export function printRecord(row: unknown, options: ApiOptions, terminal: Terminal): void {
  if (options.json) printJson(row, terminal)
  else terminal.stdout(record(row as Row, terminal))
}

export function printJson(value: unknown, terminal: Terminal): void {
  terminal.stdout(`${JSON.stringify(value, null, 2)}\n`)
}

/** A column that shows the attribute of its own name, or the first of several that is there. */
export function column(title: string, ...names: readonly string[]): Column {
  const read = names.length ? names : [title]
  return {
    title,
    value: (row) => label(read.map((n) => row[n]).find((v) => v !== undefined && v !== null)),
  }
}

export const idColumn: Column = { title: 'id', value: (row) => row['id'], whole: true }

/** References read best by what people call them. */
function label(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const named = value as Row
  return (
    named['display'] ??
    named['userName'] ??
    named['message'] ??
    named['value'] ??
    named['id'] ??
    value
  )
}

/**
 * Asks before what cannot be taken back. A script says --yes.
 * @throws CommandFailure when nobody can be asked, or the answer is no
 */
export async function confirm(
  question: string,
  options: { readonly yes?: boolean },
  terminal: Terminal,
): Promise<void> {
  if (options.yes) return
  if (!terminal.isInteractive) {
    throw new CommandFailure(exitCodes.usage, `${question} Repeat with --yes to do it.`)
  }
  const answer = await terminal.ask(`${question} Type "yes" to do it: `)
  if (answer.trim().toLowerCase() !== 'yes') {
    throw new CommandFailure(exitCodes.failed, 'Nothing was done.')
  }
}

/** Values that completion and help suggest. Who refuses another one, and how, stays as it is. */
export function suggest(command: Command, choices: Readonly<Record<string, readonly string[]>>) {
  for (const option of command.options) {
    const list = choices[option.long ?? '']
    if (list) option.argChoices = [...list]
  }
  for (const argument of command.registeredArguments) {
    const list = choices[argument.name()]
    if (list) argument.argChoices = [...list]
  }
  return command
}

const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** An account or person by id, or by the userName people know it by. */
export async function resolveId(
  what: 'account' | 'owner',
  name: string,
  api: ApiClient,
): Promise<string> {
  if (isId(name)) return name
  // One userName may belong to a person and to an account: the schema tells them apart.
  const filter = encodeURIComponent(`userName eq ${JSON.stringify(name)}`)
  const { body } = await api.send('GET', `/scim/v2/Users?filter=${filter}&attributes=userName`)
  const found = ((body as Row | null)?.['Resources'] ?? []) as readonly Row[]
  const match = found.find(
    (r) => ((r['schemas'] ?? []) as string[]).includes(nhiSchema) === (what === 'account'),
  )
  if (!match) {
    throw new CommandFailure(
      exitCodes.notFound,
      `No ${what} "${name}" was found; give its userName, or its id if it was deleted or retired.`,
    )
  }
  return String(match['id'])
}

export { nhiSchema }
