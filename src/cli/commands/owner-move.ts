import type { Command } from 'commander'
import {
  apiCommand,
  type Cli,
  column,
  confirm,
  printJson,
  printRows,
  resolveId,
} from '../command.ts'
import type { Row } from '../terminal.ts'
import { exitCodes } from '../terminal.ts'

interface MoveOptions {
  readonly atOnce?: boolean
  readonly reason?: string
  readonly dryRun?: boolean
  readonly yes?: boolean
}

interface Page {
  readonly items: readonly Row[]
  readonly cursor: string | null
}

/** `custody owner move A B`. */
export function registerOwnerMove(noun: Command, cli: Cli): void {
  apiCommand<MoveOptions>(
    noun
      .command('move <from> <to>')
      .description('offer everything that one person owns to another')
      .option('--at-once', 'do not wait until it is accepted; needs a reason and security')
      .option('--reason <text>', 'kept in the audit log')
      .option('--dry-run', 'only say what would be offered')
      .option('--yes', 'do not ask'),
    cli,
    async ({ api, options, terminal }, from, to) => {
      const [id, heir] = [await resolveId('owner', from, api), await resolveId('owner', to, api)]
      const { atOnce = false, reason, dryRun = false } = options
      const run = async (isDry: boolean): Promise<readonly Row[]> => {
        const items: Row[] = []
        for (let after: string | null = null; ;) {
          const route = `/api/v1/owners/${id}/move${isDry ? '?dryRun=true' : ''}`
          const body: Row = { to: heir, atOnce, ...(reason ? { reason } : {}) }
          const sent = after === null ? body : { ...body, after }
          const page = (await api.send('POST', route, sent)).body as Page
          items.push(...page.items)
          if (page.cursor === null) return items
          after = page.cursor
        }
      }
      const planned = await run(true)
      if (!dryRun && planned.length > 0) {
        const verb = atOnce ? 'pass' : 'are offered'
        const count = planned.length === 1 ? '1 account' : `${planned.length} accounts`
        await confirm(`${count} of ${from} ${verb} to ${to}.`, options, terminal)
      }
      const items = dryRun || planned.length === 0 ? planned : await run(false)
      if (options.json) printJson(items, terminal)
      else {
        const columns = [column('account', 'userName'), column('outcome'), column('reason')]
        printRows(items, { columns, none: `${from} owns nothing.` }, options, terminal)
      }
      const refused = items.some((item) => item['outcome'] === 'refused')
      return refused ? exitCodes.partial : exitCodes.ok
    },
  )
}
