import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { HeardClient } from '../../domain/directory.ts'
import { visible } from '../../host/visible.ts'
import { apiCommand, type Cli, column, printJson, printRows, type Session } from '../command.ts'
import {
  type Column,
  CommandFailure,
  type ExitCode,
  exitCodes,
  type Row,
  table,
} from '../terminal.ts'
import { registerLeaveDates } from './directory-leave-dates.ts'
import { registerDirectoryMigrate } from './directory-migrate.ts'
import { applyLeavers, type Leaver, writeDirectoryPlan } from './directory-plan.ts'

interface CheckOptions {
  readonly directory?: string
  readonly dryRun?: boolean
  readonly output?: string
  readonly apply?: boolean
  readonly confirmCount?: string
  readonly yes?: boolean
}

interface Check {
  readonly id: string
  readonly directory: string
  readonly complete: boolean
  readonly agreeing: number
  readonly all: number
  readonly report: {
    readonly trouble: string | null
    readonly listed: number
    readonly known: number
    readonly unsettled: number
    readonly missed: readonly Leaver[]
    readonly counts: Readonly<Record<string, number>>
    readonly lag: {
      readonly people: number
      readonly median: number
      readonly worst: number
    } | null
    readonly heard: readonly HeardClient[]
  } & Readonly<Record<string, unknown>>
}

interface CheckAnswer {
  readonly running: { readonly id: string } | null
  readonly check: Check | null
}

const pollMilliseconds = 2_000
/** A directory of a million people takes some ten minutes. */
const pollsMax = 900

export function registerDirectory(program: Command, cli: Cli): void {
  const noun = program
    .command('directory')
    .description('the directories that people come from, asked themselves')
  registerLeaveDates(noun, cli)
  registerDirectoryMigrate(noun, cli)
  apiCommand(
    noun.command('list').description('what can be asked, and when it was last'),
    cli,
    async ({ api, options, terminal }) => {
      const { body } = await api.send('GET', '/api/v1/directories')
      const { items } = body as { readonly items: readonly Row[] }
      const none = 'None is configured: see "directories" in custody.yaml.'
      printRows(items, { columns: listColumns, none }, options, terminal)
    },
  )
  apiCommand<CheckOptions>(
    noun
      .command('check')
      .description('compare people with the directory itself; changes nothing without --apply')
      .option('--directory <name>', 'which one (default: the only one)')
      .option('--dry-run', 'write a plan of who is to be declared gone, for "custody apply"')
      .option('--output <file>', 'the plan to write (default: directory-<name>.yaml)')
      .option('--apply', 'declare gone whom the directory says is gone')
      .option('--confirm-count <n>', 'how many, when the mass-leave brake would hold so many')
      .option('--yes', 'do not ask'),
    cli,
    check,
  )
  apiCommand(
    program.commands
      .find((command) => command.name() === 'doctor')!
      .command('directory')
      .description('groups, managers, connections and attributes of the people data'),
    cli,
    async ({ api, options, terminal }) => {
      const { body } = await api.send('GET', '/api/v1/doctor/directory')
      const { items } = body as { readonly items: readonly Row[] }
      if (options.json) printJson(items, terminal)
      else tellFindings(items, terminal)
      return items.length === 0 ? exitCodes.ok : exitCodes.partial
    },
  )
}

const listColumns: readonly Column[] = [
  { ...column('name'), whole: true },
  column('type'),
  { title: 'checked', value: (row) => (row['lastCheck'] as Row | null)?.['at'] ?? 'never' },
  {
    title: 'agreeing',
    value: (row) => {
      const last = row['lastCheck'] as Row | null
      if (!last) return ''
      return last['complete']
        ? `${String(last['agreeing'])} of ${String(last['all'])}`
        : 'incomplete'
    },
  },
  {
    title: 'last heard',
    value: (row) =>
      (row['heard'] as readonly HeardClient[])
        .map(({ lastHeardAt, silent }) => `${lastHeardAt ?? 'never'}${silent ? ' (silent)' : ''}`)
        .join(', '),
  },
]

async function check(session: Session<CheckOptions>): Promise<ExitCode> {
  const { options, terminal } = session
  if (options.dryRun && options.apply) {
    throw new CommandFailure(exitCodes.usage, '--dry-run writes a plan, --apply acts: give one.')
  }
  const name = options.directory ?? (await onlyOne(session))
  const found = await run(session, name)
  const isWhole = found.complete && found.agreeing === found.all
  if (!options.json) tell(session, found)
  else if (!options.apply) printJson(found, terminal)
  if (options.dryRun) await writePlan(session, found)
  if (!options.apply || found.report.missed.length === 0) {
    if (options.json && options.apply) printJson(found, terminal)
    return isWhole ? exitCodes.ok : exitCodes.partial
  }
  if (!found.complete) {
    terminal.stderr('The listing is incomplete: nothing was done.\n')
    return exitCodes.partial
  }
  const leave = found.report.missed.map((m) => m.id)
  return applyLeavers(session, { directory: name, check: found.id, leave })
}

async function onlyOne({ api }: Session<CheckOptions>): Promise<string> {
  const { body } = await api.send('GET', '/api/v1/directories')
  const names = (body as { readonly items: readonly Row[] }).items.map((i) => String(i['name']))
  const [only] = names
  if (only !== undefined && names.length === 1) return only
  const sentence =
    only === undefined
      ? 'No directory is configured: see "directories" in custody.yaml.'
      : `Say which one with --directory: ${names.join(', ')}.`
  throw new CommandFailure(exitCodes.usage, sentence)
}

async function run({ api, terminal }: Session<CheckOptions>, name: string): Promise<Check> {
  const route = `/api/v1/directories/${encodeURIComponent(name)}/check`
  const started = (await api.send('POST', route)).body as CheckAnswer
  if (started.check) return started.check
  terminal.stderr(`${name} is being read; this takes a while.\n`)
  for (let poll = 0; poll < pollsMax; poll++) {
    await sleep(pollMilliseconds)
    const now = (await api.send('GET', route)).body as CheckAnswer
    if (now.check?.id === started.running?.id) return now.check!
    if (now.running === null && poll > 3) break
  }
  const sentence = `The check of ${name} ended without a result; see the server's log, then check again.`
  throw new CommandFailure(exitCodes.failed, sentence)
}

async function writePlan({ options, terminal }: Session<CheckOptions>, found: Check) {
  const { directory, id, report, complete } = found
  if (!complete) {
    terminal.stderr('The listing is incomplete: no plan was written.\n')
    return
  }
  const file = path.resolve(terminal.cwd, options.output ?? `directory-${directory}.yaml`)
  const content = writeDirectoryPlan(directory, id, report.missed)
  await writeFile(file, content, { flag: 'wx', mode: 0o600 }).catch((cause: Error) => {
    const sentence = `${file} cannot be written: ${cause.message}; name another with --output.`
    throw new CommandFailure(exitCodes.conflict, sentence, cause)
  })
  terminal.stderr(`Review ${file}, then: custody apply ${file}\n`)
}

const person: Column = { ...column('person', 'userName'), whole: true }
const lists: readonly {
  readonly name: string
  readonly title: string
  readonly columns: readonly Column[]
}[] = [
  {
    name: 'missed',
    title: 'gone there, active here',
    columns: [person, column('since'), column('matched by', 'by'), column('deleted')],
  },
  { name: 'ghosts', title: 'active here, unknown there', columns: [person, column('id')] },
  { name: 'missing', title: 'active there, unknown here', columns: [person, column('email')] },
  {
    name: 'returned',
    title: 'active there, left here',
    columns: [person, column('left here', 'leftAt'), column('since')],
  },
  {
    name: 'differences',
    title: 'attributes that differ',
    columns: [person, column('attribute'), column('here'), column('there')],
  },
  {
    name: 'ambiguous',
    title: 'one key, several people: nobody was matched',
    columns: [
      { title: 'key', value: (row) => row['by'] },
      { title: 'here', value: (row) => names(row['here']) },
      { title: 'there', value: (row) => names(row['there']) },
    ],
  },
]

function names(value: unknown): string {
  return (value as readonly Row[]).map((row) => String(row['userName'])).join(', ')
}

function tell({ terminal }: Session<CheckOptions>, { complete, agreeing, all, report }: Check) {
  for (const { name, title, columns } of lists) {
    const rows = report[name] as readonly Row[]
    const count = report.counts[name] ?? rows.length
    if (count === 0) continue
    const cut = rows.length < count ? `, the first ${rows.length} are shown` : ''
    terminal.stdout(`${count} ${title}${cut}\n${table(columns, rows, terminal)}\n`)
  }
  const { listed, known, lag, trouble, unsettled } = report
  const share = all === 0 ? 100 : Math.floor((10_000 * agreeing) / all) / 100
  terminal.stdout(
    complete
      ? `${agreeing} of ${all} records agree (${share} %); ${listed} people there, ${known} here\n`
      : `Incomplete: ${visible(trouble ?? '')} ${listed} people were seen; who is missing from them says nothing.\n`,
  )
  if (unsettled > 0) terminal.stdout(`${unsettled} are neither active nor gone there\n`)
  if (lag) {
    terminal.stdout(
      `Word of a leaving took ${seconds(lag.median)} in the middle, ${seconds(lag.worst)} at worst (${lag.people} people)\n`,
    )
  }
  for (const heard of report.heard) {
    const { name, lastHeardAt, silent } = heard
    const when = lastHeardAt === null ? 'never heard' : `last heard ${lastHeardAt}`
    terminal.stdout(`${visible(name)}: ${when}${silent ? ', silent for two cycles' : ''}\n`)
  }
}

function seconds(value: number): string {
  if (value < 120) return `${Math.round(value)} s`
  return value < 7_200 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3_600)} h`
}

function tellFindings(items: readonly Row[], { stdout, stderr }: Session<unknown>['terminal']) {
  if (items.length === 0) return stderr('Nothing was found.\n')
  for (const { check: kind, subject, found, fix } of items) {
    const line = `${String(kind)}  ${String(subject)} ${String(found)}`
    stdout(`${visible(line)}\n    ${visible(String(fix))}\n`)
  }
}
