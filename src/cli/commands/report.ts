import type { Command } from 'commander'
import type { Row } from '../terminal.ts'
import { table } from '../terminal.ts'
import { apiCommand, type Cli, column, printJson } from '../command.ts'
import { registerEvidence } from './report-evidence.ts'
import { registerPosture } from './report-posture.ts'

interface Report {
  readonly from: string
  readonly until: string
  readonly counts: unknown
  readonly summary: readonly string[]
  readonly items: readonly Row[]
  readonly cursor: string | null
}

export function registerReport(program: Command, cli: Cli): void {
  const noun = program.command('report').description('what happened, and what would have')

  registerPosture(noun, cli)
  registerEvidence(noun, cli)
  apiCommand<{ days: string }>(
    noun
      .command('shadow')
      .description('what enforcing would have done to accounts that are only watched')
      .option('--days <n>', 'look back so many days', '14'),
    cli,
    async ({ api, options, terminal }) => {
      const items: Row[] = []
      let first: Report | null = null
      for (let cursor: string | null = ''; cursor !== null;) {
        const query = new URLSearchParams({ days: options.days, limit: '200' })
        if (cursor !== '') query.set('cursor', cursor)
        const { body } = await api.send('GET', `/api/v1/reports/shadow?${query.toString()}`)
        const page = body as Report
        first ??= page
        items.push(...page.items)
        cursor = page.cursor
      }
      const { from, until, counts, summary } = first!
      if (options.json) return printJson({ from, until, counts, summary, items }, terminal)
      if (items.length > 0) terminal.stdout(table(columns, items, terminal))
      const done = summary.length === 0 ? 'done nothing' : summary.join(', ')
      terminal.stderr(`Since ${from} enforcing would have ${done}.\n`)
    },
  )
}

const columns = [
  column('at'),
  column('act'),
  column('rule'),
  column('account', 'userName'),
  column('credential'),
  column('owner'),
]
