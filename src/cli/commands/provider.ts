import type { Command } from 'commander'
import { apiCommand, type Cli, column, printJson, printList, type Session } from '../command.ts'
import {
  bold,
  cellText,
  CommandFailure,
  type ExitCode,
  exitCodes,
  type Row,
  type Terminal,
} from '../terminal.ts'

interface Finding {
  readonly name: string
  readonly state: string
  readonly message: string
  readonly remedy: string | null
}

interface Check {
  readonly name: string
  readonly type: string
  readonly role: string
  readonly state: string
  readonly findings: readonly Finding[]
  readonly leastPolicy: string | null
}

interface CheckOptions {
  readonly policy?: boolean
  readonly sink?: boolean
}

/** @returns the noun, for further commands */
export function registerProvider(program: Command, cli: Cli): Command {
  const noun = program
    .command('provider')
    .description('where credentials live and where they are delivered')

  apiCommand<{ limit?: string }>(
    noun.command('list').description('providers and sinks, and how calls to them fare'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/providers',
        columns: [
          { ...column('name'), whole: true },
          column('type'),
          column('role'),
          { title: 'kinds', value: (row) => namesOf(row['kinds'], 'kind') },
          { title: 'calls', value: (row) => (row['gate'] as Row | null)?.['state'] },
          { title: 'until', value: (row) => (row['gate'] as Row | null)?.['restsUntil'] },
          { title: 'can', value: (row) => trueOnes(row['can']) },
        ],
        none: 'No providers.',
      }),
  )
  apiCommand<CheckOptions>(
    noun
      .command('check [name]')
      .description('try the configured access, without changing anything; all when none is named')
      .option('--sink', 'the sink of that name, where a provider has the same')
      .option('--policy', 'print the least policy it needs, ready to paste'),
    cli,
    (session, name) => runChecks(session, name ?? null),
  )
  return noun
}

async function runChecks(
  session: Session<CheckOptions>,
  name: string | null,
): Promise<ExitCode | void> {
  const { options, terminal } = session
  const checks = await checksOf(session, name)
  if (options.json) printJson(name === null ? checks : checks[0], terminal)
  else if (options.policy) printPolicies(checks, name, terminal)
  else for (const check of checks) terminal.stdout(`${linesOf(check, terminal).join('\n')}\n`)
  const failed = checks.filter((check) => check.state === 'failed').map((check) => check.name)
  if (failed.length === 0) return
  if (!options.json) terminal.stderr(`Failed: ${failed.map(cellText).join(', ')}.\n`)
  return exitCodes.providerFailed
}

async function checksOf(
  { api, options }: Session<CheckOptions>,
  name: string | null,
): Promise<readonly Check[]> {
  if (options.sink && name === null) {
    throw new CommandFailure(exitCodes.usage, '--sink goes with the name of one.')
  }
  const wanted =
    name === null
      ? (await api.list('/api/v1/providers', {}, null)).rows
      : [{ name, role: options.sink ? 'sink' : null }]
  // At once: one that hangs takes its whole time.
  return Promise.all(
    wanted.map(async (row) => {
      const query = row['role'] ? `?role=${cellText(row['role'])}` : ''
      const route = `/api/v1/providers/${encodeURIComponent(String(row['name']))}/check${query}`
      return (await api.send('POST', route, {})).body as Check
    }),
  )
}

/** Only the documents go to stdout, so that they can be piped to where they are applied. */
function printPolicies(checks: readonly Check[], name: string | null, terminal: Terminal): void {
  const known = checks.filter((check) => check.leastPolicy !== null)
  if (known.length === 0) {
    const which = name === null ? 'None of them' : cellText(name)
    terminal.stderr(`${which} has no policy to print; see its documentation.\n`)
  }
  for (const check of known) {
    if (name === null) terminal.stderr(`${cellText(check.name)}:\n`)
    terminal.stdout(`${check.leastPolicy}\n`)
  }
  for (const { findings } of checks) {
    for (const finding of findings.filter((f) => f.state === 'failed')) {
      terminal.stderr(`${cellText(finding.name)}: ${cellText(finding.message)}\n`)
    }
  }
}

function linesOf({ name, type, role, findings }: Check, terminal: Terminal): readonly string[] {
  const width = Math.max(...findings.map((f) => cellText(f.name).length), 0)
  return [
    bold(`${cellText(name)} (${cellText(type)}, ${cellText(role)})`, terminal),
    ...findings.flatMap((finding) => [
      `  ${cellText(finding.state).padEnd(7)}  ${cellText(finding.name).padEnd(width)}  ${cellText(finding.message)}`,
      ...(finding.remedy === null ? [] : [`  ${' '.repeat(7)}  → ${cellText(finding.remedy)}`]),
    ]),
  ]
}

function namesOf(list: unknown, member: string): string {
  return Array.isArray(list) ? list.map((item: Row) => cellText(item[member])).join(' ') : ''
}

function trueOnes(flags: unknown): string {
  return Object.entries((flags ?? {}) as Row)
    .filter(([, value]) => value === true)
    .map(([name]) => cellText(name))
    .join(' ')
}
