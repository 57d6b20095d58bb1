import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  confirm,
  idColumn,
  printJson,
  printList,
  printRecord,
  printRows,
  type Session,
} from '../command.ts'
import { type ExitCode, exitCodes, type Row } from '../terminal.ts'

const peopleColumns = [
  column('person', 'userName', 'subject'),
  { ...idColumn, value: (row: Row) => row['subject'] },
  column('action'),
  column('since'),
  column('age', 'age'),
  column('outcome'),
  column('reason'),
]

const decidedColumns = [
  { ...idColumn, value: (row: Row) => row['subject'] },
  column('outcome'),
  column('operation'),
  column('reason'),
]

interface DecideOptions {
  readonly only?: readonly string[]
  readonly hash?: string
  readonly reason?: string
  readonly yes?: boolean
}

export function registerApproval(program: Command, cli: Cli): void {
  const noun = program.command('approval').description('what is held back until somebody says so')

  apiCommand<{ limit?: string; status?: string }>(
    noun
      .command('list')
      .description('batches, oldest first')
      .option('--status <status>', 'forming, waiting or closed')
      .option('--limit <n>', 'at most this many (default: all)'),
    cli,
    async (session) =>
      printList(session, {
        route: '/api/v1/approvals',
        query: { status: session.options.status },
        columns: [
          idColumn,
          column('kind'),
          column('directory', 'subject'),
          column('status'),
          column('people'),
          column('opened', 'createdAt'),
        ],
        none: 'Nothing waits for approval.',
      }),
  )
  apiCommand(
    noun.command('show <id>').description('who is held, and since when; freezes the batch'),
    cli,
    async (session, id) => {
      show(await load(session, id), session)
    },
  )
  for (const verb of ['approve', 'deny'] as const) {
    apiCommand<DecideOptions>(
      noun
        .command(`${verb} <id>`)
        .description(
          verb === 'approve'
            ? 'they have left: switch off or hand over what hangs on them'
            : 'the directory was wrong: leave them as they are',
        )
        .option('--only <person...>', 'these alone, by id or userName')
        .option('--hash <hash>', 'of the plan you saw (default: as shown now)')
        .option('--reason <text>', 'kept in the audit log')
        .option('--yes', 'do not ask'),
      cli,
      (session, id) => decide(session, id, verb),
    )
  }
}

async function load({ api }: Session<unknown>, id: string): Promise<Row> {
  return (await api.send('GET', `/api/v1/approvals/${encodeURIComponent(id)}`)).body as Row
}

function itemsOf(batch: Row): readonly Row[] {
  return (batch['items'] ?? []) as readonly Row[]
}

function show(batch: Row, { options, terminal }: Session<unknown>): void {
  if (options.json) return printJson(batch, terminal)
  const { items: _items, plan: _plan, facts, ...rest } = batch
  printRecord({ ...rest, facts }, options, terminal)
  const rows = itemsOf(batch).map((row) => ({ ...row, age: ageOf(Number(row['ageSeconds'])) }))
  printRows(rows, { columns: peopleColumns, none: 'Nobody is held.' }, options, terminal)
}

function ageOf(seconds: number): string {
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  return seconds < 172_800
    ? `${Math.floor(seconds / 3_600)} h`
    : `${Math.floor(seconds / 86_400)} d`
}

async function decide(
  session: Session<DecideOptions>,
  id: string,
  verb: 'approve' | 'deny',
): Promise<ExitCode> {
  const { api, options, terminal } = session
  const batch = await load(session, id)
  const open = itemsOf(batch).filter((row) => row['outcome'] === null)
  const subjects = options.only?.map((name) => {
    const found = open.find((row) => row['subject'] === name || row['userName'] === name)
    return (found?.['subject'] as string | undefined) ?? name
  })
  if (!options.yes) {
    show(batch, { ...session, options: { ...options, json: false } })
    if (!terminal.isInteractive) {
      terminal.stderr(`${open.length} wait for approval. Repeat with --yes to ${verb}.\n`)
      return exitCodes.waiting
    }
    const count = subjects?.length ?? open.length
    const what = verb === 'approve' ? 'have left and lose what they own' : 'stay as they are'
    await confirm(`${count} of ${open.length} people ${what}.`, options, terminal)
  }
  const { body } = await api.send('POST', `/api/v1/approvals/${encodeURIComponent(id)}/${verb}`, {
    hash: options.hash ?? batch['hash'],
    ...(subjects ? { subjects } : {}),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
  })
  const answer = (body ?? {}) as Row
  const rows = itemsOf(answer)
  if (options.json) printJson(answer, terminal)
  else
    printRows(rows, { columns: decidedColumns, none: 'Nothing left to decide.' }, options, terminal)
  if (answer['status'] !== 'closed') {
    terminal.stderr('Others of this batch still wait for approval.\n')
    return exitCodes.waiting
  }
  return exitCodes.ok
}
