import type { Command } from 'commander'
import { apiCommand, type Cli, column, printJson } from '../command.ts'
import type { Row } from '../terminal.ts'
import { table } from '../terminal.ts'

interface Evidence {
  readonly framework: string
  readonly at: string
  readonly summary: Readonly<Record<'holds' | 'partly' | 'exceptions' | 'notCovered', number>>
  readonly controls: readonly Row[]
}

/** `report evidence`: what Custody can show for the controls of a framework. */
export function registerEvidence(noun: Command, cli: Cli): void {
  apiCommand<{ framework: string }>(
    noun
      .command('evidence')
      .description('what can be shown for each control of a framework, measured now')
      .requiredOption('--framework <name>', 'owasp-nhi, nist-csf, soc2, pci-dss or iso27001'),
    cli,
    async ({ api, options, terminal }) => {
      const query = new URLSearchParams({ framework: options.framework })
      const { body } = await api.send('GET', `/api/v1/reports/evidence?${query.toString()}`)
      const report = body as Evidence
      if (options.json) return printJson(report, terminal)
      const rows = report.controls.map((row) => ({
        ...row,
        open: [row['exceptions'], row['gaps']].flat().length,
      }))
      terminal.stdout(table(columns, rows, terminal))
      const { holds, partly, exceptions, notCovered } = report.summary
      terminal.stderr(
        `${report.framework} at ${report.at}: ${holds} hold, ${partly} hold in part, ${exceptions} have exceptions, ${notCovered} are not covered. --json has the figures, how each was found, exceptions and gaps.\n`,
      )
    },
  )
}

const columns = [
  column('control'),
  column('verdict'),
  column('title'),
  column('exceptions and gaps', 'open'),
]
