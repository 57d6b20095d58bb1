import type { Command } from 'commander'
import { apiCommand, type Cli, column, printJson } from '../command.ts'
import type { Row } from '../terminal.ts'
import { record, table } from '../terminal.ts'

interface Posture {
  readonly at: string
  readonly accounts: Readonly<Record<'total' | 'open' | 'withActiveOwner' | 'orphaned', number>> & {
    readonly watched: number
  }
  readonly coverage: number | null
  readonly credentials: { readonly total: number }
  readonly expiring: readonly Readonly<Record<'withinDays' | 'accounts' | 'credentials', number>>[]
  readonly expired: number
  readonly oldestActiveKeys: readonly Row[]
  readonly rotationsOverdue: { readonly count: number; readonly first: readonly Row[] }
  readonly operations: Readonly<Record<'queued' | 'running' | 'waiting' | 'needsOperator', number>>
  readonly brakes: readonly { readonly name: string; readonly subject: string }[]
  readonly approvalsWaiting: number
  readonly restored: boolean
  readonly leavers: { readonly open: number; readonly complete: number }
}

interface Expiry {
  readonly from: string
  readonly until: string
  readonly items: readonly Row[]
}

/** `report posture` and `report expiry`: how things are, and what ends when. */
export function registerPosture(noun: Command, cli: Cli): void {
  apiCommand(
    noun.command('posture').description('how accounts, credentials and operations are now'),
    cli,
    async ({ api, options, terminal }) => {
      const posture = (await api.send('GET', '/api/v1/reports/posture')).body as Posture
      if (options.json) return printJson(posture, terminal)
      terminal.stdout(record(figuresOf(posture), terminal))
      const { oldestActiveKeys: oldest, rotationsOverdue } = posture
      if (oldest.length > 0) {
        terminal.stdout(`\nOldest active keys\n${table(oldestColumns, oldest, terminal)}`)
      }
      if (rotationsOverdue.first.length > 0) {
        const rows = table(overdueColumns, rotationsOverdue.first, terminal)
        terminal.stdout(`\nRotations overdue\n${rows}`)
      }
      if (posture.restored) {
        terminal.stderr(
          'Restored mode is on: nothing is minted, rotated or deleted until released.\n',
        )
      }
    },
  )
  apiCommand<{ from?: string; days: string }>(
    noun
      .command('expiry')
      .description('how many accounts and credentials end on which day')
      .option('--from <day>', 'the first day, such as 2027-01-31; today when omitted')
      .option('--days <n>', 'look at so many days', '364'),
    cli,
    async ({ api, options, terminal }) => {
      const query = new URLSearchParams({ days: options.days })
      if (options.from !== undefined) query.set('from', options.from)
      const { body } = await api.send('GET', `/api/v1/reports/expiry?${query.toString()}`)
      const report = body as Expiry
      if (options.json) return printJson(report, terminal)
      if (report.items.length > 0) {
        terminal.stdout(table(expiryColumns, report.items, terminal))
      } else {
        terminal.stderr(`Nothing ends from ${report.from} until ${report.until}.\n`)
      }
    },
  )
}

function figuresOf(posture: Posture): Row {
  const { accounts, credentials, coverage, operations, brakes, leavers } = posture
  const within = Object.fromEntries(
    posture.expiring.map((e) => [
      `ending within ${e.withinDays} days`,
      `${e.accounts} accounts, ${e.credentials} credentials`,
    ]),
  )
  return {
    at: posture.at,
    accounts: `${accounts.total} (${accounts.open} open, ${accounts.watched} only watched)`,
    'with an active owner':
      coverage === null ? 'nothing is open' : `${accounts.withActiveOwner} (${share(coverage)})`,
    orphaned: accounts.orphaned,
    credentials: credentials.total,
    ...within,
    'past their end': posture.expired,
    'rotations overdue': posture.rotationsOverdue.count,
    operations: `${operations.queued} queued, ${operations.running} running, ${operations.waiting} waiting, ${operations.needsOperator} need an operator`,
    leavings: `${leavers.open} under way, ${leavers.complete} complete in 30 days`,
    'approvals waiting': posture.approvalsWaiting,
    brakes:
      brakes.length === 0
        ? 'none'
        : brakes.map(({ name, subject }) => [name, subject].filter(Boolean).join(' ')).join(', '),
  }
}

/** Down, so that one orphan of a million never reads as all. */
const share = (of: number): string => `${(Math.floor(of * 1_000) / 10).toString()} %`

const keyColumns = [column('account', 'userName'), column('provider'), column('credential')]
const oldestColumns = [...keyColumns, column('issued', 'issuedAt'), column('days', 'ageDays')]
const overdueColumns = [...keyColumns, column('due', 'rotateAfter'), column('days', 'overdueDays')]
const expiryColumns = [column('day'), column('accounts'), column('credentials')]
